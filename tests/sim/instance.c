/* The instances' machines: ports, and how each is at the moment. */
#include "actors.h"
#include "instance.h"

#define DICE_STREAM UINT64_C(0x1a000000)

static struct instance instances[PLAN_INSTANCES];

static struct peer *accepted(struct port *port, const struct addr *from, uint64_t opened_us)
{
    struct instance *instance = container_of(port, struct instance, port);
    struct addr left = plan_node_address(0), right = plan_node_address(1);
    struct visit *visit;

    if (!addr_equal_host(from, &left) && !addr_equal_host(from, &right))
        world_fail("instance %u: a connection from no node's address", instance->index);
    visit = visit_new(instance, from, opened_us);
    return &visit->peer;
}

static enum port_mode port_mode_of(const struct instance *instance)
{
    switch (instance->manner) {
    case MANNER_DOWN:
        return PORT_REFUSES;
    case MANNER_DARK:
        return PORT_SILENT;
    case MANNER_SICK:           /* a TCP check asks nothing but to be let in */
        return instance->balancer->http_check ? PORT_OPEN : PORT_REFUSES;
    case MANNER_WELL:
    case MANNER_SLOW:
    case MANNER_STOPPED:
    case MANNER_HASTY:
    case MANNER_GARBLED:
    case MANNERS:
        break;
    }
    return PORT_OPEN;
}

static void instance_begin(struct instance *instance, const struct plan *plan, unsigned index)
{
    const struct plan_balancer *balancer = &plan->balancers[plan->instances[index].balancer];

    *instance = (struct instance){ .plan = plan, .balancer = balancer, .index = index, .manner = MANNER_WELL };
    dice_init(&instance->dice, plan->seed, DICE_STREAM + index);
    list_init(&instance->visits);
    instance->port.at = addr_with_port(plan_instance_address(index), balancer->instance_port);
    instance->port.mode = PORT_OPEN;
    instance->port.accepted = accepted;
    port_add(&instance->port);
}

void instances_begin(const struct plan *plan)
{
    for (unsigned i = 0; i < PLAN_INSTANCES; i++) {
        instances[i].plan = NULL;
        if (plan->instances[i].present)
            instance_begin(&instances[i], plan, i);
    }
}

static void reset_all(struct instance *instance)
{
    list_for_each_safe(link, &instance->visits) {
        struct visit *visit = list_entry(link, struct visit, link);
        visit_tell(visit, "went down");
        peer_reset(&visit->peer);
        visit_free(visit);
    }
}

static void vanish_all(struct instance *instance)
{
    list_for_each_safe(link, &instance->visits) {
        struct visit *visit = list_entry(link, struct visit, link);
        visit_tell(visit, "went dark");
        peer_vanish(&visit->peer);
        visit_free(visit);
    }
}

static void stop_all(struct instance *instance)
{
    list_for_each(link, &instance->visits) visit_tell(list_entry(link, struct visit, link), "stopped");
}

static void resume_all(struct instance *instance)
{
    list_for_each_safe(link, &instance->visits) visit_resume(list_entry(link, struct visit, link));
}

void instance_become(unsigned index, enum manner manner)
{
    struct instance *instance = &instances[index];
    enum manner before = instance->manner;

    if (instance->plan == NULL || before == manner)
        return;
    trace("instance %u: %s", index, manner_text(manner));
    oracle_manner(index, manner);
    instance->manner = manner;
    instance->port.mode = port_mode_of(instance);
    if (manner == MANNER_DOWN)
        reset_all(instance);
    else if (manner == MANNER_DARK)
        vanish_all(instance);
    else if (manner == MANNER_STOPPED)
        stop_all(instance);
    else if (before == MANNER_STOPPED)
        resume_all(instance);
}

static void instance_end(struct instance *instance)
{
    list_for_each_safe(link, &instance->visits) {
        struct visit *visit = list_entry(link, struct visit, link);
        peer_reset(&visit->peer);
        visit_free(visit);
    }
    port_remove(&instance->port);
    instance->plan = NULL;
}

void instances_end(void)
{
    for (unsigned i = 0; i < PLAN_INSTANCES; i++)
        if (instances[i].plan != NULL)
            instance_end(&instances[i]);
}
