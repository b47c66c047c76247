/*
 * Responses' heads, for each way in which the request's method counts; and what a client gets of them, read again
 * strictly: the same status and fields, one framing.
 */
#include "common/buf.h"
#include "lb/head.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/head_pieces.h"
#include "tests/fuzz/strict.h"

#define FORWARDED_MAX 200 /* fields: with those that are added, it can be read again */

struct how {
    const struct http1_limits *limits;
    enum http1_method method;
};

static const struct http1_limits wide = { .line_max = 16384, .field_max = 16384, .head_max = 61440, .count_max = HTTP1_FIELDS_MAX };
static const struct http1_limits narrow = { .line_max = 20, .field_max = 32, .head_max = 96, .count_max = 4 };

static int parse(struct http1_head *head, const char *bytes, size_t len, const void *how)
{
    return http1_parse_response(head, bytes, len, ((const struct how *)how)->limits, ((const struct how *)how)->method);
}

/* RFC 9112 6.3, in its own order. */
static enum http1_framing framing_of(const struct http1_head *head, enum http1_method method)
{
    bool chunked = false;

    if (method == METHOD_HEAD || head->status / 100 == 1 || head->status == 204 || head->status == 304)
        return BODY_NONE;
    for (size_t i = 0; i < head->field_count; i++)
        chunked = chunked || head->fields[i].id == FIELD_TRANSFER_ENCODING;
    if (chunked)
        return BODY_CHUNKED;
    return head->has_content_length ? BODY_LENGTH : BODY_UNTIL_CLOSE;
}

/* Never repaired: every byte of it is what everybody reads alike, and every line counts. */
static void check_bytes(const struct http1_head *head, const char *bytes, int len)
{
    size_t lines = 0;

    for (int i = 0; i < len; i++) {
        lines += bytes[i] == '\n';
        assert(bytes[i] != '\0');
        assert((bytes[i] != '\r' || bytes[i + 1] == '\n') && (bytes[i] != '\n' || bytes[i - 1] == '\r'));
        assert(i == 0 || bytes[i - 1] != '\n' || (bytes[i] != ' ' && bytes[i] != '\t'));
    }
    assert(lines == head->field_count + 2);
}

static void check_response(const struct http1_head *head, const char *bytes, int verdict, const struct how *how)
{
    /* HEAD's and the bodiless answers may have a Transfer-Encoding whose body does not come. */
    if (head->framing != BODY_NONE)
        head_check(head, bytes, verdict, how->limits);
    check_bytes(head, bytes, verdict);
    assert(head->status >= 100 && head->status <= 599);
    assert(head->framing == framing_of(head, how->method));
    assert(head->framing != BODY_UNTIL_CLOSE || !head->keep_alive);
    assert(head->repaired_len == 0);
}

/* ---- what the client gets ---- */

static bool forwarded(const struct http1_field *field)
{
    switch (field->id) {
    case FIELD_CONNECTION:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_CONTENT_LENGTH:
    case FIELD_UPGRADE:
    case FIELD_TE:
    case FIELD_TRAILER:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_PROXY_AUTHENTICATE:
    case FIELD_PROXY_AUTHORIZATION:
        return false;
    case FIELD_OTHER:
    case FIELD_HOST:
    case FIELD_EXPECT:
    case FIELD_X_FORWARDED_FOR:
    case FIELD_X_FORWARDED_PROTO:
    case FIELD_X_FORWARDED_PORT:
    case FIELD_COOKIE:
    case FIELD_SET_COOKIE:
    case FIELD_USER_AGENT:
        break;
    }
    return !field->named_in_connection;
}

static void check_same(const struct http1_head *sent, const struct http1_head *got)
{
    size_t at = 0;

    assert(got->status == sent->status);
    assert(span_equal(got->phrase, sent->phrase));
    for (size_t i = 0; i < sent->field_count; i++) {
        const struct http1_field *field = &sent->fields[i];
        if (!forwarded(field))
            continue;
        assert(at < got->field_count);
        assert(span_equal(got->fields[at].name, field->name));
        assert(span_equal(got->fields[at].value, field->value));
        at++;
    }
    for (; at < got->field_count; at++)
        assert(!forwarded(&got->fields[at]));
}

static void check_forwarding(const struct http1_head *head, int verdict, enum http1_method method, bool keep_alive)
{
    static struct http1_head got;
    bool rechunk = head->framing == BODY_CHUNKED || (head->framing == BODY_UNTIL_CLOSE && keep_alive);
    struct head_response response = { .head = head, .rechunk = rechunk, .keep_alive = keep_alive, .websocket = head->status == 101 };
    struct buf *buf = buf_new(head_response_room(head, (size_t)verdict));
    struct strict strict;
    int r;

    assert(buf != NULL);
    head_add_response(buf, &response);
    strict_response(buf->data, buf->len, &strict);
    assert(strict.codings == rechunk);
    assert(head->framing != BODY_LENGTH || strict.lengths == 1);
    r = http1_parse_response(&got, buf->data, buf->len, &wide, method);
    assert(r > 0 && (size_t)r == buf->len);
    assert(got.framing == (rechunk ? BODY_CHUNKED : head->framing));
    assert(got.framing != BODY_LENGTH || got.content_length == head->content_length);
    assert(got.keep_alive == (keep_alive && got.framing != BODY_UNTIL_CLOSE) || got.status < 200);
    check_same(head, &got);
    buf_unref(&buf);
}

static void check_method(const char *bytes, size_t len, enum http1_method method)
{
    static struct http1_head head;
    struct how how = { &narrow, method };
    int r = head_in_pieces(&head, bytes, len, parse, &how);

    if (r > 0)
        check_response(&head, bytes, r, &how);
    how.limits = &wide;
    r = head_in_pieces(&head, bytes, len, parse, &how);
    if (r > 0)
        check_response(&head, bytes, r, &how);
    if (r > 0 && head.field_count <= FORWARDED_MAX) {
        check_forwarding(&head, r, method, true);
        check_forwarding(&head, r, method, false);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = fuzz_exact(data, size);

    check_method(bytes, size, METHOD_GET);
    check_method(bytes, size, METHOD_HEAD);
    free(bytes);
    return 0;
}
