/*
 * Fault loops: a small run again and again, in which the n-th allocation, submission, completion or descriptor fails, n = 1, 2, 3 ...
 * until a run ends without reaching it; a shortage is an allocation and some more after it. The oracle allows what such a fault may cause; nothing may leak, crash or be a wrong byte.
 */
#include "common/board.h"
#include "tests/sim/alloc.h"
#include "tests/sim/jobs.h"
#include "tests/sim/sim.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MS_US UINT64_C(1000)
#define END_LINES 30
#define TRACK_FAILURES_MOST 5
#define SEEDS 2             /* of each loop: other requests, and other errors in the n-th place */

/* ---- the scenarios ---- */

/* Its instances are first and the next one. */
static void balancer(struct plan *plan, bool http, unsigned first)
{
    struct plan_balancer *b = &plan->balancers[http ? 0 : 1];

    *b = (struct plan_balancer){
        .present = true, .http = http, .http_check = http, .port = http ? 80 : 3306, .instance_port = http ? 8080 : 3307, .retries = 3,
        .draining = true, .cross_zone = true, .connect_timeout_ms = 1000, .idle_timeout_ms = 5000, .draining_timeout_ms = 3000,
        .interval_ms = 1000, .timeout_ms = 500, .unhealthy = 2, .healthy = 2, .surge_queue = 1024,
    };
    snprintf(b->attributes, sizeof(b->attributes),
             "retries = 3; connect_timeout = \"1s\"; idle_timeout = \"5s\"; connection_draining = { enabled = true; timeout = \"3s\"; };");
    snprintf(b->check, sizeof(b->check), "target = \"%s\"; interval = \"1s\"; timeout = \"500ms\"; unhealthy_threshold = 2; healthy_threshold = 2;",
             http ? "HTTP:8080/health" : "TCP:3307");
    for (unsigned i = first; i < first + 2; i++)
        plan->instances[i] = (struct plan_instance){ .present = true, .balancer = http ? 0 : 1, .weight = 1, .registered = true };
}

static void client(struct plan *plan, enum client_kind kind, uint64_t start_ms, unsigned requests, uint64_t pause_ms, uint32_t body_max)
{
    for (unsigned i = 0; i < PLAN_CLIENTS; i++)
        if (!plan->clients[i].present) {
            plan->clients[i] = (struct plan_client){ .present = true, .kind = kind, .balancer = kind == CLIENT_STREAM ? 1 : 0,
                .start_us = start_ms * MS_US, .pause_max_us = pause_ms * MS_US, .requests = requests, .body_max = body_max };
            return;
        }
}

static void act(struct plan *plan, uint64_t at_ms, enum act_kind kind, unsigned target, uint64_t value)
{
    for (unsigned i = 0; i < PLAN_ACTS; i++)
        if (!plan->acts[i].present) {
            plan->acts[i] = (struct plan_act){ .present = true, .at_us = at_ms * MS_US, .kind = kind, .target = target,
                .manner = kind == ACT_MANNER ? (enum manner)value : MANNER_WELL, .value = value };
            return;
        }
}

static void http_keep_alive(struct plan *plan)
{
    balancer(plan, true, 0);
    client(plan, CLIENT_STEADY, 100, 20, 300, 300);
    client(plan, CLIENT_STEADY, 150, 12, 0, 300);
    client(plan, CLIENT_STEADY, 160, 3, 3000, 300);
    client(plan, CLIENT_ONE_SHOT, 200, 8, 500, 300);
}

static void http_chunked(struct plan *plan)
{
    balancer(plan, true, 0);
    plan->net.cut_max = 1000;
    client(plan, CLIENT_STEADY, 100, 6, 300, 20000);
    client(plan, CLIENT_PIPELINING, 100, 12, 200, 3000);
    client(plan, CLIENT_SLOW_READER, 200, 3, 300, 9000);
    client(plan, CLIENT_SLOW_SENDER, 900, 3, 300, 900);
}

