/* Who halb says that a connection is from: in the one spelling of the version that was agreed upon, and nothing before it. */
#include "instance.h"
#include <arpa/inet.h>
#include <stdio.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_BYTES 12
#define FIXED_BYTES 16
#define IPV4_BYTES 12
#define IPV6_BYTES 36

static void must_be(const struct visit *visit, bool right, const char *what)
{
    if (!right)
        world_fail("instance %u: an introduction: %s: %.*s", visit->instance->index, what, (int)visit->introduction.len,
                   (const char *)visit->introduction.bytes);
}

static struct addr addr_of(const void *host, uint16_t port, bool ipv6)
{
    struct addr addr = { .sa.sa_family = ipv6 ? AF_INET6 : AF_INET };

    memcpy(ipv6 ? (void *)&addr.in6.sin6_addr : (void *)&addr.in.sin_addr, host, ipv6 ? 16 : 4);
    return addr_with_port(addr, port);
}

static bool read_text(const char *host, unsigned port, bool ipv6, struct addr *ret)
{
    struct in6_addr bytes;

    if (inet_pton(ipv6 ? AF_INET6 : AF_INET, host, &bytes) != 1 || port > UINT16_MAX)
        return false;
    *ret = addr_of(&bytes, (uint16_t)port, ipv6);
    return true;
}

static void take_text(const struct visit *visit, struct introduction *in)
{
    char family, from[64], to[64], again[160];
    unsigned from_port, to_port;
    int n;

    in->bytes[in->len] = '\0';
    must_be(visit, sscanf((const char *)in->bytes, "PROXY TCP%c %63s %63s %u %u", &family, from, to, &from_port, &to_port) == 5, "its form");
    n = snprintf(again, sizeof(again), "PROXY TCP%c %s %s %u %u\r\n", family, from, to, from_port, to_port);
    must_be(visit, (size_t)n == in->len && memcmp(again, in->bytes, in->len) == 0, "its one form");
    must_be(visit, family == '4' || family == '6', "its family");
    must_be(visit, read_text(from, from_port, family == '6', &in->source) && read_text(to, to_port, family == '6', &in->destination), "its addresses");
}

static void take_binary(const struct visit *visit, struct introduction *in)
{
    const unsigned char *at = in->bytes + FIXED_BYTES;
    size_t host = in->len == FIXED_BYTES + IPV6_BYTES ? 16 : 4;

    in->local = in->bytes[12] == 0x20;
    if (in->local) {
        must_be(visit, in->bytes[13] == 0 && in->len == FIXED_BYTES, "of nobody, without addresses");
        return;
    }
    must_be(visit, in->bytes[12] == 0x21, "version 2, of somebody");
    must_be(visit, in->len == FIXED_BYTES + 2 * host + 4 && in->bytes[13] == (host == 4 ? 0x11 : 0x21), "family and length");
    in->source = addr_of(at, (uint16_t)(at[2 * host] << 8 | at[2 * host + 1]), host == 16);
    in->destination = addr_of(at + host, (uint16_t)(at[2 * host + 2] << 8 | at[2 * host + 3]), host == 16);
}

/* Is it whole? */
static bool take_byte(const struct visit *visit, struct introduction *in)
{
    bool text = visit->instance->balancer->proxy_version == 1;
    size_t whole = FIXED_BYTES;

    if (text)
        must_be(visit, in->len > 6 || memcmp(in->bytes, "PROXY ", in->len < 6 ? in->len : 6) == 0, "version 1");
    else
        must_be(visit, memcmp(in->bytes, SIGNATURE, in->len < SIGNATURE_BYTES ? in->len : SIGNATURE_BYTES) == 0, "version 2");
    if (text && in->bytes[in->len - 1] == '\n')
        take_text(visit, in);
    if (text)
        return in->bytes[in->len - 1] == '\n';
    if (in->len >= FIXED_BYTES)
        whole += (size_t)(in->bytes[14] << 8 | in->bytes[15]);
    if (in->len == whole && in->len >= FIXED_BYTES)
        take_binary(visit, in);
    return in->len == whole && in->len >= FIXED_BYTES;
}

static bool of_check(const struct visit *visit, const struct introduction *in)
{
    return in->local || (addr_equal_host(&in->source, &visit->from) && addr_port(&in->source) == addr_port(&visit->from));
}

bool introduced(struct visit *visit)
{
    struct introduction *in = &visit->introduction;

    while (!in->whole && visit->instance->balancer->proxy_version != 0) {
        if (peer_readable(&visit->peer) == 0)
            return false;
        must_be(visit, in->len < sizeof(in->bytes) - 1, "an end");
        (void)peer_read(&visit->peer, &in->bytes[in->len++], 1);
        in->whole = take_byte(visit, in);
        if (in->whole)
            in->check = of_check(visit, in);
    }
    return true;
}

void introduction_judge(const struct visit *visit, uint64_t id)
{
    const struct introduction *in = &visit->introduction;

    if (visit->instance->balancer->proxy_version == 0)
        return;
    must_be(visit, !in->check && visit->carried == 0, "of one client");
    oracle_introduced(id, visit->instance->index, &in->source, &in->destination);
}

void introduction_judge_check(const struct visit *visit)
{
    const struct introduction *in = &visit->introduction;

    if (visit->instance->balancer->proxy_version == 0)
        return;
    must_be(visit, in->check && in->local == (visit->instance->balancer->proxy_version == 2), "of a check");
    must_be(visit, in->local || (addr_equal_host(&in->destination, &visit->instance->port.at) &&
                                 addr_port(&in->destination) == addr_port(&visit->instance->port.at)), "to where a check goes");
}
