/*
 * How the process begins: each step says what failed, why, and what helps, and
 * nothing is listened on unless all can be.
 */
#include "lb/daemon_parts.h"
#include "common/board.h"
#include "common/log.h"
#include "lb/access.h"
#include "lb/admin.h"
#include "lb/control.h"
#include "lb/generation.h"
#include "lb/privsep.h"
#include "lb/sticky.h"
#include "lb/sticky_key.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#define DESCRIPTORS_KEPT 256        /* for listeners, checks, control, logs */
#define DESCRIPTORS_PER_CONNECTION 2
#define ACCESS_RING_BYTES (1024 * 1024)     /* lines of one worker that the disk has not taken yet */

static int start_failed(const char *what, const char *why, const char *remedy)
{
    log_error("cannot start: %s: %s%s%s", what, why, remedy[0] != '\0' ? "; " : "", remedy);
    return -1;
}

int daemon_state_open(struct daemon *daemon, const char *dir)
{
    char path[4096];
    int r = privsep_state_dir(daemon->privsep);

    if (r < 0)
        return start_failed(dir, strerror(-r), "give another state directory with -d DIR or process.state_dir");
    if (snprintf(path, sizeof(path), "%s/lock", dir) >= (int)sizeof(path))
        return start_failed(dir, "the path is too long", "give another state directory with -d DIR");
    daemon->state_lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (daemon->state_lock < 0)
        return start_failed(path, strerror(errno), "make the state directory writable for process.user, or give another with -d DIR");
    if (flock(daemon->state_lock, LOCK_EX | LOCK_NB) < 0)
        return start_failed(dir, "state directory is locked: another process uses it", "give each process its own with -d DIR");
    return 0;
}

/* Raises the limit of descriptors as far as it goes. */
static unsigned descriptors_for_connections(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 512;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur > 4 * 1000 * 1000)
        limit.rlim_cur = 4 * 1000 * 1000;
    if (limit.rlim_cur < 2 * DESCRIPTORS_KEPT)
        return (unsigned)limit.rlim_cur / 4;
    return (unsigned)(limit.rlim_cur - DESCRIPTORS_KEPT) / DESCRIPTORS_PER_CONNECTION;
}

static unsigned workers_wanted(const struct config *config)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    if (config->process.workers > 0)
        return config->process.workers;
    return cpus < 1 ? 1 : (unsigned)cpus;
}

static void listener_failed(const struct generation *generation, const struct listener_conf *conf, int err)
{
    char text[ADDR_TEXT_MAX];
    const char *remedy = "";

    if (err == -EADDRINUSE)
        remedy = "; end what listens there, or change the listener's port";
    else if (err == -EACCES || err == -EPERM)
        remedy = "; a port below 1024 needs root: start as root (the rights are dropped at once), or take a higher port";
    log_error("cannot listen: %s: %s: %s%s", generation->balancers[conf->balancer].conf->name, addr_format(&conf->address, text),
              err == -EADDRINUSE ? "address in use" : strerror(-err), remedy);
}

/* One socket for one worker on one listener of a node. */
static int listen_for(void *arg, const struct generation *generation, unsigned balancer, unsigned node, unsigned listener, unsigned worker)
{
    struct daemon *daemon = arg;
    const struct balancer *b = &generation->balancers[balancer];
    struct listener_conf conf = { .balancer = balancer,
        .address = addr_with_port(b->nodes[node].subnet->address, b->conf->listeners[listener].port) };
    int fd = privsep_listener(daemon->privsep, balancer, b->nodes[node].index, listener, worker);

    if (fd < 0)
        listener_failed(generation, &conf, fd);
    return fd;
}

/* One socket for each worker on each listener of each node that we serve. */
static int listeners_open(struct daemon *daemon, unsigned worker, struct listener_conf *confs, size_t *opened)
{
    const struct generation *generation = control_generation(daemon->control);
    size_t count = control_listeners(generation, &confs[*opened]);

    for (size_t i = 0; i < count; i++) {
        struct listener_conf *conf = &confs[*opened];
        conf->fd = listen_for(daemon, generation, conf->balancer, conf->node, conf->listener, worker);
        if (conf->fd < 0)
            return -1;
        (*opened)++;
    }
    return 0;
}

