/*
 * Which values has this file? Walks libconfig's tree along the table. Whatever
 * is wrong is said and left blank; the walk goes on, so that all is said at
 * once. The place of each cell is kept for config_check.c.
 */
#include "common/config_internal.h"
#include <errno.h>
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>

/* A list's or group's setting, or NULL where it is not given: then `token` is that of what lacks it. */
struct spot {
    const config_setting_t *setting;
    size_t token;
};

static void fill_group(struct reading *r, const struct section *section, struct spot group, void *base);

/* libconfig gives a string without a name the line of the token after it. */
static size_t token_of(const config_setting_t *setting)
{
    return setting->line - (setting->name == NULL && setting->type == CONFIG_TYPE_STRING);
}

static struct value value_of(struct reading *r, const config_setting_t *setting)
{
    size_t name_and_equals = setting->name != NULL ? 2 : 0;
    switch (setting->type) {
    case CONFIG_TYPE_GROUP:
        return (struct value){ .type = VALUE_GROUP };
    case CONFIG_TYPE_ARRAY:
    case CONFIG_TYPE_LIST:
        return (struct value){ .type = VALUE_LIST };
    case CONFIG_TYPE_STRING:
        return (struct value){ VALUE_STRING, setting->value.sval != NULL ? setting->value.sval : "", false };
    case CONFIG_TYPE_BOOL:
        return (struct value){ VALUE_BOOL, setting->value.ival ? "true" : "false", setting->value.ival != 0 };
    case CONFIG_TYPE_FLOAT:
        return (struct value){ VALUE_FLOAT, source_text(&r->source, token_of(setting) + name_and_equals), false };
    default:
        return (struct value){ VALUE_INTEGER, source_text(&r->source, token_of(setting) + name_and_equals), false };
    }
}

static void keep_place(struct reading *r, const void *cell, struct spot spot)
{
    if (r->place_count == r->places_room) {
        size_t room = r->places_room == 0 ? 256 : 2 * r->places_room;
        struct place *places = reallocarray(r->places, room, sizeof(*places));
        if (places == NULL) {
            r->no_memory = true;
            return;
        }
        r->places = places;
        r->places_room = room;
    }
    r->places[r->place_count++] = (struct place){ .cell = cell, .token = spot.token, .given = spot.setting != NULL };
}

static void keep_reference(struct reading *r, const struct config_instance **slot, const char *id)
{
    if (r->reference_count == r->references_room) {
        size_t room = r->references_room == 0 ? 64 : 2 * r->references_room;
        struct reference *references = reallocarray(r->references, room, sizeof(*references));
        if (references == NULL) {
            r->no_memory = true;
            return;
        }
        r->references = references;
        r->references_room = room;
    }
    r->references[r->reference_count++] = (struct reference){ .slot = slot, .id = id };
}

static void complain_found(struct reading *r, const struct row *row, size_t token, const struct value *value, const char *later,
                           const char *expected)
{
    char found[FOUND_MAX];
    complain(&r->report, token, "%s: found %s%s, expected %s", row->name, value_found(value, found), later, expected);
}

#define LATER ", not supported by this version"

static bool is_neutral(const struct reading *r, const struct row *row)
{
    return row->support == SUPPORT_NEUTRAL || (row->support == SUPPORT_STAGED && !r->ahead);
}

/* Only the fallback will do; it is what the checks of other values then see. */
static void check_neutral(struct reading *r, const struct row *row, size_t token, const struct value *value, void *cell)
{
    const struct value fallback = value_from_text(row, row->fallback);
    char text[CELL_TEXT_MAX], expected[EXPECTED_MAX];
    const char *quote = row_has_quotes(row) ? "\"" : "";
    if (strcmp(cell_format(row, cell, text), row->fallback) == 0)
        return;
    if (value_read(r->arena, row, &fallback, cell, expected) < 0)
        r->no_memory = true;
    snprintf(expected, sizeof(expected), "%s%s%s", quote, row->fallback, quote);
    complain_found(r, row, token, value, LATER, expected);
}

static void read_scalar(struct reading *r, const struct row *row, size_t token, const struct value *value, void *cell)
{
    char expected[EXPECTED_MAX];
    int err = value_read(r->arena, row, value, cell, expected);
    if (err == -ENOMEM)
        r->no_memory = true;
    else if (err < 0)
        complain_found(r, row, token, value, err == -ENOTSUP ? LATER : "", expected);
    else if (row_is_scalar(row) && is_neutral(r, row))
        check_neutral(r, row, token, value, cell);
}

