/* What a client makes of the answers on its connection: one for each request, in order, whole, well framed, and nothing else. */
#include "alloc.h"
#include "client.h"
#include "common/list.h"
#include "tests/fuzz/strict.h"

static struct client *client_of(struct message *in)
{
    return container_of(in, struct client, http.in);
}

static void must_be(struct client *client, bool right, const char *what)
{
    const struct http_client *http = &client->http;
    uint64_t id = http->count == 0 ? 0 : http->queue[0].ask.id;

    if (!right)
        world_fail("client %u: request %llu: %s; the answer's head: %.*s", client->index, (unsigned long long)id, what, (int)http->in.head_len,
                   http->in.head);
}

static unsigned status_of(const struct message *in)
{
    return (unsigned)span_number((struct span){ in->head + 9, 3 });
}

/* ---- interim answers ---- */

static enum message_follows interim(struct client *client, struct request *request, unsigned status)
{
    must_be(client, !request->http10, "an interim answer to HTTP/1.0");
    if (status == 100) {
        must_be(client, request->expects && !request->continued, "100, once, to who asked for it");
        request->continued = true;
    } else {
        must_be(client, status == 103, "an interim answer that nobody gave");
        must_be(client, span_number(message_field(&client->http.in, "X-Ask", 0)) == request->ask.id, "the interim answer to another request");
    }
    return FOLLOWS_HEAD;
}

/* ---- whose it is ---- */

/* As docs and ELB have them, byte for byte. */
static bool own_answer(const struct message *in, unsigned status)
{
    static const struct { unsigned status; const char *line; } lines[] = {
        { 400, "400 BAD_REQUEST" }, { 405, "405 METHOD_NOT_ALLOWED" }, { 408, "408 REQUEST_TIMEOUT" }, { 502, "502 BAD_GATEWAY" },
        { 503, "503 Service Unavailable: Back-end server is at capacity" }, { 504, "504 GATEWAY_TIMEOUT" },
    };
    static const char closing[] = "\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n";
    static const char keeping[] = "\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n";

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        size_t len = strlen(lines[i].line);
        if (lines[i].status != status || in->head_len < 9 + len || memcmp(in->head + 9, lines[i].line, len) != 0)
            continue;
        struct span rest = { in->head + 9 + len, in->head_len - 9 - len };
        return span_equal(rest, SPAN(closing)) || (status >= 500 && span_equal(rest, SPAN(keeping)));
    }
    return false;
}

static int answerer(struct client *client, const struct request *request, unsigned status)
{
    const struct message *in = &client->http.in;
    struct span instance = message_field(in, "X-Instance", 0);

    if (instance.ptr == NULL) {
        must_be(client, own_answer(in, status), "an answer that neither an instance nor halb makes");
        return -1;
    }
    must_be(client, span_number(instance) < PLAN_INSTANCES, "an answer of no instance");
    must_be(client, span_number(message_field(in, "X-Ask", 0)) == request->ask.id, "the answer to another request");
    must_be(client, message_field(in, "X-Garbled", 0).ptr == NULL && message_field(in, "X-Poison", 0).ptr == NULL, "an answer that may not pass");
    return (int)span_number(instance);
}

/* ---- what follows ---- */

/* 101: from here on it is a stream. */
static enum message_follows switched(struct client *client, struct request *request)
{
    struct message *in = &client->http.in;

    must_be(client, request->ask.code == 101 && !client->http.tunnelled, "a tunnel that was not asked for");
    must_be(client, span_is(message_field(in, "Connection", 0), "upgrade") && span_is(message_field(in, "Upgrade", 0), "websocket"), "what it switches to");
    client->http.instance = answerer(client, request, 101);
    must_be(client, client->http.instance >= 0, "an instance that switches");
    client->http.head_come = client->http.end_said = true;
    oracle_answer_head(request->ask.id, 101, client->http.instance);
    tunnel_opened(client, request);
    return FOLLOWS_ALL;
}

