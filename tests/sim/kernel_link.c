/*
 * Connections: what one end sends comes to the other in segments, in order, after a while. What an end may know and when follows
 * Linux's TCP; the segments themselves are never lost but by a machine that is gone.
 */
#include "tests/sim/kernel_internal.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_MIN 1024
#define SEGMENT_MAX 65535
#define WINDOW_DEFAULT 65536
#define CORK_US 200000                  /* how long MSG_MORE holds bytes back */
#define GIVE_UP_US UINT64_C(924600000)  /* tcp_retries2 = 15 */
#define CALM_DELAY_US 100
#define ALL_EVENTS (POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP)

/* Queues. */

static void queue_grow(struct queue *queue, size_t need)
{
    size_t room = queue->room == 0 ? QUEUE_MIN : queue->room;
    size_t held = (size_t)(queue->tail - queue->head);
    struct queue grown;

    while (room < need)
        room *= 2;
    grown = (struct queue){ .bytes = malloc(room), .room = room, .head = queue->head, .tail = queue->head };
    if (grown.bytes == NULL)
        world_fail("no memory for bytes on their way");
    for (size_t i = 0; i < held;) {
        size_t from = (size_t)((queue->head + i) & (queue->room - 1)), len = queue->room - from;
        len = len < held - i ? len : held - i;
        queue_put(&grown, queue->bytes + from, len);
        i += len;
    }
    free(queue->bytes);
    *queue = grown;
}

void queue_put(struct queue *queue, const void *bytes, size_t len)
{
    size_t held = (size_t)(queue->tail - queue->head), to, first;

    if (held + len > queue->room)
        queue_grow(queue, held + len);
    to = (size_t)(queue->tail & (queue->room - 1));
    first = len < queue->room - to ? len : queue->room - to;
    memcpy(queue->bytes + to, bytes, first);
    if (len > first)
        memcpy(queue->bytes, (const char *)bytes + first, len - first);
    queue->tail += len;
}

void queue_peek(const struct queue *queue, void *bytes, size_t len)
{
    size_t from, first;

    assert(len <= queue->tail - queue->head);
    if (len == 0)
        return;
    from = (size_t)(queue->head & (queue->room - 1));
    first = len < queue->room - from ? len : queue->room - from;
    memcpy(bytes, queue->bytes + from, first);
    if (len > first)
        memcpy((char *)bytes + first, queue->bytes, len - first);
}

void queue_free(struct queue *queue)
{
    free(queue->bytes);
    *queue = (struct queue){ 0 };
}

/* Segments. */

static struct segment *segment_at(const struct flow *flow, unsigned i)
{
    return &flow->segments[i & (flow->room - 1)];
}

static void segments_grow(struct flow *flow)
{
    unsigned room = flow->room == 0 ? 8 : flow->room * 2;
    struct segment *segments = malloc(room * sizeof(*segments));

    if (segments == NULL)
        world_fail("no memory for segments");
    for (unsigned i = flow->first; i != flow->last; i++)
        segments[i & (room - 1)] = *segment_at(flow, i);
    free(flow->segments);
    flow->segments = segments;
    flow->room = room;
}

uint64_t link_delay(struct link *link)
{
    uint64_t delay = dice_between(&link->dice, link->delay_low, link->delay_high);

    return kernel.calm && delay > CALM_DELAY_US ? CALM_DELAY_US : delay;
}

/* The next segment comes, or, where nobody answers any more, the sender gives up. */
static void flow_schedule(struct link *link, unsigned side)
{
    struct flow *flow = &link->flows[side];

    if (flow->next == flow->last)
        return;
    if (link->ends[1 - side].state != END_VANISHED)
        event_set(&flow->arrival, segment_at(flow, flow->next)->arrive_us);
    else if (!event_is_set(&flow->timeout))
        event_set(&flow->timeout, world_now_us() + GIVE_UP_US);
}