static void fill_scalar(struct reading *r, const struct row *row, struct spot spot, void *base)
{
    union cell scratch = { 0 };
    void *cell = row->offset == NOWHERE ? &scratch : row_cell(row, base);
    struct value value;
    cell_blank(row, cell);
    if (row->offset != NOWHERE)
        keep_place(r, cell, spot);
    if (spot.setting == NULL && row->fallback == NULL)
        return;
    value = spot.setting != NULL ? value_of(r, spot.setting) : value_from_text(row, row->fallback);
    read_scalar(r, row, spot.token, &value, cell);
}

static bool is_list(const config_setting_t *setting)
{
    return setting->type == CONFIG_TYPE_LIST || setting->type == CONFIG_TYPE_ARRAY;
}

/* False: not a list, not so many, or not in this version; it has been said. */
static bool check_list(struct reading *r, const struct row *row, struct spot spot)
{
    struct value value = value_of(r, spot.setting);
    unsigned count = is_list(spot.setting) ? (unsigned)config_setting_length(spot.setting) : 0;
    char found[FOUND_MAX], expected[EXPECTED_MAX];
    if (!is_list(spot.setting)) {
        complain_found(r, row, spot.token, &value, "", row_expected(row, expected));
    } else if (is_neutral(r, row) && count > 0) {
        complain_found(r, row, spot.token, &value, LATER, row->fallback);
    } else if (count < row->min || (row->max > 0 && count > row->max)) {
        snprintf(found, sizeof(found), count == 0 ? "an empty list" : "a list of %u", count);
        complain(&r->report, spot.token, "%s: found %s, expected %s", row->name, found, row_expected(row, expected));
    } else {
        return true;
    }
    return false;
}

static void *list_alloc(struct reading *r, struct array *array, size_t count, size_t size)
{
    void *items = arena_alloc(r->arena, count, size);
    r->no_memory = r->no_memory || items == NULL;
    if (items != NULL)
        *array = (struct array){ .items = items, .count = count };
    return items;
}

static size_t item_size(const struct row *row)
{
    if (row->kind == KIND_LIST)
        return row->section->size;
    return row->kind == KIND_CIDRS ? sizeof(struct cidr) : sizeof(void *);
}

static void fill_instance(struct reading *r, const struct row *row, struct spot spot, const struct config_instance **slot)
{
    struct value value = value_of(r, spot.setting);
    const char *id = NULL;
    read_scalar(r, row, spot.token, &value, &id);
    if (id != NULL)
        keep_reference(r, slot, id);
}

static void fill_element(struct reading *r, const struct row *row, struct spot spot, void *item)
{
    struct value value = value_of(r, spot.setting);
    char expected[EXPECTED_MAX];
    if (row->kind != KIND_LIST)         /* a group's cells have places of their own */
        keep_place(r, item, spot);
    if (row->kind == KIND_INSTANCES)
        fill_instance(r, row, spot, item);
    else if (row->kind != KIND_LIST)
        read_scalar(r, row, spot.token, &value, item);
    else if (value.type == VALUE_GROUP)
        fill_group(r, row->section, spot, item);
    else
        complain_found(r, row, spot.token, &value, "", row_expected(row, expected));
}

static void fill_list(struct reading *r, const struct row *row, struct spot spot, void *base)
{
    size_t size, count;
    char *items;
    if (spot.setting == NULL || !check_list(r, row, spot) || row->offset == NOWHERE)
        return;
    size = item_size(row);
    count = (size_t)config_setting_length(spot.setting);
    items = list_alloc(r, row_cell(row, base), count, size);
    for (size_t i = 0; items != NULL && i < count; i++) {
        const config_setting_t *element = config_setting_get_elem(spot.setting, (unsigned)i);
        fill_element(r, row, (struct spot){ element, token_of(element) }, items + i * size);
    }
}

