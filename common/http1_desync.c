/* Requests that others might read otherwise than we do: how bad that is, and what is handed on instead. */
#include "common/http1_bytes.h"
#include "common/http1_fields.h"
#include <assert.h>

/* ---- classes and reasons ---- */

static const struct {
    enum http1_class class;
    const char *text;
} desyncs[DESYNC_COUNT] = {
    [DESYNC_NONE] = { HTTP1_COMPLIANT, "none" },
#define X(name, class, text) [name] = { HTTP1_##class, text },
    HTTP1_DESYNCS(X)
#undef X
};

const char *http1_desync_text(enum http1_desync desync)
{
    assert(desync < DESYNC_COUNT);
    return desyncs[desync].text;
}

enum http1_class http1_desync_class(enum http1_desync desync)
{
    assert(desync < DESYNC_COUNT);
    return desyncs[desync].class;
}

const char *http1_class_text(enum http1_class class)
{
    static const char *const texts[HTTP1_CLASS_COUNT] = { "Compliant", "Acceptable", "Ambiguous", "Severe" };
    assert(class < HTTP1_CLASS_COUNT);
    return texts[class];
}

void http1_note(struct http1_head *head, enum http1_desync desync)
{
    if (desyncs[desync].class <= head->desync_class)
        return;
    head->desync_class = desyncs[desync].class;
    head->desync_reason = desync;
}

int http1_desync_judge(struct http1_head *head, enum http1_mode mode)
{
    static const enum http1_class passes[] = {
        [HTTP1_DEFENSIVE] = HTTP1_AMBIGUOUS, [HTTP1_MONITOR] = HTTP1_SEVERE, [HTTP1_STRICTEST] = HTTP1_COMPLIANT,
    };
    if (head->desync_class > passes[mode])
        return -HTTP1_DESYNC;
    head->close_after = head->desync_class >= HTTP1_AMBIGUOUS;
    if (head->close_after)
        head->keep_alive = false;
    return 0;
}

/* ---- what is written anew ---- */

static int repaired_add(struct http1_head *head, const char *bytes, size_t len)
{
    if (len > sizeof(head->repaired) - head->repaired_len)
        return -HTTP1_DESYNC;
    memcpy(head->repaired + head->repaired_len, bytes, len);
    head->repaired_len += len;
    return 0;
}

static int repaired_add_escaped(struct http1_head *head, char byte)
{
    static const char digits[] = "0123456789ABCDEF";
    const char escaped[] = { '%', digits[(unsigned char)byte >> 4], digits[byte & 15] };
    return repaired_add(head, escaped, sizeof(escaped));
}

/* ---- request lines ---- */

static size_t trim_spaces(struct span *text)
{
    size_t before = text->len;
    while (text->len > 0 && text->ptr[text->len - 1] == ' ')
        text->len--;
    return before - text->len;
}

/* The word at the end of rest, which is then without it and the spaces around; empty: there is but one. */
static struct span take_version_word(struct http1_head *head, struct span *rest)
{
    size_t after = trim_spaces(rest), before = rest->len;
    struct span word;
    while (before > 0 && rest->ptr[before - 1] != ' ')
        before--;
    word = (struct span){ rest->ptr + before, rest->len - before };
    rest->len = before;
    if (before == 0)
        return (struct span){ NULL, 0 };
    if (trim_spaces(rest) + after > 1)
        http1_note(head, DESYNC_NON_COMPLIANT_VERSION);
    return word;
}

static bool is_version(struct span word)
{
    return word.len == 8 && memcmp(word.ptr, "HTTP/", 5) == 0 && word.ptr[5] >= '0' && word.ptr[5] <= '9' && word.ptr[6] == '.' &&
           word.ptr[7] >= '0' && word.ptr[7] <= '9';
}

/* Whoever sends a later major version in our syntax is read as HTTP/1.1, if that is to pass at all. */
static int version_repair(struct http1_head *head, struct span word)
{
    bool none = word.len == 0 || span_equal(word, SPAN("HTTP/0.9"));
    if (none || !is_version(word) || word.ptr[5] == '0') {
        http1_note(head, none ? DESYNC_NON_COMPLIANT_VERSION : DESYNC_BAD_VERSION);
        return -HTTP1_BAD_VERSION;
    }
    if (word.ptr[5] > '1')
        http1_note(head, DESYNC_BAD_VERSION);
    else if (word.ptr[7] > '1')
        http1_note(head, DESYNC_NON_COMPLIANT_VERSION);
    head->minor = word.ptr[5] > '1' || word.ptr[7] != '0';
    return 0;
}

