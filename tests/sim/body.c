#include "body.h"

#define PIECE_MAX 16384

static size_t chunk_max_by_dice(uint64_t total, struct dice *dice)
{
    static const size_t sizes[] = { 1, 10, 100, 1000, 4000, PIECE_MAX };
    size_t max = sizes[dice_below(dice, sizeof(sizes) / sizeof(sizes[0]))];

    return total / max > 400 ? PIECE_MAX : max;         /* few enough to be quick */
}

void body_begin(struct body *body, struct dice *dice)
{
    body->at = 0;
    body->done = body->framing == BODY_IS_NONE || (body->framing != BODY_BY_CHUNKS && body->total == 0);
    if (body->framing != BODY_BY_CHUNKS)
        return;
    body->chunk_max = chunk_max_by_dice(body->total, dice);
    body->extensions = dice_permille(dice, 100);
    body->trailers = dice_permille(dice, 150);
}

void body_add_pattern(struct body *body, struct outbox *out, size_t len)
{
    char *to = outbox_reserve(out, len);

    for (size_t i = 0; i < len; i++)
        to[i] = (char)pattern_byte(body->id, body->direction, body->instance, body->at + i);
    outbox_took(out, len);
    body->at += len;
}

static size_t next_piece(const struct body *body, size_t max)
{
    return body->total - body->at < max ? (size_t)(body->total - body->at) : max;
}

static void add_last_chunk(struct body *body, struct outbox *out)
{
    outbox_text(out, body->extensions ? "000;last\r\n" : "0\r\n");
    if (body->trailers)
        outbox_text(out, "X-Trailer: a\r\nContent-Length: 7\r\n");
    outbox_text(out, "\r\n");
    body->done = true;
}

static void add_chunk(struct body *body, struct outbox *out, struct dice *dice)
{
    size_t len = next_piece(body, body->chunk_max);

    if (len == 0) {
        add_last_chunk(body, out);
        return;
    }
    len = dice_between(dice, 1, len);
    outbox_text(out, body->extensions ? "%zX;a=\"b\"\r\n" : "%zx\r\n", len);
    body_add_pattern(body, out, len);
    outbox_text(out, "\r\n");
}

void body_add_piece(struct body *body, struct outbox *out, struct dice *dice)
{
    if (body->framing == BODY_BY_CHUNKS) {
        add_chunk(body, out, dice);
        return;
    }
    body_add_pattern(body, out, next_piece(body, PIECE_MAX));
    body->done = body->at == body->total;
}

size_t body_right(uint64_t id, enum body_direction direction, unsigned instance, uint64_t at, const char *bytes, size_t len)
{
    size_t i = 0;

    while (i < len && (unsigned char)bytes[i] == pattern_byte(id, direction, instance, at + i))
        i++;
    return i;
}
