/* The health thread end to end: real ring, real clock, instances on loopback that misbehave as told. */
#include "health/health.h"
#include "common/board.h"
#include "common/clock.h"
#include "common/log.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#define OK_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define WAIT_MS 20000           /* for what must happen, on a machine however slow */
#define HELD_MAX 64

/* ---- the log, in place of common/log.c ---- */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_text[65536];

void log_line(enum log_level level, const char *format, ...)
{
    size_t used;
    va_list args;

    (void)level;
    pthread_mutex_lock(&log_lock);
    used = strlen(log_text);
    va_start(args, format);
    vsnprintf(log_text + used, sizeof(log_text) - used, format, args);
    va_end(args);
    pthread_mutex_unlock(&log_lock);
}

static bool logged(const char *text)
{
    bool found;

    pthread_mutex_lock(&log_lock);
    found = strstr(log_text, text) != NULL;
    pthread_mutex_unlock(&log_lock);
    return found;
}

static void log_clear(void)
{
    pthread_mutex_lock(&log_lock);
    log_text[0] = '\0';
    pthread_mutex_unlock(&log_lock);
}

/* ---- an instance ---- */

enum manner { ANSWER, DRIP, SILENT, RESET, CLOSE };

struct instance {
    int listen_fd;
    struct addr addr;
    pthread_t thread;
    pthread_mutex_t lock;       /* all below */
    enum manner manner;
    const char *answer;
    char request[1024];
    struct addr peer;
    unsigned requests;
    int held[HELD_MAX];
    size_t held_count;
};

static void read_request(int fd, char *request, size_t size)
{
    size_t len = 0;
    ssize_t n;

    request[0] = '\0';
    while (strstr(request, "\r\n\r\n") == NULL && len + 1 < size && (n = read(fd, request + len, size - 1 - len)) > 0) {
        len += (size_t)n;
        request[len] = '\0';
    }
}

static void write_all(int fd, const char *text, size_t piece)
{
    for (size_t at = 0, len = strlen(text); at < len; at += piece)
        if (send(fd, text + at, len - at < piece ? len - at : piece, MSG_NOSIGNAL) < 0)
            return;
}

static void answer(struct instance *instance, int fd, enum manner manner, const char *text)
{
    struct linger abort_on_close = { .l_onoff = 1 };

    switch (manner) {
    case ANSWER:
    case DRIP:
        write_all(fd, text, manner == DRIP ? 1 : strlen(text));
        break;
    case SILENT:
        pthread_mutex_lock(&instance->lock);
        if (instance->held_count < HELD_MAX)
            instance->held[instance->held_count++] = dup(fd);
        pthread_mutex_unlock(&instance->lock);
        break;
    case RESET:
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_on_close, sizeof(abort_on_close));
        break;
    case CLOSE:
        break;
    }
}

static void serve(struct instance *instance, int fd, const struct addr *peer)
{
    char request[1024];
    enum manner manner;
    const char *text;

    read_request(fd, request, sizeof(request));
    pthread_mutex_lock(&instance->lock);
    manner = instance->manner;
    text = instance->answer;
    memcpy(instance->request, request, sizeof(request));
    instance->peer = *peer;
    instance->requests++;
    pthread_mutex_unlock(&instance->lock);
    answer(instance, fd, manner, text);
    close(fd);
}

static void *instance_main(void *arg)
{
    struct instance *instance = arg;
    struct addr peer;
    socklen_t len = sizeof(peer);
    int fd;

    while ((fd = accept4(instance->listen_fd, &peer.sa, &len, SOCK_CLOEXEC)) >= 0 || errno == EMFILE) {
        if (fd >= 0)
            serve(instance, fd, &peer);
        len = sizeof(peer);
    }
    return NULL;
}

/* A socket bound to a free port of `host`. */
static int bound_socket(const char *host, struct addr *addr)
{
    socklen_t len = sizeof(*addr);
    int fd;

    assert_int_equal(addr_parse(host, addr), 0);
    fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, &addr->sa, addr_len(addr)), 0);
    assert_int_equal(getsockname(fd, &addr->sa, &len), 0);
    return fd;
}

