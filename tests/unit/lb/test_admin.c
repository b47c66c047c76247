#include "lb/admin.h"
#include "common/ring.h"
#include "lb/api.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>
/*
 * The control surface on a scripted ring with a virtual clock: what a client
 * sends comes in pieces of any size, what it gets leaves in pieces of any size.
 * The interface behind it is replaced by one that repeats what it was asked.
 */
#define CONNS_MAX 80

enum kind { KIND_NONE, KIND_ACCEPT, KIND_RECV, KIND_SEND };

struct pending {
    struct op *op;
    enum kind kind;
    int fd;
    const char *bytes;
    size_t len;
};

struct ring {
    struct timer_wheel wheel;
    uint64_t now_ms;
    struct pending pending[CONNS_MAX + 1];
    unsigned chunks_out;
};

static struct ring fake;
static unsigned served;

static struct pending *pending_of_fd(int fd)
{
    for (size_t i = 0; i <= CONNS_MAX; i++) {
        if (fake.pending[i].kind != KIND_NONE && fake.pending[i].fd == fd)
            return &fake.pending[i];
    }
    return NULL;
}

static void begin(struct op *op, enum kind kind, int fd, const void *bytes, size_t len)
{
    size_t i = 0;
    assert_false(op->active);
    while (i <= CONNS_MAX && fake.pending[i].kind != KIND_NONE)
        i++;
    assert_true(i <= CONNS_MAX);
    op->active = true;
    op->cancelled = false;
    fake.pending[i] = (struct pending){ op, kind, fd, bytes, len };
}

static void complete(struct pending *p, struct ring_result result)
{
    struct op *op = p->op;
    if (!result.more)
        p->kind = KIND_NONE;
    op->active = result.more;
    op->done(op, result);
}

void op_init(struct op *op, void (*done)(struct op *op, struct ring_result result))
{
    *op = (struct op){ .done = done, .fd = -1 };
    list_init(&op->starved);
}

void ring_accept(struct ring *ring, struct op *op, int fd)
{
    assert_ptr_equal(ring, &fake);
    begin(op, KIND_ACCEPT, fd, NULL, 0);
}

void ring_recv(struct ring *ring, struct op *op, int fd, enum ring_class size_class)
{
    assert_ptr_equal(ring, &fake);
    assert_int_equal(size_class, RING_SMALL);
    begin(op, KIND_RECV, fd, NULL, 0);
}

void ring_send(struct ring *ring, struct op *op, int fd, const void *bytes, size_t len, int flags)
{
    (void)flags;
    assert_ptr_equal(ring, &fake);
    assert_true(len > 0);
    begin(op, KIND_SEND, fd, bytes, len);
}

void ring_cancel(struct ring *ring, struct op *op)
{
    assert_ptr_equal(ring, &fake);
    if (op->active)
        op->cancelled = true;
}

void chunk_put(struct ring *ring, struct chunk *chunk)
{
    ring->chunks_out--;
    free(chunk->data);
    free(chunk);
}

uint64_t ring_now_ms(const struct ring *ring)
{
    return ring->now_ms;
}

void ring_timer_set(struct ring *ring, struct timer *timer, uint64_t deadline_ms)
{
    timer_set(&ring->wheel, timer, deadline_ms);
}

void ring_timer_stop(struct ring *ring, struct timer *timer)
{
    timer_stop(&ring->wheel, timer);
}

/* Completions of what was cancelled, and timers, as a step of the loop would bring them. */
static void step(uint64_t ms)
{
    fake.now_ms += ms;
    timer_wheel_advance(&fake.wheel, fake.now_ms);
    for (size_t i = 0; i <= CONNS_MAX; i++) {
        if (fake.pending[i].kind != KIND_NONE && fake.pending[i].op->cancelled)
            complete(&fake.pending[i], (struct ring_result){ .res = -ECANCELED });
    }
}

__attribute__((format(printf, 1, 2))) static char *format(const char *form, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, form);
    assert_true(vasprintf(&text, form, args) >= 0);
    va_end(args);
    return text;
}

