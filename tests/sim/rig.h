#ifndef TESTS_SIM_RIG_H
#define TESTS_SIM_RIG_H
#include "lb/worker.h"
#include "plan.h"
/*
 * One run: the world and its kernel begin; halb's main task starts board,
 * health, control and workers as lb/daemon_start.c does; acts, clients and
 * instances do what the plan says; then all is calm and well, clients finish,
 * every instance must be back in service, halb drains, ends, and is judged.
 */
struct generation;

/* Returns only if everything held; else the process ends with WORLD_FAILED. */
void rig_run(const struct plan *plan, bool trace);

struct rig_figures {
    uint64_t simulated_us, steps, requests, answers_5xx, faults;
};
struct rig_figures rig_figures(void);           /* of the last run */

/* For the oracle. The newest generation that a part of halb may know; NULL: before the first and after the last. */
const struct generation *rig_generation(void);
unsigned rig_changes(void);                     /* grows with each generation */
bool rig_changing(void);                        /* a change is on its way to health and workers */
uint64_t rig_counted(enum worker_counter counter);      /* over all workers; 0: there are none */
uint64_t rig_serving_us(void);                  /* since when halb listens; 0: not yet, or no more */
unsigned rig_connections(void);                 /* that halb counts as open, over all workers */
bool rig_calm(void);                            /* no more faults, everybody well */
bool rig_stopping(void);
#endif
