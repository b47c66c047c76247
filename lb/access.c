/*
 * The access log's way from the workers to the files. Each worker has a ring of
 * bytes that it alone fills and the writer alone empties; neither waits for the
 * other. A full ring drops the line, a disk that fails drops what was to go there.
 *
 * The writer sleeps while nothing is queued. The first line wakes it; it gathers
 * for FLUSH_MS, or until a ring is half full, and takes everything at once.
 */
#include "lb/access.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/thread.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CACHE_LINE 64
#define FILES_MAX 256
#define RING_MIN 4096
#define RING_MAX (1024u * 1024 * 1024)
#define BATCH_BYTES (64 * 1024)             /* written when so much has come together, at the latest at the end of a pass */
#define BATCH_ROOM (2 * ACCESS_LINE_MAX)    /* the rest of a line that was begun, and one more */
#define FLUSH_MS 200
#define STALL_MS 1000       /* so long a pipe may not take bytes; after that its lines are dropped until it does */
#define QUIET_MS 1000       /* trouble that was not met for so long is over */
#define TELL_MS 10000       /* dropped lines are told at most so often */
#define US_PER_MS 1000

/* In a ring, before the bytes of its line. Its place is a multiple of its size, so it is never split. */
struct record {
    uint32_t len, file;
};

struct access_lines {
    alignas(CACHE_LINE) atomic_size_t head;         /* the worker's: bytes ever queued */
    atomic_uint_least64_t unknown;                  /* the worker's: lines dropped, their path was not attached */
    atomic_uint expected[FILES_MAX];                /* the worker's: lines begun for a file and not yet queued */
    struct access_log *log;
    char *bytes;
    size_t size;                                    /* a power of two */
    alignas(CACHE_LINE) atomic_size_t tail;         /* the writer's: bytes ever taken */
    size_t limit;                                   /* the writer's: where this pass ends */
    alignas(CACHE_LINE) char line[ACCESS_LINE_MAX]; /* the worker's scratch */
};

/* A lasting condition: logged when it begins and when it is over, not once a line. The writer's. */
struct trouble {
    bool holds;
    uint64_t last_us, dropped;
};

/* Paths stay known until the log stops, so that lines name them by their place in the table. */
struct file {
    char *path;
    atomic_uint_least64_t dropped;      /* lines, for whatever reason */
    int fd;                 /* -1: closed */
    bool leaving;           /* detached: to be closed after its last line, */
    bool left;              /* and that is in the rings by now */
    char *batch;            /* lines to be written; BATCH_ROOM bytes */
    size_t len;
    bool begun;             /* the file has the beginning of the batch's first line; the rest must follow */
    struct trouble trouble;

    bool ordered;           /* under the log's lock: next_fd is to replace fd; -1: it is detached */
    int next_fd;
};

enum writer_state { WRITER_BUSY, WRITER_SLEEPS, WRITER_GATHERS };

struct access_log {
    struct access_lines **workers;
    unsigned worker_count;
    struct file *_Atomic files[FILES_MAX];
    atomic_uint file_count;                 /* main alone adds */
    uint64_t told, told_us;                 /* the writer's: lines dropped that the log has told, and when */
    _Atomic enum writer_state state;
    atomic_bool ordered, stopping;
    int wake_fd;
    pthread_mutex_t lock;                   /* between main and the writer; never held across a write */
    struct thread thread;
};

/* ---- rings ---- */

static struct access_lines *lines_new(struct access_log *log, size_t size)
{
    struct access_lines *l = aligned_alloc(CACHE_LINE, sizeof(*l));
    if (l == NULL)
        return NULL;
    atomic_init(&l->head, 0);
    atomic_init(&l->tail, 0);
    atomic_init(&l->unknown, 0);
    for (size_t i = 0; i < FILES_MAX; i++)
        atomic_init(&l->expected[i], 0);
    l->log = log;
    l->size = size;
    l->limit = 0;
    l->bytes = malloc(size);
    if (l->bytes == NULL) {
        free(l);
        return NULL;
    }
    return l;
}

static void lines_free(struct access_lines *l)
{
    if (l == NULL)
        return;
    free(l->bytes);
    free(l);
}

static size_t record_size(size_t len)
{
    return (sizeof(struct record) + len + sizeof(struct record) - 1) & ~(sizeof(struct record) - 1);
}

static void ring_copy_in(struct access_lines *l, size_t at, const void *from, size_t len)
{
    size_t offset = at & (l->size - 1), first = l->size - offset < len ? l->size - offset : len;
    memcpy(l->bytes + offset, from, first);
    memcpy(l->bytes, (const char *)from + first, len - first);
}

