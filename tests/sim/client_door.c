/* What a client may hold against a listener: that it goes without taking anybody along, that it lets in whom it should. */
#include "client.h"
#include "alloc.h"
#include "kernel.h"
#include "watch.h"

#define LAST_CHANCE_US 500000           /* for the next request on a connection whose listener has gone: docs/OPERATIONS.md */
#define SLACK_US 50000
#define DENIED_US 1000000

static uint64_t slowness_us(const struct client *client)
{
    return client->plan->stall_max_us * (client->plan->stall_permille > 0) + client->plan->faults.late_max_us * (client->plan->faults.late > 0);
}

/* halb was refused nothing that it needs for a connection. */
static bool rich(const struct client *client)
{
    const struct kernel_faults *f = &client->plan->faults;

    return f->emfile + f->enomem == 0 && !alloc_nth_reached() && !kernel_nth_reached();
}

static unsigned states(const struct client *client, uint64_t before_us)
{
    return watch_door_within(client->conf->balancer, client->conf->second, client->door.opened_us - before_us, world_now_us());
}

void door_opened(struct client *client)
{
    client->door.connected_us = client->door.heard_us = world_now_us();
    if (states(client, slowness_us(client)) == 1u << DOOR_CLOSED)
        world_fail("client %u: got a connection where nobody listens", client->index);
}

/* The connection is gone, and it was to go on; nothing was asked on it since the last answer. */
void door_ended(const struct client *client)
{
    const struct door *door = &client->door;
    uint64_t idle_us = client->balancer->idle_timeout_ms * 1000;

    if (states(client, 0) != 1u << DOOR_OPEN || !rich(client) || world_now_us() + slowness_us(client) + SLACK_US >= door->heard_us + idle_us)
        return;
    world_fail("client %u: its kept connection has ended after %llu us of idling, and its listener stays", client->index,
               (unsigned long long)(world_now_us() - door->heard_us));
}

uint64_t door_left_us(const struct client *client)
{
    return watch_door_left_us(client->conf->balancer, client->conf->second, client->door.opened_us);
}

/* Could halb not have taken what came on it, because its listener has gone? Nothing has come back of it. begun_us: when it was asked;
 * first: it is the connection's first. */
bool door_gone(const struct client *client, uint64_t begun_us, bool first)
{
    const struct door *door = &client->door;
    uint64_t delay_us = client->plan->net.delay_max_us, left_us = door_left_us(client), since_us;

    if (left_us == UINT64_MAX)
        return false;
    if (first && door->connected_us + delay_us >= left_us)
        return true;                    /* the last step of the handshake may have found nobody */
    since_us = door->heard_us > left_us ? door->heard_us : left_us;
    return begun_us + SLACK_US + 4 * (delay_us + slowness_us(client)) >= since_us + LAST_CHANCE_US;
}

void door_denied(const struct client *client)
{
    uint64_t most_us = DENIED_US + 4 * (client->plan->net.delay_max_us + slowness_us(client));

    if (client->conf->foreign && rich(client) && world_now_us() > client->door.connected_us + most_us)
        world_fail("client %u: is denied, and is let go only now", client->index);
}
