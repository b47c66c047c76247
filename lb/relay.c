#include "lb/relay.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define JOIN_MAX (16 * 1024)                /* a body piece up to this size is copied behind its head: one send instead of two */
#define CHUNK_FRAME 24                      /* "<hex>\r\n", "\r\n", "0\r\n\r\n" */
#define BULK_BODY (64 * 1024)
#define LAST_CHUNK "0\r\n\r\n"

void flow_start(struct flow *flow, struct side *from, struct side *to, const struct http1_body *body, struct buf *head, bool rechunk)
{
    *flow = (struct flow){ .from = from, .to = to, .body = *body, .head = head, .rechunk = rechunk };
}

void flow_stop(struct flow *flow)
{
    buf_unref(&flow->head);
    flow->ended = true;
}

/* What the chunk holds beyond the message's end goes back to the inbox, and the chunk ends with the message. */
static int give_back(struct side *side, struct chunk *chunk, size_t used)
{
    struct chunk *rest;

    if (used == chunk->len)
        return 0;
    rest = chunk_copy(chunk->data + used, chunk->len - used);
    if (rest == NULL)
        return -ENOMEM;
    side_put_back(side, rest);
    chunk->len = (uint32_t)used;
    return 0;
}

static void join_payload(struct buf *head, const char *payload, size_t len, bool rechunk)
{
    if (len == 0)
        return;
    if (rechunk) {
        buf_add_number(head, len, 16);
        buf_add(head, "\r\n", 2);
    }
    buf_add(head, payload, len);
    if (rechunk)
        buf_add(head, "\r\n", 2);
}

/* Copies what has come of the body behind the head, as far as it is small. */
static void join(struct ring *ring, struct flow *flow)
{
    struct chunk *chunk;

    while (!flow->body.done && !flow->bad && (chunk = flow->from->inbox) != NULL && chunk->len <= JOIN_MAX && flow->head->len <= JOIN_MAX &&
           buf_reserve(&flow->head, chunk->len + CHUNK_FRAME) == 0) {
        size_t payload, used;
        side_take(flow->from);
        flow->bad = http1_body_take(&flow->body, chunk->data, chunk->len, &payload, &used) < 0;
        join_payload(flow->head, chunk->data, payload, flow->rechunk);
        flow->bytes += payload;
        chunk->data += used;
        chunk->len -= (uint32_t)used;
        if (chunk->len > 0 && !flow->bad)
            side_put_back(flow->from, chunk);
        else
            chunk_put(ring, chunk);
    }
    if (flow->body.done && flow->rechunk && buf_reserve(&flow->head, CHUNK_FRAME) == 0) {
        buf_add_text(flow->head, LAST_CHUNK);
        flow->rechunk = false;
    }
    flow->whole_in_head = flow->body.done && !flow->rechunk;
    flow->ended = flow->whole_in_head;
}

/* Will payload follow at once? Of a chunked body the next piece may be framing alone, and what was held back for it would wait. */
static bool more_follows(const struct flow *flow)
{
    return !flow->ended && flow->from->inbox != NULL && flow->body.framing != BODY_CHUNKED;
}

static void send_head(struct ring *ring, struct flow *flow)
{
    join(ring, flow);
    side_send_buf(ring, flow->to, flow->head, more_follows(flow));
    flow->head_sent = true;
    if (!flow->whole_in_head)
        buf_unref(&flow->head);
    if (flow->body.framing == BODY_LENGTH && flow->body.left >= BULK_BODY)
        side_expect_bulk(ring, flow->from);
}

/* Framing goes into the room around the payload: what came had at least as much around it, or is a whole buffer. */
static void frame(struct chunk *chunk, bool last)
{
    char line[16];
    int n = snprintf(line, sizeof(line), "%x\r\n", chunk->len);
    static const char end[] = "\r\n" LAST_CHUNK;
    size_t tail = last ? sizeof(end) - 1 : 2;

    assert(n > 0);
    memcpy(chunk->data + chunk->len, end, tail);
    chunk->data -= n;
    memcpy(chunk->data, line, (size_t)n);
    chunk->len += (uint32_t)n + (uint32_t)tail;
}

static void send_last_chunk(struct ring *ring, struct flow *flow)
{
    flow->ended = true;
    if (flow->rechunk)
        side_send_text(ring, flow->to, LAST_CHUNK);
}

/* Takes ownership of the chunk. FLOW_WAITS: a send has begun, or the chunk gave no payload. */
static enum flow_step send_piece(struct ring *ring, struct flow *flow, struct chunk *chunk)
{
    size_t payload, used;

    flow->bad = http1_body_take(&flow->body, chunk->data, chunk->len, &payload, &used) < 0;
    if (!flow->bad && give_back(flow->from, chunk, used) < 0) {
        chunk_put(ring, chunk);
        return FLOW_CUT;
    }
    flow->bytes += payload;
    if (payload == 0) {
        chunk_put(ring, chunk);
        if (flow->body.done)
            send_last_chunk(ring, flow);
        return FLOW_WAITS;
    }
    chunk->len = (uint32_t)payload;
    if (flow->rechunk)
        frame(chunk, flow->body.done);
    flow->ended = flow->body.done;
    side_send_chunk(ring, flow->to, chunk, more_follows(flow));
    return FLOW_WAITS;
}

/* Nothing has come that is not passed on. */
static enum flow_step from_is_dry(struct ring *ring, struct flow *flow)
{
    if (flow->from->error != 0)
        return FLOW_CUT;
    if (!flow->from->eof) {
        side_receive_for(ring, flow->from, flow->to);
        return FLOW_WAITS;
    }
    if (flow->body.framing != BODY_UNTIL_CLOSE)
        return FLOW_CUT;
    flow->body.done = true;
    send_last_chunk(ring, flow);
    return FLOW_WAITS;
}

enum flow_step flow_pump(struct ring *ring, struct flow *flow)
{
    enum flow_step step = FLOW_WAITS;
    struct chunk *chunk;

    while (step == FLOW_WAITS && !side_sending(flow->to)) {
        if (flow->to->send_error != 0)
            return FLOW_WAITS;          /* the owner of that side decides */
        if (flow->head != NULL && !flow->head_sent) {
            send_head(ring, flow);
        } else if (flow->bad) {
            return FLOW_BAD;
        } else if (flow->ended) {
            return FLOW_ENDED;
        } else if (flow->body.done) {
            send_last_chunk(ring, flow);
        } else if ((chunk = side_take(flow->from)) != NULL) {
            step = send_piece(ring, flow, chunk);
        } else {
            step = from_is_dry(ring, flow);
            if (step == FLOW_WAITS && !flow->ended)
                return step;
        }
    }
    return step;
}
