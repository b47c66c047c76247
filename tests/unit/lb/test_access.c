#include "lb/access.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/common/guard.h"

#define KIB 1024
#define PATIENCE_MS 20000
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- lines ---- */

static const struct line_row {
    const char *name;
    const char *balancer;
    uint64_t at_us;
    const char *client;
    uint16_t client_port;
    const char *instance;       /* NULL: none */
    uint16_t instance_port;
    int64_t request_us, instance_us, response_us;
    unsigned elb_status, instance_status;
    uint64_t received, sent;
    bool http;
    const char *method, *target, *host, *user_agent;
    unsigned minor;
    uint16_t port;
    const char *cipher, *protocol, *why;
    const char *elb, *json;
} lines[] = {
    { "a request and its answer", "ha-lbext", 1772600767123456, "192.0.2.10", 51544, "10.0.1.11", 80, 51, 2310, 42, 200, 200, 0, 612,
      true, "GET", "/index.html", "www.example.org", "curl/8.5.0", 1, 80, NULL, NULL, "done",
      "2026-03-04T05:06:07.123456Z ha-lbext 192.0.2.10:51544 10.0.1.11:80 0.000051 0.002310 0.000042 200 200 0 612 "
      "\"GET http://www.example.org:80/index.html HTTP/1.1\" \"curl/8.5.0\" - -\n",
      "{\"timestamp\":\"2026-03-04T05:06:07.123456Z\",\"elb\":\"ha-lbext\",\"client\":\"192.0.2.10:51544\",\"backend\":\"10.0.1.11:80\","
      "\"request_processing_time\":0.000051,\"backend_processing_time\":0.002310,\"response_processing_time\":0.000042,"
      "\"elb_status_code\":200,\"backend_status_code\":200,\"received_bytes\":0,\"sent_bytes\":612,"
      "\"request\":\"GET http://www.example.org:80/index.html HTTP/1.1\",\"user_agent\":\"curl/8.5.0\","
      "\"ssl_cipher\":null,\"ssl_protocol\":null,\"port\":80,\"why\":\"done\"}\n" },
    { "a request that no instance got", "ha-lbext", 1772600769000777, "192.0.2.10", 51546, NULL, 0, -1, -1, -1, 503, 0, 0, 0,
      true, "GET", "/", "www.example.org", "curl/8.5.0", 1, 80, NULL, NULL, "no instance in service",
      "2026-03-04T05:06:09.000777Z ha-lbext 192.0.2.10:51546 - -1 -1 -1 503 0 0 0 "
      "\"GET http://www.example.org:80/ HTTP/1.1\" \"curl/8.5.0\" - -\n",
      "{\"timestamp\":\"2026-03-04T05:06:09.000777Z\",\"elb\":\"ha-lbext\",\"client\":\"192.0.2.10:51546\",\"backend\":null,"
      "\"request_processing_time\":null,\"backend_processing_time\":null,\"response_processing_time\":null,"
      "\"elb_status_code\":503,\"backend_status_code\":null,\"received_bytes\":0,\"sent_bytes\":0,"
      "\"request\":\"GET http://www.example.org:80/ HTTP/1.1\",\"user_agent\":\"curl/8.5.0\","
      "\"ssl_cipher\":null,\"ssl_protocol\":null,\"port\":80,\"why\":\"no instance in service\"}\n" },
    { "a TCP connection", "ha-lbint", 1772600770400000, "10.0.0.7", 40112, "10.0.2.21", 3306, 410, 33, 28, 0, 0, 88, 421,
      false, NULL, NULL, NULL, NULL, 0, 3306, NULL, NULL, "client left",
      "2026-03-04T05:06:10.400000Z ha-lbint 10.0.0.7:40112 10.0.2.21:3306 0.000410 0.000033 0.000028 - - 88 421 \"- - - \" \"-\" - -\n",
      "{\"timestamp\":\"2026-03-04T05:06:10.400000Z\",\"elb\":\"ha-lbint\",\"client\":\"10.0.0.7:40112\",\"backend\":\"10.0.2.21:3306\","
      "\"request_processing_time\":0.000410,\"backend_processing_time\":0.000033,\"response_processing_time\":0.000028,"
      "\"elb_status_code\":null,\"backend_status_code\":null,\"received_bytes\":88,\"sent_bytes\":421,"
      "\"request\":null,\"user_agent\":null,\"ssl_cipher\":null,\"ssl_protocol\":null,\"port\":3306,\"why\":\"client left\"}\n" },
    { "a TCP connection that sent nothing: one time is missing", "tcp", 0, "10.0.0.7", 1, "10.0.2.21", 65535, -1, 33, -1, 0, 0, 0, 0,
      false, NULL, NULL, NULL, NULL, 0, 1, NULL, NULL, NULL,
      "1970-01-01T00:00:00.000000Z tcp 10.0.0.7:1 10.0.2.21:65535 -1 0.000033 -1 - - 0 0 \"- - - \" \"-\" - -\n",
      "{\"timestamp\":\"1970-01-01T00:00:00.000000Z\",\"elb\":\"tcp\",\"client\":\"10.0.0.7:1\",\"backend\":\"10.0.2.21:65535\","
      "\"request_processing_time\":null,\"backend_processing_time\":0.000033,\"response_processing_time\":null,"
      "\"elb_status_code\":null,\"backend_status_code\":null,\"received_bytes\":0,\"sent_bytes\":0,"
      "\"request\":null,\"user_agent\":null,\"ssl_cipher\":null,\"ssl_protocol\":null,\"port\":1,\"why\":null}\n" },
    { "what was no request; what is left of it is not shown", "b", 1, "10.0.0.7", 5, NULL, 0, -1, -1, -1, 400, 0, 0, 0,
      true, "", "/half", "h", "agent", 1, 80, NULL, NULL, "request refused",
      "1970-01-01T00:00:00.000001Z b 10.0.0.7:5 - -1 -1 -1 400 0 0 0 \"- - - \" \"-\" - -\n",
      "{\"timestamp\":\"1970-01-01T00:00:00.000001Z\",\"elb\":\"b\",\"client\":\"10.0.0.7:5\",\"backend\":null,"
      "\"request_processing_time\":null,\"backend_processing_time\":null,\"response_processing_time\":null,"
      "\"elb_status_code\":400,\"backend_status_code\":null,\"received_bytes\":0,\"sent_bytes\":0,"
      "\"request\":null,\"user_agent\":null,\"ssl_cipher\":null,\"ssl_protocol\":null,\"port\":80,\"why\":\"request refused\"}\n" },
    { "times of more than a second, large counts", "b", 1772600767123456, "10.0.0.7", 5, "10.0.1.1", 80, 1000000, 61999999, 0, 504, 0,
      18446744073709551615u, 4294967296, true, "POST", "/up?a=b&c", "h", "x", 1, 80, NULL, NULL, "d",
      "2026-03-04T05:06:07.123456Z b 10.0.0.7:5 10.0.1.1:80 1.000000 61.999999 0.000000 504 0 18446744073709551615 4294967296 "
      "\"POST http://h:80/up?a=b&c HTTP/1.1\" \"x\" - -\n", NULL },
    { "the listener's port takes the place of the host's", "b", 0, "10.0.0.7", 5, NULL, 0, -1, -1, -1, 200, 0, 0, 0,
      true, "GET", "/", "example.org:9999", "x", 1, 8080, NULL, NULL, "d",
      "1970-01-01T00:00:00.000000Z b 10.0.0.7:5 - -1 -1 -1 200 0 0 0 \"GET http://example.org:8080/ HTTP/1.1\" \"x\" - -\n", NULL },
    { "a host's empty port goes, too", "b", 0, "10.0.0.7", 5, NULL, 0, -1, -1, -1, 200, 0, 0, 0,
      true, "GET", "/", "example.org:", "x", 1, 80, NULL, NULL, "d",
      "1970-01-01T00:00:00.000000Z b 10.0.0.7:5 - -1 -1 -1 200 0 0 0 \"GET http://example.org:80/ HTTP/1.1\" \"x\" - -\n", NULL },
    { "the last part of an address is no port", "b", 0, "10.0.0.7", 5, NULL, 0, -1, -1, -1, 200, 0, 0, 0,
      true, "GET", "/", "127.0.0.10", "x", 1, 80, NULL, NULL, "d",
      "1970-01-01T00:00:00.000000Z b 10.0.0.7:5 - -1 -1 -1 200 0 0 0 \"GET http://127.0.0.10:80/ HTTP/1.1\" \"x\" - -\n", NULL },
    { "IPv6: client, instance, host", "b", 0, "2001:db8::1", 5, "fd00::2", 80, 1, 1, 1, 200, 204, 0, 0,
      true, "GET", "/", "[::1]", "x", 1, 80, NULL, NULL, "d",
      "1970-01-01T00:00:00.000000Z b [2001:db8::1]:5 [fd00::2]:80 0.000001 0.000001 0.000001 200 204 0 0 "
      "\"GET http://[::1]:80/ HTTP/1.1\" \"x\" - -\n", NULL },
    { "IPv6 host with a port", "b", 0, "10.0.0.7", 5, NULL, 0, -1, -1, -1, 200, 0, 0, 0,
      true, "GET", "/", "[::1]:12", "x", 1, 80, NULL, NULL, "d",
      "1970-01-01T00:00:00.000000Z b 10.0.0.7:5 - -1 -1 -1 200 0 0 0 \"GET http://[::1]:80/ HTTP/1.1\" \"x\" - -\n", NULL },
    { "HTTP/1.0 without Host, without User-Agent", "b", 0, "10.0.0.7", 5, NULL, 0, -1, -1, -1, 200, 0, 0, 0,
      true, "HEAD", "/a%20b", "", "", 0, 80, NULL, NULL, "d",
      "1970-01-01T00:00:00.000000Z b 10.0.0.7:5 - -1 -1 -1 200 0 0 0 \"HEAD http://-:80/a%20b HTTP/1.0\" \"-\" - -\n",
      "{\"timestamp\":\"1970-01-01T00:00:00.000000Z\",\"elb\":\"b\",\"client\":\"10.0.0.7:5\",\"backend\":null,"
      "\"request_processing_time\":null,\"backend_processing_time\":null,\"response_processing_time\":null,"
      "\"elb_status_code\":200,\"backend_status_code\":null,\"received_bytes\":0,\"sent_bytes\":0,"
      "\"request\":\"HEAD http://-:80/a%20b HTTP/1.0\",\"user_agent\":null,\"ssl_cipher\":null,\"ssl_protocol\":null,\"port\":80,\"why\":\"d\"}\n" },
    { "over TLS: https, cipher, protocol", "b", 0, "10.0.0.7", 5, NULL, 0, -1, -1, -1, 200, 0, 0, 0,
      true, "GET", "/", "h", "x", 1, 443, "ECDHE-RSA-AES128-GCM-SHA256", "TLSv1.2", "d",
      "1970-01-01T00:00:00.000000Z b 10.0.0.7:5 - -1 -1 -1 200 0 0 0 \"GET https://h:443/ HTTP/1.1\" \"x\" "
      "ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2\n", NULL },
    { "quotes, backslashes and controls in what a client chose", "b", 0, "10.0.0.7", 5, NULL, 0, -1, -1, -1, 200, 0, 0, 0,
      true, "G\"T", "/\"\\\r\n\x7f", "h\"", "a\tb \xc3\xa9 \\ \"-\"", 1, 80, NULL, NULL, "say \"no\"",
      "1970-01-01T00:00:00.000000Z b 10.0.0.7:5 - -1 -1 -1 200 0 0 0 "
      "\"G\\x22T http://h\\x22:80/\\x22\\x5C\\x0D\\x0A\\x7F HTTP/1.1\" \"a\\x09b \\xC3\\xA9 \\x5C \\x22-\\x22\" - -\n",
      "{\"timestamp\":\"1970-01-01T00:00:00.000000Z\",\"elb\":\"b\",\"client\":\"10.0.0.7:5\",\"backend\":null,"
      "\"request_processing_time\":null,\"backend_processing_time\":null,\"response_processing_time\":null,"
      "\"elb_status_code\":200,\"backend_status_code\":null,\"received_bytes\":0,\"sent_bytes\":0,"
      "\"request\":\"G\\u0022T http://h\\u0022:80/\\u0022\\u005C\\u000D\\u000A\\u007F HTTP/1.1\","
      "\"user_agent\":\"a\\u0009b \\u00C3\\u00A9 \\u005C \\u0022-\\u0022\","
      "\"ssl_cipher\":null,\"ssl_protocol\":null,\"port\":80,\"why\":\"say \\u0022no\\u0022\"}\n" },
};

