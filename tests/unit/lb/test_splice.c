#include "lb/splice.h"
#include "tests/unit/common/loop.h"
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/common/sockets.h"
/*
 * Both directions between two real connections, pumped after each poll as a
 * connection does; the test is the client at one end and the instance at the other.
 */
#define KIB 1024

struct splice {
    struct ring *ring;
    struct pipe_pool *pool;
    struct side front, back;
    struct stream up, down;
    int client, instance;
    bool whole;
};

static void pump(struct splice *s)
{
    if (s->whole)
        s->whole = stream_pump(s->ring, &s->up) && stream_pump(s->ring, &s->down);
}

#define CALLBACK(name, member)                                                  \
    static void name(struct op *op, struct ring_result result)                  \
    {                                                                           \
        struct splice *s = container_of(op, struct splice, member);             \
        assert_true(result.res > 0 || result.res == -ECANCELED);                \
        assert_null(result.chunk);                                              \
        if (result.res > 0)                                                     \
            pump(s);                                                            \
    }
CALLBACK(front_in, front.recv_op)
CALLBACK(front_out, front.send_op)
CALLBACK(back_in, back.recv_op)
CALLBACK(back_out, back.send_op)

static bool begin(struct splice *s, struct ring *ring, struct pipe_pool *pool, void (*pair_of)(int pair[2]))
{
    int pair[2];
    *s = (struct splice){ .ring = ring, .pool = pool, .whole = true };
    pair_of(pair);
    side_init(&s->front, pair[0], front_in, front_out);
    s->client = pair[1];
    pair_of(pair);
    side_init(&s->back, pair[0], back_in, back_out);
    s->instance = pair[1];
    set_nonblocking(s->client);
    set_nonblocking(s->instance);
    s->up = (struct stream){ .from = &s->front, .to = &s->back };
    s->down = (struct stream){ .from = &s->back, .to = &s->front };
    if (!splice_begin(pool, &s->up, &s->down))
        return false;
    pump(s);
    return true;
}