static void instance_start(struct instance *instance, const char *host, enum manner manner, const char *text)
{
    *instance = (struct instance){ .manner = manner, .answer = text };
    pthread_mutex_init(&instance->lock, NULL);
    instance->listen_fd = bound_socket(host, &instance->addr);
    assert_int_equal(listen(instance->listen_fd, 64), 0);
    assert_int_equal(pthread_create(&instance->thread, NULL, instance_main, instance), 0);
}

static void instance_behave(struct instance *instance, enum manner manner, const char *text)
{
    pthread_mutex_lock(&instance->lock);
    instance->manner = manner;
    instance->answer = text;
    pthread_mutex_unlock(&instance->lock);
}

static unsigned instance_requests(struct instance *instance)
{
    unsigned requests;

    pthread_mutex_lock(&instance->lock);
    requests = instance->requests;
    pthread_mutex_unlock(&instance->lock);
    return requests;
}

static void instance_stop(struct instance *instance)
{
    shutdown(instance->listen_fd, SHUT_RDWR);
    pthread_join(instance->thread, NULL);
    close(instance->listen_fd);
    for (size_t i = 0; i < instance->held_count; i++)
        close(instance->held[i]);
    pthread_mutex_destroy(&instance->lock);
}

/* ---- the thread under test, with one registration ---- */

struct bench {
    struct board *board;
    struct health *health;
    struct slot *slot;
    struct config_health_check conf;
    struct health_item item;
};

static void bench_init(struct bench *t)
{
    *t = (struct bench){ .conf = { .target = { .protocol = PROTOCOL_HTTP, .path = "/index.html" }, .interval_ms = 100, .timeout_ms = 90,
                                   .unhealthy_threshold = 2, .healthy_threshold = 2 } };
    log_clear();
    assert_int_equal(board_new(&t->board), 0);
    assert_int_equal(health_start(t->board, &t->health), 0);
    t->slot = slot_new(t->board, true);
    assert_non_null(t->slot);
}

static void bench_check(struct bench *t, const struct addr *addr)
{
    t->conf.target.port = addr_port(addr);
    t->item = (struct health_item){ .slot = t->slot, .balancer = "lb", .instance = "web", .address = addr_with_port(*addr, 0),
                                    .source = t->item.source, .check = &t->conf,
                                    .proxy_version = t->item.proxy_version, .zone_enabled = true };
    assert_int_equal(health_plan(t->health, &t->item, 1), 0);
}

static void bench_fini(struct bench *t)
{
    health_stop(&t->health);
    assert_null(t->health);
    slot_unref(&t->slot);
    board_free(&t->board);
}

static size_t records_of(struct slot *slot, struct check_record records[SLOT_HISTORY])
{
    return slot_history(slot, records, SLOT_HISTORY);
}

#define WAIT_UNTIL(condition)                                                    \
    do {                                                                         \
        uint64_t give_up_us = clock_monotonic_us() + WAIT_MS * UINT64_C(1000);   \
        while (!(condition)) {                                                   \
            assert_true(clock_monotonic_us() < give_up_us);                      \
            poll(NULL, 0, 1);                                                    \
        }                                                                        \
    } while (0)

static void wait_for_results(struct bench *t, size_t count)
{
    struct check_record records[SLOT_HISTORY];

    WAIT_UNTIL(records_of(t->slot, records) >= count);
}

static void wait_for_state(struct bench *t, enum slot_state state)
{
    WAIT_UNTIL(slot_status(t->slot).state == state);
}

static void assert_detail(struct bench *t, const char *detail)
{
    struct check_record record;
    char text[CHECK_DETAIL_MAX];

    assert_int_equal(slot_history(t->slot, &record, 1), 1);
    assert_string_equal(check_detail(&record, text), detail);
}

/* ---- every reason, provoked ---- */