static void fill_set(struct reading *r, const struct row *row, struct spot spot, void *base)
{
    unsigned *bits = row_cell(row, base);
    *bits = set_from_text(row, row->fallback);
    if (spot.setting == NULL || !check_list(r, row, spot))
        return;
    *bits = 0;
    for (unsigned i = 0; i < (unsigned)config_setting_length(spot.setting); i++) {
        const config_setting_t *element = config_setting_get_elem(spot.setting, i);
        struct value value = value_of(r, element);
        read_scalar(r, row, token_of(element), &value, bits);
    }
}

static void fill_subgroup(struct reading *r, const struct row *row, struct spot spot, void *base)
{
    char expected[EXPECTED_MAX];
    struct value value;
    if (spot.setting != NULL && spot.setting->type != CONFIG_TYPE_GROUP) {
        value = value_of(r, spot.setting);
        complain_found(r, row, spot.token, &value, "", row_expected(row, expected));
        spot.setting = NULL;
    }
    fill_group(r, row->section, spot, row_cell(row, base));
}

/* Of another type of policy; if its own is not known, which has been said, none is wrong. */
static void complain_type(struct reading *r, const struct row *row, struct spot spot, const struct config_policy *policy)
{
    if (spot.setting != NULL && (int)policy->type != CHOICE_BLANK)
        complain(&r->report, spot.token, "%s: found a setting of another type, expected it to be left out of a policy of type %s",
                 row->name, policy_type_text(policy->type));
}

static void fill_row(struct reading *r, const struct row *row, struct spot spot, void *base)
{
    char expected[EXPECTED_MAX];
    if (!row_applies(row, base)) {
        complain_type(r, row, spot, base);
        return;
    }
    if (row->support == SUPPORT_NONE) {
        if (spot.setting != NULL)
            complain(&r->report, spot.token, "%s: found a setting that is not supported by this version, expected it to be left out",
                     row->name);
        return;
    }
    if (spot.setting == NULL && row->fallback == NULL && row->derived == NULL)
        complain(&r->report, spot.token, "%s: found nothing, expected %s", row->name, row_expected(row, expected));
    if (row->kind == KIND_GROUP)
        fill_subgroup(r, row, spot, base);
    else if (row->kind == KIND_SET)
        fill_set(r, row, spot, base);
    else if (row_is_scalar(row))
        fill_scalar(r, row, spot, base);
    else
        fill_list(r, row, spot, base);
}

static void complain_unknown(struct reading *r, const struct section *section, const config_setting_t *setting)
{
    struct suggestion s = suggestion_of(setting->name);
    char text[FOUND_MAX];
    for (size_t i = 0; i < section->count; i++)
        suggestion_offer(&s, section->rows[i].name);
    complain(&r->report, token_of(setting), "found unknown setting \"%.64s\", expected a setting of %s%s", setting->name,
             section->title[0] != '\0' ? section->title : "the configuration", suggestion_text(&s, text));
}

static void fill_group(struct reading *r, const struct section *section, struct spot group, void *base)
{
    int count = group.setting != NULL ? config_setting_length(group.setting) : 0;
    for (int i = 0; i < count; i++) {
        const config_setting_t *setting = config_setting_get_elem(group.setting, (unsigned)i);
        if (section_row(section, setting->name) == NULL)
            complain_unknown(r, section, setting);
    }
    for (size_t i = 0; i < section->count && !r->no_memory; i++) {
        const struct row *row = &section->rows[i];
        const config_setting_t *setting = group.setting != NULL ? config_setting_get_member(group.setting, row->name) : NULL;
        fill_row(r, row, (struct spot){ setting, setting != NULL ? token_of(setting) : group.token }, base);
    }
}

static int compare_places(const void *left, const void *right)
{
    const struct place *a = left, *b = right;
    if (a->cell != b->cell)
        return (uintptr_t)a->cell < (uintptr_t)b->cell ? -1 : 1;
    return 0;
}

void reading_fill(struct reading *r, const struct config_setting_t *root)
{
    fill_group(r, &config_section, (struct spot){ root, 0 }, r->config);
    if (r->place_count > 0)
        qsort(r->places, r->place_count, sizeof(*r->places), compare_places);
}

const struct place *reading_place(const struct reading *r, const void *cell)
{
    static const struct place nowhere = { .given = true };     /* of a list's element that is no group */
    const struct place key = { .cell = cell };
    const struct place *ret = NULL;
    if (r->place_count > 0)
        ret = bsearch(&key, r->places, r->place_count, sizeof(key), compare_places);
    return ret != NULL ? ret : &nowhere;
}