const char *api_phrase(unsigned status)
{
    return status == 200 ? "OK" : "Refused";
}

void api_refuse(unsigned status, const char *message, struct api_answer *ret)
{
    *ret = (struct api_answer){ .status = status, .content_type = "text/plain", .body = format("%s", message) };
    ret->body_len = strlen(ret->body);
}

void api_serve(struct control *control, const struct api_request *request, struct api_answer *ret)
{
    assert_null(control);
    served++;
    *ret = (struct api_answer){ .status = 200, .content_type = "text/plain" };
    ret->body = format("%.*s %.*s host=%.*s origin=%.*s type=%.*s body=%.*s", (int)request->method.len, request->method.ptr,
                       (int)request->target.len, request->target.ptr, (int)request->host.len, request->host.ptr, (int)request->origin.len,
                       request->origin.ptr, (int)request->content_type.len, request->content_type.ptr, (int)request->body.len,
                       request->body.ptr);
    ret->body_len = strlen(ret->body);
    if (request->target.len > 4 && memcmp(request->target.ptr, "/oom", 4) == 0) {
        free(ret->body);
        ret->body = NULL;
    }
}

/* The client's side */

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int arrive(struct admin *a)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    struct pending *accept = NULL;
    (void)a;
    assert_true(fd >= 0);
    for (size_t i = 0; i <= CONNS_MAX; i++) {
        if (fake.pending[i].kind == KIND_ACCEPT)
            accept = &fake.pending[i];
    }
    assert_non_null(accept);
    complete(accept, (struct ring_result){ .res = fd, .more = true });
    return fd;
}

static void give(int fd, const char *bytes, size_t len)
{
    struct pending *p = pending_of_fd(fd);
    struct chunk *chunk = calloc(1, sizeof(*chunk));
    assert_non_null(p);
    assert_int_equal(p->kind, KIND_RECV);
    chunk->data = malloc(len);
    chunk->len = (uint32_t)len;
    memcpy(chunk->data, bytes, len);
    fake.chunks_out++;
    complete(p, (struct ring_result){ .res = (int)len, .chunk = chunk });
}

static void take(int fd, FILE *to, size_t piece)
{
    struct pending *p;
    while ((p = pending_of_fd(fd)) != NULL && p->kind == KIND_SEND) {
        size_t n = p->len < piece ? p->len : piece;
        fwrite(p->bytes, 1, n, to);
        complete(p, (struct ring_result){ .res = (int)n });
    }
}

/* Sends all of it in pieces, as long as somebody listens; what came back. */
static char *talk(int fd, const char *bytes, size_t len, size_t piece)
{
    char *answer = NULL;
    size_t size;
    FILE *to = open_memstream(&answer, &size);
    for (size_t at = 0; at < len && is_open(fd); at += piece) {
        give(fd, bytes + at, len - at < piece ? len - at : piece);
        take(fd, to, piece);
    }
    fclose(to);
    return answer;
}

static void note_done(void *arg)
{
    ++*(unsigned *)arg;
}

static struct admin *start(void)
{
    struct admin *a = NULL;
    fake = (struct ring){ .now_ms = 1000 };
    timer_wheel_init(&fake.wheel, fake.now_ms);
    served = 0;
    assert_int_equal(admin_start(&fake, NULL, eventfd(0, EFD_CLOEXEC), &a), 0);
    return a;
}

static void stop(struct admin **a)
{
    unsigned times = 0;
    admin_stop(a, note_done, &times);
    assert_null(*a);
    assert_int_equal(times, 0);         /* never from inside */
    step(1);
    step(1);
    assert_int_equal(times, 1);
    assert_int_equal(fake.chunks_out, 0);
    for (size_t i = 0; i <= CONNS_MAX; i++)
        assert_int_equal(fake.pending[i].kind, KIND_NONE);
}

#define HEAD_200(length, connection) \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " length "\r\nCache-Control: no-store\r\nConnection: " connection "\r\n\r\n"
#define HEAD_REFUSED(status, length) \
    "HTTP/1.1 " status " Refused\r\nContent-Type: text/plain\r\nContent-Length: " length "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"

