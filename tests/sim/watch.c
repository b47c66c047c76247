#include "watch.h"
#include "alloc.h"
#include "common/board.h"
#include "common/clock.h"
#include "lb/generation.h"
#include "lb/instance.h"
#include "lb/pool.h"
#include "lb/worker.h"
#include "rig.h"
#include <string.h>

#define SPANS 512                   /* changes of one instance that are remembered */
#define SLACK_US 500000             /* network and turns, beside what the plan's stalls add */
#define BLAME_US 100000             /* a manner may show so much later */
#define RESULTS_MOST 8             /* of one registration in one step */
#define NODES_MOST 2
#define QUEUE_SLACK_US 50000        /* from room to who waits for it, beside what is late by plan */

struct spans {                      /* what it was from `at` on; the oldest are forgotten */
    struct { uint64_t at_us; unsigned what; } list[SPANS];
    size_t count;
};

static struct watch {
    const struct plan *plan;
    unsigned changes;               /* rig's, when places were looked up */
    uint64_t fault_us;              /* when the n-th of a fault loop failed, or the last of those; 0: not yet */
    uint64_t failed;                /* allocations so far */
    struct door { struct spans states; bool settled; } doors[PLAN_BALANCERS][2];     /* its first and second listener */
    struct place {
        const struct instance *instance;
        const struct balancer *balancer;
        struct spans manner, eligible;
        uint64_t known_us;              /* since when every worker knows of it; UINT64_MAX: not yet */
        /* the verdict as it must be */
        const struct slot *slot;
        uint64_t checked_us;
        enum slot_state state;
        unsigned passes, failures;
        struct check_record last;           /* the newest result */
        uint64_t streak;                    /* results so far */
        uint64_t last_opened_us;
        bool last_passes;
    } places[PLAN_INSTANCES];
    uint64_t room_since_us[PLAN_BALANCERS][NODES_MOST];     /* somebody waits beside room since then; 0: nobody does */
} watch;

static void spans_add(struct spans *spans, unsigned what)
{
    if (spans->count > 0 && spans->list[spans->count - 1].what == what)
        return;
    if (spans->count == SPANS) {
        memmove(&spans->list[0], &spans->list[SPANS / 2], SPANS / 2 * sizeof(spans->list[0]));
        spans->count = SPANS / 2;
    }
    spans->list[spans->count].at_us = world_now_us();
    spans->list[spans->count++].what = what;
}

/* The bits of what it was at any time in [from, to]. */
static unsigned spans_within(const struct spans *spans, uint64_t from, uint64_t to)
{
    unsigned seen = 0;

    for (size_t i = spans->count; i-- > 0;) {
        if (spans->list[i].at_us <= to)
            seen |= 1u << spans->list[i].what;
        if (spans->list[i].at_us <= from)
            return seen;
    }
    return seen;
}

void watch_begin(const struct plan *plan)
{
    memset(&watch, 0, sizeof(watch));
    watch.plan = plan;
    for (unsigned b = 0; b < PLAN_BALANCERS; b++)
        for (unsigned i = 0; i < 2; i++)
            spans_add(&watch.doors[b][i].states, DOOR_MOVING);
    for (unsigned i = 0; i < PLAN_INSTANCES; i++) {
        spans_add(&watch.places[i].manner, MANNER_WELL);
        spans_add(&watch.places[i].eligible, false);
    }
}

/* ---- listeners ---- */

static bool listened_on(uint16_t port)
{
    const struct generation *generation = rig_generation();

    for (size_t b = 0; generation != NULL && b < generation->balancer_count; b++)
        for (size_t i = 0; i < generation->balancers[b].conf->listener_count; i++)
            if (generation->balancers[b].conf->listeners[i].port == port)
                return true;
    return false;
}

/* Sockets are made before the newest generation is known, and closed after. */
static void door_look(struct door *door, uint16_t port)
{
    bool open = port != 0 && listened_on(port);

    if (!rig_changing())
        door->settled = open;
    spans_add(&door->states, !rig_changing() ? (open ? DOOR_OPEN : DOOR_CLOSED) : open && door->settled ? DOOR_OPEN : DOOR_MOVING);
}

static void doors_look(void)
{
    for (unsigned b = 0; b < PLAN_BALANCERS; b++) {
        door_look(&watch.doors[b][0], watch.plan->balancers[b].port);
        door_look(&watch.doors[b][1], watch.plan->balancers[b].second_port);
    }
}

