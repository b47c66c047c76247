/*
 * The prober and its checks on a scripted ring and a virtual clock, which take
 * the place of common/ring.c, common/clock.c and common/log.c here: instances
 * answer to the millisecond, and the thread can be held up at any time.
 */
#include "health/prober.h"
#include "common/board.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/ring.h"
#include "health/check.h"
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <cmocka.h>

#define START_MS 1000000        /* of the virtual clock */
#define INSTANCES_MAX 200
#define STARTS_MAX 4096
#define NEVER UINT64_MAX
#define OK_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* How an instance behaves; found by the port that is connected to. */
struct behaviour {
    uint64_t connect_ms;        /* NEVER: no answer to the SYN */
    int connect_res;
    uint64_t answer_ms;         /* after the request's last byte; NEVER: silence */
    const char *answer;         /* then the end of the connection */
    size_t piece_bytes;         /* an answer comes in pieces; 0: whole */
    int recv_res;               /* < 0: instead of an answer */
    size_t send_bytes;          /* taken by one send; 0: all */
    int send_res;               /* < 0: instead */
};

struct pending {
    struct op *op;
    uint64_t at_ms;
    struct ring_result result;
};

struct ring {
    uint64_t now_ms;
    struct timer_wheel wheel;
    struct pending pending[INSTANCES_MAX];
    size_t pending_count;
    uint64_t pause_at_ms, pause_ms;     /* nothing runs in [pause_at, pause_at + pause) */
    uint64_t lag_ms;                    /* each turn comes so much late */
    size_t chunks_out;
};

struct conversation {           /* on a descriptor */
    unsigned instance;
    uint64_t asked_ms;
    size_t answered_bytes;
};

static struct world {
    struct ring ring;
    struct behaviour instances[INSTANCES_MAX];
    struct conversation conversations[1024];
    char request[2048];         /* the last one to instance 1, as sent */
    size_t request_bytes;
    bool sends_more;            /* the last send promised more at once */
    struct { uint64_t at_ms; unsigned instance; } starts[STARTS_MAX];
    size_t start_count;
    char log[16384];
    unsigned wakes;
} *world;

/* ---- the scripted ring ---- */

uint64_t clock_monotonic_us(void)
{
    return world->ring.now_ms * 1000;
}

uint64_t clock_realtime_ms(void)
{
    return UINT64_C(1700000000000) + world->ring.now_ms;
}

void log_line(enum log_level level, const char *format, ...)
{
    char line[512];
    va_list args;

    (void)level;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (strlen(world->log) + strlen(line) + 2 > sizeof(world->log))
        world->log[0] = '\0';       /* the newest are kept */
    strcat(world->log, line);
    strcat(world->log, "\n");
}

uint64_t ring_now_ms(const struct ring *ring)
{
    return ring->now_ms;
}

void ring_wake(struct ring *ring)
{
    (void)ring;
    world->wakes++;
}

void op_init(struct op *op, void (*done)(struct op *op, struct ring_result result))
{
    *op = (struct op){ .done = done };
    list_init(&op->starved);
}

static void later(struct ring *ring, struct op *op, int fd, uint64_t at_ms, struct ring_result result)
{
    assert_false(op->active);
    assert_true(ring->pending_count < INSTANCES_MAX);
    op->active = true;
    op->fd = fd;
    ring->pending[ring->pending_count++] = (struct pending){ op, at_ms, result };
}

static uint64_t after(uint64_t ms)
{
    return ms == NEVER ? NEVER : world->ring.now_ms + ms;
}

void ring_connect(struct ring *ring, struct op *op, int fd, const struct addr *to)
{
    unsigned instance = addr_port(to);
    const struct behaviour *b = &world->instances[instance];

    assert_true(fd >= 0 && fd < 1024);
    assert_true(world->start_count < STARTS_MAX);
    world->starts[world->start_count].at_ms = ring->now_ms;
    world->starts[world->start_count++].instance = instance;
    world->conversations[fd] = (struct conversation){ .instance = instance };
    if (instance == 1)
        world->request_bytes = 0;
    later(ring, op, fd, after(b->connect_ms), (struct ring_result){ .res = b->connect_res });
}

void ring_send(struct ring *ring, struct op *op, int fd, const void *bytes, size_t len, int flags)
{
    struct conversation *c = &world->conversations[fd];
    const struct behaviour *b = &world->instances[c->instance];
    size_t taken = b->send_bytes > 0 && b->send_bytes < len ? b->send_bytes : len;

    assert_true(flags == 0 || flags == MSG_MORE);
    world->sends_more = flags == MSG_MORE;
    if (c->instance == 1) {
        assert_true(world->request_bytes + taken < sizeof(world->request));
        memcpy(world->request + world->request_bytes, bytes, taken);
        world->request_bytes += taken;
        world->request[world->request_bytes] = '\0';
    }
    c->asked_ms = ring->now_ms;
    later(ring, op, fd, ring->now_ms, (struct ring_result){ .res = b->send_res < 0 ? b->send_res : (int)taken });
}

static struct chunk *chunk_make(const char *bytes, size_t len)
{
    struct chunk *chunk = calloc(1, sizeof(*chunk));

    assert_non_null(chunk);
    chunk->data = malloc(len);      /* its own block: a read past the end shows */
    assert_non_null(chunk->data);
    memcpy(chunk->data, bytes, len);
    chunk->len = (uint32_t)len;
    world->ring.chunks_out++;
    return chunk;
}

void chunk_put(struct ring *ring, struct chunk *chunk)
{
    ring->chunks_out--;
    free(chunk->data);
    free(chunk);
}

