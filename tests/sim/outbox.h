#ifndef TESTS_SIM_OUTBOX_H
#define TESTS_SIM_OUTBOX_H
#include "peer.h"
/* What an actor still has to write: its bytes are staged here in small pieces, so that no body is ever held whole. */
struct outbox {
    char *bytes;
    size_t at, len, room;
    uint64_t added, written;            /* of all times: places in the stream of the connection */
};
void outbox_clear(struct outbox *out);  /* a new connection; the memory stays */
void outbox_fini(struct outbox *out);
char *outbox_reserve(struct outbox *out, size_t size);          /* room at the end, valid until the next call; outbox_took() uses it */
void outbox_took(struct outbox *out, size_t len);
void outbox_add(struct outbox *out, const void *bytes, size_t len);
void outbox_text(struct outbox *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
size_t outbox_left(const struct outbox *out);
/* At most `max` of what is left, as far as there is room. Returns how much. */
size_t outbox_write(struct outbox *out, struct peer *peer, size_t max);
#endif
