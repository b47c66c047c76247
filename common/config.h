#ifndef COMMON_CONFIG_H
#define COMMON_CONFIG_H
#include "common/addr.h"
#include "common/log.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/*
 * The configuration: one immutable struct, made from a file (libconfig syntax)
 * by one table of settings. Strings and arrays belong to the struct and live as
 * long. Durations are milliseconds, sizes bytes. Nothing in it is an io resource.
 */
enum protocol { PROTOCOL_HTTP, PROTOCOL_HTTPS, PROTOCOL_TCP, PROTOCOL_SSL };
const char *protocol_text(enum protocol protocol);     /* "HTTP" ... */

enum scheme { SCHEME_INTERNET_FACING, SCHEME_INTERNAL };
const char *scheme_text(enum scheme scheme);           /* "internet-facing", "internal" */

enum algorithm {
    ALGORITHM_DEFAULT,                  /* HTTP, HTTPS: least outstanding; TCP, SSL: round robin */
    ALGORITHM_LEAST_OUTSTANDING,
    ALGORITHM_ROUND_ROBIN,
    ALGORITHM_RANDOM_TWO,
    ALGORITHM_SOURCE_HASH
};

enum desync_mode { DESYNC_MONITOR, DESYNC_DEFENSIVE, DESYNC_STRICTEST };

enum access_log_format { ACCESS_LOG_ELB, ACCESS_LOG_JSON };

enum { UPGRADE_WEBSOCKET = 1u << 0 };   /* bits of config_attributes.upgrades */

struct config_strings {
    const char **items;
    size_t count;
};

struct config_cidrs {
    struct cidr *items;
    size_t count;
};

struct config_process {
    unsigned workers;                   /* 0: one per CPU */
    const char *admin_socket, *admin_http, *user, *state_dir;
    const char *cookie_key_file;        /* "": none; else an absolute path. What is in it stays there */
    enum log_level log_level;
    uint64_t shutdown_timeout_ms;
    unsigned max_connections;           /* 0: what descriptors allow */
};

struct config_instance {
    const char *id;
    struct addr address;                /* port 0 */
    const char *zone;                   /* "" if none */
    struct config_strings security_groups, aliases;
    unsigned weight, max_connections;
};

struct config_rule {                    /* one ingress rule */
    uint16_t port;                      /* tcp */
    bool from_group;
    struct cidr cidr;                   /* !from_group */
    const char *group;                  /* from_group: its name, which exists */
};

struct config_group {
    const char *name;
    struct config_rule *ingress;
    size_t ingress_count;
    struct config_cidrs members;
};

struct config_subnet {
    const char *id;
    struct cidr cidr;
    const char *zone;                   /* "" if none */
    struct addr address;                /* the balancer node's; port 0 */
};

enum policy_type {
    POLICY_LB_COOKIE,
    POLICY_APP_COOKIE,
    POLICY_PROXY_PROTOCOL,
    POLICY_SSL_NEGOTIATION,
    POLICY_PUBLIC_KEY,
    POLICY_BACKEND_AUTHENTICATION
};
const char *policy_type_text(enum policy_type type);   /* "LBCookieStickinessPolicyType" ... */

struct config_policy {
    const char *name;
    enum policy_type type;
    uint64_t cookie_expiration_period_ms;       /* LB cookie: whole seconds; 0: as long as the browser runs */
    const char *cookie_name;                    /* application cookie; else NULL */
    bool proxy_protocol;                        /* PROXY protocol */
    unsigned version;                           /* PROXY protocol: 1 or 2 */
};

struct config_backend_server {          /* an instance port, for all instances */
    uint16_t instance_port;
    struct config_strings policies;
    const struct config_policy *proxy;  /* of its policies, that of the PROXY protocol; NULL: none */
};

struct config_listener {
    enum protocol protocol, instance_protocol;
    uint16_t port, instance_port;
    struct config_strings policies;
    const struct config_policy *sticky; /* of its policies, that of an LB or application cookie; NULL: none */
    struct config_cidrs proxy_protocol_from;        /* whose PROXY header is read; none: nobody's */
    struct config_strings proxy_protocol_sources;   /* the same as written, with groups by name */
};

struct config_target {                  /* what a health check probes */
    enum protocol protocol;
    uint16_t port;
    const char *path;                   /* HTTP, HTTPS; else NULL */
};

struct config_health_check {
    struct config_target target;
    const char *target_text;            /* "HTTP:80/index.html" */
    uint64_t interval_ms, timeout_ms;
    unsigned unhealthy_threshold, healthy_threshold;
};

struct config_error_response {          /* instead of an own answer's empty body */
    unsigned status;                    /* 400, 405, 408, 502, 503 or 504 */
    const char *file;                   /* absolute */
    const char *content_type;           /* by the file's name */
    const char *bytes;                  /* what was in it when it was read */
    size_t len;
};

