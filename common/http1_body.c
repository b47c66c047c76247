/*
 * The end of a body, found byte by byte where the bytes say it (chunked,
 * RFC 9112 7.1) and by counting where the head said it.
 *
 *            +------------------------------ DATA_LF <- DATA_CR <-+
 *            v                                                    |
 *   SIZE_FIRST -> SIZE --------------------------> SIZE_LF -> DATA
 *                   |                                ^ |
 *                   +-> EXTENSION -------------------+ | size 0
 *                                                      v
 *       +-------------- TRAILER_LF <------------- TRAILER_FIRST -> END_LF -> done
 *       v                   ^                          |
 *   TRAILER_FIRST      TRAILER_VALUE <- TRAILER_NAME <-+
 *
 *   REFUSED   entered from anywhere, never left: a body does not get well
 */
#include "common/http1.h"
#include "common/http1_bytes.h"
#include <assert.h>

enum step {
    STEP_SIZE_FIRST, STEP_SIZE, STEP_EXTENSION, STEP_SIZE_LF, STEP_DATA, STEP_DATA_CR, STEP_DATA_LF,
    STEP_TRAILER_FIRST, STEP_TRAILER_NAME, STEP_TRAILER_VALUE, STEP_TRAILER_LF, STEP_END_LF, STEP_REFUSED
};

#define SIZE_DIGITS_MAX 16              /* what 64 bits hold: no sum can wrap */
#define SIZE_MAX_BYTES (UINT64_C(1) << 62)
#define SIZE_LINE_MAX 4096              /* digits and extensions: CVE-2024-22019 was one without end */
#define TRAILERS_MAX 8192                /* all of them, less line ends */

void http1_body_init(struct http1_body *body, const struct http1_head *head)
{
    *body = (struct http1_body){ .framing = head->framing, .step = STEP_SIZE_FIRST };
    if (head->framing == BODY_LENGTH)
        body->left = head->content_length;
    body->done = head->framing == BODY_NONE || (head->framing == BODY_LENGTH && body->left == 0);
}

static enum step size_begin(struct http1_body *body, char byte)
{
    int digit = byte_hex(byte);
    if (digit < 0)
        return STEP_REFUSED;
    body->left = (uint64_t)digit;
    body->line = 1;
    return STEP_SIZE;
}

static enum step size_digit(struct http1_body *body, int digit)
{
    if (body->line++ == SIZE_DIGITS_MAX)
        return STEP_REFUSED;
    body->left = body->left * 16 + (uint64_t)digit;
    return body->left > SIZE_MAX_BYTES ? STEP_REFUSED : STEP_SIZE;
}

static enum step size_next(struct http1_body *body, char byte)
{
    int digit = byte_hex(byte);
    if (digit >= 0)
        return size_digit(body, digit);
    if (byte == '\r')
        return STEP_SIZE_LF;
    body->line++;
    return byte == ';' ? STEP_EXTENSION : STEP_REFUSED;
}

/* One more byte of a line that is only checked: `end` at its CR. */
static enum step line_next(struct http1_body *body, char byte, uint32_t max, enum step end)
{
    if (byte == '\r')
        return end;
    if (body->line++ == max || !byte_is(byte, BYTE_VALUE))
        return STEP_REFUSED;
    return (enum step)body->step;
}

static enum step trailer_next(struct http1_body *body, char byte)
{
    bool first = body->step == STEP_TRAILER_FIRST;
    if (byte == '\r')
        return first ? STEP_END_LF : STEP_REFUSED;
    if (body->line++ == TRAILERS_MAX)
        return STEP_REFUSED;
    if (byte == ':')
        return first ? STEP_REFUSED : STEP_TRAILER_VALUE;
    return byte_is(byte, BYTE_TCHAR) ? STEP_TRAILER_NAME : STEP_REFUSED;
}

static enum step line_feed(struct http1_body *body, char byte, enum step next)
{
    if (byte != '\n')
        return STEP_REFUSED;
    if (next == STEP_TRAILER_FIRST && body->step == STEP_SIZE_LF)
        body->line = 0;
    return next;
}

/* The step after one byte that is not data. */
static enum step step_next(struct http1_body *body, char byte)
{
    switch ((enum step)body->step) {
    case STEP_SIZE_FIRST:
        return size_begin(body, byte);
    case STEP_SIZE:
        return size_next(body, byte);
    case STEP_EXTENSION:
        return line_next(body, byte, SIZE_LINE_MAX, STEP_SIZE_LF);
    case STEP_SIZE_LF:
        return line_feed(body, byte, body->left == 0 ? STEP_TRAILER_FIRST : STEP_DATA);
    case STEP_DATA_CR:
        return byte == '\r' ? STEP_DATA_LF : STEP_REFUSED;
    case STEP_DATA_LF:
        return line_feed(body, byte, STEP_SIZE_FIRST);
    case STEP_TRAILER_FIRST: case STEP_TRAILER_NAME:
        return trailer_next(body, byte);
    case STEP_TRAILER_VALUE:
        return line_next(body, byte, TRAILERS_MAX, STEP_TRAILER_LF);
    case STEP_TRAILER_LF:
        return line_feed(body, byte, STEP_TRAILER_FIRST);
    case STEP_END_LF:
        body->done = byte == '\n';
        return body->done ? STEP_END_LF : STEP_REFUSED;
    case STEP_DATA: case STEP_REFUSED:
        break;
    }
    return STEP_REFUSED;
}

static size_t left_of(const struct http1_body *body, size_t len)
{
    return body->left < len ? (size_t)body->left : len;
}

/* Data from bytes[*consumed] to bytes[*payload]. */
static void take_data(struct http1_body *body, char *bytes, size_t len, size_t *payload, size_t *consumed)
{
    size_t n = left_of(body, len - *consumed);
    memmove(bytes + *payload, bytes + *consumed, n);
    *payload += n;
    *consumed += n;
    body->left -= n;
    if (body->left == 0)
        body->step = STEP_DATA_CR;
}

static int take_chunked(struct http1_body *body, char *bytes, size_t len, size_t *payload, size_t *consumed)
{
    while (*consumed < len && !body->done && body->step != STEP_REFUSED) {
        if (body->step == STEP_DATA) {
            take_data(body, bytes, len, payload, consumed);
        } else {
            body->step = (uint8_t)step_next(body, bytes[*consumed]);
            *consumed += body->step != STEP_REFUSED;
        }
    }
    return body->step == STEP_REFUSED ? -HTTP1_BAD_CHUNK : 0;
}

int http1_body_take(struct http1_body *body, char *bytes, size_t len, size_t *payload, size_t *consumed)
{
    *payload = *consumed = 0;
    switch (body->framing) {
    case BODY_NONE:
        return 0;
    case BODY_LENGTH:
        *payload = *consumed = left_of(body, len);
        body->left -= *consumed;
        body->done = body->left == 0;
        return 0;
    case BODY_CHUNKED:
        return take_chunked(body, bytes, len, payload, consumed);
    case BODY_UNTIL_CLOSE:
        *payload = *consumed = len;
        return 0;
    }
    return 0;
}
