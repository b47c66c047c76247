/*
 * The linker leads halb's calls of malloc() and its like here. A table holds what is live: what libraries have allocated and halb
 * frees (open_memstream(), json_dumps()) is not in it, and passes.
 */
#define ALLOC_ITSELF
#include "tests/sim/alloc.h"
#include "tests/sim/own.h"
#include <assert.h>
#include <errno.h>
#include <execinfo.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define JUNK_NEW 0xa5
#define JUNK_OLD 0xdd
#define PRINTED_MOST 16

struct block {
    void *at;                           /* NULL: an empty place */
    size_t size;
    void *caller;
    uint64_t nth;
};

static struct {
    struct block *blocks;               /* hashed by address, linear probing */
    size_t room, live;                  /* room: a power of two, at most half full */
    size_t bytes, bytes_peak;
    uint64_t count, failed, fail_nth, fail_count;
} table;

/* ---- the table ---- */

static size_t home(const void *at)
{
    return (size_t)(((uint64_t)(uintptr_t)at >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (table.room - 1);
}

static struct block *place_of(const void *at)
{
    size_t i = home(at);

    while (table.blocks[i].at != NULL && table.blocks[i].at != at)
        i = (i + 1) & (table.room - 1);
    return &table.blocks[i];
}

static void grow(void)
{
    struct block *old = table.blocks;
    size_t old_room = table.room;

    table.room = old_room == 0 ? 1024 : old_room * 2;
    table.blocks = __real_calloc(table.room, sizeof(*table.blocks));
    assert(table.blocks != NULL);
    for (size_t i = 0; i < old_room; i++)
        if (old[i].at != NULL)
            *place_of(old[i].at) = old[i];
    __real_free(old);
}

static void *add(void *at, size_t size, void *caller)
{
    struct block *block;

    if (at == NULL)
        return NULL;
    if (2 * (table.live + 1) > table.room)
        grow();
    block = place_of(at);
    assert(block->at == NULL);
    *block = (struct block){ .at = at, .size = size, .caller = caller, .nth = table.count };
    table.live++;
    table.bytes += size;
    if (table.bytes > table.bytes_peak)
        table.bytes_peak = table.bytes;
    return at;
}

/* Those behind it move up, so that no search ends early. */
static void close_gap(size_t gap)
{
    for (size_t i = (gap + 1) & (table.room - 1); table.blocks[i].at != NULL; i = (i + 1) & (table.room - 1)) {
        size_t wanted = home(table.blocks[i].at);
        if (((i - wanted) & (table.room - 1)) < ((i - gap) & (table.room - 1)))
            continue;
        table.blocks[gap] = table.blocks[i];
        gap = i;
    }
    table.blocks[gap] = (struct block){ .at = NULL };
}

/* false: it is none of ours. */
static bool take(const void *at, size_t *size)
{
    struct block *block;

    if (at == NULL || table.room == 0)
        return false;
    block = place_of(at);
    if (block->at == NULL)
        return false;
    *size = block->size;
    table.live--;
    table.bytes -= block->size;
    close_gap((size_t)(block - table.blocks));
    return true;
}

static bool fails(void)
{
    table.count++;
    if (!alloc_nth_reached() || table.failed == table.fail_count)
        return false;
    table.failed++;
    errno = ENOMEM;
    return true;
}

static void *with_junk(void *at, size_t from, size_t to)
{
    if (at != NULL && to > from)
        memset((char *)at + from, JUNK_NEW, to - from);
    return at;
}

/* ---- what halb's calls become ---- */

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *at, size_t size);
void *__wrap_reallocarray(void *at, size_t count, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t len);
void __wrap_free(void *at);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : with_junk(add(__real_malloc(size), size, __builtin_return_address(0)), 0, size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : add(__real_calloc(count, size), count * size, __builtin_return_address(0));
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : with_junk(add(__real_aligned_alloc(alignment, size), size, __builtin_return_address(0)), 0, size);
}

/* Moves always, so that who keeps the old address is seen. */
static void *resize(void *at, size_t size, void *caller)
{
    size_t old = 0;
    void *moved;

    if (fails())
        return NULL;
    moved = with_junk(__real_malloc(size), 0, size);
    if (moved == NULL)
        return NULL;
    if (take(at, &old)) {
        memcpy(moved, at, old < size ? old : size);
        memset(at, JUNK_OLD, old);
        __real_free(at);
    } else if (at != NULL) {
        __real_free(moved);             /* a library's: how large it is is not known here */
        moved = __real_realloc(at, size);
    }
    return add(moved, size, caller);
}

void *__wrap_realloc(void *at, size_t size)
{
    return resize(at, size, __builtin_return_address(0));
}

void *__wrap_reallocarray(void *at, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return resize(at, bytes, __builtin_return_address(0));
}

static char *copy(const char *text, size_t len, void *caller)
{
    char *at;

    if (fails())
        return NULL;
    at = add(__real_malloc(len + 1), len + 1, caller);
    if (at == NULL)
        return NULL;
    memcpy(at, text, len);
    at[len] = '\0';
    return at;
}

char *__wrap_strdup(const char *text)
{
    return copy(text, strlen(text), __builtin_return_address(0));
}

char *__wrap_strndup(const char *text, size_t len)
{
    return copy(text, strnlen(text, len), __builtin_return_address(0));
}

void __wrap_free(void *at)
{
    size_t size;

    if (take(at, &size))
        memset(at, JUNK_OLD, size);
    __real_free(at);
}

/* ---- what the simulation asks ---- */

void alloc_begin(void)
{
    if (table.room > 0)
        memset(table.blocks, 0, table.room * sizeof(*table.blocks));
    table.live = table.bytes = table.bytes_peak = 0;
    table.count = table.failed = 0;
}

void alloc_fail_nth(uint64_t n, uint64_t count)
{
    table.fail_nth = n;
    table.fail_count = count;
}

uint64_t alloc_failed(void)
{
    return table.failed;
}

bool alloc_nth_reached(void)
{
    return table.fail_nth > 0 && table.count >= table.fail_nth;
}

uint64_t alloc_count(void)
{
    return table.count;
}

size_t alloc_live_blocks(void)
{
    return table.live;
}

size_t alloc_peak_bytes(void)
{
    return table.bytes_peak;
}

static const struct block *next_after(uint64_t nth)
{
    const struct block *next = NULL;

    for (size_t i = 0; i < table.room; i++) {
        const struct block *block = &table.blocks[i];
        if (block->at != NULL && block->nth > nth && (next == NULL || block->nth < next->nth))
            next = block;
    }
    return next;
}

void alloc_print_live(void)
{
    uint64_t nth = 0;

    for (unsigned i = 0; i < PRINTED_MOST; i++) {
        const struct block *block = next_after(nth);
        if (block == NULL)
            return;
        nth = block->nth;
        printf("allocation %" PRIu64 ", %zu bytes, asked for by: ", nth, block->size);
        fflush(stdout);
        backtrace_symbols_fd(&block->caller, 1, fileno(stdout));
    }
}
