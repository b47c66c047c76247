/* Rings: the functions of liburing that halb calls, and behind them the two queues and the wait. */
#include "tests/sim/kernel_uring.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 32768
#define FEATURES 0x1fff         /* as of 6.1 */
#define SETUP_KNOWN (IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN | \
                     IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP)
#define PROBE_OPS 49            /* as of 6.1: up to SENDMSG_ZC */

/* A completion that found no room in the CQ. */
struct overflown {
    struct list place;
    struct io_uring_cqe cqe;
};

/* The completion queue. */

static bool cq_full(const struct uring *uring)
{
    return uring->cq_tail - uring->cq_head == uring->cq_entries;
}

bool cq_room(const struct uring *uring)
{
    return !cq_full(uring) && list_empty(&uring->backlog);
}

static void cq_write(struct uring *uring, const struct io_uring_cqe *cqe)
{
    struct io_uring_cqe *slot = &uring->cqes[uring->cq_tail & uring->cq_mask];

    slot->user_data = cqe->user_data;
    slot->res = cqe->res;
    slot->flags = cqe->flags;
    uring->cq_tail++;
}

static void cq_overflow(struct uring *uring, const struct io_uring_cqe *cqe)
{
    struct overflown *overflown = malloc(sizeof(*overflown));

    if (overflown == NULL)
        world_fail("no memory for a completion");
    overflown->cqe.user_data = cqe->user_data;
    overflown->cqe.res = cqe->res;
    overflown->cqe.flags = cqe->flags;
    list_append(&uring->backlog, &overflown->place);
    uring->sq_flags |= IORING_SQ_CQ_OVERFLOW;
}

void cq_post(struct uring *uring, uint64_t user_data, int res, unsigned flags)
{
    struct io_uring_cqe cqe = { .user_data = user_data, .res = res, .flags = flags };

    if (cq_room(uring))
        cq_write(uring, &cqe);
    else
        cq_overflow(uring, &cqe);
}

static void backlog_flush(struct uring *uring)
{
    while (!list_empty(&uring->backlog) && !cq_full(uring)) {
        struct overflown *overflown = list_entry(uring->backlog.next, struct overflown, place);
        list_remove(&overflown->place);
        cq_write(uring, &overflown->cqe);
        free(overflown);
    }
    if (list_empty(&uring->backlog))
        uring->sq_flags &= ~IORING_SQ_CQ_OVERFLOW;
}

/* Making and ending one. */

static unsigned power_of_two(unsigned n)
{
    unsigned power = 1;

    while (power < n)
        power *= 2;
    return power;
}

static void show_sq(struct uring *uring, struct io_uring_sq *sq)
{
    sq->khead = &uring->sq_head;
    sq->ktail = &uring->sq_tail;
    sq->kflags = &uring->sq_flags;
    sq->kdropped = &uring->sq_dropped;
    sq->kring_mask = &uring->sq_mask;
    sq->kring_entries = &uring->sq_entries;
    sq->sqes = uring->sqes;
    sq->ring_mask = uring->sq_mask;
    sq->ring_entries = uring->sq_entries;
}

static void show_cq(struct uring *uring, struct io_uring_cq *cq)
{
    cq->khead = &uring->cq_head;
    cq->ktail = &uring->cq_tail;
    cq->koverflow = &uring->cq_overflow;
    cq->kring_mask = &uring->cq_mask;
    cq->kring_entries = &uring->cq_entries;
    cq->cqes = uring->cqes;
    cq->ring_mask = uring->cq_mask;
    cq->ring_entries = uring->cq_entries;
}

static void timeout_fired(struct event *event)
{
    uring_wake(container_of(event, struct uring, timeout));
}

static struct uring *uring_new(unsigned sq_entries, unsigned cq_entries)
{
    struct uring *uring = calloc(1, sizeof(*uring));

    if (uring == NULL)
        world_fail("no memory for a ring");
    uring->sq_entries = sq_entries;
    uring->sq_mask = sq_entries - 1;
    uring->cq_entries = cq_entries;
    uring->cq_mask = cq_entries - 1;
    uring->sqes = calloc(sq_entries, sizeof(*uring->sqes));
    uring->cqes = malloc(cq_entries * sizeof(*uring->cqes));
    if (uring->sqes == NULL || uring->cqes == NULL)
        world_fail("no memory for a ring");
    list_init(&uring->requests);
    for (unsigned i = 0; i < BUCKETS; i++)
        list_init(&uring->buckets[i]);
    list_init(&uring->work);
    list_init(&uring->due);
    list_init(&uring->backlog);
    event_init(&uring->timeout, timeout_fired);
    uring->owner = task_self();
    uring->file = file_new(FILE_RING);
    uring->file->uring = uring;
    return uring;
}