static void listeners_close(struct listener_conf *confs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(confs[i].fd);
}

static int ring_failed(int err)
{
    char text[512];

    log_error("cannot start: %s", ring_refusal(err, text, sizeof(text)));
    return -1;
}

/* Opens the access logs, or opens them again. A balancer whose log can not be opened keeps the one that it has. */
int daemon_access_logs_attach(struct daemon *daemon, const struct config *config)
{
    int failed = 0;

    for (unsigned i = 0; i < config->balancer_count; i++) {
        const struct config_access_log *log = &config->balancers[i].attributes.access_log;
        int r;
        if (!log->enabled)
            continue;
        r = privsep_access_log(daemon->privsep, i);
        if (r >= 0)
            r = access_log_attach(daemon->access_log, log->path, r);
        if (r < 0) {
            log_error("%s: access log %s: %s", config->balancers[i].name, log->path, strerror(-r));
            failed = r;
        }
    }
    return failed;
}

static int access_begin(struct daemon *daemon, unsigned workers)
{
    int r = access_log_start(workers, ACCESS_RING_BYTES, &daemon->access_log);

    if (r == 0)
        r = daemon_access_logs_attach(daemon, control_generation(daemon->control)->config);
    return r < 0 ? start_failed("access log", strerror(-r), "give it a path in a folder that exists and that may be written") : 0;
}

static bool any_sticky(const struct config *config)
{
    for (size_t i = 0; i < config->balancer_count; i++)
        for (size_t k = 0; k < config->balancers[i].listener_count; k++)
            if (config->balancers[i].listeners[k].sticky != NULL)
                return true;
    return false;
}

/* The key of the cookies: from a file that several nodes may share, else our own, made once and kept. */
static int cookie_key(struct daemon *daemon, const struct config *config, struct sticky_key *key)
{
    int fd = privsep_cookie_key(daemon->privsep), r;

    if (fd == -ENOENT && config->process.cookie_key_file[0] == '\0')
        return sticky_key_make(config->process.state_dir, key);
    if (fd < 0)
        return fd;
    r = sticky_key_read(fd, key);
    close(fd);
    return r;
}

int daemon_sticky_begin(struct daemon *daemon, const struct config *config)
{
    struct sticky_key key;
    int r;

    if (!any_sticky(config) || daemon->sticky_keys != NULL)
        return 0;
    r = cookie_key(daemon, config, &key);
    if (r == 0)
        r = sticky_keys_new(&key, NULL, &daemon->sticky_keys);
    explicit_bzero(&key, sizeof(key));
    daemon->shared.sticky_keys = daemon->sticky_keys;
    return r < 0 ? start_failed("the key of sticky cookies", strerror(-r), "see process.cookie_key_file and process.state_dir") : 0;
}

static int worker_begin(struct daemon *daemon, unsigned index, const struct listener_conf *listeners, size_t count)
{
    struct worker_conf conf = {
        .index = index,
        .shared = &daemon->shared,
        .generation = (struct generation *)control_generation(daemon->control),
        .listeners = listeners,
        .listener_count = count,
        .lines = daemon->access_log == NULL ? NULL : access_log_lines(daemon->access_log, index),
    };
    int r = worker_start(&conf, &daemon->workers[index]);

    if (r < 0)
        return ring_failed(r);
    daemon->worker_count = index + 1;
    return 0;
}

/* All sockets are bound before the first worker accepts: an address in use starts nothing. */
static int workers_begin(struct daemon *daemon, unsigned wanted)
{
    size_t each = control_listeners(control_generation(daemon->control), NULL), opened = 0;
    struct listener_conf *confs = calloc(wanted * each + 1, sizeof(*confs));
    int r = 0;

    daemon->workers = calloc(wanted, sizeof(struct worker *));
    if (confs == NULL || daemon->workers == NULL) {
        free(confs);
        return start_failed("workers", "no memory", "");
    }
    for (unsigned w = 0; r == 0 && w < wanted; w++)
        r = listeners_open(daemon, w, confs, &opened);
    if (r < 0)
        listeners_close(confs, opened);
    for (unsigned w = 0; r == 0 && w < wanted; w++) {
        r = worker_begin(daemon, w, &confs[w * each], each);
        if (r < 0)
            listeners_close(&confs[w * each], (wanted - w) * each);
    }
    control_set_workers(daemon->control, daemon->workers, daemon->worker_count);
    free(confs);
    return r;
}