static void ring_copy_out(const struct access_lines *l, size_t at, void *to, size_t len)
{
    size_t offset = at & (l->size - 1), first = l->size - offset < len ? l->size - offset : len;
    memcpy(to, l->bytes + offset, first);
    memcpy((char *)to + first, l->bytes, len - first);
}

static void wake(struct access_log *log)
{
    eventfd_write(log->wake_fd, 1);     /* fails only if it is full of wakes already */
}

/* Sequentially consistent with writer_wait(): either it sees the line, or we see that it waits. */
static void wake_for_line(struct access_log *log, size_t queued, size_t size)
{
    enum writer_state state = atomic_load(&log->state);
    if (state == WRITER_BUSY || (state == WRITER_GATHERS && queued <= size / 2))
        return;
    if (atomic_compare_exchange_strong(&log->state, &state, WRITER_BUSY))
        wake(log);
}

static struct file *file_at(const struct access_log *log, unsigned i)
{
    return atomic_load_explicit(&log->files[i], memory_order_acquire);
}

static void count_dropped(struct file *f, uint64_t dropped)
{
    atomic_fetch_add_explicit(&f->dropped, dropped, memory_order_relaxed);
}

static void lines_put(struct access_lines *l, unsigned file, size_t len)
{
    size_t head = atomic_load_explicit(&l->head, memory_order_relaxed);
    size_t queued = head - atomic_load_explicit(&l->tail, memory_order_acquire), size = record_size(len);
    struct record record = { .len = (uint32_t)len, .file = file };
    if (size > l->size - queued) {
        count_dropped(file_at(l->log, file), 1);
        wake_for_line(l->log, l->size, l->size);
        return;
    }
    ring_copy_in(l, head, &record, sizeof(record));
    ring_copy_in(l, head + sizeof(record), l->line, len);
    atomic_store(&l->head, head + size);
    wake_for_line(l->log, queued + size, l->size);
}

static int find_file(const struct access_log *log, const char *path)
{
    unsigned count = atomic_load_explicit(&log->file_count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++)
        if (strcmp(file_at(log, i)->path, path) == 0)
            return (int)i;
    return -ENOENT;
}

/* The worker alone writes its counts. Released, so that who sees a line no longer expected sees it queued. */
static void expect_more(struct access_lines *lines, unsigned file, int more)
{
    unsigned count = atomic_load_explicit(&lines->expected[file], memory_order_relaxed);
    atomic_store_explicit(&lines->expected[file], count + (unsigned)more, memory_order_release);
}

int access_expect(struct access_lines *lines, const char *path)
{
    int file = find_file(lines->log, path);
    if (file >= 0)
        expect_more(lines, (unsigned)file, 1);
    return file;
}

void access_add(struct access_lines *lines, int file, enum access_log_format format, const struct access_entry *entry)
{
    if (file < 0) {
        atomic_fetch_add_explicit(&lines->unknown, 1, memory_order_relaxed);
        wake_for_line(lines->log, 0, lines->size);
        return;
    }
    lines_put(lines, (unsigned)file, access_format(lines->line, format, entry));
    expect_more(lines, (unsigned)file, -1);
}

/* ---- troubles ---- */

/* Returns whether it has just begun. */
static bool trouble_met(struct trouble *t, uint64_t dropped)
{
    bool begins = !t->holds;
    t->holds = true;
    t->last_us = clock_monotonic_us();
    t->dropped += dropped;
    return begins;
}

static bool trouble_over(struct trouble *t)
{
    if (!t->holds || clock_monotonic_us() - t->last_us < QUIET_MS * US_PER_MS)
        return false;
    t->holds = false;
    return true;
}

static unsigned long long trouble_take(struct trouble *t)
{
    uint64_t dropped = t->dropped;
    t->dropped = 0;
    return dropped;
}

/* ---- files ---- */

static uint64_t count_lines(const char *bytes, size_t len)
{
    uint64_t count = 0;
    for (size_t i = 0; i < len; i++)
        count += bytes[i] == '\n';
    return count;
}

static void file_drop(struct file *f, uint64_t count, int err)
{
    count_dropped(f, count);
    if (trouble_met(&f->trouble, count))
        log_warning("access log %s: can not be written: %s; its lines are dropped and counted until it can", f->path, strerror(-err));
}

