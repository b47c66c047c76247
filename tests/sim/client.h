#ifndef TESTS_SIM_CLIENT_H
#define TESTS_SIM_CLIENT_H
#include "body.h"
#include "message.h"
#include "oracle.h"
#include "outbox.h"
/*
 * What the parts of a client share; nobody else includes it. client.c holds when it does something, client_http.c its connection,
 * client_answer.c what it makes of answers, client_request.c what it asks, client_illegal.c what nobody may ask, client_stream.c
 * its connections to a TCP balancer, client_tunnel.c requests that become streams,
 * client_proxy.c what a proxy says first, client_door.c what becomes of a connection with its listener.
 */
#define PIPELINE_MAX 8

struct illegal;
struct request {
    struct oracle_ask ask;
    const struct illegal *illegal;      /* NULL: made of the rest */
    struct body body;
    enum body_framing answer_framing;
    bool http10, closes;                /* asks for the connection's end */
    bool expects, waits, continued;     /* Expect; waits with its body for the 100; has it */
    bool early;
    bool shuts;                         /* FIN when it is sent */
    struct tunnel {
        char mode;                      /* NUL: none */
        bool early;                     /* speaks behind its request, without an answer */
        uint64_t pause_us;              /* after the answer, before it speaks */
    } tunnel;
    unsigned fillers, filler_max;
    uint64_t begin_at, end_at;          /* places in `out`; end_at UINT64_MAX: not known yet */
    uint64_t begun_us;
    uint64_t idle_us;                   /* how long the connection has idled before it; UINT64_MAX: it is the first */
};

enum http_state { HTTP_CLOSED, HTTP_CONNECTING, HTTP_OPEN, HTTP_ENDING /* the answer said so: FIN is to come */ };

struct http_client {
    enum http_state state;
    struct request queue[PIPELINE_MAX]; /* asked and not answered, in order */
    unsigned count, burst;              /* burst: further requests to be made without waiting */
    struct outbox out;
    struct message in;
    int instance;                       /* of the answer that comes: -1: halb's own */
    bool head_come, end_said, ended;    /* ended: FIN has come, and there may be unread bytes */
    bool answer_byte;                   /* anything of the next answer has come */
    bool tunnelled;                     /* 101 has come: the rest is a stream */
    unsigned answered;                  /* on this connection */
    uint64_t idle_since_us;
    uint64_t leave_at;                  /* place in `out` at which it leaves; UINT64_MAX: none */
    char cookie[256];
    int cookie_of;                      /* the instance that it names */
};

struct stream_client {
    bool open, connected, ended, shut, first_line;
    uint64_t id, up_total, down_total, down;
    char mode, line[32];
    unsigned line_len, instance;
    uint64_t leave_at;
    struct outbox out;
    struct body body;
};

struct door {
    uint64_t opened_us, connected_us;   /* the connection: SYN, and its answer */
    uint64_t heard_us;                  /* when halb sent the last piece that we have read */
};

struct client {
    const struct plan *plan;
    const struct plan_client *conf;
    const struct plan_balancer *balancer;
    unsigned index, left;               /* left: requests to be made */
    bool hurried, done;
    struct dice dice;
    struct peer peer;
    struct door door;
    struct event event;                 /* the next thing that it does by itself: a request, a drop, a sip */
    void (*due)(struct client *client);
    struct event leave;                 /* of a vanishing one */
    const struct bad *bad;              /* what it introduces itself by, now, that is no introduction */
    size_t bad_written;
    struct event patience;
    uint64_t alive_us;                  /* when it last read or wrote anything */
    struct http_client http;
    struct stream_client stream;
};

/* client.c */
void client_later(struct client *client, uint64_t in_us, void (*due)(struct client *client));   /* at once if it is in a hurry */
void client_rest(struct client *client);                        /* a pause, then the next request */
void client_alive(struct client *client);                       /* something goes on: patience begins anew */
void client_connect(struct client *client, const struct peer_events *events);
uint64_t client_size(struct client *client);                    /* of a body, by dice */

/* client_http.c */
void http_client_init(struct client *client);
void http_client_fini(struct client *client);
void http_client_next(struct client *client);                   /* makes a request, or some */
void http_client_end(struct client *client);                    /* no further request: closes what is open */
void http_client_leave(struct client *client);                  /* by FIN, RST or silence */
void http_client_give_up(struct client *client);
bool http_client_pump(struct client *client);                   /* false: it has left */
bool http_answered(struct client *client);                      /* the first of the queue has its answer. false: it has left */

/* client_answer.c */
void answer_reader_init(struct client *client);
bool answer_whole(struct client *client);       /* the message has come to its end: checks it, and tells. false: not of one that may be answered */

/* client_request.c, client_illegal.c */
void request_make(struct client *client, struct request *request, bool last);
void request_add_head(struct client *client, const struct request *request, struct outbox *out);
void illegal_make(struct client *client, struct request *request);
void illegal_add(const struct request *request, struct outbox *out);
bool illegal_answered_by(const struct request *request, unsigned status, int instance);
bool illegal_late(const struct request *request);       /* its head is legal, and passed on: only its body turns out to be bad */

/* client_tunnel.c */
void tunnel_make(struct client *client, struct request *request);
void tunnel_add_fields(const struct client *client, const struct request *request, struct outbox *out);
void tunnel_opened(struct client *client, struct request *request);     /* 101 */
void tunnel_refused(struct client *client, struct request *request);    /* any other answer */
bool tunnel_void(const struct client *client);          /* it has spoken, and halb took it for another request */
bool tunnel_may_speak(const struct client *client);
bool tunnel_goes_on(const struct client *client);       /* after the instance's FIN */
bool tunnel_whole(const struct client *client);         /* its end has come */

/* client_proxy.c */
bool introduction_spoilt(struct client *client);        /* a connection that begins as none may, for now and then; it is under way */
void introduction_add(struct client *client, struct outbox *out);       /* after client_connect() */

/* client_stream.c */
void stream_client_init(struct client *client);
void stream_client_fini(struct client *client);
void stream_client_next(struct client *client);
void stream_client_leave(struct client *client);
void stream_client_give_up(struct client *client);

/* client_door.c */
void door_opened(struct client *client);                        /* connected */
void door_ended(const struct client *client);
void door_denied(const struct client *client);                  /* its connection is gone */
uint64_t door_left_us(const struct client *client);             /* UINT64_MAX: its listener is there */
bool door_gone(const struct client *client, uint64_t begun_us, bool first);
#endif
