#include "common/ring.h"
#include "common/clock.h"
#include "tests/unit/common/loop.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define RESULTS_MAX 64
#define SMALL 64            /* bytes of a small buffer */
#define BULK 4096

static bool in_call;        /* a ring call is on the stack: no callback may be */

/* An operation that notes what came. Chunks stay held until dropped. */
struct probe {
    struct op op;
    unsigned calls;
    int results[RESULTS_MAX];
    bool more;
    struct chunk *held;     /* the last ones, newest first */
    char bytes[RESULTS_MAX * SMALL];
    size_t len;
    struct ring *again;     /* receives anew from inside the callback; NULL: not */
};

static void noted(struct op *op, struct ring_result result)
{
    struct probe *p = container_of(op, struct probe, op);
    assert_false(in_call);
    assert_true(p->calls < RESULTS_MAX);
    p->results[p->calls++] = result.res;
    p->more = result.more;
    assert_int_equal(op->active, result.more);
    assert_true(result.chunk == NULL || result.res > 0);
    if (result.chunk != NULL) {
        assert_int_equal(result.chunk->len, result.res);
        assert_true(p->len + result.chunk->len <= sizeof(p->bytes));
        memcpy(p->bytes + p->len, result.chunk->data, result.chunk->len);
        p->len += result.chunk->len;
        result.chunk->next = p->held;
        p->held = result.chunk;
    }
    if (p->again != NULL && result.res > 0)
        ring_recv(p->again, op, op->fd, RING_SMALL);
}

static void probe_init(struct probe *p)
{
    *p = (struct probe){ .calls = 0 };
    op_init(&p->op, noted);
}

/* The last result. */
static int result_of(const struct probe *p)
{
    assert_true(p->calls > 0);
    return p->results[p->calls - 1];
}

static void put_one(struct ring *ring, struct probe *p)
{
    struct chunk *chunk = p->held;
    assert_non_null(chunk);
    p->held = chunk->next;
    in_call = true;
    chunk_put(ring, chunk);
    in_call = false;
}

static void put_all(struct ring *ring, struct probe *p)
{
    while (p->held != NULL)
        put_one(ring, p);
}

static struct ring *ring_of(uint32_t small, uint32_t bulk)
{
    struct ring_conf conf = { .ops_max = 64, .small_count = small, .small_bytes = SMALL, .bulk_count = bulk, .bulk_bytes = BULK };
    struct ring *ring = NULL;
    assert_int_equal(ring_new(&conf, &ring), 0);
    return ring;
}

static void cancel(struct ring *ring, struct probe *p)
{
    in_call = true;
    ring_cancel(ring, &p->op);
    in_call = false;
}

static void cancel_and_wait(struct ring *ring, struct probe *p)
{
    cancel(ring, p);
    STEP_UNTIL(ring, !p->op.active);
}

static void pair_of(int pair[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
}

static void put_text(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void assert_got(const struct probe *p, const char *text)
{
    assert_int_equal(p->len, strlen(text));
    assert_memory_equal(p->bytes, text, p->len);
}

static void nothing(struct timer *timer)
{
    (void)timer;
}

/* A turn that ends although nothing comes. */
static void step_once(struct ring *ring)
{
    struct timer now;
    timer_init(&now, nothing);
    ring_timer_set(ring, &now, 0);
    assert_int_equal(ring_step(ring), 0);
}

static int listening(struct addr *at)
{
    socklen_t len = sizeof(at->in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(addr_parse("127.0.0.1", at), 0);
    assert_int_equal(bind(fd, &at->sa, addr_len(at)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, &at->sa, &len), 0);
    return fd;
}

static int client_of(const struct addr *at)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &at->sa, addr_len(at)), 0);
    return fd;
}

