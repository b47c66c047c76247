/* What a client asks, by its dice: all of it compliant, so that no desync mode minds. */
#include "client.h"
#include <stdio.h>

#define FILLERS_MAX 60
#define LONG_FILLERS_MAX 2              /* a head stays below the least headers_max of a plan, 16K */
#define LONG_FILLER_BYTES 7000

static const struct method {
    const char *name;
    unsigned share;
    bool repeatable, has_body;
} methods[] = {
    { "GET", 40, true, false }, { "POST", 22, false, true }, { "PUT", 12, true, true },  { "HEAD", 9, true, false },
    { "DELETE", 7, true, true }, { "PATCH", 5, false, true }, { "OPTIONS", 5, true, true },
};

static const struct method *method_by_dice(struct dice *dice)
{
    unsigned at = (unsigned)dice_below(dice, 100);
    const struct method *method = methods;

    while (at >= method->share)
        at -= method++->share;
    return method;
}

static unsigned code_by_dice(struct dice *dice)
{
    static const unsigned codes[] = { 200, 200, 200, 200, 200, 200, 200, 201, 204, 302, 304, 404, 500, 503 };

    return codes[dice_below(dice, sizeof(codes) / sizeof(codes[0]))];
}

static enum body_framing answer_framing_by_dice(struct dice *dice)
{
    uint64_t share = dice_below(dice, 100);

    return share < 55 ? BODY_BY_LENGTH : share < 85 ? BODY_BY_CHUNKS : BODY_BY_CLOSE;
}

static void make_body(struct client *client, struct request *request)
{
    struct dice *dice = &client->dice;

    if (dice_permille(dice, 300))
        return;
    request->body.total = client_size(client);
    request->body.framing = !request->http10 && dice_permille(dice, 450) ? BODY_BY_CHUNKS : BODY_BY_LENGTH;
    if (request->http10 || request->body.total == 0)
        return;
    request->expects = dice_permille(dice, 120);
    request->waits = request->expects && dice_permille(dice, 700);
    request->early = dice_permille(dice, 80);
}

static void make_fillers(struct client *client, struct request *request)
{
    struct dice *dice = &client->dice;

    if (dice_permille(dice, 900))
        return;
    request->fillers = (unsigned)dice_between(dice, 1, FILLERS_MAX);
    request->filler_max = 20;
    if (client->conf->body_max >= 4000 && dice_permille(dice, 300)) {
        request->fillers = (unsigned)dice_between(dice, 1, LONG_FILLERS_MAX);
        request->filler_max = LONG_FILLER_BYTES;
    }
}

/* The last of a burst may ask for the connection's end. */
static void make_end(struct client *client, struct request *request, bool last)
{
    struct dice *dice = &client->dice;
    bool one_shot = client->conf->kind == CLIENT_ONE_SHOT;

    if (!last)
        return;
    /* A cut of its answer is a reset, and might take what was pipelined before it along. */
    request->http10 = client->conf->kind != CLIENT_PIPELINING && dice_permille(dice, one_shot ? 300 : 30);
    request->closes = one_shot ? dice_permille(dice, 700) : dice_permille(dice, 40);
    request->shuts = one_shot && dice_permille(dice, 100);
}

void request_make(struct client *client, struct request *request, bool last)
{
    struct dice *dice = &client->dice;
    const struct method *method = method_by_dice(dice);

    *request = (struct request){ .ask = { .client = client->index, .repeatable = method->repeatable }, .end_at = UINT64_MAX };
    snprintf(request->ask.method, sizeof(request->ask.method), "%s", method->name);
    request->ask.head_method = method->name[0] == 'H';
    make_end(client, request, last);
    if (method->has_body)
        make_body(client, request);
    request->ask.body_bytes = request->body.total;
    request->ask.code = code_by_dice(dice);
    request->ask.answer_bytes = request->ask.code == 204 ? 0 : client_size(client);
    request->answer_framing = answer_framing_by_dice(dice);
    make_fillers(client, request);
    body_begin(&request->body, dice);
}

/* ---- its head ---- */

static void add_line(struct client *client, const struct request *request, struct outbox *out)
{
    static const char *const framings[] = { [BODY_BY_LENGTH] = "length", [BODY_BY_CHUNKS] = "chunked", [BODY_BY_CLOSE] = "close" };
    const char *origin = dice_permille(&client->dice, 40) ? "http://sim.example" : "";
    const struct oracle_ask *ask = &request->ask;
    char path[128];

    snprintf(path, sizeof(path), "/r%llu?len=%llu&code=%u&framing=%s&early=%d", (unsigned long long)ask->id, (unsigned long long)ask->answer_bytes,
             ask->code, framings[request->answer_framing], request->early);
    outbox_text(out, "%s %s%s HTTP/1.%d\r\nHost: sim.example\r\n", ask->method, origin, path, request->http10 ? 0 : 1);
    outbox_text(out, "X-Asked: %s %s\r\n", ask->method, path);
}

static void add_connection(struct client *client, const struct request *request, struct outbox *out)
{
    bool hop = dice_permille(&client->dice, 60);
    const char *wish = request->closes ? "close" : request->http10 || hop ? "keep-alive" : NULL;

    if (request->http10 && request->closes && dice_permille(&client->dice, 500))
        wish = NULL;                    /* as is its version's way */
    if (hop && wish != NULL)
        outbox_text(out, "Connection: %s, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n", wish);
    else if (wish != NULL)
        outbox_text(out, "Connection: %s\r\n", wish);
}

static void add_fillers(struct client *client, const struct request *request, struct outbox *out)
{
    for (unsigned i = 0; i < request->fillers; i++) {
        size_t len = dice_below(&client->dice, request->filler_max + 1);
        outbox_text(out, "X-F%u-%zu: ", i, len);
        memset(outbox_reserve(out, len), (int)('a' + (request->ask.id + i) % 26), len);
        outbox_took(out, len);
        outbox_text(out, "\r\n");
    }
}

static void add_framing(const struct request *request, struct outbox *out)
{
    if (request->expects)
        outbox_text(out, "Expect: 100-continue\r\n");
    if (request->body.framing == BODY_BY_LENGTH)
        outbox_text(out, "Content-Length: %llu\r\n", (unsigned long long)request->body.total);
    else if (request->body.framing == BODY_BY_CHUNKS)
        outbox_text(out, "Transfer-Encoding: chunked\r\n");
}

void request_add_head(struct client *client, const struct request *request, struct outbox *out)
{
    struct dice *dice = &client->dice;

    add_line(client, request, out);
    outbox_text(out, "X-Client: %u\r\nX-Fillers: %u\r\n", client->index, request->fillers);
    if (dice_permille(dice, 100))
        outbox_text(out, "X-Forwarded-For: 192.0.2.7\r\nX-Before: 192.0.2.7\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Proto: https\r\n");
    if (client->http.cookie[0] != '\0')
        outbox_text(out, "Cookie: %s%s\r\n", client->http.cookie, request->ask.claim == 0 ? "00" : "");
    if (request->tunnel.mode != '\0')
        tunnel_add_fields(client, request, out);
    else
        add_connection(client, request, out);
    add_fillers(client, request, out);
    if (request->tunnel.mode == '\0')
        add_framing(request, out);
    outbox_text(out, "\r\n");
}
