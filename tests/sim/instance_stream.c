/* A connection of a TCP balancer: "S<id> <up> <down> <mode>\n" and pattern bytes; we say "I<instance>\n" and ours. Or a tunnel. */
#include "instance.h"
#include <stdio.h>

static void begin(struct visit *visit)
{
    struct stream_visit *stream = &visit->stream;
    unsigned long long id, up, down;

    stream->line[stream->line_len] = '\0';
    if (sscanf(stream->line, "S%llu %llu %llu %c\n", &id, &up, &down, &stream->mode) != 4 || strchr(STREAM_MODES, stream->mode) == NULL)
        world_fail("instance %u: a stream that begins with %s", visit->instance->index, stream->line);
    stream->id = id;
    stream->up_total = up;
    stream->down_total = down;
    stream->began = true;
    trace("instance %u: stream %llu", visit->instance->index, id);
    if (visit->stale)
        oracle_misbehaved(id, visit->instance->index, "was stopped");
    oracle_stream_reached(id, visit->instance->index, visit->opened_us);
    introduction_judge(visit, id);
    visit->body = (struct body){ .id = id, .direction = BODY_OF_ANSWER, .instance = visit->instance->index, .total = down,
                                 .framing = BODY_BY_LENGTH };
    body_begin(&visit->body, &visit->instance->dice);
}

static void will_break_off(struct visit *visit, const char *how)
{
    struct dice *dice = &visit->instance->dice;

    oracle_misbehaved(visit->stream.id, visit->instance->index, how);
    visit->cut_at = visit->out.written + dice_below(dice, visit->stream.down_total + 1);
    visit->ending = visit->stream.mode == 'r' || dice_permille(dice, 500) ? ENDS_RESET : ENDS_FIN;
}

static void decide(struct visit *visit)
{
    struct dice *dice = &visit->instance->dice;

    visit->decided = true;
    if (visit->stream.mode == 'r')
        will_break_off(visit, "reset, as asked");
    else if (visit->instance->manner == MANNER_HASTY && dice_permille(dice, 400))
        will_break_off(visit, "broke off");
}

static void thought(struct visit *visit)
{
    decide(visit);
    outbox_text(&visit->out, "I%u\n", visit->instance->index);
    (void)visit_pump(visit);
}

static void take_line(struct visit *visit)
{
    struct stream_visit *stream = &visit->stream;
    struct dice *dice = &visit->instance->dice;
    uint64_t most = visit->instance->balancer->idle_timeout_ms * 1000 / 3;
    char byte;

    while (!stream->began && visit_read(visit, &byte, 1) == 1) {
        if (stream->line_len == sizeof(stream->line) - 1)
            world_fail("instance %u: a stream without a first line", visit->instance->index);
        stream->line[stream->line_len++] = byte;
        if (byte == '\n')
            begin(visit);
    }
    if (stream->began)
        visit_later(visit, dice_below(dice, visit->instance->manner != MANNER_SLOW ? 1000 : most < 4000000 ? most + 1 : 4000000), thought);
}

void stream_visit_upgrade(struct visit *visit)
{
    const struct asked *asked = &visit->asked;

    visit->kind = VISIT_STREAM;
    visit->answering = false;
    visit->ending = ENDS_NOT;
    visit->stream = (struct stream_visit){ .id = asked->id, .up_total = asked->up, .down_total = asked->answer_bytes, .mode = asked->tunnel, .began = true };
    visit->body = (struct body){ .id = asked->id, .direction = BODY_OF_ANSWER, .instance = visit->instance->index, .total = asked->answer_bytes,
                                 .framing = BODY_BY_LENGTH };
    body_begin(&visit->body, &visit->instance->dice);
    decide(visit);
}

static void take_up(struct visit *visit, const char *bytes, size_t len)
{
    struct stream_visit *stream = &visit->stream;

    if (stream->up + len > stream->up_total)
        world_fail("stream %llu: more bytes than were sent", (unsigned long long)stream->id);
    if (body_right(stream->id, BODY_OF_REQUEST, 0, stream->up, bytes, len) != len)
        world_fail("stream %llu: a byte that was not sent, after %llu", (unsigned long long)stream->id, (unsigned long long)stream->up);
    stream->up += len;
}

bool stream_visit_read(struct visit *visit)
{
    static char bytes[VISIT_READ];
    size_t n;

    if (!visit->stream.began)
        take_line(visit);
    while (visit->stream.began && (n = visit_read(visit, bytes, VISIT_READ)) > 0)
        take_up(visit, bytes, n);
    visit->stream.up_ended = visit->ended && peer_readable(&visit->peer) == 0;
    return true;
}

bool stream_visit_pump(struct visit *visit)
{
    struct stream_visit *stream = &visit->stream;

    if (!stream->began && stream->up_ended)
        return visit_end(visit, ENDS_FIN);              /* it was given up before it had begun */
    if (!visit->decided || (stream->mode == 'c' && !stream->up_ended))
        return true;
    if (!visit->body.done) {
        body_add_piece(&visit->body, &visit->out, &visit->instance->dice);
        return true;
    }
    if (stream->mode == 'i' && !stream->up_ended)
        return true;
    if (!visit->answered) {
        visit->answered = true;
        peer_shut(&visit->peer);
    }
    return visit_end(visit, stream->up_ended ? ENDS_FIN : ENDS_NOT);
}
