#include "lb/logged.h"
#include "common/clock.h"
#include "common/http1.h"
#include "lb/access.h"
#include "lb/backend.h"
#include "lb/conn_parts.h"
#include <stdlib.h>
#include <string.h>

#define NEVER 0             /* of the times below: it did not happen */

struct logged {
    struct access_entry entry;      /* its spans point into bytes */
    int file;                       /* as access_expect() gave it */
    uint64_t begun_us;              /* monotonic, as all here: the request's first byte; the stream's accept */
    uint64_t sent_us;               /* the request goes to its instance; the stream's connect begins */
    uint64_t moved_us;              /* the stream's first byte goes to its instance */
    uint64_t head_us;               /* what has come of the next answer's head began to */
    uint64_t answered_us;           /* the answer's head began to come; the stream is connected */
    char bytes[];
};

static struct span keep(char **at, struct span from, size_t max)
{
    struct span kept = { *at, from.len < max ? from.len : max };

    if (kept.len > 0)
        memcpy(*at, from.ptr, kept.len);
    *at += kept.len;
    return kept;
}

static struct span user_agent(const struct http1_head *head)
{
    for (size_t i = 0; i < head->field_count; i++)
        if (head->fields[i].id == FIELD_USER_AGENT)
            return head->fields[i].value;
    return (struct span){ NULL, 0 };
}

static void keep_head(struct logged *logged, const struct http1_head *head)
{
    char *at = logged->bytes;

    logged->entry.method = keep(&at, head->method_text, head->method_text.len);
    logged->entry.target = keep(&at, head->path, ACCESS_TARGET_MAX);
    logged->entry.host = keep(&at, head->authority, head->authority.len);
    logged->entry.user_agent = keep(&at, user_agent(head), ACCESS_USER_AGENT_MAX);
    logged->entry.minor = head->minor;
}

void logged_head_begins(struct conn *c)
{
    c->head_us = clock_monotonic_us();
}

void logged_begin(struct conn *c, const struct http1_head *head)
{
    uint64_t now_us = clock_monotonic_us(), begun_us = c->head_us != NEVER ? c->head_us : now_us;
    size_t room = head == NULL ? 0 : head->method_text.len + head->path.len + head->authority.len + user_agent(head).len;
    struct logged *logged;

    c->head_us = NEVER;
    if (!conn_attributes(c)->access_log.enabled || c->worker->lines == NULL)
        return;
    logged = calloc(1, sizeof(*logged) + room);
    if (logged == NULL)
        return;
    logged->file = access_expect(c->worker->lines, conn_attributes(c)->access_log.path);
    logged->begun_us = begun_us;
    logged->entry.at_us = clock_realtime_us() - (now_us - begun_us);
    logged->entry.client = c->client;
    logged->entry.http = c->http;
    logged->entry.port = conn_listener(c)->port;
    if (head != NULL)
        keep_head(logged, head);
    c->logged = logged;
}

/* A stream's connect is timed; a request has to reach its instance. */
void logged_sent(struct conn *c)
{
    if (c->logged == NULL || (c->http && c->state != CONN_RELAY))
        return;
    c->logged->sent_us = clock_monotonic_us();
    c->logged->head_us = NEVER;
    c->logged->entry.instance = c->back->to;
}

void logged_answered(struct conn *c, unsigned status)
{
    if (c->logged == NULL || c->logged->answered_us != NEVER)
        return;
    c->logged->answered_us = c->logged->head_us != NEVER ? c->logged->head_us : clock_monotonic_us();
    c->logged->entry.instance_status = status;
}

void logged_status(struct conn *c, unsigned status)
{
    if (c->logged != NULL)
        c->logged->entry.elb_status = status;
}

static int64_t span_us(uint64_t from, uint64_t to)
{
    return from == NEVER || to == NEVER || to < from ? -1 : (int64_t)(to - from);
}

/* Payload from the client that was passed on, and to the client. Once the kernel moves it, the flows stand still. */
static uint64_t received_bytes(const struct conn *c)
{
    return c->front.spliced ? c->bytes_in : c->request.bytes;
}

/* What waits at a client's connection that does not take it is not sent. */
static uint64_t sent_bytes(const struct conn *c)
{
    uint64_t given = c->front.spliced ? c->bytes_out : c->response.bytes, waiting = c->front.out_left;

    return waiting < given ? given - waiting : 0;
}

static void head_look(struct conn *c, struct logged *logged)
{
    bool coming = c->back->in_head != NULL || c->back->side.inbox != NULL;

    if (!coming)
        logged->head_us = NEVER;        /* there was an interim one, if any */
    else if (logged->head_us == NEVER)
        logged->head_us = clock_monotonic_us();
}

static void first_byte_look(const struct conn *c, struct logged *logged)
{
    if (logged->moved_us == NEVER && received_bytes(c) > 0)
        logged->moved_us = clock_monotonic_us();
}

void logged_pumped(struct conn *c)
{
    if (c->logged == NULL)
        return;
    if (!c->logged->entry.http)
        first_byte_look(c, c->logged);
    else if (c->state == CONN_RELAY && c->logged->answered_us == NEVER)
        head_look(c, c->logged);
}

static void times_end(const struct conn *c, struct logged *logged)
{
    struct access_entry *entry = &logged->entry;

    if (!entry->http)
        first_byte_look(c, logged);     /* it may have come and ended in one turn */
    entry->request_us = span_us(logged->begun_us, entry->http ? logged->sent_us : logged->moved_us);
    entry->instance_us = span_us(logged->sent_us, logged->answered_us);
    entry->response_us = 0;             /* what comes goes on in the same turn */
    if (logged->answered_us == NEVER || (!entry->http && entry->sent_bytes == 0))
        entry->response_us = -1;
}

void logged_end(struct conn *c, const char *why)
{
    struct logged *logged = c->logged;
    const struct config_balancer *conf = conn_balancer(c)->conf;

    if (logged == NULL)
        return;
    c->logged = NULL;
    logged->entry.balancer = conf->name;
    logged->entry.received_bytes = received_bytes(c);
    logged->entry.sent_bytes = sent_bytes(c);
    times_end(c, logged);
    if (logged->answered_us == NEVER)
        logged->entry.instance = (struct addr){ 0 };
    logged->entry.why = why;
    if (logged->entry.http && logged->entry.elb_status == 0)
        logged->entry.elb_status = 408;     /* as ELB: the client left before it could be answered */
    access_add(c->worker->lines, logged->file, conf->attributes.access_log.format, &logged->entry);
    free(logged);
}
