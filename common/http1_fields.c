/* What the fields of a head mean: whose they are, where the message ends, whether the connection stays. */
#include "common/http1_bytes.h"
#include "common/http1_fields.h"

/* More Connection options than any sender has; bounds the search for the fields that they name. */
#define CONNECTION_OPTIONS_MAX 64
#define LENGTH_DIGITS_MAX 18            /* fits 64 bits without looking */

/*
 * A perfect hash over length, first and last letter. A collision is a
 * duplicate initializer, which the compiler refuses.
 */
#define SLOT(len, first, last) (((len) * 6u + ((unsigned)(first) | 0x20) * 3u + ((unsigned)(last) | 0x20)) % 32u)
#define KNOWN(text, first, last, id) [SLOT(sizeof(text) - 1, first, last)] = { text, sizeof(text) - 1, id }
static const struct known {
    char name[20];                      /* lower case */
    unsigned char len;
    unsigned char id;
} known[32] = {
    KNOWN("host", 'h', 't', FIELD_HOST),
    KNOWN("connection", 'c', 'n', FIELD_CONNECTION),
    KNOWN("content-length", 'c', 'h', FIELD_CONTENT_LENGTH),
    KNOWN("transfer-encoding", 't', 'g', FIELD_TRANSFER_ENCODING),
    KNOWN("expect", 'e', 't', FIELD_EXPECT),
    KNOWN("upgrade", 'u', 'e', FIELD_UPGRADE),
    KNOWN("te", 't', 'e', FIELD_TE),
    KNOWN("trailer", 't', 'r', FIELD_TRAILER),
    KNOWN("keep-alive", 'k', 'e', FIELD_KEEP_ALIVE),
    KNOWN("proxy-connection", 'p', 'n', FIELD_PROXY_CONNECTION),
    KNOWN("proxy-authenticate", 'p', 'e', FIELD_PROXY_AUTHENTICATE),
    KNOWN("proxy-authorization", 'p', 'n', FIELD_PROXY_AUTHORIZATION),
    KNOWN("x-forwarded-for", 'x', 'r', FIELD_X_FORWARDED_FOR),
    KNOWN("x-forwarded-proto", 'x', 'o', FIELD_X_FORWARDED_PROTO),
    KNOWN("x-forwarded-port", 'x', 't', FIELD_X_FORWARDED_PORT),
    KNOWN("cookie", 'c', 'e', FIELD_COOKIE),
    KNOWN("set-cookie", 's', 'e', FIELD_SET_COOKIE),
    KNOWN("user-agent", 'u', 't', FIELD_USER_AGENT),
};

enum http1_field_id http1_field_id(struct span name)
{
    const struct known *k =
        &known[SLOT(name.len, (unsigned char)name.ptr[0], (unsigned char)name.ptr[name.len - 1])];
    if (k->len != name.len)
        return FIELD_OTHER;
    for (size_t i = 0; i < name.len; i++)
        if ((name.ptr[i] | 0x20) != k->name[i])     /* exact for a token: no other tchar folds to a letter, digit or '-' */
            return FIELD_OTHER;
    return (enum http1_field_id)k->id;
}

bool http1_field_is_vital(enum http1_field_id id)
{
    return id == FIELD_HOST || id == FIELD_CONTENT_LENGTH || id == FIELD_TRANSFER_ENCODING || id == FIELD_EXPECT;
}

int http1_field_refuse(struct http1_head *head, enum http1_field_id id)
{
    switch (id) {
    case FIELD_CONTENT_LENGTH:
        http1_note(head, DESYNC_BAD_LENGTH);
        return -HTTP1_BAD_CONTENT_LENGTH;
    case FIELD_TRANSFER_ENCODING:
        http1_note(head, DESYNC_BAD_CODING);
        return -HTTP1_BAD_TRANSFER_ENCODING;
    case FIELD_HOST:
        return -HTTP1_BAD_HOST;
    case FIELD_EXPECT:
        return -HTTP1_BAD_EXPECT;
    case FIELD_OTHER: case FIELD_CONNECTION: case FIELD_UPGRADE: case FIELD_TE: case FIELD_TRAILER: case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION: case FIELD_PROXY_AUTHENTICATE: case FIELD_PROXY_AUTHORIZATION:
    case FIELD_X_FORWARDED_FOR: case FIELD_X_FORWARDED_PROTO: case FIELD_X_FORWARDED_PORT:
    case FIELD_COOKIE: case FIELD_SET_COOKIE: case FIELD_USER_AGENT:
        break;
    }
    return -HTTP1_BAD_FIELD;
}

static int judge_other(struct http1_head *head, const struct http1_seen *seen, struct span name)
{
    if (!http1_name_suspicious(name))
        return FIELD_KEPT;
    if (!seen->request)
        return -HTTP1_BAD_FIELD;
    http1_note(head, DESYNC_SUSPICIOUS_HEADER);
    return FIELD_DROPPED;
}

