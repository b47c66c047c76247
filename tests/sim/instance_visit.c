/* A connection of halb's to an instance: what comes on it goes to its kind; a stopped instance looks at nothing until it goes on. */
#include "instance.h"
#include <assert.h>
#include <stdlib.h>

static const struct peer_events visit_events;

static void on_event(struct event *event)
{
    struct visit *visit = container_of(event, struct visit, event);

    visit->late = visit->instance->manner == MANNER_STOPPED;
    if (!visit->late)
        visit->due(visit);
}

struct visit *visit_new(struct instance *instance, const struct addr *from, uint64_t opened_us)
{
    struct visit *visit = calloc(1, sizeof(*visit));

    assert(visit != NULL);
    visit->peer.events = &visit_events;
    visit->instance = instance;
    visit->from = *from;
    visit->opened_us = opened_us;
    visit->cut_at = UINT64_MAX;
    event_init(&visit->event, on_event);
    http_visit_init(visit);
    list_append(&instance->visits, &visit->link);
    return visit;
}

void visit_free(struct visit *visit)
{
    event_clear(&visit->event);
    list_remove(&visit->link);
    message_fini(&visit->in);
    outbox_fini(&visit->out);
    free(visit);
}

bool visit_end(struct visit *visit, enum ending how)
{
    if (how == ENDS_NOT)
        return true;
    if (how == ENDS_FIN)
        peer_close(&visit->peer);
    else
        peer_reset(&visit->peer);
    visit_free(visit);
    return false;
}

void visit_later(struct visit *visit, uint64_t in_us, void (*due)(struct visit *visit))
{
    visit->due = due;
    event_set(&visit->event, world_now_us() + in_us);
}

static uint64_t work_of(const struct visit *visit)
{
    return visit->kind == VISIT_STREAM ? visit->stream.id : visit->kind == VISIT_REQUESTS ? visit->asked.id : 0;
}

void visit_tell(const struct visit *visit, const char *how)
{
    bool over = visit->kind == VISIT_REQUESTS && visit->answered && peer_acked(&visit->peer);

    if (work_of(visit) != 0 && !over)
        oracle_misbehaved(work_of(visit), visit->instance->index, how);
}

size_t visit_read(struct visit *visit, char *bytes, size_t max)
{
    size_t n = peer_readable(&visit->peer);

    n = n < max ? n : max;
    return n == 0 ? 0 : peer_read(&visit->peer, bytes, n < VISIT_READ ? n : VISIT_READ);
}

/* ---- writing ---- */

static bool more_to_write(struct visit *visit)
{
    if (visit->kind == VISIT_STREAM)
        return stream_visit_pump(visit);
    if (visit->answering && !visit->body.done)
        body_add_piece(&visit->body, &visit->out, &visit->instance->dice);
    return true;
}

static size_t write_some(struct visit *visit)
{
    uint64_t until_cut = visit->cut_at - visit->out.written;
    size_t max = until_cut < SIZE_MAX ? (size_t)until_cut : SIZE_MAX;

    if (visit->slowly)
        max = max < 4096 ? max : 4096;
    return outbox_write(&visit->out, &visit->peer, max);
}

/* A FIN behind all that was asked: halb gets the answer's beginning, and then its end. */
static bool answer_cut(struct visit *visit)
{
    if (visit->ending == ENDS_FIN && visit->out.written > visit->answer_at && visit->in.step == MESSAGE_DONE && peer_readable(&visit->peer) == 0)
        oracle_answer_broken(visit->asked.id, visit->instance->index);
    return visit_end(visit, visit->ending);
}

static void next_drop(struct visit *visit)
{
    (void)visit_pump(visit);
}

