/*
 * A registration is checked at the points phase + k * interval of the monotonic
 * clock: no drift, whatever a check took. Phases are spread by the golden
 * ratio, which keeps any number of them apart evenly, in the order of the plan.
 */
#include "health/prober.h"
#include "common/board.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/ring.h"
#include "health/check.h"
#include "health/verdict.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN_RATIO_32 UINT32_C(0x9e3779b9)
#define LOCAL_LOG_PAUSE_MS 60000
#define POINTS 20               /* of an interval, about, at which checks begin: many, so that not too many begin at once */

struct registration {
    struct list link;               /* prober's current, or its leaving */
    struct prober *prober;          /* NULL: in a plan that was not taken yet */
    struct slot *slot;              /* one reference */
    char *balancer, *instance;
    struct check_target target;
    struct thresholds thresholds;
    uint64_t interval_ms;
    uint32_t phase;                 /* of the interval, as a fraction of 2^32 */
    struct timer grid;              /* the next point */
    struct check check;
    uint64_t grid_start_ms;         /* when the last check of the grid started */
    bool due;                       /* a point was reached while a check was under way */
    bool hinted;                    /* hinted_ms is valid */
    uint64_t hinted_ms;             /* the last extra check */
    struct verdict verdict;
    uint64_t state_since_us, streak_since_us;
    struct registration *before;    /* plan: the one that it continues */
};

struct plan {
    size_t count;
    struct registration **items;    /* in the caller's order */
    struct registration **by_slot;  /* the same, sorted to be found */
};

struct prober {
    struct ring *ring;
    struct checker checker;
    struct list current, leaving;
    uint32_t added;                 /* registrations, ever: the next one's place in the spread */
    bool local_logged;
    uint64_t local_logged_ms;
};

/* ---- the log ---- */

