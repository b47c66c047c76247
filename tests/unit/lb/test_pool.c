#include "lb/pool.h"
#include "common/board.h"
#include "lb/generation.h"
#include "lb/instance.h"
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
/*
 * Shares are counted outside of the pool: what counts is how often each
 * instance was given.
 */
#define INSTANCES_MAX 8
#define THREADS 4

static const struct tried nothing_tried;

struct place {
    struct board *board;
    struct instance *instances[INSTANCES_MAX];
    struct candidate candidates[INSTANCES_MAX];
    atomic_uint_least64_t tickets;
    struct node node;
    unsigned picks[INSTANCES_MAX];
};

static void measured(struct instance *instance, enum slot_state state)
{
    slot_publish(instance->slot, (struct slot_status){ .state = state });
}

static void setup(struct place *p, size_t count)
{
    struct addr address;
    *p = (struct place){ .node = { .index = 1, .candidate_count = count } };
    p->node.candidates = p->candidates;
    p->node.tickets = &p->tickets;
    assert_int_equal(addr_parse("127.0.20.100", &address), 0);
    assert_int_equal(board_new(&p->board), 0);
    for (size_t i = 0; i < count; i++) {
        p->instances[i] = instance_new("id", "", &address, slot_new(p->board, true), 2, 1);
        assert_non_null(p->instances[i]);
        p->candidates[i] = (struct candidate){ .instance = p->instances[i], .weight = 1 };
        measured(p->instances[i], SLOT_IN_SERVICE);
    }
}

static struct instance *given(const struct node *node, enum algorithm algorithm, bool fail_open, const struct tried *tried)
{
    struct pool_ask ask = { .algorithm = algorithm, .fail_open = fail_open, .tried = tried };
    struct instance *instance;
    return pool_pick(node, &ask, &instance) == PICK_ONE ? instance : NULL;
}

static void teardown(struct place *p)
{
    for (size_t i = 0; i < p->node.candidate_count; i++) {
        assert_int_equal(instance_outstanding(p->instances[i]), 0);
        assert_int_equal(atomic_load(&p->instances[i]->refs), 1);       /* each pick had a reference, each release gave it back */
        instance_unref(&p->instances[i]);
    }
    board_free(&p->board);
}

static size_t index_of(const struct place *p, const struct instance *instance)
{
    size_t i = 0;
    while (p->instances[i] != instance)
        assert_true(++i < p->node.candidate_count);
    return i;
}

static struct instance *pick(struct place *p, enum algorithm rule)
{
    struct instance *instance = given(&p->node, rule, false, &nothing_tried);
    assert_non_null(instance);
    p->picks[index_of(p, instance)]++;
    return instance;
}

static void pick_and_release(struct place *p, enum algorithm rule)
{
    struct instance *instance = pick(p, rule);
    pool_release(p->node.index, &instance);
    assert_null(instance);
}

/* Of the picks counted, over those that are eligible. */
static void assert_even(const struct place *p)
{
    unsigned least = UINT32_MAX, most = 0;
    for (size_t i = 0; i < p->node.candidate_count; i++) {
        if (!instance_eligible(p->instances[i]))
            continue;
        least = p->picks[i] < least ? p->picks[i] : least;
        most = p->picks[i] > most ? p->picks[i] : most;
    }
    assert_true(most - least <= 1);
}

static void test_equal_load_is_shared_equally(void **state)
{
    enum algorithm rule = *(const enum algorithm *)*state;
    for (size_t count = 1; count <= INSTANCES_MAX; count++) {
        struct place p;
        setup(&p, count);
        for (unsigned i = 0; i < 3000; i++) {
            pick_and_release(&p, rule);
            assert_even(&p);
        }
        teardown(&p);
    }
}

static void test_any_window_is_even(void **state)
{
    enum algorithm rule = *(const enum algorithm *)*state;
    struct place p;
    setup(&p, 5);
    for (unsigned i = 0; i < 500; i++) {
        memset(p.picks, 0, sizeof(p.picks));
        for (unsigned k = 0; k < i % 23; k++)
            pick_and_release(&p, rule);
        assert_even(&p);
    }
    teardown(&p);
}

static void test_even_after_one_left_and_returned(void **state)
{
    enum algorithm rule = *(const enum algorithm *)*state;
    struct place p;
    setup(&p, 4);
    for (unsigned round = 0; round < 200; round++) {
        memset(p.picks, 0, sizeof(p.picks));
        measured(p.instances[round % 4], SLOT_OUT_OF_SERVICE);
        for (unsigned i = 0; i < 7 + round; i++) {
            pick_and_release(&p, rule);
            assert_even(&p);
        }
        assert_int_equal(p.picks[round % 4], 0);
        memset(p.picks, 0, sizeof(p.picks));        /* who returns makes up for nothing */
        measured(p.instances[round % 4], SLOT_IN_SERVICE);
        for (unsigned i = 0; i < 7 + round; i++) {
            pick_and_release(&p, rule);
            assert_even(&p);
        }
    }
    teardown(&p);
}

