/*
 * HTTP with both sides: a request's head from the client, an answer's from the
 * instance, the answers that are made here, and the step from one exchange to the next.
 */
#include "lb/conn_parts.h"
#include "common/proxy.h"
#include "lb/answer.h"
#include "lb/backend.h"
#include "lb/head.h"
#include "lb/instance.h"
#include <assert.h>
#include <errno.h>

#define INTERIM_MAX 16                      /* 1xx answers to one request */
#define REQUEST_BUF 1024

void conn_await_head(struct conn *c)
{
    conn_deadline(c, conn_attributes(c)->idle_timeout_ms);
    conn_read_head(c);
    if (!conn_may_stay(c))
        conn_wind_up(c);
}

/* The exchange is over: nothing of it may be left behind for the next. */
static void exchange_clear(struct conn *c)
{
    logged_end(c, "done");
    c->request.bytes = c->response.bytes = 0;
    flow_stop(&c->request);
    flow_stop(&c->response);
    if (c->pin != NULL)
        pin_put(&c->pin);
    c->tried.count = 0;
    c->tries = 0;
    c->failure = FAILED_NO_INSTANCE;
    c->interim = 0;
    c->fresh_only = c->head_read = c->response_byte = c->response_begun = c->back_keep = false;
}

static void next_request(struct conn *c)
{
    exchange_clear(c);
    c->front.receive_once = false;
    side_expect_small(&c->front);
    conn_enter(c, CONN_READ_HEAD);
    conn_await_head(c);
}

void conn_answer_send(struct conn *c)
{
    const char *text = c->answer;

    if (side_sending(&c->front))
        return;
    if (c->front.error != 0 || c->front.send_error != 0) {
        conn_close(c, CLOSE_CLIENT_FAILED, false);
    } else if (c->answer_buf != NULL) {
        side_send_buf(conn_ring(c), &c->front, c->answer_buf, false);
        buf_unref(&c->answer_buf);
    } else if (text != NULL) {
        c->answer = NULL;
        side_send_text(conn_ring(c), &c->front, text);
    } else if (c->keep_alive) {
        next_request(c);
    } else {
        conn_linger(c, CLOSE_REFUSED);
    }
}

/* Reads and forgets what has come of the request's body. Is the request read whole then? */
static bool body_discard(struct conn *c)
{
    struct http1_body *body = &c->request.body;
    struct chunk *chunk;

    while (c->head_read && !body->done && (chunk = side_take(&c->front)) != NULL) {
        size_t payload, used;
        bool bad = http1_body_take(body, chunk->data, chunk->len, &payload, &used) < 0;
        chunk->data += used;
        chunk->len -= (uint32_t)used;
        if (!bad && chunk->len > 0)
            side_put_back(&c->front, chunk);
        else
            chunk_put(conn_ring(c), chunk);
        if (bad)
            return false;
        c->request.bytes += payload;
    }
    return c->head_read && body->done;
}

static void count_answer(struct conn *c, int status)
{
    static const struct { int status; enum worker_counter counter; } counters[] = {
        { 400, COUNT_ANSWER_400 }, { 405, COUNT_ANSWER_405 }, { 408, COUNT_ANSWER_408 },
        { 502, COUNT_ANSWER_502 }, { 503, COUNT_ANSWER_503 }, { 504, COUNT_ANSWER_504 },
    };

    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
        if (counters[i].status == status)
            worker_count(c->worker, counters[i].counter);
}

/* ELB's empty answer, or the operator's own body for this status. */
static void answer_choose(struct conn *c, int status)
{
    const struct config_attributes *attributes = conn_attributes(c);

    for (size_t i = 0; i < attributes->error_response_count; i++) {
        const struct config_error_response *own = &attributes->error_responses[i];
        struct answer_body body = { own->content_type, own->bytes, own->len };
        if (own->status != (unsigned)status)
            continue;
        c->answer_buf = answer_with_body(status, c->keep_alive, c->method == METHOD_HEAD, &body);
        c->response.bytes = c->answer_buf == NULL || c->method == METHOD_HEAD ? 0 : own->len;
    }
    if (c->answer_buf == NULL)
        c->answer = answer_text(status, c->keep_alive);
}

void conn_answer(struct conn *c, int status)
{
    logged_status(c, (unsigned)status);
    count_answer(c, status);
    conn_queue_leave(c);
    conn_back_drop(c, false);
    c->keep_alive = body_discard(c) && c->keep_alive && status >= 500 && conn_may_stay(c);
    flow_stop(&c->request);
    answer_choose(c, status);
    conn_enter(c, CONN_ANSWER);
    conn_deadline(c, conn_attributes(c)->idle_timeout_ms);
    conn_answer_send(c);
}

