/* What does one value mean? Text or number in, a struct's member out, and back. */
#include "common/config_internal.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DURATION_MAX_MS (UINT64_C(100) * 24 * 3600 * 1000)
#define TARGET_MAX 1024

static const struct unit {
    const char *text;
    uint64_t factor;
} duration_units[] = { { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 } },
  size_units[] = { { "G", UINT64_C(1) << 30 }, { "M", UINT64_C(1) << 20 }, { "K", UINT64_C(1) << 10 }, { "", 1 } };
#define UNITS (sizeof(duration_units) / sizeof(duration_units[0]))

/* The largest unit that divides it. */
static const struct unit *unit_for(const struct unit *units, uint64_t number, size_t zero)
{
    for (size_t i = 0; i < UNITS; i++)
        if (number != 0 && number % units[i].factor == 0)
            return &units[i];
    return &units[zero];
}

char *config_format_duration(uint64_t ms, char text[32])
{
    const struct unit *unit = unit_for(duration_units, ms, 2);
    snprintf(text, 32, "%llu%s", (unsigned long long)(ms / unit->factor), unit->text);
    return text;
}

static char *format_size(uint64_t bytes, char text[32])
{
    const struct unit *unit = unit_for(size_units, bytes, UNITS - 1);
    snprintf(text, 32, "%llu%s", (unsigned long long)(bytes / unit->factor), unit->text);
    return text;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int config_parse_duration(const char *text, uint64_t *ms)
{
    uint64_t factor = 0;
    double number, rest;
    char *unit;
    if (!is_digit(text[0]) && !(text[0] == '.' && is_digit(text[1])))
        return -EINVAL;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        return -EINVAL;
    number = strtod(text, &unit);
    if (*unit == '\0')
        factor = 1000;
    for (size_t i = 0; i < UNITS; i++)
        if (strcmp(unit, duration_units[i].text) == 0)
            factor = duration_units[i].factor;
    number *= (double)factor;
    /* "0.1m" is no binary fraction: what is a whole number of milliseconds but for rounding is exact. */
    if (factor == 0 || !(number <= (double)DURATION_MAX_MS))
        return -EINVAL;
    rest = number - (double)(uint64_t)(number + 0.5);
    if (rest > 1e-6 || rest < -1e-6)
        return -EINVAL;
    *ms = (uint64_t)(number + 0.5);
    return 0;
}

/* All of text, decimal or 0x; a sign and libconfig's L are part of a number. */
static int parse_integer(const char *text, int64_t *ret)
{
    size_t len = strcspn(text, "L");
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    int base = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X') ? 16 : 10;
    char *end;
    long long number;
    if (!is_digit(digits[0]) || strlen(text) - len > 2 || strspn(text + len, "L") != strlen(text + len))
        return -EINVAL;
    errno = 0;
    number = strtoll(text, &end, base);
    if (errno != 0 || end != text + len || number < INT32_MIN || number > INT32_MAX)
        return -EINVAL;
    *ret = number;
    return 0;
}

static int parse_size(const struct value *value, uint64_t *ret)
{
    const char *unit = value->text + strspn(value->text, "0123456789");
    size_t digits = (size_t)(unit - value->text);
    int64_t number;
    if (value->type == VALUE_INTEGER) {
        if (parse_integer(value->text, &number) < 0 || number < 0)
            return -EINVAL;
        *ret = (uint64_t)number;
        return 0;
    }
    if (value->type != VALUE_STRING || digits == 0 || digits > 10)
        return -EINVAL;
    for (size_t i = 0; i < UNITS; i++) {
        if (strcasecmp(unit, size_units[i].text) == 0) {
            *ret = strtoull(value->text, NULL, 10) * size_units[i].factor;
            return 0;
        }
    }
    return -EINVAL;
}

static int parse_duration_value(const struct value *value, uint64_t *ret)
{
    char number[32];
    if (value->type == VALUE_STRING)
        return config_parse_duration(value->text, ret);
    if ((value->type != VALUE_INTEGER && value->type != VALUE_FLOAT) || strlen(value->text) >= sizeof(number))
        return -EINVAL;
    snprintf(number, sizeof(number), "%s", value->text + (value->text[0] == '+'));
    if (value->type == VALUE_INTEGER)
        number[strcspn(number, "L")] = '\0';
    return strspn(number, "0123456789.eE+-") == strlen(number) ? config_parse_duration(number, ret) : -EINVAL;
}

static bool printable(const char *text, char first)
{
    for (; *text != '\0'; text++)
        if (*text < first || *text > '~')
            return false;
    return true;
}

/* Decimal digits alone; *rest is what follows. */
static int parse_port(const char *text, uint16_t *port, const char **rest)
{
    size_t digits = strspn(text, "0123456789");
    unsigned long number;
    if (digits == 0 || digits > 5 || text[0] == '0')
        return -EINVAL;
    number = strtoul(text, NULL, 10);
    if (number > UINT16_MAX)
        return -EINVAL;
    *port = (uint16_t)number;
    *rest = text + digits;
    return 0;
}

static const char *protocols[] = { "HTTP", "HTTPS", "TCP", "SSL" };

const char *protocol_text(enum protocol protocol)
{
    assert(protocol < sizeof(protocols) / sizeof(protocols[0]));
    return protocols[protocol];
}

const char *scheme_text(enum scheme scheme)
{
    return scheme == SCHEME_INTERNAL ? "internal" : "internet-facing";
}

const char *const policy_types[] = {
    [POLICY_LB_COOKIE] = "LBCookieStickinessPolicyType",
    [POLICY_APP_COOKIE] = "AppCookieStickinessPolicyType",
    [POLICY_PROXY_PROTOCOL] = "ProxyProtocolPolicyType",
    [POLICY_SSL_NEGOTIATION] = "SSLNegotiationPolicyType",
    [POLICY_PUBLIC_KEY] = "PublicKeyPolicyType",
    [POLICY_BACKEND_AUTHENTICATION] = "BackendServerAuthenticationPolicyType",
    NULL,
};

const char *policy_type_text(enum policy_type type)
{
    assert(type < sizeof(policy_types) / sizeof(policy_types[0]) - 1);
    return policy_types[type];
}

static int parse_protocol(const char *text, size_t len, enum protocol *ret)
{
    for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
        if (strlen(protocols[i]) == len && strncasecmp(text, protocols[i], len) == 0) {
            *ret = (enum protocol)i;
            return 0;
        }
    }
    return -EINVAL;
}

