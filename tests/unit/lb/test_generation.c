#include "lb/generation.h"
#include "common/board.h"
#include "lb/instance.h"
#include "lb/pool.h"
#include "lb/ranking.h"
#include "lb/secgroup.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORKERS 2
#define NOW_MS 5000

/* Two subnets, in zones a and b; four instances: in a, in b, in c (where there is no subnet) and without a zone. */
static struct config *config_of(const char *registered, const char *more)
{
    struct config_errors errors;
    struct config *config = NULL;
    char *text;
    int r;
    assert_true(asprintf(&text,
                         "instances = ( { id = \"in-a\"; address = \"127.0.1.1\"; zone = \"a\"; }, { id = \"in-b\"; address = \"127.0.1.2\"; zone = \"b\"; },\n"
                         "  { id = \"in-c\"; address = \"127.0.1.3\"; zone = \"c\"; }, { id = \"free\"; address = \"127.0.1.4\"; } );\n"
                         "load_balancers = ( { name = \"lb\"; scheme = \"internal\";\n"
                         "  subnets = ( { id = \"s1\"; cidr = \"127.0.2.0/24\"; zone = \"a\"; address = \"127.0.2.10\"; },\n"
                         "              { id = \"s2\"; cidr = \"127.0.3.0/24\"; zone = \"b\"; address = \"127.0.3.10\"; } );\n"
                         "  listeners = ( { protocol = \"HTTP\"; port = 8080; instance_port = 8080; } );\n"
                         "  health_check = { timeout = \"700ms\"; interval = \"1s\"; };\n"
                         "  instances = [ %s ]; %s } );\n", registered, more) > 0);
    r = config_parse(text, "test", &config, &errors);
    for (size_t i = 0; r < 0 && i < errors.count; i++)
        print_message("%s\n", errors.lines[i]);
    config_errors_free(&errors);
    free(text);
    assert_int_equal(r, 0);
    return config;
}

static struct generation *build(struct board *board, struct config *config, const struct generation *before, const char *zone)
{
    struct generation_conf conf = { .zone = zone, .worker_count = WORKERS, .now_ms = NOW_MS, .board = board };
    struct generation *g = NULL;
    assert_int_equal(generation_new(config, before, &conf, &g), 0);
    return g;
}

static struct board *board_made(void)
{
    struct board *board;
    assert_int_equal(board_new(&board), 0);
    return board;
}

/* "0: in-a in-b; 1: in-a;" - each node by its index, and who may be picked there. */
static void describe(const struct balancer *b, char text[256])
{
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < b->node_count; i++) {
        len += (size_t)snprintf(text + len, 256 - len, "%u:", b->nodes[i].index);
        for (size_t k = 0; k < b->nodes[i].candidate_count; k++)
            len += (size_t)snprintf(text + len, 256 - len, " %s", b->nodes[i].candidates[k].instance->id);
        len += (size_t)snprintf(text + len, 256 - len, ";");
    }
}

#define ALL "\"in-a\", \"in-b\", \"in-c\", \"free\""
#define APART "attributes = { cross_zone = false; };"

static const struct nodes_row {
    const char *name, *registered, *more, *zone, *nodes;
} nodes[] = {
    { "cross_zone: every node uses all",                   "\"in-a\", \"in-b\"", "", NULL, "0: in-a in-b;1: in-a in-b;" },
    { "in the order of registration",                      "\"in-b\", \"in-a\"", "", NULL, "0: in-b in-a;1: in-b in-a;" },
    { "an instance in a zone without a node is not used",  ALL, "", NULL, "0: in-a in-b free;1: in-a in-b free;" },
    { "not cross_zone: each its own zone's",               "\"in-a\", \"in-b\"", APART, NULL, "0: in-a;1: in-b;" },
    { "not cross_zone: who has no zone is everybody's",    ALL, APART, NULL, "0: in-a free;1: in-b free;" },
    { "not cross_zone: a node may have nobody",            "\"in-a\"", APART, NULL, "0: in-a;1:;" },
    { "only zone a: its node alone, with all",             ALL, "", "a", "0: in-a in-b free;" },
    { "only zone b: its index stays",                      ALL, "", "b", "1: in-a in-b free;" },
    { "only zone b, not cross_zone",                       ALL, APART, "b", "1: in-b free;" },
    { "only a zone without a node",                        ALL, "", "c", "" },
    { "nobody registered",                                 "", "", NULL, "0:;1:;" },
};

static void test_nodes(void **state)
{
    const struct nodes_row *row = *state;
    struct board *board = board_made();
    struct generation *g = build(board, config_of(row->registered, row->more), NULL, row->zone);
    char text[256];
    assert_int_equal(g->balancer_count, 1);
    describe(&g->balancers[0], text);
    assert_string_equal(text, row->nodes);
    for (size_t i = 0; i < g->balancers[0].node_count; i++)
        assert_ptr_equal(g->balancers[0].nodes[i].subnet, &g->config->balancers[0].subnets[g->balancers[0].nodes[i].index]);
    generation_unref(&g);
    assert_null(g);
    board_free(&board);
}

