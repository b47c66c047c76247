#include "lb/relay.h"
#include "tests/unit/common/loop.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/common/sockets.h"
/*
 * One direction between two real sockets. The test writes into one end in
 * every cut, reads what comes out of the other, and pumps as a connection does:
 * after each completion on either side.
 */
#define KIB 1024
#define HEAD "HTTP/1.1 200 OK\r\n\r\n"
#define OUT_MAX (8 * 1024 * KIB)

struct line {                       /* a flow with both its ends */
    struct ring *ring;
    struct side from, to;
    struct flow flow;
    enum flow_step step;
    bool flowing;
    int in, out;                    /* the peers */
    size_t received;
    char *bytes;                    /* what came out */
    size_t len;
};

static void line_pump(struct line *l)
{
    if (l->flowing && l->step == FLOW_WAITS)
        l->step = flow_pump(l->ring, &l->flow);
}

static void on_received(struct op *op, struct ring_result result)
{
    struct line *l = container_of(op, struct line, from.recv_op);
    l->received += result.res > 0 ? (size_t)result.res : 0;
    side_received(l->ring, &l->from, result);
    line_pump(l);
    side_inbox_park(l->ring, &l->from);
}

static void on_sent(struct op *op, struct ring_result result)
{
    struct line *l = container_of(op, struct line, to.send_op);
    if (side_sent(l->ring, &l->to, result))
        line_pump(l);
}

static void unused(struct op *op, struct ring_result result)
{
    (void)op;
    (void)result;
    fail_msg("nobody started this");
}

static void line_init(struct line *l, struct ring *ring)
{
    int pair[2];
    *l = (struct line){ .ring = ring, .bytes = malloc(OUT_MAX) };
    assert_non_null(l->bytes);
    unix_pair(pair);
    side_init(&l->from, pair[0], on_received, unused);
    l->in = pair[1];
    unix_pair(pair);
    side_init(&l->to, pair[0], unused, on_sent);
    l->out = pair[1];
    set_nonblocking(l->out);
}

static void line_fini(struct line *l)
{
    flow_stop(&l->flow);
    assert_null(l->flow.head);
    while (side_busy(&l->from) || side_busy(&l->to)) {
        l->flowing = false;
        side_cancel(l->ring, &l->from);
        side_cancel(l->ring, &l->to);
        assert_int_equal(ring_step(l->ring), 0);
    }
    side_close(l->ring, &l->from, false);
    side_close(l->ring, &l->to, false);
    if (l->in >= 0)
        close(l->in);
    if (l->out >= 0)
        close(l->out);
    free(l->bytes);
}

static struct ring *ring_of(uint32_t small, uint32_t small_bytes, uint32_t bulk)
{
    struct ring_conf conf = { .ops_max = 64, .small_count = small, .small_bytes = small_bytes, .bulk_count = bulk, .bulk_bytes = 64 * KIB };
    struct ring *ring = NULL;
    assert_int_equal(ring_new(&conf, &ring), 0);
    return ring;
}

static struct buf *head_of(const char *text)
{
    struct buf *head;
    if (text == NULL)
        return NULL;
    head = buf_new(strlen(text));
    assert_non_null(head);
    buf_add_text(head, text);
    return head;
}

static struct http1_body body_of(enum http1_framing framing, uint64_t length)
{
    static struct http1_head head;
    struct http1_body body;
    head = (struct http1_head){ .framing = framing, .content_length = length };
    http1_body_init(&body, &head);
    return body;
}

static void line_start(struct line *l, struct http1_body body, const char *head, bool rechunk)
{
    flow_start(&l->flow, &l->from, &l->to, &body, head_of(head), rechunk);
    l->flowing = true;
    line_pump(l);
}

/* Takes at most `most` of what has come out. */
static void drain(struct line *l, size_t most)
{
    ssize_t n;
    while (most > 0 && l->len < OUT_MAX && (n = recv(l->out, l->bytes + l->len, most < OUT_MAX - l->len ? most : OUT_MAX - l->len, 0)) > 0) {
        l->len += (size_t)n;
        most -= (size_t)n;
    }
}

static void turn(struct ring *ring)
{
    ring_wake(ring);
    assert_int_equal(ring_step(ring), 0);
}