unsigned watch_door_within(unsigned balancer, bool second, uint64_t from, uint64_t to)
{
    return spans_within(&watch.doors[balancer][second].states, from, to);
}

uint64_t watch_door_left_us(unsigned balancer, bool second, uint64_t from)
{
    const struct spans *states = &watch.doors[balancer][second].states;
    uint64_t left_us = UINT64_MAX;

    for (size_t i = states->count; i-- > 0;) {
        if (states->list[i].what != DOOR_OPEN)
            left_us = states->list[i].at_us > from ? states->list[i].at_us : from;
        if (states->list[i].at_us <= from)
            break;
    }
    return left_us;
}

void watch_end(void)
{
    watch.plan = NULL;
}

/* ---- where it is in the newest generation ---- */

static void place_find(struct place *place, unsigned index)
{
    const struct generation *generation = rig_generation();
    struct addr address = plan_instance_address(index);
    const struct instance *before = place->instance;

    place->instance = NULL;
    for (size_t b = 0; generation != NULL && b < generation->balancer_count; b++)
        for (size_t i = 0; i < generation->balancers[b].registered_count; i++) {
            const struct instance *instance = generation->balancers[b].instances[i];
            if (!addr_equal_host(&instance->address, &address))
                continue;
            place->instance = instance;
            place->balancer = &generation->balancers[b];
        }
    if (place->instance != before)
        place->known_us = UINT64_MAX;
}

static void places_find(void)
{
    if (watch.changes == rig_changes())
        return;
    watch.changes = rig_changes();
    for (unsigned i = 0; i < PLAN_INSTANCES; i++)
        place_find(&watch.places[i], i);
}

/* ---- verdicts ---- */

static const struct config_health_check *check_of(const struct place *place)
{
    return &place->balancer->conf->health_check;
}

/* docs/HEALTH.md, "States", told a second time. */
static void fold(struct place *place, enum check_reason reason)
{
    const struct config_health_check *check = check_of(place);
    bool passed = reason == CHECK_OK;

    if (reason == CHECK_LOCAL)
        return;
    place->passes = passed ? place->passes + 1 : 0;
    place->failures = passed ? 0 : place->failures + 1;
    if (passed && (place->state == SLOT_NEW || place->passes >= check->healthy_threshold))
        place->state = SLOT_IN_SERVICE;
    else if (!passed && place->failures >= check->unhealthy_threshold)
        place->state = SLOT_OUT_OF_SERVICE;
}

static bool quiet_plan(void)
{
    const struct kernel_faults *f = &watch.plan->faults;

    if (alloc_nth_reached() || kernel_nth_reached())
        return false;
    if (f->late + f->emfile + f->enomem + f->short_moves + f->buffers + f->cq_entries + f->early_wakes + f->multishot_ends > 0)
        return false;
    return watch.plan->stall_permille == 0 && watch.plan->net.syn_lost == 0;
}

static bool any_acts(void)
{
    for (size_t i = 0; i < PLAN_ACTS; i++)
        if (watch.plan->acts[i].present)
            return true;
    return false;
}

/* Points are phase + k * interval: with nobody to disturb them, results are an interval apart, from the third on: the second may have had
 * to wait for the first, which is made at once. */
static void spacing_check(const struct place *place, unsigned index, uint64_t at_ms)
{
    uint64_t gap = at_ms - place->last.at_ms, interval = check_of(place)->interval_ms;

    if (place->streak < 3 || any_acts() || !quiet_plan() || rig_counted(COUNT_BACK_ERRORS) > 0)
        return;                         /* traffic that failed has extra checks made */
    if (gap + 2 < interval || gap > interval + 2)
        world_fail("watch: instance %u: checks %llu ms apart, the interval is %llu ms", index, (unsigned long long)gap, (unsigned long long)interval);
}

static bool same_record(const struct check_record *a, const struct check_record *b)
{
    return a->at_ms == b->at_ms && a->duration_us == b->duration_us && a->reason == b->reason;
}

/* What halb itself lacks is no fault of an instance. A completion that is turned into an error may be a reset, which is one. */
static void blame_look(const struct place *place, unsigned index, const struct check_record *record)
{
    if (record->reason == CHECK_OK || record->reason == CHECK_LOCAL || watch.fault_us == 0)
        return;
    if (watch.plan->nth > 0 && watch.plan->nth_what == NTH_COMPLETION)
        return;
    if (spans_within(&place->manner, world_now_us() - record->duration_us - BLAME_US, world_now_us()) == 1u << MANNER_WELL)
        world_fail("watch: instance %u is well, and a check of it failed: reason %d", index, record->reason);
}

