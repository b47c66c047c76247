/* PROXY headers. Version 1 is a line, read strictly from left to right; version 2 a block whose length comes first. */
#include "common/proxy.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Steps return like the parser itself: > 0 taken, 0 more bytes are needed, < 0 -errno. */
#define TAKEN 1
#define MORE 0

/* ---- version 1 ---- */

#define LINE_MAX_V1 107         /* with CRLF */
#define V6_TEXT_MAX 39          /* eight groups of four */

struct cursor {
    const char *at, *end;
};

static int take_text(struct cursor *c, const char *text)
{
    for (; *text != '\0'; text++, c->at++) {
        if (c->at == c->end)
            return MORE;
        if (*c->at != *text)
            return -EINVAL;
    }
    return TAKEN;
}

/* Decimal, without leading zeros, at most max, and the byte after it. */
static int take_number(struct cursor *c, unsigned max, char after, unsigned *ret)
{
    const char *first = c->at;
    unsigned n = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        if (c->at > first && n == 0)
            return -EINVAL;
        n = n * 10 + (unsigned)(*c->at - '0');
        if (n > max)
            return -EINVAL;
    }
    if (c->at == c->end)
        return MORE;
    if (c->at == first || *c->at != after)
        return -EINVAL;
    c->at++;
    *ret = n;
    return TAKEN;
}

static int take_v4(struct cursor *c, struct addr *ret)
{
    struct sockaddr_in in = { .sin_family = AF_INET };
    uint32_t host = 0;
    for (int i = 0; i < 4; i++) {
        unsigned octet;
        int r = take_number(c, 255, i < 3 ? '.' : ' ', &octet);
        if (r <= 0)
            return r;
        host = host << 8 | octet;
    }
    in.sin_addr.s_addr = htonl(host);
    *ret = addr_from_sockaddr((const struct sockaddr *)&in);
    return TAKEN;
}

static bool v6_byte(char byte)
{
    return (byte >= '0' && byte <= ':') || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F') || byte == '.';
}

/* With dots at the end too: HAProxy sends v4-mapped addresses so. */
static int take_v6(struct cursor *c, struct addr *ret)
{
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
    char text[V6_TEXT_MAX + 1];
    size_t len = 0;
    for (; c->at < c->end && len < V6_TEXT_MAX && v6_byte(*c->at); c->at++)
        text[len++] = *c->at;
    if (c->at == c->end)
        return MORE;
    text[len] = '\0';
    if (*c->at != ' ' || inet_pton(AF_INET6, text, &in6.sin6_addr) != 1)
        return -EINVAL;
    c->at++;
    *ret = addr_from_sockaddr((const struct sockaddr *)&in6);
    return TAKEN;
}

static int take_addresses(struct cursor *c, int (*take_host)(struct cursor *, struct addr *), struct proxy_info *info)
{
    unsigned from, to;
    int r;
    if ((r = take_host(c, &info->source)) <= 0 || (r = take_host(c, &info->destination)) <= 0 ||
        (r = take_number(c, 65535, ' ', &from)) <= 0 || (r = take_number(c, 65535, '\r', &to)) <= 0)
        return r;
    info->source = addr_with_port(info->source, (uint16_t)from);
    info->destination = addr_with_port(info->destination, (uint16_t)to);
    return take_text(c, "\n");
}

/* "UNKNOWN" and whatever comes up to the line's end, which must not be a CR or LF alone: the next line is not ours. */
static int take_unknown(struct cursor *c, const char *first, struct proxy_info *info)
{
    int r = take_text(c, "UNKNOWN");
    if (r <= 0)
        return r;
    info->local = true;
    if (c->at < c->end && *c->at != ' ')
        return take_text(c, "\r\n");
    while (c->at < c->end && c->at - first < LINE_MAX_V1 - 2 && *c->at != '\r' && *c->at != '\n')
        c->at++;
    return take_text(c, "\r\n");
}

