/* Whose memory is it? All of a configuration's is one arena's. */
#include "common/config_internal.h"
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 16384

struct block {
    struct block *next;
    size_t used, size;
    max_align_t bytes[];
};

struct arena {
    struct block *blocks;       /* the newest first: the one that is filled */
};

struct arena *arena_new(void)
{
    return calloc(1, sizeof(struct arena));
}

void arena_free(struct arena **arena)
{
    if (*arena == NULL)
        return;
    for (struct block *block = (*arena)->blocks, *next; block != NULL; block = next) {
        next = block->next;
        free(block);
    }
    free(*arena);
    *arena = NULL;
}

static struct block *block_new(struct arena *arena, size_t bytes)
{
    size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
    struct block *block = calloc(1, sizeof(*block) + size);
    if (block == NULL)
        return NULL;
    block->size = size;
    block->next = arena->blocks;
    arena->blocks = block;
    return block;
}

void *arena_alloc(struct arena *arena, size_t count, size_t size)
{
    const size_t align = sizeof(max_align_t) - 1;
    struct block *block = arena->blocks;
    size_t bytes;
    char *ret;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2)
        return NULL;
    bytes = bytes == 0 ? sizeof(max_align_t) : (bytes + align) & ~align;
    if (block == NULL || block->size - block->used < bytes)
        block = block_new(arena, bytes);
    if (block == NULL)
        return NULL;
    ret = (char *)block->bytes + block->used;
    block->used += bytes;
    return ret;
}

char *arena_copy(struct arena *arena, const char *text, size_t len)
{
    char *ret = arena_alloc(arena, len + 1, 1);
    if (ret != NULL)
        memcpy(ret, text, len);
    return ret;
}

char *arena_print(struct arena *arena, const char *format, ...)
{
    va_list args, again;
    char *ret;
    int len;
    va_start(args, format);
    va_copy(again, args);
    len = vsnprintf(NULL, 0, format, args);
    ret = arena_alloc(arena, (size_t)len + 1, 1);
    if (ret != NULL)
        vsnprintf(ret, (size_t)len + 1, format, again);
    va_end(again);
    va_end(args);
    return ret;
}