/* Folds what has come since the last look; the newest is first in the history. */
static void results_fold(struct place *place, unsigned index)
{
    struct check_record records[RESULTS_MOST];
    size_t count = slot_history(place->slot, records, RESULTS_MOST), fresh = 0;

    while (fresh < count && !(place->streak > 0 && same_record(&records[fresh], &place->last)))
        fresh++;
    if (fresh == 0)
        world_fail("watch: instance %u: a result, and no record of it", index);
    while (fresh-- > 0) {
        spacing_check(place, index, records[fresh].at_ms);
        blame_look(place, index, &records[fresh]);
        fold(place, records[fresh].reason);
        place->last = records[fresh];
        place->streak++;
    }
}

static void result_look(struct place *place, unsigned index)
{
    enum slot_state now = slot_status(place->slot).state;

    results_fold(place, index);
    if (rig_changing())
        place->state = now;             /* thresholds may be the ones before or the ones after */
    if (place->state != now)
        world_fail("watch: instance %u is in state %d after %u passes, %u failures in a row; it should be in %d (thresholds %u, %u)", index, now,
                   place->passes, place->failures, place->state, check_of(place)->unhealthy_threshold, check_of(place)->healthy_threshold);
    if (place->last.reason == CHECK_OK && quiet_plan() && place->last_opened_us != 0 && !place->last_passes &&
        world_now_us() - place->last_opened_us < check_of(place)->timeout_ms * 1000 &&
        !(spans_within(&place->manner, place->last_opened_us, world_now_us()) & 1u << MANNER_WELL))
        world_fail("watch: instance %u: a check passed that the instance had failed", index);
}

/* May it have new work? Not asked of halb, which is on trial. */
static bool eligible(const struct instance *instance)
{
    enum slot_admin admin = slot_admin(instance->slot);

    if (atomic_load(&instance->phase) != INSTANCE_REGISTERED || admin == ADMIN_OUT || admin == ADMIN_DRAIN)
        return false;
    return admin == ADMIN_IN || slot_status(instance->slot).state == SLOT_IN_SERVICE;
}

static void slot_look(struct place *place, unsigned index)
{
    const struct slot *slot = place->instance->slot;
    uint64_t checked = slot_checked_at_us(slot);

    if (slot != place->slot) {
        place->slot = slot;
        place->checked_us = 0;
        place->state = slot_status(slot).state;
        place->passes = place->failures = 0;
        place->streak = 0;
    }
    if (checked == place->checked_us) {
        if (slot_status(slot).state != place->state && !rig_changing())
            world_fail("watch: instance %u: its state went from %d to %d without a result", index, place->state, slot_status(slot).state);
        return;
    }
    result_look(place, index);
    place->checked_us = checked;
}

/* ---- bounds ---- */

/* A TCP check asks no more than a connection, which a kernel gives by itself: so who is sick refuses it. */
static bool fails_checks(enum manner manner, enum protocol protocol)
{
    return manner == MANNER_SICK || manner == MANNER_DOWN || manner == MANNER_DARK || (protocol == PROTOCOL_HTTP && manner == MANNER_STOPPED);
}

/* Since when has its manner failed checks? 0: it does not. */
static uint64_t failing_since(const struct spans *manner, enum protocol protocol)
{
    uint64_t since = 0;

    for (size_t i = manner->count; i-- > 0 && fails_checks((enum manner)manner->list[i].what, protocol);)
        since = manner->list[i].at_us;
    return since;
}

/* docs/HEALTH.md, "Detection". A check under way when it began to fail may still pass. */
static void detection_look(const struct place *place, unsigned index)
{
    const struct config_health_check *check = check_of(place);
    uint64_t since = failing_since(&place->manner, check->target.protocol), most_us = (check->unhealthy_threshold * check->interval_ms + check->timeout_ms) * 1000;

    if (since == 0 || place->state != SLOT_IN_SERVICE || !quiet_plan() || rig_stopping())
        return;
    for (size_t i = 0; i < PLAN_ACTS; i++)
        if (watch.plan->acts[i].present && watch.plan->acts[i].kind != ACT_MANNER && watch.plan->acts[i].kind != ACT_ADMIN)
            return;                     /* a new grid, or a new registration */
    if (world_now_us() > since + most_us + SLACK_US + watch.plan->net.delay_max_us * 6)
        world_fail("watch: instance %u has failed its checks for %llu ms and is in service still", index, (unsigned long long)(world_now_us() - since) / 1000);
}

