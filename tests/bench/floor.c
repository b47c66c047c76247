/*
 * What a request costs when hardly anything is done for it: bytes of clients go to back
 * connections, each to the one that has waited longest, and the answer goes back. It
 * knows no HTTP and trusts that a message comes in one piece, as those of bench_load do. It tells
 * which part of a cost is the kernel's, for so many back connections.
 *
 * bench_floor PORT INSTANCE_PORT BACKS: back number i leads to 127.1.(i / 250).(i % 250 + 1).
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX 256
#define PIECE_BYTES 16384
#define HOSTS 250

enum kind { LISTENER, CLIENT, BACK };

struct end {
    enum kind kind;
    int fd;
    struct end *peer;       /* of a request under way */
    struct end *next;       /* BACK, waiting */
};

static int epoll_fd;
static struct end *first, *last;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench_floor: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static struct end *end_new(enum kind kind, int fd)
{
    struct end *end = calloc(1, sizeof(*end));
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = end };
    int one = 1;

    if (end == NULL || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("cannot watch a connection");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    *end = (struct end){ .kind = kind, .fd = fd };
    return end;
}

static int tcp_socket(int flags)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

    if (fd < 0)
        die("socket");
    return fd;
}

static void back_wait(struct end *back)
{
    back->next = NULL;
    if (first == NULL)
        first = back;
    else
        last->next = back;
    last = back;
}

static void backs_open(uint16_t port, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint32_t host = 0x7f010000u + (i / HOSTS << 8) + i % HOSTS + 1;
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(host) };
        int fd = tcp_socket(0);

        if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
            die("cannot connect");
        back_wait(end_new(BACK, fd));
    }
}

static void clients_listen(uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = tcp_socket(SOCK_NONBLOCK);

    if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 65535) < 0)
        die("cannot listen");
    end_new(LISTENER, fd);
}

/* No request of its is under way, or its answer will be thrown away. */
static void client_gone(struct end *client)
{
    if (client->peer != NULL)
        client->peer->peer = NULL;
    close(client->fd);
    free(client);
}

static void client_asks(struct end *client, const char *bytes, size_t len)
{
    struct end *back = first;

    if (client->peer != NULL || back == NULL) {
        client_gone(client);
        return;
    }
    first = back->next;
    back->peer = client;
    client->peer = back;
    if (send(back->fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len)
        die("cannot send a request");
}

static void back_answers(struct end *back, const char *bytes, size_t len)
{
    struct end *client = back->peer;

    back->peer = NULL;
    back_wait(back);
    if (client == NULL)
        return;
    client->peer = NULL;
    if (send(client->fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len)
        die("cannot send an answer");
}

static void end_ready(struct end *end)
{
    static char bytes[PIECE_BYTES];
    ssize_t n;

    if (end->kind == LISTENER) {
        int fd = accept4(end->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            end_new(CLIENT, fd);
        return;
    }
    n = recv(end->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 && end->kind == BACK)
        die("an instance closed");
    if (n <= 0)
        client_gone(end);
    else if (end->kind == CLIENT)
        client_asks(end, bytes, (size_t)n);
    else
        back_answers(end, bytes, (size_t)n);
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS_MAX];

    if (argc != 4) {
        fprintf(stderr, "usage: %s PORT INSTANCE_PORT BACKS\n", argv[0]);
        return EXIT_FAILURE;
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("epoll");
    backs_open((uint16_t)atoi(argv[2]), (unsigned)atoi(argv[3]));
    clients_listen((uint16_t)atoi(argv[1]));
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++)
            end_ready(events[i].data.ptr);
    }
}
