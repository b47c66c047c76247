#ifndef LB_INSTANCE_H
#define LB_INSTANCE_H
#include "common/addr.h"
#include "common/list.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/*
 * A registered instance at run time: what the workers share about it (the
 * load counts, exact over all of them) and what each worker keeps apart. It
 * outlives generations: as long as it stays registered under the same
 * address, counts and verdict stay. Counted; a connection to it holds one.
 */
struct balancer_live;
struct slot;

enum instance_phase {
    INSTANCE_REGISTERED,
    INSTANCE_DRAINING,      /* deregistered: work in flight may end, no new work */
    INSTANCE_CUT            /* deregistered for good: connections to it end now */
};

/* One balancer node's use of it (see pool.c). */
struct instance_use {
    _Alignas(64) atomic_uint_least64_t last;    /* ticket of the last pick: equal weights */
    atomic_uint_least64_t turn;                 /* how far its share is used up: picks, divided by its weight */
    atomic_uint outstanding;                    /* requests or connections in flight */
    uint32_t place;                             /* in the node's ranking, if it is in it; under the lock of that */
};

/* One worker's; touched by no other thread. */
struct instance_local {
    _Alignas(64) struct list idle;      /* struct back: connected, no work; newest first */
    unsigned idle_count;
    struct list busy;                   /* struct back: connecting or at work */
};

struct instance {
    /* What each pick touches, on one line. */
    _Alignas(64) atomic_uint refs;
    _Atomic enum instance_phase phase;
    struct slot *slot;
    struct instance_use *uses;          /* [node_count] */
    struct instance_local *locals;      /* [worker_count] */
    struct balancer_live *live;         /* whose it is; NULL: nobody ranks it */
    unsigned node_count, worker_count;
    uint64_t hash;                      /* of the id */
    char *id, *zone;
    struct addr address;                /* port 0 */
    uint64_t drain_deadline_ms;         /* main's: monotonic; DRAINING */
};

/* NULL: no memory. slot: a reference is taken over; so is one to live, by who sets it. */
struct instance *instance_new(const char *id, const char *zone, const struct addr *address, struct slot *slot,
                              unsigned node_count, unsigned worker_count);
struct instance *instance_ref(struct instance *instance);
void instance_unref(struct instance **instance);

uint64_t instance_hash(const char *id);
bool instance_open(const struct instance *instance);            /* registered, and the operator does not hold it back */
bool instance_eligible(const struct instance *instance);        /* may get new work */
uint64_t instance_outstanding(const struct instance *instance); /* over all nodes and workers */
#endif
