#ifndef COMMON_BUF_H
#define COMMON_BUF_H
#include "common/span.h"
#include <stddef.h>
/*
 * A bounded run of bytes that is appended to. The owner reserves room first
 * and then appends without checks; appending past the room is a bug (asserted).
 * Counted, by one thread: a send in flight holds a reference, and what is
 * shared is no longer changed.
 */
struct buf {
    unsigned refs;
    size_t len, cap;
    char data[];
};

struct buf *buf_new(size_t cap);                /* NULL: no memory */
/* At least `more` bytes of room after len; may move it. -ENOMEM leaves it as it was. */
int buf_reserve(struct buf **buf, size_t more);
struct buf *buf_ref(struct buf *buf);
void buf_unref(struct buf **buf);               /* NULL is fine */

static inline size_t buf_room(const struct buf *b)
{
    return b->cap - b->len;
}

void buf_add(struct buf *b, const char *bytes, size_t len);
void buf_add_span(struct buf *b, struct span s);
void buf_add_text(struct buf *b, const char *text);
void buf_add_number(struct buf *b, unsigned long long n, unsigned base);    /* base 10 or 16 (lower case) */
#endif
