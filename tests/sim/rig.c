#include "rig.h"
#include "actors.h"
#include "alloc.h"
#include "common/board.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/net.h"
#include "common/ring.h"
#include "lb/control.h"
#include "lb/generation.h"
#include "lb/halb_checks.h"
#include "lb/instance.h"
#include "lb/listener.h"
#include "lb/sticky.h"
#include "lb/worker.h"
#include "oracle.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_US 100000              /* how often it looks for the end of a phase */
#define CONFIG_BYTES (64 * 1024)
#define SHUTDOWN_US 30000000        /* what shutdown_timeout is by default */
#define END_US 30000000             /* how long its end may take when nothing is waited for */

enum phase { PHASE_ACTIVE, PHASE_CALM, PHASE_STOPPING };

static struct rig {
    const struct plan *plan;
    struct rig_figures figures;
    enum phase phase;
    struct event look;
    uint64_t started_us, recovered_by_us, rest_by_us, stopped_by_us, ended_by_us;
    struct act { struct event event; const struct plan_act *what; bool due; } acts[PLAN_ACTS];
    bool stop_due, cut_due;

    /* halb's main task and what it has made */
    struct task *main;
    struct ring *ring;
    struct board *board;
    void *checks;
    struct control *control;
    const struct generation *newest;        /* planned; in force soon after */
    unsigned changes;
    bool changing;
    struct worker_shared shared;
    struct sticky_keys *sticky_keys;
    struct worker **workers;
    unsigned worker_count;
    bool started;
} rig;

const struct generation *rig_generation(void)
{
    return rig.newest;
}

unsigned rig_changes(void)
{
    return rig.changes;
}

bool rig_changing(void)
{
    return rig.changing || !rig.started;
}

uint64_t rig_counted(enum worker_counter counter)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < rig.worker_count; i++)
        sum += atomic_load(&rig.workers[i]->counters[counter]);
    return sum;
}

uint64_t rig_serving_us(void)
{
    return rig.phase == PHASE_STOPPING ? 0 : rig.started_us;
}

unsigned rig_connections(void)
{
    return atomic_load(&rig.shared.connections);
}

bool rig_calm(void)
{
    return rig.phase != PHASE_ACTIVE;
}

bool rig_stopping(void)
{
    return rig.phase == PHASE_STOPPING;
}

/* ---- the operator, in halb's main task ---- */

static const struct config *config_now(void)
{
    return control_generation(rig.control)->config;
}

static const struct config_instance *instance_conf(unsigned target)
{
    const struct config *config = config_now();
    struct addr address = plan_instance_address(target);

    for (size_t i = 0; i < config->instance_count; i++)
        if (addr_equal_host(&config->instances[i].address, &address))
            return &config->instances[i];
    return NULL;
}

static const char *balancer_name(unsigned balancer)
{
    const struct config *config = config_now();

    for (size_t i = 0; i < config->balancer_count; i++)
        if (config->balancers[i].listeners[0].port == rig.plan->balancers[balancer].port)
            return config->balancers[i].name;
    return "";
}

static enum control_code change_check(unsigned index, const char *balancer, uint64_t value, struct control_error *error)
{
    struct plan_balancer varied = rig.plan->balancers[index];
    char interval[32], timeout[32], unhealthy[16], healthy[16];
    struct config_health_change change = { .interval = interval, .timeout = timeout, .unhealthy_threshold = unhealthy, .healthy_threshold = healthy };

    plan_check_vary(rig.plan, &varied, value);
    config_format_duration(varied.interval_ms, interval);
    config_format_duration(varied.timeout_ms, timeout);
    snprintf(unhealthy, sizeof(unhealthy), "%u", varied.unhealthy);
    snprintf(healthy, sizeof(healthy), "%u", varied.healthy);
    return control_health_check(rig.control, balancer, &change, error);
}

