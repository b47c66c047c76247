#include "lb/splice.h"
#include "common/net.h"
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#define PIPE_BYTES (1024 * 1024)    /* what an unprivileged user may ask for (fs.pipe-max-size) */

struct pipe {
    int in, out;
    struct pipe *next;              /* spare */
};

struct pipe_pool {
    struct pipe *spare;
    unsigned left;                  /* that may still be made */
};

struct pipe_pool *pipe_pool_new(unsigned count)
{
    struct pipe_pool *pool = calloc(1, sizeof(*pool));

    if (pool != NULL)
        pool->left = count;
    return pool;
}

static void pipe_free(struct pipe *pipe)
{
    net_close(pipe->in);
    net_close(pipe->out);
    free(pipe);
}

void pipe_pool_free(struct pipe_pool **pool)
{
    struct pipe *pipe;

    if (*pool == NULL)
        return;
    while ((pipe = (*pool)->spare) != NULL) {
        (*pool)->spare = pipe->next;
        pipe_free(pipe);
    }
    free(*pool);
    *pool = NULL;
}

static struct pipe *pipe_new(void)
{
    struct pipe *pipe = malloc(sizeof(*pipe));
    int fds[2];

    if (pipe == NULL)
        return NULL;
    if (net_pipe(fds, PIPE_BYTES) < 0) {
        free(pipe);
        return NULL;
    }
    *pipe = (struct pipe){ .in = fds[1], .out = fds[0] };
    return pipe;
}

static struct pipe *pipe_get(struct pipe_pool *pool)
{
    struct pipe *pipe = pool->spare;

    if (pipe != NULL) {
        pool->spare = pipe->next;
        return pipe;
    }
    if (pool->left == 0 || (pipe = pipe_new()) == NULL)
        return NULL;
    pool->left--;
    return pipe;
}

void stream_stop(struct pipe_pool *pool, struct stream *stream)
{
    struct pipe *pipe = stream->pipe;

    stream->pipe = NULL;
    if (pipe == NULL)
        return;
    if (stream->held > 0) {             /* what it holds would come out for somebody else */
        pipe_free(pipe);
        pool->left++;
        stream->held = 0;
        return;
    }
    pipe->next = pool->spare;
    pool->spare = pipe;
}

bool splice_begin(struct pipe_pool *pool, struct stream *up, struct stream *down)
{
    up->pipe = pipe_get(pool);
    down->pipe = pipe_get(pool);
    if (up->pipe == NULL || down->pipe == NULL) {
        stream_stop(pool, up);
        stream_stop(pool, down);
        return false;
    }
    net_nonblock(up->from->fd);
    net_nonblock(up->to->fd);
    up->from->spliced = up->to->spliced = true;
    return true;
}

static bool broke(struct stream *stream, int err, bool to_failed)
{
    stream->error = err;
    stream->to_failed = to_failed;
    return false;
}

enum step { STEP_ON, STEP_WAITS, STEP_BROKE };

static enum step pour(struct ring *ring, struct stream *stream)
{
    long n = net_splice(stream->pipe->out, stream->to->fd, stream->held);

    if (n > 0) {
        stream->held -= (uint32_t)n;
        stream->bytes += (uint64_t)n;
        return STEP_ON;
    }
    if (n != -EAGAIN) {
        broke(stream, n == 0 ? -EPIPE : (int)n, true);
        return STEP_BROKE;
    }
    if (!stream->to->send_op.active)
        ring_poll(ring, &stream->to->send_op, stream->to->fd, POLLOUT);
    return STEP_WAITS;
}

static enum step draw(struct stream *stream)
{
    long n = net_splice(stream->from->fd, stream->pipe->in, PIPE_BYTES);

    if (n > 0)
        stream->held = (uint32_t)n;
    else if (n == 0)
        stream->eof = true;
    else if (n == -EAGAIN)
        return STEP_WAITS;
    else {
        broke(stream, (int)n, false);
        return STEP_BROKE;
    }
    return STEP_ON;
}

/* One draw a turn: a poll in between lets the next one find more. */
bool stream_pump(struct ring *ring, struct stream *stream)
{
    enum step step = STEP_ON;
    bool drawn = false;

    while (!stream->done && step == STEP_ON) {
        if (stream->held > 0) {
            step = pour(ring, stream);
        } else if (stream->eof) {
            side_shut(stream->to);
            stream->done = true;
        } else if (drawn || stream->from->recv_op.active) {
            step = STEP_WAITS;
        } else {
            step = draw(stream);
            drawn = true;
        }
    }
    if (step == STEP_WAITS && stream->held == 0 && !stream->from->recv_op.active)
        ring_poll(ring, &stream->from->recv_op, stream->from->fd, POLLIN | POLLRDHUP);
    return step != STEP_BROKE;
}
