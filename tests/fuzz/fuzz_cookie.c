/*
 * Cookies, as fields of requests and answers. Whatever id a request gets to, its seal, which only the key makes, stood
 * in the request; and no answer lets a cookie's attributes out of their line.
 */
#include "common/buf.h"
#include "common/config.h"
#include "common/http1.h"
#include "lb/sticky.h"
#include "tests/fuzz/fuzz.h"
#include <stdio.h>

#define BALANCER "ha-lbext"

static const struct http1_limits limits = {
    .line_max = 16384, .field_max = 16384, .head_max = 61440, .count_max = HTTP1_FIELDS_MAX, .mode = HTTP1_MONITOR
};
static const struct config_policy by_lb = { .name = "lb", .type = POLICY_LB_COOKIE, .cookie_expiration_period_ms = 60000 };
static const struct config_policy by_app = { .name = "app", .type = POLICY_APP_COOKIE, .cookie_name = "SESSION" };

/* The key of now with that of before, and the latter alone: what it has sealed still opens. */
static struct sticky_keys *both, *before;

static void keys_once(void)
{
    struct sticky_key current, previous;
    int r;

    if (both != NULL)
        return;
    memset(&current, 'c', sizeof(current));
    memset(&previous, 'p', sizeof(previous));
    r = sticky_keys_new(&current, &previous, &both);
    assert(r == 0);
    r = sticky_keys_new(&previous, NULL, &before);
    assert(r == 0);
}

static bool has_seal(const struct sticky *sticky, const struct sticky_keys *keys, const char *id, const char *bytes, size_t len)
{
    struct sticky with = *sticky;
    char sealed[STICKY_SEALED_LEN + 1];
    int r;

    with.keys = keys;
    r = sticky_seal(&with, id, sealed);
    assert(r == 0);
    assert(strspn(sealed, "0123456789ABCDEF") == STICKY_SEALED_LEN);
    return memmem(bytes, len, sealed, STICKY_SEALED_LEN) != NULL;
}

static void check_id(const struct sticky *sticky, const char *id, const char *bytes, size_t len)
{
    assert(strlen(id) > 0 && strlen(id) <= STICKY_ID_MAX);
    assert(has_seal(sticky, both, id, bytes, len) || has_seal(sticky, before, id, bytes, len));
}

/* ---- requests ---- */

static struct sticky_claim check_request(const struct sticky *sticky, const struct http1_head *head, const char *bytes, size_t len)
{
    struct sticky_claim claim;

    memset(&claim, 0xa5, sizeof(claim));
    sticky_read(sticky, head, &claim);
    assert(claim.count <= STICKY_CLAIMS_MAX);
    assert(sticky->policy->type == POLICY_APP_COOKIE || !claim.session);
    assert(sticky->policy->type != POLICY_APP_COOKIE || claim.session || claim.count == 0);
    for (unsigned i = 0; i < claim.count; i++)
        check_id(sticky, claim.ids[i], bytes, len);
    assert(claim.count < 2 || strcmp(claim.ids[0], claim.ids[1]) != 0);
    return claim;
}

/* What we set comes back as the request's cookie, and asks for the instance; from another port's cookie nobody learns one. */
static void check_round_trip(const struct sticky *sticky, const char *id)
{
    struct sticky other = *sticky;
    char sealed[STICKY_SEALED_LEN + 1], opened[STICKY_ID_MAX + 1];
    int r = sticky_seal(sticky, id, sealed);

    assert(r == 0);
    assert(sticky_open(sticky, (struct span){ sealed, STICKY_SEALED_LEN }, opened));
    assert(strcmp(opened, id) == 0);
    other.instance_port++;
    assert(!sticky_open(&other, (struct span){ sealed, STICKY_SEALED_LEN }, opened));
    other = *sticky;
    other.balancer = "ha-lbint";
    assert(!sticky_open(&other, (struct span){ sealed, STICKY_SEALED_LEN }, opened));
}

/* ---- answers ---- */

/*
 * None or two fields that a strict reader finds, of which the first is the seal that opens to the instance. Its id is
 * in neither, unless the application has `said` it in what is copied.
 */
