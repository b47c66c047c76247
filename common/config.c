/* From a file or a text to a configuration, and what is looked up in one. */
#include "common/config.h"
#include "common/config_internal.h"
#include <assert.h>
#include <errno.h>
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>

static bool is_error(const config_t *tree, const char *start)
{
    return strncmp(config_error_text(tree), start, strlen(start)) == 0;
}

/* A token of the file is shown as it is, but with no byte that would drive a terminal. */
static const char *token_found(const char *text, char found[FOUND_MAX])
{
    const struct value value = { VALUE_STRING, text, false };
    for (const char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return value_found(&value, found);
    return text;
}

static void complain_syntax(struct reading *r, size_t token)
{
    const char *text = source_text(&r->source, token);
    char found[FOUND_MAX];
    if (token > r->source.count)
        complain(&r->report, token, "found %s, expected the end of what is open (syntax error)", text);
    else
        complain(&r->report, token, "found %.80s, expected NAME = VALUE; or the end of what is open (syntax error)",
                 token_found(text, found));
}

/* libconfig knows the line, which is a token; the token says what was wrong there. */
static void complain_parse(struct reading *r, const config_t *tree)
{
    size_t token = (size_t)config_error_line(tree);
    if (is_error(tree, "duplicate"))
        complain(&r->report, token, "found setting \"%s\" a second time, expected it once", source_text(&r->source, token));
    else if (is_error(tree, "mismatched"))
        complain(&r->report, token, "found elements of different types in [ ], expected one type");
    else
        complain_syntax(r, token);
}

/* libconfig never frees a string that is itself the error, so it is shown the text before that one alone. */
static int parse_tree(struct reading *r, config_t *tree)
{
    size_t bad = source_misplaced_string(&r->source);
    char *cut = r->source.text + (bad != 0 ? r->source.tokens[bad].start : r->source.len), kept = *cut;
    bool parsed;
    *cut = '\0';
    parsed = config_read_string(tree, r->source.text) == CONFIG_TRUE;
    *cut = kept;
    if (!parsed)
        complain_parse(r, tree);
    else if (bad != 0)
        complain_syntax(r, bad);
    return parsed && bad == 0 ? 0 : -EINVAL;
}

static int read_tree(struct reading *r)
{
    config_t tree;
    int ret;
    config_init(&tree);
    ret = parse_tree(r, &tree);
    if (ret == 0)
        reading_fill(r, config_root_setting(&tree));
    if (ret == 0 && !r->no_memory)
        reading_check(r);
    config_destroy(&tree);
    return ret;
}

static int reading_init(struct reading *r)
{
    *r = (struct reading){ .arena = arena_new(), .scratch = arena_new() };
    if (r->arena != NULL)
        r->config = arena_alloc(r->arena, 1, sizeof(*r->config));
    if (r->config == NULL || r->scratch == NULL)
        return -ENOMEM;
    r->config->memory = r->arena;
    return 0;
}

static void reading_fini(struct reading *r)
{
    source_fini(&r->source);
    free(r->places);
    free(r->references);
    arena_free(&r->scratch);
    arena_free(&r->arena);
}

static int load(const char *name, const char *text, bool ahead, struct config **ret, struct config_errors *errors)
{
    struct reading r;
    int err = reading_init(&r);
    r.from_text = text != NULL;
    r.ahead = ahead;
    if (err == 0)
        err = source_open(&r.source, r.scratch, name, text, &r.report);
    if (err == 0)
        err = read_tree(&r);
    if (err == 0 && !r.no_memory && r.report.count == 0)
        err = config_link(r.config);
    if (err == -ENOMEM || r.no_memory || r.report.no_memory)
        complain(&r.report, TOKEN_NONE, "%s: found no memory, expected some", name);
    if (err == 0 && r.report.count > 0)
        err = -EINVAL;
    report_finish(&r.report, &r.source, errors);
    if (err == 0) {
        *ret = r.config;
        r.arena = NULL;
    }
    reading_fini(&r);
    return err == 0 ? 0 : -EINVAL;
}

int config_load(const char *path, struct config **ret, struct config_errors *errors)
{
    return load(path, NULL, false, ret, errors);
}

int config_parse(const char *text, const char *name, struct config **ret, struct config_errors *errors)
{
    assert(text);
    return load(name, text, false, ret, errors);
}

int config_read_ahead(const char *name, const char *text, struct config **ret, struct config_errors *errors)
{
    return load(name, text, true, ret, errors);
}

void config_free(struct config **config)
{
    struct arena *arena;
    if (*config == NULL)
        return;
    arena = (*config)->memory;
    *config = NULL;
    arena_free(&arena);
}

const struct config_balancer *config_find_balancer(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->balancer_count; i++)
        if (config->balancers[i].name != NULL && strcmp(config->balancers[i].name, name) == 0)
            return &config->balancers[i];
    return NULL;
}

static bool has_alias(const struct config_instance *instance, const char *alias)
{
    for (size_t i = 0; i < instance->aliases.count; i++)
        if (instance->aliases.items[i] != NULL && strcmp(instance->aliases.items[i], alias) == 0)
            return true;
    return false;
}

const struct config_instance *config_find_instance(const struct config *config, const char *id_or_alias)
{
    for (size_t i = 0; i < config->instance_count; i++) {
        const struct config_instance *instance = &config->instances[i];
        if ((instance->id != NULL && strcmp(instance->id, id_or_alias) == 0) || has_alias(instance, id_or_alias))
            return instance;
    }
    return NULL;
}

const struct config_group *config_find_group(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->group_count; i++)
        if (config->groups[i].name != NULL && strcmp(config->groups[i].name, name) == 0)
            return &config->groups[i];
    return NULL;
}

const struct config_policy *config_find_policy(const struct config_balancer *balancer, const char *name)
{
    for (size_t i = 0; i < balancer->policy_count; i++)
        if (balancer->policies[i].name != NULL && strcmp(balancer->policies[i].name, name) == 0)
            return &balancer->policies[i];
    return NULL;
}

unsigned config_proxy_version(const struct config_balancer *balancer, uint16_t instance_port)
{
    for (size_t i = 0; i < balancer->backend_server_count; i++) {
        const struct config_backend_server *server = &balancer->backend_servers[i];
        if (server->instance_port == instance_port)
            return server->proxy != NULL && server->proxy->proxy_protocol ? server->proxy->version : 0;
    }
    return 0;
}
