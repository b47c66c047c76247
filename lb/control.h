#ifndef LB_CONTROL_H
#define LB_CONTROL_H
#include "common/board.h"
#include "common/config.h"
#include <stdbool.h>
#include <stddef.h>
/*
 * The one door for changes: it owns the configuration, builds generations,
 * hands them to who plans the checks and to the workers, and ends drainings. Main thread alone.
 * A change has reached every worker when its call returns.
 */
struct control;
struct generation;
struct instance;
struct ring;
struct worker;

struct control_conf {
    struct ring *ring;                  /* main's */
    struct board *board;
    int (*plan)(void *arg, const struct generation *generation);    /* has these registrations checked from now on; 0 or -errno */
    /* A listening socket for one worker, or -errno (already logged). subnet, listener: indices of the newest configuration's balancer. */
    int (*listen)(void *arg, const struct generation *generation, unsigned balancer, unsigned node, unsigned listener, unsigned worker);
    void *arg;                          /* of both */
    const char *zone;                   /* -z, or NULL */
    unsigned worker_count;
};

/* Builds the first generation and has it planned. Takes config over, also on failure. 0 and *ret, or -errno. */
int control_new(const struct control_conf *conf, struct config *config, struct control **ret);
/* The workers, once they run: from now on they get each generation. Borrowed. */
void control_set_workers(struct control *control, struct worker **workers, size_t count);
void control_free(struct control **control);            /* the workers have ended */
/* Has every registration that is checked had its first result? */
bool control_checked(const struct control *control);

enum control_code { CONTROL_OK, CONTROL_NOT_FOUND, CONTROL_BAD_REQUEST, CONTROL_CONFLICT, CONTROL_FAILED };
struct control_error {
    char message[512];          /* for people; names what was found and what was expected */
};

enum control_code control_register(struct control *control, const char *balancer, const char *const *ids, size_t count, struct control_error *error);
/* Drains if the balancer's draining is on; the instance is listed until its work has ended. */
enum control_code control_deregister(struct control *control, const char *balancer, const char *const *ids, size_t count, struct control_error *error);
enum control_code control_health_check(struct control *control, const char *balancer, const struct config_health_change *change, struct control_error *error);
enum control_code control_set_admin(struct control *control, const char *balancer, const char *id, enum slot_admin admin, struct control_error *error);

/* Everything as this configuration says (taken over, also on failure); what was changed at run time before is gone with the one before.
 * CONTROL_FAILED: nothing was changed. */
enum control_code control_reload(struct control *control, struct config *config, struct control_error *error);
/* What workers listen on in a generation; fd is -1 in each. Returns how many; confs may be NULL. */
struct listener_conf;
size_t control_listeners(const struct generation *generation, struct listener_conf *confs);

/* The one in force; borrowed until control returns to its loop. */
const struct generation *control_generation(const struct control *control);
/* What ELB would say of an instance now; borrowed constants. */
struct instance_health {
    const char *state, *reason_code, *description;
    uint64_t since_ms;          /* realtime */
};
struct instance_health control_health(const struct instance *instance);
/* "HTTP:80", "TCP:3306": listeners as `status` shows them are the API's business. Instances that get new traffic: */
size_t control_in_service(const struct generation *generation, size_t balancer);
size_t control_registered(const struct generation *generation, size_t balancer);
#endif
