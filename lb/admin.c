#include "lb/admin.h"
#include "common/http1.h"
#include "common/list.h"
#include "common/log.h"
#include "common/ring.h"
#include "lb/api.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX 16384u
#define BODY_MAX (1u << 20)
#define SESSION_MS 10000u
#define ACCEPT_RETRY_MS 100u
#define PARKED_MAX ADMIN_SESSIONS_MAX

static const struct http1_limits limits = { .line_max = 8192, .field_max = 8192, .head_max = HEAD_MAX, .count_max = 64 };

/*
 * One client. Only session_enter() writes s->state. It has one operation in
 * flight at a time, so its memory goes when that one has returned.
 *
 *        +---- keep-alive, or go on with the body ----+
 *        v                                            |
 *      READ ------------------------------------> ANSWER
 *        |                                            |
 *        +---------------> CLOSING <------------------+
 *
 *   READ      a receive is in flight; the request is incomplete
 *   ANSWER    a send is in flight; out[sent, out_len) is still to go
 *   CLOSING   the operation, if one is in flight, was asked to end
 */
enum session_state { SESSION_READ, SESSION_ANSWER, SESSION_CLOSING };

struct session {
    struct admin *admin;
    struct list link;
    enum session_state state;
    int fd;
    struct op op;
    struct timer timer;             /* the request's deadline, then the answer's */
    char *in;
    size_t in_len, in_room;
    size_t needed;                  /* bytes of the whole request; 0 until its head is complete */
    size_t consumed;                /* bytes of in that this answer ends; 0: 100 Continue */
    bool continued;                 /* 100 was sent for this request */
    bool keep_alive;                /* after this answer */
    char *out;
    size_t out_len, sent;
};

struct admin {
    struct ring *ring;
    struct control *control;
    int fd;
    struct op accept_op;
    struct timer timer;             /* accepts again; when stopping: joins */
    struct list sessions;
    unsigned session_count;
    int parked[PARKED_MAX];         /* accepted before accepting could end, first come first; wait for a place */
    unsigned parked_count;
    bool failing;                   /* accept's failure was logged */
    bool stopping;
    void (*done)(void *arg);
    void *arg;
};

/* Frees itself once nothing is in flight any more. */
static void admin_join(struct admin *a)
{
    void (*done)(void *arg) = a->done;
    void *arg = a->arg;
    assert(a->stopping);
    if (a->session_count > 0 || a->accept_op.active || timer_is_set(&a->timer))
        return;
    close(a->fd);
    free(a);
    done(arg);
}

static void session_start(struct admin *a, int fd);

/* Gives free places away: to who is parked, then to who waits in the kernel's queue. */
static void admin_accept(struct admin *a)
{
    while (a->parked_count > 0 && a->session_count < ADMIN_SESSIONS_MAX) {
        int fd = a->parked[0];
        memmove(a->parked, a->parked + 1, --a->parked_count * sizeof(a->parked[0]));
        session_start(a, fd);
    }
    if (a->session_count < ADMIN_SESSIONS_MAX && !a->accept_op.active && !timer_is_set(&a->timer))
        ring_accept(a->ring, &a->accept_op, a->fd);
}

static void session_check(const struct session *s)
{
    assert(s->state != SESSION_READ || s->out == NULL);
    assert(s->state != SESSION_ANSWER || s->out != NULL);
    assert(s->sent <= s->out_len);
    assert(s->in_len <= s->in_room);
}

static void session_enter(struct session *s, enum session_state next)
{
    static const bool legal[3][3] = {
        [SESSION_READ] = { [SESSION_ANSWER] = true, [SESSION_CLOSING] = true },
        [SESSION_ANSWER] = { [SESSION_READ] = true, [SESSION_CLOSING] = true },
    };
    assert(legal[s->state][next]);
    s->state = next;
    session_check(s);
}

static void session_free(struct session *s)
{
    struct admin *a = s->admin;
    assert(s->state == SESSION_CLOSING);
    assert(!s->op.active);
    list_remove(&s->link);
    a->session_count--;
    close(s->fd);
    free(s->out);
    free(s->in);
    free(s);
    if (a->stopping)
        admin_join(a);
    else
        admin_accept(a);
}

/* The session may be gone when this returns. */
static void session_close(struct session *s)
{
    ring_timer_stop(s->admin->ring, &s->timer);
    session_enter(s, SESSION_CLOSING);
    if (s->op.active)
        ring_cancel(s->admin->ring, &s->op);
    else
        session_free(s);
}

static void on_session_timer(struct timer *timer)
{
    session_close(container_of(timer, struct session, timer));
}

static void session_wait(struct session *s)
{
    ring_timer_set(s->admin->ring, &s->timer, ring_now_ms(s->admin->ring) + SESSION_MS);
}

static void on_receive(struct op *op, struct ring_result result);
static void on_send(struct op *op, struct ring_result result);

