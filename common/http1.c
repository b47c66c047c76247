/*
 * The lines of a head. Read strictly from left to right, each byte judged by
 * those before it alone: that is why a verdict cannot depend on where the
 * bytes were cut. What targets and fields mean is in http1_target.c and
 * http1_fields.c. A line of a request that this grammar refuses may yet be
 * repaired: then it is taken to its end first, and http1_desync.c tells.
 */
#include "common/http1.h"
#include "common/http1_bytes.h"
#include "common/http1_fields.h"
#include <assert.h>
#include <limits.h>

#define METHOD_MAX 127

#define T BYTE_TCHAR
#define V BYTE_VALUE
#define G BYTE_TARGET
#define H BYTE_HOST
#define A BYTE_ALNUM
const unsigned char http1_bytes[256] = {
    ['\t'] = V,          [' '] = V,           ['!'] = T | V | G | H,  ['"'] = V | G,       ['#'] = T | V,
    ['$'] = T | V | G | H, ['%'] = T | V | G, ['&'] = T | V | G | H,  ['\''] = T | V | G | H,
    ['('] = V | G | H,   [')'] = V | G | H,   ['*'] = T | V | G | H,  ['+'] = T | V | G | H, [','] = V | G | H,
    ['-'] = T | V | G | H, ['.'] = T | V | G | H, ['/'] = V | G,
    ['0' ... '9'] = T | V | G | H | A,
    [':'] = V | G,       [';'] = V | G | H,   ['<'] = V | G,          ['='] = V | G | H,
    ['>'] = V | G,       ['?'] = V | G,       ['@'] = V | G,
    ['A' ... 'Z'] = T | V | G | H | A,
    ['['] = V | G,       ['\\'] = V | G,      [']'] = V | G,          ['^'] = T | V | G,
    ['_'] = T | V | G | H, ['`'] = T | V | G,
    ['a' ... 'z'] = T | V | G | H | A,
    ['{'] = V | G,       ['|'] = T | V | G,   ['}'] = V | G,          ['~'] = T | V | G | H,
    [0x80 ... 0xff] = V,
};
#undef T
#undef V
#undef G
#undef H
#undef A

/* Steps below return like the parser itself: > 0 taken, 0 more bytes are needed, < 0 -reason. */
#define TAKEN 1
#define MORE 0

struct cursor {
    const char *at, *end;       /* next byte; end of what has come */
    const char *stop;           /* no byte of this line at or after it; <= end */
    enum http1_reason beyond;   /* what a line is that goes on after stop */
};

static void line_begin(struct cursor *c, size_t max, enum http1_reason beyond)
{
    size_t left = (size_t)(c->end - c->at);
    c->stop = c->at + (left < max ? left : max);
    c->beyond = beyond;
}

/* The verdict on the next byte, which does not continue what was read; `reason` unless something is worse. */
static int unexpected(const struct cursor *c, enum http1_reason reason)
{
    if (c->at == c->end)
        return MORE;
    if (*c->at == '\r') {
        if (c->at + 1 == c->end)
            return MORE;
        return c->at[1] == '\n' ? -(int)reason : -HTTP1_BAD_LINE_END;
    }
    if (c->at == c->stop)
        return -(int)c->beyond;
    if (*c->at == '\n' || *c->at == '\0')
        return -HTTP1_BAD_LINE_END;
    return -(int)reason;
}

static int take_line_end(struct cursor *c, enum http1_reason reason)
{
    if (c->end - c->at < 2 || c->at[0] != '\r' || c->at[1] != '\n')
        return unexpected(c, reason);
    c->at += 2;
    return TAKEN;
}

static int take_byte(struct cursor *c, char byte, enum http1_reason reason)
{
    if (c->at == c->stop || *c->at != byte)
        return unexpected(c, reason);
    c->at++;
    return TAKEN;
}

static struct span take_run(struct cursor *c, unsigned kind)
{
    const char *from = c->at, *at = from, *stop = c->stop;
    while (at < stop && byte_is(*at, kind))
        at++;
    c->at = at;
    return (struct span){ from, (size_t)(at - from) };
}

/* The rest of the line that began at `from`; its bytes are judged later, but CR, LF and NUL are its end or wrong. */
static int take_rest(struct cursor *c, const char *from, struct span *line)
{
    const char *at = c->at;
    while (at < c->stop && *at != '\r' && *at != '\n' && *at != '\0')
        at++;
    c->at = at;
    *line = (struct span){ from, (size_t)(at - from) };
    return take_line_end(c, HTTP1_BAD_FIELD);
}

/* Whether eight bytes hold no control byte: none below 0x20, none 0x7f. */
static bool eight_plain(const char *at)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t word, del;
    memcpy(&word, at, sizeof(word));
    del = word ^ (ones * 0x7f);
    return ((((word - ones * 0x20) & ~word) | ((del - ones) & ~del)) & highs) == 0;
}

