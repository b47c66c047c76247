/* What each operation does when it can go on, and what it may come to instead. */
#include "tests/sim/kernel_uring.h"
#include <errno.h>
#include <string.h>

#define WITHHELD_US 500         /* halb believes that there are buffers and asks again at once: not for ever at one instant */
#define FAILING (POLLERR | POLLHUP)

static struct outcome result(long res)
{
    return (struct outcome){ .res = (int)res };
}

static struct link *link_of(const struct request *r)
{
    if (r->file->kind != FILE_SOCKET || r->file->socket.link == NULL)
        world_fail("%s on descriptor %d: %s", action_name(r->op), r->file->fd, file_text(r->file));
    return r->file->socket.link;
}

static unsigned side_of(const struct request *r)
{
    return r->file->socket.side;
}

/* Accept. */

static bool accept_ready(struct request *r)
{
    if (r->file->kind != FILE_LISTENER)
        world_fail("accept on descriptor %d: %s", r->file->fd, file_text(r->file));
    return !list_empty(&r->file->listener.queue);
}

static struct outcome accept_take(struct request *r)
{
    return result(accept_file(r->file));
}

/* Connect. */

static void connect_start(struct request *r)
{
    struct socket *socket = &r->file->socket;

    if (r->file->kind != FILE_SOCKET || socket->link != NULL)
        world_fail("connect on descriptor %d: %s", r->file->fd, file_text(r->file));
    r->to = addr_from_sockaddr((const struct sockaddr *)r->bytes);
    socket->from = addr_with_port(socket->from, open_port());
    socket->link = link_new(&socket->from, &r->to);
    socket->side = 0;
    socket->link->ends[0].file = r->file;
    open_begin(socket->link);
    r->started = true;
}

static bool connect_ready(struct request *r)
{
    if (!r->started)
        connect_start(r);
    return link_of(r)->shake == SHAKE_DONE;
}

static struct outcome connect_take(struct request *r)
{
    struct link *link = link_of(r);
    struct addr to = addr_from_sockaddr((const struct sockaddr *)r->bytes);

    if (addr_port(&to) != addr_port(&r->to) || !addr_equal_host(&to, &r->to))
        world_fail("descriptor %d: the address changed while it was being connected to: %s", r->file->fd, file_text(r->file));
    if (link->verdict < 0) {
        link->ends[0].err = 0;
        return result(link->verdict);
    }
    kernel.totals.connected++;
    return result(0);
}

/* Receive. */

static struct group *group_of(const struct request *r)
{
    if (!r->select || r->group >= GROUPS || r->uring->groups[r->group].shared == NULL)
        world_fail("recv on descriptor %d without a provided buffer: %s", r->file->fd, file_text(r->file));
    return &r->uring->groups[r->group];
}

/* Mostly none of the scarce ones: halb, which knows of more, must still come to an end with its waiting. */
static bool withheld(struct request *r)
{
    if (!r->asked)
        r->withheld = group_scarce(group_of(r)) && choice(700);
    r->asked = true;
    return r->withheld;
}

static bool recv_ready(struct request *r)
{
    return group_empty(group_of(r)) || withheld(r) || link_recv_ready(link_of(r), side_of(r));
}

static struct outcome no_buffers(bool by_fault)
{
    kernel.totals.faults += by_fault;
    return (struct outcome){ .res = -ENOBUFS, .hold_us = by_fault ? WITHHELD_US : 0 };
}

static struct outcome recv_take(struct request *r)
{
    struct group *group = group_of(r);
    struct link *link = link_of(r);
    struct io_uring_buf buf;
    struct outcome outcome;
    size_t len;

    r->asked = false;
    if (group_empty(group) || r->withheld)
        return no_buffers(!group_empty(group));
    buf = group_first(group);
    len = r->len > 0 && r->len < buf.len ? r->len : buf.len;
    if (link_readable(link, side_of(r)) > 0)
        len = short_of(len < link_readable(link, side_of(r)) ? len : link_readable(link, side_of(r)));
    outcome = result(link_recv(link, side_of(r), (void *)(uintptr_t)buf.addr, len, false));
    if (link_readable(link, side_of(r)) > 0)
        outcome.flags |= IORING_CQE_F_SOCK_NONEMPTY;
    if (outcome.res > 0 || (outcome.res == 0 && choice(250))) {     /* kernels differ in who keeps the buffer of an end */
        group_take(group);
        outcome.flags |= IORING_CQE_F_BUFFER | (unsigned)buf.bid << IORING_CQE_BUFFER_SHIFT;
    }
    return outcome;
}