static void session_receive(struct session *s)
{
    s->op.done = on_receive;
    ring_recv(s->admin->ring, &s->op, s->fd, RING_SMALL);
}

static void session_send(struct session *s)
{
    s->op.done = on_send;
    ring_send(s->admin->ring, &s->op, s->fd, s->out + s->sent, s->out_len - s->sent, MSG_NOSIGNAL);
}

/* Takes out over; NULL: no memory. */
static void session_answer(struct session *s, char *out, size_t len, size_t consumed)
{
    if (out == NULL) {
        session_close(s);
        return;
    }
    s->out = out;
    s->out_len = len;
    s->sent = 0;
    s->consumed = consumed;
    session_enter(s, SESSION_ANSWER);
    session_wait(s);
    session_send(s);
}

/* Head and body in one piece of malloc(); NULL: no memory. */
static char *render(const struct api_answer *answer, bool keep_alive, bool head_only, size_t *len)
{
    char *out = NULL;
    FILE *to = answer->body == NULL ? NULL : open_memstream(&out, len);
    if (to == NULL)
        return NULL;
    fprintf(to, "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n", answer->status,
            api_phrase(answer->status), answer->content_type, answer->body_len);
    if (answer->allow != NULL)
        fprintf(to, "Allow: %s\r\n", answer->allow);
    fprintf(to, "Connection: %s\r\n\r\n", keep_alive ? "keep-alive" : "close");
    if (!head_only)
        fwrite(answer->body, 1, answer->body_len, to);
    if (fclose(to) == 0)
        return out;
    free(out);
    return NULL;
}

/* Where the request ends is not known, or not worth reading up to: the session ends with this answer. */
static void session_refuse(struct session *s, unsigned status, const char *message)
{
    struct api_answer answer;
    size_t len = 0;
    char *out;
    api_refuse(status, message, &answer);
    s->keep_alive = false;
    out = render(&answer, false, false, &len);
    free(answer.body);
    session_answer(s, out, len, s->in_len);
}

/* False: it came twice. ret->ptr NULL: it did not come. */
static bool sole_field(const struct http1_head *head, struct span name, struct span *ret)
{
    *ret = (struct span){ .ptr = NULL };
    for (size_t i = 0; i < head->field_count; i++) {
        if (!span_equal_nocase(head->fields[i].name, name))
            continue;
        if (ret->ptr != NULL)
            return false;
        *ret = head->fields[i].value;
    }
    return true;
}

static void session_serve(struct session *s, const struct http1_head *head, struct span body)
{
    struct api_request request = { .method = head->method_text, .target = head->path, .host = head->authority, .body = body };
    struct api_answer answer;
    size_t len = 0;
    char *out;
    if (!sole_field(head, SPAN("origin"), &request.origin) || !sole_field(head, SPAN("content-type"), &request.content_type)) {
        session_refuse(s, 400, "expected Origin and Content-Type once at most");
        return;
    }
    api_serve(s->admin->control, &request, &answer);
    s->keep_alive = head->keep_alive;
    out = render(&answer, s->keep_alive, head->method == METHOD_HEAD, &len);
    free(answer.body);
    session_answer(s, out, len, (size_t)(body.ptr + body.len - s->in));
}

static void session_continue(struct session *s)
{
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    s->continued = true;
    s->keep_alive = true;
    session_answer(s, strdup(interim), sizeof(interim) - 1, 0);
}

/* The head is complete, and head_len bytes long. */
static void session_take_head(struct session *s, const struct http1_head *head, size_t head_len)
{
    uint64_t body_len = head->framing == BODY_LENGTH ? head->content_length : 0;
    if (head->framing == BODY_CHUNKED) {
        session_refuse(s, 400, "expected Content-Length, no Transfer-Encoding");
        return;
    }
    if (body_len > BODY_MAX) {
        session_refuse(s, 413, "expected a body of at most 1 MiB");
        return;
    }
    s->needed = head_len + body_len;
    if (s->in_len >= s->needed)
        session_serve(s, head, (struct span){ s->in + head_len, body_len });
    else if (head->expect_continue && !s->continued)
        session_continue(s);
    else
        session_receive(s);
}

/* What to do with the bytes so far. */
static void session_take(struct session *s)
{
    struct http1_head head;
    int r;
    if (s->in_len < s->needed) {
        session_receive(s);
        return;
    }
    r = http1_parse_request(&head, s->in, s->in_len, &limits);
    if (r > 0)
        session_take_head(s, &head, (size_t)r);
    else if (r == 0)
        session_receive(s);
    else
        session_refuse(s, (unsigned)http1_reason_status((enum http1_reason)-r), http1_reason_text((enum http1_reason)-r));
}

