#include "lb/worker.h"
#include "common/board.h"
#include "common/clock.h"
#include "common/http1.h"
#include "common/log.h"
#include "common/net.h"
#include "lb/backend.h"
#include "lb/conn.h"
#include "lb/generation.h"
#include "lb/instance.h"
#include "lb/listener.h"
#include "lb/splice.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL_BYTES (16 * 1024)
#define BULK_BYTES (256 * 1024)
#define CONDITION_QUIET_MS 10000    /* a condition that was not met for so long is over */
#define OPS_PER_CONNECTION 4        /* receive and send, on both sides */

#define PIPES_MAX 64                /* for bulk TCP streams that have bytes under way; others copy */

struct worker_update {              /* main's order, until it is taken */
    struct pin *pin;
    const struct listener_conf *confs;
    struct listener **fresh;        /* [count]: of those that have a descriptor; not begun */
    size_t count;
};

struct start {                      /* what the thread reports of its beginning */
    struct worker *worker;
    struct worker_update *update;       /* its first */
    int result;
    bool begun;
};

struct pin *pin_get(struct pin *pin)
{
    pin->users++;
    return pin;
}

void pin_put(struct pin **pin)
{
    struct pin *p = *pin;

    *pin = NULL;
    if (--p->users > 0)
        return;
    generation_unref(&p->generation);
    free(p);
}

/* With a reference of its own. NULL: no memory. */
static struct pin *pin_new(struct generation *generation)
{
    struct pin *pin = malloc(sizeof(*pin));

    if (pin != NULL)
        *pin = (struct pin){ .generation = generation_ref(generation), .users = 1 };
    return pin;
}

void worker_met(struct worker *worker, enum worker_condition condition, int err)
{
    struct condition *c = &worker->conditions[condition];

    c->last_ms = ring_now_ms(worker->ring);
    if (c->met++ == 0 && condition == CONDITION_CONNECTIONS_MAX)
        log_warning("worker %u: all %u connections are in use: new ones are closed until one ends", worker->index, worker->shared->connections_max);
    else if (c->met == 1)
        log_warning("worker %u: %s: what needs more is refused until there is some again", worker->index, strerror(-err));
    if (!timer_is_set(&worker->conditions_timer))
        ring_timer_set(worker->ring, &worker->conditions_timer, c->last_ms + CONDITION_QUIET_MS);
}

static void on_conditions_timer(struct timer *timer)
{
    static const char *const texts[CONDITIONS] = { "connections were closed because all were in use", "refusals for want of descriptors, memory or ports" };
    struct worker *worker = container_of(timer, struct worker, conditions_timer);
    uint64_t now = ring_now_ms(worker->ring);

    for (unsigned i = 0; i < CONDITIONS; i++) {
        struct condition *c = &worker->conditions[i];
        if (c->met > 0 && now - c->last_ms >= CONDITION_QUIET_MS) {
            log_info("worker %u: over: %llu %s", worker->index, (unsigned long long)c->met, texts[i]);
            c->met = 0;
        } else if (c->met > 0) {
            ring_timer_set(worker->ring, timer, c->last_ms + CONDITION_QUIET_MS);
        }
    }
}

static void review_instance(struct worker *worker, struct instance *instance)
{
    struct instance_local *local = &instance->locals[worker->index];

    if (instance_eligible(instance))
        return;
    back_close_idle(worker, instance);
    list_for_each_safe(link, &local->busy) {
        struct back *back = list_entry(link, struct back, link);
        conn_review(back->conn);
    }
}

static void review_instances(struct worker *worker, const struct generation *generation)
{
    for (size_t i = 0; i < generation->balancer_count; i++)
        for (size_t k = 0; k < generation->balancers[i].instance_count; k++)
            review_instance(worker, generation->balancers[i].instances[k]);
}

/* Who works for an instance that left, and who waits for one. changed: the board or the generation. */
static void review(struct worker *worker, bool changed)
{
    if (changed)
        review_instances(worker, worker->pin->generation);
    list_for_each_safe(link, &worker->queue)
        conn_queue_review(list_entry(link, struct conn, queue_link), changed);
}

static void obey_state(struct worker *worker, enum worker_state ordered)
{
    if (ordered <= worker->state)
        return;
    worker->state = ordered;
    list_for_each_safe(link, &worker->listeners)
        listener_stop(list_entry(link, struct listener, link));
    list_for_each_safe(link, &worker->conns)
        conn_stop(list_entry(link, struct conn, link), ordered == WORKER_STOPS);
    for (size_t i = 0; i < worker->pin->generation->balancer_count; i++)
        for (size_t k = 0; k < worker->pin->generation->balancers[i].instance_count; k++)
            back_close_idle(worker, worker->pin->generation->balancers[i].instances[k]);
}

