/*
 * A child takes the next track from a counter that all share, and writes there what it is at, so that the parent knows what it died of.
 * What a child prints goes to a file in memory, emptied before each run.
 */
#include "tests/sim/jobs.h"
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HANG_S 60               /* of one run; a run takes milliseconds */
#define LAST_WORDS_S 10         /* to show its trace, once it hangs */
#define OUTPUT_MOST (4u << 20)  /* the end of it, if there is more */

/* Shared with one child, which writes. */
struct desk {
    _Atomic uint64_t track, step;       /* at work or, step 0, not */
    _Atomic uint64_t begun_ms;
    uint64_t runs;
    struct rig_figures sum;
};

struct child {
    pid_t pid;                  /* 0: none */
    int output;
    struct desk *desk;
    uint64_t told_ms;           /* when it was told that it hangs; 0: it does not */
    uint64_t failed_track;      /* the last that failed here, */
    unsigned track_failures;    /* and how often */
};

static struct shared {
    _Atomic uint64_t next;
    atomic_bool stop;
} *shared;

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void give_up(const char *what)
{
    perror(what);
    exit(2);
}

static void *share(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        give_up("mmap");
    return at;
}

/* ---- in the child ---- */

static void desk_begin(struct desk *desk, uint64_t track, uint64_t step)
{
    fflush(stdout);
    if (ftruncate(STDOUT_FILENO, 0) < 0)
        give_up("ftruncate");
    desk->begun_ms = now_ms();
    desk->track = track;
    desk->step = step;
}

static void desk_end(struct desk *desk)
{
    struct rig_figures figures = rig_figures();

    desk->step = 0;
    desk->runs++;
    desk->sum.simulated_us += figures.simulated_us;
    desk->sum.steps += figures.steps;
    desk->sum.requests += figures.requests;
    desk->sum.answers_5xx += figures.answers_5xx;
    desk->sum.faults += figures.faults;
}

static void track_run(const struct jobs *jobs, struct desk *desk, uint64_t track, uint64_t step)
{
    bool more = true;

    while (more && !shared->stop) {
        desk_begin(desk, track, step);
        more = jobs->run(jobs->arg, track, step);
        desk_end(desk);
        step++;
    }
}

static void child_run(const struct jobs *jobs, struct desk *desk, uint64_t track, uint64_t step)
{
    if (step > 0)
        track_run(jobs, desk, track, step);
    while (!shared->stop && (track = shared->next++) < jobs->tracks)
        track_run(jobs, desk, track, 1);
}

static void child_attach(int output, pid_t parent)
{
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0)
        _exit(2);
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
}

/* Returns twice, as fork() does: true in the child. */
static bool child_start(struct child *child)
{
    pid_t parent = getpid();

    child->output = memfd_create("output", MFD_CLOEXEC);
    if (child->output < 0 || fcntl(child->output, F_SETFL, O_APPEND) < 0)
        give_up("memfd_create");
    fflush(stdout);
    child->told_ms = 0;
    child->pid = fork();
    if (child->pid < 0)
        give_up("fork");
    if (child->pid == 0)
        child_attach(child->output, parent);
    return child->pid == 0;
}

/* ---- in the parent: how one ended ---- */

static void read_output(int fd, struct job_death *death)
{
    off_t size = lseek(fd, 0, SEEK_END), from = size > OUTPUT_MOST ? size - OUTPUT_MOST : 0;
    char *text = malloc((size_t)(size - from) + 1);
    ssize_t n;

    if (text == NULL)
        give_up("output");
    n = pread(fd, text, (size_t)(size - from), from);
    death->len = n < 0 ? 0 : (size_t)n;
    text[death->len] = '\0';
    death->output = text;
}

static void child_end(struct child *child, int status, struct job_death *death)
{
    if (child->told_ms != 0)
        snprintf(death->how, sizeof(death->how), "hangs");
    else if (WIFSIGNALED(status))
        snprintf(death->how, sizeof(death->how), "signal %d", WTERMSIG(status));
    else
        snprintf(death->how, sizeof(death->how), "exit status %d", WEXITSTATUS(status));
    read_output(child->output, death);
    close(child->output);
    child->pid = 0;
}

