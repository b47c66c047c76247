#include "lb/side.h"
#include "tests/unit/common/loop.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/common/sockets.h"
/*
 * A side over a real socket and ring, owned by the test as a connection owns
 * it; the peer is the test, too.
 */
#define KIB 1024
#define INBOX_BOUND (64 * KIB)

struct owner {
    struct side side;
    struct ring *ring;
    int peer;
    unsigned received, sent;        /* completions */
    bool sending_over;              /* side_sent() has said so */
};

static void on_received(struct op *op, struct ring_result result)
{
    struct owner *o = container_of(op, struct owner, side.recv_op);
    o->received++;
    side_received(o->ring, &o->side, result);
}

static void on_sent(struct op *op, struct ring_result result)
{
    struct owner *o = container_of(op, struct owner, side.send_op);
    o->sent++;
    o->sending_over = side_sent(o->ring, &o->side, result);
}

static void setup(struct owner *o, uint32_t small, uint32_t bulk)
{
    struct ring_conf conf = { .ops_max = 64, .small_count = small, .small_bytes = 16 * KIB, .bulk_count = bulk, .bulk_bytes = 64 * KIB };
    int pair[2];
    *o = (struct owner){ .peer = -1 };
    assert_int_equal(ring_new(&conf, &o->ring), 0);
    tcp_pair(pair);
    o->peer = pair[1];
    side_init(&o->side, pair[0], on_received, on_sent);
}

static void teardown(struct owner *o)
{
    side_cancel(o->ring, &o->side);
    STEP_UNTIL(o->ring, !side_busy(&o->side));
    side_close(o->ring, &o->side, false);
    assert_int_equal(o->side.fd, -1);
    if (o->peer >= 0)
        close(o->peer);
    ring_free(&o->ring);
}

static void peer_writes(const struct owner *o, const char *bytes, size_t len)
{
    assert_int_equal(send(o->peer, bytes, len, 0), len);
}

static void inbox_of(const struct owner *o, char text[256])
{
    size_t len = 0;
    for (const struct chunk *c = o->side.inbox; c != NULL; c = c->next) {
        assert_true(len + c->len + 2 < 256);
        memcpy(text + len, c->data, c->len);
        len += c->len;
        text[len++] = '|';
    }
    text[len] = '\0';
}

static void assert_inbox(const struct owner *o, const char *expected)
{
    char text[256];
    inbox_of(o, text);
    assert_string_equal(text, expected);
}

static void receive_text(struct owner *o, const char *text)
{
    uint32_t before = o->side.inbox_bytes;
    peer_writes(o, text, strlen(text));
    side_receive(o->ring, &o->side);
    STEP_UNTIL(o->ring, o->side.inbox_bytes == before + strlen(text));
}

static void test_inbox_keeps_order(void **state)
{
    struct owner o;
    struct chunk *chunk, *second;
    (void)state;
    setup(&o, 8, 0);
    assert_null(side_take(&o.side));
    receive_text(&o, "one");
    receive_text(&o, "two");
    assert_inbox(&o, "one|two|");
    chunk = side_take(&o.side);
    assert_inbox(&o, "two|");
    chunk->data++;
    chunk->len--;
    side_put_back(&o.side, chunk);
    assert_inbox(&o, "ne|two|");
    assert_int_equal(o.side.inbox_bytes, 5);
    chunk = side_take(&o.side);
    second = side_take(&o.side);
    assert_null(side_take(&o.side));
    assert_int_equal(o.side.inbox_bytes, 0);
    side_put_back(&o.side, second);         /* into an empty one, and what comes goes behind it */
    side_put_back(&o.side, chunk);
    receive_text(&o, "three");
    assert_inbox(&o, "ne|two|three|");
    assert_false(side_quiet(&o.side));
    teardown(&o);
}

