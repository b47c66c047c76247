/*
 * Buffers that halb provides for receiving. While one is the kernel's, halb must not look at it: under ASan it can not, and an id
 * that is given back twice is found at the next look.
 */
#include "tests/sim/kernel_uring.h"
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifdef SANITIZED
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, len) ((void)(at), (void)(len))
#define ASAN_UNPOISON_MEMORY_REGION(at, len) ((void)(at), (void)(len))
#endif

static struct io_uring_buf *entry(const struct group *group, uint16_t i)
{
    return &group->shared->bufs[i & (group->count - 1)];
}

static void *memory_of(const struct io_uring_buf *buf)
{
    return (void *)(uintptr_t)buf->addr;
}

void group_open(struct group *group, const struct io_uring_buf_reg *reg)
{
    *group = (struct group){ .shared = (struct io_uring_buf_ring *)(uintptr_t)reg->ring_addr, .count = reg->ring_entries };
    group->offered = calloc(group->count, sizeof(*group->offered));
    if (group->offered == NULL)
        world_fail("no memory for a buffer ring");
    group_look(group);
}

void group_close(struct group *group)
{
    if (group->shared == NULL)
        return;
    group_look(group);
    for (; group->head != group->seen; group->head++)
        ASAN_UNPOISON_MEMORY_REGION(memory_of(entry(group, group->head)), entry(group, group->head)->len);
    free(group->offered);
    group->shared = NULL;
}

void group_look(struct group *group)
{
    uint16_t tail;

    if (group->shared == NULL)
        return;
    tail = io_uring_smp_load_acquire(&group->shared->tail);
    if ((uint16_t)(tail - group->head) > group->count)
        world_fail("%u buffers are given back to a ring of %u", (unsigned)(uint16_t)(tail - group->head), group->count);
    for (; group->seen != tail; group->seen++) {
        const struct io_uring_buf *buf = entry(group, group->seen);
        if (buf->bid >= group->count)
            world_fail("a buffer is given back that is none: %u", buf->bid);
        if (group->offered[buf->bid])
            world_fail("buffer %u is given back twice", buf->bid);
        group->offered[buf->bid] = true;
        ASAN_POISON_MEMORY_REGION(memory_of(buf), buf->len);
    }
}

static unsigned there(const struct group *group)
{
    return (uint16_t)(group->seen - group->head);
}

bool group_empty(struct group *group)
{
    group_look(group);
    return there(group) == 0;
}

bool group_scarce(const struct group *group)
{
    unsigned max = kernel.conf.faults.buffers;

    return !kernel.calm && max > 0 && group->count - there(group) >= max;
}

struct io_uring_buf group_first(struct group *group)
{
    struct io_uring_buf buf = *entry(group, group->head);

    ASAN_UNPOISON_MEMORY_REGION(memory_of(&buf), buf.len);
    return buf;
}

void group_take(struct group *group)
{
    group->offered[entry(group, group->head)->bid] = false;
    group->head++;
}
