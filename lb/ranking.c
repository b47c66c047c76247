/*
 * A tournament for each of the two exact algorithms: the winner of each pair
 * plays the winner of the pair beside it. Who has changed plays its way up
 * again; of equals the one on the left wins.
 */
#include "lb/ranking.h"
#include "lb/pick.h"
#include <assert.h>
#include <stdlib.h>

enum { ORDER_LEAST, ORDER_TURN };

static atomic_uint_least64_t rankings_made;

static void ranking_free(struct ranking *ranking)
{
    free(ranking->ranks);
    free(ranking->orders[ORDER_LEAST].first);
    free(ranking->orders[ORDER_TURN].first);
    free(ranking);
}

static size_t size_for(size_t count)
{
    size_t size = 2;

    while (size < count)
        size *= 2;
    return size;
}

struct ranking *ranking_new(size_t count)
{
    struct ranking *ranking = calloc(1, sizeof(*ranking));

    assert(count > 0);
    if (ranking == NULL)
        return NULL;
    atomic_init(&ranking->refs, 1);
    ranking->number = 1 + atomic_fetch_add(&rankings_made, 1);
    ranking->count = count;
    ranking->size = size_for(count);
    ranking->ranks = calloc(ranking->size, sizeof(*ranking->ranks));
    for (size_t i = 0; i < 2; i++)
        ranking->orders[i].first = calloc(ranking->size, sizeof(uint32_t));
    if (ranking->ranks == NULL || ranking->orders[ORDER_LEAST].first == NULL || ranking->orders[ORDER_TURN].first == NULL) {
        ranking_free(ranking);
        return NULL;
    }
    for (size_t i = 0; i < ranking->size; i++)
        ranking->ranks[i].out = true;
    return ranking;
}

struct ranking *ranking_ref(struct ranking *ranking)
{
    atomic_fetch_add_explicit(&ranking->refs, 1, memory_order_relaxed);
    return ranking;
}

void ranking_unref(struct ranking **ranking)
{
    struct ranking *r = *ranking;

    *ranking = NULL;
    if (r != NULL && atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) == 1)
        ranking_free(r);
}

enum { ROOM, FULL, OUT };

static unsigned class_of(const struct rank *rank)
{
    return rank->out ? OUT : rank_full(rank) ? FULL : ROOM;
}

static bool before(const struct rank *a, const struct rank *b, unsigned order)
{
    unsigned left = class_of(a), right = class_of(b);
    int load;

    if (left != right || left == OUT)
        return left < right;
    load = order == ORDER_LEAST ? pick_compare_load(a->outstanding, a->weight, b->outstanding, b->weight) : 0;
    return load != 0 ? load < 0 : (int64_t)(a->turn - b->turn) < 0;
}

static uint32_t winner(const struct ranking *ranking, unsigned order, size_t at)
{
    return at < ranking->size ? ranking->orders[order].first[at] : (uint32_t)(at - ranking->size);
}

static uint32_t match(const struct ranking *ranking, unsigned order, size_t at)
{
    uint32_t left = winner(ranking, order, 2 * at), right = winner(ranking, order, 2 * at + 1);

    return before(&ranking->ranks[right], &ranking->ranks[left], order) ? right : left;
}

static void play_all(struct ranking *ranking, unsigned order)
{
    for (size_t at = ranking->size - 1; at > 0; at--)
        ranking->orders[order].first[at] = match(ranking, order, at);
}

/* Where somebody else has won before and wins again, nothing changes further up. */
static void play_up(struct ranking *ranking, unsigned order, uint32_t i)
{
    uint32_t *first = ranking->orders[order].first;

    for (size_t at = (ranking->size + i) / 2; at > 0; at /= 2) {
        uint32_t won = match(ranking, order, at);
        if (won == first[at] && won != i)
            return;
        first[at] = won;
    }
}

void ranking_order(struct ranking *ranking)
{
    for (unsigned order = 0; order < 2; order++)
        if (ranking->orders[order].used)
            play_all(ranking, order);
}

void ranking_set(struct ranking *ranking, size_t i, const struct rank *rank)
{
    assert(i < ranking->count);
    ranking->ranks[i] = *rank;
    for (unsigned order = 0; order < 2; order++)
        if (ranking->orders[order].used)
            play_up(ranking, order, (uint32_t)i);
}

size_t ranking_first(struct ranking *ranking, enum algorithm algorithm)
{
    unsigned order = algorithm == ALGORITHM_ROUND_ROBIN ? ORDER_TURN : ORDER_LEAST;

    if (!ranking->orders[order].used) {
        ranking->orders[order].used = true;
        play_all(ranking, order);
    }
    return ranking->orders[order].first[1];
}

size_t ranking_foremost(struct ranking *ranking)
{
    return ranking_first(ranking, ranking->orders[ORDER_TURN].used ? ALGORITHM_ROUND_ROBIN : ALGORITHM_LEAST_OUTSTANDING);
}