static void test_full_inbox_makes_the_peer_wait(void **state)
{
    static char bytes[4096 * KIB];
    struct owner o;
    size_t written = 0, got = 0;
    (void)state;
    setup(&o, 256, 2);
    set_nonblocking(o.peer);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = stream_byte(i);
    side_receive(o.ring, &o.side);
    while (got < sizeof(bytes)) {
        struct chunk *chunk;
        ssize_t n;
        while (written < sizeof(bytes) && (n = send(o.peer, bytes + written, sizeof(bytes) - written, 0)) > 0)
            written += (size_t)n;
        STEP_UNTIL(o.ring, o.side.inbox != NULL && (!o.side.recv_op.active || o.side.inbox_bytes + got == written));
        if (o.side.inbox_bytes >= INBOX_BOUND) {        /* full: what had come by then is here, and nothing more comes */
            uint32_t full;
            STEP_UNTIL(o.ring, !o.side.recv_op.active);
            full = o.side.inbox_bytes;
            side_receive(o.ring, &o.side);
            ring_wake(o.ring);
            assert_int_equal(ring_step(o.ring), 0);
            assert_int_equal(o.side.inbox_bytes, full);
        }
        while ((chunk = side_take(&o.side)) != NULL) {
            assert_memory_equal(chunk->data, bytes + got, chunk->len);
            got += chunk->len;
            chunk_put(o.ring, chunk);
        }
        side_receive(o.ring, &o.side);
    }
    assert_int_equal(o.side.inbox_bytes, 0);
    teardown(&o);
}

static void test_full_inbox_starts_no_receive(void **state)
{
    struct chunk *big;
    struct owner o;
    char *bytes = calloc(1, INBOX_BOUND);
    (void)state;
    assert_non_null(bytes);
    setup(&o, 8, 0);
    big = chunk_copy(bytes, INBOX_BOUND);
    assert_non_null(big);
    side_put_back(&o.side, big);
    side_receive(o.ring, &o.side);
    assert_false(o.side.recv_op.active);
    big = side_take(&o.side);
    big->len--;
    side_put_back(&o.side, big);
    side_receive(o.ring, &o.side);
    assert_true(o.side.recv_op.active);
    free(bytes);
    teardown(&o);
}

static void fill(struct owner *o, size_t len)
{
    char *bytes = calloc(1, len);
    struct chunk *chunk;
    size_t got = 0;
    assert_non_null(bytes);
    peer_writes(o, bytes, len);
    free(bytes);
    while (got < len) {
        side_receive(o->ring, &o->side);
        STEP_UNTIL(o->ring, o->side.inbox != NULL);
        while ((chunk = side_take(&o->side)) != NULL) {
            got += chunk->len;
            chunk_put(o->ring, chunk);
        }
    }
}

static void test_full_reads_make_it_bulk(void **state)
{
    struct owner o;
    (void)state;
    setup(&o, 8, 2);
    fill(&o, 100);
    assert_false(o.side.bulk);
    for (unsigned i = 0; i < 100 && !o.side.bulk; i++)
        fill(&o, 64 * KIB);
    assert_true(o.side.bulk);
    STEP_UNTIL(o.ring, !o.side.recv_op.active);         /* the multishot has been asked to end */
    fill(&o, 200 * KIB);
    fill(&o, 100);
    assert_false(o.side.bulk);                          /* one small piece, and it waits in small buffers again */
    side_receive(o.ring, &o.side);
    assert_true(o.side.recv_op.active);
    teardown(&o);
}

static void test_expected_bulk_is_received_one_at_a_time(void **state)
{
    static char bytes[40 * KIB];
    struct owner o;
    struct chunk *chunk;
    (void)state;
    setup(&o, 8, 2);
    side_receive(o.ring, &o.side);
    side_expect_bulk(o.ring, &o.side);
    STEP_UNTIL(o.ring, !o.side.recv_op.active);
    assert_int_equal(o.side.error, 0);                  /* our own cancel is no error */
    peer_writes(&o, bytes, sizeof(bytes));
    side_receive(o.ring, &o.side);
    STEP_UNTIL(o.ring, o.side.inbox != NULL);
    assert_int_equal(o.side.inbox->size_class, RING_BULK);
    assert_false(o.side.recv_op.active);
    side_receive(o.ring, &o.side);                      /* not before the last one is used */
    assert_false(o.side.recv_op.active);
    chunk = side_take(&o.side);
    chunk_put(o.ring, chunk);
    side_receive(o.ring, &o.side);
    assert_true(o.side.recv_op.active);
    teardown(&o);
}