/* Up to the line's end or a byte that no value has; without the blanks around it. */
static struct span take_value(struct cursor *c)
{
    const char *from, *at = c->at, *stop = c->stop, *until;
    while (at < stop && byte_is_blank(*at))
        at++;
    from = at;
    do {
        while (stop - at >= 8 && eight_plain(at))
            at += 8;
        while (at < stop && byte_is(*at, BYTE_VALUE) && *at != '\t')
            at++;
    } while (at < stop && *at == '\t' && at++);
    c->at = at;
    for (until = at; until > from && byte_is_blank(until[-1]);)
        until--;
    return (struct span){ from, (size_t)(until - from) };
}

/* ---- start lines ---- */

static enum http1_method method_of(struct span text)
{
    static const struct {
        struct span text;
        enum http1_method method;
    } known[] = {
        { { "GET", 3 }, METHOD_GET },         { { "POST", 4 }, METHOD_POST },   { { "HEAD", 4 }, METHOD_HEAD },
        { { "PUT", 3 }, METHOD_PUT },         { { "DELETE", 6 }, METHOD_DELETE }, { { "PATCH", 5 }, METHOD_PATCH },
        { { "OPTIONS", 7 }, METHOD_OPTIONS }, { { "TRACE", 5 }, METHOD_TRACE },
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (span_equal(known[i].text, text))
            return known[i].method;
    return METHOD_OTHER;
}

static int take_method(struct cursor *c, struct http1_head *head)
{
    head->method_text = take_run(c, BYTE_TCHAR);
    if (head->method_text.len > METHOD_MAX)
        return -HTTP1_METHOD_TOO_LONG;
    if (head->method_text.len == 0 || c->at == c->stop || *c->at != ' ')
        return unexpected(c, HTTP1_BAD_METHOD);
    if (span_equal(head->method_text, SPAN("CONNECT")))
        return -HTTP1_METHOD_REFUSED;
    head->method = method_of(head->method_text);
    c->at++;
    return TAKEN;
}

static int take_target(struct cursor *c, struct http1_head *head)
{
    int r;
    head->target = take_run(c, BYTE_TARGET);
    if (head->target.len == 0 || c->at == c->end)
        return unexpected(c, HTTP1_BAD_TARGET);
    if (c->at == c->stop || *c->at != ' ')      /* a line that ends here is HTTP/0.9 */
        return unexpected(c, *c->at == '\r' ? HTTP1_BAD_VERSION : HTTP1_BAD_TARGET);
    r = http1_target_judge(head);
    if (r < 0)
        return r;
    c->at++;
    return TAKEN;
}

/* HTTP/1.2 to 1.9 are answered as 1.1 (RFC 9110 2.5). */
static int take_version(struct cursor *c, struct http1_head *head)
{
    static const char start[] = "HTTP/1.";
    for (size_t i = 0; i < sizeof(start) - 1; i++) {
        if (c->at == c->stop || *c->at != start[i])
            return unexpected(c, HTTP1_BAD_VERSION);
        c->at++;
    }
    if (c->at == c->stop || *c->at < '0' || *c->at > '9')
        return unexpected(c, HTTP1_BAD_VERSION);
    head->minor = *c->at++ != '0';
    return TAKEN;
}

static int take_target_and_version(struct cursor *c, struct http1_head *head)
{
    int r;
    if ((r = take_target(c, head)) <= 0 || (r = take_version(c, head)) <= 0)
        return r;
    r = take_line_end(c, HTTP1_BAD_VERSION);
    if (r > 0 && c->at[-3] > '1')       /* the digit before CRLF */
        http1_note(head, DESYNC_NON_COMPLIANT_VERSION);
    return r;
}

/* What is no version may be a word of a target with spaces; of what no target holds, only control bytes can be made good. */
static bool line_is_repairable(const struct cursor *c, const struct http1_head *head, int r)
{
    if (r == -HTTP1_BAD_TARGET)
        return head->target.len > 0 && byte_is_control(*c->at);
    return r == -HTTP1_BAD_VERSION;
}

static int repair_request_line(struct cursor *c, struct http1_head *head, const char *from)
{
    struct span rest;
    int r = take_rest(c, from, &rest);
    if (r <= 0)
        return r;
    r = http1_request_line_repair(head, rest);
    return r < 0 ? r : TAKEN;
}

/* One empty line before a request is what old clients send after a POST's body. */
static int skip_empty_line(struct cursor *c)
{
    if (c->at < c->end && *c->at == '\r')
        return take_line_end(c, HTTP1_BAD_METHOD);
    return TAKEN;
}

static int take_request_line(struct cursor *c, struct http1_head *head, const struct http1_limits *limits)
{
    const char *from;
    int r;
    line_begin(c, limits->line_max, HTTP1_LINE_TOO_LONG);
    r = skip_empty_line(c);
    if (r <= 0)
        return r;
    line_begin(c, limits->line_max, HTTP1_LINE_TOO_LONG);
    r = take_method(c, head);
    if (r <= 0)
        return r;
    from = c->at;
    r = take_target_and_version(c, head);
    return r < 0 && line_is_repairable(c, head, r) ? repair_request_line(c, head, from) : r;
}

static int take_status(struct cursor *c, struct http1_head *head)
{
    head->status = 0;
    for (int i = 0; i < 3; i++) {
        /* 100 to 599: the first digit decides. */
        if (c->at == c->stop || *c->at < (i == 0 ? '1' : '0') || *c->at > (i == 0 ? '5' : '9'))
            return unexpected(c, HTTP1_BAD_STATUS);
        head->status = head->status * 10 + (unsigned)(*c->at++ - '0');
    }
    return TAKEN;
}

/* The phrase may be empty, and servers then leave out the space before it too. */
static int take_phrase(struct cursor *c, struct http1_head *head)
{
    head->phrase = (struct span){ c->at, 0 };
    if (c->at < c->stop && *c->at == ' ') {
        c->at++;
        head->phrase = take_run(c, BYTE_VALUE);
    }
    return take_line_end(c, HTTP1_BAD_STATUS);
}

static int take_status_line(struct cursor *c, struct http1_head *head, const struct http1_limits *limits)
{
    int r;
    line_begin(c, limits->line_max, HTTP1_LINE_TOO_LONG);
    if ((r = take_version(c, head)) <= 0 || (r = take_byte(c, ' ', HTTP1_BAD_STATUS)) <= 0 ||
        (r = take_status(c, head)) <= 0)
        return r;
    return take_phrase(c, head);
}

/* ---- field lines ---- */

static int take_field(struct cursor *c, struct http1_field *field)
{
    int r;
    field->name = take_run(c, BYTE_TCHAR);
    if (field->name.len == 0)
        return unexpected(c, HTTP1_BAD_FIELD);
    r = take_byte(c, ':', HTTP1_BAD_FIELD);
    if (r <= 0)
        return r;
    field->value = take_value(c);
    field->named_in_connection = false;
    return take_line_end(c, HTTP1_BAD_FIELD);
}

/* head_max counts field lines with their ends, so what is left for the text of one is two less. */
static void field_begin(struct cursor *c, size_t used, const struct http1_limits *limits)
{
    size_t left = used + 2 < limits->head_max ? limits->head_max - used - 2 : 0;
    if (left < limits->field_max)
        line_begin(c, left, HTTP1_HEAD_TOO_LONG);
    else
        line_begin(c, limits->field_max, HTTP1_FIELD_TOO_LONG);
}

/* A line that is no field is dropped, unless it is one that matters. `from`: where it began; the cursor is where it broke. */
static int drop_line(struct cursor *c, struct http1_head *head, struct http1_seen *seen, const char *from)
{
    struct span line, name = head->fields[head->field_count].name;
    int r;
    if (name.len > 0 && from + name.len < c->at) {      /* the value broke */
        enum http1_field_id id = http1_field_id(name);
        if (http1_field_is_vital(id))
            return http1_field_refuse(head, id);
    }
    r = take_rest(c, from, &line);
    if (r <= 0)
        return r;
    http1_note(head, http1_line_desync(line));
    seen->kept = false;
    return TAKEN;
}

static int take_field_line(struct cursor *c, struct http1_head *head, struct http1_seen *seen)
{
    struct http1_field *field = &head->fields[head->field_count];
    const char *from = c->at;
    int r = take_field(c, field);
    if (r == -HTTP1_BAD_FIELD && seen->request)
        return drop_line(c, head, seen, from);
    if (r <= 0)
        return r;
    field->id = http1_field_id(field->name);
    r = http1_field_judge(head, seen, field);
    if (r < 0)
        return r;
    seen->kept = r == FIELD_KEPT;
    head->field_count += seen->kept;
    return TAKEN;
}

/*
 * A line that goes on with the one before it (RFC 9112 5.2), kept or not: one before the first field goes on with none
 * (2.2). A byte that no value has spoils the field as a whole.
 */
static int take_fold(struct cursor *c, struct http1_head *head, struct http1_seen *seen)
{
    struct http1_field *field = seen->kept ? &head->fields[head->field_count - 1] : NULL;
    const char *from = c->at, *plain;
    struct span value, line;
    int r;
    http1_note(head, DESYNC_MULTILINE_HEADER);
    if (!seen->request || (field != NULL && http1_field_is_vital(field->id)))
        return -HTTP1_FOLDED_FIELD;
    value = take_value(c);
    plain = c->at;
    r = take_rest(c, from, &line);
    if (r <= 0 || field == NULL)
        return r;
    if (plain == line.ptr + line.len) {
        r = http1_value_join(head, &field->value, value);
        return r < 0 ? r : TAKEN;
    }
    http1_note(head, DESYNC_NON_COMPLIANT_HEADER);
    head->field_count--;
    seen->kept = false;
    return TAKEN;
}

static int take_fields(struct cursor *c, struct http1_head *head, struct http1_seen *seen,
                       const struct http1_limits *limits)
{
    const char *first = c->at;
    int r;
    for (;;) {
        bool fold;
        if (c->at == c->end)
            return MORE;
        if (*c->at == '\r')
            return take_line_end(c, HTTP1_BAD_FIELD);
        fold = byte_is_blank(*c->at);
        if (!fold && seen->lines++ == limits->count_max)
            return -HTTP1_TOO_MANY_FIELDS;
        field_begin(c, (size_t)(c->at - first), limits);
        r = fold ? take_fold(c, head, seen) : take_field_line(c, head, seen);
        if (r <= 0)
            return r;
    }
}

/* All but what nobody reads beyond its length: fields, repaired bytes. */
static void head_clear(struct http1_head *head)
{
    head->method = METHOD_OTHER;
    head->method_text = head->target = head->authority = head->path = head->phrase = (struct span){ NULL, 0 };
    head->status = 0;
    head->framing = BODY_NONE;
    head->content_length = 0;
    head->has_content_length = head->keep_alive = head->expect_continue = head->close_after = false;
    head->desync_class = HTTP1_COMPLIANT;
    head->desync_reason = DESYNC_NONE;
    head->field_count = head->repaired_len = 0;
}

/* What counts as a desync of what the grammar refuses, if anything does, and was not noted on the spot. */
static void note_refused(struct http1_head *head, const struct http1_seen *seen, const struct cursor *c, int reason)
{
    if (reason == -HTTP1_BAD_METHOD) {
        http1_note(head, head->method_text.len > 0 && *c->at == '\r' ? DESYNC_MISSING_URI : DESYNC_BAD_METHOD);
    } else if (reason == -HTTP1_BAD_TARGET && head->target.len == 0 && (*c->at == ' ' || *c->at == '\r')) {
        http1_note(head, DESYNC_MISSING_URI);
    } else if (reason == -HTTP1_BAD_LINE_END) {
        enum http1_desync bad = head->target.len == 0 ? DESYNC_BAD_METHOD : DESYNC_BAD_URI;
        if (seen->start_line)
            bad = DESYNC_BAD_HEADER;
        http1_note(head, *c->at == '\n' ? DESYNC_NON_CRLF : bad);
    }
}

static int take_request(struct cursor *c, struct http1_head *head, struct http1_seen *seen, const struct http1_limits *limits)
{
    int r = take_request_line(c, head, limits);
    if (r <= 0)
        return r;
    seen->start_line = true;
    r = take_fields(c, head, seen, limits);
    if (r <= 0)
        return r;
    r = http1_request_finish(head, seen, limits->mode);
    return r < 0 ? r : TAKEN;
}

int http1_parse_request(struct http1_head *head, const char *bytes, size_t len, const struct http1_limits *limits)
{
    struct cursor c = { .at = bytes, .end = bytes + len };
    struct http1_seen seen = { .request = true };
    int r;
    assert(limits->count_max <= HTTP1_FIELDS_MAX);
    assert(limits->line_max + limits->head_max < INT_MAX / 2);
    head_clear(head);
    r = take_request(&c, head, &seen, limits);
    if (r < 0)
        note_refused(head, &seen, &c, r);
    return r <= 0 ? r : (int)(c.at - bytes);
}

int http1_parse_response(struct http1_head *head, const char *bytes, size_t len, const struct http1_limits *limits,
                         enum http1_method method)
{
    struct cursor c = { .at = bytes, .end = bytes + len };
    struct http1_seen seen = { .request = false };
    int r;
    assert(limits->count_max <= HTTP1_FIELDS_MAX);
    assert(limits->line_max + limits->head_max < INT_MAX / 2);
    head_clear(head);
    if ((r = take_status_line(&c, head, limits)) <= 0 || (r = take_fields(&c, head, &seen, limits)) <= 0)
        return r;
    r = http1_response_finish(head, &seen, method);
    return r < 0 ? r : (int)(c.at - bytes);
}

const char *http1_reason_text(enum http1_reason reason)
{
    static const char *const texts[HTTP1_REASON_COUNT] = {
        [HTTP1_OK] = "ok",
#define X(name, text) [name] = text,
        HTTP1_REASONS(X)
#undef X
    };
    assert(reason < HTTP1_REASON_COUNT);
    return texts[reason];
}

int http1_reason_status(enum http1_reason reason)
{
    return reason == HTTP1_METHOD_TOO_LONG ? 405 : 400;
}
