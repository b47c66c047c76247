/*
 * A client's HTTP connection: what it writes, and how it ends.
 *
 *   CLOSED -> CONNECTING -> OPEN -> ENDING -> CLOSED
 *     ^           |          |                          ENDING: the last answer said that the connection ends
 *     +-----------+----------+
 */
#include "client.h"
#include "common/list.h"

#define READ_BYTES 65536

static const struct peer_events http_events;

static struct client *client_of(struct peer *peer)
{
    return container_of(peer, struct client, peer);
}

void http_client_init(struct client *client)
{
    answer_reader_init(client);
}

void http_client_fini(struct client *client)
{
    message_fini(&client->http.in);
    outbox_fini(&client->http.out);
}

/* ---- the end of a connection ---- */

/* It idled so long that halb may have closed it before the request came, or on its way. */
static bool crossed(const struct client *client, const struct request *request)
{
    const struct net_profile *net = &client->plan->net;
    uint64_t slack = 50000 + 4 * (net->delay_max_us + client->plan->stall_max_us + client->plan->faults.late_max_us);

    return request->idle_us != UINT64_MAX && !client->http.answer_byte && request->idle_us + slack >= client->balancer->idle_timeout_ms * 1000;
}

/* What it reports of a request that has no answer: whatever it did itself, or never began, is nobody's fault. */
static enum unanswered how_ended(const struct client *client, const struct request *request, enum unanswered how)
{
    const struct http_client *http = &client->http;
    bool late = request->illegal != NULL && illegal_late(request);

    if (late || http->state == HTTP_ENDING || request->begin_at >= http->out.written || crossed(client, request))
        return UNANSWERED_LEFT;
    if (!http->answer_byte && door_gone(client, request->begun_us, http->answered == 0))
        return UNANSWERED_LEFT;
    return how;
}

static void queue_pop(struct http_client *http)
{
    memmove(&http->queue[0], &http->queue[1], --http->count * sizeof(http->queue[0]));
}

/* The connection is gone; what was asked on it comes to nothing. Of what was behind the first, halb has not begun anything. */
static void gone(struct client *client, enum unanswered how)
{
    struct http_client *http = &client->http;

    if (http->state == HTTP_CONNECTING)
        client->left--;                 /* or who never gets through would try for ever */
    else
        door_denied(client);
    while (http->count > 0) {
        oracle_unanswered(http->queue[0].ask.id, how_ended(client, &http->queue[0], how));
        queue_pop(http);
        how = UNANSWERED_LEFT;
    }
    http->state = HTTP_CLOSED;
    http->burst = 0;
    http->ended = false;
    if (!client->done)
        client_rest(client);
}

/* FIN has come and all before it is read. */
static void closed(struct client *client)
{
    struct http_client *http = &client->http;

    if (tunnel_goes_on(client)) {
        (void)http_client_pump(client);
        return;
    }
    if (http->in.step == MESSAGE_REST && tunnel_whole(client)) {
        http->in.step = MESSAGE_DONE;
        (void)http_answered(client);
    }
    peer_close(&client->peer);
    gone(client, UNANSWERED_CLOSED);
}

void http_client_end(struct client *client)
{
    if (client->http.state == HTTP_CLOSED)
        return;
    peer_close(&client->peer);
    client->http.state = HTTP_CLOSED;
}

void http_client_leave(struct client *client)
{
    uint64_t how = dice_below(&client->dice, 3);

    if (client->http.state == HTTP_CLOSED)
        return;
    trace("client %u leaves", client->index);
    if (how == 0)
        peer_close(&client->peer);
    else if (how == 1)
        peer_reset(&client->peer);
    else
        peer_vanish(&client->peer);
    gone(client, UNANSWERED_LEFT);
}

void http_client_give_up(struct client *client)
{
    if (client->http.state == HTTP_ENDING && client->http.count == 0)
        world_fail("client %u: its connection was to end, and does not", client->index);
    peer_reset(&client->peer);
    gone(client, UNANSWERED_TIMEOUT);
}

/* ---- writing ---- */

static struct request *last_asked(struct http_client *http)
{
    return http->count == 0 ? NULL : &http->queue[http->count - 1];
}