void ring_recv(struct ring *ring, struct op *op, int fd, enum ring_class size_class)
{
    struct conversation *c = &world->conversations[fd];
    const struct behaviour *b = &world->instances[c->instance];
    struct ring_result result = { .res = b->recv_res };
    uint64_t at = b->answer_ms == NEVER ? NEVER : c->asked_ms + b->answer_ms;
    size_t left, piece;

    assert_int_equal(size_class, RING_SMALL);
    if (b->answer != NULL && b->recv_res == 0 && at != NEVER) {
        left = strlen(b->answer) - c->answered_bytes;
        piece = b->piece_bytes > 0 && b->piece_bytes < left ? b->piece_bytes : left;
        piece = piece > 4096 ? 4096 : piece;
        if (piece > 0)
            result.chunk = chunk_make(b->answer + c->answered_bytes, piece);
        result.res = (int)piece;
        c->answered_bytes += piece;
    }
    later(ring, op, fd, at < ring->now_ms ? ring->now_ms : at, result);
}

void ring_cancel(struct ring *ring, struct op *op)
{
    for (size_t i = 0; i < ring->pending_count; i++) {
        struct pending *p = &ring->pending[i];
        if (p->op != op || p->at_ms <= ring->now_ms)
            continue;
        if (p->result.chunk != NULL)
            chunk_put(ring, p->result.chunk);
        p->at_ms = ring->now_ms;
        p->result = (struct ring_result){ .res = -ECANCELED };
    }
}

void ring_timer_set(struct ring *ring, struct timer *timer, uint64_t deadline_ms)
{
    timer_set(&ring->wheel, timer, deadline_ms);
}

void ring_timer_stop(struct ring *ring, struct timer *timer)
{
    timer_stop(&ring->wheel, timer);
}

static uint64_t next_event(const struct ring *ring)
{
    uint64_t next = timer_wheel_next(&ring->wheel);

    for (size_t i = 0; i < ring->pending_count; i++)
        if (ring->pending[i].at_ms < next)
            next = ring->pending[i].at_ms;
    return next;
}

/* What had arrived when the turn began, in the order of arrival. */
static void dispatch(struct ring *ring)
{
    struct pending batch[INSTANCES_MAX];
    size_t count = 0, kept = 0;

    for (size_t i = 0; i < ring->pending_count; i++) {
        if (ring->pending[i].at_ms <= ring->now_ms)
            batch[count++] = ring->pending[i];
        else
            ring->pending[kept++] = ring->pending[i];
    }
    ring->pending_count = kept;
    for (size_t i = 0; i < count; i++) {
        batch[i].op->active = false;
        batch[i].op->done(batch[i].op, batch[i].result);
    }
}

static void step(uint64_t wake_ms)
{
    struct ring *ring = &world->ring;

    if (wake_ms > ring->now_ms)
        ring->now_ms = wake_ms;
    ring->now_ms += ring->lag_ms;
    if (ring->now_ms >= ring->pause_at_ms && ring->now_ms < ring->pause_at_ms + ring->pause_ms)
        ring->now_ms = ring->pause_at_ms + ring->pause_ms;
    dispatch(ring);
    timer_wheel_advance(&ring->wheel, ring->now_ms);
}

static void run_until(uint64_t ms)
{
    uint64_t next;

    while ((next = next_event(&world->ring)) <= ms)
        step(next);
    if (world->ring.now_ms < ms)
        world->ring.now_ms = ms;
}

static void run_for(uint64_t ms)
{
    run_until(world->ring.now_ms + ms);
}

/* ---- the registrations under test ---- */

struct bench {
    struct world w;
    struct board *board;
    struct prober *prober;
    struct config_health_check conf;
    unsigned proxy_version;
    struct slot *slots[INSTANCES_MAX];
    size_t count;
};

/* The port is the instance's number: `count` instances, each with a check conf of its own. */
static void bench_plan(struct bench *t, size_t count)
{
    static char names[INSTANCES_MAX][32];
    struct health_item items[INSTANCES_MAX];
    struct config_health_check confs[INSTANCES_MAX];
    struct plan *plan;

    for (size_t i = 0; i < count; i++) {
        confs[i] = t->conf;
        confs[i].target.port = (uint16_t)(i + 1);
        if (t->slots[i] == NULL)
            t->slots[i] = slot_new(t->board, true);
        snprintf(names[i], sizeof(names[i]), "web-%zu", i + 1);
        items[i] = (struct health_item){ .slot = t->slots[i], .balancer = "lb", .instance = names[i], .check = &confs[i],
                                          .proxy_version = t->proxy_version, .zone_enabled = true };
        assert_int_equal(addr_parse("127.0.0.1", &items[i].address), 0);
    }
    assert_int_equal(plan_new(items, count, &plan), 0);
    prober_take(t->prober, &plan);
    t->count = count;
}

static void bench_init(struct bench *t)
{
    *t = (struct bench){ .conf = { .target = { .protocol = PROTOCOL_HTTP, .path = "/index.html" }, .interval_ms = 100, .timeout_ms = 90,
                                   .unhealthy_threshold = 2, .healthy_threshold = 2 } };
    world = &t->w;
    world->ring.now_ms = START_MS;
    world->ring.pause_at_ms = NEVER;
    timer_wheel_init(&world->ring.wheel, START_MS);
    for (size_t i = 0; i < INSTANCES_MAX; i++)
        world->instances[i] = (struct behaviour){ .answer = OK_ANSWER };
    assert_int_equal(board_new(&t->board), 0);
    assert_int_equal(prober_new(&world->ring, &t->prober), 0);
}

static void bench_fini(struct bench *t)
{
    bench_plan(t, 0);
    run_for(10);
    assert_true(prober_empty(t->prober));
    prober_free(&t->prober);
    assert_int_equal(world->ring.pending_count, 0);
    assert_int_equal(world->ring.chunks_out, 0);
    for (size_t i = 0; i < INSTANCES_MAX; i++)
        slot_unref(&t->slots[i]);
    board_free(&t->board);
}

static struct check_record last_record(const struct bench *t, size_t i)
{
    struct check_record record;

