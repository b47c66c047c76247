#ifndef LB_LISTENER_H
#define LB_LISTENER_H
#include "common/ring.h"
#include "common/timer.h"
#include <stdbool.h>
/*
 * One listening socket of one worker: which connections may become one of ours
 * (security groups, limits). The indices name its balancer, node and
 * listener in the worker's newest generation.
 */
struct balancer;
struct config_listener;
struct generation;
struct listener_conf;
struct node;
struct worker;

struct listener {
    struct worker *worker;
    struct op accept_op;
    struct timer pause;             /* no descriptor was left: accept again later */
    int fd;
    unsigned balancer, node, listener;
    bool closing;
};

void listener_start(struct listener *listener, struct worker *worker, const struct listener_conf *conf);
void listener_stop(struct listener *listener);          /* closed as soon as nothing is in flight */
bool listener_stopped(const struct listener *listener);

const struct balancer *listener_balancer(const struct listener *listener, const struct generation *generation);
const struct node *listener_node(const struct listener *listener, const struct generation *generation);
const struct config_listener *listener_config(const struct listener *listener, const struct generation *generation);
#endif