static struct config *config_of(uint64_t variant)
{
    static char text[CONFIG_BYTES];
    struct config_errors errors;
    struct config *config = NULL;

    plan_config(rig.plan, variant, text, sizeof(text));
    if (config_parse(text, "sim.conf", &config, &errors) < 0) {
        if (errors.count > 0 && !alloc_nth_reached())
            world_fail("rig: the plan's configuration is refused: %s\n%s", errors.lines[0], text);
        config = NULL;
    }
    config_errors_free(&errors);
    return config;
}

static enum control_code reload(uint64_t variant, struct control_error *error)
{
    struct config *config = config_of(variant);

    return config == NULL ? CONTROL_FAILED : control_reload(rig.control, config, error);
}

static void act_now(const struct plan_act *act)
{
    struct control_error error = { .message = "" };
    const struct config_instance *conf = instance_conf(act->target);
    const char *balancer = balancer_name(act->kind == ACT_CHECK ? act->target : rig.plan->instances[act->target % PLAN_INSTANCES].balancer);
    enum control_code code = CONTROL_OK;

    if (conf == NULL && act->kind != ACT_RELOAD && act->kind != ACT_CHECK)
        return;
    switch (act->kind) {
    case ACT_REGISTER:
        code = control_register(rig.control, balancer, &conf->id, 1, &error);
        break;
    case ACT_DEREGISTER:
        code = control_deregister(rig.control, balancer, &conf->id, 1, &error);
        break;
    case ACT_ADMIN:
        code = control_set_admin(rig.control, balancer, conf->id, (enum slot_admin)act->value, &error);
        break;
    case ACT_CHECK:
        code = change_check(act->target, balancer, act->value, &error);
        break;
    case ACT_RELOAD:
        code = reload(act->value, &error);
        break;
    case ACT_MANNER:
    case ACT_KINDS:
        break;
    }
    trace("operator: act %u on %u: %d %s", act->kind, act->target, code, error.message);
}

static void order(enum worker_state state)
{
    for (unsigned i = 0; i < rig.worker_count; i++)
        worker_order(rig.workers[i], state);
}

/* Everybody well, nobody held back by the operator: what a recovered system looks like. */
static void heal(void)
{
    const struct generation *generation = control_generation(rig.control);

    for (size_t b = 0; b < generation->balancer_count; b++)
        for (size_t i = 0; i < generation->balancers[b].registered_count; i++)
            slot_set_admin(generation->balancers[b].instances[i]->slot, ADMIN_AUTO);
}

static void on_woken(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < PLAN_ACTS; i++) {
        if (!rig.acts[i].due)
            continue;
        rig.acts[i].due = false;
        rig.changing = true;
        act_now(rig.acts[i].what);
        rig.changing = false;
    }
    if (rig.phase == PHASE_CALM && rig.recovered_by_us == 0)
        heal();
    if (rig.stop_due)
        order(rig.cut_due ? WORKER_STOPS : WORKER_DRAINS);
    rig.stop_due = false;
}

static void on_act(struct event *event)
{
    struct act *act = (struct act *)((char *)event - offsetof(struct act, event));

    if (act->what->kind == ACT_MANNER) {
        instance_become(act->what->target, act->what->manner);
        return;
    }
    act->due = true;
    if (rig.started)
        ring_wake(rig.ring);
}

/* ---- halb's main task ---- */

static int plan_checks(void *arg, const struct generation *generation)
{
    int r = halb_checks.plan(rig.checks, generation);

    (void)arg;
    if (r == 0) {
        rig.newest = generation;
        rig.changes++;
    }
    return r;
}

static int listen_for(void *arg, const struct generation *generation, unsigned balancer, unsigned node, unsigned listener, unsigned worker)
{
    const struct balancer *b = &generation->balancers[balancer];
    struct addr at = addr_with_port(b->nodes[node].subnet->address, b->conf->listeners[listener].port);

    (void)arg;
    (void)worker;
    return kernel_listen(&at);
}

