/*
 * Chunked bodies: a second decoder, which has all bytes at once and so is simple, says the same; so does every cut.
 * What was taken, framed anew, gives itself again.
 */
#include "common/http1.h"
#include "tests/fuzz/fuzz.h"
#include <stdbool.h>
#include <stdio.h>

struct result {
    char *payload;
    size_t payload_len, consumed;
    bool done;
    int verdict;
};

static const struct http1_head chunked = { .framing = BODY_CHUNKED };

/* Feeds pieces: the first of `first` bytes, the others of `step`. */
static struct result take(const char *bytes, size_t len, size_t first, size_t step)
{
    struct result ret = { .payload = malloc(len + 1) };
    struct http1_body body;

    assert(ret.payload != NULL);
    http1_body_init(&body, &chunked);
    for (size_t at = 0, n = first; at < len && !body.done && ret.verdict == 0; at += n, n = step) {
        size_t payload, consumed;
        char *piece;
        n = n < len - at ? n : len - at;
        piece = fuzz_exact((const uint8_t *)bytes + at, n);
        ret.verdict = http1_body_take(&body, piece, n, &payload, &consumed);
        assert(payload <= consumed && consumed <= n);
        assert(ret.verdict < 0 || body.done || consumed == n);
        memcpy(ret.payload + ret.payload_len, piece, payload);
        ret.payload_len += payload;
        ret.consumed += consumed;
        free(piece);
    }
    if (ret.verdict < 0) {
        size_t payload, consumed;
        char more[] = "0\r\n\r\n";
        assert(http1_body_take(&body, more, 5, &payload, &consumed) == ret.verdict && payload == 0 && consumed == 0 && !body.done);
    }
    ret.done = body.done;
    return ret;
}

static void check_same(const struct result *a, const struct result *b)
{
    assert(a->verdict == b->verdict);
    assert(a->done == b->done);
    assert(a->consumed == b->consumed);
    assert(a->payload_len == b->payload_len);
    assert(memcmp(a->payload, b->payload, a->payload_len) == 0);
}

/* ---- the second decoder ---- */

enum verdict { MORE, DONE, BAD };

static bool is_text(unsigned char c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

static bool is_name(unsigned char c)
{
    return c != '\0' && strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", c) != NULL;
}

/* The length of the line at `at`, or why there is none; not longer than max. */
static enum verdict line_at(const char *at, size_t left, size_t max, size_t *len)
{
    for (size_t i = 0; i < left; i++) {
        if (at[i] == '\r') {
            *len = i;
            return i + 1 == left ? MORE : at[i + 1] == '\n' ? DONE : BAD;
        }
        if (!is_text((unsigned char)at[i]) || i == max)
            return BAD;
    }
    *len = left;
    return MORE;
}

/* A line that has begun: could it still become one of a size and extensions? */
static bool size_good(const char *line, size_t len, uint64_t *size)
{
    size_t i = 0;

    for (*size = 0; i < len && strchr("0123456789abcdefABCDEF", line[i]) != NULL && line[i] != '\0'; i++) {
        unsigned char c = (unsigned char)line[i];
        if (i == 16)
            return false;
        *size = *size * 16 + (uint64_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
        if (*size > UINT64_C(1) << 62)
            return false;
    }
    return i == len || (i > 0 && line[i] == ';');
}

static bool trailer_good(const char *line, size_t len, bool whole)
{
    size_t i = 0;

    while (i < len && is_name((unsigned char)line[i]))
        i++;
    if (i == len)
        return !whole;
    return i > 0 && line[i] == ':';
}

static enum verdict decode_trailers(const char *at, size_t left)
{
    enum verdict verdict;
    size_t len, used = 0;

    while ((verdict = line_at(at, left, 8192 - used, &len)) != BAD && len > 0) {
        if (!trailer_good(at, len, verdict == DONE || len < left))
            return BAD;
        if (verdict == MORE)
            return MORE;
        at += len + 2;
        left -= len + 2;
        used += len;
    }
    return verdict;
}

static enum verdict decode(const char *at, size_t left, struct result *ret)
{
    for (;;) {
        uint64_t size;
        size_t len, n;
        enum verdict verdict = line_at(at, left, 4097, &len);
        if (verdict == BAD || !size_good(at, len, &size) || (len == 0 && left > 0))
            return BAD;
        if (verdict == MORE)
            return MORE;
        at += len + 2;
        left -= len + 2;
        if (size == 0)
            return decode_trailers(at, left);
        n = size < left ? (size_t)size : left;
        memcpy(ret->payload + ret->payload_len, at, n);
        ret->payload_len += n;
        at += n;
        left -= n;
        if ((left > 0 && at[0] != '\r') || (left > 1 && at[1] != '\n'))
            return BAD;
        if (left < 2)
            return MORE;
        at += 2;
        left -= 2;
    }
}

static void check_decoded(const char *bytes, size_t len, const struct result *got)
{
    struct result ret = { .payload = malloc(len + 1) };
    enum verdict verdict;

    assert(ret.payload != NULL);
    verdict = decode(bytes, len, &ret);
    assert((verdict == BAD) == (got->verdict < 0));
    assert((verdict == DONE) == got->done);
    assert(ret.payload_len == got->payload_len);
    assert(memcmp(ret.payload, got->payload, ret.payload_len) == 0);
    free(ret.payload);
}

/* ---- */

static void check_again(const struct result *got)
{
    size_t room = got->payload_len + 64, len = 0;
    char *text = malloc(room);
    struct result again;

    assert(text != NULL);
    if (got->payload_len > 0) {
        len = (size_t)snprintf(text, room, "%zx\r\n", got->payload_len);
        memcpy(text + len, got->payload, got->payload_len);
        memcpy(text + len + got->payload_len, "\r\n", 2);
        len += got->payload_len + 2;
    }
    memcpy(text + len, "0\r\n\r\nGET", 8);
    again = take(text, len + 8, len + 8, 1);
    assert(again.done && again.consumed == len + 5 && again.payload_len == got->payload_len);
    assert(memcmp(again.payload, got->payload, got->payload_len) == 0);
    free(again.payload);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct result whole = take(bytes, size, size, 1), single = take(bytes, size, 1, 1);

    check_same(&whole, &single);
    free(single.payload);
    for (size_t cut = 1; cut < size; cut += 1 + size / 64) {
        struct result halves = take(bytes, size, cut, size);
        check_same(&whole, &halves);
        free(halves.payload);
    }
    check_decoded(bytes, size, &whole);
    check_again(&whole);
    free(whole.payload);
    return 0;
}
