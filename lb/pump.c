/*
 * The relay of one connection: both flows of an exchange, or of a TCP
 * connection until it turns out to be bulk and is spliced.
 */
#include "lb/conn_parts.h"
#include "lb/backend.h"
#include "lb/splice.h"
#include <errno.h>
#include <stdlib.h>

/* Bulk TCP: both directions, once they have left the flows. */
struct splicing {
    struct stream up, down;
};

void conn_splicing_end(struct conn *c)
{
    if (c->splicing == NULL)
        return;
    stream_stop(c->worker->pipes, &c->splicing->up);
    stream_stop(c->worker->pipes, &c->splicing->down);
    free(c->splicing);
    c->splicing = NULL;
}

/* Is the next step the client's: more of its request's body? */
bool conn_awaits_client(const struct conn *c)
{
    return c->http && !c->request.ended && !side_sending(&c->back->side) && c->back->side.send_error == 0;
}

void conn_relay_deadline(struct conn *c)
{
    const struct config_attributes *a = conn_attributes(c);

    conn_deadline(c, c->tunnel ? a->tunnel_timeout_ms : conn_awaits_client(c) ? a->request_body_timeout_ms : a->idle_timeout_ms);
}

/* Client to instance. false: the exchange has ended or taken another way. */
static bool pump_request(struct conn *c)
{
    int lost = c->back->side.send_error;

    if (c->http && c->request.ended && c->front.error != 0) {
        conn_close(c, CLOSE_CLIENT_FAILED, false);      /* nobody waits for the answer */
        return false;
    }
    if (lost != 0 && !c->http) {
        conn_close(c, CLOSE_INSTANCE_FAILED, true);
        return false;
    }
    if (lost != 0)
        return true;        /* it may have answered before it stopped reading */
    switch (flow_pump(conn_ring(c), &c->request)) {
    case FLOW_WAITS:
        return true;
    case FLOW_ENDED:
        if (!c->http)
            side_shut(&c->back->side);
        return true;
    case FLOW_BAD:
        atomic_fetch_add_explicit(&c->worker->reasons[HTTP1_BAD_CHUNK], 1, memory_order_relaxed);
        if (c->response_begun)
            conn_close(c, CLOSE_REFUSED, false);
        else
            conn_answer(c, 400);
        return false;
    case FLOW_CUT:
        if (c->http && c->response_begun && c->front.error == 0) {
            flow_stop(&c->request);     /* an early answer that is under way goes on */
            return true;
        }
        break;
    }
    conn_close(c, c->front.error != 0 ? CLOSE_CLIENT_FAILED : CLOSE_CLIENT_LEFT, c->front.error == -ECONNRESET);
    return false;
}

static void stream_ended(struct conn *c)
{
    side_shut(&c->front);
    if (c->request.ended && !side_sending(&c->back->side)) {
        c->bytes_in = c->request.bytes;
        c->bytes_out = c->response.bytes;
        conn_close(c, CLOSE_DONE, false);
    } else {
        conn_relay_deadline(c);
    }
}

static void response_broken(struct conn *c)
{
    if (c->http)
        conn_close(c, CLOSE_INSTANCE_ANSWER, false);
    else
        conn_close(c, CLOSE_INSTANCE_FAILED, c->back->side.error == -ECONNRESET);
}

/* Instance to client. */
static void pump_response(struct conn *c)
{
    enum flow_step step = flow_pump(conn_ring(c), &c->response);

    if (step == FLOW_CUT)
        conn_suspect(c);
    if (step == FLOW_BAD || step == FLOW_CUT)
        response_broken(c);
    else if (c->http && c->response.ended)
        conn_deliver(c);
    else if (step == FLOW_ENDED)
        stream_ended(c);
    else
        conn_relay_deadline(c);
}

static void streams_pump(struct conn *c)
{
    struct splicing *s = c->splicing;
    bool whole = stream_pump(conn_ring(c), &s->up) && stream_pump(conn_ring(c), &s->down);
    const struct stream *broken = s->up.error != 0 ? &s->up : &s->down;

    c->bytes_in = s->up.bytes;
    c->bytes_out = s->down.bytes;
    if (!whole)
        conn_close(c, (broken == &s->up) == broken->to_failed ? CLOSE_INSTANCE_FAILED : CLOSE_CLIENT_FAILED, true);
    else if (s->up.done && s->down.done)
        conn_close(c, CLOSE_DONE, false);
    else
        conn_relay_deadline(c);
}

/* The streams take over where the flows stand. false: it goes on as before, for good. */
static bool splicing_start(struct conn *c)
{
    struct side *front = &c->front, *back = &c->back->side;
    struct splicing *s = calloc(1, sizeof(*s));

    c->copies = true;
    if (s == NULL)
        return false;
    s->up = (struct stream){ .from = front, .to = back, .eof = front->eof, .done = c->request.ended, .bytes = c->request.bytes };
    s->down = (struct stream){ .from = back, .to = front, .eof = back->eof, .done = c->response.ended, .bytes = c->response.bytes };
    if (!splice_begin(c->worker->pipes, &s->up, &s->down)) {
        free(s);
        return false;
    }
    c->splicing = s;
    return true;
}

/* A stream that keeps large buffers full leaves the flows as soon as nothing of it is in our memory. */
static bool splicing_begun(struct conn *c)
{
    struct side *front = &c->front, *back = &c->back->side;
    bool hold = !c->copies && (front->bulk || back->bulk) && !side_sending(front) && !side_sending(back);

    if (c->splicing != NULL)
        return true;
    if (hold) {
        side_hold_back(conn_ring(c), front);
        side_hold_back(conn_ring(c), back);
    }
    if (hold && (!side_quiet(front) || !side_quiet(back)))
        return false;
    front->held_back = back->held_back = false;     /* also while something is sent: a peer may have to be read before it reads */
    return hold && front->error == 0 && back->error == 0 && splicing_start(c);
}

/* A reset of a stream is passed on at once: what was on its way is void. */
static bool stream_reset(struct conn *c)
{
    if (c->front.error == -ECONNRESET) {
        conn_close(c, CLOSE_CLIENT_FAILED, true);
    } else if (c->back->side.error == -ECONNRESET) {
        conn_suspect(c);
        conn_close(c, CLOSE_INSTANCE_FAILED, true);
    } else {
        return false;
    }
    return true;
}

static void pump(struct conn *c)
{
    if (!c->http && stream_reset(c))
        return;
    if (!c->http && splicing_begun(c)) {
        streams_pump(c);
        return;
    }
    if (!pump_request(c))
        return;
    if (c->http && !c->response_begun && !conn_read_answer(c)) {
        if (c->state == CONN_RELAY)
            conn_relay_deadline(c);
        return;
    }
    pump_response(c);
    if (c->tunnel && c->state == CONN_RELAY)
        pump_request(c);            /* the head may have been its 101: the client may speak now */
}

void conn_pump(struct conn *c)
{
    pump(c);
    logged_pumped(c);
}

void conn_progress(struct conn *c)
{
    if (c->state == CONN_RELAY)
        conn_pump(c);
    if (c->back != NULL)
        side_inbox_park(conn_ring(c), &c->back->side);
    conn_settle(c);
}
