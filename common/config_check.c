/*
 * Do the values fit together? Blank cells (bad, and already said so) are passed
 * over: no error causes a second one.
 */
#include "common/config_internal.h"
#include <stdlib.h>
#include <string.h>

static size_t token_at(const struct reading *r, const void *cell)
{
    return reading_place(r, cell)->token;
}

static const char *host_text(const struct addr *a, char text[ADDR_TEXT_MAX])
{
    return addr_format_host(a, text);
}

/* ---- what may be there once only ---- */

struct key {
    const char *text;
    size_t token;
    const void *owner;
};

struct keys {
    struct key *items;
    size_t count;
};

static struct keys keys_new(struct reading *r, size_t most)
{
    struct keys keys = { .items = arena_alloc(r->scratch, most, sizeof(struct key)) };
    r->no_memory = r->no_memory || keys.items == NULL;
    return keys;
}

static void keys_add(const struct reading *r, struct keys *keys, const char *text, const void *cell, const void *owner)
{
    if (text != NULL && keys->items != NULL)
        keys->items[keys->count++] = (struct key){ .text = text, .token = token_at(r, cell), .owner = owner };
}

static int compare_keys(const void *left, const void *right)
{
    const struct key *a = left, *b = right;
    int r = strcmp(a->text, b->text);
    return r != 0 ? r : (a->token > b->token) - (a->token < b->token);
}

/* Each must differ from all of another owner. */
static void check_unique(struct reading *r, const char *name, const struct keys *keys)
{
    const struct key *first = keys->items;
    if (keys->items == NULL || keys->count == 0)
        return;
    qsort(keys->items, keys->count, sizeof(*keys->items), compare_keys);
    for (size_t i = 1; i < keys->count; i++) {
        const struct key *key = &keys->items[i];
        const struct token *at;
        if (strcmp(first->text, key->text) != 0)
            first = key;
        if (first->owner == key->owner)
            continue;
        at = source_token(&r->source, first->token);
        complain(&r->report, key->token, "%s: found %s, which %s:%u has already, expected another", name, key->text, at->file, at->line);
    }
}

static const char *quoted(struct reading *r, const char *text)
{
    const char *ret = text != NULL ? arena_print(r->scratch, "\"%s\"", text) : NULL;
    r->no_memory = r->no_memory || (text != NULL && ret == NULL);
    return ret;
}

static void check_strings_unique(struct reading *r, const char *name, const struct config_strings *strings)
{
    struct keys keys = keys_new(r, strings->count);
    for (size_t i = 0; i < strings->count; i++)
        keys_add(r, &keys, quoted(r, strings->items[i]), &strings->items[i], &strings->items[i]);
    check_unique(r, name, &keys);
}

/* ---- references ---- */

static void check_group_exists(struct reading *r, const char *setting, const char *name, const void *cell)
{
    struct suggestion s;
    char text[FOUND_MAX];
    if (name == NULL || config_find_group(r->config, name) != NULL)
        return;
    s = suggestion_of(name);
    for (size_t i = 0; i < r->config->group_count; i++)
        if (r->config->groups[i].name != NULL)
            suggestion_offer(&s, r->config->groups[i].name);
    complain(&r->report, token_at(r, cell), "%s: found \"%s\", expected the name of a security group%s", setting, name,
             suggestion_text(&s, text));
}

static void check_groups(struct reading *r, const struct config_strings *groups)
{
    check_strings_unique(r, "security_groups", groups);
    for (size_t i = 0; i < groups->count; i++)
        check_group_exists(r, "security_groups", groups->items[i], &groups->items[i]);
}

static void resolve(struct reading *r, const struct reference *reference)
{
    struct suggestion s = suggestion_of(reference->id);
    char text[FOUND_MAX];
    *reference->slot = config_find_instance(r->config, reference->id);
    if (*reference->slot != NULL)
        return;
    for (size_t i = 0; i < r->config->instance_count; i++)
        if (r->config->instances[i].id != NULL)
            suggestion_offer(&s, r->config->instances[i].id);
    complain(&r->report, token_at(r, reference->slot), "instances: found \"%s\", expected the id of an instance%s", reference->id,
             suggestion_text(&s, text));
}

/* ---- the inventory ---- */

static size_t ids_count(const struct config *config)
{
    size_t count = config->instance_count;
    for (size_t i = 0; i < config->instance_count; i++)
        count += config->instances[i].aliases.count;
    return count;
}

