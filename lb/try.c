/*
 * Which instance gets this work, and what follows when a try on one comes to
 * nothing: the next try while that can do no harm, else the answer that says why.
 */
#include "lb/conn_parts.h"
#include "common/board.h"
#include "common/clock.h"
#include "lb/backend.h"
#include "lb/instance.h"
#include <errno.h>

#define WATCH_MS 250
#define POOLED_IDLE_MAX_MS 1000             /* a request that can not be repeated goes on no connection that idled longer */

static struct surge *conn_surge(const struct conn *c)
{
    return &conn_balancer(c)->live->nodes[c->node_index].surge;
}

static enum pick conn_look(const struct conn *c)
{
    return pool_look(conn_node(c), conn_attributes(c)->fail_open);
}

/* Who entered or left may have missed room, or left some. */
static void conn_queue_offer(const struct conn *c)
{
    if (surge_any(conn_surge(c)) && conn_look(c) == PICK_ONE)
        surge_call(conn_surge(c));
}

void conn_queue_leave(struct conn *c)
{
    if (list_empty(&c->queue_link))
        return;
    list_remove(&c->queue_link);
    surge_leave(conn_surge(c), &c->place);
    conn_queue_offer(c);
}

/* The back goes, and with it the use of its instance. */
void conn_back_drop(struct conn *c, bool reset)
{
    flow_stop(&c->response);
    if (c->back != NULL)
        back_close(&c->back, reset);
    if (c->instance != NULL) {
        pool_release(c->node_index, &c->instance);
        surge_call(conn_surge(c));
    }
}

/* No further try will be made. */
void conn_fail(struct conn *c, enum failure failure)
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
        conn_close(c, why, false);
    else
        conn_answer(c, status);
}

