#ifndef TESTS_SIM_JOBS_H
#define TESTS_SIM_JOBS_H
#include "tests/sim/rig.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/*
 * Runs in child processes, many in each; a child that dies takes one run with it, and another child goes on. Tracks are worked
 * through side by side; a track has one step after the other.
 */
struct job_death {
    char how[64];               /* "signal 11", "exit status 3", "hangs" */
    const char *output;         /* what it wrote during this run; terminated */
    size_t len;
};

struct jobs {
    unsigned processes;
    uint64_t tracks;
    unsigned failures_most;     /* it stops after so many. 0: no limit */
    unsigned track_failures_most;       /* a track whose step died goes on with its next step, but for so many. 0: it has ended */
    bool (*run)(void *arg, uint64_t track, uint64_t step);      /* in a child; step from 1. true: there is a further step */
    void (*died)(void *arg, uint64_t track, uint64_t step, const struct job_death *death);
    void *arg;
};

struct jobs_result {
    uint64_t runs, failures;
    struct rig_figures sum;     /* of those that held */
    double wall_s;
};

void jobs_run(const struct jobs *jobs, struct jobs_result *ret);

/* One run in a child. true: it held; else *death, to be freed. */
bool job_once(void (*run)(void *arg), void *arg, struct job_death *death);
void job_death_free(struct job_death *death);

/* The line of its output that says what failed; terminated, at most size. */
void job_death_line(const struct job_death *death, char *line, size_t size);
/* The same with all numbers alike: failures of one cause have the same. */
void job_death_key(const struct job_death *death, char *key, size_t size);
/* The last lines of its output. */
void job_death_print_end(const struct job_death *death, unsigned lines);

/* One line: runs, failed ones, simulated time, and how dear it was. */
void jobs_result_print(const char *what, const struct jobs_result *result);
#endif
