/* The simulated kernel under the real ring: what halb may rely on, and what it must be ready for. */
#include "tests/sim/kernel.h"
#include "common/clock.h"
#include "common/net.h"
#include "common/ring.h"
#include "common/thread.h"
#include "tests/sim/peer.h"
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define PORT 80
#define SIDE_BYTES_MAX 200000
#define CLIENTS_MAX 24
#define SECOND UINT64_C(1000000)

static struct addr address(const char *host, uint16_t port)
{
    struct addr a;

    assert_int_equal(addr_parse(host, &a), 0);
    return addr_with_port(a, port);
}

static struct addr node(void)
{
    return address("10.0.0.1", PORT);
}

/* One run: `main` is halb's first task. */
static struct run {
    uint64_t hash, steps, us;
    struct kernel_totals totals;
    struct ring_stats ring;
} run;

static void world(uint64_t seed, const struct kernel_conf *conf, unsigned stalls, void *(*main)(void *), void *arg)
{
    struct world_conf wc = { .seed = seed, .stall_permille = stalls, .stall_max_us = 5000, .trace = getenv("SIM_TRACE") != NULL };
    struct kernel_conf kc = *conf;
    struct task *task;

    kc.seed = seed;
    world_begin(&wc);
    kernel_begin(&kc);
    task = task_start("main", main, arg);
    world_run(task);
    run.us = world_now_us() - WORLD_START_US;
    run.totals = kernel_totals();
    kernel_end();
    task_free(&task);
    world_end();
    run.hash = world_hash();
    run.steps = world_steps();
}

static void check(bool holds, const char *what)
{
    if (!holds)
        world_fail("test: %s", what);
}

/* An echo server on a ring. */

struct server {
    struct ring *ring;
    struct ring_conf conf;
    struct op accept_op;
    struct timer again;
    int fd;
    unsigned conns;
    bool multishot, bulk, stopping, dontwait;
};
struct echo {
    struct server *server;
    struct op recv_op, send_op;
    struct chunk *first, **last;
    int fd;
    bool ended, broken, tried;
};

static void echo_on(struct echo *e);

static void echo_sent(struct op *op, struct ring_result result)
{
    struct echo *e = container_of(op, struct echo, send_op);
    struct chunk *chunk = e->first;

    e->tried = result.res == -EAGAIN;
    e->broken |= result.res < 0 && result.res != -EAGAIN;
    if (result.res > 0) {
        chunk->data += result.res;
        chunk->len -= (uint32_t)result.res;
    }
    if (chunk->len == 0) {
        e->first = chunk->next;
        if (e->first == NULL)
            e->last = &e->first;
        chunk_put(e->server->ring, chunk);
    }
    echo_on(e);
}

static void echo_received(struct op *op, struct ring_result result)
{
    struct echo *e = container_of(op, struct echo, recv_op);

    e->ended |= result.res == 0;
    e->broken |= result.res < 0;
    if (result.chunk != NULL) {
        *e->last = result.chunk;
        e->last = &result.chunk->next;
    }
    echo_on(e);
}

static void echo_free(struct echo *e)
{
    while (e->first != NULL) {
        struct chunk *chunk = e->first;
        e->first = chunk->next;
        chunk_put(e->server->ring, chunk);
    }
    if (e->broken)
        net_reset(e->fd);
    else
        net_close(e->fd);
    e->server->conns--;
    free(e);
}

static void echo_on(struct echo *e)
{
    struct ring *ring = e->server->ring;
    int flags = e->server->dontwait && !e->tried ? MSG_DONTWAIT : 0;

    if (e->broken || (e->ended && e->first == NULL)) {
        ring_cancel(ring, &e->recv_op);
        ring_cancel(ring, &e->send_op);
        if (!e->recv_op.active && !e->send_op.active)
            echo_free(e);
        return;
    }
    if (e->first != NULL && !e->send_op.active)
        ring_send(ring, &e->send_op, e->fd, e->first->data, e->first->len, flags | (e->first->next != NULL ? MSG_MORE : 0));
    if (!e->ended && !e->recv_op.active && e->server->multishot)
        ring_recv_multishot(ring, &e->recv_op, e->fd);
    else if (!e->ended && !e->recv_op.active && e->first == NULL)
        ring_recv(ring, &e->recv_op, e->fd, e->server->bulk ? RING_BULK : RING_SMALL);
}

static void echo_new(struct server *server, int fd)
{
    struct echo *e = calloc(1, sizeof(*e));

    e->server = server;
    e->fd = fd;
    e->last = &e->first;
    op_init(&e->recv_op, echo_received);
    op_init(&e->send_op, echo_sent);
    server->conns++;
    echo_on(e);
}

