#ifndef TESTS_SIM_KERNEL_URING_H
#define TESTS_SIM_KERNEL_URING_H
#include "kernel_internal.h"
#include <liburing.h>
/*
 * A ring and its requests, as the kernel sees them. With DEFER_TASKRUN, as Linux has it: what is submitted is tried at once; what
 * must wait is tried again when its file has changed, but only while its task enters to reap.
 */
#define GROUPS 4
#define BUCKETS 256             /* a power of two */

/* Buffers of one size, handed over through memory shared with halb. */
struct group {
    struct io_uring_buf_ring *shared;   /* NULL: not registered */
    unsigned count;             /* a power of two */
    uint16_t head, seen;        /* the next to be taken, the first that has not been looked at */
    bool *offered;              /* by id: it is the kernel's */
};
void group_open(struct group *group, const struct io_uring_buf_reg *reg);
void group_close(struct group *group);
void group_look(struct group *group);           /* at what has been returned */
bool group_empty(struct group *group);
bool group_scarce(const struct group *group);   /* so many are out that the fault makes it unwilling */
struct io_uring_buf group_first(struct group *group);
void group_take(struct group *group);

struct uring {
    struct file *file;
    struct task *owner;
    struct io_uring *shown;     /* what liburing's inline functions use */
    unsigned sq_head, sq_tail, sq_mask, sq_entries, sq_flags, sq_dropped;
    unsigned cq_head, cq_tail, cq_mask, cq_entries, cq_overflow;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
    struct group groups[GROUPS];
    struct list requests;       /* in flight, oldest first */
    struct list buckets[BUCKETS];       /* the same by user_data: for finding alone */
    struct list work;           /* requests that may go on */
    struct list due;            /* completions that were held up */
    struct list backlog;        /* completions that the CQ had no room for */
    struct task *waiter;
    struct event timeout;
};
bool cq_room(const struct uring *uring);        /* nothing waits for it, either */
void cq_post(struct uring *uring, uint64_t user_data, int res, unsigned flags);
void uring_wake(struct uring *uring);           /* there is something to reap */

struct request {
    struct list place, bucket;
    struct list waiting;        /* in its file's list, until it has ended */
    struct list work;
    struct uring *uring;
    struct file *file;
    uint8_t op;
    bool multishot, select, more;
    bool impatient;             /* -EAGAIN instead of waiting */
    bool started;               /* connect */
    bool asked, withheld;       /* recv: the kernel was asked for a scarce buffer, and gave none */
    bool held, was_held;        /* goes on late */
    bool cancelled, dropped;    /* ends at its next turn; dropped: whatever it could have got */
    bool ended;                 /* its last completion is made */
    uint64_t user_data;
    char *bytes;
    uint32_t len;
    uint32_t left;              /* bytes until a multishot has got enough */
    uint16_t group;
    unsigned events;            /* what its file must do for it to go on */
    struct addr to;
    struct event late;
    unsigned completions_held;
    uint64_t held_until_us;
};
struct outcome {
    int res;
    unsigned flags;
    uint64_t hold_us;           /* at least so long */
};
void request_submit(struct uring *uring, const struct io_uring_sqe *sqe);
void request_run(struct request *request);
void request_post(struct list *due);            /* the oldest of the completions that were held up */
const char *request_text(const struct request *request);

/* What an operation does. */
bool action_known(const struct io_uring_sqe *sqe);
const char *action_name(uint8_t op);
unsigned action_events(const struct io_uring_sqe *sqe);
bool action_ready(struct request *request);     /* it would not have to wait */
struct outcome action_take(struct request *request);
struct outcome action_spoiled(struct request *request);  /* an error instead, such as can happen there */
int action_refused(const struct request *request);      /* the error of a submission that finds no memory */
bool action_counts(uint8_t op);                 /* among what may fail: not cancelling, nor reading an event */
#endif