static const struct instance *named(const struct generation *g, const char *id)
{
    const struct balancer *b = &g->balancers[0];
    for (size_t i = 0; i < b->instance_count; i++)
        if (strcmp(b->instances[i]->id, id) == 0)
            return b->instances[i];
    return NULL;
}

static struct instance *use(const struct generation *g, unsigned node, const char *id)
{
    static const struct tried none;
    struct pool_ask ask = { .algorithm = ALGORITHM_LEAST_OUTSTANDING, .tried = &none };
    struct instance *instance;
    slot_publish(named(g, id)->slot, (struct slot_status){ .state = SLOT_IN_SERVICE });
    assert_int_equal(pool_pick(&g->balancers[0].nodes[node], &ask, &instance), PICK_ONE);
    assert_ptr_equal(instance, named(g, id));
    return instance;
}

static void test_new_instances(void **state)
{
    struct board *board = board_made();
    struct generation *g = build(board, config_of(ALL, ""), NULL, NULL);
    (void)state;
    assert_int_equal(slot_status(named(g, "in-a")->slot).state, SLOT_NEW);
    assert_int_equal(slot_status(named(g, "in-a")->slot).why, WHY_REGISTERING);
    assert_int_equal(slot_status(named(g, "free")->slot).state, SLOT_NEW);
    assert_int_equal(slot_status(named(g, "in-c")->slot).state, SLOT_OUT_OF_SERVICE);
    assert_int_equal(slot_status(named(g, "in-c")->slot).why, WHY_ZONE_NOT_ENABLED);
    assert_int_equal(named(g, "in-a")->node_count, 2);
    assert_int_equal(named(g, "in-a")->worker_count, WORKERS);
    assert_int_equal(g->balancers[0].first_checks_ms, NOW_MS + 700);
    assert_int_equal(g->balancers[0].registered_count, 4);
    assert_int_equal(g->balancers[0].instance_count, 4);
    generation_unref(&g);
    board_free(&board);
}

static void test_who_stays_is_the_same(void **state)
{
    struct board *board = board_made();
    struct generation *g = build(board, config_of("\"in-a\"", ""), NULL, NULL), *next;
    struct instance *busy = use(g, 1, "in-a");
    (void)state;
    g->balancers[0].first_checks_ms = 77;
    atomic_store(&g->balancers[0].live->nodes[1].tickets, 5);
    next = build(board, config_of("\"in-a\"", ""), g, NULL);
    assert_ptr_equal(named(next, "in-a"), busy);
    assert_int_equal(instance_outstanding(busy), 1);
    assert_int_equal(slot_status(busy->slot).state, SLOT_IN_SERVICE);
    assert_int_equal(next->balancers[0].first_checks_ms, 77);       /* nobody new: nobody waits again */
    assert_ptr_equal(next->balancers[0].live, g->balancers[0].live);
    generation_unref(&g);
    assert_int_equal(atomic_load(&next->balancers[0].live->nodes[1].tickets), 5);
    assert_int_equal(instance_outstanding(busy), 1);
    pool_release(1, &busy);
    generation_unref(&next);
    board_free(&board);
}

static void test_who_comes_is_waited_for(void **state)
{
    struct board *board = board_made();
    struct generation *g = build(board, config_of("\"in-a\"", ""), NULL, NULL), *next;
    (void)state;
    g->balancers[0].first_checks_ms = 77;
    next = build(board, config_of("\"in-b\", \"in-a\"", ""), g, NULL);
    assert_ptr_equal(named(next, "in-a"), named(g, "in-a"));
    assert_int_equal(slot_status(named(next, "in-b")->slot).state, SLOT_NEW);
    assert_int_equal(next->balancers[0].first_checks_ms, NOW_MS + 700);
    generation_unref(&g);
    generation_unref(&next);
    board_free(&board);
}

static const struct leave_row {
    const char *name;
    enum instance_phase phase;
    bool busy, carried;
} leaves[] = {
    { "who has not been told yet is carried",             INSTANCE_REGISTERED, false, true },
    { "who drains and has work is carried",               INSTANCE_DRAINING,   true,  true },
    { "who drains and has none is gone",                  INSTANCE_DRAINING,   false, false },
    { "who was cut and has work that ends is carried",    INSTANCE_CUT,        true,  true },
    { "who was cut and has none is gone",                 INSTANCE_CUT,        false, false },
};