static void server_accepted(struct op *op, struct ring_result result)
{
    struct server *server = container_of(op, struct server, accept_op);

    if (result.res >= 0)
        echo_new(server, result.res);
    if (!result.more && !server->stopping)
        ring_timer_set(server->ring, &server->again, ring_now_ms(server->ring) + (result.res < 0 ? 10 : 0));
}

static void server_accepts(struct timer *timer)
{
    struct server *server = container_of(timer, struct server, again);

    if (!server->stopping)
        ring_accept(server->ring, &server->accept_op, server->fd);
}

static void server_woken(void *arg)
{
    struct server *server = arg;

    if (server->stopping)
        ring_cancel(server->ring, &server->accept_op);
}

static void *server_main(void *arg)
{
    struct server *server = arg;

    server->conf.woken = server_woken;
    server->conf.arg = server;
    check(ring_new(&server->conf, &server->ring) == 0, "a ring");
    op_init(&server->accept_op, server_accepted);
    timer_init(&server->again, server_accepts);
    ring_accept(server->ring, &server->accept_op, server->fd);
    while (!server->stopping || server->accept_op.active || server->conns > 0)
        check(ring_step(server->ring) == 0, "a step");
    ring_timer_stop(server->ring, &server->again);
    for (int fd; (fd = net_accept_waiting(server->fd)) >= 0;)
        net_close(fd);
    net_close(server->fd);
    run.ring = ring_stats(server->ring);
    ring_free(&server->ring);
    return NULL;
}

/* Clients of the echo server: write, shut, and expect all of it back. */
struct client {
    struct peer peer;
    struct event start;
    struct party *party;
    unsigned index;
    size_t bytes, written, read;
    bool done, refused;
};
struct party {
    struct server server;
    struct client clients[CLIENTS_MAX];
    unsigned count, done, broken;
    size_t bytes;
    bool may_break;             /* faults end connections */
};

static unsigned char pattern(unsigned client, size_t at)
{
    return (unsigned char)(client * 37 + at + at / 253);
}

static void client_done(struct client *c)
{
    struct party *party = c->party;

    check(!c->done, "a client is done once");
    c->done = true;
    if (++party->done < party->count)
        return;
    party->server.stopping = true;
    ring_wake(party->server.ring);
}

static void client_write(struct peer *peer)
{
    struct client *c = container_of(peer, struct client, peer);
    char bytes[4096];

    while (c->written < c->bytes) {
        size_t n = c->bytes - c->written < sizeof(bytes) ? c->bytes - c->written : sizeof(bytes), took;
        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)pattern(c->index, c->written + i);
        took = peer_write(peer, bytes, n);
        c->written += took;
        if (took < n)
            return;
    }
    peer_shut(peer);
}

static void client_read(struct peer *peer)
{
    struct client *c = container_of(peer, struct client, peer);
    unsigned char bytes[4096];
    size_t n;

    while ((n = peer_read(peer, bytes, sizeof(bytes))) > 0)
        for (size_t i = 0; i < n; i++)
            check(bytes[i] == pattern(c->index, c->read++), "the client's own bytes, in order");
}

static void client_ended(struct peer *peer)
{
    struct client *c = container_of(peer, struct client, peer);

    check(peer_readable(peer) == 0, "all was announced before the end");
    check(c->read == c->bytes, "all came back before the end");
    peer_close(peer);
    client_done(c);
}

static void client_broken(struct peer *peer, int err)
{
    struct client *c = container_of(peer, struct client, peer);

    check(c->party->may_break, "no connection breaks");
    check(err == -ECONNRESET, "reset by the server");
    check(peer->link == NULL, "it is gone");
    c->party->broken++;
    client_done(c);
}

static const struct peer_events client_events = { client_write, client_read, client_write, client_ended, client_broken };

static void client_start(struct event *event)
{
    struct client *c = container_of(event, struct client, start);
    char host[32];
    struct addr from, to = node();

    snprintf(host, sizeof(host), "10.2.0.%u", c->index + 1);
    from = address(host, 0);
    peer_connect(&c->peer, &client_events, &from, &to);
}

static void *party_main(void *arg)
{
    struct party *party = arg;
    struct addr at = node();
    struct thread thread;

    party->server.fd = kernel_listen(&at);
    for (unsigned i = 0; i < party->count; i++) {
        struct client *c = &party->clients[i];
        *c = (struct client){ .party = party, .index = i, .bytes = party->bytes };
        event_init(&c->start, client_start);
        event_set(&c->start, world_now_us() + i * 100);
    }
    check(thread_start(&thread, "server", server_main, &party->server) == 0, "a thread");
    thread_join(&thread);
    return NULL;
}