static unsigned cq_size(unsigned sq_entries, const struct io_uring_params *p)
{
    unsigned wanted = (p->flags & IORING_SETUP_CQSIZE) != 0 ? p->cq_entries : 2 * sq_entries, most = kernel.conf.faults.cq_entries;

    return power_of_two(most > 0 && most < wanted ? most : wanted);
}

int io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
    struct uring *uring;

    if (entries == 0 || entries > ENTRIES_MAX || (p->flags & ~(unsigned)SETUP_KNOWN) != 0)
        return -EINVAL;
    p->sq_entries = power_of_two(entries);
    p->cq_entries = cq_size(p->sq_entries, p);
    p->features = FEATURES;
    uring = uring_new(p->sq_entries, p->cq_entries);
    uring->shown = ring;
    memset(ring, 0, sizeof(*ring));
    show_sq(uring, &ring->sq);
    show_cq(uring, &ring->cq);
    ring->flags = p->flags;
    ring->features = p->features;
    ring->ring_fd = ring->enter_ring_fd = uring->file->fd;
    return 0;
}

int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
    struct io_uring_params params = { .flags = flags };

    return io_uring_queue_init_params(entries, ring, &params);
}

static struct uring *uring_of(struct io_uring *ring)
{
    struct file *file = file_get(ring->ring_fd, "io_uring_enter");

    if (file->kind != FILE_RING)
        world_fail("io_uring_enter on descriptor %d: %s", ring->ring_fd, file_text(file));
    return file->uring;
}

void io_uring_queue_exit(struct io_uring *ring)
{
    struct uring *uring = uring_of(ring);

    if (!list_empty(&uring->requests))
        world_fail("a ring ends with operations in flight, first: %s",
                   request_text(list_entry(uring->requests.next, struct request, place)));
    for (unsigned i = 0; i < GROUPS; i++)
        group_close(&uring->groups[i]);
    while (!list_empty(&uring->backlog)) {
        uring->cq_head = uring->cq_tail;
        backlog_flush(uring);
    }
    event_clear(&uring->timeout);
    file_free(uring->file);
    free(uring->sqes);
    free(uring->cqes);
    free(uring);
}

int io_uring_register_buf_ring(struct io_uring *ring, struct io_uring_buf_reg *reg, unsigned int flags)
{
    struct uring *uring = uring_of(ring);

    if (flags != 0 || reg->ring_entries == 0 || reg->ring_entries > ENTRIES_MAX || (reg->ring_entries & (reg->ring_entries - 1)) != 0)
        return -EINVAL;
    if (reg->ring_addr % 4096 != 0)
        return -EINVAL;
    if (reg->bgid >= GROUPS)
        world_fail("buffer group %u of %d", reg->bgid, GROUPS);
    if (uring->groups[reg->bgid].shared != NULL)
        return -EEXIST;
    group_open(&uring->groups[reg->bgid], reg);
    return 0;
}

int io_uring_register_ring_fd(struct io_uring *ring)
{
    uring_of(ring);
    return 1;
}

int io_uring_register_iowq_max_workers(struct io_uring *ring, unsigned int *values)
{
    uring_of(ring);
    values[0] = values[1] = 0;
    return 0;
}

int io_uring_ring_dontfork(struct io_uring *ring)
{
    uring_of(ring);
    return 0;
}

struct io_uring_probe *io_uring_get_probe_ring(struct io_uring *ring)
{
    struct io_uring_probe *probe = calloc(1, sizeof(*probe) + 256 * sizeof(probe->ops[0]));

    uring_of(ring);
    if (probe == NULL)
        return NULL;
    probe->last_op = PROBE_OPS - 1;
    probe->ops_len = PROBE_OPS;
    for (unsigned i = 0; i < PROBE_OPS; i++)
        probe->ops[i] = (struct io_uring_probe_op){ .op = (uint8_t)i, .flags = IO_URING_OP_SUPPORTED };
    return probe;
}

void io_uring_free_probe(struct io_uring_probe *probe)
{
    free(probe);
}

/* Entering. */

static struct uring *entered(struct io_uring *ring)
{
    struct uring *uring = uring_of(ring);

