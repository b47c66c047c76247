#include "lb/generation.h"
#include "common/board.h"
#include "lb/instance.h"
#include "lb/ranking.h"
#include "lb/secgroup.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct shared_config {
    atomic_uint refs;
    struct config *config;
};

static struct shared_config *shared_new(struct config *config)
{
    struct shared_config *shared = malloc(sizeof(*shared));

    if (shared == NULL) {
        config_free(&config);
        return NULL;
    }
    atomic_init(&shared->refs, 1);
    shared->config = config;
    return shared;
}

static void shared_unref(struct shared_config *shared)
{
    if (shared == NULL || atomic_fetch_sub(&shared->refs, 1) > 1)
        return;
    config_free(&shared->config);
    free(shared);
}

static struct balancer_live *live_get(const struct balancer *before, size_t subnet_count)
{
    bool same = before != NULL && before->conf->subnet_count == subnet_count;

    return same ? live_ref(before->live) : live_new(subnet_count);
}

static void balancer_fini(struct balancer *b)
{
    for (size_t i = 0; i < b->instance_count; i++)
        instance_unref(&b->instances[i]);
    for (size_t i = 0; i < b->node_count; i++) {
        free(b->nodes[i].candidates);
        free(b->nodes[i].by_id);
        ranking_unref(&b->nodes[i].ranking);
    }
    live_unref(&b->live);
    secgroup_free(&b->admitted);
    free(b->instances);
    free(b->nodes);
}

static bool zone_enabled(const struct config_balancer *conf, const char *zone)
{
    if (zone[0] == '\0')
        return true;
    for (size_t i = 0; i < conf->subnet_count; i++)
        if (strcmp(conf->subnets[i].zone, zone) == 0)
            return true;
    return false;
}

/* The run-time instance of the same registration, if nothing about it has changed that the counts or the verdict rest on. One that
 * left and comes back while it drains registers anew: its old verdict may be stale. */
static struct instance *instance_before(const struct balancer *before, const struct config_instance *conf, const struct balancer_live *live)
{
    for (size_t i = 0; before != NULL && i < before->instance_count; i++) {
        struct instance *instance = before->instances[i];
        if (strcmp(instance->id, conf->id) == 0 && strcmp(instance->zone, conf->zone) == 0 &&
            addr_equal_host(&instance->address, &conf->address) && instance->live == live &&
            atomic_load(&instance->phase) == INSTANCE_REGISTERED)
            return instance_ref(instance);
    }
    return NULL;
}

static struct instance *instance_made(const struct balancer *b, const struct config_instance *conf, const struct generation_conf *how)
{
    struct slot *slot = slot_new(how->board, zone_enabled(b->conf, conf->zone));
    struct instance *instance = slot == NULL ? NULL : instance_new(conf->id, conf->zone, &conf->address, slot, (unsigned)b->live->count, how->worker_count);

    if (instance != NULL)
        instance->live = live_ref(b->live);
    return instance;
}

static bool has_instance(const struct balancer *b, const struct instance *instance)
{
    for (size_t i = 0; i < b->instance_count; i++)
        if (b->instances[i] == instance)
            return true;
    return false;
}

/* Registered ones first, then those that have left and still have work or have not been told yet. */
static int instances_init(struct balancer *b, const struct balancer *before, const struct generation_conf *how)
{
    const struct config_balancer *conf = b->conf;
    size_t before_count = before == NULL ? 0 : before->instance_count;

    b->instances = calloc(conf->instance_count + before_count + 1, sizeof(*b->instances));
    if (b->instances == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < conf->instance_count; i++) {
        struct instance *instance = instance_before(before, conf->instances[i], b->live);
        if (instance == NULL) {
            instance = instance_made(b, conf->instances[i], how);
            b->first_checks_ms = how->now_ms + conf->health_check.timeout_ms;
        }
        if (instance == NULL)
            return -ENOMEM;
        b->instances[b->instance_count++] = instance;
    }
    b->registered_count = b->instance_count;
    for (size_t i = 0; i < before_count; i++) {
        struct instance *left = before->instances[i];
        if (has_instance(b, left))
            continue;
        if (atomic_load(&left->phase) == INSTANCE_REGISTERED || instance_outstanding(left) > 0)
            b->instances[b->instance_count++] = instance_ref(left);
    }
    return 0;
}

static bool node_may_use(const struct config_balancer *conf, const struct config_subnet *subnet, const struct instance *instance)
{
    if (!zone_enabled(conf, instance->zone))
        return false;
    return conf->attributes.cross_zone || instance->zone[0] == '\0' || strcmp(instance->zone, subnet->zone) == 0;
}

