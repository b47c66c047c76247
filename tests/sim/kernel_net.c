/* What halb asks of the kernel at once: common/net.h. */
#include "tests/sim/kernel_internal.h"
#include "common/net.h"
#include <errno.h>

#define SEND_BUFFER_BYTES ((size_t)512 * 1024)

int net_connector(const struct addr *to, const struct addr *source)
{
    struct file *file;

    if (descriptor_refused())
        return -EMFILE;
    file = file_new(FILE_SOCKET);
    file->socket.from = source->sa.sa_family == to->sa.sa_family ? *source : open_source(to);
    return file->fd;
}

int net_accept_waiting(int listening)
{
    struct file *file = file_get(listening, "accept");
    int r;

    if (file->kind != FILE_LISTENER)
        world_fail("accept on descriptor %d: %s", listening, file_text(file));
    file->nonblock = true;
    r = accept_file(file);
    trace("accept4 %d: %d", listening, r);
    return r;
}

/* Both ways have ended, and all is acknowledged: Linux knows no peer any more. */
static bool all_over(const struct link *link, unsigned side)
{
    const struct flow *out = &link->flows[side];

    return link->ends[side].dead || (link->flows[1 - side].fin_arrived && out->ended && out->next == out->last);
}

int net_peer(int fd, struct addr *peer)
{
    const struct socket *socket = &file_socket(fd, "getpeername")->socket;

    if (socket->link == NULL || socket->link->shake != SHAKE_DONE || all_over(socket->link, socket->side))
        return -ENOTCONN;
    *peer = socket->link->ends[1 - socket->side].addr;
    return 0;
}

int net_own(int fd, struct addr *own)
{
    const struct socket *socket = &file_socket(fd, "getsockname")->socket;

    *own = socket->link != NULL ? socket->link->ends[socket->side].addr : socket->from;
    return 0;
}

bool net_bytes_waiting(int fd)
{
    const struct socket *socket = &file_socket(fd, "recv")->socket;
    char byte;

    return socket->link != NULL && link_recv(socket->link, socket->side, &byte, 1, true) > 0;
}

/* A buffer of a usual size, as full as the window is: who asks compares with sizes of buffers. */
void net_nodelay(int fd)
{
    file_socket(fd, "setsockopt");      /* nothing is delayed here */
}

size_t net_send_room(int fd)
{
    const struct socket *socket = &file_socket(fd, "getsockopt")->socket;
    const struct link *link = socket->link;

    if (link == NULL)
        return SEND_BUFFER_BYTES;
    return (size_t)(SEND_BUFFER_BYTES * link_room(link, socket->side) / link->flows[socket->side].window);
}

/* shutdown(2): who waits on it goes on. */
void net_shut(int fd)
{
    struct file *file = file_socket(fd, "shutdown");

    trace("shutdown %d", fd);
    if (file->socket.link == NULL)
        return;
    link_shut(file->socket.link, file->socket.side);
    file_changed(file, POLLOUT | POLLHUP);
}

static void file_close(int fd, bool reset)
{
    struct file *file = file_get(fd, "close");

    trace("%s %d", reset ? "reset" : "close", fd);
    if (file->requests > 0)
        file_free(file);        /* says so */
    switch (file->kind) {
    case FILE_LISTENER:
        listener_close(&file->listener);
        break;
    case FILE_SOCKET:
        if (file->socket.link != NULL)
            link_close(file->socket.link, file->socket.side, reset);
        break;
    case FILE_PIPE:
        pipe_close(file->end.pipe);
        break;
    case FILE_EVENT:
        break;
    case FILE_RING:
        world_fail("close on descriptor %d: %s", fd, file_text(file));
    }
    file_free(file);
}

void net_close(int fd)
{
    file_close(fd, false);
}

void net_reset(int fd)
{
    file_close(fd, true);
}

int net_nonblock(int fd)
{
    file_get(fd, "fcntl")->nonblock = true;
    return 0;
}

int net_pipe(int fds[2], size_t bytes)
{
    struct pipe *pipe;

    if (descriptor_refused())
        return -EMFILE;
    pipe = pipe_new(bytes);
    for (unsigned i = 0; i < 2; i++) {
        struct file *file = file_new(FILE_PIPE);
        file->nonblock = true;
        file->end.pipe = pipe;
        file->end.input = i == 1;
        fds[i] = file->fd;
    }
    return 0;
}

int net_event(void)
{
    return file_new(FILE_EVENT)->fd;
}

void net_event_signal(int fd)
{
    struct file *file = file_get(fd, "write");

    if (file->kind != FILE_EVENT)
        world_fail("write on descriptor %d: %s", fd, file_text(file));
    file->count++;
    file_changed(file, POLLIN);
}
