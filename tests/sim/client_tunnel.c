/*
 * Requests that ask for a WebSocket: "X-Tunnel: <mode> <up>". With 101 the rest of the connection is a stream, of pattern bytes as a body
 * and an answer's; with any other answer it is a request as others are.
 */
#include "client.h"

#define MODES "bbbbccssri"              /* both at once, client first, instance first, instance resets, nobody ends it */
#define BULK 3000000
#define CLOSED_BY_US 60000000           /* what halb holds may take so long to leave before its time begins */

static uint64_t tunnel_size(struct client *client)
{
    bool bulk = client->conf->body_max >= 50000 && dice_permille(&client->dice, 200);

    return bulk ? dice_below(&client->dice, BULK) : client_size(client);
}

static unsigned other_code(struct dice *dice)
{
    static const unsigned codes[] = { 200, 200, 400, 404, 503 };

    return codes[dice_below(dice, sizeof(codes) / sizeof(codes[0]))];
}

/* Longer than a request may be silent, and not than a tunnel. */
static uint64_t pause_by_dice(struct client *client)
{
    if (dice_permille(&client->dice, 800))
        return 0;
    return dice_below(&client->dice, client->balancer->tunnel_timeout_ms * 1000 / 2);
}

void tunnel_make(struct client *client, struct request *request)
{
    struct dice *dice = &client->dice;
    bool foreign = dice_permille(dice, 60), accepted = dice_permille(dice, 800);
    unsigned otherwise = other_code(dice);

    *request = (struct request){ .ask = { .client = client->index, .repeatable = true, .method = "GET" }, .end_at = UINT64_MAX,
                                 .answer_framing = BODY_BY_LENGTH };
    request->tunnel.mode = foreign ? 'h' : MODES[dice_below(dice, sizeof(MODES) - 1)];
    request->tunnel.pause_us = pause_by_dice(client);
    request->ask.answer_bytes = tunnel_size(client);
    request->ask.code = accepted && !foreign && client->balancer->upgrades ? 101 : otherwise;
    if (request->ask.code == 101) {
        request->tunnel.early = request->tunnel.mode != 's' && dice_permille(dice, 300);
        request->body.total = tunnel_size(client);
        request->body.framing = BODY_BY_LENGTH;
        request->waits = !request->tunnel.early;
        request->shuts = request->tunnel.mode != 'i';
    }
    body_begin(&request->body, dice);
}

void tunnel_add_fields(const struct client *client, const struct request *request, struct outbox *out)
{
    bool foreign = request->tunnel.mode == 'h';

    if (!foreign && client->balancer->upgrades)
        outbox_text(out, "X-Tunnel: %c %llu\r\n", request->tunnel.mode, (unsigned long long)request->body.total);
    outbox_text(out, "Connection: keep-alive, upgrade\r\nupgrade: %s\r\n", foreign ? "h2c" : "WebSocket");
}

static void speak(struct client *client)
{
    client->http.queue[0].continued = true;
    (void)http_client_pump(client);
}

void tunnel_opened(struct client *client, struct request *request)
{
    client->http.tunnelled = true;
    request->expects = false;
    if (request->waits)
        client_later(client, request->tunnel.pause_us, speak);
}

/* What it would have said is not said. Of what it has said already halb makes a request: the connection is of no use. */
void tunnel_refused(struct client *client, struct request *request)
{
    request->body.done = true;
    request->shuts = false;
    request->end_at = client->http.out.added;
}

bool tunnel_void(const struct client *client)
{
    return !client->http.tunnelled && client->http.queue[0].tunnel.early;
}

/* May it send bytes, or their end? */
bool tunnel_may_speak(const struct client *client)
{
    const struct request *request = &client->http.queue[0];

    if (request->tunnel.mode == '\0' || request->ask.code != 101)
        return true;
    if (request->tunnel.mode == 's')
        return client->http.tunnelled && client->http.ended;
    return request->tunnel.early || request->continued;
}

/* The instance has said all, and the client has not. */
bool tunnel_goes_on(const struct client *client)
{
    return client->http.tunnelled && client->http.queue[0].shuts;
}

/* FIN has come: all was there, or the oracle says whether it was fair. Where nobody was to end it halb has, and not before its time. */
bool tunnel_whole(const struct client *client)
{
    const struct net_profile *net = &client->plan->net;
    uint64_t slack_us = 10000 + 2 * net->delay_max_us, limit_us = client->balancer->tunnel_timeout_ms * 1000;
    uint64_t silent_us = world_now_us() - client->alive_us;

    if (!client->http.tunnelled)
        return true;
    if (client->http.in.payload < client->http.queue[0].ask.answer_bytes || !client->http.queue[0].body.done)
        return false;
    if (client->http.queue[0].tunnel.mode != 'i')
        return true;
    if (silent_us > limit_us + CLOSED_BY_US)
        world_fail("client %u: its tunnel was silent for %llu us, and may be so for %llu", client->index, (unsigned long long)silent_us,
                   (unsigned long long)limit_us);
    return silent_us + slack_us >= limit_us;
}
