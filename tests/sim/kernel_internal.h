#ifndef TESTS_SIM_KERNEL_INTERNAL_H
#define TESTS_SIM_KERNEL_INTERNAL_H
#include "common/list.h"
#include "kernel.h"
#include "peer.h"
#include <poll.h>
/*
 * What the parts of the simulated kernel know of each other:
 *
 *   kernel_fd.c     the kernel as a whole: its faults, and the table of descriptors
 *   kernel_link.c   connections: two ends, a flow of segments each way
 *   kernel_open.c   how connections begin: SYN, listening sockets, ports
 *   kernel_peer.c   peer.h
 *   kernel_pipe.c   pipes and splice
 *   kernel_net.c    common/net.h
 *   kernel_uring.c  rings: memory shared with halb, submission, completion queue, waiting
 *   kernel_request.c    what is submitted: when it can go on, what becomes of it, cancelling
 *   kernel_action.c     what each operation does when it can
 *   kernel_buffers.c    buffers that halb provides
 *   kernel_thread.c common/thread.h and common/clock.h
 */
struct file;
struct link;
struct pipe;
struct request;
struct uring;

/* Bytes in their order, in memory that grows as it is used. */
struct queue {
    char *bytes;
    size_t room;                /* a power of two, or 0 */
    uint64_t head, tail;        /* of all bytes ever: the first that is there, and the next to come */
};
void queue_put(struct queue *queue, const void *bytes, size_t len);
void queue_peek(const struct queue *queue, void *bytes, size_t len);
void queue_free(struct queue *queue);

/* Descriptors of halb's. */
enum file_kind { FILE_RING, FILE_EVENT, FILE_LISTENER, FILE_SOCKET, FILE_PIPE };
struct listener {
    struct addr at;
    uint64_t serial;
    struct list queue;          /* links that wait to be accepted */
    struct list place;          /* among all listeners */
};
struct socket {
    struct addr from;           /* port 0: chosen at connect */
    struct link *link;          /* NULL: not connected yet */
    unsigned side;
};
struct file {
    enum file_kind kind;
    int fd;
    bool nonblock;
    unsigned requests;          /* in flight on it */
    uint64_t opened_us;
    struct list waiting;        /* requests, oldest first */
    union {
        struct uring *uring;
        uint64_t count;         /* event */
        struct listener listener;
        struct socket socket;
        struct { struct pipe *pipe; bool input; } end;
    };
};
struct file *file_new(enum file_kind kind);             /* never refused */
struct file *file_get(int fd, const char *call);        /* world_fail() if there is none */
struct file *file_socket(int fd, const char *call);
void file_free(struct file *file);                      /* nothing may be in flight */
void file_changed(struct file *file, unsigned events);  /* who waits for any of them goes on */
const char *file_text(const struct file *file);         /* one at a time */
bool descriptor_refused(void);                          /* EMFILE */

/* Faults. */
enum fault { FAULT_LATE, FAULT_EMFILE, FAULT_ENOMEM, FAULT_MULTISHOT_ENDS, FAULT_SHORT, FAULT_EARLY, FAULT_CHOICE, FAULTS };
struct kernel {
    struct kernel_conf conf;
    bool running, calm;
    bool counts_multishot;      /* a multishot receive may be bounded by bytes: Linux 6.17 and later */
    struct dice dice[FAULTS];
    struct { enum kernel_nth what; uint64_t n, count; } nth;
    struct kernel_totals totals;
    struct file **files;        /* by descriptor; those of higher numbers than ever used are not there */
    int files_room, files_top;
    int lowest;                 /* none below it is free */
    uint64_t serial;
    struct list listeners, links;
    struct port *ports;
    unsigned next_port;
};
extern struct kernel kernel;
bool fault(enum fault fault);
bool nth_reached(enum kernel_nth what);
bool choice(unsigned permille);         /* what Linux leaves open; false when calm */
uint64_t late_by(void);
size_t short_of(size_t len);            /* what of it is moved */

