#include "lb/head.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
/*
 * The bytes that the other side gets, and that it must read them as we read
 * what came. The buffer has the room that was asked for and no byte more.
 */
static const struct http1_limits limits = { 16384, 16384, 65536, 100, HTTP1_DEFENSIVE };

#define XFF(client) "X-Forwarded-For: " client "\r\n"
#define XPP "X-Forwarded-Port: 80\r\nX-Forwarded-Proto: http\r\n"
#define ADDED XFF("192.0.2.7") XPP

static const struct request_row {
    const char *name, *in, *out;
    const char *client;             /* NULL: 192.0.2.7 */
    const char *node;               /* NULL: 10.0.10.10 */
    uint16_t port;                  /* 0: 80 */
    bool trusted;
} requests[] = {
    { "a plain request gets what ELB adds", "GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n",
      "GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "Host is kept and goes first", "GET / HTTP/1.1\r\nA: 1\r\nHost: Example.COM:8080\r\nB: 2\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: Example.COM:8080\r\nA: 1\r\nB: 2\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "the target passes untouched", "GET /%2e%2e/a//b/../c?q=<script>alert('1')</script>|{}^`\"\\ HTTP/1.1\r\nHost: h\r\n\r\n",
      "GET /%2e%2e/a//b/../c?q=<script>alert('1')</script>|{}^`\"\\ HTTP/1.1\r\nHost: h\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "names and values keep their letters, blanks around values go", "GET / HTTP/1.1\r\nHost: h\r\nx-OdD:  a  b\t \r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\nx-OdD: a  b\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "an empty value is legal", "GET / HTTP/1.1\r\nHost: h\r\nEmpty:\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\nEmpty: \r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "the same field twice stays twice, in order", "GET / HTTP/1.1\r\nHost: h\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\nCookie: a=1\r\nCookie: b=2\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "hop-by-hop fields stay here",
      "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nTrailer: Expires\r\nUpgrade: h2c\r\n"
      "Proxy-Connection: close\r\nProxy-Authorization: Basic eDp5\r\nProxy-Authenticate: x\r\nAccept: a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\nAccept: a\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "and so do those that Connection names", "GET / HTTP/1.1\r\nHost: h\r\nX-Hop: 1\r\nConnection: x-hop, X-OTHER\r\nX-Other: 2\r\nX-End: 3\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\nX-End: 3\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "Authorization is the instance's", "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic eDp5\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic eDp5\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "Host stays although Connection names it", "GET / HTTP/1.1\r\nHost: h\r\nConnection: host\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "Content-Length stays although Connection names it", "POST / HTTP/1.1\r\nHost: h\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: h\r\n" ADDED "Content-Length: 5\r\n\r\n", NULL, NULL, 0, false },
    { "X-Forwarded-For is appended to", "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 203.0.113.1, 198.51.100.2\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\n" XFF("203.0.113.1, 198.51.100.2, 192.0.2.7") XPP "\r\n", NULL, NULL, 0, false },
    { "several of them become one, in order", "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: a\r\nB: 1\r\nx-forwarded-for: c, d\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\nB: 1\r\n" XFF("a, c, d, 192.0.2.7") XPP "\r\n", NULL, NULL, 0, false },
    { "an empty one leaves no comma", "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For:\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "the chain can not be cut by naming it in Connection", "GET / HTTP/1.1\r\nHost: h\r\nConnection: X-Forwarded-For\r\nX-Forwarded-For: a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\n" XFF("a, 192.0.2.7") XPP "\r\n", NULL, NULL, 0, false },
    { "an IPv6 client stands without brackets", "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\n" XFF("2001:db8::1") XPP "\r\n", "2001:db8::1", NULL, 0, false },
    { "what a stranger says of port and protocol is replaced",
      "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Proto: gopher\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "what a trusted peer says of them stands", "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\n" XFF("192.0.2.7") "X-Forwarded-Port: 443\r\nX-Forwarded-Proto: https\r\n\r\n", NULL, NULL, 0, true },
    { "a trusted peer's last word counts", "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Proto: https\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\n" XFF("192.0.2.7") "X-Forwarded-Port: 80\r\nX-Forwarded-Proto: https\r\n\r\n", NULL, NULL, 0, true },
    { "a trusted peer that says nothing gets ours", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n" ADDED "\r\n", NULL, NULL, 0, true },
    { "the listener's port is told", "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\n" XFF("192.0.2.7") "X-Forwarded-Port: 8080\r\nX-Forwarded-Proto: http\r\n\r\n", NULL, NULL, 8080, false },
    { "absolute-form becomes origin-form, its authority wins", "GET http://Example.com:81/a?b HTTP/1.1\r\nHost: other\r\n\r\n",
      "GET /a?b HTTP/1.1\r\nHost: Example.com:81\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "absolute-form without a path", "GET http://example.com HTTP/1.1\r\nHost: example.com\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: example.com\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "the asterisk of OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: h\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "an unknown method passes", "PURGE /x HTTP/1.1\r\nHost: h\r\n\r\n", "PURGE /x HTTP/1.1\r\nHost: h\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "HTTP/1.0 goes on as HTTP/1.1", "GET / HTTP/1.0\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "HTTP/1.0 without Host gets the node's address", "GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: 10.0.10.10\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "with the port where it is not 80", "GET / HTTP/1.0\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: 127.0.10.10:8080\r\n" XFF("192.0.2.7") "X-Forwarded-Port: 8080\r\nX-Forwarded-Proto: http\r\n\r\n", NULL, "127.0.10.10", 8080, false },
    { "and an IPv6 node's in brackets", "GET / HTTP/1.0\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: [fd00::10]:8080\r\n" XFF("192.0.2.7") "X-Forwarded-Port: 8080\r\nX-Forwarded-Proto: http\r\n\r\n", NULL, "fd00::10", 8080, false },
    { "an IPv6 node's at port 80 too", "GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: [fd00::10]\r\n" ADDED "\r\n", NULL, "fd00::10", 0, false },
    { "a length is written anew", "POST / HTTP/1.1\r\ncontent-length: 007\r\nHost: h\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: h\r\n" ADDED "Content-Length: 7\r\n\r\n", NULL, NULL, 0, false },
    { "a length of nought stays one", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: h\r\n" ADDED "Content-Length: 0\r\n\r\n", NULL, NULL, 0, false },
    { "the largest length that may be", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999999999999\r\n\r\n",
      "PUT / HTTP/1.1\r\nHost: h\r\n" ADDED "Content-Length: 999999999999999999\r\n\r\n", NULL, NULL, 0, false },
    { "a chunked body goes on chunked", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: h\r\n" ADDED "Transfer-Encoding: chunked\r\n\r\n", NULL, NULL, 0, false },
    { "no body, no framing", "POST / HTTP/1.1\r\nHost: h\r\n\r\n", "POST / HTTP/1.1\r\nHost: h\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "Expect is answered here", "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: h\r\n" ADDED "Content-Length: 3\r\n\r\n", NULL, NULL, 0, false },
    { "the empty line before a request stays here", "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n" ADDED "\r\n", NULL, NULL, 0, false },
    { "bytes above 0x7f in a value pass", "GET / HTTP/1.1\r\nHost: h\r\nA: \xc3\xa9\xff\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\nA: \xc3\xa9\xff\r\n" ADDED "\r\n", NULL, NULL, 0, false },
};

static struct addr addr(const char *text, const char *otherwise)
{
    struct addr a;
    assert_int_equal(addr_parse(text != NULL ? text : otherwise, &a), 0);
    return a;
}

static struct buf *build_request(const struct http1_head *head, size_t head_bytes, const struct request_row *row)
{
    struct addr client = addr(row->client, "192.0.2.7"), node = addr(row->node, "10.0.10.10");
    struct head_request request = { .head = head, .client = &client, .client_trusted = row->trusted, .proto = "http",
                                    .port = row->port != 0 ? row->port : 80, .node = &node };
    struct buf *b = buf_new(head_request_room(head, head_bytes));
    assert_non_null(b);
    head_add_request(b, &request);
    return b;
}

static void assert_bytes(const struct buf *b, const char *expected)
{
    if (b->len != strlen(expected) || memcmp(b->data, expected, b->len) != 0)
        fail_msg("built:\n%.*s\nexpected:\n%s", (int)b->len, b->data, expected);
}

static void assert_bytes_end(const struct buf *b)
{
    assert_true(b->len > 4);
    assert_memory_equal(b->data + b->len - 4, "\r\n\r\n", 4);
}

static void test_request(void **state)
{
    static struct http1_head head, seen;
    const struct request_row *row = *state;
    size_t len = strlen(row->in);
    struct buf *b;
    assert_int_equal(http1_parse_request(&head, row->in, len, &limits), len);
    b = build_request(&head, len, row);
    assert_bytes(b, row->out);
    assert_int_equal(http1_parse_request(&seen, b->data, b->len, &limits), b->len);
    assert_true(span_equal(seen.method_text, head.method_text));
    assert_true(span_equal(seen.target, head.path));
    assert_true(span_equal(seen.path, head.path));
    assert_true(head.authority.len == 0 || span_equal(seen.authority, head.authority));
    assert_int_equal(seen.framing, head.framing);
    assert_int_equal(seen.content_length, head.content_length);
    assert_int_equal(seen.has_content_length, head.has_content_length);
    assert_true(seen.keep_alive);
    assert_false(seen.expect_continue);
    assert_int_equal(seen.minor, 1);
    buf_unref(&b);
}

#define KEEPS "Connection: keep-alive\r\n"
#define CLOSES "Connection: close\r\n"

static const struct response_row {
    const char *name;
    enum http1_method method;
    bool rechunk, keep_alive;
    const char *in, *out;
    enum http1_framing framing;     /* as the client finds it */
} responses[] = {
    { "a plain answer", METHOD_GET, false, true, "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\n",
      "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n" KEEPS "\r\n", BODY_LENGTH },
    { "after which we close", METHOD_GET, false, false, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" CLOSES "\r\n", BODY_LENGTH },
    { "the instance's wish about its own connection stays here", METHOD_GET, false, true,
      "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" KEEPS "\r\n", BODY_LENGTH },
    { "hop-by-hop fields stay here", METHOD_GET, false, true,
      "HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nTrailer: X\r\nProxy-Authenticate: Basic\r\nProxy-Connection: close\r\nTE: x\r\nA: 1\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 0\r\n" KEEPS "\r\n", BODY_LENGTH },
    { "each Set-Cookie passes by itself", METHOD_GET, false, true,
      "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n" KEEPS "\r\n", BODY_LENGTH },
    { "chunked stays chunked", METHOD_GET, true, true, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" KEEPS "\r\n", BODY_CHUNKED },
    { "chunked for a client that knows no chunks ends with the connection", METHOD_GET, false, false,
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\n" CLOSES "\r\n", BODY_UNTIL_CLOSE },
    { "an answer that ends with its connection goes on chunked", METHOD_GET, true, true, "HTTP/1.1 200 OK\r\nA: 1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nA: 1\r\nTransfer-Encoding: chunked\r\n" KEEPS "\r\n", BODY_CHUNKED },
    { "an instance of HTTP/1.0", METHOD_GET, true, true, "HTTP/1.0 200 OK\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" KEEPS "\r\n", BODY_CHUNKED },
    { "no reason phrase", METHOD_GET, false, true, "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 \r\nContent-Length: 0\r\n" KEEPS "\r\n", BODY_LENGTH },
    { "a long phrase passes", METHOD_GET, false, true, "HTTP/1.1 404 Not Found, really: gone\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 404 Not Found, really: gone\r\nContent-Length: 0\r\n" KEEPS "\r\n", BODY_LENGTH },
    { "the answer to HEAD says the length and has no body", METHOD_HEAD, false, true, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n" KEEPS "\r\n", BODY_NONE },
    { "the answer to HEAD without a length", METHOD_HEAD, false, true, "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n" KEEPS "\r\n", BODY_NONE },
    { "204 has neither body nor length", METHOD_GET, false, true, "HTTP/1.1 204 No Content\r\nA: 1\r\n\r\n",
      "HTTP/1.1 204 No Content\r\nA: 1\r\n" KEEPS "\r\n", BODY_NONE },
    { "204 with a length loses it", METHOD_GET, false, true, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 204 No Content\r\n" KEEPS "\r\n", BODY_NONE },
    { "304 says the length of what a GET would have had", METHOD_GET, false, true, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5000\r\nETag: \"x\"\r\n\r\n",
      "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 5000\r\n" KEEPS "\r\n", BODY_NONE },
    { "103 passes without a word on the connection", METHOD_GET, false, false, "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nConnection: close\r\n\r\n",
      "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n", BODY_NONE },
    { "1xx loses a length", METHOD_GET, false, false, "HTTP/1.1 102 Processing\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n", BODY_NONE },
};

static void test_response(void **state)
{
    static struct http1_head head, seen;
    const struct response_row *row = *state;
    struct head_response response = { .head = &head, .rechunk = row->rechunk, .keep_alive = row->keep_alive };
    size_t len = strlen(row->in);
    struct buf *b;
    assert_int_equal(http1_parse_response(&head, row->in, len, &limits, row->method), len);
    b = buf_new(head_response_room(&head, len));
    assert_non_null(b);
    head_add_response(b, &response);
    assert_bytes(b, row->out);
    assert_int_equal(http1_parse_response(&seen, b->data, b->len, &limits, row->method), b->len);
    assert_int_equal(seen.status, head.status);
    assert_true(span_equal(seen.phrase, head.phrase));
    assert_int_equal(seen.framing, row->framing);
    if (row->framing == BODY_LENGTH)
        assert_int_equal(seen.content_length, head.content_length);
    if (head.status >= 200)
        assert_int_equal(seen.keep_alive, row->keep_alive);
    buf_unref(&b);
}

/* As many of the shortest fields as may be: the most that a head can grow. */
static void test_room_for_the_densest(void **state)
{
    static const struct request_row row = { .client = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", .node = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", .port = 65535 };
    static const struct http1_limits most = { 16384, 16384, 65536, HTTP1_FIELDS_MAX, HTTP1_DEFENSIVE };
    const char *field = *state;
    static struct http1_head head;
    struct head_response response = { .head = &head, .keep_alive = true };
    char bytes[16384];
    size_t len = (size_t)sprintf(bytes, "G / HTTP/1.0\r\n");
    struct buf *b;
    for (int i = 0; i < HTTP1_FIELDS_MAX; i++)
        len += (size_t)sprintf(bytes + len, "%s\r\n", field);
    len += (size_t)sprintf(bytes + len, "\r\n");
    assert_int_equal(http1_parse_request(&head, bytes, len, &most), len);
    b = build_request(&head, len, &row);
    assert_bytes_end(b);
    buf_unref(&b);
    len = (size_t)sprintf(bytes, "HTTP/1.1 200 \r\n");
    for (int i = 0; i < HTTP1_FIELDS_MAX; i++)
        len += (size_t)sprintf(bytes + len, "%s\r\n", field);
    len += (size_t)sprintf(bytes + len, "\r\n");
    assert_int_equal(http1_parse_response(&head, bytes, len, &most, METHOD_GET), len);
    b = buf_new(head_response_room(&head, len));
    assert_non_null(b);
    head_add_response(b, &response);
    assert_bytes_end(b);
    buf_unref(&b);
}

#define ROWS(table, function)                                                                     \
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)                                 \
        tests[count++] = (struct CMUnitTest){ .name = table[i].name, .test_func = (function), .initial_state = (void *)&table[i] }

int main(void)
{
    static struct CMUnitTest tests[128];
    size_t count = 0;
    ROWS(requests, test_request);
    ROWS(responses, test_response);
    tests[count++] = (struct CMUnitTest){ .name = "room for as many fields as may be", .test_func = test_room_for_the_densest, .initial_state = (void *)"a:" };
    tests[count++] = (struct CMUnitTest){ .name = "room for a chain of as many fields", .test_func = test_room_for_the_densest, .initial_state = (void *)"x-forwarded-for:b" };
    return _cmocka_run_group_tests("head", tests, count, NULL, NULL);
}
