/*
 * Requests: from their submission over any number of waits to their last completion. A request that the dice hold up is late in
 * one of two ways: it goes on later, so that its memory is touched later; or it has gone on and its completion comes later.
 */
#include "tests/sim/kernel_uring.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define TURNS_MAX 32            /* of a multishot, before others have theirs */

/* What has happened and is not told yet. */
struct completion {
    struct list due;
    struct event event;
    struct request *request;
    struct outcome outcome;
    uint64_t sum;               /* of the bytes that were sent */
};

static struct list *bucket_of(struct uring *uring, uint64_t user_data)
{
    return &uring->buckets[(user_data * UINT64_C(0x9e3779b97f4a7c15)) >> 56];
}

static struct request *request_find(struct uring *uring, uint64_t user_data)
{
    struct list *bucket = bucket_of(uring, user_data);

    list_for_each(at, bucket)
        if (list_entry(at, struct request, bucket)->user_data == user_data)
            return list_entry(at, struct request, bucket);
    return NULL;
}

const char *request_text(const struct request *r)
{
    static char text[400];

    snprintf(text, sizeof(text), "%s on descriptor %d, %s", action_name(r->op), r->file->fd, file_text(r->file));
    return text;
}

static void request_free(struct request *r)
{
    r->file->requests--;
    list_remove(&r->place);
    list_remove(&r->bucket);
    list_remove(&r->waiting);
    list_remove(&r->work);
    event_clear(&r->late);
    free(r);
}

/* Completions. */

static void tell(struct request *r, struct outcome outcome)
{
    trace("%s %d: %d%s", action_name(r->op), r->file->fd, outcome.res, (outcome.flags & IORING_CQE_F_MORE) != 0 ? " ..." : "");
    cq_post(r->uring, r->user_data, outcome.res, outcome.flags);
    if ((outcome.flags & IORING_CQE_F_MORE) == 0)
        request_free(r);
}

static uint64_t sum_of(const struct request *r, int res)
{
    uint64_t sum = 0;

    for (int i = 0; r->op == IORING_OP_SEND && i < res; i++)
        sum = (sum ^ (unsigned char)r->bytes[i]) * UINT64_C(0x100000001b3);
    return sum;
}

static void held_fired(struct event *event)
{
    struct completion *completion = container_of(event, struct completion, event);
    struct uring *uring = completion->request->uring;

    list_append(&uring->due, &completion->due);
    uring_wake(uring);
}

void request_post(struct list *due)
{
    struct completion *completion = list_entry(due, struct completion, due);
    struct request *r = completion->request;

    list_remove(due);
    if (sum_of(r, completion->outcome.res) != completion->sum)
        world_fail("bytes change while they are being sent: %s", request_text(r));
    r->completions_held--;
    tell(r, completion->outcome);
    free(completion);
}

static void hold_back(struct request *r, struct outcome outcome, uint64_t by_us)
{
    struct completion *completion = calloc(1, sizeof(*completion));
    uint64_t at_us = world_now_us() + by_us;

    if (completion == NULL)
        world_fail("no memory for a completion");
    r->held_until_us = at_us > r->held_until_us ? at_us : r->held_until_us;
    r->completions_held++;
    completion->request = r;
    completion->outcome = outcome;
    completion->sum = sum_of(r, outcome.res);
    list_init(&completion->due);
    event_init(&completion->event, held_fired);
    event_set(&completion->event, r->held_until_us);
}

static void complete(struct request *r, struct outcome outcome, bool more)
{
    bool late = !r->was_held && fault(FAULT_LATE);

    r->was_held = false;
    if (more)
        outcome.flags |= IORING_CQE_F_MORE;
    else
        list_remove(&r->waiting);
    r->ended = !more;
    if (late || outcome.hold_us > 0 || r->completions_held > 0)
        hold_back(r, outcome, late ? late_by() : outcome.hold_us);
    else
        tell(r, outcome);
}

static void complete_with(struct request *r, int res)
{
    complete(r, (struct outcome){ .res = res }, false);
}

/* Going on. */

static void work_add(struct request *r)
{
    list_append(&r->uring->work, &r->work);
    uring_wake(r->uring);
}

void request_wake(struct request *r, unsigned events)
{
    if ((events & r->events) != 0 && !r->held && list_empty(&r->work))
        work_add(r);
}

static void late_fired(struct event *event)
{
    struct request *r = container_of(event, struct request, late);

    r->held = false;
    work_add(r);
}

static bool held_up(struct request *r)
{
    if (r->was_held || !fault(FAULT_LATE))
        return false;
    r->held = r->was_held = true;
    event_set(&r->late, world_now_us() + late_by());
    return true;
}

/* A multishot whose completion finds no room ends with it, as in Linux. */
static bool goes_on(const struct request *r, int res)
{
    if (!r->multishot || res < 0 || (res == 0 && r->op == IORING_OP_RECV))
        return false;
    if (r->left > 0 && (uint32_t)res >= r->left)
        return false;
    return cq_room(r->uring) && !fault(FAULT_MULTISHOT_ENDS);
}

