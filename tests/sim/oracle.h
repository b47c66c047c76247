#ifndef TESTS_SIM_ORACLE_H
#define TESTS_SIM_ORACLE_H
#include "plan.h"
/*
 * What is true of halb whatever happens: told by clients and instances of what they did and saw, it knows of every request what may
 * become of it, and fails the world where halb did something else.
 *
 * A request is known by its id, which is in its path ("/r<id>?len=<answer bytes>&code=<status>&framing=<length|chunked|close>&early=<0|1>").
 * Bodies are pattern bytes, so that a byte in the wrong place shows.
 */
struct oracle_ask {
    uint64_t id;                /* from 1, unique in a run */
    unsigned client;
    bool repeatable;            /* GET, HEAD, OPTIONS, TRACE, PUT, DELETE */
    bool illegal;               /* must not be passed on */
    bool head_method;
    char method[12];
    uint64_t body_bytes;        /* of the request */
    uint64_t answer_bytes;      /* asked for */
    unsigned code;              /* asked for */
    int claim;                  /* the instance that its cookie names, plus one; 0: none, or a forged one */
    uint64_t listener_left_us;  /* its connection's has gone: nothing that was changed since is known to it; UINT64_MAX: not at that time */
};

void oracle_begin(const struct plan *plan);
void oracle_end(void);          /* everything has ended: what can only be judged as a whole */
void oracle_look(void);         /* after each step: who is in service, what the checks have found */
bool oracle_at_rest(void);      /* clients are done and halb still runs: is nothing counted as in flight? */
void oracle_restless(void);     /* and it should long be so: fails */
void oracle_workers_ended(void);        /* their counters are still there */
void oracle_figures(uint64_t *requests, uint64_t *answers_5xx);

/* Byte `at` of a body. direction: 0 request, 1 answer. An answer's depends on the instance, too: no piece of another's fits. */
unsigned char pattern_byte(uint64_t id, unsigned direction, unsigned instance, uint64_t at);

/* From clients. The request's first byte is about to be written. Gives it its id. */
void oracle_ask(struct oracle_ask *ask);
/* Its final answer's head has come: status; instance is what its "X-Instance" field names, -1: none, so halb made it. */
void oracle_answer_head(uint64_t id, unsigned status, int instance);
void oracle_answer_byte(uint64_t id, uint64_t at, unsigned char byte);       /* of its body; checks the pattern */
void oracle_answered(uint64_t id);                      /* whole, by its framing */
/* No (whole) answer: how the connection ended. left: the client did it itself. */
enum unanswered { UNANSWERED_LEFT, UNANSWERED_CLOSED, UNANSWERED_RESET, UNANSWERED_TIMEOUT };
void oracle_unanswered(uint64_t id, enum unanswered how);

/* Its connection, asked for at connect_us, is gone; -ECONNREFUSED: nobody listens there. */
void oracle_broken(unsigned client, uint64_t connect_us, int err);

/* Client's connections from now on come from there, as far as halb can know: a proxy's word counts. */
void oracle_named(unsigned client, const struct addr *source, const struct addr *destination);

/* From instances. A whole request head has come. picked_us: when halb chose it: when it called connect, if this is the connection's first
 * request, else when it sent the request's first byte. on_connection: how many it has carried before. */
void oracle_reached(uint64_t id, unsigned instance, uint64_t picked_us, unsigned on_connection);
/* The PROXY header that came before it has named these. */
void oracle_introduced(uint64_t id, unsigned instance, const struct addr *source, const struct addr *destination);
void oracle_request_byte(uint64_t id, unsigned instance, uint64_t at, unsigned char byte);
void oracle_request_whole(uint64_t id, unsigned instance, uint64_t bytes);
/* It did (or will do) what it should not with this request: ended, reset, garbled, silence. From then on 502, 504 and a cut are fair. */
void oracle_misbehaved(uint64_t id, unsigned instance, const char *how);
/* It has ended its connection with a FIN behind a part of this answer: halb has seen that, and must not give the request to another. */
void oracle_answer_broken(uint64_t id, unsigned instance);
/* The manner of an instance changes now. */
void oracle_manner(unsigned instance, enum manner manner);
enum manner oracle_manner_of(unsigned instance);
/* A check's connection has come; what the instance will let it see: passes or not. */
void oracle_check(unsigned instance, uint64_t opened_us, bool passes);

/* Streams: a connection of a TCP balancer. The first gives it its id, of the same numbers as requests. */
uint64_t oracle_stream_asked(unsigned client);
void oracle_stream_reached(uint64_t id, unsigned instance, uint64_t picked_us);
void oracle_stream_ended(uint64_t id, bool whole, enum unanswered how);
#endif
