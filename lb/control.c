#include "lb/control.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/net.h"
#include "common/ring.h"
#include "lb/generation.h"
#include "lb/instance.h"
#include "lb/worker.h"
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DRAIN_LOOK_MS 50        /* how often we look whether draining instances have come to rest */

struct control {
    struct control_conf conf;
    struct generation *generation;
    struct worker **workers;
    size_t worker_count;
    struct timer drain_timer;
};

static const struct health_texts {
    const char *state, *reason_code, *description;
} measured[] = {
    [WHY_REGISTERING] = { "OutOfService", "ELB", "Instance registration is still in progress." },
    [WHY_PASSED] = { "InService", "N/A", "N/A" },
    [WHY_FAILED] = { "OutOfService", "Instance", "Instance has failed at least the UnhealthyThreshold number of health checks consecutively." },
    [WHY_NOT_YET_PASSED] = { "OutOfService", "Instance", "Instance has not passed the configured HealthyThreshold number of health checks consecutively." },
    [WHY_ZONE_NOT_ENABLED] = { "OutOfService", "ELB",
                               "Instance is in the EC2 Availability Zone for which LoadBalancer is not configured to route traffic to." },
}, deregistering = { "InService", "N/A", "Instance deregistration currently in progress." };

struct instance_health control_health(const struct instance *instance)
{
    struct slot_status status = slot_status(instance->slot);
    const struct health_texts *texts = &measured[status.why];

    if (atomic_load(&instance->phase) != INSTANCE_REGISTERED)
        texts = &deregistering;
    return (struct instance_health){ texts->state, texts->reason_code, texts->description, status.since_ms };
}

static uint64_t now_ms(void)
{
    return clock_monotonic_us() / 1000;
}

static bool has_left(const struct balancer *balancer, size_t i)
{
    return i >= balancer->registered_count;
}

static void leave(const struct balancer *balancer, struct instance *instance)
{
    const struct config_attributes *attributes = &balancer->conf->attributes;

    instance->drain_deadline_ms = now_ms() + attributes->draining_timeout_ms;
    atomic_store(&instance->phase, attributes->draining ? INSTANCE_DRAINING : INSTANCE_CUT);
    log_info("%s: instance %s deregistered: %llu connections or requests in flight %s", balancer->conf->name, instance->id,
             (unsigned long long)instance_outstanding(instance), attributes->draining ? "may end" : "are cut");
}

/* Who is in the new generation as registered is registered again, who is there as left begins to leave. */
static bool phases_set(const struct generation *generation)
{
    bool leaving = false;

    for (size_t i = 0; i < generation->balancer_count; i++) {
        const struct balancer *balancer = &generation->balancers[i];
        for (size_t k = 0; k < balancer->instance_count; k++) {
            struct instance *instance = balancer->instances[k];
            leaving = leaving || has_left(balancer, k);
            if (!has_left(balancer, k))
                atomic_store(&instance->phase, INSTANCE_REGISTERED);
            else if (atomic_load(&instance->phase) == INSTANCE_REGISTERED)
                leave(balancer, instance);
        }
    }
    return leaving;
}

static enum control_code refuse(struct control_error *error, enum control_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));
static enum control_code refuse(struct control_error *error, enum control_code code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error->message, sizeof(error->message), format, args);
    va_end(args);
    return code;
}

size_t control_listeners(const struct generation *generation, struct listener_conf *confs)
{
    size_t count = 0;

    for (unsigned b = 0; b < generation->balancer_count; b++) {
        const struct balancer *balancer = &generation->balancers[b];
        for (unsigned n = 0; n < balancer->node_count; n++)
            for (unsigned l = 0; l < balancer->conf->listener_count; l++, count++)
                if (confs != NULL)
                    confs[count] = (struct listener_conf){ .balancer = b, .node = n, .listener = l, .fd = -1,
                        .address = addr_with_port(balancer->nodes[n].subnet->address, balancer->conf->listeners[l].port) };
    }
    return count;
}

/* The listeners of a new generation, a list for each worker; new addresses with a socket each. And the order to take it over. */
struct listening {
    struct listener_conf *confs;        /* [workers * count] */
    struct worker_update **updates;     /* [workers] */
    size_t count, workers;
};

static bool listened_on(const struct generation *generation, const struct addr *address)
{
    for (size_t i = 0; generation != NULL && i < generation->balancer_count; i++) {
        const struct balancer *balancer = &generation->balancers[i];
        for (size_t n = 0; n < balancer->node_count; n++)
            for (size_t l = 0; l < balancer->conf->listener_count; l++)
                if (balancer->conf->listeners[l].port == addr_port(address) && addr_equal_host(&balancer->nodes[n].subnet->address, address))
                    return true;
    }
    return false;
}

static void listening_fini(struct listening *listening, bool close_all)
{
    for (size_t i = 0; close_all && i < listening->workers * listening->count; i++)
        if (listening->confs[i].fd >= 0)
            net_close(listening->confs[i].fd);
    for (size_t w = 0; listening->updates != NULL && w < listening->workers; w++)
        worker_update_free(&listening->updates[w]);
    free(listening->updates);
    free(listening->confs);
}

