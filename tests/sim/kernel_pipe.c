/*
 * Pipes as Linux has them: a number of slots, each with a page's worth of bytes or less. What came in small segments fills the slots
 * long before it fills the pages.
 */
#include "tests/sim/kernel_internal.h"
#include "common/net.h"
#include <errno.h>
#include <stdlib.h>

#define PAGE_BYTES 4096
#define SLOTS_DEFAULT 16

struct pipe {
    struct queue queue;
    uint32_t *slots;            /* bytes in each, from the first */
    unsigned room, first, last; /* room is a power of two */
    unsigned ends;              /* open */
};

struct pipe *pipe_new(size_t bytes)
{
    struct pipe *pipe = calloc(1, sizeof(*pipe));
    unsigned room = 1;

    if (pipe == NULL)
        world_fail("no memory for a pipe");
    while (room * (size_t)PAGE_BYTES < bytes)
        room *= 2;
    if (choice(30))             /* the user's quota is used up: as they are by default, or of one page */
        room = choice(500) ? 1 : SLOTS_DEFAULT;
    pipe->room = room;
    pipe->slots = calloc(room, sizeof(*pipe->slots));
    if (pipe->slots == NULL)
        world_fail("no memory for a pipe");
    pipe->ends = 2;
    return pipe;
}

void pipe_close(struct pipe *pipe)
{
    if (--pipe->ends > 0)
        return;
    queue_free(&pipe->queue);
    free(pipe->slots);
    free(pipe);
}

static void slot_fill(struct pipe *pipe, struct link *link, unsigned side, size_t len)
{
    char page[PAGE_BYTES];

    link_recv(link, side, page, len, false);
    queue_put(&pipe->queue, page, len);
    pipe->slots[pipe->last++ & (pipe->room - 1)] = (uint32_t)len;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static long splice_in(struct socket *socket, struct pipe *pipe, size_t len)
{
    struct link *link = socket->link;
    size_t moved = 0;

    if (pipe->last - pipe->first == pipe->room)
        return -EAGAIN;
    if (link_readable(link, socket->side) == 0)
        return link_recv(link, socket->side, NULL, 0, false);
    len = short_of(len);
    while (moved < len && pipe->last - pipe->first < pipe->room && link_readable(link, socket->side) > 0) {
        size_t n = least(least(link_piece(link, socket->side), PAGE_BYTES), len - moved);
        slot_fill(pipe, link, socket->side, n);
        moved += n;
    }
    return (long)moved;
}

static long slot_empty(struct pipe *pipe, struct socket *socket, size_t len)
{
    uint32_t *slot = &pipe->slots[pipe->first & (pipe->room - 1)];
    char page[PAGE_BYTES];
    long n;

    len = least(len, *slot);
    queue_peek(&pipe->queue, page, len);
    n = link_send(socket->link, socket->side, page, len, false);
    if (n <= 0)
        return n;
    pipe->queue.head += (uint64_t)n;
    *slot -= (uint32_t)n;
    if (*slot == 0)
        pipe->first++;
    return n;
}

static long splice_out(struct pipe *pipe, struct socket *socket, size_t len)
{
    size_t moved = 0;

    if (pipe->first == pipe->last)
        return pipe->ends == 2 ? -EAGAIN : 0;
    len = short_of(len);
    while (moved < len && pipe->first != pipe->last) {
        long n = slot_empty(pipe, socket, len - moved);
        if (n < 0 && moved == 0)
            return n;
        if (n <= 0)
            break;
        moved += (size_t)n;
    }
    return (long)moved;
}

static void must_not_block(const struct file *file)
{
    if (file->kind == FILE_SOCKET && !file->nonblock)
        world_fail("splice on descriptor %d, which may block: %s", file->fd, file_text(file));
    if (file->kind == FILE_SOCKET && file->socket.link == NULL)
        world_fail("splice on descriptor %d: %s", file->fd, file_text(file));
}

long net_splice(int from, int to, size_t len)
{
    struct file *in = file_get(from, "splice"), *out = file_get(to, "splice");
    long n;

    must_not_block(in);
    must_not_block(out);
    if (in->kind == FILE_SOCKET && out->kind == FILE_PIPE && out->end.input)
        n = splice_in(&in->socket, out->end.pipe, len);
    else if (in->kind == FILE_PIPE && !in->end.input && out->kind == FILE_SOCKET)
        n = splice_out(in->end.pipe, &out->socket, len);
    else
        world_fail("splice from descriptor %d to %d, of which none is the pipe's right end", from, to);
    trace("splice %d -> %d: %ld", from, to, n);
    return n;
}
