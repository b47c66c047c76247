/* A client's connections to a TCP balancer: "S<id> <up> <down> <mode>\n" and pattern bytes; "I<instance>\n" and pattern bytes come back. */
#include "client.h"
#include "common/list.h"

#define READ_BYTES 65536
#define MODES "bbbbccssr"               /* both at once, client first, instance first, instance resets */
#define BULK 3000000

static const struct peer_events stream_events;

static struct client *client_of(struct peer *peer)
{
    return container_of(peer, struct client, peer);
}

void stream_client_init(struct client *client)
{
    client->stream.open = false;
}

void stream_client_fini(struct client *client)
{
    outbox_fini(&client->stream.out);
}

/* ---- the end ---- */

static void finished(struct client *client, bool whole, enum unanswered how)
{
    client->stream.open = false;
    if (client->stream.connected)
        door_denied(client);
    oracle_stream_ended(client->stream.id, whole, how);
    client_rest(client);
}

static bool came_whole(const struct stream_client *stream)
{
    return stream->first_line && stream->down == stream->down_total;
}

/* The instance has said all, and so have we. */
static void look_for_end(struct client *client)
{
    struct stream_client *stream = &client->stream;

    if (!stream->open || !stream->ended || (came_whole(stream) && !stream->shut))
        return;
    peer_close(&client->peer);
    finished(client, came_whole(stream) && stream->body.done, UNANSWERED_CLOSED);
}

void stream_client_leave(struct client *client)
{
    if (!client->stream.open)
        return;
    if (dice_permille(&client->dice, 700))
        peer_reset(&client->peer);
    else
        peer_vanish(&client->peer);
    finished(client, false, UNANSWERED_LEFT);
}

void stream_client_give_up(struct client *client)
{
    peer_reset(&client->peer);
    finished(client, false, UNANSWERED_TIMEOUT);
}

/* ---- up ---- */

static bool may_speak(const struct stream_client *stream)
{
    return stream->mode != 's' || stream->ended;        /* the instance's FIN has come: it is our turn */
}

static bool add_more(struct client *client)
{
    struct stream_client *stream = &client->stream;

    if (stream->body.done || !may_speak(stream))
        return false;
    body_add_piece(&stream->body, &stream->out, &client->dice);
    return true;
}

static void pump(struct client *client)
{
    struct stream_client *stream = &client->stream;

    while (outbox_left(&stream->out) > 0 || add_more(client)) {
        uint64_t until_leave = stream->leave_at - stream->out.written;
        if (outbox_write(&stream->out, &client->peer, until_leave < SIZE_MAX ? (size_t)until_leave : SIZE_MAX) > 0)
            client_alive(client);
        if (stream->out.written == stream->leave_at) {
            stream_client_leave(client);
            return;
        }
        if (outbox_left(&stream->out) > 0)
            return;
    }
    if (stream->body.done && may_speak(stream) && !stream->shut) {
        stream->shut = true;
        peer_shut(&client->peer);
    }
    look_for_end(client);
}

/* ---- down ---- */

static size_t take_first_line(struct client *client, const char *bytes, size_t len)
{
    struct stream_client *stream = &client->stream;
    size_t n = 0;

    while (n < len && !stream->first_line) {
        if (stream->line_len == sizeof(stream->line))
            world_fail("client %u: stream %llu without a first line", client->index, (unsigned long long)stream->id);
        stream->line[stream->line_len++] = bytes[n];
        stream->first_line = bytes[n++] == '\n';
    }
    if (stream->first_line && n > 0) {
        uint64_t instance = span_number((struct span){ stream->line + 1, stream->line_len - 2 });
        if (stream->line[0] != 'I' || instance >= PLAN_INSTANCES || client->plan->instances[instance].balancer != client->conf->balancer)
            world_fail("client %u: stream %llu begins with %.*s", client->index, (unsigned long long)stream->id, (int)stream->line_len, stream->line);
        stream->instance = (unsigned)instance;
    }
    return n;
}

static void take(struct client *client, const char *bytes, size_t len)
{
    struct stream_client *stream = &client->stream;
    size_t n = stream->first_line ? 0 : take_first_line(client, bytes, len);

    if (stream->down + len - n > stream->down_total)
        world_fail("client %u: stream %llu: more bytes than were asked for", client->index, (unsigned long long)stream->id);
    if (body_right(stream->id, BODY_OF_ANSWER, stream->instance, stream->down, bytes + n, len - n) != len - n)
        world_fail("client %u: stream %llu: a byte that instance %u did not send, after %llu", client->index, (unsigned long long)stream->id,
                   stream->instance, (unsigned long long)stream->down);
    stream->down += len - n;
}

static void read_all(struct client *client)
{
    static char bytes[READ_BYTES];
    size_t n;

    while ((n = peer_read(&client->peer, bytes, READ_BYTES)) > 0) {
        client_alive(client);
        take(client, bytes, n);
    }
}

static void on_readable(struct peer *peer)
{
    read_all(client_of(peer));
}

static void on_connected(struct peer *peer)
{
    struct client *client = client_of(peer);

    client->stream.connected = true;
    door_opened(client);
    client_alive(client);
    pump(client);
}

static void on_writable(struct peer *peer)
{
    pump(client_of(peer));
}

static void on_ended(struct peer *peer)
{
    struct client *client = client_of(peer);

    read_all(client);
    client->stream.ended = true;
    pump(client);
}

/* Only before it was accepted does a stream lose anything with its listener. */
static bool unaccepted(const struct client *client)
{
    return door_gone(client, 0, true);
}

static void on_broken(struct peer *peer, int err)
{
    struct client *client = client_of(peer);
    bool nobody = !client->stream.connected || (client->stream.line_len == 0 && !client->stream.first_line && unaccepted(client));

    trace("client %u: its stream broke: %d", client->index, err);
    oracle_broken(client->index, client->door.opened_us, err);
    finished(client, false, nobody ? UNANSWERED_LEFT : UNANSWERED_RESET);
}

static const struct peer_events stream_events = {
    .connected = on_connected,
    .readable = on_readable,
    .writable = on_writable,
    .ended = on_ended,
    .broken = on_broken,
};

static uint64_t stream_size(struct client *client)
{
    bool bulk = client->conf->body_max >= 50000 && dice_permille(&client->dice, 60);

    return bulk ? dice_below(&client->dice, BULK) : client_size(client);
}

void stream_client_next(struct client *client)
{
    struct stream_client *stream = &client->stream;
    struct dice *dice = &client->dice;
    struct outbox out = stream->out;

    client->left--;
    outbox_clear(&out);
    *stream = (struct stream_client){ .open = true, .out = out, .leave_at = UINT64_MAX };
    client_connect(client, &stream_events);
    introduction_add(client, &stream->out);
    stream->id = oracle_stream_asked(client->index);
    stream->up_total = stream_size(client);
    stream->down_total = stream_size(client);
    stream->mode = MODES[dice_below(dice, sizeof(MODES) - 1)];
    if (dice_permille(dice, 80))
        stream->leave_at = dice_below(dice, stream->up_total + 10);
    stream->body = (struct body){ .id = stream->id, .direction = BODY_OF_REQUEST, .total = stream->up_total, .framing = BODY_BY_LENGTH };
    body_begin(&stream->body, dice);
    outbox_text(&stream->out, "S%llu %llu %llu %c\n", (unsigned long long)stream->id, (unsigned long long)stream->up_total,
                (unsigned long long)stream->down_total, stream->mode);
}
