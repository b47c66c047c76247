#include "lb/secgroup.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
/*
 * Configurations are made by hand: what the file's reader accepts is its own
 * test's business.
 */
#define RULES_MAX 4

static struct addr addr(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(text, &a), 0);
    return a;
}

static struct cidr cidr(const char *text)
{
    struct cidr c;
    assert_int_equal(cidr_parse(text, &c), 0);
    return c;
}

/* The set-up of two tiers, and some groups of odd shape. */
struct place {
    struct config config;
    struct config_instance instances[5];
    struct config_group groups[8];
    struct config_rule rules[8][RULES_MAX];
    struct cidr members[2];
    struct config_balancer balancers[3];
    struct config_subnet subnets[4];
};

static const char *lbext[] = { "secg-lbext" }, *utm[] = { "secg-utm" }, *lbint[] = { "secg-lbint" }, *web[] = { "secg-web" };
static const char *two[] = { "secg-web", "secg-odd" }, *closed[] = { "secg-closed" };

static void add_instance(struct place *p, const char *id, const char *address, const char **group)
{
    p->instances[p->config.instance_count++] = (struct config_instance){ .id = id, .address = addr(address), .zone = "", .security_groups = { group, 1 } };
}

static void add_group(struct place *p, const char *name)
{
    size_t i = p->config.group_count++;
    p->groups[i] = (struct config_group){ .name = name, .ingress = p->rules[i] };
}

/* To the group added last: source is a CIDR if it begins so, else a group. */
static void add_rule(struct place *p, uint16_t port, const char *source)
{
    struct config_group *g = &p->groups[p->config.group_count - 1];
    struct config_rule *rule = &p->rules[p->config.group_count - 1][g->ingress_count++];
    *rule = (struct config_rule){ .port = port, .from_group = strchr(source, '/') == NULL };
    if (rule->from_group)
        rule->group = source;
    else
        rule->cidr = cidr(source);
}

static void add_node(struct place *p, struct config_balancer *balancer, size_t i, const char *address)
{
    p->subnets[i] = (struct config_subnet){ .id = "subnet", .zone = "", .address = addr(address) };
    if (balancer->subnets == NULL)
        balancer->subnets = &p->subnets[i];
    balancer->subnet_count++;
}

static struct place *make_place(void)
{
    struct place *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    p->config = (struct config){ .instances = p->instances, .groups = p->groups, .balancers = p->balancers, .balancer_count = 3 };
    add_instance(p, "ha-utm-left", "10.0.10.100", utm);
    add_instance(p, "ha-utm-right", "10.0.11.100", utm);
    add_instance(p, "ha-web-left", "10.0.20.100", web);
    add_instance(p, "ha-web-right", "fd00::21:100", web);
    add_group(p, "secg-lbext");
    add_rule(p, 80, "0.0.0.0/0");
    add_group(p, "secg-utm");
    add_rule(p, 80, "secg-lbext");
    add_rule(p, 4444, "0.0.0.0/0");
    add_rule(p, 4444, "::/0");
    add_group(p, "secg-lbint");
    add_rule(p, 80, "secg-utm");
    add_group(p, "secg-web");
    add_rule(p, 80, "secg-lbint");
    add_rule(p, 22, "0.0.0.0/0");
    add_group(p, "secg-odd");
    add_rule(p, 80, "192.168.0.0/16");
    add_rule(p, 80, "192.168.7.0/24");
    add_rule(p, 80, "fd00::/8");
    add_rule(p, 80, "secg-nobody");
    p->members[0] = cidr("172.16.1.0/24");
    p->members[1] = cidr("172.16.0.0/12");
    p->groups[2].members = (struct config_cidrs){ p->members, 2 };
    add_group(p, "secg-nobody");
    add_group(p, "secg-closed");
    p->balancers[0] = (struct config_balancer){ .name = "ha-lbext", .security_groups = { lbext, 1 } };
    add_node(p, &p->balancers[0], 0, "10.0.10.10");
    add_node(p, &p->balancers[0], 1, "10.0.11.10");
    p->balancers[1] = (struct config_balancer){ .name = "ha-lbint", .security_groups = { lbint, 1 } };
    add_node(p, &p->balancers[1], 2, "10.0.20.10");
    add_node(p, &p->balancers[1], 3, "fd00::21:10");
    p->balancers[2] = (struct config_balancer){ .name = "free" };
    return p;
}