static uint64_t not_before_last(const struct flow *flow, unsigned last, uint64_t at_us)
{
    uint64_t before = last != flow->next ? segment_at(flow, last - 1)->arrive_us : 0;

    return at_us > before ? at_us : before;
}

static void segment_add(struct link *link, unsigned side, enum segment_flag flag, uint64_t end, bool corked)
{
    struct flow *flow = &link->flows[side];
    uint64_t at_us = world_now_us() + link_delay(link) + (corked ? CORK_US : 0);

    if (flow->last - flow->first == flow->room)
        segments_grow(flow);
    at_us = not_before_last(flow, flow->last, at_us);
    *segment_at(flow, flow->last) =
        (struct segment){ .end = end, .sent_us = world_now_us(), .arrive_us = at_us, .flag = flag, .corked = corked };
    if (flow->last++ == flow->next)
        flow_schedule(link, side);
}

/* What MSG_MORE has held back goes out. */
static void uncork(struct link *link, unsigned side)
{
    struct flow *flow = &link->flows[side];
    struct segment *newest;

    if (flow->last == flow->next)
        return;
    newest = segment_at(flow, flow->last - 1);
    if (!newest->corked)
        return;
    newest->corked = false;
    newest->arrive_us = not_before_last(flow, flow->last - 1, world_now_us() + link_delay(link));
    if (flow->last - 1 == flow->next)
        flow_schedule(link, side);
}

void link_flag(struct link *link, unsigned side, enum segment_flag flag)
{
    uncork(link, side);
    segment_add(link, side, flag, link->flows[side].queue.tail, false);
}

/* Beginning and end of a connection. */

static void arrival_fired(struct event *event);
static void opening_fired(struct event *event);
static void timeout_fired(struct event *event);

static uint64_t addr_number(const struct addr *a)
{
    uint64_t words[2] = { 0 };

    if (a->sa.sa_family == AF_INET)
        words[0] = a->in.sin_addr.s_addr;
    else
        memcpy(words, &a->in6.sin6_addr, sizeof(words));
    return (words[0] * UINT64_C(0x9e3779b97f4a7c15) ^ words[1]) * UINT64_C(0xbf58476d1ce4e5b9) + addr_port(a);
}

static void flow_init(struct link *link, unsigned side)
{
    const struct net_profile *net = &kernel.conf.net;
    struct flow *flow = &link->flows[side];

    flow->link = link;
    flow->from = side;
    event_init(&flow->arrival, arrival_fired);
    event_init(&flow->opening, opening_fired);
    event_init(&flow->timeout, timeout_fired);
    flow->window = net->window_max > 0 ? dice_between(&link->dice, net->window_min, net->window_max) : WINDOW_DEFAULT;
    flow->window = flow->window > 0 ? flow->window : 1;
}

struct link *link_new(const struct addr *from, const struct addr *to)
{
    const struct net_profile *net = &kernel.conf.net;
    struct link *link = calloc(1, sizeof(*link));
    uint64_t a, b;

    if (link == NULL)
        world_fail("no memory for a connection");
    dice_init(&link->dice, kernel.conf.seed, addr_number(from) ^ addr_number(to) * 3 ^ world_now_us());
    a = dice_between(&link->dice, net->delay_min_us, net->delay_max_us);
    b = dice_between(&link->dice, net->delay_min_us, net->delay_max_us);
    link->delay_low = a < b ? a : b;
    link->delay_high = a < b ? b : a;
    link->cut = net->cut_max > 0 ? net->cut_max : SEGMENT_MAX;
    link->ends[0].addr = *from;
    link->ends[1].addr = *to;
    link->opened_us = world_now_us();
    for (unsigned i = 0; i < 2; i++) {
        list_init(&link->ends[i].place);
        flow_init(link, i);
    }
    list_append(&kernel.links, &link->place);
    return link;
}

