/*
 * Equal weights: whoever was picked longest ago is next; each pick draws a
 * ticket of the node. Weights: each pick moves an instance's turn on by a step
 * that is the smaller the greater its weight, and the smallest turn is next.
 * Who was away counts from where the node has got to: it is not owed what it
 * missed.
 * Either way one compare-and-swap takes the pick, so two workers can not take
 * the same one.
 */
#include "lb/pool.h"
#include "common/board.h"
#include "lb/generation.h"
#include "lb/instance.h"
#include "lb/pick.h"
#include <assert.h>
#include <string.h>

void tried_add(struct tried *tried, const struct instance *instance)
{
    tried->items[tried->count++ % TRIED_MAX] = instance;
}

bool tried_has(const struct tried *tried, const struct instance *instance)
{
    for (unsigned i = 0; i < tried->count && i < TRIED_MAX; i++)
        if (tried->items[i] == instance)
            return true;
    return false;
}

static struct instance_use *use_of(const struct node *node, const struct candidate *candidate)
{
    assert(node->index < candidate->instance->node_count);
    return &candidate->instance->uses[node->index];
}

static uint32_t weight_now(const struct candidate *candidate, const struct pool_ask *ask)
{
    uint32_t weight = candidate->weight * PICK_WEIGHT_UNIT;
    struct slot_status status;

    if (ask->slow_start_ms == 0 || weight == 0)
        return weight;
    status = slot_status(candidate->instance->slot);
    return pick_ramped(weight, ask->now_ms - status.since_ms, ask->slow_start_ms);
}

/* One look at all candidates. */
struct look {
    const struct node *node;
    const struct pool_ask *ask;
    bool any_state;
    bool by_turn;                       /* else by ticket */
    uint64_t reached;                   /* by turn: where the node has got to */
};

static struct look look_begin(const struct node *node, const struct pool_ask *ask, bool any_state)
{
    return (struct look){ .node = node, .ask = ask, .any_state = any_state, .by_turn = node->weighted || ask->slow_start_ms > 0,
                          .reached = atomic_load_explicit(node->turn, memory_order_relaxed) };
}

/* How a candidate stands in this choice; false: it does not. */
static bool standing(const struct look *look, size_t i, struct pick_standing *ret)
{
    const struct candidate *candidate = &look->node->candidates[i];
    const struct instance_use *use = use_of(look->node, candidate);

    if (!(look->any_state ? instance_open(candidate->instance) : instance_eligible(candidate->instance)) ||
        tried_has(look->ask->tried, candidate->instance))
        return false;
    ret->index = i;
    ret->weight = weight_now(candidate, look->ask);
    ret->turn_seen = atomic_load_explicit(look->by_turn ? &use->turn : &use->last, memory_order_relaxed);
    ret->turn = look->by_turn ? pick_ahead(ret->turn_seen, look->reached) : ret->turn_seen;
    ret->outstanding = atomic_load_explicit(&use->outstanding, memory_order_relaxed);
    ret->full = candidate->outstanding_max > 0 && ret->outstanding >= candidate->outstanding_max;
    ret->key = look->ask->algorithm == ALGORITHM_SOURCE_HASH ? candidate->instance->hash : 0;
    return ret->weight > 0;
}

/* The places of an instance are counted over all workers: who comes too many steps back. */
static bool place_take(const struct node *node, const struct candidate *candidate)
{
    struct instance_use *use = use_of(node, candidate);
    unsigned before = atomic_fetch_add_explicit(&use->outstanding, 1, memory_order_acq_rel);

    if (candidate->outstanding_max == 0 || before < candidate->outstanding_max)
        return true;
    atomic_fetch_sub_explicit(&use->outstanding, 1, memory_order_acq_rel);
    return false;
}

