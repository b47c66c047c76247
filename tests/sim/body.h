#ifndef TESTS_SIM_BODY_H
#define TESTS_SIM_BODY_H
#include "oracle.h"
#include "outbox.h"
/* Bodies of pattern bytes: made piece by piece, and compared in bulk. */
enum body_direction { BODY_OF_REQUEST, BODY_OF_ANSWER };
enum body_framing { BODY_IS_NONE, BODY_BY_LENGTH, BODY_BY_CHUNKS, BODY_BY_CLOSE };

struct body {
    uint64_t id;
    enum body_direction direction;
    unsigned instance;                  /* an answer's */
    uint64_t at, total;
    enum body_framing framing;
    size_t chunk_max;                   /* of chunks */
    bool extensions, trailers;          /* of chunks: now and then */
    bool done;                          /* all of it, and what ends it, was added */
};
void body_begin(struct body *body, struct dice *dice);          /* framing and total are set: chooses how it is cut up */
void body_add_piece(struct body *body, struct outbox *out, struct dice *dice);       /* not done */
void body_add_pattern(struct body *body, struct outbox *out, size_t len);            /* without framing */

/* How many of the bytes, from place `at` of that body on, are right. */
size_t body_right(uint64_t id, enum body_direction direction, unsigned instance, uint64_t at, const char *bytes, size_t len);
#endif