/* The instance has done its work, whatever the client still has to take of it: its use ends before the last piece leaves, so that who has
 * read all of an answer finds the instance free. */
void conn_deliver(struct conn *c)
{
    const struct config_attributes *attributes = conn_attributes(c);

    c->request_whole = c->request.ended && c->request.body.done;
    c->bytes_in += c->request.bytes;
    c->bytes_out += c->response.bytes;
    if (c->request_whole && c->back_keep)
        back_keep(&c->back, attributes->backend_idle_timeout_ms, attributes->backend_idle_max);
    conn_back_drop(c, false);
    conn_enter(c, CONN_DELIVER);
    conn_deadline(c, attributes->idle_timeout_ms);
    if (!side_sending(&c->front))
        conn_exchange_end(c);
}

/* Where the end is our wish, requests may be on their way that would meet a closed socket: its reset would take the answer along. */
void conn_exchange_end(struct conn *c)
{
    if (c->request_whole && c->keep_alive)
        next_request(c);
    else if (c->request_whole && c->client_ends && c->front.inbox == NULL && !conn_bytes_waiting(c))
        conn_close(c, CLOSE_DONE, false);
    else
        conn_linger(c, CLOSE_DONE);
}

/* How the answer's body goes to this client: as it came, or chunked where only the connection's end would tell its end. */
static bool goes_chunked(const struct conn *c, const struct http1_head *head)
{
    return c->minor >= 1 && (head->framing == BODY_CHUNKED || head->framing == BODY_UNTIL_CLOSE);
}

static bool ends_by_close(const struct conn *c, const struct http1_head *head)
{
    return c->minor == 0 && (head->framing == BODY_CHUNKED || head->framing == BODY_UNTIL_CLOSE);
}

/* The stickiness of the connection's listener. false: it has none. */
static bool stickiness(const struct conn *c, struct sticky *ret)
{
    const struct config_listener *listener = conn_listener(c);

    if (listener->sticky == NULL || c->worker->shared->sticky_keys == NULL)
        return false;
    *ret = (struct sticky){ c->worker->shared->sticky_keys, listener->sticky, conn_balancer(c)->conf->name, listener->instance_port };
    return true;
}

/* What binds the client to the instance that has answered; NULL: nothing (or no memory: the answer is right without). */
static struct buf *cookie_fields(const struct conn *c, const struct http1_head *head)
{
    struct sticky sticky;
    struct buf *buf;

    if (!stickiness(c, &sticky) || (buf = buf_new(sticky_room(&sticky, head))) == NULL)
        return NULL;
    (void)sticky_add(buf, &sticky, &c->claim, head, c->instance->id);
    return buf;
}

static enum failure answer_begin(struct conn *c, const struct http1_head *head, size_t head_bytes)
{
    struct head_response response = { .head = head, .rechunk = goes_chunked(c, head) };
    struct buf *cookie = cookie_fields(c, head);
    struct buf *buf = buf_new(head_response_room(head, head_bytes) + (cookie == NULL ? 0 : cookie->len));
    struct http1_body body;

    if (buf == NULL) {
        buf_unref(&cookie);
        return FAILED_RESOURCES;
    }
    response.added = cookie;
    if (ends_by_close(c, head) || !c->request.ended || !conn_may_stay(c))
        c->keep_alive = false;
    response.keep_alive = c->keep_alive;
    head_add_response(buf, &response);
    buf_unref(&cookie);
    http1_body_init(&body, head);
    logged_answered(c, head->status);
    logged_status(c, head->status);
    flow_start(&c->response, &c->back->side, &c->front, &body, buf, response.rechunk);
    c->back_keep = head->keep_alive && !c->close_both && !conn_introduces(c);
    c->response_begun = true;
    return FAILED_NO_INSTANCE;
}

/* From here on both directions are streams, as of a TCP listener; nobody looks into them. */
static enum failure tunnel_begin(struct conn *c, const struct http1_head *head, size_t head_bytes)
{
    struct http1_body stream = { .framing = BODY_UNTIL_CLOSE };
    struct head_response response = { .head = head, .websocket = true };
    struct buf *buf = buf_new(head_response_room(head, head_bytes));

    if (buf == NULL)
        return FAILED_RESOURCES;
    head_add_response(buf, &response);
    logged_answered(c, head->status);
    logged_status(c, head->status);
    flow_stop(&c->request);
    flow_start(&c->request, &c->front, &c->back->side, &stream, NULL, false);
    flow_start(&c->response, &c->back->side, &c->front, &stream, buf, false);
    c->http = false;
    c->tunnel = true;
    c->response_begun = true;
    c->front.receive_once = false;
    return FAILED_NO_INSTANCE;
}

