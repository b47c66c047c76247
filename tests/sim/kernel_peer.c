/* The ends that clients and instances hold. */
#include "tests/sim/kernel_internal.h"
#include <errno.h>

void peer_connect(struct peer *peer, const struct peer_events *events, const struct addr *from, const struct addr *to)
{
    struct addr source = addr_port(from) == 0 ? addr_with_port(*from, open_port()) : *from;
    struct link *link = link_new(&source, to);

    peer->link = link;
    peer->side = 0;
    peer->events = events;
    link->ends[0].peer = peer;
    open_begin(link);
}

struct addr peer_own(const struct peer *peer)
{
    return peer->link->ends[peer->side].addr;
}

size_t peer_readable(const struct peer *peer)
{
    return peer->link != NULL ? link_readable(peer->link, peer->side) : 0;
}

size_t peer_read(struct peer *peer, void *bytes, size_t size)
{
    long n = peer_readable(peer) > 0 && size > 0 ? link_recv(peer->link, peer->side, bytes, size, false) : 0;

    return (size_t)n;
}

size_t peer_write(struct peer *peer, const void *bytes, size_t size)
{
    long n = peer->link != NULL ? link_send(peer->link, peer->side, bytes, size, false) : 0;

    return n > 0 ? (size_t)n : 0;
}

uint64_t peer_sent_us(const struct peer *peer)
{
    const struct flow *flow = &peer->link->flows[1 - peer->side];

    for (unsigned i = flow->first; i != flow->next; i++)
        if (flow->segments[i & (flow->room - 1)].end > flow->queue.head)
            return flow->segments[i & (flow->room - 1)].sent_us;
    return world_now_us();
}

void peer_shut(struct peer *peer)
{
    if (peer->link != NULL)
        link_shut(peer->link, peer->side);
}

void peer_close(struct peer *peer)
{
    if (peer->link != NULL)
        link_close(peer->link, peer->side, false);
}

void peer_reset(struct peer *peer)
{
    if (peer->link != NULL)
        link_close(peer->link, peer->side, true);
}

void peer_vanish(struct peer *peer)
{
    if (peer->link != NULL)
        link_vanish(peer->link, peer->side);
}

bool peer_acked(const struct peer *peer)
{
    const struct flow *flow;

    if (peer->link == NULL)
        return false;
    flow = &peer->link->flows[peer->side];
    return flow->arrived == flow->queue.tail;
}
