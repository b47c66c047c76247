/* The board, with rings that only count how often they are woken. */
#include "common/board.h"
#include "common/ring.h"
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* Takes the place of common/ring.c here. */
struct ring {
    atomic_uint wakes;
};

void ring_wake(struct ring *ring)
{
    atomic_fetch_add(&ring->wakes, 1);
}

static const struct eligible_row {
    const char *name;
    enum slot_state state;
    enum slot_admin admin;
    bool eligible;
} eligible_rows[] = {
    { "a new instance gets no work", SLOT_NEW, ADMIN_AUTO, false },
    { "in service gets work", SLOT_IN_SERVICE, ADMIN_AUTO, true },
    { "out of service gets none", SLOT_OUT_OF_SERVICE, ADMIN_AUTO, false },
    { "the operator's in wins over the verdict", SLOT_OUT_OF_SERVICE, ADMIN_IN, true },
    { "the operator's in does not wait for a verdict", SLOT_NEW, ADMIN_IN, true },
    { "the operator's out wins over the verdict", SLOT_IN_SERVICE, ADMIN_OUT, false },
    { "a drained instance gets no new work", SLOT_IN_SERVICE, ADMIN_DRAIN, false },
};

static void test_eligible(void **state)
{
    const struct eligible_row *row = *state;
    struct slot_status status = { row->state, WHY_PASSED, 1 };
    struct board *board;
    struct slot *slot;

    assert_int_equal(board_new(&board), 0);
    slot = slot_new(board, true);
    slot_publish(slot, status);
    slot_set_admin(slot, row->admin);
    assert_int_equal(slot_eligible(slot), row->eligible);
    assert_int_equal(slot_admin(slot), row->admin);
    slot_unref(&slot);
    board_free(&board);
}

static void test_new_slot_is_registering(void **state)
{
    struct board *board;
    struct slot *slot;
    struct check_record record;
    (void)state;

    assert_int_equal(board_new(&board), 0);
    slot = slot_new(board, true);
    assert_int_equal(slot_status(slot).state, SLOT_NEW);
    assert_int_equal(slot_status(slot).why, WHY_REGISTERING);
    assert_true(slot_status(slot).since_ms > UINT64_C(1600000000000));
    assert_int_equal(slot_checked_at_us(slot), 0);
    assert_int_equal(slot_history(slot, &record, 1), 0);
    slot_unref(&slot);
    assert_null(slot);
    board_free(&board);
    assert_null(board);
}

static void test_disabled_zone_stays_out(void **state)
{
    struct board *board;
    struct slot *slot;
    (void)state;

    assert_int_equal(board_new(&board), 0);
    slot = slot_new(board, false);
    slot_publish(slot, (struct slot_status){ SLOT_IN_SERVICE, WHY_PASSED, 5 });
    assert_int_equal(slot_status(slot).state, SLOT_OUT_OF_SERVICE);
    assert_int_equal(slot_status(slot).why, WHY_ZONE_NOT_ENABLED);
    slot_unref(&slot);
    board_free(&board);
}

static void test_status_comes_back_whole(void **state)
{
    static const struct slot_status written[] = {
        { SLOT_IN_SERVICE, WHY_PASSED, UINT64_C(1772600707123) },
        { SLOT_OUT_OF_SERVICE, WHY_NOT_YET_PASSED, 0 },
        { SLOT_NEW, WHY_REGISTERING, (UINT64_C(1) << 48) - 1 },
    };
    struct board *board;
    struct slot *slot;
    (void)state;

    assert_int_equal(board_new(&board), 0);
    slot = slot_new(board, true);
    for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++) {
        struct slot_status read;
        slot_publish(slot, written[i]);
        read = slot_status(slot);
        assert_int_equal(read.state, written[i].state);
        assert_int_equal(read.why, written[i].why);
        assert_true(read.since_ms == written[i].since_ms);
    }
    slot_unref(&slot);
    board_free(&board);
}

