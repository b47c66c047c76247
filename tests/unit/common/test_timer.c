/* The timing wheel against a model that looks at every timer, on random programs; the seed is printed. */
#include "common/timer.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <cmocka.h>

#define TIMERS 40
#define STEPS 3000

struct item {
    struct timer timer;
    uint64_t due_ms;        /* model: UINT64_MAX if not set */
    uint64_t set_in;        /* model: the advance during which it was set, or that comes next */
    unsigned fired;
};

struct world {
    struct timer_wheel wheel;
    struct item items[TIMERS];
    uint64_t now_ms, goal_ms, last_fired_ms;
    uint64_t advance;       /* odd: inside one */
    uint64_t random;
    uint64_t reach_ms;      /* how far deadlines go */
};

static struct world *world;

static uint64_t random_below(uint64_t bound)
{
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return world->random % bound;
}

static void item_set(struct item *item, uint64_t deadline_ms)
{
    timer_set(&world->wheel, &item->timer, deadline_ms);
    item->due_ms = deadline_ms > world->now_ms ? deadline_ms : world->now_ms;
    item->set_in = world->advance;
    assert_true(timer_is_set(&item->timer));
}

static void item_stop(struct item *item)
{
    timer_stop(&world->wheel, &item->timer);
    item->due_ms = UINT64_MAX;
    assert_false(timer_is_set(&item->timer));
}

static uint64_t random_deadline(void)
{
    uint64_t past = random_below(8), reach = 1 + random_below(world->reach_ms);
    uint64_t base = past == 0 && world->now_ms > 50 ? world->now_ms - 50 : world->now_ms;

    return base + random_below(reach);
}

static void random_change(void)
{
    struct item *item = &world->items[random_below(TIMERS)];

    if (random_below(3) == 0)
        item_stop(item);
    else
        item_set(item, random_deadline());
}

static void fire(struct timer *timer)
{
    struct item *item = container_of(timer, struct item, timer);

    assert_false(timer_is_set(timer));
    assert_true(item->due_ms <= world->goal_ms);            /* was set, and is due */
    assert_true(item->due_ms >= world->last_fired_ms);      /* in order */
    world->last_fired_ms = item->due_ms;
    world->now_ms = item->due_ms > world->now_ms ? item->due_ms : world->now_ms;
    item->due_ms = UINT64_MAX;
    item->fired++;
    if (random_below(2) == 0)
        random_change();
    if (random_below(4) == 0)
        item_set(item, world->now_ms);                      /* must wait for the next advance */
}

/* When the next timer is due; one that is over is due now. */
static uint64_t earliest(void)
{
    uint64_t min = UINT64_MAX;

    for (size_t i = 0; i < TIMERS; i++)
        if (world->items[i].due_ms < min)
            min = world->items[i].due_ms;
    return min > world->now_ms ? min : world->now_ms;
}

static void advance(uint64_t to_ms)
{
    world->goal_ms = to_ms;
    world->last_fired_ms = 0;
    world->advance++;
    timer_wheel_advance(&world->wheel, to_ms);
    for (size_t i = 0; i < TIMERS; i++) {
        const struct item *item = &world->items[i];
        bool late = item->set_in == world->advance && item->due_ms <= world->now_ms;
        assert_true(item->due_ms == UINT64_MAX || item->due_ms > to_ms || late);
        assert_int_equal(timer_is_set(&item->timer), item->due_ms != UINT64_MAX);
    }
    world->advance++;
    world->now_ms = to_ms;
}

static void run_program(uint64_t seed, uint64_t start_ms, uint64_t reach_ms)
{
    struct world w = { .random = seed | 1, .reach_ms = reach_ms, .now_ms = start_ms };

    world = &w;
    timer_wheel_init(&w.wheel, start_ms);
    for (size_t i = 0; i < TIMERS; i++) {
        timer_init(&w.items[i].timer, fire);
        w.items[i].due_ms = UINT64_MAX;
    }
    for (unsigned step = 0; step < STEPS; step++) {
        random_change();
        assert_true(timer_wheel_next(&w.wheel) <= earliest());      /* never late */
        if (random_below(2) == 0)
            advance(w.now_ms + random_below(1 + random_below(reach_ms)));
    }
}

