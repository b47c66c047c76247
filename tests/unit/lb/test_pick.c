#include "lb/pick.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
/*
 * What is by chance is held to five standard deviations: once in a million
 * runs a right picker fails, a wrong one in each.
 */
#define STANDINGS_MAX 8
#define PICKS 60000
#define CLIENTS 20000
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct table {
    struct pick_standing items[STANDINGS_MAX];
    size_t count;
};

static const uint32_t plain_weights[STANDINGS_MAX] = { 1, 1, 1, 1, 1, 1, 1, 1 };

static void setup(struct table *t, size_t count, const uint32_t *weights)
{
    *t = (struct table){ .count = count };
    for (size_t i = 0; i < count; i++)
        t->items[i] = (struct pick_standing){ .index = i, .weight = weights[i] * PICK_WEIGHT_UNIT, .key = 1000003 * (i + 1) };
}

/* The index of who is chosen, or -1. */
static int choice(const struct table *t, enum algorithm algorithm, const struct addr *client, uint64_t *random)
{
    struct pick_state state;
    pick_begin(&state, algorithm, client, random);
    for (size_t i = 0; i < t->count; i++)
        pick_offer(&state, &t->items[i]);
    return pick_end(&state) ? (int)state.chosen.index : -1;
}

static unsigned seeded(void)
{
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    return seed;
}

static void assert_share(unsigned got, unsigned of, double share)
{
    double expected = of * share, deviation = sqrt(of * share * (1 - share));
    if (fabs(got - expected) > 5 * deviation + 1e-9)
        fail_msg("%u of %u, expected %.0f +- %.0f", got, of, expected, 5 * deviation);
}

static const struct choice_row {
    const char *name;
    enum algorithm algorithm;
    const char *weights, *outstanding, *turns, *full;       /* a digit each */
    int chosen;
} choices[] = {
    { "nobody is offered",                            ALGORITHM_LEAST_OUTSTANDING, "",    "",    "",    "",    -1 },
    { "all are full",                                 ALGORITHM_ROUND_ROBIN,       "11",  "33",  "12",  "11",  -1 },
    { "the least outstanding",                        ALGORITHM_LEAST_OUTSTANDING, "111", "213", "123", "000", 1 },
    { "of equals the one with the smallest turn",     ALGORITHM_LEAST_OUTSTANDING, "111", "111", "312", "000", 1 },
    { "of equals in all the first",                   ALGORITHM_LEAST_OUTSTANDING, "111", "111", "222", "000", 0 },
    { "outstanding counts by weight",                 ALGORITHM_LEAST_OUTSTANDING, "13",  "12",  "19",  "00",  1 },
    { "equal by weight: the turn",                    ALGORITHM_LEAST_OUTSTANDING, "13",  "13",  "21",  "00",  1 },
    { "the least outstanding is full: the next",      ALGORITHM_LEAST_OUTSTANDING, "111", "213", "123", "010", 0 },
    { "the default is least outstanding",             ALGORITHM_DEFAULT,           "111", "213", "123", "000", 1 },
    { "round robin looks at turns alone",             ALGORITHM_ROUND_ROBIN,       "111", "990", "213", "000", 1 },
    { "round robin passes over who is full",          ALGORITHM_ROUND_ROBIN,       "111", "000", "213", "010", 0 },
    { "of two the less loaded",                       ALGORITHM_RANDOM_TWO,        "11",  "21",  "00",  "00",  1 },
    { "of two by weight",                             ALGORITHM_RANDOM_TWO,        "91",  "51",  "00",  "00",  0 },
    { "of two one is full",                           ALGORITHM_RANDOM_TWO,        "11",  "09",  "00",  "10",  1 },
    { "one alone needs no second",                    ALGORITHM_RANDOM_TWO,        "1",   "9",   "9",   "0",   0 },
};