static struct addr at(const char *text, uint16_t port)
{
    struct addr a = { .sa.sa_family = AF_UNSPEC };
    if (text == NULL)
        return a;
    assert_int_equal(addr_parse(text, &a), 0);
    return addr_with_port(a, port);
}

static struct span span_of(const char *text)
{
    return text == NULL ? (struct span){ NULL, 0 } : (struct span){ text, strlen(text) };
}

static struct access_entry entry_of(const struct line_row *row)
{
    return (struct access_entry){
        .balancer = row->balancer, .at_us = row->at_us,
        .client = at(row->client, row->client_port), .instance = at(row->instance, row->instance_port),
        .request_us = row->request_us, .instance_us = row->instance_us, .response_us = row->response_us,
        .elb_status = row->elb_status, .instance_status = row->instance_status,
        .received_bytes = row->received, .sent_bytes = row->sent, .http = row->http,
        .method = span_of(row->method), .target = span_of(row->target), .host = span_of(row->host), .user_agent = span_of(row->user_agent),
        .minor = row->minor, .port = row->port, .ssl_cipher = row->cipher, .ssl_protocol = row->protocol, .why = row->why,
    };
}

static char line_bytes[ACCESS_LINE_MAX];

static void assert_line(const struct access_entry *entry, enum access_log_format format, const char *expected)
{
    size_t len = access_format(line_bytes, format, entry);
    assert_true(len < sizeof(line_bytes));
    line_bytes[len] = '\0';
    assert_string_equal(line_bytes, expected);
    assert_int_equal(len, strlen(expected));
}

