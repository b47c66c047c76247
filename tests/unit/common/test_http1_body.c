/* Bodies: every row whole, cut at every byte, and one byte a call, up against a page that cannot be read. */
#include "common/http1.h"
#include "guard.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define X4(s) s s s s
#define X16(s) X4(X4(s))
#define X64(s) X16(X4(s))
#define X256(s) X64(X4(s))
#define X1024(s) X256(X4(s))

/* name: what must hold, and who says so. */
struct body_row {
    const char *name;
    const char *bytes;
    size_t len, taken;              /* taken < len: the next message's, or from the byte that is refused */
    const char *payload;
    size_t payload_len;
    bool bad, open;                 /* refused; more is to come */
    enum http1_framing framing;
    uint64_t content_length;
};

#define TEXTS(text, rest_, payload_)                                                                   \
    .bytes = (text rest_), .len = sizeof(text rest_) - 1, .taken = sizeof(text) - 1, .payload = (payload_), \
    .payload_len = sizeof(payload_) - 1
#define DONE(name_, text, payload_) { .name = (name_), TEXTS(text, "", payload_), .framing = BODY_CHUNKED }
#define REST(name_, text, rest_, payload_) { .name = (name_), TEXTS(text, rest_, payload_), .framing = BODY_CHUNKED }
#define OPEN(name_, text, payload_) { .name = (name_), TEXTS(text, "", payload_), .framing = BODY_CHUNKED, .open = true }
/* The first byte of rest_ is the one refused. */
#define BAD(name_, text, rest_, payload_) { .name = (name_), TEXTS(text, rest_, payload_), .framing = BODY_CHUNKED, .bad = true }
#define LENGTH(name_, n, text, rest_) \
    { .name = (name_), TEXTS(text, rest_, text), .framing = BODY_LENGTH, .content_length = (n), .open = sizeof(text) - 1 < (n) }

#define E4094 \
    X1024("e") X1024("e") X1024("e") X256("e") X256("e") X256("e") X64("e") X64("e") X64("e") X16("e") X16("e") X16("e") \
    X4("e") X4("e") X4("e") "ee"
#define T8190 X1024("t") X1024("t") X1024("t") X1024("t") E4094

#define HELLO "5\r\nhello\r\n"
#define LAST "0\r\n\r\n"