static void hang_up(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void end(struct splice *s)
{
    s->whole = false;
    side_cancel(s->ring, &s->front);
    side_cancel(s->ring, &s->back);
    STEP_UNTIL(s->ring, !side_busy(&s->front) && !side_busy(&s->back));
    stream_stop(s->pool, &s->up);
    stream_stop(s->pool, &s->down);
    side_close(s->ring, &s->front, false);
    side_close(s->ring, &s->back, false);
    hang_up(&s->client);
    hang_up(&s->instance);
}

static struct ring *ring_made(void)
{
    struct ring_conf conf = { .ops_max = 64 };      /* no buffers at all: none are used */
    struct ring *ring = NULL;
    assert_int_equal(ring_new(&conf, &ring), 0);
    return ring;
}

static struct pipe_pool *pool_made(unsigned count)
{
    struct pipe_pool *pool = pipe_pool_new(count);
    assert_non_null(pool);
    return pool;
}

static void turn(struct ring *ring)
{
    ring_wake(ring);
    assert_int_equal(ring_step(ring), 0);
}

/* A peer that says `bytes` and hears what the other says, each byte known by its place. */
struct peer {
    int fd;
    size_t said, heard, bytes, gulp;
    bool ended, heard_end;
};

static void peer_says(struct peer *p)
{
    char piece[48 * KIB];
    size_t len = p->bytes - p->said < sizeof(piece) ? p->bytes - p->said : sizeof(piece);
    ssize_t n;
    for (size_t i = 0; i < len; i++)
        piece[i] = stream_byte(p->said + i);
    n = len == 0 ? 0 : send(p->fd, piece, len, MSG_NOSIGNAL);
    p->said += n > 0 ? (size_t)n : 0;
    if (p->said == p->bytes && !p->ended) {
        assert_int_equal(shutdown(p->fd, SHUT_WR), 0);
        p->ended = true;
    }
}

static void peer_hears(struct peer *p)
{
    char piece[48 * KIB];
    size_t left = p->gulp;
    ssize_t n = -1;
    while (left > 0 && (n = recv(p->fd, piece, left < sizeof(piece) ? left : sizeof(piece), 0)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            if (piece[i] != stream_byte(p->heard + (size_t)i))
                fail_msg("byte %zu is another", p->heard + (size_t)i);
        p->heard += (size_t)n;
        left -= (size_t)n;
    }
    p->heard_end = p->heard_end || (left > 0 && n == 0);
}

static const struct bulk_row {
    const char *name;
    void (*pair_of)(int pair[2]);
    size_t up, down;            /* bytes that client and instance say */
    size_t client_gulp, instance_gulp;
} bulks[] = {
    { "nothing but ends",                    tcp_pair,  0, 0, SIZE_MAX, SIZE_MAX },
    { "one byte each way",                   tcp_pair,  1, 1, SIZE_MAX, SIZE_MAX },
    { "much up",                             tcp_pair,  20000 * KIB + 1, 0, SIZE_MAX, SIZE_MAX },
    { "much down",                           tcp_pair,  0, 20000 * KIB + 1, SIZE_MAX, SIZE_MAX },
    { "much both ways",                      tcp_pair,  8000 * KIB, 9000 * KIB, SIZE_MAX, SIZE_MAX },
    { "a client that reads slowly",          tcp_pair,  10, 9000 * KIB, 20000, SIZE_MAX },
    { "an instance that reads slowly",       tcp_pair,  9000 * KIB, 10, SIZE_MAX, 20000 },
    { "both read slowly",                    tcp_pair,  6000 * KIB, 6000 * KIB, 20000, 30000 },
    { "much both ways over socket pairs",    unix_pair, 4000 * KIB, 5000 * KIB, SIZE_MAX, SIZE_MAX },
    { "a slow reader over a socket pair",    unix_pair, 0, 3000 * KIB, 10000, SIZE_MAX },
};

static void test_bulk(void **state)
{
    const struct bulk_row *row = *state;
    struct ring *ring = ring_made();
    struct pipe_pool *pool = pool_made(2);
    struct splice s;
    struct peer client, instance;
    assert_true(begin(&s, ring, pool, row->pair_of));
    client = (struct peer){ .fd = s.client, .bytes = row->up, .gulp = row->client_gulp };
    instance = (struct peer){ .fd = s.instance, .bytes = row->down, .gulp = row->instance_gulp };
    while (!client.heard_end || !instance.heard_end) {
        peer_says(&client);
        peer_says(&instance);
        turn(ring);
        assert_true(s.whole);
        peer_hears(&client);
        peer_hears(&instance);
    }
    assert_int_equal(instance.heard, row->up);
    assert_int_equal(client.heard, row->down);
    assert_true(s.up.done && s.down.done);
    assert_int_equal(s.up.bytes, row->up);
    assert_int_equal(s.down.bytes, row->down);
    assert_int_equal(s.up.held + s.down.held, 0);
    end(&s);
    pipe_pool_free(&pool);
    assert_null(pool);
    ring_free(&ring);
}

/* One side ends; the other still speaks for long. */
static void test_half_closed(void **state)
{
    bool client_first = *(const bool *)*state;
    struct ring *ring = ring_made();
    struct pipe_pool *pool = pool_made(2);
    struct splice s;
    struct peer first, last;
    (void)state;
    assert_true(begin(&s, ring, pool, tcp_pair));
    first = (struct peer){ .fd = client_first ? s.client : s.instance, .bytes = 5, .gulp = SIZE_MAX };
    last = (struct peer){ .fd = client_first ? s.instance : s.client, .bytes = 3000 * KIB, .gulp = SIZE_MAX };
    peer_says(&first);
    while (!last.heard_end) {
        turn(ring);
        peer_hears(&last);
    }
    assert_int_equal(last.heard, 5);
    assert_int_equal((client_first ? s.up : s.down).done, true);
    assert_int_equal((client_first ? s.down : s.up).done, false);
    while (!first.heard_end) {
        peer_says(&last);
        turn(ring);
        peer_hears(&first);
    }
    assert_int_equal(first.heard, 3000 * KIB);
    assert_true(s.whole && s.up.done && s.down.done);
    end(&s);
    pipe_pool_free(&pool);
    ring_free(&ring);
}

static const struct reset_row {
    const char *name;
    bool client;                /* it is who resets */
    bool full;                  /* while as much as fits is on its way to it */
} resets[] = {
    { "the client resets in silence",                   true, false },
    { "the instance resets in silence",                 false, false },
    { "the client resets with much on its way to it",   true, true },
    { "the instance resets with much on its way to it", false, true },
};

static void test_reset(void **state)
{
    const struct reset_row *row = *state;
    struct ring *ring = ring_made();
    struct pipe_pool *pool = pool_made(2);
    struct splice s;
    struct peer speaker;
    const struct stream *broken;
    bool front_failed;
    assert_true(begin(&s, ring, pool, tcp_pair));
    speaker = (struct peer){ .fd = row->client ? s.instance : s.client, .bytes = SIZE_MAX };
    for (unsigned quiet = 0; row->full && quiet < 100;) {
        size_t before = speaker.said;
        peer_says(&speaker);
        turn(ring);
        quiet = speaker.said == before ? quiet + 1 : 0;
    }
    reset_on_close(row->client ? s.client : s.instance);
    hang_up(row->client ? &s.client : &s.instance);
    STEP_UNTIL(ring, !s.whole);
    broken = s.up.error != 0 ? &s.up : &s.down;
    assert_true(broken->error == -ECONNRESET || broken->error == -EPIPE);
    front_failed = (broken == &s.up) != broken->to_failed;
    assert_int_equal(front_failed, row->client);
    end(&s);
    pipe_pool_free(&pool);      /* also those with bytes in them went back */
    ring_free(&ring);
}

/* Two pipes a connection: who finds none is told so before anything has changed, and finds some when they are back. */
static void test_pipes_run_out(void **state)
{
    struct ring *ring = ring_made();
    struct pipe_pool *pool = pool_made(5);
    struct splice s[3];
    (void)state;
    assert_true(begin(&s[0], ring, pool, tcp_pair));
    assert_true(begin(&s[1], ring, pool, tcp_pair));
    assert_false(begin(&s[2], ring, pool, tcp_pair));
    assert_false(s[2].front.spliced || s[2].back.spliced);
    assert_null(s[2].up.pipe);
    assert_null(s[2].down.pipe);
    assert_int_equal(fcntl(s[2].front.fd, F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(fcntl(s[2].back.fd, F_GETFL) & O_NONBLOCK, 0);
    end(&s[2]);
    end(&s[0]);
    assert_true(begin(&s[2], ring, pool, tcp_pair));
    for (unsigned i = 1; i < 3; i++)
        end(&s[i]);
    pipe_pool_free(&pool);
    pipe_pool_free(&pool);      /* none is fine */
    ring_free(&ring);
}

/* Bytes that one connection left in a pipe come out for nobody else. */
static void test_nothing_is_left_in_a_pipe(void **state)
{
    struct ring *ring = ring_made();
    struct pipe_pool *pool = pool_made(2);
    struct splice s;
    struct peer speaker, listener;
    (void)state;
    assert_true(begin(&s, ring, pool, tcp_pair));
    speaker = (struct peer){ .fd = s.client, .bytes = SIZE_MAX };
    while (s.up.held == 0 || !s.back.send_op.active) {
        peer_says(&speaker);
        turn(ring);
    }
    end(&s);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(begin(&s, ring, pool, tcp_pair));
        speaker = (struct peer){ .fd = s.client, .bytes = 100 };
        listener = (struct peer){ .fd = s.instance, .gulp = SIZE_MAX };
        while (!listener.heard_end) {
            peer_says(&speaker);
            turn(ring);
            peer_hears(&listener);
        }
        assert_int_equal(listener.heard, 100);
        end(&s);
    }
    pipe_pool_free(&pool);
    ring_free(&ring);
}

#define ROWS(table, function)                                                                     \
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)                                 \
        tests[count++] = (struct CMUnitTest){ .name = table[i].name, .test_func = (function), .initial_state = (void *)&table[i] }

int main(void)
{
    static const bool client = true, instance = false;
    static struct CMUnitTest tests[32];
    size_t count = 0;
    ROWS(bulks, test_bulk);
    ROWS(resets, test_reset);
    tests[count++] = (struct CMUnitTest){ .name = "the client has said all", .test_func = test_half_closed, .initial_state = (void *)&client };
    tests[count++] = (struct CMUnitTest){ .name = "the instance has said all", .test_func = test_half_closed, .initial_state = (void *)&instance };
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_pipes_run_out);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_nothing_is_left_in_a_pipe);
    return _cmocka_run_group_tests("splice", tests, count, NULL, NULL);
}
