#include "lb/side.h"
#include "common/net.h"
#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

#define INBOX_BYTES_MAX (64 * 1024)     /* beyond this a peer that we are not ready for has to wait; */
#define INBOX_CHUNKS_MAX 16             /* or beyond this, as a piece of one byte holds a whole buffer too */
#define FULL_READS_FOR_BULK 4           /* small buffers filled in a row that make it a bulk transfer */
#define SMALL_READ (8 * 1024)
#define ROOM_FOR_BULK (320 * 1024)      /* a bulk buffer, as the kernel counts it */

void side_init(struct side *side, int fd, void (*received)(struct op *, struct ring_result), void (*sent)(struct op *, struct ring_result))
{
    *side = (struct side){ .fd = fd };
    op_init(&side->recv_op, received);
    op_init(&side->send_op, sent);
}

static bool side_multishot(const struct side *side)
{
    return !side->bulk && !side->receive_once;
}

static bool inbox_full(const struct side *side)
{
    return side->inbox_bytes >= INBOX_BYTES_MAX || side->inbox_chunks >= INBOX_CHUNKS_MAX;
}

static bool may_receive(const struct side *side)
{
    if (side->recv_op.active || side->eof || side->error != 0 || side->held_back)
        return false;
    return side->bulk ? side->inbox == NULL : !inbox_full(side);
}

void side_receive(struct ring *ring, struct side *side)
{
    if (!may_receive(side))
        return;
    if (side_multishot(side))
        ring_recv_multishot(ring, &side->recv_op, side->fd);
    else
        ring_recv(ring, &side->recv_op, side->fd, side->bulk ? RING_BULK : RING_SMALL);
}

void side_receive_for(struct ring *ring, struct side *side, const struct side *to)
{
    if (!side->bulk || net_send_room(to->fd) >= ROOM_FOR_BULK)
        side_receive(ring, side);
    else if (may_receive(side))
        ring_recv(ring, &side->recv_op, side->fd, RING_SMALL);
}

static void inbox_append(struct side *side, struct chunk *chunk)
{
    chunk->next = NULL;
    if (side->inbox == NULL)
        side->inbox = chunk;
    else
        side->inbox_last->next = chunk;
    side->inbox_last = chunk;
    side->inbox_bytes += chunk->len;
    side->inbox_chunks++;
}

static void bulk_update(struct side *side, uint32_t len)
{
    if (len < SMALL_READ) {
        side->full_reads = 0;
        side->bulk = false;
    } else if (side->full_reads < FULL_READS_FOR_BULK && ++side->full_reads == FULL_READS_FOR_BULK) {
        side->bulk = true;
    }
}

void side_received(struct ring *ring, struct side *side, struct ring_result result)
{
    if (side->spliced)
        return;
    if (result.chunk != NULL) {
        bulk_update(side, result.chunk->len);
        inbox_append(side, result.chunk);
        if (result.more && (side->bulk || inbox_full(side)))
            ring_cancel(ring, &side->recv_op);
    } else if (result.res == 0) {
        side->eof = true;
    } else if (result.res < 0 && result.res != -ECANCELED && side->error == 0) {
        side->error = result.res;
    }
}

void side_expect_bulk(struct ring *ring, struct side *side)
{
    side->bulk = true;
    side->full_reads = FULL_READS_FOR_BULK;
    ring_cancel(ring, &side->recv_op);
}

void side_expect_small(struct side *side)
{
    side->bulk = false;
    side->full_reads = 0;
}

void side_hold_back(struct ring *ring, struct side *side)
{
    side->held_back = true;
    ring_cancel(ring, &side->recv_op);
}

bool side_quiet(const struct side *side)
{
    return !side_busy(side) && side->inbox == NULL;
}

struct chunk *side_take(struct side *side)
{
    struct chunk *chunk = side->inbox;

    if (chunk != NULL) {
        side->inbox = chunk->next;
        side->inbox_bytes -= chunk->len;
        side->inbox_chunks--;
        chunk->next = NULL;
    }
    return chunk;
}

void side_put_back(struct side *side, struct chunk *chunk)
{
    if (side->inbox == NULL)
        side->inbox_last = chunk;
    chunk->next = side->inbox;
    side->inbox = chunk;
    side->inbox_bytes += chunk->len;
    side->inbox_chunks++;
}