static const struct body_row rows[] = {
    /* chunks */
    DONE("one chunk (RFC 9112 7.1)", HELLO LAST, "hello"),
    DONE("two chunks", HELLO "6\r\n world\r\n" LAST, "hello world"),
    DONE("a body of no chunk", LAST, ""),
    DONE("chunks of one byte", "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n" LAST, "abc"),
    DONE("a size of two digits", "10\r\n0123456789abcdef\r\n" LAST, "0123456789abcdef"),
    DONE("a size in small letters", "a\r\n0123456789\r\n" LAST, "0123456789"),
    DONE("a size in capitals", "A\r\n0123456789\r\n" LAST, "0123456789"),
    DONE("the highest digit", "f\r\n0123456789abcde\r\nF\r\n0123456789abcde\r\n" LAST, "0123456789abcde0123456789abcde"),
    DONE("leading zeros mean nothing", "0000000000000005\r\nhello\r\n" LAST, "hello"),
    DONE("the last chunk may be many zeros (RFC 9112 7.1)", HELLO "0000\r\n\r\n", "hello"),
    DONE("data may look like framing", "7\r\n\r\n0\r\n\r\n\r\n" LAST, "\r\n0\r\n\r\n"),
    DONE("data may be anything", "4\r\n\0\n\r\xff\r\n" LAST, "\0\n\r\xff"),
    DONE("data as long as a line may be", "400\r\n" X1024("d") "\r\n" LAST, X1024("d")),
    REST("what follows is the next message's", HELLO LAST, "GET / HTTP/1.1\r\n", "hello"),
    REST("even one byte", LAST, "\r", ""),
    OPEN("nothing yet", "", ""),
    OPEN("a size without its line end", "5", ""),
    OPEN("a size with half of it", "5\r", ""),
    OPEN("half a chunk", "5\r\nhel", "hel"),
    OPEN("a chunk without its end", "5\r\nhello", "hello"),
    OPEN("a chunk without the last", HELLO, "hello"),
    OPEN("the last chunk without the empty line", HELLO "0\r\n", "hello"),
    OPEN("half an empty line", HELLO "0\r\n\r", "hello"),
    OPEN("2^62 bytes are the most", "4000000000000000\r\nx", "x"),
    /* sizes */
    BAD("no size", "", "\r\n", ""),
    BAD("an empty body is no chunked one", "", "\n", ""),
    BAD("a plus sign (RFC 9112 7.1)", "", "+5\r\nhello\r\n", ""),
    BAD("a minus sign", "", "-5\r\nhello\r\n", ""),
    BAD("a C prefix", "0", "x5\r\nhello\r\n", ""),
    BAD("a blank before the size", "", " 5\r\nhello\r\n", ""),
    BAD("a tab before the size", "", "\t5\r\nhello\r\n", ""),
    BAD("a blank after the size", "5", " \r\nhello\r\n", ""),
    BAD("a tab after the size", "5", "\t\r\nhello\r\n", ""),
    BAD("a blank between digits", "1", " 0\r\nhello\r\n", ""),
    BAD("an underscore between digits", "1", "_0\r\n", ""),
    BAD("a digit that is not hex", "5", "g\r\n", ""),
    BAD("the byte before '0'", "", "/\r\n", ""),
    BAD("the byte after '9'", "", ":\r\n", ""),
    BAD("the byte before 'A'", "", "@\r\n", ""),
    BAD("the byte before 'a'", "", "`\r\n", ""),
    BAD("obs-text", "", "\xb5\r\n", ""),
    BAD("NUL in the size", "5", "\0\r\nhello\r\n", ""),
    BAD("2^62 and one", "400000000000000", "1\r\n", ""),
    BAD("2^63", "800000000000000", "0\r\n", ""),
    BAD("2^64 - 1", "fffffffffffffff", "f\r\n", ""),
    BAD("2^64 wraps to 0 (CVE-2013-2028's kin)", "1000000000000000", "0\r\n\r\n", ""),
    BAD("2^64 + 5 wraps to 5", "1000000000000000", "5\r\nhello\r\n", ""),
    BAD("17 digits, however small", "0000000000000000", "5\r\nhello\r\n", ""),
    BAD("a size of letters after a chunk", HELLO, "hello\r\n", "hello"),
    /* line ends */
    BAD("a bare LF after the size (CVE-2015-3183's kin)", "5", "\nhello\r\n", ""),
    BAD("a bare CR after the size", "5\r", "hello\r\n", ""),
    BAD("two CRs", "5\r", "\r\nhello\r\n", ""),
    BAD("NUL for the LF", "5\r", "\0hello\r\n", ""),
    BAD("a bare LF after the data", "5\r\nhello", "\n0\r\n\r\n", "hello"),
    BAD("a bare CR after the data", "5\r\nhello\r", "0\r\n\r\n", "hello"),
    BAD("data longer than its size", "5\r\nhello", "!\r\n0\r\n\r\n", "hello"),
    BAD("data shorter than its size", "5\r\nhell\r", "\n0\r\n\r\n", "hell\r"),
    BAD("nothing between data and size", "5\r\nhello", "0\r\n\r\n", "hello"),
    BAD("a line end too many after the data", HELLO, "\r\n0\r\n\r\n", "hello"),
    BAD("a bare LF after the last size", "0", "\n\r\n", ""),
    BAD("a bare LF for the last empty line", "0\r\n", "\n", ""),
    BAD("a bare CR for the last empty line", "0\r\n\r", "GET", ""),
    /* extensions */
    DONE("an extension is dropped (RFC 9112 7.1.1)", "5;a=b\r\nhello\r\n" LAST, "hello"),
    DONE("several", "5;a=b;c;d=\"e;f\"\r\nhello\r\n0;g\r\n\r\n", "hello"),
    DONE("blanks inside (RFC 9112 7.1.1)", "5; a\t= b\r\nhello\r\n" LAST, "hello"),
    DONE("quoted, with obs-text and escapes", "5;a=\"\xe4\\\"\"\r\nhello\r\n" LAST, "hello"),
    DONE("a line of 4096 bytes", "5;" E4094 "\r\nhello\r\n" LAST, "hello"),
    BAD("one byte more (CVE-2024-22019)", "5;" E4094, "e\r\nhello\r\n", ""),
    BAD("a bare LF in it (RFC 9112 7.1.1 and erratum 7633)", "5;a", "\nhello\r\n", ""),
    BAD("a bare LF in quotes", "5;a=\"", "\n\"\r\nhello\r\n", ""),
    BAD("a bare CR in it", "5;a\r", "b\r\nhello\r\n", ""),
    BAD("NUL in it", "5;a", "\0\r\nhello\r\n", ""),
    BAD("a control byte in it", "5;a", "\x01\r\nhello\r\n", ""),
    BAD("DEL in it", "5;a", "\x7f\r\nhello\r\n", ""),
    BAD("a comma for the semicolon", "5", ",a\r\nhello\r\n", ""),
    BAD("an equals sign for it", "5", "=a\r\nhello\r\n", ""),
    BAD("an extension without size", "", ";a\r\n", ""),
    /* trailers */
    DONE("a trailer is dropped (RFC 9112 7.1.2)", HELLO "0\r\nA: b\r\n\r\n", "hello"),
    DONE("several", "0\r\nA: b\r\nC:\r\nD:e:\tf \xe4\r\n\r\n", ""),
    DONE("names of framing have no power there (RFC 9110 6.5.1)", HELLO "0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n", "hello"),
    REST("what follows trailers is the next message's", "0\r\nA: b\r\n\r\n", "B: c\r\n", ""),
    OPEN("a trailer without the empty line", "0\r\nA: b\r\n", ""),
    OPEN("half a trailer", "0\r\nA", ""),
    OPEN("8192 bytes of trailers", "0\r\nA:" T8190 "\r\n", ""),
    DONE("ended", "0\r\nA:" T8190 "\r\n\r\n", ""),
    BAD("one byte more in a value", "0\r\nA:" T8190, "t\r\n\r\n", ""),
    BAD("one byte more in the next name", "0\r\nA:" T8190 "\r\n", "B:\r\n\r\n", ""),
    BAD("many small trailers count together", "0\r\n" X1024("AAAA:bbb\r\n"), "C:\r\n\r\n", ""),
    DONE("and end together", "0\r\n" X1024("AAAA:bbb\r\n") "\r\n", ""),
    BAD("a trailer without colon", "0\r\nabc", "\r\n\r\n", ""),
    BAD("a blank before the colon", "0\r\nA", " : b\r\n\r\n", ""),
    BAD("an empty name", "0\r\n", ": b\r\n\r\n", ""),
    BAD("a folded trailer", "0\r\nA: b\r\n", " c\r\n\r\n", ""),
    BAD("a bare LF in a trailer's name", "0\r\nA", "\n: b\r\n\r\n", ""),
    BAD("a bare LF in its value", "0\r\nA: b", "\nC: d\r\n\r\n", ""),
    BAD("a bare CR in its value", "0\r\nA: b\r", "c\r\n\r\n", ""),
    BAD("NUL in its value", "0\r\nA: b", "\0\r\n\r\n", ""),
    BAD("a control byte in its value", "0\r\nA: b", "\x0b\r\n\r\n", ""),
    BAD("the next request right after the last size", "0\r\nGET", " / HTTP/1.1\r\n", ""),
    /* the other framings */
    LENGTH("a body of known length", 5, "hello", ""),
    LENGTH("and the next message", 5, "hello", "GET /"),
    LENGTH("half of it", 5, "he", ""),
    LENGTH("none of it", 5, "", ""),
    LENGTH("a length of 0 is done at once", 0, "", ""),
    LENGTH("and takes nothing", 0, "", "GET /"),
    LENGTH("bytes of any kind", 6, "\0\r\n\r\n0", "\r\n"),
    LENGTH("more than fits in 32 bits", UINT64_C(4294967296) + 2, "hello", ""),
    { .name = "no body takes nothing", TEXTS("", "GET /", ""), .framing = BODY_NONE },
    { .name = "no body of nothing", TEXTS("", "", ""), .framing = BODY_NONE },
    { .name = "until close takes all and is never done by itself", TEXTS("hello\r\n0\r\n\r\n", "", "hello\r\n0\r\n\r\n"),
      .framing = BODY_UNTIL_CLOSE, .open = true },
    { .name = "until close of nothing", TEXTS("", "", ""), .framing = BODY_UNTIL_CLOSE, .open = true },
};

