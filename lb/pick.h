#ifndef LB_PICK_H
#define LB_PICK_H
#include "common/addr.h"
#include "common/config.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/*
 * The algorithms: which of the offered candidates is it? Pure; lb/pool.c offers
 * them one after the other and acts on the result.
 */
#define PICK_WEIGHT_UNIT 256u           /* a configured weight of 1; a ramp gives fractions of it */

struct pick_standing {
    size_t index;
    uint32_t weight;                    /* in PICK_WEIGHT_UNITs; > 0 */
    uint32_t outstanding;
    uint64_t turn;
    uint64_t turn_seen;                 /* as it was read; `turn` is what counts */
    uint64_t key;                       /* of its id: ALGORITHM_SOURCE_HASH */
    bool full;                          /* can not be chosen */
};

struct pick_state {
    enum algorithm algorithm;
    const struct addr *client;
    uint64_t *random;
    unsigned offered;                   /* that can be chosen */
    bool seen_full;
    struct pick_standing chosen, other; /* other: the second of ALGORITHM_RANDOM_TWO */
    double score, other_score;          /* ALGORITHM_RANDOM_TWO, ALGORITHM_SOURCE_HASH: the best so far */
};

void pick_begin(struct pick_state *state, enum algorithm algorithm, const struct addr *client, uint64_t *random);
void pick_offer(struct pick_state *state, const struct pick_standing *standing);
bool pick_end(struct pick_state *state);        /* true: state->chosen is it */

/* outstanding / weight of a beside that of b, without division: < 0, 0, > 0. */
static inline int pick_compare_load(uint32_t a_outstanding, uint32_t a_weight, uint32_t b_outstanding, uint32_t b_weight)
{
    uint64_t left = (uint64_t)a_outstanding * b_weight, right = (uint64_t)b_outstanding * a_weight;

    return (left > right) - (left < right);
}

/* xorshift64*: quality enough to choose among some, and seeded. */
uint64_t pick_random(uint64_t *state);

/* By how much a pick moves a turn on. */
uint64_t pick_step(uint32_t weight);
/* How far a turn is ahead of where the node has got to; 0: it is behind, who was away is not owed what it missed. Turns may wrap. */
uint64_t pick_ahead(uint64_t turn, uint64_t reached);
/* Slow start: the weight after this time in service; it grows evenly from a tenth to the whole. Never 0. */
uint32_t pick_ramped(uint32_t weight, uint64_t elapsed_ms, uint64_t ramp_ms);
#endif
