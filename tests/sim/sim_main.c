/* halb_sim: runs of the simulated world by their seeds. docs/TESTING.md says how a failure is read. */
#include "tests/sim/jobs.h"
#include "tests/sim/sim.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "halb_sim --seeds FROM-TO [--jobs N] [--keep-going]     runs seeds in N child processes; stops at the first failure\n"
    "halb_sim --seed N [--trace] [--without WHAT]...        one run, in this process; WHAT: client:3 act:5 instance:2 balancer:1\n"
    "                                                       faults faults.emfile stalls net later:SECONDS\n"
    "halb_sim --seed N --shrink [--without WHAT]...         leaves out what the failure does not need\n"
    "halb_sim --seed N --plan [--without WHAT]...           prints what it would do\n"
    "halb_sim --kept FILE [--jobs N]                        the seeds of a file: SEED [--without WHAT]... # what it found\n"
    "halb_sim --faults [SCENARIO] [--jobs N]                the n-th allocation, submission, completion, descriptor fails, n = 1, 2, 3 ...\n"
    "halb_sim --faults SCENARIO --fault KIND:N [--seed N] [--trace]    one of these, in this process\n";

struct options {
    struct wanted wanted;
    bool seed, trace, shrink, plan, faults, keep_going;
    const char *seeds, *kept, *scenario, *fault;
    unsigned jobs;
};

int wanted_plan(const struct wanted *wanted, struct plan *plan, const char **bad)
{
    plan_make(wanted->seed, plan);
    for (unsigned i = 0; i < wanted->without_count; i++)
        if (plan_without(plan, wanted->without[i]) < 0) {
            *bad = wanted->without[i];
            return -EINVAL;
        }
    return 0;
}

void wanted_print(const struct wanted *wanted)
{
    printf("--seed %" PRIu64, wanted->seed);
    for (unsigned i = 0; i < wanted->without_count; i++)
        printf(" --without %s", wanted->without[i]);
}

static int refuse(const char *what, const char *found)
{
    fprintf(stderr, "halb_sim: %s%s\n%s", what, found, usage);
    return 2;
}

static bool number(const char *text, uint64_t *ret)
{
    char *end;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *ret = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static int run_one(const struct options *options)
{
    struct jobs_result result = { .runs = 1 };
    struct timespec begun, ended;
    struct plan plan;
    const char *bad;

    if (wanted_plan(&options->wanted, &plan, &bad) < 0)
        return refuse("no part of this plan: ", bad);
    if (options->trace || options->plan)
        plan_print(&plan);
    if (options->plan)
        return 0;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    rig_run(&plan, options->trace);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    result.sum = rig_figures();
    result.wall_s = (double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9;
    wanted_print(&options->wanted);
    jobs_result_print("", &result);
    return 0;
}

static int run_seeds(const struct options *options)
{
    char from[32];
    const char *dash = strchr(options->seeds, '-'), *to = dash == NULL ? options->seeds : dash + 1;
    uint64_t first, last;

    snprintf(from, sizeof(from), "%.*s", dash == NULL ? (int)strlen(options->seeds) : (int)(dash - options->seeds), options->seeds);
    if (!number(from, &first) || !number(to, &last) || last < first)
        return refuse("no range of seeds: ", options->seeds);
    return sim_seeds(first, last, options->jobs, options->keep_going);
}

static int run_fault(const struct options *options)
{
    const char *colon = strchr(options->fault, ':');
    char kind[32];
    uint64_t n;

    if (options->scenario == NULL || colon == NULL || !number(colon + 1, &n))
        return refuse("no KIND:N of a scenario: ", options->fault);
    snprintf(kind, sizeof(kind), "%.*s", (int)(colon - options->fault), options->fault);
    return sim_fault(options->scenario, kind, options->seed ? options->wanted.seed : 1, n, options->trace);
}

static int take_number(const char *text, uint64_t most, uint64_t *ret)
{
    return number(text, ret) && *ret <= most ? 0 : refuse("no such number: ", text);
}

static int take(struct options *options, int option)
{
    uint64_t value = 0;
    int r = 0;

    switch (option) {
    case 's':
        options->seed = true;
        return take_number(optarg, UINT64_MAX, &options->wanted.seed);
    case 'j':
        r = take_number(optarg, 256, &value);
        options->jobs = value == 0 ? 1 : (unsigned)value;
        return r;
    case 'w':
        if (options->wanted.without_count == WITHOUTS_MOST)
            return refuse("too much is left out: ", optarg);
        options->wanted.without[options->wanted.without_count++] = optarg;
        return 0;
    case 'r': options->seeds = optarg; return 0;
    case 'k': options->kept = optarg; return 0;
    case 'f': options->fault = optarg; return 0;
    case 't': options->trace = true; return 0;
    case 'm': options->shrink = true; return 0;
    case 'p': options->plan = true; return 0;
    case 'F': options->faults = true; return 0;
    case 'g': options->keep_going = true; return 0;
    }
    return refuse("see:", "");
}

static int parse(int argc, char **argv, struct options *options)
{
    static const struct option known[] = {
        { "seeds", required_argument, NULL, 'r' }, { "seed", required_argument, NULL, 's' }, { "jobs", required_argument, NULL, 'j' },
        { "without", required_argument, NULL, 'w' }, { "kept", required_argument, NULL, 'k' }, { "fault", required_argument, NULL, 'f' },
        { "trace", no_argument, NULL, 't' }, { "shrink", no_argument, NULL, 'm' }, { "plan", no_argument, NULL, 'p' },
        { "faults", no_argument, NULL, 'F' }, { "keep-going", no_argument, NULL, 'g' }, { 0 },
    };
    int option, r = 0;

    while (r == 0 && (option = getopt_long(argc, argv, "", known, NULL)) >= 0)
        r = take(options, option);
    if (r == 0 && optind < argc && options->faults)
        options->scenario = argv[optind++];
    if (r == 0 && optind < argc)
        return refuse("not understood: ", argv[optind]);
    return r;
}

int main(int argc, char **argv)
{
    struct options options = { .jobs = 1 };
    int r = parse(argc, argv, &options);

    if (r != 0)
        return r;
    if (options.seeds != NULL)
        return run_seeds(&options);
    if (options.kept != NULL)
        return sim_kept(options.kept, options.jobs);
    if (options.fault != NULL)
        return run_fault(&options);
    if (options.faults)
        return sim_faults(options.scenario, options.jobs);
    if (options.seed && options.shrink)
        return sim_shrink(&options.wanted);
    if (options.seed)
        return run_one(&options);
    return refuse("nothing to run", "");
}
