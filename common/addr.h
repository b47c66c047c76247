#ifndef COMMON_ADDR_H
#define COMMON_ADDR_H
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
/* An IPv4 or IPv6 address, with a port where one is meant. A value: copy it freely. */
struct addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    };
};

struct cidr {
    struct addr base;       /* host bits are zero */
    uint8_t bits;
};

#define ADDR_TEXT_MAX 64    /* "[v6]:65535" and the terminator */

/* An address without a port ("10.0.0.1", "fd00::1"). 0 or -EINVAL; *ret has port 0. */
int addr_parse(const char *text, struct addr *ret);
/* "10.0.0.0/24", or an address alone (then /32 or /128). Host bits set: -EDOM. Else -EINVAL. */
int cidr_parse(const char *text, struct cidr *ret);

socklen_t addr_len(const struct addr *a);
uint16_t addr_port(const struct addr *a);
struct addr addr_with_port(struct addr a, uint16_t port);
struct addr addr_from_sockaddr(const struct sockaddr *sa);    /* a v4-mapped IPv6 one becomes IPv4 */
bool addr_equal_host(const struct addr *a, const struct addr *b);   /* ports do not count */
bool addr_private(const struct addr *a);     /* RFC 1918, RFC 4193, loopback, link-local */
bool cidr_contains(const struct cidr *c, const struct addr *a);

/* Bare address; with port "10.0.0.1:80", "[fd00::1]:80". Both return text. */
char *addr_format_host(const struct addr *a, char text[ADDR_TEXT_MAX]);
char *addr_format(const struct addr *a, char text[ADDR_TEXT_MAX]);
char *cidr_format(const struct cidr *c, char text[ADDR_TEXT_MAX]);
#endif
