#ifndef COMMON_PROXY_H
#define COMMON_PROXY_H
#include "common/addr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/*
 * The PROXY protocol, versions 1 and 2: who is at the other end of the
 * connection that a proxy speaks for (haproxy's proxy-protocol.txt). Bytes in,
 * verdict out: pure, and never dependent on how the bytes were cut.
 */
struct proxy_info {
    bool local;         /* nobody is named that we could use (a health check, UNKNOWN, UNIX sockets): the TCP peer counts */
    struct addr source, destination;    /* !local: with ports; a v4-mapped one is IPv4, so families may differ */
};

#define PROXY_MAX 108           /* what the functions below write at most; not terminated */
#define PROXY_HEADER_MAX 4096   /* of version 2, with its TLVs; the longest of version 1 is 107 */

/*
 * > 0: the header's length, *ret is filled; 0: more bytes are needed; -EINVAL: no header, from the first byte on that
 * shows it. Strict: version 1 in its one spelling (an IPv6 address in any that is legal), CR and LF nowhere but at its
 * end; version 2 with LOCAL or PROXY, stream, TLVs that fill their room exactly, a CRC32C that is right. The block of
 * LOCAL and of an unspecified family has no form that could be judged: it is skipped unread.
 */
int proxy_parse(const char *bytes, size_t len, struct proxy_info *ret);

/*
 * The header to send; returns its length. Families that differ go as IPv6, the other v4-mapped, as HAProxy sends them;
 * in version 1 in hexadecimal groups, for the specification knows no others.
 */
size_t proxy_format(unsigned version, const struct addr *source, const struct addr *destination, char out[PROXY_MAX]);
/*
 * A connection of our own. For health checks only in version 2: some servers refuse version 1's UNKNOWN, so the
 * specification (2.1) wants the check's own two addresses through proxy_format().
 */
size_t proxy_format_local(unsigned version, char out[PROXY_MAX]);

/* The checksum of CRC32C TLVs (RFC 3720 B.4). crc: of the bytes before these; 0 at the start. */
uint32_t proxy_crc32c(uint32_t crc, const char *bytes, size_t len);
#endif