static const struct party_row {
    const char *name;
    unsigned clients;
    size_t bytes;
    struct server server;
    struct kernel_conf kernel;
    bool may_break, starves, overflows;
    unsigned stalls;
} party_rows[] = {
    { "one client gets its bytes back", 1, 1000, .server.conf = { .small_count = 16, .small_bytes = 2048 } },
    { "nothing but an end", 3, 0, .server.conf = { .small_count = 16, .small_bytes = 2048 } },
    { "many in large buffers, late tasks", 8, SIDE_BYTES_MAX, { .bulk = true, .conf = { .bulk_count = 4, .bulk_bytes = 16384 } },
      { .net = { 10, 3000, 0, 4000, 60000, 0 } }, .stalls = 200 },
    { "segments of a few bytes, lost SYNs", 8, 3000, .server.conf = { .small_count = 16, .small_bytes = 2048 },
      .kernel = { .net = { 10, 3000, 7, 1, 3000, 300 } } },
    { "multishots with few buffers", 12, 20000, { .multishot = true, .conf = { .small_count = 8, .small_bytes = 512 } },
      { .net = { 10, 3000, 300, 500, 3000, 0 } }, .starves = true },
    { "the kernel has fewer buffers than it was given", 6, 5000, { .multishot = true, .conf = { .small_count = 64, .small_bytes = 512 } },
      { .faults = { .buffers = 2 }, .net = { 10, 3000, 300, 500, 3000, 0 } }, .starves = true },
    { "a completion queue of four", 24, 3000, { .multishot = true, .conf = { .small_count = 32, .small_bytes = 256 } },
      { .faults = { .cq_entries = 4 }, .net = { 10, 20, 300, 5000, 5000, 0 } }, .overflows = true, .stalls = 300 },
    { "everything is short, late and ends", 12, 5000, { .multishot = true, .conf = { .small_count = 64, .small_bytes = 512 } },
      { .faults = { .late = 300, .late_max_us = 20000, .multishot_ends = 300, .short_moves = 500, .early_wakes = 300 },
        .net = { 10, 3000, 300, 500, 3000, 0 } }, .stalls = 200 },
    { "impatient sends", 6, 20000, { .dontwait = true, .conf = { .small_count = 16, .small_bytes = 2048 } },
      { .net = { 10, 3000, 300, 300, 900, 0 } }, .may_break = false },
    { "no memory, no descriptors", 12, 5000, { .multishot = true, .conf = { .small_count = 64, .small_bytes = 512 } },
      { .faults = { .late = 100, .late_max_us = 20000, .enomem = 20, .emfile = 300 }, .net = { 10, 3000, 300, 500, 3000, 0 } },
      .may_break = true, .stalls = 200 },
};

static void party_run(const struct party_row *row, uint64_t seed)
{
    static struct party party;

    party = (struct party){ .server = row->server, .count = row->clients, .bytes = row->bytes, .may_break = row->may_break };
    party.server.conf.ops_max = 4096;
    world(seed, &row->kernel, row->stalls, party_main, &party);
}

static void test_party(void **state)
{
    const struct party_row *row = *state;
    uint64_t starved = 0, overflown = 0;

    for (uint64_t seed = 1; seed <= 25; seed++) {
        party_run(row, seed);
        assert_int_equal(run.totals.descriptors, 0);
        assert_int_equal(run.totals.accepted, row->clients);
        starved += run.ring.buffer_starved;
        overflown += run.ring.cq_overflow;
    }
    assert_true(!row->starves || starved > 0);
    assert_true(!row->overflows || overflown > 0);
}

static void test_replay(void **state)
{
    const struct party_row *row = *state;
    struct run first;

    for (uint64_t seed = 1; seed <= 5; seed++) {
        party_run(row, seed);
        first = run;
        party_run(row, seed);
        assert_int_equal(run.hash, first.hash);
        assert_int_equal(run.steps, first.steps);
        party_run(row, seed + 100);
        assert_int_not_equal(run.hash, first.hash);
    }
}

/* What a task of halb's can do one after another. */

static struct ring *ring;
static struct ring_result got;

static void op_done(struct op *op, struct ring_result result)
{
    (void)op;
    got = result;
}

static void ring_open(void)
{
    struct ring_conf conf = { .ops_max = 64, .small_count = 8, .small_bytes = 64 };

    check(ring_new(&conf, &ring) == 0, "a ring");
}

static int finish(struct op *op)
{
    while (op->active)
        check(ring_step(ring) == 0, "a step");
    return got.res;
}

static int do_connect(int fd, const struct addr *to)
{
    struct op op;

    op_init(&op, op_done);
    ring_connect(ring, &op, fd, to);
    return finish(&op);
}

static int do_recv(int fd, char *text)
{
    struct op op;

    op_init(&op, op_done);
    ring_recv(ring, &op, fd, RING_SMALL);
    finish(&op);
    if (got.chunk != NULL) {
        memcpy(text, got.chunk->data, got.chunk->len);
        chunk_put(ring, got.chunk);
    }
    return got.res;
}

