/*
 * Which settings are there? These rows read a file, name what is misspelt,
 * bound and default values, write the configuration out, copy it, and make the
 * reference in docs/CONFIGURATION.md.
 */
#include "common/config_internal.h"
#include <assert.h>
#include <string.h>

#define IN(type, member) .offset = offsetof(struct type, member)
#define SECTION(type, name, rows) { name, sizeof(struct type), rows, sizeof(rows) / sizeof((rows)[0]) }
#define CHOICES(...) (const char *const[]){ __VA_ARGS__, NULL }
#define BIT(n) (1u << (n))

#define SECONDS(n) ((n) * UINT64_C(1000))
#define HOURS(n) SECONDS((n) * 3600)
#define KIB(n) ((n) * UINT64_C(1024))
#define MIB(n) KIB((n) * 1024)

/* An array and its count lie as struct array, so that rows can reach both by one offset. */
#define ADJACENT(type, first, second) \
    static_assert(offsetof(struct type, second) == offsetof(struct type, first) + offsetof(struct array, count), #first)
ADJACENT(config_strings, items, count);
ADJACENT(config_cidrs, items, count);
ADJACENT(config_group, ingress, ingress_count);
ADJACENT(config_balancer, subnets, subnet_count);
ADJACENT(config_balancer, listeners, listener_count);
ADJACENT(config_balancer, instances, instance_count);
ADJACENT(config_balancer, policies, policy_count);
ADJACENT(config_balancer, backend_servers, backend_server_count);
ADJACENT(config_attributes, error_responses, error_response_count);
ADJACENT(config, instances, instance_count);
ADJACENT(config, groups, group_count);
ADJACENT(config, balancers, balancer_count);
static_assert(sizeof(enum protocol) == sizeof(int), "choices are stored as int");
static_assert(sizeof(enum scheme) == sizeof(int), "choices are stored as int");
static_assert(sizeof(enum log_level) == sizeof(int), "choices are stored as int");
static_assert(sizeof(enum policy_type) == sizeof(int), "choices are stored as int");
static_assert(sizeof(enum algorithm) == sizeof(int), "choices are stored as int");
static_assert(sizeof(enum desync_mode) == sizeof(int), "choices are stored as int");
static_assert(sizeof(enum access_log_format) == sizeof(int), "choices are stored as int");

#define PROTOCOLS CHOICES("HTTP", "HTTPS", "TCP", "SSL")
#define PROTOCOLS_LATER (BIT(PROTOCOL_HTTPS) | BIT(PROTOCOL_SSL))
#define NAME_MAX_LEN 32
#define SUN_PATH_LEN 107        /* sizeof(sun_path) less the terminator */
#define PATH_MAX_LEN 1024

static const struct row process_rows[] = {
    { "workers", KIND_COUNT, IN(config_process, workers), "0", 0, 240, "Worker threads. 0: one per CPU." },
    { "admin_socket", KIND_TEXT, IN(config_process, admin_socket), "/run/halb/halb.sock", 1, SUN_PATH_LEN,
      "Path of the control socket, which halbctl speaks to. `-s` overrides it." },
    { "admin_http", KIND_TEXT, IN(config_process, admin_http), "", 0, 64, "HOST:PORT of the HTTP control surface. Empty: off.",
      .support = SUPPORT_NEUTRAL },
    { "user", KIND_TEXT, IN(config_process, user), "", 0, 32,
      "User to run as when started as root. Empty: `halb` if it exists, else `nobody`; `root` keeps root." },
    { "log_level", KIND_CHOICE, IN(config_process, log_level), "info", 0, 0, "The least important events that are logged.",
      .choices = CHOICES("error", "warning", "info", "debug") },
    { "log_format", KIND_CHOICE, NOWHERE, "text", 0, 0, "How events are logged.", .choices = CHOICES("text", "json"),
      .support = SUPPORT_NEUTRAL },
    { "state_dir", KIND_TEXT, IN(config_process, state_dir), "/var/lib/halb", 1, PATH_MAX_LEN,
      "Folder of what is kept over a restart; one process each. `-d` overrides it." },
    { "shutdown_timeout", KIND_DURATION, IN(config_process, shutdown_timeout_ms), "30s", 0, HOURS(1),
      "How long a graceful stop waits for work in flight." },
    { "max_connections", KIND_COUNT, IN(config_process, max_connections), "0", 0, 10000000,
      "Front connections at a time. 0: what descriptors allow." },
    { "cookie_key_file", KIND_TEXT, IN(config_process, cookie_key_file), "", 0, PATH_MAX_LEN,
      "File of the key of sticky cookies: 32 to 4096 bytes, mode 0600 or stricter. Empty: one is made and kept in `state_dir`." },
    { "tls_ticket_key_file", KIND_ANY, NOWHERE, .help = "Key of TLS session tickets.", .support = SUPPORT_NONE },
    { "admin_token_file", KIND_ANY, NOWHERE, .help = "Token for `admin_http` beyond loopback.", .support = SUPPORT_NONE },
    { "admin_certificate", KIND_ANY, NOWHERE, .help = "Certificate of `admin_http`.", .support = SUPPORT_NONE },
    { "admin_private_key", KIND_ANY, NOWHERE, .help = "Private key of `admin_http`.", .support = SUPPORT_NONE },
};
static const struct section process_section = SECTION(config_process, "process", process_rows);

static const struct row instance_rows[] = {
    { "id", KIND_NAME, IN(config_instance, id), NULL, 1, NAME_MAX_LEN, "What balancers register it by." },
    { "address", KIND_ADDRESS, IN(config_instance, address), NULL, 0, 0, "Its address; the port is the listener's `instance_port`." },
    { "zone", KIND_NAME, IN(config_instance, zone), "", 0, NAME_MAX_LEN, "Availability zone. Empty: none." },
    { "security_groups", KIND_NAMES, IN(config_instance, security_groups), "[ ]", 0, 0, "Groups that it carries." },
    { "weight", KIND_COUNT, IN(config_instance, weight), "1", 0, 256, "Its share of new work. 0: none." },
    { "max_connections", KIND_COUNT, IN(config_instance, max_connections), "0", 0, 1000000,
      "Requests (TCP: connections) that a balancer node gives it at a time; more wait. 0: no limit." },
    { "aliases", KIND_NAMES, IN(config_instance, aliases), "[ ]", 0, 0, "Further ids of it, such as a cloud's." },
};
static const struct section instance_section = SECTION(config_instance, "instances", instance_rows);

static const struct row rule_rows[] = {
    { "protocol", KIND_CHOICE, NOWHERE, "tcp", 0, 0, "Transport.", .choices = CHOICES("tcp") },
    { "port", KIND_PORT, IN(config_rule, port), NULL, 1, 65535, "Destination port." },
    { "source", KIND_SOURCE, IN(config_rule, from_group), NULL, 0, 0,
      "Who may connect: a CIDR, or a group: then the instances and balancer nodes that carry it, and its `members`." },
};
static const struct section rule_section = SECTION(config_rule, "security_groups.ingress", rule_rows);

static const struct row group_rows[] = {
    { "name", KIND_NAME, IN(config_group, name), NULL, 1, NAME_MAX_LEN, "Its name." },
    { "ingress", KIND_LIST, IN(config_group, ingress), "( )", 0, 0,
      "Rules that admit. None: nobody is admitted.", .section = &rule_section },
    { "members", KIND_CIDRS, IN(config_group, members), "[ ]", 0, 0, "Further addresses that belong to it." },
};
static const struct section group_section = SECTION(config_group, "security_groups", group_rows);

static const struct row subnet_rows[] = {
    { "id", KIND_NAME, IN(config_subnet, id), NULL, 1, NAME_MAX_LEN, "Its id." },
    { "cidr", KIND_CIDR, IN(config_subnet, cidr), NULL, 0, 0, "Its addresses." },
    { "zone", KIND_NAME, IN(config_subnet, zone), "", 0, NAME_MAX_LEN, "Availability zone, one subnet each. Empty: none." },
    { "address", KIND_ADDRESS, IN(config_subnet, address), NULL, 0, 0,
      "The balancer node's address: in the cidr; private if the scheme is internal." },
};
static const struct section subnet_section = SECTION(config_subnet, "load_balancers.subnets", subnet_rows);

static const struct row listener_rows[] = {
    { "protocol", KIND_CHOICE, IN(config_listener, protocol), NULL, 0, 0, "What clients speak.",
      .choices = PROTOCOLS, .later = PROTOCOLS_LATER },
    { "port", KIND_PORT, IN(config_listener, port), NULL, 1, 65535, "Port of the balancer's nodes; one listener each." },
    { "instance_protocol", KIND_CHOICE, IN(config_listener, instance_protocol), NULL, 0, 0,
      "What instances speak: HTTP for HTTP, TCP for TCP.", .derived = "as `protocol`", .choices = PROTOCOLS, .later = PROTOCOLS_LATER },
    { "instance_port", KIND_PORT, IN(config_listener, instance_port), NULL, 1, 65535, "Port of the instances." },
    { "policies", KIND_NAMES, IN(config_listener, policies), "[ ]", 0, 0,
      "Of the balancer's policies, at most one of stickiness; HTTP listeners alone." },
    { "proxy_protocol_from", KIND_SOURCES, IN(config_listener, proxy_protocol_sources), "[ ]", 0, 0,
      "Who must begin connections with a PROXY header; nobody else may." },
    { "ssl_certificate", KIND_ANY, NOWHERE, .help = "Certificate.", .support = SUPPORT_NONE },
    { "ssl_private_key", KIND_ANY, NOWHERE, .help = "Its private key.", .support = SUPPORT_NONE },
    { "ssl_certificates", KIND_ANY, NOWHERE, .help = "Certificates by name.", .support = SUPPORT_NONE },
    { "client_certificate", KIND_ANY, NOWHERE, .help = "Certificates of clients.", .support = SUPPORT_NONE },
    { "redirect", KIND_ANY, NOWHERE, .help = "Answer with a redirect.", .support = SUPPORT_NONE },
    { "redirect_port", KIND_ANY, NOWHERE, .help = "Port to redirect to.", .support = SUPPORT_NONE },
    { "hsts", KIND_ANY, NOWHERE, .help = "Strict-Transport-Security.", .support = SUPPORT_NONE },
};
static const struct section listener_section = SECTION(config_listener, "load_balancers.listeners", listener_rows);

static const struct row check_rows[] = {
    { "target", KIND_TARGET, IN(config_health_check, target), NULL, 0, 0,
      "What is probed. HTTP passes with status 200, TCP when connected.",
      .derived = "HTTP:(first instance port)/index.html" },
    { "interval", KIND_DURATION, IN(config_health_check, interval_ms), "30s", 100, SECONDS(300), "Time between the starts of two checks." },
    { "timeout", KIND_DURATION, IN(config_health_check, timeout_ms), "5s", 10, SECONDS(60), "Time for an answer; below the interval." },
    { "unhealthy_threshold", KIND_COUNT, IN(config_health_check, unhealthy_threshold), "2", 1, 10,
      "Failures in a row that take an instance out of service." },
    { "healthy_threshold", KIND_COUNT, IN(config_health_check, healthy_threshold), "10", 1, 10, "Passes in a row that put it back." },
};
static const struct section check_section = SECTION(config_health_check, "load_balancers.health_check", check_rows);

static const struct row draining_rows[] = {
    { "enabled", KIND_BOOL, IN(config_attributes, draining), "true", 0, 0, "Whether a deregistered instance may end its work in flight." },
    { "timeout", KIND_DURATION, IN(config_attributes, draining_timeout_ms), "300s", 10, HOURS(1), "For how long; then it is cut." },
};
static const struct section draining_section =
    SECTION(config_attributes, "load_balancers.attributes.connection_draining", draining_rows);

static const struct row access_log_rows[] = {
    { "enabled", KIND_BOOL, IN(config_access_log, enabled), "false", 0, 0, "Whether requests are logged." },
    { "path", KIND_TEXT, IN(config_access_log, path), "", 0, PATH_MAX_LEN, "The log's file, an absolute path." },
    { "format", KIND_CHOICE, IN(config_access_log, format), "elb", 0, 0, "The log's format.", .choices = CHOICES("elb", "json") },
};
static const struct section access_log_section = SECTION(config_access_log, "load_balancers.attributes.access_log", access_log_rows);

static const struct row response_rows[] = {
    { "status", KIND_STATUS, IN(config_error_response, status), NULL, 0, 0, "Of which answers of the balancer's own.",
      .choices = CHOICES("400", "405", "408", "502", "503", "504") },
    { "file", KIND_FILE, IN(config_error_response, file), NULL, 1, PATH_MAX_LEN,
      "What is in their body, at most 64K, read with the configuration. The content's type is by the name: `.html`, `.txt`, `.json`, "
      "else application/octet-stream." },
};
static const struct section response_section = SECTION(config_error_response, "load_balancers.attributes.error_responses", response_rows);

static const struct row attribute_rows[] = {
    { "cross_zone", KIND_BOOL, IN(config_attributes, cross_zone), "true", 0, 0,
      "Whether a node uses the instances of all zones, or of its own alone." },
    { "idle_timeout", KIND_DURATION, IN(config_attributes, idle_timeout_ms), "60s", 10, SECONDS(4000),
      "A connection without a byte either way for so long ends." },
    { "connect_timeout", KIND_DURATION, IN(config_attributes, connect_timeout_ms), "1s", 10, SECONDS(600), "To an instance, each try." },
    { "request_header_timeout", KIND_DURATION, IN(config_attributes, request_header_timeout_ms), "60s", 10, SECONDS(4000),
      "A request's head is complete in this time, or 408." },
    { "request_body_timeout", KIND_DURATION, IN(config_attributes, request_body_timeout_ms), "60s", 10, SECONDS(4000),
      "A request's body makes progress in this time, or 408." },
    { "tunnel_timeout", KIND_DURATION, IN(config_attributes, tunnel_timeout_ms), "1h", 10, HOURS(168),
      "Idle timeout of an upgraded connection." },
    { "connection_draining", KIND_GROUP, .offset = 0, .fallback = "",
      .help = "What a deregistered instance gets.", .section = &draining_section },
    { "access_log", KIND_GROUP, IN(config_attributes, access_log), "",
      .help = "A line for each request.", .section = &access_log_section },
    { "desync_mitigation_mode", KIND_CHOICE, IN(config_attributes, desync_mode), "defensive", 0, 0, "How ambiguous requests are treated.",
      .choices = CHOICES("monitor", "defensive", "strictest") },
    { "algorithm", KIND_CHOICE, IN(config_attributes, algorithm), "default", 0, 0,
      "How an instance is chosen. Default: least outstanding requests for HTTP, round robin for TCP.",
      .choices = CHOICES("default", "least-outstanding", "round-robin", "random-two", "source-hash") },
    { "surge_queue", KIND_COUNT, IN(config_attributes, surge_queue), "1024", 0, 65535,
      "Requests that may wait for an instance, a node. Full: 503." },
    { "retries", KIND_COUNT, IN(config_attributes, retries), "3", 0, 100, "Further tries of a replayable request. 0: one try." },
    { "slow_start", KIND_DURATION, IN(config_attributes, slow_start_ms), "0s", 0, SECONDS(900),
      "Time in which the share of an instance that returns grows from a tenth. 0: whole at once." },
    { "fail_open", KIND_BOOL, IN(config_attributes, fail_open), "false", 0, 0, "Whether all instances are used when none is healthy." },
    { "trusted_proxies", KIND_CIDRS, IN(config_attributes, trusted_proxies), "[ ]", 0, 0,
      "Peers whose X-Forwarded-Proto and -Port are kept." },
    { "upgrade", KIND_SET, IN(config_attributes, upgrades), "[ \"websocket\" ]", 0, 0, "Protocols that a client may upgrade to.",
      .choices = CHOICES("websocket"), .note = " (never h2c: its requests would pass unseen)" },
    { "backend_idle_timeout", KIND_DURATION, IN(config_attributes, backend_idle_timeout_ms), NULL, 10, SECONDS(4000),
      "How long an idle connection to an instance is kept.", .derived = "as `idle_timeout`" },
    { "backend_idle_max", KIND_COUNT, IN(config_attributes, backend_idle_max), "512", 0, 65535,
      "Idle connections kept to one instance by one worker." },
    { "error_responses", KIND_LIST, IN(config_attributes, error_responses), "( )", 0, 0,
      "Bodies of own answers, one a status; without one they are empty.", .section = &response_section },
    { "request_line_max", KIND_SIZE, IN(config_attributes, request_line_max), "16K", 64, KIB(256), "A request's first line, or 400." },
    { "header_max", KIND_SIZE, IN(config_attributes, header_max), "16K", 64, KIB(256), "One field of a request, or 400." },
    { "headers_max", KIND_SIZE, IN(config_attributes, headers_max), "64K", 64, MIB(1), "All fields of a request, or 400." },
    { "header_count_max", KIND_COUNT, IN(config_attributes, header_count_max), "100", 1, 256, "Fields of a request, or 400." },
    { "response_headers_max", KIND_SIZE, IN(config_attributes, response_headers_max), "64K", 64, MIB(1),
      "All fields of a response, or 502." },
};
static const struct section attribute_section = SECTION(config_attributes, "load_balancers.attributes", attribute_rows);

#define OF_LB_COOKIE BIT(POLICY_LB_COOKIE)
#define OF_APP_COOKIE BIT(POLICY_APP_COOKIE)
#define OF_PROXY_PROTOCOL BIT(POLICY_PROXY_PROTOCOL)
#define POLICY_TYPES_LATER (BIT(POLICY_SSL_NEGOTIATION) | BIT(POLICY_PUBLIC_KEY) | BIT(POLICY_BACKEND_AUTHENTICATION))

/* The type comes before what it has. */
static const struct row policy_rows[] = {
    { "name", KIND_NAME, IN(config_policy, name), NULL, 1, NAME_MAX_LEN, "Its name." },
    { "type", KIND_CHOICE, IN(config_policy, type), NULL, 0, 0, "Its type, as ELB calls it.",
      .choices = policy_types, .later = POLICY_TYPES_LATER },
    { "cookie_expiration_period", KIND_DURATION, IN(config_policy, cookie_expiration_period_ms), "0s", 0, HOURS(2400),
      "LBCookieStickinessPolicyType: whole seconds that a client keeps the cookie. 0: until the browser ends.", .types = OF_LB_COOKIE },
    { "cookie_name", KIND_TOKEN, IN(config_policy, cookie_name), NULL, 1, 256,
      "AppCookieStickinessPolicyType: the application's cookie.", .types = OF_APP_COOKIE },
    { "proxy_protocol", KIND_BOOL, IN(config_policy, proxy_protocol), "true", 0, 0,
      "ProxyProtocolPolicyType: whether connections to instances begin with a PROXY header.", .types = OF_PROXY_PROTOCOL },
    { "version", KIND_COUNT, IN(config_policy, version), "1", 1, 2, "ProxyProtocolPolicyType: the header's version.",
      .types = OF_PROXY_PROTOCOL },
    { "reference_security_policy", KIND_ANY, NOWHERE, .help = "A predefined TLS policy.", .support = SUPPORT_NONE },
    { "protocols", KIND_ANY, NOWHERE, .help = "Versions of TLS.", .support = SUPPORT_NONE },
    { "ciphers", KIND_ANY, NOWHERE, .help = "Cipher suites.", .support = SUPPORT_NONE },
    { "server_defined_cipher_order", KIND_ANY, NOWHERE, .help = "Whose order of ciphers counts.", .support = SUPPORT_NONE },
    { "public_key_file", KIND_ANY, NOWHERE, .help = "A public key.", .support = SUPPORT_NONE },
    { "public_key_policy_names", KIND_ANY, NOWHERE, .help = "Public keys of instances.", .support = SUPPORT_NONE },
    { "ca_file", KIND_ANY, NOWHERE, .help = "Who certifies instances.", .support = SUPPORT_NONE },
    { "server_name", KIND_ANY, NOWHERE, .help = "The name in an instance's certificate.", .support = SUPPORT_NONE },
};
static const struct section policy_section = SECTION(config_policy, "load_balancers.policies", policy_rows);

static const struct row backend_rows[] = {
    { "instance_port", KIND_PORT, IN(config_backend_server, instance_port), NULL, 1, 65535, "An instance port of a listener; one entry each." },
    { "policies", KIND_NAMES, IN(config_backend_server, policies), "[ ]", 0, 0,
      "Of the balancer's policies, at most one of the PROXY protocol. It holds for health checks of this port, too." },
};
static const struct section backend_section = SECTION(config_backend_server, "load_balancers.backend_servers", backend_rows);

static const struct row balancer_rows[] = {
    { "name", KIND_NAME, IN(config_balancer, name), NULL, 1, NAME_MAX_LEN, "Its name." },
    { "scheme", KIND_CHOICE, IN(config_balancer, scheme), "internet-facing", 0, 0, "Internal: its nodes have private addresses.",
      .choices = CHOICES("internet-facing", "internal") },
    { "subnets", KIND_LIST, IN(config_balancer, subnets), NULL, 1, 0, "Where its nodes are, one each.", .section = &subnet_section },
    { "listeners", KIND_LIST, IN(config_balancer, listeners), NULL, 1, 100, "What it accepts, and how that goes to instances.",
      .section = &listener_section },
    { "security_groups", KIND_NAMES, IN(config_balancer, security_groups), "[ ]", 0, 0,
      "Groups that its nodes carry; a peer that no rule of them admits is closed at once. None: open." },
    { "health_check", KIND_GROUP, IN(config_balancer, health_check), "",
      .help = "How its instances are checked.", .section = &check_section },
    { "instances", KIND_INSTANCES, IN(config_balancer, instances), "[ ]", 0, 0, "Registered instances, by id or alias." },
    { "policies", KIND_LIST, IN(config_balancer, policies), "( )", 0, 0,
      "Stickiness, for listeners to name; PROXY protocol, for `backend_servers` to name.", .section = &policy_section },
    { "backend_servers", KIND_LIST, IN(config_balancer, backend_servers), "( )", 0, 0,
      "Policies of instance ports.", .section = &backend_section },
    { "attributes", KIND_GROUP, IN(config_balancer, attributes), "", .help = "How it forwards.", .section = &attribute_section },
};
static const struct section balancer_section = SECTION(config_balancer, "load_balancers", balancer_rows);

/* The inventory comes before what refers to it: a copy relies on it. */
static const struct row config_rows[] = {
    { "process", KIND_GROUP, IN(config, process), "", .help = "The process.", .section = &process_section },
    { "instances", KIND_LIST, IN(config, instances), "( )", 0, 0,
      "The inventory; balancers register from it.", .section = &instance_section },
    { "security_groups", KIND_LIST, IN(config, groups), "( )", 0, 0, "Who may connect to what.", .section = &group_section },
    { "load_balancers", KIND_LIST, IN(config, balancers), NULL, 1, 0, "The balancers.", .section = &balancer_section },
};
const struct section config_section = SECTION(config, "", config_rows);

const struct row *section_row(const struct section *section, const char *name)
{
    for (size_t i = 0; i < section->count; i++)
        if (strcmp(section->rows[i].name, name) == 0)
            return &section->rows[i];
    return NULL;
}