int config_parse_target(const char *text, struct config_target *ret, const char **expected)
{
    struct config_target target = { .path = NULL };
    const char *colon = strchr(text, ':'), *rest;
    bool http;
    *expected = "HTTP:PORT/PATH, HTTPS:PORT/PATH, TCP:PORT or SSL:PORT";
    if (colon == NULL || parse_protocol(text, (size_t)(colon - text), &target.protocol) < 0)
        return -EINVAL;
    *expected = "a port of 1 to 65535 after the colon";
    if (parse_port(colon + 1, &target.port, &rest) < 0)
        return -EINVAL;
    http = target.protocol == PROTOCOL_HTTP || target.protocol == PROTOCOL_HTTPS;
    *expected = "nothing after the port";
    if (!http && *rest != '\0')
        return -EINVAL;
    *expected = "a path after the port that starts with /";
    if (http && *rest != '/')
        return -EINVAL;
    *expected = "a path of printable ASCII without space or #";
    if (!printable(rest, '!') || strchr(rest, '#') != NULL)
        return -EINVAL;
    *expected = "at most 1024 characters";
    if (strlen(text) > TARGET_MAX)
        return -EINVAL;
    target.path = http ? rest : NULL;
    *ret = target;
    return 0;
}

/* ---- messages ---- */

char *value_found(const struct value *value, char found[FOUND_MAX])
{
    size_t len = 1;
    switch (value->type) {
    case VALUE_INTEGER:
    case VALUE_FLOAT:
    case VALUE_BOOL:
        snprintf(found, FOUND_MAX, "%.80s", value->text);
        return found;
    case VALUE_GROUP:
        return strcpy(found, "a group { ... }");
    case VALUE_LIST:
        return strcpy(found, "a list");
    case VALUE_STRING:
        break;
    }
    found[0] = '"';
    for (const char *p = value->text; *p != '\0' && len < 80; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < ' ' || c == 0x7f)
            len += (size_t)snprintf(found + len, FOUND_MAX - len, "\\x%02x", c);
        else
            found[len++] = *p;
    }
    strcpy(found + len, strlen(value->text) > 79 ? "...\"" : "\"");
    return found;
}