static void note_end(struct client *client, const struct request *request)
{
    struct http_client *http = &client->http;
    struct span connection = message_field(&http->in, "Connection", 0);

    must_be(client, message_field(&http->in, "Connection", 1).ptr == NULL, "one Connection field");
    http->end_said = span_is(connection, "close");
    must_be(client, http->end_said || span_is(connection, "keep-alive"), "whether the connection goes on");
    must_be(client, http->end_said || !request->closes, "that the connection ends, as it was asked");
}

static enum message_follows framing(struct client *client, const struct request *request, const struct strict *head, unsigned status)
{
    if (head->lengths > 0 && head->codings > 0)
        must_be(client, false, "one framing");
    if (request->ask.head_method || status == 204 || status == 304)
        return FOLLOWS_NOTHING;
    if (head->lengths > 0)
        return FOLLOWS_LENGTH;
    if (head->codings > 0) {
        must_be(client, !request->http10, "no chunks to HTTP/1.0");
        return FOLLOWS_CHUNKS;
    }
    must_be(client, request->http10 && client->http.end_said, "an answer without framing");
    return FOLLOWS_ALL;
}

/* An answer binds its client to the instance that gave it, unless the request was for that. */
static void note_cookie(struct client *client, const struct request *request)
{
    struct span cookie = message_field(&client->http.in, "Set-Cookie", 0);
    const char *end = cookie.ptr == NULL ? NULL : memchr(cookie.ptr, ';', cookie.len);
    size_t len = end == NULL ? cookie.len : (size_t)(end - cookie.ptr);
    bool due = client->balancer->sticky && client->http.instance >= 0 && request->ask.claim != client->http.instance + 1;

    must_be(client, due == (cookie.ptr != NULL) || alloc_nth_reached(), due ? "a cookie" : "no cookie");
    if (len == 0 || len >= sizeof(client->http.cookie))
        return;
    client->http.cookie_of = client->http.instance;
    memcpy(client->http.cookie, cookie.ptr, len);
    client->http.cookie[len] = '\0';
}

static enum message_follows on_head(struct message *in)
{
    struct client *client = client_of(in);
    struct http_client *http = &client->http;
    struct request *request = &http->queue[0];
    struct strict head;
    unsigned status;

    strict_response(in->head, in->head_len, &head);
    status = status_of(in);
    must_be(client, http->count > 0, "an answer that nobody asked for");
    if (status == 101)
        return switched(client, request);
    if (status < 200)
        return interim(client, request, status);
    http->instance = answerer(client, request, status);
    http->head_come = true;
    if (request->tunnel.mode != '\0')
        tunnel_refused(client, request);
    note_end(client, request);
    note_cookie(client, request);
    if (request->illegal != NULL)
        must_be(client, illegal_answered_by(request, status, http->instance), "what an illegal request gets");
    if (request->illegal == NULL || !illegal_late(request))
        oracle_answer_head(request->ask.id, status, http->instance);
    return framing(client, request, &head, status);
}

static void on_payload(struct message *in, const char *bytes, size_t len)
{
    struct client *client = client_of(in);
    const struct http_client *http = &client->http;
    uint64_t id = http->queue[0].ask.id;
    size_t right = body_right(id, BODY_OF_ANSWER, (unsigned)http->instance, in->payload, bytes, len);

    if (right == len)
        return;
    oracle_answer_byte(id, in->payload + right, (unsigned char)bytes[right]);
    must_be(client, false, "a body of an answer that has none");
}

void answer_reader_init(struct client *client)
{
    static const struct message_events events = { .head = on_head, .payload = on_payload };

    message_init(&client->http.in, &events, "client");
}

/* ---- the end of one ---- */

static bool was_sent(const struct http_client *http, const struct request *request)
{
    return http->out.written >= request->end_at;
}

bool answer_whole(struct client *client)
{
    struct http_client *http = &client->http;
    const struct request *request = &http->queue[0];
    unsigned status = status_of(&http->in);
    bool bodiless = request->ask.head_method || status == 204 || status == 304;

    if (http->instance >= 0)
        must_be(client, http->in.payload == (bodiless ? 0 : request->ask.answer_bytes), "as many bytes as were asked for");
    must_be(client, http->end_said || was_sent(http, request), "a connection that goes on, in the middle of a request");
    if (request->illegal != NULL && illegal_late(request))
        return false;
    oracle_answered(request->ask.id);
    return true;
}
