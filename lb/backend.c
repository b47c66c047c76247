#include "lb/backend.h"
#include "common/net.h"
#include "lb/conn.h"
#include "lb/generation.h"
#include "lb/instance.h"
#include "lb/worker.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static struct instance_local *local_of(const struct back *back)
{
    return &back->instance->locals[back->worker->index];
}

static void back_join(struct back *back)
{
    struct worker *worker = back->worker;

    assert(back->state == BACK_CLOSING);
    if (back->connect_op.active || side_busy(&back->side))
        return;
    side_close(worker->ring, &back->side, back->reset);
    buf_unref(&back->in_head);
    instance_unref(&back->instance);
    worker->back_count--;
    free(back);
}

static void back_end(struct back *back, bool reset)
{
    struct ring *ring = back->worker->ring;

    assert(back->state != BACK_CLOSING);
    if (back->state == BACK_IDLE)
        local_of(back)->idle_count--;
    list_remove(&back->link);
    ring_timer_stop(ring, &back->timer);
    back->state = BACK_CLOSING;
    back->conn = NULL;
    back->reset = reset;
    ring_cancel(ring, &back->connect_op);
    side_cancel(ring, &back->side);
}

void back_close(struct back **back, bool reset)
{
    struct back *b = *back;

    *back = NULL;
    back_end(b, reset);
    back_join(b);
}

static void on_timer(struct timer *timer)
{
    struct back *back = container_of(timer, struct back, timer);

    if (back->deadline_ms > ring_now_ms(back->worker->ring))
        ring_timer_set(back->worker->ring, timer, back->deadline_ms);
    else if (back->state == BACK_CONNECTING)
        conn_connected(back->conn, -ETIMEDOUT);
    else if (back->state == BACK_IDLE)
        back_close(&back, false);
}

/* Later deadlines wait for the timer to fire and be set anew: most are moved before they are reached. */
static void back_deadline(struct back *back, uint64_t in_ms)
{
    back->deadline_ms = ring_now_ms(back->worker->ring) + in_ms;
    if (!timer_is_set(&back->timer) || back->timer.deadline_ms > back->deadline_ms)
        ring_timer_set(back->worker->ring, &back->timer, back->deadline_ms);
}

static void on_connected(struct op *op, struct ring_result result)
{
    struct back *back = container_of(op, struct back, connect_op);

    if (back->state == BACK_CLOSING) {
        back_join(back);
        return;
    }
    if (result.res == 0)
        back->state = BACK_WORKING;
    conn_connected(back->conn, result.res);
}

static void on_received(struct op *op, struct ring_result result)
{
    struct back *back = container_of(op, struct back, side.recv_op);

    side_received(back->worker->ring, &back->side, result);
    switch (back->state) {
    case BACK_CLOSING:
        back_join(back);
        break;
    case BACK_IDLE:
        if (back->side.inbox != NULL || back->side.eof || back->side.error != 0)
            back_close(&back, false);
        else
            side_receive(back->worker->ring, &back->side);
        break;
    case BACK_CONNECTING:
    case BACK_WORKING:
        conn_progress(back->conn);
        break;
    }
}

static void on_sent(struct op *op, struct ring_result result)
{
    struct back *back = container_of(op, struct back, side.send_op);
    bool done = back->state == BACK_CLOSING || side_sent(back->worker->ring, &back->side, result);

    if (back->state == BACK_CLOSING)
        back_join(back);
    else if (done)
        conn_progress(back->conn);
}

static int back_new(struct worker *worker, const struct back_wish *wish, struct back **ret)
{
    struct addr to = addr_with_port(wish->instance->address, wish->port);
    struct back *back;
    int fd = net_connector(&to, &wish->node->subnet->address);

    if (fd < 0)
        return fd;
    back = calloc(1, sizeof(*back));
    if (back == NULL) {
        net_close(fd);
        return -ENOMEM;
    }
    net_nodelay(fd);
    side_init(&back->side, fd, on_received, on_sent);
    op_init(&back->connect_op, on_connected);
    timer_init(&back->timer, on_timer);
    back->worker = worker;
    back->instance = instance_ref(wish->instance);
    back->to = to;
    back->node_index = wish->node->index;
    worker->back_count++;
    *ret = back;
    return 0;
}

static struct back *idle_find(struct instance_local *local, const struct back_wish *wish, uint64_t now_ms)
{
    list_for_each(link, &local->idle) {
        struct back *back = list_entry(link, struct back, link);
        if (now_ms - back->idle_since_ms > wish->idle_max_ms)
            return NULL;        /* newest first: those behind have idled longer */
        if (back->node_index == wish->node->index && addr_port(&back->to) == wish->port)
            return back;
    }
    return NULL;
}

int back_get(struct worker *worker, struct conn *conn, const struct back_wish *wish, struct back **ret)
{
    struct instance_local *local = &wish->instance->locals[worker->index];
    struct back *back = wish->idle_max_ms == 0 ? NULL : idle_find(local, wish, ring_now_ms(worker->ring));
    int r;

    if (back != NULL) {
        local->idle_count--;
        list_remove(&back->link);
        back->state = BACK_WORKING;
        back->reused = true;
    } else {
        r = back_new(worker, wish, &back);
        if (r < 0)
            return r;
        back->state = BACK_CONNECTING;
        back_deadline(back, wish->connect_timeout_ms);
        ring_connect(worker->ring, &back->connect_op, back->side.fd, &back->to);
    }
    back->conn = conn;
    list_append(&local->busy, &back->link);
    *ret = back;
    return 0;
}

void back_keep(struct back **back, uint64_t stay_ms, unsigned idle_max)
{
    struct back *b = *back;
    struct instance_local *local = local_of(b);
    bool fit = b->state == BACK_WORKING && b->side.inbox == NULL && !b->side.eof && b->side.error == 0 &&
               b->side.send_error == 0 && !side_sending(&b->side) && !b->side.shut;

    *back = NULL;
    if (!fit || b->worker->state != WORKER_RUNS || local->idle_count >= idle_max || !instance_eligible(b->instance)) {
        back_close(&b, false);
        return;
    }
    list_remove(&b->link);
    list_add(&local->idle, &b->link);
    local->idle_count++;
    b->state = BACK_IDLE;
    b->conn = NULL;
    b->idle_since_ms = ring_now_ms(b->worker->ring);
    side_expect_small(&b->side);
    back_deadline(b, stay_ms);
    side_receive(b->worker->ring, &b->side);
}

void back_close_idle(struct worker *worker, struct instance *instance)
{
    struct instance_local *local = &instance->locals[worker->index];

    while (!list_empty(&local->idle)) {
        struct back *back = list_entry(local->idle.next, struct back, link);
        back_close(&back, false);
    }
}
