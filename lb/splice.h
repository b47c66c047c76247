#ifndef LB_SPLICE_H
#define LB_SPLICE_H
#include "lb/side.h"
#include <stdbool.h>
#include <stdint.h>
/*
 * Bulk TCP without copying: once a stream keeps large buffers full, its two
 * sides are moved to non-blocking sockets and the bytes go from one to the other
 * through a pipe by splice(2), called when a poll on the ring says that there is
 * something to do. (The ring's own splice goes to a kernel worker thread for
 * each call; docs/decisions/0005-splice.md has the figures.) One worker's.
 */
struct pipe_pool;

/* At most `count` pipes, made when needed. NULL: no memory. */
struct pipe_pool *pipe_pool_new(unsigned count);
void pipe_pool_free(struct pipe_pool **pool);       /* all are back */

struct pipe;

struct stream {
    struct side *from, *to;
    struct pipe *pipe;              /* its own for as long as it is spliced: none can be left waiting for one */
    uint32_t held;                  /* bytes in the pipe */
    bool eof;                       /* `from` has ended */
    bool done;                      /* and `to` has been told */
    int error;                      /* -errno that broke it; on which side: */
    bool to_failed;
    uint64_t bytes;
};

/* Both sides have nothing in flight and nothing in their inboxes. From now on their operations are polls. false: no pipes left. */
bool splice_begin(struct pipe_pool *pool, struct stream *up, struct stream *down);
/* Moves what can be moved and arms a poll for the rest. false: it broke, error says how. */
bool stream_pump(struct ring *ring, struct stream *stream);
void stream_stop(struct pipe_pool *pool, struct stream *stream);        /* gives the pipe back */
#endif
