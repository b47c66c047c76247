/*
 * The PROXY protocol on both sides: who the client is, as a proxy before us
 * says, and as we say it to an instance.
 */
#include "common/proxy.h"
#include "common/config.h"
#include "lb/conn_parts.h"

static int parse_proxy(const struct conn *c, const char *bytes, size_t len)
{
    struct proxy_info unused;

    (void)c;
    return proxy_parse(bytes, len, &unused);
}

int conn_look_proxy(struct conn *c, struct proxy_info *info)
{
    struct chunk *chunk;
    int n = conn_head_look(c, &c->front, &c->in_head, parse_proxy);

    if (n <= 0)
        return n;
    chunk = c->front.inbox;
    n = c->in_head == NULL ? proxy_parse(chunk->data, chunk->len, info) : proxy_parse(c->in_head->data, (size_t)n, info);
    conn_head_consume(c, &c->front, &c->in_head, (size_t)n);
    return n;
}

static unsigned version_of(const struct conn *c)
{
    return config_proxy_version(conn_balancer(c)->conf, conn_listener(c)->instance_port);
}

bool conn_introduces(const struct conn *c)
{
    return version_of(c) != 0;
}

void conn_introduce(const struct conn *c, struct buf *buf)
{
    char header[PROXY_MAX];

    buf_add(buf, header, proxy_format(version_of(c), &c->client, &c->destination, header));
}