void link_free(struct link *link)
{
    for (unsigned i = 0; i < 2; i++) {
        struct flow *flow = &link->flows[i];
        if (link->ends[i].peer != NULL)
            link->ends[i].peer->link = NULL;
        list_remove(&link->ends[i].place);
        event_clear(&flow->arrival);
        event_clear(&flow->opening);
        event_clear(&flow->timeout);
        queue_free(&flow->queue);
        free(flow->segments);
    }
    event_clear(&link->handshake);
    list_remove(&link->place);
    free(link);
}

void link_hold(struct link *link)
{
    link->busy++;
}

static bool end_gone(const struct end *end)
{
    return end->state == END_CLOSED || end->state == END_VANISHED;
}

void link_release(struct link *link)
{
    if (--link->busy > 0)
        return;
    if (end_gone(&link->ends[0]) && (end_gone(&link->ends[1]) || link->shake != SHAKE_DONE))
        link_free(link);
}

/* Telling the owner of an end. An actor's peer may do anything from there. */

static void end_readable(struct link *link, unsigned side)
{
    struct end *end = &link->ends[side];

    if (end->file != NULL)
        file_changed(end->file, POLLIN);
    else if (end->peer != NULL)
        end->peer->events->readable(end->peer);
}

static void end_finished(struct link *link, unsigned side)
{
    struct end *end = &link->ends[side];

    if (end->file != NULL)
        file_changed(end->file, POLLIN | POLLRDHUP | POLLHUP);
    else if (end->peer != NULL)
        end->peer->events->ended(end->peer);
}

static void peer_break(struct end *end, int err)
{
    struct peer *peer = end->peer;

    end->peer = NULL;
    end->state = END_CLOSED;
    peer->link = NULL;
    peer->events->broken(peer, -err);
}

void link_break(struct link *link, unsigned side, int err)
{
    struct end *end = &link->ends[side];

    if (end->dead || end_gone(end))
        return;
    end->dead = true;
    end->err = err;
    event_clear(&link->flows[side].opening);
    event_clear(&link->flows[side].timeout);
    if (end->state == END_NONE)
        end->state = END_CLOSED;
    if (end->file != NULL)
        file_changed(end->file, ALL_EVENTS);
    else if (end->peer != NULL)
        peer_break(end, err);
}

/* Sending a reset: what is on its way before it may be lost with it. */
static void send_reset(struct link *link, unsigned side)
{
    struct flow *flow = &link->flows[side];
    struct end *end = &link->ends[side];

    if (end->rst_sent || end->dead)
        return;
    end->rst_sent = true;
    if (flow->last != flow->next && dice_permille(&link->dice, 500))
        flow->last = flow->next + (unsigned)dice_below(&link->dice, flow->last - flow->next + 1);
    flow->queue.tail = flow->last != flow->next ? segment_at(flow, flow->last - 1)->end : flow->arrived;
    if (flow->last == flow->next)
        event_clear(&flow->arrival);
    link_flag(link, side, SEG_RST);
}

/* Arrivals. */

static void data_arrives(struct link *link, unsigned side, const struct segment *segment)
{
    struct flow *flow = &link->flows[1 - side];

    flow->arrived = segment->end;
    if (link->ends[side].state == END_CLOSED)
        send_reset(link, side);
}

static void flag_arrives(struct link *link, unsigned side, enum segment_flag flag)
{
    struct flow *flow = &link->flows[1 - side];

    if (flag == SEG_OPEN)
        link_arrived(link);
    if (flag == SEG_FIN) {
        flow->fin_arrived = true;
        end_finished(link, side);
    }
    if (flag == SEG_RST)        /* after a FIN, the one who goes on sending is told that nobody reads */
        link_break(link, side, flow->fin_arrived && !link->flows[side].ended ? EPIPE : ECONNRESET);
}


static bool segment_due(const struct link *link, unsigned from)
{
    const struct flow *flow = &link->flows[from];

    if (link->ends[1 - from].state == END_VANISHED || flow->next == flow->last)
        return false;
    return segment_at(flow, flow->next)->arrive_us <= world_now_us();
}