static void test_accepts_until_cancelled(void **state)
{
    struct ring *ring = ring_of(2, 0);
    struct probe p;
    struct addr at;
    int fd = listening(&at), clients[3];
    (void)state;
    probe_init(&p);
    ring_accept(ring, &p.op, fd);
    for (unsigned i = 0; i < 3; i++)
        clients[i] = client_of(&at);
    STEP_UNTIL(ring, p.calls == 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(p.results[i] >= 0);
        assert_int_equal(fcntl(p.results[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        assert_int_equal(fcntl(p.results[i], F_GETFL) & O_NONBLOCK, 0);
        close(p.results[i]);
        close(clients[i]);
    }
    assert_true(p.op.active);
    cancel_and_wait(ring, &p);
    assert_int_equal(result_of(&p), -ECANCELED);
    assert_int_equal(p.calls, 4);
    close(fd);
    ring_free(&ring);
    assert_null(ring);
}

static void test_connects(void **state)
{
    struct ring *ring = ring_of(2, 0);
    struct probe p;
    struct addr at;
    int listener = listening(&at), fd;
    (void)state;
    for (int there = 1; there >= 0; there--) {
        if (!there)
            close(listener);
        probe_init(&p);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ring_connect(ring, &p.op, fd, &at);
        assert_int_equal(p.calls, 0);
        STEP_UNTIL(ring, p.calls == 1);
        assert_int_equal(result_of(&p), there ? 0 : -ECONNREFUSED);
        close(fd);
    }
    ring_free(&ring);
}

static void test_errors_come_as_completions(void **state)
{
    struct ring *ring = ring_of(2, 2);
    struct probe p[6];
    struct addr at;
    char byte;
    (void)state;
    assert_int_equal(addr_parse("127.0.0.1", &at), 0);
    for (unsigned i = 0; i < 6; i++)
        probe_init(&p[i]);
    in_call = true;
    ring_accept(ring, &p[0].op, -1);
    ring_connect(ring, &p[1].op, -1, &at);
    ring_recv(ring, &p[2].op, -1, RING_BULK);
    ring_recv_multishot(ring, &p[3].op, -1);
    ring_send(ring, &p[4].op, -1, "x", 1, 0);
    ring_read(ring, &p[5].op, -1, &byte, 1);
    in_call = false;
    for (unsigned i = 0; i < 6; i++) {
        STEP_UNTIL(ring, p[i].calls == 1);
        assert_int_equal(result_of(&p[i]), -EBADF);
    }
    ring_free(&ring);
}

static const struct recv_row {
    const char *name;
    enum ring_class size_class;
    bool multishot;
} recvs[] = {
    { "into small buffers, one at a time", RING_SMALL, false },
    { "into large buffers, one at a time", RING_BULK, false },
    { "into small buffers as it comes", RING_SMALL, true },
};

static void start(struct ring *ring, struct probe *p, const struct recv_row *row, int fd)
{
    if (p->op.active)
        return;
    in_call = true;
    if (row->multishot)
        ring_recv_multishot(ring, &p->op, fd);
    else
        ring_recv(ring, &p->op, fd, row->size_class);
    in_call = false;
}

static void test_recv(void **state)
{
    const struct recv_row *row = *state;
    struct ring *ring = ring_of(4, 4);
    char bytes[300];
    struct probe p;
    int pair[2];
    pair_of(pair);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 7);
    probe_init(&p);
    assert_int_equal(write(pair[1], bytes, sizeof(bytes)), sizeof(bytes));
    for (unsigned calls = 0; p.len < sizeof(bytes); calls = p.calls) {
        start(ring, &p, row, pair[0]);
        STEP_UNTIL(ring, p.calls > calls);
        assert_true(result_of(&p) > 0);
        assert_true(result_of(&p) <= (row->size_class == RING_SMALL ? SMALL : BULK));
        put_all(ring, &p);
    }
    assert_memory_equal(p.bytes, bytes, sizeof(bytes));
    close(pair[1]);
    start(ring, &p, row, pair[0]);
    STEP_UNTIL(ring, !p.op.active);
    assert_int_equal(result_of(&p), 0);
    close(pair[0]);
    ring_free(&ring);
}

struct eater {
    struct op op;
    struct ring *ring;
    size_t len;
};

static void eaten(struct op *op, struct ring_result result)
{
    struct eater *e = container_of(op, struct eater, op);
    assert_true(result.res > 0);
    e->len += result.chunk->len;
    chunk_put(e->ring, result.chunk);
}

/* However fast bytes come, the owner is asked again before much is held. */
static void test_multishot_ends(void **state)
{
    static const size_t small = 8192, all = 4 * RING_MULTISHOT_BYTES;
    struct ring_conf conf = { .ops_max = 64, .small_count = 64, .small_bytes = (uint32_t)small };
    char *bytes = calloc(1, all);
    struct ring *ring = NULL;
    struct eater e = { .len = 0 };
    int pair[2];
    (void)state;
    assert_non_null(bytes);
    assert_int_equal(ring_new(&conf, &ring), 0);
    e.ring = ring;
    op_init(&e.op, eaten);
    pair_of(pair);
    assert_int_equal(write(pair[1], bytes, all), all);
    for (size_t before = 0; before < all; before = e.len) {
        ring_recv_multishot(ring, &e.op, pair[0]);
        STEP_UNTIL(ring, !e.op.active);
        assert_true(e.len > before);
        assert_true(e.len - before <= RING_MULTISHOT_BYTES + small);
    }
    close(pair[0]);
    close(pair[1]);
    free(bytes);
    ring_free(&ring);
}

static void test_recv_reset(void **state)
{
    static const struct linger now = { .l_onoff = 1 };
    const struct recv_row *row = *state;
    struct ring *ring = ring_of(4, 4);
    struct probe p;
    struct addr at;
    int listener = listening(&at), client = client_of(&at), fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    probe_init(&p);
    start(ring, &p, row, fd);
    step_once(ring);
    setsockopt(client, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(client);
    STEP_UNTIL(ring, !p.op.active);
    assert_int_equal(result_of(&p), -ECONNRESET);
    close(fd);
    close(listener);
    ring_free(&ring);
}

static void test_recv_cancelled(void **state)
{
    const struct recv_row *row = *state;
    struct ring *ring = ring_of(4, 4);
    struct probe p;
    int pair[2];
    pair_of(pair);
    probe_init(&p);
    for (unsigned flown = 0; flown < 2; flown++) {      /* not yet handed to the kernel, or waiting in it */
        start(ring, &p, row, pair[0]);
        if (flown)
            step_once(ring);
        cancel(ring, &p);
        cancel(ring, &p);
        STEP_UNTIL(ring, !p.op.active);
        assert_int_equal(p.calls, flown + 1);
        assert_int_equal(result_of(&p), -ECANCELED);
    }
    cancel(ring, &p);                                   /* of nothing: nothing */
    put_text(pair[1], "later");
    step_once(ring);
    assert_int_equal(p.calls, 2);
    start(ring, &p, row, pair[0]);                      /* what came meanwhile is still there */
    STEP_UNTIL(ring, p.calls == 3);
    assert_got(&p, "later");
    put_all(ring, &p);
    cancel_and_wait(ring, &p);
    close(pair[0]);
    close(pair[1]);
    ring_free(&ring);
}

static void test_restart_from_its_own_callback(void **state)
{
    struct ring *ring = ring_of(4, 0);
    struct probe p;
    int pair[2];
    (void)state;
    pair_of(pair);
    probe_init(&p);
    p.again = ring;
    ring_recv(ring, &p.op, pair[0], RING_SMALL);
    put_text(pair[1], "one");
    STEP_UNTIL(ring, p.calls == 1);
    assert_true(p.op.active);
    put_text(pair[1], "two");
    STEP_UNTIL(ring, p.calls == 2);
    assert_got(&p, "onetwo");
    put_all(ring, &p);
    cancel_and_wait(ring, &p);
    close(pair[0]);
    close(pair[1]);
    ring_free(&ring);
}

/* Buffers run out: nobody loses a byte, nobody spins, the longest waiting comes first. */
#define SOCKETS 8
struct crowd {
    struct ring *ring;
    struct probe probes[SOCKETS];
    int pairs[SOCKETS][2];
};

static void crowd_init(struct crowd *c, const struct recv_row *row)
{
    c->ring = ring_of(2, 2);
    for (unsigned i = 0; i < SOCKETS; i++) {
        pair_of(c->pairs[i]);
        probe_init(&c->probes[i]);
        start(c->ring, &c->probes[i], row, c->pairs[i][0]);
    }
    step_once(c->ring);
    for (unsigned i = 0; i < SOCKETS; i++)
        put_text(c->pairs[i][1], (char[]){ (char)('a' + i), '\0' });
}

static void crowd_fini(struct crowd *c)
{
    for (unsigned i = 0; i < SOCKETS; i++) {
        put_all(c->ring, &c->probes[i]);
        cancel_and_wait(c->ring, &c->probes[i]);
        put_all(c->ring, &c->probes[i]);
        close(c->pairs[i][0]);
        close(c->pairs[i][1]);
    }
    ring_free(&c->ring);
}

static unsigned served(const struct crowd *c)
{
    unsigned count = 0;
    for (unsigned i = 0; i < SOCKETS; i++)
        count += c->probes[i].len > 0;
    return count;
}

static bool put_any(struct crowd *c)
{
    for (unsigned i = 0; i < SOCKETS; i++)
        if (c->probes[i].held != NULL) {
            put_one(c->ring, &c->probes[i]);
            return true;
        }
    return false;
}

static void test_starved(void **state)
{
    const struct recv_row *row = *state;
    struct crowd c;
    crowd_init(&c, row);
    STEP_UNTIL(c.ring, ring_stats(c.ring).buffer_starved >= SOCKETS - 2);
    assert_int_equal(served(&c), 2);
    for (unsigned i = 0; i < 5; i++)
        step_once(c.ring);
    assert_int_equal(served(&c), 2);
    assert_int_equal(ring_stats(c.ring).buffer_starved, SOCKETS - 2);       /* who waits is not tried again and again */
    for (unsigned count = 3; count <= SOCKETS; count++) {
        assert_true(put_any(&c));
        STEP_UNTIL(c.ring, served(&c) == count);
        for (unsigned i = 0; i < SOCKETS; i++)
            assert_true(c.probes[i].calls == 0 || result_of(&c.probes[i]) > 0);
    }
    for (unsigned i = 0; i < SOCKETS; i++)
        assert_got(&c.probes[i], (char[]){ (char)('a' + i), '\0' });
    crowd_fini(&c);
}

static void test_starved_goes_on_after_much(void **state)
{
    const struct recv_row *row = *state;
    struct crowd c;
    unsigned sum = 0;
    crowd_init(&c, row);
    for (unsigned round = 0; round < 20; round++)
        for (unsigned i = 0; i < SOCKETS; i++)
            put_text(c.pairs[i][1], "xyz");
    while (sum < SOCKETS * 61) {
        if (!put_any(&c))
            STEP_UNTIL(c.ring, put_any(&c));
        sum = 0;
        for (unsigned i = 0; i < SOCKETS; i++) {
            start(c.ring, &c.probes[i], row, c.pairs[i][0]);
            sum += (unsigned)c.probes[i].len;
        }
    }
    for (unsigned i = 0; i < SOCKETS; i++)
        assert_memory_equal(c.probes[i].bytes + 1, "xyzxyzxyzxyzxyzxyzxyzxyzxyzxyzxyzxyzxyzxyzxyzxyzxyzxyzxyzxyz", 60);
    crowd_fini(&c);
}

static void test_starved_cancelled(void **state)
{
    const struct recv_row *row = *state;
    struct crowd c;
    unsigned cancelled = 0;
    crowd_init(&c, row);
    STEP_UNTIL(c.ring, ring_stats(c.ring).buffer_starved >= SOCKETS - 2);
    for (unsigned i = 0; i < SOCKETS; i++)
        if (c.probes[i].len == 0 && cancelled < 3) {
            cancel(c.ring, &c.probes[i]);
            cancel(c.ring, &c.probes[i]);
            assert_int_equal(c.probes[i].calls, 0);
            assert_true(c.probes[i].op.active);
            assert_int_equal(ring_step(c.ring), 0);     /* at once: it waits for nothing */
            assert_int_equal(c.probes[i].calls, 1);
            assert_int_equal(result_of(&c.probes[i]), -ECANCELED);
            assert_false(c.probes[i].op.active);
            cancelled++;
        }
    assert_int_equal(cancelled, 3);
    for (unsigned count = 3; count <= SOCKETS - 3; count++) {
        assert_true(put_any(&c));
        STEP_UNTIL(c.ring, served(&c) == count);
    }
    assert_true(put_any(&c));
    for (unsigned i = 0; i < SOCKETS; i++)              /* who gave up may come again, and finds its byte */
        if (c.probes[i].len == 0) {
            start(c.ring, &c.probes[i], row, c.pairs[i][0]);
            STEP_UNTIL(c.ring, c.probes[i].len == 1);
            assert_int_equal(c.probes[i].bytes[0], 'a' + i);
            put_all(c.ring, &c.probes[i]);
        }
    crowd_fini(&c);
}

static void test_one_size_does_not_starve_the_other(void **state)
{
    struct ring *ring = ring_of(2, 2);
    struct probe small[3], bulk;
    int pairs[4][2];
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        pair_of(pairs[i]);
        put_text(pairs[i][1], "x");
        probe_init(i < 3 ? &small[i] : &bulk);
        ring_recv(ring, i < 3 ? &small[i].op : &bulk.op, pairs[i][0], i < 3 ? RING_SMALL : RING_BULK);
    }
    STEP_UNTIL(ring, bulk.calls == 1 && ring_stats(ring).buffer_starved > 0);
    assert_got(&bulk, "x");
    assert_true(small[2].op.active);
    put_all(ring, &bulk);
    put_all(ring, &small[0]);
    STEP_UNTIL(ring, small[2].calls == 1);
    for (unsigned i = 0; i < 4; i++) {
        put_all(ring, i < 3 ? &small[i] : &bulk);
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    ring_free(&ring);
}

static void test_send(void **state)
{
    static char bytes[4 * 1024 * 1024];
    struct ring *ring = ring_of(2, 0);
    struct probe p;
    int pair[2];
    char text[8];
    (void)state;
    pair_of(pair);
    probe_init(&p);
    ring_send(ring, &p.op, pair[0], "hello", 5, 0);
    STEP_UNTIL(ring, p.calls == 1);
    assert_int_equal(result_of(&p), 5);
    assert_int_equal(read(pair[1], text, sizeof(text)), 5);
    assert_memory_equal(text, "hello", 5);
    ring_send(ring, &p.op, pair[0], bytes, sizeof(bytes), MSG_DONTWAIT);        /* nobody reads: as much as fits */
    STEP_UNTIL(ring, p.calls == 2);
    assert_true(result_of(&p) > 0);
    assert_true(result_of(&p) < (int)sizeof(bytes));
    ring_send(ring, &p.op, pair[0], bytes, sizeof(bytes), 0);                    /* waits */
    step_once(ring);
    assert_int_equal(p.calls, 2);
    cancel_and_wait(ring, &p);
    assert_true(result_of(&p) == -ECANCELED || result_of(&p) > 0);
    close(pair[1]);
    ring_send(ring, &p.op, pair[0], "x", 1, 0);                                 /* no signal */
    STEP_UNTIL(ring, !p.op.active);
    assert_int_equal(result_of(&p), -EPIPE);
    close(pair[0]);
    ring_free(&ring);
}

static void test_read_and_poll(void **state)
{
    struct ring *ring = ring_of(0, 0);
    struct probe polled, read_;
    uint64_t count = 0;
    int fd = eventfd(0, EFD_CLOEXEC), pair[2];
    (void)state;
    assert_true(fd >= 0);
    pair_of(pair);
    probe_init(&polled);
    probe_init(&read_);
    ring_read(ring, &read_.op, fd, &count, sizeof(count));
    ring_poll(ring, &polled.op, pair[0], POLLIN);
    step_once(ring);
    assert_int_equal(read_.calls + polled.calls, 0);
    assert_int_equal(write(fd, &(uint64_t){ 41 }, 8), 8);
    put_text(pair[1], "x");
    STEP_UNTIL(ring, read_.calls == 1 && polled.calls == 1);
    assert_int_equal(result_of(&read_), 8);
    assert_int_equal(count, 41);
    assert_int_equal(result_of(&polled) & POLLIN, POLLIN);
    ring_poll(ring, &polled.op, pair[0], POLLOUT);
    STEP_UNTIL(ring, polled.calls == 2);
    assert_int_equal(result_of(&polled), POLLOUT);
    close(fd);
    close(pair[0]);
    close(pair[1]);
    ring_free(&ring);
}

/* More operations than the queues hold: all are started, all come back. */
static void test_more_than_the_queues_hold(void **state)
{
    unsigned count = *(const unsigned *)*state, back = 0;
    struct ring *ring = ring_of(2, 0);
    struct probe *p = calloc(count, sizeof(*p));
    int pair[2];
    assert_non_null(p);
    pair_of(pair);
    put_text(pair[1], "x");
    for (unsigned i = 0; i < count; i++) {
        probe_init(&p[i]);
        in_call = true;
        ring_poll(ring, &p[i].op, pair[0], POLLIN);
        in_call = false;
    }
    while (back < count) {
        STEP_UNTIL(ring, p[back].calls == 1);
        assert_int_equal(result_of(&p[back]) & POLLIN, POLLIN);
        while (back < count && p[back].calls == 1)
            back++;
    }
    assert_int_equal(ring_stats(ring).cq_overflow > 0, count > 512);
    close(pair[0]);
    close(pair[1]);
    free(p);
    ring_free(&ring);
}

/* Time */
static unsigned order;
struct alarm {
    struct timer timer;
    unsigned at;        /* in which place it came */
};

static void rang(struct timer *timer)
{
    container_of(timer, struct alarm, timer)->at = ++order;
}

struct arrival {
    struct probe probe;
    unsigned at;
};

static void arrived(struct op *op, struct ring_result result)
{
    container_of(op, struct arrival, probe.op)->at = ++order;
    noted(op, result);
}

static const struct order_row {
    const char *name;
    bool flown;         /* the kernel had the operation before; else it is handed over in the same turn */
    bool held_up;       /* we were busy past the deadline; else the deadline had passed when it was set */
} orders[] = {
    { "an answer that is there comes before a deadline that has passed", false, false },
    { "one that was waited for, too", true, false },
    { "an answer in time, although we were held up past its deadline", true, true },
};

static void test_completions_before_timers(void **state)
{
    const struct order_row *row = *state;
    struct ring *ring = ring_of(4, 0);
    struct arrival a = { .at = 0 };
    struct alarm alarm = { .at = 0 };
    uint64_t deadline = ring_now_ms(ring);
    int pair[2];
    pair_of(pair);
    probe_init(&a.probe);
    a.probe.op.done = arrived;
    timer_init(&alarm.timer, rang);
    order = 0;
    if (row->flown) {
        ring_recv(ring, &a.probe.op, pair[0], RING_SMALL);
        step_once(ring);
    }
    if (row->held_up)
        deadline = clock_monotonic_us() / 1000 + 3;
    ring_timer_set(ring, &alarm.timer, deadline);
    put_text(pair[1], "x");
    while (clock_monotonic_us() / 1000 <= deadline) {
    }
    if (!row->flown)
        ring_recv(ring, &a.probe.op, pair[0], RING_SMALL);
    STEP_UNTIL(ring, order == 2);
    assert_int_equal(a.at, 1);
    assert_int_equal(alarm.at, 2);
    put_all(ring, &a.probe);
    close(pair[0]);
    close(pair[1]);
    ring_free(&ring);
}

static void test_timers(void **state)
{
    struct ring *ring = ring_of(2, 0);
    struct alarm alarms[5];
    uint64_t now = ring_now_ms(ring);
    (void)state;
    order = 0;
    for (unsigned i = 0; i < 5; i++) {
        timer_init(&alarms[i].timer, rang);
        alarms[i].at = 0;
        ring_timer_set(ring, &alarms[i].timer, now + 30 - 5 * i);
    }
    ring_timer_stop(ring, &alarms[1].timer);
    ring_timer_set(ring, &alarms[4].timer, now + 40);       /* moved to the end */
    STEP_UNTIL(ring, alarms[4].at != 0);
    assert_true(ring_now_ms(ring) >= now + 40);
    assert_int_equal(alarms[3].at, 1);
    assert_int_equal(alarms[2].at, 2);
    assert_int_equal(alarms[0].at, 3);
    assert_int_equal(alarms[4].at, 4);
    assert_int_equal(alarms[1].at, 0);
    ring_free(&ring);
}

/* Wakes */
static void woken(void *arg)
{
    assert_false(in_call);
    ++*(unsigned *)arg;
}

static struct ring *waking_ring(unsigned *wakes)
{
    struct ring_conf conf = { .ops_max = 16, .woken = woken, .arg = wakes };
    struct ring *ring = NULL;
    *wakes = 0;
    assert_int_equal(ring_new(&conf, &ring), 0);
    return ring;
}

#define WAKES_EACH 500
struct waker {
    pthread_t thread;
    struct ring *ring;
    atomic_uint *sum;
};

static void *waker_main(void *arg)
{
    struct waker *w = arg;
    for (unsigned i = 0; i < WAKES_EACH; i++) {
        atomic_fetch_add(w->sum, 1);
        ring_wake(w->ring);
    }
    return NULL;
}

/* What was written before a wake is seen after it, so the last wake of all is never lost. */
static void test_woken_from_threads(void **state)
{
    unsigned wakes, last = 0;
    struct ring *ring = waking_ring(&wakes);
    struct waker wakers[4];
    atomic_uint sum = 0;
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        wakers[i] = (struct waker){ .ring = ring, .sum = &sum };
        assert_int_equal(pthread_create(&wakers[i].thread, NULL, waker_main, &wakers[i]), 0);
    }
    while (last < 4 * WAKES_EACH) {
        unsigned before = wakes;
        STEP_UNTIL(ring, wakes > before);
        last = atomic_load(&sum);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(wakers[i].thread, NULL);
    assert_true(wakes >= 1);
    assert_true(wakes <= 4 * WAKES_EACH);
    ring_free(&ring);
}

static struct ring *signalled;
static void on_signal(int number)
{
    (void)number;
    ring_wake(signalled);
}

static void test_woken_from_a_signal(void **state)
{
    unsigned wakes;
    (void)state;
    signalled = waking_ring(&wakes);
    signal(SIGUSR1, on_signal);
    for (unsigned i = 1; i <= 3; i++) {
        raise(SIGUSR1);
        STEP_UNTIL(signalled, wakes == i);
    }
    signal(SIGUSR1, SIG_DFL);
    ring_free(&signalled);
}

static void test_wakes_that_nobody_hears(void **state)
{
    struct ring *ring = ring_of(0, 0);
    (void)state;
    ring_wake(ring);
    assert_int_equal(ring_step(ring), 0);
    ring_wake(ring);
    ring_free(&ring);
}

/* Chunks */
static void scribble(struct chunk *chunk)
{
    memset(chunk->data - CHUNK_ROOM, '#', CHUNK_ROOM);
    memset(chunk->data + chunk->len, '#', CHUNK_ROOM);
}

static void test_room_is_each_ones_own(void **state)
{
    char text[SMALL + 1] = "";
    struct ring *ring = ring_of(4, 0);
    struct probe p;
    int pair[2];
    (void)state;
    pair_of(pair);
    probe_init(&p);
    ring_recv_multishot(ring, &p.op, pair[0]);
    for (unsigned i = 0; i < 4; i++) {
        memset(text, 'a' + (int)i, SMALL);
        put_text(pair[1], text);
    }
    while (p.len < 4 * SMALL) {
        if (!p.op.active)           /* a kernel that does not count ends after each piece */
            ring_recv_multishot(ring, &p.op, pair[0]);
        assert_int_equal(ring_step(ring), 0);
    }
    for (struct chunk *c = p.held; c != NULL; c = c->next)
        scribble(c);
    for (struct chunk *c = p.held, *next; c != NULL; c = next) {
        next = c->next;
        for (unsigned i = 0; i < SMALL; i++)
            assert_int_equal(c->data[i], c->data[0]);
    }
    put_all(ring, &p);
    cancel_and_wait(ring, &p);
    close(pair[0]);
    close(pair[1]);
    ring_free(&ring);
}

static void test_detached(void **state)
{
    struct ring *ring = ring_of(1, 0);
    struct probe p;
    struct chunk *detached;
    int pair[2];
    (void)state;
    pair_of(pair);
    probe_init(&p);
    put_text(pair[1], "0123456789");
    ring_recv(ring, &p.op, pair[0], RING_SMALL);
    STEP_UNTIL(ring, p.calls == 1);
    assert_false(chunk_detached(p.held));
    detached = chunk_detach(ring, p.held, p.held->data + 3, 4);
    p.held = NULL;
    assert_non_null(detached);
    assert_true(chunk_detached(detached));
    put_text(pair[1], "XXXXXXXXXX");                    /* the ring's only buffer is free again */
    ring_recv(ring, &p.op, pair[0], RING_SMALL);
    STEP_UNTIL(ring, p.calls == 2);
    scribble(detached);
    assert_int_equal(detached->len, 4);
    assert_memory_equal(detached->data, "3456", 4);
    detached = chunk_detach(ring, detached, detached->data + 1, 2);     /* again, of one that is detached */
    assert_non_null(detached);
    scribble(detached);
    assert_memory_equal(detached->data, "45", 2);
    chunk_put(ring, detached);
    put_all(ring, &p);
    detached = chunk_copy("", 0);
    assert_non_null(detached);
    assert_int_equal(detached->len, 0);
    scribble(detached);
    chunk_put(ring, detached);
    close(pair[0]);
    close(pair[1]);
    ring_free(&ring);
}

static void test_scarce(void **state)
{
    struct ring *ring = ring_of(8, 4);
    struct probe p;
    int pair[2];
    (void)state;
    pair_of(pair);
    probe_init(&p);
    for (unsigned held = 0; held < 8; held++) {
        assert_int_equal(ring_buffers_scarce(ring, RING_SMALL), held >= 6);
        assert_false(ring_buffers_scarce(ring, RING_BULK));
        put_text(pair[1], "x");
        ring_recv(ring, &p.op, pair[0], RING_SMALL);
        STEP_UNTIL(ring, p.calls == held + 1);
    }
    assert_true(ring_buffers_scarce(ring, RING_SMALL));
    put_one(ring, &p);
    put_one(ring, &p);
    put_one(ring, &p);
    assert_false(ring_buffers_scarce(ring, RING_SMALL));
    put_all(ring, &p);
    close(pair[0]);
    close(pair[1]);
    ring_free(&ring);
}

/* Texts */
static const struct refusal_row {
    const char *name;
    int err;
    const char *has, *remedy;
} refusals[] = {
    { "not permitted: which of both, and what to do", -EPERM, "io_uring is refused", "" },
    { "not there", -ENOSYS, "io_uring is not there", "halb needs Linux 6.0 or later" },
    { "no memory", -ENOMEM, "io_uring got no memory", "LimitMEMLOCK=" },
    { "anything else says its name", -EMFILE, "io_uring can not be set up: Too many open files", "" },
};

static void test_refusal(void **state)
{
    const struct refusal_row *row = *state;
    char text[300] = "", cut[20];
    assert_ptr_equal(ring_refusal(row->err, text, sizeof(text)), text);
    assert_ptr_equal(strstr(text, row->has), text);
    assert_non_null(strstr(text, row->remedy));
    assert_null(strchr(text, '\n'));
    assert_true(strlen(text) < sizeof(text) - 1);
    ring_refusal(row->err, cut, sizeof(cut));           /* a small place gets what fits */
    assert_int_equal(strlen(cut), sizeof(cut) - 1);
    assert_memory_equal(cut, text, sizeof(cut) - 1);
}

static void test_refusal_names_the_setting(void **state)
{
    FILE *f = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    char text[300], setting[64] = "seccomp profile";
    int disabled = 0;
    (void)state;
    if (f != NULL) {
        assert_int_equal(fscanf(f, "%d", &disabled), 1);
        fclose(f);
    }
    if (disabled > 0)
        snprintf(setting, sizeof(setting), "kernel.io_uring_disabled is %d; set it to 0", disabled);
    ring_refusal(-EPERM, text, sizeof(text));
    assert_non_null(strstr(text, setting));
}

static void test_features(void **state)
{
    char text[300];
    (void)state;
    assert_ptr_equal(ring_features(text, sizeof(text)), text);
    assert_non_null(strstr(text, "buffer-rings"));
    assert_null(strchr(text, '\n'));
}

#define ROWS(table, prefix, function)                                                             \
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)                                 \
        tests[count++] = (struct CMUnitTest){ .name = joined(prefix, table[i].name), .test_func = (function), .initial_state = (void *)&table[i] }

static const char *joined(const char *prefix, const char *name)
{
    static char texts[64][128];
    static size_t used;
    snprintf(texts[used], sizeof(texts[0]), "%s%s", prefix, name);
    return texts[used++];
}

int main(void)
{
    static const unsigned many[] = { 400, 5000 };
    static struct CMUnitTest tests[64];
    size_t count = 0;
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_accepts_until_cancelled);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_connects);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_errors_come_as_completions);
    ROWS(recvs, "received ", test_recv);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_multishot_ends);
    ROWS(recvs, "reset while receiving ", test_recv_reset);
    ROWS(recvs, "cancelled while receiving ", test_recv_cancelled);
    ROWS(recvs, "eight starve for two buffers, ", test_starved);
    ROWS(recvs, "much through two buffers, ", test_starved_goes_on_after_much);
    ROWS(recvs, "cancelled while starved, ", test_starved_cancelled);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_restart_from_its_own_callback);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_one_size_does_not_starve_the_other);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_send);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_read_and_poll);
    tests[count++] = (struct CMUnitTest){ .name = "more than the submission queue holds", .test_func = test_more_than_the_queues_hold, .initial_state = (void *)&many[0] };
    tests[count++] = (struct CMUnitTest){ .name = "more than the completion queue holds", .test_func = test_more_than_the_queues_hold, .initial_state = (void *)&many[1] };
    ROWS(orders, "", test_completions_before_timers);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_timers);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_woken_from_threads);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_woken_from_a_signal);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_wakes_that_nobody_hears);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_room_is_each_ones_own);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_detached);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_scarce);
    ROWS(refusals, "refused: ", test_refusal);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_refusal_names_the_setting);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_features);
    return _cmocka_run_group_tests("ring", tests, count, NULL, NULL);
}
