/*
 * Leaves out of a failing run what the failure does not need: whole classes first, then halves of what is left of each class and so on
 * down to single ones, then the end of the run; until nothing more goes. A run counts if it fails in the same way.
 */
#include "tests/sim/jobs.h"
#include "tests/sim/sim.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROUNDS_MOST 4
#define END_LINES 80

struct element {
    char name[24];
    bool out;
};

struct class {
    const char *name;
    unsigned from, to;          /* of the elements */
};

struct shrink {
    const struct wanted *wanted;
    struct element elements[PLAN_CLIENTS + PLAN_ACTS + PLAN_INSTANCES + PLAN_BALANCERS + 16];
    unsigned count;
    struct class classes[8];
    unsigned class_count;
    uint64_t later_s;           /* 0: to its end */
    char later[32];
    char key[1024];
    unsigned attempts;
    bool trace;                 /* of the next attempt */
};

/* ---- one attempt ---- */

static struct wanted narrowed(const struct shrink *shrink)
{
    struct wanted wanted = *shrink->wanted;

    for (unsigned i = 0; i < shrink->count; i++)
        if (shrink->elements[i].out && wanted.without_count < WITHOUTS_MOST - 1)
            wanted.without[wanted.without_count++] = shrink->elements[i].name;
    if (shrink->later_s > 0)
        wanted.without[wanted.without_count++] = shrink->later;
    return wanted;
}

static void attempt(void *arg)
{
    struct shrink *shrink = arg;
    struct wanted wanted = narrowed(shrink);
    struct plan plan;
    const char *bad;

    if (wanted_plan(&wanted, &plan, &bad) == 0)
        rig_run(&plan, shrink->trace);
}

static bool fails_alike(struct shrink *shrink)
{
    struct job_death death;
    char key[sizeof(shrink->key)];

    shrink->attempts++;
    if (job_once(attempt, shrink, &death))
        return false;
    job_death_key(&death, key, sizeof(key));
    job_death_free(&death);
    return strcmp(key, shrink->key) == 0;
}

/* ---- what there is to leave out ---- */

static void class_begin(struct shrink *shrink, const char *name)
{
    shrink->classes[shrink->class_count++] = (struct class){ .name = name, .from = shrink->count, .to = shrink->count };
}

static struct element *element_add(struct shrink *shrink)
{
    struct element *element = &shrink->elements[shrink->count++];

    element->out = false;
    shrink->classes[shrink->class_count - 1].to = shrink->count;
    return element;
}

static void element_named(struct shrink *shrink, const char *prefix, const char *name)
{
    struct element *element = element_add(shrink);

    snprintf(element->name, sizeof(element->name), "%s%s", prefix, name);
}

static void element_counted(struct shrink *shrink, const char *name, unsigned index)
{
    struct element *element = element_add(shrink);

    snprintf(element->name, sizeof(element->name), "%s:%u", name, index);
}

static void add_weather(struct shrink *shrink)
{
    static const char *const names[] = { "late", "emfile", "enomem", "multishot_ends", "short_moves", "cq_entries", "buffers", "early_wakes" };

    class_begin(shrink, "what all share");
    element_named(shrink, "faults", "");
    element_named(shrink, "stalls", "");
    element_named(shrink, "net", "");
    for (unsigned i = 0; i < PLAN_BALANCERS; i++)
        element_counted(shrink, "balancer", i);
    class_begin(shrink, "faults");
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        element_named(shrink, "faults.", names[i]);
}

static void add_all(struct shrink *shrink, const struct plan *plan)
{
    add_weather(shrink);
    class_begin(shrink, "clients");
    for (unsigned i = 0; i < PLAN_CLIENTS; i++)
        if (plan->clients[i].present)
            element_counted(shrink, "client", i);
    class_begin(shrink, "acts");
    for (unsigned i = 0; i < PLAN_ACTS; i++)
        if (plan->acts[i].present)
            element_counted(shrink, "act", i);
    class_begin(shrink, "instances");
    for (unsigned i = 0; i < PLAN_INSTANCES; i++)
        if (plan->instances[i].present)
            element_counted(shrink, "instance", i);
}

/* ---- halves ---- */

/* From element `from` on the next `most` of the class that are still in go out, if the failure stays. *next is behind them. */
static bool leave_out(struct shrink *shrink, const struct class *class, unsigned from, unsigned most, unsigned *next)
{
    unsigned chosen[PLAN_ACTS + PLAN_CLIENTS], count = 0;

    for (*next = from; *next < class->to && count < most; (*next)++)
        if (!shrink->elements[*next].out) {
            shrink->elements[*next].out = true;
            chosen[count++] = *next;
        }
    if (count > 0 && fails_alike(shrink))
        return true;
    for (unsigned i = 0; i < count; i++)
        shrink->elements[chosen[i]].out = false;
    return false;
}

static bool shrink_class(struct shrink *shrink, const struct class *class)
{
    bool less = false;

    for (unsigned most = class->to - class->from; most > 0; most /= 2)
        for (unsigned from = class->from; from < class->to;)
            less = leave_out(shrink, class, from, most, &from) || less;
    return less;
}

static void later_set(struct shrink *shrink, uint64_t seconds)
{
    shrink->later_s = seconds;
    snprintf(shrink->later, sizeof(shrink->later), "later:%" PRIu64, seconds);
}

/* The shortest run, as if every longer one failed, too. */
static bool shrink_duration(struct shrink *shrink, uint64_t duration_s)
{
    uint64_t low = 0, high = shrink->later_s > 0 ? shrink->later_s : duration_s, kept = shrink->later_s;

    while (high - low > 1) {
        later_set(shrink, low + (high - low) / 2);
        if (fails_alike(shrink))
            high = kept = shrink->later_s;
        else
            low = shrink->later_s;
    }
    low = kept;
    later_set(shrink, kept);
    return low > 0 && low < duration_s;
}

static bool shrink_round(struct shrink *shrink, uint64_t duration_s)
{
    uint64_t later_s = shrink->later_s;
    bool less = false;

    for (unsigned i = 0; i < shrink->class_count; i++) {
        bool faults_out = shrink->elements[0].out;
        if (strcmp(shrink->classes[i].name, "faults") != 0 || !faults_out)
            less = shrink_class(shrink, &shrink->classes[i]) || less;
    }
    shrink_duration(shrink, duration_s);
    return less || shrink->later_s != later_s;
}

static void show(struct shrink *shrink)
{
    struct wanted wanted = narrowed(shrink);
    struct job_death death;

    shrink->trace = true;
    if (!job_once(attempt, shrink, &death)) {
        job_death_print_end(&death, END_LINES);
        job_death_free(&death);
    }
    printf("after %u runs:\nhalb_sim ", shrink->attempts);
    wanted_print(&wanted);
    printf(" --trace\n");
}

int sim_shrink(const struct wanted *wanted)
{
    static struct shrink shrink;
    struct job_death death;
    struct plan plan;
    const char *bad;

    shrink.wanted = wanted;
    if (wanted_plan(wanted, &plan, &bad) < 0) {
        fprintf(stderr, "halb_sim: no part of this plan: %s\n", bad);
        return 2;
    }
    if (job_once(attempt, &shrink, &death)) {
        printf("it does not fail\n");
        return 0;
    }
    job_death_key(&death, shrink.key, sizeof(shrink.key));
    job_death_free(&death);
    printf("what is to stay: %s\n", shrink.key);
    add_all(&shrink, &plan);
    for (unsigned round = 0; round < ROUNDS_MOST && shrink_round(&shrink, plan.duration_us / 1000000); round++)
        ;
    show(&shrink);
    return 1;
}
