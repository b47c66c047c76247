#include "outbox.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 1024

void outbox_clear(struct outbox *out)
{
    out->at = out->len = 0;
    out->added = out->written = 0;
}

void outbox_fini(struct outbox *out)
{
    free(out->bytes);
    *out = (struct outbox){ .bytes = NULL };
}

static void grow(struct outbox *out, size_t room)
{
    size_t wanted = out->room == 0 ? ROOM_FIRST : out->room;

    while (wanted < room)
        wanted *= 2;
    out->bytes = realloc(out->bytes, wanted);
    assert(out->bytes != NULL);
    out->room = wanted;
}

char *outbox_reserve(struct outbox *out, size_t size)
{
    if (out->at > 0 && out->len + size > out->room) {
        memmove(out->bytes, out->bytes + out->at, out->len - out->at);
        out->len -= out->at;
        out->at = 0;
    }
    if (out->len + size > out->room)
        grow(out, out->len + size);
    return out->bytes + out->len;
}

void outbox_took(struct outbox *out, size_t len)
{
    assert(out->len + len <= out->room);
    out->len += len;
    out->added += len;
}

void outbox_add(struct outbox *out, const void *bytes, size_t len)
{
    if (len == 0)
        return;
    memcpy(outbox_reserve(out, len), bytes, len);
    outbox_took(out, len);
}

void outbox_text(struct outbox *out, const char *format, ...)
{
    char text[1024];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    assert(len >= 0);
    assert((size_t)len < sizeof(text));
    outbox_add(out, text, (size_t)len);
}

size_t outbox_left(const struct outbox *out)
{
    return out->len - out->at;
}

size_t outbox_write(struct outbox *out, struct peer *peer, size_t max)
{
    size_t left = outbox_left(out), n;

    if (left == 0 || max == 0)
        return 0;
    n = peer_write(peer, out->bytes + out->at, left < max ? left : max);
    out->at += n;
    out->written += n;
    if (out->at == out->len)
        out->at = out->len = 0;
    return n;
}
