#include "lb/live.h"
#include "lb/ranking.h"
#include <stdlib.h>
#include <string.h>

struct balancer_live *live_new(size_t subnet_count)
{
    size_t bytes = sizeof(struct balancer_live) + subnet_count * sizeof(struct shared_node);
    struct balancer_live *live = aligned_alloc(_Alignof(struct balancer_live), bytes);

    if (live == NULL)
        return NULL;
    memset(live, 0, bytes);
    atomic_init(&live->refs, 1);
    live->count = subnet_count;
    for (size_t i = 0; i < subnet_count; i++) {
        pthread_mutex_init(&live->nodes[i].ranking_lock, NULL);
        surge_init(&live->nodes[i].surge);
    }
    return live;
}

struct balancer_live *live_ref(struct balancer_live *live)
{
    atomic_fetch_add_explicit(&live->refs, 1, memory_order_relaxed);
    return live;
}

void live_unref(struct balancer_live **live)
{
    struct balancer_live *l = *live;

    *live = NULL;
    if (l == NULL || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < l->count; i++) {
        struct ranking *ranking = atomic_load(&l->nodes[i].ranking);
        ranking_unref(&ranking);
        pthread_mutex_destroy(&l->nodes[i].ranking_lock);
        surge_fini(&l->nodes[i].surge);
    }
    free(l);
}
