/* Clients: when each does something, and for how long it waits. */
#include "client.h"
#include "actors.h"
#include "common/list.h"

#define DICE_STREAM UINT64_C(0xc11e0000)
#define PATIENCE_US UINT64_C(400000000)

static struct client clients[PLAN_CLIENTS];

static bool is_stream(const struct client *client)
{
    return client->conf->kind == CLIENT_STREAM;
}

static void client_next(struct client *client)
{
    if (client->left == 0 || client->hurried) {
        if (!is_stream(client))
            http_client_end(client);
        event_clear(&client->patience);
        client->done = true;
    } else if (introduction_spoilt(client)) {
        return;
    } else if (is_stream(client)) {
        stream_client_next(client);
    } else {
        http_client_next(client);
    }
}

static void on_event(struct event *event)
{
    struct client *client = container_of(event, struct client, event);

    client->due(client);
}

static void on_leave(struct event *event)
{
    struct client *client = container_of(event, struct client, leave);

    if (is_stream(client))
        stream_client_leave(client);
    else
        http_client_leave(client);
}

static void on_patience(struct event *event)
{
    struct client *client = container_of(event, struct client, patience);

    trace("client %u: gives up", client->index);
    if (client->bad != NULL)
        world_fail("client %u: its introduction was none, and halb waits still", client->index);
    if (is_stream(client))
        stream_client_give_up(client);
    else
        http_client_give_up(client);
}

void client_later(struct client *client, uint64_t in_us, void (*due)(struct client *client))
{
    client->due = due;
    event_set(&client->event, world_now_us() + (client->hurried ? 0 : in_us));
}

void client_rest(struct client *client)
{
    event_clear(&client->patience);
    event_clear(&client->leave);
    client_later(client, dice_below(&client->dice, client->conf->pause_max_us + 1), client_next);
}

void client_alive(struct client *client)
{
    client->alive_us = world_now_us();
    event_set(&client->patience, client->alive_us + PATIENCE_US);
}

void client_connect(struct client *client, const struct peer_events *events)
{
    struct addr from = plan_client_address(client->plan, client->index);
    struct addr to = addr_with_port(plan_node_address(client->conf->zone), plan_client_port(client->plan, client->index));

    client_alive(client);
    client->door = (struct door){ .opened_us = world_now_us() };
    peer_connect(&client->peer, events, &from, &to);
    from = peer_own(&client->peer);
    oracle_named(client->index, &from, &to);
}

uint64_t client_size(struct client *client)
{
    uint64_t most = client->conf->body_max;

    if (dice_permille(&client->dice, 500) && most > 100)
        most = 100;
    return dice_below(&client->dice, most + 1);
}

static void client_begin(struct client *client, const struct plan *plan, unsigned index)
{
    const struct plan_client *conf = &plan->clients[index];

    *client = (struct client){ .plan = plan, .conf = conf, .balancer = &plan->balancers[conf->balancer], .index = index, .left = conf->requests };
    dice_init(&client->dice, plan->seed, DICE_STREAM + index);
    event_init(&client->event, on_event);
    event_init(&client->leave, on_leave);
    event_init(&client->patience, on_patience);
    if (is_stream(client))
        stream_client_init(client);
    else
        http_client_init(client);
    client->due = client_next;
    event_set(&client->event, WORLD_START_US + conf->start_us);
}

void clients_begin(const struct plan *plan)
{
    for (unsigned i = 0; i < PLAN_CLIENTS; i++) {
        clients[i].plan = NULL;
        if (plan->clients[i].present)
            client_begin(&clients[i], plan, i);
    }
}

bool clients_done(void)
{
    for (unsigned i = 0; i < PLAN_CLIENTS; i++)
        if (clients[i].plan != NULL && !clients[i].done)
            return false;
    return true;
}

void clients_hurry(void)
{
    for (unsigned i = 0; i < PLAN_CLIENTS; i++) {
        clients[i].hurried = true;
        if (clients[i].plan != NULL && event_is_set(&clients[i].event))
            event_set(&clients[i].event, world_now_us());
    }
}

void clients_end(void)
{
    for (unsigned i = 0; i < PLAN_CLIENTS; i++) {
        if (clients[i].plan == NULL)
            continue;
        if (!clients[i].done)
            world_fail("client %u: not done at the end", i);
        http_client_fini(&clients[i]);
        stream_client_fini(&clients[i]);
        clients[i].plan = NULL;
    }
}
