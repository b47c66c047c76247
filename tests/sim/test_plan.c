/* Every seed's plan is one that halb loads, the same each time, and can be narrowed. */
#include "tests/sim/plan.h"
#include "common/config.h"
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define SEEDS 2000
#define TEXT_BYTES 65536

static struct config *parsed(const struct plan *plan, uint64_t variant)
{
    static char text[TEXT_BYTES];
    struct config_errors errors;
    struct config *config = NULL;
    size_t len = plan_config(plan, variant, text, sizeof(text));

    assert_int_equal(len, strlen(text));
    if (config_parse(text, "plan", &config, &errors) < 0)
        fail_msg("seed %" PRIu64 ", variant %" PRIu64 ": %s\n%s", plan->seed, variant, errors.count > 0 ? errors.lines[0] : "no memory", text);
    config_errors_free(&errors);
    return config;
}

/* What the text says and what struct plan says are the same. */
static void same_balancer(const struct plan_balancer *b, const struct config_balancer *conf)
{
    assert_int_equal(conf->listeners[0].port, b->port);
    assert_int_equal(conf->listeners[0].protocol == PROTOCOL_HTTP, b->http);
    assert_int_equal(conf->health_check.target.protocol == PROTOCOL_HTTP, b->http_check);
    assert_int_equal(conf->health_check.target.port, b->instance_port);
    assert_int_equal(conf->health_check.interval_ms, b->interval_ms);
    assert_int_equal(conf->health_check.timeout_ms, b->timeout_ms);
    assert_int_equal(conf->health_check.unhealthy_threshold, b->unhealthy);
    assert_int_equal(conf->health_check.healthy_threshold, b->healthy);
    assert_int_equal(conf->attributes.retries, b->retries);
    assert_int_equal(conf->attributes.surge_queue, b->surge_queue);
    assert_int_equal(conf->attributes.draining, b->draining);
    assert_int_equal(conf->attributes.fail_open, b->fail_open);
    assert_int_equal(conf->attributes.cross_zone, b->cross_zone);
    assert_int_equal(conf->attributes.connect_timeout_ms, b->connect_timeout_ms);
    assert_int_equal(conf->attributes.idle_timeout_ms, b->idle_timeout_ms);
    assert_int_equal(conf->attributes.draining_timeout_ms, b->draining_timeout_ms);
    if (b->tunnel_timeout_ms > 0) {
        assert_int_equal(conf->attributes.tunnel_timeout_ms, b->tunnel_timeout_ms);
        assert_int_equal((conf->attributes.upgrades & UPGRADE_WEBSOCKET) != 0, b->upgrades);
    }
}

static void same_instances(const struct plan *plan, const struct config *config)
{
    for (unsigned i = 0; i < PLAN_INSTANCES; i++) {
        const struct plan_instance *instance = &plan->instances[i];
        struct addr address = plan_instance_address(i);
        const struct config_instance *conf;
        char id[16];
        snprintf(id, sizeof(id), "i%u", i);
        conf = config_find_instance(config, id);
        assert_int_equal(conf != NULL, instance->present);
        if (conf == NULL)
            continue;
        assert_true(addr_equal_host(&conf->address, &address));
        assert_int_equal(conf->weight, instance->weight);
        assert_int_equal(conf->max_connections, instance->max_connections);
    }
}

static void same(const struct plan *plan, const struct config *config)
{
    assert_int_equal(config->process.workers, plan->workers);
    for (unsigned b = 0; b < PLAN_BALANCERS; b++) {
        const struct config_balancer *conf = config_find_balancer(config, plan_balancer_name(b));
        assert_int_equal(conf != NULL, plan->balancers[b].present);
        if (conf == NULL)
            continue;
        assert_int_equal(conf->subnet_count, plan->zones);
        same_balancer(&plan->balancers[b], conf);
    }
    same_instances(plan, config);
}

static void test_each_loads(void **state)
{
    struct plan plan;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct config *config;
        plan_make(seed, &plan);
        config = parsed(&plan, 0);
        same(&plan, config);
        config_free(&config);
        config = parsed(&plan, seed * 7);
        config_free(&config);
    }
}

/* Compares what is in the members, not between them: both begin as zeros. */
static void test_a_seed_has_one_plan(void **state)
{
    struct plan once, again;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        memset(&again, 0x5a, sizeof(again));
        plan_make(seed, &once);
        plan_make(seed, &again);
        assert_memory_equal(&once, &again, sizeof(once));
    }
}

static bool strict_act(const struct plan *plan, const struct plan_act *act)
{
    return !act->present || (act->kind != ACT_MANNER && act->at_us < plan->duration_us + 3000000 && plan->instances[0].registered);
}

static void test_a_strict_one_has_no_fault(void **state)
{
    static const struct kernel_faults none;
    unsigned strict = 0;
    struct plan plan;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        plan_make(seed, &plan);
        if (plan.mood != MOOD_STRICT)
            continue;
        strict++;
        plan.faults.late_max_us = 0;
        assert_memory_equal(&plan.faults, &none, sizeof(none));
        assert_int_equal(plan.stall_permille, 0);
        assert_int_equal(plan.net.syn_lost, 0);
        for (unsigned i = 0; i < PLAN_ACTS; i++)
            assert_true(strict_act(&plan, &plan.acts[i]));
    }
    assert_in_range(strict, SEEDS / 4, SEEDS * 7 / 20);
}