static const struct talk_row {
    const char *name;
    const char *request, *answer;
    bool open;                          /* afterwards */
} rows[] = {
    { "a GET is served and the connection kept", "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n",
      HEAD_200("41", "keep-alive") "GET /a host=localhost origin= type= body=", true },
    { "Connection: close is heard", "GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
      HEAD_200("41", "close") "GET /a host=localhost origin= type= body=", false },
    { "HTTP/1.0 closes", "GET /a HTTP/1.0\r\n\r\n", HEAD_200("32", "close") "GET /a host= origin= type= body=", false },
    { "HEAD gets the head alone", "HEAD /a HTTP/1.1\r\nHost: localhost\r\n\r\n", HEAD_200("42", "keep-alive"), true },
    { "a body comes whole", "POST /p HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
      HEAD_200("65", "keep-alive") "POST /p host=localhost origin= type=application/json body={\"a\":1}", true },
    { "Origin is handed on", "GET /a HTTP/1.1\r\nHost: localhost\r\nOrigin: http://x\r\n\r\n",
      HEAD_200("49", "keep-alive") "GET /a host=localhost origin=http://x type= body=", true },
    { "two requests at once get two answers in order",
      "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\nGET /b HTTP/1.1\r\nHost: localhost\r\n\r\n",
      HEAD_200("41", "keep-alive") "GET /a host=localhost origin= type= body=" HEAD_200("41", "keep-alive") "GET /b host=localhost origin= type= body=",
      true },
    { "chunked bodies are refused", "POST /p HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
      HEAD_REFUSED("400", "45") "expected Content-Length, no Transfer-Encoding", false },
    { "a body of 1 MiB and 1 byte is refused unread", "POST /p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n",
      HEAD_REFUSED("413", "32") "expected a body of at most 1 MiB", false },
    { "a length beyond 64 bits is refused", "POST /p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n",
      HEAD_REFUSED("400", "18") "bad-content-length", false },
    { "bare line feeds are refused", "GET /a HTTP/1.1\nHost: localhost\n\n", HEAD_REFUSED("400", "12") "bad-line-end", false },
    { "Origin twice is refused", "GET /a HTTP/1.1\r\nHost: localhost\r\nOrigin: http://x\r\nOrigin: http://localhost\r\n\r\n",
      HEAD_REFUSED("400", "45") "expected Origin and Content-Type once at most", false },
    { "an answer that memory is short for ends the connection", "GET /oom/ HTTP/1.1\r\nHost: localhost\r\n\r\n", "", false },
};

static void test_talk(void **state)
{
    static const size_t pieces[] = { 1, 2, 3, 7, 64, 100000 };
    const struct talk_row *row = *state;
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct admin *a = start();
        int fd = arrive(a);
        char *answer = talk(fd, row->request, strlen(row->request), pieces[i]);
        assert_string_equal(answer, row->answer);
        assert_int_equal(is_open(fd), row->open);
        free(answer);
        stop(&a);
        assert_false(is_open(fd));
    }
}

/* Every prefix: no answer before the request is whole, then a client that leaves. */
static void test_cut(void **state)
{
    const struct talk_row *row = *state;
    size_t len = strlen(row->request);
    for (size_t cut = 0; cut < len; cut++) {
        struct admin *a = start();
        int fd = arrive(a);
        char *answer = talk(fd, row->request, cut, 100000);
        assert_true(strncmp(answer, row->answer, strlen(answer)) == 0);
        if (is_open(fd))
            complete(pending_of_fd(fd), (struct ring_result){ .res = 0 });
        assert_false(is_open(fd));
        free(answer);
        stop(&a);
    }
}

