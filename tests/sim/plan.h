#ifndef TESTS_SIM_PLAN_H
#define TESTS_SIM_PLAN_H
#include "kernel.h"
/*
 * What a seed decides before the first step: everything that acts, and when. Pure data; a plan is made from a seed, then narrowed
 * by what the command line leaves out (--without), which is how a failing one is shrunk.
 */
#define PLAN_BALANCERS 2        /* "web" (HTTP) and sometimes "tcp" */
#define PLAN_INSTANCES 6
#define PLAN_CLIENTS 24
#define PLAN_ACTS 48

struct plan_balancer {
    bool present, http, http_check;     /* http_check: of GET /health, else TCP */
    uint16_t port, instance_port;
    uint16_t second_port;       /* of a listener that some reloads leave out; 0: none */
    bool guarded;               /* a security group admits clients, and nobody foreign */
    char attributes[1024];      /* libconfig text, of the balancer's attributes group: algorithm, retries, timeouts, surge_queue, draining ... */
    char check[256];            /* libconfig text, of the health_check group */
    unsigned retries;           /* what the text says, for the oracle: */
    bool draining, fail_open, even;     /* even: all weights equal, least-outstanding or round-robin, no max_connections, no stickiness */
    bool cross_zone;
    uint64_t connect_timeout_ms, idle_timeout_ms, draining_timeout_ms;
    uint64_t interval_ms, timeout_ms;
    unsigned unhealthy, healthy;
    unsigned surge_queue;
    bool upgrades;              /* a WebSocket may be asked for */
    uint64_t tunnel_timeout_ms; /* 0: no client has tunnels */
    unsigned proxy_version;     /* of the header before all that instances get; 0: none */
    bool sticky;                /* by LB cookie */
};

/* How an instance is. WELL answers checks and requests at once. */
enum manner {
    MANNER_WELL,
    MANNER_SLOW,                /* right, but late: up to seconds, within idle_timeout; checks in time */
    MANNER_SICK,                /* checks fail (503 to an HTTP check, RST to a TCP one); what it is asked it does right */
    MANNER_DOWN,                /* port refuses; what was connected is reset */
    MANNER_DARK,                /* host gone: silence */
    MANNER_STOPPED,             /* its kernel accepts, nothing ever answers */
    MANNER_HASTY,               /* checks pass; ends connections at any point: idle ones, after the request, within an answer (FIN or RST) */
    MANNER_GARBLED,             /* checks pass; answers that break RFC 9112 in the ways of the wire tables */
    MANNERS
};
const char *manner_text(enum manner manner);

struct plan_instance {
    bool present;
    unsigned balancer;          /* index */
    unsigned zone;              /* below plan.zones */
    unsigned weight, max_connections;
    bool registered;            /* from the start */
};

enum client_kind {
    CLIENT_STEADY,              /* HTTP/1.1, one request after another on a kept connection, all methods, bodies by length or chunked */
    CLIENT_ONE_SHOT,            /* a connection a request; some HTTP/1.0 */
    CLIENT_PIPELINING,          /* up to 8 requests at once */
    CLIENT_SLOW_SENDER,         /* head and body in drops, with pauses */
    CLIENT_SLOW_READER,
    CLIENT_VANISHING,           /* leaves at any point: FIN, RST or silence */
    CLIENT_ILLEGAL,             /* what must get 400 or 405, or the connection closed */
    CLIENT_STREAM,              /* TCP balancer: bytes both ways, half-closes, bulk */
    CLIENT_TUNNEL,              /* steady, but most requests ask for a WebSocket: then as a stream */
    CLIENT_KINDS
};
const char *client_kind_text(enum client_kind kind);

/* What a proxy says of a client before its first byte; nobody says anything of most. */
enum introduces { INTRODUCES_NOT, INTRODUCES_V1, INTRODUCES_V2, INTRODUCES_V1_IPV6, INTRODUCES_V2_IPV6, INTRODUCES_LOCAL, INTRODUCES_UNKNOWN };