static int sockets_open(struct listening *listening, struct control *control, const struct generation *next)
{
    for (unsigned w = 0; w < listening->workers; w++)
        for (size_t i = 0; i < listening->count; i++) {
            struct listener_conf *conf = &listening->confs[w * listening->count + i];
            if (listened_on(control->generation, &conf->address))
                continue;
            conf->fd = control->conf.listen(control->conf.arg, next, conf->balancer, conf->node, conf->listener, w);
            if (conf->fd < 0)
                return conf->fd;
        }
    return 0;
}

static int updates_new(struct listening *listening, struct generation *next)
{
    for (size_t w = 0; w < listening->workers; w++) {
        int r = worker_update_new(next, &listening->confs[w * listening->count], listening->count, &listening->updates[w]);
        if (r < 0)
            return r;
    }
    return 0;
}

/* All or none: a socket or memory that can not be had leaves everything as it was. */
static int listening_init(struct listening *listening, struct control *control, struct generation *next)
{
    int r = -ENOMEM;

    *listening = (struct listening){ .count = control_listeners(next, NULL), .workers = control->worker_count };
    listening->confs = calloc(listening->count * listening->workers + 1, sizeof(*listening->confs));
    if (listening->confs == NULL)
        return -ENOMEM;
    for (unsigned w = 0; w < listening->workers; w++)
        control_listeners(next, &listening->confs[w * listening->count]);
    listening->updates = calloc(listening->workers + 1, sizeof(struct worker_update *));
    if (listening->updates != NULL)
        r = sockets_open(listening, control, next);
    if (r == 0)
        r = updates_new(listening, next);
    if (r < 0)
        listening_fini(listening, true);
    return r;
}

/* The instances of balancers that are gone leave with them. */
static void balancers_leave(const struct generation *before, const struct generation *next)
{
    for (size_t i = 0; before != NULL && i < before->balancer_count; i++) {
        const struct balancer *balancer = &before->balancers[i];
        for (size_t k = 0; generation_find(next, balancer->conf->name) == NULL && k < balancer->instance_count; k++)
            if (atomic_load(&balancer->instances[k]->phase) == INSTANCE_REGISTERED)
                leave(balancer, balancer->instances[k]);
    }
}

static void generation_swap(struct control *control, struct generation *next, struct listening *listening)
{
    for (size_t i = 0; i < control->worker_count; i++)
        worker_publish(control->workers[i], &listening->updates[i]);
    generation_unref(&control->generation);
    control->generation = next;
    board_wake(control->conf.board);
}

/* config: taken over; NULL: unchanged, only those that have ended leave. */
static int apply(struct control *control, struct config *config)
{
    struct generation_conf conf = { .zone = control->conf.zone, .worker_count = control->conf.worker_count, .now_ms = now_ms(), .board = control->conf.board };
    struct listening listening;
    struct generation *next;
    int r = generation_new(config, control->generation, &conf, &next);

    if (r < 0)
        return r;
    r = listening_init(&listening, control, next);
    if (r < 0) {
        generation_unref(&next);
        return r;
    }
    r = control->conf.plan(control->conf.arg, next);
    if (r < 0) {
        listening_fini(&listening, true);
        generation_unref(&next);
        return r;
    }
    if (phases_set(next))
        ring_timer_set(control->conf.ring, &control->drain_timer, now_ms() + DRAIN_LOOK_MS);
    balancers_leave(control->generation, next);
    generation_swap(control, next, &listening);
    listening_fini(&listening, false);
    return 0;
}

enum control_code control_reload(struct control *control, struct config *config, struct control_error *error)
{
    int r = apply(control, config);

    if (r < 0)
        return refuse(error, CONTROL_FAILED, "%s; the configuration before stays in force", strerror(-r));
    return CONTROL_OK;
}

static void on_drain_timer(struct timer *timer)
{
    struct control *control = container_of(timer, struct control, drain_timer);
    bool rest = false, waiting = false, cut = false;

    for (size_t i = 0; i < control->generation->balancer_count; i++) {
        const struct balancer *balancer = &control->generation->balancers[i];
        for (size_t k = balancer->registered_count; k < balancer->instance_count; k++) {
            struct instance *instance = balancer->instances[k];
            bool busy = instance_outstanding(instance) > 0;
            rest = rest || !busy;
            waiting = waiting || busy;
            if (busy && atomic_load(&instance->phase) == INSTANCE_DRAINING && now_ms() >= instance->drain_deadline_ms) {
                atomic_store(&instance->phase, INSTANCE_CUT);
                cut = true;
            }
        }
    }
    if (cut)
        board_wake(control->conf.board);
    if (waiting)
        ring_timer_set(control->conf.ring, timer, now_ms() + DRAIN_LOOK_MS);
    if (rest && apply(control, NULL) < 0)
        ring_timer_set(control->conf.ring, timer, now_ms() + DRAIN_LOOK_MS);
}