/* "a", "a or b", "a, b or c"; without those of a later version. */
static void list_choices(const struct row *row, char *text, size_t size)
{
    size_t len = 0, last = 0;
    text[0] = '\0';
    for (size_t i = 0; row->choices[i] != NULL; i++)
        if ((row->later & 1u << i) == 0)
            last = i;
    for (size_t i = 0; row->choices[i] != NULL; i++)
        if ((row->later & 1u << i) == 0)
            len += (size_t)snprintf(text + len, size - len, "%s%s", len == 0 ? "" : i == last ? " or " : ", ", row->choices[i]);
}

char *row_expected(const struct row *row, char expected[EXPECTED_MAX])
{
    char low[32], high[32], *to = expected;
    unsigned long long min = row->min, max = row->max;
    switch (row->kind) {
    case KIND_BOOL:
        return strcpy(to, "true or false");
    case KIND_COUNT:
    case KIND_PORT:
        snprintf(to, EXPECTED_MAX, "an integer of %llu to %llu", min, max);
        return to;
    case KIND_DURATION:
        snprintf(to, EXPECTED_MAX, "a duration of %s to %s", config_format_duration(min, low), config_format_duration(max, high));
        return to;
    case KIND_SIZE:
        snprintf(to, EXPECTED_MAX, "a size of %s to %s", format_size(min, low), format_size(max, high));
        return to;
    case KIND_CHOICE:
    case KIND_STATUS:
        list_choices(row, to, EXPECTED_MAX);
        return to;
    case KIND_SET:
        strcpy(to, "a list of ");
        list_choices(row, to + strlen(to), EXPECTED_MAX - strlen(to));
        return to;
    case KIND_TEXT:
    case KIND_FILE:
        snprintf(to, EXPECTED_MAX, "%llu to %llu characters of printable ASCII", min, max);
        return to;
    case KIND_TOKEN:
        snprintf(to, EXPECTED_MAX, "a token of %llu to %llu letters, digits and !#$%%&'*+-.^_`|~", min, max);
        return to;
    case KIND_NAME:
    case KIND_NAMES:
    case KIND_INSTANCES:
        return strcpy(to, row->kind == KIND_NAME ? "a name of 1 to 32 letters, digits and inner hyphens"
                                                 : "a list of names [ \"...\", ... ]");
    case KIND_ADDRESS:
        return strcpy(to, "the IPv4 or IPv6 address of one host");
    case KIND_CIDR:
        return strcpy(to, "a CIDR such as 10.0.0.0/24");
    case KIND_SOURCE:
        return strcpy(to, "a CIDR such as 10.0.0.0/24 or the name of a security group");
    case KIND_TARGET:
        return strcpy(to, "HTTP:PORT/PATH or TCP:PORT");
    case KIND_SOURCES:
        return strcpy(to, "a list of CIDRs and names of security groups [ \"...\", ... ]");
    case KIND_CIDRS:
        return strcpy(to, "a list of CIDRs [ \"10.0.0.0/24\", ... ]");
    case KIND_GROUP:
        return strcpy(to, "a group { ... }");
    case KIND_LIST:
        if (max > 0)
            snprintf(to, EXPECTED_MAX, "a list of %llu to %llu groups ( { ... }, ... )", min, max);
        else
            strcpy(to, min > 0 ? "a list of at least one group ( { ... }, ... )" : "a list of groups ( { ... }, ... )");
        return to;
    case KIND_ANY:
        break;
    }
    return strcpy(to, "it to be left out");
}

/* ---- scalars ---- */

bool row_is_scalar(const struct row *row)
{
    switch (row->kind) {
    case KIND_SET:
    case KIND_NAMES:
    case KIND_CIDRS:
    case KIND_SOURCES:
    case KIND_INSTANCES:
    case KIND_GROUP:
    case KIND_LIST:
    case KIND_ANY:
        return false;
    case KIND_BOOL:
    case KIND_COUNT:
    case KIND_PORT:
    case KIND_STATUS:
    case KIND_DURATION:
    case KIND_SIZE:
    case KIND_CHOICE:
    case KIND_TEXT:
    case KIND_NAME:
    case KIND_TOKEN:
    case KIND_FILE:
    case KIND_ADDRESS:
    case KIND_CIDR:
    case KIND_SOURCE:
    case KIND_TARGET:
        break;
    }
    return true;
}