/* All data before the next flag, announced at once. */
static void data_due(struct link *link, unsigned from)
{
    struct flow *flow = &link->flows[from];
    bool any = false;

    for (; segment_due(link, from) && segment_at(flow, flow->next)->flag == SEG_DATA; flow->next++) {
        data_arrives(link, 1 - from, segment_at(flow, flow->next));
        any = true;
    }
    if (any)
        end_readable(link, 1 - from);
}

static void arrival_fired(struct event *event)
{
    struct flow *flow = container_of(event, struct flow, arrival);
    struct link *link = flow->link;

    link_hold(link);
    while (segment_due(link, flow->from)) {
        enum segment_flag flag = segment_at(flow, flow->next)->flag;
        if (flag == SEG_DATA) {
            data_due(link, flow->from);
            continue;
        }
        flow->next++;
        flag_arrives(link, 1 - flow->from, flag);
    }
    flow_schedule(link, flow->from);
    link_release(link);
}

static void timeout_fired(struct event *event)
{
    struct flow *flow = container_of(event, struct flow, timeout);
    struct link *link = flow->link;

    link_hold(link);
    link_break(link, flow->from, ETIMEDOUT);
    link_release(link);
}

/* Receiving. */

bool link_recv_ready(const struct link *link, unsigned side)
{
    const struct end *end = &link->ends[side];

    return link_readable(link, side) > 0 || link->flows[1 - side].fin_arrived || end->err != 0 || end->dead;
}

size_t link_readable(const struct link *link, unsigned side)
{
    const struct flow *flow = &link->flows[1 - side];

    return flow->arrived - flow->queue.head;
}

size_t link_piece(const struct link *link, unsigned side)
{
    const struct flow *flow = &link->flows[1 - side];

    for (unsigned i = flow->first; i != flow->next; i++)
        if (segment_at(flow, i)->end > flow->queue.head)
            return segment_at(flow, i)->end - flow->queue.head;
    return 0;
}

static size_t room_of(const struct flow *flow)
{
    uint64_t held = flow->queue.tail - flow->queue.head;

    return held < flow->window ? flow->window - held : 0;
}

/* As Linux, which wakes no sender for a few bytes of room. */
static bool writable(const struct flow *flow)
{
    return room_of(flow) >= (flow->window >= 3 ? flow->window / 3 : 1);
}

static void opening_fired(struct event *event)
{
    struct flow *flow = container_of(event, struct flow, opening);
    struct end *end = &flow->link->ends[flow->from];

    if (!flow->blocked || !writable(flow))
        return;
    flow->blocked = false;
    link_hold(flow->link);
    if (end->file != NULL)
        file_changed(end->file, POLLOUT);
    else if (end->peer != NULL)
        end->peer->events->writable(end->peer);
    link_release(flow->link);
}

static void flow_advance(struct flow *flow, size_t len)
{
    flow->queue.head += len;
    while (flow->first != flow->next && segment_at(flow, flow->first)->end <= flow->queue.head)
        flow->first++;
    if (flow->blocked && writable(flow) && !event_is_set(&flow->opening))
        event_set(&flow->opening, world_now_us() + link_delay(flow->link));
}

static int error_told(struct end *end)
{
    int err = end->err;

    end->err = 0;
    return -err;
}

long link_recv(struct link *link, unsigned side, void *bytes, size_t len, bool keep)
{
    struct flow *flow = &link->flows[1 - side];
    size_t n = link_readable(link, side);

    if (n == 0 && flow->fin_arrived)
        return 0;
    if (n == 0 && link->ends[side].err != 0)
        return error_told(&link->ends[side]);
    if (n == 0)
        return link->ends[side].dead ? 0 : -EAGAIN;
    n = n < len ? n : len;
    if (bytes != NULL)
        queue_peek(&flow->queue, bytes, n);
    if (!keep)
        flow_advance(flow, n);
    return (long)n;
}

/* Sending. */

