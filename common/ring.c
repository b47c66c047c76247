/*
 * The ring on io_uring. Everything that liburing or the kernel wants to be
 * known is known here; facts and measurements: docs/decisions/0002-ring.md.
 */
#include "common/ring.h"
#include "common/clock.h"
#include "common/net.h"
#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SQ_ENTRIES 256
#define CQ_ENTRIES_MIN (2 * SQ_ENTRIES)
#define CQ_ENTRIES_MAX 16384    /* 256 KiB of locked memory; completions of one turn, not of all that is in flight */
#define MEMORY_WAIT_MS 500
#define MEMORY_PAUSE_MS 10
#define REAP_BATCH 128
#define IOWQ_WORKERS_MAX 4      /* none are expected; this bounds a surprise */

#define DETACHED RING_CLASSES   /* the size class of a chunk that is no ring's buffer */

enum op_kind { OP_ACCEPT, OP_CONNECT, OP_RECV, OP_RECV_MULTISHOT, OP_SEND, OP_READ, OP_POLL };

/* The receive buffers of one size, handed to the kernel through a buffer ring. */
struct pool {
    struct io_uring_buf_ring *shared;       /* with the kernel */
    struct chunk *chunks;                   /* [count], by buffer id */
    char *bytes;
    uint32_t count, size, stride;
    uint32_t out;                           /* chunks that the program holds */
    size_t mapped_bytes, shared_bytes;
};

struct ring {
    struct io_uring uring;
    struct timer_wheel wheel;
    uint64_t now_ms;
    struct ring_conf conf;
    struct pool pools[RING_CLASSES];
    struct list starved[RING_CLASSES];      /* ops that wait for a chunk, oldest first */
    struct list dropped;                    /* starved ops that were cancelled: their completions are due */
    int wake_fd;
    struct op wake_op;
    bool ending;
    bool counts_multishot;                  /* the kernel ends a multishot receive after so many bytes */
    uint64_t wake_count;
    atomic_uint_least64_t cq_overflow, buffer_starved;
};

