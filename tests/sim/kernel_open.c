/* How connections begin: SYNs and what answers them, the queues of halb's listening sockets, the ports of the instances. */
#include "tests/sim/kernel_internal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#define SECOND_US UINT64_C(1000000)
#define SYN_TRIES 7             /* after 1, 2, 4 ... seconds; the last one's answer is awaited, too */
#define SOURCE_PORT_FIRST 32768
#define SOURCE_PORT_LAST 60999

uint16_t open_port(void)
{
    unsigned port = kernel.next_port;

    kernel.next_port = port == SOURCE_PORT_LAST ? SOURCE_PORT_FIRST : port + 1;
    return (uint16_t)port;
}

static bool any_host(const struct addr *a)
{
    static const struct in6_addr none = IN6ADDR_ANY_INIT;

    return a->sa.sa_family == AF_INET ? a->in.sin_addr.s_addr == INADDR_ANY : memcmp(&a->in6.sin6_addr, &none, sizeof(none)) == 0;
}

/* The node's own address of that family: one it listens at. */
struct addr open_source(const struct addr *to)
{
    struct addr fallback;

    list_for_each(place, &kernel.listeners) {
        const struct addr *at = &list_entry(place, struct listener, place)->at;
        if (at->sa.sa_family == to->sa.sa_family && !any_host(at))
            return addr_with_port(*at, 0);
    }
    addr_parse(to->sa.sa_family == AF_INET ? "127.0.0.1" : "::1", &fallback);
    return fallback;
}

/* Ports. */

void port_add(struct port *port)
{
    port->next = kernel.ports;
    kernel.ports = port;
}

void port_remove(struct port *port)
{
    for (struct port **at = &kernel.ports; *at != NULL; at = &(*at)->next)
        if (*at == port) {
            *at = port->next;
            return;
        }
}

static bool same(const struct addr *a, const struct addr *b)
{
    return addr_port(a) == addr_port(b) && addr_equal_host(a, b);
}

static struct port *port_at(const struct addr *at)
{
    for (struct port *port = kernel.ports; port != NULL; port = port->next)
        if (same(&port->at, at))
            return port;
    return NULL;
}

/* Listening sockets. */

static struct file *file_of(struct listener *listener)
{
    return container_of(listener, struct file, listener);
}

int kernel_listen(const struct addr *at)
{
    struct file *file = file_new(FILE_LISTENER);

    file->listener.at = *at;
    file->listener.serial = ++kernel.serial;
    list_init(&file->listener.queue);
    list_append(&kernel.listeners, &file->listener.place);
    return file->fd;
}

void listener_close(struct listener *listener)
{
    list_remove(&listener->place);
    while (!list_empty(&listener->queue)) {
        struct link *link = list_entry(listener->queue.next, struct link, ends[1].place);
        trace("reset in the backlog");
        link_close(link, 1, true);
    }
}

static bool listens_at(const struct listener *listener, const struct addr *at)
{
    if (addr_port(&listener->at) != addr_port(at) || listener->at.sa.sa_family != at->sa.sa_family)
        return false;
    return any_host(&listener->at) || addr_equal_host(&listener->at, at);
}

/* Any of those that share the address. */
static struct listener *listener_at(const struct addr *at, struct dice *dice)
{
    struct listener *found = NULL;
    unsigned seen = 0;

    list_for_each(place, &kernel.listeners) {
        struct listener *listener = list_entry(place, struct listener, place);
        if (listens_at(listener, at) && dice_below(dice, ++seen) == 0)
            found = listener;
    }
    return found;
}

static struct listener *listener_of(uint64_t serial)
{
    list_for_each(place, &kernel.listeners)
        if (list_entry(place, struct listener, place)->serial == serial)
            return list_entry(place, struct listener, place);
    return NULL;
}

struct link *listener_take(struct file *file)
{
    struct link *link;

    if (list_empty(&file->listener.queue))
        return NULL;
    link = list_entry(file->listener.queue.next, struct link, ends[1].place);
    list_remove(&link->ends[1].place);
    return link;
}

