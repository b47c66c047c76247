/*
 * The spine: what a client connection does next. Every other file answers one
 * question and returns here.
 *
 *                +------------------- keep-alive ---------------------+
 *                v                                                    |
 *   accept -> READ_HEAD -> (QUEUED) -> CONNECT -> RELAY --------------+
 *                |            |         |   ^      |   |              |
 *                |            |         |   +------+   |  another try: while no byte of an answer has come
 *                +------------+---------+--------------+--> ANSWER ---+
 *                |                                     |      |
 *                |                                     +------+--> LINGER
 *                v                                                   |
 *             CLOSING  <---- from every state -----------------------+    freed when nothing is in flight
 *
 *   READ_HEAD  no back            the client's next head is incomplete (HTTP)
 *   QUEUED     no back, in queue  no instance has had its first check
 *   CONNECT    back, connecting   nothing of the request was sent on it
 *   RELAY      back               request and answer are on their way
 *   ANSWER     no back            an answer made here is on its way
 *   LINGER     no back, FIN sent  what the client still sends is thrown away
 *   CLOSING    why is set         no new operation may start
 *
 * Every callback ends in conn_settle(), the only place that frees.
 */
#include "lb/conn.h"
#include "common/board.h"
#include "common/log.h"
#include "lb/answer.h"
#include "lb/backend.h"
#include "lb/generation.h"
#include "lb/head.h"
#include "lb/instance.h"
#include "lb/listener.h"
#include "lb/splice.h"
#include "lb/worker.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BIT(n) (1u << (n))
#define LINGER_MS 2000
#define WATCH_MS 250
#define LAST_CHANCE_MS 500                  /* for the first request of a new connection, when we are stopping */
#define CONNECT_BOUND_MS (3600 * 1000)      /* the back's own timer ends a connect; this only keeps ours out of the way */
#define POOLED_IDLE_MAX_MS 1000             /* a request that can not be repeated goes on no connection that idled longer */
#define INTERIM_MAX 16                      /* 1xx answers to one request */
#define REQUEST_BUF 1024

static const char *const close_texts[] = {
#define X(name, text) text,
    CLOSE_REASONS(X)
#undef X
};

static void conn_dispatch(struct conn *c);
static void conn_read_head(struct conn *c);
static void conn_pump(struct conn *c);

static struct ring *ring_of(const struct conn *c)
{
    return c->worker->ring;
}

static const struct balancer *balancer_of(const struct conn *c)
{
    return listener_balancer(c->listener, (c->pin != NULL ? c->pin : c->worker->pin)->generation);
}

static const struct node *node_of(const struct conn *c)
{
    return listener_node(c->listener, (c->pin != NULL ? c->pin : c->worker->pin)->generation);
}

static const struct config_listener *listener_conf_of(const struct conn *c)
{
    return listener_config(c->listener, (c->pin != NULL ? c->pin : c->worker->pin)->generation);
}

static const struct config_attributes *attributes_of(const struct conn *c)
{
    return &balancer_of(c)->conf->attributes;
}

static void conn_check(const struct conn *c)
{
    assert((c->back != NULL) == (c->state == CONN_CONNECT || c->state == CONN_RELAY));
    assert((c->instance != NULL) == (c->back != NULL));
    assert((c->state == CONN_CLOSING) == (c->why != CLOSE_NONE));
    assert(c->state != CONN_READ_HEAD || c->pin == NULL);
}

static void conn_enter(struct conn *c, enum conn_state next)
{
    static const unsigned legal[CONN_STATES] = {
        [CONN_READ_HEAD] = BIT(CONN_QUEUED) | BIT(CONN_CONNECT) | BIT(CONN_RELAY) | BIT(CONN_ANSWER) | BIT(CONN_CLOSING),
        [CONN_QUEUED] = BIT(CONN_CONNECT) | BIT(CONN_RELAY) | BIT(CONN_ANSWER) | BIT(CONN_CLOSING),
        [CONN_CONNECT] = BIT(CONN_CONNECT) | BIT(CONN_RELAY) | BIT(CONN_ANSWER) | BIT(CONN_CLOSING),
        [CONN_RELAY] = BIT(CONN_READ_HEAD) | BIT(CONN_CONNECT) | BIT(CONN_RELAY) | BIT(CONN_ANSWER) | BIT(CONN_LINGER) | BIT(CONN_CLOSING),
        [CONN_ANSWER] = BIT(CONN_READ_HEAD) | BIT(CONN_LINGER) | BIT(CONN_CLOSING),
        [CONN_LINGER] = BIT(CONN_CLOSING),
        [CONN_CLOSING] = 0,
    };

    assert(legal[c->state] & BIT(next));
    c->state = next;
    conn_check(c);
}