static void fill_up(int fd)
{
    char bytes[16 * KIB] = { 0 };
    while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
}

static const struct receiver_row {
    const char *name;
    bool full, bulk;
    enum ring_class received;
} receivers[] = {
    { "bulk for one who takes it",                    false, true,  RING_BULK },
    { "small pieces for one who takes no more",       true,  true,  RING_SMALL },
    { "small pieces of what is not bulk",             false, false, RING_SMALL },
};

static void test_receives_for(void **state)
{
    static char bytes[40 * KIB];
    const struct receiver_row *row = *state;
    struct owner o;
    int pair[2];
    struct side to;
    setup(&o, 8, 2);
    tcp_pair(pair);
    side_init(&to, pair[0], on_received, on_sent);
    if (row->full)
        fill_up(to.fd);
    if (row->bulk)
        side_expect_bulk(o.ring, &o.side);
    peer_writes(&o, bytes, sizeof(bytes));
    side_receive_for(o.ring, &o.side, &to);
    STEP_UNTIL(o.ring, o.side.inbox != NULL);
    assert_int_equal(o.side.inbox->size_class, row->received);
    assert_int_equal(o.side.bulk, row->bulk);
    if (row->bulk) {                                    /* not before the last one is used */
        side_receive_for(o.ring, &o.side, &to);
        assert_false(o.side.recv_op.active);
    }
    close(pair[0]);
    close(pair[1]);
    teardown(&o);
}

static void test_receive_once(void **state)
{
    struct owner o;
    (void)state;
    setup(&o, 8, 2);
    o.side.receive_once = true;
    receive_text(&o, "GET");
    assert_false(o.side.recv_op.active);
    assert_inbox(&o, "GET|");
    teardown(&o);
}

static void test_held_back(void **state)
{
    struct owner o;
    (void)state;
    setup(&o, 8, 2);
    side_receive(o.ring, &o.side);
    assert_false(side_quiet(&o.side));
    side_hold_back(o.ring, &o.side);
    STEP_UNTIL(o.ring, side_quiet(&o.side));
    side_receive(o.ring, &o.side);
    assert_false(o.side.recv_op.active);
    o.side.held_back = false;
    receive_text(&o, "x");
    assert_inbox(&o, "x|");
    teardown(&o);
}

static void test_end_of_stream(void **state)
{
    struct owner o;
    (void)state;
    setup(&o, 8, 2);
    receive_text(&o, "last");
    side_receive(o.ring, &o.side);
    shutdown(o.peer, SHUT_WR);
    STEP_UNTIL(o.ring, o.side.eof);
    assert_inbox(&o, "last|");
    assert_int_equal(o.side.error, 0);
    side_receive(o.ring, &o.side);
    assert_false(side_busy(&o.side));                   /* nothing more can come */
    teardown(&o);
}

static void test_reset_by_the_peer(void **state)
{
    struct owner o;
    (void)state;
    setup(&o, 8, 2);
    side_receive(o.ring, &o.side);
    reset_on_close(o.peer);
    close(o.peer);
    o.peer = -1;
    STEP_UNTIL(o.ring, o.side.error != 0);
    assert_int_equal(o.side.error, -ECONNRESET);
    assert_false(o.side.eof);
    side_receive(o.ring, &o.side);
    assert_false(side_busy(&o.side));
    side_send_text(o.ring, &o.side, "too late");
    STEP_UNTIL(o.ring, o.sending_over);
    assert_int_equal(o.side.send_error, -EPIPE);
    assert_false(side_sending(&o.side));
    teardown(&o);
}

static void peer_reads(const struct owner *o, const char *expected)
{
    char text[256];
    size_t len = 0;
    ssize_t n;
    while (len < strlen(expected) && (n = recv(o->peer, text + len, sizeof(text) - len, 0)) > 0)
        len += (size_t)n;
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(text, expected, len);
}

