#include "lb/privsep.h"
#include "common/clock.h"
#include "common/log.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 4096
#define BIND_RETRY_MS 1000      /* a ring's listener may outlive its process by some milliseconds */
#define BIND_PAUSE_MS 20
#define CAPABILITY_LAST 63

struct privsep {
    const struct config *config;
    int parent;                 /* socket to the parent; -1: we are the one process */
    uid_t uid;                  /* as whom the work is done */
    gid_t gid;
};

enum request_kind { REQUEST_LISTENER, REQUEST_ADMIN_SOCKET, REQUEST_STATE_DIR };

struct request {
    enum request_kind kind;
    unsigned balancer, subnet, listener, worker;
};

static void pause_ms(long ms)
{
    struct timespec ts = { .tv_nsec = ms * 1000000 };

    nanosleep(&ts, NULL);
}

static int socket_bound(const struct addr *at, bool shared)
{
    static const int one = 1;
    int fd = socket(at->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (shared)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one));
    if (at->sa.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (bind(fd, &at->sa, addr_len(at)) == 0)
        return fd;
    r = -errno;
    close(fd);
    return r;
}

/* Alone at first: a stranger's SO_REUSEPORT socket must be an error, not a partner. */
static int probe_alone(const struct addr *at)
{
    int fd = socket_bound(at, false);

    for (int waited = 0; fd == -EADDRINUSE && waited < BIND_RETRY_MS; waited += BIND_PAUSE_MS) {
        pause_ms(BIND_PAUSE_MS);
        fd = socket_bound(at, false);
    }
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

static int open_listener(const struct config *config, const struct request *request)
{
    const struct config_balancer *balancer;
    struct addr at;
    int fd, r;

    if (request->balancer >= config->balancer_count)
        return -ENOENT;
    balancer = &config->balancers[request->balancer];
    if (request->subnet >= balancer->subnet_count || request->listener >= balancer->listener_count)
        return -ENOENT;
    at = addr_with_port(balancer->subnets[request->subnet].address, balancer->listeners[request->listener].port);
    if (request->worker == 0 && (r = probe_alone(&at)) < 0)
        return r;
    fd = socket_bound(&at, true);
    if (fd >= 0 && listen(fd, BACKLOG) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static bool socket_is_served(const struct sockaddr_un *at)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool served = fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof(*at)) == 0;

    if (fd >= 0)
        close(fd);
    return served;
}

/* The directory that a path is in, owned by who does the work if it is new. */
static int parent_dir(const char *path, uid_t uid, gid_t gid)
{
    const char *slash = strrchr(path, '/');
    char *dir;
    int r = 0;

    if (slash == NULL || slash == path)
        return 0;
    dir = strndup(path, (size_t)(slash - path));
    if (dir == NULL)
        return -ENOMEM;
    if (mkdir(dir, 0755) < 0)
        r = errno == EEXIST ? 0 : -errno;
    else if (geteuid() == 0 && chown(dir, uid, gid) < 0)
        r = -errno;
    free(dir);
    return r;
}

static int open_admin_socket(const struct config *config, uid_t uid, gid_t gid)
{
    const char *path = config->process.admin_socket;
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd, r = parent_dir(path, uid, gid);

    if (r < 0)
        return r;
    if (strlen(path) >= sizeof(at.sun_path))
        return -ENAMETOOLONG;
    strcpy(at.sun_path, path);
    if (socket_is_served(&at))
        return -EADDRINUSE;
    if (unlink(path) < 0 && errno != ENOENT)
        return -errno;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && chmod(path, 0660) == 0 && (geteuid() != 0 || chown(path, uid, gid) == 0) &&
        listen(fd, BACKLOG) == 0)
        return fd;
    r = -errno;
    close(fd);
    return r;
}

static int make_state_dir(const struct config *config, uid_t uid, gid_t gid)
{
    const char *path = config->process.state_dir;

    if (mkdir(path, 0700) < 0)
        return errno == EEXIST ? 0 : -errno;
    if (geteuid() == 0 && chown(path, uid, gid) < 0)
        return -errno;
    return 0;
}

static int serve(const struct config *config, const struct request *request, uid_t uid, gid_t gid)
{
    switch (request->kind) {
    case REQUEST_LISTENER:
        return open_listener(config, request);
    case REQUEST_ADMIN_SOCKET:
        return open_admin_socket(config, uid, gid);
    case REQUEST_STATE_DIR:
        return make_state_dir(config, uid, gid);
    }
    return -EINVAL;
}

/* An answer is a result, and a descriptor if the result is one. */
static int answer_send(int to, int result, bool descriptor)
{
    union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(int))]; } control = { 0 };
    struct iovec iov = { .iov_base = &result, .iov_len = sizeof(result) };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (descriptor) {
        struct cmsghdr *c;
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &result, sizeof(int));
    }
    return sendmsg(to, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int answer_receive(int from)
{
    union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(int))]; } control;
    int result, fd;
    struct iovec iov = { .iov_base = &result, .iov_len = sizeof(result) };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes) };
    struct cmsghdr *c;

    if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(result))
        return -EPIPE;
    c = CMSG_FIRSTHDR(&message);
    if (c == NULL || c->cmsg_type != SCM_RIGHTS || result < 0)
        return result;
    memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    return fd;
}

static int ask(struct privsep *privsep, const struct request *request)
{
    if (privsep->parent < 0)
        return serve(privsep->config, request, privsep->uid, privsep->gid);
    if (send(privsep->parent, request, sizeof(*request), MSG_NOSIGNAL) < 0)
        return -errno;
    return answer_receive(privsep->parent);
}