/* ---- the surge queue ---- */

/* Who has failed where there is room stands aside, and may wait for another instance. */
static bool any_wants(const struct surge *surge)
{
    return atomic_load(&surge->waiting) > surge->aside;
}

/* Nobody sleeps beside room: who waits is called when an instance may take more, and who can not use it calls the next, each as late as the
 * plan has it. */
static void queue_look(const struct balancer *balancer, unsigned node, uint64_t *since_us)
{
    const struct surge *surge = &balancer->live->nodes[balancer->nodes[node].index].surge;
    uint64_t calls = 1 + atomic_load(&surge->waiting), late_us = watch.plan->stall_max_us + 2 * watch.plan->faults.late_max_us;
    uint64_t now = world_now_us(), most_us = QUEUE_SLACK_US + calls * late_us;

    if (!any_wants(surge) || rig_changing() || rig_stopping() ||
        pool_look(&balancer->nodes[node], balancer->conf->attributes.fail_open) != PICK_ONE) {
        *since_us = 0;
        return;
    }
    *since_us = *since_us == 0 ? now : *since_us;
    if (now > *since_us + most_us)
        world_fail("watch: balancer %s, node %u: work waits in the queue for %llu ms although an instance may take it", balancer->conf->name, node,
                   (unsigned long long)(now - *since_us) / 1000);
}

static void queues_look(void)
{
    const struct generation *generation = rig_generation();

    for (size_t b = 0; generation != NULL && b < generation->balancer_count && b < PLAN_BALANCERS; b++)
        for (unsigned n = 0; n < generation->balancers[b].node_count && n < NODES_MOST; n++)
            queue_look(&generation->balancers[b], n, &watch.room_since_us[b][n]);
}

void watch_look(void)
{
    if (alloc_failed() != watch.failed || (watch.fault_us == 0 && kernel_nth_reached()))
        watch.fault_us = world_now_us();
    watch.failed = alloc_failed();
    places_find();
    queues_look();
    doors_look();
    for (unsigned i = 0; i < PLAN_INSTANCES; i++) {
        struct place *place = &watch.places[i];
        if (place->instance == NULL) {
            place->slot = NULL;
            spans_add(&place->eligible, false);
            continue;
        }
        if (place->known_us == UINT64_MAX && !rig_changing())
            place->known_us = world_now_us();
        slot_look(place, i);
        detection_look(place, i);
        spans_add(&place->eligible, eligible(place->instance));
    }
}

/* ---- told and asked ---- */

void watch_manner(unsigned instance, enum manner manner)
{
    spans_add(&watch.places[instance].manner, manner);
}

enum manner watch_manner_of(unsigned instance)
{
    const struct spans *manner = &watch.places[instance].manner;

    return (enum manner)manner->list[manner->count - 1].what;
}

void watch_check(unsigned instance, uint64_t opened_us, bool passes)
{
    watch.places[instance].last_opened_us = opened_us;
    watch.places[instance].last_passes = passes;
}

bool watch_bad_within(unsigned instance, uint64_t from, uint64_t to)
{
    unsigned good = 1u << MANNER_WELL | 1u << MANNER_SLOW;

    if (watch.plan->balancers[watch.plan->instances[instance].balancer].http_check)
        good |= 1u << MANNER_SICK;

    return (spans_within(&watch.places[instance].manner, from, to) & ~good) != 0;
}

bool watch_eligible_within(unsigned instance, uint64_t from, uint64_t to)
{
    return (spans_within(&watch.places[instance].eligible, from, to) & 2u) != 0;
}

bool watch_eligible_throughout(unsigned instance, uint64_t from, uint64_t to)
{
    return watch.places[instance].known_us <= from && spans_within(&watch.places[instance].eligible, from, to) == 2u;
}

uint64_t watch_fault_us(void)
{
    return watch.fault_us;
}

bool watch_registered(unsigned instance)
{
    return watch.places[instance].instance != NULL;
}

const struct instance *watch_instance(unsigned instance)
{
    return watch.places[instance].instance;
}
