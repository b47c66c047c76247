#include "common/buf.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct buf *buf_new(size_t cap)
{
    struct buf *b = malloc(sizeof(*b) + cap);

    if (b != NULL) {
        b->refs = 1;
        b->len = 0;
        b->cap = cap;
    }
    return b;
}

int buf_reserve(struct buf **buf, size_t more)
{
    size_t cap = (*buf)->cap;
    struct buf *b;

    assert((*buf)->refs == 1);
    if (buf_room(*buf) >= more)
        return 0;
    while (cap - (*buf)->len < more)
        cap = cap < 512 ? 1024 : cap * 2;
    b = realloc(*buf, sizeof(*b) + cap);
    if (b == NULL)
        return -ENOMEM;
    b->cap = cap;
    *buf = b;
    return 0;
}

struct buf *buf_ref(struct buf *buf)
{
    buf->refs++;
    return buf;
}

void buf_unref(struct buf **buf)
{
    if (*buf != NULL && --(*buf)->refs == 0)
        free(*buf);
    *buf = NULL;
}

void buf_add(struct buf *b, const char *bytes, size_t len)
{
    assert(buf_room(b) >= len);
    if (len > 0)
        memcpy(b->data + b->len, bytes, len);
    b->len += len;
}

void buf_add_span(struct buf *b, struct span s)
{
    buf_add(b, s.ptr, s.len);
}

void buf_add_text(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_add_number(struct buf *b, unsigned long long n, unsigned base)
{
    char digits[24], *p = digits + sizeof(digits);

    do {
        *--p = "0123456789abcdef"[n % base];
        n /= base;
    } while (n > 0);
    buf_add(b, p, (size_t)(digits + sizeof(digits) - p));
}
