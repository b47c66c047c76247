#include "message.h"
#include <assert.h>
#include <stdlib.h>

#define HEAD_FIRST 1024
#define HEAD_MAX (256 * 1024)
#define SIZE_DIGITS_MAX 8

void message_init(struct message *message, const struct message_events *events, const char *who)
{
    *message = (struct message){ .events = events, .who = who };
}

void message_fini(struct message *message)
{
    free(message->head);
    message->head = NULL;
    message->head_len = message->head_room = 0;
}

void message_next(struct message *message)
{
    message->step = MESSAGE_HEAD;
    message->head_len = 0;
    message->left = message->payload = 0;
    message->line_len = 0;
}

bool message_begun(const struct message *message)
{
    return message->step != MESSAGE_HEAD || message->head_len > 0;
}

/* ---- the head ---- */

static void head_room(struct message *message, size_t len)
{
    size_t room = message->head_room == 0 ? HEAD_FIRST : message->head_room;

    while (room < message->head_len + len)
        room *= 2;
    if (room > HEAD_MAX)
        world_fail("%s: a head of more than %d bytes", message->who, HEAD_MAX);
    if (room == message->head_room)
        return;
    message->head = realloc(message->head, room);
    assert(message->head != NULL);
    message->head_room = room;
}

/* Where the head ends if these bytes follow; 0: later. */
static size_t head_end(const struct message *message, size_t from)
{
    const char *head = message->head, *at;

    for (size_t i = from < 3 ? 0 : from - 3; i + 4 <= message->head_len; i = (size_t)(at - head) + 1) {
        at = memchr(head + i, '\r', message->head_len - 3 - i);
        if (at == NULL)
            return 0;
        if (memcmp(at, "\r\n\r\n", 4) == 0)
            return (size_t)(at - head) + 4;
    }
    return 0;
}

static void follow(struct message *message)
{
    switch (message->events->head(message)) {
    case FOLLOWS_HEAD:
        message_next(message);
        break;
    case FOLLOWS_NOTHING:
        message->step = MESSAGE_DONE;
        break;
    case FOLLOWS_LENGTH:
        message->left = span_number(message_field(message, "Content-Length", 0));
        if (message->left == UINT64_MAX)
            world_fail("%s: a length that is none", message->who);
        message->step = message->left == 0 ? MESSAGE_DONE : MESSAGE_DATA;
        break;
    case FOLLOWS_CHUNKS:
        message->step = MESSAGE_SIZE;
        break;
    case FOLLOWS_ALL:
        message->step = MESSAGE_REST;
        break;
    }
}

static size_t take_head(struct message *message, const char *bytes, size_t len)
{
    size_t before = message->head_len, end;

    head_room(message, len);
    memcpy(message->head + before, bytes, len);
    message->head_len += len;
    end = head_end(message, before);
    if (end == 0)
        return len;
    message->head_len = end;
    follow(message);
    return end - before;
}

/* ---- the body ---- */

