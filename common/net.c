#include "common/net.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* 0, also where the address is not here (a standby's); or -errno. */
static int bind_source(int fd, const struct addr *to, const struct addr *source)
{
    static const int one = 1;

    if (source->sa.sa_family != to->sa.sa_family)
        return 0;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    if (bind(fd, &source->sa, addr_len(source)) == 0 || errno == EADDRNOTAVAIL)
        return 0;
    return -errno;
}

void net_nodelay(int fd)
{
    static const int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

int net_connector(const struct addr *to, const struct addr *source)
{
    int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

    if (fd < 0)
        return -errno;
    r = bind_source(fd, to, source);
    if (r == 0)
        return fd;
    close(fd);
    return r;
}

int net_accept_waiting(int listening)
{
    int fd;

    net_nonblock(listening);
    do
        fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    return fd < 0 ? -errno : fd;
}

static int name_of(int fd, struct addr *ret, int (*ask)(int, struct sockaddr *restrict, socklen_t *restrict))
{
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);

    if (ask(fd, (struct sockaddr *)&name, &len) < 0)
        return -errno;
    *ret = addr_from_sockaddr((const struct sockaddr *)&name);
    return 0;
}

int net_peer(int fd, struct addr *peer)
{
    return name_of(fd, peer, getpeername);
}

int net_own(int fd, struct addr *own)
{
    return name_of(fd, own, getsockname);
}

bool net_bytes_waiting(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

size_t net_send_room(int fd)
{
    uint32_t memory[SK_MEMINFO_VARS] = { 0 };
    socklen_t len = sizeof(memory);

    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &len) < 0 || memory[SK_MEMINFO_SNDBUF] < memory[SK_MEMINFO_WMEM_QUEUED])
        return 0;
    return memory[SK_MEMINFO_SNDBUF] - memory[SK_MEMINFO_WMEM_QUEUED];
}

void net_shut(int fd)
{
    shutdown(fd, SHUT_WR);
}

void net_close(int fd)
{
    close(fd);
}

void net_reset(int fd)
{
    static const struct linger now = { .l_onoff = 1, .l_linger = 0 };

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}

int net_nonblock(int fd)
{
    return fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

int net_pipe(int fds[2], size_t bytes)
{
    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0)
        return -errno;
    fcntl(fds[1], F_SETPIPE_SZ, (int)bytes);        /* refused past the user's quota: a small one works too */
    return 0;
}

long net_splice(int from, int to, size_t len)
{
    ssize_t n = splice(from, NULL, to, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

    return n >= 0 ? n : errno == EINTR ? -EAGAIN : -errno;
}

int net_event(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

void net_event_signal(int fd)
{
    static const uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof(one));

    (void)n;        /* it fails only when the counter is full, and then its reader is awake */
}
