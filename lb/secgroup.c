#include "lb/secgroup.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
/*
 * Rules become a list of (port, CIDR), sorted and without one inside another.
 * Two CIDRs either nest or are apart, so at most one of the list can hold an
 * address: the last one that begins at or before it.
 */
struct source {
    uint16_t port;
    struct cidr cidr;
};

struct sources {
    struct source *items;
    size_t count, room;
};

struct secgroup_set {
    bool open;                  /* the balancer has no groups */
    struct sources sources;
};

static int compare_hosts(const struct addr *a, const struct addr *b)
{
    if (a->sa.sa_family == AF_INET6)
        return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof(a->in6.sin6_addr));
    return memcmp(&a->in.sin_addr, &b->in.sin_addr, sizeof(a->in.sin_addr));
}

/* By port, family, first address; of equal ones the widest first. */
static int compare(const void *left, const void *right)
{
    const struct source *a = left, *b = right;
    int r = (a->port > b->port) - (a->port < b->port);
    if (r == 0)
        r = (a->cidr.base.sa.sa_family > b->cidr.base.sa.sa_family) - (a->cidr.base.sa.sa_family < b->cidr.base.sa.sa_family);
    if (r == 0)
        r = compare_hosts(&a->cidr.base, &b->cidr.base);
    if (r == 0)
        r = (a->cidr.bits > b->cidr.bits) - (a->cidr.bits < b->cidr.bits);
    return r;
}

static struct cidr cidr_of_host(const struct addr *a)
{
    return (struct cidr){ .base = addr_with_port(*a, 0), .bits = a->sa.sa_family == AF_INET6 ? 128 : 32 };
}

static int sources_add(struct sources *s, uint16_t port, const struct cidr *cidr)
{
    if (s->count == s->room) {
        size_t room = s->room == 0 ? 16 : 2 * s->room;
        struct source *items = reallocarray(s->items, room, sizeof(*items));
        if (items == NULL)
            return -ENOMEM;
        s->items = items;
        s->room = room;
    }
    s->items[s->count++] = (struct source){ .port = port, .cidr = *cidr };
    return 0;
}

static bool carries(const struct config_strings *groups, const char *group)
{
    for (size_t i = 0; i < groups->count; i++) {
        if (strcmp(groups->items[i], group) == 0)
            return true;
    }
    return false;
}

static int add_instances(struct sources *s, uint16_t port, const struct config *config, const char *group)
{
    int r = 0;
    for (size_t i = 0; i < config->instance_count && r == 0; i++) {
        struct cidr host = cidr_of_host(&config->instances[i].address);
        if (carries(&config->instances[i].security_groups, group))
            r = sources_add(s, port, &host);
    }
    return r;
}

static int add_nodes(struct sources *s, uint16_t port, const struct config_balancer *balancer)
{
    int r = 0;
    for (size_t i = 0; i < balancer->subnet_count && r == 0; i++) {
        struct cidr host = cidr_of_host(&balancer->subnets[i].address);
        r = sources_add(s, port, &host);
    }
    return r;
}

static int add_members(struct sources *s, uint16_t port, const struct config_group *group)
{
    int r = 0;
    for (size_t i = 0; i < group->members.count && r == 0; i++)
        r = sources_add(s, port, &group->members.items[i]);
    return r;
}

static int add_group(struct sources *s, uint16_t port, const struct config *config, const char *name)
{
    const struct config_group *group = config_find_group(config, name);
    int r = add_instances(s, port, config, name);
    for (size_t i = 0; i < config->balancer_count && r == 0; i++) {
        if (carries(&config->balancers[i].security_groups, name))
            r = add_nodes(s, port, &config->balancers[i]);
    }
    if (r == 0 && group != NULL)
        r = add_members(s, port, group);
    return r;
}

static int add_rule(struct sources *s, const struct config *config, const struct config_rule *rule)
{
    return rule->from_group ? add_group(s, rule->port, config, rule->group) : sources_add(s, rule->port, &rule->cidr);
}

static bool covers(const struct source *wide, const struct source *narrow)
{
    return wide->port == narrow->port && wide->cidr.bits <= narrow->cidr.bits && cidr_contains(&wide->cidr, &narrow->cidr.base);
}

static void sources_settle(struct sources *s)
{
    size_t kept = 0;
    if (s->count > 0)
        qsort(s->items, s->count, sizeof(s->items[0]), compare);
    for (size_t i = 0; i < s->count; i++) {
        if (kept == 0 || !covers(&s->items[kept - 1], &s->items[i]))
            s->items[kept++] = s->items[i];
    }
    s->count = kept;
}

static int add_ingress(struct sources *s, const struct config *config, const char *name)
{
    const struct config_group *group = config_find_group(config, name);
    int r = 0;
    for (size_t i = 0; group != NULL && i < group->ingress_count && r == 0; i++)
        r = add_rule(s, config, &group->ingress[i]);
    return r;
}

