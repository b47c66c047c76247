#ifndef COMMON_RING_H
#define COMMON_RING_H
#include "common/addr.h"
#include "common/list.h"
#include "common/timer.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/*
 * The one seam to the kernel's asynchronous input and output (io_uring), to
 * time and to other threads; another implementation may stand behind it.
 * A ring belongs to the thread that made it, except ring_wake().
 *
 * An operation in flight is a struct op embedded in its owner. Until its last
 * completion has arrived the kernel may still use its memory, so the owner
 * lives at least so long. Callbacks come from ring_step() alone, never from
 * inside a call that starts or cancels an operation. Sockets stay blocking:
 * on one with O_NONBLOCK the kernel answers -EAGAIN instead of waiting.
 *
 * A step dispatches every completion that has arrived before any timer that
 * is due, so an answer in time always comes before its own deadline.
 */
struct ring;
struct op;
struct chunk;

struct ring_result {
    int res;                /* as the system call would have returned it: >= 0 or -errno */
    bool more;              /* a multishot goes on: further completions will come */
    struct chunk *chunk;    /* recv with res > 0: yours until chunk_put(); else NULL */
};

struct op {
    void (*done)(struct op *op, struct ring_result result);     /* set before start */
    struct list starved;    /* ring's: waits for a receive buffer */
    int fd;
    uint8_t kind;
    uint8_t size_class;     /* ring's: of the buffers that it receives into */
    bool active;            /* started, and the last completion has not come */
    bool cancelled;
};

/*
 * A received piece. Its bytes are [data, data + len); the owner may trim it
 * from the front. CHUNK_ROOM bytes before the first received byte and after
 * the end of the buffer may be written too (for chunked framing).
 */
struct chunk {
    char *data;
    uint32_t len;
    struct chunk *next;     /* the owner's queue */
    uint16_t id;            /* ring's */
    uint8_t size_class;     /* ring's */
    uint8_t held;           /* ring's: asserts that none is returned twice */
};
#define CHUNK_ROOM 32
#define RING_MULTISHOT_BYTES (32 * 1024)        /* so much, and a chunk, comes before the owner can say that it is enough */

/* Small buffers for heads and waiting connections; a few large ones, kept hot, for bodies. */
enum ring_class { RING_SMALL, RING_BULK, RING_CLASSES };

struct ring_conf {
    uint32_t ops_max;                       /* completions that can be outstanding: sizes the CQ */
    uint32_t small_count, small_bytes;      /* counts: powers of two; 0: no buffers of the class */
    uint32_t bulk_count, bulk_bytes;
    void (*woken)(void *arg);               /* after ring_wake(), at least once after the last wake; may be NULL */
    void *arg;
};

struct ring_stats {                         /* readable from any thread */
    uint64_t cq_overflow, buffer_starved;
};

/* 0 and *ret, or -errno (-EPERM, -ENOSYS: io_uring is refused here; see ring_refusal()). */
int ring_new(const struct ring_conf *conf, struct ring **ret);
void ring_free(struct ring **ring);         /* no operation may be in flight */

/* Submits, waits until something is due, dispatches it. 0 or -errno (the ring is unusable). */
int ring_step(struct ring *ring);
uint64_t ring_now_ms(const struct ring *ring);      /* monotonic, read once a step */
void ring_wake(struct ring *ring);          /* any thread, also a signal handler; ring_step() returns soon and calls woken() */
struct ring_stats ring_stats(const struct ring *ring);

/* Why io_uring can not be used: which setting, and the remedy; one line. `err` as ring_new() gave it. */
const char *ring_refusal(int err, char *text, size_t size);
/* One line naming what this kernel offers ("multishot-recv defer-taskrun ..."). */
const char *ring_features(char *text, size_t size);

void op_init(struct op *op, void (*done)(struct op *op, struct ring_result result));

/* Each starts an operation on an op that is not active. Never fails: errors come as completions. */
void ring_accept(struct ring *ring, struct op *op, int fd);             /* multishot; res is a descriptor (CLOEXEC), yours */
void ring_connect(struct ring *ring, struct op *op, int fd, const struct addr *to);    /* `to` lives until completion */
void ring_recv(struct ring *ring, struct op *op, int fd, enum ring_class size_class);   /* one chunk, EOF (0) or error */
void ring_recv_multishot(struct ring *ring, struct op *op, int fd);     /* small chunks until EOF, error, cancel or RING_MULTISHOT_BYTES */
void ring_send(struct ring *ring, struct op *op, int fd, const void *bytes, size_t len, int flags); /* may be short; flags as send(2) */
void ring_read(struct ring *ring, struct op *op, int fd, void *bytes, size_t len);
void ring_poll(struct ring *ring, struct op *op, int fd, unsigned events);     /* res: the events that happened */
/* Asks for an early end: the completion still comes, with -ECANCELED or with what had happened by then. */
void ring_cancel(struct ring *ring, struct op *op);

void chunk_put(struct ring *ring, struct chunk *chunk);
/* The same bytes [from, from + len) of it in memory of their own, with room on both sides; the chunk is put. Who must wait
 * long uses it, so that no slow peer holds what all receive into. NULL: no memory, and the chunk is still held. */
struct chunk *chunk_detach(struct ring *ring, struct chunk *chunk, const char *from, size_t len);
/* A chunk of its own with a copy of these bytes; NULL: no memory. */
struct chunk *chunk_copy(const char *bytes, size_t len);
bool chunk_detached(const struct chunk *chunk);
/* Are most buffers of this size held, so that long waits should detach? */
bool ring_buffers_scarce(const struct ring *ring, enum ring_class size_class);

void ring_timer_set(struct ring *ring, struct timer *timer, uint64_t deadline_ms);
void ring_timer_stop(struct ring *ring, struct timer *timer);
#endif