static const struct admit_row {
    const char *name;
    const char **groups;                /* of the balancer */
    size_t group_count;
    uint16_t port;
    const char *peer;
    bool admitted;
} admit_rows[] = {
    { "no groups: everyone", NULL, 0, 80, "203.0.113.9", true },
    { "no groups: every port", NULL, 0, 1, "fd00::1", true },
    { "a group without rules admits nobody", closed, 1, 80, "127.0.0.1", false },
    { "from anywhere", lbext, 1, 80, "203.0.113.9", true },
    { "from anywhere in IPv4 is not from anywhere in IPv6", lbext, 1, 80, "2001:db8::1", false },
    { "a rule is for its port alone", lbext, 1, 81, "203.0.113.9", false },
    { "an instance that carries the source group", lbint, 1, 80, "10.0.10.100", true },
    { "the other that carries it", lbint, 1, 80, "10.0.11.100", true },
    { "one beside", lbint, 1, 80, "10.0.11.101", false },
    { "one before", lbint, 1, 80, "10.0.10.99", false },
    { "a user may not come to the inner tier", lbint, 1, 80, "203.0.113.9", false },
    { "an IPv4 peer of an IPv6 socket is the IPv4 peer", lbint, 1, 80, "::ffff:10.0.10.100", true },
    { "a balancer node that carries the source group", web, 1, 80, "10.0.20.10", true },
    { "an IPv6 one", web, 1, 80, "fd00::21:10", true },
    { "a member of the source group", web, 1, 80, "172.16.1.7", true },
    { "the wider member holds although the narrower comes later", web, 1, 80, "172.31.255.255", true },
    { "past the wider member", web, 1, 80, "172.32.0.0", false },
    { "several groups: the first one's rule", two, 2, 22, "8.8.8.8", true },
    { "several groups: the second one's rule", two, 2, 80, "192.168.255.255", true },
    { "a network within a network", two, 2, 80, "192.168.7.255", true },
    { "an IPv6 network", two, 2, 80, "fdff::1", true },
    { "outside of the IPv6 network", two, 2, 80, "fe00::1", false },
};

static void test_admits(void **state)
{
    const struct admit_row *row = *state;
    struct place *p = make_place();
    struct config_balancer balancer = { .name = "x", .security_groups = { row->groups, row->group_count } };
    struct secgroup_set *set = secgroup_for_balancer(&p->config, &balancer);
    struct addr peer = addr_with_port(addr(row->peer), 40000);
    assert_non_null(set);
    assert_int_equal(secgroup_admits(set, row->port, &peer), row->admitted);
    secgroup_free(&set);
    assert_null(set);
    free(p);
}

/* Against the plain reading: some rule's network holds the peer. */
static void test_admits_as_the_plain_reading(void **state)
{
    unsigned seed = (unsigned)getpid();
    (void)state;
    print_message("seed %u\n", seed);
    for (int round = 0; round < 300; round++) {
        struct place *p = make_place();
        struct config_rule rules[12];
        struct config_group group = { .name = "r", .ingress = rules, .ingress_count = 12 };
        struct config_balancer balancer = { .name = "x", .security_groups = { (const char *[]){ "r" }, 1 } };
        struct secgroup_set *set;
        for (size_t i = 0; i < 12; i++) {
            uint8_t bits = (uint8_t)(rand_r(&seed) % 9);
            struct addr base = addr("10.0.0.0");
            base.in.sin_addr.s_addr |= htonl((uint32_t)rand_r(&seed) % 256 & ~(0xffu >> bits));
            rules[i] = (struct config_rule){ .port = (uint16_t)(80 + rand_r(&seed) % 2), .cidr = { base, (uint8_t)(24 + bits) } };
        }
        p->groups[0] = group;
        set = secgroup_for_balancer(&p->config, &balancer);
        for (uint32_t host = 0; host < 512; host++) {
            struct addr peer = addr("10.0.0.0");
            bool expected = false;
            peer.in.sin_addr.s_addr |= htonl(host % 256);
            for (size_t i = 0; i < 12; i++)
                expected |= rules[i].port == 80 + host / 256 && cidr_contains(&rules[i].cidr, &peer);
            assert_int_equal(secgroup_admits(set, (uint16_t)(80 + host / 256), &peer), expected);
        }
        secgroup_free(&set);
        free(p);
    }
}

static char *print_group(const struct config *config, const char *group, int expected)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    assert_int_equal(secgroup_print_nft(config, group, to), expected);
    fclose(to);
    return text;
}

#define NFT_HEAD(group)                                              \
    "# security group " group "\n"                                   \
    "table inet halb\n"                                              \
    "delete table inet halb\n"                                       \
    "table inet halb {\n"                                            \
    "\tchain input {\n"                                              \
    "\t\ttype filter hook input priority filter; policy drop;\n"     \
    "\t\tiifname \"lo\" accept\n"                                    \
    "\t\tct state established,related accept\n"                      \
    "\t\tmeta l4proto { icmp, icmpv6 } accept\n"
