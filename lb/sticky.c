#include "lb/sticky.h"
#include "common/buf.h"
#include "common/config.h"
#include "common/http1.h"
#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>

#define COOKIE "AWSELB"
#define TRIES_MAX 4             /* cookies of the right form that one request makes us open */

/* ---- sealing ---- */

#define TAG_BYTES 16
#define SEALED_BYTES (STICKY_SEALED_LEN / 2)
#define PLAIN_BYTES (SEALED_BYTES - TAG_BYTES)      /* the id's length, the id, zeros */
#define CIPHER "AES-128-SIV"                        /* two keys of 128 bits in one of 256 */
#define PURPOSE "halb cookie 1"
#define SCOPE_MAX (sizeof(PURPOSE) + STICKY_ID_MAX + 1 + 2)

_Static_assert(1 + STICKY_ID_MAX <= PLAIN_BYTES, "an id fits a cookie");

/* Contexts with their keys set up, which is most of the work; a use copies one and leaves it as it is. */
struct prepared {
    EVP_CIPHER_CTX *seal, *open;
};

struct sticky_keys {
    struct prepared current, previous;      /* previous: NULLs if there is none */
};

static EVP_CIPHER_CTX *context_new(const EVP_CIPHER *cipher, const struct sticky_key *key, int seal)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();

    if (context != NULL && EVP_CipherInit_ex2(context, cipher, key->bytes, NULL, seal, NULL) != 1) {
        EVP_CIPHER_CTX_free(context);
        context = NULL;
    }
    return context;
}

static int prepare(struct prepared *prepared, const EVP_CIPHER *cipher, const struct sticky_key *key)
{
    prepared->seal = context_new(cipher, key, 1);
    prepared->open = context_new(cipher, key, 0);
    return prepared->seal != NULL && prepared->open != NULL ? 0 : -ENOMEM;
}

int sticky_keys_new(const struct sticky_key *current, const struct sticky_key *previous, struct sticky_keys **ret)
{
    struct sticky_keys *keys = calloc(1, sizeof(*keys));
    EVP_CIPHER *cipher = NULL;
    int r = -ENOMEM;

    if (keys == NULL)
        goto out;
    ERR_set_mark();
    cipher = EVP_CIPHER_fetch(NULL, CIPHER, NULL);
    ERR_pop_to_mark();
    r = cipher != NULL ? prepare(&keys->current, cipher, current) : -ENOTSUP;
    if (r == 0 && previous != NULL)
        r = prepare(&keys->previous, cipher, previous);
    if (r < 0)
        goto out;
    *ret = keys;
    keys = NULL;
out:
    EVP_CIPHER_free(cipher);
    sticky_keys_free(&keys);
    return r;
}

static void prepared_fini(struct prepared *prepared)
{
    EVP_CIPHER_CTX_free(prepared->seal);
    EVP_CIPHER_CTX_free(prepared->open);
}

void sticky_keys_free(struct sticky_keys **keys)
{
    if (*keys != NULL) {
        prepared_fini(&(*keys)->current);
        prepared_fini(&(*keys)->previous);
        free(*keys);
    }
    *keys = NULL;
}

/*
 * What a cookie holds for, in one string, for each more would cost as much as the rest: no balancer's name has a NUL,
 * and the port's length is fixed, so no two of them read the same.
 */
static size_t scope_write(const struct sticky *sticky, uint8_t scope[SCOPE_MAX])
{
    size_t name = strlen(sticky->balancer);
    uint8_t *at = scope;

    assert(name <= STICKY_ID_MAX);
    memcpy(at, PURPOSE, sizeof(PURPOSE));
    at += sizeof(PURPOSE);
    memcpy(at, sticky->balancer, name + 1);
    at += name + 1;
    *at++ = (uint8_t)(sticky->instance_port >> 8);
    *at++ = (uint8_t)sticky->instance_port;
    return (size_t)(at - scope);
}

