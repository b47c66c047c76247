/* What is the next configuration? A whole copy, changed in one place. */
#include "common/config_internal.h"
#include <errno.h>
#include <string.h>

struct copying {
    struct arena *arena;
    const struct config *from;
    struct config *to;
};

static bool copy_section(const struct copying *c, const struct section *section, void *base);

static bool copy_text(const struct copying *c, const char **text)
{
    if (*text != NULL)
        *text = arena_copy(c->arena, *text, strlen(*text));
    return *text != NULL;
}

static bool copy_target(const struct copying *c, void *cell)
{
    struct config_health_check *check = (void *)((char *)cell - offsetof(struct config_health_check, target));
    if (!copy_text(c, &check->target_text))
        return false;
    if (check->target.path != NULL)
        check->target.path = strchr(check->target_text, '/');
    return true;
}

static bool copy_source(const struct copying *c, void *cell)
{
    struct config_rule *rule = (void *)((char *)cell - offsetof(struct config_rule, from_group));
    return !rule->from_group || copy_text(c, &rule->group);
}

/* What was read goes along; the file is not opened again. */
static bool copy_file(const struct copying *c, void *cell)
{
    struct config_error_response *response = (void *)((char *)cell - offsetof(struct config_error_response, file));
    response->bytes = arena_copy(c->arena, response->bytes, response->len);
    return response->bytes != NULL && copy_text(c, &response->file);
}

static void *copy_items(const struct copying *c, struct array *array, size_t size)
{
    void *items = arena_alloc(c->arena, array->count, size);
    if (items != NULL && array->count > 0)
        memcpy(items, array->items, array->count * size);
    array->items = items;
    return items;
}

static bool copy_names(const struct copying *c, struct array *array)
{
    const char **names = copy_items(c, array, sizeof(*names));
    bool done = names != NULL;
    for (size_t i = 0; done && i < array->count; i++)
        done = copy_text(c, &names[i]);
    return done;
}

/* The same places in the copied inventory. */
static bool copy_instances(const struct copying *c, struct array *array)
{
    const struct config_instance **instances = copy_items(c, array, sizeof(*instances));
    for (size_t i = 0; instances != NULL && i < array->count; i++)
        instances[i] = c->to->instances + (instances[i] - c->from->instances);
    return instances != NULL;
}

static bool copy_list(const struct copying *c, const struct section *section, struct array *array)
{
    char *items = copy_items(c, array, section->size);
    bool done = items != NULL;
    for (size_t i = 0; done && i < array->count; i++)
        done = copy_section(c, section, items + i * section->size);
    return done;
}

static bool copy_row(const struct copying *c, const struct row *row, void *base)
{
    void *cell = row_cell(row, base);
    switch (row->kind) {
    case KIND_TEXT:
    case KIND_NAME:
    case KIND_TOKEN:
        return copy_text(c, cell);
    case KIND_FILE:
        return copy_file(c, cell);
    case KIND_SOURCE:
        return copy_source(c, cell);
    case KIND_TARGET:
        return copy_target(c, cell);
    case KIND_NAMES:
    case KIND_SOURCES:
        return copy_names(c, cell);
    case KIND_CIDRS:
        return copy_items(c, cell, sizeof(struct cidr)) != NULL;
    case KIND_INSTANCES:
        return copy_instances(c, cell);
    case KIND_GROUP:
        return copy_section(c, row->section, cell);
    case KIND_LIST:
        return copy_list(c, row->section, cell);
    case KIND_BOOL:
    case KIND_COUNT:
    case KIND_PORT:
    case KIND_STATUS:
    case KIND_DURATION:
    case KIND_SIZE:
    case KIND_CHOICE:
    case KIND_SET:
    case KIND_ADDRESS:
    case KIND_CIDR:
    case KIND_ANY:
        break;
    }
    return true;
}

/* `base` holds the original's bytes: what they point at becomes its own. */
static bool copy_section(const struct copying *c, const struct section *section, void *base)
{
    bool done = true;
    for (size_t i = 0; done && i < section->count; i++)
        if (section->rows[i].offset != NOWHERE && row_applies(&section->rows[i], base))
            done = copy_row(c, &section->rows[i], base);
    return done;
}

/* NULL: no memory. */
struct config *config_copy(const struct config *from)
{
    struct copying c = { .arena = arena_new(), .from = from };
    if (c.arena == NULL)
        return NULL;
    c.to = arena_alloc(c.arena, 1, sizeof(*c.to));
    if (c.to == NULL)
        goto no_memory;
    *c.to = *from;
    c.to->memory = c.arena;
    if (copy_section(&c, &config_section, c.to) && config_link(c.to) == 0)
        return c.to;
no_memory:
    arena_free(&c.arena);
    return NULL;
}

/* ---- registrations ---- */

static bool is_registered(const struct config_balancer *balancer, const struct config_instance *instance)
{
    for (size_t i = 0; i < balancer->instance_count; i++)
        if (balancer->instances[i] == instance)
            return true;
    return false;
}

