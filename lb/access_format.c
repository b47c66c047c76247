/*
 * One line of the access log. A worker runs this for each request, so it is
 * bounded and takes no memory, no lock and no look at a time zone.
 */
#include "lb/access.h"
#include <assert.h>
#include <string.h>

#define METHOD_MAX 127
#define HOST_MAX 1024
#define NAME_MAX_LEN 64         /* of a balancer, a cipher, a protocol, a reason */
#define ESCAPED_MAX 6           /* bytes that one becomes: \u00XX */
#define FIXED_MAX 4096          /* numbers, addresses, keys */

static_assert(ESCAPED_MAX * (METHOD_MAX + ACCESS_TARGET_MAX + HOST_MAX + ACCESS_USER_AGENT_MAX + 4 * NAME_MAX_LEN) + FIXED_MAX <= ACCESS_LINE_MAX,
              "every line fits");

#define US_PER_SECOND 1000000
#define SECONDS_PER_DAY 86400
#define YEAR_9999_END UINT64_C(253402300799)    /* the last second with a year of four digits */

struct text {
    char *at;
    const char *end;
    bool json;
};

static void put(struct text *t, const char *bytes, size_t len)
{
    assert(len <= (size_t)(t->end - t->at));
    memcpy(t->at, bytes, len);
    t->at += len;
}

static void put_text(struct text *t, const char *text)
{
    put(t, text, strlen(text));
}

static void put_number(struct text *t, uint64_t number)
{
    char digits[20];
    size_t first = sizeof(digits);
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    put(t, digits + first, sizeof(digits) - first);
}

/* `width` digits, with leading zeros. */
static void put_digits(struct text *t, uint64_t number, size_t width)
{
    char digits[20];
    assert(width <= sizeof(digits));
    for (size_t i = width; i > 0; i--) {
        digits[i - 1] = (char)('0' + number % 10);
        number /= 10;
    }
    put(t, digits, width);
}

static void put_hex(struct text *t, unsigned char byte)
{
    static const char hex[] = "0123456789ABCDEF";
    put_text(t, t->json ? "\\u00" : "\\x");
    put(t, (char[]){ hex[byte >> 4], hex[byte & 15] }, 2);
}

/*
 * Whatever is not printable ASCII, '"' and '\' are escaped: no byte of a peer
 * ends a line or drives a terminal. In JSON each such byte becomes the character
 * of its number (ISO-8859-1, RFC 9110 5.5), also where bytes would make UTF-8:
 * so any bytes give valid JSON, and the bytes can be had back from it.
 */
static void put_escaped(struct text *t, struct span s, size_t max)
{
    size_t plain = 0, len = s.len < max ? s.len : max;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
            continue;
        put(t, s.ptr + plain, i - plain);
        put_hex(t, c);
        plain = i + 1;
    }
    if (len > plain)
        put(t, s.ptr + plain, len - plain);
}

static void put_name(struct text *t, const char *name)
{
    put_escaped(t, (struct span){ name, strlen(name) }, NAME_MAX_LEN);
}

/* The civil date of a day since 1970-01-01; years begin in March, so that the leap day is a year's last. */
static void put_date(struct text *t, uint64_t day)
{
    uint64_t days = day + 719468;                       /* since 0000-03-01 */
    uint64_t era = days / 146097, of_era = days % 146097;       /* eras of 400 years */
    uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    uint64_t month = (5 * of_year + 2) / 153;           /* 0: March */
    put_digits(t, era * 400 + year + (month >= 10), 4);
    put_text(t, "-");
    put_digits(t, month < 10 ? month + 3 : month - 9, 2);
    put_text(t, "-");
    put_digits(t, of_year - (153 * month + 2) / 5 + 1, 2);
}

static void put_time(struct text *t, uint64_t at_us)
{
    uint64_t seconds = at_us / US_PER_SECOND;
    if (seconds > YEAR_9999_END)
        seconds = YEAR_9999_END;
    put_date(t, seconds / SECONDS_PER_DAY);
    put_text(t, "T");
    put_digits(t, seconds % SECONDS_PER_DAY / 3600, 2);
    put_text(t, ":");
    put_digits(t, seconds % 3600 / 60, 2);
    put_text(t, ":");
    put_digits(t, seconds % 60, 2);
    put_text(t, ".");
    put_digits(t, at_us % US_PER_SECOND, 6);
    put_text(t, "Z");
}

static void put_seconds(struct text *t, int64_t us, const char *none)
{
    if (us < 0) {
        put_text(t, none);
        return;
    }
    put_number(t, (uint64_t)us / US_PER_SECOND);
    put_text(t, ".");
    put_digits(t, (uint64_t)us % US_PER_SECOND, 6);
}

static void put_addr(struct text *t, const struct addr *a)
{
    char text[ADDR_TEXT_MAX];
    put_text(t, addr_format(a, text));
}

static bool is_known(const struct addr *a)
{
    return a->sa.sa_family != AF_UNSPEC;
}

static struct span without_port(struct span host)
{
    size_t i = host.len;
    while (i > 0 && host.ptr[i - 1] >= '0' && host.ptr[i - 1] <= '9')
        i--;
    if (i > 0 && host.ptr[i - 1] == ':')
        host.len = i - 1;
    return host;
}

static bool has_request(const struct access_entry *e)
{
    return e->http && e->method.len > 0;
}