static void test_choice(void **state)
{
    const struct choice_row *row = *state;
    uint64_t random = 77;
    struct table t = { .count = strlen(row->weights) };
    for (size_t i = 0; i < t.count; i++)
        t.items[i] = (struct pick_standing){ .index = i, .weight = (uint32_t)(row->weights[i] - '0') * PICK_WEIGHT_UNIT,
                                             .outstanding = (uint32_t)(row->outstanding[i] - '0'), .turn = (uint64_t)(row->turns[i] - '0'),
                                             .full = row->full[i] == '1' };
    for (unsigned i = 0; i < 50; i++)       /* by chance or not: always the same */
        assert_int_equal(choice(&t, row->algorithm, NULL, &random), row->chosen);
}

static void test_seen_full(void **state)
{
    struct pick_state pick;
    struct table t;
    (void)state;
    setup(&t, 2, plain_weights);
    pick_begin(&pick, ALGORITHM_ROUND_ROBIN, NULL, NULL);
    pick_offer(&pick, &t.items[0]);
    assert_false(pick.seen_full);
    t.items[1].full = true;
    pick_offer(&pick, &t.items[1]);
    assert_true(pick.seen_full);
    assert_true(pick_end(&pick));
    assert_int_equal(pick.offered, 1);
}

static bool less(const struct pick_standing *a, const struct pick_standing *b, bool by_load)
{
    double left = (double)a->outstanding / a->weight, right = (double)b->outstanding / b->weight;
    if (by_load && fabs(left - right) > 1e-12)
        return left < right;
    return a->turn < b->turn;
}

/* Nobody who could have been chosen is before the one who was. */
static void test_least_of_any_table(void **state)
{
    enum algorithm algorithm = *(const enum algorithm *)*state;
    seeded();
    for (unsigned round = 0; round < 20000; round++) {
        uint32_t weights[STANDINGS_MAX];
        struct table t;
        int chosen;
        for (size_t i = 0; i < STANDINGS_MAX; i++)
            weights[i] = 1 + (uint32_t)random() % 256;
        setup(&t, 1 + (size_t)random() % STANDINGS_MAX, weights);
        for (size_t i = 0; i < t.count; i++) {
            t.items[i].outstanding = (uint32_t)random() % 5;
            t.items[i].turn = (uint64_t)random() % 5;
            t.items[i].full = random() % 4 == 0;
        }
        chosen = choice(&t, algorithm, NULL, NULL);
        for (size_t i = 0; i < t.count; i++) {
            assert_true(t.items[i].full || chosen >= 0);
            assert_true(t.items[i].full || !less(&t.items[i], &t.items[chosen], algorithm == ALGORITHM_LEAST_OUTSTANDING));
        }
        assert_true(chosen < 0 || !t.items[chosen].full);
    }
}

static void random_counts(const struct table *t, unsigned *counts)
{
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15) ^ seeded();
    memset(counts, 0, STANDINGS_MAX * sizeof(*counts));
    for (unsigned i = 0; i < PICKS; i++)
        counts[choice(t, ALGORITHM_RANDOM_TWO, NULL, &state)]++;
}

/* Who is the r-th least loaded of n wins against n-1-r others, and each pair is equally likely. */
static void test_random_two_chooses_the_lesser(void **state)
{
    (void)state;
    for (size_t count = 2; count <= STANDINGS_MAX; count++) {
        unsigned counts[STANDINGS_MAX];
        struct table t;
        setup(&t, count, plain_weights);
        for (size_t i = 0; i < count; i++)
            t.items[i].outstanding = (uint32_t)(count - i);
        random_counts(&t, counts);
        for (size_t i = 0; i < count; i++)      /* the last is the least loaded */
            assert_share(counts[i], PICKS, (double)i / ((double)(count * (count - 1)) / 2));
    }
}

static const struct share_row {
    const char *name;
    size_t count;
    uint32_t weights[STANDINGS_MAX];
} shares[] = {
    { "two alike", 2, { 1, 1 } },
    { "eight alike", 8, { 7, 7, 7, 7, 7, 7, 7, 7 } },
    { "one, two, three", 3, { 1, 2, 3 } },
    { "three, two, one", 3, { 3, 2, 1 } },
    { "the largest beside the smallest", 3, { 256, 1, 1 } },
    { "five of many sizes", 5, { 100, 3, 50, 1, 20 } },
};

static double share_of(const struct share_row *row, size_t i)
{
    double sum = 0;
    for (size_t k = 0; k < row->count; k++)
        sum += row->weights[k];
    return row->weights[i] / sum;
}

