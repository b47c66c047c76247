#include "lb/listener.h"
#include "common/addr.h"
#include "common/config.h"
#include "common/net.h"
#include "lb/conn.h"
#include "lb/generation.h"
#include "lb/secgroup.h"
#include "lb/worker.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define PAUSE_MS 100        /* before accepting again when there was no descriptor or memory */

static void accept_start(struct listener *listener)
{
    if (!listener->closing && !listener->accept_op.active)
        ring_accept(listener->worker->ring, &listener->accept_op, listener->fd);
}

static bool place_take(struct worker *worker)
{
    struct worker_shared *shared = worker->shared;

    if (atomic_fetch_add(&shared->connections, 1) < shared->connections_max)
        return true;
    atomic_fetch_sub(&shared->connections, 1);
    worker_count(worker, COUNT_TOO_MANY);
    worker_met(worker, CONDITION_CONNECTIONS_MAX, 0);
    return false;
}

static void admit(struct listener *listener, int fd)
{
    struct worker *worker = listener->worker;
    struct addr client;

    if (worker->state == WORKER_STOPS || net_peer(fd, &client) < 0) {
        net_close(fd);      /* we stop, or it has gone already */
        return;
    }
    if (!secgroup_admits(listener->at.balancer->admitted, listener->at.conf->port, &client)) {
        worker_count(worker, COUNT_DENIED);
        net_close(fd);
        return;
    }
    if (!place_take(worker)) {
        net_close(fd);
        return;
    }
    worker_count(worker, COUNT_ACCEPTED);
    conn_accept(worker, listener, fd, &client);
}

/* Closing a listener resets what waits in its backlog; so all of that is accepted first. */
static void finish(struct listener *listener)
{
    int fd;

    if (!listener->closing || listener->accept_op.active || listener->fd < 0)
        return;
    while ((fd = net_accept_waiting(listener->fd)) >= 0)
        admit(listener, fd);
    net_close(listener->fd);
    listener->fd = -1;
}

static void on_accepted(struct op *op, struct ring_result result)
{
    struct listener *listener = container_of(op, struct listener, accept_op);
    struct worker *worker = listener->worker;

    if (result.res >= 0) {
        admit(listener, result.res);
    } else if (result.res != -ECANCELED && result.res != -ECONNABORTED && result.res != -EINTR) {
        worker_count(worker, COUNT_ACCEPT_FAILED);
        worker_met(worker, CONDITION_RESOURCES, result.res);
        if (!result.more && !listener->closing) {
            ring_timer_set(worker->ring, &listener->pause, ring_now_ms(worker->ring) + PAUSE_MS);
            return;
        }
    }
    if (!result.more)
        accept_start(listener);
    finish(listener);
    listener_reap(listener);
}

static void on_pause_over(struct timer *timer)
{
    accept_start(container_of(timer, struct listener, pause));
}

static struct listener_at place_of(const struct generation *generation, const struct listener_conf *conf)
{
    const struct balancer *balancer;

    assert(conf->balancer < generation->balancer_count);
    balancer = &generation->balancers[conf->balancer];
    assert(conf->node < balancer->node_count);
    assert(conf->listener < balancer->conf->listener_count);
    return (struct listener_at){ balancer, &balancer->nodes[conf->node], &balancer->conf->listeners[conf->listener] };
}

void listener_adopt(struct listener *listener, const struct listener_conf *conf)
{
    if (listener->pin != NULL)
        pin_put(&listener->pin);
    listener->pin = pin_get(listener->worker->pin);
    listener->at = place_of(listener->pin->generation, conf);
}

struct listener *listener_new(const struct listener_conf *conf)
{
    struct listener *listener = calloc(1, sizeof(*listener));

    if (listener == NULL)
        return NULL;
    listener->fd = conf->fd;
    listener->address = conf->address;
    op_init(&listener->accept_op, on_accepted);
    timer_init(&listener->pause, on_pause_over);
    return listener;
}

void listener_free(struct listener **listener)
{
    free(*listener);
    *listener = NULL;
}

void listener_begin(struct listener *listener, struct worker *worker, const struct listener_conf *conf)
{
    listener->worker = worker;
    list_append(&worker->listeners, &listener->link);
    listener_adopt(listener, conf);
    accept_start(listener);
}

void listener_stop(struct listener *listener)
{
    if (listener->closing)
        return;
    listener->closing = true;
    ring_timer_stop(listener->worker->ring, &listener->pause);
    ring_cancel(listener->worker->ring, &listener->accept_op);
    finish(listener);
    listener_reap(listener);
}

void listener_reap(struct listener *listener)
{
    if (listener->fd >= 0 || listener->accept_op.active || listener->conn_count > 0)
        return;
    list_remove(&listener->link);
    pin_put(&listener->pin);
    free(listener);
}
