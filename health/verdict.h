#ifndef HEALTH_VERDICT_H
#define HEALTH_VERDICT_H
#include "common/board.h"
#include <stdbool.h>
/*
 * What the results of checks make of a registration: a value and a pure
 * function, so a verdict can be replayed from a list of results.
 *
 *        first success
 *   NEW ----------------------> IN_SERVICE <--+
 *    |                              |         | healthy_threshold successes in a row
 *    | unhealthy_threshold          |         |
 *    | failures in a row            v         |
 *    +----------------------> OUT_OF_SERVICE -+
 */
struct thresholds {
    unsigned unhealthy, healthy;
};

struct verdict {
    enum slot_state state;
    enum slot_why why;
    unsigned passes, failures;      /* in a row, up to now; one of them is 0 */
};

/* A CHECK_LOCAL result says nothing of the instance: the verdict is unchanged, counts too. */
struct verdict verdict_fold(struct verdict verdict, enum check_reason result, struct thresholds thresholds);
#endif
