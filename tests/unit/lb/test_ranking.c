#include "lb/ranking.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static unsigned class_of(const struct rank *rank)
{
    return rank->out ? 2 : rank->outstanding_max > 0 && rank->outstanding >= rank->outstanding_max ? 1 : 0;
}

/* Said anew, slowly: what is first by the rule? */
static size_t looked_for(const struct rank *ranks, size_t count, enum algorithm rule)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++) {
        const struct rank *a = &ranks[i], *b = &ranks[best];
        uint64_t left = (uint64_t)a->outstanding * b->weight, right = (uint64_t)b->outstanding * a->weight;
        int64_t turn = (int64_t)(a->turn - b->turn);
        if (class_of(a) != class_of(b) ? class_of(a) < class_of(b) : rule == ALGORITHM_ROUND_ROBIN || left == right ? turn < 0 : left < right)
            best = i;
    }
    return best;
}

static struct rank by_chance(uint64_t around)
{
    return (struct rank){ .turn = around + (uint64_t)random() % 50, .weight = 256 * (1 + (uint32_t)random() % 3), .outstanding = (uint32_t)random() % 4,
                          .outstanding_max = (uint32_t)random() % 6, .out = random() % 4 == 0 };
}

static const size_t counts[] = { 1, 2, 3, 5, 8, 16, 33, 64, 100 };

/* Over the end of the numbers, too. */
static void test_first_of_any(void **state)
{
    size_t count = *(const size_t *)*state;
    unsigned seed = (unsigned)time(NULL);
    struct ranking *ranking = ranking_new(count);
    struct rank ranks[100];
    print_message("seed %u\n", seed);
    srandom(seed);
    assert_non_null(ranking);
    for (size_t i = 0; i < count; i++)
        ranking->ranks[i] = ranks[i] = by_chance(UINT64_MAX - 20);
    ranking_order(ranking);
    for (unsigned k = 0; k < 5000; k++) {
        size_t i = (size_t)random() % count, least = ranking_first(ranking, ALGORITHM_LEAST_OUTSTANDING);
        assert_true(least < count);
        if (class_of(&ranks[least]) < 2)
            assert_int_equal(least, looked_for(ranks, count, ALGORITHM_LEAST_OUTSTANDING));
        if (k > 1000 && class_of(&ranks[least]) < 2)        /* the second order comes to it later */
            assert_int_equal(ranking_first(ranking, ALGORITHM_ROUND_ROBIN), looked_for(ranks, count, ALGORITHM_ROUND_ROBIN));
        ranks[i] = by_chance(UINT64_MAX - 20);
        ranking_set(ranking, i, &ranks[i]);
    }
    ranking_unref(&ranking);
}

static void test_all_are_out_at_first(void **state)
{
    size_t count = *(const size_t *)*state;
    struct ranking *ranking = ranking_new(count), *later = ranking_new(count);
    struct rank rank = { .weight = 256, .outstanding = 1, .outstanding_max = 1 };
    assert_true(ranking->ranks[ranking_first(ranking, ALGORITHM_ROUND_ROBIN)].out);
    ranking_set(ranking, count - 1, &rank);
    assert_int_equal(ranking_first(ranking, ALGORITHM_ROUND_ROBIN), count - 1);
    assert_int_equal(ranking_foremost(ranking), count - 1);
    assert_true(rank_full(&ranking->ranks[count - 1]));
    assert_true(later->number > ranking->number);
    ranking_unref(&ranking);
    assert_null(ranking);
    ranking_unref(&ranking);            /* none is fine */
    ranking_unref(&later);
}

int main(void)
{
    static struct CMUnitTest tests[2 * sizeof(counts) / sizeof(counts[0])];
    size_t count = 0;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        tests[count++] = (struct CMUnitTest){ .name = "first of any, by both rules", .test_func = test_first_of_any, .initial_state = (void *)&counts[i] };
        tests[count++] = (struct CMUnitTest){ .name = "all are out at first", .test_func = test_all_are_out_at_first, .initial_state = (void *)&counts[i] };
    }
    return _cmocka_run_group_tests("ranking", tests, count, NULL, NULL);
}