/* The copy, and the one of its balancers that is to change. */
static int copy_for(const struct config *from, const char *name, struct config **to, struct config_balancer **balancer)
{
    const struct config_balancer *found = config_find_balancer(from, name);
    if (found == NULL)
        return -ENOENT;
    *to = config_copy(from);
    if (*to == NULL)
        return -ENOMEM;
    *balancer = (*to)->balancers + (found - from->balancers);
    return 0;
}

static int register_ids(struct config *config, struct config_balancer *balancer, const char *const *ids, size_t count, const char **which)
{
    struct array all = { .items = balancer->instances, .count = balancer->instance_count };
    const struct config_instance **grown = arena_alloc(config->memory, all.count + count, sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    if (all.count > 0)
        memcpy(grown, all.items, all.count * sizeof(*grown));
    balancer->instances = grown;
    for (size_t i = 0; i < count; i++) {
        const struct config_instance *instance = config_find_instance(config, ids[i]);
        *which = ids[i];
        if (instance == NULL)
            return -ESRCH;
        if (!is_registered(balancer, instance))
            grown[balancer->instance_count++] = instance;
    }
    return 0;
}

static bool is_named(const struct config *config, const struct config_instance *instance, const char *const *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (config_find_instance(config, ids[i]) == instance)
            return true;
    return false;
}

static int deregister_ids(struct config *config, struct config_balancer *balancer, const char *const *ids, size_t count, const char **which)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        const struct config_instance *instance = config_find_instance(config, ids[i]);
        *which = ids[i];
        if (instance == NULL || !is_registered(balancer, instance))
            return -ESRCH;
    }
    for (size_t i = 0; i < balancer->instance_count; i++)
        if (!is_named(config, balancer->instances[i], ids, count))
            balancer->instances[kept++] = balancer->instances[i];
    balancer->instance_count = kept;
    return 0;
}

int config_with_registered(const struct config *from, const char *balancer, const char *const *ids, size_t count,
                           struct config **ret, const char **which)
{
    struct config_balancer *changed;
    struct config *to = NULL;
    int r = copy_for(from, balancer, &to, &changed);
    if (r == 0)
        r = register_ids(to, changed, ids, count, which);
    if (r == 0)
        *ret = to;
    else
        config_free(&to);
    return r;
}

int config_with_deregistered(const struct config *from, const char *balancer, const char *const *ids, size_t count,
                             struct config **ret, const char **which)
{
    struct config_balancer *changed;
    struct config *to = NULL;
    int r = copy_for(from, balancer, &to, &changed);
    if (r == 0)
        r = deregister_ids(to, changed, ids, count, which);
    if (r == 0)
        *ret = to;
    else
        config_free(&to);
    return r;
}

/* ---- health checks ---- */

static const struct section *check_section(void)
{
    const struct row *balancers = section_row(&config_section, "load_balancers");
    return section_row(balancers->section, "health_check")->section;
}

static int change_setting(struct config *config, struct config_health_check *check, const char *name, const char *text,
                          struct report *report)
{
    const struct row *row = section_row(check_section(), name);
    char expected[EXPECTED_MAX], found[FOUND_MAX];
    struct value value;
    int r;
    if (text == NULL)
        return 0;
    value = value_from_text(row, text);
    r = value_read(config->memory, row, &value, row_cell(row, check), expected);
    if (r == -ENOMEM || r == 0)
        return r;
    value.type = VALUE_STRING;      /* of a command line: anything */
    complain(report, TOKEN_NONE, "%s: found %s%s, expected %s", name, value_found(&value, found),
             r == -ENOTSUP ? ", not supported by this version" : "", expected);
    return 0;
}

static void check_below_interval(const struct config_health_check *check, struct report *report)
{
    char timeout[32], interval[32];
    if (check->timeout_ms >= check->interval_ms)
        complain(report, TOKEN_NONE, "timeout: found \"%s\", expected less than the interval, \"%s\"",
                 config_format_duration(check->timeout_ms, timeout), config_format_duration(check->interval_ms, interval));
}

static int change_check(struct config *config, struct config_health_check *check, const struct config_health_change *change,
                        struct report *report)
{
    const struct {
        const char *name, *text;
    } settings[] = { { "target", change->target }, { "interval", change->interval }, { "timeout", change->timeout },
                     { "unhealthy_threshold", change->unhealthy_threshold }, { "healthy_threshold", change->healthy_threshold } };
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof(settings) / sizeof(settings[0]); i++)
        r = change_setting(config, check, settings[i].name, settings[i].text, report);
    if (r == 0 && report->count == 0)
        check_below_interval(check, report);
    if (r == 0 && report->no_memory)
        r = -ENOMEM;
    return r == 0 && report->count > 0 ? -EINVAL : r;
}

int config_with_health_check(const struct config *from, const char *balancer, const struct config_health_change *change,
                             struct config **ret, struct config_errors *errors)
{
    struct report report = { 0 };
    struct config_balancer *changed;
    struct config *to = NULL;
    int r = copy_for(from, balancer, &to, &changed);
    if (r == 0)
        r = change_check(to, &changed->health_check, change, &report);
    report_finish(&report, NULL, errors);
    if (r == 0)
        *ret = to;
    else
        config_free(&to);
    return r;
}