/* A worker of many: waits for its turn, picks, passes the turn on (interleaved); or all at once. */
struct picker {
    struct place *place;
    pthread_t thread;
    enum algorithm rule;
    unsigned index, picks[INSTANCES_MAX];
    bool in_turn, release;
    atomic_uint *turn;
};
#define PICKS_EACH 2500

static void *picker_main(void *arg)
{
    struct picker *picker = arg;
    for (unsigned i = 0; i < PICKS_EACH; i++) {
        struct instance *instance;
        while (picker->in_turn && atomic_load(picker->turn) % THREADS != picker->index)
            sched_yield();
        instance = given(&picker->place->node, picker->rule, false, &nothing_tried);
        if (instance == NULL)
            return NULL;            /* the sum will be short */
        for (size_t k = 0; k < picker->place->node.candidate_count; k++)
            picker->picks[k] += picker->place->instances[k] == instance;
        if (picker->release)
            pool_release(picker->place->node.index, &instance);
        atomic_fetch_add(picker->turn, 1);
    }
    return NULL;
}

static const struct threads_row {
    const char *name;
    enum algorithm rule;
    bool in_turn, release;
} threads[] = {
    { "four workers in turn, work done at once: round robin", ALGORITHM_ROUND_ROBIN, true, true },
    { "four workers in turn, work done at once: least outstanding", ALGORITHM_LEAST_OUTSTANDING, true, true },
    { "four workers in turn, work that stays: least outstanding", ALGORITHM_LEAST_OUTSTANDING, true, false },
    { "four workers at once: round robin", ALGORITHM_ROUND_ROBIN, false, true },
    { "four workers at once, work that stays: round robin", ALGORITHM_ROUND_ROBIN, false, false },
    { "four workers at once, work that stays: least outstanding", ALGORITHM_LEAST_OUTSTANDING, false, false },
};

static void run_pickers(struct place *p, const struct threads_row *row)
{
    struct picker pickers[THREADS];
    atomic_uint turn = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        pickers[i] = (struct picker){ .place = p, .rule = row->rule, .index = i, .in_turn = row->in_turn, .release = row->release, .turn = &turn };
        assert_int_equal(pthread_create(&pickers[i].thread, NULL, picker_main, &pickers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(pickers[i].thread, NULL), 0);
        for (unsigned k = 0; k < INSTANCES_MAX; k++)
            p->picks[k] += pickers[i].picks[k];
    }
}

static void test_threads(void **state)
{
    const struct threads_row *row = *state;
    struct place p;
    unsigned sum = 0;
    setup(&p, 7);
    run_pickers(&p, row);
    assert_even(&p);
    for (unsigned i = 0; i < INSTANCES_MAX; i++)
        sum += p.picks[i];
    assert_int_equal(sum, THREADS * PICKS_EACH);
    for (size_t i = 0; !row->release && i < p.node.candidate_count; i++) {
        assert_int_equal(instance_outstanding(p.instances[i]), p.picks[i]);
        for (unsigned k = 0; k < p.picks[i]; k++) {
            struct instance *instance = p.instances[i];
            pool_release(p.node.index, &instance);
        }
    }
    teardown(&p);
}

/* With work that ends at once, who is looked at while it is busy may be passed over: no order holds, but no count is lost. */
static void test_no_use_is_lost_at_once(void **state)
{
    static const struct threads_row row = { .rule = ALGORITHM_LEAST_OUTSTANDING, .release = true };
    struct place p;
    unsigned sum = 0;
    (void)state;
    setup(&p, 3);
    run_pickers(&p, &row);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(p.picks[i] > 0);
        sum += p.picks[i];
    }
    assert_int_equal(sum, THREADS * PICKS_EACH);
    teardown(&p);
}

