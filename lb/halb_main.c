/*
 * halb: configuration, board, health thread, workers, control socket; and the
 * signals that end them. The only file that knows both lb and health.
 */
#include "common/board.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/log.h"
#include "common/ring.h"
#include "health/health.h"
#include "lb/access.h"
#include "lb/admin.h"
#include "lb/control.h"
#include "lb/generation.h"
#include "lb/halb_args.h"
#include "lb/instance.h"
#include "lb/notify.h"
#include "lb/privsep.h"
#include "lb/sticky.h"
#include "lb/sticky_key.h"
#include "lb/worker.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define EXIT_CONFIG 1
#define EXIT_USAGE 2
#define EXIT_START 3

#define LOOK_MS 20                  /* how often main looks for what it waits for: first checks, the end of the workers */
#define DESCRIPTORS_KEPT 256        /* for listeners, checks, control, logs */
#define DESCRIPTORS_PER_CONNECTION 2
#define ACCESS_RING_BYTES (1024 * 1024)     /* lines of one worker that the disk has not taken yet */

struct daemon {
    struct halb_args args;
    struct privsep *privsep;
    struct ring *ring;
    struct board *board;
    struct health *health;
    struct control *control;
    struct admin *admin;
    struct access_log *access_log;
    struct sticky_keys *sticky_keys;
    struct worker_shared shared;
    struct worker **workers;
    unsigned worker_count;
    const char *admin_socket;
    uint64_t shutdown_timeout_ms;
    int state_lock;

    sigset_t signals;
    int signal_fd;
    struct op signal_op;
    struct signalfd_siginfo signal;
    struct timer look;              /* for first checks, later for the workers' end */
    bool ready, stopping, ended, admin_gone;
    uint64_t stop_deadline_ms;
};

/* Checks come from the node that the traffic comes from: the one of the instance's zone, else the first that we serve. */
static const struct config_subnet *check_source(const struct balancer *balancer, const struct instance *instance)
{
    for (size_t i = 0; i < balancer->node_count; i++)
        if (strcmp(balancer->nodes[i].subnet->zone, instance->zone) == 0)
            return balancer->nodes[i].subnet;
    return balancer->nodes[0].subnet;
}

static struct health_item health_item(const struct balancer *balancer, const struct instance *instance)
{
    const struct config_subnet *source = check_source(balancer, instance);
    struct health_item item = {
        .slot = instance->slot,
        .balancer = balancer->conf->name,
        .instance = instance->id,
        .address = instance->address,
        .check = &balancer->conf->health_check,
        .proxy_version = config_proxy_version(balancer->conf, balancer->conf->health_check.target.port),
        .zone_enabled = slot_status(instance->slot).why != WHY_ZONE_NOT_ENABLED,
    };

    if (source->address.sa.sa_family == instance->address.sa.sa_family)
        item.source = source->address;
    return item;
}

static int plan(void *arg, const struct generation *generation)
{
    struct daemon *daemon = arg;
    struct health_item *items;
    size_t count = 0, room = 1;
    int r;

    for (size_t i = 0; i < generation->balancer_count; i++)
        room += generation->balancers[i].registered_count;
    items = calloc(room, sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < generation->balancer_count; i++) {
        const struct balancer *balancer = &generation->balancers[i];
        for (size_t k = 0; balancer->node_count > 0 && k < balancer->registered_count; k++)
            items[count++] = health_item(balancer, balancer->instances[k]);
    }
    r = health_plan(daemon->health, items, count);
    free(items);
    return r;
}

/* Start */

static int start_failed(const char *what, const char *why, const char *remedy)
{
    log_error("cannot start: %s: %s%s%s", what, why, remedy[0] != '\0' ? "; " : "", remedy);
    return -1;
}