static void test_expect(void **state)
{
    static const char head[] = "POST /p HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    struct admin *a = start();
    int fd = arrive(a);
    char *answer;
    (void)state;
    for (int i = 0; i < 2; i++) {
        answer = talk(fd, head, sizeof(head) - 1, 7);
        assert_string_equal(answer, "HTTP/1.1 100 Continue\r\n\r\n");
        free(answer);
        answer = talk(fd, "xy", 2, 1);
        assert_string_equal(answer, HEAD_200("44", "keep-alive") "POST /p host=localhost origin= type= body=xy");
        free(answer);
    }
    stop(&a);
}

static void test_body_of_1_mib(void **state)
{
    static const char head[] = "POST /p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048576\r\n\r\n";
    struct admin *a = start();
    int fd = arrive(a);
    char *body = malloc(1 << 20), *answer;
    (void)state;
    memset(body, 'x', 1 << 20);
    answer = talk(fd, head, sizeof(head) - 1, 4096);
    assert_string_equal(answer, "");
    free(answer);
    answer = talk(fd, body, 1 << 20, 4096);
    assert_non_null(strstr(answer, "HTTP/1.1 200 OK"));
    assert_int_equal(strlen(strstr(answer, "body=")), 5 + (1 << 20));
    free(answer);
    free(body);
    stop(&a);
}

/* A head without end is refused within its bounds, whatever it consists of. */
static void test_endless_head(void **state)
{
    static const char *const lines[] = { "GET /", "GET / HTTP/1.1\r\nHost: localhost\r\nX: ", "GET / HTTP/1.1\r\n" };
    static const char *const fillers[] = { "a", "a", "X: y\r\n" };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct admin *a = start();
        int fd = arrive(a);
        char *answer = talk(fd, lines[i], strlen(lines[i]), 4096);
        for (size_t sent = 0; is_open(fd); sent += strlen(fillers[i])) {
            assert_true(sent < 65536);
            free(answer);
            answer = talk(fd, fillers[i], strlen(fillers[i]), 4096);
        }
        assert_non_null(strstr(answer, "HTTP/1.1 400"));
        free(answer);
        stop(&a);
    }
    assert_int_equal(served, 0);
}

static void test_silence(void **state)
{
    struct admin *a = start();
    int fd = arrive(a), slow = arrive(a);
    (void)state;
    give(slow, "GET", 3);
    step(9999);
    assert_true(is_open(fd) && is_open(slow));
    give(slow, " /", 2);                /* a byte now and then does not help */
    step(1);
    assert_false(is_open(fd));
    assert_false(is_open(slow));
    stop(&a);
}

static void test_answer_not_taken(void **state)
{
    static const char request[] = "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct admin *a = start();
    int fd = arrive(a);
    (void)state;
    step(9000);
    give(fd, request, sizeof(request) - 1);
    step(9999);
    assert_true(is_open(fd));
    step(1);
    assert_false(is_open(fd));
    stop(&a);
}

static void test_each_request_has_its_time(void **state)
{
    static const char request[] = "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct admin *a = start();
    int fd = arrive(a);
    (void)state;
    for (int i = 0; i < 5; i++) {
        step(9000);
        free(talk(fd, request, sizeof(request) - 1, 4096));
        assert_true(is_open(fd));
    }
    assert_int_equal(served, 5);
    stop(&a);
}

static bool accepting(void)
{
    for (size_t i = 0; i <= CONNS_MAX; i++) {
        if (fake.pending[i].kind == KIND_ACCEPT)
            return true;
    }
    return false;
}

static void leave(int fd)
{
    complete(pending_of_fd(fd), (struct ring_result){ .res = 0 });
    assert_false(is_open(fd));
}

static bool is_served(int fd)
{
    return pending_of_fd(fd) != NULL;
}

/* Accepting ends; those who were accepted before it could end wait, and are served in their order. */
static void test_full(void **state)
{
    struct admin *a = start();
    int fds[ADMIN_SESSIONS_MAX], first, second;
    (void)state;
    for (size_t i = 0; i < ADMIN_SESSIONS_MAX; i++)
        fds[i] = arrive(a);
    first = arrive(a);
    second = arrive(a);
    assert_true(is_open(first) && is_open(second));
    assert_false(is_served(first) || is_served(second));
    step(0);
    assert_false(accepting());
    leave(fds[5]);
    assert_true(is_served(first));
    assert_false(is_served(second) || accepting());
    leave(fds[7]);
    assert_true(is_served(second));
    assert_false(accepting());
    leave(fds[9]);
    assert_true(accepting());
    stop(&a);
}