int privsep_listener(struct privsep *privsep, unsigned balancer, unsigned subnet, unsigned listener, unsigned worker)
{
    struct request request = { REQUEST_LISTENER, balancer, subnet, listener, worker };

    return ask(privsep, &request);
}

int privsep_admin_socket(struct privsep *privsep)
{
    struct request request = { .kind = REQUEST_ADMIN_SOCKET };

    return ask(privsep, &request);
}

int privsep_state_dir(struct privsep *privsep)
{
    struct request request = { .kind = REQUEST_STATE_DIR };

    return ask(privsep, &request);
}

/* The parent */

static void serve_child(const struct config *config, int child, uid_t uid, gid_t gid)
{
    struct request request;
    int result;
    bool descriptor;

    if (recv(child, &request, sizeof(request), MSG_DONTWAIT) != (ssize_t)sizeof(request))
        return;
    result = serve(config, &request, uid, gid);
    descriptor = result >= 0 && request.kind != REQUEST_STATE_DIR;
    answer_send(child, result, descriptor);
    if (descriptor)
        close(result);
}

/* As the child ended: the same code, or the same signal, so that a supervisor sees what happened. */
static void end_like(int status)
{
    if (WIFEXITED(status))
        _exit(WEXITSTATUS(status));
    log_error("the serving process ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    signal(WTERMSIG(status), SIG_DFL);
    kill(getpid(), WTERMSIG(status));
    _exit(3);
}

static void pass_signal(int signals, pid_t pid)
{
    struct signalfd_siginfo info;
    int status;

    if (read(signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (info.ssi_signo != SIGCHLD)
        kill(pid, (int)info.ssi_signo);
    else if (waitpid(pid, &status, WNOHANG) == pid)
        end_like(status);
}

static void parent_signals(sigset_t *set)
{
    static const int passed[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD };

    sigemptyset(set);
    for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
        sigaddset(set, passed[i]);
}

static void parent_run(const struct config *config, int child, pid_t pid, int signals, uid_t uid, gid_t gid) __attribute__((noreturn));
static void parent_run(const struct config *config, int child, pid_t pid, int signals, uid_t uid, gid_t gid)
{
    struct pollfd fds[] = { { .fd = signals, .events = POLLIN }, { .fd = child, .events = POLLIN } };

    for (;;) {
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[0].revents != 0)
            pass_signal(signals, pid);
        if (fds[1].revents & POLLIN)
            serve_child(config, child, uid, gid);
        else if (fds[1].revents != 0)
            fds[1].fd = -1;             /* the child is ending: SIGCHLD tells how */
    }
}

/* The child */

/* Rings and their buffers are locked memory, and the limit is the user's, not the process's. */
static void memlock_raise(void)
{
    struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

    setrlimit(RLIMIT_MEMLOCK, &limit);
}

static int drop(uid_t uid, gid_t gid, pid_t parent)
{
    for (int c = 0; c <= CAPABILITY_LAST; c++)
        prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return -errno;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return -errno;
    if (getppid() != parent)
        return -EPIPE;                  /* it ended before it could be our end too */
    return 0;
}

static const struct passwd *user_of(const struct config *config)
{
    const struct passwd *user;

    if (config->process.user[0] != '\0')
        return getpwnam(config->process.user);
    user = getpwnam("halb");
    return user != NULL ? user : getpwnam("nobody");
}

static int split(struct privsep *privsep)
{
    pid_t parent = getpid(), pid;
    sigset_t set;
    int pair[2], signals, r;

    memlock_raise();
    parent_signals(&set);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    sigprocmask(SIG_BLOCK, &set, NULL);
    pid = fork();
    if (pid < 0)
        return -errno;
    if (pid > 0) {
        close(pair[1]);
        signals = signalfd(-1, &set, SFD_CLOEXEC);
        if (signals < 0) {
            kill(pid, SIGKILL);
            _exit(3);
        }
        parent_run(privsep->config, pair[0], pid, signals, privsep->uid, privsep->gid);
    }
    close(pair[0]);
    setpgid(0, 0);          /* a terminal's interrupt comes to the parent alone, which passes it on once */
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    privsep->parent = pair[1];
    r = drop(privsep->uid, privsep->gid, parent);
    if (r < 0)
        log_error("cannot give up root's rights: %s", strerror(-r));
    return r;
}

int privsep_start(const struct config *config, struct privsep **ret)
{
    struct privsep *privsep = calloc(1, sizeof(*privsep));
    const struct passwd *user;
    int r = 0;

    if (privsep == NULL)
        return -ENOMEM;
    *privsep = (struct privsep){ .config = config, .parent = -1, .uid = geteuid(), .gid = getegid() };
    if (geteuid() == 0 && strcmp(config->process.user, "root") != 0) {
        user = user_of(config);
        if (user == NULL) {
            log_error("process.user: there is no user '%s' here; create it, or name one that exists",
                      config->process.user[0] != '\0' ? config->process.user : "nobody");
            r = -ENOENT;
        } else {
            privsep->uid = user->pw_uid;
            privsep->gid = user->pw_gid;
            if (user->pw_uid != 0)
                r = split(privsep);
        }
    }
    if (r < 0) {
        free(privsep);
        return r;
    }
    *ret = privsep;
    return 0;
}

void privsep_free(struct privsep **privsep)
{
    struct privsep *p = *privsep;

    *privsep = NULL;
    if (p != NULL && p->parent >= 0)
        close(p->parent);
    free(p);
}