static void test_changes_wake_every_subscriber(void **state)
{
    struct slot_status in = { SLOT_IN_SERVICE, WHY_PASSED, 5 };
    struct check_record record = { .reason = CHECK_REFUSED };
    struct ring a = { 0 }, b = { 0 };
    struct board *board;
    struct slot *slot;
    (void)state;

    assert_int_equal(board_new(&board), 0);
    assert_int_equal(board_subscribe(board, &a), 0);
    assert_int_equal(board_subscribe(board, &b), 0);
    slot = slot_new(board, true);
    slot_publish(slot, in);
    slot_publish(slot, in);                             /* no change */
    assert_int_equal(a.wakes, 1);
    slot_set_admin(slot, ADMIN_OUT);
    slot_set_admin(slot, ADMIN_OUT);                    /* no change */
    assert_int_equal(a.wakes, 2);
    slot_record(slot, &record, true);                   /* a first result, though no change */
    slot_record(slot, &record, false);
    assert_int_equal(a.wakes, 3);
    assert_int_equal(b.wakes, 3);
    board_unsubscribe(board, &a);
    board_wake(board);
    assert_int_equal(a.wakes, 3);
    assert_int_equal(b.wakes, 4);
    slot_unref(&slot);
    board_free(&board);
}

static void test_subscribers_are_bounded(void **state)
{
    struct ring ring = { 0 };
    struct board *board;
    (void)state;

    assert_int_equal(board_new(&board), 0);
    for (unsigned i = 0; i < 256; i++)
        assert_int_equal(board_subscribe(board, &ring), 0);
    assert_int_equal(board_subscribe(board, &ring), -ENOSPC);
    board_unsubscribe(board, &ring);
    assert_int_equal(board_subscribe(board, &ring), 0);
    board_free(&board);
}

static void test_history_is_newest_first(void **state)
{
    struct check_record read[SLOT_HISTORY + 1];
    struct board *board;
    struct slot *slot;
    (void)state;

    assert_int_equal(board_new(&board), 0);
    slot = slot_new(board, true);
    for (uint64_t i = 1; i <= 3 * SLOT_HISTORY / 2; i++) {
        size_t kept = i < SLOT_HISTORY ? i : SLOT_HISTORY;
        slot_record(slot, &(struct check_record){ .at_ms = i }, false);
        assert_int_equal(slot_history(slot, read, SLOT_HISTORY + 1), kept);
        for (size_t k = 0; k < kept; k++)
            assert_int_equal(read[k].at_ms, i - k);
    }
    assert_int_equal(slot_history(slot, read, 2), 2);
    assert_true(slot_checked_at_us(slot) > 0);
    slot_unref(&slot);
    board_free(&board);
}

static void test_hints_are_one_until_taken(void **state)
{
    struct ring ring = { 0 };
    struct board *board;
    struct slot *slot;
    (void)state;

    assert_int_equal(board_new(&board), 0);
    slot = slot_new(board, true);
    slot_hint(slot);                                    /* nobody listens: it is kept */
    board_on_hint(board, &ring);
    assert_true(slot_take_hint(slot));
    assert_false(slot_take_hint(slot));
    slot_hint(slot);
    slot_hint(slot);
    assert_int_equal(ring.wakes, 1);
    assert_true(slot_take_hint(slot));
    slot_hint(slot);
    assert_int_equal(ring.wakes, 2);
    board_on_hint(board, NULL);
    assert_true(slot_take_hint(slot));
    slot_hint(slot);
    assert_int_equal(ring.wakes, 2);
    slot_unref(&slot);
    board_free(&board);
}

static void test_slot_outlives_the_board(void **state)
{
    struct board *board;
    struct slot *slot, *other;
    (void)state;

    assert_int_equal(board_new(&board), 0);
    slot = slot_new(board, true);
    other = slot_ref(slot);
    board_free(&board);
    slot_unref(&slot);
    slot_publish(other, (struct slot_status){ SLOT_IN_SERVICE, WHY_PASSED, 1 });
    assert_true(slot_eligible(other));
    slot_unref(&other);
}

struct contest {
    struct slot *slot;
    atomic_bool stop;
    atomic_uint looks, torn;
};