/* Later deadlines wait for the timer to fire and be set anew: most are moved before they are reached. */
static void conn_deadline(struct conn *c, uint64_t in_ms)
{
    c->deadline_ms = ring_now_ms(ring_of(c)) + in_ms;
    if (!timer_is_set(&c->timer) || c->timer.deadline_ms > c->deadline_ms)
        ring_timer_set(ring_of(c), &c->timer, c->deadline_ms);
}

static void queue_leave(struct conn *c)
{
    if (list_empty(&c->queue_link))
        return;
    list_remove(&c->queue_link);
    atomic_fetch_sub(&balancer_of(c)->live->queued[node_of(c)->index], 1);
}

/* The back goes, and with it the use of its instance. */
static void back_drop(struct conn *c, bool reset)
{
    flow_stop(&c->response);
    if (c->back != NULL)
        back_close(&c->back, reset);
    if (c->instance != NULL)
        pool_release(c->node_index, &c->instance);
}

/* Bulk TCP: both directions, once they have left the flows. */
struct splicing {
    struct stream up, down;
};

static void splicing_end(struct conn *c)
{
    if (c->splicing == NULL)
        return;
    stream_stop(c->worker->pipes, &c->splicing->up);
    stream_stop(c->worker->pipes, &c->splicing->down);
    free(c->splicing);
    c->splicing = NULL;
}

static void conn_close(struct conn *c, enum close_why why, bool reset)
{
    if (c->state == CONN_CLOSING)
        return;
    queue_leave(c);
    splicing_end(c);
    back_drop(c, reset);
    flow_stop(&c->request);
    ring_timer_stop(ring_of(c), &c->timer);
    side_cancel(ring_of(c), &c->front);
    c->reset = reset;
    c->why = why;
    conn_enter(c, CONN_CLOSING);
}

static void conn_log(const struct conn *c)
{
    char client[ADDR_TEXT_MAX];

    log_debug("%s: connection of %s ended: %s; %u requests, %llu bytes in, %llu out", balancer_of(c)->conf->name,
              addr_format(&c->client, client), close_texts[c->why], c->requests, (unsigned long long)c->bytes_in,
              (unsigned long long)c->bytes_out);
}

/* The end of every callback. Until its last completion the kernel may still write into our memory. */
static void conn_settle(struct conn *c)
{
    struct worker *worker = c->worker;

    if (c->state != CONN_CLOSING || side_busy(&c->front))
        return;
    conn_log(c);
    side_close(ring_of(c), &c->front, c->reset);
    buf_unref(&c->in_head);
    if (c->pin != NULL)
        pin_put(&c->pin);
    list_remove(&c->link);
    worker->conn_count--;
    atomic_fetch_sub(&worker->shared->connections, 1);
    free(c);
}

static void await_head(struct conn *c)
{
    conn_deadline(c, attributes_of(c)->idle_timeout_ms);
    conn_read_head(c);
}

/* The exchange is over: nothing of it may be left behind for the next. */
static void exchange_clear(struct conn *c)
{
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
    await_head(c);
}

/* RFC 9112 9.6: FIN first, and read on for a while, so that no reset takes the answer from the client. */
static void conn_linger(struct conn *c, enum close_why why)
{
    struct chunk *chunk;

    while ((chunk = side_take(&c->front)) != NULL)
        chunk_put(ring_of(c), chunk);
    if (c->front.eof || c->front.error != 0) {
        conn_close(c, why, false);
        return;
    }
    if (c->state != CONN_LINGER) {
        side_shut(&c->front);
        conn_enter(c, CONN_LINGER);
        conn_deadline(c, LINGER_MS);
    }
    side_receive(ring_of(c), &c->front);
}