void job_death_free(struct job_death *death)
{
    free((char *)death->output);
    death->output = NULL;
}

/* Its abort() shows the trace's end; a child that can not even do that is killed. */
static void child_look(struct child *child)
{
    uint64_t now = now_ms();

    if (child->told_ms == 0 && child->desk->step != 0 && now > child->desk->begun_ms + HANG_S * 1000) {
        child->told_ms = now;
        kill(child->pid, SIGABRT);
    } else if (child->told_ms != 0 && now > child->told_ms + LAST_WORDS_S * 1000) {
        kill(child->pid, SIGKILL);
    }
}

static void wait_for_children(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigtimedwait(&set, NULL, &(struct timespec){ .tv_sec = 1 });
}

static void block_sigchld(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

/* ---- many ---- */

struct crew {
    const struct jobs *jobs;
    struct child *children;
    unsigned alive;
    struct jobs_result *result;
};

static void crew_start(struct crew *crew, unsigned index, uint64_t track, uint64_t step)
{
    struct child *child = &crew->children[index];

    child->desk->begun_ms = now_ms();
    if (child_start(child)) {
        child_run(crew->jobs, child->desk, track, step);
        exit(0);
    }
    crew->alive++;
}

/* A child is at its track until it ends, so it is failures of one after the other that count. */
static bool track_goes_on(const struct crew *crew, struct child *child, uint64_t track)
{
    child->track_failures = child->failed_track == track ? child->track_failures + 1 : 1;
    child->failed_track = track;
    return child->track_failures < crew->jobs->track_failures_most;
}

static void crew_lost(struct crew *crew, unsigned index, int status)
{
    struct child *child = &crew->children[index];
    uint64_t track = child->desk->track, step = child->desk->step;
    struct job_death death;

    child_end(child, status, &death);
    crew->result->failures++;
    crew->jobs->died(crew->jobs->arg, track, step, &death);
    job_death_free(&death);
    if (crew->jobs->failures_most > 0 && crew->result->failures >= crew->jobs->failures_most)
        shared->stop = true;
    child->desk->step = 0;
    if (!shared->stop && step > 0 && track_goes_on(crew, child, track))
        crew_start(crew, index, track, step + 1);
    else if (!shared->stop)
        crew_start(crew, index, 0, 0);
}

static void crew_look(struct crew *crew)
{
    for (unsigned i = 0; i < crew->jobs->processes; i++) {
        struct child *child = &crew->children[i];
        int status;
        if (child->pid == 0)
            continue;
        child_look(child);
        if (waitpid(child->pid, &status, WNOHANG) != child->pid)
            continue;
        crew->alive--;
        if (status != 0 || child->desk->step != 0)      /* no run may end the process, were it with 0 */
            crew_lost(crew, i, status);
        else {
            close(child->output);
            child->pid = 0;
        }
    }
}

static void crew_add_up(const struct crew *crew)
{
    struct jobs_result *result = crew->result;

    for (unsigned i = 0; i < crew->jobs->processes; i++) {
        const struct desk *desk = crew->children[i].desk;
        result->runs += desk->runs;
        result->sum.simulated_us += desk->sum.simulated_us;
        result->sum.steps += desk->sum.steps;
        result->sum.requests += desk->sum.requests;
        result->sum.answers_5xx += desk->sum.answers_5xx;
        result->sum.faults += desk->sum.faults;
    }
    result->runs += result->failures;
}

void jobs_run(const struct jobs *jobs, struct jobs_result *ret)
{
    struct crew crew = { .jobs = jobs, .result = ret };
    struct desk *desks = share(jobs->processes * sizeof(*desks));
    uint64_t begun_ms = now_ms();

    *ret = (struct jobs_result){ .runs = 0 };
    shared = share(sizeof(*shared));
    crew.children = calloc(jobs->processes, sizeof(*crew.children));
    if (crew.children == NULL)
        give_up("children");
    block_sigchld();
    for (unsigned i = 0; i < jobs->processes; i++) {
        crew.children[i] = (struct child){ .desk = &desks[i], .failed_track = UINT64_MAX };
        crew_start(&crew, i, 0, 0);
    }
    while (crew.alive > 0) {
        wait_for_children();
        crew_look(&crew);
    }
    crew_add_up(&crew);
    ret->wall_s = (double)(now_ms() - begun_ms) / 1000;
    free(crew.children);
    munmap(desks, jobs->processes * sizeof(*desks));
    munmap(shared, sizeof(*shared));
}

/* ---- one ---- */

bool job_once(void (*run)(void *arg), void *arg, struct job_death *death)
{
    struct child child = { .desk = share(sizeof(struct desk)) };
    bool held;
    int status;

    block_sigchld();
    child.desk->begun_ms = now_ms();
    child.desk->step = 1;
    if (child_start(&child)) {
        run(arg);
        child.desk->step = 0;
        exit(0);
    }
    while (waitpid(child.pid, &status, WNOHANG) != child.pid) {
        wait_for_children();
        child_look(&child);
    }
    child_end(&child, status, death);
    held = status == 0 && child.desk->step == 0;
    munmap(child.desk, sizeof(struct desk));
    if (held)
        job_death_free(death);
    return held;
}

/* ---- what failed ---- */

/* The most telling first. */
static const char *const tokens[] = { "SUMMARY: ", "Assertion `", "runtime error: ", "ERROR: ", "FAILED: " };

static const char *telling(const char *output)
{
    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        const char *at = strstr(output, tokens[i]);
        if (at != NULL)
            return at;
    }
    return NULL;
}