/* Each verdict that health writes below has a `why` and a `since` that belong to its state. */
static void *look(void *arg)
{
    struct contest *contest = arg;

    while (!atomic_load(&contest->stop)) {
        struct slot_status status = slot_status(contest->slot);
        struct check_record records[SLOT_HISTORY];
        size_t count = slot_history(contest->slot, records, SLOT_HISTORY);
        bool in = status.state == SLOT_IN_SERVICE, torn;
        torn = status.state != SLOT_NEW && (status.why != (in ? WHY_PASSED : WHY_FAILED) || status.since_ms % 2 != (in ? 1 : 0));
        for (size_t i = 1; i < count; i++)
            torn = torn || records[i].at_ms + 1 != records[i - 1].at_ms;
        if (torn)
            atomic_fetch_add(&contest->torn, 1);
        slot_hint(contest->slot);
        atomic_fetch_add(&contest->looks, 1);
    }
    return NULL;
}

static void test_threads_see_whole_verdicts(void **state)
{
    enum { ROUNDS = 20000, LOOKERS = 3 };
    struct contest contest = { 0 };
    struct ring ring = { 0 };
    struct board *board;
    pthread_t threads[LOOKERS];
    unsigned hints = 0;
    (void)state;

    assert_int_equal(board_new(&board), 0);
    board_on_hint(board, &ring);
    contest.slot = slot_new(board, true);
    for (size_t i = 0; i < LOOKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look, &contest), 0);
    for (uint64_t i = 0; i < ROUNDS || atomic_load(&contest.looks) < 100; i++) {
        bool in = i % 2 == 1;
        slot_publish(contest.slot, (struct slot_status){ in ? SLOT_IN_SERVICE : SLOT_OUT_OF_SERVICE, in ? WHY_PASSED : WHY_FAILED, i });
        slot_record(contest.slot, &(struct check_record){ .at_ms = i }, false);
        hints += slot_take_hint(contest.slot);
    }
    atomic_store(&contest.stop, true);
    for (size_t i = 0; i < LOOKERS; i++)
        pthread_join(threads[i], NULL);
    hints += slot_take_hint(contest.slot);
    assert_int_equal(contest.torn, 0);
    assert_true(hints > 0);
    assert_int_equal(hints, ring.wakes);        /* each hint that was taken had woken once */
    slot_unref(&contest.slot);
    board_free(&board);
}

static void test_detail_texts(void **state)
{
    char text[CHECK_DETAIL_MAX];
    (void)state;

    assert_string_equal(check_detail(&(struct check_record){ .reason = CHECK_OK, .status = 200 }, text), "ok");
    assert_string_equal(check_detail(&(struct check_record){ .reason = CHECK_REFUSED }, text), "connection-refused");
    assert_string_equal(check_detail(&(struct check_record){ .reason = CHECK_STATUS, .status = 503 }, text), "status-503");
    assert_string_equal(check_detail(&(struct check_record){ .reason = CHECK_LOCAL }, text), "local-error");
    assert_string_equal(slot_admin_text(ADMIN_DRAIN), "drain");
}

int main(void)
{
    enum { ROWS = sizeof(eligible_rows) / sizeof(eligible_rows[0]) };
    static const struct CMUnitTest fixed[] = {
        cmocka_unit_test(test_new_slot_is_registering), cmocka_unit_test(test_disabled_zone_stays_out),
        cmocka_unit_test(test_status_comes_back_whole), cmocka_unit_test(test_changes_wake_every_subscriber),
        cmocka_unit_test(test_subscribers_are_bounded), cmocka_unit_test(test_history_is_newest_first),
        cmocka_unit_test(test_hints_are_one_until_taken), cmocka_unit_test(test_slot_outlives_the_board),
        cmocka_unit_test(test_threads_see_whole_verdicts), cmocka_unit_test(test_detail_texts),
    };
    enum { FIXED = sizeof(fixed) / sizeof(fixed[0]) };
    struct CMUnitTest tests[FIXED + ROWS];

    memcpy(tests, fixed, sizeof(fixed));
    for (size_t i = 0; i < ROWS; i++)
        tests[FIXED + i] = (struct CMUnitTest){ .name = eligible_rows[i].name, .test_func = test_eligible, .initial_state = (void *)&eligible_rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
