#ifndef LB_BACKEND_H
#define LB_BACKEND_H
#include "common/addr.h"
#include "common/buf.h"
#include "common/list.h"
#include "common/timer.h"
#include "lb/side.h"
#include <stdbool.h>
#include <stdint.h>
/*
 * Connections to instances: connecting, at work for one front, or idle in the
 * pool of the instance for the next. One worker's. An idle one keeps receiving, so that
 * its end, or bytes that nobody asked for, take it out of the pool at once.
 *
 *   CONNECTING --> WORKING <--> IDLE
 *        |            |          |
 *        +------------+----------+--> CLOSING --> freed when nothing is in flight
 */
struct conn;
struct instance;
struct node;
struct worker;

enum back_state { BACK_CONNECTING, BACK_WORKING, BACK_IDLE, BACK_CLOSING };

struct back {
    struct side side;
    struct op connect_op;
    struct worker *worker;
    struct instance *instance;      /* a reference */
    struct conn *conn;              /* CONNECTING, WORKING: whom it works for; else NULL */
    struct list link;               /* in the instance's idle or busy list */
    struct timer timer;
    uint64_t deadline_ms;           /* CONNECTING: connect timeout; IDLE: end of its stay */
    uint64_t idle_since_ms;
    struct addr to;
    unsigned node_index;
    enum back_state state;
    bool reused;                    /* came out of the pool */
    bool reset;                     /* ends with RST */
    struct buf *in_head;            /* an answer's head that has not come whole */
};

struct back_wish {
    struct instance *instance;
    const struct node *node;
    uint16_t port;
    uint64_t idle_max_ms;           /* the longest that a pooled one may have idled; 0: only a fresh one */
    uint64_t connect_timeout_ms;
};
/* A pooled one (WORKING) or a new one (CONNECTING: conn_connected() follows). 0 and *ret, or -errno. */
int back_get(struct worker *worker, struct conn *conn, const struct back_wish *wish, struct back **ret);
/* Its work is done and nothing was in doubt: to the pool, for at most `stay_ms`, if there is room for it among idle_max. */
void back_keep(struct back **back, uint64_t stay_ms, unsigned idle_max);
void back_close(struct back **back, bool reset);
void back_close_idle(struct worker *worker, struct instance *instance);
#endif