/* What `done` bytes of the batch leave: the rest of a line that was begun. Whole lines after it are dropped. */
static void file_keep_begun(struct file *f, size_t done, int err)
{
    size_t keep = 0;
    if (done > 0)
        f->begun = f->batch[done - 1] != '\n';
    if (f->begun)
        keep = (size_t)((char *)memchr(f->batch + done, '\n', f->len - done) - (f->batch + done)) + 1;
    file_drop(f, count_lines(f->batch + done + keep, f->len - done - keep), err);
    memmove(f->batch, f->batch + done, keep);
    f->len = keep;
}

/* 0: worth another try; -EAGAIN: takes nothing for too long. */
static int file_await(const struct file *f, uint64_t deadline_us)
{
    struct pollfd out = { .fd = f->fd, .events = POLLOUT };
    uint64_t now = clock_monotonic_us();
    if (now >= deadline_us)
        return -EAGAIN;
    return poll(&out, 1, (int)((deadline_us - now + US_PER_MS - 1) / US_PER_MS)) > 0 ? 0 : -EAGAIN;
}

static int file_write(const struct file *f, size_t *done, uint64_t deadline_us)
{
    ssize_t n = write(f->fd, f->batch + *done, f->len - *done);
    if (n > 0) {
        *done += (size_t)n;
        return 0;
    }
    if (n == 0)
        return -EIO;
    if (errno == EINTR)
        return 0;
    return errno == EAGAIN ? file_await(f, deadline_us) : -errno;
}

/* Once a file is in trouble it gets no more time: the others' lines wait behind it. */
static void file_flush(struct file *f)
{
    uint64_t deadline_us = clock_monotonic_us() + (f->trouble.holds ? 0 : STALL_MS * US_PER_MS);
    size_t done = 0;
    int r = 0;
    while (done < f->len && r == 0)
        r = file_write(f, &done, deadline_us);
    if (r < 0) {
        file_keep_begun(f, done, r);
        return;
    }
    if (f->len > 0 && trouble_over(&f->trouble))
        log_info("access log %s: written again; %llu lines were dropped", f->path, trouble_take(&f->trouble));
    f->len = 0;
    f->begun = false;
}

/* A last try for what was begun there; a line never goes on in another file. */
static void file_switch(struct file *f, int fd)
{
    if (f->len > 0)
        file_flush(f);
    if (f->len > 0)
        file_drop(f, 1, -EIO);
    if (f->fd >= 0)
        close(f->fd);
    f->fd = fd;
    f->leaving = false;
    f->len = 0;
    f->begun = false;
}

static void file_free(struct file *f)
{
    if (f == NULL)
        return;
    if (f->fd >= 0)
        close(f->fd);
    if (f->ordered && f->next_fd >= 0)
        close(f->next_fd);
    free(f->batch);
    free(f->path);
    free(f);
}

static struct file *file_new(const char *path)
{
    struct file *f = calloc(1, sizeof(*f));
    if (f == NULL)
        return NULL;
    f->fd = -1;
    f->path = strdup(path);
    f->batch = malloc(BATCH_ROOM);
    if (f->path == NULL || f->batch == NULL) {
        file_free(f);
        return NULL;
    }
    return f;
}

uint64_t access_dropped(const struct access_log *log)
{
    unsigned count = atomic_load_explicit(&log->file_count, memory_order_acquire);
    uint64_t dropped = 0;
    for (unsigned i = 0; i < count; i++)
        dropped += atomic_load_explicit(&file_at(log, i)->dropped, memory_order_relaxed);
    for (unsigned i = 0; i < log->worker_count; i++)
        dropped += atomic_load_explicit(&log->workers[i]->unknown, memory_order_relaxed);
    return dropped;
}

/* ---- the writer ---- */

/* Whether any ring holds something, or more than its half. */
static bool rings_hold(struct access_log *log, bool half)
{
    for (unsigned i = 0; i < log->worker_count; i++) {
        struct access_lines *l = log->workers[i];
        size_t queued = atomic_load(&l->head) - atomic_load_explicit(&l->tail, memory_order_relaxed);
        if (queued > (half ? l->size / 2 : 0))
            return true;
    }
    return false;
}

/* What comes late for a closed file is no trouble, only dropped. */
static void file_take(struct file *f, const struct access_lines *l, size_t at, size_t len)
{
    if (f->fd < 0) {
        count_dropped(f, 1);
        return;
    }
    if (f->len >= BATCH_BYTES)
        file_flush(f);
    assert(f->len + len <= BATCH_ROOM);
    ring_copy_out(l, at, f->batch + f->len, len);
    f->len += len;
}

