#ifndef LB_SECGROUP_H
#define LB_SECGROUP_H
#include "common/config.h"
#include <stdbool.h>
#include <stdio.h>
/*
 * Security groups: who may connect to what. A group as a rule's source means
 * the addresses of the instances and balancer nodes that carry it, and its
 * members. Pure; the set is immutable and owns its memory.
 */
struct secgroup_set;

/* The groups of one balancer, for its listeners. No groups: everyone is admitted. NULL: no memory. */
struct secgroup_set *secgroup_for_balancer(const struct config *config, const struct config_balancer *balancer);
void secgroup_free(struct secgroup_set **set);
bool secgroup_admits(const struct secgroup_set *set, uint16_t port, const struct addr *peer);

/* The group's ingress as an nftables ruleset (`nft -f`) for a host behind that carries it: input policy drop; loopback and
 * established go on. 0; -ENOENT: no such group; -EIO. */
int secgroup_print_nft(const struct config *config, const char *group, FILE *to);
#endif
