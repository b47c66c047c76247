/*
 * Only check_enter() writes check->state.
 *
 *   IDLE --> CONNECTING --> SENDING --> RECEIVING --+
 *    ^           |             |                    |
 *    |           +-------------+--------------------+
 *    |                         v
 *    +---- done() -------- CLOSING
 *
 *   IDLE         no descriptor, no operation, no timer
 *   CONNECTING   one operation in flight, the deadline's timer set; SENDING, RECEIVING too
 *   CLOSING      the result is in the record; we wait for the operation that was cancelled, or for
 *                the next turn if none was, so that done() never comes from inside a call
 */
#include "health/check.h"
#include "common/clock.h"
#include "common/http1.h"
#include "common/net.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIT(n) (1u << (n))
#define HTTP_PORT 80
#define BEAT_MS 5               /* a pause of ours of up to two beats goes unnoticed */
#define ANSWER_BYTES_MAX 65536

static const struct http1_limits answer_limits = { .line_max = 16384, .field_max = 65536, .head_max = 65536, .count_max = HTTP1_FIELDS_MAX };

/* ---- the time that counts ---- */

static void check_extend(struct check *check, uint64_t ms)
{
    check->deadline_ms += ms;
    ring_timer_set(check->checker->ring, &check->timer, check->deadline_ms);
}

/*
 * First in every callback. While checks run, the beat makes turns, so a longer gap was a pause of ours. All but one beat
 * of it is given back; the beat counts, or a thread that always lags would never time anything out.
 */
static void checker_attend(struct checker *checker)
{
    uint64_t now = ring_now_ms(checker->ring), gap = now - checker->attended_ms;

    if (gap == 0)
        return;
    checker->attended_ms = now;
    checker->paused = gap > 2 * BEAT_MS && !list_empty(&checker->running);
    if (!checker->paused)
        return;
    list_for_each(link, &checker->running) {
        struct check *check = list_entry(link, struct check, link);
        if (check->state != CHECK_CLOSING)
            check_extend(check, gap - BEAT_MS);
    }
}

/* The instance did its part while we were away: it gets that beat, too, so it has what it had when we left. */
static void check_progress(struct check *check)
{
    if (check->checker->paused)
        check_extend(check, BEAT_MS);
}

static void on_beat(struct timer *timer)
{
    struct checker *checker = container_of(timer, struct checker, beat);

    checker_attend(checker);
    if (!list_empty(&checker->running))
        ring_timer_set(checker->ring, timer, ring_now_ms(checker->ring) + BEAT_MS);
}

void checker_init(struct checker *checker, struct ring *ring)
{
    *checker = (struct checker){ .ring = ring, .attended_ms = ring_now_ms(ring) };
    timer_init(&checker->beat, on_beat);
    list_init(&checker->running);
}

void checker_fini(struct checker *checker)
{
    assert(list_empty(&checker->running));
    ring_timer_stop(checker->ring, &checker->beat);
}

/* ---- the target ---- */

static void format_host(const struct addr *to, char text[ADDR_TEXT_MAX])
{
    char host[ADDR_TEXT_MAX];

    if (addr_port(to) != HTTP_PORT)
        addr_format(to, text);
    else
        snprintf(text, ADDR_TEXT_MAX, to->sa.sa_family == AF_INET6 ? "[%.61s]" : "%.61s", addr_format_host(to, host));
}

static int format_request(struct check_target *target, const char *path)
{
    char host[ADDR_TEXT_MAX];
    int len;

    format_host(&target->to, host);
    len = asprintf(&target->request,
                   "GET %s HTTP/1.1\r\n"
                   "Host: %s\r\n"
                   "User-Agent: ELB-HealthChecker/1.0\r\n"
                   "Accept: */*\r\n"
                   "Connection: close\r\n"
                   "\r\n",
                   path, host);
    if (len < 0) {
        target->request = NULL;
        return -ENOMEM;
    }
    target->request_len = (size_t)len;
    return 0;
}

