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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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
    const struct config *config;        /* the newest reading; ours once it is not the first */
    struct config *reread;
    struct config *pending;     /* read, and not yet taken over or refused by who serves */
    const char *admin_path;     /* as at the start */
    const char *path;
    int admin;                  /* the control socket, or -errno */
    int state_dir;              /* 0, or -errno */
    int parent;                 /* socket to the parent; -1: we are the one process */
    uid_t uid;                  /* as whom the work is done */
    gid_t gid;
};

enum request_kind { REQUEST_RELOAD, REQUEST_RELOAD_END, REQUEST_LISTENER, REQUEST_ACCESS_LOG, REQUEST_COOKIE_KEY };

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
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool served = fd >= 0 && (connect(fd, (const struct sockaddr *)at, sizeof(*at)) == 0 || errno == EAGAIN);   /* EAGAIN: its backlog is full */

    if (fd >= 0)
        close(fd);
    return served;
}

static bool stays_served(const struct sockaddr_un *at)
{
    for (int waited = 0; waited < BIND_RETRY_MS; waited += BIND_PAUSE_MS) {
        if (!socket_is_served(at))
            return false;
        pause_ms(BIND_PAUSE_MS);
    }
    return true;
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
    if (stays_served(&at))
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

static int open_access_log(const struct config *config, unsigned balancer)
{
    const struct config_access_log *log;
    int fd;

    if (balancer >= config->balancer_count || !config->balancers[balancer].attributes.access_log.enabled)
        return -ENOENT;
    log = &config->balancers[balancer].attributes.access_log;
    fd = open(log->path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0640);
    return fd < 0 ? -errno : fd;
}

static int open_cookie_key(const struct config *config)
{
    int fd = config->process.cookie_key_file[0] == '\0' ? -1 : open(config->process.cookie_key_file, O_RDONLY | O_NOCTTY | O_CLOEXEC);

    return fd < 0 ? (config->process.cookie_key_file[0] == '\0' ? -ENOENT : -errno) : fd;
}

/* A file in memory with what a reading came to: 'C' and the configuration, or 'E' and its errors. */
static int reload_text(struct privsep *privsep)
{
    struct config_errors errors;
    struct config *config;
    int fd = memfd_create("configuration", MFD_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(dup(fd), "w");

    if (file == NULL) {
        if (fd >= 0)
            close(fd);
        return -ENOMEM;
    }
    if (config_load(privsep->path, &config, &errors) == 0) {
        fputc('C', file);
        config_print(config, file);
        config_free(&privsep->pending);
        privsep->pending = config;
    } else {
        fputc('E', file);
        for (size_t i = 0; i < errors.count; i++)
            fprintf(file, "%s\n", errors.lines[i]);
    }
    config_errors_free(&errors);
    fclose(file);
    return fd;
}

/* The pending reading is in force from now on, or forgotten. */
static int reload_end(struct privsep *privsep, bool taken)
{
    if (taken && privsep->pending != NULL) {
        config_free(&privsep->reread);
        privsep->config = privsep->reread = privsep->pending;
        privsep->pending = NULL;
    }
    config_free(&privsep->pending);
    return -EALREADY;               /* no descriptor */
}

static int serve(struct privsep *privsep, const struct request *request)
{
    const struct config *config = privsep->pending != NULL ? privsep->pending : privsep->config;

    switch (request->kind) {
    case REQUEST_RELOAD:
        return reload_text(privsep);
    case REQUEST_RELOAD_END:
        return reload_end(privsep, request->worker != 0);
    case REQUEST_LISTENER:
        return open_listener(config, request);
    case REQUEST_ACCESS_LOG:
        return open_access_log(config, request->balancer);
    case REQUEST_COOKIE_KEY:
        return open_cookie_key(config);
    }
    return -EINVAL;
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

/* An answer is a result, with a descriptor if it is not an error. */
static void answer_send(int to, int result)
{
    union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(int))]; } control = { 0 };
    struct iovec iov = { .iov_base = &result, .iov_len = sizeof(result) };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (result >= 0) {
        struct cmsghdr *c;
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &result, sizeof(int));
    }
    (void)!sendmsg(to, &message, MSG_NOSIGNAL);       /* the child has gone: SIGCHLD tells */
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
    if (message.msg_flags & MSG_CTRUNC)
        return -EMFILE;                 /* there was no number left for it */
    c = CMSG_FIRSTHDR(&message);
    if (c == NULL || c->cmsg_type != SCM_RIGHTS || result < 0)
        return result;
    memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    return fd;
}

static int ask(struct privsep *privsep, const struct request *request)
{
    if (privsep->parent < 0)
        return serve(privsep, request);
    if (send(privsep->parent, request, sizeof(*request), MSG_NOSIGNAL) < 0)
        return -errno;
    return answer_receive(privsep->parent);
}

int privsep_listener(struct privsep *privsep, unsigned balancer, unsigned subnet, unsigned listener, unsigned worker)
{
    struct request request = { REQUEST_LISTENER, balancer, subnet, listener, worker };

    return ask(privsep, &request);
}

static char *read_all(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = size < 0 ? NULL : malloc((size_t)size + 1);

    if (text != NULL && pread(fd, text, (size_t)size, 0) == size) {
        text[size] = '\0';
        return text;
    }
    free(text);
    return NULL;
}