static int state_open(struct daemon *daemon, const char *dir)
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
static int access_logs_attach(struct daemon *daemon)
{
    const struct config *config = control_generation(daemon->control)->config;
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
        r = access_logs_attach(daemon);
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

static int sticky_begin(struct daemon *daemon, const struct config *config)
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

static void started_log(const struct daemon *daemon)
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

/* Run */

static void on_first_checks(struct daemon *daemon)
{
    if (!control_checked(daemon->control)) {
        ring_timer_set(daemon->ring, &daemon->look, ring_now_ms(daemon->ring) + LOOK_MS);
        return;
    }
    daemon->ready = true;
    notify("READY=1\n");
    log_info("ready: every registered instance has had its first check");
}

static bool workers_finished(const struct daemon *daemon)
{
    for (unsigned i = 0; i < daemon->worker_count; i++)
        if (!worker_finished(daemon->workers[i]))
            return false;
    return true;
}

static void workers_order(struct daemon *daemon, enum worker_state state)
{
    for (unsigned i = 0; i < daemon->worker_count; i++)
        worker_order(daemon->workers[i], state);
}

static void on_look(struct timer *timer)
{
    struct daemon *daemon = container_of(timer, struct daemon, look);
    uint64_t now = ring_now_ms(daemon->ring);

    if (!daemon->stopping) {
        on_first_checks(daemon);
        return;
    }
    if (daemon->stop_deadline_ms != 0 && now >= daemon->stop_deadline_ms) {
        log_warning("stopping: shutdown_timeout is over: what is still in flight is cut");
        daemon->stop_deadline_ms = 0;
        workers_order(daemon, WORKER_STOPS);
    }
    ring_timer_set(daemon->ring, timer, now + LOOK_MS);
}

static void stop(struct daemon *daemon)
{
    if (daemon->stopping) {
        log_info("stopping at once: second signal");
        workers_order(daemon, WORKER_STOPS);
        return;
    }
    daemon->stopping = true;
    notify("STOPPING=1\n");
    log_info("stopping: no new connections; what is in flight has %llu ms", (unsigned long long)daemon->shutdown_timeout_ms);
    daemon->stop_deadline_ms = ring_now_ms(daemon->ring) + daemon->shutdown_timeout_ms;
    workers_order(daemon, WORKER_DRAINS);
    ring_timer_set(daemon->ring, &daemon->look, ring_now_ms(daemon->ring) + LOOK_MS);
}

static void signal_await(struct daemon *daemon)
{
    ring_read(daemon->ring, &daemon->signal_op, daemon->signal_fd, &daemon->signal, sizeof(daemon->signal));
}

static void reopen(struct daemon *daemon)
{
    if (access_logs_attach(daemon) == 0)
        log_info("SIGUSR1: access logs reopened (this version logs everything else to standard error)");
}

static void overrides_apply(const struct halb_args *args, struct config *config)
{
    if (args->admin_socket != NULL)
        config->process.admin_socket = args->admin_socket;
    if (args->state_dir != NULL)
        config->process.state_dir = args->state_dir;
}

static bool zone_served(const struct config *config, const char *zone)
{
    if (zone == NULL)
        return true;
    for (size_t i = 0; i < config->balancer_count; i++)
        for (size_t k = 0; k < config->balancers[i].subnet_count; k++)
            if (strcmp(config->balancers[i].subnets[k].zone, zone) == 0)
                return true;
    return false;
}

/* What only a start can set. */
static void warn_of_process(const struct config_process *now, const struct config_process *wanted)
{
    if (now->workers != wanted->workers || now->max_connections != wanted->max_connections || strcmp(now->user, wanted->user) != 0 ||
        strcmp(now->admin_socket, wanted->admin_socket) != 0 || strcmp(now->state_dir, wanted->state_dir) != 0)
        log_warning("reload: a change of workers, max_connections, user, admin_socket or state_dir needs a restart");
}

static int reload_apply(struct daemon *daemon, struct config *config)
{
    struct control_error error;
    enum log_level level = config->process.log_level;

    if (sticky_begin(daemon, config) < 0) {
        config_free(&config);
        return -1;
    }
    daemon->shutdown_timeout_ms = config->process.shutdown_timeout_ms;
    if (control_reload(daemon->control, config, &error) != CONTROL_OK) {
        log_error("reload: %s", error.message);
        return -1;
    }
    log_open(level);
    return access_logs_attach(daemon);
}

/* The file, read again. What it says takes the place of all that is in force; a bad one changes nothing. */
static void reload(struct daemon *daemon)
{
    struct config *config;
    char *errors;
    int r = privsep_reload(daemon->privsep, &config, &errors);

    if (r < 0) {
        log_error("reload: nothing was changed: %s", errors != NULL ? errors : strerror(-r));
        free(errors);
        return;
    }
    if (!zone_served(config, daemon->args.zone)) {
        log_error("reload: nothing was changed: no balancer has a subnet in zone %s", daemon->args.zone);
        config_free(&config);
        return;
    }
    overrides_apply(&daemon->args, config);
    warn_of_process(&control_generation(daemon->control)->config->process, &config->process);
    if (reload_apply(daemon, config) == 0)
        log_info("configuration reloaded");
}

static void on_signal(struct op *op, struct ring_result result)
{
    struct daemon *daemon = container_of(op, struct daemon, signal_op);

    if (result.res == -ECANCELED || daemon->ended)
        return;
    if (result.res == (int)sizeof(daemon->signal)) {
        switch (daemon->signal.ssi_signo) {
        case SIGTERM:
        case SIGINT:
            stop(daemon);
            break;
        case SIGHUP:
            reload(daemon);
            break;
        case SIGUSR1:
            reopen(daemon);
            break;
        case SIGUSR2:
            log_warning("SIGUSR2: handing over to a successor is not supported by this version; nothing was changed");
            break;
        }
    }
    signal_await(daemon);
}

static int signals_begin(struct daemon *daemon)
{
    daemon->signal_fd = signalfd(-1, &daemon->signals, SFD_CLOEXEC);
    if (daemon->signal_fd < 0)
        return start_failed("signals", strerror(errno), "");
    op_init(&daemon->signal_op, on_signal);
    signal_await(daemon);
    return 0;
}

/* Before any thread exists, so that all inherit it: signals come through the ring alone. */
static void signals_block(struct daemon *daemon)
{
    static const int taken[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2 };

    sigemptyset(&daemon->signals);
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        sigaddset(&daemon->signals, taken[i]);
    sigprocmask(SIG_BLOCK, &daemon->signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int run(struct daemon *daemon)
{
    int r = 0;

    ring_timer_set(daemon->ring, &daemon->look, ring_now_ms(daemon->ring));
    while (r == 0 && !(daemon->stopping && workers_finished(daemon)))
        r = ring_step(daemon->ring);
    if (r < 0)
        log_error("main: its ring has failed: %s", strerror(-r));
    return r;
}

/* End */

static void on_admin_gone(void *arg)
{
    ((struct daemon *)arg)->admin_gone = true;
}

static void counters_log(const struct daemon *daemon)
{
    static const char *const texts[] = {
#define X(name, text) text,
        WORKER_COUNTERS(X)
#undef X
    };

    for (unsigned c = 0; c < WORKER_COUNTER_COUNT; c++) {
        unsigned long long sum = 0;
        for (unsigned i = 0; i < daemon->worker_count; i++)
            sum += atomic_load(&daemon->workers[i]->counters[c]);
        if (sum > 0)
            log_info("in all: %llu %s", sum, texts[c]);
    }
}

static void workers_end(struct daemon *daemon)
{
    workers_order(daemon, WORKER_STOPS);
    while (!workers_finished(daemon))
        usleep(LOOK_MS * 1000);
    counters_log(daemon);
    if (daemon->control != NULL)
        control_set_workers(daemon->control, NULL, 0);
    for (unsigned i = 0; i < daemon->worker_count; i++)
        worker_free(&daemon->workers[i]);
    free(daemon->workers);
    daemon->workers = NULL;
    daemon->worker_count = 0;
}

static void finish(struct daemon *daemon)
{
    daemon->ended = true;           /* further signals and looks have nothing left to act on */
    if (daemon->ring != NULL)
        ring_timer_stop(daemon->ring, &daemon->look);
    workers_end(daemon);
    sticky_keys_free(&daemon->sticky_keys);
    if (daemon->access_log != NULL)
        access_log_stop(&daemon->access_log);
    if (daemon->health != NULL)
        health_stop(&daemon->health);
    if (daemon->admin != NULL) {
        admin_stop(&daemon->admin, on_admin_gone, daemon);
        while (!daemon->admin_gone && ring_step(daemon->ring) == 0)
            continue;
        unlink(daemon->admin_socket);
    }
    if (daemon->control != NULL)
        control_free(&daemon->control);
    if (daemon->board != NULL)
        board_free(&daemon->board);
    if (daemon->ring != NULL) {
        ring_cancel(daemon->ring, &daemon->signal_op);
        while (daemon->signal_op.active && ring_step(daemon->ring) == 0)
            continue;
        ring_free(&daemon->ring);
    }
    privsep_free(&daemon->privsep);
}

static int control_begin(struct daemon *daemon, struct config *config)
{
    struct control_conf conf = {
        .ring = daemon->ring,
        .board = daemon->board,
        .plan = plan,
        .listen = listen_for,
        .arg = daemon,
        .zone = daemon->args.zone,
        .worker_count = workers_wanted(config),
    };
    int r = control_new(&conf, config, &daemon->control);

    return r < 0 ? start_failed("configuration", strerror(-r), "") : 0;
}

static int begin(struct daemon *daemon, const struct config *config)
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
    timer_init(&daemon->look, on_look);
    r = board_new(&daemon->board);
    if (r == 0)
        r = health_start(daemon->board, &daemon->health);
    if (r < 0) {
        config_free(&copy);
        return ring_failed(r);
    }
    daemon->shared.board = daemon->board;
    if (control_begin(daemon, copy) < 0 || access_begin(daemon, workers) < 0 || sticky_begin(daemon, config) < 0 ||
        workers_begin(daemon, workers) < 0 || admin_begin(daemon) < 0)
        return -1;
    return signals_begin(daemon);
}

static int serve(struct daemon *daemon, const struct config *config)
{
    int r = privsep_start(config, daemon->args.config, &daemon->privsep);

    if (r < 0)
        return EXIT_START;
    daemon->admin_socket = config->process.admin_socket;
    daemon->shutdown_timeout_ms = config->process.shutdown_timeout_ms;
    signals_block(daemon);
    r = state_open(daemon, config->process.state_dir);
    if (r == 0)
        r = begin(daemon, config);
    if (r == 0) {
        started_log(daemon);
        r = run(daemon);
        finish(daemon);
        log_info("stopped");
        return r < 0 ? EXIT_START : 0;
    }
    finish(daemon);
    return EXIT_START;
}

static int version(void)
{
    char text[512];

    printf("halb " HALB_VERSION "\nliburing " HALB_LIBURING "\n%s\nio_uring: %s\n", OpenSSL_version(OPENSSL_VERSION),
           ring_features(text, sizeof(text)));
    return 0;
}

static int with_config(struct daemon *daemon, struct config *config)
{
    overrides_apply(&daemon->args, config);
    if (daemon->args.action == ACTION_TEST)
        return 0;
    if (daemon->args.action == ACTION_DUMP)
        return config_print(config, stdout) < 0 || fflush(stdout) != 0 ? EXIT_START : 0;
    if (!zone_served(config, daemon->args.zone)) {
        fprintf(stderr, "halb: -z %s: no balancer has a subnet in this zone\n", daemon->args.zone);
        return EXIT_USAGE;
    }
    log_open(config->process.log_level);
    return serve(daemon, config);
}

int main(int argc, char **argv)
{
    struct daemon daemon = { .state_lock = -1, .signal_fd = -1 };
    struct config_errors errors;
    struct config *config;
    int r;

    if (halb_args_parse(argc, argv, &daemon.args) < 0)
        return EXIT_USAGE;
    if (daemon.args.action == ACTION_HELP) {
        halb_args_usage();
        return 0;
    }
    if (daemon.args.action == ACTION_VERSION)
        return version();
    if (config_load(daemon.args.config, &config, &errors) < 0) {
        for (size_t i = 0; i < errors.count; i++)
            fprintf(stderr, "%s\n", errors.lines[i]);
        config_errors_free(&errors);
        return EXIT_CONFIG;
    }
    config_errors_free(&errors);
    r = with_config(&daemon, config);
    config_free(&config);
    return r;
}
