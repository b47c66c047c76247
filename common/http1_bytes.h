#ifndef COMMON_HTTP1_BYTES_H
#define COMMON_HTTP1_BYTES_H
#include <stdbool.h>
/* What a byte may be part of; private to common/http1*.c. */
enum {
    BYTE_TCHAR = 1,     /* token: method, field name (RFC 9110 5.6.2) */
    BYTE_VALUE = 2,     /* field value, reason phrase, chunk extension: HT, SP, VCHAR, obs-text */
    BYTE_TARGET = 4,    /* request target: 0x21-0x7e but '#' */
    BYTE_HOST = 8,      /* reg-name but '%' (RFC 3986 3.2.2) */
    BYTE_ALNUM = 16
};
extern const unsigned char http1_bytes[256];

static inline bool byte_is(char byte, unsigned kind)
{
    return (http1_bytes[(unsigned char)byte] & kind) != 0;
}

static inline bool byte_is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static inline bool byte_is_control(char byte)
{
    return (unsigned char)byte < 0x20 || byte == 0x7f;
}

/* -1: no hex digit. */
static inline int byte_hex(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f')
        return (byte | 0x20) - 'a' + 10;
    return -1;
}
#endif