static char *duration_text(uint64_t us, char text[32])
{
    uint64_t s = us / 1000000;

    if (s < 1)
        snprintf(text, 32, "%" PRIu64 "ms", us / 1000);
    else if (s < 60)
        snprintf(text, 32, "%" PRIu64 ".%" PRIu64 "s", s, us / 100000 % 10);
    else if (s < 3600)
        snprintf(text, 32, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
    else
        snprintf(text, 32, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
    return text;
}

static const char *state_text(enum slot_state state)
{
    switch (state) {
    case SLOT_NEW: return "registering";
    case SLOT_IN_SERVICE: return "in service";
    case SLOT_OUT_OF_SERVICE: return "out of service";
    }
    return "";
}

static void log_transition(const struct registration *reg, enum slot_state from, const struct check_record *record)
{
    const struct verdict *now = &reg->verdict;
    bool up = now->state == SLOT_IN_SERVICE;
    unsigned count = up ? now->passes : now->failures;
    uint64_t now_us = clock_monotonic_us();
    char address[ADDR_TEXT_MAX], detail[CHECK_DETAIL_MAX], was[32], streak[32];

    log_info("%s: instance %s (%s) %s after %u %s%s: %s (was %s for %s, %s for %s)", reg->balancer, reg->instance,
             addr_format(&reg->target.to, address), state_text(now->state), count, up ? "success" : "failure",
             count == 1 ? "" : up ? "es" : "s", check_detail(record, detail), state_text(from),
             duration_text(now_us - reg->state_since_us, was), up ? "passing" : "failing",
             duration_text(now_us - reg->streak_since_us, streak));
}

/* The condition, not each event. */
static void log_local(struct registration *reg, const struct check_record *record)
{
    struct prober *prober = reg->prober;
    uint64_t now = ring_now_ms(prober->ring);

    if (prober->local_logged && now - prober->local_logged_ms < LOCAL_LOG_PAUSE_MS)
        return;
    prober->local_logged = true;
    prober->local_logged_ms = now;
    log_warning("%s: instance %s can not be checked from here: %s; verdicts stay as they are", reg->balancer, reg->instance,
                strerror(record->error));
}

/* ---- results ---- */

/* The verdict is published before the result: who waits for a first result finds its consequence there. */
static void judge(struct registration *reg, const struct check_record *record, uint64_t started_us)
{
    struct verdict before = reg->verdict, next = verdict_fold(before, record->reason, reg->thresholds);
    uint64_t since_ms = next.state == before.state ? slot_status(reg->slot).since_ms : clock_realtime_ms();

    slot_publish(reg->slot, (struct slot_status){ next.state, next.why, since_ms });
    slot_record(reg->slot, record, slot_checked_at_us(reg->slot) == 0);
    reg->verdict = next;
    if (record->reason == CHECK_LOCAL)
        log_local(reg, record);
    else if (next.passes + next.failures == 1)
        reg->streak_since_us = started_us;
    if (next.state == before.state)
        return;
    log_transition(reg, before.state, record);
    reg->state_since_us = clock_monotonic_us();
}

/* ---- the grid ---- */

/* Spread over the interval, but for those that share a point: the turns that a check needs are most of its cost. */
static uint64_t phase_of(const struct registration *reg)
{
    uint64_t apart_ms = reg->interval_ms / POINTS + 1;

    return (reg->phase * reg->interval_ms >> 32) / apart_ms * apart_ms;
}

static void grid_set(struct registration *reg)
{
    uint64_t now = ring_now_ms(reg->prober->ring), phase_ms = phase_of(reg);
    uint64_t next = now < phase_ms ? phase_ms : now + reg->interval_ms - (now - phase_ms) % reg->interval_ms;

    ring_timer_set(reg->prober->ring, &reg->grid, next);
}

/* A point that we came to so late that the one after it is near stands for both. */
static void grid_start(struct registration *reg)
{
    uint64_t now = ring_now_ms(reg->prober->ring);

    if (now - reg->grid_start_ms < reg->interval_ms / 2)
        return;
    reg->grid_start_ms = now;
    check_start(&reg->check, &reg->target);
}

static void on_grid(struct timer *timer)
{
    struct registration *reg = container_of(timer, struct registration, grid);

    grid_set(reg);
    if (check_running(&reg->check))
        reg->due = true;
    else
        grid_start(reg);
}

static void registration_free(struct registration **registration)
{
    struct registration *reg = *registration;

    *registration = NULL;
    if (reg == NULL)
        return;
    slot_unref(&reg->slot);
    check_target_fini(&reg->target);
    free(reg->balancer);
    free(reg->instance);
    free(reg);
}

static void on_check(struct check *check)
{
    struct registration *reg = container_of(check, struct registration, check);

    if (!timer_is_set(&reg->grid)) {        /* it left */
        list_remove(&reg->link);
        registration_free(&reg);
        return;
    }
    judge(reg, &check->record, check->started_us);
    if (reg->due)
        grid_start(reg);
    reg->due = false;
}

/* ---- hints ---- */

static bool wants_extra(const struct registration *reg, uint64_t now_ms)
{
    return reg->verdict.state == SLOT_IN_SERVICE && !check_running(&reg->check) &&
           (!reg->hinted || now_ms - reg->hinted_ms >= reg->interval_ms);
}

void prober_look_for_hints(struct prober *prober)
{
    uint64_t now = ring_now_ms(prober->ring);

    list_for_each(link, &prober->current) {
        struct registration *reg = list_entry(link, struct registration, link);
        if (!slot_take_hint(reg->slot) || !wants_extra(reg, now))
            continue;
        reg->hinted = true;
        reg->hinted_ms = now;
        check_start(&reg->check, &reg->target);
    }
}

/* ---- plans ---- */

static int registration_new(const struct health_item *item, struct registration **ret)
{
    const struct config_health_check *conf = item->check;
    struct check_wish wish = { .to = &item->address, .source = &item->source, .conf = conf, .proxy_version = item->proxy_version };
    struct registration *reg = calloc(1, sizeof(*reg));

    if (reg == NULL)
        return -ENOMEM;
    list_init(&reg->link);
    timer_init(&reg->grid, on_grid);
    reg->slot = slot_ref(item->slot);
    reg->balancer = strdup(item->balancer);
    reg->instance = strdup(item->instance);
    reg->thresholds = (struct thresholds){ conf->unhealthy_threshold, conf->healthy_threshold };
    reg->interval_ms = conf->interval_ms;
    if (check_target_init(&reg->target, &wish) < 0 || reg->balancer == NULL || reg->instance == NULL) {
        registration_free(&reg);
        return -ENOMEM;
    }
    *ret = reg;
    return 0;
}

static int by_slot(const void *a, const void *b)
{
    const struct registration *const *x = a, *const *y = b;
    uintptr_t s = (uintptr_t)(*x)->slot, t = (uintptr_t)(*y)->slot;

    return s < t ? -1 : s > t;
}

static int plan_fill(struct plan *plan, const struct health_item *items, size_t count)
{
    plan->items = calloc(count + 1, sizeof(struct registration *));
    plan->by_slot = calloc(count + 1, sizeof(struct registration *));
    if (plan->items == NULL || plan->by_slot == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        if (!items[i].zone_enabled)
            continue;
        if (registration_new(&items[i], &plan->items[plan->count]) < 0)
            return -ENOMEM;
        plan->by_slot[plan->count] = plan->items[plan->count];
        plan->count++;
    }
    qsort(plan->by_slot, plan->count, sizeof(struct registration *), by_slot);
    return 0;
}

int plan_new(const struct health_item *items, size_t count, struct plan **ret)
{
    struct plan *plan = calloc(1, sizeof(*plan));
    int r;

    if (plan == NULL)
        return -ENOMEM;
    r = plan_fill(plan, items, count);
    if (r < 0) {
        plan_free(&plan);
        return r;
    }
    *ret = plan;
    return 0;
}

void plan_free(struct plan **plan)
{
    struct plan *p = *plan;

    *plan = NULL;
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->count; i++)
        registration_free(&p->items[i]);
    free(p->items);
    free(p->by_slot);
    free(p);
}

static struct registration *plan_find(const struct plan *plan, const struct registration *reg)
{
    struct registration **found = bsearch(&reg, plan->by_slot, plan->count, sizeof(struct registration *), by_slot);

    return found == NULL ? NULL : *found;
}

/* It goes when its check has ended; its result will not be counted. */
static void leave(struct registration *reg)
{
    list_remove(&reg->link);
    ring_timer_stop(reg->prober->ring, &reg->grid);
    if (check_running(&reg->check)) {
        list_append(&reg->prober->leaving, &reg->link);
        check_abandon(&reg->check);
        return;
    }
    registration_free(&reg);
}

/* Joins with the verdict that the board has, counts at zero; its first check starts at once. */
static void join(struct prober *prober, struct registration *reg)
{
    struct slot_status status = slot_status(reg->slot);

    reg->prober = prober;
    reg->phase = prober->added++ * GOLDEN_RATIO_32;
    reg->verdict = (struct verdict){ .state = status.state, .why = status.why };
    reg->state_since_us = clock_monotonic_us();
    check_init(&reg->check, &prober->checker, on_check);
    list_append(&prober->current, &reg->link);
    grid_set(reg);
    check_start(&reg->check, &reg->target);
}

/* Takes the place of one whose check was configured otherwise: same verdict and counts, a new grid. */
static void replace(struct registration *reg, struct registration *before)
{
    struct prober *prober = before->prober;

    reg->prober = prober;
    reg->phase = before->phase;
    reg->verdict = before->verdict;
    reg->state_since_us = before->state_since_us;
    reg->streak_since_us = before->streak_since_us;
    check_init(&reg->check, &prober->checker, on_check);
    list_append(&prober->current, &reg->link);
    grid_set(reg);
    if (slot_checked_at_us(reg->slot) == 0)
        check_start(&reg->check, &reg->target);
    leave(before);
}

static bool same_check(const struct registration *a, const struct registration *b)
{
    return a->interval_ms == b->interval_ms && check_target_equal(&a->target, &b->target);
}

static void plan_match(struct prober *prober, struct plan *plan)
{
    list_for_each_safe(link, &prober->current) {
        struct registration *old = list_entry(link, struct registration, link), *next = plan_find(plan, old);
        if (next == NULL)
            leave(old);
        else
            next->before = old;
    }
}

void prober_take(struct prober *prober, struct plan **plan)
{
    plan_match(prober, *plan);
    for (size_t i = 0; i < (*plan)->count; i++) {
        struct registration **reg = &(*plan)->items[i], *before = (*reg)->before;
        if (before != NULL && same_check(before, *reg)) {
            before->thresholds = (*reg)->thresholds;
            continue;                       /* the plan's copy goes with the plan */
        }
        if (before != NULL)
            replace(*reg, before);
        else
            join(prober, *reg);
        *reg = NULL;
    }
    plan_free(plan);
}

/* ---- the prober ---- */

int prober_new(struct ring *ring, struct prober **ret)
{
    struct prober *prober = calloc(1, sizeof(*prober));

    if (prober == NULL)
        return -ENOMEM;
    prober->ring = ring;
    checker_init(&prober->checker, ring);
    list_init(&prober->current);
    list_init(&prober->leaving);
    *ret = prober;
    return 0;
}

bool prober_empty(const struct prober *prober)
{
    return list_empty(&prober->current) && list_empty(&prober->leaving);
}

void prober_free(struct prober **prober)
{
    struct prober *p = *prober;

    *prober = NULL;
    if (p == NULL)
        return;
    assert(prober_empty(p));
    checker_fini(&p->checker);
    free(p);
}
