#include "tests/fuzz/strict.h"
#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

static bool is_token(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] == '\0' || strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", s[i]) == NULL)
            return false;
    return len > 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_value(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return len == 0 || (!is_blank(s[0]) && !is_blank(s[len - 1]));
}

static bool is_digits(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] < '0' || s[i] > '9')
            return false;
    return len > 0;
}

static bool is(const char *s, size_t len, const char *text)
{
    return len == strlen(text) && strncasecmp(s, text, len) == 0;
}

static void count(struct strict *ret, const char *name, size_t name_len, const char *value, size_t value_len)
{
    ret->fields++;
    ret->hosts += is(name, name_len, "Host");
    ret->forwarded_fors += is(name, name_len, "X-Forwarded-For");
    ret->forwarded_ports += is(name, name_len, "X-Forwarded-Port");
    ret->forwarded_protos += is(name, name_len, "X-Forwarded-Proto");
    if (is(name, name_len, "Content-Length")) {
        assert(is_digits(value, value_len));
        ret->lengths++;
    }
    if (is(name, name_len, "Transfer-Encoding")) {
        assert(is(value, value_len, "chunked"));
        ret->codings++;
    }
}

/* The length of the line at the front; its end is CRLF, and no other CR or LF is in it. */
static size_t line_len(const char *at, const char *end)
{
    const char *cr = memchr(at, '\r', (size_t)(end - at));
    assert(cr != NULL);
    assert(end - cr >= 2);
    assert(cr[1] == '\n');
    assert(memchr(at, '\n', (size_t)(cr - at)) == NULL);
    assert(memchr(at, '\0', (size_t)(cr - at)) == NULL);
    return (size_t)(cr - at);
}

static void read_field(const char *line, size_t len, struct strict *ret)
{
    const char *colon = memchr(line, ':', len);
    size_t name_len, value_len;
    assert(colon != NULL);
    name_len = (size_t)(colon - line);
    assert(is_token(line, name_len));
    assert(len - name_len >= 2);
    assert(colon[1] == ' ');
    value_len = len - name_len - 2;
    assert(is_value(colon + 2, value_len));
    count(ret, line, name_len, colon + 2, value_len);
}

static void read_fields(const char *at, const char *end, struct strict *ret)
{
    size_t len;
    *ret = (struct strict){ .hosts = 0 };
    for (; (len = line_len(at, end)) > 0; at += len + 2)
        read_field(at, len, ret);
    assert(at + 2 == end);
    assert(ret->lengths + ret->codings <= 1);
}

void strict_request(const char *bytes, size_t len, struct strict *ret)
{
    size_t line = line_len(bytes, bytes + len);
    const char *space = memchr(bytes, ' ', line), *target;
    assert(space != NULL);
    assert(is_token(bytes, (size_t)(space - bytes)));
    target = space + 1;
    space = memchr(target, ' ', line - (size_t)(target - bytes));
    assert(space != NULL);
    assert(target[0] == '/' || (space - target == 1 && target[0] == '*'));
    for (const char *at = target; at < space; at++)
        assert(*at > ' ' && *at < 0x7f && *at != '#');
    assert(bytes + line - space == 9);
    assert(memcmp(space, " HTTP/1.1", 9) == 0);
    read_fields(bytes + line + 2, bytes + len, ret);
    assert(ret->hosts == 1);
}

void strict_response(const char *bytes, size_t len, struct strict *ret)
{
    size_t line = line_len(bytes, bytes + len);
    assert(line >= 13);
    assert(memcmp(bytes, "HTTP/1.1 ", 9) == 0);
    assert(is_digits(bytes + 9, 3));
    assert(bytes[12] == ' ');
    for (size_t i = 13; i < line; i++)
        assert(bytes[i] == '\t' || ((unsigned char)bytes[i] >= 0x20 && bytes[i] != 0x7f));
    read_fields(bytes + line + 2, bytes + len, ret);
}
