#ifndef HEALTH_HEALTH_H
#define HEALTH_HEALTH_H
#include "common/addr.h"
#include "common/config.h"
#include <stddef.h>
#include <stdint.h>
/*
 * The health-check thread: it probes every registration of its plan on a fixed
 * grid and publishes verdicts to the board. It is apart from the workers: own
 * thread, own ring; nothing that they do delays a check.
 */
struct board;
struct health;
struct slot;

/* One registration to be checked. Strings are borrowed for the call alone; slot gets a reference of its own. */
struct health_item {
    struct slot *slot;
    const char *balancer, *instance;        /* for log lines */
    struct addr address;                    /* the instance's; the port is the target's */
    struct addr source;                     /* the balancer node's, port 0; taken if it is local by then. sa_family AF_UNSPEC: the kernel's */
    const struct config_health_check *check;
    unsigned proxy_version;                 /* of the PROXY header that a connection to it begins with; 0: none */
    bool zone_enabled;                      /* false: not checked */
};

/* 0 and *ret, or -errno. Starts the thread with an empty plan. */
int health_start(struct board *board, struct health **ret);
/*
 * Replaces the plan: a slot that stays keeps its verdict, counts and grid (a new grid if its check changed); a new one is checked at
 * once; one that is gone is forgotten. Returns when the thread has taken it over. 0, -ENOMEM, or -errno of a ring that broke. Main thread alone.
 */
int health_plan(struct health *health, const struct health_item *items, size_t count);
uint64_t health_progress_us(const struct health *health);  /* monotonic time of the last turn; one a second at least */
void health_stop(struct health **health);                  /* joins the thread */
#endif
