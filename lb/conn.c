/*
 * The spine: what a client connection does next. Every other file answers one
 * question and returns here.
 *
 *                +------------------------ keep-alive ---------------------------+
 *                v                                                               |
 *   accept -> READ_HEAD -> (QUEUED) -> CONNECT -> RELAY ----------> DELIVER -----+
 *                |            |         |   ^      |   |              |          |
 *                |            |         |   +------+   |  another try: while no byte of an answer has come
 *                +------------+---------+--------------+--> ANSWER ---|----------+
 *                |                                            |       |
 *                |                                            +-------+--> LINGER
 *                v                                                          |
 *             CLOSING  <---- from every state ------------------------------+    freed when nothing is in flight
 *
 *   READ_PROXY no back            a trusted proxy says first who the client is
 *   READ_HEAD  no back            the client's next head is incomplete (HTTP)
 *   QUEUED     no back, in queue  no instance may take more work yet, or none has had its first check
 *   CONNECT    back, connecting   nothing of the request was sent on it
 *   RELAY      back               request and answer are on their way
 *   DELIVER    no back            the answer is received whole; the last of it is on its way to the client
 *   ANSWER     no back            an answer made here is on its way
 *   LINGER     no back, FIN sent  what the client still sends is thrown away
 *   CLOSING    why is set         no new operation may start
 *
 * Every callback ends in conn_settle(), the only place that frees.
 */
#include "lb/conn_parts.h"
#include "common/board.h"
#include "common/log.h"
#include "common/net.h"
#include "common/proxy.h"
#include "lb/backend.h"
#include "lb/instance.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define BIT(n) (1u << (n))
#define LINGER_MS 2000
#define LAST_CHANCE_MS 500                  /* for the next request of a connection, when we are stopping */

static const char *const close_texts[] = {
#define X(name, text) text,
    CLOSE_REASONS(X)
#undef X
};

static void conn_check(const struct conn *c)
{
    assert((c->back != NULL) == (c->state == CONN_CONNECT || c->state == CONN_RELAY));
    assert((c->instance != NULL) == (c->back != NULL));
    assert((c->state == CONN_CLOSING) == (c->why != CLOSE_NONE));
    assert(c->state != CONN_READ_HEAD || c->pin == NULL);
}

void conn_enter(struct conn *c, enum conn_state next)
{
    static const unsigned legal[CONN_STATES] = {
        [CONN_READ_PROXY] = BIT(CONN_READ_HEAD) | BIT(CONN_CLOSING),
        [CONN_READ_HEAD] = BIT(CONN_QUEUED) | BIT(CONN_CONNECT) | BIT(CONN_RELAY) | BIT(CONN_ANSWER) | BIT(CONN_CLOSING),
        [CONN_QUEUED] = BIT(CONN_CONNECT) | BIT(CONN_RELAY) | BIT(CONN_ANSWER) | BIT(CONN_CLOSING),
        [CONN_CONNECT] = BIT(CONN_QUEUED) | BIT(CONN_CONNECT) | BIT(CONN_RELAY) | BIT(CONN_ANSWER) | BIT(CONN_CLOSING),
        [CONN_RELAY] = BIT(CONN_QUEUED) | BIT(CONN_CONNECT) | BIT(CONN_RELAY) | BIT(CONN_DELIVER) | BIT(CONN_ANSWER) | BIT(CONN_CLOSING),
        [CONN_DELIVER] = BIT(CONN_READ_HEAD) | BIT(CONN_LINGER) | BIT(CONN_CLOSING),
        [CONN_ANSWER] = BIT(CONN_READ_HEAD) | BIT(CONN_LINGER) | BIT(CONN_CLOSING),
        [CONN_LINGER] = BIT(CONN_CLOSING),
        [CONN_CLOSING] = 0,
    };

    assert(legal[c->state] & BIT(next));
    c->state = next;
    conn_check(c);
}

/* Later deadlines wait for the timer to fire and be set anew: most are moved before they are reached. */
void conn_deadline(struct conn *c, uint64_t in_ms)
{
    c->deadline_ms = ring_now_ms(conn_ring(c)) + in_ms;
    if (!timer_is_set(&c->timer) || c->timer.deadline_ms > c->deadline_ms)
        ring_timer_set(conn_ring(c), &c->timer, c->deadline_ms);
}

/* Would the client take our FIN for the end of an answer that is not whole? Then only a reset tells it. */
static bool ends_like_answer(const struct conn *c, enum close_why why)
{
    enum http1_framing framing = c->response.body.framing;

    return c->http && c->response_begun && c->state != CONN_LINGER && why != CLOSE_DONE && c->minor == 0 && (framing == BODY_CHUNKED || framing == BODY_UNTIL_CLOSE);
}