static void test_flood(void **state)
{
    struct admin *a = start();
    int fd = -1;
    (void)state;
    for (size_t i = 0; i < 2 * ADMIN_SESSIONS_MAX; i++)
        fd = arrive(a);
    assert_true(is_open(fd));
    assert_false(is_open(arrive(a)));
    stop(&a);
    assert_false(is_open(fd));
}

static void test_no_descriptors(void **state)
{
    struct admin *a = start();
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_true(accepting());
        for (size_t k = 0; k <= CONNS_MAX; k++) {
            if (fake.pending[k].kind == KIND_ACCEPT) {
                complete(&fake.pending[k], (struct ring_result){ .res = -EMFILE });
                break;
            }
        }
        assert_false(accepting());      /* not at once again: that would be a busy loop */
        step(100);
    }
    assert_true(is_open(arrive(a)));
    stop(&a);
}

static void test_stop_with_all_in_flight(void **state)
{
    static const char request[] = "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct admin *a = start();
    int waiting = arrive(a), answering = arrive(a);
    unsigned times = 0;
    (void)state;
    give(answering, request, sizeof(request) - 1);
    admin_stop(&a, note_done, &times);
    /* A result that was on its way when the stop came. */
    give(waiting, "GET", 3);
    complete(pending_of_fd(answering), (struct ring_result){ .res = 5 });
    assert_int_equal(times, 0);
    step(1);
    assert_int_equal(times, 1);
    assert_false(is_open(waiting) || is_open(answering));
}

/* Bytes of a seed: nothing but answers or an end may come of them. */
static void test_noise(void **state)
{
    static const char *const words[] = { "GET ", "/", " HTTP/1.1", "\r\n", "Host: localhost", ":", "Content-Length: 3", "\0", "\xff", "POST ", "%",
                                         "Expect: 100-continue", " ", "\n", "\r" };
    unsigned seed = (unsigned)getpid();
    (void)state;
    print_message("seed %u\n", seed);
    for (int round = 0; round < 3000; round++) {
        struct admin *a = start();
        int fd = arrive(a);
        for (int i = 0; i < 30 && is_open(fd); i++) {
            const char *word = words[(unsigned)rand_r(&seed) % (sizeof(words) / sizeof(words[0]))];
            free(talk(fd, word, word[0] == '\0' ? 1 : strlen(word), 1 + (size_t)(rand_r(&seed) % 5)));
        }
        stop(&a);
        assert_false(is_open(fd));
    }
}

#define ROWS (sizeof(rows) / sizeof(rows[0]))

int main(void)
{
    struct CMUnitTest tests[2 * ROWS + 16];
    const struct CMUnitTest single[] = {
        cmocka_unit_test(test_expect),
        cmocka_unit_test(test_body_of_1_mib),    cmocka_unit_test(test_endless_head),
        cmocka_unit_test(test_silence),          cmocka_unit_test(test_answer_not_taken),
        cmocka_unit_test(test_each_request_has_its_time), cmocka_unit_test(test_full), cmocka_unit_test(test_flood),
        cmocka_unit_test(test_no_descriptors),   cmocka_unit_test(test_stop_with_all_in_flight),
        cmocka_unit_test(test_noise),
    };
    size_t count = 0;
    for (size_t i = 0; i < ROWS; i++) {
        tests[count++] = (struct CMUnitTest){ .name = rows[i].name, .test_func = test_talk, .initial_state = (void *)&rows[i] };
        tests[count++] = (struct CMUnitTest){ .name = rows[i].name, .test_func = test_cut, .initial_state = (void *)&rows[i] };
    }
    for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++)
        tests[count++] = single[i];
    return _cmocka_run_group_tests("admin", tests, count, NULL, NULL);
}