void job_death_line(const struct job_death *death, char *line, size_t size)
{
    const char *at = telling(death->output), *begin;

    if (at == NULL || strcmp(death->how, "hangs") == 0) {
        snprintf(line, size, "%s", death->how);
        return;
    }
    begin = at;
    while (begin > death->output && begin[-1] != '\n')
        begin--;
    snprintf(line, size, "%.*s", (int)strcspn(begin, "\n"), begin);
}

void job_death_key(const struct job_death *death, char *key, size_t size)
{
    char line[1024];
    size_t len = 0;

    job_death_line(death, line, sizeof(line));
    for (const char *at = line; *at != '\0' && len + 1 < size;) {
        size_t hex = strncmp(at, "0x", 2) == 0 ? 2 + strspn(at + 2, "0123456789abcdef") : 0;
        size_t number = hex > 0 ? hex : strspn(at, "0123456789");
        key[len++] = number > 0 ? '#' : *at;
        at += number > 0 ? number : 1;
    }
    key[len] = '\0';
}

void job_death_print_end(const struct job_death *death, unsigned lines)
{
    const char *at = death->output + death->len;

    if (at > death->output && at[-1] == '\n')
        at--;
    while (at > death->output && (at[-1] != '\n' || --lines > 0))
        at--;
    fputs(at, stdout);
    if (death->len > 0 && death->output[death->len - 1] != '\n')
        putchar('\n');
}

void jobs_result_print(const char *what, const struct jobs_result *result)
{
    double hours = (double)result->sum.simulated_us / 3.6e9, wall_s = result->wall_s > 0 ? result->wall_s : 0.001;

    printf("%s: %" PRIu64 " runs, %" PRIu64 " failed; %.1f simulated hours in %.1f s, %.1f hours a second; %.2f simulated days in all; "
           "%" PRIu64 " requests (%" PRIu64 " answers 5xx), %" PRIu64 " faults\n",
           what, result->runs, result->failures, hours, wall_s, hours / wall_s, hours / 24, result->sum.requests, result->sum.answers_5xx,
           result->sum.faults);
}