static int do_send(int fd, const char *bytes, size_t len)
{
    struct op op;

    op_init(&op, op_done);
    ring_send(ring, &op, fd, bytes, len, 0);
    return finish(&op);
}

static int do_poll(int fd, unsigned events)
{
    struct op op;

    op_init(&op, op_done);
    ring_poll(ring, &op, fd, events);
    return finish(&op);
}

static int do_accept(int listening)
{
    struct op op;
    int fd = -EAGAIN;

    op_init(&op, op_done);
    ring_accept(ring, &op, listening);
    for (bool asked = false; op.active;) {
        check(ring_step(ring) == 0, "a step");
        if (got.res >= 0)
            fd = got.res;
        if (fd >= 0 && !asked) {
            asked = true;
            ring_cancel(ring, &op);
        }
    }
    return fd;
}

/* A peer that does one thing a millisecond: w(rite "abc"), r(ead), F(IN), C(lose), R(eset), V(anish), '.' nothing. */
struct scripted {
    struct peer peer;
    struct event event;
    const char *acts;
    size_t read;
    unsigned ended, broken;
    int err;
};

static void scripted_read(struct scripted *s)
{
    char bytes[64];
    size_t n;

    while ((n = peer_read(&s->peer, bytes, sizeof(bytes))) > 0)
        s->read += n;
}

static void scripted_act(struct event *event)
{
    struct scripted *s = container_of(event, struct scripted, event);

    switch (*s->acts) {
    case 'w': check(peer_write(&s->peer, "abc", 3) == 3, "room for three bytes"); break;
    case 'r': scripted_read(s); break;
    case 'F': peer_shut(&s->peer); break;
    case 'C': peer_close(&s->peer); break;
    case 'R': peer_reset(&s->peer); break;
    case 'V': peer_vanish(&s->peer); break;
    }
    if (*s->acts != '\0' && *++s->acts != '\0')
        event_set(&s->event, world_now_us() + 1000);
}

static void scripted_connected(struct peer *peer)
{
    event_set(&container_of(peer, struct scripted, peer)->event, world_now_us() + 1000);
}

static void scripted_nothing(struct peer *peer)
{
    (void)peer;
}

static void scripted_ended(struct peer *peer)
{
    container_of(peer, struct scripted, peer)->ended++;
}

static void scripted_broken(struct peer *peer, int err)
{
    struct scripted *s = container_of(peer, struct scripted, peer);

    s->broken++;
    s->err = err;
}

static const struct peer_events scripted_events = { scripted_connected, scripted_nothing, scripted_nothing, scripted_ended, scripted_broken };

static void scripted_connect(struct scripted *s, const char *acts)
{
    struct addr from = address("10.2.0.1", 4000), to = node();

    *s = (struct scripted){ .acts = acts };
    event_init(&s->event, scripted_act);
    peer_connect(&s->peer, &scripted_events, &from, &to);
}

/* What halb does with the connection and what comes of it. */
enum act { STOP, RECV, SEND, SHUT, PEER, WAITING, POLL, SLEEP_MS, NONBLOCK };
struct step {
    enum act act;
    int expected;
};

static int step_do(int fd, struct step step)
{
    struct addr addr;
    char text[64];

    switch (step.act) {
    case RECV: return do_recv(fd, text);
    case SEND: return do_send(fd, "xyz", 3);
    case PEER: return net_peer(fd, &addr);
    case WAITING: return net_bytes_waiting(fd);
    case POLL: return do_poll(fd, POLLIN | POLLOUT | POLLRDHUP);
    case NONBLOCK: return net_nonblock(fd);
    case SHUT: net_shut(fd); break;
    case SLEEP_MS: clock_sleep_ms((unsigned)step.expected); break;
    case STOP: break;
    }
    return step.expected;
}