static void *map_pages(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static char *chunk_start(const struct pool *pool, unsigned id)
{
    return pool->bytes + (size_t)id * pool->stride + CHUNK_ROOM;
}

static void pool_offer(struct pool *pool, unsigned id)
{
    io_uring_buf_ring_add(pool->shared, chunk_start(pool, id), pool->size, id, io_uring_buf_ring_mask(pool->count), 0);
    io_uring_buf_ring_advance(pool->shared, 1);
}

static int pool_init(struct ring *ring, unsigned size_class, uint32_t count, uint32_t size)
{
    struct pool *pool = &ring->pools[size_class];
    struct io_uring_buf_reg reg = { .ring_entries = count, .bgid = (uint16_t)size_class };

    if (count == 0)
        return 0;
    assert((count & (count - 1)) == 0);
    pool->count = count;
    pool->size = size;
    pool->stride = size + 2 * CHUNK_ROOM;
    pool->mapped_bytes = (size_t)count * pool->stride;
    pool->shared_bytes = count * sizeof(struct io_uring_buf);
    pool->bytes = map_pages(pool->mapped_bytes);
    pool->shared = map_pages(pool->shared_bytes);
    pool->chunks = calloc(count, sizeof(*pool->chunks));
    if (pool->bytes == NULL || pool->shared == NULL || pool->chunks == NULL)
        return -ENOMEM;
    reg.ring_addr = (uintptr_t)pool->shared;
    io_uring_buf_ring_init(pool->shared);
    for (unsigned id = 0; id < count; id++) {
        pool->chunks[id] = (struct chunk){ .id = (uint16_t)id, .size_class = (uint8_t)size_class };
        pool_offer(pool, id);
    }
    return io_uring_register_buf_ring(&ring->uring, &reg, 0);
}

static void pool_fini(struct pool *pool)
{
    assert(pool->out == 0);
    if (pool->bytes != NULL)
        munmap(pool->bytes, pool->mapped_bytes);
    if (pool->shared != NULL)
        munmap(pool->shared, pool->shared_bytes);
    free(pool->chunks);
}

/* The best mode that this kernel has: task work only when we reap (6.1), cooperative (5.19), plain. */
static int uring_try(struct io_uring *uring, uint32_t cq)
{
    static const unsigned ladder[] = {
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
        IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN,
        0,
    };
    int r = -EINVAL;

    for (size_t i = 0; r == -EINVAL && i < sizeof(ladder) / sizeof(ladder[0]); i++) {
        struct io_uring_params params = { .flags = ladder[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, .cq_entries = cq };
        r = io_uring_queue_init_params(SQ_ENTRIES, uring, &params);
    }
    return r;
}

/*
 * Rings count against RLIMIT_MEMLOCK, which all processes of a user share. So a smaller queue is better than none: what it can not
 * hold waits in the kernel's memory, which is counted and slower, but serves. A ring that has ended gives its memory back some
 * milliseconds later; that is waited for.
 */
static int uring_init(struct io_uring *uring, uint32_t ops_max)
{
    uint32_t cq = ops_max < CQ_ENTRIES_MIN ? CQ_ENTRIES_MIN : ops_max > CQ_ENTRIES_MAX ? CQ_ENTRIES_MAX : ops_max;
    int r = uring_try(uring, cq);

    while (r == -ENOMEM && cq > CQ_ENTRIES_MIN) {
        cq = cq / 2 < CQ_ENTRIES_MIN ? CQ_ENTRIES_MIN : cq / 2;
        r = uring_try(uring, cq);
    }
    for (int waited = 0; r == -ENOMEM && waited < MEMORY_WAIT_MS; waited += MEMORY_PAUSE_MS) {
        clock_sleep_ms(MEMORY_PAUSE_MS);
        r = uring_try(uring, cq);
    }
    return r;
}

static void prep_recv_multishot(struct io_uring_sqe *sqe, int fd)
{
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->file_index = RING_MULTISHOT_BYTES;         /* this field is "optlen" since Linux 6.17; before, it has to be 0 */
}

/* Asked of a descriptor that is none: -EBADF if the request itself is right. */
static bool multishot_counted(struct io_uring *uring)
{
    struct io_uring_cqe *cqe;
    bool counted;

    prep_recv_multishot(io_uring_get_sqe(uring), -1);
    if (io_uring_submit_and_wait(uring, 1) < 0 || io_uring_peek_cqe(uring, &cqe) < 0)
        return false;
    counted = cqe->res == -EBADF;
    io_uring_cqe_seen(uring, cqe);
    return counted;
}

static void wake_done(struct op *op, struct ring_result result)
{
    struct ring *ring = container_of(op, struct ring, wake_op);

    if (ring->ending || result.res == -ECANCELED)
        return;
    ring_read(ring, op, ring->wake_fd, &ring->wake_count, sizeof(ring->wake_count));
    if (ring->conf.woken != NULL)
        ring->conf.woken(ring->conf.arg);
}

static void ring_destroy(struct ring *ring)
{
    io_uring_queue_exit(&ring->uring);
    for (unsigned i = 0; i < RING_CLASSES; i++)
        pool_fini(&ring->pools[i]);
    if (ring->wake_fd >= 0)
        net_close(ring->wake_fd);
    free(ring);
}

int ring_new(const struct ring_conf *conf, struct ring **ret)
{
    unsigned iowq[2] = { IOWQ_WORKERS_MAX, IOWQ_WORKERS_MAX };
    struct ring *ring = calloc(1, sizeof(*ring));
    int r;

    if (ring == NULL)
        return -ENOMEM;
    ring->conf = *conf;
    ring->now_ms = clock_monotonic_us() / 1000;
    timer_wheel_init(&ring->wheel, ring->now_ms);
    for (unsigned i = 0; i < RING_CLASSES; i++)
        list_init(&ring->starved[i]);
    list_init(&ring->dropped);
    r = uring_init(&ring->uring, conf->ops_max);
    if (r < 0) {
        free(ring);
        return r;
    }
    r = ring->wake_fd = net_event();
    if (r < 0)
        goto fail;
    io_uring_ring_dontfork(&ring->uring);
    io_uring_register_ring_fd(&ring->uring);
    io_uring_register_iowq_max_workers(&ring->uring, iowq);
    r = pool_init(ring, RING_SMALL, conf->small_count, conf->small_bytes);
    if (r == 0)
        r = pool_init(ring, RING_BULK, conf->bulk_count, conf->bulk_bytes);
    if (r < 0)
        goto fail;
    ring->counts_multishot = multishot_counted(&ring->uring);
    op_init(&ring->wake_op, wake_done);
    ring_read(ring, &ring->wake_op, ring->wake_fd, &ring->wake_count, sizeof(ring->wake_count));
    *ret = ring;
    return 0;
fail:
    ring_destroy(ring);
    return r;
}

void ring_free(struct ring **ring)
{
    struct ring *r = *ring;

    if (r == NULL)
        return;
    *ring = NULL;
    r->ending = true;
    ring_cancel(r, &r->wake_op);
    while (r->wake_op.active)
        ring_step(r);
    ring_destroy(r);
}

void op_init(struct op *op, void (*done)(struct op *op, struct ring_result result))
{
    *op = (struct op){ .done = done, .fd = -1 };
    list_init(&op->starved);
}

/* A full submission queue is handed over; the kernel takes all of it (SUBMIT_ALL), so there is room then. */
static struct io_uring_sqe *sqe_get(struct ring *ring)
{
    struct io_uring_sqe *sqe;

    while ((sqe = io_uring_get_sqe(&ring->uring)) == NULL)
        if (io_uring_submit(&ring->uring) < 0)
            io_uring_get_events(&ring->uring);      /* the kernel wants to hand over completions first */
    return sqe;
}

static void op_begin(struct op *op, enum op_kind kind, int fd)
{
    assert(!op->active);
    assert(op->done != NULL);
    op->kind = (uint8_t)kind;
    op->fd = fd;
    op->active = true;
    op->cancelled = false;
}

void ring_accept(struct ring *ring, struct op *op, int fd)
{
    struct io_uring_sqe *sqe = sqe_get(ring);

    op_begin(op, OP_ACCEPT, fd);
    io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data(sqe, op);
}

void ring_connect(struct ring *ring, struct op *op, int fd, const struct addr *to)
{
    struct io_uring_sqe *sqe = sqe_get(ring);

    op_begin(op, OP_CONNECT, fd);
    io_uring_prep_connect(sqe, fd, &to->sa, addr_len(to));
    io_uring_sqe_set_data(sqe, op);
}

static void recv_submit(struct ring *ring, struct op *op)
{
    struct io_uring_sqe *sqe = sqe_get(ring);

    if (op->kind == OP_RECV_MULTISHOT)
        prep_recv_multishot(sqe, op->fd);
    else
        io_uring_prep_recv(sqe, op->fd, NULL, ring->pools[op->size_class].size, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = op->size_class;
    io_uring_sqe_set_data(sqe, op);
}

void ring_recv(struct ring *ring, struct op *op, int fd, enum ring_class size_class)
{
    assert(ring->pools[size_class].count > 0);
    op_begin(op, OP_RECV, fd);
    op->size_class = (uint8_t)size_class;
    recv_submit(ring, op);
}

/* A kernel that does not count goes on as long as bytes come, and hands over more than a megabyte before we can cancel. */
void ring_recv_multishot(struct ring *ring, struct op *op, int fd)
{
    assert(ring->pools[RING_SMALL].count > 0);
    op_begin(op, ring->counts_multishot ? OP_RECV_MULTISHOT : OP_RECV, fd);
    op->size_class = RING_SMALL;
    recv_submit(ring, op);
}

void ring_send(struct ring *ring, struct op *op, int fd, const void *bytes, size_t len, int flags)
{
    struct io_uring_sqe *sqe = sqe_get(ring);

    op_begin(op, OP_SEND, fd);
    io_uring_prep_send(sqe, fd, bytes, len, flags | MSG_NOSIGNAL);
    io_uring_sqe_set_data(sqe, op);
}

void ring_read(struct ring *ring, struct op *op, int fd, void *bytes, size_t len)
{
    struct io_uring_sqe *sqe = sqe_get(ring);

    op_begin(op, OP_READ, fd);
    io_uring_prep_read(sqe, fd, bytes, (unsigned)len, (uint64_t)-1);
    io_uring_sqe_set_data(sqe, op);
}

void ring_poll(struct ring *ring, struct op *op, int fd, unsigned events)
{
    struct io_uring_sqe *sqe = sqe_get(ring);

    op_begin(op, OP_POLL, fd);
    io_uring_prep_poll_add(sqe, fd, events);
    io_uring_sqe_set_data(sqe, op);
}

void ring_cancel(struct ring *ring, struct op *op)
{
    struct io_uring_sqe *sqe;

    if (!op->active || op->cancelled)
        return;
    op->cancelled = true;
    if (!list_empty(&op->starved)) {        /* not with the kernel */
        list_remove(&op->starved);
        list_append(&ring->dropped, &op->starved);
        return;
    }
    sqe = sqe_get(ring);
    io_uring_prep_cancel(sqe, op, 0);
    io_uring_sqe_set_data(sqe, NULL);       /* its own completion says nothing that the victim's does not */
}

struct chunk *chunk_copy(const char *bytes, size_t len)
{
    struct chunk *chunk = malloc(sizeof(*chunk) + len + 2 * CHUNK_ROOM);

    if (chunk == NULL)
        return NULL;
    *chunk = (struct chunk){ .data = (char *)(chunk + 1) + CHUNK_ROOM, .len = (uint32_t)len, .size_class = DETACHED, .held = true };
    memcpy(chunk->data, bytes, len);
    return chunk;
}

struct chunk *chunk_detach(struct ring *ring, struct chunk *chunk, const char *from, size_t len)
{
    struct chunk *copy = chunk_copy(from, len);

    if (copy != NULL)
        chunk_put(ring, chunk);
    return copy;
}

bool chunk_detached(const struct chunk *chunk)
{
    return chunk->size_class == DETACHED;
}

bool ring_buffers_scarce(const struct ring *ring, enum ring_class size_class)
{
    const struct pool *pool = &ring->pools[size_class];

    return pool->out >= pool->count / 4 * 3;
}

void chunk_put(struct ring *ring, struct chunk *chunk)
{
    struct pool *pool;

    assert(chunk->held);
    if (chunk->size_class == DETACHED) {
        free(chunk);
        return;
    }
    pool = &ring->pools[chunk->size_class];
    assert(pool->out > 0);
    chunk->held = false;
    pool->out--;
    pool_offer(pool, chunk->id);
}

static struct chunk *chunk_get(struct pool *pool, unsigned id, uint32_t len)
{
    struct chunk *chunk;

    assert(id < pool->count);
    chunk = &pool->chunks[id];
    assert(!chunk->held);
    chunk->held = true;
    chunk->data = chunk_start(pool, id);
    chunk->len = len;
    chunk->next = NULL;
    pool->out++;
    return chunk;
}

static void op_starve(struct ring *ring, struct op *op)
{
    atomic_fetch_add_explicit(&ring->buffer_starved, 1, memory_order_relaxed);
    list_append(op->cancelled ? &ring->dropped : &ring->starved[op->size_class], &op->starved);
}

/* As many as there are buffers now: who finds none again goes to the end of the line, and nobody spins. */
static void starved_resume(struct ring *ring)
{
    for (unsigned i = 0; i < RING_CLASSES; i++) {
        uint32_t spare = ring->pools[i].count - ring->pools[i].out;
        for (; spare > 0 && !list_empty(&ring->starved[i]); spare--) {
            struct op *op = list_entry(ring->starved[i].next, struct op, starved);
            list_remove(&op->starved);
            recv_submit(ring, op);
        }
    }
}

static void dispatch(struct ring *ring, struct op *op, int res, unsigned flags)
{
    struct ring_result result = { .res = res, .more = (flags & IORING_CQE_F_MORE) != 0 };

    if (res == -ENOBUFS && (op->kind == OP_RECV || op->kind == OP_RECV_MULTISHOT)) {
        op_starve(ring, op);
        return;
    }
    if (flags & IORING_CQE_F_BUFFER) {
        struct pool *pool = &ring->pools[op->size_class];
        result.chunk = chunk_get(pool, flags >> IORING_CQE_BUFFER_SHIFT, res > 0 ? (uint32_t)res : 0);
        if (res <= 0) {
            chunk_put(ring, result.chunk);
            result.chunk = NULL;
        }
    }
    op->active = result.more;
    op->done(op, result);
}

static void reap(struct ring *ring)
{
    struct { struct op *op; int res; unsigned flags; } batch[REAP_BATCH];
    struct io_uring_cqe *cqe;
    unsigned head, count;

    do {
        count = 0;
        io_uring_for_each_cqe(&ring->uring, head, cqe) {
            batch[count].op = io_uring_cqe_get_data(cqe);
            batch[count].res = cqe->res;
            batch[count].flags = cqe->flags;
            if (++count == REAP_BATCH)
                break;
        }
        io_uring_cq_advance(&ring->uring, count);
        for (unsigned i = 0; i < count; i++)
            if (batch[i].op != NULL)
                dispatch(ring, batch[i].op, batch[i].res, batch[i].flags);
    } while (count == REAP_BATCH);
}

static void dropped_finish(struct ring *ring)
{
    while (!list_empty(&ring->dropped)) {
        struct op *op = list_entry(ring->dropped.next, struct op, starved);
        list_remove(&op->starved);
        op->active = false;
        op->done(op, (struct ring_result){ .res = -ECANCELED });
    }
}

static void overflow_note(struct ring *ring)
{
    if (IO_URING_READ_ONCE(*ring->uring.sq.kflags) & IORING_SQ_CQ_OVERFLOW)
        atomic_fetch_add_explicit(&ring->cq_overflow, 1, memory_order_relaxed);
}

static int enter(struct ring *ring, uint64_t wait_ms)
{
    struct __kernel_timespec ts = { .tv_sec = (long long)(wait_ms / 1000), .tv_nsec = (long long)(wait_ms % 1000) * 1000000 };
    struct io_uring_cqe *cqe;
    int r = io_uring_submit_and_wait_timeout(&ring->uring, &cqe, 1, wait_ms == UINT64_MAX ? NULL : &ts, NULL);

    if (r == -ETIME || r == -EINTR || r == -EAGAIN || r == -EBUSY)
        r = 0;
    return r < 0 ? r : 0;
}

/* How long the kernel may wait: not past the next timer, not at all if something is due already. */
static uint64_t wait_ms(const struct ring *ring)
{
    uint64_t next = timer_wheel_next(&ring->wheel), now;

    if (!list_empty(&ring->dropped))
        return 0;
    if (next == UINT64_MAX)
        return UINT64_MAX;
    now = clock_monotonic_us() / 1000;
    return next > now ? next - now : 0;
}

int ring_step(struct ring *ring)
{
    int r;

    starved_resume(ring);
    r = enter(ring, wait_ms(ring));
    if (r < 0)
        return r;
    overflow_note(ring);
    ring->now_ms = clock_monotonic_us() / 1000;
    if (timer_wheel_next(&ring->wheel) <= ring->now_ms)
        io_uring_get_events(&ring->uring);      /* what came while we were held up counts before the deadline */
    reap(ring);
    dropped_finish(ring);
    timer_wheel_advance(&ring->wheel, ring->now_ms);
    return 0;
}

uint64_t ring_now_ms(const struct ring *ring)
{
    return ring->now_ms;
}

void ring_wake(struct ring *ring)
{
    net_event_signal(ring->wake_fd);
}

struct ring_stats ring_stats(const struct ring *ring)
{
    return (struct ring_stats){
        .cq_overflow = atomic_load_explicit(&ring->cq_overflow, memory_order_relaxed),
        .buffer_starved = atomic_load_explicit(&ring->buffer_starved, memory_order_relaxed),
    };
}

void ring_timer_set(struct ring *ring, struct timer *timer, uint64_t deadline_ms)
{
    timer_set(&ring->wheel, timer, deadline_ms);
}

void ring_timer_stop(struct ring *ring, struct timer *timer)
{
    timer_stop(&ring->wheel, timer);
}

static int disabled_setting(void)
{
    char text[8] = "0";
    FILE *f = fopen("/proc/sys/kernel/io_uring_disabled", "re");

    if (f != NULL) {
        if (fgets(text, sizeof(text), f) == NULL)
            text[0] = '0';
        fclose(f);
    }
    return atoi(text);
}

const char *ring_refusal(int err, char *text, size_t size)
{
    int disabled = disabled_setting();

    if (err == -EPERM && disabled > 0)
        snprintf(text, size, "io_uring is refused: sysctl kernel.io_uring_disabled is %d; set it to 0%s", disabled,
                 disabled == 1 ? ", or put this user's group into kernel.io_uring_group" : "");
    else if (err == -EPERM)
        snprintf(text, size, "io_uring is refused by a seccomp filter (kernel.io_uring_disabled is 0); allow io_uring_setup, "
                             "io_uring_enter and io_uring_register in the container's seccomp profile");
    else if (err == -ENOSYS)
        snprintf(text, size, "io_uring is not there: this kernel (or its seccomp filter) has no io_uring_setup; halb needs Linux 6.0 or later");
    else if (err == -ENOMEM)
        snprintf(text, size, "io_uring got no memory: raise the locked-memory limit (ulimit -l, LimitMEMLOCK=)");
    else
        snprintf(text, size, "io_uring can not be set up: %s; halb needs Linux 6.0 or later", strerror(-err));
    return text;
}

const char *ring_features(char *text, size_t size)
{
    struct io_uring uring;
    struct io_uring_params params = { .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };
    int r = io_uring_queue_init_params(8, &uring, &params);
    bool defer = r == 0;
    struct io_uring_probe *probe;

    if (r < 0)
        r = io_uring_queue_init(8, &uring, 0);
    if (r < 0)
        return ring_refusal(r, text, size);
    probe = io_uring_get_probe_ring(&uring);
    snprintf(text, size, "%sbuffer-rings %s%s(features 0x%x)", defer ? "single-issuer defer-taskrun multishot-recv " : "",
             probe != NULL && io_uring_opcode_supported(probe, IORING_OP_SEND_ZC) ? "send-zc " : "",
             probe != NULL && io_uring_opcode_supported(probe, IORING_OP_MSG_RING) ? "msg-ring " : "", params.features | uring.features);
    io_uring_free_probe(probe);
    io_uring_queue_exit(&uring);
    return text;
}