bool row_has_quotes(const struct row *row)
{
    return row_is_scalar(row) && row->kind != KIND_BOOL && row->kind != KIND_COUNT && row->kind != KIND_PORT && row->kind != KIND_STATUS;
}

struct value value_from_text(const struct row *row, const char *text)
{
    if (row->kind == KIND_BOOL)
        return (struct value){ VALUE_BOOL, text, strcmp(text, "true") == 0 };
    return (struct value){ .type = row_has_quotes(row) ? VALUE_STRING : VALUE_INTEGER, .text = text };
}

/* min and max hold for all numbers: counts, ports, durations, sizes. */
static int in_range(const struct row *row, uint64_t number)
{
    return number >= row->min && number <= row->max ? 0 : -EINVAL;
}

static int read_integer(const struct row *row, const struct value *value, uint64_t *ret)
{
    int64_t number;
    if (value->type != VALUE_INTEGER || parse_integer(value->text, &number) < 0 || number < 0)
        return -EINVAL;
    *ret = (uint64_t)number;
    return in_range(row, *ret);
}

static int read_number(const struct row *row, const struct value *value, uint64_t *ret)
{
    int r = row->kind == KIND_DURATION ? parse_duration_value(value, ret) : parse_size(value, ret);
    return r < 0 ? r : in_range(row, *ret);
}

static int read_choice(const struct row *row, const struct value *value, void *cell)
{
    if (value->type != VALUE_STRING)
        return -EINVAL;
    for (int i = 0; row->choices[i] != NULL; i++) {
        if (strcasecmp(row->choices[i], value->text) == 0) {
            memcpy(cell, &i, sizeof(i));
            return (row->later & 1u << i) != 0 ? -ENOTSUP : 0;
        }
    }
    return -EINVAL;
}

static int read_status(const struct row *row, const struct value *value, unsigned *ret)
{
    int64_t number;
    if (value->type != VALUE_INTEGER || parse_integer(value->text, &number) < 0)
        return -EINVAL;
    for (size_t i = 0; row->choices[i] != NULL; i++) {
        if (strtoll(row->choices[i], NULL, 10) == number) {
            *ret = (unsigned)number;
            return 0;
        }
    }
    return -EINVAL;
}

static int read_member(const struct row *row, const struct value *value, unsigned *bits, char expected[EXPECTED_MAX])
{
    size_t len;
    int choice, r = read_choice(row, value, &choice);
    if (r == 0)
        *bits |= 1u << choice;
    list_choices(row, expected, EXPECTED_MAX);
    len = strlen(expected);
    snprintf(expected + len, EXPECTED_MAX - len, "%s", row->note != NULL ? row->note : "");
    return r;
}

unsigned set_from_text(const struct row *row, const char *text)
{
    unsigned bits = 0;
    for (unsigned i = 0; row->choices[i] != NULL; i++) {
        const char *at = strstr(text, row->choices[i]);
        if (at != NULL && at > text && at[-1] == '"' && at[strlen(row->choices[i])] == '"')
            bits |= 1u << i;
    }
    return bits;
}

static int keep(struct arena *arena, const char *text, const char **ret)
{
    char *copy = arena_copy(arena, text, strlen(text));
    if (copy == NULL)
        return -ENOMEM;
    *ret = copy;
    return 0;
}

static int read_text(struct arena *arena, const struct row *row, const struct value *value, void *cell)
{
    if (value->type != VALUE_STRING || !printable(value->text, ' ') || in_range(row, strlen(value->text)) < 0)
        return -EINVAL;
    return keep(arena, value->text, cell);
}