#define GONE (POLLIN | POLLOUT | POLLRDHUP | POLLHUP)
static const struct rule_row {
    const char *name, *peer;
    struct step steps[10];
    bool reset;                 /* the peer learns of a reset */
    size_t read;
} rule_rows[] = {
    { "bytes, then the end", "wF", { { PEER, 0 }, { WAITING, 1 }, { RECV, 3 }, { RECV, 0 }, { RECV, 0 }, { SEND, 3 } }, false, 0 },
    { "who reads before closing sends no reset", "wF......................r", { { RECV, 3 }, { SEND, 3 }, { SHUT, 0 }, { RECV, 0 }, { SLEEP_MS, 30 } }, false, 3 },
    { "bytes before a reset are there, the error comes once", "wR", { { RECV, 3 }, { RECV, -ECONNRESET }, { RECV, 0 }, { SEND, -EPIPE } }, false, 0 },
    { "a sender is told of the reset once", "R", { { SEND, -ECONNRESET }, { SEND, -EPIPE }, { RECV, 0 } }, false, 0 },
    { "a peer that reset has no name", "R", { { PEER, -ENOTCONN }, { POLL, GONE | POLLERR }, { RECV, -ECONNRESET }, { POLL, GONE } }, false, 0 },
    { "looking for bytes takes the error", "R", { { WAITING, 0 }, { RECV, 0 } }, false, 0 },
    { "closing with unread bytes resets", "w", { { STOP, 0 } }, true, 0 },
    { "no send after the own end", ".", { { SHUT, 0 }, { SEND, -EPIPE } }, false, 0 },
    { "bytes to who has closed come back as a reset", "C", { { RECV, 0 }, { SEND, 3 }, { SLEEP_MS, 5 }, { RECV, 0 }, { SEND, -EPIPE }, { SEND, -EPIPE } }, false, 0 },
    { "a peer that closes with unread bytes resets", "...........................C", { { SEND, 3 }, { SLEEP_MS, 30 }, { RECV, -ECONNRESET } }, false, 0 },
    { "nobody acknowledges: given up after a quarter of an hour", "V", { { SEND, 3 }, { RECV, -ETIMEDOUT }, { RECV, 0 }, { SEND, -EPIPE } }, false, 0 },
    { "both ends over: no name any more", "F", { { SHUT, 0 }, { SLEEP_MS, 5 }, { PEER, -ENOTCONN }, { POLL, GONE } }, false, 0 },
    { "what must not block answers at once", ".", { { NONBLOCK, 0 }, { RECV, -EAGAIN }, { SEND, 3 } }, false, 0 },
    { "open and idle: there is room, and nothing else", ".", { { POLL, POLLOUT }, { PEER, 0 } }, false, 0 },
};

struct rule_run {
    const struct rule_row *row;
    struct scripted peer;
};

static void *rule_main(void *arg)
{
    struct rule_run *r = arg;
    struct addr at = node();
    int listening = kernel_listen(&at), fd;

    ring_open();
    scripted_connect(&r->peer, r->row->peer);
    fd = do_accept(listening);
    clock_sleep_ms(10);
    for (const struct step *step = r->row->steps; step->act != STOP; step++) {
        int res = step_do(fd, *step);
        if (res != step->expected)
            world_fail("test: %s: step %d came to %d", r->row->name, (int)(step - r->row->steps) + 1, res);
    }
    net_close(fd);
    clock_sleep_ms(10);
    net_close(listening);
    ring_free(&ring);
    return NULL;
}

static void test_rule(void **state)
{
    const struct rule_row *row = *state;
    struct kernel_conf conf = { .net = { 100, 100, 0, 0, 0, 0 } };
    struct rule_run r = { .row = row };

    world(1, &conf, 0, rule_main, &r);
    assert_int_equal(r.peer.broken, row->reset);
    assert_true(!row->reset || r.peer.err == -ECONNRESET);
    assert_int_equal(r.peer.read, row->read);
}

/* Connecting. */

static const struct connect_row {
    const char *name;
    int mode;                   /* of the port; -1: there is none */
    unsigned syn_lost;
    int res;
    uint64_t us;
} connect_rows[] = {
    { "an open port after a round trip", PORT_OPEN, 0, 0, 2000 },
    { "a lost SYN is sent again after a second", PORT_OPEN, 1000, 0, SECOND + 2000 },
    { "a port that refuses", PORT_REFUSES, 0, -ECONNREFUSED, 2000 },
    { "no such machine's port", -1, 0, -ECONNREFUSED, 2000 },
    { "a silent host after two minutes", PORT_SILENT, 0, -ETIMEDOUT, 127 * SECOND + 1000 },
    { "an unreachable host", PORT_UNREACHABLE, 0, -EHOSTUNREACH, 2000 },
};
struct connect_run {
    const struct connect_row *row;
    struct port port;
    struct scripted peer;
    uint64_t opened_us, told_us;
};

static struct peer *port_accepted(struct port *port, const struct addr *from, uint64_t opened_us)
{
    struct connect_run *r = container_of(port, struct connect_run, port);

    (void)from;
    r->told_us = opened_us;
    r->peer.peer.events = &scripted_events;
    return &r->peer.peer;
}

static void *connect_main(void *arg)
{
    struct connect_run *r = arg;
    struct addr source = node();
    uint64_t began;
    int fd, res;

    ring_open();
    r->port = (struct port){ .at = address("10.1.0.1", 8080), .mode = r->row->mode >= 0 ? (enum port_mode)r->row->mode : PORT_OPEN,
                             .accepted = port_accepted };
    if (r->row->mode >= 0)
        port_add(&r->port);
    fd = net_connector(&r->port.at, &source);
    began = r->opened_us = world_now_us();
    res = do_connect(fd, &r->port.at);
    check(res == r->row->res, "what connecting comes to");
    check(world_now_us() - began == r->row->us, "and when");
    if (res == 0)
        clock_sleep_ms(2);
    net_close(fd);
    clock_sleep_ms(10);
    ring_free(&ring);
    port_remove(&r->port);
    return NULL;
}