int check_target_init(struct check_target *target, const struct check_wish *wish)
{
    const struct config_health_check *conf = wish->conf;

    assert(conf->target.protocol == PROTOCOL_HTTP || conf->target.protocol == PROTOCOL_TCP);
    *target = (struct check_target){
        .to = addr_with_port(*wish->to, conf->target.port),
        .source = *wish->source,
        .timeout_ms = conf->timeout_ms,
        .proxy_version = wish->proxy_version,
    };
    return conf->target.protocol == PROTOCOL_HTTP ? format_request(target, conf->target.path) : 0;
}

void check_target_fini(struct check_target *target)
{
    free(target->request);
    target->request = NULL;
}

static bool same_source(const struct addr *a, const struct addr *b)
{
    return a->sa.sa_family == b->sa.sa_family && (a->sa.sa_family == AF_UNSPEC || addr_equal_host(a, b));
}

bool check_target_equal(const struct check_target *a, const struct check_target *b)
{
    return addr_equal_host(&a->to, &b->to) && addr_port(&a->to) == addr_port(&b->to) && same_source(&a->source, &b->source) &&
           a->timeout_ms == b->timeout_ms && a->proxy_version == b->proxy_version && a->request_len == b->request_len &&
           (a->request_len == 0 || memcmp(a->request, b->request, a->request_len) == 0);
}

/* ---- the check ---- */

static void check_enter(struct check *check, enum check_state next)
{
    static const unsigned legal[] = {
        [CHECK_IDLE] = BIT(CHECK_CONNECTING) | BIT(CHECK_CLOSING),
        [CHECK_CONNECTING] = BIT(CHECK_SENDING) | BIT(CHECK_CLOSING),
        [CHECK_SENDING] = BIT(CHECK_RECEIVING) | BIT(CHECK_CLOSING),
        [CHECK_RECEIVING] = BIT(CHECK_CLOSING),
        [CHECK_CLOSING] = BIT(CHECK_IDLE),
    };

    assert(legal[check->state] & BIT(next));
    check->state = next;
}

bool check_running(const struct check *check)
{
    return check->state != CHECK_IDLE;
}

static void check_finish(struct check *check)
{
    assert(!check->op.active);
    ring_timer_stop(check->checker->ring, &check->timer);
    list_remove(&check->link);
    free(check->head);
    check->head = NULL;
    if (check->fd >= 0)
        net_close(check->fd);
    check->fd = -1;
    check_enter(check, CHECK_IDLE);
    check->done(check);
}

static void check_decide(struct check *check, enum check_reason reason, int error)
{
    check->record.reason = reason;
    check->record.error = error;
    check->record.duration_us = (uint32_t)(clock_monotonic_us() - check->started_us);
    check_enter(check, CHECK_CLOSING);
}

/* From an operation's completion. */
static void check_end(struct check *check, enum check_reason reason, int error)
{
    check_decide(check, reason, error);
    check_finish(check);
}

/* From elsewhere: the end follows with the operation, or in the next turn. */
static void check_close(struct check *check)
{
    struct ring *ring = check->checker->ring;

    ring_timer_stop(ring, &check->timer);
    if (check->op.active)
        ring_cancel(ring, &check->op);
    else
        ring_timer_set(ring, &check->timer, ring_now_ms(ring));
}

/* What the kernel's error says: of the instance, of the way to it, or of ourselves. */
static enum check_reason reason_of(int error, bool connected)
{
    switch (error) {
    case ECONNREFUSED:
        return CHECK_REFUSED;
    case ECONNRESET:
        return CHECK_RESET;
    case EPIPE:
        return CHECK_CLOSED_EARLY;
    case ETIMEDOUT:
        return connected ? CHECK_TIMEOUT_RESPONSE : CHECK_TIMEOUT_CONNECT;
    case EHOSTUNREACH:
    case ENETUNREACH:
        return CHECK_UNREACHABLE;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
    case ECANCELED:
        return CHECK_LOCAL;
    default:                    /* no errno list is complete */
        return connected ? CHECK_RESET : CHECK_UNREACHABLE;
    }
}

