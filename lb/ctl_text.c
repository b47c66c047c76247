#include "lb/ctl_text.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 10

struct table {
    size_t columns;
    char *(*rows)[COLUMNS_MAX];
    size_t count, room;
};

/* Terminals show a character for each byte that does not go on with another (UTF-8). */
static size_t width(const char *cell)
{
    size_t n = 0;
    for (; *cell != '\0'; cell++)
        n += ((unsigned char)*cell & 0xc0) != 0x80;
    return n;
}

char *ctl_text_clean(char *text)
{
    for (char *c = text; c != NULL && *c != '\0'; c++) {
        if (((unsigned char)*c < 0x20 && *c != '\n' && *c != '\t') || *c == 0x7f)
            *c = '?';
    }
    return text;
}

/* A cell is one line without tabs. */
static char *flatten(char *cell)
{
    for (char *c = cell; c != NULL && *c != '\0'; c++)
        *c = *c == '\n' || *c == '\t' ? ' ' : *c;
    return cell;
}

/* A row of as many texts as there are columns. Without memory the row is left out. */
static void table_add(struct table *t, const char *const *cells)
{
    if (t->count == t->room) {
        size_t room = t->room == 0 ? 16 : 2 * t->room;
        void *rows = reallocarray(t->rows, room, sizeof(t->rows[0]));
        if (rows == NULL)
            return;
        t->rows = rows;
        t->room = room;
    }
    assert(t->columns <= COLUMNS_MAX);
    for (size_t i = 0; i < t->columns; i++)
        t->rows[t->count][i] = flatten(strdup(cells[i] == NULL || cells[i][0] == '\0' ? "-" : cells[i]));
    t->count++;
}

static const char *cell(const struct table *t, size_t row, size_t column)
{
    return t->rows[row][column] == NULL ? "-" : t->rows[row][column];
}

static size_t column_width(const struct table *t, size_t column)
{
    size_t widest = 0;
    for (size_t i = 0; i < t->count; i++) {
        size_t w = width(cell(t, i, column));
        widest = w > widest ? w : widest;
    }
    return widest;
}

static void table_print(const struct table *t, const char *indent, FILE *to)
{
    size_t widths[COLUMNS_MAX];
    for (size_t i = 0; i < t->columns; i++)
        widths[i] = column_width(t, i);
    for (size_t i = 0; i < t->count; i++) {
        fputs(indent, to);
        for (size_t k = 0; k < t->columns; k++) {
            int pad = k + 1 == t->columns ? 0 : (int)(widths[k] - width(cell(t, i, k)) + 2);
            fprintf(to, "%s%*s", cell(t, i, k), pad, "");
        }
        fputc('\n', to);
    }
}

static void table_fini(struct table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        for (size_t k = 0; k < t->columns; k++)
            free(t->rows[i][k]);
    }
    free(t->rows);
}