static void test_random_two_shares(void **state)
{
    const struct share_row *row = *state;
    unsigned counts[STANDINGS_MAX];
    struct table t;
    setup(&t, row->count, row->weights);
    random_counts(&t, counts);
    for (size_t i = 0; i < row->count; i++)
        assert_share(counts[i], PICKS, share_of(row, i));
}

static struct addr client_of(unsigned i, bool six)
{
    struct addr client;
    char text[64];
    if (six)
        snprintf(text, sizeof(text), "2001:db8:%x::%x", i % 97, i);
    else
        snprintf(text, sizeof(text), "10.%u.%u.%u", i >> 16 & 255, i >> 8 & 255, i & 255);
    assert_int_equal(addr_parse(text, &client), 0);
    return client;
}

static int hashed(const struct table *t, unsigned i, bool six)
{
    struct addr client = client_of(i, six);
    return choice(t, ALGORITHM_SOURCE_HASH, &client, NULL);
}

static void test_hash_shares(void **state)
{
    const struct share_row *row = *state;
    for (unsigned six = 0; six < 2; six++) {
        unsigned counts[STANDINGS_MAX] = { 0 };
        struct table t;
        setup(&t, row->count, row->weights);
        for (unsigned i = 0; i < CLIENTS; i++)
            counts[hashed(&t, i, six)]++;
        for (size_t i = 0; i < row->count; i++)
            assert_share(counts[i], CLIENTS, share_of(row, i));
    }
}

/* The choice is the client's address and the instances', whatever port it comes from, whatever else goes on, in whatever order they stand. */
static void test_hash_is_the_clients_own(void **state)
{
    struct table t, turned;
    (void)state;
    setup(&t, 5, plain_weights);
    setup(&turned, 5, plain_weights);
    for (size_t i = 0; i < 5; i++) {
        turned.items[i] = t.items[4 - i];
        turned.items[i].outstanding = (uint32_t)i;
        turned.items[i].turn = 100 - i;
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct addr client = client_of(i, i % 2 == 0), other_port = addr_with_port(client, (uint16_t)(i | 1));
        assert_int_equal(choice(&t, ALGORITHM_SOURCE_HASH, &client, NULL), choice(&turned, ALGORITHM_SOURCE_HASH, &other_port, NULL));
    }
}

static void test_who_leaves_takes_only_its_own(void **state)
{
    struct table all;
    (void)state;
    setup(&all, 5, (const uint32_t[]){ 1, 2, 3, 2, 1 });
    for (int gone = 0; gone < 5; gone++) {
        unsigned others[STANDINGS_MAX] = { 0 }, own = 0;
        struct table left = all;
        memmove(&left.items[gone], &left.items[gone + 1], (size_t)(4 - gone) * sizeof(left.items[0]));
        left.count = 4;
        for (unsigned i = 0; i < CLIENTS; i++) {
            int before = hashed(&all, i, false), after = hashed(&left, i, false);
            assert_true(before == gone || after == before);
            own += before == gone;
            others[after] += before == gone;
        }
        for (int i = 0; i < 5; i++)         /* its own are shared by all others, as their weights say */
            if (i != gone)
                assert_share(others[i], own, (double)all.items[i].weight / (9 * PICK_WEIGHT_UNIT - all.items[gone].weight));
    }
}

static void test_who_grows_only_gains(void **state)
{
    struct table t, grown;
    unsigned moved = 0;
    (void)state;
    setup(&t, 4, (const uint32_t[]){ 2, 2, 2, 2 });
    setup(&grown, 4, (const uint32_t[]){ 2, 2, 3, 2 });
    for (unsigned i = 0; i < CLIENTS; i++) {
        int before = hashed(&t, i, false), after = hashed(&grown, i, false);
        assert_true(after == before || after == 2);
        moved += after != before;
    }
    assert_share(moved, CLIENTS, 3.0 / 9 - 2.0 / 8);
}

