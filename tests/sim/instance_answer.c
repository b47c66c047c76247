/* What a request gets from an instance that is right, and how a hasty one breaks it off. */
#include "instance.h"

static const char *early_hints(struct dice *dice)
{
    return dice_permille(dice, 60) ? "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n" : dice_permille(dice, 30) ? "HTTP/1.1 100 Continue\r\n" : NULL;
}

static void add_interim(struct visit *visit)
{
    const char *text = early_hints(&visit->instance->dice);

    if (text != NULL)
        outbox_text(&visit->out, "%sX-Ask: %llu\r\n\r\n", text, (unsigned long long)visit->asked.id);
}

static void add_framing(struct visit *visit)
{
    const struct asked *asked = &visit->asked;

    if (asked->code == 204)
        return;
    if (asked->framing == BODY_BY_LENGTH)
        outbox_text(&visit->out, "Content-Length: %llu\r\n", (unsigned long long)asked->answer_bytes);
    else if (asked->framing == BODY_BY_CHUNKS)
        outbox_text(&visit->out, "Transfer-Encoding: chunked\r\n");
}

void answer_begin(struct visit *visit)
{
    const struct asked *asked = &visit->asked;
    struct dice *dice = &visit->instance->dice;
    bool until_close = asked->framing == BODY_BY_CLOSE && !asked->bodiless;
    bool close = until_close || (!asked->early && dice_permille(dice, 50));

    add_interim(visit);
    outbox_text(&visit->out, "HTTP/1.1 %u Sim\r\nX-Instance: %u\r\n", asked->code, visit->instance->index);
    outbox_text(&visit->out, "X-Ask: %llu\r\n", (unsigned long long)asked->id);
    add_framing(visit);
    if (close && dice_permille(dice, until_close ? 500 : 1000))
        outbox_text(&visit->out, "Connection: close\r\n");
    outbox_text(&visit->out, "\r\n");
    visit->body = (struct body){ .id = asked->id, .direction = BODY_OF_ANSWER, .instance = visit->instance->index,
                                 .total = asked->answer_bytes, .framing = asked->bodiless ? BODY_IS_NONE : asked->framing };
    body_begin(&visit->body, dice);
    visit->ending = close ? ENDS_FIN : ENDS_NOT;
    visit->slowly = visit->instance->manner == MANNER_SLOW && dice_permille(dice, 300);
}

void answer_switches(struct visit *visit)
{
    add_interim(visit);
    outbox_text(&visit->out, "HTTP/1.1 101 Switching Protocols\r\nX-Instance: %u\r\nX-Ask: %llu\r\n", visit->instance->index,
                (unsigned long long)visit->asked.id);
    outbox_text(&visit->out, "Upgrade: WebSocket\r\nConnection: upgrade\r\n\r\n");
}

void answer_check(struct visit *visit, bool passes)
{
    static const char *const failing[] = {
        "HTTP/1.1 503 Sick\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 404 None\r\nContent-Length: 4\r\n\r\nsick",
        "HTTP/1.1 200 OK\r\n\r\nwithout framing",
        "HTTP/1.1 500 Sick\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "not HTTP\r\n\r\n",
        "HTTP/1.1 2",
        "",
    };
    static const char *const passing[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    };
    struct dice *dice = &visit->instance->dice;
    size_t n = passes ? sizeof(passing) / sizeof(passing[0]) : sizeof(failing) / sizeof(failing[0]);

    oracle_check(visit->instance->index, visit->opened_us, passes);
    outbox_text(&visit->out, "%s", (passes ? passing : failing)[dice_below(dice, n)]);
    visit->body.done = true;
    visit->ending = !passes && dice_permille(dice, 200) ? ENDS_RESET : ENDS_FIN;
}

/* How much of it at least is before its last byte. */
static uint64_t bytes_at_least(const struct visit *visit)
{
    return outbox_left(&visit->out) + (visit->body.framing == BODY_IS_NONE ? 0 : visit->body.total);
}

void answer_hasty(struct visit *visit)
{
    static const char *const hows[] = { "left before its answer", "left within its answer's head", "left within its answer" };
    struct dice *dice = &visit->instance->dice;
    unsigned how = (unsigned)dice_below(dice, 6);
    uint64_t head = outbox_left(&visit->out), most = bytes_at_least(visit);

    if (how > 2)
        return;
    visit->ending = dice_permille(dice, 500) ? ENDS_FIN : ENDS_RESET;
    if (visit->body.framing == BODY_BY_CLOSE)
        visit->ending = ENDS_RESET;     /* a FIN would be its answer's end */
    oracle_misbehaved(visit->asked.id, visit->instance->index, hows[how]);
    visit->cut_at = visit->out.written + (how == 0 ? 0 : how == 1 ? dice_below(dice, head) : dice_below(dice, most));
}
