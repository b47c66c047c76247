#ifndef LB_WORKER_H
#define LB_WORKER_H
#include "common/addr.h"
#include "common/list.h"
#include "common/ring.h"
#include "common/thread.h"
#include "common/timer.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
/*
 * A worker: one thread with its own ring, listening sockets, connections and
 * idle back connections. Workers share the generation, the board and the
 * instances' counts, nothing else. Everything here is touched by its own thread
 * alone, unless it says otherwise.
 */
struct access_lines;
struct board;
struct conn;
struct generation;
struct http1_head;
struct pipe_pool;
struct sticky_keys;

/* Why a connection or an attempt ended, and what else is counted: NAME, text for the log. */
#define WORKER_COUNTERS(X)                                                     \
    X(COUNT_ACCEPTED, "connections accepted")                                  \
    X(COUNT_DENIED, "connections refused by security groups")                  \
    X(COUNT_TOO_MANY, "connections closed: max_connections reached")           \
    X(COUNT_ACCEPT_FAILED, "accepts failed (no descriptor or no memory)")      \
    X(COUNT_REQUESTS, "requests")                                              \
    X(COUNT_ANSWER_400, "answers 400 made here")                               \
    X(COUNT_ANSWER_405, "answers 405 made here")                               \
    X(COUNT_ANSWER_408, "answers 408 made here")                               \
    X(COUNT_ANSWER_502, "answers 502 made here")                               \
    X(COUNT_ANSWER_503, "answers 503 made here")                               \
    X(COUNT_ANSWER_504, "answers 504 made here")                               \
    X(COUNT_SPILLOVER, "requests refused by a full surge queue")               \
    X(COUNT_RETRIES, "tries on a further connection")                          \
    X(COUNT_BACK_ERRORS, "connections to instances that failed")               \
    X(COUNT_NO_RESOURCES, "requests refused: no descriptor, no memory or no source port")

enum worker_counter {
#define X(name, text) name,
    WORKER_COUNTERS(X)
#undef X
    WORKER_COUNTER_COUNT
};

/* A generation as one worker uses it: counted without atomics by those who began with it. */
struct pin {
    struct generation *generation;
    unsigned users;
};

/* What all workers of the process share besides the generation. */
struct worker_shared {
    struct board *board;
    const struct sticky_keys *sticky_keys;      /* NULL: no listener is sticky */
    atomic_uint connections;            /* fronts open, over all workers */
    unsigned connections_max;
    unsigned small_buffers, bulk_buffers;       /* that each worker receives into; powers of two */
};
#define WORKER_SMALL_BUFFERS 1024       /* for heads and small bodies */
#define WORKER_BULK_BUFFERS 8           /* few, so that they stay in the cache */

enum worker_state { WORKER_RUNS, WORKER_DRAINS, WORKER_STOPS };

/* Lasting conditions: logged when one begins and when it has not been met for a while, not once per event. */
enum worker_condition { CONDITION_CONNECTIONS_MAX, CONDITION_RESOURCES, CONDITIONS };

struct condition {
    uint64_t last_ms;                   /* ring time: when it was met last */
    uint64_t met;                       /* times since it began; 0: it does not hold */
};

struct worker {
    struct ring *ring;
    unsigned index;
    enum worker_state state;
    struct worker_shared *shared;
    struct pin *pin;                    /* the newest generation */
    struct list listeners;              /* open ones, and closed ones that still have connections */
    struct list conns;                  /* every front */
    struct list queue;                  /* fronts in the surge queue, oldest first */
    unsigned conn_count, back_count;
    uint64_t changes_seen;              /* of the board, at the last review */
    uint64_t random;                    /* state; never 0 */
    struct access_lines *lines;         /* of the access log; NULL: there is none */
    struct pipe_pool *pipes;            /* for bulk TCP */
    struct http1_head *head;            /* scratch: the head being looked at; never across callbacks */
    struct condition conditions[CONDITIONS];
    struct timer conditions_timer;
    atomic_uint_least64_t counters[WORKER_COUNTER_COUNT];      /* written by the worker, read by any */
    atomic_uint_least64_t reasons[64];  /* by enum http1_reason: request heads refused */
    atomic_uint_least64_t desyncs[64];  /* by enum http1_desync: requests that were not compliant, passed or refused */

    struct thread thread;
    pthread_mutex_t lock;               /* over what follows: orders from main */
    pthread_cond_t obeyed;
    struct worker_update *update;       /* a generation to be taken over; NULL: taken */
    enum worker_state ordered;
    bool finished;                      /* the thread is about to end */
    atomic_uint_least64_t progress_us;  /* monotonic: its last turn */
};

struct listener_conf {
    struct addr address;                /* with port */
    unsigned balancer, node, listener;  /* indices: generation's balancer, its node, the configuration's listener */
    int fd;                             /* listening; the worker's once it has it. -1: it has one for this address already */
};

struct worker_conf {
    unsigned index;
    struct worker_shared *shared;
    struct generation *generation;      /* gets a reference of the worker's */
    const struct listener_conf *listeners;
    size_t listener_count;
    struct access_lines *lines;         /* borrowed until the worker has ended; NULL: no access log */
};

/* Main thread. 0 and *ret, or -errno as ring_new() gave it. */
int worker_start(const struct worker_conf *conf, struct worker **ret);
/* All that the worker needs to take a generation over, and with it all listeners that there are from now on (borrowed): so that each
 * worker can, or none is told. 0 and *ret, or -ENOMEM. */
struct worker_update;
int worker_update_new(struct generation *generation, const struct listener_conf *listeners, size_t count, struct worker_update **ret);
void worker_update_free(struct worker_update **update);         /* NULL is fine */
/* Returns when the worker has taken it over; what is not among its listeners is closed. Frees the update. */
void worker_publish(struct worker *worker, struct worker_update **update);
void worker_order(struct worker *worker, enum worker_state state);  /* DRAINS: ends when its last connection does; STOPS: now */
bool worker_finished(struct worker *worker);
void worker_free(struct worker **worker);       /* joins; it was ordered to stop or has finished */

static inline void worker_count(struct worker *worker, enum worker_counter counter)
{
    atomic_fetch_add_explicit(&worker->counters[counter], 1, memory_order_relaxed);
}
void worker_met(struct worker *worker, enum worker_condition condition, int err);

struct pin *pin_get(struct pin *pin);
void pin_put(struct pin **pin);
#endif
