#include "lb/api.h"
#include "common/board.h"
#include "common/clock.h"
#include "common/config.h"
#include "lb/control.h"
#include "lb/generation.h"
#include "lb/instance.h"
#include "lb/secgroup.h"
#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENTS_MAX 8
#define ARGS_MAX 2

/* One request on its way through: what was understood of it, and where the answer goes. */
struct call {
    struct control *control;
    const struct api_request *request;
    struct api_answer *answer;
    char path[API_TARGET_MAX + 1];          /* segments point into it */
    const char *segments[SEGMENTS_MAX];
    size_t segment_count;
    const char *query;                      /* "" if none */
    const char *args[ARGS_MAX];             /* what stood for the '*' of the route */
    const json_t *body;                     /* POST: an object */
};

static const struct status {
    unsigned status;
    const char *phrase, *code;
} statuses[] = {
    { 200, "OK", "ok" },
    { 400, "Bad Request", "bad-request" },
    { 401, "Unauthorized", "unauthorized" },
    { 403, "Forbidden", "forbidden" },
    { 404, "Not Found", "not-found" },
    { 405, "Method Not Allowed", "method-not-allowed" },
    { 409, "Conflict", "conflict" },
    { 413, "Content Too Large", "too-large" },
    { 500, "Internal Server Error", "failed" },
};

static const struct status *find_status(unsigned status)
{
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        if (statuses[i].status == status)
            return &statuses[i];
    }
    assert(!"a status that is not in the table");
    return NULL;
}

const char *api_phrase(unsigned status)
{
    return find_status(status)->phrase;
}

/* A JSON string is UTF-8; names and messages may hold any byte. */
static json_t *text(const char *bytes)
{
    json_t *json = json_string(bytes);
    char *copy;
    if (json != NULL)
        return json;
    copy = strdup(bytes);
    for (char *c = copy; c != NULL && *c != '\0'; c++)
        *c = (unsigned char)*c < 0x80 ? *c : '?';
    json = copy == NULL ? NULL : json_string(copy);
    free(copy);
    return json;
}

static json_t *text_or_null(const char *bytes)
{
    return bytes == NULL || bytes[0] == '\0' ? json_null() : text(bytes);
}

/* Takes body over; NULL: no memory. */
static void give(struct api_answer *answer, unsigned status, const char *content_type, char *body, size_t len)
{
    free(answer->body);
    *answer = (struct api_answer){ .status = status, .content_type = content_type, .allow = answer->allow, .body = body, .body_len = len };
}

/* Takes json over; NULL: no memory. 15 digits: 0.1 prints as 0.1. */
static void give_json(struct api_answer *answer, unsigned status, json_t *json)
{
    char *body = json == NULL ? NULL : json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));
    give(answer, status, "application/json", body, body == NULL ? 0 : strlen(body));
    json_decref(json);
}

void api_refuse(unsigned status, const char *message, struct api_answer *ret)
{
    *ret = (struct api_answer){ .status = status };
    give_json(ret, status, json_pack("{s:{s:s, s:o}}", "error", "code", find_status(status)->code, "message", text(message)));
}

__attribute__((format(printf, 3, 4))) static void refuse(struct call *call, unsigned status, const char *format, ...)
{
    char message[1024];
    const char *allow = call->answer->allow;
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    free(call->answer->body);
    api_refuse(status, message, call->answer);
    call->answer->allow = allow;
}

/* What the operator sees */

static json_t *last_check_json(const struct slot *slot)
{
    struct check_record record;
    char at[CLOCK_TEXT_MAX], detail[CHECK_DETAIL_MAX];
    if (slot_history(slot, &record, 1) == 0)
        return json_null();
    return json_pack("{s:s, s:s, s:s, s:f}", "at", clock_format(record.at_ms, at), "result",
                     record.reason == CHECK_OK ? "pass" : "fail", "detail", check_detail(&record, detail), "duration_ms",
                     record.duration_us / 1000.0);
}

static int shown_port(const struct config_balancer *conf)
{
    return conf->listener_count == 0 ? 0 : conf->listeners[0].instance_port;
}

