#ifndef HEALTH_PROBER_H
#define HEALTH_PROBER_H
#include "health/health.h"
#include <stdbool.h>
/*
 * When to check whom, and what comes of it: the grid, hints, verdicts, the
 * board, the operator's log line. Runs on one ring, in its thread; knows
 * neither threads nor locks.
 */
struct prober;
struct plan;
struct ring;

/* A plan is made in any thread and owns what it needs, so taking it over can not fail. 0 and *ret, or -ENOMEM. */
int plan_new(const struct health_item *items, size_t count, struct plan **ret);
void plan_free(struct plan **plan);

int prober_new(struct ring *ring, struct prober **ret);
void prober_free(struct prober **prober);                       /* prober_empty() */
void prober_take(struct prober *prober, struct plan **plan);    /* the plan is the prober's from now on */
void prober_look_for_hints(struct prober *prober);
/* Nothing is registered and no check is under way: true some steps after an empty plan was taken. */
bool prober_empty(const struct prober *prober);
#endif
