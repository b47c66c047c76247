#ifndef TESTS_SIM_KERNEL_H
#define TESTS_SIM_KERNEL_H
#include "common/addr.h"
#include "world.h"
/*
 * The simulated kernel: io_uring as liburing shows it (the functions that common/ring.c calls and the memory that its
 * inline ones touch), and what common/net.h, thread.h and clock.h ask for. Everything is linked in their place.
 * Linux's rules are kept where halb could notice: docs/TESTING.md lists them.
 */

/* How nasty it is; each in per mille of the occasions, 0: never. */
struct kernel_faults {
    unsigned late;              /* completions that are held up, by up to late_max_us; the order of one operation's stays */
    uint64_t late_max_us;
    unsigned emfile;            /* accepts and new sockets that fail with EMFILE */
    unsigned enomem;            /* submissions that fail with ENOMEM or ENOBUFS */
    unsigned multishot_ends;    /* multishots that end after a completion that was none of their fault */
    unsigned short_moves;       /* receives, sends and splices that move less than they could */
    unsigned cq_entries;        /* 0: as asked for; else at most so many, so that it overflows */
    unsigned buffers;           /* 0: all; else while so many receive buffers of a size are out, most receives get ENOBUFS */
    unsigned early_wakes;       /* waits that return without a reason */
};
struct net_profile {            /* of each connection, by dice */
    uint64_t delay_min_us, delay_max_us;        /* one way; in order */
    unsigned cut_max;           /* bytes of the largest segment; 0: 65535 */
    unsigned window_min, window_max;            /* bytes that a direction takes before its sender must wait */
    unsigned syn_lost;          /* per mille of connects that need a second SYN (1 s later) */
};
struct kernel_conf {
    uint64_t seed;
    struct kernel_faults faults;
    struct net_profile net;
};
void kernel_begin(const struct kernel_conf *conf);
void kernel_end(void);          /* halb has ended: whatever it has left open or in flight is a world_fail() that names it */

/* From now on no fault, delay or late task: so that the end can be judged. */
void kernel_calm(void);

/* The n-th (from 1) submission gets -ENOMEM (an accept: -EMFILE), the n-th completion is turned into an error, or the n-th new
 * descriptor is refused; also after kernel_calm(). 0: none. Cancelling and reading an event are not counted and never fail. */
enum kernel_nth { NTH_SUBMISSION, NTH_COMPLETION, NTH_DESCRIPTOR };
void kernel_fail_nth(enum kernel_nth what, uint64_t n);
bool kernel_nth_reached(void);

struct kernel_totals {
    uint64_t accepted;          /* connections that halb has accepted, */
    uint64_t connected;         /* and made */
    unsigned descriptors, descriptors_most;     /* halb's, now and at most */
    uint64_t faults;            /* that were dealt */
};
struct kernel_totals kernel_totals(void);

/* A listening socket for halb; several on one address share what comes (SO_REUSEPORT). A descriptor or -errno. */
int kernel_listen(const struct addr *at);
#endif