static void request_begin(struct client *client)
{
    struct http_client *http = &client->http;
    struct request *request = &http->queue[http->count++];

    http->burst--;
    client->left--;
    if (client->conf->kind == CLIENT_ILLEGAL)
        illegal_make(client, request);
    else if (client->conf->kind == CLIENT_TUNNEL && dice_permille(&client->dice, 700))
        tunnel_make(client, request);
    else
        request_make(client, request, http->burst == 0);
    if (request->illegal == NULL && http->cookie[0] != '\0' && !dice_permille(&client->dice, 100))
        request->ask.claim = http->cookie_of + 1;       /* else what it gives back is forged */
    request->ask.listener_left_us = door_left_us(client);
    oracle_ask(&request->ask);
    request->body.id = request->ask.id;
    request->begin_at = http->out.added;
    request->begun_us = world_now_us();
    request->idle_us = http->answered == 0 ? UINT64_MAX : world_now_us() - http->idle_since_us;
    if (request->illegal != NULL)
        illegal_add(request, &http->out);
    else
        request_add_head(client, request, &http->out);
    if (request->body.done)
        request->end_at = http->out.added;
}

/* Adds what is to be written next; false: nothing, for now. */
static bool add_more(struct client *client)
{
    struct http_client *http = &client->http;
    struct request *last = last_asked(http);

    if (http->state != HTTP_OPEN)
        return false;
    if (last != NULL && !last->body.done) {
        if ((last->waits && !last->continued) || !tunnel_may_speak(client))
            return false;
        body_add_piece(&last->body, &http->out, &client->dice);
        if (last->body.done)
            last->end_at = http->out.added;
        return true;
    }
    if (http->burst == 0)
        return false;
    request_begin(client);
    return true;
}

static size_t most_now(struct client *client)
{
    const struct http_client *http = &client->http;
    size_t most = SIZE_MAX;

    if (client->conf->kind == CLIENT_SLOW_SENDER && !client->hurried)
        most = dice_between(&client->dice, 1, dice_permille(&client->dice, 300) ? 3 : 1000);
    return http->leave_at - http->out.written < most ? (size_t)(http->leave_at - http->out.written) : most;
}

static void next_drop(struct client *client)
{
    (void)http_client_pump(client);
}

static uint64_t drop_pause(struct client *client)
{
    struct dice *dice = &client->dice;

    return dice_permille(dice, 8) ? dice_below(dice, 100000000) : dice_below(dice, client->conf->pause_max_us / 10 + 1000);
}

/* All that it has to say is said. */
static void said(struct client *client)
{
    struct http_client *http = &client->http;
    struct request *last = last_asked(http);

    if (last == NULL || !last->shuts || http->out.written < last->end_at || !tunnel_may_speak(client))
        return;
    last->shuts = false;
    peer_shut(&client->peer);
    if (http->tunnelled && http->ended)
        closed(client);
}

bool http_client_pump(struct client *client)
{
    struct http_client *http = &client->http;
    bool slow = client->conf->kind == CLIENT_SLOW_SENDER && !client->hurried;

    if (http->state != HTTP_OPEN)
        return true;
    while (outbox_left(&http->out) > 0 || add_more(client)) {
        if (outbox_write(&http->out, &client->peer, most_now(client)) > 0)
            client_alive(client);
        if (http->out.written == http->leave_at) {
            http_client_leave(client);
            return false;
        }
        if (slow) {
            client_later(client, drop_pause(client), next_drop);
            return true;
        }
        if (outbox_left(&http->out) > 0)
            return true;
    }
    said(client);
    return true;
}

/* ---- reading ---- */

bool http_answered(struct client *client)
{
    struct http_client *http = &client->http;
    bool shut = http->queue[0].shuts || client->conf->kind == CLIENT_ONE_SHOT;

    if (tunnel_void(client)) {
        peer_reset(&client->peer);
        gone(client, UNANSWERED_LEFT);
        return false;
    }
    if (!answer_whole(client))
        oracle_unanswered(http->queue[0].ask.id, UNANSWERED_LEFT);      /* it was half of a request */
    queue_pop(http);
    http->answered++;
    http->idle_since_us = world_now_us();
    http->head_come = http->answer_byte = false;
    message_next(&http->in);
    if (http->end_said) {
        http->state = HTTP_ENDING;
        http->burst = 0;
    } else if (http->count == 0 && http->burst == 0) {
        if (shut)
            http_client_end(client);
        client_rest(client);
    }
    return true;
}

/* The next bytes that have come. false: the connection is gone, or nothing has come. */
static bool read_some(struct client *client, size_t most)
{
    static char bytes[READ_BYTES];
    struct http_client *http = &client->http;
    size_t n;

    if (http->state == HTTP_CLOSED || peer_readable(&client->peer) == 0)
        return false;
    client->door.heard_us = peer_sent_us(&client->peer);
    n = peer_read(&client->peer, bytes, most < READ_BYTES ? most : READ_BYTES);
    client_alive(client);
    for (size_t at = 0; at < n;) {
        if (http->count == 0 || http->state != HTTP_OPEN)
            world_fail("client %u: %zu bytes after its last answer: %.*s", client->index, n - at, (int)(n - at), bytes + at);
        http->answer_byte = true;
        at += message_take(&http->in, bytes + at, n - at);
        if (http->in.step == MESSAGE_DONE && !http_answered(client))
            return false;
    }
    return n > 0 && http->state != HTTP_CLOSED;
}

