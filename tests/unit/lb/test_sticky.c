/*
 * Stickiness: which cookies open, what a request claims, and what an answer gets, byte for byte. In heads, {a} stands
 * for the cookie of instance a, {b} for that of b, {stranger} for one that another key sealed.
 */
#include "lb/sticky.h"
#include "common/buf.h"
#include "common/config.h"
#include "common/http1.h"
#include "lb/sticky_key.h"
#include "tests/unit/common/guard.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#define COUNT(table) (sizeof(table) / sizeof(table[0]))

static struct sticky_keys *keys, *stranger_keys;
static struct config_policy lb_policy = { .type = POLICY_LB_COOKIE };

static struct sticky_key key_of(uint8_t first)
{
    struct sticky_key key;

    for (size_t i = 0; i < sizeof(key.bytes); i++)
        key.bytes[i] = (uint8_t)(first + i);
    return key;
}

static struct sticky_keys *keys_of(uint8_t current)
{
    struct sticky_key key = key_of(current);
    struct sticky_keys *ret = NULL;

    assert_int_equal(sticky_keys_new(&key, NULL, &ret), 0);
    return ret;
}

static struct sticky sticky_of(const struct sticky_keys *of)
{
    return (struct sticky){ .keys = of, .policy = &lb_policy, .balancer = "ha-lbext", .instance_port = 80 };
}

static struct span text_span(const char *text)
{
    return (struct span){ text, strlen(text) };
}

/* ---- sealing ---- */

/* Made by another program (Python's cryptography), so that cookies stay good from one version to the next. */
static void test_known_cookie(void **state)
{
    struct sticky sticky = sticky_of(keys);
    char sealed[STICKY_SEALED_LEN + 1];

    (void)state;
    assert_int_equal(sticky_seal(&sticky, "ha-web-left", sealed), 0);
    assert_string_equal(sealed, "7DB1A972E49B2558799799F07C05449E1186CE064182137803EC60FD70C32CB04421D1B438A13B6106718F9EC06F8FC2EA9C"
                                "679FD33FFAEFEC6F769CE7F9E57D00C1326DDD");
}

static void test_every_length(void **state)
{
    struct sticky sticky = sticky_of(keys);
    char id[STICKY_ID_MAX + 1] = "", sealed[STICKY_SEALED_LEN + 1], opened[STICKY_ID_MAX + 1];

    (void)state;
    for (size_t len = 1; len <= STICKY_ID_MAX; len++) {
        id[len - 1] = (char)('a' + len % 26);
        assert_int_equal(sticky_seal(&sticky, id, sealed), 0);
        assert_int_equal(strlen(sealed), STICKY_SEALED_LEN);
        assert_int_equal(strspn(sealed, "0123456789ABCDEF"), STICKY_SEALED_LEN);
        assert_true(sticky_open(&sticky, (struct span){ guard_copy(sealed, STICKY_SEALED_LEN), STICKY_SEALED_LEN }, opened));
        assert_string_equal(opened, id);
    }
}

/* Ids that differ in one letter share nothing beyond chance: no run of eight digits in the same place. */
static void test_nothing_shows(void **state)
{
    struct sticky sticky = sticky_of(keys);
    char a[STICKY_SEALED_LEN + 1], b[STICKY_SEALED_LEN + 1];

    (void)state;
    assert_int_equal(sticky_seal(&sticky, "10-0-20-100", a), 0);
    assert_int_equal(sticky_seal(&sticky, "10-0-20-101", b), 0);
    for (size_t i = 0; i + 8 <= STICKY_SEALED_LEN; i++)
        assert_memory_not_equal(a + i, b + i, 8);
}

static void test_forged(void **state)
{
    struct sticky sticky = sticky_of(keys);
    char sealed[STICKY_SEALED_LEN + 2], id[STICKY_ID_MAX + 1];

    (void)state;
    assert_int_equal(sticky_seal(&sticky, "ha-web-left", sealed), 0);
    for (size_t i = 0; i < STICKY_SEALED_LEN; i++) {
        char digit = sealed[i];
        for (const char *other = "0123456789ABCDEFabcdefGg /:@`\x7f\xff"; *other != '\0'; other++) {
            sealed[i] = *other;
            assert_int_equal(sticky_open(&sticky, (struct span){ sealed, STICKY_SEALED_LEN }, id), *other == digit);
        }
        sealed[i] = digit;
    }
    for (size_t len = 0; len < STICKY_SEALED_LEN; len++)
        assert_false(sticky_open(&sticky, (struct span){ guard_copy(sealed, len), len }, id));
    sealed[STICKY_SEALED_LEN] = '0';
    assert_false(sticky_open(&sticky, (struct span){ sealed, STICKY_SEALED_LEN + 1 }, id));
    assert_int_equal(ERR_peek_error(), 0);      /* nothing that TLS could stumble over */
}