static void test_leave(void **state)
{
    const struct leave_row *row = *state;
    struct board *board = board_made();
    struct generation *g = build(board, config_of("\"in-a\", \"in-b\"", ""), NULL, NULL), *next;
    const struct instance *left = named(g, "in-a");
    struct instance *busy = row->busy ? use(g, 0, "in-a") : NULL;
    char text[256];
    atomic_store(&g->balancers[0].instances[0]->phase, row->phase);
    next = build(board, config_of("\"in-b\"", ""), g, NULL);
    assert_int_equal(next->balancers[0].registered_count, 1);
    assert_int_equal(next->balancers[0].instance_count, row->carried ? 2 : 1);
    if (row->carried)
        assert_ptr_equal(next->balancers[0].instances[1], left);
    describe(&next->balancers[0], text);
    assert_string_equal(text, "0: in-b;1: in-b;");              /* no new work */
    generation_unref(&g);
    if (busy != NULL)
        pool_release(0, &busy);
    generation_unref(&next);
    board_free(&board);
}

static void test_carried_until_its_work_ends(void **state)
{
    struct board *board = board_made();
    struct generation *g = build(board, config_of("\"in-a\", \"in-b\"", ""), NULL, NULL), *next;
    struct instance *busy = use(g, 0, "in-a");
    (void)state;
    atomic_store(&busy->phase, INSTANCE_DRAINING);
    for (unsigned i = 0; i < 3; i++) {          /* through changes that have nothing to do with it, as by NULL */
        next = build(board, i == 1 ? config_of("\"in-b\"", "") : i == 2 ? NULL : config_of("\"in-b\", \"free\"", ""), g, NULL);
        generation_unref(&g);
        g = next;
        assert_ptr_equal(named(g, "in-a"), busy);
    }
    pool_release(0, &busy);
    next = build(board, NULL, g, NULL);
    assert_null(named(next, "in-a"));
    assert_ptr_equal(next->config, g->config);
    generation_unref(&g);
    assert_string_equal(next->config->balancers[0].name, "lb");
    generation_unref(&next);
    board_free(&board);
}

static const struct return_row {
    const char *name;
    enum instance_phase phase;
    bool same;
} returns[] = {
    { "who returns while draining registers anew: its verdict may be stale", INSTANCE_DRAINING, false },
    { "who was cut returns as a new one",                   INSTANCE_CUT,      false },
};

static void test_return(void **state)
{
    const struct return_row *row = *state;
    struct board *board = board_made();
    struct generation *g = build(board, config_of("\"in-a\", \"in-b\"", ""), NULL, NULL), *without, *with;
    struct instance *busy = use(g, 0, "in-a");
    atomic_store(&busy->phase, row->phase);
    without = build(board, config_of("\"in-b\"", ""), g, NULL);
    with = build(board, config_of("\"in-b\", \"in-a\"", ""), without, NULL);
    assert_int_equal(named(with, "in-a") == busy, row->same);
    assert_int_equal(with->balancers[0].registered_count, 2);
    assert_int_equal(with->balancers[0].instance_count, row->same ? 2 : 3);
    generation_unref(&g);
    generation_unref(&without);
    pool_release(0, &busy);
    generation_unref(&with);
    board_free(&board);
}

static const struct change_row {
    const char *name, *address, *zone;  /* NULL: stays */
} changes[] = {
    { "another address is another instance", "127.0.1.9", NULL },
    { "another zone is another instance",    NULL, "b" },
};

/* A configuration belongs to its maker until it is handed over, so it may be changed here. */
static struct config *config_changed(const struct change_row *row)
{
    struct config *config = config_of("\"in-a\"", "");
    if (row->address != NULL)
        assert_int_equal(addr_parse(row->address, &config->instances[0].address), 0);
    if (row->zone != NULL)
        config->instances[0].zone = row->zone;
    return config;
}

static void test_change(void **state)
{
    const struct change_row *row = *state;
    struct board *board = board_made();
    struct generation *g = build(board, config_of("\"in-a\"", ""), NULL, NULL), *next;
    slot_publish(named(g, "in-a")->slot, (struct slot_status){ .state = SLOT_IN_SERVICE });
    next = build(board, config_changed(row), g, NULL);
    assert_ptr_not_equal(named(next, "in-a"), named(g, "in-a"));
    assert_int_equal(slot_status(named(next, "in-a")->slot).state, SLOT_NEW);       /* the verdict was about another */
    assert_int_equal(next->balancers[0].registered_count, 1);
    assert_int_equal(next->balancers[0].instance_count, 2);
    generation_unref(&g);
    generation_unref(&next);
    board_free(&board);
}

#define MANY 300