static void check_fields(const struct sticky *sticky, const struct buf *buf, const char *id, bool said)
{
    static const char start[] = "HTTP/1.1 200 OK\r\n", name[] = "AWSELB=";
    static struct http1_head head;
    struct buf *whole = buf_new(sizeof(start) + buf->len + 2);
    char opened[STICKY_ID_MAX + 1];
    struct span sealed;
    int r;

    assert(whole != NULL);
    buf_add_text(whole, start);
    buf_add(whole, buf->data, buf->len);
    buf_add_text(whole, "\r\n");
    r = http1_parse_response(&head, whole->data, whole->len, &limits, METHOD_GET);
    assert(r > 0 && (size_t)r == whole->len);
    assert(head.field_count == 0 || head.field_count == 2);
    if (head.field_count > 0) {
        sealed = (struct span){ head.fields[0].value.ptr + strlen(name), STICKY_SEALED_LEN };
        assert(head.fields[0].id == FIELD_SET_COOKIE && head.fields[0].value.len >= strlen(name) + STICKY_SEALED_LEN);
        assert(memcmp(head.fields[0].value.ptr, name, strlen(name)) == 0);
        assert(sticky_open(sticky, sealed, opened) && strcmp(opened, id) == 0);
        assert(said || memmem(buf->data, buf->len, id, strlen(id)) == NULL);
        assert(span_equal_nocase(head.fields[1].name, SPAN("Cache-Control")));
    }
    buf_unref(&whole);
}

static void check_answer(const struct sticky *sticky, const struct http1_head *answer, const struct sticky_claim *claim, const char *id, bool said)
{
    struct buf *buf = buf_new(sticky_room(sticky, answer));
    int r;

    assert(buf != NULL);
    r = sticky_add(buf, sticky, claim, answer, id);
    assert(r == 0);
    check_fields(sticky, buf, id, said);
    buf_unref(&buf);
}

/* ---- */

static char *head_of(const char *start, const uint8_t *data, size_t size, size_t *len)
{
    size_t start_len = strlen(start);
    char *bytes = malloc(start_len + size);

    assert(bytes != NULL);
    memcpy(bytes, start, start_len);
    if (size > 0)
        memcpy(bytes + start_len, data, size);
    *len = start_len + size;
    return bytes;
}

static void check_policy(const struct config_policy *policy, const uint8_t *data, size_t size)
{
    static const char id[] = "i-0123456789abcdef0";
    static struct http1_head request, answer;
    struct sticky sticky = { .keys = both, .policy = policy, .balancer = BALANCER, .instance_port = 80 };
    struct sticky_claim claim = { .count = 0 };
    size_t request_len, answer_len;
    char *request_bytes = head_of("GET / HTTP/1.1\r\nHost: a\r\n", data, size, &request_len);
    char *answer_bytes = head_of("HTTP/1.1 200 OK\r\n", data, size, &answer_len);

    if (http1_parse_request(&request, request_bytes, request_len, &limits) > 0)
        claim = check_request(&sticky, &request, request_bytes, request_len);
    if (http1_parse_response(&answer, answer_bytes, answer_len, &limits, METHOD_GET) > 0)
        check_answer(&sticky, &answer, &claim, id, memmem(data, size, id, strlen(id)) != NULL);
    free(request_bytes);
    free(answer_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char id[STICKY_ID_MAX + 1] = "web-1", *bytes = fuzz_exact(data, size);
    struct sticky sticky;

    keys_once();
    sticky = (struct sticky){ .keys = both, .policy = &by_lb, .balancer = BALANCER, .instance_port = 80 };
    check_policy(&by_lb, data, size);
    check_policy(&by_app, data, size);
    if (sticky_open(&sticky, (struct span){ bytes, size }, id))
        check_id(&sticky, id, bytes, size);
    if (size > 0 && memchr(bytes, '\0', size < STICKY_ID_MAX ? size : STICKY_ID_MAX) == NULL)
        snprintf(id, sizeof(id), "%.*s", (int)(size < STICKY_ID_MAX ? size : STICKY_ID_MAX), bytes);
    check_round_trip(&sticky, id);
    free(bytes);
    return 0;
}