struct config_access_log {
    bool enabled;
    const char *path;                   /* absolute if enabled */
    enum access_log_format format;
};

struct config_attributes {
    bool cross_zone, draining, fail_open;
    uint64_t draining_timeout_ms;
    uint64_t idle_timeout_ms, connect_timeout_ms, request_header_timeout_ms, request_body_timeout_ms, tunnel_timeout_ms;
    uint64_t backend_idle_timeout_ms, slow_start_ms;
    unsigned backend_idle_max;          /* idle connections kept to one instance by one worker */
    unsigned surge_queue, retries;
    size_t request_line_max, header_max, headers_max, response_headers_max;
    unsigned header_count_max;
    struct config_cidrs trusted_proxies;
    enum algorithm algorithm;
    enum desync_mode desync_mode;
    unsigned upgrades;                  /* UPGRADE_... */
    struct config_access_log access_log;
    struct config_error_response *error_responses;  /* one a status */
    size_t error_response_count;
};

struct config_balancer {
    const char *name;
    enum scheme scheme;
    struct config_subnet *subnets;
    size_t subnet_count;
    struct config_listener *listeners;
    size_t listener_count;
    struct config_strings security_groups;
    struct config_health_check health_check;
    const struct config_instance **instances;       /* registered; into the inventory */
    size_t instance_count;
    struct config_policy *policies;
    size_t policy_count;
    struct config_backend_server *backend_servers;
    size_t backend_server_count;
    struct config_attributes attributes;
};

struct config {
    struct config_process process;
    struct config_instance *instances;              /* the inventory */
    size_t instance_count;
    struct config_group *groups;
    size_t group_count;
    struct config_balancer *balancers;
    size_t balancer_count;
    void *memory;                                   /* owner of all the above */
};

/* Collected messages, in the order of files and lines; each one line, "FILE:LINE: found, expected". */
struct config_errors {
    char **lines;
    size_t count;
};
void config_errors_free(struct config_errors *errors);

/* 0 and *ret; or -EINVAL with every error of meaning (of syntax: the first). errors is initialised here. */
int config_load(const char *path, struct config **ret, struct config_errors *errors);
/* As config_load, from text; `name` stands for the file. No @include. */
int config_parse(const char *text, const char *name, struct config **ret, struct config_errors *errors);
void config_free(struct config **config);
struct config *config_copy(const struct config *from);      /* NULL: no memory */

/* The effective configuration with all defaults; config_parse() of it prints itself again. */
int config_print(const struct config *config, FILE *to);
/* docs/CONFIGURATION.md's table of settings, from the same rows that parse them. */
int config_print_reference(FILE *to);

/* Changes at run time: *ret is a new configuration, `from` is untouched. 0; -ENOENT no such balancer; -ESRCH an id is not in
 * the inventory (or, to deregister, not registered), its name in *which; -ENOMEM. */
int config_with_registered(const struct config *from, const char *balancer, const char *const *ids, size_t count,
                           struct config **ret, const char **which);
int config_with_deregistered(const struct config *from, const char *balancer, const char *const *ids, size_t count,
                             struct config **ret, const char **which);

/* A change of a health check: NULL or 0 members stay. The text values are as in the file ("6s", "HTTP:80/x"). */
struct config_health_change {
    const char *target, *interval, *timeout, *unhealthy_threshold, *healthy_threshold;
};
/* As above; -EINVAL with errors (each says which key, what was found, what was expected). */
int config_with_health_check(const struct config *from, const char *balancer, const struct config_health_change *change,
                             struct config **ret, struct config_errors *errors);

const struct config_balancer *config_find_balancer(const struct config *config, const char *name);
const struct config_instance *config_find_instance(const struct config *config, const char *id_or_alias);
const struct config_group *config_find_group(const struct config *config, const char *name);
const struct config_policy *config_find_policy(const struct config_balancer *balancer, const char *name);
/* Of the PROXY header that connections to this port of instances begin with: 1 or 2; 0: none. */
unsigned config_proxy_version(const struct config_balancer *balancer, uint16_t instance_port);

/* "100ms", "6s", "0.1m", "2h" or a number of seconds. 0 or -EINVAL (also negative, not finite, > 100 days). */
int config_parse_duration(const char *text, uint64_t *ms);
/* The shortest exact text that parses to it: "100ms", "6s". */
char *config_format_duration(uint64_t ms, char text[32]);
/* "HTTP:80/x", "TCP:80" ... 0 (ret->path points into text), or -EINVAL and *expected says what was. */
int config_parse_target(const char *text, struct config_target *ret, const char **expected);
#endif
