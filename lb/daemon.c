/*
 * How the process runs and ends: first checks, signals, reload, and the order
 * in which everything stops.
 */
#include "lb/daemon_parts.h"
#include "common/board.h"
#include "common/log.h"
#include "lb/access.h"
#include "lb/admin.h"
#include "lb/control.h"
#include "lb/generation.h"
#include "lb/notify.h"
#include "lb/privsep.h"
#include "lb/sticky.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void on_first_checks(struct daemon *daemon)
{
    if (!control_checked(daemon->control)) {
        ring_timer_set(daemon->ring, &daemon->look, ring_now_ms(daemon->ring) + DAEMON_LOOK_MS);
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

void daemon_on_look(struct timer *timer)
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
    ring_timer_set(daemon->ring, timer, now + DAEMON_LOOK_MS);
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
    ring_timer_set(daemon->ring, &daemon->look, ring_now_ms(daemon->ring) + DAEMON_LOOK_MS);
}

static void signal_await(struct daemon *daemon)
{
    ring_read(daemon->ring, &daemon->signal_op, daemon->signal_fd, &daemon->signal, sizeof(daemon->signal));
}

static void reopen(struct daemon *daemon)
{
    if (daemon_access_logs_attach(daemon, control_generation(daemon->control)->config) == 0)
        log_info("SIGUSR1: access logs reopened (this version logs everything else to standard error)");
}

void daemon_overrides_apply(const struct halb_args *args, struct config *config)
{
    if (args->admin_socket != NULL)
        config->process.admin_socket = args->admin_socket;
    if (args->state_dir != NULL)
        config->process.state_dir = args->state_dir;
}

bool daemon_zone_served(const struct config *config, const char *zone)
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
        strcmp(now->admin_socket, wanted->admin_socket) != 0 || strcmp(now->state_dir, wanted->state_dir) != 0 ||
        strcmp(now->cookie_key_file, wanted->cookie_key_file) != 0)
        log_warning("reload: a change of workers, max_connections, user, admin_socket, state_dir or cookie_key_file needs a restart");
}

/* Takes config over. New log files are there before the first line for them can be; those that nobody logs to any more leave, and so do the
 * new ones of a refused reload. */
static int reload_apply(struct daemon *daemon, struct config *config)
{
    enum log_level level = config->process.log_level;
    uint64_t shutdown_timeout_ms = config->process.shutdown_timeout_ms;
    struct control_error error = { .message = "see above; the configuration before stays in force" };
    int r = -1;

    if (daemon_access_logs_attach(daemon, config) < 0 || daemon_sticky_begin(daemon, config) < 0)
        config_free(&config);
    else if (control_reload(daemon->control, config, &error) == CONTROL_OK)
        r = 0;
    access_log_retain(daemon->access_log, control_generation(daemon->control)->config);
    if (r == 0) {
        daemon->shutdown_timeout_ms = shutdown_timeout_ms;
        log_open(level);
    } else {
        log_error("reload: %s", error.message);
    }
    return r;
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
        privsep_reload_end(daemon->privsep, false);
        return;
    }
    if (!daemon_zone_served(config, daemon->args->zone)) {
        log_error("reload: nothing was changed: no balancer has a subnet in zone %s", daemon->args->zone);
        config_free(&config);
        privsep_reload_end(daemon->privsep, false);
        return;
    }
    daemon_overrides_apply(daemon->args, config);
    warn_of_process(&control_generation(daemon->control)->config->process, &config->process);
    r = reload_apply(daemon, config);
    privsep_reload_end(daemon->privsep, r == 0);
    if (r == 0)
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

int daemon_signals_begin(struct daemon *daemon)
{
    daemon->signal_fd = signalfd(-1, &daemon->signals, SFD_CLOEXEC);
    if (daemon->signal_fd < 0)
        return -errno;
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
        usleep(DAEMON_LOOK_MS * 1000);
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
    if (daemon->checks != NULL)
        daemon->hooks->stop(&daemon->checks);
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

static int serve(struct daemon *daemon, const struct config *config)
{
    int r = privsep_start(config, daemon->args->config, &daemon->privsep);

    if (r < 0)
        return EXIT_START;
    daemon->admin_socket = config->process.admin_socket;
    daemon->shutdown_timeout_ms = config->process.shutdown_timeout_ms;
    signals_block(daemon);
    r = daemon_state_open(daemon, config->process.state_dir);
    if (r == 0)
        r = daemon_begin(daemon, config);
    if (r == 0) {
        daemon_started_log(daemon);
        r = run(daemon);
        finish(daemon);
        log_info("stopped");
        return r < 0 ? EXIT_START : 0;
    }
    finish(daemon);
    return EXIT_START;
}

int daemon_serve(const struct halb_args *args, const struct config *config, const struct daemon_checks *checks)
{
    struct daemon daemon = { .args = args, .hooks = checks, .state_lock = -1, .signal_fd = -1 };

    return serve(&daemon, config);
}
