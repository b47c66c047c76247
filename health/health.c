/* The thread around the prober: its ring, the handover of plans, the end. */
#include "health/health.h"
#include "common/board.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/ring.h"
#include "common/thread.h"
#include "health/prober.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define TURN_MS_MAX 1000        /* a turn at least this often, so that a thread that hangs shows */
#define OPS_MAX 4096
#define BUFFERS 64
#define BUFFER_BYTES 4096

struct health {
    struct board *board;
    struct thread thread;
    struct ring *ring;          /* the thread's; others only wake it */
    struct prober *prober;      /* the thread's */
    struct timer turn;
    atomic_uint_least64_t progress_us;
    struct plan *empty;         /* for the end, which must not fail */

    pthread_mutex_t lock;       /* all below */
    pthread_cond_t changed;
    struct plan *plan;          /* handed over, not taken yet */
    bool started, stopping;
    int error;                  /* of the thread: -errno ends it */
};

/* The plan in waiting, or NULL. */
static struct plan *plan_get(struct health *health, bool *stopping)
{
    struct plan *plan;

    pthread_mutex_lock(&health->lock);
    plan = health->plan;
    *stopping = health->stopping;
    pthread_mutex_unlock(&health->lock);
    return plan;
}

static void plan_taken(struct health *health)
{
    pthread_mutex_lock(&health->lock);
    health->plan = NULL;
    thread_notify(&health->changed);
    pthread_mutex_unlock(&health->lock);
}

static void on_woken(void *arg)
{
    struct health *health = arg;
    bool stopping;
    struct plan *plan = plan_get(health, &stopping);

    if (plan != NULL) {
        prober_take(health->prober, &plan);
        plan_taken(health);
    }
    if (!stopping)
        prober_look_for_hints(health->prober);
}

static void on_turn(struct timer *timer)
{
    struct health *health = container_of(timer, struct health, turn);

    ring_timer_set(health->ring, timer, ring_now_ms(health->ring) + TURN_MS_MAX);
}

static bool ended(struct health *health)
{
    bool stopping;

    return plan_get(health, &stopping) == NULL && stopping && prober_empty(health->prober);
}

static int run(struct health *health)
{
    int r = 0;

    timer_init(&health->turn, on_turn);
    on_turn(&health->turn);
    while (r == 0 && !ended(health)) {
        atomic_store_explicit(&health->progress_us, clock_monotonic_us(), memory_order_relaxed);
        r = ring_step(health->ring);
    }
    ring_timer_stop(health->ring, &health->turn);
    return r;
}

static int setup(struct health *health)
{
    struct ring_conf conf = {
        .ops_max = OPS_MAX, .small_count = BUFFERS, .small_bytes = BUFFER_BYTES, .woken = on_woken, .arg = health,
    };
    int r = ring_new(&conf, &health->ring);

    if (r < 0)
        return r;
    r = prober_new(health->ring, &health->prober);
    if (r < 0)
        ring_free(&health->ring);
    else
        board_on_hint(health->board, health->ring);
    return r;
}

static void teardown(struct health *health)
{
    board_on_hint(health->board, NULL);
    prober_free(&health->prober);
    ring_free(&health->ring);
}

static void tell(struct health *health, int error)
{
    pthread_mutex_lock(&health->lock);
    health->started = true;
    health->error = error;
    thread_notify(&health->changed);
    pthread_mutex_unlock(&health->lock);
}

/* A ring that broke is left as it is: operations may be in flight on it. Progress stands still, which is alarmed. */
static void *thread_main(void *arg)
{
    struct health *health = arg;
    int r;

    r = setup(health);
    tell(health, r);
    if (r < 0)
        return NULL;
    r = run(health);
    if (r == 0) {
        teardown(health);
        return NULL;
    }
    log_error("the health-check thread ends: its ring failed: %s; verdicts stay as they are", strerror(-r));
    board_on_hint(health->board, NULL);
    tell(health, r);
    return NULL;
}

static int wait_started(struct health *health)
{
    int r;

    pthread_mutex_lock(&health->lock);
    while (!health->started)
        thread_wait(&health->changed, &health->lock);
    r = health->error;
    pthread_mutex_unlock(&health->lock);
    if (r < 0)
        thread_join(&health->thread);
    return r;
}

static void health_free(struct health *health)
{
    plan_free(&health->empty);
    pthread_cond_destroy(&health->changed);
    pthread_mutex_destroy(&health->lock);
    free(health);
}

int health_start(struct board *board, struct health **ret)
{
    struct health *health = calloc(1, sizeof(*health));
    int r;

    if (health == NULL)
        return -ENOMEM;
    health->board = board;
    pthread_mutex_init(&health->lock, NULL);
    pthread_cond_init(&health->changed, NULL);
    r = plan_new(NULL, 0, &health->empty);
    if (r == 0)
        r = thread_start(&health->thread, "halb-health", thread_main, health);
    if (r == 0)
        r = wait_started(health);
    if (r < 0) {
        health_free(health);
        return r;
    }
    *ret = health;
    return 0;
}

/* Hands the plan over and waits until it was taken; 0, or why it never will be (then it is still ours). */
static int hand_over(struct health *health, struct plan *plan, bool stopping)
{
    int r;

    pthread_mutex_lock(&health->lock);
    health->plan = plan;
    health->stopping = stopping;
    if (health->error == 0)
        ring_wake(health->ring);
    while (health->plan != NULL && health->error == 0)
        thread_wait(&health->changed, &health->lock);
    r = health->plan == NULL ? 0 : health->error;
    health->plan = NULL;
    pthread_mutex_unlock(&health->lock);
    return r;
}

int health_plan(struct health *health, const struct health_item *items, size_t count)
{
    struct plan *plan;
    int r = plan_new(items, count, &plan);

    if (r < 0)
        return r;
    r = hand_over(health, plan, false);
    if (r < 0)
        plan_free(&plan);
    return r;
}

void health_stop(struct health **health)
{
    struct health *h = *health;

    *health = NULL;
    if (h == NULL)
        return;
    if (hand_over(h, h->empty, true) == 0)
        h->empty = NULL;        /* taken */
    thread_join(&h->thread);
    health_free(h);
}

uint64_t health_progress_us(const struct health *health)
{
    return atomic_load_explicit(&health->progress_us, memory_order_relaxed);
}
