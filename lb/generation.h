#ifndef LB_GENERATION_H
#define LB_GENERATION_H
#include "common/config.h"
#include "lb/surge.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/*
 * What a configuration means at run time, immutable once built: balancers,
 * their nodes and who may be picked. A change builds the next one aside and
 * publishes one pointer; a connection pins the one that it began with; a
 * generation dies with its last reference. Instances that stay are shared with
 * the one before.
 */
struct instance;
struct secgroup_set;

/* What a balancer counts over all workers and generations; per subnet. */
struct balancer_live {
    atomic_uint refs;
    size_t count;
    struct shared_node {
        _Alignas(64) atomic_uint_least64_t tickets;     /* picks so far: equal weights */
        atomic_uint_least64_t turn;                     /* where the latest pick stood: weights */
        struct surge surge;
    } nodes[];                          /* [subnet_count] */
};

struct candidate {                      /* an instance as one node may use it */
    struct instance *instance;
    uint32_t weight;                    /* 0: no new work */
    uint32_t outstanding_max;           /* 0: no limit */
};

struct node {                           /* one balancer node: the balancer in one subnet */
    const struct config_subnet *subnet;
    unsigned index;                     /* into an instance's uses */
    atomic_uint_least64_t *tickets, *turn;
    bool weighted;                      /* the candidates' weights differ */
    struct candidate *candidates;       /* registered, of its zone unless cross_zone */
    size_t candidate_count;
};

struct balancer {
    const struct config_balancer *conf;
    struct instance **instances;        /* registered, then draining ones; each one reference */
    size_t instance_count, registered_count;
    struct balancer_live *live;
    struct node *nodes;                 /* those that this process serves */
    size_t node_count;
    struct secgroup_set *admitted;      /* who may connect */
    uint64_t first_checks_ms;           /* monotonic: until then requests wait for first results (0: no wait) */
};

struct generation {
    atomic_uint refs;
    const struct config *config;        /* shared with the generations that it did not change between */
    struct shared_config *shared;
    struct balancer *balancers;         /* in the order of the configuration */
    size_t balancer_count;
};

struct generation_conf {
    const char *zone;                   /* -z, or NULL: all */
    unsigned worker_count;
    uint64_t now_ms;                    /* monotonic */
    struct board *board;
};

/*
 * Takes config over (also on failure); NULL: the one of `before`, which may be NULL itself. Instances of `before` that are no longer
 * registered are carried along while they have work. Wakes nobody. 0 and *ret with one reference, or -ENOMEM.
 */
int generation_new(struct config *config, const struct generation *before, const struct generation_conf *conf, struct generation **ret);
struct generation *generation_ref(struct generation *generation);
void generation_unref(struct generation **generation);

const struct balancer *generation_find(const struct generation *generation, const char *name);
#endif