static size_t take_payload(struct message *message, const char *bytes, size_t len, enum message_step next)
{
    size_t n = message->left < len ? (size_t)message->left : len;

    message->events->payload(message, bytes, n);
    message->payload += n;
    message->left -= n;
    if (message->left == 0)
        message->step = next;
    return n;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "<hex>\r\n", or "0\r\n\r\n" and the end. */
static void size_whole(struct message *message)
{
    unsigned digits = message->line_len - 2;
    uint64_t size = 0;

    if (message->line_len == 3 && message->line[0] == '0')
        return;                                         /* the last one: an empty line is still to come */
    if (message->line_len == 5 && memcmp(message->line, "0\r\n\r\n", 5) == 0) {
        message->step = MESSAGE_DONE;
        return;
    }
    if (digits == 0 || digits > SIZE_DIGITS_MAX || message->line[0] == '0' || message->line[digits] != '\r')
        world_fail("%s: a chunk's size not as it should be: %.*s", message->who, (int)message->line_len, message->line);
    for (unsigned i = 0; i < digits; i++) {
        if (hex(message->line[i]) < 0)
            world_fail("%s: a chunk's size that is none: %.*s", message->who, (int)message->line_len, message->line);
        size = size * 16 + (uint64_t)hex(message->line[i]);
    }
    message->left = size;
    message->line_len = 0;
    message->step = MESSAGE_CHUNK;
}

static size_t take_size(struct message *message, char byte)
{
    if (message->line_len == sizeof(message->line))
        world_fail("%s: a chunk's size without end", message->who);
    message->line[message->line_len++] = byte;
    if (byte == '\n')
        size_whole(message);
    return 1;
}

static size_t take_chunk_end(struct message *message, char byte)
{
    if (byte != "\r\n"[message->line_len])
        world_fail("%s: no line end after a chunk's data", message->who);
    if (++message->line_len == 2) {
        message->line_len = 0;
        message->step = MESSAGE_SIZE;
    }
    return 1;
}

static size_t take_step(struct message *message, const char *bytes, size_t len)
{
    switch (message->step) {
    case MESSAGE_HEAD:
        return take_head(message, bytes, len);
    case MESSAGE_DATA:
        return take_payload(message, bytes, len, MESSAGE_DONE);
    case MESSAGE_SIZE:
        return take_size(message, bytes[0]);
    case MESSAGE_CHUNK:
        return take_payload(message, bytes, len, MESSAGE_CHUNK_END);
    case MESSAGE_CHUNK_END:
        return take_chunk_end(message, bytes[0]);
    case MESSAGE_REST:
        message->left = len;
        return take_payload(message, bytes, len, MESSAGE_REST);
    case MESSAGE_DONE:
        break;
    }
    return 0;
}

size_t message_take(struct message *message, const char *bytes, size_t len)
{
    size_t taken = 0;

    while (taken < len && message->step != MESSAGE_DONE)
        taken += take_step(message, bytes + taken, len - taken);
    return taken;
}

size_t message_safe(const struct message *message)
{
    switch (message->step) {
    case MESSAGE_DATA:
        return (size_t)message->left;
    case MESSAGE_CHUNK:
        return (size_t)message->left + 2;
    case MESSAGE_REST:
        return SIZE_MAX;
    case MESSAGE_SIZE:          /* the shortest that may come is the last chunk */
    case MESSAGE_CHUNK_END:
    case MESSAGE_HEAD:
    case MESSAGE_DONE:
        break;
    }
    return 1;
}

/* ---- what a head says ---- */

struct span message_line(const struct message *message)
{
    const char *end = memchr(message->head, '\r', message->head_len);

    return (struct span){ message->head, (size_t)(end - message->head) };
}

bool message_each(const struct message *message, size_t *at, struct span *name, struct span *value)
{
    const char *line, *colon, *end;

    if (*at == 0)
        *at = message_line(message).len + 2;
    line = message->head + *at;
    end = memchr(line, '\r', message->head_len - *at);
    if (end == line)
        return false;
    colon = memchr(line, ':', (size_t)(end - line));
    *name = (struct span){ line, (size_t)(colon - line) };
    *value = (struct span){ colon + 2, (size_t)(end - colon) - 2 };
    *at = (size_t)(end - message->head) + 2;
    return true;
}

struct span message_field(const struct message *message, const char *name, unsigned n)
{
    struct span found, value;

    for (size_t at = 0; message_each(message, &at, &found, &value);)
        if (span_is(found, name) && n-- == 0)
            return value;
    return (struct span){ NULL, 0 };
}

bool span_is(struct span span, const char *text)
{
    return span_equal_nocase(span, (struct span){ text, strlen(text) });
}

uint64_t span_number(struct span span)
{
    uint64_t number = 0;

    if (span.len == 0 || span.len > 19)
        return UINT64_MAX;
    for (size_t i = 0; i < span.len; i++) {
        if (span.ptr[i] < '0' || span.ptr[i] > '9')
            return UINT64_MAX;
        number = number * 10 + (uint64_t)(span.ptr[i] - '0');
    }
    return number;
}