bool visit_pump(struct visit *visit)
{
    do {
        if (outbox_left(&visit->out) == 0 && !more_to_write(visit))
            return false;
        if (outbox_left(&visit->out) == 0)
            break;
        write_some(visit);
        if (visit->out.written == visit->cut_at)
            return answer_cut(visit);
        if (visit->slowly && visit->answering && !(visit->body.done && outbox_left(&visit->out) == 0)) {
            visit_later(visit, dice_below(&visit->instance->dice, 20000), next_drop);
            return true;
        }
    } while (outbox_left(&visit->out) == 0);
    if (visit->answering && visit->body.done && outbox_left(&visit->out) == 0)
        return http_visit_answered(visit);
    return true;
}

/* ---- what comes ---- */

/* Nothing was said on it: a TCP check, which has seen what it wanted. (Or work that was given up while it connected.) */
static void ended_unsaid(struct visit *visit)
{
    const struct plan_balancer *balancer = visit->instance->balancer;

    if (visit->introduction.check)
        introduction_judge_check(visit);
    if (balancer->proxy_version == 0 || (visit->introduction.check && !balancer->http_check))
        oracle_check(visit->instance->index, visit->opened_us, true);
    peer_close(&visit->peer);
    visit_free(visit);
}

static bool begin_kind(struct visit *visit)
{
    char first;

    if (!introduced(visit) || visit->kind != VISIT_UNKNOWN || peer_readable(&visit->peer) == 0)
        return visit->kind != VISIT_UNKNOWN;
    visit->sent_us = peer_sent_us(&visit->peer);
    (void)visit_read(visit, &first, 1);
    if (first == 'S' && !visit->instance->balancer->http) {
        visit->kind = VISIT_STREAM;
        visit->stream.line[visit->stream.line_len++] = first;
    } else {
        visit->kind = VISIT_REQUESTS;
        message_take(&visit->in, &first, 1);
    }
    return true;
}

static bool read_kind(struct visit *visit)
{
    if (!begin_kind(visit))
        return true;
    return visit->kind == VISIT_STREAM ? stream_visit_read(visit) : http_visit_read(visit);
}

static void on_readable(struct peer *peer)
{
    struct visit *visit = container_of(peer, struct visit, peer);

    if (introduced(visit) && visit->instance->manner != MANNER_STOPPED)        /* the first is little enough to be its kernel's */
        (void)read_kind(visit);
}

static void on_writable(struct peer *peer)
{
    struct visit *visit = container_of(peer, struct visit, peer);

    if (visit->instance->manner != MANNER_STOPPED && !event_is_set(&visit->event))
        (void)visit_pump(visit);
}

/* halb's FIN: of a stream one direction; of everything else it has gone. */
static void take_end(struct visit *visit)
{
    if (!read_kind(visit))
        return;
    if (visit->kind == VISIT_CHECK && !visit->answering)
        oracle_check(visit->instance->index, visit->opened_us, false);          /* halb did not wait */
    if (visit->kind == VISIT_STREAM)
        (void)visit_pump(visit);
    else
        (void)visit_end(visit, ENDS_FIN);
}

static void on_ended(struct peer *peer)
{
    struct visit *visit = container_of(peer, struct visit, peer);

    visit->ended = true;
    (void)introduced(visit);
    if (visit->kind == VISIT_UNKNOWN && peer_readable(peer) == 0)
        ended_unsaid(visit);
    else if (visit->instance->manner != MANNER_STOPPED)
        take_end(visit);
}

static void on_broken(struct peer *peer, int err)
{
    struct visit *visit = container_of(peer, struct visit, peer);

    (void)err;
    visit_free(visit);
}

void visit_resume(struct visit *visit)
{
    bool late = visit->late;

    visit->late = false;
    visit->stale = peer_readable(&visit->peer) > 0;
    if (visit->ended)
        take_end(visit);
    else if (!read_kind(visit) || event_is_set(&visit->event))
        return;
    else if (late)
        visit->due(visit);
    else
        (void)visit_pump(visit);
}

static const struct peer_events visit_events = {
    .readable = on_readable,
    .writable = on_writable,
    .ended = on_ended,
    .broken = on_broken,
};
