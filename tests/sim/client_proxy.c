/* Clients behind a proxy, which says first who they are; and introductions that are none: halb closes, and says nothing. */
#include "client.h"
#include "common/list.h"
#include "common/proxy.h"
#include <stdio.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define BINARY(bytes) SIGNATURE bytes, sizeof(SIGNATURE bytes) - 1
#define TEXT(text) text, sizeof(text) - 1
#define REQUEST "GET / HTTP/1.1\r\nHost: sim.example\r\n\r\n"

static const struct bad {
    const char *bytes;
    size_t len;
    bool ends;                          /* with FIN */
} rows[] = {
    { TEXT(""), false },                /* nothing ever comes */
    { TEXT(""), true },
    { TEXT("PROXY TCP4 192.0.2.1 192.0.2."), true },
    { TEXT(REQUEST), false },
    { TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n" REQUEST), false },
    { TEXT("PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n" REQUEST), false },
    { TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n" REQUEST), false },
    { TEXT("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n" REQUEST), false },
    { TEXT("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n" REQUEST), false },
    { TEXT("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n" REQUEST), false },
    { TEXT("PROXY UNKNOWN aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), false },
    { BINARY("\x11\x11\0\x0c\1\2\3\4\5\6\7\x08\0\1\0\2" REQUEST), false },
    { BINARY("\x22\x11\0\x0c\1\2\3\4\5\6\7\x08\0\1\0\2" REQUEST), false },
    { BINARY("\x21\x11\0\x04\1\2\3\4" REQUEST), false },
    { BINARY("\x21\x41\0\x0c\1\2\3\4\5\6\7\x08\0\1\0\2" REQUEST), false },
    { BINARY("\x21\x11\0\x0d\1\2\3\4\5\6\7\x08\0\1\0\2\4" REQUEST), false },
};

static struct client *client_of(struct peer *peer)
{
    return container_of(peer, struct client, peer);
}

static void over(struct client *client)
{
    client->bad = NULL;
    client_rest(client);
}

static void on_writable(struct peer *peer)
{
    struct client *client = client_of(peer);

    client->bad_written += peer_write(peer, client->bad->bytes + client->bad_written, client->bad->len - client->bad_written);
    if (client->bad->ends && client->bad_written == client->bad->len)
        peer_shut(peer);
}

static void on_connected(struct peer *peer)
{
    client_alive(client_of(peer));
    on_writable(peer);
}

static void on_readable(struct peer *peer)
{
    world_fail("client %u: an answer to an introduction that is none", client_of(peer)->index);
}

static void on_ended(struct peer *peer)
{
    peer_close(peer);
    over(client_of(peer));
}

static void on_broken(struct peer *peer, int err)
{
    trace("client %u: its introduction broke: %d", client_of(peer)->index, err);
    over(client_of(peer));
}

bool introduction_spoilt(struct client *client)
{
    static const struct peer_events events = { .connected = on_connected, .readable = on_readable, .writable = on_writable,
                                               .ended = on_ended, .broken = on_broken };
    struct dice *dice = &client->dice;

    if (client->conf->introduces == INTRODUCES_NOT || client->http.state != HTTP_CLOSED || !dice_permille(dice, 120))
        return false;
    client->bad = &rows[dice_below(dice, sizeof(rows) / sizeof(rows[0]))];
    client->bad_written = 0;
    client->left--;
    trace("client %u: introduces itself as nobody may: %.20s", client->index, client->bad->bytes);
    client_connect(client, &events);
    return true;
}

void introduction_add(struct client *client, struct outbox *out)
{
    struct addr source = plan_client_named(client->plan, client->index), destination = plan_destination_named(client->plan, client->index);
    char *to = outbox_reserve(out, PROXY_MAX);

    switch (client->conf->introduces) {
    case INTRODUCES_NOT:
        return;
    case INTRODUCES_V1:
    case INTRODUCES_V1_IPV6:
        outbox_took(out, proxy_format(1, &source, &destination, to));
        break;
    case INTRODUCES_V2:
    case INTRODUCES_V2_IPV6:
        outbox_took(out, proxy_format(2, &source, &destination, to));
        break;
    case INTRODUCES_LOCAL:
        outbox_took(out, proxy_format_local(2, to));
        return;                         /* the peer itself counts */
    case INTRODUCES_UNKNOWN:
        outbox_text(out, "PROXY UNKNOWN 192.0.2.66 what follows does not count\r\n");
        return;
    }
    oracle_named(client->index, &source, &destination);
}
