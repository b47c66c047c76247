#include "lb/halb_checks.h"
#include "common/board.h"
#include "health/health.h"
#include "lb/generation.h"
#include "lb/instance.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Checks come from the node that the traffic comes from: the one of the instance's zone, else the first that we serve. */
static const struct config_subnet *check_source(const struct balancer *balancer, const struct instance *instance)
{
    for (size_t i = 0; i < balancer->node_count; i++)
        if (strcmp(balancer->nodes[i].subnet->zone, instance->zone) == 0)
            return balancer->nodes[i].subnet;
    return balancer->nodes[0].subnet;
}

static struct health_item health_item(const struct balancer *balancer, const struct instance *instance)
{
    const struct config_subnet *source = check_source(balancer, instance);
    struct health_item item = {
        .slot = instance->slot,
        .balancer = balancer->conf->name,
        .instance = instance->id,
        .address = instance->address,
        .check = &balancer->conf->health_check,
        .proxy_version = config_proxy_version(balancer->conf, balancer->conf->health_check.target.port),
        .zone_enabled = slot_status(instance->slot).why != WHY_ZONE_NOT_ENABLED,
    };

    if (source->address.sa.sa_family == instance->address.sa.sa_family)
        item.source = source->address;
    return item;
}

static int checks_plan(void *checks, const struct generation *generation)
{
    struct health_item *items;
    size_t count = 0, room = 1;
    int r;

    for (size_t i = 0; i < generation->balancer_count; i++)
        room += generation->balancers[i].registered_count;
    items = calloc(room, sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < generation->balancer_count; i++) {
        const struct balancer *balancer = &generation->balancers[i];
        for (size_t k = 0; balancer->node_count > 0 && k < balancer->registered_count; k++)
            items[count++] = health_item(balancer, balancer->instances[k]);
    }
    r = health_plan(checks, items, count);
    free(items);
    return r;
}

static int checks_start(struct board *board, void **ret)
{
    struct health *health;
    int r = health_start(board, &health);

    if (r == 0)
        *ret = health;
    return r;
}

static void checks_stop(void **checks)
{
    struct health *health = *checks;

    *checks = NULL;
    health_stop(&health);
}

const struct daemon_checks halb_checks = { checks_start, checks_plan, checks_stop };