static json_t *instance_json(const struct balancer *balancer, const struct instance *instance)
{
    struct instance_health health = control_health(instance);
    char since[CLOCK_TEXT_MAX], address[ADDR_TEXT_MAX];
    return json_pack("{s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:i, s:o, s:s, s:o}", "load_balancer", text(balancer->conf->name), "instance",
                     text(instance->id), "state", health.state, "reason_code", health.reason_code, "description", health.description,
                     "since", clock_format(health.since_ms, since), "address", addr_format_host(&instance->address, address), "port",
                     shown_port(balancer->conf), "zone", text_or_null(instance->zone), "admin",
                     slot_admin_text(slot_admin(instance->slot)), "last_check", last_check_json(instance->slot));
}

static json_t *unregistered_json(const struct balancer *balancer, const struct config_instance *instance)
{
    char address[ADDR_TEXT_MAX];
    return json_pack("{s:o, s:o, s:s, s:s, s:s, s:n, s:s, s:i, s:o, s:s, s:n}", "load_balancer", text(balancer->conf->name), "instance",
                     text(instance->id), "state", "OutOfService", "reason_code", "Instance", "description",
                     "Instance is not currently registered with the LoadBalancer.", "since", "address",
                     addr_format_host(&instance->address, address), "port", shown_port(balancer->conf), "zone",
                     text_or_null(instance->zone), "admin", slot_admin_text(ADMIN_AUTO), "last_check");
}

/* One that was cut off is kept until its last connection has ended; an operator is done with it. So is one that drains after it was
 * registered anew: the id stands for the new registration. */
static bool is_shown(const struct balancer *balancer, size_t i)
{
    const struct instance *instance = balancer->instances[i];
    for (size_t k = 0; i >= balancer->registered_count && k < balancer->registered_count; k++) {
        if (strcmp(balancer->instances[k]->id, instance->id) == 0)
            return false;
    }
    return atomic_load(&instance->phase) != INSTANCE_CUT;
}