static void check_end_error(struct check *check, int res)
{
    check_end(check, reason_of(-res, check->state != CHECK_CONNECTING), -res);
}

static void receive(struct check *check)
{
    ring_recv(check->checker->ring, &check->op, check->fd, RING_SMALL);
}

static void receive_more(struct check *check)
{
    check_progress(check);
    receive(check);
}

static void send_rest(struct check *check)
{
    const struct check_target *target = check->target;
    struct ring *ring = check->checker->ring;
    size_t sent = check->sent_bytes;

    if (sent < check->proxy_len)
        ring_send(ring, &check->op, check->fd, check->proxy + sent, check->proxy_len - sent, target->request != NULL ? MSG_MORE : 0);
    else
        ring_send(ring, &check->op, check->fd, target->request + (sent - check->proxy_len), target->request_len - (sent - check->proxy_len), 0);
}

static void judge_head(struct check *check, const struct http1_head *head)
{
    check->record.status = (uint16_t)head->status;
    if (head->status != 200)
        check_end(check, CHECK_STATUS, 0);
    else if (!head->has_content_length && head->framing != BODY_CHUNKED)
        check_end(check, CHECK_NO_FRAMING, 0);
    else
        check_end(check, CHECK_OK, 0);
}

/* An interim answer is not the answer; 101 is, for nothing follows that we could read. */
static bool interim(const struct http1_head *head)
{
    return head->status < 200 && head->status != 101;
}

/* What is not a whole head yet is kept, and bytes may point among what was kept before. 0 or -ENOMEM. */
static int keep(struct check *check, const char *bytes, size_t len)
{
    char *head;

    if (check->head != NULL) {
        memmove(check->head, bytes, len);
    } else if (len > 0) {
        head = malloc(ANSWER_BYTES_MAX);
        if (head == NULL)
            return -ENOMEM;
        memcpy(head, bytes, len);
        check->head = head;
    }
    check->head_bytes = len;
    return 0;
}

static void read_answer(struct check *check, const char *bytes, size_t len)
{
    struct http1_head head;
    int n;

    while ((n = http1_parse_response(&head, bytes, len, &answer_limits, METHOD_GET)) > 0 && interim(&head)) {
        bytes += n;
        len -= (size_t)n;
    }
    if (n > 0)
        judge_head(check, &head);
    else if (n < 0 || check->received_bytes == ANSWER_BYTES_MAX)
        check_end(check, CHECK_MALFORMED, 0);
    else if (keep(check, bytes, len) < 0)
        check_end(check, CHECK_LOCAL, ENOMEM);
    else
        receive_more(check);
}

/* Most answers come whole, in one piece, and are read where they lie. */
static void take_piece(struct check *check, const struct chunk *chunk)
{
    size_t room = ANSWER_BYTES_MAX - check->received_bytes, len = chunk->len < room ? chunk->len : room;

    check->received_bytes += len;
    if (check->head == NULL) {
        read_answer(check, chunk->data, len);
        return;
    }
    memcpy(check->head + check->head_bytes, chunk->data, len);
    read_answer(check, check->head, check->head_bytes + len);
}

/* Who speaks: in version 1 our own two addresses, for some servers refuse UNKNOWN. 0, or -errno. */
static int introduce(struct check *check)
{
    unsigned version = check->target->proxy_version;
    struct addr own;
    int r = version == 1 ? net_own(check->fd, &own) : 0;

    if (version == 2)
        check->proxy_len = proxy_format_local(version, check->proxy);
    else if (version == 1 && r == 0)
        check->proxy_len = proxy_format(version, &own, &check->target->to, check->proxy);
    return r;
}

