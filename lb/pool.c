/*
 * Equal weights: whoever was picked longest ago is next; each pick draws a
 * ticket of the node. Weights: each pick moves an instance's turn on by a step
 * that is the smaller the greater its weight, and the smallest turn is next.
 * Who was away counts from where the node has got to: it is not owed what it
 * missed.
 * Either way one compare-and-swap takes the pick, so two workers can not take
 * the same one.
 * With few candidates each is looked at. The candidates of a large node are
 * ranked beside that; whoever changes what a rank is made of, by whatever way,
 * brings the rank up to date right after it, under the lock of the node.
 */
#include "lb/pool.h"
#include "common/board.h"
#include "lb/generation.h"
#include "lb/instance.h"
#include "lb/pick.h"
#include "lb/ranking.h"
#include <assert.h>
#include <string.h>

#define DRAWS_MAX 64

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
                          .reached = atomic_load_explicit(&node->shared->turn, memory_order_relaxed) };
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
    ret->turn_seen = atomic_load(look->by_turn ? &use->turn : &use->last);     /* in one order with rank_again() */
    ret->turn = look->by_turn ? pick_ahead(ret->turn_seen, look->reached) : ret->turn_seen;
    ret->outstanding = atomic_load(&use->outstanding);
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
        return atomic_compare_exchange_strong(&use->last, &expected, 1 + atomic_fetch_add(&look->node->shared->tickets, 1));
    if (!atomic_compare_exchange_strong(&use->turn, &expected, turn + pick_step(chosen->weight)))
        return false;
    if (chosen->turn > 0)               /* a race sets it back by a few picks */
        atomic_store_explicit(&look->node->shared->turn, turn, memory_order_relaxed);
    return true;
}

static bool take(const struct look *look, const struct pick_standing *chosen, struct instance **ret)
{
    const struct candidate *candidate = &look->node->candidates[chosen->index];

    if (!turn_take(look, chosen) || !place_take(look->node, candidate))
        return false;
    *ret = instance_ref(candidate->instance);
    return true;
}

/* ---- large nodes: the ranking ---- */

static uint64_t level(uint64_t turn, uint64_t reached)
{
    return reached + pick_ahead(turn, reached);
}

/* What a use of this instance is ranked by has changed. An older generation's ranking does not count, and the newest may not have it. */
static void rank_again(const struct instance *instance, unsigned node_index)
{
    const struct instance_use *use = &instance->uses[node_index];
    struct shared_node *shared = instance->live == NULL ? NULL : &instance->live->nodes[node_index];
    struct ranking *ranking;

    if (shared == NULL || atomic_load(&shared->ranking) == NULL)
        return;
    pthread_mutex_lock(&shared->ranking_lock);
    ranking = atomic_load_explicit(&shared->ranking, memory_order_relaxed);
    if (use->place < ranking->count && ranking->ranks[use->place].who == use) {
        struct rank rank = ranking->ranks[use->place];
        rank.outstanding = atomic_load(&use->outstanding);
        rank.turn = ranking->by_turn ? level(atomic_load(&use->turn), atomic_load(&shared->turn)) : atomic_load(&use->last);
        ranking_set(ranking, use->place, &rank);
    }
    pthread_mutex_unlock(&shared->ranking_lock);
}

static struct rank rank_of(const struct look *look, size_t i)
{
    const struct candidate *candidate = &look->node->candidates[i];
    struct rank rank = { .who = use_of(look->node, candidate), .weight = candidate->weight * PICK_WEIGHT_UNIT, .outstanding_max = candidate->outstanding_max };
    struct pick_standing s;

    rank.out = !standing(look, i, &s);
    if (rank.out)
        return rank;
    rank.outstanding = s.outstanding;
    rank.turn = look->by_turn ? look->reached + s.turn : s.turn;
    return rank;
}

static uint64_t ramp_end_ms(const struct node *node, const struct pool_ask *ask)
{
    uint64_t end = 0;

    for (size_t i = 0; ask->slow_start_ms > 0 && i < node->candidate_count; i++) {
        struct slot_status status = slot_status(node->candidates[i].instance->slot);
        if (status.since_ms + ask->slow_start_ms > end)
            end = status.since_ms + ask->slow_start_ms;
    }
    return end;
}