int control_new(const struct control_conf *conf, struct config *config, struct control **ret)
{
    struct control *control = calloc(1, sizeof(*control));
    int r;

    if (control == NULL) {
        config_free(&config);
        return -ENOMEM;
    }
    control->conf = *conf;
    timer_init(&control->drain_timer, on_drain_timer);
    r = apply(control, config);
    if (r < 0) {
        free(control);
        return r;
    }
    *ret = control;
    return 0;
}

void control_set_workers(struct control *control, struct worker **workers, size_t count)
{
    control->workers = workers;
    control->worker_count = count;
}

void control_free(struct control **control)
{
    struct control *c = *control;

    *control = NULL;
    ring_timer_stop(c->conf.ring, &c->drain_timer);
    generation_unref(&c->generation);
    free(c);
}

bool control_checked(const struct control *control)
{
    for (size_t i = 0; i < control->generation->balancer_count; i++) {
        const struct balancer *balancer = &control->generation->balancers[i];
        for (size_t k = 0; balancer->node_count > 0 && k < balancer->registered_count; k++) {
            const struct slot *slot = balancer->instances[k]->slot;
            if (slot_checked_at_us(slot) == 0 && slot_status(slot).why != WHY_ZONE_NOT_ENABLED)
                return false;
        }
    }
    return true;
}

const struct generation *control_generation(const struct control *control)
{
    return control->generation;
}

/* What a call of config_with_...() came to, and then the change itself. */
static enum control_code change(struct control *control, int r, struct config *next, const char *balancer, const char *which, struct control_error *error)
{
    if (r == -ENOENT)
        return refuse(error, CONTROL_NOT_FOUND, "There is no ACTIVE Load Balancer named '%s'", balancer);
    if (r == -ESRCH)
        return refuse(error, CONTROL_NOT_FOUND, "Could not find instance '%s'", which);
    if (r == 0)
        r = apply(control, next);
    if (r < 0)
        return refuse(error, CONTROL_FAILED, "%s; nothing was changed", strerror(-r));
    return CONTROL_OK;
}

enum control_code control_register(struct control *control, const char *balancer, const char *const *ids, size_t count, struct control_error *error)
{
    struct config *next = NULL;
    const char *which = "";
    int r = config_with_registered(control->generation->config, balancer, ids, count, &next, &which);

    return change(control, r, next, balancer, which, error);
}

enum control_code control_deregister(struct control *control, const char *balancer, const char *const *ids, size_t count, struct control_error *error)
{
    struct config *next = NULL;
    const char *which = "";
    int r = config_with_deregistered(control->generation->config, balancer, ids, count, &next, &which);

    return change(control, r, next, balancer, which, error);
}

static void errors_join(struct config_errors *errors, char *text, size_t size)
{
    size_t len = 0;

    text[0] = '\0';
    for (size_t i = 0; i < errors->count && len < size; i++)
        len += (size_t)snprintf(text + len, size - len, "%s%s", i > 0 ? "; " : "", errors->lines[i]);
    config_errors_free(errors);
}

enum control_code control_health_check(struct control *control, const char *balancer, const struct config_health_change *wanted, struct control_error *error)
{
    struct config_errors errors = { 0 };
    struct config *next = NULL;
    int r = config_with_health_check(control->generation->config, balancer, wanted, &next, &errors);

    if (r == -EINVAL) {
        errors_join(&errors, error->message, sizeof(error->message));
        return CONTROL_BAD_REQUEST;
    }
    config_errors_free(&errors);
    return change(control, r, next, balancer, "", error);
}

static struct instance *find_instance(const struct control *control, const struct balancer *balancer, const char *id)
{
    const struct config_instance *conf = config_find_instance(control->generation->config, id);

    for (size_t i = 0; i < balancer->registered_count; i++)
        if (strcmp(balancer->instances[i]->id, conf == NULL ? id : conf->id) == 0)
            return balancer->instances[i];
    return NULL;
}

enum control_code control_set_admin(struct control *control, const char *balancer, const char *id, enum slot_admin admin, struct control_error *error)
{
    const struct balancer *b = generation_find(control->generation, balancer);
    struct instance *instance;

    if (b == NULL)
        return refuse(error, CONTROL_NOT_FOUND, "There is no ACTIVE Load Balancer named '%s'", balancer);
    instance = find_instance(control, b, id);
    if (instance == NULL)
        return refuse(error, CONTROL_NOT_FOUND, "Instance '%s' is not registered with '%s'", id, balancer);
    if (slot_admin(instance->slot) != admin)
        log_info("%s: instance %s: operator's state is now %s (was %s)", balancer, instance->id, slot_admin_text(admin),
                 slot_admin_text(slot_admin(instance->slot)));
    slot_set_admin(instance->slot, admin);
    return CONTROL_OK;
}

size_t control_in_service(const struct generation *generation, size_t balancer)
{
    const struct balancer *b = &generation->balancers[balancer];
    size_t count = 0;

    for (size_t i = 0; i < b->registered_count; i++)
        count += instance_eligible(b->instances[i]);
    return count;
}

size_t control_registered(const struct generation *generation, size_t balancer)
{
    return generation->balancers[balancer].registered_count;
}