struct plan_client {
    bool present;
    enum client_kind kind;
    unsigned balancer;
    unsigned zone;                      /* whose node it asks */
    enum introduces introduces;
    bool second;                        /* at the second port */
    bool foreign;                       /* from where the security group admits nobody */
    uint64_t start_us, pause_max_us;    /* between its requests */
    unsigned requests;                  /* stream: connections */
    uint32_t body_max;                  /* of requests and of answers */
};

enum act_kind {
    ACT_MANNER,                 /* instance `target` becomes `manner` */
    ACT_REGISTER, ACT_DEREGISTER,
    ACT_ADMIN,                  /* operator's state: value is an enum slot_admin */
    ACT_CHECK,                  /* change of the health check: value is a seed for it */
    ACT_RELOAD,                 /* the whole configuration again; value: seed for what changes in it (0: nothing) */
    ACT_KINDS
};
struct plan_act {
    bool present;
    uint64_t at_us;             /* from the beginning of the run */
    enum act_kind kind;
    unsigned target;            /* instance (ACT_CHECK: balancer) */
    enum manner manner;
    uint64_t value;
};

/* What goes wrong in a run: nothing (no 5xx is fair); instances and what the operator does; the kernel and the network, too. */
enum plan_mood { MOOD_STRICT, MOOD_ACTS, MOOD_EVERYTHING };

struct plan {
    uint64_t seed;
    enum plan_mood mood;        /* as it was made; narrowing leaves it */
    unsigned workers;
    unsigned zones;             /* 1, or 2: each balancer has a node in each */
    unsigned max_connections;
    struct plan_balancer balancers[PLAN_BALANCERS];
    struct plan_instance instances[PLAN_INSTANCES];
    struct plan_client clients[PLAN_CLIENTS];
    struct plan_act acts[PLAN_ACTS];
    struct kernel_faults faults;
    enum kernel_nth nth_what;   /* fault loops: what kernel_fail_nth() is told; nth 0: nothing */
    uint64_t nth;
    struct net_profile net;
    unsigned stall_permille;
    uint64_t stall_max_us;
    uint64_t duration_us;       /* then everything is calm, clients finish, halb drains and ends */
    bool cut_at_end;            /* ends by WORKER_STOPS instead of draining */
};

void plan_make(uint64_t seed, struct plan *plan);
/* "client:3" "act:5" "instance:2" "faults" "faults.emfile" "stalls" "net" "balancer:1" "later:SECONDS" (what comes after them). 0 or -EINVAL. */
int plan_without(struct plan *plan, const char *what);
/* The configuration as halb reads it; terminated; returns its length. `variant` (0: as planned) changes only what struct plan does not say.
 * Half of the variants leave second listeners out. Names: balancers "web" and "tcp", instance i "i<i>", with the alias "a<i>". */
size_t plan_config(const struct plan *plan, uint64_t variant, char *text, size_t size);
void plan_print(const struct plan *plan);
/* ACT_CHECK: what `value` makes of a balancer's health check: other times and thresholds, the same target. */
void plan_check_vary(const struct plan *plan, struct plan_balancer *balancer, uint64_t value);
const char *plan_balancer_name(unsigned balancer);
/* Does the configuration of that variant have the second listener? */
bool plan_has_second(const struct plan *plan, unsigned balancer, uint64_t variant);
uint16_t plan_client_port(const struct plan *plan, unsigned client);

/* Addresses: node 10.0.0.1 (10.0.1.1: second zone), instance i 10.1.0.(i+1), client i 10.2.0.(i+1), a foreign one 10.3.0.(i+1). */
struct addr plan_node_address(unsigned zone);
struct addr plan_instance_address(unsigned instance);
struct addr plan_client_address(const struct plan *plan, unsigned client);
/* Whom and what its proxy names, and who it is as far as halb can know. */
struct addr plan_client_named(const struct plan *plan, unsigned client);
struct addr plan_destination_named(const struct plan *plan, unsigned client);
struct addr plan_client_known(const struct plan *plan, unsigned client);
#endif
