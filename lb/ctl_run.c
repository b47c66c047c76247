#include "lb/ctl_run.h"
#include "common/config.h"
#include "lb/ctl_args.h"
#include "lb/ctl_client.h"
#include "lb/ctl_text.h"
#include "lb/secgroup.h"
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* One process that is asked; functions that ask return an exit code, and say in message what went wrong. */
struct peer {
    const struct ctl_args *args;
    const char *socket;
    char message[512];
};

__attribute__((format(printf, 3, 4))) static int fail(struct peer *p, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(p->message, sizeof(p->message), format, args);
    va_end(args);
    ctl_text_clean(p->message);
    return code;
}

/* "/v1", then each segment up to NULL, in which all but unreserved characters are escaped. NULL: no memory. */
static char *make_path(const char *first, ...)
{
    char *path = NULL;
    size_t size;
    FILE *to = open_memstream(&path, &size);
    va_list segments;
    if (to == NULL)
        return NULL;
    fputs("/v1", to);
    va_start(segments, first);
    for (const char *s = first; s != NULL; s = va_arg(segments, const char *)) {
        fputc('/', to);
        for (; *s != '\0'; s++) {
            if (isalnum((unsigned char)*s) || strchr("-._~", *s) != NULL)
                fputc(*s, to);
            else
                fprintf(to, "%%%02X", (unsigned char)*s);
        }
    }
    va_end(segments);
    if (fclose(to) == 0)
        return path;
    free(path);
    return NULL;
}

/* A refusal's words. */
static int refused(struct peer *p, const struct ctl_reply *reply)
{
    json_t *document = json_loadb(reply->body, reply->body_len, 0, NULL);
    const char *message = json_string_value(json_object_get(json_object_get(document, "error"), "message"));
    int code = message == NULL ? fail(p, CTL_EXIT_REFUSED, "refused with status %u", reply->status) : fail(p, CTL_EXIT_REFUSED, "%s", message);
    json_decref(document);
    return code;
}

/* Takes path over; body is borrowed and may be NULL. */
static int ask(struct peer *p, const char *method, char *path, const json_t *body, struct ctl_reply *ret)
{
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    int r = path == NULL || (body != NULL && text == NULL) ? -ENOMEM : ctl_exchange(p->socket, method, path, text, ret);
    free(text);
    free(path);
    if (r < 0)
        return fail(p, CTL_EXIT_NO_CONTACT, "no contact with halb at %s: %s", p->socket,
                    r == -EPROTO ? "the answer was cut off or is not HTTP" : strerror(-r));
    if (ret->status == 200)
        return CTL_EXIT_OK;
    r = refused(p, ret);
    free(ret->body);
    return r;
}

static int ask_json(struct peer *p, const char *method, char *path, const json_t *body, json_t **ret)
{
    struct ctl_reply reply;
    int code = ask(p, method, path, body, &reply);
    if (code != CTL_EXIT_OK)
        return code;
    *ret = json_loadb(reply.body, reply.body_len, 0, NULL);
    free(reply.body);
    return *ret == NULL ? fail(p, CTL_EXIT_NO_CONTACT, "no contact with halb at %s: the answer is not JSON", p->socket) : CTL_EXIT_OK;
}

/* instance-health */

static bool names_balancer(const json_t *balancers, const char *name)
{
    size_t i;
    json_t *balancer;
    json_array_foreach((json_t *)balancers, i, balancer) {
        const char *found = json_string_value(json_object_get(balancer, "load_balancer"));
        if (found != NULL && strcmp(found, name) == 0)
            return true;
    }
    return false;
}

/* Of `only`, or of every balancer if that is NULL: all that is registered. */
static void gather_all(const json_t *balancers, const char *only, json_t *to)
{
    size_t i;
    json_t *balancer;
    json_array_foreach((json_t *)balancers, i, balancer) {
        const char *name = json_string_value(json_object_get(balancer, "load_balancer"));
        if (only == NULL || (name != NULL && strcmp(name, only) == 0))
            json_array_extend(to, json_object_get(balancer, "instances"));
    }
}

