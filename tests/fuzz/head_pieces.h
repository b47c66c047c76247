#ifndef TESTS_FUZZ_HEAD_PIECES_H
#define TESTS_FUZZ_HEAD_PIECES_H
#include "common/http1.h"
#include <stddef.h>
/* What a head says, whole or in pieces; asserts that it is the same, and that nothing in it points elsewhere. */
typedef int head_parse(struct http1_head *head, const char *bytes, size_t len, const void *how);

/* Parses all of bytes, and every prefix of them. Returns what the whole gave, which is in *head. */
int head_in_pieces(struct http1_head *head, const char *bytes, size_t len, head_parse *parse, const void *how);

/* All that a head says as one number; the same for a refused one's class and reason alone. */
uint64_t head_digest(const struct http1_head *head, int verdict);

/* What holds of every head that was taken. */
void head_check(const struct http1_head *head, const char *bytes, int verdict, const struct http1_limits *limits);
#endif