static int target_note(struct http1_head *head)
{
    for (size_t i = 0; i < head->target.len; i++) {
        char byte = head->target.ptr[i];
        if (byte_is(byte, BYTE_TARGET))
            continue;
        if (byte != ' ' && !byte_is_control(byte))
            return -HTTP1_BAD_TARGET;
        http1_note(head, byte == ' ' ? DESYNC_SPACE_IN_URI : DESYNC_AMBIGUOUS_URI);
    }
    return 0;
}

static bool is_whole(struct span path)
{
    for (size_t i = 0; i < path.len; i++)
        if (!byte_is(path.ptr[i], BYTE_TARGET))
            return false;
    return true;
}

static int path_repair(struct http1_head *head)
{
    struct span path = head->path;
    const char *from = head->repaired + head->repaired_len;
    if (is_whole(path))
        return 0;
    for (size_t i = 0; i < path.len; i++) {
        char byte = path.ptr[i];
        int r = byte_is(byte, BYTE_TARGET) ? repaired_add(head, &byte, 1) : repaired_add_escaped(head, byte);
        if (r < 0)
            return r;
    }
    head->path = (struct span){ from, (size_t)(head->repaired + head->repaired_len - from) };
    return 0;
}

/* The authority of an absolute-form is judged as it came: it has no byte that needs a repair. */
int http1_request_line_repair(struct http1_head *head, struct span rest)
{
    struct span word = take_version_word(head, &rest);
    int r = version_repair(head, word);
    if (r < 0)
        return r;
    head->target = rest;
    if ((r = target_note(head)) < 0 || (r = http1_target_judge(head)) < 0)
        return r;
    return path_repair(head);
}

/* ---- field lines ---- */

/* The letter or digit that some reader may take this character of a name for, in lower case; 0: none. *at moves past it. */
static char name_letter(struct span name, size_t *at)
{
    char byte = name.ptr[(*at)++];
    if (byte_is(byte, BYTE_ALNUM))
        return (char)(byte | 0x20);
    if (*at < name.len && byte == '\xc5' && name.ptr[*at] == '\xbf')       /* U+017F, its upper case is S */
        return 's';
    if (*at < name.len && byte == '\xc4' && name.ptr[*at] == '\xb1')       /* U+0131, its upper case is I */
        return 'i';
    return 0;
}

static bool spells(struct span name, struct span plain)
{
    size_t n = 0;
    for (size_t i = 0; i < name.len;) {
        char letter = name_letter(name, &i);
        if (letter == 0)
            continue;
        if (n == plain.len || letter != plain.ptr[n])
            return false;
        n++;
    }
    return n == plain.len;
}

bool http1_name_suspicious(struct span name)
{
    static const struct span length = { "contentlength", 13 }, coding = { "transferencoding", 16 };
    return name.len >= length.len && (spells(name, length) || spells(name, coding));
}

static bool is_blank(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!byte_is_blank(text.ptr[i]))
            return false;
    return true;
}

enum http1_desync http1_line_desync(struct span line)
{
    const char *colon = memchr(line.ptr, ':', line.len);
    struct span name = { line.ptr, colon == NULL ? 0 : (size_t)(colon - line.ptr) };
    if (colon == NULL)
        return DESYNC_MISSING_COLON;
    if (is_blank(name))
        return DESYNC_EMPTY_HEADER;
    return http1_name_suspicious(name) ? DESYNC_SUSPICIOUS_HEADER : DESYNC_NON_COMPLIANT_HEADER;
}

int http1_value_join(struct http1_head *head, struct span *value, struct span more)
{
    int r = 0;
    if (more.len == 0)
        return 0;
    if (value->len == 0) {
        *value = more;
        return 0;
    }
    if (value->ptr + value->len != head->repaired + head->repaired_len) {
        r = repaired_add(head, value->ptr, value->len);
        value->ptr = head->repaired + head->repaired_len - value->len;
    }
    if (r < 0 || (r = repaired_add(head, " ", 1)) < 0 || (r = repaired_add(head, more.ptr, more.len)) < 0)
        return r;
    value->len += 1 + more.len;
    return 0;
}