static void test_connect(void **state)
{
    const struct connect_row *row = *state;
    struct kernel_conf conf = { .net = { 1000, 1000, 0, 0, 0, row->syn_lost } };
    struct connect_run r = { .row = row };

    world(1, &conf, 0, connect_main, &r);
    assert_int_equal(run.totals.connected, row->res == 0);
    assert_int_equal(r.peer.ended, row->res == 0);
    assert_true(row->res != 0 || r.told_us == r.opened_us);
}

/* A cancelled receive ends with -ECANCELED or with bytes; whichever it is, none are lost. */

static unsigned cancelled, received;

static void *cancel_main(void *arg)
{
    struct addr at = node();
    struct scripted *peer = arg;
    int listening = kernel_listen(&at), fd, res;
    size_t got_bytes = 0;
    char text[64];
    struct op op;

    ring_open();
    scripted_connect(peer, "wwwwF");
    fd = do_accept(listening);
    op_init(&op, op_done);
    ring_recv(ring, &op, fd, RING_SMALL);
    while (op.active) {
        ring_wake(ring);
        check(ring_step(ring) == 0, "a step");
        if (world_now_us() > WORLD_START_US + 900)
            ring_cancel(ring, &op);
    }
    check(got.res == -ECANCELED || got.res > 0, "cancelled or received");
    cancelled += got.res < 0;
    received += got.res > 0;
    got_bytes = got.res > 0 ? (size_t)got.res : 0;
    if (got.chunk != NULL)
        chunk_put(ring, got.chunk);
    while ((res = do_recv(fd, text)) > 0)
        got_bytes += (size_t)res;
    check(res == 0 && got_bytes == 12, "no byte is lost");
    net_close(fd);
    clock_sleep_ms(10);
    peer_close(&peer->peer);
    net_close(listening);
    ring_free(&ring);
    return NULL;
}

static void test_cancel(void **state)
{
    struct kernel_conf conf = { .faults = { .late = 300, .late_max_us = 3000 }, .net = { 10, 500, 0, 0, 0, 0 } };
    struct scripted peer;

    (void)state;
    cancelled = received = 0;
    for (uint64_t seed = 1; seed <= 300; seed++)
        world(seed, &conf, 300, cancel_main, &peer);
    assert_true(cancelled > 20);
    assert_true(received > 20);
}

/* Bulk by a pipe, from a client to an instance. */

#define SPLICED 100000
struct splice_run {
    struct port port;
    struct peer from, to;
    size_t written, read;
    bool ended;
};

static void splice_write(struct peer *peer)
{
    struct splice_run *r = container_of(peer, struct splice_run, from);

    while (r->written < SPLICED) {
        char byte = (char)pattern(1, r->written);
        if (peer_write(peer, &byte, 1) == 0)
            return;
        r->written++;
    }
    peer_shut(peer);
}

static void splice_read(struct peer *peer)
{
    struct splice_run *r = container_of(peer, struct splice_run, to);
    unsigned char byte;

    while (peer_read(peer, &byte, 1) > 0)
        check(byte == pattern(1, r->read++), "bytes in their order");
}

static void splice_ended(struct peer *peer)
{
    container_of(peer, struct splice_run, to)->ended = true;
    peer_close(peer);
}

static void splice_from_ended(struct peer *peer)
{
    peer_close(peer);
}

static void splice_broken(struct peer *peer, int err)
{
    (void)peer;
    world_fail("test: broken: %d", err);
}

static const struct peer_events from_events = { splice_write, scripted_nothing, splice_write, splice_from_ended, splice_broken };
static const struct peer_events to_events = { scripted_nothing, splice_read, scripted_nothing, splice_ended, splice_broken };

static struct peer *splice_accepted(struct port *port, const struct addr *from, uint64_t opened_us)
{
    struct splice_run *r = container_of(port, struct splice_run, port);

    (void)from, (void)opened_us;
    r->to.events = &to_events;
    return &r->to;
}

static void pump(int from, int to, const int fds[2])
{
    for (long n = 1; n != 0;) {
        n = net_splice(from, fds[1], 65536);
        if (n == -EAGAIN)
            check(do_poll(from, POLLIN | POLLRDHUP) > 0, "readable");
        check(n >= 0 || n == -EAGAIN, "bytes from the socket");
        for (long moved, left = n; left > 0; left -= moved > 0 ? moved : 0) {
            moved = net_splice(fds[0], to, (size_t)left);
            check(moved > 0 || moved == -EAGAIN, "bytes to the socket");
            if (moved == -EAGAIN)
                check((do_poll(to, POLLOUT) & POLLOUT) != 0, "writable");
        }
    }
    check(net_splice(fds[0], to, 1) == -EAGAIN, "an empty pipe");
}