static json_t *instances_json(const struct balancer *balancer)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < balancer->instance_count; i++) {
        if (is_shown(balancer, i) && json_array_append_new(list, instance_json(balancer, balancer->instances[i])) < 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static json_t *listeners_json(const struct config_balancer *conf)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < conf->listener_count; i++) {
        const struct config_listener *l = &conf->listeners[i];
        json_t *item = json_pack("{s:s, s:i, s:s, s:i}", "protocol", protocol_text(l->protocol), "port", (int)l->port,
                                 "instance_protocol", protocol_text(l->instance_protocol), "instance_port", (int)l->instance_port);
        if (json_array_append_new(list, item) < 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static json_t *balancer_json(const struct generation *generation, const struct balancer *balancer)
{
    size_t index = (size_t)(balancer - generation->balancers);
    return json_pack("{s:o, s:s, s:n, s:I, s:I, s:o, s:o}", "load_balancer", text(balancer->conf->name), "scheme",
                     scheme_text(balancer->conf->scheme), "dns_name", "in_service", (json_int_t)control_in_service(generation, index),
                     "registered", (json_int_t)control_registered(generation, index), "listeners", listeners_json(balancer->conf),
                     "instances", instances_json(balancer));
}

static json_t *health_check_json(const struct config_balancer *conf)
{
    const struct config_health_check *check = &conf->health_check;
    char interval[32], timeout[32];
    return json_pack("{s:o, s:o, s:s, s:s, s:i, s:i}", "load_balancer", text(conf->name), "target", text(check->target_text),
                     "interval", config_format_duration(check->interval_ms, interval), "timeout",
                     config_format_duration(check->timeout_ms, timeout), "unhealthy_threshold", (int)check->unhealthy_threshold,
                     "healthy_threshold", (int)check->healthy_threshold);
}

static json_t *registered_json(const struct config_balancer *conf)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < conf->instance_count; i++) {
        if (json_array_append_new(list, text(conf->instances[i]->id)) < 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return json_pack("{s:o, s:o}", "load_balancer", text(conf->name), "instances", list);
}

/* Finding what a path names; each answers by itself and returns NULL if there is none. */

static const struct balancer *find_balancer(struct call *call)
{
    const struct balancer *found = generation_find(control_generation(call->control), call->args[0]);
    if (found == NULL)
        refuse(call, 404, "there is no load balancer named %s", call->args[0]);
    return found;
}

static const struct instance *find_registered(const struct balancer *balancer, const char *id)
{
    for (size_t i = 0; i < balancer->instance_count; i++) {
        if (is_shown(balancer, i) && strcmp(balancer->instances[i]->id, id) == 0)
            return balancer->instances[i];
    }
    return NULL;
}

/* An id as the inventory spells it, where an alias was given. */
static const struct config_instance *find_in_inventory(const struct call *call, const char *id)
{
    return config_find_instance(control_generation(call->control)->config, id);
}

static json_t *one_instance_json(const struct call *call, const struct balancer *balancer, const char *id)
{
    const struct config_instance *known = find_in_inventory(call, id);
    const struct instance *instance = find_registered(balancer, known == NULL ? id : known->id);
    return instance == NULL ? unregistered_json(balancer, known) : instance_json(balancer, instance);
}

/* A draining instance may have left the inventory and is still to be seen. */
static bool instance_exists(const struct call *call, const struct balancer *balancer, const char *id)
{
    return find_in_inventory(call, id) != NULL || find_registered(balancer, id) != NULL;
}

/* The routes */

static void list_balancers(struct call *call)
{
    const struct generation *generation = control_generation(call->control);
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < generation->balancer_count; i++) {
        if (json_array_append_new(list, balancer_json(generation, &generation->balancers[i])) < 0) {
            json_decref(list);
            list = NULL;
        }
    }
    give_json(call->answer, 200, list);
}

static void show_balancer(struct call *call)
{
    const struct balancer *balancer = find_balancer(call);
    if (balancer != NULL)
        give_json(call->answer, 200, balancer_json(control_generation(call->control), balancer));
}

static void list_instances(struct call *call)
{
    const struct balancer *balancer = find_balancer(call);
    if (balancer != NULL)
        give_json(call->answer, 200, instances_json(balancer));
}

static void show_instance(struct call *call)
{
    const struct balancer *balancer = find_balancer(call);
    if (balancer == NULL)
        return;
    if (instance_exists(call, balancer, call->args[1]))
        give_json(call->answer, 200, one_instance_json(call, balancer, call->args[1]));
    else
        refuse(call, 404, "there is no instance named %s in the inventory", call->args[1]);
}

/* Answers by itself if control did not do it. */
static bool done(struct call *call, enum control_code code, const struct control_error *error)
{
    unsigned status = 200;
    switch (code) {
    case CONTROL_OK:
        return true;
    case CONTROL_NOT_FOUND:
        status = 404;
        break;
    case CONTROL_BAD_REQUEST:
        status = 400;
        break;
    case CONTROL_CONFLICT:
        status = 409;
        break;
    case CONTROL_FAILED:
        status = 500;
        break;
    }
    refuse(call, status, "%s", error->message);
    return false;
}

/* What is not asked for by any route is a mistake that must be heard of. */
static bool only_keys(struct call *call, const char *const *keys)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)call->body, key, value) {
        size_t i = 0;
        while (keys[i] != NULL && strcmp(keys[i], key) != 0)
            i++;
        if (keys[i] == NULL) {
            refuse(call, 400, "\"%.100s\" is not known here", key);
            return false;
        }
    }
    return true;
}

/* *ret: of malloc(); its strings belong to the body. Returns how many, 0 after it has answered. */
static size_t take_ids(struct call *call, const char ***ret)
{
    static const char *const keys[] = { "instances", NULL };
    const json_t *list = json_object_get(call->body, "instances");
    size_t count = json_array_size(list);
    const char **ids;
    if (!only_keys(call, keys))
        return 0;
    ids = calloc(count + 1, sizeof(*ids));
    for (size_t i = 0; ids != NULL && i < count; i++) {
        ids[i] = json_string_value(json_array_get(list, i));
        if (ids[i] == NULL)
            count = 0;
    }
    if (count == 0)
        refuse(call, 400, "expected {\"instances\": [\"ID\", ...]} with at least one");
    else if (ids == NULL)
        give_json(call->answer, 500, NULL);
    if (count > 0 && ids != NULL) {
        *ret = ids;
        return count;
    }
    free(ids);
    return 0;
}