/* Loads go up and down by chance; each pick must be of the least loaded, and of those of the one picked longest ago. */
static void test_least_outstanding_of_any_load(void **state)
{
    struct place p;
    unsigned seed = (unsigned)time(NULL), load[INSTANCES_MAX] = { 0 }, turn[INSTANCES_MAX] = { 0 }, now = 0;
    (void)state;
    print_message("seed %u\n", seed);
    srandom(seed);
    setup(&p, 6);
    for (unsigned i = 0; i < 20000; i++) {
        size_t k = (size_t)random() % 6, best = 0;
        if (load[k] > 0 && random() % 2 == 0) {
            struct instance *instance = p.instances[k];
            pool_release(p.node.index, &instance);
            load[k]--;
            continue;
        }
        if (random() % 50 == 0)
            measured(p.instances[k], slot_eligible(p.instances[k]->slot) ? SLOT_OUT_OF_SERVICE : SLOT_IN_SERVICE);
        if (!pool_any_eligible(&p.node))
            measured(p.instances[k], SLOT_IN_SERVICE);
        while (!instance_eligible(p.instances[best]))
            best++;
        for (k = best + 1; k < 6; k++)
            if (instance_eligible(p.instances[k]) && (load[k] < load[best] || (load[k] == load[best] && turn[k] < turn[best])))
                best = k;
        assert_ptr_equal(pick(&p, ALGORITHM_LEAST_OUTSTANDING), p.instances[best]);
        load[best]++;
        turn[best] = ++now;
    }
    for (size_t i = 0; i < 6; i++)
        for (; load[i] > 0; load[i]--) {
            struct instance *instance = p.instances[i];
            pool_release(p.node.index, &instance);
        }
    teardown(&p);
}

static void test_round_robin_ignores_load(void **state)
{
    struct place p;
    struct instance *held[30];
    (void)state;
    setup(&p, 3);
    for (unsigned i = 0; i < 30; i++) {
        held[i] = pick(&p, ALGORITHM_ROUND_ROBIN);
        assert_ptr_equal(held[i], p.instances[i % 3]);
        if (i % 3 != 0)             /* the first one keeps all its work */
            pool_release(p.node.index, &held[i]);
    }
    assert_int_equal(instance_outstanding(p.instances[0]), 10);
    for (unsigned i = 0; i < 30; i += 3)
        pool_release(p.node.index, &held[i]);
    teardown(&p);
}

static void test_nodes_count_apart(void **state)
{
    struct place p;
    struct node other;
    (void)state;
    setup(&p, 2);
    other = p.node;
    other.index = 0;
    for (unsigned i = 0; i < 10; i++) {
        struct instance *there = given(&other, ALGORITHM_LEAST_OUTSTANDING, false, &nothing_tried), *here;
        assert_ptr_equal(there, p.instances[i % 2]);
        here = pick(&p, ALGORITHM_LEAST_OUTSTANDING);
        assert_ptr_equal(here, p.instances[i % 2]);
        assert_int_equal(instance_outstanding(here), 2);
        pool_release(other.index, &there);
        pool_release(p.node.index, &here);
    }
    teardown(&p);
}

static void test_tried_are_passed_over(void **state)
{
    enum algorithm rule = *(const enum algorithm *)*state;
    struct tried tried = { .count = 0 };
    struct place p;
    struct instance *held[INSTANCES_MAX];
    setup(&p, INSTANCES_MAX);
    for (unsigned i = 0; i < INSTANCES_MAX; i++) {
        held[i] = given(&p.node, rule, false, &tried);
        assert_non_null(held[i]);
        assert_false(tried_has(&tried, held[i]));
        tried_add(&tried, held[i]);
        assert_true(tried_has(&tried, held[i]));
    }
    assert_null(given(&p.node, rule, false, &tried));
    assert_null(given(&p.node, rule, true, &tried));        /* fail_open is for when none is eligible, not for when all were tried */
    for (unsigned i = 0; i < INSTANCES_MAX; i++)
        pool_release(p.node.index, &held[i]);
    teardown(&p);
}

static void test_the_oldest_tried_is_forgotten(void **state)
{
    struct instance *names[TRIED_MAX + 1];
    struct tried tried = { .count = 0 };
    (void)state;
    for (size_t i = 0; i < TRIED_MAX + 1; i++)
        names[i] = (struct instance *)((uintptr_t)(i + 1) * 64);    /* names alone: nobody looks into them */
    assert_false(tried_has(&tried, names[0]));
    for (size_t i = 0; i < TRIED_MAX; i++)
        tried_add(&tried, names[i]);
    for (size_t i = 0; i < TRIED_MAX; i++)
        assert_true(tried_has(&tried, names[i]));
    tried_add(&tried, names[TRIED_MAX]);
    assert_false(tried_has(&tried, names[0]));
    for (size_t i = 1; i < TRIED_MAX + 1; i++)
        assert_true(tried_has(&tried, names[i]));
}