static bool registered(const json_t *instance)
{
    return !json_is_null(json_object_get(instance, "since"));
}

/* One id in every balancer: where it is registered, or, if nowhere, all that say so. */
static int gather_everywhere(struct peer *p, const json_t *balancers, const char *id, json_t *to)
{
    json_t *all = json_array(), *balancer, *instance;
    size_t i;
    bool any = false;
    int code = CTL_EXIT_OK;
    json_array_foreach((json_t *)balancers, i, balancer) {
        const char *name = json_string_value(json_object_get(balancer, "load_balancer"));
        code = ask_json(p, "GET", make_path("load-balancers", name == NULL ? "" : name, "instances", id, NULL), NULL, &instance);
        if (code != CTL_EXIT_OK)
            goto out;
        any |= registered(instance);
        json_array_append_new(all, instance);
    }
    json_array_foreach(all, i, instance) {
        if (!any || registered(instance))
            json_array_append(to, instance);
    }
out:
    json_decref(all);
    return code;
}

static int gather_one(struct peer *p, const char *balancer, const char *id, json_t *to)
{
    json_t *instance;
    int code = ask_json(p, "GET", make_path("load-balancers", balancer, "instances", id, NULL), NULL, &instance);
    if (code == CTL_EXIT_OK)
        json_array_append_new(to, instance);
    return code;
}

/* The first operand is a balancer if one has this name; all others are ids. */
static int fetch_health(struct peer *p, json_t **ret)
{
    char **operands = p->args->operands;
    size_t count = p->args->operand_count, i = 0;
    json_t *balancers = NULL, *list = json_array();
    const char *balancer = NULL;
    int code = ask_json(p, "GET", make_path("load-balancers", NULL), NULL, &balancers);
    if (code != CTL_EXIT_OK)
        goto out;
    if (count > 0 && names_balancer(balancers, operands[0]))
        balancer = operands[i++];
    if (i == count)
        gather_all(balancers, balancer, list);
    for (; i < count && code == CTL_EXIT_OK; i++) {
        code = balancer == NULL ? gather_everywhere(p, balancers, operands[i], list) : gather_one(p, balancer, operands[i], list);
        if (code == CTL_EXIT_REFUSED && balancer == NULL && i == 0)
            fail(p, code, "there is no load balancer and no instance named %s", operands[0]);
    }
out:
    json_decref(balancers);
    if (code == CTL_EXIT_OK)
        *ret = list;
    else
        json_decref(list);
    return code;
}

/* Changes; their bodies are borrowed by ask_json() and end here. */

static int post(struct peer *p, char *path, json_t *body, json_t **ret)
{
    int code;
    if (body == NULL) {
        free(path);
        return fail(p, CTL_EXIT_REFUSED, "an operand is not UTF-8");
    }
    code = ask_json(p, "POST", path, body, ret);
    json_decref(body);
    return code;
}

static int change_registered(struct peer *p, const char *verb, json_t **ret)
{
    json_t *ids = json_array();
    for (size_t i = 1; ids != NULL && i < p->args->operand_count; i++) {
        if (json_array_append_new(ids, json_string(p->args->operands[i])) < 0) {
            json_decref(ids);
            ids = NULL;
        }
    }
    return post(p, make_path("load-balancers", p->args->operands[0], "instances", verb, NULL), ids == NULL ? NULL : json_pack("{s:o}", "instances", ids),
                ret);
}

static int change_health_check(struct peer *p, json_t **ret)
{
    json_t *body = json_object();
    for (size_t i = 1; body != NULL && i < p->args->operand_count; i++) {
        const char *value, *key = ctl_health_key(p->args->operands[i], &value);
        if (json_object_set_new(body, key, json_string(value)) < 0) {
            json_decref(body);
            body = NULL;
        }
    }
    return post(p, make_path("load-balancers", p->args->operands[0], "health-check", NULL), body, ret);
}