/* One of our own making: what came out, less the head, read as the receiver would, who must see whether that is all. */
static size_t unchunk(char *bytes, size_t len, bool whole)
{
    struct http1_body body = body_of(BODY_CHUNKED, 0);
    size_t payload, used;
    assert_int_equal(http1_body_take(&body, bytes, len, &payload, &used), 0);
    assert_int_equal(used, len);
    assert_int_equal(body.done, whole);
    return payload;
}

static const struct flow_row {
    const char *name;
    enum http1_framing framing;
    uint64_t length;
    const char *in;             /* before '|' of this message, behind it of the next */
    bool closes;                /* the sender, after that */
    const char *payload;
    enum flow_step end;
} flows[] = {
    { "a body by its length", BODY_LENGTH, 10, "0123456789|", false, "0123456789", FLOW_ENDED },
    { "a body by its length, and the next message behind it", BODY_LENGTH, 10, "0123456789|GET / HTTP/1.1", false, "0123456789", FLOW_ENDED },
    { "a body of no length", BODY_LENGTH, 0, "|NEXT", false, "", FLOW_ENDED },
    { "no body, and the next message behind it", BODY_NONE, 0, "|NEXT", false, "", FLOW_ENDED },
    { "a body that ends too early", BODY_LENGTH, 10, "01234|", true, "01234", FLOW_CUT },
    { "a body that does not come", BODY_LENGTH, 10, "|", true, "", FLOW_CUT },
    { "chunks", BODY_CHUNKED, 0, "4\r\nWiki\r\n6\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\n\r\n|", false, "Wikipedia in \r\n\r\nchunks.", FLOW_ENDED },
    { "chunks with extensions and trailers, which stay here", BODY_CHUNKED, 0, "4;a=b\r\nWiki\r\n0;z\r\nExpires: 0\r\nX: y\r\n\r\n|", false, "Wiki", FLOW_ENDED },
    { "chunks, and the next message behind them", BODY_CHUNKED, 0, "1\r\na\r\n01\r\nb\r\n000\r\n\r\n|GET / HTTP/1.1\r\n\r\n", false, "ab", FLOW_ENDED },
    { "no chunk but the last", BODY_CHUNKED, 0, "0\r\n\r\n|NEXT", false, "", FLOW_ENDED },
    { "chunks that end too early", BODY_CHUNKED, 0, "4\r\nWiki\r\n6\r\nped|", true, "Wikiped", FLOW_CUT },
    { "chunks without the last one", BODY_CHUNKED, 0, "4\r\nWiki\r\n|", true, "Wiki", FLOW_CUT },
    { "chunks without the very last byte", BODY_CHUNKED, 0, "4\r\nWiki\r\n0\r\n\r|", true, "Wiki", FLOW_CUT },
    { "a broken second chunk", BODY_CHUNKED, 0, "4\r\nWiki\r\n5\r\npediaX\r\n|", false, "Wikipedia", FLOW_BAD },
    { "a broken first chunk", BODY_CHUNKED, 0, "4\r\nWikiX\r\n|", false, "Wiki", FLOW_BAD },
    { "a first size that is none", BODY_CHUNKED, 0, "x\r\nWiki\r\n|", false, "", FLOW_BAD },
    { "a size that is none", BODY_CHUNKED, 0, "4\r\nWiki\r\nx\r\n|", false, "Wiki", FLOW_BAD },
    { "a broken end", BODY_CHUNKED, 0, "4\r\nWiki\r\n0\r\n\rX|", false, "Wiki", FLOW_BAD },
    { "a stream until its end", BODY_UNTIL_CLOSE, 0, "all that\r\n0\r\n\r\ncomes|", true, "all that\r\n0\r\n\r\ncomes", FLOW_ENDED },
    { "a stream of nothing", BODY_UNTIL_CLOSE, 0, "|", true, "", FLOW_ENDED },
};

/* How a row is played. */
struct way {
    size_t cut;                 /* the bytes before and behind it come apart; SIZE_MAX: each alone */
    bool head, rechunk;
    uint32_t small, small_bytes;
};

static size_t message_bytes(const struct flow_row *row)
{
    return (size_t)(strchr(row->in, '|') - row->in);
}

/* Sends [at, end) and sees it arrive; what the flow has no use for stays in the socket. */
static void feed(struct line *l, const char *bytes, size_t len)
{
    size_t before = l->received;
    assert_int_equal(send(l->in, bytes, len, 0), len);
    STEP_UNTIL(l->ring, l->received == before + len || !l->from.recv_op.active);
    drain(l, SIZE_MAX);
}

