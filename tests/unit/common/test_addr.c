#include "common/addr.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>
#include <cmocka.h>

static const struct parse_row {
    const char *name, *text;
    int ret;
    const char *formatted;
} parse_rows[] = {
    { "an IPv4 address", "10.0.0.1", 0, "10.0.0.1" },
    { "an IPv6 address", "fd00::1", 0, "fd00::1" },
    { "an IPv6 address is written short", "fd00:0:0:0:0:0:0:1", 0, "fd00::1" },
    { "a v4-mapped address is the IPv4 one", "::ffff:10.0.0.1", 0, "10.0.0.1" },
    { "an address of few parts is none", "10.1", -EINVAL, NULL },
    { "a leading zero is not octal, it is refused", "010.0.0.1", -EINVAL, NULL },
    { "a part above 255 is refused", "10.0.0.256", -EINVAL, NULL },
    { "a space is refused", " 10.0.0.1", -EINVAL, NULL },
    { "a port is refused", "10.0.0.1:80", -EINVAL, NULL },
    { "brackets are refused", "[::1]", -EINVAL, NULL },
    { "a CIDR is no address", "10.0.0.0/8", -EINVAL, NULL },
    { "a name is no address", "localhost", -EINVAL, NULL },
    { "nothing is no address", "", -EINVAL, NULL },
};

static void test_parse(void **state)
{
    const struct parse_row *row = *state;
    char text[ADDR_TEXT_MAX];
    struct addr a;
    assert_int_equal(addr_parse(row->text, &a), row->ret);
    if (row->ret != 0)
        return;
    assert_string_equal(addr_format_host(&a, text), row->formatted);
    assert_int_equal(addr_port(&a), 0);
}

static const struct cidr_row {
    const char *name, *text;
    int ret;
    const char *formatted;
} cidr_rows[] = {
    { "a block", "10.0.0.0/24", 0, "10.0.0.0/24" },
    { "an address alone is one host", "10.0.0.1", 0, "10.0.0.1/32" },
    { "an IPv6 address alone is one host", "fd00::1", 0, "fd00::1/128" },
    { "everything", "0.0.0.0/0", 0, "0.0.0.0/0" },
    { "everything of IPv6", "::/0", 0, "::/0" },
    { "bits that end inside a byte", "10.64.0.0/10", 0, "10.64.0.0/10" },
    { "a block of v4-mapped addresses is the IPv4 block", "::ffff:10.0.0.0/120", 0, "10.0.0.0/24" },
    { "a v4-mapped block wider than IPv4 has host bits", "::ffff:0.0.0.0/90", -EDOM, NULL },
    { "a host bit in the last byte", "10.0.0.1/24", -EDOM, NULL },
    { "a host bit inside a byte", "10.64.0.0/9", -EDOM, NULL },
    { "a host bit of IPv6", "fd00::1/64", -EDOM, NULL },
    { "more bits than an address has", "10.0.0.0/33", -EINVAL, NULL },
    { "more bits than an IPv6 address has", "fd00::/129", -EINVAL, NULL },
    { "a slash without bits", "10.0.0.0/", -EINVAL, NULL },
    { "a sign", "10.0.0.0/+8", -EINVAL, NULL },
    { "a leading zero", "10.0.0.0/08", -EINVAL, NULL },
    { "bits that wrap around", "10.0.0.0/4294967304", -EINVAL, NULL },
    { "what follows the bits", "10.0.0.0/8x", -EINVAL, NULL },
    { "two slashes", "10.0.0.0/8/8", -EINVAL, NULL },
    { "bits without an address", "/8", -EINVAL, NULL },
    { "a text longer than any address", "10.0.0.0000000000000000000000000000000000000000000000000000000000000/8", -EINVAL, NULL },
};

static void test_cidr(void **state)
{
    const struct cidr_row *row = *state;
    char text[ADDR_TEXT_MAX];
    struct cidr c;
    assert_int_equal(cidr_parse(row->text, &c), row->ret);
    if (row->ret == 0)
        assert_string_equal(cidr_format(&c, text), row->formatted);
}

static const struct contains_row {
    const char *name, *cidr, *address;
    bool inside;
} contains_rows[] = {
    { "the first address is inside", "10.0.10.0/24", "10.0.10.0", true },
    { "the last address is inside", "10.0.10.0/24", "10.0.10.255", true },
    { "the one after is outside", "10.0.10.0/24", "10.0.11.0", false },
    { "a boundary inside a byte: below", "10.64.0.0/10", "10.127.255.255", true },
    { "a boundary inside a byte: above", "10.64.0.0/10", "10.128.0.0", false },
    { "one host has itself", "10.0.0.1", "10.0.0.1", true },
    { "one host has no other", "10.0.0.1", "10.0.0.2", false },
    { "zero bits have all", "0.0.0.0/0", "255.255.255.255", true },
    { "IPv4's everything has no IPv6", "0.0.0.0/0", "::1", false },
    { "IPv6's everything has no IPv4", "::/0", "10.0.0.1", false },
    { "IPv6's everything has IPv6", "::/0", "2001:db8::1", true },
    { "IPv6 inside", "fd00::/8", "fdff::1", true },
    { "IPv6 outside", "fd00::/8", "fe00::1", false },
};