static const char *get(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static const char *or_dash(const char *text)
{
    return text == NULL || text[0] == '\0' ? "-" : text;
}

static json_int_t get_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static const char *format_address(const json_t *instance, char text[128])
{
    const char *address = or_dash(get(instance, "address"));
    snprintf(text, 128, strchr(address, ':') == NULL ? "%.100s:%" JSON_INTEGER_FORMAT : "[%.100s]:%" JSON_INTEGER_FORMAT, address,
             get_number(instance, "port"));
    return text;
}

/* ELB says "N/A" of what needs no reason. */
static const char *description(const json_t *instance)
{
    const char *text = get(instance, "description");
    return text == NULL || strcmp(text, "N/A") == 0 ? "-" : text;
}

static void print_instances(const json_t *instances, FILE *to)
{
    struct table t = { .columns = 6 };
    size_t i;
    json_t *instance;
    json_array_foreach((json_t *)instances, i, instance) {
        char address[128];
        const char *cells[] = { get(instance, "instance"), get(instance, "state"), format_address(instance, address), get(instance, "zone"),
                                get(instance, "admin"), description(instance) };
        table_add(&t, cells);
    }
    table_print(&t, "  ", to);
    table_fini(&t);
}

static void print_status(const json_t *balancers, FILE *to)
{
    size_t i;
    json_t *balancer;
    json_array_foreach((json_t *)balancers, i, balancer) {
        fprintf(to, "%s  %s  %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " instances in service\n", or_dash(get(balancer, "load_balancer")),
                or_dash(get(balancer, "scheme")), get_number(balancer, "in_service"), get_number(balancer, "registered"));
        print_instances(json_object_get(balancer, "instances"), to);
    }
}

static const char *format_check(const json_t *check, char text[256])
{
    if (!json_is_object(check))
        return "-";
    snprintf(text, 256, "%.16s %.64s in %.1f ms at %.64s", or_dash(get(check, "result")), or_dash(get(check, "detail")),
             json_number_value(json_object_get(check, "duration_ms")), or_dash(get(check, "at")));
    return text;
}

static void print_health(const json_t *instances, FILE *to)
{
    static const char *const head[] = { "LOAD BALANCER", "INSTANCE", "STATE", "REASON CODE", "DESCRIPTION", "SINCE", "ADMIN", "LAST CHECK" };
    struct table t = { .columns = 8 };
    size_t i;
    json_t *instance;
    table_add(&t, head);
    json_array_foreach((json_t *)instances, i, instance) {
        char check[256];
        const char *cells[] = { get(instance, "load_balancer"), get(instance, "instance"), get(instance, "state"), get(instance, "reason_code"),
                                get(instance, "description"), get(instance, "since"), get(instance, "admin"),
                                format_check(json_object_get(instance, "last_check"), check) };
        table_add(&t, cells);
    }
    table_print(&t, "", to);
    table_fini(&t);
}

static void print_registered(const json_t *reply, FILE *to)
{
    const json_t *instances = json_object_get(reply, "instances");
    size_t i;
    json_t *id;
    fprintf(to, "%s  registered:", or_dash(get(reply, "load_balancer")));
    json_array_foreach((json_t *)instances, i, id)
        fprintf(to, "  %s", or_dash(json_string_value(id)));
    fputs(json_array_size(instances) == 0 ? "  none\n" : "\n", to);
}

static void print_health_check(const json_t *reply, FILE *to)
{
    fprintf(to, "%s  target %s  interval %s  timeout %s  unhealthy %" JSON_INTEGER_FORMAT "  healthy %" JSON_INTEGER_FORMAT "\n",
            or_dash(get(reply, "load_balancer")), or_dash(get(reply, "target")), or_dash(get(reply, "interval")), or_dash(get(reply, "timeout")),
            get_number(reply, "unhealthy_threshold"), get_number(reply, "healthy_threshold"));
}

static void print_state(const json_t *instance, FILE *to)
{
    fprintf(to, "%s  %s  admin %s  %s\n", or_dash(get(instance, "load_balancer")), or_dash(get(instance, "instance")),
            or_dash(get(instance, "admin")), or_dash(get(instance, "state")));
}

static void print_member(const json_t *reply, const char *key, FILE *to)
{
    const char *text = get(reply, key);
    fputs(text == NULL ? "-\n" : text, to);
}

static void print(enum ctl_command command, const json_t *document, FILE *to)
{
    switch (command) {
    case CTL_STATUS:
        print_status(document, to);
        break;
    case CTL_INSTANCE_HEALTH:
        print_health(document, to);
        break;
    case CTL_REGISTER:
    case CTL_DEREGISTER:
        print_registered(document, to);
        break;
    case CTL_CONFIGURE_HEALTH_CHECK:
        print_health_check(document, to);
        break;
    case CTL_SET_STATE:
        print_state(document, to);
        break;
    case CTL_CONFIG:
        print_member(document, "config", to);
        break;
    case CTL_SECURITY_GROUP:
        print_member(document, "ruleset", to);
        break;
    case CTL_WHY:
    case CTL_METRICS:
    case CTL_RELOAD:
    case CTL_TOP:
    case CTL_COMMAND_COUNT:
        break;
    }
}

char *ctl_text(enum ctl_command command, const json_t *document)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    if (to == NULL)
        return NULL;
    print(command, document, to);
    if (fclose(to) == 0)
        return ctl_text_clean(text);
    free(text);
    return NULL;
}