static void feed_row(struct line *l, const struct flow_row *row, const struct way *way)
{
    char all[256];
    size_t message = message_bytes(row), len = strlen(row->in) - 1;
    memcpy(all, row->in, message);
    strcpy(all + message, row->in + message + 1);
    for (size_t at = 0, next; at < len; at = next) {
        next = way->cut == SIZE_MAX ? at + 1 : at < way->cut ? way->cut : len;
        feed(l, all + at, next - at);
    }
    if (row->closes)
        shutdown(l->in, SHUT_WR);
}

static void assert_left(struct line *l, const char *expected)
{
    char left[256];
    size_t len = 0;
    ssize_t n;
    for (const struct chunk *c = l->from.inbox; c != NULL; c = c->next) {
        memcpy(left + len, c->data, c->len);
        len += c->len;
    }
    n = recv(l->from.fd, left + len, sizeof(left) - len, MSG_DONTWAIT);
    len += n > 0 ? (size_t)n : 0;
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(left, expected, len);
}

/* The head and all that was right have gone out, and nothing else. */
static void assert_out(const struct line *l, const struct flow_row *row, const struct way *way)
{
    size_t head = way->head ? strlen(HEAD) : 0, len = l->len - head;
    assert_true(l->len >= head);
    assert_memory_equal(l->bytes, HEAD, head);
    if (way->rechunk)
        len = unchunk(l->bytes + head, len, row->end == FLOW_ENDED);
    assert_int_equal(len, strlen(row->payload));
    assert_memory_equal(l->bytes + head, row->payload, len);
}

static void play(const struct flow_row *row, const struct way *way)
{
    struct ring *ring = ring_of(way->small, way->small_bytes, 2);
    struct line l;
    line_init(&l, ring);
    line_start(&l, body_of(row->framing, row->length), way->head ? HEAD : NULL, way->rechunk);
    feed_row(&l, row, way);
    STEP_UNTIL(ring, l.step != FLOW_WAITS);
    STEP_UNTIL(ring, !side_sending(&l.to));
    drain(&l, SIZE_MAX);
    assert_int_equal(l.step, row->end);
    assert_out(&l, row, way);
    assert_int_equal(l.flow.bytes, strlen(row->payload));
    if (row->end == FLOW_ENDED) {
        assert_true(l.flow.ended);
        assert_true(l.flow.body.done);
        assert_left(&l, row->in + message_bytes(row) + 1);
    }
    line_fini(&l);
    ring_free(&ring);
}

static void test_flow(void **state)
{
    static const uint32_t buffers[][2] = { { 16, 4096 }, { 2, 8 } };
    const struct flow_row *row = *state;
    for (size_t b = 0; b < 2; b++)
        for (unsigned how = 0; how < 4; how++)
            for (size_t cut = 0; cut <= strlen(row->in); cut++) {
                struct way way = { cut == strlen(row->in) ? SIZE_MAX : cut, how & 1, how & 2, buffers[b][0], buffers[b][1] };
                play(row, &way);
            }
}

/* The body has come before the flow starts: it goes out with its head, and all of it can be said again. */
static const struct again_row {
    const char *name;
    enum http1_framing framing;
    uint64_t length;
    bool rechunk;
    const char *in, *out;
    bool whole;
} agains[] = {
    { "a head alone", BODY_NONE, 0, false, "", HEAD, true },
    { "a short body", BODY_LENGTH, 4, false, "Wiki", HEAD "Wiki", true },
    { "a short body in chunks", BODY_CHUNKED, 0, true, "2\r\nWi\r\n2\r\nki\r\n0\r\n\r\n", HEAD "4\r\nWiki\r\n0\r\n\r\n", true },
    { "a body of which a part has come", BODY_LENGTH, 6, false, "Wiki", HEAD "Wiki", false },
};

static void arrive(struct line *l, const char *text)
{
    if (text[0] == '\0')
        return;
    assert_int_equal(send(l->in, text, strlen(text), 0), strlen(text));
    side_receive(l->ring, &l->from);
    STEP_UNTIL(l->ring, l->received == strlen(text));
}

