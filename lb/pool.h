#ifndef LB_POOL_H
#define LB_POOL_H
#include <stdbool.h>
#include <stddef.h>
/*
 * Which instance gets the next piece of work of a balancer node. Shared by all
 * workers without a lock; exact: with equal load, the counts of consecutive
 * picks of a node differ by at most one between the instances that are eligible.
 */
struct instance;
struct node;

enum pool_rule {
    POOL_LEAST_OUTSTANDING,     /* HTTP: fewest requests in flight, of those the one picked longest ago */
    POOL_ROUND_ROBIN            /* TCP: the one picked longest ago */
};

/* Instances that this piece of work has been sent to already; the oldest is forgotten when it is full. */
#define TRIED_MAX 8
struct tried {
    const struct instance *items[TRIED_MAX];
    unsigned count;
};
void tried_add(struct tried *tried, const struct instance *instance);
bool tried_has(const struct tried *tried, const struct instance *instance);

/* An eligible instance that is not in `tried`, in use until pool_release(); NULL if none is left. fail_open: if no candidate at all
 * is eligible, the ones out of service count as eligible. */
struct instance *pool_pick(const struct node *node, enum pool_rule rule, bool fail_open, const struct tried *tried);
/* Ends one use of the node with that index; NULLs *instance. The generation it was picked in may be gone. */
void pool_release(unsigned node_index, struct instance **instance);

/* Is there an instance that pool_pick() could give, now, or once first checks have come in? */
bool pool_any_eligible(const struct node *node);
bool pool_any_unchecked(const struct node *node);
#endif