#define LETTERS_AND_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/* RFC 9110 section 5.6.2, which RFC 6265 has for the names of cookies. */
static int read_token(struct arena *arena, const struct row *row, const struct value *value, void *cell)
{
    if (value->type != VALUE_STRING || in_range(row, strlen(value->text)) < 0)
        return -EINVAL;
    if (value->text[strspn(value->text, LETTERS_AND_DIGITS "!#$%&'*+-.^_`|~")] != '\0')
        return -EINVAL;
    return keep(arena, value->text, cell);
}

static bool is_name(const char *text)
{
    size_t len = strlen(text);
    if (len < 1 || len > 32 || text[0] == '-' || text[len - 1] == '-')
        return false;
    return strspn(text, LETTERS_AND_DIGITS "-") == len;
}

static int read_name(struct arena *arena, const struct row *row, const struct value *value, void *cell)
{
    if (value->type != VALUE_STRING)
        return -EINVAL;
    if (!is_name(value->text) && !(row->min == 0 && row->kind == KIND_NAME && value->text[0] == '\0'))
        return -EINVAL;
    return keep(arena, value->text, cell);
}

/* Not "any", many or all: what can be connected to, or bound as a source. */
static bool is_one_host(const struct addr *a)
{
    static const char *const others[] = { "0.0.0.0", "224.0.0.0/4", "255.255.255.255", "::", "ff00::/8" };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct cidr block;
        int r = cidr_parse(others[i], &block);
        assert(r == 0);
        if (cidr_contains(&block, a))
            return false;
    }
    return true;
}

static int read_address(const struct value *value, struct addr *ret)
{
    struct addr a;
    if (value->type != VALUE_STRING || addr_parse(value->text, &a) < 0 || !is_one_host(&a))
        return -EINVAL;
    *ret = a;
    return 0;
}

static int read_cidr(const struct value *value, struct cidr *ret, char expected[EXPECTED_MAX])
{
    int r = value->type == VALUE_STRING ? cidr_parse(value->text, ret) : -EINVAL;
    if (r == -EDOM)
        strcpy(expected, "a CIDR without host bits, such as 10.0.0.0/24");
    return r < 0 ? -EINVAL : 0;
}

static int read_source(struct arena *arena, const struct value *value, void *cell, char expected[EXPECTED_MAX])
{
    struct config_rule *rule = (void *)((char *)cell - offsetof(struct config_rule, from_group));
    rule->from_group = value->type == VALUE_STRING && is_name(value->text);
    return rule->from_group ? keep(arena, value->text, &rule->group) : read_cidr(value, &rule->cidr, expected);
}

bool source_is_group(const char *text)
{
    return is_name(text);       /* without dot and colon: no CIDR */
}

static int read_source_text(struct arena *arena, const struct value *value, const char **text, char expected[EXPECTED_MAX])
{
    char formatted[ADDR_TEXT_MAX];
    struct cidr cidr;
    int r;
    strcpy(expected, "a CIDR such as 10.0.0.0/24 or the name of a security group");
    if (value->type == VALUE_STRING && source_is_group(value->text))
        return keep(arena, value->text, text);
    r = read_cidr(value, &cidr, expected);
    return r == 0 ? keep(arena, cidr_format(&cidr, formatted), text) : r;
}

static int read_target(struct arena *arena, const struct value *value, void *cell, char expected[EXPECTED_MAX])
{
    struct config_health_check *check = (void *)((char *)cell - offsetof(struct config_health_check, target));
    struct config_target target;
    const char *what;
    char *text;
    if (value->type != VALUE_STRING)
        return -EINVAL;
    if (config_parse_target(value->text, &target, &what) < 0) {
        snprintf(expected, EXPECTED_MAX, "%s", what);
        return -EINVAL;
    }
    text = arena_print(arena, "%s:%u%s", protocol_text(target.protocol), target.port, target.path != NULL ? target.path : "");
    if (text == NULL)
        return -ENOMEM;
    target.path = target.path != NULL ? strchr(text, '/') : NULL;
    check->target = target;
    check->target_text = text;
    return target.protocol == PROTOCOL_HTTPS || target.protocol == PROTOCOL_SSL ? -ENOTSUP : 0;
}

static int read_bool(const struct value *value, bool *ret)
{
    if (value->type != VALUE_BOOL)
        return -EINVAL;
    *ret = value->truth;
    return 0;
}

