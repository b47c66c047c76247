#include "lb/pick.h"
#include <math.h>
#include <xxhash.h>

#define STEP_UNIT (UINT64_C(1) << 32)   /* shares are exact to one in 65536 */
#define AHEAD_MAX (UINT64_C(1) << 48)   /* more is behind: no lead grows so large, but the time away may be of any length */

void pick_begin(struct pick_state *state, enum algorithm algorithm, const struct addr *client, uint64_t *random)
{
    *state = (struct pick_state){ .algorithm = algorithm, .client = client, .random = random };
}

uint64_t pick_step(uint32_t weight)
{
    return STEP_UNIT / weight;
}

uint64_t pick_ahead(uint64_t turn, uint64_t reached)
{
    uint64_t ahead = turn - reached;

    return ahead < AHEAD_MAX ? ahead : 0;
}

static int compare_load(const struct pick_standing *a, const struct pick_standing *b)
{
    return pick_compare_load(a->outstanding, a->weight, b->outstanding, b->weight);
}

static bool less_loaded(const struct pick_standing *a, const struct pick_standing *b)
{
    int order = compare_load(a, b);

    return order < 0 || (order == 0 && a->turn < b->turn);
}

uint64_t pick_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

/*
 * Each draws w / -log(u), u evenly from (0, 1): the greatest draw is somebody's as often as its weight says, and so is the
 * second among those that are left.
 */
static double draw(uint64_t bits, uint32_t weight)
{
    double uniform = ((double)(bits >> 11) + 0.5) / (double)(UINT64_C(1) << 53);

    return -(double)weight / log(uniform);
}

static void offer_two(struct pick_state *state, const struct pick_standing *standing)
{
    double own = draw(pick_random(state->random), standing->weight);

    if (state->offered == 1 || own > state->score) {
        state->other = state->chosen;
        state->other_score = state->score;
        state->chosen = *standing;
        state->score = own;
    } else if (state->offered == 2 || own > state->other_score) {
        state->other = *standing;
        state->other_score = own;
    }
}

/* Weighted rendezvous hashing, a draw that a client always repeats: who leaves takes only its own clients along. */
static void offer_hashed(struct pick_state *state, const struct pick_standing *standing)
{
    const struct addr *a = state->client;
    uint64_t hash = a->sa.sa_family == AF_INET6 ? XXH64(&a->in6.sin6_addr, sizeof(a->in6.sin6_addr), standing->key)
                                                : XXH64(&a->in.sin_addr, sizeof(a->in.sin_addr), standing->key);
    double own = draw(hash, standing->weight);

    if (state->offered > 1 && own <= state->score)
        return;
    state->score = own;
    state->chosen = *standing;
}

void pick_offer(struct pick_state *state, const struct pick_standing *standing)
{
    if (standing->full) {
        state->seen_full = true;
        return;
    }
    state->offered++;
    switch (state->algorithm) {
    case ALGORITHM_DEFAULT:
    case ALGORITHM_LEAST_OUTSTANDING:
        if (state->offered == 1 || less_loaded(standing, &state->chosen))
            state->chosen = *standing;
        break;
    case ALGORITHM_ROUND_ROBIN:
        if (state->offered == 1 || standing->turn < state->chosen.turn)
            state->chosen = *standing;
        break;
    case ALGORITHM_RANDOM_TWO:
        offer_two(state, standing);
        break;
    case ALGORITHM_SOURCE_HASH:
        offer_hashed(state, standing);
        break;
    }
}

bool pick_end(struct pick_state *state)
{
    if (state->algorithm == ALGORITHM_RANDOM_TWO && state->offered > 1 && compare_load(&state->other, &state->chosen) < 0)
        state->chosen = state->other;
    return state->offered > 0;
}

uint32_t pick_ramped(uint32_t weight, uint64_t elapsed_ms, uint64_t ramp_ms)
{
    uint64_t ramped;

    if (elapsed_ms >= ramp_ms)
        return weight;
    ramped = (uint64_t)weight * (ramp_ms + 9 * elapsed_ms) / (10 * ramp_ms);
    return ramped > 0 ? (uint32_t)ramped : 1;
}