static int parse_v1(const char *bytes, size_t len, struct proxy_info *ret)
{
    struct cursor c = { .at = bytes, .end = bytes + len };
    struct proxy_info info = { .local = false };
    int r = take_text(&c, "PROXY ");
    if (r <= 0)
        return r;
    if (c.at < c.end && *c.at == 'U') {
        r = take_unknown(&c, bytes, &info);
    } else if ((r = take_text(&c, "TCP")) > 0) {
        bool v6 = c.at < c.end && *c.at == '6';
        r = take_text(&c, v6 ? "6 " : "4 ");
        if (r > 0)
            r = take_addresses(&c, v6 ? take_v6 : take_v4, &info);
    }
    if (r <= 0)
        return r;
    *ret = info;
    return (int)(c.at - bytes);
}

/* ---- version 2 ---- */

static const uint8_t signature[] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };

enum { AT_COMMAND = sizeof(signature), AT_FAMILY, AT_LENGTH, AT_BLOCK = AT_LENGTH + 2 };
enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };
enum { FAMILY_UNSPEC = 0x00, FAMILY_UNSPEC_STREAM = 0x01, FAMILY_INET = 0x11, FAMILY_INET6 = 0x21, FAMILY_UNIX = 0x31 };
enum { INET_BLOCK = 12, INET6_BLOCK = 36, UNIX_BLOCK = 216 };
enum { TLV_CRC32C = 0x03, TLV_HEADER = 3, CRC32C_BYTES = 4 };

static size_t get16(const uint8_t *at)
{
    return (size_t)at[0] << 8 | at[1];
}

/* How long the addresses of a family are; < 0: none that a stream has. */
static int addresses_length(uint8_t family)
{
    switch (family) {
    case FAMILY_UNSPEC:
    case FAMILY_UNSPEC_STREAM:
        return 0;
    case FAMILY_INET:
        return INET_BLOCK;
    case FAMILY_INET6:
        return INET6_BLOCK;
    case FAMILY_UNIX:
        return UNIX_BLOCK;
    }
    return -EINVAL;
}

/* Whether the block says what we read: with LOCAL even the family is ignored. */
static bool block_read(const uint8_t *bytes)
{
    return bytes[AT_COMMAND] == COMMAND_PROXY && addresses_length(bytes[AT_FAMILY]) > 0;
}

/* All before the block, as far as it has come. */
static int judge_start(const uint8_t *bytes, size_t len)
{
    size_t max = PROXY_HEADER_MAX - AT_BLOCK;
    if (memcmp(bytes, signature, len < sizeof(signature) ? len : sizeof(signature)) != 0)
        return -EINVAL;
    if (len > AT_COMMAND && bytes[AT_COMMAND] != COMMAND_LOCAL && bytes[AT_COMMAND] != COMMAND_PROXY)
        return -EINVAL;
    if (len > AT_FAMILY && bytes[AT_COMMAND] == COMMAND_PROXY && addresses_length(bytes[AT_FAMILY]) < 0)
        return -EINVAL;
    if (len > AT_LENGTH && bytes[AT_LENGTH] > max >> 8)
        return -EINVAL;
    if (len < AT_BLOCK)
        return MORE;
    if (get16(bytes + AT_LENGTH) > max)
        return -EINVAL;
    if (block_read(bytes) && get16(bytes + AT_LENGTH) < (size_t)addresses_length(bytes[AT_FAMILY]))
        return -EINVAL;
    return TAKEN;
}