/* What stands between the quotes. */
static void put_request(struct text *t, const struct access_entry *e)
{
    struct span host = without_port(e->host);
    put_escaped(t, e->method, METHOD_MAX);
    put_text(t, e->ssl_protocol != NULL ? " https://" : " http://");
    put_escaped(t, host.len > 0 ? host : SPAN("-"), HOST_MAX);
    put_text(t, ":");
    put_number(t, e->port);
    put_escaped(t, e->target, ACCESS_TARGET_MAX);
    put_text(t, " HTTP/1.");
    put_number(t, e->minor);
}

static void put_elb_addr(struct text *t, const struct addr *a)
{
    if (is_known(a))
        put_addr(t, a);
    else
        put_text(t, "-");
    put_text(t, " ");
}

static void put_elb_status(struct text *t, const struct access_entry *e, unsigned status)
{
    if (e->http)
        put_number(t, status);
    else
        put_text(t, "-");
    put_text(t, " ");
}

static void put_elb_times(struct text *t, const struct access_entry *e)
{
    const int64_t times[] = { e->request_us, e->instance_us, e->response_us };
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        put_seconds(t, times[i], "-1");
        put_text(t, " ");
    }
}

static void put_elb_request(struct text *t, const struct access_entry *e)
{
    put_text(t, "\"");
    if (has_request(e))
        put_request(t, e);
    else
        put_text(t, "- - - ");
    put_text(t, "\" \"");
    if (has_request(e) && e->user_agent.len > 0)
        put_escaped(t, e->user_agent, ACCESS_USER_AGENT_MAX);
    else
        put_text(t, "-");
    put_text(t, "\" ");
}

static void put_elb(struct text *t, const struct access_entry *e)
{
    put_time(t, e->at_us);
    put_text(t, " ");
    put_name(t, e->balancer);
    put_text(t, " ");
    put_elb_addr(t, &e->client);
    put_elb_addr(t, &e->instance);
    put_elb_times(t, e);
    put_elb_status(t, e, e->elb_status);
    put_elb_status(t, e, e->instance_status);
    put_number(t, e->received_bytes);
    put_text(t, " ");
    put_number(t, e->sent_bytes);
    put_text(t, " ");
    put_elb_request(t, e);
    put_name(t, e->ssl_cipher != NULL ? e->ssl_cipher : "-");
    put_text(t, " ");
    put_name(t, e->ssl_protocol != NULL ? e->ssl_protocol : "-");
}

static void put_key(struct text *t, const char *key)
{
    put_text(t, ",\"");
    put_text(t, key);
    put_text(t, "\":");
}

static void put_json_name(struct text *t, const char *key, const char *name)
{
    put_key(t, key);
    if (name == NULL) {
        put_text(t, "null");
        return;
    }
    put_text(t, "\"");
    put_name(t, name);
    put_text(t, "\"");
}

static void put_json_addr(struct text *t, const char *key, const struct addr *a)
{
    char text[ADDR_TEXT_MAX];
    put_json_name(t, key, is_known(a) ? addr_format(a, text) : NULL);
}

static void put_json_seconds(struct text *t, const char *key, int64_t us)
{
    put_key(t, key);
    put_seconds(t, us, "null");
}

static void put_json_status(struct text *t, const char *key, const struct access_entry *e, unsigned status)
{
    put_key(t, key);
    if (e->http && status != 0)
        put_number(t, status);
    else
        put_text(t, "null");
}

static void put_json_number(struct text *t, const char *key, uint64_t number)
{
    put_key(t, key);
    put_number(t, number);
}

static void put_json_request(struct text *t, const struct access_entry *e)
{
    put_key(t, "request");
    if (!has_request(e)) {
        put_text(t, "null");
        return;
    }
    put_text(t, "\"");
    put_request(t, e);
    put_text(t, "\"");
}

static void put_json_user_agent(struct text *t, const struct access_entry *e)
{
    put_key(t, "user_agent");
    if (!has_request(e) || e->user_agent.len == 0) {
        put_text(t, "null");
        return;
    }
    put_text(t, "\"");
    put_escaped(t, e->user_agent, ACCESS_USER_AGENT_MAX);
    put_text(t, "\"");
}

static void put_json(struct text *t, const struct access_entry *e)
{
    put_text(t, "{\"timestamp\":\"");
    put_time(t, e->at_us);
    put_text(t, "\"");
    put_json_name(t, "elb", e->balancer);
    put_json_addr(t, "client", &e->client);
    put_json_addr(t, "backend", &e->instance);
    put_json_seconds(t, "request_processing_time", e->request_us);
    put_json_seconds(t, "backend_processing_time", e->instance_us);
    put_json_seconds(t, "response_processing_time", e->response_us);
    put_json_status(t, "elb_status_code", e, e->elb_status);
    put_json_status(t, "backend_status_code", e, e->instance_status);
    put_json_number(t, "received_bytes", e->received_bytes);
    put_json_number(t, "sent_bytes", e->sent_bytes);
    put_json_request(t, e);
    put_json_user_agent(t, e);
    put_json_name(t, "ssl_cipher", e->ssl_cipher);
    put_json_name(t, "ssl_protocol", e->ssl_protocol);
    put_json_number(t, "port", e->port);
    put_json_name(t, "why", e->why);
    put_text(t, "}");
}

size_t access_format(char line[ACCESS_LINE_MAX], enum access_log_format format, const struct access_entry *entry)
{
    struct text t = { .at = line, .end = line + ACCESS_LINE_MAX, .json = format == ACCESS_LOG_JSON };
    switch (format) {
    case ACCESS_LOG_ELB:
        put_elb(&t, entry);
        break;
    case ACCESS_LOG_JSON:
        put_json(&t, entry);
        break;
    }
    put_text(&t, "\n");
    return (size_t)(t.at - line);
}