/* Send. */

static bool send_ready(struct request *r)
{
    return link_send_ready(link_of(r), side_of(r));
}

static struct outcome send_take(struct request *r)
{
    return result(link_send(link_of(r), side_of(r), r->bytes, short_of(r->len), r->more));
}

/* Read of an event. */

static bool read_ready(struct request *r)
{
    if (r->file->kind != FILE_EVENT || r->len < sizeof(r->file->count))
        world_fail("read on descriptor %d: %s", r->file->fd, file_text(r->file));
    return r->file->count > 0;
}

static struct outcome read_take(struct request *r)
{
    memcpy(r->bytes, &r->file->count, sizeof(r->file->count));
    r->file->count = 0;
    return result(sizeof(r->file->count));
}

/* Poll. */

static unsigned poll_now(struct request *r)
{
    return link_poll(link_of(r), side_of(r)) & r->events;
}

static bool poll_ready(struct request *r)
{
    return poll_now(r) != 0;
}

static struct outcome poll_take(struct request *r)
{
    return result(poll_now(r));
}

/* All of them. */

static const struct action {
    const char *name;
    bool (*ready)(struct request *r);
    struct outcome (*take)(struct request *r);
    unsigned events;
} actions[] = {
    [IORING_OP_ACCEPT] = { "accept", accept_ready, accept_take, POLLIN },
    [IORING_OP_CONNECT] = { "connect", connect_ready, connect_take, POLLOUT | FAILING },
    [IORING_OP_RECV] = { "recv", recv_ready, recv_take, POLLIN | POLLRDHUP | FAILING },
    [IORING_OP_SEND] = { "send", send_ready, send_take, POLLOUT | FAILING },
    [IORING_OP_READ] = { "read", read_ready, read_take, POLLIN },
    [IORING_OP_POLL_ADD] = { "poll", poll_ready, poll_take, FAILING },
    [IORING_OP_ASYNC_CANCEL] = { .name = "cancel" },
};
#define ACTIONS (sizeof(actions) / sizeof(actions[0]))

bool action_known(const struct io_uring_sqe *sqe)
{
    return sqe->opcode < ACTIONS && actions[sqe->opcode].name != NULL && (sqe->flags & ~IOSQE_BUFFER_SELECT) == 0;
}

const char *action_name(uint8_t op)
{
    return actions[op].name;
}

unsigned action_events(const struct io_uring_sqe *sqe)
{
    return actions[sqe->opcode].events | (sqe->opcode == IORING_OP_POLL_ADD ? sqe->poll32_events : 0);
}

bool action_ready(struct request *r)
{
    return actions[r->op].ready(r);
}

struct outcome action_take(struct request *r)
{
    return actions[r->op].take(r);
}

bool action_counts(uint8_t op)
{
    return op != IORING_OP_READ && op != IORING_OP_ASYNC_CANCEL;
}

int action_refused(const struct request *r)
{
    bool bytes = r->op == IORING_OP_RECV || r->op == IORING_OP_SEND;

    if (r->op == IORING_OP_ACCEPT)
        return -EMFILE;
    return bytes && choice(500) ? -ENOBUFS : -ENOMEM;
}

/* The connection is reset just then. */
static struct outcome cut(struct request *r)
{
    struct link *link = link_of(r);

    link_cut(link, side_of(r));
    if (r->op == IORING_OP_POLL_ADD)
        return result(poll_now(r));
    link->ends[side_of(r)].err = 0;
    return result(-ECONNRESET);
}

struct outcome action_spoiled(struct request *r)
{
    if (r->op == IORING_OP_ACCEPT)
        return result(-EMFILE);
    if (r->op == IORING_OP_CONNECT)
        return result(choice(500) ? -EADDRNOTAVAIL : -ENOMEM);
    if (r->op == IORING_OP_POLL_ADD || choice(500))
        return cut(r);
    return result(-ENOMEM);
}