size_t link_room(const struct link *link, unsigned side)
{
    return link->shake == SHAKE_DONE ? room_of(&link->flows[side]) : 0;
}

bool link_send_ready(struct link *link, unsigned side)
{
    struct flow *flow = &link->flows[side];

    if (link_room(link, side) > 0 || flow->ended || link->ends[side].err != 0 || link->ends[side].dead)
        return true;
    flow->blocked = true;
    return false;
}

int link_send_refused(struct link *link, unsigned side)
{
    struct end *end = &link->ends[side];

    if (end->err != 0)
        return error_told(end);
    return end->dead || link->flows[side].ended ? -EPIPE : 0;
}

static void send_segments(struct link *link, unsigned side, uint64_t from, bool more)
{
    struct flow *flow = &link->flows[side];

    uncork(link, side);
    while (from < flow->queue.tail) {
        uint64_t left = flow->queue.tail - from, cut = link->cut;
        if (cut < SEGMENT_MAX || left > cut)
            cut = dice_between(&link->dice, 1, link->cut);
        from += cut < left ? cut : left;
        segment_add(link, side, SEG_DATA, from, more && from == flow->queue.tail);
    }
}

long link_send(struct link *link, unsigned side, const void *bytes, size_t len, bool more)
{
    struct flow *flow = &link->flows[side];
    size_t room = link_room(link, side), n = len < room ? len : room;
    uint64_t from = flow->queue.tail;
    int r = link_send_refused(link, side);

    if (r < 0)
        return r;
    if (n < len)
        flow->blocked = true;
    if (n == 0)
        return len == 0 ? 0 : -EAGAIN;
    queue_put(&flow->queue, bytes, n);
    send_segments(link, side, from, more);
    return (long)n;
}

unsigned link_poll(struct link *link, unsigned side)
{
    struct flow *in = &link->flows[1 - side], *out = &link->flows[side];
    struct end *end = &link->ends[side];
    unsigned events = end->err != 0 ? POLLERR : 0;

    if (link->shake != SHAKE_DONE)
        return events;
    if (end->dead || (in->fin_arrived && out->ended))
        events |= POLLHUP;
    if (end->dead || in->fin_arrived)
        events |= POLLIN | POLLRDNORM | POLLRDHUP;
    if (link_readable(link, side) > 0)
        events |= POLLIN | POLLRDNORM;
    if (end->dead || out->ended || writable(out))
        events |= POLLOUT | POLLWRNORM;
    else
        out->blocked = true;
    return events;
}

/* Ending. */

void link_shut(struct link *link, unsigned side)
{
    struct flow *flow = &link->flows[side];

    if (flow->ended || link->ends[side].dead || link->shake != SHAKE_DONE)
        return;
    flow->ended = true;
    link_flag(link, side, SEG_FIN);
}

static void end_detach(struct end *end, enum end_state state)
{
    if (end->peer != NULL)
        end->peer->link = NULL;
    end->peer = NULL;
    end->file = NULL;
    end->state = state;
    list_remove(&end->place);
}

void link_close(struct link *link, unsigned side, bool reset)
{
    bool unread = link_readable(link, side) > 0;

    link_hold(link);
    end_detach(&link->ends[side], END_CLOSED);
    if (link->shake == SHAKE_DONE && (reset || unread))
        send_reset(link, side);
    else
        link_shut(link, side);
    link_release(link);
}

void link_cut(struct link *link, unsigned side)
{
    link_hold(link);
    link_recv(link, side, NULL, SIZE_MAX, false);
    send_reset(link, side);
    link_break(link, side, ECONNRESET);
    link_release(link);
}

void link_vanish(struct link *link, unsigned side)
{
    struct flow *in = &link->flows[1 - side];

    link_hold(link);
    end_detach(&link->ends[side], END_VANISHED);
    event_clear(&in->arrival);
    flow_schedule(link, 1 - side);
    event_clear(&link->flows[side].timeout);
    link_release(link);
}