static void change_registered(struct call *call, enum control_code (*change)(struct control *, const char *, const char *const *, size_t,
                                                                             struct control_error *))
{
    struct control_error error = { .message = "" };
    const struct balancer *balancer;
    const char **ids = NULL;
    size_t count = take_ids(call, &ids);
    if (count > 0 && done(call, change(call->control, call->args[0], ids, count, &error), &error)) {
        balancer = find_balancer(call);
        if (balancer != NULL)
            give_json(call->answer, 200, registered_json(balancer->conf));
    }
    free(ids);
}

static void register_instances(struct call *call)
{
    change_registered(call, control_register);
}

static void deregister_instances(struct call *call)
{
    change_registered(call, control_deregister);
}

/* One setting of a health check, as its text would stand in the file. `number` is where a number's text goes. */
static bool take_setting(struct call *call, const char *key, const char **ret, char number[32])
{
    const json_t *value = json_object_get(call->body, key);
    if (value == NULL)
        return true;
    if (json_is_string(value))
        *ret = json_string_value(value);
    else if (json_is_integer(value))
        snprintf(number, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        snprintf(number, 32, "%.15g", json_real_value(value));
    else
        refuse(call, 400, "%s: expected a text or a number", key);
    if (json_is_number(value))
        *ret = number;
    return *ret != NULL;
}

static void change_health_check(struct call *call)
{
    static const char *const keys[] = { "target", "interval", "timeout", "unhealthy_threshold", "healthy_threshold", NULL };
    struct config_health_change change = { .target = NULL };
    const char **members[] = { &change.target, &change.interval, &change.timeout, &change.unhealthy_threshold, &change.healthy_threshold };
    struct control_error error = { .message = "" };
    const struct balancer *balancer;
    char numbers[5][32];
    if (!only_keys(call, keys))
        return;
    if (json_object_size(call->body) == 0) {
        refuse(call, 400, "expected at least one of target, interval, timeout, unhealthy_threshold, healthy_threshold");
        return;
    }
    for (size_t i = 0; i < 5; i++) {
        if (!take_setting(call, keys[i], members[i], numbers[i]))
            return;
    }
    if (!done(call, control_health_check(call->control, call->args[0], &change, &error), &error))
        return;
    balancer = find_balancer(call);
    if (balancer != NULL)
        give_json(call->answer, 200, health_check_json(balancer->conf));
}

static bool take_admin(struct call *call, enum slot_admin *ret)
{
    static const char *const keys[] = { "state", NULL };
    static const enum slot_admin all[] = { ADMIN_AUTO, ADMIN_IN, ADMIN_OUT, ADMIN_DRAIN };
    const char *state = json_string_value(json_object_get(call->body, "state"));
    if (!only_keys(call, keys))
        return false;
    for (size_t i = 0; state != NULL && i < 4; i++) {
        if (strcmp(state, slot_admin_text(all[i])) == 0) {
            *ret = all[i];
            return true;
        }
    }
    refuse(call, 400, "expected {\"state\": \"auto\", \"in\", \"out\" or \"drain\"}");
    return false;
}

static void set_state(struct call *call)
{
    struct control_error error = { .message = "" };
    enum slot_admin admin;
    if (take_admin(call, &admin) && done(call, control_set_admin(call->control, call->args[0], call->args[1], admin, &error), &error))
        show_instance(call);
}

static void show_config(struct call *call)
{
    char *printed = NULL;
    size_t size;
    FILE *to;
    int r;
    if (strncmp(call->query, "diff", 4) == 0) {
        refuse(call, 404, "the difference from the file is not supported by this version");
        return;
    }
    to = open_memstream(&printed, &size);
    r = to == NULL ? -ENOMEM : config_print(control_generation(call->control)->config, to);
    if (to != NULL && fclose(to) != 0)
        r = -EIO;
    give_json(call->answer, 200, r < 0 ? NULL : json_pack("{s:o}", "config", text(printed)));
    free(printed);
}

static void show_security_group(struct call *call)
{
    char *printed = NULL;
    size_t size = 0;
    FILE *to;
    int r;
    if (strcmp(call->query, "format=nft") != 0) {
        refuse(call, 400, "expected ?format=nft, the one format there is");
        return;
    }
    to = open_memstream(&printed, &size);
    r = to == NULL ? -EIO : secgroup_print_nft(control_generation(call->control)->config, call->args[0], to);
    if (to != NULL && fclose(to) != 0)
        r = -EIO;
    if (r == 0) {
        give(call->answer, 200, "text/plain; charset=utf-8", printed, size);
        return;
    }
    free(printed);
    if (r == -ENOENT)
        refuse(call, 404, "there is no security group named %s", call->args[0]);
    else
        give_json(call->answer, 500, NULL);
}

/* '*' stands for any one segment. No serve: known, and not supported by this version. */
static const struct route {
    const char *method;
    const char *pattern[SEGMENTS_MAX];
    void (*serve)(struct call *call);
    bool takes_query;
} routes[] = {
    { "GET", { "v1", "load-balancers" }, list_balancers, false },
    { "GET", { "v1", "load-balancers", "*" }, show_balancer, false },
    { "GET", { "v1", "load-balancers", "*", "instances" }, list_instances, false },
    { "GET", { "v1", "load-balancers", "*", "instances", "*" }, show_instance, false },
    { "GET", { "v1", "load-balancers", "*", "instances", "*", "why" }, NULL, true },
    { "POST", { "v1", "load-balancers", "*", "instances", "register" }, register_instances, false },
    { "POST", { "v1", "load-balancers", "*", "instances", "deregister" }, deregister_instances, false },
    { "POST", { "v1", "load-balancers", "*", "instances", "*", "state" }, set_state, false },
    { "POST", { "v1", "load-balancers", "*", "health-check" }, change_health_check, false },
    { "GET", { "v1", "config" }, show_config, true },
    { "GET", { "v1", "security-groups", "*" }, show_security_group, true },
    { "POST", { "v1", "reload" }, NULL, true },
    { "GET", { "" }, NULL, true },
    { "POST", { "" }, NULL, true },
    { "GET", { "livez" }, NULL, true },
    { "GET", { "healthz" }, NULL, true },
    { "GET", { "metrics" }, NULL, true },
};

static bool route_fits(const struct route *route, struct call *call)
{
    size_t args = 0;
    for (size_t i = 0; i < call->segment_count; i++) {
        const char *expected = route->pattern[i];
        if (expected == NULL)
            return false;
        if (strcmp(expected, "*") == 0 && call->segments[i][0] != '\0') {
            assert(args < ARGS_MAX);
            call->args[args++] = call->segments[i];
        } else if (strcmp(expected, call->segments[i]) != 0) {
            return false;
        }
    }
    return call->segment_count == SEGMENTS_MAX || route->pattern[call->segment_count] == NULL;
}

/* HEAD is GET here; who sends the answer leaves its body out. */
static bool method_fits(const struct route *route, struct span method)
{
    struct span expected = { route->method, strlen(route->method) };
    return span_equal(method, expected) || (span_equal(method, SPAN("HEAD")) && span_equal(expected, SPAN("GET")));
}

/* Answers by itself if there is none. */
static const struct route *find_route(struct call *call)
{
    bool get = false, post = false;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (!route_fits(&routes[i], call))
            continue;
        if (method_fits(&routes[i], call->request->method))
            return &routes[i];
        get |= routes[i].method[0] == 'G';
        post |= routes[i].method[0] == 'P';
    }
    if (!get && !post) {
        refuse(call, 404, "there is nothing here; see /v1/load-balancers");
        return NULL;
    }
    call->answer->allow = !post ? "GET, HEAD" : get ? "GET, HEAD, POST" : "POST";
    refuse(call, 405, "expected %s", call->answer->allow);
    return NULL;
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *found = c == '\0' ? NULL : strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c);
    return found == NULL ? -1 : (int)(found - digits);
}