static struct config *config_of_many(void)
{
    struct config_errors errors;
    struct config *config = NULL;
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    fprintf(f, "instances = (");
    for (unsigned i = 0; i < MANY; i++)
        fprintf(f, "%s { id = \"i-%u\"; address = \"127.1.%u.%u\"; }", i == 0 ? "" : ",", i, i / 250, 1 + i % 250);
    fprintf(f, "); load_balancers = ( { name = \"lb\"; scheme = \"internal\"; instances = [");
    for (unsigned i = 0; i < MANY; i++)
        fprintf(f, "%s \"i-%u\"", i == 0 ? "" : ",", i);
    fprintf(f, "]; subnets = ( { id = \"s1\"; cidr = \"127.0.2.0/24\"; zone = \"a\"; address = \"127.0.2.10\"; } );\n"
               "  listeners = ( { protocol = \"HTTP\"; port = 8080; instance_port = 8080; } ); } );\n");
    assert_int_equal(fclose(f), 0);
    assert_int_equal(config_parse(text, "test", &config, &errors), 0);
    config_errors_free(&errors);
    free(text);
    return config;
}

/* Work goes on over a change: ranked by the generation before, given back to the next, by name and by turn. */
static void test_a_large_node(void **state)
{
    static const struct tried none;
    struct pool_ask ask = { .algorithm = ALGORITHM_LEAST_OUTSTANDING, .tried = &none };
    struct board *board = board_made();
    struct generation *g = build(board, config_of_many(), NULL, NULL), *next;
    struct instance *busy[MANY], *other;
    (void)state;
    assert_true(MANY >= RANKING_MIN);
    assert_non_null(g->balancers[0].nodes[0].ranking);
    for (size_t i = 0; i < MANY; i++)
        slot_publish(g->balancers[0].instances[i]->slot, (struct slot_status){ .state = SLOT_IN_SERVICE });
    for (size_t i = 0; i < MANY; i++) {
        char id[16];
        snprintf(id, sizeof(id), "i-%zu", i);
        assert_int_equal(pool_pick_named(&g->balancers[0].nodes[0], &ask, id, &busy[i]), PICK_ONE);
        assert_string_equal(busy[i]->id, id);
    }
    assert_int_equal(pool_pick_named(&g->balancers[0].nodes[0], &ask, "i-", &other), PICK_NONE);
    next = build(board, config_of_many(), g, NULL);
    generation_unref(&g);
    assert_int_equal(pool_pick(&next->balancers[0].nodes[0], &ask, &other), PICK_ONE);
    assert_ptr_equal(other, busy[0]);
    pool_release(0, &other);
    pool_release(0, &busy[77]);
    assert_int_equal(pool_pick(&next->balancers[0].nodes[0], &ask, &busy[77]), PICK_ONE);
    assert_string_equal(busy[77]->id, "i-77");
    generation_unref(&next);
    for (size_t i = 0; i < MANY; i++)       /* nobody else is left: work that has ended is counted all the same */
        pool_release(0, &busy[i]);
    board_free(&board);
}

static void test_found_by_name(void **state)
{
    struct board *board = board_made();
    struct generation *g = build(board, config_of("\"in-a\"", ""), NULL, NULL);
    struct addr anyone;
    (void)state;
    assert_ptr_equal(generation_find(g, "lb"), &g->balancers[0]);
    assert_null(generation_find(g, "l"));
    assert_null(generation_find(g, "lb2"));
    assert_int_equal(addr_parse("203.0.113.9", &anyone), 0);
    assert_true(secgroup_admits(g->balancers[0].admitted, 8080, &anyone));
    generation_unref(&g);
    board_free(&board);
}

static void test_lives_until_the_last_reference(void **state)
{
    struct board *board = board_made();
    struct generation *g = build(board, config_of("\"in-a\"", ""), NULL, NULL), *other = generation_ref(g);
    (void)state;
    assert_ptr_equal(other, g);
    generation_unref(&g);
    assert_null(g);
    generation_unref(&g);               /* none is fine */
    assert_string_equal(other->config->balancers[0].name, "lb");
    board_free(&board);                 /* the board's memory stays until the last slot is gone */
    assert_int_equal(slot_status(named(other, "in-a")->slot).state, SLOT_NEW);
    generation_unref(&other);
}

#define ROWS(table, function)                                                                     \
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)                                 \
        tests[count++] = (struct CMUnitTest){ .name = table[i].name, .test_func = (function), .initial_state = (void *)&table[i] }

int main(void)
{
    static struct CMUnitTest tests[64];
    size_t count = 0;
    ROWS(nodes, test_nodes);
    ROWS(leaves, test_leave);
    ROWS(returns, test_return);
    ROWS(changes, test_change);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_new_instances);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_who_stays_is_the_same);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_who_comes_is_waited_for);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_carried_until_its_work_ends);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_a_large_node);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_found_by_name);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_lives_until_the_last_reference);
    return _cmocka_run_group_tests("generation", tests, count, NULL, NULL);
}