#define BODY_MAX 16384

/* What some run of calls has come to. */
struct result {
    struct http1_body body;
    char payload[BODY_MAX];
    size_t payload_len, taken;
    int r;
};

static void result_init(struct result *result, const struct body_row *row)
{
    static struct http1_head head;
    head.framing = row->framing;
    head.content_length = row->content_length;
    memset(&result->body, 0xa5, sizeof(result->body));
    http1_body_init(&result->body, &head);
    result->payload_len = result->taken = 0;
    result->r = 0;
}

/* One call with the next n bytes; false: no further call is due. */
static bool feed(struct result *result, const char *bytes, size_t n)
{
    char *piece = guard_copy(bytes + result->taken, n);
    size_t payload, consumed;
    result->r = http1_body_take(&result->body, piece, n, &payload, &consumed);
    assert_true(payload <= consumed && consumed <= n);
    memcpy(result->payload + result->payload_len, piece, payload);
    result->payload_len += payload;
    result->taken += consumed;
    assert_true(result->r < 0 || result->body.done || consumed == n);
    return result->r == 0 && !result->body.done;
}

static void expect_row(const struct result *result, const struct body_row *row)
{
    assert_int_equal(result->r, row->bad ? -HTTP1_BAD_CHUNK : 0);
    assert_int_equal(result->body.done, !row->bad && !row->open);
    assert_int_equal(result->taken, row->taken);
    assert_int_equal(result->payload_len, row->payload_len);
    assert_memory_equal(result->payload, row->payload, row->payload_len);
}

