#include "lb/logged.h"
#include "common/clock.h"
#include "common/http1.h"
#include "lb/access.h"
#include "lb/backend.h"
#include "lb/conn_parts.h"
#include "lb/instance.h"
#include <stdlib.h>
#include <string.h>

#define NEVER 0             /* of the times below: it did not happen */

struct logged {
    struct access_entry entry;                      /* its spans point into bytes */
    uint64_t begun_us, sent_us, answered_us;        /* monotonic */
    uint64_t bytes_in, bytes_out;                   /* the connection's, of the exchanges before */
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

void logged_begin(struct conn *c, const struct http1_head *head)
{
    size_t room = head == NULL ? 0 : head->method_text.len + head->path.len + head->authority.len + user_agent(head).len;
    struct logged *logged;

    if (!conn_attributes(c)->access_log.enabled || c->worker->lines == NULL)
        return;
    logged = calloc(1, sizeof(*logged) + room);
    if (logged == NULL)
        return;
    logged->entry.at_us = clock_realtime_us();
    logged->entry.client = c->client;
    logged->entry.http = c->http;
    logged->entry.port = conn_listener(c)->port;
    logged->begun_us = clock_monotonic_us();
    logged->bytes_in = c->bytes_in;
    logged->bytes_out = c->bytes_out;
    if (head != NULL)
        keep_head(logged, head);
    c->logged = logged;
}

/* A stream is given to its instance; a request has to reach one. */
void logged_sent(struct conn *c)
{
    if (c->logged == NULL || (c->http && c->state != CONN_RELAY))
        return;
    c->logged->sent_us = clock_monotonic_us();
    c->logged->entry.instance = c->back->to;
}

void logged_answered(struct conn *c, unsigned status)
{
    if (c->logged == NULL || c->logged->answered_us != NEVER)
        return;
    c->logged->answered_us = clock_monotonic_us();
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

/* A stream's bytes: what the connection has more of than before, else what its flow has moved so far. */
static uint64_t moved(uint64_t now, uint64_t before, const struct flow *flow)
{
    return now != before ? now : flow->bytes;
}

static void end_bytes(const struct conn *c, struct logged *logged)
{
    struct access_entry *entry = &logged->entry;

    entry->received_bytes = c->http ? c->request.bytes : moved(c->bytes_in, logged->bytes_in, &c->request);
    entry->sent_bytes = c->http ? c->response.bytes : moved(c->bytes_out, logged->bytes_out, &c->response);
    if (!entry->http && entry->received_bytes == 0)
        entry->request_us = -1;
    if (!entry->http && entry->sent_bytes == 0)
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
    logged->entry.request_us = span_us(logged->begun_us, logged->sent_us);
    logged->entry.instance_us = span_us(logged->sent_us, logged->answered_us);
    logged->entry.response_us = logged->answered_us == NEVER ? -1 : 0;     /* an answer's head goes on in the turn in which it came */
    if (logged->answered_us == NEVER)
        logged->entry.instance = (struct addr){ 0 };
    end_bytes(c, logged);
    logged->entry.why = why;
    if (logged->entry.http && logged->entry.elb_status == 0)
        logged->entry.elb_status = 408;     /* as ELB: the client left before it could be answered */
    access_add(c->worker->lines, conf->attributes.access_log.path, conf->attributes.access_log.format, &logged->entry);
    free(logged);
}