/* The next element, trimmed, possibly empty (RFC 9110 5.6.1); false after the last. list->ptr NULL: none is left. */
static bool list_next(struct span *list, struct span *element)
{
    const char *comma;
    if (list->ptr == NULL)
        return false;
    comma = memchr(list->ptr, ',', list->len);
    *element = (struct span){ list->ptr, comma == NULL ? list->len : (size_t)(comma - list->ptr) };
    if (comma == NULL)
        *list = (struct span){ NULL, 0 };
    else
        *list = (struct span){ comma + 1, list->len - element->len - 1 };
    for (; element->len > 0 && byte_is_blank(element->ptr[0]); element->ptr++)
        element->len--;
    while (element->len > 0 && byte_is_blank(element->ptr[element->len - 1]))
        element->len--;
    return true;
}

static int judge_host(struct http1_head *head, struct http1_seen *seen, struct span value)
{
    if (!seen->request)
        return 0;
    if (seen->host || !http1_authority_valid(value))
        return -HTTP1_BAD_HOST;
    seen->host = true;
    if (head->authority.len == 0)
        head->authority = value;
    return 0;
}

static bool length_parse(struct span value, uint64_t *ret)
{
    uint64_t length = 0;
    if (value.len == 0 || value.len > LENGTH_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9')
            return false;
        length = length * 10 + (uint64_t)(value.ptr[i] - '0');
    }
    *ret = length;
    return true;
}

/* Legal when repeated with the same number (RFC 9110 8.6), but then somebody on the way did not understand it. */
static int judge_content_length(struct http1_head *head, const struct http1_seen *seen, struct span value)
{
    uint64_t length;
    if (!length_parse(value, &length))
        return http1_field_refuse(head, FIELD_CONTENT_LENGTH);
    if (!seen->request && (head->has_content_length || head->framing == BODY_CHUNKED))
        return -HTTP1_AMBIGUOUS_LENGTH;
    if (head->has_content_length) {
        http1_note(head, length == head->content_length ? DESYNC_DUPLICATE_LENGTH : DESYNC_MULTIPLE_LENGTH);
        return length == head->content_length ? FIELD_DROPPED : -HTTP1_AMBIGUOUS_LENGTH;
    }
    head->content_length = length;
    head->has_content_length = true;
    return FIELD_KEPT;
}

/* Twice in a row, counting what came before this list. */
static bool chunked_twice(const struct http1_head *head, struct span list)
{
    bool before = head->framing == BODY_CHUNKED;
    struct span coding;
    while (list_next(&list, &coding)) {
        bool chunked = span_equal_nocase(coding, SPAN("chunked"));
        if (before && chunked)
            return true;
        before = chunked;
    }
    return false;
}

/* RFC 9112 6.1: in HTTP/1.0 it may come from somebody who did not understand it. */
static int judge_transfer_encoding(struct http1_head *head, const struct http1_seen *seen, struct span value)
{
    if (chunked_twice(head, value)) {
        http1_note(head, DESYNC_MULTIPLE_CHUNKED);
        return -HTTP1_BAD_TRANSFER_ENCODING;
    }
    if (head->framing == BODY_CHUNKED || !span_equal_nocase(value, SPAN("chunked")))
        return http1_field_refuse(head, FIELD_TRANSFER_ENCODING);
    if (head->minor == 0) {
        http1_note(head, DESYNC_UNDEFINED_CODING);
        return -HTTP1_BAD_TRANSFER_ENCODING;
    }
    if (!seen->request && head->has_content_length)
        return -HTTP1_AMBIGUOUS_LENGTH;
    head->framing = BODY_CHUNKED;
    return FIELD_KEPT;
}

/* RFC 9110 10.1.1: ignored in HTTP/1.0. */
static int judge_expect(struct http1_head *head, struct http1_seen *seen, struct span value)
{
    if (!seen->request)
        return 0;
    if (seen->expect || !span_equal_nocase(value, SPAN("100-continue")))
        return -HTTP1_BAD_EXPECT;
    seen->expect = true;
    head->expect_continue = head->minor == 1;
    return 0;
}

int http1_field_judge(struct http1_head *head, struct http1_seen *seen, const struct http1_field *field)
{
    switch (field->id) {
    case FIELD_HOST:
        return judge_host(head, seen, field->value);
    case FIELD_CONTENT_LENGTH:
        return judge_content_length(head, seen, field->value);
    case FIELD_TRANSFER_ENCODING:
        return judge_transfer_encoding(head, seen, field->value);
    case FIELD_EXPECT:
        return judge_expect(head, seen, field->value);
    case FIELD_CONNECTION:
        seen->connection = true;
        return 0;
    case FIELD_OTHER:
        return judge_other(head, seen, field->name);
    case FIELD_UPGRADE: case FIELD_TE: case FIELD_TRAILER: case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION: case FIELD_PROXY_AUTHENTICATE: case FIELD_PROXY_AUTHORIZATION:
    case FIELD_X_FORWARDED_FOR: case FIELD_X_FORWARDED_PROTO: case FIELD_X_FORWARDED_PORT:
    case FIELD_COOKIE: case FIELD_SET_COOKIE: case FIELD_USER_AGENT:
        return 0;
    }
    return 0;
}