static void check_instances(struct reading *r)
{
    struct keys keys = keys_new(r, ids_count(r->config));
    for (size_t i = 0; i < r->config->instance_count; i++) {
        struct config_instance *instance = &r->config->instances[i];
        keys_add(r, &keys, quoted(r, instance->id), &instance->id, &instance->id);
        for (size_t j = 0; j < instance->aliases.count; j++) {
            const char **alias = &instance->aliases.items[j];
            keys_add(r, &keys, quoted(r, *alias), alias, alias);
        }
        check_groups(r, &instance->security_groups);
    }
    check_unique(r, "id", &keys);
}

static void check_security_groups(struct reading *r)
{
    struct keys keys = keys_new(r, r->config->group_count);
    for (size_t i = 0; i < r->config->group_count; i++) {
        struct config_group *group = &r->config->groups[i];
        keys_add(r, &keys, quoted(r, group->name), &group->name, group);
        for (size_t j = 0; j < group->ingress_count; j++)
            if (group->ingress[j].from_group)
                check_group_exists(r, "source", group->ingress[j].group, &group->ingress[j].from_group);
    }
    check_unique(r, "name", &keys);
}

/* ---- a balancer ---- */

static void check_node(struct reading *r, const struct config_balancer *balancer, const struct config_subnet *subnet)
{
    char host[ADDR_TEXT_MAX], cidr[ADDR_TEXT_MAX];
    size_t token = token_at(r, &subnet->address);
    if (subnet->address.sa.sa_family == AF_UNSPEC)
        return;
    host_text(&subnet->address, host);
    if (subnet->cidr.base.sa.sa_family != AF_UNSPEC && !cidr_contains(&subnet->cidr, &subnet->address))
        complain(&r->report, token, "address: found \"%s\", expected an address in %s", host, cidr_format(&subnet->cidr, cidr));
    if (balancer->scheme == SCHEME_INTERNAL && !addr_private(&subnet->address))
        complain(&r->report, token, "address: found \"%s\", expected a private address, as the scheme is internal", host);
}

static const char *host_key(struct reading *r, const struct addr *a)
{
    char text[ADDR_TEXT_MAX];
    return a->sa.sa_family == AF_UNSPEC ? NULL : quoted(r, host_text(a, text));
}

static void check_subnets(struct reading *r, const struct config_balancer *balancer)
{
    struct keys ids = keys_new(r, balancer->subnet_count), zones = keys_new(r, balancer->subnet_count);
    struct keys hosts = keys_new(r, balancer->subnet_count);
    for (size_t i = 0; i < balancer->subnet_count; i++) {
        struct config_subnet *subnet = &balancer->subnets[i];
        keys_add(r, &ids, quoted(r, subnet->id), &subnet->id, subnet);
        if (subnet->zone != NULL && subnet->zone[0] != '\0')
            keys_add(r, &zones, quoted(r, subnet->zone), &subnet->zone, subnet);
        keys_add(r, &hosts, host_key(r, &subnet->address), &subnet->address, subnet);
        check_node(r, balancer, subnet);
    }
    check_unique(r, "id", &ids);
    check_unique(r, "zone", &zones);
    check_unique(r, "address", &hosts);
}

static bool is_blank(enum protocol protocol)
{
    return (int)protocol == CHOICE_BLANK;
}

static bool is_secure(enum protocol protocol)
{
    return protocol == PROTOCOL_HTTPS || protocol == PROTOCOL_SSL;
}

static bool is_http(enum protocol protocol)
{
    return protocol == PROTOCOL_HTTP || protocol == PROTOCOL_HTTPS;
}

static void derive_listener(const struct reading *r, struct config_listener *listener)
{
    if (is_blank(listener->instance_protocol) && !reading_place(r, &listener->instance_protocol)->given)
        listener->instance_protocol = listener->protocol;
}

static void check_pairing(struct reading *r, const struct config_listener *listener)
{
    if (is_blank(listener->protocol) || is_blank(listener->instance_protocol))
        return;
    if (is_http(listener->protocol) != is_http(listener->instance_protocol))
        complain(&r->report, token_at(r, &listener->instance_protocol),
                 "instance_protocol: found \"%s\", expected %s, as the protocol is %s",
                 protocol_text(listener->instance_protocol), is_http(listener->protocol) ? "HTTP or HTTPS" : "TCP or SSL",
                 protocol_text(listener->protocol));
}