#define NFT_TAIL "\t}\n}\n"

static const struct nft_row {
    const char *name, *group, *text;
} nft_rows[] = {
    { "from anywhere", "secg-lbext", NFT_HEAD("secg-lbext") "\t\t# tcp 80 from 0.0.0.0/0\n\t\tmeta nfproto ipv4 tcp dport 80 accept\n" NFT_TAIL },
    { "from the nodes of a balancer", "secg-utm",
      NFT_HEAD("secg-utm") "\t\t# tcp 80 from secg-lbext\n\t\tip saddr { 10.0.10.10, 10.0.11.10 } tcp dport 80 accept\n"
                           "\t\t# tcp 4444 from 0.0.0.0/0\n\t\tmeta nfproto ipv4 tcp dport 4444 accept\n"
                           "\t\t# tcp 4444 from ::/0\n\t\tmeta nfproto ipv6 tcp dport 4444 accept\n" NFT_TAIL },
    { "both families, and members without what is within others", "secg-web",
      NFT_HEAD("secg-web") "\t\t# tcp 80 from secg-lbint\n\t\tip saddr { 10.0.20.10, 172.16.0.0/12 } tcp dport 80 accept\n"
                           "\t\tip6 saddr { fd00::21:10 } tcp dport 80 accept\n"
                           "\t\t# tcp 22 from 0.0.0.0/0\n\t\tmeta nfproto ipv4 tcp dport 22 accept\n" NFT_TAIL },
    { "networks, and a source that nobody carries", "secg-odd",
      NFT_HEAD("secg-odd") "\t\t# tcp 80 from 192.168.0.0/16\n\t\tip saddr { 192.168.0.0/16 } tcp dport 80 accept\n"
                           "\t\t# tcp 80 from 192.168.7.0/24\n\t\tip saddr { 192.168.7.0/24 } tcp dport 80 accept\n"
                           "\t\t# tcp 80 from fd00::/8\n\t\tip6 saddr { fd00::/8 } tcp dport 80 accept\n"
                           "\t\t# tcp 80 from secg-nobody: nobody carries it\n" NFT_TAIL },
    { "a group without rules lets nothing new in", "secg-closed", NFT_HEAD("secg-closed") NFT_TAIL },
};

static void test_nft(void **state)
{
    const struct nft_row *row = *state;
    struct place *p = make_place();
    char *text = print_group(&p->config, row->group, 0);
    assert_string_equal(text, row->text);
    free(text);
    free(p);
}

/* What nft itself says of it. Reading the kernel's tables needs root. */
static void test_nft_check(void **state)
{
    const struct nft_row *row = *state;
    struct place *p;
    char *text;
    FILE *nft;
    if (geteuid() != 0 || system("nft list tables >/dev/null 2>&1") != 0)
        skip();
    p = make_place();
    text = print_group(&p->config, row->group, 0);
    nft = popen("nft -c -f - 2>&1", "w");
    assert_non_null(nft);
    fputs(text, nft);
    assert_int_equal(pclose(nft), 0);
    free(text);
    free(p);
}

static void test_nft_unknown(void **state)
{
    struct place *p = make_place();
    char *text = print_group(&p->config, "secg-wbe", -ENOENT);
    (void)state;
    assert_string_equal(text, "");
    free(text);
    free(p);
}

/* Text of the file must not become a line of the ruleset. */
static void test_nft_hostile_name(void **state)
{
    struct place *p = make_place();
    char *text;
    (void)state;
    add_group(p, "x\nflush ruleset");
    text = print_group(&p->config, "x\nflush ruleset", 0);
    assert_non_null(strstr(text, "# security group x?flush ruleset\n"));
    assert_null(strstr(text, "\nflush"));
    free(text);
    free(p);
}

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

int main(void)
{
    struct CMUnitTest tests[COUNT(admit_rows) + 2 * COUNT(nft_rows) + 3];
    size_t count = 0;
    for (size_t i = 0; i < COUNT(admit_rows); i++)
        tests[count++] = (struct CMUnitTest){ .name = admit_rows[i].name, .test_func = test_admits, .initial_state = (void *)&admit_rows[i] };
    for (size_t i = 0; i < COUNT(nft_rows); i++) {
        tests[count++] = (struct CMUnitTest){ .name = nft_rows[i].name, .test_func = test_nft, .initial_state = (void *)&nft_rows[i] };
        tests[count++] = (struct CMUnitTest){ .name = nft_rows[i].name, .test_func = test_nft_check, .initial_state = (void *)&nft_rows[i] };
    }
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_admits_as_the_plain_reading);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_nft_unknown);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_nft_hostile_name);
    return _cmocka_run_group_tests("secgroup", tests, count, NULL, NULL);
}
