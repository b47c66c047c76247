#ifndef TESTS_FUZZ_STRICT_H
#define TESTS_FUZZ_STRICT_H
#include <stddef.h>
/*
 * A second reader of heads, for what we send: it knows one spelling of
 * everything, shares no code with the parser, and asserts.
 */
struct strict {
    unsigned hosts, lengths, codings, forwarded_fors, forwarded_ports, forwarded_protos;
    unsigned fields;
};
void strict_request(const char *bytes, size_t len, struct strict *ret);
void strict_response(const char *bytes, size_t len, struct strict *ret);
#endif
