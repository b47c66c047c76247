/* What is wrong, in order? Reading and checking complain as they go; here it becomes lines. */
#include "common/config_internal.h"
#include <stdlib.h>

void complain(struct report *report, size_t token, const char *format, ...)
{
    struct complaint *items = report->items;
    va_list args;
    char *text;
    int r;
    if (report->count == report->room) {
        report->room = report->room == 0 ? 16 : 2 * report->room;
        items = reallocarray(report->items, report->room, sizeof(*items));
        if (items == NULL)
            goto no_memory;
        report->items = items;
    }
    va_start(args, format);
    r = vasprintf(&text, format, args);
    va_end(args);
    if (r < 0)
        goto no_memory;
    items[report->count] = (struct complaint){ .token = token, .order = report->count, .text = text };
    report->count++;
    return;
no_memory:
    report->room = report->count;
    report->no_memory = true;
}

static int compare(const void *left, const void *right)
{
    const struct complaint *a = left, *b = right;
    if (a->token != b->token)
        return a->token < b->token ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

static char *line_of(const struct complaint *c, const struct source *source)
{
    const struct token *at;
    char *line;
    if (source == NULL || c->token == TOKEN_NONE)
        return NULL;
    at = source_token(source, c->token);
    return asprintf(&line, "%s:%u: %s", at->file, at->line, c->text) < 0 ? NULL : line;
}

void report_finish(struct report *report, const struct source *source, struct config_errors *errors)
{
    *errors = (struct config_errors){ 0 };
    if (report->count > 0) {
        qsort(report->items, report->count, sizeof(*report->items), compare);
        errors->lines = calloc(report->count, sizeof(*errors->lines));
    }
    for (size_t i = 0; i < report->count; i++) {
        struct complaint *c = &report->items[i];
        char *line = line_of(c, source);
        if (line != NULL)
            free(c->text);
        else
            line = c->text;     /* at worst without its place */
        if (errors->lines != NULL)
            errors->lines[errors->count++] = line;
        else
            free(line);
    }
    free(report->items);
    *report = (struct report){ .no_memory = report->no_memory };
}

void config_errors_free(struct config_errors *errors)
{
    for (size_t i = 0; i < errors->count; i++)
        free(errors->lines[i]);
    free(errors->lines);
    *errors = (struct config_errors){ 0 };
}