/* Looks over the TLVs that have come. *crc_at: where the checksum is, 0 without. */
static int judge_tlvs(const uint8_t *bytes, size_t len, size_t total, size_t *crc_at)
{
    size_t at = AT_BLOCK + (size_t)addresses_length(bytes[AT_FAMILY]);
    *crc_at = 0;
    while (at < total) {
        size_t size;
        if (total - at < TLV_HEADER)
            return -EINVAL;
        if (len < at + TLV_HEADER)
            return MORE;
        size = get16(bytes + at + 1);
        if (size > total - at - TLV_HEADER)
            return -EINVAL;
        if (bytes[at] == TLV_CRC32C && (size != CRC32C_BYTES || *crc_at != 0))
            return -EINVAL;
        if (bytes[at] == TLV_CRC32C)
            *crc_at = at + TLV_HEADER;
        at += TLV_HEADER + size;
    }
    return len < total ? MORE : TAKEN;
}

/* Over the whole header, the checksum itself taken as zeros. */
static bool crc_right(const char *bytes, size_t total, size_t crc_at)
{
    static const char zeros[CRC32C_BYTES];
    uint32_t crc = proxy_crc32c(0, bytes, crc_at), sent;
    crc = proxy_crc32c(crc, zeros, sizeof(zeros));
    crc = proxy_crc32c(crc, bytes + crc_at + CRC32C_BYTES, total - crc_at - CRC32C_BYTES);
    memcpy(&sent, bytes + crc_at, sizeof(sent));
    return ntohl(sent) == crc;
}

static struct addr get_v4(const uint8_t *host, const uint8_t *port)
{
    struct sockaddr_in in = { .sin_family = AF_INET };
    memcpy(&in.sin_addr, host, sizeof(in.sin_addr));
    memcpy(&in.sin_port, port, sizeof(in.sin_port));
    return addr_from_sockaddr((const struct sockaddr *)&in);
}

static struct addr get_v6(const uint8_t *host, const uint8_t *port)
{
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
    memcpy(&in6.sin6_addr, host, sizeof(in6.sin6_addr));
    memcpy(&in6.sin6_port, port, sizeof(in6.sin6_port));
    return addr_from_sockaddr((const struct sockaddr *)&in6);
}

static struct proxy_info get_info(const uint8_t *bytes)
{
    const uint8_t *block = bytes + AT_BLOCK;
    struct proxy_info info = { .local = false };
    if (bytes[AT_COMMAND] == COMMAND_PROXY && bytes[AT_FAMILY] == FAMILY_INET) {
        info.source = get_v4(block, block + 8);
        info.destination = get_v4(block + 4, block + 10);
    } else if (bytes[AT_COMMAND] == COMMAND_PROXY && bytes[AT_FAMILY] == FAMILY_INET6) {
        info.source = get_v6(block, block + 32);
        info.destination = get_v6(block + 16, block + 34);
    } else {
        info.local = true;
    }
    return info;
}

static int parse_v2(const char *text, size_t len, struct proxy_info *ret)
{
    const uint8_t *bytes = (const uint8_t *)text;
    size_t total, crc_at = 0;
    int r = judge_start(bytes, len);
    if (r <= 0)
        return r;
    total = AT_BLOCK + get16(bytes + AT_LENGTH);
    if (block_read(bytes))
        r = judge_tlvs(bytes, len, total, &crc_at);
    if (r <= 0 || len < total)
        return r <= 0 ? r : MORE;
    if (crc_at != 0 && !crc_right(text, total, crc_at))
        return -EINVAL;
    *ret = get_info(bytes);
    return (int)total;
}

int proxy_parse(const char *bytes, size_t len, struct proxy_info *ret)
{
    assert(bytes != NULL || len == 0);
    assert(ret != NULL);
    if (len == 0)
        return MORE;
    return bytes[0] == 'P' ? parse_v1(bytes, len, ret) : parse_v2(bytes, len, ret);
}

/* ---- what we send ---- */

static bool both_v4(const struct addr *a, const struct addr *b)
{
    return a->sa.sa_family == AF_INET && b->sa.sa_family == AF_INET;
}

