#ifndef LB_CONN_PARTS_H
#define LB_CONN_PARTS_H
#include "lb/conn.h"
#include "lb/generation.h"
#include "lb/listener.h"
#include "lb/logged.h"
#include "lb/worker.h"
#include <limits.h>
/*
 * What the parts of a connection share; nobody else includes it. conn.c holds
 * the states and the ends; try.c finds an instance; exchange.c speaks HTTP with
 * both sides; pump.c moves bytes. conn_close() frees nothing: every callback ends in
 * conn_settle(), the only place that does.
 */

static inline struct ring *conn_ring(const struct conn *c)
{
    return c->worker->ring;
}

/* Where it stands: in the generation that its exchange began with, else in the listener's newest. */
static inline const struct listener_at *conn_at(const struct conn *c)
{
    return c->pin != NULL ? &c->at : &c->listener->at;
}

static inline const struct balancer *conn_balancer(const struct conn *c)
{
    return conn_at(c)->balancer;
}

static inline const struct node *conn_node(const struct conn *c)
{
    return conn_at(c)->node;
}

static inline const struct config_listener *conn_listener(const struct conn *c)
{
    return conn_at(c)->conf;
}

/* An exchange begins. */
static inline void conn_pin(struct conn *c)
{
    c->pin = pin_get(c->listener->pin);
    c->at = c->listener->at;
    c->node_index = c->at.node->index;
}

/* May it go on with a further request? */
static inline bool conn_may_stay(const struct conn *c)
{
    return c->worker->state == WORKER_RUNS && !c->listener->closing;
}

static inline const struct config_attributes *conn_attributes(const struct conn *c)
{
    return &conn_balancer(c)->conf->attributes;
}

/* conn.c */
void conn_enter(struct conn *c, enum conn_state next);
void conn_deadline(struct conn *c, uint64_t in_ms);
void conn_close(struct conn *c, enum close_why why, bool reset);        /* also in the middle of an answer: the client sees that it broke off */
void conn_settle(struct conn *c);
void conn_linger(struct conn *c, enum close_why why);           /* FIN, then reads on for a while */
void conn_wind_up(struct conn *c);                              /* we stop, or its listener has gone: what it is at is the last */

/* Has the client sent something that only the kernel knows of yet? Closing would reset it, and the answer with it. */
bool conn_bytes_waiting(const struct conn *c);
/* The back's own timer ends a connect; this only keeps ours out of the way. */
#define CONN_CONNECT_BOUND_MS (3600 * 1000)

/* try.c */
void conn_dispatch(struct conn *c);                             /* to an instance, into the queue, or to the end */
void conn_fail(struct conn *c, enum failure failure);           /* no further try will be made */
void conn_starve(struct conn *c, int err);                      /* fails for want of a descriptor, of memory or of a port */
void conn_back_lost(struct conn *c);                            /* before a whole head of an answer had come */
void conn_suspect(struct conn *c);                              /* its instance failed under traffic */
void conn_back_drop(struct conn *c, bool reset);
void conn_queue_leave(struct conn *c);

/* proxied.c: the PROXY protocol */
struct proxy_info;
int conn_look_proxy(struct conn *c, struct proxy_info *info);   /* > 0: it has come and is consumed; 0: more is needed; < 0: none */
bool conn_introduces(const struct conn *c);                     /* do we say to the instance who the client is? */
void conn_introduce(const struct conn *c, struct buf *buf);     /* PROXY_MAX bytes of room */

/* exchange.c */
void conn_await_head(struct conn *c);
void conn_read_head(struct conn *c);
/* Looks for a whole head in what has come: in place if it came in one piece, else collected. parse: as http1_parse_request(). > 0: its
 * length, and the inbox begins behind it after conn_head_consume(); 0: more is needed, all that came is collected; < 0: refused, or
 * HEAD_NO_MEMORY: it could not be collected. */
#define HEAD_NO_MEMORY INT_MIN
typedef int (*conn_parse_fn)(const struct conn *c, const char *bytes, size_t len);
int conn_head_look(struct conn *c, struct side *side, struct buf **in_head, conn_parse_fn parse);
void conn_head_consume(struct conn *c, struct side *side, struct buf **in_head, size_t head_bytes);
void conn_answer(struct conn *c, int status);                   /* one made here */
void conn_answer_send(struct conn *c);
bool conn_read_answer(struct conn *c);      /* is the final head passed on? If not, more is needed or the exchange took another way */
void conn_deliver(struct conn *c);          /* the answer has come whole and was given to the client's side */
void conn_exchange_end(struct conn *c);     /* and the client has it */

/* pump.c */
void conn_pump(struct conn *c);
void conn_relay_deadline(struct conn *c);
bool conn_awaits_client(const struct conn *c);                  /* is the next step the client's: more of its request's body? */
void conn_splicing_end(struct conn *c);
#endif
