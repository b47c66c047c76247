/* What do names stand for? The same for a configuration that was read and for a copy of it. */
#include "common/config_internal.h"

/* The one of these names that is of one of these types (bits). */
static const struct config_policy *named(const struct config_balancer *balancer, const struct config_strings *names, unsigned types)
{
    for (size_t i = 0; i < names->count; i++) {
        const struct config_policy *policy = config_find_policy(balancer, names->items[i]);
        if (policy != NULL && (types >> policy->type & 1) != 0)
            return policy;
    }
    return NULL;
}

static void link_policies(struct config_balancer *balancer)
{
    for (size_t i = 0; i < balancer->listener_count; i++)
        balancer->listeners[i].sticky =
            named(balancer, &balancer->listeners[i].policies, 1u << POLICY_LB_COOKIE | 1u << POLICY_APP_COOKIE);
    for (size_t i = 0; i < balancer->backend_server_count; i++)
        balancer->backend_servers[i].proxy = named(balancer, &balancer->backend_servers[i].policies, 1u << POLICY_PROXY_PROTOCOL);
}

int config_link(struct config *config)
{
    for (size_t i = 0; i < config->balancer_count; i++)
        link_policies(&config->balancers[i]);
    return 0;
}
