/* Addresses: text to value and back, and what is asked of them. */
#include "common/addr.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define V4_BITS 32
#define V6_BITS 128
#define MAPPED_BITS 96      /* ::ffff:0:0/96 */

static struct addr from_v4(struct in_addr v4, in_port_t port)
{
    struct addr a;
    memset(&a, 0, sizeof(a));
    a.in.sin_family = AF_INET;
    a.in.sin_addr = v4;
    a.in.sin_port = port;
    return a;
}

/* One host has one form: a v4-mapped address is the IPv4 one. */
static struct addr from_v6(const struct in6_addr *v6, in_port_t port, uint32_t scope)
{
    struct addr a;
    struct in_addr v4;
    if (IN6_IS_ADDR_V4MAPPED(v6)) {
        memcpy(&v4, v6->s6_addr + 12, sizeof(v4));
        return from_v4(v4, port);
    }
    memset(&a, 0, sizeof(a));
    a.in6.sin6_family = AF_INET6;
    a.in6.sin6_addr = *v6;
    a.in6.sin6_port = port;
    a.in6.sin6_scope_id = scope;
    return a;
}

int addr_parse(const char *text, struct addr *ret)
{
    struct in_addr v4;
    struct in6_addr v6;
    assert(text);
    assert(ret);
    if (inet_pton(AF_INET, text, &v4) == 1)
        *ret = from_v4(v4, 0);
    else if (inet_pton(AF_INET6, text, &v6) == 1)
        *ret = from_v6(&v6, 0, 0);
    else
        return -EINVAL;
    return 0;
}

static const uint8_t *host_bytes(const struct addr *a)
{
    return a->sa.sa_family == AF_INET ? (const uint8_t *)&a->in.sin_addr : a->in6.sin6_addr.s6_addr;
}

static unsigned host_bits(const struct addr *a)
{
    return a->sa.sa_family == AF_INET ? V4_BITS : V6_BITS;
}

static bool host_bits_zero(const struct addr *a, unsigned bits)
{
    const uint8_t *bytes = host_bytes(a);
    for (unsigned i = bits; i < host_bits(a); i++)
        if (bytes[i / 8] & (0x80u >> i % 8))
            return false;
    return true;
}

/* Decimal digits alone, without a leading zero. */
static int parse_bits(const char *text, unsigned max, unsigned *ret)
{
    unsigned bits = 0;
    size_t len = strlen(text);
    if (len == 0 || len > 3 || (len > 1 && text[0] == '0'))
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -EINVAL;
        bits = bits * 10 + (unsigned)(text[i] - '0');
    }
    if (bits > max)
        return -EINVAL;
    *ret = bits;
    return 0;
}

int cidr_parse(const char *text, struct cidr *ret)
{
    char host[ADDR_TEXT_MAX];
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    struct addr base;
    bool mapped;
    unsigned bits;
    if (len >= sizeof(host))
        return -EINVAL;
    memcpy(host, text, len);
    host[len] = '\0';
    if (addr_parse(host, &base) < 0)
        return -EINVAL;
    bits = host_bits(&base);
    mapped = base.sa.sa_family == AF_INET && strchr(host, ':') != NULL;
    if (slash != NULL && parse_bits(slash + 1, mapped ? V6_BITS : bits, &bits) < 0)
        return -EINVAL;
    if (slash != NULL && mapped) {
        if (bits < MAPPED_BITS)     /* the ffff of the prefix would be host bits */
            return -EDOM;
        bits -= MAPPED_BITS;
    }
    if (!host_bits_zero(&base, bits))
        return -EDOM;
    *ret = (struct cidr){ .base = base, .bits = (uint8_t)bits };
    return 0;
}

socklen_t addr_len(const struct addr *a)
{
    return a->sa.sa_family == AF_INET ? sizeof(a->in) : sizeof(a->in6);
}

uint16_t addr_port(const struct addr *a)
{
    return ntohs(a->sa.sa_family == AF_INET ? a->in.sin_port : a->in6.sin6_port);
}

struct addr addr_with_port(struct addr a, uint16_t port)
{
    if (a.sa.sa_family == AF_INET)
        a.in.sin_port = htons(port);
    else
        a.in6.sin6_port = htons(port);
    return a;
}

struct addr addr_from_sockaddr(const struct sockaddr *sa)
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    assert(sa->sa_family == AF_INET || sa->sa_family == AF_INET6);
    if (sa->sa_family == AF_INET) {
        memcpy(&in, sa, sizeof(in));
        return from_v4(in.sin_addr, in.sin_port);
    }
    memcpy(&in6, sa, sizeof(in6));
    return from_v6(&in6.sin6_addr, in6.sin6_port, in6.sin6_scope_id);
}

bool addr_equal_host(const struct addr *a, const struct addr *b)
{
    return a->sa.sa_family == b->sa.sa_family && memcmp(host_bytes(a), host_bytes(b), host_bits(a) / 8) == 0;
}

bool cidr_contains(const struct cidr *c, const struct addr *a)
{
    const uint8_t *base = host_bytes(&c->base), *bytes = host_bytes(a);
    unsigned whole = c->bits / 8, rest = c->bits % 8;
    if (c->base.sa.sa_family != a->sa.sa_family || memcmp(base, bytes, whole) != 0)
        return false;
    return rest == 0 || ((base[whole] ^ bytes[whole]) & (uint8_t)(0xff00u >> rest)) == 0;
}

bool addr_private(const struct addr *a)
{
    static const char *const blocks[] = { "10.0.0.0/8",  "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8",
                                          "169.254.0.0/16", "fc00::/7",   "fe80::/10",      "::1" };
    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        struct cidr block;
        int r = cidr_parse(blocks[i], &block);
        assert(r == 0);
        if (cidr_contains(&block, a))
            return true;
    }
    return false;
}

char *addr_format_host(const struct addr *a, char text[ADDR_TEXT_MAX])
{
    const char *done = inet_ntop(a->sa.sa_family, host_bytes(a), text, ADDR_TEXT_MAX);
    assert(done != NULL);
    return text;
}

char *addr_format(const struct addr *a, char text[ADDR_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN];
    const char *done = inet_ntop(a->sa.sa_family, host_bytes(a), host, sizeof(host));
    assert(done != NULL);
    snprintf(text, ADDR_TEXT_MAX, a->sa.sa_family == AF_INET ? "%s:%u" : "[%s]:%u", host, addr_port(a));
    return text;
}

char *cidr_format(const struct cidr *c, char text[ADDR_TEXT_MAX])
{
    size_t len = strlen(addr_format_host(&c->base, text));
    snprintf(text + len, ADDR_TEXT_MAX - len, "/%u", c->bits);
    return text;
}