static int change_state(struct peer *p, json_t **ret)
{
    char **operands = p->args->operands;
    return post(p, make_path("load-balancers", operands[0], "instances", operands[1], "state", NULL), json_pack("{s:s}", "state", operands[2]), ret);
}

/* security-group */

static json_t *ruleset(const char *group, const char *text)
{
    return json_pack("{s:s, s:s, s:s}", "group", group, "format", "nft", "ruleset", text);
}

static int fetch_group(struct peer *p, json_t **ret)
{
    struct ctl_reply reply;
    char *path = make_path("security-groups", p->args->operands[0], NULL), *full = NULL;
    int code;
    if (path != NULL && asprintf(&full, "%s?format=nft", path) < 0)
        full = NULL;
    free(path);
    code = ask(p, "GET", full, NULL, &reply);
    if (code != CTL_EXIT_OK)
        return code;
    *ret = ruleset(p->args->operands[0], reply.body);
    free(reply.body);
    return *ret == NULL ? fail(p, CTL_EXIT_NO_CONTACT, "no contact with halb at %s: the answer is not text", p->socket) : CTL_EXIT_OK;
}

static int print_group(struct peer *p, const struct config *config, json_t **ret)
{
    const char *group = p->args->operands[0];
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    int r = to == NULL ? -ENOMEM : secgroup_print_nft(config, group, to);
    if (to != NULL && fclose(to) != 0)
        r = -EIO;
    *ret = r < 0 ? NULL : ruleset(group, text);
    free(text);
    if (r == -ENOENT)
        return fail(p, CTL_EXIT_REFUSED, "there is no security group named %s in %s", group, p->args->config_path);
    return *ret == NULL ? fail(p, CTL_EXIT_REFUSED, "the group can not be shown: %s", r < 0 ? strerror(-r) : "its name is not UTF-8") : CTL_EXIT_OK;
}

static int read_group(struct peer *p, FILE *err, json_t **ret)
{
    struct config_errors errors;
    struct config *config = NULL;
    int code, r = config_load(p->args->config_path, &config, &errors);
    if (r == 0) {
        code = print_group(p, config, ret);
        config_free(&config);
    } else {
        for (size_t i = 0; i < errors.count; i++)
            fprintf(err, "%s\n", errors.lines[i]);
        code = fail(p, CTL_EXIT_REFUSED, "%s: not a configuration of this version", p->args->config_path);
    }
    config_errors_free(&errors);
    return code;
}

static int fetch(struct peer *p, json_t **ret)
{
    switch (p->args->command) {
    case CTL_STATUS:
        return ask_json(p, "GET", make_path("load-balancers", NULL), NULL, ret);
    case CTL_INSTANCE_HEALTH:
        return fetch_health(p, ret);
    case CTL_REGISTER:
        return change_registered(p, "register", ret);
    case CTL_DEREGISTER:
        return change_registered(p, "deregister", ret);
    case CTL_CONFIGURE_HEALTH_CHECK:
        return change_health_check(p, ret);
    case CTL_SET_STATE:
        return change_state(p, ret);
    case CTL_CONFIG:
        return ask_json(p, "GET", make_path("config", NULL), NULL, ret);
    case CTL_SECURITY_GROUP:
        return fetch_group(p, ret);
    case CTL_WHY:
    case CTL_METRICS:
    case CTL_RELOAD:
    case CTL_TOP:
    case CTL_COMMAND_COUNT:
        break;
    }
    return fail(p, CTL_EXIT_REFUSED, "not supported by this version");
}

/* Printing; documents[i] is what sockets[i] answered, NULL if it did not. */

static bool agree(char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (texts[i] == NULL || strcmp(texts[i], texts[0]) != 0)
            return false;
    }
    return true;
}