static void take_line(struct access_log *log, struct access_lines *l)
{
    size_t tail = atomic_load_explicit(&l->tail, memory_order_relaxed);
    struct record record;
    struct file *f;
    ring_copy_out(l, tail, &record, sizeof(record));
    f = file_at(log, record.file);
    file_take(f, l, tail + sizeof(record), record.len);
    atomic_store_explicit(&l->tail, tail + record_size(record.len), memory_order_release);
}

static bool take_order(struct access_log *log, struct file *f, int *fd)
{
    bool ordered;
    pthread_mutex_lock(&log->lock);
    ordered = f->ordered;
    *fd = f->next_fd;
    f->ordered = false;
    pthread_mutex_unlock(&log->lock);
    return ordered;
}

static void take_orders(struct access_log *log)
{
    unsigned count;
    if (!atomic_exchange(&log->ordered, false))
        return;
    count = atomic_load_explicit(&log->file_count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++) {
        struct file *f = file_at(log, i);
        int fd;
        if (!take_order(log, f, &fd))
            continue;
        if (fd >= 0)
            file_switch(f, fd);
        else
            f->leaving = f->fd >= 0;
    }
}

static bool is_expected(struct access_log *log, unsigned file)
{
    for (unsigned i = 0; i < log->worker_count; i++)
        if (atomic_load_explicit(&log->workers[i]->expected[file], memory_order_acquire) > 0)
            return true;
    return false;
}

/* Before the heads are read: what is no longer expected is among what they count. */
static void see_who_left(struct access_log *log)
{
    unsigned count = atomic_load_explicit(&log->file_count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++) {
        struct file *f = file_at(log, i);
        f->left = f->leaving && !is_expected(log, i);
    }
}

static void flush_all(struct access_log *log)
{
    unsigned count = atomic_load_explicit(&log->file_count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++) {
        struct file *f = file_at(log, i);
        if (f->len > 0)
            file_flush(f);
        if (f->left && f->leaving)
            file_switch(f, -1);
    }
}

/* What has been dropped is told at once, but not again for a while. */
static void tell_dropped(struct access_log *log, bool last)
{
    uint64_t dropped = access_dropped(log), fresh = dropped - log->told, now = clock_monotonic_us();
    if (fresh == 0 || (!last && log->told > 0 && now - log->told_us < TELL_MS * US_PER_MS))
        return;
    log_warning("access log: %llu line%s dropped, %llu since the start: they came faster than they could be written, or could not be written",
                (unsigned long long)fresh, fresh == 1 ? "" : "s", (unsigned long long)dropped);
    log->told = dropped;
    log->told_us = now;
}

/* Orders are looked at after the heads: what was added after an order is taken under it. */
static void pass(struct access_log *log, bool last)
{
    see_who_left(log);
    for (unsigned i = 0; i < log->worker_count; i++)
        log->workers[i]->limit = atomic_load(&log->workers[i]->head);
    take_orders(log);
    for (unsigned i = 0; i < log->worker_count; i++) {
        struct access_lines *l = log->workers[i];
        while (atomic_load_explicit(&l->tail, memory_order_relaxed) != l->limit)
            take_line(log, l);
    }
    flush_all(log);
    tell_dropped(log, last);
}

/* Lines that were begun, files to be closed, drops to be told: looked at again without anything new having come. */
static bool unfinished(struct access_log *log)
{
    unsigned count = atomic_load_explicit(&log->file_count, memory_order_acquire);
    bool found = access_dropped(log) > log->told;
    for (unsigned i = 0; i < count && !found; i++)
        found = file_at(log, i)->len > 0 || file_at(log, i)->leaving;
    return found;
}

static void await_wake(struct access_log *log, int timeout_ms)
{
    struct pollfd in = { .fd = log->wake_fd, .events = POLLIN };
    eventfd_t count;
    if (poll(&in, 1, timeout_ms) > 0)
        eventfd_read(log->wake_fd, &count);
}

static bool is_ordered(struct access_log *log)
{
    return atomic_load(&log->ordered) || atomic_load(&log->stopping);
}

static void writer_wait(struct access_log *log)
{
    atomic_store(&log->state, WRITER_SLEEPS);
    if (!rings_hold(log, false) && !is_ordered(log))
        await_wake(log, unfinished(log) ? QUIET_MS : -1);
    atomic_store(&log->state, WRITER_GATHERS);
    if (!rings_hold(log, true) && !is_ordered(log))
        await_wake(log, FLUSH_MS);
    atomic_store(&log->state, WRITER_BUSY);
}

