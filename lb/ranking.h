#ifndef LB_RANKING_H
#define LB_RANKING_H
#include "common/config.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/*
 * The candidates of a large node in the order in which they are next, kept
 * while they change: a change costs the logarithm of their number. A copy:
 * what it is made of stands in instances and on the board, and lb/pool.c
 * brings it up to date, under the lock of the node. Counted.
 */
#define RANKING_MIN 16              /* candidates; a look at each of fewer is as cheap */

struct rank {
    const void *who;                /* not looked into */
    uint64_t turn;                  /* or ticket; may wrap */
    uint32_t weight, outstanding;
    uint32_t outstanding_max;       /* 0: no limit */
    bool out;                       /* gets no work */
};

struct ranking {
    atomic_uint refs;
    uint64_t number;                /* the later it was made the greater */
    bool by_turn, any_state;        /* what lb/pool.c must know of how the ranks came about */
    bool filled;
    uint64_t changes, ramps_until_ms;
    size_t count, size;             /* size: the power of two that count fits in */
    struct rank *ranks;             /* [size] */
    struct rank_order {
        bool used;
        uint32_t *first;            /* [size]: of two neighbours, of four ...; [1]: of all */
    } orders[2];
};

struct ranking *ranking_new(size_t count);      /* count > 0, all of them out; NULL: no memory */
struct ranking *ranking_ref(struct ranking *ranking);
void ranking_unref(struct ranking **ranking);   /* may be NULL */

static inline bool rank_full(const struct rank *rank)
{
    return rank->outstanding_max > 0 && rank->outstanding >= rank->outstanding_max;
}

void ranking_order(struct ranking *ranking);    /* after any number of changes to ranks[] */
void ranking_set(struct ranking *ranking, size_t i, const struct rank *rank);
/* Those with room before full ones before those that are out; then as the algorithm (least outstanding or round robin) says. */
size_t ranking_first(struct ranking *ranking, enum algorithm algorithm);
size_t ranking_foremost(struct ranking *ranking);       /* by whichever of them was asked for before */
#endif
