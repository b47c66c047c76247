/* What do names stand for? The same for a configuration that was read and for a copy of it. */
#include "common/config_internal.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

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

/* CIDRs are counted while there is no room for them, then put into it. */
struct sink {
    struct cidr *items;         /* NULL: count */
    size_t count;
};

static void put(struct sink *sink, const struct cidr *cidr)
{
    if (sink->items != NULL)
        sink->items[sink->count] = *cidr;
    sink->count++;
}

static void put_host(struct sink *sink, const struct addr *a)
{
    const struct cidr host = { .base = addr_with_port(*a, 0), .bits = a->sa.sa_family == AF_INET6 ? 128 : 32 };
    put(sink, &host);
}

static bool carries(const struct config_strings *groups, const char *group)
{
    for (size_t i = 0; i < groups->count; i++)
        if (strcmp(groups->items[i], group) == 0)
            return true;
    return false;
}

/* The instances and balancer nodes that carry it, and its members: as where it is the source of a rule. */
static void put_group(struct sink *sink, const struct config *config, const char *name)
{
    const struct config_group *group = config_find_group(config, name);
    for (size_t i = 0; i < config->instance_count; i++)
        if (carries(&config->instances[i].security_groups, name))
            put_host(sink, &config->instances[i].address);
    for (size_t i = 0; i < config->balancer_count; i++) {
        const struct config_balancer *balancer = &config->balancers[i];
        for (size_t j = 0; j < balancer->subnet_count && carries(&balancer->security_groups, name); j++)
            put_host(sink, &balancer->subnets[j].address);
    }
    for (size_t i = 0; group != NULL && i < group->members.count; i++)
        put(sink, &group->members.items[i]);
}

static void put_source(struct sink *sink, const struct config *config, const char *text)
{
    struct cidr cidr;
    int r;
    if (source_is_group(text)) {
        put_group(sink, config, text);
        return;
    }
    r = cidr_parse(text, &cidr);
    assert(r == 0);
    put(sink, &cidr);
}

static int link_sources(const struct config *config, struct config_listener *listener)
{
    const struct config_strings *sources = &listener->proxy_protocol_sources;
    struct sink sink = { .items = NULL };
    for (size_t i = 0; i < sources->count; i++)
        put_source(&sink, config, sources->items[i]);
    sink = (struct sink){ .items = arena_alloc(config->memory, sink.count, sizeof(*sink.items)) };
    if (sink.items == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < sources->count; i++)
        put_source(&sink, config, sources->items[i]);
    listener->proxy_protocol_from = (struct config_cidrs){ .items = sink.items, .count = sink.count };
    return 0;
}

int config_link(struct config *config)
{
    int r = 0;
    for (size_t i = 0; i < config->balancer_count; i++) {
        struct config_balancer *balancer = &config->balancers[i];
        link_policies(balancer);
        for (size_t j = 0; j < balancer->listener_count && r == 0; j++)
            r = link_sources(config, &balancer->listeners[j]);
    }
    return r;
}
