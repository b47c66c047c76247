#ifndef LB_DAEMON_PARTS_H
#define LB_DAEMON_PARTS_H
#include "common/ring.h"
#include "lb/daemon.h"
#include "lb/worker.h"
#include <signal.h>
#include <sys/signalfd.h>
/* What daemon_start.c (how it begins) and daemon.c (how it runs and ends) share; nobody else includes it. */
struct access_log;
struct admin;
struct control;
struct privsep;
struct sticky_keys;

#define DAEMON_LOOK_MS 20           /* how often it looks for what it waits for: first checks, the end of the workers */

struct daemon {
    const struct halb_args *args;
    struct privsep *privsep;
    struct ring *ring;
    struct board *board;
    const struct daemon_checks *hooks;
    void *checks;                   /* theirs; NULL: not started */
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

/* daemon_start.c: 0, or -1 with the reason logged. */
int daemon_state_open(struct daemon *daemon, const char *dir);
int daemon_begin(struct daemon *daemon, const struct config *config);
int daemon_access_logs_attach(struct daemon *daemon, const struct config *config);       /* opens the access logs, or opens them again */
int daemon_sticky_begin(struct daemon *daemon, const struct config *config);
void daemon_started_log(const struct daemon *daemon);

/* daemon.c */
int daemon_signals_begin(struct daemon *daemon);        /* 0 or -errno */
void daemon_on_look(struct timer *timer);
#endif
