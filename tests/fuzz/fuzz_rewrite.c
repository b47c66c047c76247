/* What an instance gets of a request that any mode takes, read again strictly: the same meaning, and nothing left to repair. */
#include "common/addr.h"
#include "common/buf.h"
#include "lb/head.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/strict.h"
#include <stdio.h>

#define FIELDS_MAX 200 /* with those that are added, it can be read again */

static const struct http1_limits limits = {
    .line_max = 65536, .field_max = 65536, .head_max = 131072, .count_max = HTTP1_FIELDS_MAX, .mode = HTTP1_MONITOR
};

static struct addr address(const char *text)
{
    struct addr a;
    int r = addr_parse(text, &a);
    assert(r == 0);
    return a;
}

/* Fields that arrive as they were sent. */
static bool passed_on(const struct http1_field *field)
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
    case FIELD_HOST:
    case FIELD_EXPECT:
    case FIELD_X_FORWARDED_FOR:
    case FIELD_X_FORWARDED_PROTO:
    case FIELD_X_FORWARDED_PORT:
        return false;
    case FIELD_OTHER:
    case FIELD_COOKIE:
    case FIELD_SET_COOKIE:
    case FIELD_USER_AGENT:
        break;
    }
    return !field->named_in_connection;
}

static void check_fields(const struct http1_head *sent, const struct http1_head *got)
{
    size_t at = 0;

    for (size_t i = 0; i < sent->field_count; i++) {
        if (!passed_on(&sent->fields[i]))
            continue;
        while (at < got->field_count && !passed_on(&got->fields[at]))
            at++;
        assert(at < got->field_count);
        assert(span_equal(got->fields[at].name, sent->fields[i].name));
        assert(span_equal(got->fields[at].value, sent->fields[i].value));
        at++;
    }
    for (; at < got->field_count; at++)
        assert(!passed_on(&got->fields[at]));
}

/* Every address that came stands in the one field, in order, and the client's at its end. */
static void check_chain(const struct http1_head *sent, const struct http1_head *got, const struct addr *client)
{
    char text[ADDR_TEXT_MAX];
    struct span chain = { NULL, 0 };
    const char *at;

    for (size_t i = 0; i < got->field_count; i++)
        if (got->fields[i].id == FIELD_X_FORWARDED_FOR)
            chain = got->fields[i].value;
    at = chain.ptr;
    for (size_t i = 0; i < sent->field_count; i++) {
        struct span value = sent->fields[i].value;
        if (sent->fields[i].id != FIELD_X_FORWARDED_FOR || value.len == 0)
            continue;
        assert((size_t)(chain.ptr + chain.len - at) > value.len + 2);
        assert(memcmp(at, value.ptr, value.len) == 0);
        assert(memcmp(at + value.len, ", ", 2) == 0);
        at += value.len + 2;
    }
    addr_format_host(client, text);
    assert(span_equal((struct span){ at, (size_t)(chain.ptr + chain.len - at) }, (struct span){ text, strlen(text) }));
}

/* A body that a GET has is framed well and stays, which is the one thing that can still be held against what we send. */
static bool bodily(enum http1_desync reason)
{
    return reason == DESYNC_UNDEFINED_LENGTH || reason == DESYNC_UNDEFINED_CODING || reason == DESYNC_GET_HEAD_ZERO_LENGTH;
}

static void check_same(const struct http1_head *sent, const struct http1_head *got)
{
    assert(got->desync_class == HTTP1_COMPLIANT || bodily(got->desync_reason));
    assert(got->repaired_len == 0);
    assert(span_equal(got->method_text, sent->method_text));
    assert(span_equal(got->path, sent->path));
    assert(span_equal(got->target, sent->path));
    assert(got->minor == 1);
    assert(got->framing == sent->framing);
    assert(got->has_content_length == sent->has_content_length);
    assert(got->content_length == sent->content_length);
    assert(got->keep_alive || got->close_after);
    assert(!got->expect_continue);
    assert(sent->authority.len == 0 || span_equal(got->authority, sent->authority));
    assert(got->authority.len > 0);
    check_fields(sent, got);
}

static void rewrite(const struct http1_head *head, size_t head_bytes, const struct addr *client, bool trusted)
{
    static struct http1_head got;
    struct addr node = address(trusted ? "2001:db8:1111:2222:3333:4444:5555:8888" : "10.0.10.10");
    struct head_request request = { .head = head,
                                    .client = client,
                                    .client_trusted = trusted,
                                    .proto = "http",
                                    .port = trusted ? 65535 : 80,
                                    .node = &node,
                                    .websocket = head_wants_websocket(head) };
    struct buf *buf = buf_new(head_request_room(head, head_bytes));
    struct strict strict;
    int r;

    assert(buf != NULL);
    head_add_request(buf, &request);
    strict_request(buf->data, buf->len, &strict);
    assert(strict.forwarded_fors == 1 && strict.forwarded_ports == 1 && strict.forwarded_protos == 1);
    assert(strict.codings == (head->framing == BODY_CHUNKED));
    assert(strict.lengths == (head->framing == BODY_LENGTH));
    r = http1_parse_request(&got, buf->data, buf->len, &limits);
    assert(r > 0 && (size_t)r == buf->len);
    assert(head_wants_websocket(&got) == request.websocket);
    check_same(head, &got);
    check_chain(head, &got, client);
    buf_unref(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http1_head head;
    struct addr client = address("192.0.2.7"), client6 = address("2001:db8:1111:2222:3333:4444:5555:7777");
    char *bytes = fuzz_exact(data, size);
    int r = http1_parse_request(&head, bytes, size, &limits);

    if (r > 0 && head.field_count <= FIELDS_MAX) {
        rewrite(&head, (size_t)r, &client, false);
        rewrite(&head, (size_t)r, &client6, true);
    }
    free(bytes);
    return 0;
}