static const struct scope_row {
    const char *name;
    uint8_t current, previous;      /* keys of who opens; 0: no previous one */
    const char *balancer;
    uint16_t port;
    bool opens;
} scopes[] = {
    { "the same key, balancer and port",                1, 0, "ha-lbext",  80,   true },
    { "a key that was in force before",                 2, 1, "ha-lbext",  80,   true },
    { "the current key beside one from before",         1, 2, "ha-lbext",  80,   true },
    { "another key",                                    2, 0, "ha-lbext",  80,   false },
    { "two other keys",                                 2, 3, "ha-lbext",  80,   false },
    { "another balancer",                               1, 0, "ha-lbint",  80,   false },
    { "a balancer whose name begins like it",           1, 0, "ha-lbext2", 80,   false },
    { "another instance port loses stickiness (ELB)",   1, 0, "ha-lbext",  8080, false },
    { "a port of the same low byte",                    1, 0, "ha-lbext",  336,  false },
};

static void test_scope(void **state)
{
    const struct scope_row *row = *state;
    struct sticky_key current = key_of(row->current), previous = key_of(row->previous);
    struct sticky sealer = sticky_of(keys), opener;
    struct sticky_keys *own = NULL;
    char sealed[STICKY_SEALED_LEN + 1], id[STICKY_ID_MAX + 1];

    assert_int_equal(sticky_keys_new(&current, row->previous != 0 ? &previous : NULL, &own), 0);
    opener = (struct sticky){ .keys = own, .policy = &lb_policy, .balancer = row->balancer, .instance_port = row->port };
    assert_int_equal(sticky_seal(&sealer, "a", sealed), 0);
    assert_int_equal(sticky_open(&opener, text_span(sealed), id), row->opens);
    sticky_keys_free(&own);
    assert_null(own);
}

#define THREADS 4

static void *open_often(void *arg)
{
    struct sticky sticky = sticky_of(keys);
    char sealed[STICKY_SEALED_LEN + 1], id[STICKY_ID_MAX + 1], opened[STICKY_ID_MAX + 1];
    uintptr_t good = 0;

    snprintf(id, sizeof(id), "i-%d", *(const int *)arg);
    for (int i = 0; i < 500; i++)
        good += sticky_seal(&sticky, id, sealed) == 0 && sticky_open(&sticky, text_span(sealed), opened) && strcmp(id, opened) == 0;
    return (void *)good;
}

static void test_threads(void **state)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, open_often, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *good;
        assert_int_equal(pthread_join(threads[i], &good), 0);
        assert_int_equal((uintptr_t)good, 500);
    }
}

/* ---- heads ---- */

static const struct http1_limits limits = { .line_max = 16384, .field_max = 65536, .head_max = 65536, .count_max = 100 };
static struct http1_head request_head, answer_head;
static char request_bytes[65536], answer_bytes[65536];

/* Writes text with its {marks} replaced. */
static void expand(const char *text, char *out, size_t cap)
{
    struct sticky own = sticky_of(keys), stranger = sticky_of(stranger_keys);
    size_t len = 0;

    while (*text != '\0') {
        const char *end = *text == '{' ? strchr(text, '}') : NULL;
        char id[STICKY_ID_MAX + 1];
        assert_true(len + STICKY_SEALED_LEN + 1 < cap);
        if (end == NULL) {
            out[len++] = *text++;
            continue;
        }
        snprintf(id, sizeof(id), "%.*s", (int)(end - text - 1), text + 1);
        assert_int_equal(sticky_seal(strcmp(id, "stranger") == 0 ? &stranger : &own, id, out + len), 0);
        len += STICKY_SEALED_LEN;
        text = end + 1;
    }
    out[len] = '\0';
}