/* A context that has taken what the cookie holds for; NULL: no memory. */
static EVP_CIPHER_CTX *context_begin(const EVP_CIPHER_CTX *prepared, const struct sticky *sticky)
{
    uint8_t scope[SCOPE_MAX];
    size_t len = scope_write(sticky, scope);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int done;

    if (context == NULL || EVP_CIPHER_CTX_copy(context, prepared) != 1 ||
        EVP_CipherUpdate(context, NULL, &done, scope, (int)len) != 1) {
        EVP_CIPHER_CTX_free(context);
        return NULL;
    }
    return context;
}

static void hex_write(const uint8_t *bytes, size_t len, char *text)
{
    for (size_t i = 0; i < len; i++) {
        *text++ = "0123456789ABCDEF"[bytes[i] >> 4];
        *text++ = "0123456789ABCDEF"[bytes[i] & 15];
    }
    *text = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* In the one form that we write. */
static bool hex_read(struct span text, uint8_t bytes[SEALED_BYTES])
{
    if (text.len != STICKY_SEALED_LEN)
        return false;
    for (size_t i = 0; i < SEALED_BYTES; i++) {
        int high = hex_digit(text.ptr[2 * i]), low = hex_digit(text.ptr[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

int sticky_seal(const struct sticky *sticky, const char *id, char sealed[STICKY_SEALED_LEN + 1])
{
    uint8_t plain[PLAIN_BYTES] = { 0 }, bytes[SEALED_BYTES];
    size_t len = strlen(id);
    EVP_CIPHER_CTX *context;
    int done, r = -ENOMEM;

    assert(len > 0);
    assert(len <= STICKY_ID_MAX);
    plain[0] = (uint8_t)len;
    memcpy(plain + 1, id, len);
    ERR_set_mark();
    context = context_begin(sticky->keys->current.seal, sticky);
    if (context != NULL && EVP_CipherUpdate(context, bytes + TAG_BYTES, &done, plain, PLAIN_BYTES) == 1 &&
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, bytes) == 1) {
        hex_write(bytes, SEALED_BYTES, sealed);
        r = 0;
    }
    EVP_CIPHER_CTX_free(context);
    ERR_pop_to_mark();
    return r;
}

/* A refused cookie leaves no error behind, which TLS on the same thread would take for its own. */
static bool unseal(const EVP_CIPHER_CTX *prepared, const struct sticky *sticky, const uint8_t *bytes, uint8_t *plain)
{
    uint8_t tag[TAG_BYTES];
    EVP_CIPHER_CTX *context;
    bool good;
    int done;

    if (prepared == NULL)
        return false;
    memcpy(tag, bytes, TAG_BYTES);
    ERR_set_mark();
    context = context_begin(prepared, sticky);
    good = context != NULL && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1 &&
           EVP_CipherUpdate(context, plain, &done, bytes + TAG_BYTES, PLAIN_BYTES) == 1;
    EVP_CIPHER_CTX_free(context);
    ERR_pop_to_mark();
    return good;
}

bool sticky_open(const struct sticky *sticky, struct span sealed, char id[STICKY_ID_MAX + 1])
{
    uint8_t bytes[SEALED_BYTES], plain[PLAIN_BYTES];

    if (!hex_read(sealed, bytes) || (!unseal(sticky->keys->current.open, sticky, bytes, plain) &&
                                     !unseal(sticky->keys->previous.open, sticky, bytes, plain)))
        return false;
    if (plain[0] == 0 || plain[0] > STICKY_ID_MAX)
        return false;
    memcpy(id, plain + 1, plain[0]);
    id[plain[0]] = '\0';
    return true;
}

/* ---- cookies ---- */

static struct span trim(struct span s)
{
    for (; s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t'); s.ptr++)
        s.len--;
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* The part of a list that begins at *at, without the blanks around it; *at goes behind its ';'. */
static struct span next_part(struct span list, size_t *at)
{
    const char *from = list.ptr + *at, *semicolon = memchr(from, ';', list.len - *at);
    size_t len = semicolon != NULL ? (size_t)(semicolon - from) : list.len - *at;

    *at += len + (semicolon != NULL);
    return trim((struct span){ from, len });
}

/* "name=value". Without '=' it is all name, and value.ptr is NULL. */
static struct span split(struct span part, struct span *value)
{
    const char *equals = part.len > 0 ? memchr(part.ptr, '=', part.len) : NULL;

    *value = (struct span){ NULL, 0 };
    if (equals == NULL)
        return part;
    *value = trim((struct span){ equals + 1, (size_t)(part.ptr + part.len - equals - 1) });
    return trim((struct span){ part.ptr, (size_t)(equals - part.ptr) });
}

static struct span unquote(struct span s)
{
    if (s.len >= 2 && s.ptr[0] == '"' && s.ptr[s.len - 1] == '"')
        return (struct span){ s.ptr + 1, s.len - 2 };
    return s;
}

bool sticky_find(const struct http1_head *request, struct span name, struct sticky_search *search, struct span *value)
{
    for (; search->field < request->field_count; search->field++, search->at = 0) {
        const struct http1_field *field = &request->fields[search->field];
        if (field->id != FIELD_COOKIE || field->named_in_connection)
            continue;
        while (search->at < field->value.len) {
            struct span got, part = next_part(field->value, &search->at);
            if (!span_equal(split(part, &got), name) || got.ptr == NULL)
                continue;
            *value = unquote(got);
            return true;
        }
    }
    return false;
}

bool sticky_find_set(const struct http1_head *answer, struct span name, struct span *attributes)
{
    bool found = false;

    for (size_t i = 0; i < answer->field_count; i++) {
        const struct http1_field *field = &answer->fields[i];
        struct span value;
        size_t at = 0;
        if (field->id != FIELD_SET_COOKIE || field->named_in_connection || field->value.len == 0 ||
            field->value.ptr[field->value.len - 1] == ';')
            continue;
        if (!span_equal(split(next_part(field->value, &at), &value), name) || value.ptr == NULL)
            continue;
        *attributes = (struct span){ field->value.ptr + at, field->value.len - at };
        found = true;
    }
    return found;
}

/* ---- requests ---- */

static struct span text_span(const char *text)
{
    return (struct span){ text, strlen(text) };
}

static bool claimed(const struct sticky_claim *claim, const char *id)
{
    for (unsigned i = 0; i < claim->count; i++)
        if (strcmp(claim->ids[i], id) == 0)
            return true;
    return false;
}

/* An application's session ends with its own cookie: without that one ours says nothing. */
static bool in_session(const struct sticky *sticky, const struct http1_head *request)
{
    struct sticky_search search = { 0, 0 };
    struct span value;

    return sticky->policy->type == POLICY_APP_COOKIE &&
           sticky_find(request, text_span(sticky->policy->cookie_name), &search, &value);
}

void sticky_read(const struct sticky *sticky, const struct http1_head *request, struct sticky_claim *ret)
{
    struct sticky_search search = { 0, 0 };
    struct span value;
    unsigned tries = 0;

    ret->count = 0;
    ret->session = in_session(sticky, request);
    if (sticky->policy->type == POLICY_APP_COOKIE && !ret->session)
        return;
    while (ret->count < STICKY_CLAIMS_MAX && tries < TRIES_MAX && sticky_find(request, SPAN(COOKIE), &search, &value)) {
        char *id = ret->ids[ret->count];
        tries += value.len == STICKY_SEALED_LEN;
        if (sticky_open(sticky, value, id) && !claimed(ret, id))
            ret->count++;
    }
}

/* ---- answers ---- */

#define SET_ROOM 256            /* both fields, without what is copied from the application's cookie */
#define ESCAPED_ROOM 3          /* '_' becomes "%5F" */

/* What ELB copies. */
static const struct span copied[] = {
    { "PATH", 4 },    { "PORT", 4 },    { "DOMAIN", 6 },  { "SECURE", 6 },  { "HTTPONLY", 8 },    { "DISCARD", 7 },
    { "MAX-AGE", 7 }, { "EXPIRES", 7 }, { "VERSION", 7 }, { "COMMENT", 7 }, { "COMMENTURL", 10 }, { "SAMESITE", 8 },
};

/* ELB's: browsers that compare a path's bytes no longer send the cookie below such a path. */
static void add_path(struct buf *buf, struct span path)
{
    for (size_t i = 0; i < path.len; i++)
        if (path.ptr[i] == '_')
            buf_add_text(buf, "%5F");
        else
            buf_add(buf, path.ptr + i, 1);
}

static void add_attribute(struct buf *buf, struct span attribute)
{
    struct span value, name = split(attribute, &value);

    for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++) {
        if (!span_equal_nocase(name, copied[i]))
            continue;
        buf_add(buf, ";", 1);
        buf_add_span(buf, copied[i]);
        if (value.ptr == NULL)
            return;
        buf_add(buf, "=", 1);
        if (span_equal(copied[i], SPAN("PATH")))
            add_path(buf, value);
        else
            buf_add_span(buf, value);
    }
}

/* In the application's order: of repeated ones the last counts (RFC 6265 5.2), in ours as in its own. */
static void add_attributes(struct buf *buf, struct span attributes)
{
    size_t at = 0;

    while (at < attributes.len)
        add_attribute(buf, next_part(attributes, &at));
}

static void add_lifetime(struct buf *buf, uint64_t ms)
{
    buf_add_text(buf, ";PATH=/");
    if (ms >= 1000) {
        buf_add_text(buf, ";MAX-AGE=");
        buf_add_number(buf, ms / 1000, 10);
    }
}

/*
 * An LB cookie is set when the instance was not asked for. One that follows the application's is set with that, and
 * when another instance has taken a session over; for how long is not known then, but without the
 * application's cookie it says nothing.
 */
static bool is_due(const struct sticky *sticky, const struct sticky_claim *claim, const char *id, bool copies)
{
    if (copies)
        return true;
    return !claimed(claim, id) && (sticky->policy->type == POLICY_LB_COOKIE || claim->count > 0);
}

static bool application_sets(const struct sticky *sticky, const struct http1_head *answer, struct span *attributes)
{
    return sticky->policy->type == POLICY_APP_COOKIE &&
           sticky_find_set(answer, text_span(sticky->policy->cookie_name), attributes);
}

int sticky_add(struct buf *buf, const struct sticky *sticky, const struct sticky_claim *claim,
               const struct http1_head *answer, const char *id)
{
    struct span attributes = { NULL, 0 };
    bool copies = application_sets(sticky, answer, &attributes);
    char sealed[STICKY_SEALED_LEN + 1];
    int r;

    if (!is_due(sticky, claim, id, copies))
        return 0;
    r = sticky_seal(sticky, id, sealed);
    if (r < 0)
        return r;
    buf_add_text(buf, "Set-Cookie: " COOKIE "=");
    buf_add(buf, sealed, STICKY_SEALED_LEN);
    if (copies)
        add_attributes(buf, attributes);
    else
        add_lifetime(buf, sticky->policy->type == POLICY_LB_COOKIE ? sticky->policy->cookie_expiration_period_ms : 0);
    buf_add_text(buf, "\r\nCache-control: no-cache=\"set-cookie\"\r\n");
    return 0;
}

size_t sticky_room(const struct sticky *sticky, const struct http1_head *answer)
{
    struct span attributes = { NULL, 0 };

    application_sets(sticky, answer, &attributes);
    return SET_ROOM + attributes.len * ESCAPED_ROOM;
}