static const struct open_row {
    const char *name;
    const char *states;         /* an instance each: N(ew), U(p), D(own), a(dmin out), d(rained by admin), A(dmin in), L(eft) */
    bool fail_open;
    const char *given;          /* by letter: which may be given; "": none */
    bool any_eligible, any_unchecked;
} opens[] = {
    { "those in service alone",                               "UDN", false, "U",  true,  true },
    { "nobody in service: nobody",                            "DDD", false, "",   false, true },
    { "fail_open, but one is in service",                     "DUD", true,  "U",  true,  true },
    { "fail_open: those out of service",                      "DDD", true,  "D",  false, true },
    { "fail_open: also one that is new",                      "DN",  true,  "DN", false, true },
    { "fail_open: not one that the operator holds back",      "Dad", true,  "D",  false, true },
    { "fail_open: not one that has left",                     "DL",  true,  "D",  false, true },
    { "fail_open can not give what the operator holds back",  "ad",  true,  "",   false, false },
    { "fail_open with no candidate at all",                   "",    true,  "",   false, false },
    { "the operator's word beats the measurement",            "DAD", false, "A",  true,  true },
    { "who has left is out although in service",              "L",   false, "",   false, false },
};

static void set_by_letter(struct instance *instance, char letter)
{
    measured(instance, letter == 'N' ? SLOT_NEW : letter == 'D' || letter == 'A' ? SLOT_OUT_OF_SERVICE : SLOT_IN_SERVICE);
    slot_set_admin(instance->slot, letter == 'a' ? ADMIN_OUT : letter == 'd' ? ADMIN_DRAIN : letter == 'A' ? ADMIN_IN : ADMIN_AUTO);
    if (letter == 'L')
        atomic_store(&instance->phase, INSTANCE_DRAINING);
}

static void test_open(void **state)
{
    const struct open_row *row = *state;
    char seen[INSTANCES_MAX + 1] = "";
    struct place p;
    setup(&p, strlen(row->states));
    for (size_t i = 0; row->states[i] != '\0'; i++)
        set_by_letter(p.instances[i], row->states[i]);
    assert_int_equal(pool_any_eligible(&p.node), row->any_eligible);
    assert_int_equal(pool_any_unchecked(&p.node), row->any_unchecked);
    for (unsigned i = 0; i < 20; i++) {
        struct instance *instance = given(&p.node, ALGORITHM_LEAST_OUTSTANDING, row->fail_open, &nothing_tried);
        char letter = instance == NULL ? '\0' : row->states[index_of(&p, instance)];
        if (letter != '\0' && strchr(seen, letter) == NULL)
            seen[strlen(seen)] = letter;
        if (instance != NULL)
            pool_release(p.node.index, &instance);
    }
    assert_string_equal(seen, row->given);
    teardown(&p);
}

static void test_unchecked_until_the_first_result(void **state)
{
    static const struct check_record record = { .reason = CHECK_REFUSED };
    struct place p;
    (void)state;
    setup(&p, 2);
    assert_true(pool_any_unchecked(&p.node));
    slot_record(p.instances[0]->slot, &record, true);
    assert_true(pool_any_unchecked(&p.node));
    slot_record(p.instances[1]->slot, &record, true);
    assert_false(pool_any_unchecked(&p.node));
    teardown(&p);
}

#define ROWS(table, function)                                                                     \
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)                                 \
        tests[count++] = (struct CMUnitTest){ .name = table[i].name, .test_func = (function), .initial_state = (void *)&table[i] }
#define EACH_RULE(text, function)                                                                 \
    for (size_t i = 0; i < 2; i++)                                                                \
        tests[count++] = (struct CMUnitTest){ .name = i == 0 ? text ": least outstanding" : text ": round robin", \
                                              .test_func = (function), .initial_state = (void *)&rules[i] }

int main(void)
{
    static const enum algorithm rules[] = { ALGORITHM_LEAST_OUTSTANDING, ALGORITHM_ROUND_ROBIN };
    static struct CMUnitTest tests[64];
    size_t count = 0;
    EACH_RULE("equal load is shared equally by one to eight", test_equal_load_is_shared_equally);
    EACH_RULE("any run of picks is even", test_any_window_is_even);
    EACH_RULE("even after one has left and returned", test_even_after_one_left_and_returned);
    EACH_RULE("the tried are passed over", test_tried_are_passed_over);
    ROWS(threads, test_threads);
    ROWS(opens, test_open);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_no_use_is_lost_at_once);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_least_outstanding_of_any_load);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_round_robin_ignores_load);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_nodes_count_apart);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_the_oldest_tried_is_forgotten);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_unchecked_until_the_first_result);
    return _cmocka_run_group_tests("pool", tests, count, NULL, NULL);
}
