/* What alloc.c counts, and what it fails. This file's own calls are those that it judges. */
#include "tests/sim/alloc.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define BLOCKS 3000

/* A compiler may leave out an allocation that nobody looks at. */
static void *used(void *at)
{
    __asm__ volatile("" : : "r"(at) : "memory");
    return at;
}

static void test_counts(void **state)
{
    char *a, *b, *c, *d;

    (void)state;
    alloc_begin();
    a = used(malloc(100));
    b = used(calloc(3, 20));
    c = used(strdup("four"));
    d = used(strndup("fourteen", 4));
    assert_string_equal(c, d);
    assert_int_equal(alloc_count(), 4);
    assert_int_equal(alloc_live_blocks(), 4);
    assert_int_equal(alloc_peak_bytes(), 100 + 60 + 5 + 5);
    a = used(realloc(a, 300));
    assert_int_equal(alloc_live_blocks(), 4);
    free(a);
    free(b);
    free(c);
    free(d);
    free(NULL);
    assert_int_equal(alloc_live_blocks(), 0);
    assert_int_equal(alloc_peak_bytes(), 300 + 60 + 5 + 5);
}

static void test_realloc_keeps_what_was_there(void **state)
{
    char *at = realloc(NULL, 8);

    (void)state;
    memcpy(at, "abcdefg", 8);
    at = reallocarray(at, 1000, 10);
    assert_string_equal(at, "abcdefg");
    at = realloc(at, 4);
    assert_memory_equal(at, "abcd", 4);
    free(at);
}

static void test_what_a_library_gave(void **state)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory;

    (void)state;
    alloc_begin();
    memory = open_memstream(&text, &size);
    fputs("theirs", memory);
    fclose(memory);
    assert_int_equal(alloc_live_blocks(), 0);
    text = realloc(text, 100);
    assert_string_equal(text, "theirs");
    assert_int_equal(alloc_live_blocks(), 1);
    free(text);
    assert_int_equal(alloc_live_blocks(), 0);
    assert_true(asprintf(&text, "%d", 5) == 1);
    free(text);
    assert_int_equal(alloc_live_blocks(), 0);
}

static void *by_malloc(void) { return malloc(1); }
static void *by_calloc(void) { return calloc(1, 1); }
static void *by_realloc(void) { return realloc(NULL, 1); }
static void *by_reallocarray(void) { return reallocarray(NULL, 1, 1); }
static void *by_aligned_alloc(void) { return aligned_alloc(64, 64); }
static void *by_strdup(void) { return strdup(""); }
static void *by_strndup(void) { return strndup("", 1); }

static const struct fail_row {
    const char *name;
    void *(*call)(void);
} fail_rows[] = {
    { "malloc fails", by_malloc }, { "calloc fails", by_calloc }, { "realloc fails", by_realloc }, { "reallocarray fails", by_reallocarray },
    { "aligned_alloc fails", by_aligned_alloc }, { "strdup fails", by_strdup }, { "strndup fails", by_strndup },
};

static void test_nth_fails(void **state)
{
    const struct fail_row *row = *state;
    void *at;

    alloc_fail_nth(3, 2);
    alloc_begin();
    for (unsigned i = 1; i <= 6; i++) {
        bool fails = i == 3 || i == 4;
        errno = 0;
        at = used(row->call());
        assert_int_equal(at == NULL, fails);
        assert_int_equal(errno, fails ? ENOMEM : 0);
        assert_int_equal(alloc_nth_reached(), i >= 3);
        assert_int_equal(alloc_failed(), i < 3 ? 0 : i == 3 ? 1 : 2);
        free(at);
    }
    alloc_fail_nth(0, 0);
    assert_false(alloc_nth_reached());
    assert_int_equal(alloc_live_blocks(), 0);
}

/* The table finds each among many, whatever order they go in. */
static void test_many(void **state)
{
    static unsigned char *blocks[BLOCKS];
    size_t live = 0;

    (void)state;
    alloc_begin();
    for (unsigned step = 0; step < 20 * BLOCKS; step++) {
        unsigned i = step * 7919u % BLOCKS;
        if (blocks[i] != NULL || step % 3 == 0) {
            live -= blocks[i] != NULL;
            free(blocks[i]);
            blocks[i] = NULL;
        } else {
            blocks[i] = malloc(i % 50 + 1);
            blocks[i][0] = (unsigned char)i;
            live++;
        }
        assert_int_equal(alloc_live_blocks(), live);
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        assert_true(blocks[i] == NULL || blocks[i][0] == (unsigned char)i);
        free(blocks[i]);
    }
    assert_int_equal(alloc_live_blocks(), 0);
}

#define ROWS (sizeof(fail_rows) / sizeof(fail_rows[0]))

int main(void)
{
    struct CMUnitTest tests[ROWS + 4] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_realloc_keeps_what_was_there),
        cmocka_unit_test(test_what_a_library_gave),
        cmocka_unit_test(test_many),
    };

    for (size_t i = 0; i < ROWS; i++)
        tests[4 + i] = (struct CMUnitTest){ .name = fail_rows[i].name, .test_func = test_nth_fails, .initial_state = (void *)&fail_rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