/* In place. False: a '%' without two digits, or a NUL. */
static bool percent_decode(char *segment)
{
    char *to = segment;
    for (const char *from = segment; *from != '\0'; from++) {
        int high, low;
        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        high = hex_digit(from[1]);
        low = high < 0 ? -1 : hex_digit(from[2]);
        if (low < 0 || (high == 0 && low == 0))
            return false;
        *to++ = (char)(high << 4 | low);
        from += 2;
    }
    *to = '\0';
    return true;
}

/* "/a/b?c" -> segments a, b; query c. Answers by itself if that can not be. */
static bool split_target(struct call *call)
{
    struct span target = call->request->target;
    char *rest, *query;
    bool sound = target.len > 0 && target.len <= API_TARGET_MAX && target.ptr[0] == '/' && memchr(target.ptr, '\0', target.len) == NULL;
    if (sound) {
        memcpy(call->path, target.ptr, target.len);
        call->path[target.len] = '\0';
        query = strchr(call->path, '?');
        call->query = query == NULL ? "" : query + 1;
        if (query != NULL)
            *query = '\0';
        rest = call->path + 1;
        for (char *segment; sound && (segment = strsep(&rest, "/")) != NULL;) {
            sound = call->segment_count < SEGMENTS_MAX && percent_decode(segment);
            if (sound)
                call->segments[call->segment_count++] = segment;
        }
    }
    if (!sound)
        refuse(call, 400, "the path is not one that can be understood here");
    return sound;
}