static void *splice_main(void *arg)
{
    struct splice_run *r = arg;
    struct addr at = node(), client = address("10.2.0.1", 0);
    int listening = kernel_listen(&at), from, to, fds[2];

    ring_open();
    r->port = (struct port){ .at = address("10.1.0.1", 8080), .accepted = splice_accepted };
    port_add(&r->port);
    peer_connect(&r->from, &from_events, &client, &at);
    from = do_accept(listening);
    to = net_connector(&r->port.at, &at);
    check(do_connect(to, &r->port.at) == 0, "connected");
    check(net_pipe(fds, 65536) == 0 && net_nonblock(from) == 0 && net_nonblock(to) == 0, "a pipe");
    pump(from, to, fds);
    net_shut(to);
    net_shut(from);
    clock_sleep_ms(100);
    for (unsigned i = 0; i < 2; i++)
        net_close(fds[i]);
    net_close(from);
    net_close(to);
    net_close(listening);
    ring_free(&ring);
    return NULL;
}

static void test_splice(void **state)
{
    struct kernel_conf conf = { .faults = { .short_moves = 300, .late = 100, .late_max_us = 1000 }, .net = { 10, 500, 2000, 500, 20000, 0 } };

    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct splice_run r = { .read = 0 };
        world(seed, &conf, 100, splice_main, &r);
        assert_int_equal(r.read, SPLICED);
        assert_true(r.ended);
    }
}

/* The n-th fault comes, once, and what it strikes may be done again. */

static const struct nth_row {
    const char *name;
    enum kernel_nth what;
    uint64_t n;
    int res;
} nth_rows[] = {
    { "the first submission", NTH_SUBMISSION, 1, -ENOMEM },
    { "the first completion", NTH_COMPLETION, 1, 1 },
    { "the first descriptor", NTH_DESCRIPTOR, 1, -EMFILE },
    { "one that never comes", NTH_SUBMISSION, 100, 0 },
};

static int connect_once(const struct addr *to, const struct addr *source)
{
    int fd = net_connector(to, source), res;

    if (fd < 0)
        return fd;
    res = do_connect(fd, to);
    net_close(fd);
    return res;
}

static void *nth_main(void *arg)
{
    const struct nth_row *row = arg;
    struct connect_run r = { .peer.acts = "" };
    struct addr source = node();
    int res;

    ring_open();
    r.port = (struct port){ .at = address("10.1.0.1", 8080), .accepted = port_accepted };
    port_add(&r.port);
    kernel_fail_nth(row->what, row->n);
    res = connect_once(&r.port.at, &source);
    check(row->res == 1 ? res == -ENOMEM || res == -EADDRNOTAVAIL : res == row->res, "what the fault makes of it");
    check(kernel_nth_reached() == (row->res != 0), "it is known whether it came");
    check(connect_once(&r.port.at, &source) == 0, "the next one is well");
    clock_sleep_ms(100);
    ring_free(&ring);
    port_remove(&r.port);
    return NULL;
}

static void test_nth(void **state)
{
    struct kernel_conf conf = { .net = { 10, 500, 0, 0, 0, 0 } };

    world(1, &conf, 0, nth_main, *state);
}

/* What a world does not forgive. Each is done in a process of its own. */

static int accepted_fd(void)
{
    static struct scripted peer;
    struct addr at = node();
    int listening = kernel_listen(&at), fd;

    ring_open();
    scripted_connect(&peer, "w.........w");
    fd = do_accept(listening);
    net_close(listening);
    return fd;
}

static void *sin_leak(void *arg)
{
    accepted_fd();
    ring_free(&ring);
    return arg;
}

static void *sin_close_in_flight(void *arg)
{
    struct op op;
    int fd = accepted_fd();

    op_init(&op, op_done);
    ring_poll(ring, &op, fd, POLLRDHUP);
    clock_sleep_ms(1);
    check(do_send(fd, "x", 1) == 1, "sent");
    net_close(fd);
    return arg;
}

static void *sin_closed(void *arg)
{
    int fd = accepted_fd();

    net_close(fd);
    net_shut(fd);
    return arg;
}

static void *sin_twice(void *arg)
{
    struct op ops[2];
    struct chunk *chunks[2];
    int fd = accepted_fd();

    for (unsigned i = 0; i < 2; i++) {
        op_init(&ops[i], op_done);
        clock_sleep_ms(5);
        ring_recv(ring, &ops[i], fd, RING_SMALL);
        finish(&ops[i]);
        chunks[i] = got.chunk;
    }
    chunk_put(ring, chunks[0]);
    chunks[0]->held = true;
    chunk_put(ring, chunks[0]);
    do_send(fd, "x", 1);
    return arg;
}

