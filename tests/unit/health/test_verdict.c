/* The verdict, result by result. */
#include "health/verdict.h"
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static const struct verdict_row {
    const char *name;
    unsigned healthy, unhealthy;
    const char *results, *states;   /* in step: '+' passed, '-' failed, '0' local error; N(ew), U(p), D(own: failed), P(down: not yet passed) */
} rows[] = {
    { "a new instance needs one success",                10, 2, "+++",           "UUU" },
    { "one failure is forgiven",                         10, 2, "+-+-+",         "UUUUU" },
    { "the second failure in a row takes it down",       10, 2, "+--",           "UUD" },
    { "a new one's failures count to the threshold",     10, 2, "--",            "ND" },
    { "a new one that fails, then passes, is in",        10, 2, "-+",            "NU" },
    { "a new one that went out needs the threshold",      2, 2, "--++",          "NDPU" },
    { "threshold 1 down at once",                        10, 1, "+-",            "UD" },
    { "threshold 1 up at once",                           1, 2, "+--+",          "UUDU" },
    { "up after exactly the healthy threshold",           3, 2, "+--+++",        "UUDPPU" },
    { "ten successes bring it back, nine do not",        10, 2, "+--++++++++++", "UUDPPPPPPPPPU" },
    { "down after exactly ten failures",                  2, 10, "+----------",  "UUUUUUUUUUD" },
    { "a relapse restarts the count of successes",        3, 2, "--++-+++",      "NDPPPPPU" },
    { "a relapse to the threshold is a failure again",    3, 2, "--+--++",       "NDPPDPP" },
    { "further failures stay failures",                   3, 2, "+----",         "UUDDD" },
    { "successes apart do not add up",                    2, 2, "+--+-+-++",     "UUDPPPPPU" },
    { "a local error says nothing of a new one",          2, 2, "000+",          "NNNU" },
    { "a local error does not break a row of failures",   2, 2, "+-0-",          "UUUD" },
    { "a local error does not break a row of successes",  2, 2, "+--+0+",        "UUDPPU" },
    { "a local error takes nothing down",                 2, 1, "+000",          "UUUU" },
};

static char letter(const struct verdict *v)
{
    switch (v->why) {
    case WHY_REGISTERING: return v->state == SLOT_NEW ? 'N' : '?';
    case WHY_PASSED: return v->state == SLOT_IN_SERVICE ? 'U' : '?';
    case WHY_FAILED: return v->state == SLOT_OUT_OF_SERVICE ? 'D' : '?';
    case WHY_NOT_YET_PASSED: return v->state == SLOT_OUT_OF_SERVICE ? 'P' : '?';
    case WHY_ZONE_NOT_ENABLED: return '?';
    }
    return '?';
}

static enum check_reason result_of(char c)
{
    return c == '+' ? CHECK_OK : c == '-' ? CHECK_REFUSED : CHECK_LOCAL;
}

static void test_verdict_fold(void **state)
{
    const struct verdict_row *row = *state;
    struct verdict v = { .state = SLOT_NEW, .why = WHY_REGISTERING };

    assert_int_equal(strlen(row->results), strlen(row->states));
    for (size_t i = 0; row->results[i] != '\0'; i++) {
        v = verdict_fold(v, result_of(row->results[i]), (struct thresholds){ row->unhealthy, row->healthy });
        assert_int_equal(letter(&v), row->states[i]);
    }
}

/* Whatever is not a success and not our own trouble is a failure. */
static void test_every_reason_counts(void **state)
{
    (void)state;

    for (int reason = 0; reason < CHECK_REASON_COUNT; reason++) {
        struct verdict v = { .state = SLOT_IN_SERVICE, .why = WHY_PASSED };
        bool stays = reason == CHECK_OK || reason == CHECK_LOCAL;
        v = verdict_fold(v, (enum check_reason)reason, (struct thresholds){ 1, 1 });
        assert_int_equal(v.state, stays ? SLOT_IN_SERVICE : SLOT_OUT_OF_SERVICE);
    }
}

/* A threshold that was lowered meanwhile is reached by the next result. */
static void test_lowered_threshold(void **state)
{
    struct verdict v = { .state = SLOT_IN_SERVICE, .why = WHY_PASSED };
    (void)state;

    for (unsigned i = 0; i < 4; i++)
        v = verdict_fold(v, CHECK_REFUSED, (struct thresholds){ 10, 10 });
    assert_int_equal(v.state, SLOT_IN_SERVICE);
    v = verdict_fold(v, CHECK_REFUSED, (struct thresholds){ 2, 10 });
    assert_int_equal(v.state, SLOT_OUT_OF_SERVICE);
}

static void test_counts_do_not_wrap(void **state)
{
    struct verdict v = { .state = SLOT_OUT_OF_SERVICE, .why = WHY_FAILED, .failures = UINT_MAX };
    (void)state;

    v = verdict_fold(v, CHECK_REFUSED, (struct thresholds){ 2, 2 });
    assert_int_equal(v.failures, UINT_MAX);
}

int main(void)
{
    enum { ROWS = sizeof(rows) / sizeof(rows[0]) };
    struct CMUnitTest tests[ROWS + 3] = {
        cmocka_unit_test(test_every_reason_counts),
        cmocka_unit_test(test_lowered_threshold),
        cmocka_unit_test(test_counts_do_not_wrap),
    };

    for (size_t i = 0; i < ROWS; i++)
        tests[3 + i] = (struct CMUnitTest){ .name = rows[i].name, .test_func = test_verdict_fold, .initial_state = (void *)&rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