    assert_int_equal(slot_history(t->slots[i], &record, 1), 1);
    return record;
}

static enum slot_state state_of(const struct bench *t, size_t i)
{
    return slot_status(t->slots[i]).state;
}

static uint64_t seed_of_test(void)
{
    uint64_t seed;

    assert_int_equal(getrandom(&seed, sizeof(seed), 0), (ssize_t)sizeof(seed));
    if (getenv("TEST_SEED") != NULL)
        seed = strtoull(getenv("TEST_SEED"), NULL, 0);
    print_message("TEST_SEED=%" PRIu64 "\n", seed);
    return seed | 1;
}

static uint64_t random_below(uint64_t *random, uint64_t bound)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random % bound;
}

/* ---- what an answer means ---- */

static const struct answer_row {
    const char *name;
    const char *answer;
    enum check_reason reason;
    unsigned status;
} answer_rows[] = {
    { "200 with a length passes", OK_ANSWER, CHECK_OK, 200 },
    { "200 with length 0 passes", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", CHECK_OK, 200 },
    { "200 chunked passes", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", CHECK_OK, 200 },
    { "the head alone decides", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", CHECK_OK, 200 },
    { "any reason phrase passes", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", CHECK_OK, 200 },
    { "HTTP/1.0 with a length passes", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", CHECK_OK, 200 },
    { "200 until close fails", "HTTP/1.1 200 OK\r\n\r\nbody", CHECK_NO_FRAMING, 200 },
    { "201 fails", "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", CHECK_STATUS, 201 },
    { "204 fails", "HTTP/1.1 204 No Content\r\n\r\n", CHECK_STATUS, 204 },
    { "a redirect is not followed", "HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", CHECK_STATUS, 301 },
    { "401 fails", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", CHECK_STATUS, 401 },
    { "503 fails", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", CHECK_STATUS, 503 },
    { "a status tells more than missing framing", "HTTP/1.1 500 Oops\r\n\r\n", CHECK_STATUS, 500 },
    { "interim answers are skipped", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK_ANSWER, CHECK_OK, 200 },
    { "an interim answer alone is no answer", "HTTP/1.1 100 Continue\r\n\r\n", CHECK_CLOSED_EARLY, 0 },
    { "a switch of protocols is no success", "HTTP/1.1 101 Switching Protocols\r\n\r\n", CHECK_STATUS, 101 },
    { "a close without a byte", "", CHECK_CLOSED_EARLY, 0 },
    { "a close within the head", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", CHECK_CLOSED_EARLY, 0 },
    { "another protocol", "SSH-2.0-OpenSSH_9.2\r\n", CHECK_MALFORMED, 0 },
    { "a length that is none", "HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\n", CHECK_MALFORMED, 0 },
    { "two lengths that differ", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", CHECK_MALFORMED, 0 },
};

static void check_answer(const struct answer_row *row, size_t piece_bytes)
{
    struct bench t;
    struct check_record record;

    bench_init(&t);
    world->instances[1].answer = row->answer;
    world->instances[1].piece_bytes = piece_bytes;
    bench_plan(&t, 1);
    run_for(1);
    record = last_record(&t, 0);
    assert_int_equal(record.reason, row->reason);
    assert_int_equal(record.status, row->status);
    bench_fini(&t);
}

static void test_answer(void **state)
{
    const struct answer_row *row = *state;

    check_answer(row, 0);
    for (size_t piece = 1; piece < strlen(row->answer); piece++)
        check_answer(row, piece);
}

/* An answer that never ends is cut off; how it is cut into pieces makes no difference. */
static void test_endless_answer(void **state)
{
    enum { LONG = 100000 };
    static const char field[] = "A: b\r\n";
    char *answer = malloc(LONG + 1);
    (void)state;

    assert_non_null(answer);
    for (unsigned interims = 0; interims < 2; interims++) {
        static const char head[] = "HTTP/1.1 200 OK\r\n", interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
        size_t used = 0;
        if (interims == 0)
            used = (size_t)sprintf(answer, "%s", head);
        while (used + sizeof(interim) < LONG)
            used += (size_t)sprintf(answer + used, "%s", interims ? interim : field);
        check_answer(&(struct answer_row){ .answer = answer, .reason = CHECK_MALFORMED }, 0);
        check_answer(&(struct answer_row){ .answer = answer, .reason = CHECK_MALFORMED }, 1000);
    }
    free(answer);
}

/* ---- what an error means ---- */

static const struct error_row {
    const char *name;
    struct behaviour behaviour;
    enum check_reason reason;
    int error;
} error_rows[] = {
    { "refused", { .connect_res = -ECONNREFUSED }, CHECK_REFUSED, ECONNREFUSED },
    { "no route to the host", { .connect_res = -EHOSTUNREACH }, CHECK_UNREACHABLE, EHOSTUNREACH },
    { "no route to the network", { .connect_res = -ENETUNREACH }, CHECK_UNREACHABLE, ENETUNREACH },
    { "prohibited on the way", { .connect_res = -EACCES }, CHECK_UNREACHABLE, EACCES },
    { "the kernel gave the connect up", { .connect_res = -ETIMEDOUT }, CHECK_TIMEOUT_CONNECT, ETIMEDOUT },
    { "no answer to the SYN", { .connect_ms = NEVER }, CHECK_TIMEOUT_CONNECT, ETIMEDOUT },
    { "reset at connect", { .connect_res = -ECONNRESET }, CHECK_RESET, ECONNRESET },
    { "no port left here", { .connect_res = -EADDRNOTAVAIL }, CHECK_LOCAL, EADDRNOTAVAIL },
    { "no memory here", { .connect_res = -ENOMEM }, CHECK_LOCAL, ENOMEM },
    { "reset while asking", { .send_res = -ECONNRESET }, CHECK_RESET, ECONNRESET },
    { "closed while asking", { .send_res = -EPIPE }, CHECK_CLOSED_EARLY, EPIPE },
    { "reset instead of an answer", { .recv_res = -ECONNRESET }, CHECK_RESET, ECONNRESET },
    { "silence", { .answer_ms = NEVER }, CHECK_TIMEOUT_RESPONSE, ETIMEDOUT },
    { "the kernel gave the connection up", { .recv_res = -ETIMEDOUT }, CHECK_TIMEOUT_RESPONSE, ETIMEDOUT },
    { "a slow connect counts against the whole", { .connect_ms = 60, .answer_ms = 60, .answer = OK_ANSWER }, CHECK_TIMEOUT_RESPONSE, ETIMEDOUT },
};

static void test_error(void **state)
{
    const struct error_row *row = *state;
    struct bench t;

    bench_init(&t);
    world->instances[1] = row->behaviour;
    bench_plan(&t, 1);
    run_for(95);
    assert_int_equal(last_record(&t, 0).reason, row->reason);
    assert_int_equal(last_record(&t, 0).error, row->error);
    assert_int_equal(state_of(&t, 0), SLOT_NEW);
    bench_fini(&t);
}

/* ---- what is asked ---- */

static const struct request_row {
    const char *name, *address;
    uint16_t port;
    const char *host;
} request_rows[] = {
    { "port 80 is not named", "10.0.20.100", 80, "10.0.20.100" },
    { "another port is", "10.0.20.100", 8080, "10.0.20.100:8080" },
    { "IPv6 is in brackets", "fd00::1", 80, "[fd00::1]" },
    { "IPv6 with a port", "fd00::1", 8080, "[fd00::1]:8080" },
};

static void test_request(void **state)
{
    const struct request_row *row = *state;
    struct config_health_check conf = { .target = { PROTOCOL_HTTP, row->port, "/a?b=c" }, .interval_ms = 1000, .timeout_ms = 500 };
    struct addr to, none = { .sa = { .sa_family = AF_UNSPEC } };
    struct check_target target;
    char expected[256];

    assert_int_equal(addr_parse(row->address, &to), 0);
    assert_int_equal(check_target_init(&target, &(struct check_wish){ .to = &to, .source = &none, .conf = &conf }), 0);
    snprintf(expected, sizeof(expected),
             "GET /a?b=c HTTP/1.1\r\nHost: %s\r\nUser-Agent: ELB-HealthChecker/1.0\r\nAccept: */*\r\nConnection: close\r\n\r\n", row->host);
    assert_int_equal(target.request_len, strlen(expected));
    assert_memory_equal(target.request, expected, target.request_len);
    check_target_fini(&target);
}

/* However few bytes a send takes, the instance gets the whole request, once. */
static void test_request_in_pieces(void **state)
{
    static const char expected[] = "GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:1\r\nUser-Agent: ELB-HealthChecker/1.0\r\n"
                                   "Accept: */*\r\nConnection: close\r\n\r\n";
    (void)state;

    for (size_t piece = 0; piece < 20; piece++) {
        struct bench t;
        bench_init(&t);
        world->instances[1].send_bytes = piece;
        bench_plan(&t, 1);
        run_for(1);
        assert_string_equal(world->request, expected);
        assert_int_equal(last_record(&t, 0).reason, CHECK_OK);
        bench_fini(&t);
    }
}

/* The PROXY header of version 2 that names nobody: LOCAL, unspecified, no block. */
#define LOCAL_V2 "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
#define REQUEST "GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:1\r\nUser-Agent: ELB-HealthChecker/1.0\r\nAccept: */*\r\nConnection: close\r\n\r\n"

static const struct proxy_row {
    const char *name;
    unsigned version;
    enum protocol protocol;
    const char *expected;
    size_t len;
} proxy_rows[] = {
    { "a check over HTTP says LOCAL before it asks", 2, PROTOCOL_HTTP, LOCAL_V2 REQUEST, sizeof(LOCAL_V2 REQUEST) - 1 },
    { "a check over TCP says LOCAL", 2, PROTOCOL_TCP, LOCAL_V2, sizeof(LOCAL_V2) - 1 },
    { "without a policy nothing is said", 0, PROTOCOL_HTTP, REQUEST, sizeof(REQUEST) - 1 },
};

/* However few bytes a send takes; and a header before a request does not travel alone. */
static void test_proxy_header(void **state)
{
    const struct proxy_row *row = *state;

    for (size_t piece = 0; piece < 20; piece++) {
        struct bench t;
        bench_init(&t);
        t.proxy_version = row->version;
        t.conf.target.protocol = row->protocol;
        world->instances[1].send_bytes = piece;
        bench_plan(&t, 1);
        run_for(1);
        assert_int_equal(world->request_bytes, row->len);
        assert_memory_equal(world->request, row->expected, row->len);
        assert_int_equal(last_record(&t, 0).reason, CHECK_OK);
        assert_false(world->sends_more);
        bench_fini(&t);
    }
}

/* An instance that takes the connection but not the header does not pass. */
static void test_proxy_header_not_taken(void **state)
{
    struct bench t;
    (void)state;

    bench_init(&t);
    t.proxy_version = 2;
    t.conf.target.protocol = PROTOCOL_TCP;
    world->instances[1].send_res = -ECONNRESET;
    bench_plan(&t, 1);
    run_for(1);
    assert_int_equal(last_record(&t, 0).reason, CHECK_RESET);
    bench_fini(&t);
}

/* With the policy, or another version, it is another target. */
static void test_proxy_version_is_the_targets(void **state)
{
    struct config_health_check conf = { .target = { .protocol = PROTOCOL_TCP, .port = 80 }, .interval_ms = 1000, .timeout_ms = 500 };
    struct addr to, none = { .sa = { .sa_family = AF_UNSPEC } };
    struct check_target targets[3];
    (void)state;

    assert_int_equal(addr_parse("10.0.0.1", &to), 0);
    for (unsigned i = 0; i < 3; i++) {
        struct check_wish wish = { .to = &to, .source = &none, .conf = &conf, .proxy_version = i };
        assert_int_equal(check_target_init(&targets[i], &wish), 0);
        assert_true(check_target_equal(&targets[i], &targets[i]));
    }
    assert_false(check_target_equal(&targets[0], &targets[1]));
    assert_false(check_target_equal(&targets[1], &targets[2]));
}

static void test_tcp_asks_nothing(void **state)
{
    struct bench t;
    (void)state;

    bench_init(&t);
    t.conf.target = (struct config_target){ .protocol = PROTOCOL_TCP };
    bench_plan(&t, 1);
    run_for(1);
    assert_int_equal(world->request_bytes, 0);
    assert_int_equal(last_record(&t, 0).reason, CHECK_OK);
    assert_int_equal(state_of(&t, 0), SLOT_IN_SERVICE);
    bench_fini(&t);
}

/* ---- time ---- */

static const struct timeout_row {
    const char *name;
    uint64_t connect_ms, answer_ms;
    enum check_reason reason;
} timeout_rows[] = {
    { "an answer at the timeout is in time", 0, 90, CHECK_OK },
    { "connect and answer together at the timeout", 45, 45, CHECK_OK },
    { "an answer 2 ms after it is not", 0, 92, CHECK_TIMEOUT_RESPONSE },
    { "connect and answer 2 ms after it", 46, 46, CHECK_TIMEOUT_RESPONSE },
    { "a connect 2 ms after it", 92, 0, CHECK_TIMEOUT_CONNECT },
};

static void test_timeout(void **state)
{
    const struct timeout_row *row = *state;
    struct bench t;

    bench_init(&t);
    world->instances[1].connect_ms = row->connect_ms;
    world->instances[1].answer_ms = row->answer_ms;
    t.conf.interval_ms = 1000;
    bench_plan(&t, 1);
    for (size_t i = 0; i < 3; i++) {            /* at once, and on the grid after a rest */
        uint64_t took_ms = row->connect_ms + row->answer_ms;
        run_for(200);
        assert_int_equal(last_record(&t, 0).reason, row->reason);
        assert_int_equal(last_record(&t, 0).at_ms, UINT64_C(1700000000000) + world->starts[i].at_ms);
        assert_in_range(last_record(&t, 0).duration_us, (took_ms < 91 ? took_ms : 91) * 1000, 91000);
        while (world->ring.pending_count == 0)
            step(next_event(&world->ring));
    }
    bench_fini(&t);
}

/* Starts of one instance stand on one grid of the monotonic clock, however long each check took. */
static void assert_on_grid(unsigned instance, uint64_t interval_ms, size_t skip)
{
    uint64_t phase = NEVER, before = 0;

    for (size_t i = 0; i < world->start_count; i++) {
        uint64_t at = world->starts[i].at_ms;
        if (world->starts[i].instance != instance)
            continue;
        if (skip > 0) {
            skip--;
            continue;
        }
        if (phase == NEVER)
            phase = at % interval_ms;
        else
            assert_int_equal(at - before, interval_ms);
        assert_int_equal(at % interval_ms, phase);
        before = at;
    }
    assert_true(phase != NEVER);
}

static void test_grid(void **state)
{
    uint64_t random = seed_of_test();
    struct bench t;
    (void)state;

    bench_init(&t);
    bench_plan(&t, 1);
    for (unsigned i = 0; i < 2000; i++) {
        world->instances[1].connect_ms = random_below(&random, 3) == 0 ? NEVER : random_below(&random, 60);
        world->instances[1].answer_ms = random_below(&random, 60);
        run_for(100);
    }
    assert_in_range(world->start_count, 2000, 2002);
    assert_on_grid(1, 100, 1);          /* the first check was at once */
    assert_int_equal(world->starts[0].at_ms, START_MS);
    bench_fini(&t);
}

static void test_spread(void **state)
{
    enum { COUNT = 100, INTERVAL = 10000 };
    unsigned buckets[10] = { 0 };
    struct bench t;
    (void)state;

    bench_init(&t);
    t.conf.interval_ms = INTERVAL;
    bench_plan(&t, COUNT);
    run_for(1);
    assert_int_equal(world->start_count, COUNT);        /* first checks at once */
    run_for(INTERVAL);
    assert_int_equal(world->start_count, 2 * COUNT);
    for (size_t i = COUNT; i < 2 * COUNT; i++)
        buckets[world->starts[i].at_ms % INTERVAL / (INTERVAL / 10)]++;
    for (size_t i = 0; i < 10; i++)
        assert_in_range(buckets[i], 8, 12);
    bench_fini(&t);
}

/* A registration has one check at a time; a point that comes meanwhile is taken right after. */
static void test_one_at_a_time(void **state)
{
    struct bench t;
    (void)state;

    bench_init(&t);
    t.conf.timeout_ms = 99;
    world->instances[1].connect_ms = NEVER;
    bench_plan(&t, 1);
    for (unsigned i = 0; i < 5000; i++) {
        run_for(1);
        assert_true(world->ring.pending_count <= 1);
    }
    assert_in_range(world->start_count, 49, 51);
    bench_fini(&t);
}

/* ---- thresholds ---- */

static const struct threshold_row {
    const char *name;
    unsigned unhealthy, healthy;
} threshold_rows[] = {
    { "1 and 1", 1, 1 }, { "2 and 2", 2, 2 }, { "2 and 10", 2, 10 }, { "10 and 2", 10, 2 }, { "5 and 7", 5, 7 },
};

static size_t checks_until(struct bench *t, enum slot_state wanted)
{
    size_t before = world->start_count;

    while (state_of(t, 0) != wanted) {
        assert_true(world->start_count < before + 50);
        step(next_event(&world->ring));
    }
    return world->start_count - before;
}

static void test_thresholds_are_exact(void **state)
{
    const struct threshold_row *row = *state;
    struct bench t;

    bench_init(&t);
    t.conf.unhealthy_threshold = row->unhealthy;
    t.conf.healthy_threshold = row->healthy;
    bench_plan(&t, 1);
    assert_int_equal(checks_until(&t, SLOT_IN_SERVICE), 0);     /* the one that was started by the plan */
    for (unsigned i = 0; i < 3; i++) {
        world->instances[1].connect_res = -ECONNREFUSED;
        assert_int_equal(checks_until(&t, SLOT_OUT_OF_SERVICE), row->unhealthy);
        assert_int_equal(slot_status(t.slots[0]).why, WHY_FAILED);
        world->instances[1].connect_res = 0;
        assert_int_equal(checks_until(&t, SLOT_IN_SERVICE), row->healthy);
    }
    assert_int_equal(slot_status(t.slots[0]).since_ms, clock_realtime_ms());
    bench_fini(&t);
}

/* Whenever an instance falls silent, it is out within unhealthy x interval + timeout (and 1 ms of rounding). */
static void test_detection_time(void **state)
{
    (void)state;

    for (uint64_t offset = 0; offset < 100; offset++) {
        struct bench t;
        bench_init(&t);
        bench_plan(&t, 1);
        run_for(500 + offset);
        world->instances[1].connect_ms = NEVER;
        run_for(2 * 100 + 90 + 1);
        assert_int_equal(state_of(&t, 0), SLOT_OUT_OF_SERVICE);
        bench_fini(&t);
    }
}

/* ---- pauses of the checker itself ---- */

/* Held up at any time, for any time: an instance that answers in time has never failed. */
static void test_pause_is_not_held_against_it(void **state)
{
    static const uint64_t lengths[] = { 1, 10, 11, 12, 20, 40, 80, 90, 91, 100, 150, 1000, 12345, 3600000 };
    (void)state;

    for (uint64_t offset = 0; offset < 100; offset++) {
        for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
            uint64_t takes_ms = lengths[i] > 10 ? 90 : 80;      /* a shorter pause goes unnoticed */
            struct bench t;
            bench_init(&t);
            bench_plan(&t, 3);
            world->instances[1].connect_ms = world->instances[1].answer_ms = takes_ms / 2;
            world->instances[2].connect_ms = takes_ms;
            world->instances[3].answer_ms = takes_ms;
            run_for(300);
            world->ring.pause_at_ms = START_MS + 300 + offset;
            world->ring.pause_ms = lengths[i];
            run_for(lengths[i] + 500);
            assert_string_equal(strstr(world->log, "out of service") == NULL ? "" : world->log, "");
            for (size_t k = 0; k < 3; k++) {
                struct check_record records[SLOT_HISTORY];
                size_t count = slot_history(t.slots[k], records, SLOT_HISTORY);
                while (count-- > 0)
                    assert_int_equal(records[count].reason, CHECK_OK);
            }
            bench_fini(&t);
        }
    }
}

/* After a pause the grid goes on; missed points are not made up for. */
static void test_pause_makes_no_burst(void **state)
{
    struct bench t;
    (void)state;

    bench_init(&t);
    bench_plan(&t, 1);
    run_for(300);
    world->ring.pause_at_ms = START_MS + 300;
    world->ring.pause_ms = 5000;
    run_for(5300);
    assert_in_range(world->start_count, 4 + 3, 4 + 5);
    for (size_t i = 2; i < world->start_count; i++)
        assert_true(world->starts[i].at_ms - world->starts[i - 1].at_ms >= 50);
    bench_fini(&t);
}

/* A machine on which every turn comes late still sees that an instance is silent. */
static void test_lag_does_not_hide_a_failure(void **state)
{
    static const uint64_t lags[] = { 1, 5, 11, 30, 60, 200 };
    (void)state;

    for (size_t i = 0; i < sizeof(lags) / sizeof(lags[0]); i++) {
        struct bench t;
        bench_init(&t);
        bench_plan(&t, 1);
        run_for(100);
        assert_int_equal(state_of(&t, 0), SLOT_IN_SERVICE);
        world->ring.lag_ms = lags[i];
        world->instances[1].answer_ms = NEVER;
        run_for(60000);
        assert_int_equal(state_of(&t, 0), SLOT_OUT_OF_SERVICE);
        world->ring.lag_ms = 0;
        bench_fini(&t);
    }
}

/* ---- hints ---- */

static void hint(struct bench *t)
{
    slot_hint(t->slots[0]);
    prober_look_for_hints(t->prober);
}

/* The bench at a moment between two points of the grid, with one instance in service. */
static void hint_bench(struct bench *t)
{
    bench_init(t);
    t->conf.interval_ms = 1000;
    bench_plan(t, 1);
    run_for(1);
    run_for(timer_wheel_next(&world->ring.wheel) - world->ring.now_ms + 100);
    while (world->start_count < 3)
        run_for(100);
    run_for(100);
    world->start_count = 0;
}

static void test_hint_checks_at_once(void **state)
{
    struct bench t;
    (void)state;

    hint_bench(&t);
    hint(&t);
    assert_int_equal(world->start_count, 1);
    assert_int_equal(world->starts[0].at_ms, world->ring.now_ms);
    run_for(1);
    assert_int_equal(last_record(&t, 0).reason, CHECK_OK);
    hint(&t);
    run_for(500);
    assert_int_equal(world->start_count, 1);            /* one an interval */
    world->start_count = 0;
    run_for(5000);
    assert_int_equal(world->start_count, 5);
    assert_on_grid(1, 1000, 0);                         /* as before */
    bench_fini(&t);
}

static void test_hint_counts_as_a_result(void **state)
{
    struct bench t;
    (void)state;

    hint_bench(&t);
    world->instances[1].connect_res = -ECONNREFUSED;
    hint(&t);
    run_for(1);
    assert_int_equal(state_of(&t, 0), SLOT_IN_SERVICE);     /* it decides nothing by itself */
    while (world->start_count < 2)
        run_for(1);
    run_for(1);
    assert_int_equal(state_of(&t, 0), SLOT_OUT_OF_SERVICE); /* with the next point's */
    world->start_count = 0;
    hint(&t);
    assert_int_equal(world->start_count, 0);                /* out already */
    bench_fini(&t);
}

static void test_hint_during_a_check(void **state)
{
    struct bench t;
    (void)state;

    hint_bench(&t);
    world->instances[1].connect_ms = 50;
    while (world->start_count == 0)
        run_for(1);
    hint(&t);
    run_for(200);
    assert_int_equal(world->start_count, 1);
    assert_false(slot_take_hint(t.slots[0]));
    bench_fini(&t);
}

static void test_hints_are_bounded(void **state)
{
    struct bench t;
    (void)state;

    hint_bench(&t);
    for (unsigned i = 0; i < 10000; i++) {
        hint(&t);
        run_for(1);
    }
    assert_in_range(world->start_count, 19, 21);            /* ten points, ten extra ones */
    bench_fini(&t);
}

/* ---- plans ---- */

static void test_kept_slot_keeps_all(void **state)
{
    struct bench t;
    (void)state;

    bench_init(&t);
    bench_plan(&t, 2);
    run_for(250);
    world->instances[1].connect_res = -ECONNREFUSED;
    assert_int_equal(state_of(&t, 0), SLOT_IN_SERVICE);
    while (last_record(&t, 0).reason == CHECK_OK)
        run_for(1);
    for (unsigned i = 0; i < 50; i++) {                     /* one failure so far; none is added or lost */
        bench_plan(&t, 2);
        assert_int_equal(state_of(&t, 0), SLOT_IN_SERVICE);
    }
    assert_int_equal(checks_until(&t, SLOT_OUT_OF_SERVICE) <= 2, true);
    run_for(1000);
    assert_on_grid(1, 100, 1);
    assert_on_grid(2, 100, 1);
    bench_fini(&t);
}

static void test_gone_slot_is_forgotten(void **state)
{
    struct bench t;
    struct check_record record;
    (void)state;

    bench_init(&t);
    world->instances[2].connect_ms = NEVER;
    bench_plan(&t, 2);
    run_for(10);
    bench_plan(&t, 1);                                      /* while its check is under way */
    run_for(1000);
    assert_int_equal(slot_history(t.slots[1], &record, 1), 0);
    assert_null(strstr(world->log, "web-2"));
    assert_in_range(world->start_count, 11, 13);
    bench_fini(&t);
}

static void test_changed_check_keeps_the_verdict(void **state)
{
    struct bench t;
    (void)state;

    bench_init(&t);
    bench_plan(&t, 1);
    run_for(250);
    world->instances[1].answer_ms = NEVER;
    while (world->request_bytes > 0 && last_record(&t, 0).reason == CHECK_OK)
        run_for(1);
    run_for(20);
    t.conf.target.path = "/other";
    t.conf.interval_ms = 1000;
    t.conf.timeout_ms = 200;
    bench_plan(&t, 1);
    world->start_count = 0;
    assert_int_equal(state_of(&t, 0), SLOT_IN_SERVICE);
    run_for(10000);
    assert_on_grid(1, 1000, 0);
    assert_int_equal(strncmp(world->request, "GET /other ", 11), 0);
    assert_int_equal(state_of(&t, 0), SLOT_OUT_OF_SERVICE);
    assert_non_null(strstr(world->log, "out of service after 2 failures"));     /* the one before the change counts */
    bench_fini(&t);
}

/* A new one whose check is changed before its first result still gets its first check at once. */
static void test_changed_before_the_first_result(void **state)
{
    struct bench t;
    (void)state;

    bench_init(&t);
    t.conf.interval_ms = 300000;
    t.conf.timeout_ms = 60000;
    world->instances[1].connect_ms = NEVER;
    bench_plan(&t, 1);
    run_for(5);
    world->instances[1].connect_ms = 0;
    t.conf.target.path = "/other";
    bench_plan(&t, 1);
    run_for(5);
    assert_int_equal(state_of(&t, 0), SLOT_IN_SERVICE);
    bench_fini(&t);
}

static void test_disabled_zone_is_not_checked(void **state)
{
    struct bench t;
    struct config_health_check conf;
    struct health_item item = { .balancer = "lb", .instance = "web", .check = &conf };
    struct plan *plan;
    (void)state;

    bench_init(&t);
    conf = t.conf;
    item.slot = t.slots[0] = slot_new(t.board, false);
    assert_int_equal(addr_parse("127.0.0.1", &item.address), 0);
    assert_int_equal(plan_new(&item, 1, &plan), 0);
    prober_take(t.prober, &plan);
    run_for(1000);
    assert_int_equal(world->start_count, 0);
    assert_int_equal(slot_status(t.slots[0]).why, WHY_ZONE_NOT_ENABLED);
    bench_fini(&t);
}

/* Random plans, behaviours and pauses: nothing leaks, nothing is checked twice at a time, gone ones stay gone. */
static void test_random_life(void **state)
{
    uint64_t random = seed_of_test();
    struct bench t;
    (void)state;

    bench_init(&t);
    for (unsigned i = 0; i < 3000; i++) {
        struct behaviour *b = &world->instances[1 + random_below(&random, 20)];
        *b = (struct behaviour){ .answer = OK_ANSWER, .connect_ms = random_below(&random, 50), .answer_ms = random_below(&random, 60) };
        b->piece_bytes = random_below(&random, 30);
        if (random_below(&random, 5) == 0)
            b->connect_ms = NEVER;
        if (random_below(&random, 5) == 0)
            b->connect_res = -ECONNREFUSED;
        if (random_below(&random, 10) == 0) {
            t.conf.interval_ms = 100 + random_below(&random, 3) * 100;
            t.conf.target.protocol = random_below(&random, 2) == 0 ? PROTOCOL_TCP : PROTOCOL_HTTP;
            bench_plan(&t, random_below(&random, 21));
        }
        world->ring.lag_ms = random_below(&random, 20) == 0 ? random_below(&random, 300) : 0;
        run_for(random_below(&random, 50));
        assert_true(world->ring.pending_count <= 40);
        world->start_count = 0;
        world->log[0] = '\0';
    }
    world->ring.lag_ms = 0;
    bench_fini(&t);
}

/* ---- our own trouble, and what is said ---- */

static void test_no_descriptor_is_not_its_fault(void **state)
{
    struct rlimit before, none;
    struct bench t;
    (void)state;

    bench_init(&t);
    bench_plan(&t, 1);
    run_for(150);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){ .rlim_cur = 0, .rlim_max = before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    run_for(2000);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(last_record(&t, 0).reason, CHECK_LOCAL);
    assert_int_equal(last_record(&t, 0).error, EMFILE);
    assert_int_equal(state_of(&t, 0), SLOT_IN_SERVICE);
    assert_string_equal(strchr(world->log, '\n') + 1,       /* once, not once a check */
                        "lb: instance web-1 can not be checked from here: Too many open files; verdicts stay as they are\n");
    run_for(200);
    assert_int_equal(last_record(&t, 0).reason, CHECK_OK);
    bench_fini(&t);
}

static void test_log_of_transitions(void **state)
{
    struct bench t;
    (void)state;

    bench_init(&t);
    bench_plan(&t, 1);
    run_for(1);
    assert_string_equal(world->log, "lb: instance web-1 (127.0.0.1:1) in service after 1 success: ok (was registering for 0ms, passing for 0ms)\n");
    run_for(192000);
    world->log[0] = '\0';
    world->instances[1].answer = "HTTP/1.1 503 No\r\n\r\n";
    checks_until(&t, SLOT_OUT_OF_SERVICE);
    assert_string_equal(world->log, "lb: instance web-1 (127.0.0.1:1) out of service after 2 failures: status-503 (was in service for 3m12s, failing for 100ms)\n");
    run_for(5000);
    world->log[0] = '\0';
    world->instances[1].answer = OK_ANSWER;
    checks_until(&t, SLOT_IN_SERVICE);
    assert_string_equal(world->log, "lb: instance web-1 (127.0.0.1:1) in service after 2 successes: ok (was out of service for 5.2s, passing for 100ms)\n");
    bench_fini(&t);
}

/* Who waits for first results finds the verdict with the first of them, and is woken by it even if it fails. */
static void test_first_result_wakes(void **state)
{
    struct ring waiting = { 0 };
    struct bench t;
    (void)state;

    bench_init(&t);
    assert_int_equal(board_subscribe(t.board, &waiting), 0);
    world->instances[1].connect_res = -ECONNREFUSED;
    bench_plan(&t, 1);
    assert_int_equal(slot_checked_at_us(t.slots[0]), 0);
    step(next_event(&world->ring));
    assert_int_equal(state_of(&t, 0), SLOT_NEW);
    assert_true(slot_checked_at_us(t.slots[0]) > 0);
    assert_int_equal(world->wakes, 1);
    board_unsubscribe(t.board, &waiting);
    bench_fini(&t);
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ADD_ROWS(rows, function)                                                                                                  \
    for (size_t i = 0; i < COUNT(rows); i++)                                                                                      \
        tests[count++] = (struct CMUnitTest){ .name = rows[i].name, .test_func = function, .initial_state = (void *)&rows[i] }

int main(void)
{
    static const struct CMUnitTest fixed[] = {
        cmocka_unit_test(test_endless_answer), cmocka_unit_test(test_request_in_pieces), cmocka_unit_test(test_tcp_asks_nothing),
        cmocka_unit_test(test_proxy_header_not_taken), cmocka_unit_test(test_proxy_version_is_the_targets),
        cmocka_unit_test(test_grid), cmocka_unit_test(test_spread), cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_detection_time), cmocka_unit_test(test_pause_is_not_held_against_it),
        cmocka_unit_test(test_pause_makes_no_burst), cmocka_unit_test(test_lag_does_not_hide_a_failure),
        cmocka_unit_test(test_hint_checks_at_once), cmocka_unit_test(test_hint_counts_as_a_result),
        cmocka_unit_test(test_hint_during_a_check), cmocka_unit_test(test_hints_are_bounded),
        cmocka_unit_test(test_kept_slot_keeps_all), cmocka_unit_test(test_gone_slot_is_forgotten),
        cmocka_unit_test(test_changed_check_keeps_the_verdict), cmocka_unit_test(test_changed_before_the_first_result),
        cmocka_unit_test(test_disabled_zone_is_not_checked), cmocka_unit_test(test_random_life),
        cmocka_unit_test(test_no_descriptor_is_not_its_fault), cmocka_unit_test(test_log_of_transitions),
        cmocka_unit_test(test_first_result_wakes),
    };
    struct CMUnitTest tests[COUNT(fixed) + COUNT(answer_rows) + COUNT(error_rows) + COUNT(request_rows) + COUNT(proxy_rows) + COUNT(timeout_rows) + COUNT(threshold_rows)];
    size_t count = COUNT(fixed);

    memcpy(tests, fixed, sizeof(fixed));
    ADD_ROWS(answer_rows, test_answer);
    ADD_ROWS(error_rows, test_error);
    ADD_ROWS(request_rows, test_request);
    ADD_ROWS(proxy_rows, test_proxy_header);
    ADD_ROWS(timeout_rows, test_timeout);
    ADD_ROWS(threshold_rows, test_thresholds_are_exact);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