static void fill(const struct node *node, const struct pool_ask *ask)
{
    struct ranking *ranking = node->ranking;
    struct look look;

    ranking->changes = board_changes(node->board);      /* what changes from here on is looked at next time */
    ranking->any_state = !pool_any_eligible(node);
    look = look_begin(node, ask, ranking->any_state);
    ranking->by_turn = look.by_turn;
    ranking->ramps_until_ms = ramp_end_ms(node, ask);
    for (size_t i = 0; i < node->candidate_count; i++)
        ranking->ranks[i] = rank_of(&look, i);
    ranking_order(ranking);
    ranking->filled = true;
}

/* The ranking that counts is that of the newest generation that has picked. */
static bool install(const struct node *node)
{
    struct shared_node *shared = node->shared;
    struct ranking *before = atomic_load_explicit(&shared->ranking, memory_order_relaxed);

    if (before == node->ranking)
        return true;
    if (before != NULL && before->number > node->ranking->number)
        return false;
    for (size_t i = 0; i < node->candidate_count; i++)
        use_of(node, &node->candidates[i])->place = (uint32_t)i;
    atomic_store(&shared->ranking, ranking_ref(node->ranking));         /* from here on who changes a use waits for us */
    ranking_unref(&before);
    return true;
}

static bool is_current(const struct node *node)
{
    return node->ranking->filled && node->ranking->changes == board_changes(node->board);
}

/* Work that was sent nowhere yet, by an exact algorithm. */
static bool may_rank(const struct node *node, const struct pool_ask *ask)
{
    return node->ranking != NULL && ask->tried->count == 0 &&
           (ask->algorithm == ALGORITHM_LEAST_OUTSTANDING || ask->algorithm == ALGORITHM_ROUND_ROBIN);
}

static bool has_moved(const struct look *look, const struct rank *rank, const struct pick_standing *s)
{
    return rank->outstanding != s->outstanding || s->turn != (look->by_turn ? pick_ahead(rank->turn, look->reached) : rank->turn);
}

/* One attempt, under the lock. PICK_ONE with *ret NULL: what was ranked first was not up to date; it is now. */
static enum pick ranked_attempt(const struct node *node, const struct pool_ask *ask, struct instance **ret)
{
    struct ranking *ranking = node->ranking;
    struct look look = look_begin(node, ask, ranking->any_state);
    size_t i = ranking_first(ranking, ask->algorithm);
    struct pick_standing s;
    struct rank rank;

    *ret = NULL;
    if (ranking->ranks[i].out || (ranking->any_state && !ask->fail_open))
        return PICK_NONE;
    if (!standing(&look, i, &s)) {
        fill(node, ask);
        return PICK_ONE;
    }
    if (!has_moved(&look, &ranking->ranks[i], &s)) {
        if (s.full)
            return PICK_FULL;
        take(&look, &s, ret);
    }
    rank = rank_of(&look, i);
    ranking_set(ranking, i, &rank);
    return PICK_ONE;
}

/* false: the ranking can not say. (While somebody ramps, weights change by the millisecond.) */
static bool ranked_pick(const struct node *node, const struct pool_ask *ask, struct instance **ret, enum pick *result)
{
    bool ranked;

    if (!may_rank(node, ask))
        return false;
    pthread_mutex_lock(&node->shared->ranking_lock);
    ranked = install(node);
    if (ranked && !is_current(node))
        fill(node, ask);
    ranked = ranked && ask->now_ms >= node->ranking->ramps_until_ms;
    do {
        *result = ranked ? ranked_attempt(node, ask, ret) : PICK_NONE;
    } while (*result == PICK_ONE && *ret == NULL);
    pthread_mutex_unlock(&node->shared->ranking_lock);
    return ranked;
}