static void tcp(struct plan *plan)
{
    balancer(plan, false, 0);
    client(plan, CLIENT_STREAM, 100, 10, 400, 4000);
    client(plan, CLIENT_STREAM, 100, 6, 400, 200000);
    client(plan, CLIENT_STREAM, 100, 4, 0, 2000);
}

static void health_flapping(struct plan *plan)
{
    static const enum manner manners[] = { MANNER_DOWN, MANNER_WELL, MANNER_SICK, MANNER_WELL, MANNER_STOPPED, MANNER_WELL, MANNER_DARK };

    balancer(plan, true, 0);
    client(plan, CLIENT_STEADY, 100, 30, 1000, 300);
    client(plan, CLIENT_ONE_SHOT, 200, 15, 2000, 300);
    for (unsigned i = 0; i < COUNT(manners); i++)
        act(plan, 1000 + 2500 * i, ACT_MANNER, i / 2 % 2, manners[i]);
    act(plan, 4000, ACT_CHECK, 0, 5);
    plan->duration_us = 20000 * MS_US;
}

/* Two workers: a change reaches both, or none. Whoever leaves has work in flight. */
static void drain(struct plan *plan)
{
    plan->workers = 2;
    balancer(plan, true, 0);
    balancer(plan, false, 2);
    client(plan, CLIENT_STEADY, 100, 18, 400, 300);
    client(plan, CLIENT_STEADY, 120, 18, 400, 300);
    client(plan, CLIENT_SLOW_READER, 900, 3, 200, 9000);
    client(plan, CLIENT_SLOW_SENDER, 900, 3, 200, 500);
    client(plan, CLIENT_STREAM, 900, 5, 300, 2000);
    act(plan, 500, ACT_MANNER, 0, MANNER_SLOW);
    act(plan, 1000, ACT_DEREGISTER, 0, 0);
    act(plan, 1000, ACT_DEREGISTER, 2, 0);
    act(plan, 1800, ACT_REGISTER, 0, 0);
    act(plan, 2000, ACT_ADMIN, 1, ADMIN_DRAIN);
    act(plan, 2500, ACT_RELOAD, 0, 7);
    act(plan, 3000, ACT_ADMIN, 1, ADMIN_AUTO);
}

static const struct scenario {
    const char *name;
    void (*make)(struct plan *plan);
} scenarios[] = {
    { "http-keep-alive", http_keep_alive },
    { "http-chunked", http_chunked },
    { "tcp", tcp },
    { "health-flapping", health_flapping },
    { "drain", drain },
};

static void scenario_plan(const struct scenario *scenario, uint64_t seed, struct plan *plan)
{
    *plan = (struct plan){
        .seed = seed, .mood = MOOD_EVERYTHING, .workers = 1, .zones = 1, .max_connections = 1000, .duration_us = 4000 * MS_US,
        .net = { .delay_min_us = 50, .delay_max_us = 500, .window_min = 16384, .window_max = 65536 },
    };
    scenario->make(plan);
}

/* ---- the kinds ---- */

static const struct kind {
    const char *name;
    unsigned allocations;       /* so many in a row */
    enum kernel_nth what;       /* 0 allocations: this */
} kinds[] = {
    { "allocation", .allocations = 1 },
    { "shortage", .allocations = 8 },
    { "submission", .what = NTH_SUBMISSION },
    { "completion", .what = NTH_COMPLETION },
    { "descriptor", .what = NTH_DESCRIPTOR },
};

/* false: the run ended without reaching it. */
static bool run_fault(const struct scenario *scenario, const struct kind *kind, uint64_t seed, uint64_t n, bool trace)
{
    struct plan plan;

    scenario_plan(scenario, seed, &plan);
    plan.nth_what = kind->what;
    plan.nth = kind->allocations > 0 ? 0 : n;
    alloc_fail_nth(kind->allocations > 0 ? n : 0, kind->allocations);
    rig_run(&plan, trace);
    return kind->allocations > 0 ? alloc_nth_reached() : kernel_nth_reached();
}

