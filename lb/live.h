#ifndef LB_LIVE_H
#define LB_LIVE_H
#include "lb/surge.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
/*
 * What a balancer counts over all workers and generations; per subnet.
 * Counted: each generation that has the balancer holds one, and each of its
 * instances, since work that ends changes the order in which they are picked.
 */
struct ranking;

struct shared_node {
    _Alignas(64) atomic_uint_least64_t tickets;     /* picks so far: equal weights */
    atomic_uint_least64_t turn;                     /* where the latest pick stood: weights */
    _Atomic(struct ranking *) ranking;              /* of the newest generation that has picked, if its node is large; written under the lock */
    pthread_mutex_t ranking_lock;
    struct surge surge;
};

struct balancer_live {
    atomic_uint refs;
    size_t count;
    struct shared_node nodes[];                     /* [subnet_count] */
};

struct balancer_live *live_new(size_t subnet_count);    /* NULL: no memory */
struct balancer_live *live_ref(struct balancer_live *live);
void live_unref(struct balancer_live **live);
#endif