bool http1_list_has(struct span list, struct span token)
{
    struct span element;
    while (list_next(&list, &element))
        if (span_equal_nocase(element, token))
            return true;
    return false;
}

/* What must arrive cannot be talked away by naming it in Connection (RFC 9110 7.6.1; CVE-2022-31813). */
static bool field_is_protected(const struct http1_field *field)
{
    static const struct span forwarded = { "x-forwarded-", 12 };
    if (http1_field_is_vital(field->id))
        return true;
    return field->name.len >= forwarded.len && strncasecmp(field->name.ptr, forwarded.ptr, forwarded.len) == 0;
}

static void mark_named(struct http1_head *head, struct span option)
{
    for (size_t i = 0; i < head->field_count; i++) {
        struct http1_field *field = &head->fields[i];
        if (span_equal_nocase(field->name, option) && !field_is_protected(field))
            field->named_in_connection = true;
    }
}

struct options {
    bool close, keep_alive;
    unsigned count;
};

static int connection_judge(struct http1_head *head, struct span list, struct options *options)
{
    struct span option;
    while (list_next(&list, &option)) {
        if (option.len == 0)
            continue;
        if (options->count++ == CONNECTION_OPTIONS_MAX)
            return -HTTP1_BAD_FIELD;
        options->close |= span_equal_nocase(option, SPAN("close"));
        options->keep_alive |= span_equal_nocase(option, SPAN("keep-alive"));
        mark_named(head, option);
    }
    return 0;
}

/* RFC 9112 9.3: close wins; without either the version decides. */
static int connection_finish(struct http1_head *head, const struct http1_seen *seen)
{
    struct options options = { .count = 0 };
    for (size_t i = 0; seen->connection && i < head->field_count; i++) {
        int r = 0;
        if (head->fields[i].id == FIELD_CONNECTION)
            r = connection_judge(head, head->fields[i].value, &options);
        if (r < 0)
            return r;
    }
    head->keep_alive = !options.close && (head->minor == 1 || options.keep_alive);
    return 0;
}

static void drop_length(struct http1_head *head)
{
    size_t kept = 0;
    for (size_t i = 0; i < head->field_count; i++)
        if (head->fields[i].id != FIELD_CONTENT_LENGTH)
            head->fields[kept++] = head->fields[i];
    head->field_count = kept;
    head->has_content_length = false;
    head->content_length = 0;
}

/* RFC 9112 6.3: Transfer-Encoding wins. A GET's or HEAD's body is framed well, but some do not look for one (RFC 9110 9.3.1). */
static void request_framing_finish(struct http1_head *head)
{
    bool bodiless = head->method == METHOD_GET || head->method == METHOD_HEAD;
    if (head->framing == BODY_CHUNKED) {
        if (head->has_content_length) {
            http1_note(head, DESYNC_BOTH_TE_CL);
            drop_length(head);
        }
        if (bodiless)
            http1_note(head, DESYNC_UNDEFINED_CODING);
    } else if (head->has_content_length) {
        head->framing = BODY_LENGTH;
        if (bodiless)
            http1_note(head, head->content_length == 0 ? DESYNC_GET_HEAD_ZERO_LENGTH : DESYNC_UNDEFINED_LENGTH);
    }
}

int http1_request_finish(struct http1_head *head, const struct http1_seen *seen, enum http1_mode mode)
{
    int r;
    request_framing_finish(head);
    if (head->minor == 1 && !seen->host)
        return -HTTP1_BAD_HOST;
    r = connection_finish(head, seen);
    return r < 0 ? r : http1_desync_judge(head, mode);
}

/* RFC 9112 6.3, rules 1 to 8 less CONNECT, which is never forwarded. */
int http1_response_finish(struct http1_head *head, const struct http1_seen *seen, enum http1_method method)
{
    int r = connection_finish(head, seen);
    if (r < 0)
        return r;
    if (method == METHOD_HEAD || head->status < 200 || head->status == 204 || head->status == 304) {
        head->framing = BODY_NONE;
    } else if (head->has_content_length) {
        head->framing = BODY_LENGTH;
    } else if (head->framing != BODY_CHUNKED) {
        head->framing = BODY_UNTIL_CLOSE;
        head->keep_alive = false;
    }
    return 0;
}