/* An instance port speaks TLS or it does not. */
static void check_secure_alike(struct reading *r, const struct config_balancer *balancer, const struct config_listener *listener)
{
    if (listener->instance_port == 0 || is_blank(listener->instance_protocol))
        return;
    for (const struct config_listener *other = balancer->listeners; other < listener; other++) {
        if (other->instance_port != listener->instance_port || is_blank(other->instance_protocol) ||
            is_secure(other->instance_protocol) == is_secure(listener->instance_protocol))
            continue;
        complain(&r->report, token_at(r, &listener->instance_protocol),
                 "instance_protocol: found \"%s\", expected what fits %s, as another listener has for instance_port %u",
                 protocol_text(listener->instance_protocol), protocol_text(other->instance_protocol), listener->instance_port);
        return;
    }
}

/* 0: not given, or bad. */
static const char *number_key(struct reading *r, unsigned number)
{
    const char *ret = number != 0 ? arena_print(r->scratch, "%u", number) : NULL;
    r->no_memory = r->no_memory || (number != 0 && ret == NULL);
    return ret;
}

static void check_proxy_sources(struct reading *r, const struct config_strings *sources)
{
    check_strings_unique(r, "proxy_protocol_from", sources);
    for (size_t i = 0; i < sources->count; i++)
        if (sources->items[i] != NULL && source_is_group(sources->items[i]))
            check_group_exists(r, "proxy_protocol_from", sources->items[i], &sources->items[i]);
}

static void check_listeners(struct reading *r, const struct config_balancer *balancer)
{
    struct keys ports = keys_new(r, balancer->listener_count);
    for (size_t i = 0; i < balancer->listener_count; i++) {
        struct config_listener *listener = &balancer->listeners[i];
        derive_listener(r, listener);
        keys_add(r, &ports, number_key(r, listener->port), &listener->port, listener);
        check_pairing(r, listener);
        check_proxy_sources(r, &listener->proxy_protocol_sources);
        check_secure_alike(r, balancer, listener);
    }
    check_unique(r, "port", &ports);
}

static void check_policies(struct reading *r, const struct config_balancer *balancer)
{
    struct keys names = keys_new(r, balancer->policy_count), ports = keys_new(r, balancer->backend_server_count);
    for (size_t i = 0; i < balancer->policy_count; i++) {
        const struct config_policy *policy = &balancer->policies[i];
        keys_add(r, &names, quoted(r, policy->name), &policy->name, policy);
    }
    for (size_t i = 0; i < balancer->backend_server_count; i++) {
        const struct config_backend_server *server = &balancer->backend_servers[i];
        keys_add(r, &ports, number_key(r, server->instance_port), &server->instance_port, server);
        check_strings_unique(r, "policies", &server->policies);
    }
    for (size_t i = 0; i < balancer->listener_count; i++)
        check_strings_unique(r, "policies", &balancer->listeners[i].policies);
    check_unique(r, "name", &names);
    check_unique(r, "instance_port", &ports);
    policies_check(r, balancer);
}

static void derive_target(struct reading *r, struct config_balancer *balancer)
{
    struct config_health_check *check = &balancer->health_check;
    uint16_t port = balancer->listener_count > 0 ? balancer->listeners[0].instance_port : 0;
    char *text;
    if (port == 0 || check->target_text != NULL || reading_place(r, &check->target)->given)
        return;
    text = arena_print(r->arena, "HTTP:%u/index.html", port);
    r->no_memory = r->no_memory || text == NULL;
    if (text == NULL)
        return;
    check->target = (struct config_target){ .protocol = PROTOCOL_HTTP, .port = port, .path = strchr(text, '/') };
    check->target_text = text;
}

static void check_health(struct reading *r, const struct config_health_check *check)
{
    const struct place *timeout = reading_place(r, &check->timeout_ms);
    char found[32], interval[32];
    if (check->timeout_ms == 0 || check->interval_ms == 0 || check->timeout_ms < check->interval_ms)
        return;
    complain(&r->report, timeout->token, "timeout: found \"%s\"%s, expected less than the interval, \"%s\"",
             config_format_duration(check->timeout_ms, found), timeout->given ? "" : " by default",
             config_format_duration(check->interval_ms, interval));
}