/* 1xx: passed on to who can understand it. 100 answers an Expect that we answered ourselves, 101 one that we never passed on. */
static enum failure answer_interim(struct conn *c, const struct http1_head *head, size_t head_bytes)
{
    struct head_response response = { .head = head };
    struct buf *buf;

    if (head->status == 101 && c->websocket && head_wants_websocket(head))
        return tunnel_begin(c, head, head_bytes);
    if (head->status == 101 || ++c->interim > INTERIM_MAX)
        return FAILED_MALFORMED;
    if (head->status == 100 || c->minor == 0)
        return FAILED_NO_INSTANCE;
    buf = buf_new(head_response_room(head, head_bytes));
    if (buf == NULL)
        return FAILED_RESOURCES;
    head_add_response(buf, &response);
    side_send_buf(conn_ring(c), &c->front, buf, false);
    buf_unref(&buf);
    return FAILED_NO_INSTANCE;
}

/* FAILED_NO_INSTANCE stands for none. */
static enum failure answer_head(struct conn *c, size_t head_bytes)
{
    const struct http1_head *head = c->worker->head;

    return head->status < 200 ? answer_interim(c, head, head_bytes) : answer_begin(c, head, head_bytes);
}

/* Collects pieces of a head that did not come in one. 0, or -ENOMEM. */
static int head_collect(struct buf **in_head, const struct chunk *chunk)
{
    if (*in_head == NULL)
        *in_head = buf_new(2 * (size_t)chunk->len);
    if (*in_head == NULL || buf_reserve(in_head, chunk->len) < 0)
        return -ENOMEM;
    buf_add(*in_head, chunk->data, chunk->len);
    return 0;
}

int conn_head_look(struct conn *c, struct side *side, struct buf **in_head, conn_parse_fn parse)
{
    struct chunk *chunk;

    while ((chunk = side->inbox) != NULL) {
        int n;
        if (*in_head == NULL) {
            n = parse(c, chunk->data, chunk->len);
        } else {
            if (head_collect(in_head, chunk) < 0)
                return HEAD_NO_MEMORY;
            n = parse(c, (*in_head)->data, (*in_head)->len);
            if (n > 0)
                (*in_head)->len -= chunk->len;      /* the chunk stays in the inbox until conn_head_consume() */
        }
        if (n != 0)
            return n;
        if (*in_head == NULL && head_collect(in_head, chunk) < 0)
            return HEAD_NO_MEMORY;
        chunk_put(conn_ring(c), side_take(side));
    }
    return 0;
}

/* Takes the head's bytes out of the inbox. Spans into it are dead from here on. */
void conn_head_consume(struct conn *c, struct side *side, struct buf **in_head, size_t head_bytes)
{
    struct chunk *chunk = side_take(side);
    size_t here = head_bytes - (*in_head == NULL ? 0 : (*in_head)->len);

    assert(here <= chunk->len);
    buf_unref(in_head);
    chunk->data += here;
    chunk->len -= (uint32_t)here;
    if (chunk->len > 0)
        side_put_back(side, chunk);
    else
        chunk_put(conn_ring(c), chunk);
}

static int parse_answer(const struct conn *c, const char *bytes, size_t len)
{
    const struct config_attributes *a = conn_attributes(c);
    struct http1_limits limits = { .line_max = a->response_headers_max, .field_max = a->response_headers_max,
                                   .head_max = a->response_headers_max, .count_max = HTTP1_FIELDS_MAX };

    return http1_parse_response(c->worker->head, bytes, len, &limits, c->method);
}

/* Is the final head of the answer passed on? If not: more is needed, or the exchange has taken another way. */
bool conn_read_answer(struct conn *c)
{
    struct side *side = &c->back->side;
    enum failure failure;
    int n;

    while (!side_sending(&c->front)) {
        c->response_byte = c->response_byte || side->inbox != NULL;
        n = conn_head_look(c, side, &c->back->in_head, parse_answer);
        if (n == 0)
            break;
        failure = n == HEAD_NO_MEMORY ? FAILED_RESOURCES : n < 0 ? FAILED_MALFORMED : answer_head(c, (size_t)n);
        if (failure == FAILED_RESOURCES)
            conn_starve(c, -ENOMEM);
        else if (failure != FAILED_NO_INSTANCE)
            conn_fail(c, failure);
        if (failure != FAILED_NO_INSTANCE)
            return false;
        conn_head_consume(c, side, &c->back->in_head, (size_t)n);
        if (c->response_begun)
            return true;
    }
    if (side_sending(&c->front))
        return false;
    if (side->eof || side->error != 0)
        conn_back_lost(c);
    else
        side_receive(conn_ring(c), side);
    return false;
}

static bool from_trusted(const struct conn *c)
{
    const struct config_cidrs *trusted = &conn_attributes(c)->trusted_proxies;

    for (size_t i = 0; i < trusted->count; i++)
        if (cidr_contains(&trusted->items[i], &c->client))
            return true;
    return false;
}