/* The goal of simulated time, and what a run costs, are figures of the whole. */
static void test_lengths(void **state)
{
    uint64_t duration_us = 0, requests = 0, checks = 0;
    struct plan plan;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        plan_make(seed, &plan);
        assert_in_range(plan.duration_us, UINT64_C(300000000), UINT64_C(1800000000));
        duration_us += plan.duration_us;
        for (unsigned i = 0; i < PLAN_CLIENTS; i++)
            requests += plan.clients[i].present ? plan.clients[i].requests : 0;
        for (unsigned i = 0; i < PLAN_INSTANCES; i++)
            if (plan.instances[i].present)
                checks += plan.duration_us / 1000 / plan.balancers[plan.instances[i].balancer].interval_ms;
    }
    assert_in_range(duration_us / SEEDS, UINT64_C(900000000), UINT64_C(1000000000));
    assert_in_range(requests / SEEDS, 80, 250);
    assert_in_range(checks / SEEDS, 50, 500);
}

static const struct narrow_row {
    const char *name;
    const char *what;
    int r;
} narrow_rows[] = {
    { "a client", "client:0", 0 },
    { "the last client", "client:23", 0 },
    { "a client that there can not be", "client:24", -EINVAL },
    { "an act", "act:47", 0 },
    { "an act that there can not be", "act:48", -EINVAL },
    { "an instance", "instance:5", 0 },
    { "an instance that there can not be", "instance:6", -EINVAL },
    { "all faults", "faults", 0 },
    { "one fault", "faults.emfile", 0 },
    { "a fault that there is not", "faults.none", -EINVAL },
    { "stalls", "stalls", 0 },
    { "the network's ways", "net", 0 },
    { "a balancer that there can not be", "balancer:2", -EINVAL },
    { "what comes later", "later:1", 0 },
    { "all", "later:0", -EINVAL },
    { "no number", "client:", -EINVAL },
    { "a sign", "client:-1", -EINVAL },
    { "more than a number", "client:1x", -EINVAL },
    { "an unknown class", "clients:1", -EINVAL },
    { "nothing", "", -EINVAL },
};

static void test_without(void **state)
{
    const struct narrow_row *row = *state;

    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct config *config;
        struct plan plan;
        plan_make(seed, &plan);
        assert_int_equal(plan_without(&plan, row->what), row->r);
        config = parsed(&plan, 0);
        same(&plan, config);
        config_free(&config);
    }
}

static void test_without_a_balancer(void **state)
{
    struct plan plan;
    uint64_t seed = 1;
    struct config *config;

    (void)state;
    do
        plan_make(seed++, &plan);
    while (!plan.balancers[1].present);
    assert_int_equal(plan_without(&plan, "balancer:0"), 0);
    assert_int_equal(plan_without(&plan, "balancer:1"), -EINVAL);
    for (unsigned i = 0; i < PLAN_INSTANCES; i++)
        assert_false(plan.instances[i].present && plan.instances[i].balancer == 0);
    for (unsigned i = 0; i < PLAN_CLIENTS; i++)
        assert_false(plan.clients[i].present && plan.clients[i].balancer == 0);
    config = parsed(&plan, 0);
    assert_int_equal(config->balancer_count, 1);
    config_free(&config);
}

static void test_later_ends_it(void **state)
{
    struct plan plan;

    (void)state;
    plan_make(11, &plan);
    assert_int_equal(plan_without(&plan, "later:60"), 0);
    assert_int_equal(plan.duration_us, 60000000);
    for (unsigned i = 0; i < PLAN_CLIENTS; i++)
        assert_false(plan.clients[i].present && plan.clients[i].start_us >= 60000000);
    for (unsigned i = 0; i < PLAN_ACTS; i++)
        assert_false(plan.acts[i].present && plan.acts[i].at_us >= 60000000);
}

static void test_a_changed_check_loads(void **state)
{
    struct plan plan;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct config *config;
        plan_make(seed, &plan);
        plan_check_vary(&plan, &plan.balancers[0], seed * 31);
        config = parsed(&plan, 0);
        same(&plan, config);
        config_free(&config);
    }
}

#define ROWS (sizeof(narrow_rows) / sizeof(narrow_rows[0]))

int main(void)
{
    struct CMUnitTest tests[ROWS + 7] = {
        cmocka_unit_test(test_each_loads),
        cmocka_unit_test(test_a_seed_has_one_plan),
        cmocka_unit_test(test_a_strict_one_has_no_fault),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_without_a_balancer),
        cmocka_unit_test(test_later_ends_it),
        cmocka_unit_test(test_a_changed_check_loads),
    };

    for (size_t i = 0; i < ROWS; i++)
        tests[7 + i] = (struct CMUnitTest){ .name = narrow_rows[i].name, .test_func = test_without, .initial_state = (void *)&narrow_rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