static int reload_result(const struct privsep *privsep, const char *got, struct config **ret, char **text)
{
    struct config_errors errors;
    int r;

    if (got[0] == 'E') {
        *text = strdup(got + 1);
        return -EINVAL;
    }
    r = config_parse(got + 1, privsep->path, ret, &errors);
    if (r < 0)
        *text = strdup(errors.count > 0 ? errors.lines[0] : strerror(-r));
    config_errors_free(&errors);
    return r;
}

int privsep_reload(struct privsep *privsep, struct config **ret, char **text)
{
    struct request request = { .kind = REQUEST_RELOAD };
    int fd = ask(privsep, &request), r = -ENOMEM;
    char *got;

    *text = NULL;
    if (fd < 0)
        return fd;
    got = read_all(fd);
    close(fd);
    if (got != NULL)
        r = reload_result(privsep, got, ret, text);
    free(got);
    return r;
}

void privsep_reload_end(struct privsep *privsep, bool taken)
{
    struct request request = { .kind = REQUEST_RELOAD_END, .worker = taken };

    (void)ask(privsep, &request);
}

int privsep_access_log(struct privsep *privsep, unsigned balancer)
{
    struct request request = { .kind = REQUEST_ACCESS_LOG, .balancer = balancer };

    return ask(privsep, &request);
}

int privsep_cookie_key(struct privsep *privsep)
{
    struct request request = { .kind = REQUEST_COOKIE_KEY };

    return ask(privsep, &request);
}

int privsep_admin_socket(struct privsep *privsep)
{
    int fd = privsep->admin;

    privsep->admin = -ENOENT;
    return fd;
}

int privsep_state_dir(const struct privsep *privsep)
{
    return privsep->state_dir;
}

/* The parent */

static void serve_child(struct privsep *privsep, int child)
{
    struct request request;
    int result;

    if (recv(child, &request, sizeof(request), MSG_DONTWAIT) != (ssize_t)sizeof(request))
        return;
    result = serve(privsep, &request);
    answer_send(child, result);
    if (result >= 0)
        close(result);
}

/* As the child ended: the same code, or the same signal, so that a supervisor sees what happened. */
static void end_like(int status, const struct privsep *privsep)
{
    sigset_t set;

    if (privsep->admin >= 0)
        unlink(privsep->admin_path);
    if (WIFEXITED(status))
        _exit(WEXITSTATUS(status));
    log_error("the serving process ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    sigemptyset(&set);
    sigaddset(&set, WTERMSIG(status));
    signal(WTERMSIG(status), SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    kill(getpid(), WTERMSIG(status));
    _exit(3);
}

static void pass_signal(int signals, pid_t pid, const struct privsep *privsep)
{
    struct signalfd_siginfo info;
    int status;

    if (read(signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (info.ssi_signo != SIGCHLD)
        kill(pid, (int)info.ssi_signo);
    else if (waitpid(pid, &status, WNOHANG) == pid)
        end_like(status, privsep);
}

static void parent_signals(sigset_t *set)
{
    static const int passed[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD };

    sigemptyset(set);
    for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
        sigaddset(set, passed[i]);
}

static void parent_run(struct privsep *privsep, int child, pid_t pid, int signals) __attribute__((noreturn));
static void parent_run(struct privsep *privsep, int child, pid_t pid, int signals)
{
    struct pollfd fds[] = { { .fd = signals, .events = POLLIN }, { .fd = child, .events = POLLIN } };

    for (;;) {
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[0].revents != 0)
            pass_signal(signals, pid, privsep);
        if (fds[1].revents & POLLIN)
            serve_child(privsep, child);
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
        if (privsep->admin >= 0)
            close(privsep->admin);
        parent_run(privsep, pair[0], pid, signals);
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

/* As whom the work is done. */
static int user_find(struct privsep *privsep)
{
    const char *wanted = privsep->config->process.user;
    const struct passwd *user;

    if (geteuid() != 0 || strcmp(wanted, "root") == 0)
        return 0;
    user = user_of(privsep->config);
    if (user == NULL) {
        log_error("process.user: there is no user '%s' here; create it, or name one that exists", wanted[0] != '\0' ? wanted : "nobody");
        return -ENOENT;
    }
    privsep->uid = user->pw_uid;
    privsep->gid = user->pw_gid;
    return 0;
}

int privsep_start(const struct config *config, const char *path, struct privsep **ret)
{
    struct privsep *privsep = calloc(1, sizeof(*privsep));
    int r;

    if (privsep == NULL)
        return -ENOMEM;
    *privsep = (struct privsep){
        .config = config,
        .path = path,
        .admin_path = config->process.admin_socket,
        .parent = -1,
        .admin = -ENOENT,
        .uid = geteuid(),
        .gid = getegid(),
    };
    r = user_find(privsep);
    if (r == 0) {
        /* Files are made before there is anybody who could trick us with names in a folder of its own. */
        privsep->state_dir = make_state_dir(config, privsep->uid, privsep->gid);
        privsep->admin = open_admin_socket(config, privsep->uid, privsep->gid);
        if (privsep->uid != geteuid())
            r = split(privsep);
    }
    if (r < 0) {
        privsep_free(&privsep);
        return r;
    }
    *ret = privsep;
    return 0;
}

void privsep_free(struct privsep **privsep)
{
    struct privsep *p = *privsep;

    *privsep = NULL;
    if (p == NULL)
        return;
    if (p->parent >= 0)
        close(p->parent);
    if (p->admin >= 0) {                /* nobody has taken it */
        close(p->admin);
        unlink(p->admin_path);
    }
    config_free(&p->reread);
    config_free(&p->pending);
    free(p);
}
