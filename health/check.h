#ifndef HEALTH_CHECK_H
#define HEALTH_CHECK_H
#include "common/board.h"
#include "common/config.h"
#include "common/proxy.h"
#include "common/ring.h"
/*
 * One check: connect, say who we are if the port expects a PROXY header, for
 * HTTP ask and read the head of the answer, close.
 * It says how it ended and decides nothing. The time that it may take counts
 * only while we attend: when the thread was held up (scheduling, suspend),
 * what is under way gets that time back, for an answer that had
 * come may need our next step before its verdict can be read.
 */

/* What the checks of one thread share. */
struct checker {
    struct ring *ring;
    struct timer beat;          /* while a check is under way: shows that we attend */
    struct list running;
    uint64_t attended_ms;       /* the last turn in which we looked */
    bool paused;                /* that turn came late */
};

void checker_init(struct checker *checker, struct ring *ring);
void checker_fini(struct checker *checker);     /* no check may be under way */

/* What is probed. Immutable; outlives the checks of it. */
struct check_target {
    struct addr to, source;     /* source: port 0, or AF_UNSPEC */
    char *request;              /* NULL: the connection is enough (TCP) */
    size_t request_len;
    uint64_t timeout_ms;
    unsigned proxy_version;     /* of the PROXY header that comes first; 0: none */
};

/* What a target is made of; as in struct health_item. The protocol is HTTP or TCP. */
struct check_wish {
    const struct addr *to, *source;
    const struct config_health_check *conf;
    unsigned proxy_version;
};

int check_target_init(struct check_target *target, const struct check_wish *wish);      /* 0 or -ENOMEM */
void check_target_fini(struct check_target *target);
bool check_target_equal(const struct check_target *a, const struct check_target *b);

enum check_state { CHECK_IDLE, CHECK_CONNECTING, CHECK_SENDING, CHECK_RECEIVING, CHECK_CLOSING };

struct check {
    struct checker *checker;
    const struct check_target *target;
    enum check_state state;
    int fd;
    struct op op;               /* at most one is in flight */
    struct timer timer;
    struct list link;           /* running */
    uint64_t deadline_ms, started_us;
    char proxy[PROXY_MAX];      /* the header that comes first, */
    size_t proxy_len;           /* if any */
    size_t sent_bytes, received_bytes;
    char *head;                 /* of an answer that came in pieces */
    size_t head_bytes;
    struct check_record record; /* valid in done() */
    void (*done)(struct check *check);      /* the check is idle again, its descriptor closed; never called from check_start() */
};

void check_init(struct check *check, struct checker *checker, void (*done)(struct check *check));
void check_start(struct check *check, const struct check_target *target);
void check_abandon(struct check *check);        /* done() still comes, soon; the record means nothing then */
bool check_running(const struct check *check);
#endif