int value_read(struct arena *arena, const struct row *row, const struct value *value, void *cell, char expected[EXPECTED_MAX])
{
    uint64_t number = 0;
    int r = -EINVAL;
    row_expected(row, expected);
    switch (row->kind) {
    case KIND_BOOL:
        return read_bool(value, cell);
    case KIND_COUNT:
        r = read_integer(row, value, &number);
        if (r == 0)
            *(unsigned *)cell = (unsigned)number;
        return r;
    case KIND_PORT:
        r = read_integer(row, value, &number);
        if (r == 0)
            *(uint16_t *)cell = (uint16_t)number;
        return r;
    case KIND_DURATION:
        r = read_number(row, value, &number);
        if (r == 0)
            *(uint64_t *)cell = number;
        return r;
    case KIND_SIZE:
        r = read_number(row, value, &number);
        if (r == 0)
            *(size_t *)cell = (size_t)number;
        return r;
    case KIND_CHOICE:
        return read_choice(row, value, cell);
    case KIND_STATUS:
        return read_status(row, value, cell);
    case KIND_SET:
        return read_member(row, value, cell, expected);
    case KIND_TEXT:
    case KIND_FILE:
        return read_text(arena, row, value, cell);
    case KIND_TOKEN:
        return read_token(arena, row, value, cell);
    case KIND_NAME:
    case KIND_NAMES:
    case KIND_INSTANCES:
        strcpy(expected, "a name of 1 to 32 letters, digits and inner hyphens");
        return read_name(arena, row, value, cell);
    case KIND_ADDRESS:
        return read_address(value, cell);
    case KIND_CIDR:
    case KIND_CIDRS:
        strcpy(expected, "a CIDR such as 10.0.0.0/24");
        return read_cidr(value, cell, expected);
    case KIND_SOURCE:
        return read_source(arena, value, cell, expected);
    case KIND_SOURCES:
        return read_source_text(arena, value, cell, expected);
    case KIND_TARGET:
        return read_target(arena, value, cell, expected);
    case KIND_GROUP:
    case KIND_LIST:
    case KIND_ANY:
        break;
    }
    return r;
}

void cell_blank(const struct row *row, void *cell)
{
    const int blank = CHOICE_BLANK;
    if (row->kind == KIND_CHOICE)
        memcpy(cell, &blank, sizeof(blank));    /* the rest is zero from the arena */
}

static const char *format_choice(const struct row *row, const void *cell)
{
    int i;
    memcpy(&i, cell, sizeof(i));
    return i == CHOICE_BLANK ? "" : row->choices[i];
}

const char *cell_format(const struct row *row, const void *cell, char text[CELL_TEXT_MAX])
{
    const struct config_rule *rule;
    switch (row->kind) {
    case KIND_BOOL:
        return *(const bool *)cell ? "true" : "false";
    case KIND_COUNT:
    case KIND_STATUS:
        snprintf(text, CELL_TEXT_MAX, "%u", *(const unsigned *)cell);
        return text;
    case KIND_PORT:
        snprintf(text, CELL_TEXT_MAX, "%u", *(const uint16_t *)cell);
        return text;
    case KIND_DURATION:
        return config_format_duration(*(const uint64_t *)cell, text);
    case KIND_SIZE:
        return format_size(*(const size_t *)cell, text);
    case KIND_CHOICE:
        return format_choice(row, cell);
    case KIND_TEXT:
    case KIND_NAME:
    case KIND_TOKEN:
    case KIND_FILE:
        return *(const char *const *)cell;
    case KIND_ADDRESS:
        return addr_format_host(cell, text);
    case KIND_CIDR:
        return cidr_format(cell, text);
    case KIND_SOURCE:
        rule = (const void *)((const char *)cell - offsetof(struct config_rule, from_group));
        return rule->from_group ? rule->group : cidr_format(&rule->cidr, text);
    case KIND_TARGET:
        return ((const struct config_health_check *)((const char *)cell - offsetof(struct config_health_check, target)))->target_text;
    case KIND_SET:
    case KIND_NAMES:
    case KIND_CIDRS:
    case KIND_SOURCES:
    case KIND_INSTANCES:
    case KIND_GROUP:
    case KIND_LIST:
    case KIND_ANY:
        break;
    }
    return "";
}