static struct chunk *parked(struct ring *ring, struct chunk *chunk)
{
    struct chunk *copy;

    if (chunk_detached(chunk) || !ring_buffers_scarce(ring, chunk->size_class))
        return chunk;
    copy = chunk_detach(ring, chunk, chunk->data, chunk->len);
    return copy != NULL ? copy : chunk;
}

void side_inbox_park(struct ring *ring, struct side *side)
{
    for (struct chunk **at = &side->inbox; *at != NULL; at = &(*at)->next) {
        struct chunk *next = (*at)->next;
        *at = parked(ring, *at);
        (*at)->next = next;
        if (next == NULL)
            side->inbox_last = *at;
    }
}

static void send_rest(struct ring *ring, struct side *side, bool more)
{
    enum ring_class size_class = side->out_chunk != NULL ? side->out_chunk->size_class : RING_SMALL;
    bool impatient = side->out_chunk != NULL && !chunk_detached(side->out_chunk) && ring_buffers_scarce(ring, size_class);

    ring_send(ring, &side->send_op, side->fd, side->out, side->out_left, (more ? MSG_MORE : 0) | (impatient ? MSG_DONTWAIT : 0));
}

static void send_begin(struct ring *ring, struct side *side, const char *bytes, size_t len, bool more)
{
    assert(!side_sending(side));
    assert(len > 0);
    assert(!side->shut);
    side->out = bytes;
    side->out_left = len;
    send_rest(ring, side, more);
}

void side_send_chunk(struct ring *ring, struct side *side, struct chunk *chunk, bool more)
{
    side->out_chunk = chunk;
    send_begin(ring, side, chunk->data, chunk->len, more);
}

void side_send_buf(struct ring *ring, struct side *side, struct buf *buf, bool more)
{
    side->out_buf = buf_ref(buf);
    send_begin(ring, side, buf->data, buf->len, more);
}

void side_send_text(struct ring *ring, struct side *side, const char *text)
{
    send_begin(ring, side, text, strlen(text), false);
}

static void out_drop(struct ring *ring, struct side *side)
{
    if (side->out_chunk != NULL)
        chunk_put(ring, side->out_chunk);
    side->out_chunk = NULL;
    buf_unref(&side->out_buf);
    side->out_left = 0;
}

/* The peer is slow. What all receive into must not wait for it. */
static void out_park(struct ring *ring, struct side *side)
{
    struct chunk *chunk = side->out_chunk;

    if (chunk == NULL || chunk_detached(chunk) || !ring_buffers_scarce(ring, chunk->size_class))
        return;
    chunk = chunk_detach(ring, chunk, side->out, side->out_left);
    if (chunk == NULL)
        return;
    side->out_chunk = chunk;
    side->out = chunk->data;
}

bool side_sent(struct ring *ring, struct side *side, struct ring_result result)
{
    if (side->spliced)
        return true;
    if (result.res < 0 && result.res != -EAGAIN) {
        if (result.res != -ECANCELED)
            side->send_error = result.res;
        out_drop(ring, side);
        return true;
    }
    if (result.res > 0) {
        side->out += result.res;
        side->out_left -= (size_t)result.res;
    }
    if (side->out_left == 0) {
        out_drop(ring, side);
        return true;
    }
    out_park(ring, side);
    if (result.res == -EAGAIN && side->out_chunk != NULL && !chunk_detached(side->out_chunk))
        ring_send(ring, &side->send_op, side->fd, side->out, side->out_left, 0);     /* no memory to park it: wait with it */
    else
        send_rest(ring, side, false);
    return false;
}

void side_shut(struct side *side)
{
    if (!side->shut)
        net_shut(side->fd);
    side->shut = true;
}

bool side_busy(const struct side *side)
{
    return side->recv_op.active || side->send_op.active;
}

void side_cancel(struct ring *ring, struct side *side)
{
    ring_cancel(ring, &side->recv_op);
    ring_cancel(ring, &side->send_op);
}

void side_close(struct ring *ring, struct side *side, bool reset)
{
    struct chunk *chunk;

    assert(!side_busy(side));
    while ((chunk = side_take(side)) != NULL)
        chunk_put(ring, chunk);
    out_drop(ring, side);
    if (side->fd < 0)
        return;
    if (reset)
        net_reset(side->fd);
    else
        net_close(side->fd);
    side->fd = -1;
}