static void answer_send(struct conn *c)
{
    const char *text = c->answer;

    if (side_sending(&c->front))
        return;
    if (c->front.error != 0 || c->front.send_error != 0) {
        conn_close(c, CLOSE_CLIENT_FAILED, false);
    } else if (text != NULL) {
        c->answer = NULL;
        side_send_text(ring_of(c), &c->front, text);
    } else if (c->keep_alive && c->worker->state == WORKER_RUNS) {
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
            chunk_put(ring_of(c), chunk);
        if (bad)
            return false;
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

static void conn_answer(struct conn *c, int status)
{
    count_answer(c, status);
    queue_leave(c);
    back_drop(c, false);
    c->keep_alive = body_discard(c) && c->keep_alive && status >= 500;
    flow_stop(&c->request);
    c->answer = answer_text(status, c->keep_alive);
    conn_enter(c, CONN_ANSWER);
    conn_deadline(c, attributes_of(c)->idle_timeout_ms);
    answer_send(c);
}

/* The client must see that its answer broke off: where only the connection's end would tell, it ends with a reset. */
static void conn_cut(struct conn *c, enum close_why why)
{
    enum http1_framing framing = c->response.body.framing;

    conn_close(c, why, c->minor == 0 && (framing == BODY_CHUNKED || framing == BODY_UNTIL_CLOSE));
}

/* No further try will be made. */
static void conn_fail(struct conn *c, enum failure failure)
{
    enum close_why why = CLOSE_INSTANCE_FAILED;
    int status = 503;

    switch (failure) {
    case FAILED_NO_INSTANCE:
        why = CLOSE_NO_INSTANCE;
        break;
    case FAILED_RESOURCES:
        why = CLOSE_NO_MEMORY;
        break;
    case FAILED_REFUSED:
        break;
    case FAILED_CONNECT_TIMEOUT:
    case FAILED_SILENT:
        status = 504;
        break;
    case FAILED_CLOSED:
    case FAILED_MALFORMED:
        status = 502;
        break;
    }
    if (!c->http)
        conn_close(c, why, false);
    else if (c->response_begun)
        conn_cut(c, why);
    else
        conn_answer(c, status);
}

static bool repeatable_method(enum http1_method method)
{
    switch (method) {
    case METHOD_GET:
    case METHOD_HEAD:
    case METHOD_OPTIONS:
    case METHOD_TRACE:
    case METHOD_PUT:
    case METHOD_DELETE:
        return true;
    case METHOD_OTHER:
    case METHOD_POST:
    case METHOD_PATCH:
        break;
    }
    return false;
}

/* May this work be given to another connection: nothing was sent, or a repeat does no harm and we still hold all of it. */
static bool repeatable(const struct conn *c)
{
    if (c->state == CONN_CONNECT)
        return true;
    return c->http && !c->response_byte && repeatable_method(c->method) && c->request.whole_in_head && c->request.head != NULL;
}

/* A new connection is not received from while it waits for its first answer, which is cheaper for short ones. If the wait gets
 * long, we want to know when the client leaves. */
static void watch_client(struct conn *c)
{
    uint64_t at = ring_now_ms(ring_of(c)) + WATCH_MS;

    if (c->front.receive_once && c->timer.deadline_ms > at)
        ring_timer_set(ring_of(c), &c->timer, at);
}

static void conn_attach(struct conn *c)
{
    conn_enter(c, CONN_RELAY);
    watch_client(c);
    c->request.to = &c->back->side;
    c->request.head_sent = false;
    if (c->request.whole_in_head)
        c->request.ended = false;
    if (!c->http) {
        struct http1_body stream = { .framing = BODY_UNTIL_CLOSE };
        flow_start(&c->response, &c->back->side, &c->front, &stream, NULL, false);
    }
    side_receive(ring_of(c), &c->back->side);
    conn_pump(c);
}

/* Gives the work to this instance, whose use is already counted. */
static void conn_use(struct conn *c, struct instance *instance)
{
    const struct config_attributes *attributes = attributes_of(c);
    struct back_wish wish = {
        .instance = instance,
        .node = node_of(c),
        .port = listener_conf_of(c)->instance_port,
        .connect_timeout_ms = attributes->connect_timeout_ms,
    };
    int r;

    if (c->http && !c->fresh_only)
        wish.idle_max_ms = repeatable_method(c->method) ? UINT64_MAX : POOLED_IDLE_MAX_MS;
    r = back_get(c->worker, c, &wish, &c->back);
    if (r < 0) {
        pool_release(c->node_index, &instance);
        worker_count(c->worker, COUNT_NO_RESOURCES);
        worker_met(c->worker, CONDITION_RESOURCES, r);
        conn_fail(c, FAILED_RESOURCES);
        return;
    }
    c->instance = instance;
    if (c->back->state == BACK_CONNECTING) {
        conn_enter(c, CONN_CONNECT);
        conn_deadline(c, CONNECT_BOUND_MS);
    } else {
        conn_attach(c);
    }
}

static void conn_queue(struct conn *c)
{
    const struct balancer *balancer = balancer_of(c);
    atomic_uint *queued = &balancer->live->queued[node_of(c)->index];
    uint64_t now = ring_now_ms(ring_of(c));

    if (atomic_fetch_add(queued, 1) >= balancer->conf->attributes.surge_queue) {
        atomic_fetch_sub(queued, 1);
        worker_count(c->worker, COUNT_SPILLOVER);
        conn_fail(c, FAILED_NO_INSTANCE);
        return;
    }
    list_append(&c->worker->queue, &c->queue_link);
    conn_enter(c, CONN_QUEUED);
    conn_deadline(c, balancer->first_checks_ms > now ? balancer->first_checks_ms - now : 0);
}

/* Nobody is known to be healthy, but the first results are still to come. (A verdict is published before its result counts as
 * come: so the results are looked at first.) */
static bool first_checks_pending(const struct conn *c)
{
    const struct node *node = node_of(c);

    return ring_now_ms(ring_of(c)) < balancer_of(c)->first_checks_ms && pool_any_unchecked(node) && !pool_any_eligible(node);
}

static struct instance *conn_pick(const struct conn *c)
{
    return pool_pick(node_of(c), c->http ? POOL_LEAST_OUTSTANDING : POOL_ROUND_ROBIN, attributes_of(c)->fail_open, &c->tried);
}

static void conn_dispatch(struct conn *c)
{
    struct instance *instance = conn_pick(c);

    if (instance != NULL) {
        queue_leave(c);
        conn_use(c, instance);
    } else if (c->state != CONN_QUEUED && c->tries == 0 && first_checks_pending(c)) {
        conn_queue(c);
    } else if (c->state != CONN_QUEUED || !first_checks_pending(c)) {
        conn_fail(c, c->failure);
    }
}

/* This try has come to nothing: the next one, or the end. */
static void conn_try_again(struct conn *c, enum failure failure)
{
    bool again = repeatable(c) && c->tries < attributes_of(c)->retries;

    if (c->back->reused)
        c->fresh_only = true;           /* its instance may be well: only the old connection is known to be dead */
    else
        tried_add(&c->tried, c->instance);
    c->failure = failure;
    if (!again) {
        conn_fail(c, failure);
        return;
    }
    back_drop(c, false);
    c->tries++;
    worker_count(c->worker, COUNT_RETRIES);
    conn_dispatch(c);
}

static bool local_failure(int res)
{
    return res == -EADDRNOTAVAIL || res == -EMFILE || res == -ENFILE || res == -ENOMEM || res == -ENOBUFS;
}

void conn_connected(struct conn *c, int res)
{
    if (res == 0) {
        conn_attach(c);
    } else if (local_failure(res)) {
        worker_count(c->worker, COUNT_NO_RESOURCES);
        worker_met(c->worker, CONDITION_RESOURCES, res);
        conn_fail(c, FAILED_RESOURCES);
    } else {
        worker_count(c->worker, COUNT_BACK_ERRORS);
        slot_hint(c->instance->slot);
        conn_try_again(c, res == -ETIMEDOUT ? FAILED_CONNECT_TIMEOUT : FAILED_REFUSED);
    }
    conn_settle(c);
}

/* The instance's connection ended before a whole head of an answer had come. */
static void back_lost(struct conn *c)
{
    if (!c->back->reused) {
        worker_count(c->worker, COUNT_BACK_ERRORS);
        slot_hint(c->instance->slot);
    }
    conn_try_again(c, FAILED_CLOSED);
}

static void exchange_end(struct conn *c)
{
    const struct config_attributes *attributes = attributes_of(c);
    bool whole = c->request.ended && !side_sending(&c->back->side) && c->request.body.done;

    c->bytes_in += c->request.bytes;
    c->bytes_out += c->response.bytes;
    if (whole && c->back_keep)
        back_keep(&c->back, attributes->backend_idle_timeout_ms, attributes->backend_idle_max);
    back_drop(c, false);
    if (whole && c->keep_alive && c->worker->state == WORKER_RUNS)
        next_request(c);
    else if (whole && c->front.inbox == NULL)
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

static enum failure answer_begin(struct conn *c, const struct http1_head *head, size_t head_bytes)
{
    struct head_response response = { .head = head, .rechunk = goes_chunked(c, head) };
    struct buf *buf = buf_new(head_response_room(head, head_bytes));
    struct http1_body body;

    if (buf == NULL)
        return FAILED_RESOURCES;
    if (ends_by_close(c, head) || !c->request.ended || c->worker->state != WORKER_RUNS)
        c->keep_alive = false;
    response.keep_alive = c->keep_alive;
    head_add_response(buf, &response);
    http1_body_init(&body, head);
    flow_start(&c->response, &c->back->side, &c->front, &body, buf, response.rechunk);
    c->back_keep = head->keep_alive;
    c->response_begun = true;
    return FAILED_NO_INSTANCE;
}

/* 1xx: passed on to who can understand it. 100 answers an Expect that we answered ourselves, 101 one that we never passed on. */
static enum failure answer_interim(struct conn *c, const struct http1_head *head, size_t head_bytes)
{
    struct head_response response = { .head = head };
    struct buf *buf;

    if (head->status == 101 || ++c->interim > INTERIM_MAX)
        return FAILED_MALFORMED;
    if (head->status == 100 || c->minor == 0)
        return FAILED_NO_INSTANCE;
    buf = buf_new(head_response_room(head, head_bytes));
    if (buf == NULL)
        return FAILED_RESOURCES;
    head_add_response(buf, &response);
    side_send_buf(ring_of(c), &c->front, buf, false);
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

/*
 * Looks for a whole head in what has come: in place if it came in one piece, else collected. > 0: its length, and the
 * inbox begins behind it after head_consume(); 0: more is needed, all that came is collected; < 0: refused.
 */
typedef int (*parse_fn)(const struct conn *c, const char *bytes, size_t len);

static int head_look(struct conn *c, struct side *side, struct buf **in_head, parse_fn parse)
{
    struct chunk *chunk;

    while ((chunk = side->inbox) != NULL) {
        int n;
        if (*in_head == NULL) {
            n = parse(c, chunk->data, chunk->len);
        } else {
            if (head_collect(in_head, chunk) < 0)
                return -HTTP1_HEAD_TOO_LONG;
            n = parse(c, (*in_head)->data, (*in_head)->len);
            if (n > 0)
                (*in_head)->len -= chunk->len;      /* the chunk stays in the inbox until head_consume() */
        }
        if (n != 0)
            return n;
        if (*in_head == NULL && head_collect(in_head, chunk) < 0)
            return -HTTP1_HEAD_TOO_LONG;
        chunk_put(ring_of(c), side_take(side));
    }
    return 0;
}

/* Takes the head's bytes out of the inbox. Spans into it are dead from here on. */
static void head_consume(struct conn *c, struct side *side, struct buf **in_head, size_t head_bytes)
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
        chunk_put(ring_of(c), chunk);
}

static int parse_answer(const struct conn *c, const char *bytes, size_t len)
{
    const struct config_attributes *a = attributes_of(c);
    struct http1_limits limits = { .line_max = a->response_headers_max, .field_max = a->response_headers_max,
                                   .head_max = a->response_headers_max, .count_max = HTTP1_FIELDS_MAX };

    return http1_parse_response(c->worker->head, bytes, len, &limits, c->method);
}

/* Is the final head of the answer passed on? If not: more is needed, or the exchange has taken another way. */
static bool read_answer(struct conn *c)
{
    struct side *side = &c->back->side;
    enum failure failure;
    int n;

    while (!side_sending(&c->front)) {
        c->response_byte = c->response_byte || side->inbox != NULL;
        n = head_look(c, side, &c->back->in_head, parse_answer);
        if (n == 0)
            break;
        failure = n < 0 ? FAILED_MALFORMED : answer_head(c, (size_t)n);
        if (failure != FAILED_NO_INSTANCE) {
            conn_fail(c, failure);
            return false;
        }
        head_consume(c, side, &c->back->in_head, (size_t)n);
        if (c->response_begun)
            return true;
    }
    if (side_sending(&c->front))
        return false;
    if (side->eof || side->error != 0)
        back_lost(c);
    else
        side_receive(ring_of(c), side);
    return false;
}

/* Is the next step the client's: more of its request's body? */
static bool awaits_client(const struct conn *c)
{
    return c->http && !c->request.ended && !side_sending(&c->back->side) && c->back->side.send_error == 0;
}

static void relay_deadline(struct conn *c)
{
    const struct config_attributes *a = attributes_of(c);

    conn_deadline(c, awaits_client(c) ? a->request_body_timeout_ms : a->idle_timeout_ms);
}

/* Client to instance. false: the exchange has ended or taken another way. */
static bool pump_request(struct conn *c)
{
    int lost = c->back->side.send_error;

    if (lost != 0 && !c->http) {
        conn_close(c, CLOSE_INSTANCE_FAILED, true);
        return false;
    }
    if (lost != 0)
        return true;        /* it may have answered before it stopped reading */
    switch (flow_pump(ring_of(c), &c->request)) {
    case FLOW_WAITS:
        return true;
    case FLOW_ENDED:
        if (!c->http)
            side_shut(&c->back->side);
        return true;
    case FLOW_BAD:
        worker_count(c->worker, COUNT_REQUESTS);
        atomic_fetch_add_explicit(&c->worker->reasons[HTTP1_BAD_CHUNK], 1, memory_order_relaxed);
        if (c->response_begun)
            conn_cut(c, CLOSE_REFUSED);
        else
            conn_answer(c, 400);
        return false;
    case FLOW_CUT:
        break;
    }
    conn_close(c, c->front.error != 0 ? CLOSE_CLIENT_FAILED : CLOSE_CLIENT_LEFT, c->front.error == -ECONNRESET);
    return false;
}

/* Instance to client. */
static void pump_response(struct conn *c)
{
    switch (flow_pump(ring_of(c), &c->response)) {
    case FLOW_WAITS:
        relay_deadline(c);
        return;
    case FLOW_ENDED:
        if (c->http) {
            exchange_end(c);
            return;
        }
        side_shut(&c->front);
        if (c->request.ended && !side_sending(&c->back->side)) {
            c->bytes_in = c->request.bytes;
            c->bytes_out = c->response.bytes;
            conn_close(c, CLOSE_DONE, false);
        } else {
            relay_deadline(c);
        }
        return;
    case FLOW_BAD:
    case FLOW_CUT:
        break;
    }
    if (c->http)
        conn_cut(c, CLOSE_INSTANCE_ANSWER);
    else
        conn_close(c, CLOSE_INSTANCE_FAILED, c->back->side.error == -ECONNRESET);
}

static void streams_pump(struct conn *c)
{
    struct splicing *s = c->splicing;
    bool whole = stream_pump(ring_of(c), c->worker->pipes, &s->up) && stream_pump(ring_of(c), c->worker->pipes, &s->down);
    const struct stream *broken = s->up.error != 0 ? &s->up : &s->down;

    c->bytes_in = s->up.bytes;
    c->bytes_out = s->down.bytes;
    if (!whole)
        conn_close(c, (broken == &s->up) == broken->to_failed ? CLOSE_INSTANCE_FAILED : CLOSE_CLIENT_FAILED, true);
    else if (s->up.done && s->down.done)
        conn_close(c, CLOSE_DONE, false);
    else
        relay_deadline(c);
}

/* A stream that keeps large buffers full leaves the flows as soon as nothing of it is in our memory. */
static bool splicing_begun(struct conn *c)
{
    struct side *front = &c->front, *back = &c->back->side;

    if (c->splicing != NULL)
        return true;
    if (!(front->bulk || back->bulk) || side_sending(front) || side_sending(back) || !pipe_pool_spare(c->worker->pipes)) {
        front->held_back = back->held_back = false;     /* a peer may have to be read before it reads */
        return false;
    }
    side_hold_back(ring_of(c), front);
    side_hold_back(ring_of(c), back);
    if (!side_quiet(front) || !side_quiet(back) || front->error != 0 || back->error != 0)
        return false;
    c->splicing = calloc(1, sizeof(*c->splicing));
    if (c->splicing == NULL) {
        front->held_back = back->held_back = false;
        return false;
    }
    c->splicing->up = (struct stream){ .from = front, .to = back, .eof = front->eof, .done = c->request.ended, .bytes = c->request.bytes };
    c->splicing->down = (struct stream){ .from = back, .to = front, .eof = back->eof, .done = c->response.ended, .bytes = c->response.bytes };
    splice_begin(front, back);
    return true;
}

static void conn_pump(struct conn *c)
{
    if (!c->http && splicing_begun(c)) {
        streams_pump(c);
        return;
    }
    if (!pump_request(c))
        return;
    if (c->http && !c->response_begun && !read_answer(c)) {
        if (c->state == CONN_RELAY)
            relay_deadline(c);
        return;
    }
    pump_response(c);
}

void conn_progress(struct conn *c)
{
    if (c->state == CONN_RELAY)
        conn_pump(c);
    if (c->back != NULL)
        side_inbox_park(ring_of(c), &c->back->side);
    conn_settle(c);
}

static bool from_trusted(const struct conn *c)
{
    const struct config_cidrs *trusted = &attributes_of(c)->trusted_proxies;

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
        .port = listener_conf_of(c)->port,
        .node = &node_of(c)->subnet->address,
    };
    struct buf *buf = buf_new(head_request_room(head, head_bytes) + REQUEST_BUF);

    if (buf != NULL)
        head_add_request(buf, &request);
    return buf;
}

static void request_begin(struct conn *c, size_t head_bytes)
{
    const struct http1_head *head = c->worker->head;
    struct http1_body body;
    struct buf *buf;
    bool expects = head->expect_continue;

    c->pin = pin_get(c->worker);
    c->node_index = node_of(c)->index;
    c->requests++;
    worker_count(c->worker, COUNT_REQUESTS);
    c->method = head->method;
    c->minor = (uint8_t)head->minor;
    c->keep_alive = head->keep_alive;
    http1_body_init(&body, head);
    buf = request_head(c, head, head_bytes);
    head_consume(c, &c->front, &c->in_head, head_bytes);
    flow_start(&c->request, &c->front, NULL, &body, buf, body.framing == BODY_CHUNKED);
    c->head_read = true;
    if (buf == NULL) {
        conn_fail(c, FAILED_RESOURCES);
        return;
    }
    if (expects)
        side_send_text(ring_of(c), &c->front, answer_continue);
    conn_dispatch(c);
}

static void request_refuse(struct conn *c, enum http1_reason reason)
{
    worker_count(c->worker, COUNT_REQUESTS);
    atomic_fetch_add_explicit(&c->worker->reasons[reason], 1, memory_order_relaxed);
    c->pin = pin_get(c->worker);
    conn_answer(c, http1_reason_status(reason));
}

static int parse_request(const struct conn *c, const char *bytes, size_t len)
{
    const struct config_attributes *a = attributes_of(c);
    struct http1_limits limits = { .line_max = a->request_line_max, .field_max = a->header_max, .head_max = a->headers_max, .count_max = a->header_count_max };

    return http1_parse_request(c->worker->head, bytes, len, &limits);
}

static void conn_read_head(struct conn *c)
{
    bool first_bytes = c->in_head == NULL;
    int n = head_look(c, &c->front, &c->in_head, parse_request);

    if (n > 0) {
        request_begin(c, (size_t)n);
    } else if (n < 0) {
        request_refuse(c, (enum http1_reason)-n);
    } else if (c->front.error != 0 || c->front.eof) {
        conn_close(c, c->front.eof ? CLOSE_CLIENT_LEFT : CLOSE_CLIENT_FAILED, false);
    } else {
        if (first_bytes && c->in_head != NULL)
            conn_deadline(c, attributes_of(c)->request_header_timeout_ms);
        side_receive(ring_of(c), &c->front);
    }
}

static void on_received(struct op *op, struct ring_result result)
{
    struct conn *c = container_of(op, struct conn, front.recv_op);

    side_received(ring_of(c), &c->front, result);
    switch (c->state) {
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
    case CONN_ANSWER:
        if (c->front.error != 0)
            conn_close(c, CLOSE_CLIENT_FAILED, false);
        break;
    case CONN_CLOSING:
        break;
    }
    side_inbox_park(ring_of(c), &c->front);
    conn_settle(c);
}

static void on_sent(struct op *op, struct ring_result result)
{
    struct conn *c = container_of(op, struct conn, front.send_op);

    if (c->state != CONN_CLOSING && side_sent(ring_of(c), &c->front, result)) {
        if (c->front.send_error != 0)
            conn_close(c, CLOSE_CLIENT_FAILED, !c->http);
        else if (c->state == CONN_RELAY)
            conn_pump(c);
        else if (c->state == CONN_ANSWER)
            answer_send(c);
    } else if (c->state == CONN_RELAY) {
        relay_deadline(c);
    }
    conn_settle(c);
}

static void conn_timed_out(struct conn *c)
{
    switch (c->state) {
    case CONN_READ_HEAD:
        if (c->in_head == NULL) {
            conn_close(c, CLOSE_IDLE, false);
        } else {
            c->pin = pin_get(c->worker);
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
            conn_cut(c, CLOSE_IDLE);
        } else if (awaits_client(c)) {
            conn_answer(c, 408);
        } else {
            slot_hint(c->instance->slot);
            conn_fail(c, FAILED_SILENT);
        }
        break;
    case CONN_CONNECT:
        conn_deadline(c, CONNECT_BOUND_MS);
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

    if (c->state == CONN_RELAY && c->request.ended)
        side_receive(ring_of(c), &c->front);
    if (c->deadline_ms > ring_now_ms(ring_of(c)))
        ring_timer_set(ring_of(c), timer, c->deadline_ms);
    else
        conn_timed_out(c);
    conn_settle(c);
}

static void stream_begin(struct conn *c)
{
    struct http1_body stream = { .framing = BODY_UNTIL_CLOSE };

    c->pin = pin_get(c->worker);
    c->node_index = node_of(c)->index;
    flow_start(&c->request, &c->front, NULL, &stream, NULL, false);
    conn_dispatch(c);
}

/* Has the client sent something that only the kernel knows of yet? */
static bool bytes_waiting(const struct conn *c)
{
    char byte;

    return recv(c->front.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* A request that was under way when we began to stop is answered; a new connection has a moment to make its first. */
static void conn_wind_up(struct conn *c)
{
    bool between = c->state == CONN_READ_HEAD && c->in_head == NULL && c->front.inbox == NULL && !bytes_waiting(c);

    c->keep_alive = false;
    if (between && c->requests > 0)
        conn_close(c, CLOSE_STOPPING, false);
    else if (between)
        conn_deadline(c, LAST_CHANCE_MS);
}

void conn_accept(struct worker *worker, const struct listener *listener, int fd, const struct addr *client)
{
    struct conn *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        worker_met(worker, CONDITION_RESOURCES, -ENOMEM);
        atomic_fetch_sub(&worker->shared->connections, 1);
        close(fd);
        return;
    }
    side_init(&c->front, fd, on_received, on_sent);
    timer_init(&c->timer, on_timer);
    list_init(&c->queue_link);
    c->worker = worker;
    c->listener = listener;
    c->client = *client;
    list_append(&worker->conns, &c->link);
    worker->conn_count++;
    c->http = listener_conf_of(c)->protocol == PROTOCOL_HTTP;
    c->front.receive_once = c->http;
    if (c->http)
        await_head(c);
    else
        stream_begin(c);
    if (worker->state != WORKER_RUNS)
        conn_wind_up(c);
    conn_settle(c);
}

/* Out by measurement or by the operator's word. Draining, by either's wish, lets work in flight end. */
static bool instance_out(const struct instance *instance)
{
    return atomic_load(&instance->phase) == INSTANCE_REGISTERED && !slot_eligible(instance->slot) && slot_admin(instance->slot) != ADMIN_DRAIN;
}

/* To another instance, if there is one that has not been tried; else it stays where it is. */
static bool conn_move(struct conn *c)
{
    struct tried before = c->tried;
    struct instance *instance;

    if (!repeatable(c) || c->tries >= attributes_of(c)->retries)
        return false;
    tried_add(&c->tried, c->instance);
    instance = conn_pick(c);
    if (instance == NULL || !instance_eligible(instance)) {
        if (instance != NULL)
            pool_release(c->node_index, &instance);
        c->tried = before;
        return false;
    }
    back_drop(c, false);
    c->tries++;
    worker_count(c->worker, COUNT_RETRIES);
    conn_use(c, instance);
    return true;
}

void conn_review(struct conn *c)
{
    bool cut = atomic_load(&c->instance->phase) == INSTANCE_CUT;

    if ((cut || instance_out(c->instance)) && !conn_move(c)) {
        cut = cut || (!attributes_of(c)->draining && !attributes_of(c)->fail_open);
        if (cut && c->http && !c->response_begun)
            conn_fail(c, FAILED_CLOSED);
        else if (cut)
            conn_close(c, CLOSE_INSTANCE_LEFT, true);
    }
    conn_settle(c);
}

void conn_queue_review(struct conn *c)
{
    conn_dispatch(c);
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
