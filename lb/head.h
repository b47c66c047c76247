#ifndef LB_HEAD_H
#define LB_HEAD_H
#include "common/addr.h"
#include "common/buf.h"
#include "common/http1.h"
#include <stdbool.h>
/*
 * What the other side sees: outgoing heads, built field by field from what was
 * parsed; no line is copied. Pure.
 */
struct head_request {
    const struct http1_head *head;
    const struct addr *client;          /* the TCP peer */
    bool client_trusted;                /* its X-Forwarded-Proto and -Port stand */
    const char *proto;                  /* "http" */
    uint16_t port;                      /* the listener's */
    const struct addr *node;            /* Host for an HTTP/1.0 request without one */
    bool websocket;                     /* the wish to switch is passed on (RFC 6455 4.1) */
};
/* Does a request wish, or an answer agree, to go on as a websocket: no other token, h2c above all, is ever passed on. */
bool head_wants_websocket(const struct http1_head *head);
/* How many bytes head_add_request() appends at most, for a head of head_bytes. */
size_t head_request_room(const struct http1_head *head, size_t head_bytes);
void head_add_request(struct buf *buf, const struct head_request *request);

struct head_response {
    const struct http1_head *head;
    bool rechunk;                       /* the body goes out chunked, whatever it came as */
    bool keep_alive;
    bool websocket;                     /* 101: the instance has switched */
    const struct buf *added;            /* further fields, whole lines; NULL: none */
};
size_t head_response_room(const struct http1_head *head, size_t head_bytes);
void head_add_response(struct buf *buf, const struct head_response *response);
#endif
