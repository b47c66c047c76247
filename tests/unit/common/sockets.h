#ifndef TESTS_UNIT_COMMON_SOCKETS_H
#define TESTS_UNIT_COMMON_SOCKETS_H
#include "common/addr.h"
#include <fcntl.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>
/* Connected pairs, and what a peer does with its end. */

static inline int listening_socket(struct addr *at)
{
    socklen_t len = sizeof(at->in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(addr_parse("127.0.0.1", at), 0);
    assert_int_equal(bind(fd, &at->sa, addr_len(at)), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, &at->sa, &len), 0);
    return fd;
}

static inline void tcp_pair(int pair[2])
{
    struct addr at;
    int listener = listening_socket(&at);

    pair[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(pair[1], &at.sa, addr_len(&at)), 0);
    pair[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(pair[0] >= 0);
    close(listener);
}

static inline void unix_pair(int pair[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
}

static inline void set_nonblocking(int fd)
{
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

/* The next close of it is a reset. */
static inline void reset_on_close(int fd)
{
    static const struct linger now = { .l_onoff = 1, .l_linger = 0 };

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
}

/* A byte that tells its place in a stream. */
static inline char stream_byte(size_t at)
{
    return (char)(at * 31 + (at >> 8) * 7 + (at >> 16));
}
#endif
