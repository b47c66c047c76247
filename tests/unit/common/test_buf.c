#include "common/buf.h"
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* A sanitizer's allocator says no as the system's does. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void assert_text(const struct buf *b, const char *text)
{
    assert_int_equal(b->len, strlen(text));
    assert_memory_equal(b->data, text, b->len);
}

static const struct number_row {
    const char *name;
    unsigned long long number;
    unsigned base;
    const char *text;
} numbers[] = {
    { "nought has one digit", 0, 10, "0" },
    { "and one in base 16", 0, 16, "0" },
    { "the last of one digit", 9, 10, "9" },
    { "the first of two", 10, 10, "10" },
    { "base 16 is in lower case", 0xabcdef, 16, "abcdef" },
    { "a round number in base 16", 0x1000, 16, "1000" },
    { "the largest", ULLONG_MAX, 10, "18446744073709551615" },
    { "the largest in base 16", ULLONG_MAX, 16, "ffffffffffffffff" },
};

static void test_number(void **state)
{
    const struct number_row *row = *state;
    struct buf *b = buf_new(strlen(row->text));
    assert_non_null(b);
    buf_add_number(b, row->number, row->base);
    assert_text(b, row->text);
    assert_int_equal(buf_room(b), 0);
    buf_unref(&b);
}

static const struct reserve_row {
    const char *name;
    size_t cap, held, more;
    bool same_cap;
} reserves[] = {
    { "room that is there is not made again",       64, 10, 54, true },
    { "nothing more needs no room",                  0, 0, 0, true },
    { "one byte too many makes it grow",            64, 10, 55, false },
    { "a full one grows by one",                     8, 8, 1, false },
    { "one made without any room",                   0, 0, 1, false },
    { "far more than twice what it had",           600, 500, 100000, false },
    { "up to just its growth",                     512, 0, 1024, false },
};

static void test_reserve(void **state)
{
    const struct reserve_row *row = *state;
    struct buf *b = buf_new(row->cap);
    assert_non_null(b);
    for (size_t i = 0; i < row->held; i++)
        buf_add(b, (char[]){ (char)i }, 1);
    assert_int_equal(buf_reserve(&b, row->more), 0);
    assert_int_equal(b->cap == row->cap, row->same_cap);
    assert_int_equal(b->len, row->held);
    assert_true(buf_room(b) >= row->more);
    for (size_t i = 0; i < row->more; i++)
        buf_add(b, "x", 1);         /* all of the room is really there */
    for (size_t i = 0; i < row->held; i++)
        assert_int_equal(b->data[i], (char)i);
    assert_int_equal(b->len, row->held + row->more);
    buf_unref(&b);
}

static void test_no_memory_leaves_it(void **state)
{
    struct buf *b = buf_new(4), *same = b;
    (void)state;
    assert_non_null(b);
    buf_add_text(b, "kept");
    assert_int_equal(buf_reserve(&b, (size_t)PTRDIFF_MAX / 4 * 3), -ENOMEM);
    assert_ptr_equal(b, same);
    assert_text(b, "kept");
    buf_unref(&b);
}

static void test_appended_in_order(void **state)
{
    struct buf *b = buf_new(64);
    (void)state;
    assert_non_null(b);
    buf_add_text(b, "GET ");
    buf_add_span(b, SPAN("/path"));
    buf_add_span(b, (struct span){ NULL, 0 });
    buf_add(b, NULL, 0);
    buf_add_text(b, "");
    buf_add(b, " \0x", 3);
    buf_add_number(b, 42, 10);
    assert_int_equal(b->len, 14);
    assert_memory_equal(b->data, "GET /path \0x42", 14);
    assert_int_equal(buf_room(b), 50);
    buf_unref(&b);
}

static void test_lives_until_the_last_reference(void **state)
{
    struct buf *b = buf_new(8), *other, *none = NULL;
    (void)state;
    assert_non_null(b);
    buf_add_text(b, "shared");
    other = buf_ref(b);
    assert_ptr_equal(other, b);
    buf_unref(&b);
    assert_null(b);
    assert_text(other, "shared");
    buf_unref(&other);
    assert_null(other);
    buf_unref(&none);               /* none at all is fine */
}

#define ROWS(table, function)                                                                     \
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)                                 \
        tests[count++] = (struct CMUnitTest){ .name = table[i].name, .test_func = (function), .initial_state = (void *)&table[i] }

int main(void)
{
    static struct CMUnitTest tests[32];
    size_t count = 0;
    ROWS(numbers, test_number);
    ROWS(reserves, test_reserve);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_no_memory_leaves_it);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_appended_in_order);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_lives_until_the_last_reference);
    return _cmocka_run_group_tests("buf", tests, count, NULL, NULL);
}