static int worker_begin(unsigned index)
{
    const struct generation *generation = control_generation(rig.control);
    size_t count = control_listeners(generation, NULL);
    struct listener_conf *confs = calloc(count + 1, sizeof(*confs));
    struct worker_conf conf = {
        .index = index, .shared = &rig.shared, .generation = (struct generation *)generation, .listeners = confs, .listener_count = count,
    };
    int r = confs == NULL ? -ENOMEM : 0;

    if (r == 0)
        control_listeners(generation, confs);
    for (size_t i = 0; r >= 0 && i < count; i++)
        confs[i].fd = r = listen_for(NULL, generation, confs[i].balancer, confs[i].node, confs[i].listener, index);
    if (r >= 0)
        r = worker_start(&conf, &rig.workers[index]);
    for (size_t i = 0; r < 0 && confs != NULL && i < count; i++)
        if (confs[i].fd >= 0)
            net_close(confs[i].fd);
    free(confs);
    if (r == 0)
        rig.worker_count++;
    return r;
}

static int control_begin(struct config *config)
{
    struct control_conf conf = {
        .ring = rig.ring, .board = rig.board, .plan = plan_checks, .listen = listen_for, .worker_count = rig.plan->workers,
    };

    return control_new(&conf, config, &rig.control);
}

static unsigned power_of_two(unsigned least)
{
    unsigned n = 4;

    while (n < least)
        n *= 2;
    return n;
}

/* As daemon_begin(). What fails here ends the start; everything that was made is given back by finish(). */
static int begin(void)
{
    struct ring_conf ring_conf = { .ops_max = 1024, .small_count = 16, .small_bytes = 16 * 1024, .woken = on_woken };
    static const struct sticky_key sticky_key = { .bytes = "a key of this world alone" };
    struct config *config = config_of(0);
    int r;

    if (config == NULL)
        return -ENOMEM;
    rig.shared.connections_max = rig.plan->max_connections;
    r = ring_new(&ring_conf, &rig.ring);
    if (r == 0)
        r = board_new(&rig.board);
    if (r == 0)
        r = halb_checks.start(rig.board, &rig.checks);
    if (r < 0) {
        config_free(&config);
        return r;
    }
    rig.shared.board = rig.board;
    if (rig.plan->balancers[0].sticky)
        r = sticky_keys_new(&sticky_key, NULL, &rig.sticky_keys);
    rig.shared.sticky_keys = rig.sticky_keys;
    rig.shared.small_buffers = rig.plan->faults.buffers > 0 ? power_of_two(rig.plan->faults.buffers) : WORKER_SMALL_BUFFERS;
    rig.shared.bulk_buffers = rig.plan->faults.buffers > 0 ? 2 : WORKER_BULK_BUFFERS;
    if (r == 0)
        r = control_begin(config);
    else
        config_free(&config);
    rig.workers = calloc(rig.plan->workers, sizeof(struct worker *));
    if (rig.workers == NULL)
        r = -ENOMEM;
    for (unsigned i = 0; r == 0 && i < rig.plan->workers; i++)
        r = worker_begin(i);
    if (rig.control != NULL)
        control_set_workers(rig.control, rig.workers, rig.worker_count);
    return r;
}

static bool workers_finished(void)
{
    for (unsigned i = 0; i < rig.worker_count; i++)
        if (!worker_finished(rig.workers[i]))
            return false;
    return true;
}

