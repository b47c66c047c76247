#ifndef LB_GENERATION_H
#define LB_GENERATION_H
#include "common/config.h"
#include "lb/live.h"
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

struct candidate {                      /* an instance as one node may use it */
    struct instance *instance;
    uint32_t weight;                    /* 0: no new work */
    uint32_t outstanding_max;           /* 0: no limit */
};

struct node {                           /* one balancer node: the balancer in one subnet */
    const struct config_subnet *subnet;
    unsigned index;                     /* into an instance's uses */
    struct shared_node *shared;         /* the balancer's, of this subnet */
    const struct board *board;
    bool weighted;                      /* the candidates' weights differ */
    uint32_t weight_max;
    struct candidate *candidates;       /* registered, of its zone unless cross_zone */
    size_t candidate_count;
    struct ranking *ranking;            /* NULL: the candidates are few; then so is by_id */
    uint32_t *by_id, by_id_mask;        /* hash table: a candidate's index + 1 where its id's hash says, or behind that; 0: the end */
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