static const struct reach_row {
    const char *name;
    uint64_t start_ms, reach_ms;
} reach_rows[] = {
    { "deadlines within one slot's turn", 1000, 60 },
    { "deadlines over two levels", 123456, 5000 },
    { "deadlines over all levels", 123456789, UINT64_C(1) << 37 },
    { "deadlines of the usual timeouts", 99, 60000 },
    { "now starts at zero", 0, 200 },
    { "now crosses the turn of the top level", (UINT64_C(1) << 36) - 700, 300 },
    { "far deadlines across the turn of the top level", (UINT64_C(1) << 36) - 70000, UINT64_C(1) << 38 },
};

static void test_wheel_is_the_model(void **state)
{
    const struct reach_row *row = *state;
    uint64_t seed;

    assert_int_equal(getrandom(&seed, sizeof(seed), 0), (ssize_t)sizeof(seed));
    if (getenv("TEST_SEED") != NULL)
        seed = strtoull(getenv("TEST_SEED"), NULL, 0);
    print_message("TEST_SEED=%" PRIu64 "\n", seed);
    for (unsigned i = 0; i < 20; i++)
        run_program(seed + i * UINT64_C(0x9e3779b97f4a7c15), row->start_ms, row->reach_ms);
}

static unsigned fired_count;

static void count_fire(struct timer *timer)
{
    (void)timer;
    fired_count++;
}

/* What the loop relies on: sleeping until next() and advancing reaches each deadline exactly, in few steps. */
static void test_next_leads_to_the_deadline(void **state)
{
    static const uint64_t deadlines[] = { 1, 63, 64, 65, 4095, 4096, 4097, 262144, 1u << 24, UINT64_C(1) << 36, (UINT64_C(1) << 36) + 1 };
    (void)state;

    for (size_t i = 0; i < sizeof(deadlines) / sizeof(deadlines[0]); i++) {
        struct timer_wheel wheel;
        struct timer timer;
        unsigned steps = 0;
        uint64_t next;
        timer_wheel_init(&wheel, 0);
        timer_init(&timer, count_fire);
        timer_set(&wheel, &timer, deadlines[i]);
        fired_count = 0;
        while ((next = timer_wheel_next(&wheel)) != UINT64_MAX) {
            assert_true(next <= deadlines[i]);
            timer_wheel_advance(&wheel, next);
            assert_int_equal(fired_count, next == deadlines[i]);
            steps++;
        }
        assert_int_equal(fired_count, 1);
        assert_true(steps <= TIMER_LEVELS + 1);
    }
}

static void test_nothing_set_is_never(void **state)
{
    struct timer_wheel wheel;
    struct timer timer;
    (void)state;

    timer_wheel_init(&wheel, 77);
    assert_true(timer_wheel_next(&wheel) == UINT64_MAX);
    timer_init(&timer, count_fire);
    timer_stop(&wheel, &timer);
    timer_set(&wheel, &timer, 1000000);
    timer_stop(&wheel, &timer);
    assert_true(timer_wheel_next(&wheel) == UINT64_MAX);
}

static void test_past_deadline_is_due_at_once(void **state)
{
    struct timer_wheel wheel;
    struct timer timer;
    (void)state;

    timer_wheel_init(&wheel, 500);
    timer_init(&timer, count_fire);
    timer_set(&wheel, &timer, 500);
    assert_true(timer_wheel_next(&wheel) <= 500);
    fired_count = 0;
    timer_wheel_advance(&wheel, 500);       /* no time has passed */
    assert_int_equal(fired_count, 1);
    assert_true(timer_wheel_next(&wheel) == UINT64_MAX);
}

int main(void)
{
    enum { ROWS = sizeof(reach_rows) / sizeof(reach_rows[0]) };
    struct CMUnitTest tests[ROWS + 3] = {
        cmocka_unit_test(test_next_leads_to_the_deadline),
        cmocka_unit_test(test_nothing_set_is_never),
        cmocka_unit_test(test_past_deadline_is_due_at_once),
    };

    for (size_t i = 0; i < ROWS; i++)
        tests[3 + i] = (struct CMUnitTest){ .name = reach_rows[i].name, .test_func = test_wheel_is_the_model, .initial_state = (void *)&reach_rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
