#include "lb/privsep.h"
#include "common/log.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/common/sockets.h"
/*
 * The split leaves a parent that never returns, so each row has a process of
 * its own: what it forks into looks at itself and ends with the number of
 * the first line that did not hold, or as the row says; the parent must end the same way.
 */
#define MUST(condition)                                                     \
    do {                                                                    \
        if (!(condition)) {                                                 \
            dprintf(STDOUT_FILENO, "line %d: %s\n", __LINE__, #condition);  \
            _exit(99);                                                      \
        }                                                                   \
    } while (0)

struct place {
    struct config config;
    struct config_balancer balancer;
    struct config_subnet subnet;
    struct config_listener listener;
    char dir[64], socket[96], state[96];
    uid_t owner;                /* of what is there before */
};

static void setup(struct place *p, const char *user)
{
    struct addr at;
    int fd = listening_socket(&at);
    *p = (struct place){ .config = { .balancers = &p->balancer, .balancer_count = 1 } };
    p->balancer = (struct config_balancer){ .name = "lb", .subnets = &p->subnet, .subnet_count = 1, .listeners = &p->listener, .listener_count = 1 };
    p->listener.port = addr_port(&at);
    p->subnet.address = addr_with_port(at, 0);
    close(fd);
    strcpy(p->dir, "/tmp/halb-test-privsep-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    assert_int_equal(chmod(p->dir, 0755), 0);
    snprintf(p->socket, sizeof(p->socket), "%s/run/halb.sock", p->dir);
    snprintf(p->state, sizeof(p->state), "%s/state", p->dir);
    p->owner = geteuid() == 0 && strcmp(user, "nobody") == 0 ? getpwnam("nobody")->pw_uid : geteuid();
    p->config.process = (struct config_process){ .user = user, .admin_socket = p->socket, .state_dir = p->state };
}

static void teardown(struct place *p)
{
    char run[96];
    snprintf(run, sizeof(run), "%s/run", p->dir);
    unlink(p->socket);
    rmdir(run);
    rmdir(p->state);
    assert_int_equal(rmdir(p->dir), 0);
}

static unsigned long long capabilities(const char *kind)
{
    unsigned long long value = 1;
    char line[256];
    FILE *f = fopen("/proc/self/status", "re");
    MUST(f != NULL);
    while (fgets(line, sizeof(line), f) != NULL)
        if (strncmp(line, kind, strlen(kind)) == 0)
            value = strtoull(line + strlen(kind), NULL, 16);
    fclose(f);
    return value;
}

static void look_at_rights(struct place *p, struct privsep *privsep, pid_t before)
{
    const struct passwd *nobody = getpwnam("nobody");
    uid_t uid, euid, saved;
    gid_t gid, egid, saved_gid;
    (void)p;
    (void)privsep;
    MUST(getppid() == before);
    MUST(getresuid(&uid, &euid, &saved) == 0 && getresgid(&gid, &egid, &saved_gid) == 0);
    MUST(uid == nobody->pw_uid && euid == uid && saved == uid);
    MUST(gid == nobody->pw_gid && egid == gid && saved_gid == gid);
    MUST(getgroups(0, NULL) == 0);
    MUST(capabilities("CapPrm:") == 0);
    MUST(capabilities("CapEff:") == 0);
    MUST(capabilities("CapBnd:") == 0);
    MUST(capabilities("CapInh:") == 0);
    MUST(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    MUST(setuid(0) < 0 && errno == EPERM);
    MUST(open("/etc/shadow", O_RDONLY) < 0 && errno == EACCES);
}

static void look_at_listeners(struct place *p, struct privsep *privsep, pid_t before)
{
    struct addr at = addr_with_port(p->subnet.address, p->listener.port), named;
    socklen_t len = sizeof(named.in), size = sizeof(int);
    int first, second, client, listens = 0;
    (void)before;
    first = privsep_listener(privsep, 0, 0, 0, 0);
    second = privsep_listener(privsep, 0, 0, 0, 1);
    MUST(first >= 0 && second >= 0 && first != second);
    MUST(getsockname(first, &named.sa, &len) == 0 && addr_port(&named) == p->listener.port);
    MUST(getsockopt(second, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens == 1);
    MUST((fcntl(first, F_GETFD) & FD_CLOEXEC) != 0);
    client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(connect(client, &at.sa, addr_len(&at)) == 0);
}

static void look_at_refusals(struct place *p, struct privsep *privsep, pid_t before)
{
    (void)p;
    (void)before;
    MUST(privsep_listener(privsep, 1, 0, 0, 0) == -ENOENT);
    MUST(privsep_listener(privsep, 0, 1, 0, 0) == -ENOENT);
    MUST(privsep_listener(privsep, 0, 0, 1, 0) == -ENOENT);
    MUST(privsep_listener(privsep, UINT32_MAX, UINT32_MAX, UINT32_MAX, 0) == -ENOENT);
    MUST(privsep_listener(privsep, 0, 0, 0, 0) >= 0);           /* and it still serves */
}

static void look_at_a_stranger(struct place *p, struct privsep *privsep, pid_t before)
{
    struct addr at = addr_with_port(p->subnet.address, p->listener.port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    (void)before;
    MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) == 0);
    MUST(bind(fd, &at.sa, addr_len(&at)) == 0 && listen(fd, 1) == 0);
    MUST(privsep_listener(privsep, 0, 0, 0, 0) == -EADDRINUSE); /* although SO_REUSEPORT would have let us in */
}

static bool connects(const char *path)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool done;
    strcpy(at.sun_path, path);
    done = connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
    close(fd);
    return done;
}

static void look_at_files(struct place *p, struct privsep *privsep, pid_t before)
{
    struct stat st;
    int fd = privsep_admin_socket(privsep);
    (void)before;
    MUST(fd >= 0);
    MUST(connects(p->socket));
    MUST(stat(p->socket, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 0777) == 0660);
    MUST(privsep_admin_socket(privsep) == -ENOENT);             /* ours, once */
    MUST(privsep_state_dir(privsep) == 0);
    MUST(stat(p->state, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 0777) == 0700);
}

static void look_at_a_served_socket(struct place *p, struct privsep *privsep, pid_t before)
{
    (void)before;
    MUST(privsep_admin_socket(privsep) == -EADDRINUSE);
    MUST(connects(p->socket));                                  /* and it is left alone */
}

static void end_by_code(struct place *p, struct privsep *privsep, pid_t before)
{
    (void)p;
    (void)privsep;
    (void)before;
    _exit(42);
}

static void end_by_signal(struct place *p, struct privsep *privsep, pid_t before)
{
    (void)p;
    (void)privsep;
    (void)before;
    signal(SIGKILL, SIG_DFL);
    raise(SIGKILL);
}

static void closed_parent_socket(struct place *p, struct privsep *privsep, pid_t before)
{
    (void)p;
    (void)before;
    privsep_free(&privsep);
    MUST(privsep == NULL);
    _exit(7);           /* the parent waits for our end, not for the socket's */
}

static volatile sig_atomic_t told;
static void on_term(int number)
{
    told = number;
}

static void passed_signal(struct place *p, struct privsep *privsep, pid_t before)
{
    sigset_t block, open;
    (void)p;
    (void)privsep;
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    MUST(sigprocmask(SIG_BLOCK, &block, &open) == 0);
    sigdelset(&open, SIGTERM);
    signal(SIGTERM, on_term);
    MUST(kill(before, 0) == 0 || errno == EPERM);
    dprintf(STDERR_FILENO, "R");
    while (!told)
        sigsuspend(&open);
    MUST(told == SIGTERM);
}

/* What is at the control socket's path before: somebody who serves it, or what is left of him. */
enum left_over { LEFT_NOTHING, LEFT_STALE, LEFT_SERVED };

static int leave(const struct place *p, enum left_over what)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    char run[96];
    int fd;
    if (what == LEFT_NOTHING)
        return -1;
    snprintf(run, sizeof(run), "%s/run", p->dir);
    assert_int_equal(mkdir(run, 0755), 0);
    assert_int_equal(mkdir(p->state, 0700), 0);
    assert_int_equal(chown(p->state, p->owner, (gid_t)-1), 0);
    strcpy(at.sun_path, p->socket);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(chown(p->socket, p->owner, (gid_t)-1), 0);
    assert_int_equal(listen(fd, 128), 0);
    if (what == LEFT_SERVED)
        return fd;
    close(fd);
    return -1;
}

static const struct split_row {
    const char *name, *user;
    void (*look)(struct place *p, struct privsep *privsep, pid_t before);
    int code, signal_;          /* how both end */
    enum left_over left_over;
} splits[] = {
    { "every right is gone",                                "nobody", look_at_rights, 0, 0, LEFT_NOTHING },
    { "listeners come from the parent, one a worker",       "nobody", look_at_listeners, 0, 0, LEFT_NOTHING },
    { "what the configuration has not is refused",          "nobody", look_at_refusals, 0, 0, LEFT_NOTHING },
    { "a stranger at the address",                          "nobody", look_at_a_stranger, 0, 0, LEFT_NOTHING },
    { "the control socket and the state directory",         "nobody", look_at_files, 0, 0, LEFT_NOTHING },
    { "a stale control socket is replaced",                 "nobody", look_at_files, 0, 0, LEFT_STALE },
    { "a control socket that is served is left alone",      "nobody", look_at_a_served_socket, 0, 0, LEFT_SERVED },
    { "the parent ends with the child's code",              "nobody", end_by_code, 42, 0, LEFT_NOTHING },
    { "the parent ends by the child's signal",              "nobody", end_by_signal, 0, SIGKILL, LEFT_NOTHING },
    { "the parent outlives the socket",                     "nobody", closed_parent_socket, 7, 0, LEFT_NOTHING },
    { "in place: listeners",                                "root", look_at_listeners, 0, 0, LEFT_NOTHING },
    { "in place: what the configuration has not is refused", "root", look_at_refusals, 0, 0, LEFT_NOTHING },
    { "in place: a stranger at the address",                "root", look_at_a_stranger, 0, 0, LEFT_NOTHING },
    { "in place: the control socket and the state directory", "root", look_at_files, 0, 0, LEFT_NOTHING },
    { "in place: a stale control socket is replaced",       "root", look_at_files, 0, 0, LEFT_STALE },
    { "in place: a control socket that is served",          "root", look_at_a_served_socket, 0, 0, LEFT_SERVED },
};

static void run(struct place *p, void (*look)(struct place *, struct privsep *, pid_t)) __attribute__((noreturn));
static void run(struct place *p, void (*look)(struct place *, struct privsep *, pid_t))
{
    struct privsep *privsep;
    pid_t before = getpid();
    MUST(privsep_start(&p->config, "-", &privsep) == 0);
    look(p, privsep, before);
    _exit(0);
}

static void test_split(void **state)
{
    const struct split_row *row = *state;
    struct place p;
    int status, left;
    pid_t pid;
    if (geteuid() != 0 && strcmp(row->user, "root") != 0)
        skip();
    setup(&p, row->user);
    left = leave(&p, row->left_over);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        run(&p, row->look);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (left >= 0)
        close(left);
    teardown(&p);
    assert_int_equal(WIFSIGNALED(status) ? WTERMSIG(status) : 0, row->signal_);
    assert_int_equal(WIFEXITED(status) ? WEXITSTATUS(status) : 0, row->code);
}

static void test_signals_are_passed_on(void **state)
{
    struct place p;
    int status, pipe_[2];
    char ready;
    pid_t pid;
    (void)state;
    if (geteuid() != 0)
        skip();
    setup(&p, "nobody");
    fflush(NULL);
    assert_int_equal(pipe2(pipe_, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(pipe_[1], STDERR_FILENO);
        run(&p, passed_signal);
    }
    assert_int_equal(read(pipe_[0], &ready, 1), 1);
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(pipe_[0]);
    close(pipe_[1]);
    teardown(&p);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_no_such_user(void **state)
{
    struct privsep *privsep = NULL;
    struct place p;
    (void)state;
    if (geteuid() != 0)
        skip();
    setup(&p, "halb-test-nobody-has-this-name");
    log_open(LOG_ERROR);
    assert_int_equal(privsep_start(&p.config, "-", &privsep), -ENOENT);
    assert_null(privsep);
    teardown(&p);
}

int main(void)
{
    static struct CMUnitTest tests[32];
    size_t count = 0;
    for (size_t i = 0; i < sizeof(splits) / sizeof(splits[0]); i++)
        tests[count++] = (struct CMUnitTest){ .name = splits[i].name, .test_func = test_split, .initial_state = (void *)&splits[i] };
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_signals_are_passed_on);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_no_such_user);
    return _cmocka_run_group_tests("privsep", tests, count, NULL, NULL);
}