void conn_close(struct conn *c, enum close_why why, bool reset)
{
    if (c->state == CONN_CLOSING)
        return;
    reset = reset || ends_like_answer(c, why);
    conn_queue_leave(c);
    conn_splicing_end(c);
    conn_back_drop(c, reset);
    flow_stop(&c->request);
    ring_timer_stop(conn_ring(c), &c->timer);
    side_cancel(conn_ring(c), &c->front);
    logged_end(c, close_texts[why]);
    c->reset = reset;
    c->why = why;
    conn_enter(c, CONN_CLOSING);
}

static void conn_log(const struct conn *c)
{
    char client[ADDR_TEXT_MAX];

    log_debug("%s: connection of %s ended: %s; %u requests, %llu bytes in, %llu out", conn_balancer(c)->conf->name,
              addr_format(&c->client, client), close_texts[c->why], c->requests, (unsigned long long)c->bytes_in,
              (unsigned long long)c->bytes_out);
}

/* The end of every callback. Until its last completion the kernel may still write into our memory. */
void conn_settle(struct conn *c)
{
    struct worker *worker = c->worker;

    if (c->state != CONN_CLOSING || side_busy(&c->front))
        return;
    conn_log(c);
    side_close(conn_ring(c), &c->front, c->reset);
    buf_unref(&c->in_head);
    buf_unref(&c->answer_buf);
    if (c->pin != NULL)
        pin_put(&c->pin);
    list_remove(&c->link);
    c->listener->conn_count--;
    listener_reap(c->listener);
    worker->conn_count--;
    atomic_fetch_sub(&worker->shared->connections, 1);
    free(c);
}

/* RFC 9112 9.6: FIN first, and read on for a while, so that no reset takes the answer from the client. */
void conn_linger(struct conn *c, enum close_why why)
{
    struct chunk *chunk;

    while ((chunk = side_take(&c->front)) != NULL)
        chunk_put(conn_ring(c), chunk);
    if (c->front.eof || c->front.error != 0) {
        conn_close(c, why, false);
        return;
    }
    if (c->state != CONN_LINGER) {
        side_shut(&c->front);
        conn_enter(c, CONN_LINGER);
        conn_deadline(c, LINGER_MS);
    }
    side_receive(conn_ring(c), &c->front);
}

static void conn_read_proxy(struct conn *c);

static void on_received(struct op *op, struct ring_result result)
{
    struct conn *c = container_of(op, struct conn, front.recv_op);

    side_received(conn_ring(c), &c->front, result);
    switch (c->state) {
    case CONN_READ_PROXY:
        conn_read_proxy(c);
        break;
    case CONN_READ_HEAD:
        conn_read_head(c);
        break;
    case CONN_RELAY:
        conn_pump(c);
        break;
    case CONN_LINGER:
        conn_linger(c, CLOSE_DONE);
        break;
    case CONN_QUEUED:
    case CONN_CONNECT:
    case CONN_DELIVER:
    case CONN_ANSWER:
        if (c->front.error != 0)
            conn_close(c, CLOSE_CLIENT_FAILED, false);
        break;
    case CONN_CLOSING:
        break;
    }
    side_inbox_park(conn_ring(c), &c->front);
    conn_settle(c);
}

static void on_sent(struct op *op, struct ring_result result)
{
    struct conn *c = container_of(op, struct conn, front.send_op);

    if (c->state != CONN_CLOSING && side_sent(conn_ring(c), &c->front, result)) {
        if (c->front.send_error != 0)
            conn_close(c, CLOSE_CLIENT_FAILED, !c->http);
        else if (c->state == CONN_RELAY)
            conn_pump(c);
        else if (c->state == CONN_DELIVER)
            conn_exchange_end(c);
        else if (c->state == CONN_ANSWER)
            conn_answer_send(c);
    } else if (c->state == CONN_RELAY) {
        conn_relay_deadline(c);
    } else if (c->state == CONN_DELIVER) {
        conn_deadline(c, conn_attributes(c)->idle_timeout_ms);      /* slow, but it goes on */
    }
    conn_settle(c);
}

static void conn_timed_out(struct conn *c)
{
    switch (c->state) {
    case CONN_READ_PROXY:
        conn_close(c, CLOSE_IDLE, false);
        break;
    case CONN_READ_HEAD:
        if (c->in_head == NULL) {
            conn_close(c, CLOSE_IDLE, false);
        } else {
            conn_pin(c);
            c->method = METHOD_OTHER;       /* not known yet; it was the last request's */
            logged_begin(c, NULL);
            conn_answer(c, 408);
        }
        break;
    case CONN_QUEUED:
        conn_fail(c, FAILED_NO_INSTANCE);
        break;
    case CONN_RELAY:
        if (!c->http) {
            conn_close(c, CLOSE_IDLE, false);
        } else if (c->response_begun) {
            conn_close(c, CLOSE_IDLE, false);
        } else if (conn_awaits_client(c)) {
            conn_answer(c, 408);
        } else {
            slot_hint(c->instance->slot);
            conn_fail(c, FAILED_SILENT);
        }
        break;
    case CONN_DELIVER:
        conn_close(c, CLOSE_IDLE, false);
        break;
    case CONN_CONNECT:
        conn_deadline(c, CONN_CONNECT_BOUND_MS);
        break;
    case CONN_ANSWER:
    case CONN_LINGER:
        conn_close(c, CLOSE_IDLE, false);
        break;
    case CONN_CLOSING:
        break;
    }
}