static void test_sends(void **state)
{
    struct buf *buf = buf_new(16);
    struct owner o;
    (void)state;
    assert_non_null(buf);
    setup(&o, 8, 2);
    buf_add_text(buf, "buf,");
    assert_false(side_sending(&o.side));
    side_send_buf(o.ring, &o.side, buf, true);          /* more follows: held until it does */
    assert_true(side_sending(&o.side));
    assert_int_equal(buf->refs, 2);
    STEP_UNTIL(o.ring, !side_sending(&o.side));
    assert_int_equal(buf->refs, 1);
    side_send_chunk(o.ring, &o.side, chunk_copy("chunk,", 6), true);
    STEP_UNTIL(o.ring, !side_sending(&o.side));
    side_send_text(o.ring, &o.side, "text");
    STEP_UNTIL(o.ring, !side_sending(&o.side));
    assert_true(o.sending_over);
    peer_reads(&o, "buf,chunk,text");
    side_shut(&o.side);
    side_shut(&o.side);
    assert_int_equal(recv(o.peer, &(char){ 0 }, 1, 0), 0);
    receive_text(&o, "still heard");
    buf_unref(&buf);
    teardown(&o);
}

static void test_short_sends_go_on(void **state)
{
    static char bytes[8 * 1024 * KIB], got[8 * 1024 * KIB];
    struct buf *buf = buf_new(sizeof(bytes));
    struct owner o;
    size_t len = 0;
    (void)state;
    assert_non_null(buf);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = stream_byte(i);
    buf_add(buf, bytes, sizeof(bytes));
    setup(&o, 8, 2);
    set_nonblocking(o.peer);
    side_send_buf(o.ring, &o.side, buf, false);
    buf_unref(&buf);                                    /* the side has its own reference */
    while (len < sizeof(got)) {
        ssize_t n = recv(o.peer, got + len, sizeof(got) - len, 0);
        if (n > 0)
            len += (size_t)n;
        else if (side_sending(&o.side))
            ring_wake(o.ring), assert_int_equal(ring_step(o.ring), 0);
    }
    assert_memory_equal(got, bytes, sizeof(bytes));
    STEP_UNTIL(o.ring, !side_sending(&o.side));
    teardown(&o);
}

static const struct slow_row {
    const char *name;
    uint32_t small;
    unsigned held;              /* by others meanwhile */
    bool parks;
} slows[] = {
    { "a slow reader keeps its buffer while there are enough",    8, 0, false },
    { "a slow reader gives its buffer back when they are scarce", 8, 5, true },
};

/* A chunk of the ring's goes to a peer that does not read. */
static void test_slow_reader(void **state)
{
    const struct slow_row *row = *state;
    struct owner o, other;
    struct chunk *chunk, *others[8];
    char text[4];
    setup(&o, row->small, 0);
    setup(&other, 1, 0);
    ring_free(&other.ring);
    other.ring = o.ring;
    set_nonblocking(o.side.fd);
    while (send(o.side.fd, "full", 4, 0) > 0) {         /* until nothing more fits */
    }
    assert_int_equal(fcntl(o.side.fd, F_SETFL, 0), 0);
    for (unsigned i = 0; i < row->held; i++) {
        receive_text(&other, "held");
        others[i] = side_take(&other.side);
    }
    receive_text(&other, "mine");
    chunk = side_take(&other.side);
    side_send_chunk(o.ring, &o.side, chunk, false);
    if (row->parks) {
        STEP_UNTIL(o.ring, o.side.out_chunk != chunk);
        assert_true(chunk_detached(o.side.out_chunk));
        assert_false(ring_buffers_scarce(o.ring, RING_SMALL));      /* it is free for others */
    } else {
        ring_wake(o.ring);
        assert_int_equal(ring_step(o.ring), 0);
        assert_ptr_equal(o.side.out_chunk, chunk);
    }
    set_nonblocking(o.peer);
    while (side_sending(&o.side)) {
        while (recv(o.peer, text, sizeof(text), 0) == 4) {
        }
        ring_wake(o.ring);
        assert_int_equal(ring_step(o.ring), 0);
    }
    for (unsigned i = 0; i < row->held; i++)
        chunk_put(o.ring, others[i]);
    side_cancel(o.ring, &other.side);
    STEP_UNTIL(o.ring, !side_busy(&other.side));
    side_close(o.ring, &other.side, false);
    close(other.peer);
    teardown(&o);
}