static const struct http1_head *request_of(const char *fields)
{
    char text[32768];
    int n;

    expand(fields, text, sizeof(text));
    n = snprintf(request_bytes, sizeof(request_bytes), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", text);
    assert_int_equal(http1_parse_request(&request_head, request_bytes, (size_t)n, &limits), n);
    return &request_head;
}

static const struct http1_head *answer_of(const char *fields)
{
    char text[32768];
    int n;

    expand(fields, text, sizeof(text));
    n = snprintf(answer_bytes, sizeof(answer_bytes), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n%s\r\n", text);
    assert_int_equal(http1_parse_response(&answer_head, answer_bytes, (size_t)n, &limits, METHOD_GET), n);
    return &answer_head;
}

static const struct find_row {
    const char *name, *fields;
    const char *values;             /* of all cookies "sid", each with a '|' after it */
} finds[] = {
    { "the only cookie",                                     "Cookie: sid=1\r\n",                              "1|" },
    { "the first",                                           "Cookie: sid=1; b=2\r\n",                         "1|" },
    { "one in the middle",                                   "Cookie: a=0; sid=1; b=2\r\n",                    "1|" },
    { "the last",                                            "Cookie: a=0; sid=1\r\n",                         "1|" },
    { "no blank behind the semicolon",                       "Cookie: a=0;sid=1;b=2\r\n",                      "1|" },
    { "blanks everywhere",                                   "Cookie:  \ta=0 ; \t sid \t=\t 1 \t; b\r\n",      "1|" },
    { "the second Cookie field",                             "Cookie: a=0\r\nX: y\r\ncookie: sid=1\r\n",       "1|" },
    { "several of a name, in order, over several fields",    "Cookie: sid=1; sid=2\r\nCookie: sid=3\r\n",      "1|2|3|" },
    { "quotes are taken off",                                "Cookie: sid=\"1\"\r\n",                          "1|" },
    { "one quote is the value's",                            "Cookie: sid=\"1; b=2\r\n",                       "\"1|" },
    { "a quote alone",                                       "Cookie: sid=\"\r\n",                             "\"|" },
    { "an empty value counts",                               "Cookie: sid=\r\n",                               "|" },
    { "an empty value in quotes",                            "Cookie: sid=\"\"\r\n",                           "|" },
    { "the value goes on after another '='",                 "Cookie: sid=a=b==\r\n",                          "a=b==|" },
    { "RFC 2965's attributes beside it",                     "Cookie: $Version=\"1\"; sid=\"1\"; $Path=\"/\"\r\n", "1|" },
    { "a name without value is none",                        "Cookie: sid\r\n",                                "" },
    { "names have a case",                                   "Cookie: SID=1; Sid=2\r\n",                       "" },
    { "a longer name is another",                            "Cookie: sid2=1; xsid=2\r\n",                     "" },
    { "a shorter name is another",                           "Cookie: si=1\r\n",                               "" },
    { "a name in a value is none",                           "Cookie: a=sid=1; b=\"sid=2\"\r\n",               "" },
    { "a comma separates nothing",                           "Cookie: a=0, sid=1\r\n",                         "" },
    { "empty parts",                                         "Cookie: ;; ; sid=1;;\r\n",                       "1|" },
    { "an empty field",                                      "Cookie:\r\n",                                    "" },
    { "no Cookie field",                                     "X-Cookie: sid=1\r\nSet-Cookie: sid=2\r\n",       "" },
    { "one that Connection names does not go on, so it does not count", "Connection: cookie\r\nCookie: sid=1\r\n", "" },
};

static void test_find(void **state)
{
    const struct find_row *row = *state;
    const struct http1_head *head = request_of(row->fields);
    struct sticky_search search = { 0, 0 };
    struct span value;
    char found[256] = "";

    while (sticky_find(head, SPAN("sid"), &search, &value))
        snprintf(found + strlen(found), sizeof(found) - strlen(found), "%.*s|", (int)value.len, value.ptr);
    assert_string_equal(found, row->values);
    assert_false(sticky_find(head, SPAN("sid"), &search, &value));
}

static const struct find_set_row {
    const char *name, *fields;
    const char *attributes;         /* NULL: none was found */
} find_sets[] = {
    { "no attributes",                                "Set-Cookie: sid=1\r\n",                                   "" },
    { "all behind the first semicolon",               "Set-Cookie: sid=1; Path=/; Secure\r\n",                   " Path=/; Secure" },
    { "among others'",                                "Set-Cookie: a=1;x\r\nSet-Cookie: sid=1;y\r\nSet-Cookie: b=1;z\r\n", "y" },
    { "the last of several is what a browser keeps",  "Set-Cookie: sid=1;x\r\nSet-Cookie: sid=2;y\r\n",          "y" },
    { "an empty value sets it too",                   "Set-Cookie: sid=;x\r\n",                                  "x" },
    { "one that ends in ';' does not count (ELB)",    "Set-Cookie: sid=1;x;\r\n",                                NULL },
    { "nor does it with a blank after that",          "Set-Cookie: sid=1; \r\n",                                 NULL },
    { "then one before it stands",                    "Set-Cookie: sid=1;x\r\nSet-Cookie: sid=2;y;\r\n",         "x" },
    { "names have a case",                            "Set-Cookie: SID=1\r\n",                                   NULL },
    { "a longer name is another",                     "Set-Cookie: sid2=1\r\n",                                  NULL },
    { "a name without value",                         "Set-Cookie: sid; Path=/\r\n",                             NULL },
    { "an attribute of that name",                    "Set-Cookie: a=1; sid=2\r\n",                              NULL },
    { "an empty field",                               "Set-Cookie:\r\n",                                         NULL },
    { "none",                                         "Cookie: sid=1\r\n",                                       NULL },
    { "one that Connection names does not go on",     "Connection: set-cookie\r\nSet-Cookie: sid=1\r\n",         NULL },
};

static void test_find_set(void **state)
{
    const struct find_set_row *row = *state;
    struct span attributes = { NULL, 0 };
    bool found = sticky_find_set(answer_of(row->fields), SPAN("sid"), &attributes);

    assert_int_equal(found, row->attributes != NULL);
    if (found)
        assert_true(span_equal(attributes, text_span(row->attributes)));
}

/* ---- a request and its answer ---- */

#define CACHE "Cache-control: no-cache=\"set-cookie\"\r\n"

static const struct exchange_row {
    const char *name;
    const char *cookie;             /* the application's; NULL: an LB cookie */
    uint64_t expires_ms;            /* LB cookie */
    const char *request;            /* its fields */
    const char *claims;             /* ids, each with a '|' after it */
    const char *answer;             /* the instance's fields */
    const char *by;                 /* the instance that answered */
    const char *added;              /* to the answer's head */
} exchanges[] = {
    /* LB cookies */
    { "a client without cookie gets one", NULL, 0, "", "", "", "a", "Set-Cookie: AWSELB={a};PATH=/\r\n" CACHE },
    { "one that expires (ELB's own bytes)", NULL, 900000, "", "", "", "a", "Set-Cookie: AWSELB={a};PATH=/;MAX-AGE=900\r\n" CACHE },
    { "one second", NULL, 1000, "", "", "", "a", "Set-Cookie: AWSELB={a};PATH=/;MAX-AGE=1\r\n" CACHE },
    { "less than a second is none, not an end at once", NULL, 999, "", "", "", "a", "Set-Cookie: AWSELB={a};PATH=/\r\n" CACHE },
    { "the longest", NULL, UINT64_MAX, "", "", "", "a", "Set-Cookie: AWSELB={a};PATH=/;MAX-AGE=18446744073709551\r\n" CACHE },
    { "who is where he wants gets none: its end is not put off", NULL, 900000, "Cookie: AWSELB={a}\r\n", "a|", "", "a", "" },
    { "in quotes too", NULL, 0, "Cookie: x=y; AWSELB=\"{a}\"\r\n", "a|", "", "a", "" },
    { "who is served by another gets that one's", NULL, 0, "Cookie: AWSELB={a}\r\n", "a|", "", "b", "Set-Cookie: AWSELB={b};PATH=/\r\n" CACHE },
    { "garbage is as good as nothing", NULL, 0, "Cookie: AWSELB=hello\r\n", "", "", "a", "Set-Cookie: AWSELB={a};PATH=/\r\n" CACHE },
    { "an empty one too", NULL, 0, "Cookie: AWSELB=\r\n", "", "", "a", "Set-Cookie: AWSELB={a};PATH=/\r\n" CACHE },
    { "and one that somebody else sealed", NULL, 0, "Cookie: AWSELB={stranger}\r\n", "", "", "a", "Set-Cookie: AWSELB={a};PATH=/\r\n" CACHE },
    { "a good one behind garbage is found", NULL, 0, "Cookie: AWSELB=x; AWSELB={stranger}; AWSELB={a}\r\n", "a|", "", "a", "" },
    { "two good ones are claimed in order", NULL, 0, "Cookie: AWSELB={a}; AWSELB={b}\r\n", "a|b|", "", "b", "" },
    { "the same twice is one claim", NULL, 0, "Cookie: AWSELB={a}; AWSELB={a}; AWSELB={b}\r\n", "a|b|", "", "a", "" },
    { "a third is not looked at", NULL, 0, "Cookie: AWSELB={a}; AWSELB={b}; AWSELB={c}\r\n", "a|b|", "", "c", "Set-Cookie: AWSELB={c};PATH=/\r\n" CACHE },
    { "nor a fifth after four that do not open", NULL, 0,
      "Cookie: AWSELB={stranger}; AWSELB={stranger}; AWSELB={stranger}; AWSELB={stranger}; AWSELB={a}\r\n", "", "", "b", "Set-Cookie: AWSELB={b};PATH=/\r\n" CACHE },
    { "cookies of another length cost no try", NULL, 0, "Cookie: AWSELB=1; AWSELB=2; AWSELB=3; AWSELB=4; AWSELB=5; AWSELB={a}\r\n", "a|", "", "a", "" },
    { "other spellings of the name are other cookies", NULL, 0, "Cookie: awselb={a}; AWSELBCORS={a}\r\n", "", "", "b", "Set-Cookie: AWSELB={b};PATH=/\r\n" CACHE },
    { "the application's cookies do not matter", NULL, 0, "Cookie: sid=1\r\n", "", "Set-Cookie: sid=1; Path=/x; Max-Age=5\r\nCache-Control: private\r\n", "a",
      "Set-Cookie: AWSELB={a};PATH=/\r\n" CACHE },
    /* application cookies */
    { "no session, no cookie", "sid", 0, "", "", "", "a", "" },
    { "the application begins one", "sid", 0, "", "", "Set-Cookie: sid=1\r\n", "a", "Set-Cookie: AWSELB={a}\r\n" CACHE },
    { "the instance that began it is claimed", "sid", 0, "Cookie: sid=1; AWSELB={a}\r\n", "a|", "", "a", "" },
    { "an application that renews its cookie renews ours", "sid", 0, "Cookie: sid=1; AWSELB={a}\r\n", "a|", "Set-Cookie: sid=1; Max-Age=60\r\n", "a",
      "Set-Cookie: AWSELB={a};MAX-AGE=60\r\n" CACHE },
    { "without the application's cookie ours says nothing", "sid", 0, "Cookie: AWSELB={a}\r\n", "", "", "b", "" },
    { "with an empty one it does", "sid", 0, "Cookie: AWSELB={a}; sid=\r\n", "a|", "", "a", "" },
    { "a session is not stuck before ours was set", "sid", 0, "Cookie: sid=1\r\n", "", "", "a", "" },
    { "another instance that takes the session over keeps it", "sid", 0, "Cookie: sid=1; AWSELB={a}\r\n", "a|", "", "b", "Set-Cookie: AWSELB={b};PATH=/\r\n" CACHE },
    { "with a session of its own it goes by that one's attributes", "sid", 0, "Cookie: sid=1; AWSELB={a}\r\n", "a|", "Set-Cookie: sid=2; Path=/app\r\n", "b",
      "Set-Cookie: AWSELB={b};PATH=/app\r\n" CACHE },
    { "taken over twice: the one that serves is claimed already", "sid", 0, "Cookie: sid=1; AWSELB={a}; AWSELB={b}\r\n", "a|b|", "", "b", "" },
    { "all that ELB copies, in the application's order", "sid", 0, "", "",
      "Set-Cookie: sid=1; expires=Wed, 21 Oct 2099 07:28:00 GMT; Max-Age=60; Domain=example.com; Path=/a/b; Secure; HttpOnly; SameSite=None\r\n", "a",
      "Set-Cookie: AWSELB={a};EXPIRES=Wed, 21 Oct 2099 07:28:00 GMT;MAX-AGE=60;DOMAIN=example.com;PATH=/a/b;SECURE;HTTPONLY;SAMESITE=None\r\n" CACHE },
    { "RFC 2965's too", "sid", 0, "", "", "Set-Cookie: sid=1;Version=\"1\";Port=\"80,81\";Discard;Comment=c d;CommentURL=\"u\"\r\n", "a",
      "Set-Cookie: AWSELB={a};VERSION=\"1\";PORT=\"80,81\";DISCARD;COMMENT=c d;COMMENTURL=\"u\"\r\n" CACHE },
    { "what ELB does not know is not copied", "sid", 0, "", "", "Set-Cookie: sid=1; Partitioned; Priority=High; Path=/; =; x\r\n", "a",
      "Set-Cookie: AWSELB={a};PATH=/\r\n" CACHE },
    { "blanks around names and values go, those inside stay", "sid", 0, "", "", "Set-Cookie: sid = 1 ;\tpath \t=  /a b\t;  MAX-age= 5 ; SECURE \r\n", "a",
      "Set-Cookie: AWSELB={a};PATH=/a b;MAX-AGE=5;SECURE\r\n" CACHE },
    { "empty values and empty parts", "sid", 0, "", "", "Set-Cookie: sid=1;; ;Path=;Secure=;Domain\r\n", "a",
      "Set-Cookie: AWSELB={a};PATH=;SECURE=;DOMAIN\r\n" CACHE },
    { "of repeated ones the last counts, so all are copied", "sid", 0, "", "", "Set-Cookie: sid=1;Path=/a;Path=/b\r\n", "a",
      "Set-Cookie: AWSELB={a};PATH=/a;PATH=/b\r\n" CACHE },
    { "an underscore in a path becomes %5F (ELB), elsewhere it stays", "sid", 0, "", "", "Set-Cookie: sid=_; Path=/_a__b/; Comment=_\r\n", "a",
      "Set-Cookie: AWSELB={a};PATH=/%5Fa%5F%5Fb/;COMMENT=_\r\n" CACHE },
    { "a path of nothing but underscores has its room", "sid", 0, "", "", "Set-Cookie: sid=1;Path=________________________________________________________________________________"
      "________________________________________________________________________________________________________________________________________________________________\r\n", "a",
      "Set-Cookie: AWSELB={a};PATH="
#define F16 "%5F%5F%5F%5F%5F%5F%5F%5F%5F%5F%5F%5F%5F%5F%5F%5F"
      F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 F16 "\r\n" CACHE },
    { "an application that removes its cookie removes ours", "sid", 0, "Cookie: sid=1; AWSELB={a}\r\n", "a|", "Set-Cookie: sid=; Path=/; Max-Age=0\r\n", "a",
      "Set-Cookie: AWSELB={a};PATH=/;MAX-AGE=0\r\n" CACHE },
    { "by a date too", "sid", 0, "Cookie: sid=1; AWSELB={a}\r\n", "a|", "Set-Cookie: sid=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT\r\n", "a",
      "Set-Cookie: AWSELB={a};EXPIRES=Thu, 01 Jan 1970 00:00:00 GMT\r\n" CACHE },
    { "removed and set anew: the last counts", "sid", 0, "", "", "Set-Cookie: sid=; Max-Age=0\r\nSet-Cookie: sid=2; Max-Age=9\r\n", "a",
      "Set-Cookie: AWSELB={a};MAX-AGE=9\r\n" CACHE },
    { "one that ends in ';' is ignored (ELB)", "sid", 0, "", "", "Set-Cookie: sid=1; Path=/;\r\n", "a", "" },
};

static void test_exchange(void **state)
{
    const struct exchange_row *row = *state;
    struct config_policy policy = { .type = row->cookie != NULL ? POLICY_APP_COOKIE : POLICY_LB_COOKIE,
                                    .cookie_name = row->cookie, .cookie_expiration_period_ms = row->expires_ms };
    struct sticky sticky = sticky_of(keys);
    struct sticky_claim claim;
    const struct http1_head *answer;
    struct buf *buf;
    char claims[256] = "", added[4096];

    sticky.policy = &policy;
    memset(&claim, 0xff, sizeof(claim));
    sticky_read(&sticky, request_of(row->request), &claim);
    for (unsigned i = 0; i < claim.count; i++)
        snprintf(claims + strlen(claims), sizeof(claims) - strlen(claims), "%s|", claim.ids[i]);
    assert_string_equal(claims, row->claims);
    memset(request_bytes, 'x', sizeof(request_bytes));      /* a claim outlives its request */
    answer = answer_of(row->answer);
    buf = buf_new(sticky_room(&sticky, answer));
    assert_non_null(buf);
    assert_int_equal(sticky_add(buf, &sticky, &claim, answer, row->by), 0);
    expand(row->added, added, sizeof(added));
    assert_int_equal(buf->len, strlen(added));
    assert_memory_equal(buf->data, added, buf->len);
    buf_unref(&buf);
}

static uint64_t random_state;

static unsigned random_below(unsigned n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned)((random_state >> 33) % n);
}

/* Whatever an application says: two whole lines or none, in the room that was asked for (buf_add() asserts it). */
static void test_any_set_cookie(void **state)
{
    static const char *const words[] = { "sid", "sid=", "=", ";", "; ", "_", "Path=", "path", "Max-Age=", "Secure", " ", "\t", "\"", "x", "\xff", "%" };
    static const struct config_policy policy = { .type = POLICY_APP_COOKIE, .cookie_name = "sid" };
    const char *seed = getenv("HALB_TEST_SEED");
    struct sticky sticky = sticky_of(keys);
    struct sticky_claim claim = { .count = 0 };
    unsigned set = 0;

    (void)state;
    random_state = seed != NULL ? strtoull(seed, NULL, 0) : UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)getpid() << 1;
    print_message("seed: HALB_TEST_SEED=%#llx\n", (unsigned long long)random_state);
    sticky.policy = &policy;
    for (int i = 0; i < 20000; i++) {
        char fields[512] = "Set-Cookie: ";
        const struct http1_head *answer;
        struct buf *buf;
        if (random_below(2) == 0)
            strcat(fields, "sid=1;");
        for (unsigned n = random_below(16); n > 0; n--)
            strcat(fields, words[random_below(COUNT(words))]);
        answer = answer_of(strcat(fields, "\r\n"));
        buf = buf_new(sticky_room(&sticky, answer) + 1);
        assert_non_null(buf);
        buf->cap--;
        assert_int_equal(sticky_add(buf, &sticky, &claim, answer, "a"), 0);
        buf->data[buf->len] = '\0';
        set += buf->len > 0;
        if (buf->len > 0) {
            char *end = strstr(buf->data, "\r\n");
            assert_memory_equal(buf->data, "Set-Cookie: AWSELB=", 19);
            assert_string_equal(end, "\r\n" CACHE);
        }
        buf_unref(&buf);
    }
    assert_true(set > 1000 && set < 19000);
}

