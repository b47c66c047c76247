#ifndef LB_RELAY_H
#define LB_RELAY_H
#include "common/buf.h"
#include "common/http1.h"
#include "lb/side.h"
#include <stdbool.h>
#include <stdint.h>
/*
 * One direction of an exchange: what comes from one side is counted against its
 * framing and sent to the other, a head before it. It streams: nothing is read
 * while the last piece is not sent. Without framing (TCP) the same code
 * relays until the end of the stream.
 */
struct flow {
    struct side *from, *to;
    struct http1_body body;         /* the framing of what comes */
    struct buf *head;               /* goes first; a reference of the flow's, kept while it is all of the message */
    uint64_t bytes;                 /* payload passed on */
    bool rechunk;                   /* goes out chunked */
    bool ended;                     /* all of it, end included, has been given to `to` */
    bool head_sent;                 /* or on its way */
    bool whole_in_head;             /* the body fitted in behind the head, so the head's buf is all of the message */
    bool bad;                       /* the framing broke: what came before that has been given to `to`, nothing more will be */
};

enum flow_step {
    FLOW_WAITS,                     /* for `from`, or for `to` to take what it has */
    FLOW_ENDED,                     /* all of it is sent */
    FLOW_BAD,                       /* the framing is broken; what came before that, a head at least, is sent, however it was cut */
    FLOW_CUT                        /* `from` ended or failed before its message did; or no memory */
};

/* head: a reference that the flow takes over, or NULL. body: how what comes from `from` is framed. */
void flow_start(struct flow *flow, struct side *from, struct side *to, const struct http1_body *body, struct buf *head, bool rechunk);
/* Does what can be done now. Call again after every completion on either side. */
enum flow_step flow_pump(struct ring *ring, struct flow *flow);
void flow_stop(struct flow *flow);          /* drops what it holds */
#endif
