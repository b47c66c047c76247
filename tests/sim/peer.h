#ifndef TESTS_SIM_PEER_H
#define TESTS_SIM_PEER_H
#include "common/addr.h"
#include "world.h"
/*
 * The other ends: what clients and instances hold of a TCP connection to halb. Events, no threads. A peer is embedded in its actor,
 * which is told of what comes and may call anything from there; after peer_close(), peer_reset() or peer_vanish(), and after broken(),
 * nothing comes any more and the memory is the actor's again.
 */
struct link;                    /* kernel's */
struct peer {
    struct link *link;          /* NULL: none */
    unsigned side;              /* kernel's */
    const struct peer_events *events;
};
struct peer_events {
    void (*connected)(struct peer *peer);               /* after peer_connect() */
    void (*readable)(struct peer *peer);                /* more bytes have come than at the last call */
    void (*writable)(struct peer *peer);                /* there is room again, after a peer_write() that fell short */
    void (*ended)(struct peer *peer);                   /* FIN: all that came before it has been announced (not necessarily read) */
    void (*broken)(struct peer *peer, int err);         /* -ECONNREFUSED, -ECONNRESET, -ETIMEDOUT ...: it is gone */
};

void peer_connect(struct peer *peer, const struct peer_events *events, const struct addr *from, const struct addr *to);
size_t peer_readable(const struct peer *peer);          /* bytes that have come and are not read */
size_t peer_read(struct peer *peer, void *bytes, size_t size);
size_t peer_write(struct peer *peer, const void *bytes, size_t size);   /* what found room */
struct addr peer_own(const struct peer *peer);           /* it is connected, or about to be */
uint64_t peer_sent_us(const struct peer *peer);         /* when halb handed over the next unread byte; readable > 0 */
void peer_shut(struct peer *peer);                      /* FIN */
void peer_close(struct peer *peer);                     /* FIN; RST where Linux sends one (unread bytes, or more that comes) */
void peer_reset(struct peer *peer);                     /* RST */
void peer_vanish(struct peer *peer);                    /* without a word: nothing is acknowledged from here on */
bool peer_acked(const struct peer *peer);               /* has all that was written been received by halb's kernel? */

/* A port of an instance's machine. */
enum port_mode { PORT_OPEN, PORT_REFUSES, PORT_SILENT /* host gone: SYNs are lost */, PORT_UNREACHABLE /* EHOSTUNREACH */ };
struct port {
    struct addr at;
    enum port_mode mode;
    /* halb's connection has come: the actor's new peer with its events set, or NULL: RST. opened_us: when halb called connect. */
    struct peer *(*accepted)(struct port *port, const struct addr *from, uint64_t opened_us);
    struct port *next;          /* kernel's */
};
void port_add(struct port *port);
void port_remove(struct port *port);
#endif
