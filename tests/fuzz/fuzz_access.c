/* Lines of the access log: one line of ASCII whatever a client sends, its fields countable, the bytes to be had back. */
#include "lb/access.h"
#include "tests/fuzz/fuzz.h"
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#define ELB_FIELDS 15

/* ---- an entry from bytes ---- */

struct reader {
    const uint8_t *at;
    size_t left;
};

static uint64_t take_number(struct reader *r, size_t bytes)
{
    uint64_t number = 0;
    for (; bytes > 0 && r->left > 0; bytes--, r->left--)
        number = number << 8 | *r->at++;
    return number;
}

/* A piece of the input, some of them repeated until they are longer than what a line holds; freed by the caller. */
static struct span take_span(struct reader *r)
{
    size_t len = (size_t)take_number(r, 1), times = 1;
    char *bytes;

    times = len >= 254 ? 80 : 1;
    len = len < r->left ? len : r->left;
    bytes = malloc(len * times + 1);
    assert(bytes != NULL);
    for (size_t i = 0; i < times; i++)
        memcpy(bytes + i * len, r->at, len);
    r->at += len;
    r->left -= len;
    return (struct span){ bytes, len * times };
}

static struct addr take_addr(struct reader *r)
{
    struct addr a = { .sa.sa_family = AF_UNSPEC };
    switch (take_number(r, 1) % 3) {
    case 0:
        break;
    case 1:
        a.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = (in_port_t)take_number(r, 2) };
        a.in.sin_addr.s_addr = (in_addr_t)take_number(r, 4);
        break;
    case 2:
        a.in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = (in_port_t)take_number(r, 2) };
        for (size_t i = 0; i < sizeof(a.in6.sin6_addr); i++)
            a.in6.sin6_addr.s6_addr[i] = (uint8_t)take_number(r, 1);
        break;
    }
    return a;
}

static struct access_entry take_entry(struct reader *r)
{
    unsigned flags = (unsigned)take_number(r, 1);
    struct access_entry e = { .balancer = "ha-lbext", .http = (flags & 1) != 0, .minor = flags >> 1 & 1 };

    e.ssl_cipher = (flags & 4) != 0 ? "ECDHE-RSA-AES128-GCM-SHA256" : NULL;
    e.ssl_protocol = (flags & 4) != 0 ? "TLSv1.2" : NULL;
    e.why = (flags & 8) != 0 ? "client-left" : NULL;
    e.at_us = take_number(r, 8);
    e.client = take_addr(r);
    e.instance = take_addr(r);
    e.request_us = (int64_t)take_number(r, 8);
    e.instance_us = (flags & 16) != 0 ? -1 : (int64_t)take_number(r, 4);
    e.response_us = (flags & 16) != 0 ? -1 : (int64_t)take_number(r, 4);
    e.elb_status = (unsigned)take_number(r, 2);
    e.instance_status = (unsigned)take_number(r, 2);
    e.received_bytes = take_number(r, 8);
    e.sent_bytes = take_number(r, 2);
    e.port = (uint16_t)take_number(r, 2);
    e.method = take_span(r);
    e.target = take_span(r);
    e.host = take_span(r);
    e.user_agent = take_span(r);
    return e;
}

static void entry_free(struct access_entry *e)
{
    free((char *)e->method.ptr);
    free((char *)e->target.ptr);
    free((char *)e->host.ptr);
    free((char *)e->user_agent.ptr);
}

/* ---- what holds of lines ---- */

static void check_line(const char *line, size_t len)
{
    assert(len > 1 && len <= ACCESS_LINE_MAX);
    assert(line[len - 1] == '\n');
    for (size_t i = 0; i + 1 < len; i++)
        assert(line[i] >= ' ' && line[i] <= '~');
}

