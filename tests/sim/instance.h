#ifndef TESTS_SIM_INSTANCE_H
#define TESTS_SIM_INSTANCE_H
#include "body.h"
#include "common/list.h"
#include "message.h"
#include "oracle.h"
#include "outbox.h"
/*
 * What the parts of an instance share; nobody else includes it. instance.c holds the ports and the manners, instance_visit.c a
 * connection of halb's, instance_http.c what requests come on it, instance_answer.c and instance_garbled.c what they get,
 * instance_stream.c bytes of a TCP balancer, instance_proxy.c the PROXY header before any of it.
 */
struct instance {
    struct port port;
    const struct plan *plan;
    const struct plan_balancer *balancer;
    unsigned index;
    struct dice dice;
    enum manner manner;
    struct list visits;
};

enum visit_kind { VISIT_UNKNOWN, VISIT_CHECK, VISIT_REQUESTS, VISIT_STREAM };
enum ending { ENDS_NOT, ENDS_FIN, ENDS_RESET };

/* The PROXY header, where the plan has one. */
struct introduction {
    bool whole, local, check;           /* check: it is of one */
    size_t len;
    unsigned char bytes[160];
    struct addr source, destination;
};

/* What is asked: of the request in hand. */
struct asked {
    uint64_t id;                        /* 0: none yet */
    uint64_t answer_bytes;
    unsigned code;
    enum body_framing framing;
    bool early, head_method, bodiless;
    char tunnel;                        /* STREAM_MODES, if an upgrade is asked for; else NUL */
    uint64_t up;                        /* what the client will say in it */
};

struct stream_visit {
    uint64_t id, up_total, down_total, up;
    char mode;                          /* STREAM_MODES */
    char line[96];
    unsigned line_len;
    bool began, up_ended;
};

/*
 * One connection of halb's. Of requests:
 *
 *   reading -> (whole, or early) -> thinking -> answering -> answered, whole -> reading the next
 */
struct visit {
    struct peer peer;
    struct list link;
    struct instance *instance;
    struct event event;                 /* thinking's end, the next piece of a slow answer, the end of a hasty one's patience */
    void (*due)(struct visit *visit);   /* what the event is for; also when it fires while the instance is stopped */
    enum visit_kind kind;
    bool ended;                         /* halb's FIN has come */
    bool late;                          /* the event has fired while the instance was stopped */
    bool stale;                         /* what came while it was stopped is read only now */
    uint64_t opened_us, sent_us;        /* sent_us: of the request's first byte */
    struct addr from;
    struct introduction introduction;
    unsigned carried;                   /* requests before this one */
    struct message in;
    struct outbox out;
    struct asked asked;
    struct body body;                   /* of the answer */
    bool head_come, decided, answering, answered;       /* of the request in hand */
    bool slowly;                        /* the answer comes in drops */
    uint64_t answer_at;                 /* where the answer begins in `out` */
    uint64_t cut_at;                    /* the place in `out` at which the connection ends; UINT64_MAX: none */
    enum ending ending;                 /* at cut_at, or after the answer */
    struct stream_visit stream;
};

/* instance_visit.c. What returns false has ended the visit: it is gone. */
struct visit *visit_new(struct instance *instance, const struct addr *from, uint64_t opened_us);
void visit_free(struct visit *visit);                           /* its peer holds nothing any more */
bool visit_end(struct visit *visit, enum ending how);           /* false; ENDS_NOT: nothing, true */
void visit_later(struct visit *visit, uint64_t in_us, void (*due)(struct visit *visit));
void visit_tell(const struct visit *visit, const char *how);    /* oracle_misbehaved() for what may be harmed if it ends now */
void visit_resume(struct visit *visit);                         /* the instance was stopped */
bool visit_pump(struct visit *visit);                           /* writes what it has to say */
#define VISIT_READ 65536
size_t visit_read(struct visit *visit, char *bytes, size_t max);        /* at most VISIT_READ */

/* instance_http.c */
void http_visit_init(struct visit *visit);
bool http_visit_read(struct visit *visit);
bool http_visit_answered(struct visit *visit);                  /* all of the answer is written */

/* instance_answer.c: the answer's head, and visit->body for what follows */
void answer_begin(struct visit *visit);
void answer_check(struct visit *visit, bool passes);
void answer_hasty(struct visit *visit);                         /* tells the oracle; cut_at and ending may be set */
void answer_switches(struct visit *visit);                      /* 101 */

/* instance_garbled.c: tells the oracle */
void answer_garbled(struct visit *visit);

/* instance_proxy.c */
bool introduced(struct visit *visit);                           /* reads on; true: all has come that comes first */
void introduction_judge(const struct visit *visit, uint64_t id);
void introduction_judge_check(const struct visit *visit);

/* instance_stream.c */
#define STREAM_MODES "bcsri"            /* both at once, client first, instance first, instance resets, nobody ends it (tunnels) */
void stream_visit_upgrade(struct visit *visit);                 /* what was a request is a stream from here on */
bool stream_visit_read(struct visit *visit);
bool stream_visit_pump(struct visit *visit);                    /* adds what is to be written; ends it when all is */
#endif