static void read_all(struct client *client)
{
    while (read_some(client, READ_BYTES))
        ;
    if (client->http.state != HTTP_CLOSED && client->http.ended)
        closed(client);
    else
        (void)http_client_pump(client);         /* a 100 may have come */
}

static void sip(struct client *client);

static void sip_later(struct client *client)
{
    struct dice *dice = &client->dice;
    uint64_t in_us = dice_permille(dice, 8) ? dice_below(dice, 100000000) : dice_below(dice, client->conf->pause_max_us / 10 + 1000);

    client_later(client, in_us, sip);
}

static void sip(struct client *client)
{
    struct http_client *http = &client->http;
    uint64_t most = client->conf->body_max / 40 + 200;

    if (client->hurried) {
        read_all(client);
        return;
    }
    (void)read_some(client, dice_between(&client->dice, 1, most));
    if (http->state == HTTP_CLOSED)
        return;
    if (peer_readable(&client->peer) == 0 && http->ended)
        closed(client);
    else if (peer_readable(&client->peer) > 0 && !event_is_set(&client->event))
        sip_later(client);
    (void)http_client_pump(client);
}

static void on_connected(struct peer *peer)
{
    struct client *client = client_of(peer);

    client->http.state = HTTP_OPEN;
    door_opened(client);
    client_alive(client);
    (void)http_client_pump(client);
}

static bool reads_slowly(const struct client *client)
{
    return client->conf->kind == CLIENT_SLOW_READER && !client->hurried;
}

static void on_readable(struct peer *peer)
{
    struct client *client = client_of(peer);

    if (!reads_slowly(client))
        read_all(client);
    else if (!event_is_set(&client->event))
        sip_later(client);
}

static void on_writable(struct peer *peer)
{
    struct client *client = client_of(peer);

    if (!event_is_set(&client->event))
        (void)http_client_pump(client);
}

/* Between two requests? */
static void look_at_end(const struct client *client)
{
    if (client->http.state == HTTP_OPEN && client->http.count == 0 && client->http.answered > 0 && peer_readable(&client->peer) == 0)
        door_ended(client);
}

static void on_ended(struct peer *peer)
{
    struct client *client = client_of(peer);

    client->http.ended = true;
    look_at_end(client);
    if (!reads_slowly(client) || peer_readable(peer) == 0)
        read_all(client);
    else if (!event_is_set(&client->event))
        sip_later(client);
}

static void on_broken(struct peer *peer, int err)
{
    struct client *client = client_of(peer);

    trace("client %u: its connection broke: %d", client->index, err);
    oracle_broken(client->index, client->door.opened_us, err);
    look_at_end(client);
    gone(client, UNANSWERED_RESET);
}

static const struct peer_events http_events = {
    .connected = on_connected,
    .readable = on_readable,
    .writable = on_writable,
    .ended = on_ended,
    .broken = on_broken,
};

/* ---- the next requests ---- */

static void open_new(struct client *client)
{
    struct http_client *http = &client->http;

    http->state = HTTP_CONNECTING;
    http->answered = 0;
    http->ended = http->head_come = http->end_said = http->answer_byte = http->tunnelled = false;
    http->leave_at = UINT64_MAX;
    outbox_clear(&http->out);
    message_next(&http->in);
    client_connect(client, &http_events);
    introduction_add(client, &http->out);
}

/* A vanishing one goes at a moment, or at a byte. */
static void plan_to_leave(struct client *client)
{
    struct dice *dice = &client->dice;

    if (dice_permille(dice, client->conf->kind == CLIENT_TUNNEL ? 900 : 200))
        return;
    if (dice_permille(dice, 400))
        client->http.leave_at = client->http.out.written + dice_below(dice, dice_permille(dice, 600) ? 300 : 300 + client->conf->body_max);
    else
        event_set(&client->leave, world_now_us() + dice_below(dice, dice_permille(dice, 600) ? 3000 : 3000000));
}

void http_client_next(struct client *client)
{
    struct http_client *http = &client->http;
    bool fresh = http->state != HTTP_OPEN;
    unsigned most = client->conf->kind == CLIENT_PIPELINING ? PIPELINE_MAX : 1;

    http->burst = (unsigned)dice_between(&client->dice, 1, most < client->left ? most : client->left);
    if (fresh)
        open_new(client);
    if (client->conf->kind == CLIENT_VANISHING || client->conf->kind == CLIENT_TUNNEL)
        plan_to_leave(client);
    client_alive(client);
    if (!fresh)
        (void)http_client_pump(client);
}