static const struct listener_conf *conf_for(const struct worker_update *update, const struct addr *address)
{
    for (size_t i = 0; i < update->count; i++)
        if (update->confs[i].fd < 0 && addr_port(&update->confs[i].address) == addr_port(address) &&
            addr_equal_host(&update->confs[i].address, address))
            return &update->confs[i];
    return NULL;
}

static void listeners_begin(struct worker *worker, struct worker_update *update)
{
    for (size_t i = 0; i < update->count; i++)
        if (update->fresh[i] != NULL)
            listener_begin(update->fresh[i], worker, &update->confs[i]);
    free(update->fresh);
    update->fresh = NULL;
}

/* Listeners that stay keep their sockets; the others are closed, and connections that came by them end with what they are at. */
static void take_over(struct worker *worker, struct worker_update *update)
{
    struct pin *before = worker->pin;

    worker->pin = update->pin;
    update->pin = NULL;
    list_for_each_safe(link, &worker->listeners) {
        struct listener *listener = list_entry(link, struct listener, link);
        const struct listener_conf *conf = conf_for(update, &listener->address);
        if (listener->closing)
            continue;
        if (conf != NULL)
            listener_adopt(listener, conf);
        else
            listener_stop(listener);
    }
    listeners_begin(worker, update);
    list_for_each_safe(link, &worker->conns) {
        struct conn *c = list_entry(link, struct conn, link);
        if (c->listener->closing)
            conn_stop(c, false);
    }
    review_instances(worker, before->generation);       /* some are in no newer one */
    pin_put(&before);
}

/* Takes over what main has ordered. The generation of before lives on in those who began with it. */
static void obey(struct worker *worker)
{
    enum worker_state ordered;

    pthread_mutex_lock(&worker->lock);
    ordered = worker->ordered;
    if (worker->update != NULL) {
        take_over(worker, worker->update);
        worker->update = NULL;
        thread_notify(&worker->obeyed);
    }
    pthread_mutex_unlock(&worker->lock);
    obey_state(worker, ordered);
}

static void woken(void *arg)
{
    struct worker *worker = arg;
    const struct pin *before = worker->pin;
    uint64_t changes = board_changes(worker->shared->board);

    obey(worker);
    review(worker, worker->pin != before || changes != worker->changes_seen);
    worker->changes_seen = changes;
}

static bool worker_done(const struct worker *worker)
{
    if (worker->state == WORKER_RUNS || worker->conn_count > 0 || worker->back_count > 0)
        return false;
    return list_empty(&worker->listeners);
}

static uint32_t ops_max(const struct worker *worker)
{
    uint64_t ops = (uint64_t)worker->shared->connections_max * OPS_PER_CONNECTION + worker->shared->small_buffers + worker->shared->bulk_buffers;

    return ops > UINT32_MAX ? UINT32_MAX : (uint32_t)ops;
}

static int begin(struct worker *worker, struct worker_update *first)
{
    struct ring_conf ring_conf = {
        .ops_max = ops_max(worker),
        .small_count = worker->shared->small_buffers,
        .small_bytes = SMALL_BYTES,
        .bulk_count = worker->shared->bulk_buffers,
        .bulk_bytes = BULK_BYTES,
        .woken = woken,
        .arg = worker,
    };
    int r = ring_new(&ring_conf, &worker->ring);

    if (r < 0)
        return r;
    r = board_subscribe(worker->shared->board, worker->ring);
    if (r < 0) {
        ring_free(&worker->ring);
        return r;
    }
    worker->pin = first->pin;
    first->pin = NULL;
    listeners_begin(worker, first);
    return 0;
}

static void started(struct start *start, int result)
{
    struct worker *worker = start->worker;

    pthread_mutex_lock(&worker->lock);
    start->result = result;
    start->begun = true;
    thread_notify(&worker->obeyed);
    pthread_mutex_unlock(&worker->lock);
}

static void *worker_main(void *arg)
{
    struct start *start = arg;
    struct worker *worker = start->worker;
    int r = begin(worker, start->update);

    started(start, r);          /* start is gone from here on */
    if (r < 0)
        return NULL;
    while (r == 0 && !worker_done(worker)) {
        r = ring_step(worker->ring);
        atomic_store_explicit(&worker->progress_us, clock_monotonic_us(), memory_order_relaxed);
    }
    if (r < 0) {
        log_error("worker %u: its ring has failed: %s; stopping, so that another process can take over", worker->index, strerror(-r));
        abort();
    }
    board_unsubscribe(worker->shared->board, worker->ring);
    pthread_mutex_lock(&worker->lock);
    worker->finished = true;
    thread_notify(&worker->obeyed);
    pthread_mutex_unlock(&worker->lock);
    ring_free(&worker->ring);
    return NULL;
}