void request_run(struct request *r)
{
    for (unsigned turn = 0;; turn++) {
        struct outcome outcome;
        bool more;
        if (r->cancelled && (r->dropped || turn > 0 || !action_ready(r))) {
            complete_with(r, -ECANCELED);
            return;
        }
        if (!action_ready(r)) {
            if (r->impatient)
                complete_with(r, -EAGAIN);
            return;
        }
        if (turn == TURNS_MAX) {
            work_add(r);
            return;
        }
        if (turn == 0 && held_up(r))
            return;
        outcome = action_counts(r->op) && nth_reached(NTH_COMPLETION) ? action_spoiled(r) : action_take(r);
        more = goes_on(r, outcome.res);
        if (more && r->left > 0)
            r->left -= (uint32_t)outcome.res;
        complete(r, outcome, more);
        if (!more)
            return;
    }
}

/* Cancelling. Who is about to go on may still do so, once. */

static int request_cancel(struct request *r)
{
    if (r == NULL || r->ended)
        return r != NULL && choice(500) ? -EALREADY : -ENOENT;
    r->cancelled = true;
    if ((r->held || !list_empty(&r->work)) && choice(500))
        return -EALREADY;
    r->dropped = true;
    r->held = false;
    event_clear(&r->late);
    if (list_empty(&r->work))
        work_add(r);
    return 0;
}

static void cancel_submit(struct uring *uring, const struct io_uring_sqe *sqe)
{
    struct request *r = request_find(uring, sqe->addr);

    trace("cancel %s %d", r != NULL ? action_name(r->op) : "nothing", r != NULL ? r->file->fd : -1);
    if (sqe->cancel_flags != 0)
        world_fail("cancel with flags %x", sqe->cancel_flags);
    cq_post(uring, sqe->user_data, request_cancel(r), 0);
}

/* Submission. */

static struct request *request_new(struct uring *uring, const struct io_uring_sqe *sqe)
{
    struct request *r = calloc(1, sizeof(*r));
    bool sends = sqe->opcode == IORING_OP_SEND, recvs = sqe->opcode == IORING_OP_RECV, accepts = sqe->opcode == IORING_OP_ACCEPT;

    if (r == NULL)
        world_fail("no memory for a request");
    r->uring = uring;
    r->file = file_get(sqe->fd, action_name(sqe->opcode));
    r->op = sqe->opcode;
    r->multishot = (accepts && (sqe->ioprio & IORING_ACCEPT_MULTISHOT) != 0) || (recvs && (sqe->ioprio & IORING_RECV_MULTISHOT) != 0);
    r->select = (sqe->flags & IOSQE_BUFFER_SELECT) != 0;
    r->more = sends && (sqe->msg_flags & MSG_MORE) != 0;
    r->impatient = (r->file->nonblock && (sends || recvs || accepts)) || ((sends || recvs) && (sqe->msg_flags & MSG_DONTWAIT) != 0);
    r->user_data = sqe->user_data;
    r->bytes = (char *)(uintptr_t)sqe->addr;
    r->len = sqe->len;
    r->left = r->multishot && recvs ? sqe->file_index : 0;
    r->group = sqe->buf_group;
    r->events = action_events(sqe);
    return r;
}

static void request_enlist(struct request *r)
{
    event_init(&r->late, late_fired);
    list_init(&r->work);
    list_append(&r->uring->requests, &r->place);
    list_add(bucket_of(r->uring, r->user_data), &r->bucket);
    list_append(&r->file->waiting, &r->waiting);
    r->file->requests++;
}

static bool out_of_memory(const struct request *r)
{
    return action_counts(r->op) && (nth_reached(NTH_SUBMISSION) || fault(FAULT_ENOMEM));
}

/* Fields that this kernel does not know are an error; a descriptor of -1 asks whether it does. */
static int sqe_refused(const struct io_uring_sqe *sqe)
{
    bool counted = sqe->opcode == IORING_OP_RECV && (sqe->ioprio & IORING_RECV_MULTISHOT) != 0 && kernel.counts_multishot;

    if (sqe->file_index != 0 && !counted)
        return -EINVAL;
    return sqe->fd == -1 ? -EBADF : 0;
}

void request_submit(struct uring *uring, const struct io_uring_sqe *sqe)
{
    struct request *r;

    if (!action_known(sqe))
        world_fail("an operation that this kernel does not know: %u, flags %x", sqe->opcode, sqe->flags);
    if (sqe->opcode == IORING_OP_ASYNC_CANCEL) {
        cancel_submit(uring, sqe);
        return;
    }
    if (sqe_refused(sqe) < 0) {
        cq_post(uring, sqe->user_data, sqe_refused(sqe), 0);
        return;
    }
    r = request_find(uring, sqe->user_data);
    if (r != NULL)
        world_fail("%s on descriptor %d is submitted with the op that is in flight: %s", action_name(sqe->opcode), sqe->fd,
                   request_text(r));
    r = request_new(uring, sqe);
    request_enlist(r);
    if (out_of_memory(r))
        complete_with(r, action_refused(r));
    else
        request_run(r);
}
