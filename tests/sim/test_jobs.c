/* The runner of many: who dies is named, takes no other run with it, and its failure is told apart from others. */
#include "tests/sim/jobs.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define TRACKS 40
#define STEPS 10

struct rig_figures rig_figures(void)
{
    return (struct rig_figures){ .simulated_us = 1000, .requests = 1 };
}

static struct seen {
    unsigned deaths[TRACKS][STEPS + 1];
    char how[64], line[256], key[256];
} seen;

static void died(void *arg, uint64_t track, uint64_t step, const struct job_death *death)
{
    struct seen *s = arg;

    assert_in_range(track, 0, TRACKS - 1);
    assert_in_range(step, 0, STEPS);
    s->deaths[track][step]++;
    snprintf(s->how, sizeof(s->how), "%s", death->how);
    job_death_line(death, s->line, sizeof(s->line));
    job_death_key(death, s->key, sizeof(s->key));
}

static struct jobs_result run(bool (*what)(void *, uint64_t, uint64_t), unsigned failures_most, unsigned track_failures_most)
{
    struct jobs jobs = { .processes = 3, .tracks = TRACKS, .failures_most = failures_most, .track_failures_most = track_failures_most,
        .run = what, .died = died, .arg = &seen };
    struct jobs_result result;

    memset(&seen, 0, sizeof(seen));
    jobs_run(&jobs, &result);
    return result;
}

static void end_with(const char *text, int status)
{
    printf("before\nFAILED: %s\nbehind\n", text);
    fflush(stdout);
    _exit(status);
}

/* ---- a child dies ---- */

static bool exits(void *arg, uint64_t track, uint64_t step)
{
    (void)arg;
    (void)step;
    if (track == 7)
        end_with("request 123 at 0x7fa01c", WORLD_FAILED);
    return false;
}

static bool exits_well(void *arg, uint64_t track, uint64_t step)
{
    (void)arg;
    (void)step;
    if (track == 7)
        exit(0);
    return false;
}

static bool crashes(void *arg, uint64_t track, uint64_t step)
{
    (void)arg;
    (void)step;
    if (track == 7)
        kill(getpid(), SIGKILL);
    return false;
}

static const struct death_row {
    const char *name;
    bool (*run)(void *arg, uint64_t track, uint64_t step);
    const char *how, *line, *key;
} death_rows[] = {
    { "a world that fails", exits, "exit status 3", "FAILED: request 123 at 0x7fa01c", "FAILED: request # at #" },
    { "an end in the midst of a run, were it a good one", exits_well, "exit status 0", "exit status 0", "exit status #" },
    { "a signal", crashes, "signal 9", "signal 9", "signal #" },
};

static void test_death(void **state)
{
    const struct death_row *row = *state;
    struct jobs_result result = run(row->run, 0, 0);

    assert_int_equal(result.failures, 1);
    assert_int_equal(result.runs, TRACKS);
    assert_int_equal(result.sum.requests, TRACKS - 1);
    assert_int_equal(seen.deaths[7][1], 1);
    assert_string_equal(seen.how, row->how);
    assert_string_equal(seen.line, row->line);
    assert_string_equal(seen.key, row->key);
}

/* ---- steps ---- */

static bool steps(void *arg, uint64_t track, uint64_t step)
{
    (void)arg;
    if (track == 3 && step % 4 == 0)
        end_with("every fourth", WORLD_FAILED);
    if (track == 5)
        end_with("each", WORLD_FAILED);
    return step < STEPS;
}

static void test_steps_go_on(void **state)
{
    struct jobs_result result = run(steps, 0, 3);

    (void)state;
    assert_int_equal(seen.deaths[3][4], 1);
    assert_int_equal(seen.deaths[3][8], 1);
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(seen.deaths[5][i], 1);
    assert_int_equal(seen.deaths[5][4], 0);
    assert_int_equal(result.failures, 5);
    assert_int_equal(result.runs, (TRACKS - 1) * STEPS + 3);
}

static void test_first_failure_ends_it(void **state)
{
    struct jobs_result result = run(steps, 1, 3);

    (void)state;
    assert_in_range(result.failures, 1, 3);     /* the others may have been at it */
    assert_true(result.runs < (TRACKS - 1) * STEPS);
}

/* ---- one ---- */

static void once_fails(void *arg)
{
    end_with(arg, WORLD_FAILED);
}

static void once_holds(void *arg)
{
    (void)arg;
}

static void test_once(void **state)
{
    struct job_death death;
    char line[64];

    (void)state;
    assert_true(job_once(once_holds, NULL, &death));
    assert_false(job_once(once_fails, "this", &death));
    job_death_line(&death, line, sizeof(line));
    assert_string_equal(line, "FAILED: this");
    assert_string_equal(death.output, "before\nFAILED: this\nbehind\n");
    job_death_free(&death);
}

static void test_the_most_telling_line(void **state)
{
    struct job_death death = { .how = "exit status 1",
        .output = "FAILED: 1\n==7==ERROR: AddressSanitizer: heap 0x60200\nSUMMARY: AddressSanitizer: heap a.c:12 in f\n" };
    char line[256];

    (void)state;
    job_death_line(&death, line, sizeof(line));
    assert_string_equal(line, "SUMMARY: AddressSanitizer: heap a.c:12 in f");
    job_death_key(&death, line, sizeof(line));
    assert_string_equal(line, "SUMMARY: AddressSanitizer: heap a.c:# in f");
}

#define ROWS (sizeof(death_rows) / sizeof(death_rows[0]))

int main(void)
{
    struct CMUnitTest tests[ROWS + 4] = {
        cmocka_unit_test(test_steps_go_on),
        cmocka_unit_test(test_first_failure_ends_it),
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_the_most_telling_line),
    };

    for (size_t i = 0; i < ROWS; i++)
        tests[4 + i] = (struct CMUnitTest){ .name = death_rows[i].name, .test_func = test_death, .initial_state = (void *)&death_rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