void conn_starve(struct conn *c, int err)
{
    worker_count(c->worker, COUNT_NO_RESOURCES);
    worker_met(c->worker, CONDITION_RESOURCES, err);
    conn_fail(c, FAILED_RESOURCES);
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

/* A client that waits for its answer may not be received from: of a new connection that is cheaper, and a multishot may have ended. If
 * the wait gets long, we want to know when the client leaves. */
static void watch_client(struct conn *c)
{
    uint64_t at = ring_now_ms(conn_ring(c)) + WATCH_MS;

    if (!c->front.recv_op.active && c->timer.deadline_ms > at)
        ring_timer_set(conn_ring(c), &c->timer, at);
}

static void conn_attach(struct conn *c)
{
    conn_enter(c, CONN_RELAY);
    watch_client(c);
    c->request.to = &c->back->side;
    c->request.head_sent = false;
    if (c->request.whole_in_head)
        c->request.ended = false;
    if (c->http)
        logged_sent(c);
    else
        logged_answered(c, 0);          /* a stream's instance answers by taking the connection */
    if (!c->http) {
        struct http1_body stream = { .framing = BODY_UNTIL_CLOSE };
        flow_start(&c->response, &c->back->side, &c->front, &stream, NULL, false);
    }
    side_receive(conn_ring(c), &c->back->side);
    conn_pump(c);
}

/* Gives the work to this instance, whose use is already counted. */
static void conn_use(struct conn *c, struct instance *instance)
{
    const struct config_attributes *attributes = conn_attributes(c);
    struct back_wish wish = {
        .instance = instance,
        .node = conn_node(c),
        .port = conn_listener(c)->instance_port,
        .connect_timeout_ms = attributes->connect_timeout_ms,
    };
    int r;

    if (c->http && !c->fresh_only && !conn_introduces(c))
        wish.idle_max_ms = repeatable_method(c->method) ? UINT64_MAX : POOLED_IDLE_MAX_MS;
    r = back_get(c->worker, c, &wish, &c->back);
    if (r < 0) {
        pool_release(c->node_index, &instance);
        surge_call(conn_surge(c));
        conn_starve(c, r);
        return;
    }
    c->instance = instance;
    logged_sent(c);
    if (c->back->state == BACK_CONNECTING) {
        conn_enter(c, CONN_CONNECT);
        conn_deadline(c, CONN_CONNECT_BOUND_MS);
    } else {
        conn_attach(c);
    }
}

static struct pool_ask conn_ask(const struct conn *c)
{
    const struct config_attributes *attributes = conn_attributes(c);
    struct pool_ask ask = {
        .algorithm = attributes->algorithm,
        .fail_open = attributes->fail_open,
        .slow_start_ms = attributes->slow_start_ms,
        .tried = &c->tried,
        .client = &c->client,
        .random = &c->worker->random,
    };

    if (ask.algorithm == ALGORITHM_DEFAULT)
        ask.algorithm = c->http ? ALGORITHM_LEAST_OUTSTANDING : ALGORITHM_ROUND_ROBIN;
    if (ask.slow_start_ms > 0)
        ask.now_ms = clock_realtime_ms();
    return ask;
}

/* Whoever its cookie names, else whose turn it is. */
static enum pick pick_now(const struct conn *c, struct instance **instance)
{
    struct pool_ask ask = conn_ask(c);

    for (unsigned i = 0; i < c->claim.count; i++)
        if (pool_pick_named(conn_node(c), &ask, c->claim.ids[i], instance) == PICK_ONE)
            return PICK_ONE;
    return pool_pick(conn_node(c), &ask, instance);
}

/* The queue is full; but there may be room for all who wait, and they have not been woken yet. */
static void conn_spill(struct conn *c)
{
    struct instance *instance;

    if (pick_now(c, &instance) == PICK_ONE) {
        conn_use(c, instance);
        return;
    }
    worker_count(c->worker, COUNT_SPILLOVER);
    conn_fail(c, FAILED_NO_INSTANCE);
}

static void conn_queue(struct conn *c, uint64_t at_most_ms)
{
    if (!surge_enter(conn_surge(c), &c->place, conn_ring(c), conn_attributes(c)->surge_queue)) {
        conn_spill(c);
        return;
    }
    list_append(&c->worker->queue, &c->queue_link);
    conn_enter(c, CONN_QUEUED);
    conn_deadline(c, at_most_ms);
    watch_client(c);
    conn_queue_offer(c);
}

/* Nobody is known to be healthy, but the first results are still to come. (A verdict is published before its result counts as
 * come: so the results are looked at first.) */
static bool first_checks_pending(const struct conn *c)
{
    const struct node *node = conn_node(c);

    return ring_now_ms(conn_ring(c)) < conn_balancer(c)->first_checks_ms && pool_any_unchecked(node) && !pool_any_eligible(node);
}

/* Those who wait longer go first. */
static enum pick conn_pick(struct conn *c, struct instance **instance)
{
    enum pick result;
    bool first = c->state == CONN_QUEUED ? surge_first(conn_surge(c), &c->place) : !surge_any(conn_surge(c));

    if (!first && conn_look(c) != PICK_NONE)
        return PICK_FULL;
    result = pick_now(c, instance);
    if (result == PICK_FULL && c->state == CONN_QUEUED && (conn_look(c) == PICK_ONE || c->pin != c->worker->pin))
        surge_stand_aside(conn_surge(c), &c->place);    /* the room is where it has failed, or which its generation does not know */
    return result;
}

static void no_instance(struct conn *c)
{
    uint64_t until = conn_balancer(c)->first_checks_ms, now = ring_now_ms(conn_ring(c));
    bool pending = first_checks_pending(c);

    if (c->state == CONN_QUEUED && pending)
        return;
    c->awaits_checks = c->tries == 0 && pending;
    if (c->awaits_checks)
        conn_queue(c, until - now);
    else
        conn_fail(c, c->failure);
}

static void no_room(struct conn *c)
{
    uint64_t at_most_ms = conn_attributes(c)->idle_timeout_ms;

    if (c->state != CONN_QUEUED)
        conn_queue(c, at_most_ms);
    else if (c->awaits_checks)
        conn_deadline(c, at_most_ms);
    c->awaits_checks = false;
}

void conn_dispatch(struct conn *c)
{
    struct instance *instance;

    switch (conn_pick(c, &instance)) {
    case PICK_ONE:
        conn_queue_leave(c);
        conn_use(c, instance);
        break;
    case PICK_FULL:
        no_room(c);
        break;
    case PICK_NONE:
        no_instance(c);
        break;
    }
}

/* This try has come to nothing: the next one, or the end. */
static void conn_try_again(struct conn *c, enum failure failure)
{
    bool again = repeatable(c) && c->tries < conn_attributes(c)->retries;

    if (c->back->reused)
        c->fresh_only = true;           /* its instance may be well: only the old connection is known to be dead */
    else
        tried_add(&c->tried, c->instance);
    c->failure = failure;
    if (!again) {
        conn_fail(c, failure);
        return;
    }
    conn_back_drop(c, false);
    c->tries++;
    worker_count(c->worker, COUNT_RETRIES);
    conn_dispatch(c);
}

/* Traffic saw the instance fail: it is checked at once, which decides. */
void conn_suspect(struct conn *c)
{
    worker_count(c->worker, COUNT_BACK_ERRORS);
    slot_hint(c->instance->slot);
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
        conn_starve(c, res);
    } else {
        conn_suspect(c);
        conn_try_again(c, res == -ETIMEDOUT ? FAILED_CONNECT_TIMEOUT : FAILED_REFUSED);
    }
    conn_settle(c);
}