static void print_texts(const struct ctl_args *args, json_t *const *documents, FILE *out)
{
    char *texts[CTL_SOCKETS_MAX] = { NULL };
    bool same;
    for (size_t i = 0; i < args->socket_count; i++)
        texts[i] = documents[i] == NULL ? NULL : ctl_text(args->command, documents[i]);
    same = agree(texts, args->socket_count);
    if (same)
        fputs(texts[0], out);
    for (size_t i = 0; i < args->socket_count; i++) {
        if (!same && texts[i] != NULL && args->socket_count > 1)
            fprintf(out, "%s:\n%s", args->sockets[i], texts[i]);
        free(texts[i]);
    }
}

static void append_named(json_t *list, const char *socket, json_t *item)
{
    json_object_set_new(item, "socket", json_string(socket));
    json_array_append(list, item);
}

/* One list of what all said, each item with its socket. */
static json_t *merge(const struct ctl_args *args, json_t *const *documents)
{
    json_t *list = json_array(), *item;
    size_t k;
    for (size_t i = 0; i < args->socket_count; i++) {
        if (json_is_object(documents[i]))
            append_named(list, args->sockets[i], documents[i]);
        json_array_foreach(documents[i], k, item)
            append_named(list, args->sockets[i], item);
    }
    return list;
}

static void print_json(const struct ctl_args *args, json_t *const *documents, FILE *out)
{
    json_t *all = args->socket_count > 1 ? merge(args, documents) : json_incref(documents[0]);
    if (all == NULL)
        return;
    json_dumpf(all, out, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    fputc('\n', out);
    json_decref(all);
}

static void print(const struct ctl_args *args, json_t *const *documents, FILE *out)
{
    if (args->json)
        print_json(args, documents, out);
    else
        print_texts(args, documents, out);
}

static void report(const struct peer *p, int code, FILE *err)
{
    bool named = p->args->socket_count > 1 && code != CTL_EXIT_NO_CONTACT;      /* that message names it by itself */
    fprintf(err, "halbctl: %s%s%s: %s\n", named ? p->socket : "", named ? ": " : "", ctl_command_text(p->args->command), p->message);
}

static int run_offline(const struct ctl_args *args, FILE *out, FILE *err)
{
    struct ctl_args alone = *args;
    struct peer p = { .args = &alone, .message = "" };
    json_t *document = NULL;
    int code = read_group(&p, err, &document);
    alone.socket_count = 1;
    if (code == CTL_EXIT_OK)
        print(&alone, &document, out);
    else
        report(&p, code, err);
    json_decref(document);
    return code;
}

static int run_online(const struct ctl_args *args, FILE *out, FILE *err)
{
    json_t *documents[CTL_SOCKETS_MAX] = { NULL };
    int worst = CTL_EXIT_OK;
    bool any = false;
    for (size_t i = 0; i < args->socket_count; i++) {
        struct peer p = { .args = args, .socket = args->sockets[i], .message = "" };
        int code = fetch(&p, &documents[i]);
        if (code != CTL_EXIT_OK)
            report(&p, code, err);
        any |= code == CTL_EXIT_OK;
        worst = code > worst ? code : worst;
    }
    if (any)
        print(args, documents, out);
    for (size_t i = 0; i < args->socket_count; i++)
        json_decref(documents[i]);
    return worst;
}

static bool supported(const struct ctl_args *args)
{
    return args->command < CTL_WHY && !args->diff;
}

int ctl_run(const struct ctl_args *args, FILE *out, FILE *err)
{
    if (!supported(args)) {
        fprintf(err, "halbctl: %s%s: not supported by this version\n", ctl_command_text(args->command), args->diff ? " --diff" : "");
        return CTL_EXIT_REFUSED;
    }
    return args->config_path != NULL ? run_offline(args, out, err) : run_online(args, out, err);
}