static void check_time(const char *line, uint64_t at_us)
{
    time_t seconds = (time_t)(at_us / 1000000);
    char text[64];
    struct tm tm;

    if (at_us / 1000000 > UINT64_C(253402300799))
        return;
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    assert(strncmp(line, text, strlen(text)) == 0);
    snprintf(text, sizeof(text), ".%06uZ", (unsigned)(at_us % 1000000));
    assert(strncmp(line + 19, text, 8) == 0);
}

/* The n-th part of a line in ELB's format, without the quotes around it. */
static struct span part(const char *line, size_t len, unsigned n)
{
    const char *at = line, *end = line + len - 1;
    for (;; n--) {
        bool quoted = *at == '"';
        const char *from = at + quoted, *until = from;
        while (until < end && *until != (quoted ? '"' : ' '))
            until++;
        assert(!quoted || until < end);
        at = until + quoted;
        if (n == 0)
            return (struct span){ from, (size_t)(until - from) };
        assert(at < end && *at == ' ');
        at++;
    }
}

static unsigned hex(char c)
{
    assert((c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'));
    return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Each "\xHH" is one byte, all else stands for itself: so what it was can be told. */
static void check_escaped(struct span text, struct span was, size_t max)
{
    size_t at = 0, len = was.len < max ? was.len : max;
    for (size_t i = 0; i < len; i++) {
        unsigned char byte;
        assert(at < text.len);
        byte = (unsigned char)text.ptr[at];
        if (byte == '\\') {
            assert(text.len - at >= 4 && text.ptr[at + 1] == 'x');
            byte = (unsigned char)(hex(text.ptr[at + 2]) << 4 | hex(text.ptr[at + 3]));
            at += 3;
        }
        assert(byte == (unsigned char)was.ptr[i]);
        at++;
    }
    assert(at == text.len);
}

static void check_elb(const char *line, size_t len, const struct access_entry *e)
{
    struct span last = part(line, len, ELB_FIELDS - 1), agent = part(line, len, 12);

    check_line(line, len);
    check_time(line, e->at_us);
    assert(last.ptr + last.len == line + len - 1);
    if (e->http && e->method.len > 0 && e->user_agent.len > 0)
        check_escaped(agent, e->user_agent, ACCESS_USER_AGENT_MAX);
    else
        assert(span_equal(agent, SPAN("-")));
}

/* Characters below 256 in UTF-8. */
static void check_latin1(const char *text, size_t len, struct span was)
{
    size_t at = 0, count = was.len < ACCESS_USER_AGENT_MAX ? was.len : ACCESS_USER_AGENT_MAX;
    for (size_t i = 0; i < count; i++) {
        unsigned char byte = (unsigned char)was.ptr[i];
        if (byte >= 0x80) {
            assert(at < len && (unsigned char)text[at] == (0xc0 | byte >> 6));
            at++;
            byte = (unsigned char)(0x80 | (byte & 0x3f));
        }
        assert(at < len && (unsigned char)text[at] == byte);
        at++;
    }
    assert(at == len);
}

static void check_json(const char *line, size_t len, const struct access_entry *e)
{
    json_error_t error;
    json_t *json = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error), *agent;

    check_line(line, len);
    assert(json_is_object(json));
    check_time(line + strlen("{\"timestamp\":\""), e->at_us);
    agent = json_object_get(json, "user_agent");
    if (e->http && e->method.len > 0 && e->user_agent.len > 0)
        check_latin1(json_string_value(agent), json_string_length(agent), e->user_agent);
    else
        assert(json_is_null(agent));
    assert(json_integer_value(json_object_get(json, "port")) == e->port);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader reader = { data, size };
    struct access_entry entry = take_entry(&reader);
    char *line = malloc(ACCESS_LINE_MAX);
    size_t len;

    assert(line != NULL);
    /* JSON's own reader takes no integer above 63 bits. */
    entry.received_bytes >>= 1;
    len = access_format(line, ACCESS_LOG_ELB, &entry);
    check_elb(line, len, &entry);
    len = access_format(line, ACCESS_LOG_JSON, &entry);
    check_json(line, len, &entry);
    free(line);
    entry_free(&entry);
    return 0;
}