static int admin_begin(struct daemon *daemon)
{
    int fd = privsep_admin_socket(daemon->privsep), r;

    if (fd == -EADDRINUSE)
        return start_failed(daemon->admin_socket, "address in use: a living process serves this control socket", "give another with -s SOCKET");
    if (fd < 0)
        return start_failed(daemon->admin_socket, strerror(-fd), "give another control socket with -s SOCKET or process.admin_socket");
    r = admin_start(daemon->ring, daemon->control, fd, &daemon->admin);
    return r < 0 ? start_failed("control socket", strerror(-r), "") : 0;
}

void daemon_started_log(const struct daemon *daemon)
{
    const struct generation *generation = control_generation(daemon->control);

    log_info("serving with %u workers, at most %u connections", daemon->worker_count, daemon->shared.connections_max);
    for (size_t i = 0; i < generation->balancer_count; i++) {
        const struct balancer *balancer = &generation->balancers[i];
        for (size_t n = 0; n < balancer->node_count; n++)
            for (size_t l = 0; l < balancer->conf->listener_count; l++) {
                struct addr at = addr_with_port(balancer->nodes[n].subnet->address, balancer->conf->listeners[l].port);
                char text[ADDR_TEXT_MAX];
                log_info("%s: listening on %s (%s), %zu instances registered", balancer->conf->name, addr_format(&at, text),
                         protocol_text(balancer->conf->listeners[l].protocol), balancer->registered_count);
            }
    }
}

static int plan(void *arg, const struct generation *generation)
{
    struct daemon *daemon = arg;

    return daemon->hooks->plan(daemon->checks, generation);
}

static int control_begin(struct daemon *daemon, struct config *config)
{
    struct control_conf conf = {
        .ring = daemon->ring,
        .board = daemon->board,
        .plan = plan,
        .listen = listen_for,
        .arg = daemon,
        .zone = daemon->args->zone,
        .worker_count = workers_wanted(config),
    };
    int r = control_new(&conf, config, &daemon->control);

    return r < 0 ? start_failed("configuration", strerror(-r), "") : 0;
}

int daemon_begin(struct daemon *daemon, const struct config *config)
{
    struct ring_conf ring_conf = { .ops_max = 1024, .small_count = 64, .small_bytes = 16 * 1024 };
    unsigned workers = workers_wanted(config), possible = descriptors_for_connections();
    struct config *copy = config_copy(config);
    int r;

    daemon->shared.connections_max = config->process.max_connections > 0 ? config->process.max_connections : possible;
    if (copy == NULL)
        return start_failed("configuration", "no memory", "");
    r = ring_new(&ring_conf, &daemon->ring);
    if (r < 0) {
        config_free(&copy);
        return ring_failed(r);
    }
    timer_init(&daemon->look, daemon_on_look);
    r = board_new(&daemon->board);
    if (r == 0)
        r = daemon->hooks->start(daemon->board, &daemon->checks);
    if (r < 0) {
        config_free(&copy);
        return ring_failed(r);
    }
    daemon->shared.board = daemon->board;
    daemon->shared.small_buffers = WORKER_SMALL_BUFFERS;
    daemon->shared.bulk_buffers = WORKER_BULK_BUFFERS;
    if (control_begin(daemon, copy) < 0 || access_begin(daemon, workers) < 0 || daemon_sticky_begin(daemon, config) < 0 ||
        workers_begin(daemon, workers) < 0 || admin_begin(daemon) < 0)
        return -1;
    r = daemon_signals_begin(daemon);
    return r < 0 ? start_failed("signals", strerror(-r), "") : 0;
}