/* "localhost", with any port: what a client of a socket names. A page elsewhere that makes a browser ask names itself. */
static bool names_us(struct span host)
{
    struct span name = host;
    const char *colon = host.len == 0 ? NULL : memchr(host.ptr, ':', host.len);
    if (colon != NULL)
        name.len = (size_t)(colon - host.ptr);
    for (size_t i = name.len + 1; i < host.len; i++) {
        if (host.ptr[i] < '0' || host.ptr[i] > '9')
            return false;
    }
    return span_equal_nocase(name, SPAN("localhost"));
}

static bool foreign(const struct api_request *request)
{
    struct span origin = request->origin;
    if (request->host.len > 0 && !names_us(request->host))
        return true;
    if (origin.ptr == NULL)
        return false;
    if (origin.len < 7 || !span_equal_nocase((struct span){ origin.ptr, 7 }, SPAN("http://")))
        return true;
    return !names_us((struct span){ origin.ptr + 7, origin.len - 7 });
}

static bool is_json(struct span type)
{
    const char *semicolon = type.len == 0 ? NULL : memchr(type.ptr, ';', type.len);
    if (semicolon != NULL)
        type.len = (size_t)(semicolon - type.ptr);
    while (type.len > 0 && (type.ptr[type.len - 1] == ' ' || type.ptr[type.len - 1] == '\t'))
        type.len--;
    return span_equal_nocase(type, SPAN("application/json"));
}

/* An object, yours; NULL after it has answered. */
static json_t *take_body(struct call *call)
{
    const struct api_request *request = call->request;
    json_error_t error;
    json_t *body;
    if (!is_json(request->content_type)) {
        refuse(call, 400, "expected Content-Type: application/json");
        return NULL;
    }
    body = json_loadb(request->body.len == 0 ? "" : request->body.ptr, request->body.len, JSON_REJECT_DUPLICATES, &error);
    if (body == NULL)
        refuse(call, 400, "the body is not JSON: line %d: %s", error.line, error.text);
    else if (!json_is_object(body))
        refuse(call, 400, "the body is JSON; expected an object");
    if (json_is_object(body))
        return body;
    json_decref(body);
    return NULL;
}

static void serve_post(struct call *call, const struct route *route)
{
    json_t *body = take_body(call);
    if (body == NULL)
        return;
    call->body = body;
    route->serve(call);
    json_decref(body);
}

static void serve_route(struct call *call, const struct route *route)
{
    if (route->serve == NULL)
        refuse(call, 404, "not supported by this version");
    else if (!route->takes_query && call->query[0] != '\0')
        refuse(call, 400, "\"%.100s\": expected no query", call->query);
    else if (route->method[0] == 'P')
        serve_post(call, route);
    else
        route->serve(call);
}

void api_serve(struct control *control, const struct api_request *request, struct api_answer *ret)
{
    struct call call = { .control = control, .request = request, .answer = ret, .query = "" };
    const struct route *route;
    *ret = (struct api_answer){ .status = 200 };
    if (foreign(request)) {
        refuse(&call, 403, "expected Host localhost, and no other Origin");
        return;
    }
    if (!split_target(&call))
        return;
    route = find_route(&call);
    if (route != NULL)
        serve_route(&call, route);
}