static void test_inbox_parks_when_scarce(void **state)
{
    struct owner o;
    (void)state;
    setup(&o, 4, 0);
    receive_text(&o, "one");
    receive_text(&o, "two");
    side_inbox_park(o.ring, &o.side);
    assert_false(chunk_detached(o.side.inbox));         /* there are enough */
    receive_text(&o, "three");
    assert_true(ring_buffers_scarce(o.ring, RING_SMALL));
    side_inbox_park(o.ring, &o.side);
    assert_false(ring_buffers_scarce(o.ring, RING_SMALL));
    assert_true(chunk_detached(o.side.inbox));          /* who has waited longest goes first */
    receive_text(&o, "four");
    receive_text(&o, "five");
    side_inbox_park(o.ring, &o.side);
    side_inbox_park(o.ring, &o.side);
    assert_false(ring_buffers_scarce(o.ring, RING_SMALL));
    assert_inbox(&o, "one|two|three|four|five|");
    assert_int_equal(o.side.inbox_bytes, 19);
    assert_int_equal(o.side.inbox_chunks, 5);
    receive_text(&o, "six");                            /* the last one is still the last */
    assert_inbox(&o, "one|two|three|four|five|six|");
    teardown(&o);
}

static const struct close_row {
    const char *name;
    bool reset;
    int err;                    /* what the peer gets */
} closes[] = {
    { "closed in order", false, 0 },
    { "closed with a reset", true, ECONNRESET },
};

static void test_close(void **state)
{
    const struct close_row *row = *state;
    struct owner o;
    char byte;
    ssize_t n;
    setup(&o, 8, 2);
    receive_text(&o, "unread");
    side_cancel(o.ring, &o.side);
    STEP_UNTIL(o.ring, !side_busy(&o.side));
    side_close(o.ring, &o.side, row->reset);
    n = recv(o.peer, &byte, 1, 0);
    assert_int_equal(n, row->err == 0 ? 0 : -1);
    if (n < 0)
        assert_int_equal(errno, row->err);
    assert_null(o.side.inbox);
    side_close(o.ring, &o.side, false);                 /* once more does nothing */
    close(o.peer);
    ring_free(&o.ring);                                 /* asserts that no buffer is held */
}

static void test_closed_while_sending(void **state)
{
    static char bytes[8 * 1024 * KIB];
    struct buf *buf = buf_new(sizeof(bytes));
    struct owner o;
    (void)state;
    assert_non_null(buf);
    buf_add(buf, bytes, sizeof(bytes));
    setup(&o, 8, 2);
    side_receive(o.ring, &o.side);
    side_send_buf(o.ring, &o.side, buf, false);
    ring_wake(o.ring);
    assert_int_equal(ring_step(o.ring), 0);
    side_cancel(o.ring, &o.side);
    while (side_busy(&o.side)) {                        /* a short send goes on until its next end: cancelled anew */
        side_cancel(o.ring, &o.side);
        assert_int_equal(ring_step(o.ring), 0);
    }
    side_close(o.ring, &o.side, true);
    assert_int_equal(buf->refs, 1);
    buf_unref(&buf);
    close(o.peer);
    ring_free(&o.ring);
}

#define ROWS(table, function)                                                                     \
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)                                 \
        tests[count++] = (struct CMUnitTest){ .name = table[i].name, .test_func = (function), .initial_state = (void *)&table[i] }

int main(void)
{
    static struct CMUnitTest tests[32];
    size_t count = 0;
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_inbox_keeps_order);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_full_inbox_makes_the_peer_wait);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_full_inbox_starts_no_receive);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_full_reads_make_it_bulk);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_expected_bulk_is_received_one_at_a_time);
    ROWS(receivers, test_receives_for);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_receive_once);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_held_back);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_end_of_stream);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_reset_by_the_peer);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_sends);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_short_sends_go_on);
    ROWS(slows, test_slow_reader);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_inbox_parks_when_scarce);
    ROWS(closes, test_close);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_closed_while_sending);
    return _cmocka_run_group_tests("side", tests, count, NULL, NULL);
}