int accept_file(struct file *listening)
{
    struct file *file;
    struct link *link;

    if (list_empty(&listening->listener.queue))
        return -EAGAIN;
    if (descriptor_refused())
        return -EMFILE;
    link = listener_take(listening);
    file = file_new(FILE_SOCKET);
    file->socket = (struct socket){ .from = link->ends[1].addr, .link = link, .side = 1 };
    link->ends[1].state = END_OPEN;
    link->ends[1].file = file;
    kernel.totals.accepted++;
    return file->fd;
}

/* The handshake. */

static void answer_after(struct link *link, int verdict, uint64_t in_us)
{
    link->shake = SHAKE_ANSWER;
    link->verdict = verdict;
    event_set(&link->handshake, world_now_us() + in_us);
}

/* Lost. Tries again after 1, 2, 4 ... seconds. */
static void syn_lost(struct link *link)
{
    uint64_t wait_us = SECOND_US << link->syn_tries;

    if (++link->syn_tries == SYN_TRIES)
        answer_after(link, -ETIMEDOUT, wait_us);
    else
        event_set(&link->handshake, world_now_us() + wait_us);
}

static void syn_at_port(struct link *link, const struct port *port)
{
    switch (port->mode) {
    case PORT_OPEN:
        answer_after(link, 0, link_delay(link));
        break;
    case PORT_REFUSES:
        answer_after(link, -ECONNREFUSED, link_delay(link));
        break;
    case PORT_SILENT:
        syn_lost(link);
        break;
    case PORT_UNREACHABLE:
        answer_after(link, -EHOSTUNREACH, link_delay(link));
        break;
    }
}

static void syn_arrives(struct link *link)
{
    const struct port *port = port_at(&link->ends[1].addr);
    const struct listener *listener;

    if (port != NULL) {
        syn_at_port(link, port);
        return;
    }
    listener = listener_at(&link->ends[1].addr, &link->dice);
    link->listener = listener != NULL ? listener->serial : 0;
    answer_after(link, listener != NULL ? 0 : -ECONNREFUSED, link_delay(link));
}

static void answer_arrives(struct link *link)
{
    struct end *end = &link->ends[0];

    link->shake = SHAKE_DONE;
    if (link->verdict < 0) {
        link->ends[1].state = END_CLOSED;
        link_break(link, 0, -link->verdict);
        return;
    }
    link_flag(link, 0, SEG_OPEN);
    if (end->file != NULL)
        file_changed(end->file, POLLOUT);
    else if (end->peer != NULL)
        end->peer->events->connected(end->peer);
}

static void handshake_fired(struct event *event)
{
    struct link *link = container_of(event, struct link, handshake);

    link_hold(link);
    if (link->shake == SHAKE_SYN)
        syn_arrives(link);
    else
        answer_arrives(link);
    link_release(link);
}

void open_begin(struct link *link)
{
    bool lost = !kernel.calm && dice_permille(&link->dice, kernel.conf.net.syn_lost);

    link->ends[0].state = END_OPEN;
    link->opened_us = world_now_us();
    event_init(&link->handshake, handshake_fired);
    event_set(&link->handshake, world_now_us() + link_delay(link) + (lost ? SECOND_US : 0));
}

/* The other end is there. */

static void arrived_at_listener(struct link *link)
{
    struct listener *listener = listener_of(link->listener);

    if (listener == NULL) {
        link_close(link, 1, true);
        return;
    }
    link->ends[1].state = END_QUEUED;
    list_append(&listener->queue, &link->ends[1].place);
    file_changed(file_of(listener), POLLIN);
}

static void arrived_at_port(struct link *link)
{
    struct port *port = port_at(&link->ends[1].addr);
    struct peer *peer = NULL;

    if (port != NULL && port->mode == PORT_OPEN)
        peer = port->accepted(port, &link->ends[0].addr, link->opened_us);
    if (peer == NULL) {
        link_close(link, 1, true);
        return;
    }
    peer->link = link;
    peer->side = 1;
    link->ends[1].peer = peer;
    link->ends[1].state = END_OPEN;
}

void link_arrived(struct link *link)
{
    if (link->listener != 0)
        arrived_at_listener(link);
    else
        arrived_at_port(link);
}