/* What may gather is bounded by the limits of head and body, and a chunk. */
static int session_append(struct session *s, const struct chunk *chunk)
{
    size_t room = s->in_room == 0 ? 4096 : s->in_room;
    char *in;
    while (room - s->in_len < chunk->len)
        room *= 2;
    in = room == s->in_room ? s->in : realloc(s->in, room);
    if (in == NULL)
        return -ENOMEM;
    s->in = in;
    s->in_room = room;
    memcpy(s->in + s->in_len, chunk->data, chunk->len);
    s->in_len += chunk->len;
    return 0;
}

static void on_receive(struct op *op, struct ring_result result)
{
    struct session *s = container_of(op, struct session, op);
    int r = result.res;
    if (result.chunk != NULL) {
        if (s->state == SESSION_READ && session_append(s, result.chunk) < 0)
            r = -ENOMEM;
        chunk_put(s->admin->ring, result.chunk);
    }
    if (s->state == SESSION_CLOSING)
        session_free(s);
    else if (r <= 0)
        session_close(s);
    else
        session_take(s);
}

/* The answer has left; what came after the request may hold the next one. */
static void session_next(struct session *s)
{
    free(s->out);
    s->out = NULL;
    s->out_len = s->sent = 0;
    if (s->consumed > 0) {
        s->in_len -= s->consumed;
        memmove(s->in, s->in + s->consumed, s->in_len);
        s->needed = 0;
        s->continued = false;
    }
    session_enter(s, SESSION_READ);
    session_wait(s);
    session_take(s);
}

static void on_send(struct op *op, struct ring_result result)
{
    struct session *s = container_of(op, struct session, op);
    if (s->state == SESSION_CLOSING) {
        session_free(s);
        return;
    }
    if (result.res > 0)
        s->sent += (size_t)result.res;
    if (result.res <= 0)
        session_close(s);
    else if (s->sent < s->out_len)
        session_send(s);
    else if (s->keep_alive)
        session_next(s);
    else
        session_close(s);
}

/* Takes fd over; without memory the client sees the end at once. */
static void session_start(struct admin *a, int fd)
{
    struct session *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        close(fd);
        return;
    }
    s->admin = a;
    s->fd = fd;
    op_init(&s->op, on_receive);
    timer_init(&s->timer, on_session_timer);
    list_append(&a->sessions, &s->link);
    a->session_count++;
    session_wait(s);
    session_receive(s);
}

static void accept_failed(struct admin *a, int error)
{
    if (!a->failing)
        log_warning("control socket: can not accept: %s; trying on", strerror(-error));
    a->failing = true;
    if (!a->accept_op.active)
        ring_timer_set(a->ring, &a->timer, ring_now_ms(a->ring) + ACCEPT_RETRY_MS);
}

/* When all places are taken, accepting ends until one is free; how many come before it has ended is not ours to say. */
static void take_descriptor(struct admin *a, int fd)
{
    a->failing = false;
    if (a->session_count < ADMIN_SESSIONS_MAX)
        session_start(a, fd);
    else if (a->parked_count < PARKED_MAX)
        a->parked[a->parked_count++] = fd;
    else
        close(fd);
    if (a->session_count >= ADMIN_SESSIONS_MAX)
        ring_cancel(a->ring, &a->accept_op);
}

static void on_accept_stopping(struct admin *a, int res)
{
    if (res >= 0)
        close(res);
    admin_join(a);
}

static void on_accept(struct op *op, struct ring_result result)
{
    struct admin *a = container_of(op, struct admin, accept_op);
    if (a->stopping) {
        on_accept_stopping(a, result.res);
        return;
    }
    if (result.res >= 0)
        take_descriptor(a, result.res);
    else if (result.res != -ECANCELED)
        accept_failed(a, result.res);
    admin_accept(a);
}

static void on_timer(struct timer *timer)
{
    struct admin *a = container_of(timer, struct admin, timer);
    if (a->stopping)
        admin_join(a);
    else
        admin_accept(a);
}

int admin_start(struct ring *ring, struct control *control, int listen_fd, struct admin **ret)
{
    struct admin *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return -ENOMEM;
    *a = (struct admin){ .ring = ring, .control = control, .fd = listen_fd };
    list_init(&a->sessions);
    op_init(&a->accept_op, on_accept);
    timer_init(&a->timer, on_timer);
    admin_accept(a);
    *ret = a;
    return 0;
}

void admin_stop(struct admin **admin, void (*done)(void *arg), void *arg)
{
    struct admin *a = *admin;
    *admin = NULL;
    a->stopping = true;
    a->done = done;
    a->arg = arg;
    /* done() is not called from in here: while this is set, nobody joins. */
    ring_timer_set(a->ring, &a->timer, ring_now_ms(a->ring));
    ring_cancel(a->ring, &a->accept_op);
    while (a->parked_count > 0)
        close(a->parked[--a->parked_count]);
    list_for_each_safe(link, &a->sessions) {
        struct session *s = list_entry(link, struct session, link);
        if (s->state != SESSION_CLOSING)
            session_close(s);
    }
}