static const struct manner_row {
    const char *name;
    enum manner manner;
    const char *answer, *detail;
} manner_rows[] = {
    { "ok", ANSWER, OK_ANSWER, "ok" },
    { "ok, one byte a segment", DRIP, OK_ANSWER, "ok" },
    { "chunked", ANSWER, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok" },
    { "status-503", ANSWER, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "status-503" },
    { "status-301", ANSWER, "HTTP/1.1 301 Moved Permanently\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "status-301" },
    { "no-framing", ANSWER, "HTTP/1.1 200 OK\r\n\r\nok", "no-framing" },
    { "malformed", ANSWER, "220 mail.example ESMTP\r\n", "malformed" },
    { "closed-early", CLOSE, NULL, "closed-early" },
    { "closed-early within the head", ANSWER, "HTTP/1.1 200 OK\r\nContent-Le", "closed-early" },
    { "reset", RESET, NULL, "reset" },
    { "timeout-response", SILENT, NULL, "timeout-response" },
};

static void test_manner(void **state)
{
    const struct manner_row *row = *state;
    struct instance instance;
    struct bench t;

    instance_start(&instance, "127.0.0.1", row->manner, row->answer);
    bench_init(&t);
    t.conf.interval_ms = 300000;
    t.conf.timeout_ms = row->manner == SILENT ? 50 : 60000;
    bench_check(&t, &instance.addr);
    wait_for_results(&t, 1);
    assert_detail(&t, row->detail);
    assert_int_equal(slot_status(t.slot).state, strcmp(row->detail, "ok") == 0 ? SLOT_IN_SERVICE : SLOT_NEW);
    assert_int_equal(instance_requests(&instance), 1);
    bench_fini(&t);
    instance_stop(&instance);
}

static void check_address(const struct addr *addr, enum protocol protocol, uint64_t timeout_ms, const char *detail)
{
    struct bench t;

    bench_init(&t);
    t.conf.target = (struct config_target){ .protocol = protocol, .path = protocol == PROTOCOL_HTTP ? "/" : NULL };
    t.conf.interval_ms = 300000;
    t.conf.timeout_ms = timeout_ms;
    bench_check(&t, addr);
    wait_for_results(&t, 1);
    assert_detail(&t, detail);
    bench_fini(&t);
}

static void test_refused(void **state)
{
    struct addr addr;
    int fd = bound_socket("127.0.0.1", &addr);      /* nobody listens, nobody else can */
    (void)state;

    check_address(&addr, PROTOCOL_HTTP, 60000, "connection-refused");
    check_address(&addr, PROTOCOL_TCP, 60000, "connection-refused");
    close(fd);
}

/* A listener whose queue is full: further SYNs get no answer. */
static void test_timeout_connect(void **state)
{
    enum { FILLERS = 4 };
    struct addr addr;
    int fd = bound_socket("127.0.0.1", &addr), fillers[FILLERS];
    (void)state;

    assert_int_equal(listen(fd, 0), 0);
    for (size_t i = 0; i < FILLERS; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(fillers[i] >= 0);
        assert_true(connect(fillers[i], &addr.sa, addr_len(&addr)) == 0 || errno == EINPROGRESS);
    }
    check_address(&addr, PROTOCOL_TCP, 50, "timeout-connect");
    for (size_t i = 0; i < FILLERS; i++)
        close(fillers[i]);
    close(fd);
}

static void test_unreachable(void **state)
{
    struct addr addr;
    (void)state;

    assert_int_equal(addr_parse("255.255.255.255", &addr), 0);
    addr = addr_with_port(addr, 80);
    check_address(&addr, PROTOCOL_TCP, 1000, "unreachable");
}

static void test_tcp(void **state)
{
    struct addr addr;
    int fd = bound_socket("127.0.0.1", &addr);
    (void)state;

    assert_int_equal(listen(fd, 8), 0);             /* the kernel accepts; nobody has to */
    check_address(&addr, PROTOCOL_TCP, 60000, "ok");
    close(fd);
}

static void test_local_error(void **state)
{
    struct instance instance;
    struct rlimit before, none;
    struct bench t;
    (void)state;

    instance_start(&instance, "127.0.0.1", ANSWER, OK_ANSWER);
    bench_init(&t);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){ .rlim_cur = 0, .rlim_max = before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    bench_check(&t, &instance.addr);
    wait_for_results(&t, 4);
    assert_detail(&t, "local-error");
    assert_int_equal(slot_status(t.slot).state, SLOT_NEW);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    wait_for_state(&t, SLOT_IN_SERVICE);
    bench_fini(&t);
    instance_stop(&instance);
}

/* ---- what the instance sees ---- */

static const struct host_row {
    const char *name, *host, *shown;
} host_rows[] = {
    { "over IPv4", "127.0.0.1", "127.0.0.1" },
    { "over IPv6", "::1", "[::1]" },
};

static bool have_ipv6(void)
{
    struct sockaddr_in6 loopback = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool have = fd >= 0 && bind(fd, (const struct sockaddr *)&loopback, sizeof(loopback)) == 0;

    if (fd >= 0)
        close(fd);
    return have;
}

static void test_request_bytes(void **state)
{
    const struct host_row *row = *state;
    struct instance instance;
    struct bench t;
    char expected[512];

    if (strchr(row->host, ':') != NULL && !have_ipv6())
        skip();
    instance_start(&instance, row->host, ANSWER, OK_ANSWER);
    bench_init(&t);
    bench_check(&t, &instance.addr);
    wait_for_state(&t, SLOT_IN_SERVICE);
    snprintf(expected, sizeof(expected),
             "GET /index.html HTTP/1.1\r\nHost: %s:%u\r\nUser-Agent: ELB-HealthChecker/1.0\r\nAccept: */*\r\nConnection: close\r\n\r\n",
             row->shown, addr_port(&instance.addr));
    bench_fini(&t);
    instance_stop(&instance);
    assert_string_equal(instance.request, expected);
}

static const struct source_row {
    const char *name, *source, *seen;
} source_rows[] = {
    { "checks come from the node's address", "127.0.0.5", "127.0.0.5" },
    { "an address that is not here leaves the choice to the kernel", "192.0.2.1", "127.0.0.1" },
    { "an address of another family too", "::1", "127.0.0.1" },
};

static void test_source(void **state)
{
    const struct source_row *row = *state;
    struct instance instance;
    struct bench t;
    char seen[ADDR_TEXT_MAX];

    instance_start(&instance, "127.0.0.1", ANSWER, OK_ANSWER);
    bench_init(&t);
    assert_int_equal(addr_parse(row->source, &t.item.source), 0);
    bench_check(&t, &instance.addr);
    wait_for_state(&t, SLOT_IN_SERVICE);
    bench_fini(&t);
    instance_stop(&instance);
    assert_string_equal(addr_format_host(&instance.peer, seen), row->seen);
}

/* Version 1 of the PROXY protocol names the check's own two ends, as a server that logs them sees them. */
static void test_proxy_header(void **state)
{
    const struct host_row *row = *state;
    struct instance instance;
    struct bench t;
    char expected[512], host[ADDR_TEXT_MAX];

    if (strchr(row->host, ':') != NULL && !have_ipv6())
        skip();
    instance_start(&instance, row->host, ANSWER, OK_ANSWER);
    bench_init(&t);
    t.item.proxy_version = 1;
    bench_check(&t, &instance.addr);
    wait_for_state(&t, SLOT_IN_SERVICE);
    bench_fini(&t);
    instance_stop(&instance);
    snprintf(expected, sizeof(expected),
             "PROXY TCP%c %s %s %u %u\r\n"
             "GET /index.html HTTP/1.1\r\nHost: %s:%u\r\nUser-Agent: ELB-HealthChecker/1.0\r\nAccept: */*\r\nConnection: close\r\n\r\n",
             strchr(row->host, ':') != NULL ? '6' : '4', addr_format_host(&instance.peer, host), row->host, addr_port(&instance.peer),
             addr_port(&instance.addr), row->shown, addr_port(&instance.addr));
    assert_string_equal(instance.request, expected);
}

/* ---- transitions ---- */

static size_t failures_up_to(struct bench *t, uint64_t realtime_ms)
{
    struct check_record records[SLOT_HISTORY];
    size_t count = records_of(t->slot, records), failures = 0;

    for (size_t i = 0; i < count; i++)
        failures += records[i].reason != CHECK_OK && records[i].at_ms <= realtime_ms;
    return failures;
}

static const struct threshold_row {
    const char *name;
    unsigned unhealthy, healthy;
} threshold_rows[] = {
    { "thresholds 1 and 1", 1, 1 }, { "thresholds 2 and 2", 2, 2 }, { "thresholds 3 and 5", 3, 5 },
};

static void test_transitions(void **state)
{
    const struct threshold_row *row = *state;
    struct instance instance;
    struct bench t;
    char down[64], up[64];

    snprintf(down, sizeof(down), "out of service after %u failure%s: status-503 (was in service for", row->unhealthy, row->unhealthy == 1 ? "" : "s");
    snprintf(up, sizeof(up), "in service after %u success%s: ok (was out of service for", row->healthy, row->healthy == 1 ? "" : "es");
    instance_start(&instance, "127.0.0.1", ANSWER, OK_ANSWER);
    bench_init(&t);
    t.conf.unhealthy_threshold = row->unhealthy;
    t.conf.healthy_threshold = row->healthy;
    t.conf.timeout_ms = 99;
    bench_check(&t, &instance.addr);
    WAIT_UNTIL(logged("in service after 1 success: ok (was registering for"));
    instance_behave(&instance, ANSWER, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    WAIT_UNTIL(logged(down));
    assert_int_equal(failures_up_to(&t, slot_status(t.slot).since_ms), row->unhealthy);
    instance_behave(&instance, ANSWER, OK_ANSWER);
    WAIT_UNTIL(logged(up));
    assert_int_equal(slot_status(t.slot).why, WHY_PASSED);
    bench_fini(&t);
    instance_stop(&instance);
}

static int by_value(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return x < y ? -1 : x > y;
}

/* Starts do not drift: over many intervals most of them stand where the first of the grid stood. */
static void test_no_drift(void **state)
{
    struct check_record records[SLOT_HISTORY];
    int offsets[SLOT_HISTORY];
    struct instance instance;
    struct bench t;
    (void)state;

    instance_start(&instance, "127.0.0.1", ANSWER, OK_ANSWER);
    bench_init(&t);
    bench_check(&t, &instance.addr);
    wait_for_results(&t, SLOT_HISTORY);
    WAIT_UNTIL(instance_requests(&instance) > SLOT_HISTORY);        /* the first one, at once, has left the history */
    records_of(t.slot, records);
    for (size_t i = 0; i < SLOT_HISTORY; i++)
        offsets[i] = (int)((records[i].at_ms + 150 - records[0].at_ms % 100) % 100) - 50;
    qsort(offsets, SLOT_HISTORY, sizeof(offsets[0]), by_value);
    assert_true(offsets[SLOT_HISTORY / 4] >= -10);
    assert_true(offsets[SLOT_HISTORY * 3 / 4] <= 10);
    bench_fini(&t);
    instance_stop(&instance);
}

static void test_hint(void **state)
{
    struct instance instance;
    struct bench t;
    (void)state;

    instance_start(&instance, "127.0.0.1", ANSWER, OK_ANSWER);
    bench_init(&t);
    t.conf.interval_ms = 300000;
    t.conf.timeout_ms = 60000;
    t.conf.unhealthy_threshold = 1;
    bench_check(&t, &instance.addr);
    wait_for_state(&t, SLOT_IN_SERVICE);
    instance_behave(&instance, RESET, NULL);
    slot_hint(t.slot);
    wait_for_state(&t, SLOT_OUT_OF_SERVICE);
    assert_int_equal(instance_requests(&instance), 2);
    bench_fini(&t);
    instance_stop(&instance);
}

/* ---- the thread ---- */

static size_t open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* Plans come and go while checks of silent instances are under way; each stop leaves nothing behind. */
static void test_plans_under_way(void **state)
{
    enum { SLOTS = 40, ROUNDS = 5 };
    struct instance instance;
    struct health_item items[SLOTS];
    size_t before;
    (void)state;

    instance_start(&instance, "127.0.0.1", SILENT, NULL);
    before = open_descriptors();
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct slot *slots[SLOTS];
        struct bench t;
        bench_init(&t);
        t.conf.target.port = addr_port(&instance.addr);
        for (size_t i = 0; i < SLOTS; i++) {
            slots[i] = slot_new(t.board, true);
            items[i] = (struct health_item){ .slot = slots[i], .balancer = "lb", .instance = "web", .address = instance.addr, .check = &t.conf, .zone_enabled = true };
        }
        for (size_t count = 0; count <= SLOTS; count += 8)
            assert_int_equal(health_plan(t.health, items, count), 0);
        assert_int_equal(health_plan(t.health, items + 10, 10), 0);
        WAIT_UNTIL(slot_checked_at_us(slots[12]) > 0 || round % 2 == 0);
        bench_fini(&t);
        for (size_t i = 0; i < SLOTS; i++)
            slot_unref(&slots[i]);
        pthread_mutex_lock(&instance.lock);
        while (instance.held_count > 0)
            close(instance.held[--instance.held_count]);
        pthread_mutex_unlock(&instance.lock);
    }
    instance_stop(&instance);
    assert_true(open_descriptors() < before);       /* by the instance's listener */
}

static void test_progress_without_a_plan(void **state)
{
    struct bench t;
    uint64_t first;
    (void)state;

    bench_init(&t);
    first = health_progress_us(t.health);
    WAIT_UNTIL(health_progress_us(t.health) > first);
    first = health_progress_us(t.health);
    WAIT_UNTIL(health_progress_us(t.health) > first);
    bench_fini(&t);
}

/* ---- the documentation ---- */

/* docs/HEALTH.md has a table row "| `detail` |" for each reason, and no other in that table. */
static void test_documented_reasons(void **state)
{
    static const char *const texts[] = {
#define X(name, text) text,
        CHECK_REASONS(X)
#undef X
    };
    FILE *file = fopen("docs/HEALTH.md", "re");
    char line[1024], row[CHECK_DETAIL_MAX + 16];
    size_t found = 0;
    bool inside = false;
    (void)state;

    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        inside = line[0] == '#' ? strcmp(line, "## Results of a check\n") == 0 : inside;
        if (!inside || strncmp(line, "| `", 3) != 0)
            continue;
        assert_true(found < CHECK_REASON_COUNT);
        snprintf(row, sizeof(row), "| `%s` |", texts[found++]);
        assert_int_equal(strncmp(line, row, strlen(row)), 0);
    }
    fclose(file);
    assert_int_equal(found, CHECK_REASON_COUNT);
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ADD_ROWS(rows, function)                                                                                                  \
    for (size_t i = 0; i < COUNT(rows); i++)                                                                                      \
        tests[count++] = (struct CMUnitTest){ .name = rows[i].name, .test_func = function, .initial_state = (void *)&rows[i] }

int main(void)
{
    static const struct CMUnitTest fixed[] = {
        cmocka_unit_test(test_refused), cmocka_unit_test(test_timeout_connect), cmocka_unit_test(test_unreachable),
        cmocka_unit_test(test_tcp), cmocka_unit_test(test_local_error), cmocka_unit_test(test_no_drift), cmocka_unit_test(test_hint),
        cmocka_unit_test(test_plans_under_way), cmocka_unit_test(test_progress_without_a_plan), cmocka_unit_test(test_documented_reasons),
    };
    struct CMUnitTest tests[COUNT(fixed) + COUNT(manner_rows) + 2 * COUNT(host_rows) + COUNT(source_rows) + COUNT(threshold_rows)];
    size_t count = COUNT(fixed);

    memcpy(tests, fixed, sizeof(fixed));
    ADD_ROWS(manner_rows, test_manner);
    ADD_ROWS(host_rows, test_request_bytes);
    ADD_ROWS(host_rows, test_proxy_header);
    ADD_ROWS(source_rows, test_source);
    ADD_ROWS(threshold_rows, test_transitions);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