/* Connections. What end i sends goes by flow i to end 1-i. Side 0 has opened it. */
enum segment_flag { SEG_DATA, SEG_OPEN, SEG_FIN, SEG_RST };
struct segment {
    uint64_t end, sent_us, arrive_us;
    enum segment_flag flag;
    bool corked;                /* may wait for more (MSG_MORE) */
};
struct flow {
    struct link *link;
    unsigned from;
    struct queue queue;
    uint64_t arrived;           /* the receiver has all before it */
    uint64_t window;
    struct segment *segments;
    unsigned room, first, next, last;   /* the oldest that is not read, the first that has not arrived, one past the newest */
    struct event arrival, opening, timeout;
    bool ended, fin_arrived;
    bool blocked;               /* the sender has found too little room */
};
enum end_state { END_NONE, END_QUEUED, END_OPEN, END_CLOSED, END_VANISHED };
struct end {
    struct addr addr;
    enum end_state state;
    struct file *file;          /* halb's, */
    struct peer *peer;          /* or an actor's */
    struct list place;          /* END_QUEUED: in the listener's queue */
    int err;                    /* to be told once */
    bool dead;                  /* reset, or given up */
    bool rst_sent;
};
struct link {
    struct list place;          /* among all */
    struct end ends[2];
    struct flow flows[2];
    struct dice dice;
    uint64_t delay_low, delay_high;
    unsigned cut;
    uint64_t opened_us;
    struct event handshake;
    enum { SHAKE_SYN, SHAKE_ANSWER, SHAKE_DONE } shake;
    unsigned syn_tries;
    int verdict;                /* of the handshake: 0 or -errno */
    uint64_t listener;          /* serial of the listening socket that answered; 0: a port's */
    unsigned busy;              /* callbacks may end both ends: then it is freed afterwards */
};
struct link *link_new(const struct addr *from, const struct addr *to);
void link_hold(struct link *link);
void link_release(struct link *link);           /* frees it if nobody is left */
void link_free(struct link *link);              /* whoever is left */
uint64_t link_delay(struct link *link);
void link_flag(struct link *link, unsigned side, enum segment_flag flag);
size_t link_readable(const struct link *link, unsigned side);
bool link_recv_ready(const struct link *link, unsigned side);   /* bytes, the end, or an error */
bool link_send_ready(struct link *link, unsigned side); /* room, or an error; else its opening will be told */
long link_recv(struct link *link, unsigned side, void *bytes, size_t len, bool keep);   /* bytes NULL: drops them */
size_t link_piece(const struct link *link, unsigned side);      /* bytes of the next segment that has arrived, as far as unread */
size_t link_room(const struct link *link, unsigned side);
long link_send(struct link *link, unsigned side, const void *bytes, size_t len, bool more);
int link_send_refused(struct link *link, unsigned side);        /* 0 or -errno, told once */
unsigned link_poll(struct link *link, unsigned side);           /* POLL... as tcp_poll() */
void link_shut(struct link *link, unsigned side);
void link_close(struct link *link, unsigned side, bool reset);  /* the end's owner goes; the link may be gone then */
void link_vanish(struct link *link, unsigned side);
void link_cut(struct link *link, unsigned side);        /* a reset for both ends, from in between: at once for this one */
void link_break(struct link *link, unsigned side, int err);     /* the end learns that it is over */
void link_arrived(struct link *link);           /* SEG_OPEN is at side 1: kernel_open.c */

/* Opening, accepting. */
void open_begin(struct link *link);             /* the SYN goes out; ends[0] has its owner */
struct addr open_source(const struct addr *to);
uint16_t open_port(void);
void listener_close(struct listener *listener);
struct link *listener_take(struct file *file);  /* the oldest of its queue, or NULL */
int accept_file(struct file *listening);        /* a descriptor or -errno */

struct pipe *pipe_new(size_t bytes);
void pipe_close(struct pipe *pipe);             /* one of its two ends */

/* Requests, for files. */
void request_wake(struct request *request, unsigned events);
#endif