static void test_again(void **state)
{
    const struct again_row *row = *state;
    struct ring *ring = ring_of(16, 4096, 2);
    struct line l, other;
    line_init(&l, ring);
    line_init(&other, ring);
    arrive(&l, row->in);
    line_start(&l, body_of(row->framing, row->length), HEAD, row->rechunk);
    STEP_UNTIL(ring, !side_sending(&l.to));
    drain(&l, SIZE_MAX);
    assert_int_equal(l.len, strlen(row->out));
    assert_memory_equal(l.bytes, row->out, l.len);
    assert_int_equal(l.flow.whole_in_head, row->whole);
    assert_int_equal(l.flow.head != NULL, row->whole);
    if (row->whole) {
        assert_int_equal(l.step, FLOW_ENDED);
        l.flow.to = &other.to;          /* as a connection does that gives it to another instance */
        l.flow.head_sent = l.flow.ended = false;
        assert_int_equal(flow_pump(ring, &l.flow), FLOW_WAITS);
        STEP_UNTIL(ring, !side_sending(&other.to));
        drain(&other, SIZE_MAX);
        assert_int_equal(other.len, l.len);
        assert_memory_equal(other.bytes, l.bytes, l.len);
        assert_int_equal(flow_pump(ring, &l.flow), FLOW_ENDED);
    }
    line_fini(&l);
    line_fini(&other);
    ring_free(&ring);
}

/* Long bodies through few buffers to readers of every speed. */
static const struct long_row {
    const char *name;
    enum http1_framing framing;
    size_t bytes;
    bool rechunk;
    uint32_t small, bulk;
    unsigned lines;             /* at once over the same ring */
    size_t gulp;                /* what the reader takes in a turn */
} longs[] = {
    { "a long body by its length", BODY_LENGTH, 3 * 1024 * KIB, false, 16, 4, 1, SIZE_MAX },
    { "a long stream that is chunked here", BODY_UNTIL_CLOSE, 3 * 1024 * KIB, true, 16, 4, 1, SIZE_MAX },
    { "a slow reader", BODY_LENGTH, 2 * 1024 * KIB, false, 16, 4, 1, 10000 },
    { "a slow reader of chunks", BODY_UNTIL_CLOSE, 2 * 1024 * KIB, true, 16, 4, 1, 10000 },
    { "a slow reader and two buffers", BODY_LENGTH, 1024 * KIB, false, 2, 2, 1, 10000 },
    { "eight slow readers over four small and two large buffers", BODY_UNTIL_CLOSE, 700 * KIB, true, 4, 2, 8, 30000 },
    { "eight slow readers by length", BODY_LENGTH, 700 * KIB, false, 4, 2, 8, 30000 },
};

static void write_stream(struct line *l, size_t *at, size_t bytes)
{
    char piece[32 * KIB];
    size_t len = bytes - *at < sizeof(piece) ? bytes - *at : sizeof(piece);
    ssize_t n;
    if (l->in < 0)
        return;
    for (size_t i = 0; i < len; i++)
        piece[i] = stream_byte(*at + i);
    n = send(l->in, piece, len, MSG_DONTWAIT);
    if (n > 0)
        *at += (size_t)n;
    if (*at == bytes) {
        close(l->in);
        l->in = -1;
    }
}

static void assert_stream(char *bytes, size_t len, size_t expected)
{
    assert_int_equal(len, expected);
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != stream_byte(i))
            fail_msg("byte %zu is another", i);
}

static void test_long(void **state)
{
    const struct long_row *row = *state;
    struct ring *ring = ring_of(row->small, 16 * KIB, row->bulk);
    struct line lines[8];
    size_t at[8] = { 0 };
    unsigned over = 0;
    for (unsigned i = 0; i < row->lines; i++) {
        line_init(&lines[i], ring);
        line_start(&lines[i], body_of(row->framing, row->bytes), HEAD, row->rechunk);
    }
    while (over < row->lines) {
        turn(ring);
        over = 0;
        for (unsigned i = 0; i < row->lines; i++) {
            write_stream(&lines[i], &at[i], row->bytes);
            drain(&lines[i], row->gulp);
            assert_true(lines[i].step == FLOW_WAITS || lines[i].step == FLOW_ENDED);
            assert_true(lines[i].from.inbox_bytes <= 2 * 1024 * KIB);
            over += lines[i].step == FLOW_ENDED;
        }
    }
    for (unsigned i = 0; i < row->lines; i++) {
        drain(&lines[i], SIZE_MAX);
        lines[i].len -= strlen(HEAD);
        memmove(lines[i].bytes, lines[i].bytes + strlen(HEAD), lines[i].len);
        assert_stream(lines[i].bytes, row->rechunk ? unchunk(lines[i].bytes, lines[i].len, true) : lines[i].len, row->bytes);
        assert_int_equal(lines[i].flow.bytes, row->bytes);
        line_fini(&lines[i]);
    }
    ring_free(&ring);
}

