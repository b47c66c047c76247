#ifndef LB_LISTENER_H
#define LB_LISTENER_H
#include "common/addr.h"
#include "common/list.h"
#include "common/ring.h"
#include "common/timer.h"
#include <stdbool.h>
/*
 * One listening socket of one worker: which connections may become one of ours
 * (security groups, limits). It stays through changes of the configuration as
 * long as its address is listened on, and pins the newest generation that has it;
 * one that is gone lives on, without its socket, until its last connection has ended.
 */
struct balancer;
struct config_listener;
struct listener_conf;
struct node;
struct pin;
struct worker;

/* Where a listener stands in a generation; lives as long as that. */
struct listener_at {
    const struct balancer *balancer;
    const struct node *node;
    const struct config_listener *conf;
};

struct listener {
    struct list link;               /* worker's listeners */
    struct worker *worker;
    struct op accept_op;
    struct timer pause;             /* no descriptor was left: accept again later */
    struct addr address;            /* with port */
    struct pin *pin;
    struct listener_at at;          /* in the pin's generation */
    unsigned conn_count;
    int fd;                         /* -1: closed */
    bool closing;
};

/* Of no worker yet: any thread. The descriptor stays the caller's. NULL: no memory. */
struct listener *listener_new(const struct listener_conf *conf);
void listener_free(struct listener **listener);         /* one that was never begun */
/* Takes the descriptor over, and accepts. */
void listener_begin(struct listener *listener, struct worker *worker, const struct listener_conf *conf);
/* A newer generation has it too: the worker's newest, at these indices. */
void listener_adopt(struct listener *listener, const struct listener_conf *conf);
void listener_stop(struct listener *listener);          /* closed as soon as nothing is in flight */
void listener_reap(struct listener *listener);          /* frees it if it is closed and has no connection left */
#endif