static void check_access_log(struct reading *r, const struct config_access_log *log)
{
    const struct place *path = reading_place(r, &log->path);
    if (log->path == NULL || log->path[0] == '/' || (log->path[0] == '\0' && !log->enabled))
        return;
    complain(&r->report, path->token, "path: found \"%s\"%s, expected an absolute path%s", log->path, path->given ? "" : " by default",
             log->enabled ? ", as the log is enabled" : "");
}

static void check_error_responses(struct reading *r, const struct config_attributes *attributes)
{
    struct keys statuses = keys_new(r, attributes->error_response_count);
    for (size_t i = 0; i < attributes->error_response_count; i++) {
        struct config_error_response *response = &attributes->error_responses[i];
        keys_add(r, &statuses, number_key(r, response->status), &response->status, response);
        if (response->file != NULL)
            file_read_response(r, response, token_at(r, &response->file));
    }
    check_unique(r, "status", &statuses);
}

static void derive_attributes(const struct reading *r, struct config_attributes *attributes)
{
    if (!reading_place(r, &attributes->backend_idle_timeout_ms)->given)
        attributes->backend_idle_timeout_ms = attributes->idle_timeout_ms;
}

static void check_registered(struct reading *r, const struct config_balancer *balancer)
{
    struct keys keys = keys_new(r, balancer->instance_count);
    for (size_t i = 0; i < balancer->instance_count; i++)
        if (balancer->instances[i] != NULL)
            keys_add(r, &keys, quoted(r, balancer->instances[i]->id), &balancer->instances[i], &balancer->instances[i]);
    check_unique(r, "instances", &keys);
}

static void check_balancer(struct reading *r, struct config_balancer *balancer)
{
    check_subnets(r, balancer);
    check_listeners(r, balancer);
    check_policies(r, balancer);
    check_groups(r, &balancer->security_groups);
    check_registered(r, balancer);
    derive_target(r, balancer);
    check_health(r, &balancer->health_check);
    derive_attributes(r, &balancer->attributes);
    check_access_log(r, &balancer->attributes.access_log);
    check_error_responses(r, &balancer->attributes);
}

static void check_process(struct reading *r, struct config_process *process)
{
    const char *path = process->cookie_key_file;
    size_t token = token_at(r, &process->cookie_key_file);
    if (path == NULL || path[0] == '\0')
        return;
    path = file_path(r, "cookie_key_file", path, token);
    if (path != NULL) {
        process->cookie_key_file = path;
        file_check_secret(r, "cookie_key_file", path, token);
    }
}

/* ---- all balancers together ---- */

static const char *bind_key(struct reading *r, const struct addr *address, uint16_t port)
{
    char text[ADDR_TEXT_MAX];
    struct addr a;
    if (address->sa.sa_family == AF_UNSPEC || port == 0)
        return NULL;
    a = addr_with_port(*address, port);
    return quoted(r, addr_format(&a, text));
}

static void check_binds(struct reading *r)
{
    struct keys keys;
    size_t most = 0;
    for (size_t i = 0; i < r->config->balancer_count; i++)
        most += r->config->balancers[i].subnet_count * r->config->balancers[i].listener_count;
    keys = keys_new(r, most);
    for (size_t i = 0; i < r->config->balancer_count; i++) {
        const struct config_balancer *balancer = &r->config->balancers[i];
        for (size_t j = 0; j < balancer->subnet_count * balancer->listener_count; j++) {
            const struct config_subnet *subnet = &balancer->subnets[j / balancer->listener_count];
            const struct config_listener *listener = &balancer->listeners[j % balancer->listener_count];
            keys_add(r, &keys, bind_key(r, &subnet->address, listener->port), &subnet->address, balancer);
        }
    }
    check_unique(r, "address", &keys);
}

void reading_check(struct reading *r)
{
    struct keys names = keys_new(r, r->config->balancer_count);
    for (size_t i = 0; i < r->reference_count; i++)
        resolve(r, &r->references[i]);
    check_process(r, &r->config->process);
    check_instances(r);
    check_security_groups(r);
    for (size_t i = 0; i < r->config->balancer_count; i++) {
        struct config_balancer *balancer = &r->config->balancers[i];
        keys_add(r, &names, quoted(r, balancer->name), &balancer->name, balancer);
        check_balancer(r, balancer);
    }
    check_unique(r, "name", &names);
    check_binds(r);
}
