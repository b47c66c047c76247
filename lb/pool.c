/*
 * An instance's use by one node is one word: outstanding work above, below it
 * the turn of the last pick. Comparing words compares load first and then who
 * has waited longest, and one compare-and-swap takes the turn: two workers can
 * not take the same one.
 */
#include "lb/pool.h"
#include "common/board.h"
#include "lb/generation.h"
#include "lb/instance.h"
#include <assert.h>

#define ONE_USE (UINT64_C(1) << INSTANCE_USE_SHIFT)
#define TURN_MASK (ONE_USE - 1)

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

static atomic_uint_least64_t *word_of(const struct node *node, const struct instance *instance)
{
    assert(node->index < instance->node_count);
    return &instance->uses[node->index].word;
}

struct choice {
    struct instance *instance;
    uint64_t word, rank, latest;    /* its word as read; what decides; the newest turn of all candidates */
};

static struct choice choose(const struct node *node, enum pool_rule rule, bool any_state, const struct tried *tried)
{
    struct choice best = { .rank = UINT64_MAX };

    for (size_t i = 0; i < node->candidate_count; i++) {
        struct instance *candidate = node->candidates[i];
        uint64_t word = atomic_load_explicit(word_of(node, candidate), memory_order_relaxed);
        uint64_t rank = rule == POOL_ROUND_ROBIN ? word & TURN_MASK : word;
        if ((word & TURN_MASK) > best.latest)
            best.latest = word & TURN_MASK;
        if (rank >= best.rank && best.instance != NULL)
            continue;
        if (!(any_state ? instance_open(candidate) : instance_eligible(candidate)) || tried_has(tried, candidate))
            continue;
        best.instance = candidate;
        best.word = word;
        best.rank = rank;
    }
    return best;
}

/* Turns are 44 bits: after 2^44 picks of a node all start again from nought, and equal shares with them. */
static void turns_restart(const struct node *node)
{
    for (size_t i = 0; i < node->candidate_count; i++)
        atomic_fetch_and_explicit(word_of(node, node->candidates[i]), ~TURN_MASK, memory_order_relaxed);
}

struct instance *pool_pick(const struct node *node, enum pool_rule rule, bool fail_open, const struct tried *tried)
{
    for (;;) {
        struct choice c = choose(node, rule, false, tried);
        if (c.instance == NULL && fail_open && !pool_any_eligible(node))
            c = choose(node, rule, true, tried);
        if (c.instance == NULL)
            return NULL;
        if (c.latest >= TURN_MASK - 1) {
            turns_restart(node);
            continue;
        }
        if (atomic_compare_exchange_strong_explicit(word_of(node, c.instance), &c.word,
                                                    ((c.word & ~TURN_MASK) + ONE_USE) | (c.latest + 1),
                                                    memory_order_acq_rel, memory_order_relaxed))
            return instance_ref(c.instance);
    }
}

void pool_release(unsigned node_index, struct instance **instance)
{
    uint64_t before = atomic_fetch_sub_explicit(&(*instance)->uses[node_index].word, ONE_USE, memory_order_acq_rel);

    assert(before >= ONE_USE);
    (void)before;
    instance_unref(instance);
}

bool pool_any_eligible(const struct node *node)
{
    for (size_t i = 0; i < node->candidate_count; i++)
        if (instance_eligible(node->candidates[i]))
            return true;
    return false;
}

bool pool_any_unchecked(const struct node *node)
{
    for (size_t i = 0; i < node->candidate_count; i++)
        if (instance_open(node->candidates[i]) && slot_checked_at_us(node->candidates[i]->slot) == 0)
            return true;
    return false;
}
