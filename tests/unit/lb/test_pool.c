#include "lb/pool.h"
#include "common/board.h"
#include "lb/generation.h"
#include "lb/instance.h"
#include "lb/ranking.h"
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
 * instance was given. Each test runs twice, without a ranking and with one:
 * what is promised is the same.
 */
#define INSTANCES_MAX 8
#define MANY 1000
#define THREADS 4

static const struct tried nothing_tried;

struct place {
    struct board *board;
    struct instance *instances[MANY];
    struct candidate candidates[MANY];
    struct balancer_live *live;
    struct node node;
    unsigned picks[MANY];
};

static bool ranked;

static void measured(struct instance *instance, enum slot_state state)
{
    slot_publish(instance->slot, (struct slot_status){ .state = state });
}

static void setup(struct place *p, size_t count)
{
    struct addr address;
    *p = (struct place){ .node = { .index = 1, .candidate_count = count, .weight_max = 1 }, .live = live_new(2) };
    assert_non_null(p->live);
    assert_int_equal(addr_parse("127.0.20.100", &address), 0);
    assert_int_equal(board_new(&p->board), 0);
    p->node.candidates = p->candidates;
    p->node.shared = &p->live->nodes[1];
    p->node.board = p->board;
    p->node.ranking = ranked && count > 0 ? ranking_new(count) : NULL;
    for (size_t i = 0; i < count; i++) {
        p->instances[i] = instance_new("id", "", &address, slot_new(p->board, true), 2, 1);
        assert_non_null(p->instances[i]);
        p->instances[i]->live = live_ref(p->live);
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
    ranking_unref(&p->node.ranking);
    live_unref(&p->live);
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
    for (size_t count = 1; count <= MANY; count = count < INSTANCES_MAX ? count + 1 : count * 5) {
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
    unsigned index, picks[MANY];
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
        picker->picks[index_of(picker->place, instance)]++;
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
    size_t count;
} threads[] = {
    { "four workers in turn, work done at once: round robin", ALGORITHM_ROUND_ROBIN, true, true, 7 },
    { "four workers in turn, work done at once: least outstanding", ALGORITHM_LEAST_OUTSTANDING, true, true, 7 },
    { "four workers in turn, work that stays: least outstanding", ALGORITHM_LEAST_OUTSTANDING, true, false, 7 },
    { "four workers at once: round robin", ALGORITHM_ROUND_ROBIN, false, true, 7 },
    { "four workers at once, work that stays: round robin", ALGORITHM_ROUND_ROBIN, false, false, 7 },
    { "four workers at once, work that stays: least outstanding", ALGORITHM_LEAST_OUTSTANDING, false, false, 7 },
    { "four workers at once, many instances: round robin", ALGORITHM_ROUND_ROBIN, false, true, MANY },
    { "four workers at once, 64 instances, work that stays: round robin", ALGORITHM_ROUND_ROBIN, false, false, 64 },
    { "four workers at once, many instances, work that stays: least outstanding", ALGORITHM_LEAST_OUTSTANDING, false, false, MANY },
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
        for (unsigned k = 0; k < p->node.candidate_count; k++)
            p->picks[k] += pickers[i].picks[k];
    }
}

static void test_threads(void **state)
{
    const struct threads_row *row = *state;
    struct place p;
    unsigned sum = 0;
    setup(&p, row->count);
    run_pickers(&p, row);
    assert_even(&p);
    for (unsigned i = 0; i < row->count; i++)
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

static void release_all(struct place *p)
{
    for (size_t i = 0; i < p->node.candidate_count; i++)
        while (instance_outstanding(p->instances[i]) > 0) {
            struct instance *instance = p->instances[i];
            pool_release(p->node.index, &instance);
        }
}

/* What the pool should know: loads and times of the last pick. */
struct model {
    unsigned load[MANY], turn[MANY], now;
};

static size_t expected(const struct place *p, const struct model *m, enum algorithm rule, size_t but)
{
    size_t best = MANY;
    for (size_t i = 0; i < p->node.candidate_count; i++) {
        unsigned load = rule == ALGORITHM_ROUND_ROBIN || best == MANY ? 0 : m->load[best];
        if (i == but || !instance_eligible(p->instances[i]))
            continue;
        if (best == MANY || (rule != ALGORITHM_ROUND_ROBIN && m->load[i] < load) ||
            ((rule == ALGORITHM_ROUND_ROBIN || m->load[i] == load) && m->turn[i] < m->turn[best]))
            best = i;
    }
    return best;
}

/* Both rules share the node by chance, and sometimes somebody is named or has been tried: looks of all kinds go by the same words. */
static void model_pick(struct place *p, struct model *m)
{
    enum algorithm rule = random() % 4 == 0 ? ALGORITHM_ROUND_ROBIN : ALGORITHM_LEAST_OUTSTANDING;
    size_t best = expected(p, m, rule, MANY);
    struct tried tried = { .count = 0 };
    struct instance *instance;
    if (best == MANY) {
        assert_null(given(&p->node, rule, false, &nothing_tried));
        return;
    }
    if (random() % 8 == 0) {
        tried_add(&tried, p->instances[best]);
        best = expected(p, m, rule, best);
    }
    instance = given(&p->node, rule, false, &tried);
    assert_ptr_equal(instance, best == MANY ? NULL : p->instances[best]);
    if (instance == NULL)
        return;
    m->load[best]++;
    m->turn[best] = ++m->now;
}

static void model_release(struct place *p, struct model *m)
{
    size_t i = (size_t)random() % p->node.candidate_count;
    struct instance *instance = p->instances[i];
    if (m->load[i] == 0)
        return;
    pool_release(p->node.index, &instance);
    m->load[i]--;
}

/* Loads go up and down by chance; each pick must be of the least loaded, and of those of the one picked longest ago. */
static void test_any_load(void **state)
{
    size_t count = *(const size_t *)*state;
    unsigned seed = (unsigned)time(NULL);
    struct model m = { .now = 0 };
    struct place p;
    print_message("seed %u\n", seed);
    srandom(seed);
    setup(&p, count);
    for (unsigned i = 0; i < 20000; i++) {
        struct instance *flaps = p.instances[(size_t)random() % count];
        if (random() % 50 == 0)
            measured(flaps, slot_eligible(flaps->slot) ? SLOT_OUT_OF_SERVICE : SLOT_IN_SERVICE);
        if (random() % 2 == 0)
            model_release(&p, &m);
        else
            model_pick(&p, &m);
    }
    release_all(&p);
    teardown(&p);
}

/* A worker stays with the generation before for a while: whoever picks by which, turns go by the same words. */
static void test_two_generations(void **state)
{
    enum algorithm rule = *(const enum algorithm *)*state;
    struct place p;
    struct node next;
    setup(&p, 40);
    pick_and_release(&p, rule);
    next = p.node;
    next.ranking = ranked ? ranking_new(40) : NULL;
    for (unsigned i = 0; i < 4000; i++) {
        struct instance *instance = given(i % 3 == 0 ? &p.node : &next, rule, false, &nothing_tried);
        assert_non_null(instance);
        p.picks[index_of(&p, instance)]++;
        pool_release(1, &instance);
        assert_even(&p);
    }
    ranking_unref(&next.ranking);
    teardown(&p);
}

/* The generation that stood for the node is gone, and so is one of its instances: what it ranked is nobody's any more. */
static void test_an_instance_leaves_with_its_generation(void **state)
{
    enum algorithm rule = *(const enum algorithm *)*state;
    struct place p;
    struct node next;
    struct instance *left;
    setup(&p, 40);
    for (unsigned i = 0; i < 40; i++)
        pick_and_release(&p, rule);
    left = p.instances[0];
    next = p.node;
    next.candidates++;
    next.candidate_count--;
    next.ranking = ranked ? ranking_new(39) : NULL;
    ranking_unref(&p.node.ranking);
    for (unsigned i = 0; i < 400; i++) {
        struct instance *instance = given(&next, rule, false, &nothing_tried), *with = i % 2 == 0 ? NULL : instance_ref(left);
        assert_ptr_equal(instance, p.instances[1 + i % 39]);
        if (with != NULL) {             /* work that it still has */
            atomic_fetch_add(&left->uses[1].outstanding, 1);
            pool_release(1, &with);
        }
        pool_release(1, &instance);
    }
    p.node.ranking = next.ranking;
    teardown(&p);
}

/* While four workers pick, verdicts change. Afterwards all is as if it had always been so. */
static void *flapper_main(void *arg)
{
    struct place *p = arg;
    for (unsigned i = 0; i < 3000; i++) {
        struct instance *instance = p->instances[1 + i * 7 % (p->node.candidate_count - 1)];      /* the first stays: somebody can always be picked */
        measured(instance, slot_eligible(instance->slot) ? SLOT_OUT_OF_SERVICE : SLOT_IN_SERVICE);
        sched_yield();
    }
    return NULL;
}

static void test_flapping_over_threads(void **state)
{
    struct threads_row row = { .rule = *(const enum algorithm *)*state, .release = true };
    pthread_t flapper;
    struct place p;
    setup(&p, 64);
    assert_int_equal(pthread_create(&flapper, NULL, flapper_main, &p), 0);
    run_pickers(&p, &row);
    assert_int_equal(pthread_join(flapper, NULL), 0);
    for (unsigned i = 0; i < 64; i++)
        measured(p.instances[i], SLOT_IN_SERVICE);
    for (unsigned i = 0; i < 64; i++)       /* who has been away longest is next, once */
        pick_and_release(&p, row.rule);
    memset(p.picks, 0, sizeof(p.picks));
    for (unsigned i = 0; i < 1000; i++) {
        pick_and_release(&p, row.rule);
        assert_even(&p);
    }
    teardown(&p);
}

/* Draws fall on those with room as often as their weights say. */
static void test_random_two_of_many(void **state)
{
    uint64_t random = 12345;
    struct pool_ask ask = { .algorithm = ALGORITHM_RANDOM_TWO, .tried = &nothing_tried, .random = &random };
    struct place p;
    (void)state;
    setup(&p, 64);
    p.node.weighted = true;
    p.node.weight_max = 4;
    for (unsigned i = 0; i < 64; i++)
        p.candidates[i].weight = i < 16 ? 4 : 1;
    for (unsigned i = 0; i < 64; i += 4)
        measured(p.instances[i], SLOT_OUT_OF_SERVICE);      /* left: 12 of weight 4, 36 of weight 1 */
    for (unsigned i = 0; i < 84000; i++) {
        struct instance *instance;
        assert_int_equal(pool_pick(&p.node, &ask, &instance), PICK_ONE);
        p.picks[index_of(&p, instance)]++;
        pool_release(1, &instance);
    }
    for (unsigned i = 0; i < 64; i++) {
        unsigned right = i % 4 == 0 ? 0 : i < 16 ? 4000 : 1000;
        assert_in_range(p.picks[i], right - right / 5, right + right / 5);      /* six standard deviations and more */
    }
    for (unsigned i = 1; i < 64; i++)
        measured(p.instances[i], SLOT_OUT_OF_SERVICE);
    measured(p.instances[0], SLOT_IN_SERVICE);
    for (unsigned i = 0; i < 50; i++) {         /* one alone needs no second, however seldom it is drawn */
        struct instance *instance;
        assert_int_equal(pool_pick(&p.node, &ask, &instance), PICK_ONE);
        assert_ptr_equal(instance, p.instances[0]);
        pool_release(1, &instance);
    }
    measured(p.instances[0], SLOT_OUT_OF_SERVICE);
    assert_null(given(&p.node, ALGORITHM_LEAST_OUTSTANDING, false, &nothing_tried));
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
    other.shared = &p.live->nodes[0];
    other.ranking = ranked ? ranking_new(2) : NULL;
    for (unsigned i = 0; i < 10; i++) {
        struct instance *there = given(&other, ALGORITHM_LEAST_OUTSTANDING, false, &nothing_tried), *here;
        assert_ptr_equal(there, p.instances[i % 2]);
        here = pick(&p, ALGORITHM_LEAST_OUTSTANDING);
        assert_ptr_equal(here, p.instances[i % 2]);
        assert_int_equal(instance_outstanding(here), 2);
        pool_release(other.index, &there);
        pool_release(p.node.index, &here);
    }
    ranking_unref(&other.ranking);
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

static const struct weights_row {
    const char *name;
    size_t count;
    uint32_t weights[INSTANCES_MAX];
} weighings[] = {
    { "one, two, three", 3, { 1, 2, 3 } },
    { "one alone", 1, { 256 } },
    { "the largest beside the smallest", 2, { 1, 256 } },
    { "one large among many small", 8, { 1, 1, 1, 1, 1, 1, 1, 256 } },
    { "no common divisor", 5, { 199, 200, 7, 251, 3 } },
    { "none for one of three", 3, { 2, 0, 1 } },
    { "alike and large", 4, { 200, 200, 200, 200 } },
};

static void setup_weighted(struct place *p, size_t count, const uint32_t *weights)
{
    setup(p, count);
    for (size_t i = 0; i < count; i++) {
        p->candidates[i].weight = weights[i];
        p->node.weighted = p->node.weighted || weights[i] != weights[0];
        p->node.weight_max = weights[i] > p->node.weight_max ? weights[i] : p->node.weight_max;
    }
}

/* Divided by the weights, the counts differ by at most one pick's worth; of weight 0 there is none. */
static void assert_weighted(const struct place *p)
{
    for (size_t i = 0; i < p->node.candidate_count; i++) {
        double weight = p->candidates[i].weight, rounding = p->picks[i] / 65536.0;
        assert_true(weight > 0 || p->picks[i] == 0);
        for (size_t k = 0; weight > 0 && k < p->node.candidate_count; k++)
            if (instance_eligible(p->instances[i]) && instance_eligible(p->instances[k]))
                assert_true(p->candidates[k].weight == 0 || p->picks[i] / weight - (double)p->picks[k] / p->candidates[k].weight <= (1 + rounding) / weight);
    }
}

static const enum algorithm exact_rules[] = { ALGORITHM_LEAST_OUTSTANDING, ALGORITHM_ROUND_ROBIN };

static void test_weights(void **state)
{
    const struct weights_row *row = *state;
    for (size_t rule = 0; rule < 2; rule++) {
        struct place p;
        setup_weighted(&p, row->count, row->weights);
        for (unsigned i = 0; i < 8000; i++) {
            pick_and_release(&p, exact_rules[rule]);
            assert_weighted(&p);
        }
        teardown(&p);
    }
}

static void test_weights_of_many(void **state)
{
    uint32_t weights[200];
    (void)state;
    for (uint32_t i = 0; i < 200; i++)
        weights[i] = 1 + i * 37 % 19;
    for (size_t rule = 0; rule < 2; rule++) {
        struct place p;
        setup_weighted(&p, 200, weights);
        for (unsigned i = 0; i < 20000; i++) {
            pick_and_release(&p, exact_rules[rule]);
            if (i % 97 == 0)
                assert_weighted(&p);
        }
        teardown(&p);
    }
}

static void test_weights_over_threads(void **state)
{
    const struct weights_row *row = *state;
    static const struct threads_row at_once = { .rule = ALGORITHM_ROUND_ROBIN, .release = true }, stays = { .rule = ALGORITHM_LEAST_OUTSTANDING };
    struct place p;
    setup_weighted(&p, row->count, row->weights);
    run_pickers(&p, &at_once);
    assert_weighted(&p);
    teardown(&p);
    setup_weighted(&p, row->count, row->weights);
    run_pickers(&p, &stays);
    assert_weighted(&p);        /* load by weight, and nobody saw a pick less than there was */
    release_all(&p);
    teardown(&p);
}

/* Those who were away, alone or several at once, new or returning, are not owed what they missed. */
static void test_weights_after_an_absence(void **state)
{
    enum algorithm rule = *(const enum algorithm *)*state;
    struct place p;
    setup_weighted(&p, 4, (const uint32_t[]){ 1, 2, 3, 4 });
    for (unsigned away = 0; away < 15; away++) {        /* a bit each */
        for (unsigned i = 0; i < 4; i++)
            measured(p.instances[i], away >> i & 1 ? SLOT_OUT_OF_SERVICE : SLOT_IN_SERVICE);
        for (unsigned i = 0; i < 5000; i++)
            pick_and_release(&p, rule);
        for (unsigned i = 0; i < 4; i++)
            measured(p.instances[i], SLOT_IN_SERVICE);
        memset(p.picks, 0, sizeof(p.picks));
        for (unsigned i = 0; i < 1000; i++)
            pick_and_release(&p, rule);
        for (unsigned i = 0; i < 4; i++)
            assert_in_range(p.picks[i], 100 * (i + 1) - 3, 100 * (i + 1) + 3);
    }
    teardown(&p);
}

static void test_only_weight_zero_is_none(void **state)
{
    struct instance *instance;
    struct pool_ask ask = { .algorithm = ALGORITHM_ROUND_ROBIN, .tried = &nothing_tried };
    struct place p;
    (void)state;
    setup_weighted(&p, 2, (const uint32_t[]){ 0, 0 });
    assert_int_equal(pool_pick(&p.node, &ask, &instance), PICK_NONE);
    assert_int_equal(pool_pick_named(&p.node, &ask, "id", &instance), PICK_NONE);
    assert_int_equal(pool_look(&p.node, true), PICK_NONE);
    teardown(&p);
}

/* How many of `count` picks the one that has just returned gets, `elapsed_ms` after its return, beside one that was always there. */
static unsigned returned_gets(struct place *p, uint64_t elapsed_ms, unsigned count)
{
    uint64_t random = 99;
    struct pool_ask ask = { .algorithm = ALGORITHM_ROUND_ROBIN, .tried = &nothing_tried, .random = &random, .slow_start_ms = 10000, .now_ms = 1000000 };
    unsigned got = 0;
    slot_publish(p->instances[0]->slot, (struct slot_status){ .state = SLOT_IN_SERVICE, .since_ms = ask.now_ms - elapsed_ms });
    for (unsigned i = 0; i < count; i++) {
        struct instance *instance;
        assert_int_equal(pool_pick(&p->node, &ask, &instance), PICK_ONE);
        got += instance == p->instances[0];
        pool_release(p->node.index, &instance);
    }
    return got;
}

static void test_slow_start(void **state)
{
    struct place p;
    (void)state;
    setup(&p, 2);
    assert_in_range(returned_gets(&p, 0, 1100), 97, 101);           /* a tenth beside a whole */
    assert_in_range(returned_gets(&p, 5000, 1550), 546, 552);       /* 0.55 beside a whole */
    assert_in_range(returned_gets(&p, 9000, 1910), 906, 912);
    assert_in_range(returned_gets(&p, 10000, 1000), 499, 501);
    for (uint64_t elapsed = 0, before = 0, now; elapsed <= 10000; elapsed += 500, before = now) {
        now = returned_gets(&p, elapsed, 1000);
        assert_true(now + 1 >= before);
    }
    teardown(&p);
}

static const struct limits_row {
    const char *name;
    const char *limits, *outstanding;       /* a digit each; limit 0: none */
    const char *picks;                      /* which instances round robin gives and keeps, one after the other; '-': full */
} limits[] = {
    { "a limit of one",                    "1",   "0",   "0--" },
    { "a limit is kept",                   "3",   "1",   "00--" },
    { "who has no limit takes the rest",   "10",  "00",  "01111" },
    { "each its own limit",                "123", "000", "012122-" },
    { "none has room",                     "22",  "22",  "--" },
};

static void test_limits(void **state)
{
    const struct limits_row *row = *state;
    struct pool_ask ask = { .algorithm = ALGORITHM_ROUND_ROBIN, .tried = &nothing_tried };
    struct place p;
    setup(&p, strlen(row->limits));
    for (size_t i = 0; i < p.node.candidate_count; i++) {
        p.candidates[i].outstanding_max = (uint32_t)(row->limits[i] - '0');
        for (char k = '0'; k < row->outstanding[i]; k++)
            atomic_fetch_add(&instance_ref(p.instances[i])->uses[p.node.index].outstanding, 1);
    }
    for (const char *c = row->picks; *c != '\0'; c++) {
        struct instance *instance;
        assert_int_equal(pool_look(&p.node, false), *c == '-' ? PICK_FULL : PICK_ONE);
        assert_int_equal(pool_pick(&p.node, &ask, &instance), *c == '-' ? PICK_FULL : PICK_ONE);
        if (*c != '-')
            assert_ptr_equal(instance, p.instances[*c - '0']);
    }
    release_all(&p);
    teardown(&p);
}

static void test_fail_open_keeps_limits(void **state)
{
    struct place p;
    struct instance *instance;
    (void)state;
    setup(&p, 1);
    p.candidates[0].outstanding_max = 1;
    measured(p.instances[0], SLOT_OUT_OF_SERVICE);
    assert_int_equal(pool_look(&p.node, false), PICK_NONE);
    assert_int_equal(pool_look(&p.node, true), PICK_ONE);
    instance = given(&p.node, ALGORITHM_ROUND_ROBIN, true, &nothing_tried);
    assert_non_null(instance);
    assert_int_equal(pool_look(&p.node, true), PICK_FULL);
    pool_release(p.node.index, &instance);
    teardown(&p);
}

/* Four workers take and give back by chance. The instance's own count of who is with it is never above the limit. */
#define LIMIT 3
struct crowd {
    struct place *place;
    pthread_t thread;
    enum algorithm rule;
    uint64_t random;
    atomic_uint *inside;            /* [INSTANCES_MAX] */
    unsigned taken, full, beyond;
};

static void crowd_leave(struct crowd *c, struct instance **instance)
{
    atomic_fetch_sub(&c->inside[index_of(c->place, *instance)], 1);
    pool_release(c->place->node.index, instance);
}

static void *crowd_main(void *arg)
{
    struct crowd *c = arg;
    struct addr client;
    struct instance *held[4] = { NULL };
    if (addr_parse("192.0.2.1", &client) < 0)
        return NULL;
    for (unsigned i = 0; i < 40000; i++) {
        struct pool_ask ask = { .algorithm = c->rule, .tried = &nothing_tried, .random = &c->random, .client = &client };
        struct instance **place = &held[i * 7 / 3 % 4];
        client.in.sin_addr.s_addr = i;
        if (*place != NULL) {
            crowd_leave(c, place);
        } else if (pool_pick(&c->place->node, &ask, place) == PICK_ONE) {
            c->taken++;
            c->beyond += atomic_fetch_add(&c->inside[index_of(c->place, *place)], 1) >= LIMIT;
        } else {
            c->full++;
        }
        if (i % 64 == 0)
            sched_yield();
    }
    for (size_t i = 0; i < 4; i++)
        if (held[i] != NULL)
            crowd_leave(c, &held[i]);
    return NULL;
}

static void test_limits_over_threads(void **state)
{
    enum algorithm rule = *(const enum algorithm *)*state;
    atomic_uint inside[INSTANCES_MAX] = { 0 };
    struct crowd crowds[THREADS];
    struct place p;
    unsigned full = 0;
    setup_weighted(&p, 3, (const uint32_t[]){ 1, 2, 1 });
    for (size_t i = 0; i < 3; i++)
        p.candidates[i].outstanding_max = LIMIT;
    for (unsigned i = 0; i < THREADS; i++) {
        crowds[i] = (struct crowd){ .place = &p, .rule = rule, .random = 5 + i, .inside = inside };
        assert_int_equal(pthread_create(&crowds[i].thread, NULL, crowd_main, &crowds[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(crowds[i].thread, NULL), 0);
        assert_int_equal(crowds[i].beyond, 0);
        assert_true(crowds[i].taken > 0);
        full += crowds[i].full;
    }
    assert_true(full > 0);          /* 16 wanted, 9 there: else nothing was tested */
    assert_int_equal(pool_look(&p.node, false), PICK_ONE);
    teardown(&p);
}

static void test_named(void **state)
{
    struct pool_ask ask = { .algorithm = ALGORITHM_ROUND_ROBIN, .tried = &nothing_tried };
    struct place p;
    struct instance *instance, *other;
    (void)state;
    setup(&p, 2);
    free(p.instances[1]->id);
    p.instances[1]->id = strdup("named");
    p.candidates[1].outstanding_max = 1;
    assert_int_equal(pool_pick_named(&p.node, &ask, "nobody", &instance), PICK_NONE);
    assert_int_equal(pool_pick_named(&p.node, &ask, "named", &instance), PICK_ONE);
    assert_ptr_equal(instance, p.instances[1]);
    assert_int_equal(pool_pick_named(&p.node, &ask, "named", &other), PICK_FULL);
    pool_release(p.node.index, &instance);
    instance = given(&p.node, ALGORITHM_ROUND_ROBIN, false, &nothing_tried);
    assert_ptr_equal(instance, p.instances[0]);         /* a named pick counts for turns */
    pool_release(p.node.index, &instance);
    measured(p.instances[1], SLOT_OUT_OF_SERVICE);
    assert_int_equal(pool_pick_named(&p.node, &ask, "named", &instance), PICK_NONE);
    ask.fail_open = true;
    assert_int_equal(pool_pick_named(&p.node, &ask, "named", &instance), PICK_NONE);
    teardown(&p);
}

/* A client's own, and when that was tried or has left, always the same other one. */
static void test_source_hash(void **state)
{
    struct pool_ask ask = { .algorithm = ALGORITHM_SOURCE_HASH };
    struct tried tried = { .count = 0 };
    struct place p;
    struct addr client;
    (void)state;
    setup(&p, 4);
    for (unsigned i = 0; i < 4; i++)
        p.instances[i]->hash = 77 * (i + 1);
    assert_int_equal(addr_parse("192.0.2.0", &client), 0);
    ask.client = &client;
    for (unsigned i = 0; i < 2000; i++) {
        struct instance *first, *second, *again;
        client.in.sin_addr.s_addr = htonl(0xc0000200 + i);
        tried.count = 0;
        ask.tried = &nothing_tried;
        assert_int_equal(pool_pick(&p.node, &ask, &first), PICK_ONE);
        tried_add(&tried, first);
        ask.tried = &tried;
        assert_int_equal(pool_pick(&p.node, &ask, &second), PICK_ONE);
        assert_ptr_not_equal(first, second);
        measured(first, SLOT_OUT_OF_SERVICE);
        ask.tried = &nothing_tried;
        assert_int_equal(pool_pick(&p.node, &ask, &again), PICK_ONE);
        assert_ptr_equal(again, second);
        measured(first, SLOT_IN_SERVICE);
        pool_release(p.node.index, &first);
        pool_release(p.node.index, &second);
        pool_release(p.node.index, &again);
    }
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
    static const enum algorithm all[] = { ALGORITHM_LEAST_OUTSTANDING, ALGORITHM_ROUND_ROBIN, ALGORITHM_RANDOM_TWO, ALGORITHM_SOURCE_HASH };
    static const char *const all_texts[] = { "limits hold over threads: least outstanding", "limits hold over threads: round robin",
                                             "limits hold over threads: random two", "limits hold over threads: source hash" };
    static const size_t loads[] = { 6, 64, MANY };
    static const char *const load_texts[] = { "any load of 6", "any load of 64", "any load of 1000" };
    static struct CMUnitTest tests[96];
    size_t count = 0;
    int failed;
    EACH_RULE("equal load is shared equally by one to eight", test_equal_load_is_shared_equally);
    EACH_RULE("any run of picks is even", test_any_window_is_even);
    EACH_RULE("even after one has left and returned", test_even_after_one_left_and_returned);
    EACH_RULE("the tried are passed over", test_tried_are_passed_over);
    ROWS(threads, test_threads);
    ROWS(opens, test_open);
    EACH_RULE("two generations pick", test_two_generations);
    EACH_RULE("an instance leaves with its generation", test_an_instance_leaves_with_its_generation);
    EACH_RULE("verdicts change while four workers pick", test_flapping_over_threads);
    EACH_RULE("weights after an absence", test_weights_after_an_absence);
    ROWS(weighings, test_weights);
    ROWS(weighings, test_weights_over_threads);
    ROWS(limits, test_limits);
    for (size_t i = 0; i < 4; i++)
        tests[count++] = (struct CMUnitTest){ .name = all_texts[i], .test_func = test_limits_over_threads, .initial_state = (void *)&all[i] };
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_only_weight_zero_is_none);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_slow_start);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_fail_open_keeps_limits);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_named);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_source_hash);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_no_use_is_lost_at_once);
    for (size_t i = 0; i < 3; i++)
        tests[count++] = (struct CMUnitTest){ .name = load_texts[i], .test_func = test_any_load, .initial_state = (void *)&loads[i] };
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_random_two_of_many);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_weights_of_many);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_round_robin_ignores_load);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_nodes_count_apart);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_the_oldest_tried_is_forgotten);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_unchecked_until_the_first_result);
    failed = _cmocka_run_group_tests("pool: a look at each", tests, count, NULL, NULL);
    ranked = true;
    return failed + _cmocka_run_group_tests("pool: ranked", tests, count, NULL, NULL);
}
