#ifndef LB_POOL_H
#define LB_POOL_H
#include "common/addr.h"
#include "common/config.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/*
 * Which instance gets the next piece of work of a balancer node. Shared by all
 * workers, without a lock if candidates are few, else with one that is held for
 * a step or two (after a change of health: for one look at all); exact: with equal weights, the counts of consecutive
 * picks of a node differ by at most one between the instances that are eligible;
 * with weights, the counts divided by the weights differ by at most one pick's
 * worth.
 */
struct instance;
struct node;

/* Instances that this piece of work has been sent to already; the oldest is forgotten when it is full. */
#define TRIED_MAX 8
struct tried {
    const struct instance *items[TRIED_MAX];
    unsigned count;
};
void tried_add(struct tried *tried, const struct instance *instance);
bool tried_has(const struct tried *tried, const struct instance *instance);

/* What a choice depends on. */
struct pool_ask {
    enum algorithm algorithm;           /* not ALGORITHM_DEFAULT */
    bool fail_open;                     /* if nobody is in service, those out of service will do */
    uint64_t slow_start_ms;             /* an instance that has just come into service takes its share by and by */
    uint64_t now_ms;                    /* realtime; for slow_start_ms */
    const struct tried *tried;
    const struct addr *client;          /* ALGORITHM_SOURCE_HASH */
    uint64_t *random;                   /* ALGORITHM_RANDOM_TWO: the worker's state, not 0 */
};

enum pick {
    PICK_ONE,
    PICK_NONE,                          /* nobody eligible is left */
    PICK_FULL                           /* there are some, but each has all the work that it may have */
};

/* PICK_ONE: *ret is eligible, not in ask->tried, and in use until pool_release(). */
enum pick pool_pick(const struct node *node, const struct pool_ask *ask, struct instance **ret);
/* This one, named by a cookie, if it may have the work. */
enum pick pool_pick_named(const struct node *node, const struct pool_ask *ask, const char *id, struct instance **ret);
/* Ends one use of the node with that index; NULLs *instance. The generation it was picked in may be gone. */
void pool_release(unsigned node_index, struct instance **instance);

/* What pool_pick() would find for work that was sent nowhere yet; takes nothing. */
enum pick pool_look(const struct node *node, bool fail_open);
/* Is there an instance that pool_pick() could give, now, or once first checks have come in? */
bool pool_any_eligible(const struct node *node);
bool pool_any_unchecked(const struct node *node);
#endif