static void *sin_stuck(void *arg)
{
    task_wait();
    task_wait();
    return arg;
}

static void *sin_assert(void *arg)
{
    abort();
    return arg;
}

static const struct sin_row {
    const char *name;
    void *(*main)(void *arg);
    const char *says;
} sin_rows[] = {
    { "a connection left open is named", sin_leak, "a connection accepted from 10.2.0.1:4000" },
    { "closed with an operation in flight", sin_close_in_flight, "1 operations in flight" },
    { "used after close", sin_closed, "which is not open" },
    { "a buffer given back twice", sin_twice, "given back twice" },
    { "nobody will ever wake it", sin_stuck, "nothing can happen any more" },
    { "an assertion", sin_assert, "seed 7 " },
};

/* The child's output, to its end. */
static size_t read_all(int fd, char *text, size_t size)
{
    size_t len = 0;
    ssize_t n;

    while ((n = read(fd, text + len, size - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    return len;
}

static void test_sin(void **state)
{
    const struct sin_row *row = *state;
    struct kernel_conf conf = { .net = { 10, 10, 0, 0, 0, 0 } };
    static char text[65536];
    int fds[2], status;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        world(7, &conf, 0, row->main, NULL);
        _exit(0);
    }
    close(fds[1]);
    read_all(fds[0], text, sizeof(text));
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), WORLD_FAILED);
    if (strstr(text, row->says) == NULL)
        print_error("%s", text);
    assert_non_null(strstr(text, row->says));
    assert_non_null(strstr(text, "seed 7 "));
}

/* Waiting for another thread. */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned value, early;
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void *waiting_main(void *arg)
{
    pthread_mutex_lock(&shared.lock);
    while (shared.value < *(unsigned *)arg) {
        unsigned before = shared.value;
        thread_wait(&shared.changed, &shared.lock);
        shared.early += shared.value == before;
    }
    pthread_mutex_unlock(&shared.lock);
    return NULL;
}

static void *threads_main(void *arg)
{
    static unsigned wanted[] = { 1, 2, 3 };
    struct thread threads[3];

    shared.value = 0;
    for (unsigned i = 0; i < 3; i++)
        check(thread_start(&threads[i], "waiting", waiting_main, &wanted[i]) == 0, "a thread");
    for (unsigned i = 0; i < 3; i++) {
        clock_sleep_ms(10);
        pthread_mutex_lock(&shared.lock);
        shared.value++;
        thread_notify(&shared.changed);
        pthread_mutex_unlock(&shared.lock);
        thread_join(&threads[i]);
    }
    return arg;
}

static void test_threads(void **state)
{
    struct kernel_conf conf = { .faults = { .early_wakes = 500 } };

    (void)state;
    shared.early = 0;
    for (uint64_t seed = 1; seed <= 20; seed++)
        world(seed, &conf, 300, threads_main, NULL);
    assert_true(shared.early > 0);
}

/* How fast the world turns: not a test, but printed where somebody asks. */
static void measure(void)
{
    const struct party_row row = { .clients = 24, .bytes = 2000, .server = { .multishot = true, .conf = { .small_count = 64, .small_bytes = 2048 } },
                                   .kernel.net = { 10, 3000, 100, 400, 6000, 0 } };
    struct timespec before, after;
    uint64_t steps = 0;
    double seconds;

    clock_gettime(CLOCK_MONOTONIC, &before);
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        party_run(&row, seed);
        steps += run.steps;
    }
    clock_gettime(CLOCK_MONOTONIC, &after);
    seconds = (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
    printf("%.0f steps a second\n", (double)steps / seconds);
}

#define ROWS(rows) (sizeof(rows) / sizeof((rows)[0]))
#define ADD(rows, test) \
    for (size_t i = 0; i < ROWS(rows); i++) \
        tests[count++] = (struct CMUnitTest){ .name = (rows)[i].name, .test_func = (test), .initial_state = (void *)&(rows)[i] }

int main(int argc, char **argv)
{
    struct CMUnitTest tests[64];
    size_t count = 0;

    if (argc > 1 && strcmp(argv[1], "measure") == 0) {
        measure();
        return 0;
    }
    ADD(party_rows, test_party);
    ADD(rule_rows, test_rule);
    ADD(connect_rows, test_connect);
    ADD(nth_rows, test_nth);
    ADD(sin_rows, test_sin);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test_prestate(test_replay, (void *)&party_rows[7]);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test_prestate(test_replay, (void *)&party_rows[9]);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_cancel);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_splice);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_threads);
    return _cmocka_run_group_tests("kernel", tests, count, NULL, NULL);
}
