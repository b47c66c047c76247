#ifndef TESTS_SIM_MESSAGE_H
#define TESTS_SIM_MESSAGE_H
#include "common/span.h"
#include "world.h"
/*
 * A strict incremental reader of what halb sends: it knows halb's own spelling of everything, and fails the world at any other.
 * Its owner is told of each head, says what follows, and gets the payload in pieces.
 */
enum message_follows {
    FOLLOWS_HEAD,               /* it was an interim answer */
    FOLLOWS_NOTHING,
    FOLLOWS_LENGTH, FOLLOWS_CHUNKS, FOLLOWS_ALL /* until the connection ends */
};
enum message_step { MESSAGE_HEAD, MESSAGE_DATA, MESSAGE_SIZE, MESSAGE_CHUNK, MESSAGE_CHUNK_END, MESSAGE_REST, MESSAGE_DONE };

struct message;
struct message_events {
    /* The head is whole: message->head, without what follows. */
    enum message_follows (*head)(struct message *message);
    void (*payload)(struct message *message, const char *bytes, size_t len);    /* from place message->payload on */
};
struct message {
    const struct message_events *events;
    const char *who;            /* reads it, for failures */
    enum message_step step;
    char *head;
    size_t head_len, head_room;
    uint64_t left;              /* DATA, CHUNK */
    uint64_t payload;
    char line[20];              /* SIZE, CHUNK_END: what has come of it */
    unsigned line_len;
};
void message_init(struct message *message, const struct message_events *events, const char *who);
void message_fini(struct message *message);
void message_next(struct message *message);                     /* the memory stays */
bool message_begun(const struct message *message);
/* Reads on, at most to the end of the message. Returns how much it took. */
size_t message_take(struct message *message, const char *bytes, size_t len);
/* How many bytes can be taken without passing the end of the message, when its head has come. At least 1. */
size_t message_safe(const struct message *message);

/* Of a head: its first line; the n-th field of that name, ptr == NULL: none. Heads that strict.h has read. */
struct span message_line(const struct message *message);
struct span message_field(const struct message *message, const char *name, unsigned n);
/* All fields in order: *at is 0 at first. false: no more. */
bool message_each(const struct message *message, size_t *at, struct span *name, struct span *value);
bool span_is(struct span span, const char *text);               /* ASCII case does not matter */
uint64_t span_number(struct span span);                         /* UINT64_MAX: none */
#endif