/* As the daemon's finish(). */
static void finish(void)
{
    order(WORKER_STOPS);
    while (!workers_finished())
        clock_sleep_ms(20);
    if (rig.worker_count > 0)
        oracle_workers_ended();
    if (rig.control != NULL)
        control_set_workers(rig.control, NULL, 0);
    for (unsigned i = 0; i < rig.worker_count; i++)
        worker_free(&rig.workers[i]);
    rig.worker_count = 0;
    free(rig.workers);
    rig.workers = NULL;
    if (rig.checks != NULL)
        halb_checks.stop(&rig.checks);
    rig.newest = NULL;
    rig.changes++;
    if (rig.control != NULL)
        control_free(&rig.control);
    sticky_keys_free(&rig.sticky_keys);
    if (rig.board != NULL)
        board_free(&rig.board);
    if (rig.ring != NULL)
        ring_free(&rig.ring);
}

static void *halb_main(void *arg)
{
    int r = begin();

    (void)arg;
    rig.started = r == 0;
    rig.started_us = r == 0 ? world_now_us() : 0;
    if (r < 0 && !alloc_nth_reached() && !kernel_nth_reached())
        world_fail("rig: halb did not start: %s", strerror(-r));
    trace("halb: %s", r == 0 ? "started" : "could not start");
    if (r == 0)
        ring_wake(rig.ring);            /* acts may have come due while it began */
    while (r == 0 && !(rig.phase == PHASE_STOPPING && workers_finished()))
        r = ring_step(rig.ring);
    if (r < 0 && rig.started)
        world_fail("rig: the main ring failed: %s", strerror(-r));
    finish();
    while (!rig.started && !clients_done()) {       /* they find nobody */
        clients_hurry();
        clock_sleep_ms(1000);
    }
    return NULL;
}

/* ---- the phases of a run ---- */

static bool all_in_service(void)
{
    const struct generation *generation = rig_generation();

    for (size_t b = 0; b < generation->balancer_count; b++)
        for (size_t i = 0; i < generation->balancers[b].registered_count; i++) {
            struct slot_status status = slot_status(generation->balancers[b].instances[i]->slot);
            if (status.state != SLOT_IN_SERVICE && status.why != WHY_ZONE_NOT_ENABLED)
                return false;
        }
    return true;
}

static uint64_t recovery_us(void)
{
    const struct generation *generation = rig_generation();
    uint64_t most = 0;

    for (size_t b = 0; b < generation->balancer_count; b++) {
        const struct config_health_check *check = &generation->balancers[b].conf->health_check;
        uint64_t ms = (check->healthy_threshold + 2) * check->interval_ms + 2 * check->timeout_ms;
        most = ms > most ? ms : most;
    }
    return most * 1000 + 5000000;
}

/* Nobody has tunnels where the plan does not say how long one may be silent. */
static uint64_t tunnel_ms(size_t b)
{
    const struct config_balancer *conf = rig_generation()->balancers[b].conf;

    return conf->listeners[0].port == rig.plan->balancers[0].port && rig.plan->balancers[0].tunnel_timeout_ms > 0 ? conf->attributes.tunnel_timeout_ms : 0;
}

/* How long a connection may stay whose other end has gone without a word. */
static uint64_t idle_us(void)
{
    const struct generation *generation = rig_generation();
    uint64_t most = 0;

    for (size_t b = 0; b < generation->balancer_count; b++) {
        const struct config_attributes *a = &generation->balancers[b].conf->attributes;
        uint64_t ms = a->idle_timeout_ms + a->request_header_timeout_ms + a->request_body_timeout_ms + tunnel_ms(b);
        most = ms > most ? ms : most;
    }
    return most * 1000 + 20000000;
}

static void calm_begin(void)
{
    trace("rig: from here on all is calm and well");
    rig.phase = PHASE_CALM;
    kernel_calm();
    clients_hurry();
    for (unsigned i = 0; i < PLAN_INSTANCES; i++)
        if (rig.plan->instances[i].present)
            instance_become(i, MANNER_WELL);
    for (size_t i = 0; i < PLAN_ACTS; i++)
        event_clear(&rig.acts[i].event);
    ring_wake(rig.ring);
}

