#ifndef LB_SIDE_H
#define LB_SIDE_H
#include "common/buf.h"
#include "common/ring.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/*
 * One side of a proxied connection: a socket, what has come from it and is not
 * yet used (the inbox), and the one send that is in flight to it. It decides how to
 * receive: multishot into small buffers while it waits, one large buffer at
 * a time for bulk. Owned by a front (struct conn) or a back (struct back),
 * whose callbacks pass completions on with side_received() and side_sent().
 */
struct side {
    int fd;
    int error;                      /* -errno that ended receiving; 0: none */
    int send_error;                 /* -errno that ended sending; what has come may still be read */
    bool eof;                       /* the peer has sent its FIN */
    bool shut;                      /* we have sent ours */
    bool bulk;                      /* full buffers keep coming: receive into large ones */
    bool held_back;                 /* no new receive is started */
    bool spliced;                   /* its operations are polls now (lb/splice.h) */
    bool receive_once;              /* a new connection may be a short one: no multishot yet */
    uint8_t full_reads;
    uint32_t inbox_bytes, inbox_chunks;
    struct chunk *inbox, *inbox_last;
    struct op recv_op, send_op;
    const char *out;                /* being sent */
    size_t out_left;
    struct chunk *out_chunk;        /* whose bytes they are: */
    struct buf *out_buf;            /* one of these, or neither: constant text */
};

void side_init(struct side *side, int fd, void (*received)(struct op *, struct ring_result), void (*sent)(struct op *, struct ring_result));

/* Starts receiving unless it goes on already, the inbox is full, or nothing can come any more. */
void side_receive(struct ring *ring, struct side *side);
/* As side_receive(), for a side that is to have what comes: bulk only as far as `to` takes it at once, or it would wait in our memory. */
void side_receive_for(struct ring *ring, struct side *side, const struct side *to);
void side_received(struct ring *ring, struct side *side, struct ring_result result);
/* Much is to come: from now on into large buffers. */
void side_expect_bulk(struct ring *ring, struct side *side);
void side_expect_small(struct side *side);

/* No new receive from now on; what is in flight is asked to end. Undone by setting held_back to false. */
void side_hold_back(struct ring *ring, struct side *side);
/* Nothing in flight, nothing in the inbox. */
bool side_quiet(const struct side *side);

/* The oldest piece, yours; NULL: none. */
struct chunk *side_take(struct side *side);
void side_put_back(struct side *side, struct chunk *chunk);     /* to the front of the inbox */
/* What has waited in the ring's buffers moves to memory of its own, if buffers are scarce. */
void side_inbox_park(struct ring *ring, struct side *side);

static inline bool side_sending(const struct side *side)
{
    return side->out_left > 0;
}
/* Sends all of it; nothing else may be in flight. more: other bytes follow at once. The chunk becomes the side's, the buf gets a
 * reference, the text lives for ever. */
void side_send_chunk(struct ring *ring, struct side *side, struct chunk *chunk, bool more);
void side_send_buf(struct ring *ring, struct side *side, struct buf *buf, bool more);
void side_send_text(struct ring *ring, struct side *side, const char *text);
/* true: all is sent, or sending has failed (send_error is set). false: it goes on. */
bool side_sent(struct ring *ring, struct side *side, struct ring_result result);

void side_shut(struct side *side);              /* FIN after what was sent; once */
bool side_busy(const struct side *side);        /* operations are in flight */
/* Cancels what is in flight; after the last completion call side_close(). */
void side_cancel(struct ring *ring, struct side *side);
/* Nothing is in flight: drops the inbox, closes. reset: RST instead of FIN. */
void side_close(struct ring *ring, struct side *side, bool reset);
#endif