static bool ranked_look(const struct node *node, bool fail_open, enum pick *result)
{
    struct ranking *ranking = node->ranking;
    bool ranked;
    size_t i;

    if (ranking == NULL)
        return false;
    pthread_mutex_lock(&node->shared->ranking_lock);
    ranked = atomic_load_explicit(&node->shared->ranking, memory_order_relaxed) == ranking && is_current(node);
    i = ranked ? ranking_foremost(ranking) : 0;
    if (ranking->ranks[i].out || (ranking->any_state && !fail_open))
        *result = PICK_NONE;
    else
        *result = rank_full(&ranking->ranks[i]) ? PICK_FULL : PICK_ONE;
    pthread_mutex_unlock(&node->shared->ranking_lock);
    return ranked && (*result == PICK_NONE || instance_open(node->candidates[i].instance));
}

/* ---- random two of a large node: draws, before a look at each ---- */

/* Each as often as its weight says. false: most are out, full or light. */
static bool draw(const struct look *look, const struct pick_standing *but, struct pick_standing *ret)
{
    const struct node *node = look->node;
    uint64_t *random = look->ask->random;

    for (unsigned i = 0; i < DRAWS_MAX; i++) {
        size_t at = (pick_random(random) >> 32) * node->candidate_count >> 32;
        uint64_t lot = (pick_random(random) >> 32) * node->weight_max * PICK_WEIGHT_UNIT >> 32;
        if ((but == NULL || at != but->index) && standing(look, at, ret) && !ret->full && lot < ret->weight)
            return true;
    }
    return false;
}

static bool draw_two(const struct look *look, struct pick_state *state)
{
    if (look->ask->algorithm != ALGORITHM_RANDOM_TWO || look->node->ranking == NULL)
        return false;
    state->offered = 2;
    return draw(look, NULL, &state->chosen) && draw(look, &state->chosen, &state->other) && pick_end(state);
}

/* ---- small nodes, and what no ranking can say: a look at each ---- */

static enum pick choose(const struct look *look, struct pick_state *state)
{
    struct pick_standing s;

    pick_begin(state, look->ask->algorithm, look->ask->client, look->ask->random);
    if (draw_two(look, state))
        return PICK_ONE;
    state->offered = 0;
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

    *ret = NULL;
    if (result != PICK_ONE)
        return result;
    take(&look, &state.chosen, ret);
    rank_again(node->candidates[state.chosen.index].instance, node->index);
    return PICK_ONE;
}

enum pick pool_pick(const struct node *node, const struct pool_ask *ask, struct instance **ret)
{
    enum pick result;

    if (ranked_pick(node, ask, ret, &result))
        return result;
    do {
        result = attempt(node, ask, ret);
    } while (result == PICK_ONE && *ret == NULL);
    return result;
}

static size_t candidate_hashed(const struct node *node, const char *id)
{
    for (uint32_t at = (uint32_t)instance_hash(id) & node->by_id_mask; node->by_id[at] != 0; at = (at + 1) & node->by_id_mask)
        if (strcmp(node->candidates[node->by_id[at] - 1].instance->id, id) == 0)
            return node->by_id[at] - 1;
    return node->candidate_count;
}

static size_t candidate_named(const struct node *node, const char *id)
{
    size_t i = 0;

    if (node->by_id != NULL)
        return candidate_hashed(node, id);
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
    if (!place_take(node, &node->candidates[i])) {
        rank_again(node->candidates[i].instance, node->index);
        return PICK_FULL;
    }
    atomic_fetch_add(&use_of(node, &node->candidates[i])->turn, pick_step(s.weight));
    atomic_store(&use_of(node, &node->candidates[i])->last, 1 + atomic_fetch_add(&node->shared->tickets, 1));
    rank_again(node->candidates[i].instance, node->index);
    *ret = instance_ref(node->candidates[i].instance);
    return PICK_ONE;
}

void pool_release(unsigned node_index, struct instance **instance)
{
    unsigned before = atomic_fetch_sub(&(*instance)->uses[node_index].outstanding, 1);      /* in one order with surge_enter(), pool_look() */

    assert(before > 0);
    (void)before;
    rank_again(*instance, node_index);
    instance_unref(instance);
}

enum pick pool_look(const struct node *node, bool fail_open)
{
    enum pick result = PICK_NONE;
    bool any_state;

    if (ranked_look(node, fail_open, &result))
        return result;
    result = PICK_NONE;
    any_state = fail_open && !pool_any_eligible(node);
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