static void connected(struct check *check)
{
    int r = introduce(check);

    if (r < 0) {
        check_end(check, CHECK_LOCAL, -r);
        return;
    }
    if (check->proxy_len + check->target->request_len == 0) {
        check_end(check, CHECK_OK, 0);
        return;
    }
    check_enter(check, CHECK_SENDING);
    check_progress(check);
    send_rest(check);
}

static void sent(struct check *check, size_t len)
{
    check->sent_bytes += len;
    if (check->sent_bytes < check->proxy_len + check->target->request_len) {
        send_rest(check);
    } else if (check->target->request == NULL) {
        check_end(check, CHECK_OK, 0);
    } else {
        check_enter(check, CHECK_RECEIVING);
        receive_more(check);
    }
}

static void received(struct check *check, struct chunk *chunk)
{
    if (chunk == NULL)
        check_end(check, CHECK_CLOSED_EARLY, 0);
    else
        take_piece(check, chunk);
}

static void on_op(struct op *op, struct ring_result result)
{
    struct check *check = container_of(op, struct check, op);
    struct ring *ring = check->checker->ring;

    checker_attend(check->checker);
    if (check->state == CHECK_CLOSING)
        check_finish(check);
    else if (result.res < 0)
        check_end_error(check, result.res);
    else if (check->state == CHECK_CONNECTING)
        connected(check);
    else if (check->state == CHECK_SENDING)
        sent(check, (size_t)result.res);
    else
        received(check, result.chunk);
    if (result.chunk != NULL)
        chunk_put(ring, result.chunk);
}

static void on_timer(struct timer *timer)
{
    struct check *check = container_of(timer, struct check, timer);

    checker_attend(check->checker);
    if (check->state == CHECK_CLOSING) {
        check_finish(check);
        return;
    }
    if (ring_now_ms(check->checker->ring) < check->deadline_ms)
        return;                 /* got time back just now */
    check_decide(check, check->state == CHECK_CONNECTING ? CHECK_TIMEOUT_CONNECT : CHECK_TIMEOUT_RESPONSE, ETIMEDOUT);
    check_close(check);
}

void check_init(struct check *check, struct checker *checker, void (*done)(struct check *check))
{
    *check = (struct check){ .checker = checker, .state = CHECK_IDLE, .fd = -1, .done = done };
    op_init(&check->op, on_op);
    timer_init(&check->timer, on_timer);
    list_init(&check->link);
}

static void check_reset(struct check *check, const struct check_target *target)
{
    uint64_t now = ring_now_ms(check->checker->ring);

    check->target = target;
    check->record = (struct check_record){ .at_ms = clock_realtime_ms() };
    check->started_us = clock_monotonic_us();
    check->deadline_ms = now + target->timeout_ms + 1;      /* now is rounded down: never less than the timeout */
    check->proxy_len = check->sent_bytes = check->received_bytes = check->head_bytes = 0;
}

void check_start(struct check *check, const struct check_target *target)
{
    struct checker *checker = check->checker;
    int fd;

    assert(check->state == CHECK_IDLE);
    checker_attend(checker);
    check_reset(check, target);
    list_append(&checker->running, &check->link);
    if (!timer_is_set(&checker->beat))
        ring_timer_set(checker->ring, &checker->beat, checker->attended_ms + BEAT_MS);
    fd = net_connector(&target->to, &target->source);      /* from the balancer node's own address, as ELB does */
    if (fd < 0) {
        check_decide(check, CHECK_LOCAL, -fd);
        check_close(check);
        return;
    }
    check->fd = fd;
    check_enter(check, CHECK_CONNECTING);
    ring_timer_set(checker->ring, &check->timer, check->deadline_ms);
    ring_connect(checker->ring, &check->op, fd, &target->to);
}

void check_abandon(struct check *check)
{
    if (check->state == CHECK_IDLE || check->state == CHECK_CLOSING)
        return;
    check_decide(check, CHECK_LOCAL, ECANCELED);
    check_close(check);
}