    if (uring->owner != task_self())
        world_fail("a ring is entered by a thread that is not its owner: %s", file_text(uring->file));
    if (uring->shown != ring)
        world_fail("a ring is entered by a copy of its memory");
    for (unsigned i = 0; i < GROUPS; i++)
        group_look(&uring->groups[i]);
    return uring;
}

/* How many were taken, or -errno. */
static int submit(struct uring *uring)
{
    struct io_uring_sq *sq = &uring->shown->sq;
    int count = (int)(sq->sqe_tail - sq->sqe_head);

    if (count > 0 && fault(FAULT_ENOMEM))
        return -EAGAIN;         /* no memory for the requests themselves: nothing has happened */
    for (; sq->sqe_head != sq->sqe_tail; sq->sqe_head++) {
        request_submit(uring, &uring->sqes[sq->sqe_head & uring->sq_mask]);
        uring->sq_head = uring->sq_tail = sq->sqe_head + 1;
    }
    return count;
}

/* What has come since: into the queue. */
static void reap(struct uring *uring)
{
    struct list work;

    backlog_flush(uring);
    while (!list_empty(&uring->due))
        request_post(uring->due.next);
    list_take(&uring->work, &work);
    while (!list_empty(&work)) {
        struct request *r = list_entry(work.next, struct request, work);
        list_remove(&r->work);
        request_run(r);
    }
}

void uring_wake(struct uring *uring)
{
    if (uring->waiter != NULL)
        task_wake(uring->waiter);
}

static uint64_t deadline_of(const struct __kernel_timespec *ts)
{
    return ts != NULL ? world_now_us() + (uint64_t)ts->tv_sec * 1000000 + (uint64_t)ts->tv_nsec / 1000 : UINT64_MAX;
}

/* Until a completion is there (0), it is late enough (-ETIME), or for no reason (-EINTR). */
static int wait_until(struct uring *uring, uint64_t deadline_us)
{
    uint64_t early_us = fault(FAULT_EARLY) ? world_now_us() + dice_below(&kernel.dice[FAULT_EARLY], 1000) : UINT64_MAX;
    uint64_t until_us = early_us < deadline_us ? early_us : deadline_us;

    while (uring->cq_tail == uring->cq_head && world_now_us() < until_us) {
        if (until_us != UINT64_MAX)
            event_set(&uring->timeout, until_us);
        uring->waiter = task_self();
        if (!list_empty(&uring->work) || !list_empty(&uring->due))
            uring_wake(uring);
        task_wait();
        uring->waiter = NULL;
        reap(uring);
    }
    event_clear(&uring->timeout);
    if (uring->cq_tail != uring->cq_head)
        return 0;
    return world_now_us() < deadline_us ? -EINTR : -ETIME;
}

int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe_ptr, unsigned wait_nr, struct __kernel_timespec *ts,
                                     sigset_t *sigmask)
{
    struct uring *uring = entered(ring);
    uint64_t deadline_us = deadline_of(ts);
    bool there = uring->cq_tail != uring->cq_head;
    int r, waited;

    (void)sigmask;
    if (wait_nr != 1)
        world_fail("a wait for %u completions", wait_nr);
    *cqe_ptr = NULL;
    r = submit(uring);
    if (r < 0 || there)         /* liburing asks for nothing where something is */
        return r;
    reap(uring);
    waited = wait_until(uring, deadline_us);
    if (uring->cq_tail != uring->cq_head)
        *cqe_ptr = &uring->cqes[uring->cq_head & uring->cq_mask];
    return waited < 0 ? waited : r;
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned wait_nr)
{
    struct io_uring_cqe *cqe;

    return io_uring_submit_and_wait_timeout(ring, &cqe, wait_nr, NULL, NULL);
}

/* Behind io_uring_peek_cqe(), which has found nothing. */
int __io_uring_get_cqe(struct io_uring *ring, struct io_uring_cqe **cqe_ptr, unsigned to_submit, unsigned wait_nr, sigset_t *sigmask)
{
    struct uring *uring = entered(ring);

    (void)sigmask;
    if (to_submit > 0 || wait_nr > 0)
        world_fail("a wait for %u completions without an end", wait_nr);
    reap(uring);
    *cqe_ptr = uring->cq_tail != uring->cq_head ? &uring->cqes[uring->cq_head & uring->cq_mask] : NULL;
    return *cqe_ptr != NULL ? 0 : -EAGAIN;
}

int io_uring_submit(struct io_uring *ring)
{
    return submit(entered(ring));
}

int io_uring_get_events(struct io_uring *ring)
{
    reap(entered(ring));
    return 0;
}