/* false: another worker has taken it since it was looked at. */
static bool turn_take(const struct look *look, const struct pick_standing *chosen)
{
    struct instance_use *use = use_of(look->node, &look->node->candidates[chosen->index]);
    uint64_t expected = chosen->turn_seen, turn = look->reached + chosen->turn;

    if (!look->by_turn)
        return atomic_compare_exchange_strong(&use->last, &expected, 1 + atomic_fetch_add(look->node->tickets, 1));
    if (!atomic_compare_exchange_strong(&use->turn, &expected, turn + pick_step(chosen->weight)))
        return false;
    if (chosen->turn > 0)               /* a race sets it back by a few picks */
        atomic_store_explicit(look->node->turn, turn, memory_order_relaxed);
    return true;
}

static enum pick choose(const struct look *look, struct pick_state *state)
{
    struct pick_standing s;

    pick_begin(state, look->ask->algorithm, look->ask->client, look->ask->random);
    for (size_t i = 0; i < look->node->candidate_count; i++)
        if (standing(look, i, &s))
            pick_offer(state, &s);
    if (pick_end(state))
        return PICK_ONE;
    return state->seen_full ? PICK_FULL : PICK_NONE;
}

/* One attempt. PICK_ONE with *ret NULL: another worker was faster; look again. */
static enum pick attempt(const struct node *node, const struct pool_ask *ask, struct instance **ret)
{
    struct look look = look_begin(node, ask, ask->fail_open && !pool_any_eligible(node));
    struct pick_state state;
    enum pick result = choose(&look, &state);
    const struct candidate *candidate;

    *ret = NULL;
    if (result != PICK_ONE)
        return result;
    candidate = &node->candidates[state.chosen.index];
    if (!turn_take(&look, &state.chosen) || !place_take(node, candidate))
        return PICK_ONE;
    *ret = instance_ref(candidate->instance);
    return PICK_ONE;
}

enum pick pool_pick(const struct node *node, const struct pool_ask *ask, struct instance **ret)
{
    enum pick result;

    do {
        result = attempt(node, ask, ret);
    } while (result == PICK_ONE && *ret == NULL);
    return result;
}

static size_t candidate_named(const struct node *node, const char *id)
{
    size_t i = 0;

    while (i < node->candidate_count && strcmp(node->candidates[i].instance->id, id) != 0)
        i++;
    return i;
}

enum pick pool_pick_named(const struct node *node, const struct pool_ask *ask, const char *id, struct instance **ret)
{
    struct look look = look_begin(node, ask, false);
    size_t i = candidate_named(node, id);
    struct pick_standing s;

    if (i == node->candidate_count || !standing(&look, i, &s))
        return PICK_NONE;
    if (!place_take(node, &node->candidates[i]))
        return PICK_FULL;
    atomic_fetch_add(&use_of(node, &node->candidates[i])->turn, pick_step(s.weight));
    atomic_store(&use_of(node, &node->candidates[i])->last, 1 + atomic_fetch_add(node->tickets, 1));
    *ret = instance_ref(node->candidates[i].instance);
    return PICK_ONE;
}

void pool_release(unsigned node_index, struct instance **instance)
{
    unsigned before = atomic_fetch_sub(&(*instance)->uses[node_index].outstanding, 1);      /* in one order with surge_enter(), pool_look() */

    assert(before > 0);
    (void)before;
    instance_unref(instance);
}

enum pick pool_look(const struct node *node, bool fail_open)
{
    bool any_state = fail_open && !pool_any_eligible(node);
    enum pick result = PICK_NONE;

    for (size_t i = 0; i < node->candidate_count; i++) {
        const struct candidate *c = &node->candidates[i];
        if (c->weight == 0 || !(any_state ? instance_open(c->instance) : instance_eligible(c->instance)))
            continue;
        if (c->outstanding_max == 0 || atomic_load(&use_of(node, c)->outstanding) < c->outstanding_max)
            return PICK_ONE;
        result = PICK_FULL;
    }
    return result;
}

bool pool_any_eligible(const struct node *node)
{
    for (size_t i = 0; i < node->candidate_count; i++)
        if (instance_eligible(node->candidates[i].instance))
            return true;
    return false;
}

bool pool_any_unchecked(const struct node *node)
{
    for (size_t i = 0; i < node->candidate_count; i++)
        if (instance_open(node->candidates[i].instance) && slot_checked_at_us(node->candidates[i].instance->slot) == 0)
            return true;
    return false;
}