static struct candidate candidate_of(const struct config_balancer *conf, size_t i, struct instance *instance)
{
    return (struct candidate){ .instance = instance, .weight = conf->instances[i]->weight, .outstanding_max = conf->instances[i]->max_connections };
}

static int ids_init(struct node *node)
{
    size_t size = 1;

    while (size < 2 * node->candidate_count)
        size *= 2;
    node->by_id = calloc(size, sizeof(*node->by_id));
    if (node->by_id == NULL)
        return -ENOMEM;
    node->by_id_mask = (uint32_t)(size - 1);
    for (size_t i = 0; i < node->candidate_count; i++) {
        uint32_t at = (uint32_t)node->candidates[i].instance->hash & node->by_id_mask;
        while (node->by_id[at] != 0)
            at = (at + 1) & node->by_id_mask;
        node->by_id[at] = (uint32_t)i + 1;
    }
    return 0;
}

static int node_init(struct node *node, const struct balancer *b, size_t subnet, const struct board *board)
{
    node->subnet = &b->conf->subnets[subnet];
    node->index = (unsigned)subnet;
    node->shared = &b->live->nodes[subnet];
    node->board = board;
    node->candidates = calloc(b->registered_count + 1, sizeof(*node->candidates));
    if (node->candidates == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < b->registered_count; i++)
        if (node_may_use(b->conf, node->subnet, b->instances[i]))
            node->candidates[node->candidate_count++] = candidate_of(b->conf, i, b->instances[i]);
    for (size_t i = 0; i < node->candidate_count; i++) {
        uint32_t weight = node->candidates[i].weight;
        node->weighted = node->weighted || weight != node->candidates[0].weight;
        node->weight_max = weight > node->weight_max ? weight : node->weight_max;
    }
    if (node->candidate_count < RANKING_MIN)
        return 0;
    node->ranking = ranking_new(node->candidate_count);
    return node->ranking == NULL ? -ENOMEM : ids_init(node);
}

static int nodes_init(struct balancer *b, const struct generation_conf *how)
{
    b->nodes = calloc(b->conf->subnet_count + 1, sizeof(*b->nodes));
    if (b->nodes == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < b->conf->subnet_count; i++) {
        if (how->zone != NULL && strcmp(how->zone, b->conf->subnets[i].zone) != 0)
            continue;
        if (node_init(&b->nodes[b->node_count++], b, i, how->board) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int balancer_init(struct balancer *b, const struct config *config, const struct config_balancer *conf, const struct balancer *before,
                         const struct generation_conf *how)
{
    int r;

    b->conf = conf;
    if (before != NULL)
        b->first_checks_ms = before->first_checks_ms;
    b->live = live_get(before, conf->subnet_count);
    b->admitted = secgroup_for_balancer(config, conf);
    if (b->live == NULL || b->admitted == NULL)
        return -ENOMEM;
    r = instances_init(b, before, how);
    return r < 0 ? r : nodes_init(b, how);
}

int generation_new(struct config *config, const struct generation *before, const struct generation_conf *conf, struct generation **ret)
{
    struct shared_config *shared = config == NULL ? before->shared : shared_new(config);
    struct generation *g;

    if (shared == NULL)
        return -ENOMEM;
    if (config == NULL)
        atomic_fetch_add(&shared->refs, 1);
    g = calloc(1, sizeof(*g));
    if (g == NULL) {
        shared_unref(shared);
        return -ENOMEM;
    }
    atomic_init(&g->refs, 1);
    g->shared = shared;
    g->config = shared->config;
    g->balancers = calloc(g->config->balancer_count + 1, sizeof(*g->balancers));
    for (size_t i = 0; g->balancers != NULL && i < g->config->balancer_count; i++) {
        const struct config_balancer *b = &g->config->balancers[i];
        g->balancer_count++;
        if (balancer_init(&g->balancers[i], g->config, b, before == NULL ? NULL : generation_find(before, b->name), conf) < 0)
            goto fail;
    }
    if (g->balancers == NULL)
        goto fail;
    *ret = g;
    return 0;
fail:
    generation_unref(&g);
    return -ENOMEM;
}

struct generation *generation_ref(struct generation *generation)
{
    atomic_fetch_add_explicit(&generation->refs, 1, memory_order_relaxed);
    return generation;
}

void generation_unref(struct generation **generation)
{
    struct generation *g = *generation;

    *generation = NULL;
    if (g == NULL || atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < g->balancer_count; i++)
        balancer_fini(&g->balancers[i]);
    free(g->balancers);
    shared_unref(g->shared);
    free(g);
}

const struct balancer *generation_find(const struct generation *generation, const char *name)
{
    for (size_t i = 0; i < generation->balancer_count; i++)
        if (strcmp(generation->balancers[i].conf->name, name) == 0)
            return &generation->balancers[i];
    return NULL;
}