static void test_line(void **state)
{
    const struct line_row *row = *state;
    struct access_entry entry = entry_of(row);
    assert_line(&entry, ACCESS_LOG_ELB, row->elb);
    if (row->json != NULL)
        assert_line(&entry, ACCESS_LOG_JSON, row->json);
}

static void test_times_agree_with_libc(void **state)
{
    struct access_entry entry = entry_of(&lines[0]);
    (void)state;
    for (uint64_t s = 0; s < UINT64_C(253402300800); s += 86399 * UINT64_C(7) + (s < UINT64_C(6000000000) ? 0 : 98765432)) {
        time_t seconds = (time_t)s;
        struct tm tm;
        char expected[40];
        gmtime_r(&seconds, &tm);
        strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.000009Z ", &tm);
        entry.at_us = s * 1000000 + 9;
        access_format(line_bytes, ACCESS_LOG_ELB, &entry);
        assert_memory_equal(line_bytes, expected, 28);
    }
    entry.at_us = UINT64_MAX;
    access_format(line_bytes, ACCESS_LOG_ELB, &entry);
    assert_memory_equal(line_bytes, "9999-12-31T23:59:59.", 20);
}

/* ISO-8859-1, as docs/ACCESS_LOG.md tells readers to take it: the character's number is the byte. Returns how many. */
static size_t bytes_of(const json_t *string, unsigned char *bytes)
{
    const unsigned char *utf8 = (const unsigned char *)json_string_value(string);
    size_t len = json_string_length(string), count = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned c = utf8[i];
        if (c >= 0x80) {
            assert_true(c == 0xc2 || c == 0xc3);
            c = (c & 3) << 6 | (utf8[++i] & 0x3f);
        }
        bytes[count++] = (unsigned char)c;
    }
    return count;
}