/* Readers that do not read at all hold nobody else up, however few the buffers are. */
static void test_stuck_readers_stop_nobody(void **state)
{
    struct ring *ring = ring_of(4, 16 * KIB, 2);
    struct line stuck[6], free_;
    size_t at[6] = { 0 }, free_at = 0;
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        line_init(&stuck[i], ring);
        line_start(&stuck[i], body_of(BODY_LENGTH, 1 << 30), HEAD, false);
    }
    for (unsigned turns = 0; turns < 300; turns++) {
        turn(ring);
        for (unsigned i = 0; i < 6; i++)
            write_stream(&stuck[i], &at[i], 1 << 30);
    }
    line_init(&free_, ring);
    line_start(&free_, body_of(BODY_LENGTH, 500 * KIB), HEAD, false);
    while (free_.step == FLOW_WAITS) {
        turn(ring);
        write_stream(&free_, &free_at, 500 * KIB);
        drain(&free_, SIZE_MAX);
    }
    assert_int_equal(free_.step, FLOW_ENDED);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(stuck[i].step, FLOW_WAITS);
        assert_true(at[i] < 2 * 1024 * KIB);        /* their senders wait */
        line_fini(&stuck[i]);
    }
    line_fini(&free_);
    ring_free(&ring);
}

static void test_sender_reset(void **state)
{
    struct ring *ring = ring_of(8, 4096, 2);
    struct line l;
    int pair[2];
    (void)state;
    line_init(&l, ring);
    tcp_pair(pair);
    close(l.from.fd);
    close(l.in);
    l.from.fd = pair[0];
    l.in = pair[1];
    line_start(&l, body_of(BODY_UNTIL_CLOSE, 0), NULL, true);
    feed(&l, "some", 4);
    reset_on_close(l.in);
    close(l.in);
    l.in = -1;
    STEP_UNTIL(ring, l.step != FLOW_WAITS);
    assert_int_equal(l.step, FLOW_CUT);             /* not the end that a stream may have */
    assert_int_equal(l.from.error, -ECONNRESET);
    drain(&l, SIZE_MAX);
    assert_int_equal(l.len, strlen("4\r\nsome\r\n"));
    line_fini(&l);
    ring_free(&ring);
}

static void test_receiver_gone(void **state)
{
    struct ring *ring = ring_of(8, 4096, 2);
    struct line l;
    (void)state;
    line_init(&l, ring);
    line_start(&l, body_of(BODY_LENGTH, 100), HEAD, false);
    STEP_UNTIL(ring, !side_sending(&l.to));
    close(l.out);
    l.out = -1;
    assert_int_equal(send(l.in, "some", 4, 0), 4);
    STEP_UNTIL(ring, l.to.send_error != 0);
    assert_int_equal(l.to.send_error, -EPIPE);
    assert_int_equal(l.step, FLOW_WAITS);           /* the owner of that side decides */
    assert_int_equal(flow_pump(ring, &l.flow), FLOW_WAITS);
    assert_false(side_sending(&l.to));
    line_fini(&l);
    ring_free(&ring);
}

static void test_stopped_drops_its_head(void **state)
{
    struct ring *ring = ring_of(8, 4096, 2);
    struct http1_body body = body_of(BODY_LENGTH, 4);
    struct buf *head = head_of(HEAD);
    struct line l;
    (void)state;
    line_init(&l, ring);
    flow_start(&l.flow, &l.from, &l.to, &body, buf_ref(head), false);
    assert_int_equal(head->refs, 2);
    flow_stop(&l.flow);
    assert_int_equal(head->refs, 1);
    assert_true(l.flow.ended);
    flow_stop(&l.flow);
    buf_unref(&head);
    line_fini(&l);
    ring_free(&ring);
}

#define ROWS(table, function)                                                                     \
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)                                 \
        tests[count++] = (struct CMUnitTest){ .name = table[i].name, .test_func = (function), .initial_state = (void *)&table[i] }

int main(void)
{
    static struct CMUnitTest tests[64];
    size_t count = 0;
    ROWS(flows, test_flow);
    ROWS(agains, test_again);
    ROWS(longs, test_long);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_stuck_readers_stop_nobody);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_sender_reset);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_receiver_gone);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_stopped_drops_its_head);
    return _cmocka_run_group_tests("relay", tests, count, NULL, NULL);
}