static void test_full_moves_only_its_own(void **state)
{
    struct table t, one_full;
    (void)state;
    setup(&t, 4, plain_weights);
    one_full = t;
    one_full.items[1].full = true;
    for (unsigned i = 0; i < CLIENTS; i++) {
        int before = hashed(&t, i, true), after = hashed(&one_full, i, true);
        assert_int_not_equal(after, 1);
        assert_true(before == 1 || after == before);
    }
}

static const struct ramp_row {
    const char *name;
    uint32_t weight;
    uint64_t elapsed_ms, ramp_ms;
    uint32_t ramped;
} ramps[] = {
    { "it begins with a tenth",              2560, 0,      1000,   256 },
    { "halfway it has eleven twentieths",    2560, 500,    1000,   1408 },
    { "just before the end almost all",      2560, 999,    1000,   2557 },
    { "at the end all",                      2560, 1000,   1000,   2560 },
    { "long after all",                      2560, UINT64_MAX, 1000, 2560 },
    { "the largest over the longest",        65536, 450000, 900000, 36044 },
    { "never nothing",                       1,    0,      1000,   1 },
    { "no ramp",                             256,  0,      0,      256 },
};

static void test_ramp(void **state)
{
    const struct ramp_row *row = *state;
    assert_int_equal(pick_ramped(row->weight, row->elapsed_ms, row->ramp_ms), row->ramped);
}

static void test_ramp_only_grows(void **state)
{
    uint32_t before = 0;
    (void)state;
    for (uint64_t elapsed = 0; elapsed <= 5000; elapsed++) {
        uint32_t now = pick_ramped(3 * PICK_WEIGHT_UNIT, elapsed, 5000);
        assert_true(now >= before);
        before = now;
    }
    assert_int_equal(before, 3 * PICK_WEIGHT_UNIT);
}

/* Over 65536 picks of an instance, rounding adds up to less than one pick of it. */
static void test_steps_are_exact(void **state)
{
    (void)state;
    for (uint32_t weight = 1; weight <= 256; weight++) {
        double step = (double)pick_step(weight * PICK_WEIGHT_UNIT), exact = (double)pick_step(PICK_WEIGHT_UNIT) / weight;
        assert_true(65536 * (exact - step) < exact);
    }
}

static const struct ahead_row {
    const char *name;
    uint64_t turn, reached, ahead;
} aheads[] = {
    { "level",                                5, 5, 0 },
    { "ahead",                                8, 5, 3 },
    { "behind counts as level",               3, 5, 0 },
    { "new beside a long history",            0, UINT64_C(1) << 60, 0 },
    { "ahead beyond the end of the numbers",  2, UINT64_MAX, 3 },
    { "behind from before that end",          UINT64_MAX, 2, 0 },
    { "away for half of all numbers",         0, UINT64_C(1) << 63, 0 },
};

static void test_ahead(void **state)
{
    const struct ahead_row *row = *state;
    assert_int_equal(pick_ahead(row->turn, row->reached), row->ahead);
}

#define ROWS(table, function)                                                                     \
    for (size_t i = 0; i < COUNT(table); i++)                                                     \
        tests[count++] = (struct CMUnitTest){ .name = table[i].name, .test_func = (function), .initial_state = (void *)&table[i] }

int main(void)
{
    static const enum algorithm least[] = { ALGORITHM_LEAST_OUTSTANDING, ALGORITHM_ROUND_ROBIN };
    static struct CMUnitTest tests[64];
    size_t count = 0;
    ROWS(choices, test_choice);
    ROWS(shares, test_random_two_shares);
    ROWS(shares, test_hash_shares);
    ROWS(ramps, test_ramp);
    ROWS(aheads, test_ahead);
    tests[count++] = (struct CMUnitTest){ .name = "least outstanding of any table", .test_func = test_least_of_any_table, .initial_state = (void *)&least[0] };
    tests[count++] = (struct CMUnitTest){ .name = "smallest turn of any table", .test_func = test_least_of_any_table, .initial_state = (void *)&least[1] };
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_seen_full);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_random_two_chooses_the_lesser);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_hash_is_the_clients_own);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_who_leaves_takes_only_its_own);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_who_grows_only_gains);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_full_moves_only_its_own);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_ramp_only_grows);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_steps_are_exact);
    return _cmocka_run_group_tests("pick", tests, count, NULL, NULL);
}