static json_t *parse_line(const struct access_entry *entry)
{
    size_t len = access_format(line_bytes, ACCESS_LOG_JSON, entry);
    json_error_t error;
    json_t *json = json_loadb(line_bytes, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (json == NULL)
        fail_msg("%s at %d of %.*s", error.text, error.position, (int)len, line_bytes);
    assert_ptr_equal(memchr(line_bytes, '\n', len), line_bytes + len - 1);
    for (size_t i = 0; i + 1 < len; i++)
        assert_in_range((unsigned char)line_bytes[i], 0x20, 0x7e);
    return json;
}

static void test_every_byte(void **state)
{
    struct access_entry entry = entry_of(&lines[0]);
    char all[256], expected[4 * sizeof(all) + 1] = "", *found;
    unsigned char back[sizeof(all)];
    json_t *json;
    size_t len = 0;
    (void)state;
    for (size_t i = 0; i < sizeof(all); i++) {
        bool as_it_is = i >= 0x20 && i < 0x7f && i != '"' && i != '\\';
        all[i] = (char)i;
        len += (size_t)snprintf(expected + len, sizeof(expected) - len, as_it_is ? "%c" : "\\x%02X", (unsigned)i);
    }
    entry.user_agent = (struct span){ guard_copy(all, sizeof(all)), sizeof(all) };
    line_bytes[access_format(line_bytes, ACCESS_LOG_ELB, &entry)] = '\0';
    found = strstr(line_bytes, expected);
    assert_non_null(found);
    assert_string_equal(found + len, "\" - -\n");
    json = parse_line(&entry);
    assert_int_equal(bytes_of(json_object_get(json, "user_agent"), back), sizeof(all));
    assert_memory_equal(back, all, sizeof(all));
    json_decref(json);
}

static void test_user_agent_is_cut(void **state)
{
    struct access_entry entry = entry_of(&lines[0]);
    static char agent[ACCESS_USER_AGENT_MAX + 2], *quote;
    size_t len;
    (void)state;
    memset(agent, 'u', sizeof(agent));
    for (size_t over = 0; over <= 2; over++) {
        entry.user_agent = (struct span){ agent, ACCESS_USER_AGENT_MAX - 1 + over };
        len = access_format(line_bytes, ACCESS_LOG_ELB, &entry);
        line_bytes[len] = '\0';
        quote = strstr(line_bytes, "\"uuu");
        assert_non_null(quote);
        assert_int_equal(strspn(quote + 1, "u"), over == 0 ? ACCESS_USER_AGENT_MAX - 1 : ACCESS_USER_AGENT_MAX);
        assert_string_equal(quote + 1 + strspn(quote + 1, "u"), "\" - -\n");
    }
}

/* The longest of everything, each byte one that grows most. */
static void test_longest(void **state)
{
    static char bytes[GUARD_BYTES_MAX];
    char name[200];
    struct access_entry entry = entry_of(&lines[9]);
    struct span all = { bytes, sizeof(bytes) };
    json_t *json;
    size_t len;
    (void)state;
    memset(bytes, 0xff, sizeof(bytes));
    memset(name, 0xff, sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    all.ptr = guard_copy(bytes, sizeof(bytes));
    entry.method = entry.target = entry.host = entry.user_agent = all;
    entry.balancer = entry.ssl_cipher = entry.ssl_protocol = entry.why = name;
    entry.at_us = UINT64_MAX;
    entry.received_bytes = entry.sent_bytes = INT64_MAX;      /* more is no integer to jansson */
    entry.request_us = entry.instance_us = entry.response_us = INT64_MAX;
    entry.elb_status = entry.instance_status = entry.minor = UINT32_MAX;
    entry.port = UINT16_MAX;
    json = parse_line(&entry);
    assert_int_equal(json_object_size(json), 17);
    json_decref(json);
    len = access_format(line_bytes, ACCESS_LOG_ELB, &entry);
    assert_true(len > 4 * (ACCESS_TARGET_MAX + ACCESS_USER_AGENT_MAX));
    assert_int_equal(line_bytes[len - 1], '\n');
}

static struct span random_span(unsigned *seed, char bytes[300])
{
    size_t len = (size_t)rand_r(seed) % 300;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)rand_r(seed);
    return (struct span){ guard_copy(bytes, len), len };
}

static void test_random_bytes_are_json(void **state)
{
    unsigned seed = (unsigned)time(NULL);
    char bytes[300];
    unsigned char back[300];
    (void)state;
    print_message("seed %u\n", seed);
    for (int i = 0; i < 2000; i++) {
        struct access_entry entry = entry_of(&lines[0]);
        json_t *json;
        entry.user_agent = random_span(&seed, bytes);
        json = parse_line(&entry);
        if (entry.user_agent.len == 0) {
            assert_true(json_is_null(json_object_get(json, "user_agent")));
        } else {
            assert_int_equal(bytes_of(json_object_get(json, "user_agent"), back), entry.user_agent.len);
            assert_memory_equal(back, bytes, entry.user_agent.len);
        }
        json_decref(json);
    }
}

/* ---- rings, writer, files ---- */

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The writer is another thread: what is waited for ends it, patience only fails. */
#define UNTIL(condition)                                                    \
    do {                                                                    \
        uint64_t patience_ = now_ms() + PATIENCE_MS;                        \
        while (!(condition)) {                                              \
            if (now_ms() > patience_)                                       \
                fail_msg("%s never came about", #condition);                \
            poll(NULL, 0, 1);                                               \
        }                                                                   \
    } while (0)

#define PATH "/var/log/halb/access.log"

/* Line `seq` of a worker: it tells itself, and differs in length from its neighbours. */
static struct access_entry numbered(unsigned worker, uint64_t seq)
{
    static const char agent[] = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456";
    struct access_entry entry = {
        .balancer = "b", .at_us = seq, .request_us = -1, .instance_us = -1, .response_us = -1, .elb_status = 200,
        .received_bytes = worker, .sent_bytes = seq, .http = true,
        .method = SPAN("GET"), .target = SPAN("/"), .host = SPAN("h"), .minor = 1, .port = 80,
    };
    entry.client = at("10.0.0.7", 5);
    entry.instance.sa.sa_family = AF_UNSPEC;
    entry.user_agent = (struct span){ agent, 1 + seq % (sizeof(agent) - 1) };
    return entry;
}

static void add(struct access_log *log, unsigned worker, const char *path, uint64_t seq)
{
    struct access_lines *l = access_log_lines(log, worker);
    struct access_entry entry = numbered(worker, seq);
    access_add(l, access_expect(l, path), ACCESS_LOG_ELB, &entry);
}

/* Whose line it is, and that it is that line to the byte. */
static void read_line(const char *text, size_t len, unsigned *worker, uint64_t *seq)
{
    static char expected[ACCESS_LINE_MAX];
    struct access_entry entry;
    char copy[400];
    assert_true(len < sizeof(copy));
    memcpy(copy, text, len);
    copy[len] = '\0';
    assert_int_equal(sscanf(copy, "%*s b 10.0.0.7:5 - -1 -1 -1 200 0 %u %" SCNu64 " ", worker, seq), 2);
    entry = numbered(*worker, *seq);
    assert_int_equal(access_format(expected, ACCESS_LOG_ELB, &entry), len);
    assert_memory_equal(copy, expected, len);
}

/* Every line whole, each worker's in order. Returns how many; `last` by worker, 0 before the first. */
static uint64_t read_lines(const char *text, size_t len, uint64_t last[2])
{
    uint64_t count = 0, seq;
    unsigned worker;
    for (const char *end; len > 0; count++) {
        end = memchr(text, '\n', len);
        assert_non_null(end);
        read_line(text, (size_t)(end + 1 - text), &worker, &seq);
        assert_true(worker < 2);
        assert_true(seq > last[worker]);
        last[worker] = seq;
        len -= (size_t)(end + 1 - text);
        text = end + 1;
    }
    return count;
}

static int temporary(void)
{
    char name[] = "/tmp/halb-test-access-XXXXXX";
    int fd = mkostemp(name, O_APPEND | O_CLOEXEC);
    assert_true(fd >= 0);
    unlink(name);
    return fd;
}

/* The same open file once more: the log takes its own over. */
static int again(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    assert_true(copy >= 0);
    return copy;
}

static char *contents(int fd, size_t *len)
{
    struct stat st;
    char *text;
    assert_int_equal(fstat(fd, &st), 0);
    *len = (size_t)st.st_size;
    text = malloc(*len + 1);
    assert_non_null(text);
    assert_int_equal(pread(fd, text, *len, 0), *len);
    text[*len] = '\0';
    return text;
}

static uint64_t lines_in(int fd, uint64_t last[2])
{
    size_t len;
    char *text = contents(fd, &len);
    uint64_t count = read_lines(text, len, last);
    free(text);
    return count;
}

static off_t size_of(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return st.st_size;
}

/* Of a file that is being written. */
static uint64_t newlines_in(int fd)
{
    size_t len;
    char *text = contents(fd, &len);
    uint64_t count = 0;
    for (size_t i = 0; i < len; i++)
        count += text[i] == '\n';
    free(text);
    return count;
}

static bool ends_in_line(int fd)
{
    char last;
    off_t size = size_of(fd);
    return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last == '\n';
}

static struct access_log *started(unsigned workers, size_t bytes, int fd)
{
    struct access_log *log;
    assert_int_equal(access_log_start(workers, bytes, &log), 0);
    assert_int_equal(access_log_attach(log, PATH, again(fd)), 0);
    return log;
}

/* Small rings, many times around, lines of every length; a line that finds the ring full is tried again. */
static void test_ring_wraps(void **state)
{
    int fd = temporary();
    struct access_log *log = started(1, 1, fd);
    uint64_t last[2] = { 0 }, tries = 0;
    (void)state;
    for (uint64_t seq = 1; seq <= 3000; seq++) {
        uint64_t before;
        do {
            before = access_dropped(log);
            add(log, 0, PATH, seq);
            tries++;
        } while (access_dropped(log) != before && sched_yield() == 0);
    }
    assert_int_equal(access_dropped(log), tries - 3000);
    access_log_stop(&log);
    assert_null(log);
    assert_int_equal(lines_in(fd, last), 3000);
    assert_int_equal(last[0], 3000);
    close(fd);
}

static void test_line_longer_than_ring(void **state)
{
    static char agent[ACCESS_USER_AGENT_MAX];
    int fd = temporary();
    struct access_log *log = started(1, 4096, fd);
    struct access_entry entry = numbered(0, 1);
    uint64_t last[2] = { 0 };
    (void)state;
    memset(agent, 'u', sizeof(agent));
    entry.user_agent = (struct span){ agent, sizeof(agent) };
    access_add(access_log_lines(log, 0), access_expect(access_log_lines(log, 0), PATH), ACCESS_LOG_ELB, &entry);
    assert_int_equal(access_dropped(log), 1);
    add(log, 0, PATH, 2);
    access_log_stop(&log);
    assert_int_equal(lines_in(fd, last), 1);
    assert_int_equal(last[0], 2);
    close(fd);
}

/* Nobody stops the log: a line is there by itself, each time the writer sleeps again. */
static void test_written_soon(void **state)
{
    int fd = temporary();
    struct access_log *log = started(1, 64 * KIB, fd);
    (void)state;
    for (uint64_t seq = 1; seq <= 3; seq++) {
        off_t before = size_of(fd);
        add(log, 0, PATH, seq);
        UNTIL(size_of(fd) > before);
    }
    access_log_stop(&log);
    close(fd);
}

/* Standard error into a file, for what the writer tells the operator. */
static int capture(int *saved)
{
    int fd = temporary();
    *saved = again(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    return fd;
}

static void release(int fd, int saved)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd);
}

static unsigned told(int fd, const char *what)
{
    size_t len;
    char *text = contents(fd, &len);
    unsigned count = 0;
    for (const char *p = text; (p = strstr(p, what)) != NULL; p++)
        count++;
    free(text);
    return count;
}

/* How many lines the messages add up to; *messages: how many they are. */
static unsigned long long told_dropped(int fd, unsigned *messages)
{
    static const char begin[] = "access log: ";
    size_t len;
    char *text = contents(fd, &len);
    unsigned long long sum = 0, n, all = 0;
    *messages = 0;
    for (const char *p = text; (p = strstr(p, begin)) != NULL; p++, ++*messages) {
        char plural[8];
        assert_int_equal(sscanf(p, "access log: %llu %7s dropped, %llu since the start: they came", &n, plural, &all), 3);
        assert_string_equal(plural, n == 1 ? "line" : "lines");
        sum += n;
        assert_int_equal(all, sum);
    }
    free(text);
    return sum;
}

static void test_full_disk(void **state)
{
    int fd = temporary(), full = open("/dev/full", O_WRONLY | O_CLOEXEC), saved, err = capture(&saved);
    uint64_t last[2] = { 0 }, seq = 0;
    struct access_log *log;
    unsigned messages;
    (void)state;
    if (full < 0)
        skip();
    log = started(1, 64 * KIB, full);
    for (uint64_t batch = 0; batch < 3; batch++) {
        for (unsigned i = 0; i < 10; i++)
            add(log, 0, PATH, ++seq);
        UNTIL(access_dropped(log) == seq);
    }
    assert_int_equal(told(err, "access log " PATH ": can not be written: No space left on device"), 1);
    assert_int_equal(access_log_attach(log, PATH, again(fd)), 0);
    for (uint64_t patience = now_ms() + PATIENCE_MS; told(err, "written again; 30 lines were dropped") == 0; ) {
        off_t before = size_of(fd);
        assert_true(now_ms() < patience);
        add(log, 0, PATH, ++seq);
        UNTIL(size_of(fd) > before);
    }
    assert_int_equal(access_dropped(log), 30);
    assert_int_equal(access_log_dropped(log, PATH), 30);
    assert_true(told_dropped(err, &messages) < 30);         /* the first at once, the others not yet */
    assert_int_equal(messages, 1);
    access_log_stop(&log);
    assert_int_equal(told(err, "access log " PATH), 2);
    assert_int_equal(told_dropped(err, &messages), 30);
    assert_int_equal(messages, 2);
    assert_int_equal(lines_in(fd, last), seq - 30);
    assert_int_equal(last[0], seq);
    release(err, saved);
    close(full);
    close(fd);
}

/* The disk takes half a line; the rest of it comes when there is room, before anything else. */
static void test_no_line_is_torn(void **state)
{
    int fd = temporary(), saved, err = capture(&saved);
    struct access_log *log = started(1, 64 * KIB, fd);
    struct rlimit limit, before;
    uint64_t last[2] = { 0 };
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    for (uint64_t seq = 1; seq <= 20; seq++)
        add(log, 0, PATH, seq);
    UNTIL(newlines_in(fd) == 20);
    signal(SIGXFSZ, SIG_IGN);
    limit.rlim_cur = (rlim_t)size_of(fd) + 150;        /* within the second line from here */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (uint64_t seq = 21; seq <= 40; seq++)
        add(log, 0, PATH, seq);
    UNTIL(access_dropped(log) > 0);
    assert_int_equal(size_of(fd), limit.rlim_cur);
    assert_false(ends_in_line(fd));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    UNTIL(ends_in_line(fd));                            /* without any further line */
    add(log, 0, PATH, 41);
    release(err, saved);
    UNTIL(newlines_in(fd) + access_dropped(log) == 41);
    access_log_stop(&log);
    lines_in(fd, last);
    assert_int_equal(last[0], 41);
    close(fd);
}

/* The pipe takes a few bytes at a time: short writes go on where they ended. */
static void test_pipe_in_drips(void **state)
{
    int fds[2];
    struct access_log *log;
    static char text[64 * KIB];
    uint64_t last[2] = { 0 };
    size_t len = 0;
    unsigned count = 0;
    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_true(fcntl(fds[1], F_SETPIPE_SZ, 4096) >= 4096);
    log = started(1, 64 * KIB, fds[1]);
    close(fds[1]);
    for (uint64_t seq = 1; seq <= 200; seq++)
        add(log, 0, PATH, seq);
    while (count < 200) {
        ssize_t n = read(fds[0], text + len, 97);
        assert_true(n > 0);
        for (ssize_t i = 0; i < n; i++)
            count += text[len + (size_t)i] == '\n';
        len += (size_t)n;
        assert_true(len + 97 < sizeof(text));
    }
    assert_int_equal(access_dropped(log), 0);
    access_log_stop(&log);
    assert_int_equal(read_lines(text, len, last), 200);
    close(fds[0]);
}

static bool add_some(struct access_log *log, uint64_t *added)
{
    for (unsigned i = 0; i < 100; i++)
        add(log, 0, PATH, ++*added);
    return true;
}

/* A pipe that nobody reads holds the writer up, then loses its lines; the worker is never held up, and all is counted. */
static void test_pipe_nobody_reads(void **state)
{
    int fds[2], saved, err = capture(&saved);
    struct access_log *log;
    static char text[256 * KIB];
    uint64_t last[2] = { 0 }, added = 0, whole = 0;
    size_t len = 0;
    unsigned messages;
    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_true(fcntl(fds[1], F_SETPIPE_SZ, 4096) >= 4096);
    log = started(1, 4096, fds[1]);
    UNTIL(add_some(log, &added) && told(err, "access log " PATH ": can not be written: Resource temporarily unavailable") == 1);
    UNTIL(add_some(log, &added) && told_dropped(err, &messages) > 0);
    for (uint64_t patience = now_ms() + PATIENCE_MS; whole + access_dropped(log) < added; ) {
        ssize_t n = read(fds[0], text + len, sizeof(text) - len);
        assert_true(now_ms() < patience);
        for (ssize_t i = 0; i < n; i++)
            whole += text[len + (size_t)i] == '\n';
        len += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(whole + access_dropped(log), added);
    assert_int_equal(read_lines(text, len, last), whole);
    access_log_stop(&log);
    assert_int_equal(told_dropped(err, &messages), added - whole);
    release(err, saved);
    close(fds[0]);
    close(fds[1]);
}

static void test_pipe_without_reader(void **state)
{
    int fds[2], saved, err = capture(&saved);
    struct access_log *log;
    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    log = started(1, 4096, fds[1]);
    close(fds[0]);
    add(log, 0, PATH, 1);
    UNTIL(told(err, "can not be written: Broken pipe") == 1);
    assert_int_equal(access_dropped(log), 1);
    access_log_stop(&log);
    release(err, saved);
    close(fds[1]);
}

#define EACH 20000

struct producer {
    struct access_log *log;
    unsigned worker;
};

static void *produce(void *arg)
{
    const struct producer *p = arg;
    for (uint64_t seq = 1; seq <= EACH; seq++) {
        add(p->log, p->worker, seq % 3 == 0 ? "/second" : PATH, seq);
        if (seq % 64 == 0)
            sched_yield();
    }
    return NULL;
}

/* Two workers, two files, one replaced over and over meanwhile. Nothing is lost that is not counted. */
static void test_two_workers(void **state)
{
    int fd = temporary(), second = temporary(), saved, err = capture(&saved);
    struct access_log *log = started(2, 64 * KIB, fd);
    struct producer producers[2] = { { log, 0 }, { log, 1 } };
    uint64_t last[2] = { 0 }, last_second[2] = { 0 }, dropped;
    pthread_t threads[2];
    (void)state;
    assert_int_equal(access_log_attach(log, "/second", again(second)), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(access_log_attach(log, PATH, again(fd)), 0);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    dropped = access_dropped(log);      /* files take all: only full rings drop */
    access_log_stop(&log);
    release(err, saved);
    assert_int_equal(lines_in(fd, last) + lines_in(second, last_second) + dropped, 2 * EACH);
    assert_true(dropped < 2 * EACH);
    close(fd);
    close(second);
}

static void test_reopened(void **state)
{
    int old = temporary(), new = temporary();
    struct access_log *log = started(1, 64 * KIB, old);
    uint64_t last_old[2] = { 0 }, last_new[2] = { 0 };
    (void)state;
    for (uint64_t seq = 1; seq <= 10; seq++)
        add(log, 0, PATH, seq);
    assert_int_equal(access_log_attach(log, PATH, again(new)), 0);
    for (uint64_t seq = 11; seq <= 20; seq++)
        add(log, 0, PATH, seq);
    assert_int_equal(access_dropped(log), 0);
    access_log_stop(&log);
    assert_int_equal(lines_in(old, last_old) + lines_in(new, last_new), 20);
    assert_true(last_old[0] <= 10);         /* what came after the order is in the new one */
    assert_int_equal(last_new[0], 20);
    close(old);
    close(new);
}

static const struct config none = { .balancer_count = 0 };

/* Is the file that fd is open elsewhere in this process? */
static bool open_elsewhere(int fd)
{
    struct stat st, other;
    char name[32];
    assert_int_equal(fstat(fd, &st), 0);
    for (int i = 0; i < 1024; i++)      /* by name: the descriptors are the writer's */
        if (i != fd && snprintf(name, sizeof(name), "/proc/self/fd/%d", i) > 0 && stat(name, &other) == 0 && other.st_dev == st.st_dev && other.st_ino == st.st_ino)
            return true;
    return false;
}

/* What was queued and what is still expected is written; then the file is closed, and what comes later is dropped. */
static void test_detached(void **state)
{
    int fd = temporary(), saved, err = capture(&saved), expected;
    struct access_log *log = started(2, 64 * KIB, fd);
    struct access_entry entry = numbered(1, 1);
    uint64_t last[2] = { 0 };
    (void)state;
    for (uint64_t seq = 1; seq <= 20; seq++)
        add(log, 0, PATH, seq);
    expected = access_expect(access_log_lines(log, 1), PATH);
    access_log_retain(log, &none);
    UNTIL(newlines_in(fd) == 20);
    add(log, 0, PATH, 21);
    UNTIL(newlines_in(fd) == 21);
    assert_true(open_elsewhere(fd));        /* however often it was looked at: one more is to come */
    access_add(access_log_lines(log, 1), expected, ACCESS_LOG_ELB, &entry);
    UNTIL(!open_elsewhere(fd));
    assert_int_equal(access_dropped(log), 0);
    assert_int_equal(lines_in(fd, last), 22);
    add(log, 0, PATH, 22);
    UNTIL(access_log_dropped(log, PATH) == 1);
    access_log_stop(&log);
    assert_int_equal(told(err, "access log: 1 line dropped"), 1);
    release(err, saved);
    close(fd);
}

static void test_detached_comes_back(void **state)
{
    int fd = temporary(), new = temporary(), saved, err = capture(&saved);
    struct access_log *log = started(1, 64 * KIB, fd);
    uint64_t last[2] = { 0 };
    (void)state;
    access_log_retain(log, &none);
    UNTIL(!open_elsewhere(fd));
    assert_int_equal(access_log_attach(log, PATH, again(new)), 0);
    add(log, 0, PATH, 1);
    UNTIL(newlines_in(new) == 1);
    access_log_retain(log, &none);
    assert_int_equal(access_log_attach(log, PATH, again(fd)), 0);       /* before or after the other is closed */
    add(log, 0, PATH, 2);
    UNTIL(!open_elsewhere(new));
    UNTIL(newlines_in(fd) == 1);
    assert_true(open_elsewhere(fd));
    add(log, 0, "/never/attached", 3);
    UNTIL(access_dropped(log) == 1);
    assert_int_equal(access_log_dropped(log, "/never/attached"), 0);
    access_log_stop(&log);
    assert_int_equal(lines_in(fd, last), 1);
    release(err, saved);
    close(new);
    close(fd);
}

static struct config_balancer logging_to(const char *path, bool enabled)
{
    struct config_balancer balancer = { .name = "b" };
    balancer.attributes.access_log.enabled = enabled;
    balancer.attributes.access_log.path = path;
    return balancer;
}

static void test_retained(void **state)
{
    int fds[3] = { temporary(), temporary(), temporary() };
    struct access_log *log = started(1, 64 * KIB, fds[0]);
    struct config_balancer balancers[] = { logging_to("/off", false), logging_to(PATH, true) };
    struct config config = { .balancers = balancers, .balancer_count = 2 };
    (void)state;
    assert_int_equal(access_log_attach(log, "/off", again(fds[1])), 0);
    assert_int_equal(access_log_attach(log, "/gone", again(fds[2])), 0);
    access_log_retain(log, &config);
    UNTIL(!open_elsewhere(fds[1]) && !open_elsewhere(fds[2]));
    assert_true(open_elsewhere(fds[0]));
    access_log_stop(&log);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

/* Lines of two workers come while the file is taken away again and again: each is in it, or was told to have come too late. */
static void test_detached_under_load(void **state)
{
    int fd = temporary(), saved, err = capture(&saved);
    struct access_log *log = started(2, 1024 * KIB, fd);
    struct producer producers[2] = { { log, 0 }, { log, 1 } };
    uint64_t dropped;
    unsigned messages;
    pthread_t threads[2];
    (void)state;
    assert_int_equal(access_log_attach(log, "/second", again(fd)), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    for (unsigned i = 0; i < 200; i++) {
        access_log_retain(log, &none);
        assert_int_equal(access_log_attach(log, PATH, again(fd)), 0);
        assert_int_equal(access_log_attach(log, "/second", again(fd)), 0);
    }
    access_log_retain(log, &none);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    UNTIL(newlines_in(fd) + access_dropped(log) == 2 * EACH);
    UNTIL(!open_elsewhere(fd));
    dropped = access_dropped(log);
    access_log_stop(&log);
    assert_int_equal(told_dropped(err, &messages), dropped);
    assert_int_equal(newlines_in(fd) + dropped, 2 * EACH);
    assert_true(dropped < 2 * EACH);
    release(err, saved);
    close(fd);
}

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void test_bounds(void **state)
{
    int fd = temporary(), before = open_descriptors();
    struct access_log *log = NULL;
    char path[16];
    (void)state;
    assert_int_equal(access_log_start(1, SIZE_MAX, &log), -EINVAL);
    assert_null(log);
    log = started(1, 1, fd);
    for (int i = 1; i < 256; i++) {
        snprintf(path, sizeof(path), "/%d", i);
        assert_int_equal(access_log_attach(log, path, again(fd)), 0);
    }
    assert_int_equal(access_log_attach(log, "/one/more", again(fd)), -ENOSPC);
    for (int i = 0; i < 100; i++)       /* faster than the writer takes them */
        assert_int_equal(access_log_attach(log, "/255", again(fd)), 0);
    access_log_stop(&log);
    access_log_stop(&log);
    assert_int_equal(open_descriptors(), before);
    close(fd);
}

int main(void)
{
    static struct CMUnitTest tests[64];
    static const struct CMUnitTest others[] = {
        { "dates are the C library's, to the year 9999", test_times_agree_with_libc, NULL, NULL, NULL },
        { "each of 256 bytes: escaped by rule, and back from JSON", test_every_byte, NULL, NULL, NULL },
        { "a user agent of 8 KB is cut", test_user_agent_is_cut, NULL, NULL, NULL },
        { "the longest line fits", test_longest, NULL, NULL, NULL },
        { "random bytes are always JSON", test_random_bytes_are_json, NULL, NULL, NULL },
        { "rings wrap at every offset, in order", test_ring_wraps, NULL, NULL, NULL },
        { "a line longer than the ring is dropped alone", test_line_longer_than_ring, NULL, NULL, NULL },
        { "a line is written without a further one", test_written_soon, NULL, NULL, NULL },
        { "a full disk: dropped, counted, told once, and over", test_full_disk, NULL, NULL, NULL },
        { "no line is torn by a disk that fills up", test_no_line_is_torn, NULL, NULL, NULL },
        { "a pipe in drips gets every line", test_pipe_in_drips, NULL, NULL, NULL },
        { "a pipe that nobody reads holds no worker up", test_pipe_nobody_reads, NULL, NULL, NULL },
        { "a pipe without a reader is no signal", test_pipe_without_reader, NULL, NULL, NULL },
        { "two workers, two files: all there or counted, in order", test_two_workers, NULL, NULL, NULL },
        { "a replaced file gets nothing that came after", test_reopened, NULL, NULL, NULL },
        { "a detached file gets what is queued and expected, then it is closed", test_detached, NULL, NULL, NULL },
        { "a detached file can come back", test_detached_comes_back, NULL, NULL, NULL },
        { "files stay that some balancer logs to", test_retained, NULL, NULL, NULL },
        { "a file detached under load: every line is there or counted", test_detached_under_load, NULL, NULL, NULL },
        { "256 paths, then no more; no descriptor is left", test_bounds, NULL, NULL, NULL },
    };
    size_t count = 0;
    for (size_t i = 0; i < COUNT(lines); i++)
        tests[count++] = (struct CMUnitTest){ lines[i].name, test_line, NULL, NULL, (void *)&lines[i] };
    for (size_t i = 0; i < COUNT(others); i++)
        tests[count++] = others[i];
    return _cmocka_run_group_tests("access", tests, count, NULL, NULL);
}