static void worker_destroy(struct worker *worker)
{
    if (worker->pin != NULL)
        pin_put(&worker->pin);
    pthread_mutex_destroy(&worker->lock);
    pthread_cond_destroy(&worker->obeyed);
    pipe_pool_free(&worker->pipes);
    free(worker->head);
    free(worker);
}

static int listeners_new(struct worker_update *update)
{
    update->fresh = calloc(update->count + 1, sizeof(struct listener *));
    if (update->fresh == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < update->count; i++) {
        if (update->confs[i].fd >= 0 && (update->fresh[i] = listener_new(&update->confs[i])) == NULL)
            return -ENOMEM;
    }
    return 0;
}

int worker_update_new(struct generation *generation, const struct listener_conf *listeners, size_t count, struct worker_update **ret)
{
    struct worker_update *update = calloc(1, sizeof(*update));

    if (update == NULL)
        return -ENOMEM;
    update->confs = listeners;
    update->count = count;
    update->pin = pin_new(generation);
    if (update->pin == NULL || listeners_new(update) < 0) {
        worker_update_free(&update);
        return -ENOMEM;
    }
    *ret = update;
    return 0;
}

void worker_update_free(struct worker_update **update)
{
    struct worker_update *u = *update;

    *update = NULL;
    if (u == NULL)
        return;
    if (u->pin != NULL)
        pin_put(&u->pin);
    for (size_t i = 0; u->fresh != NULL && i < u->count; i++)
        listener_free(&u->fresh[i]);
    free(u->fresh);
    free(u);
}

int worker_start(const struct worker_conf *conf, struct worker **ret)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    struct start start = { .worker = worker };
    char name[32];
    int r;

    if (worker == NULL)
        return -ENOMEM;
    worker->index = conf->index;
    worker->shared = conf->shared;
    worker->lines = conf->lines;
    list_init(&worker->listeners);
    list_init(&worker->conns);
    list_init(&worker->queue);
    worker->random = UINT64_C(0x9e3779b97f4a7c15) * (conf->index + 1) ^ clock_monotonic_us();
    timer_init(&worker->conditions_timer, on_conditions_timer);
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->obeyed, NULL);
    worker->head = malloc(sizeof(*worker->head));
    worker->pipes = pipe_pool_new(PIPES_MAX);
    r = worker_update_new(conf->generation, conf->listeners, conf->listener_count, &start.update);
    if (r == 0 && (worker->pipes == NULL || worker->head == NULL))
        r = -ENOMEM;
    if (r < 0)
        goto fail;
    snprintf(name, sizeof(name), "halb-worker-%u", conf->index);
    r = thread_start(&worker->thread, name, worker_main, &start);
    if (r < 0)
        goto fail;
    pthread_mutex_lock(&worker->lock);
    while (!start.begun)
        thread_wait(&worker->obeyed, &worker->lock);
    pthread_mutex_unlock(&worker->lock);
    r = start.result;
    if (r < 0)
        thread_join(&worker->thread);
    else
        *ret = worker;
fail:
    worker_update_free(&start.update);
    if (r < 0)
        worker_destroy(worker);
    return r;
}

static void listeners_drop(const struct worker_update *update)
{
    for (size_t i = 0; i < update->count; i++)
        if (update->fresh[i] != NULL)
            net_close(update->confs[i].fd);
}

void worker_publish(struct worker *worker, struct worker_update **update)
{
    pthread_mutex_lock(&worker->lock);
    worker->update = *update;
    while (worker->update != NULL && !worker->finished) {
        ring_wake(worker->ring);
        thread_wait(&worker->obeyed, &worker->lock);
    }
    if (worker->update != NULL)
        listeners_drop(*update);        /* it ended before */
    worker->update = NULL;
    pthread_mutex_unlock(&worker->lock);
    worker_update_free(update);
}

void worker_order(struct worker *worker, enum worker_state state)
{
    pthread_mutex_lock(&worker->lock);
    worker->ordered = state;
    if (!worker->finished)
        ring_wake(worker->ring);
    pthread_mutex_unlock(&worker->lock);
}

bool worker_finished(struct worker *worker)
{
    bool finished;

    pthread_mutex_lock(&worker->lock);
    finished = worker->finished;
    pthread_mutex_unlock(&worker->lock);
    return finished;
}

void worker_free(struct worker **worker)
{
    struct worker *w = *worker;

    *worker = NULL;
    thread_join(&w->thread);
    worker_destroy(w);
}
