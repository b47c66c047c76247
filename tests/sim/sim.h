#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H
#include "tests/sim/plan.h"
/* The command's ways to run. Each returns the exit status: 0, or 1 if something failed. */
#define WITHOUTS_MOST 128

struct wanted {                 /* one run, as the command line or a line of a file says */
    uint64_t seed;
    const char *without[WITHOUTS_MOST];
    unsigned without_count;
};
/* 0, or -EINVAL and *bad is what is no part of a plan. */
int wanted_plan(const struct wanted *wanted, struct plan *plan, const char **bad);
/* "--seed 17 --without act:3" */
void wanted_print(const struct wanted *wanted);

int sim_seeds(uint64_t from, uint64_t to, unsigned jobs, bool keep_going);
int sim_kept(const char *path, unsigned jobs);
int sim_shrink(const struct wanted *wanted);
int sim_faults(const char *scenario, unsigned jobs);    /* NULL: all */
/* One of them: the n-th allocation, submission, completion or descriptor of a scenario fails; in this process. */
int sim_fault(const char *scenario, const char *kind, uint64_t seed, uint64_t n, bool trace);
#endif