struct secgroup_set *secgroup_for_balancer(const struct config *config, const struct config_balancer *balancer)
{
    struct secgroup_set *set = calloc(1, sizeof(*set));
    int r = 0;
    if (set == NULL)
        return NULL;
    set->open = balancer->security_groups.count == 0;
    for (size_t i = 0; i < balancer->security_groups.count && r == 0; i++)
        r = add_ingress(&set->sources, config, balancer->security_groups.items[i]);
    if (r < 0)
        secgroup_free(&set);
    else
        sources_settle(&set->sources);
    return set;
}

void secgroup_free(struct secgroup_set **set)
{
    if (*set == NULL)
        return;
    free((*set)->sources.items);
    free(*set);
    *set = NULL;
}

/* The last one at or before the key; NULL: all are after it. */
static const struct source *find_before(const struct sources *s, const struct source *key)
{
    size_t low = 0, high = s->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&s->items[middle], key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? NULL : &s->items[low - 1];
}

bool secgroup_admits(const struct secgroup_set *set, uint16_t port, const struct addr *peer)
{
    struct addr host = addr_from_sockaddr(&peer->sa);
    struct source key = { .port = port, .cidr = cidr_of_host(&host) };
    const struct source *found;
    if (set->open)
        return true;
    if (host.sa.sa_family != AF_INET && host.sa.sa_family != AF_INET6)
        return false;
    found = find_before(&set->sources, &key);
    return found != NULL && covers(found, &key);
}

/* A name from the file must not end the comment that it stands in. */
static void print_name(FILE *to, const char *name)
{
    for (; *name != '\0'; name++)
        fputc(isprint((unsigned char)*name) ? *name : '?', to);
}

static void print_accept(FILE *to, const char *match, uint16_t port)
{
    fprintf(to, "\t\t%s tcp dport %u accept\n", match, port);
}

static const char *format_source(const struct cidr *c, char text[ADDR_TEXT_MAX])
{
    return c->bits == cidr_of_host(&c->base).bits ? addr_format_host(&c->base, text) : cidr_format(c, text);
}

/* One line for all of a family; a CIDR of no bits is everyone of it. */
static int print_family(FILE *to, const struct sources *s, sa_family_t family, uint16_t port)
{
    const char *word = family == AF_INET6 ? "ip6" : "ip";
    char *match = NULL, text[ADDR_TEXT_MAX];
    size_t size, printed = 0;
    FILE *list = open_memstream(&match, &size);
    if (list == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < s->count; i++) {
        const struct cidr *c = &s->items[i].cidr;
        if (c->base.sa.sa_family != family)
            continue;
        if (c->bits == 0)
            fprintf(list, "meta nfproto %s", family == AF_INET6 ? "ipv6" : "ipv4");
        else if (printed == 0)
            fprintf(list, "%s saddr { %s", word, format_source(c, text));
        else
            fprintf(list, ", %s", format_source(c, text));
        printed += c->bits == 0 ? 0 : 1;
    }
    if (printed > 0)
        fputs(" }", list);
    if (fclose(list) == 0 && size > 0)
        print_accept(to, match, port);
    free(match);
    return 0;
}

static int print_rule(FILE *to, const struct config *config, const struct config_rule *rule)
{
    struct sources s = { .count = 0 };
    char text[ADDR_TEXT_MAX];
    int r = add_rule(&s, config, rule);
    if (r < 0)
        goto out;
    sources_settle(&s);
    fprintf(to, "\t\t# tcp %u from ", rule->port);
    print_name(to, rule->from_group ? rule->group : cidr_format(&rule->cidr, text));
    fputs(s.count == 0 ? ": nobody carries it\n" : "\n", to);
    r = print_family(to, &s, AF_INET, rule->port);
    if (r == 0)
        r = print_family(to, &s, AF_INET6, rule->port);
out:
    free(s.items);
    return r;
}

/* Declaring the table before deleting it makes the file load also the first time; nft applies it as one transaction. */
static void print_head(FILE *to, const char *group)
{
    fputs("# security group ", to);
    print_name(to, group);
    fputs("\ntable inet halb\n"
          "delete table inet halb\n"
          "table inet halb {\n"
          "\tchain input {\n"
          "\t\ttype filter hook input priority filter; policy drop;\n"
          "\t\tiifname \"lo\" accept\n"
          "\t\tct state established,related accept\n"
          "\t\tmeta l4proto { icmp, icmpv6 } accept\n", to);
}

int secgroup_print_nft(const struct config *config, const char *group, FILE *to)
{
    const struct config_group *found = config_find_group(config, group);
    int r = 0;
    if (found == NULL)
        return -ENOENT;
    print_head(to, found->name);
    for (size_t i = 0; i < found->ingress_count && r == 0; i++)
        r = print_rule(to, config, &found->ingress[i]);
    fputs("\t}\n}\n", to);
    return r < 0 || fflush(to) != 0 || ferror(to) ? -EIO : 0;
}
