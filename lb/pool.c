/*
 * Equal weights: whoever was picked longest ago is next; each pick draws a
 * ticket of the node. Weights: each pick moves an instance's turn on by a step
 * that is the smaller the greater its weight, and the smallest turn is next.
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

static bool by_turn(const struct node *node, const struct pool_ask *ask)
{
    return node->weighted || ask->slow_start_ms > 0;
}

/* How a candidate stands in this choice; false: it does not. */
static bool standing(const struct node *node, size_t i, const struct pool_ask *ask, bool any_state, struct pick_standing *ret)
{
    const struct candidate *candidate = &node->candidates[i];
    const struct instance_use *use = use_of(node, candidate);

    if (!(any_state ? instance_open(candidate->instance) : instance_eligible(candidate->instance)) || tried_has(ask->tried, candidate->instance))
        return false;
    ret->index = i;
    ret->weight = weight_now(candidate, ask);
    ret->turn = atomic_load_explicit(by_turn(node, ask) ? &use->turn : &use->last, memory_order_relaxed);
    ret->outstanding = atomic_load_explicit(&use->outstanding, memory_order_relaxed);
    ret->full = candidate->outstanding_max > 0 && ret->outstanding >= candidate->outstanding_max;
    ret->key = ask->algorithm == ALGORITHM_SOURCE_HASH ? candidate->instance->hash : 0;
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
static bool turn_take(const struct node *node, const struct pool_ask *ask, const struct pick_state *state)
{
    const struct pick_standing *chosen = &state->chosen;
    struct instance_use *use = use_of(node, &node->candidates[chosen->index]);
    uint64_t expected = chosen->turn, floor = pick_floor(state);

    if (by_turn(node, ask))
        return atomic_compare_exchange_strong(&use->turn, &expected, (chosen->turn > floor ? chosen->turn : floor) + pick_step(chosen->weight));
    return atomic_compare_exchange_strong(&use->last, &expected, 1 + atomic_fetch_add(node->tickets, 1));
}

static enum pick choose(const struct node *node, const struct pool_ask *ask, bool any_state, struct pick_state *state)
{
    struct pick_standing s;

    pick_begin(state, ask->algorithm, ask->client, ask->random);
    for (size_t i = 0; i < node->candidate_count; i++)
        if (standing(node, i, ask, any_state, &s))
            pick_offer(state, &s);
    if (pick_end(state))
        return PICK_ONE;
    return state->seen_full ? PICK_FULL : PICK_NONE;
}

/* One attempt. PICK_ONE with *ret NULL: another worker was faster; look again. */
static enum pick attempt(const struct node *node, const struct pool_ask *ask, struct instance **ret)
{
    struct pick_state state;
    enum pick result = choose(node, ask, false, &state);
    const struct candidate *candidate;

    if (result == PICK_NONE && ask->fail_open && !pool_any_eligible(node))
        result = choose(node, ask, true, &state);
    *ret = NULL;
    if (result != PICK_ONE)
        return result;
    candidate = &node->candidates[state.chosen.index];
    if (!turn_take(node, ask, &state) || !place_take(node, candidate))
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
    size_t i = candidate_named(node, id);
    struct pick_standing s;

    if (i == node->candidate_count || !standing(node, i, ask, false, &s))
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
    unsigned before = atomic_fetch_sub_explicit(&(*instance)->uses[node_index].outstanding, 1, memory_order_acq_rel);

    assert(before > 0);
    (void)before;
    instance_unref(instance);
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
