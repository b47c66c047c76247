#include "tests/fuzz/head_pieces.h"
#include <assert.h>
#include <stdlib.h>

/* ---- digest: FNV-1a ---- */

static uint64_t add_bytes(uint64_t digest, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < len; i++)
        digest = (digest ^ at[i]) * UINT64_C(0x100000001b3);
    return digest;
}

static uint64_t add_number(uint64_t digest, uint64_t number)
{
    return add_bytes(digest, &number, sizeof(number));
}

static uint64_t add_span(uint64_t digest, struct span s)
{
    return add_number(add_bytes(digest, s.ptr, s.len), s.len);
}

static uint64_t add_field(uint64_t digest, const struct http1_field *field)
{
    digest = add_span(add_span(digest, field->name), field->value);
    return add_number(digest, (uint64_t)field->id << 1 | field->named_in_connection);
}

uint64_t head_digest(const struct http1_head *head, int verdict)
{
    uint64_t digest = add_number(UINT64_C(0xcbf29ce484222325), (uint64_t)head->desync_class << 8 | head->desync_reason);
    if (verdict <= 0)
        return digest;
    digest = add_span(add_span(digest, head->method_text), head->target);
    digest = add_span(add_span(digest, head->authority), head->path);
    digest = add_span(add_number(digest, head->status), head->phrase);
    digest = add_number(add_number(digest, head->minor), head->framing);
    digest = add_number(add_number(digest, head->content_length), head->has_content_length);
    digest = add_number(digest, head->keep_alive | head->expect_continue << 1 | head->close_after << 2);
    for (size_t i = 0; i < head->field_count; i++)
        digest = add_field(digest, &head->fields[i]);
    return add_number(digest, head->repaired_len);
}

/* ---- pieces ---- */

int head_in_pieces(struct http1_head *head, const char *bytes, size_t len, head_parse *parse, const void *how)
{
    int whole = parse(head, bytes, len, how);
    uint64_t digest = head_digest(head, whole);
    bool decided = false;

    for (size_t n = 0; n < len; n++) {
        char *prefix = malloc(n > 0 ? n : 1);
        int r;
        assert(prefix != NULL);
        memcpy(prefix, bytes, n);
        r = parse(head, prefix, n, how);
        assert(r == whole || (r == 0 && !decided));
        assert(r == 0 || head_digest(head, r) == digest);
        assert(r <= 0 || (size_t)r <= n);
        decided = r != 0;
        free(prefix);
    }
    return parse(head, bytes, len, how);
}

/* ---- what holds ---- */

static void check_span(const struct http1_head *head, const char *bytes, size_t len, struct span s)
{
    static const char *const literals[] = { "/", "*" };
    bool inside = s.ptr >= bytes && s.ptr + s.len <= bytes + len;
    bool repaired = s.ptr >= head->repaired && s.ptr + s.len <= head->repaired + head->repaired_len;
    bool literal = false;
    for (size_t i = 0; i < 2; i++)
        literal = literal || (s.len == 1 && s.ptr[0] == literals[i][0]);
    assert(s.len == 0 || inside || repaired || literal);
    for (size_t i = 0; i < s.len; i++)
        assert(s.ptr[i] != '\r' && s.ptr[i] != '\n' && s.ptr[i] != '\0');
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void check_field(const struct http1_head *head, const char *bytes, size_t len, const struct http1_field *field)
{
    check_span(head, bytes, len, field->name);
    check_span(head, bytes, len, field->value);
    assert(field->name.len > 0);
    assert(!is_blank(field->name.ptr[field->name.len - 1]));
    assert(field->value.len == 0 || !is_blank(field->value.ptr[0]));
    assert(field->value.len == 0 || !is_blank(field->value.ptr[field->value.len - 1]));
}

void head_check(const struct http1_head *head, const char *bytes, int verdict, const struct http1_limits *limits)
{
    size_t len = (size_t)verdict, seen[FIELD_USER_AGENT + 1] = { 0 };

    assert(len >= 4);
    assert(memcmp(bytes + len - 4, "\r\n\r\n", 4) == 0);
    assert(len <= limits->line_max + limits->head_max + 6); /* an empty line before, the line's end, the empty line */
    assert(head->minor <= 1);
    assert(head->field_count <= limits->count_max);
    assert(head->repaired_len <= sizeof(head->repaired));
    check_span(head, bytes, len, head->method_text);
    check_span(head, bytes, len, head->path);
    check_span(head, bytes, len, head->authority);
    check_span(head, bytes, len, head->phrase);
    for (size_t i = 0; i < head->field_count; i++) {
        check_field(head, bytes, len, &head->fields[i]);
        seen[head->fields[i].id]++;
    }
    assert(seen[FIELD_TRANSFER_ENCODING] <= 1);
    assert(seen[FIELD_CONTENT_LENGTH] <= 1);
    assert(seen[FIELD_CONTENT_LENGTH] == head->has_content_length);
    assert(seen[FIELD_TRANSFER_ENCODING] == 0 || seen[FIELD_CONTENT_LENGTH] == 0);
    assert(head->framing != BODY_LENGTH || head->has_content_length);
    assert(head->framing != BODY_CHUNKED || (seen[FIELD_TRANSFER_ENCODING] == 1 && head->minor == 1));
}