static struct buf *request_head(const struct conn *c, const struct http1_head *head, size_t head_bytes)
{
    struct head_request request = {
        .head = head,
        .client = &c->client,
        .client_trusted = from_trusted(c),
        .proto = "http",
        .port = conn_listener(c)->port,
        .node = &conn_node(c)->subnet->address,
        .websocket = c->websocket,
    };
    struct buf *buf = buf_new(head_request_room(head, head_bytes) + PROXY_MAX + REQUEST_BUF);

    if (buf == NULL)
        return NULL;
    if (conn_introduces(c))
        conn_introduce(c, buf);
    head_add_request(buf, &request);
    return buf;
}

static void desync_count(struct conn *c)
{
    const struct http1_head *head = c->worker->head;

    if (head->desync_class != HTTP1_COMPLIANT)
        atomic_fetch_add_explicit(&c->worker->desyncs[head->desync_reason], 1, memory_order_relaxed);
}

static void request_begin(struct conn *c, size_t head_bytes)
{
    const struct http1_head *head = c->worker->head;
    struct http1_body body;
    struct sticky sticky;
    struct buf *buf;
    bool expects = head->expect_continue;

    conn_pin(c);
    c->requests++;
    logged_begin(c, head);
    c->claim.count = 0;
    if (stickiness(c, &sticky))
        sticky_read(&sticky, head, &c->claim);
    worker_count(c->worker, COUNT_REQUESTS);
    c->method = head->method;
    c->minor = (uint8_t)head->minor;
    c->client_ends = !head->keep_alive;
    c->keep_alive = head->keep_alive && !head->close_after;
    c->close_both = head->close_after;
    desync_count(c);
    c->websocket = (conn_attributes(c)->upgrades & UPGRADE_WEBSOCKET) != 0 && head->method == METHOD_GET && head->framing == BODY_NONE &&
                   head_wants_websocket(head);
    http1_body_init(&body, head);
    buf = request_head(c, head, head_bytes);
    conn_head_consume(c, &c->front, &c->in_head, head_bytes);
    flow_start(&c->request, &c->front, NULL, &body, buf, body.framing == BODY_CHUNKED);
    c->head_read = true;
    if (buf == NULL) {
        conn_starve(c, -ENOMEM);
        return;
    }
    if (expects)
        side_send_text(conn_ring(c), &c->front, answer_continue);
    conn_dispatch(c);
}

static void request_refuse(struct conn *c, enum http1_reason reason)
{
    worker_count(c->worker, COUNT_REQUESTS);
    atomic_fetch_add_explicit(&c->worker->reasons[reason], 1, memory_order_relaxed);
    desync_count(c);
    conn_pin(c);
    c->method = c->worker->head->method;
    logged_begin(c, NULL);
    conn_answer(c, http1_reason_status(reason));
}

/* Its pieces could not be kept: nothing is known of it. */
static void request_lost(struct conn *c)
{
    worker_count(c->worker, COUNT_REQUESTS);
    conn_pin(c);
    c->method = METHOD_OTHER;
    logged_begin(c, NULL);
    conn_starve(c, -ENOMEM);
}

static int parse_request(const struct conn *c, const char *bytes, size_t len)
{
    static const enum http1_mode modes[] = {
        [DESYNC_MONITOR] = HTTP1_MONITOR, [DESYNC_DEFENSIVE] = HTTP1_DEFENSIVE, [DESYNC_STRICTEST] = HTTP1_STRICTEST,
    };
    const struct config_attributes *a = conn_attributes(c);
    struct http1_limits limits = { .line_max = a->request_line_max, .field_max = a->header_max, .head_max = a->headers_max,
                                   .count_max = a->header_count_max, .mode = modes[a->desync_mode] };

    return http1_parse_request(c->worker->head, bytes, len, &limits);
}

void conn_read_head(struct conn *c)
{
    bool first_bytes = c->in_head == NULL;
    int n = conn_head_look(c, &c->front, &c->in_head, parse_request);

    if (n > 0) {
        request_begin(c, (size_t)n);
    } else if (n == HEAD_NO_MEMORY) {
        request_lost(c);
    } else if (n < 0) {
        request_refuse(c, (enum http1_reason)-n);
    } else if (c->front.error != 0 || c->front.eof) {
        conn_close(c, c->front.eof ? CLOSE_CLIENT_LEFT : CLOSE_CLIENT_FAILED, false);
    } else {
        if (first_bytes && c->in_head != NULL) {
            logged_head_begins(c);
            conn_deadline(c, conn_attributes(c)->request_header_timeout_ms);
        }
        side_receive(conn_ring(c), &c->front);
    }
}