/* The instance's connection ended before a whole head of an answer had come. */
void conn_back_lost(struct conn *c)
{
    if (!c->back->reused)
        conn_suspect(c);
    conn_try_again(c, FAILED_CLOSED);
}

/* Out by measurement or by the operator's word. Draining, by either's wish, lets work in flight end. */
static bool instance_out(const struct instance *instance)
{
    return atomic_load(&instance->phase) == INSTANCE_REGISTERED && !slot_eligible(instance->slot) && slot_admin(instance->slot) != ADMIN_DRAIN;
}

/* To another instance, if there is one that has not been tried; else it stays where it is. What was not sent yet may go elsewhere
 * for nothing; else it is a further try. */
static bool conn_move(struct conn *c)
{
    bool sent = c->state != CONN_CONNECT;
    struct tried before = c->tried;
    struct instance *instance;
    struct pool_ask ask;

    if (!repeatable(c) || (sent && c->tries >= conn_attributes(c)->retries))
        return false;
    tried_add(&c->tried, c->instance);
    ask = conn_ask(c);
    ask.fail_open = false;
    if (pool_pick(conn_node(c), &ask, &instance) != PICK_ONE) {
        c->tried = before;
        return false;
    }
    conn_back_drop(c, false);
    c->tries += sent;
    worker_count(c->worker, COUNT_RETRIES);
    conn_use(c, instance);
    return true;
}

void conn_review(struct conn *c)
{
    bool cut = atomic_load(&c->instance->phase) == INSTANCE_CUT;

    if ((cut || instance_out(c->instance)) && !conn_move(c)) {
        cut = cut || (!conn_attributes(c)->draining && !conn_attributes(c)->fail_open);
        if (cut && c->http && !c->response_begun)
            conn_fail(c, c->state == CONN_CONNECT ? FAILED_NO_INSTANCE : FAILED_CLOSED);
        else if (cut)
            conn_close(c, CLOSE_INSTANCE_LEFT, true);
    }
    conn_settle(c);
}

/* Nothing of it has begun: who waits goes by the newest configuration, if its listener and its queue are in that. */
static void conn_repin(struct conn *c)
{
    const struct listener *listener = c->listener;
    const struct listener_at *newest = &listener->at;

    if (c->pin == listener->pin || newest->balancer->live != conn_balancer(c)->live || newest->node->index != c->node_index ||
        newest->conf->protocol != conn_listener(c)->protocol)
        return;
    pin_put(&c->pin);
    conn_pin(c);
}

void conn_queue_review(struct conn *c, bool changed)
{
    if (changed)
        conn_repin(c);
    if (surge_called(conn_surge(c), &c->place) || changed)
        conn_dispatch(c);
    conn_settle(c);
}
