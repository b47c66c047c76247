#include "lb/head.h"

#define ADDED_ROOM 512      /* the fields that we add, without what they repeat of the head */
#define PER_FIELD_ROOM 4    /* "a:b" becomes "a: b", lists are joined with ", " */

static bool hop_by_hop(const struct http1_field *field)
{
    switch (field->id) {
    case FIELD_CONNECTION:
    case FIELD_TRANSFER_ENCODING:       /* framing is written anew, as is Content-Length */
    case FIELD_CONTENT_LENGTH:
    case FIELD_UPGRADE:
    case FIELD_TE:
    case FIELD_TRAILER:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_PROXY_AUTHENTICATE:
    case FIELD_PROXY_AUTHORIZATION:
        return true;
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
    return field->named_in_connection;
}

static void add_field(struct buf *buf, struct span name, struct span value)
{
    buf_add_span(buf, name);
    buf_add(buf, ": ", 2);
    buf_add_span(buf, value);
    buf_add(buf, "\r\n", 2);
}

static void add_length(struct buf *buf, uint64_t length)
{
    buf_add_text(buf, "Content-Length: ");
    buf_add_number(buf, length, 10);
    buf_add(buf, "\r\n", 2);
}

bool head_wants_websocket(const struct http1_head *head)
{
    bool wants = false, other = false;

    for (size_t i = 0; i < head->field_count; i++) {
        const struct http1_field *field = &head->fields[i];
        if (field->id != FIELD_UPGRADE)
            continue;
        if (field->named_in_connection && span_equal_nocase(field->value, SPAN("websocket")))
            wants = true;
        else
            other = true;
    }
    return wants && !other && head->minor >= 1;
}

static void add_upgrade(struct buf *buf)
{
    buf_add_text(buf, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
}

size_t head_request_room(const struct http1_head *head, size_t head_bytes)
{
    return head_bytes + head->repaired_len + head->field_count * PER_FIELD_ROOM + ADDED_ROOM;
}

static void add_node(struct buf *buf, const struct addr *node, uint16_t port)
{
    struct addr at = addr_with_port(*node, port);
    bool brackets = port == 80 && node->sa.sa_family == AF_INET6;       /* addr_format() has its own */
    char text[ADDR_TEXT_MAX];

    buf_add_text(buf, brackets ? "[" : "");
    buf_add_text(buf, port == 80 ? addr_format_host(&at, text) : addr_format(&at, text));
    buf_add_text(buf, brackets ? "]" : "");
}

static void add_host(struct buf *buf, const struct head_request *request)
{
    buf_add_text(buf, "Host: ");
    if (request->head->authority.len > 0)
        buf_add_span(buf, request->head->authority);
    else
        add_node(buf, request->node, request->port);
    buf_add(buf, "\r\n", 2);
}

/* The chain that came, all its fields in one, and the peer at its end. */
static void add_forwarded_for(struct buf *buf, const struct head_request *request)
{
    char text[ADDR_TEXT_MAX];

    buf_add_text(buf, "X-Forwarded-For: ");
    for (size_t i = 0; i < request->head->field_count; i++) {
        const struct http1_field *field = &request->head->fields[i];
        if (field->id != FIELD_X_FORWARDED_FOR || field->value.len == 0)
            continue;
        buf_add_span(buf, field->value);
        buf_add(buf, ", ", 2);
    }
    buf_add_text(buf, addr_format_host(request->client, text));
    buf_add(buf, "\r\n", 2);
}

/* The last field of that id, if its sender may speak for those before it. */
static struct span trusted_value(const struct head_request *request, enum http1_field_id id)
{
    struct span value = { NULL, 0 };

    for (size_t i = 0; request->client_trusted && i < request->head->field_count; i++)
        if (request->head->fields[i].id == id)
            value = request->head->fields[i].value;
    return value;
}

static void add_forwarded(struct buf *buf, const struct head_request *request)
{
    struct span proto = trusted_value(request, FIELD_X_FORWARDED_PROTO);
    struct span port = trusted_value(request, FIELD_X_FORWARDED_PORT);

    add_forwarded_for(buf, request);
    buf_add_text(buf, "X-Forwarded-Port: ");
    if (port.len > 0)
        buf_add_span(buf, port);
    else
        buf_add_number(buf, request->port, 10);
    buf_add_text(buf, "\r\nX-Forwarded-Proto: ");
    if (proto.len > 0)
        buf_add_span(buf, proto);
    else
        buf_add_text(buf, request->proto);
    buf_add(buf, "\r\n", 2);
}

static bool rewritten_in_request(enum http1_field_id id)
{
    return id == FIELD_HOST || id == FIELD_EXPECT || id == FIELD_X_FORWARDED_FOR || id == FIELD_X_FORWARDED_PROTO ||
           id == FIELD_X_FORWARDED_PORT;
}

void head_add_request(struct buf *buf, const struct head_request *request)
{
    const struct http1_head *head = request->head;

    buf_add_span(buf, head->method_text);
    buf_add(buf, " ", 1);
    buf_add_span(buf, head->path);
    buf_add_text(buf, " HTTP/1.1\r\n");
    add_host(buf, request);
    for (size_t i = 0; i < head->field_count; i++)
        if (!hop_by_hop(&head->fields[i]) && !rewritten_in_request(head->fields[i].id))
            add_field(buf, head->fields[i].name, head->fields[i].value);
    add_forwarded(buf, request);
    if (head->framing == BODY_CHUNKED)
        buf_add_text(buf, "Transfer-Encoding: chunked\r\n");
    else if (head->framing == BODY_LENGTH || head->has_content_length)
        add_length(buf, head->content_length);
    if (request->websocket)
        add_upgrade(buf);
    buf_add(buf, "\r\n", 2);
}

size_t head_response_room(const struct http1_head *head, size_t head_bytes)
{
    return head_bytes + head->field_count * PER_FIELD_ROOM + ADDED_ROOM;
}

/* RFC 9110 8.6: none on 1xx and 204; on an answer to HEAD and on 304 it says what a GET would have had. */
static bool length_allowed(const struct http1_head *head)
{
    return head->has_content_length && head->status >= 200 && head->status != 204;
}

void head_add_response(struct buf *buf, const struct head_response *response)
{
    const struct http1_head *head = response->head;

    buf_add_text(buf, "HTTP/1.1 ");
    buf_add_number(buf, head->status, 10);
    buf_add(buf, " ", 1);
    buf_add_span(buf, head->phrase);
    buf_add(buf, "\r\n", 2);
    for (size_t i = 0; i < head->field_count; i++)
        if (!hop_by_hop(&head->fields[i]))
            add_field(buf, head->fields[i].name, head->fields[i].value);
    if (response->rechunk)
        buf_add_text(buf, "Transfer-Encoding: chunked\r\n");
    else if (length_allowed(head))
        add_length(buf, head->content_length);
    if (response->added != NULL)
        buf_add(buf, response->added->data, response->added->len);
    if (response->websocket)
        add_upgrade(buf);
    else if (head->status >= 200)
        buf_add_text(buf, response->keep_alive ? "Connection: keep-alive\r\n" : "Connection: close\r\n");
    buf_add(buf, "\r\n", 2);
}
