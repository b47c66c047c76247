#ifndef COMMON_NET_H
#define COMMON_NET_H
#include "common/addr.h"
#include <stdbool.h>
#include <stddef.h>
/*
 * What is asked of the kernel at once, beside the ring: it never waits. With
 * ring.h, clock.h and thread.h all that the data plane and the health checks
 * know of the system; another implementation may stand behind it. Any thread.
 * Descriptors are CLOEXEC; errors are -errno.
 */

/* A TCP socket to be connected to `to`; from source's address if it is of the same family and is here, else
 * from the kernel's choice. The port is chosen at connect, per destination. A descriptor, or -errno. */
int net_connector(const struct addr *to, const struct addr *source);
/* One that waits to be accepted: a descriptor; -EAGAIN: none does. Leaves the listening socket non-blocking: it is about to close. */
int net_accept_waiting(int listening);
void net_nodelay(int fd);                       /* what is sent goes out at once, however small */
int net_peer(int fd, struct addr *peer);        /* 0, or -ENOTCONN: it has gone already */
int net_own(int fd, struct addr *own);
bool net_bytes_waiting(int fd);                 /* received, and nobody has read them */
size_t net_send_room(int fd);                   /* about so much would a send take at once */
void net_shut(int fd);                          /* FIN after what was sent */
void net_close(int fd);
void net_reset(int fd);                         /* closes with RST */

/* Bulk bytes from socket to socket by a pipe (splice(2)). All three must not block from then on. */
int net_nonblock(int fd);
int net_pipe(int fds[2], size_t bytes);         /* [0] to read from; as large as `bytes`, if that may be had. 0 or -errno */
long net_splice(int from, int to, size_t len);  /* bytes moved, 0: `from` has ended, -EAGAIN, or -errno */

/* What wakes a ring of another thread: a counter to be read by it. */
int net_event(void);                            /* a descriptor or -errno */
void net_event_signal(int fd);                  /* also from a signal handler */
#endif