/* What has ended or was refused stays so, and takes nothing more. */
static void expect_final(struct result *result, const struct body_row *row)
{
    size_t taken = result->taken;
    if (row->open)
        return;
    feed(result, row->bytes, row->len - taken);
    assert_int_equal(result->taken, taken);
    expect_row(result, row);
}

static void test_body(void **state)
{
    static struct result result;
    const struct body_row *row = *state;
    size_t stride = 1 + row->len / 1024;
    for (size_t cut = 0; cut <= row->len; cut += stride) {
        result_init(&result, row);
        if (feed(&result, row->bytes, cut))
            feed(&result, row->bytes, row->len - cut);
        expect_row(&result, row);
        expect_final(&result, row);
    }
    result_init(&result, row);
    for (size_t i = 0; i < row->len && feed(&result, row->bytes, 1);)
        i++;
    expect_row(&result, row);
    expect_final(&result, row);
}

static void test_length_moves_nothing(void **state)
{
    static const struct http1_head head = { .framing = BODY_LENGTH, .content_length = 5 };
    struct http1_body body;
    size_t payload, consumed;
    (void)state;
    http1_body_init(&body, &head);
    /* Not ours to read: the bytes may be only in the kernel. */
    assert_int_equal(http1_body_take(&body, NULL, 3, &payload, &consumed), 0);
    assert_int_equal(payload, 3);
    assert_false(body.done);
    assert_int_equal(http1_body_take(&body, NULL, 3, &payload, &consumed), 0);
    assert_int_equal(consumed, 2);
    assert_true(body.done);
}

/* ---- whatever comes ---- */

static uint64_t random_state;

