#ifndef LB_CONN_H
#define LB_CONN_H
#include "common/addr.h"
#include "common/buf.h"
#include "common/http1.h"
#include "common/list.h"
#include "common/timer.h"
#include "lb/listener.h"
#include "lb/pool.h"
#include "lb/relay.h"
#include "lb/side.h"
#include "lb/sticky.h"
#include "lb/surge.h"
#include <stdbool.h>
#include <stdint.h>
/*
 * One client connection (the front) and the exchange that it is in: the only
 * place that decides what comes next. One worker's.
 */
struct back;
struct instance;
struct logged;
struct pin;
struct splicing;
struct worker;

enum conn_state { CONN_READ_PROXY, CONN_READ_HEAD, CONN_QUEUED, CONN_CONNECT, CONN_RELAY, CONN_DELIVER, CONN_ANSWER, CONN_LINGER, CONN_CLOSING };
#define CONN_STATES (CONN_CLOSING + 1)

/* Why a connection ended: NAME, text for the log. */
#define CLOSE_REASONS(X)                                          \
    X(CLOSE_NONE, "open")                                         \
    X(CLOSE_DONE, "done")                                         \
    X(CLOSE_CLIENT_LEFT, "client left")                           \
    X(CLOSE_CLIENT_FAILED, "client connection failed")            \
    X(CLOSE_INSTANCE_FAILED, "instance connection failed")        \
    X(CLOSE_INSTANCE_ANSWER, "instance's answer broke off")       \
    X(CLOSE_INSTANCE_LEFT, "instance left service")               \
    X(CLOSE_NO_INSTANCE, "no instance in service")                \
    X(CLOSE_IDLE, "idle timeout")                                 \
    X(CLOSE_REFUSED, "request refused")                           \
    X(CLOSE_NO_MEMORY, "no memory")                               \
    X(CLOSE_STOPPING, "stopping")

enum close_why {
#define X(name, text) name,
    CLOSE_REASONS(X)
#undef X
    CLOSE_WHY_COUNT
};

/* Why the last try on an instance came to nothing; it decides the answer if no further try is left. */
enum failure { FAILED_NO_INSTANCE, FAILED_RESOURCES, FAILED_REFUSED, FAILED_CONNECT_TIMEOUT, FAILED_CLOSED, FAILED_MALFORMED, FAILED_SILENT };

struct conn {
    struct side front;
    struct worker *worker;
    struct listener *listener;          /* counts us */
    struct list link;                   /* worker's conns */
    struct timer timer;
    uint64_t deadline_ms;
    enum conn_state state;
    enum close_why why;
    bool http;
    bool reset;                         /* ends with RST */
    struct buf *in_head;                /* a head that has not come whole: a request's, or of the PROXY protocol */

    /* The exchange: from a whole request head (TCP: from accept) to the end of its answer. */
    struct pin *pin;                    /* NULL: none */
    struct instance *instance;          /* in use; else NULL */
    struct listener_at at;              /* in the pin's generation */
    unsigned node_index;                /* whose use of the instance is counted */
    struct back *back;                  /* CONNECT, RELAY */
    struct flow request, response;
    struct splicing *splicing;          /* bulk TCP: the streams that took over from the flows */
    struct logged *logged;              /* for the access log; NULL: nothing to be logged */
    uint64_t head_us;                   /* when the first piece of a head came that is not whole yet, monotonic; 0: none has */
    struct list queue_link;             /* QUEUED: worker's queue, */
    struct surge_place place;           /* and the node's over all workers */
    struct tried tried;
    struct sticky_claim claim;          /* the instances that its cookie names */
    unsigned tries;                     /* further ones after the first */
    enum failure failure;
    const char *answer;                 /* ANSWER: made here, still to be sent; */
    struct buf *answer_buf;             /* with a body of the operator's: this instead */
    enum http1_method method;
    uint8_t minor;                      /* the client's HTTP/1.minor */
    uint8_t interim;                    /* 1xx answers passed on */
    bool keep_alive;                    /* after this exchange */
    bool client_ends;                   /* it has said that no request follows this one */
    bool awaits_checks;                 /* QUEUED: for first results, not for room */
    bool fresh_only;                    /* a pooled connection has failed this request: no more of them */
    bool head_read;                     /* the request has a body state to look at */
    bool response_byte;                 /* the instance has answered something */
    bool response_begun;                /* the final head was passed on */
    bool websocket;                     /* this request wishes to become one */
    bool tunnel;                        /* it has: from here on a stream, with the tunnel's timeout */
    bool copies;                        /* TCP: splicing was tried, or can not be had */
    bool request_whole;                 /* DELIVER: the request was read to its end, all of it given to the back */
    bool close_both;                    /* the request is ambiguous: both sides end with its answer */
    bool back_keep;                     /* the instance is willing to go on */

    uint64_t bytes_in, bytes_out;       /* payload, of all exchanges */
    unsigned requests;
    struct addr client;                 /* the TCP peer, or whom its PROXY header names */
    struct addr destination;            /* what the client connected to; with port */
};

/* Takes the descriptor over (also on failure: closed). */
void conn_accept(struct worker *worker, struct listener *listener, int fd, const struct addr *client);

/* From its back: connecting has ended; something has come or gone. */
void conn_connected(struct conn *c, int res);
void conn_progress(struct conn *c);

/* From the worker: its instance may no longer be one for this work; a place in the queue may have come up; the worker drains or stops. */
void conn_review(struct conn *c);
void conn_queue_review(struct conn *c, bool changed);           /* changed: the board or the generation, not only this place's turn */
void conn_stop(struct conn *c, bool now);
#endif