static void stop_begin(void)
{
    trace("rig: halb is told to stop");
    rig.phase = PHASE_STOPPING;
    rig.stop_due = true;
    rig.cut_due = rig.plan->cut_at_end;
    rig.stopped_by_us = world_now_us() + SHUTDOWN_US;
    ring_wake(rig.ring);
}

static void calm_look(void)
{
    if (rig.recovered_by_us == 0)
        rig.recovered_by_us = world_now_us() + recovery_us();
    if (!all_in_service() && world_now_us() > rig.recovered_by_us)
        world_fail("rig: all instances are well again, and one is still not in service");
    if (!all_in_service() || !clients_done())
        return;
    if (rig.rest_by_us == 0)
        rig.rest_by_us = world_now_us() + idle_us();
    if (oracle_at_rest())
        stop_begin();
    else if (world_now_us() > rig.rest_by_us)
        oracle_restless();
}

static void on_look(struct event *event)
{
    if (rig.phase == PHASE_CALM)
        calm_look();
    else if (rig.phase == PHASE_ACTIVE && rig.started && world_now_us() >= WORLD_START_US + rig.plan->duration_us)
        calm_begin();
    else if (rig.phase == PHASE_STOPPING && world_now_us() > rig.stopped_by_us) {
        rig.stop_due = rig.cut_due = true;
        rig.stopped_by_us = UINT64_MAX;
        rig.ended_by_us = world_now_us() + END_US;
        ring_wake(rig.ring);
    } else if (rig.ended_by_us != 0 && world_now_us() > rig.ended_by_us) {
        world_fail("rig: halb was told to stop at once, and has not ended since");
    }
    if (rig.phase == PHASE_STOPPING && rig.main != NULL && !task_ended(rig.main))
        ring_wake(rig.ring);            /* the daemon looks for the workers' end, too */
    event_set(event, world_now_us() + LOOK_US);
}

static void acts_begin(const struct plan *plan)
{
    for (size_t i = 0; i < PLAN_ACTS; i++) {
        struct act *act = &rig.acts[i];
        event_init(&act->event, on_act);
        act->what = &plan->acts[i];
        if (plan->acts[i].present)
            event_set(&act->event, WORLD_START_US + plan->acts[i].at_us);
    }
}

static void world_make(const struct plan *plan, bool trace_it)
{
    struct world_conf world = { .seed = plan->seed, .stall_permille = plan->stall_permille, .stall_max_us = plan->stall_max_us, .trace = trace_it };
    struct kernel_conf kernel = { .seed = plan->seed, .faults = plan->faults, .net = plan->net };

    kernel.faults.buffers = 0;          /* fewer buffers are given by halb itself: begin() */
    log_open(trace_it ? LOG_DEBUG : LOG_ERROR);
    world_begin(&world);
    kernel_begin(&kernel);
    kernel_fail_nth(plan->nth_what, plan->nth);
    oracle_begin(plan);
    instances_begin(plan);
    clients_begin(plan);
    acts_begin(plan);
}

void rig_run(const struct plan *plan, bool trace_it)
{
    rig = (struct rig){ .plan = plan };
    alloc_begin();
    world_make(plan, trace_it);
    event_init(&rig.look, on_look);
    event_set(&rig.look, world_now_us() + LOOK_US);
    world_each_step(oracle_look);
    rig.main = task_start("main", halb_main, NULL);
    world_run(rig.main);
    task_free(&rig.main);
    event_clear(&rig.look);
    for (size_t i = 0; i < PLAN_ACTS; i++)
        event_clear(&rig.acts[i].event);
    clients_end();
    instances_end();
    kernel_end();
    oracle_end();
    rig.figures.simulated_us = world_now_us() - WORLD_START_US;
    rig.figures.steps = world_steps();
    rig.figures.faults = kernel_totals().faults;
    oracle_figures(&rig.figures.requests, &rig.figures.answers_5xx);
    world_end();
}

struct rig_figures rig_figures(void)
{
    return rig.figures;
}
