#include "lb/instance.h"
#include "common/board.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct instance *make(struct board **board, unsigned nodes, unsigned workers)
{
    struct addr address;
    struct instance *instance;
    assert_int_equal(addr_parse("127.0.20.100", &address), 0);
    assert_int_equal(board_new(board), 0);
    instance = instance_new("ha-web-left", "us-east-1a", &address, slot_new(*board, true), nodes, workers);
    assert_non_null(instance);
    return instance;
}

static const struct fit_row {
    const char *name;
    enum instance_phase phase;
    enum slot_state measured;
    enum slot_admin admin;
    bool open, eligible;
} fits[] = {
    { "new: might come",                       INSTANCE_REGISTERED, SLOT_NEW,            ADMIN_AUTO,  true,  false },
    { "in service",                            INSTANCE_REGISTERED, SLOT_IN_SERVICE,     ADMIN_AUTO,  true,  true },
    { "out of service: might come back",       INSTANCE_REGISTERED, SLOT_OUT_OF_SERVICE, ADMIN_AUTO,  true,  false },
    { "new, but the operator says in",         INSTANCE_REGISTERED, SLOT_NEW,            ADMIN_IN,    true,  true },
    { "measured out, but the operator says in", INSTANCE_REGISTERED, SLOT_OUT_OF_SERVICE, ADMIN_IN,   true,  true },
    { "in service, but the operator says out", INSTANCE_REGISTERED, SLOT_IN_SERVICE,     ADMIN_OUT,   false, false },
    { "in service, but the operator drains",   INSTANCE_REGISTERED, SLOT_IN_SERVICE,     ADMIN_DRAIN, false, false },
    { "draining gets nothing new",             INSTANCE_DRAINING,   SLOT_IN_SERVICE,     ADMIN_AUTO,  false, false },
    { "draining, whatever the operator says",  INSTANCE_DRAINING,   SLOT_IN_SERVICE,     ADMIN_IN,    false, false },
    { "cut gets nothing new",                  INSTANCE_CUT,        SLOT_IN_SERVICE,     ADMIN_AUTO,  false, false },
    { "cut, whatever the operator says",       INSTANCE_CUT,        SLOT_IN_SERVICE,     ADMIN_IN,    false, false },
};

static void test_fit(void **state)
{
    const struct fit_row *row = *state;
    struct board *board;
    struct instance *instance = make(&board, 1, 1);
    atomic_store(&instance->phase, row->phase);
    slot_publish(instance->slot, (struct slot_status){ .state = row->measured });
    slot_set_admin(instance->slot, row->admin);
    assert_int_equal(instance_open(instance), row->open);
    assert_int_equal(instance_eligible(instance), row->eligible);
    instance_unref(&instance);
    board_free(&board);
}

static void test_outstanding_is_summed_over_nodes(void **state)
{
    struct board *board;
    struct instance *instance = make(&board, 3, 2);
    (void)state;
    assert_int_equal(instance_outstanding(instance), 0);
    for (unsigned i = 0; i < 3; i++)
        atomic_store(&instance->uses[i].outstanding, i + 1);
    assert_int_equal(instance_outstanding(instance), 6);
    instance_unref(&instance);
    board_free(&board);
}

static void test_begins_unused_and_apart(void **state)
{
    struct board *board;
    struct instance *instance = make(&board, 2, 3);
    (void)state;
    assert_string_equal(instance->id, "ha-web-left");
    assert_string_equal(instance->zone, "us-east-1a");
    assert_int_equal(atomic_load(&instance->phase), INSTANCE_REGISTERED);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal((uintptr_t)&instance->uses[i] % 64, 0);
        assert_int_equal(atomic_load(&instance->uses[i].turn), 0);
        assert_int_equal(atomic_load(&instance->uses[i].outstanding), 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal((uintptr_t)&instance->locals[i] % 64, 0);
        assert_true(list_empty(&instance->locals[i].idle));
        assert_true(list_empty(&instance->locals[i].busy));
        assert_int_equal(instance->locals[i].idle_count, 0);
    }
    instance_unref(&instance);
    board_free(&board);
}

static void test_lives_until_the_last_reference(void **state)
{
    struct board *board;
    struct instance *instance = make(&board, 1, 1), *other = instance_ref(instance);
    struct slot *slot = slot_ref(instance->slot);
    (void)state;
    assert_ptr_equal(other, instance);
    instance_unref(&instance);
    assert_null(instance);
    assert_string_equal(other->id, "ha-web-left");
    instance_unref(&other);
    assert_int_equal(slot_status(slot).state, SLOT_NEW);        /* the one reference that it had is gone, ours holds */
    slot_unref(&slot);
    board_free(&board);
}

int main(void)
{
    static struct CMUnitTest tests[32];
    size_t count = 0;
    for (size_t i = 0; i < sizeof(fits) / sizeof(fits[0]); i++)
        tests[count++] = (struct CMUnitTest){ .name = fits[i].name, .test_func = test_fit, .initial_state = (void *)&fits[i] };
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_outstanding_is_summed_over_nodes);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_begins_unused_and_apart);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_lives_until_the_last_reference);
    return _cmocka_run_group_tests("instance", tests, count, NULL, NULL);
}