static size_t random_below(size_t n)    /* xorshift64 */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state % n);
}

static void random_start(void)
{
    const char *seed = getenv("HALB_TEST_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 0) : UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)getpid() << 1;
    print_message("seed: HALB_TEST_SEED=%#llx\n", (unsigned long long)random_state);
}

static void feed_random(struct result *result, const char *bytes, size_t len)
{
    bool more = true;
    while (more && result->taken < len) {
        size_t most = 1 + random_below(len - result->taken);
        more = feed(result, bytes, 1 + random_below(most));
    }
}

static void expect_same(const struct result *a, const struct result *b)
{
    assert_int_equal(a->r, b->r);
    assert_int_equal(a->body.done, b->body.done);
    assert_int_equal(a->taken, b->taken);
    assert_int_equal(a->payload_len, b->payload_len);
    assert_memory_equal(a->payload, b->payload, a->payload_len);
}

/* A row with a few bytes changed comes to the same however it is cut. */
static void test_mutants(void **state)
{
    static const char telling[] = "\r\n\0 \t:;09afAFg\x7f\x80";
    static struct result whole, cut;
    static char bytes[BODY_MAX];
    (void)state;
    random_start();
    for (int i = 0; i < 100000; i++) {
        const struct body_row *row = &rows[random_below(sizeof(rows) / sizeof(rows[0]))];
        if (row->len == 0 || row->len > 256)
            continue;
        memcpy(bytes, row->bytes, row->len);
        for (size_t edits = random_below(3); edits > 0; edits--)
            bytes[random_below(row->len)] = telling[random_below(sizeof(telling) - 1)];
        result_init(&whole, row);
        feed(&whole, bytes, row->len);
        result_init(&cut, row);
        feed_random(&cut, bytes, row->len);
        if (cut.taken == whole.taken)
            expect_same(&cut, &whole);
        else
            fail_msg("%zu bytes taken whole, %zu in pieces", whole.taken, cut.taken);
    }
}

/* Chunks `payload` as a sender may: any sizes, zeros before them, extensions. */
static size_t encode(char *out, const char *payload, size_t len)
{
    static const char *const zeros[] = { "", "0", "000" }, *const extensions[] = { "", ";x", ";a=\"b;c\"" };
    char *at = out;
    for (size_t n; len > 0; payload += n, len -= n) {
        n = 1 + random_below(len < 300 ? len : 300);
        at += sprintf(at, "%s%zx%s\r\n", zeros[random_below(3)], n, extensions[random_below(3)]);
        at = (char *)memcpy(at, payload, n) + n;
        at = (char *)memcpy(at, "\r\n", 2) + 2;
    }
    at += sprintf(at, "%s", random_below(2) == 0 ? "0\r\n\r\n" : "00;z\r\nA: b\r\nC:\r\n\r\n");
    return (size_t)(at - out);
}

static void test_what_was_encoded(void **state)
{
    static const struct body_row row = { .framing = BODY_CHUNKED };
    static struct result result;
    static char payload[1024], bytes[BODY_MAX];
    (void)state;
    random_start();
    for (int i = 0; i < 5000; i++) {
        size_t payload_len = random_below(sizeof(payload) + 1), len;
        for (size_t j = 0; j < payload_len; j++)
            payload[j] = (char)random_below(256);
        len = encode(bytes, payload, payload_len);
        result_init(&result, &row);
        feed_random(&result, bytes, len);
        assert_int_equal(result.r, 0);
        assert_true(result.body.done && result.taken == len);
        assert_int_equal(result.payload_len, payload_len);
        assert_memory_equal(result.payload, payload, payload_len);
    }
}

int main(void)
{
    static struct CMUnitTest tests[512];
    size_t count = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        tests[count++] = (struct CMUnitTest){ .name = rows[i].name, .test_func = test_body, .initial_state = (void *)&rows[i] };
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_length_moves_nothing);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_mutants);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_what_was_encoded);
    return _cmocka_run_group_tests("http1_body", tests, count, NULL, NULL);
}
