/* Do policies fit what names them? Stickiness is of a listener, PROXY protocol of an instance port. */
#include "common/config_internal.h"
#include <string.h>

static size_t token_at(const struct reading *r, const void *cell)
{
    return reading_place(r, cell)->token;
}

static bool is_sticky(enum policy_type type)
{
    return type == POLICY_LB_COOKIE || type == POLICY_APP_COOKIE;
}

static bool is_proxy(enum policy_type type)
{
    return type == POLICY_PROXY_PROTOCOL;
}

/* Not: bad, or of a later version; that has been said. */
static bool has_type(const struct config_policy *policy)
{
    return is_sticky(policy->type) || is_proxy(policy->type);
}

static const struct use {
    bool (*fits)(enum policy_type type);
    const char *wanted;
} sticky_use = { is_sticky, "one of stickiness" }, proxy_use = { is_proxy, "one of type ProxyProtocolPolicyType" };

static void complain_no_policy(struct reading *r, const struct config_balancer *balancer, const char *const *name)
{
    struct suggestion s = suggestion_of(*name);
    char text[FOUND_MAX];
    for (size_t i = 0; i < balancer->policy_count; i++)
        if (balancer->policies[i].name != NULL)
            suggestion_offer(&s, balancer->policies[i].name);
    complain(&r->report, token_at(r, name), "policies: found \"%s\", expected the name of a policy of the balancer%s", *name,
             suggestion_text(&s, text));
}

/* Each is there and of the use; one at most. */
static void check_use(struct reading *r, const struct config_balancer *balancer, const struct config_strings *names, const struct use *use)
{
    const struct config_policy *first = NULL, *policy;
    for (size_t i = 0; i < names->count; i++) {
        const char *const *name = &names->items[i];
        if (*name == NULL)
            continue;
        policy = config_find_policy(balancer, *name);
        if (policy == NULL)
            complain_no_policy(r, balancer, name);
        else if (has_type(policy) && !use->fits(policy->type))
            complain(&r->report, token_at(r, name), "policies: found \"%s\" of type %s, expected %s", *name, policy_type_text(policy->type),
                     use->wanted);
        else if (has_type(policy) && first != NULL && first != policy)
            complain(&r->report, token_at(r, name), "policies: found \"%s\" beside \"%s\", expected %s alone", *name, first->name,
                     use->wanted);
        else if (has_type(policy))
            first = policy;
    }
}

static void check_listener(struct reading *r, const struct config_balancer *balancer, const struct config_listener *listener)
{
    const struct config_strings *names = &listener->policies;
    bool layer4 = listener->protocol == PROTOCOL_TCP || listener->protocol == PROTOCOL_SSL;
    if (layer4 && names->count > 0 && names->items[0] != NULL)
        complain(&r->report, token_at(r, &names->items[0]), "policies: found \"%s\", expected none, as the protocol is %s",
                 names->items[0], protocol_text(listener->protocol));
    else if (!layer4)
        check_use(r, balancer, names, &sticky_use);
}

static bool is_instance_port(const struct config_balancer *balancer, uint16_t port)
{
    for (size_t i = 0; i < balancer->listener_count; i++)
        if (balancer->listeners[i].instance_port == port)
            return true;
    return false;
}

static void check_backend_server(struct reading *r, const struct config_balancer *balancer, const struct config_backend_server *server)
{
    if (server->instance_port != 0 && !is_instance_port(balancer, server->instance_port))
        complain(&r->report, token_at(r, &server->instance_port), "instance_port: found %u, expected the instance port of a listener",
                 server->instance_port);
    check_use(r, balancer, &server->policies, &proxy_use);
}

static void check_policy(struct reading *r, const struct config_policy *policy)
{
    char found[32];
    if (policy->cookie_expiration_period_ms % 1000 != 0)
        complain(&r->report, token_at(r, &policy->cookie_expiration_period_ms),
                 "cookie_expiration_period: found \"%s\", expected whole seconds", config_format_duration(policy->cookie_expiration_period_ms, found));
    if (policy->cookie_name != NULL && strcmp(policy->cookie_name, "AWSELB") == 0)
        complain(&r->report, token_at(r, &policy->cookie_name), "cookie_name: found \"AWSELB\", expected another, as the balancer's own has it");
}

void policies_check(struct reading *r, const struct config_balancer *balancer)
{
    for (size_t i = 0; i < balancer->policy_count; i++)
        check_policy(r, &balancer->policies[i]);
    for (size_t i = 0; i < balancer->listener_count; i++)
        check_listener(r, balancer, &balancer->listeners[i]);
    for (size_t i = 0; i < balancer->backend_server_count; i++)
        check_backend_server(r, balancer, &balancer->backend_servers[i]);
}