static struct in6_addr as_v6(const struct addr *a)
{
    struct in6_addr mapped = { .s6_addr = { [10] = 0xff, [11] = 0xff } };
    if (a->sa.sa_family == AF_INET6)
        return a->in6.sin6_addr;
    memcpy(mapped.s6_addr + 12, &a->in.sin_addr, sizeof(a->in.sin_addr));
    return mapped;
}

/* inet_ntop() writes the end of some addresses with dots; here it goes in groups. */
static void v6_text(const struct addr *a, char text[INET6_ADDRSTRLEN])
{
    struct in6_addr v6 = as_v6(a);
    const char *done = inet_ntop(AF_INET6, &v6, text, INET6_ADDRSTRLEN);
    assert(done != NULL);
    if (strchr(text, '.') != NULL) {
        char *last = strrchr(text, ':') + 1;
        snprintf(last, (size_t)(text + INET6_ADDRSTRLEN - last), "%zx:%zx", get16(v6.s6_addr + 12), get16(v6.s6_addr + 14));
    }
}

static size_t format_v1(const struct addr *source, const struct addr *destination, char out[PROXY_MAX])
{
    bool v4 = both_v4(source, destination);
    char from[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX];
    int len;
    if (v4) {
        addr_format_host(source, from);
        addr_format_host(destination, to);
    } else {
        v6_text(source, from);
        v6_text(destination, to);
    }
    len = snprintf(out, PROXY_MAX, "PROXY TCP%c %s %s %u %u\r\n", v4 ? '4' : '6', from, to, addr_port(source), addr_port(destination));
    assert(len > 0);
    assert(len < PROXY_MAX);
    return (size_t)len;
}

static char *put(char *at, const void *bytes, size_t len)
{
    memcpy(at, bytes, len);
    return at + len;
}

static char *put16(char *at, size_t n)
{
    return put(at, (const uint8_t[]){ (uint8_t)(n >> 8), (uint8_t)n }, 2);
}

static char *put_start(char *at, uint8_t command, uint8_t family, size_t block)
{
    at = put(at, signature, sizeof(signature));
    at = put(at, &command, 1);
    at = put(at, &family, 1);
    return put16(at, block);
}

static size_t format_v2(const struct addr *source, const struct addr *destination, char out[PROXY_MAX])
{
    char *at;
    if (both_v4(source, destination)) {
        at = put_start(out, COMMAND_PROXY, FAMILY_INET, INET_BLOCK);
        at = put(at, &source->in.sin_addr, sizeof(source->in.sin_addr));
        at = put(at, &destination->in.sin_addr, sizeof(destination->in.sin_addr));
    } else {
        struct in6_addr from = as_v6(source), to = as_v6(destination);
        at = put_start(out, COMMAND_PROXY, FAMILY_INET6, INET6_BLOCK);
        at = put(at, &from, sizeof(from));
        at = put(at, &to, sizeof(to));
    }
    at = put16(at, addr_port(source));
    at = put16(at, addr_port(destination));
    return (size_t)(at - out);
}

size_t proxy_format(unsigned version, const struct addr *source, const struct addr *destination, char out[PROXY_MAX])
{
    assert(version == 1 || version == 2);
    return version == 1 ? format_v1(source, destination, out) : format_v2(source, destination, out);
}

size_t proxy_format_local(unsigned version, char out[PROXY_MAX])
{
    static const char unknown[] = "PROXY UNKNOWN\r\n";
    char *end;
    assert(version == 1 || version == 2);
    end = version == 1 ? put(out, unknown, sizeof(unknown) - 1) : put_start(out, COMMAND_LOCAL, FAMILY_UNSPEC, 0);
    return (size_t)(end - out);
}

/* ---- checksum ---- */

/* Half a byte a step: sixteen words are enough for what comes once a connection. Polynomial 0x1edc6f41, reflected. */
uint32_t proxy_crc32c(uint32_t crc, const char *bytes, size_t len)
{
    static const uint32_t table[16] = { 0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
                                        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75 };
    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc ^= (uint8_t)bytes[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}