static void test_contains(void **state)
{
    const struct contains_row *row = *state;
    struct cidr c;
    struct addr a;
    assert_int_equal(cidr_parse(row->cidr, &c), 0);
    assert_int_equal(addr_parse(row->address, &a), 0);
    assert_int_equal(cidr_contains(&c, &a), row->inside);
    a = addr_with_port(a, 80);      /* a peer has a port */
    assert_int_equal(cidr_contains(&c, &a), row->inside);
}

static const struct private_row {
    const char *name, *address;
    bool private;
} private_rows[] = {
    { "10/8", "10.255.0.1", true },
    { "11/8 is public", "11.0.0.1", false },
    { "172.16/12 begins", "172.16.0.1", true },
    { "172.16/12 ends", "172.31.255.255", true },
    { "172.32 is public", "172.32.0.0", false },
    { "172.15 is public", "172.15.255.255", false },
    { "192.168/16", "192.168.1.1", true },
    { "192.169 is public", "192.169.0.1", false },
    { "loopback", "127.8.8.8", true },
    { "link-local", "169.254.1.1", true },
    { "unique local, fc", "fc00::1", true },
    { "unique local, fd", "fdff::1", true },
    { "IPv6 link-local", "fe80::1", true },
    { "IPv6 link-local ends at febf", "febf::1", true },
    { "fec0 is not", "fec0::1", false },
    { "IPv6 loopback", "::1", true },
    { "global unicast is public", "2001:db8::1", false },
    { "v4-mapped private", "::ffff:10.0.0.1", true },
    { "v4-mapped public", "::ffff:8.8.8.8", false },
};

static void test_private(void **state)
{
    const struct private_row *row = *state;
    struct addr a;
    assert_int_equal(addr_parse(row->address, &a), 0);
    assert_int_equal(addr_private(&a), row->private);
}

static void test_ports(void **state)
{
    char text[ADDR_TEXT_MAX];
    struct addr v4, v6, other;
    (void)state;
    assert_int_equal(addr_parse("10.0.0.1", &v4), 0);
    assert_int_equal(addr_parse("fd00::1", &v6), 0);
    other = addr_with_port(v4, 65535);
    assert_string_equal(addr_format(&other, text), "10.0.0.1:65535");
    assert_int_equal(addr_port(&other), 65535);
    assert_int_equal(addr_len(&other), sizeof(struct sockaddr_in));
    assert_true(addr_equal_host(&v4, &other));
    other = addr_with_port(v6, 80);
    assert_string_equal(addr_format(&other, text), "[fd00::1]:80");
    assert_int_equal(addr_port(&other), 80);
    assert_int_equal(addr_len(&other), sizeof(struct sockaddr_in6));
    assert_true(addr_equal_host(&v6, &other));
    assert_false(addr_equal_host(&v4, &v6));
}

/* What accept() gives, also on a socket of both families. */
static void test_from_sockaddr(void **state)
{
    struct sockaddr_in6 mapped = { .sin6_family = AF_INET6, .sin6_port = htons(4321) }, v6 = mapped;
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(99) };
    char text[ADDR_TEXT_MAX];
    struct addr a;
    (void)state;
    assert_int_equal(inet_pton(AF_INET6, "::ffff:10.0.0.1", &mapped.sin6_addr), 1);
    assert_int_equal(inet_pton(AF_INET6, "fe80::1", &v6.sin6_addr), 1);
    assert_int_equal(inet_pton(AF_INET, "10.0.0.2", &v4.sin_addr), 1);
    v6.sin6_scope_id = 3;
    a = addr_from_sockaddr((const struct sockaddr *)&mapped);
    assert_string_equal(addr_format(&a, text), "10.0.0.1:4321");
    a = addr_from_sockaddr((const struct sockaddr *)&v4);
    assert_string_equal(addr_format(&a, text), "10.0.0.2:99");
    a = addr_from_sockaddr((const struct sockaddr *)&v6);
    assert_string_equal(addr_format(&a, text), "[fe80::1]:4321");
    assert_int_equal(a.in6.sin6_scope_id, 3);
}

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define ADD(rows, function)                 \
    for (size_t i = 0; i < COUNT(rows); i++) \
    tests[count++] = (struct CMUnitTest){ .name = (rows)[i].name, .test_func = function, .initial_state = (void *)&(rows)[i] }

int main(void)
{
    struct CMUnitTest tests[COUNT(parse_rows) + COUNT(cidr_rows) + COUNT(contains_rows) + COUNT(private_rows) + 2];
    size_t count = 0;
    ADD(parse_rows, test_parse);
    ADD(cidr_rows, test_cidr);
    ADD(contains_rows, test_contains);
    ADD(private_rows, test_private);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_ports);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_from_sockaddr);
    return _cmocka_run_group_tests("addr", tests, count, NULL, NULL);
}