/* ---- the loops ---- */

struct loops {
    const struct scenario *scenarios;
    size_t scenario_count;
    uint64_t *gone_through;             /* shared with the children: by track */
};

/* Which loop a track is: the first seed of all, then the next. */
struct loop {
    const struct scenario *scenario;
    const struct kind *kind;
    uint64_t seed;
};

static struct loop loop_of(const struct loops *loops, uint64_t track)
{
    return (struct loop){ &loops->scenarios[track / COUNT(kinds) % loops->scenario_count], &kinds[track % COUNT(kinds)],
                          1 + track / COUNT(kinds) / loops->scenario_count };
}

static bool loop_run(void *arg, uint64_t track, uint64_t step)
{
    const struct loops *loops = arg;
    struct loop loop = loop_of(loops, track);
    bool reached = run_fault(loop.scenario, loop.kind, loop.seed, step, false);

    loops->gone_through[track] = reached ? step : step - 1;
    return reached;
}

static void loop_died(void *arg, uint64_t track, uint64_t step, const struct job_death *death)
{
    struct loop loop = loop_of(arg, track);
    char line[1024];

    job_death_line(death, line, sizeof(line));
    job_death_print_end(death, END_LINES);
    printf("halb_sim --faults %s --fault %s:%" PRIu64 " --seed %" PRIu64 ": %s: %s\n", loop.scenario->name, loop.kind->name, step, loop.seed, death->how,
           line);
    fflush(stdout);
}

static void print_loops(const struct loops *loops)
{
    for (uint64_t track = 0; track < SEEDS * loops->scenario_count * COUNT(kinds); track++) {
        struct loop loop = loop_of(loops, track);
        if (loop.kind == kinds)
            printf("%-16s seed %" PRIu64 ":", loop.scenario->name, loop.seed);
        printf(" %s 1-%" PRIu64 "%s", loop.kind->name, loops->gone_through[track], loop.kind + 1 < kinds + COUNT(kinds) ? "," : "\n");
    }
}

static const struct scenario *find_scenario(const char *name)
{
    for (size_t i = 0; i < COUNT(scenarios); i++)
        if (strcmp(scenarios[i].name, name) == 0)
            return &scenarios[i];
    fprintf(stderr, "halb_sim: no scenario \"%s\"; there are:", name);
    for (size_t i = 0; i < COUNT(scenarios); i++)
        fprintf(stderr, " %s", scenarios[i].name);
    fprintf(stderr, "\n");
    return NULL;
}

int sim_faults(const char *scenario, unsigned jobs)
{
    struct loops loops = { .scenarios = scenario == NULL ? scenarios : find_scenario(scenario), .scenario_count = scenario == NULL ? COUNT(scenarios) : 1 };
    struct jobs conf = { .processes = jobs, .tracks = SEEDS * loops.scenario_count * COUNT(kinds), .track_failures_most = TRACK_FAILURES_MOST, .run = loop_run, .died = loop_died, .arg = &loops };
    struct jobs_result result;

    if (loops.scenarios == NULL)
        return 2;
    loops.gone_through = mmap(NULL, conf.tracks * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(loops.gone_through != MAP_FAILED);
    jobs_run(&conf, &result);
    print_loops(&loops);
    jobs_result_print("fault loops", &result);
    munmap(loops.gone_through, conf.tracks * sizeof(uint64_t));
    return result.failures > 0;
}

int sim_fault(const char *scenario, const char *kind, uint64_t seed, uint64_t n, bool trace)
{
    const struct scenario *found = find_scenario(scenario);

    for (size_t k = 0; found != NULL && k < COUNT(kinds); k++)
        if (strcmp(kinds[k].name, kind) == 0) {
            printf("%s\n", run_fault(found, &kinds[k], seed, n, trace) ? "held" : "held; it was not reached");
            return 0;
        }
    if (found != NULL)
        fprintf(stderr, "halb_sim: no kind \"%s\"; there are: allocation shortage submission completion descriptor\n", kind);
    return 2;
}