static void on_timer(struct timer *timer)
{
    struct conn *c = container_of(timer, struct conn, timer);

    if ((c->state == CONN_RELAY && c->request.ended) || c->state == CONN_QUEUED)
        side_receive(conn_ring(c), &c->front);
    if (c->deadline_ms > ring_now_ms(conn_ring(c)))
        ring_timer_set(conn_ring(c), timer, c->deadline_ms);
    else
        conn_timed_out(c);
    conn_settle(c);
}

static void stream_begin(struct conn *c)
{
    struct http1_body stream = { .framing = BODY_UNTIL_CLOSE };
    struct buf *introduction = NULL;

    conn_pin(c);
    logged_begin(c, NULL);
    if (conn_introduces(c)) {
        introduction = buf_new(PROXY_MAX);
        if (introduction == NULL) {
            conn_close(c, CLOSE_NO_MEMORY, false);
            return;
        }
        conn_introduce(c, introduction);
    }
    flow_start(&c->request, &c->front, NULL, &stream, introduction, false);
    conn_dispatch(c);
}

/* The connection has said all that comes before its protocol. */
static void conn_begin(struct conn *c)
{
    conn_enter(c, CONN_READ_HEAD);
    if (c->http)
        conn_await_head(c);
    else
        stream_begin(c);
}

static bool is_introduced(const struct conn *c)
{
    const struct config_cidrs *from = &conn_listener(c)->proxy_protocol_from;

    for (size_t i = 0; i < from->count; i++)
        if (cidr_contains(&from->items[i], &c->client))
            return true;
    return false;
}

static void conn_read_proxy(struct conn *c)
{
    struct proxy_info info;
    int n = conn_look_proxy(c, &info);

    if (n > 0) {
        if (!info.local) {
            c->client = info.source;
            c->destination = info.destination;
        }
        conn_begin(c);
    } else if (n < 0) {
        conn_close(c, n == HEAD_NO_MEMORY ? CLOSE_NO_MEMORY : CLOSE_REFUSED, false);
    } else if (c->front.eof || c->front.error != 0) {
        conn_close(c, CLOSE_CLIENT_LEFT, false);
    } else {
        side_receive(conn_ring(c), &c->front);
    }
}

bool conn_bytes_waiting(const struct conn *c)
{
    return net_bytes_waiting(c->front.fd);
}

/* A request that was under way when we began to stop is answered. Who was let in, or told that the connection goes on, may be about to make
 * the next: it has a moment, and the answer will say that it was the last. */
void conn_wind_up(struct conn *c)
{
    bool between = c->state == CONN_READ_HEAD && c->in_head == NULL && c->front.inbox == NULL && !conn_bytes_waiting(c);
    bool waits = c->deadline_ms > ring_now_ms(conn_ring(c)) + LAST_CHANCE_MS;

    if (waits && (between || c->state == CONN_READ_PROXY))
        conn_deadline(c, LAST_CHANCE_MS);
}

void conn_accept(struct worker *worker, struct listener *listener, int fd, const struct addr *client)
{
    struct conn *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        worker_met(worker, CONDITION_RESOURCES, -ENOMEM);
        atomic_fetch_sub(&worker->shared->connections, 1);
        net_close(fd);
        return;
    }
    side_init(&c->front, fd, on_received, on_sent);
    timer_init(&c->timer, on_timer);
    list_init(&c->queue_link);
    list_init(&c->place.link);
    c->worker = worker;
    c->listener = listener;
    listener->conn_count++;
    c->client = *client;
    list_append(&worker->conns, &c->link);
    worker->conn_count++;
    c->destination = addr_with_port(conn_node(c)->subnet->address, conn_listener(c)->port);
    c->http = conn_listener(c)->protocol == PROTOCOL_HTTP;
    c->front.receive_once = c->http;
    if (is_introduced(c)) {
        conn_deadline(c, conn_attributes(c)->request_header_timeout_ms);
        conn_read_proxy(c);
    } else {
        conn_begin(c);
    }
    if (!conn_may_stay(c))
        conn_wind_up(c);
    conn_settle(c);
}

void conn_stop(struct conn *c, bool now)
{
    if (now)
        conn_close(c, CLOSE_STOPPING, false);
    else
        conn_wind_up(c);
    conn_settle(c);
}
