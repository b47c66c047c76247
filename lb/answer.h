#ifndef LB_ANSWER_H
#define LB_ANSWER_H
#include "common/buf.h"
#include <stdbool.h>
/*
 * The answers that the balancer makes itself, byte for byte as ELB words them.
 */
/* status: 400 405 408 502 503 504. keep_alive: for the last three alone; the others always close. Lives for ever. */
const char *answer_text(int status, bool keep_alive);
/* The same with a body of the operator's; a reference. NULL: no memory. head_only: the request was a HEAD. */
struct answer_body {
    const char *content_type, *bytes;
    size_t len;
};
struct buf *answer_with_body(int status, bool keep_alive, bool head_only, const struct answer_body *body);
extern const char answer_continue[];        /* 100, for Expect (RFC 9110 10.1.1) */
#endif