/* ---- keys from files ---- */

static char folder[64];

static int folder_setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/halb-sticky-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static const char *in_folder(const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static int folder_teardown(void **state)
{
    static const char *const names[] = { "cookie.key", "cookie.key.new", "key", "link" };

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++)
        unlink(in_folder(names[i]));
    rmdir(in_folder("key"));
    return rmdir(folder);
}

static void write_file(const char *name, size_t len, mode_t mode)
{
    int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char byte = 'k';

    assert_true(fd >= 0);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(write(fd, &byte, 1), 1);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static const struct file_row {
    const char *name;
    size_t len;
    mode_t mode;
    int r;
} files[] = {
    { "a key of 32 bytes",                        32,   0600, 0 },
    { "one that is never written again",          32,   0400, 0 },
    { "one of 4096",                              4096, 0600, 0 },
    { "31 are no key",                            31,   0600, -ERANGE },
    { "an empty file is no key",                  0,    0600, -ERANGE },
    { "4097 are no key",                          4097, 0600, -ERANGE },
    { "a key that its group reads",               32,   0640, -EPERM },
    { "a key that all read",                      32,   0604, -EPERM },
    { "a key that others write",                  32,   0602, -EPERM },
};

static void test_file(void **state)
{
    const struct file_row *row = *state;
    struct sticky_key key = key_of(7), untouched = key_of(7);

    folder_setup(NULL);
    write_file("key", row->len, row->mode);
    assert_int_equal(sticky_key_load(in_folder("key"), &key), row->r);
    assert_int_equal(memcmp(&key, &untouched, sizeof(key)) == 0, row->r != 0);
    folder_teardown(NULL);
}

static void test_file_hash(void **state)
{
    /* sha256 of 32 times 'k' */
    static const uint8_t expected[] = { 0x5e, 0x31, 0x8f, 0x8c, 0xf9, 0xcb, 0xe2, 0x49, 0xa3, 0x08, 0x12, 0xb8, 0xca, 0x13, 0x2d, 0x69,
                                          0x1d, 0xed, 0x7a, 0x91, 0x99, 0x14, 0x13, 0x55, 0x8d, 0xb5, 0x75, 0x85, 0x75, 0xf5, 0xe0, 0x1f };
    struct sticky_key key, again;
    char byte;
    int fd;

    (void)state;
    write_file("key", 32, 0600);
    assert_int_equal(symlink("key", in_folder("link")), 0);
    assert_int_equal(sticky_key_load(in_folder("link"), &key), 0);
    assert_memory_equal(key.bytes, expected, sizeof(expected));
    fd = open(in_folder("key"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, &byte, 1), 1);
    assert_int_equal(sticky_key_read(fd, &again), 0);
    assert_memory_equal(&again, &key, sizeof(key));
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 1);
    close(fd);
}