static void *writer_main(void *arg)
{
    struct access_log *log = arg;
    bool stopping;
    do {
        stopping = atomic_load(&log->stopping);
        pass(log, stopping);
        if (!stopping)
            writer_wait(log);
    } while (!stopping);
    return NULL;
}

/* ---- main's ---- */

static size_t round_up(size_t bytes)
{
    size_t size = RING_MIN;
    while (size < bytes)
        size *= 2;
    return size;
}

static void log_free(struct access_log *log)
{
    unsigned files = atomic_load_explicit(&log->file_count, memory_order_relaxed);
    for (unsigned i = 0; i < log->worker_count; i++)
        lines_free(log->workers[i]);
    for (unsigned i = 0; i < files; i++)
        file_free(file_at(log, i));
    if (log->wake_fd >= 0)
        close(log->wake_fd);
    pthread_mutex_destroy(&log->lock);
    free(log->workers);
    free(log);
}

int access_log_start(unsigned worker_count, size_t bytes, struct access_log **ret)
{
    struct access_log *log;
    int r = -ENOMEM;
    assert(worker_count > 0);
    if (bytes > RING_MAX)
        return -EINVAL;
    log = calloc(1, sizeof(*log));
    if (log == NULL)
        return -ENOMEM;
    pthread_mutex_init(&log->lock, NULL);
    log->wake_fd = -1;
    log->workers = calloc(worker_count, sizeof(*log->workers));
    if (log->workers == NULL)
        goto out;
    for (; log->worker_count < worker_count; log->worker_count++) {
        log->workers[log->worker_count] = lines_new(log, round_up(bytes));
        if (log->workers[log->worker_count] == NULL)
            goto out;
    }
    log->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (log->wake_fd < 0) {
        r = -errno;
        goto out;
    }
    r = thread_start(&log->thread, "halb-access", writer_main, log);
    if (r < 0)
        goto out;
    *ret = log;
    log = NULL;
out:
    if (log != NULL)
        log_free(log);
    return r;
}

void access_log_stop(struct access_log **log)
{
    struct access_log *l = *log;
    if (l == NULL)
        return;
    *log = NULL;
    atomic_store(&l->stopping, true);
    wake(l);
    thread_join(&l->thread);
    log_free(l);
}

static void order(struct access_log *log, struct file *f, int fd)
{
    int unused;
    pthread_mutex_lock(&log->lock);
    unused = f->ordered ? f->next_fd : -1;
    f->ordered = true;
    f->next_fd = fd;
    pthread_mutex_unlock(&log->lock);
    if (unused >= 0)
        close(unused);
    atomic_store(&log->ordered, true);
    wake(log);
}

static int add_file(struct access_log *log, const char *path, int fd)
{
    unsigned count = atomic_load_explicit(&log->file_count, memory_order_relaxed);
    struct file *f;
    if (count == FILES_MAX)
        return -ENOSPC;
    f = file_new(path);
    if (f == NULL)
        return -ENOMEM;
    f->fd = fd;
    atomic_store_explicit(&log->files[count], f, memory_order_release);
    atomic_store_explicit(&log->file_count, count + 1, memory_order_release);
    return 0;
}

int access_log_attach(struct access_log *log, const char *path, int fd)
{
    int known = find_file(log, path), flags, r;
    assert(fd >= 0);
    flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);     /* a pipe's reader may stop reading */
    if (known >= 0) {
        order(log, file_at(log, (unsigned)known), fd);
        return 0;
    }
    r = add_file(log, path, fd);
    if (r < 0)
        close(fd);
    return r;
}

static bool logs_to(const struct config *config, const char *path)
{
    for (size_t i = 0; i < config->balancer_count; i++) {
        const struct config_access_log *to = &config->balancers[i].attributes.access_log;
        if (to->enabled && strcmp(to->path, path) == 0)
            return true;
    }
    return false;
}

void access_log_retain(struct access_log *log, const struct config *config)
{
    unsigned count = atomic_load_explicit(&log->file_count, memory_order_relaxed);
    for (unsigned i = 0; i < count; i++)
        if (!logs_to(config, file_at(log, i)->path))
            order(log, file_at(log, i), -1);
}

struct access_lines *access_log_lines(struct access_log *log, unsigned worker)
{
    assert(worker < log->worker_count);
    return log->workers[worker];
}

uint64_t access_log_dropped(const struct access_log *log, const char *path)
{
    int file = find_file(log, path);
    return file < 0 ? 0 : atomic_load_explicit(&file_at(log, (unsigned)file)->dropped, memory_order_relaxed);
}