static void test_no_file(void **state)
{
    struct sticky_key key;

    (void)state;
    assert_int_equal(sticky_key_load(in_folder("key"), &key), -ENOENT);
    assert_int_equal(sticky_key_make(in_folder("key"), &key), -ENOENT);
    assert_int_equal(mkfifo(in_folder("key"), 0600), 0);
    assert_int_equal(sticky_key_load(in_folder("key"), &key), -EINVAL);
    assert_int_equal(sticky_key_make(in_folder("key"), &key), -ENOTDIR);
    assert_int_equal(unlink(in_folder("key")), 0);
    assert_int_equal(mkdir(in_folder("key"), 0700), 0);
    assert_int_equal(sticky_key_load(in_folder("key"), &key), -EINVAL);
}

static void test_make(void **state)
{
    struct sticky_key key, again;
    struct stat st;

    (void)state;
    write_file("cookie.key.new", 5, 0644);      /* what a start that was cut short left */
    assert_int_equal(sticky_key_make(folder, &key), 0);
    assert_int_equal(stat(in_folder("cookie.key"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 32);
    assert_int_equal(st.st_nlink, 1);
    assert_int_equal(access(in_folder("cookie.key.new"), F_OK), -1);
    assert_int_equal(sticky_key_make(folder, &again), 0);
    assert_memory_equal(&again, &key, sizeof(key));
    assert_int_equal(unlink(in_folder("cookie.key")), 0);
    assert_int_equal(sticky_key_make(folder, &again), 0);
    assert_memory_not_equal(&again, &key, sizeof(key));
}

/* Somebody's key is not replaced because it is not as it should be. */
static void test_make_beside_bad(void **state)
{
    struct sticky_key key;
    struct stat st;

    (void)state;
    write_file("cookie.key", 32, 0644);
    assert_int_equal(sticky_key_make(folder, &key), -EPERM);
    write_file("cookie.key", 5, 0600);
    assert_int_equal(sticky_key_make(folder, &key), -ERANGE);
    assert_int_equal(stat(in_folder("cookie.key"), &st), 0);
    assert_int_equal(st.st_size, 5);
}

static int group_setup(void **state)
{
    (void)state;
    keys = keys_of(1);
    stranger_keys = keys_of(100);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    sticky_keys_free(&keys);
    sticky_keys_free(&stranger_keys);
    return 0;
}

#define ROWS(table, function)                 \
    for (size_t i = 0; i < COUNT(table); i++) \
        tests[count++] = (struct CMUnitTest){ .name = table[i].name, .test_func = (function), .initial_state = (void *)&table[i] }
#define IN_FOLDER(function) cmocka_unit_test_setup_teardown(function, folder_setup, folder_teardown)

int main(void)
{
    static struct CMUnitTest tests[256];
    size_t count = 0;
    const struct CMUnitTest others[] = {
        cmocka_unit_test(test_known_cookie), cmocka_unit_test(test_every_length), cmocka_unit_test(test_nothing_shows),
        cmocka_unit_test(test_forged), cmocka_unit_test(test_threads), cmocka_unit_test(test_any_set_cookie),
        IN_FOLDER(test_file_hash), IN_FOLDER(test_no_file), IN_FOLDER(test_make), IN_FOLDER(test_make_beside_bad),
    };

    ROWS(scopes, test_scope);
    ROWS(finds, test_find);
    ROWS(find_sets, test_find_set);
    ROWS(exchanges, test_exchange);
    ROWS(files, test_file);
    for (size_t i = 0; i < COUNT(others); i++)
        tests[count++] = others[i];
    return _cmocka_run_group_tests("sticky", tests, count, group_setup, group_teardown);
}
