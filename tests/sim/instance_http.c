/* Requests as an instance gets them: each must be what a client asked, in halb's strict spelling, alone on its connection. */
#include "instance.h"
#include "tests/fuzz/strict.h"
#include <stdio.h>

#define CHECKER "ELB-HealthChecker/1.0"

/* ---- what a head says ---- */

/* "<name>=<number>" in the query. */
static uint64_t query_number(struct span target, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i + len < target.len; i++)
        if (memcmp(target.ptr + i, name, len) == 0) {
            size_t end = i + len;
            while (end < target.len && target.ptr[end] >= '0' && target.ptr[end] <= '9')
                end++;
            return span_number((struct span){ target.ptr + i + len, end - i - len });
        }
    return UINT64_MAX;
}

static struct span word_of(struct span line, unsigned n)
{
    const char *at = line.ptr, *end = line.ptr + line.len, *space;

    while ((space = memchr(at, ' ', (size_t)(end - at))) != NULL && n-- > 0)
        at = space + 1;
    return (struct span){ at, (size_t)((space == NULL ? end : space) - at) };
}

static enum body_framing framing_of(struct span target)
{
    static const char *const names[] = {
        [BODY_BY_LENGTH] = "framing=length", [BODY_BY_CHUNKS] = "framing=chunked", [BODY_BY_CLOSE] = "framing=close",
    };

    for (enum body_framing f = BODY_BY_LENGTH; f <= BODY_BY_CLOSE; f++)
        if (memmem(target.ptr, target.len, names[f], strlen(names[f])) != NULL)
            return f;
    return BODY_IS_NONE;
}

static struct asked asked_by(const struct visit *visit)
{
    struct span line = message_line(&visit->in), target = word_of(line, 1), tunnel = message_field(&visit->in, "X-Tunnel", 0);
    struct asked asked = {
        .id = query_number(target, "/r"),
        .answer_bytes = query_number(target, "len="),
        .code = (unsigned)query_number(target, "code="),
        .framing = framing_of(target),
        .early = query_number(target, "early=") == 1,
        .head_method = span_is(word_of(line, 0), "HEAD"),
    };

    if (tunnel.ptr != NULL && tunnel.len > 2) {
        asked.tunnel = tunnel.ptr[0];
        asked.up = span_number((struct span){ tunnel.ptr + 2, tunnel.len - 2 });
    }
    asked.bodiless = asked.head_method || asked.code == 204 || asked.code == 304;
    if (asked.id == UINT64_MAX || asked.answer_bytes == UINT64_MAX || asked.code > 599 || asked.framing == BODY_IS_NONE)
        world_fail("instance %u: a request that nobody has made: %.*s", visit->instance->index, (int)line.len, line.ptr);
    return asked;
}

/* ---- is it what was asked? ---- */

static void must_be(const struct visit *visit, bool right, const char *what)
{
    if (!right)
        world_fail("instance %u: request %llu: %s; its head: %.*s", visit->instance->index, (unsigned long long)visit->asked.id, what,
                   (int)visit->in.head_len, visit->in.head);
}

/* The client has said in X-Asked what its first line is. */
static bool line_as_asked(const struct visit *visit)
{
    struct span line = message_line(&visit->in), asked = message_field(&visit->in, "X-Asked", 0);

    return asked.ptr != NULL && line.len == asked.len + strlen(" HTTP/1.1") && memcmp(line.ptr, asked.ptr, asked.len) == 0;
}

static unsigned client_of(const struct visit *visit)
{
    return (unsigned)span_number(message_field(&visit->in, "X-Client", 0));
}

static bool chain_as_asked(const struct visit *visit)
{
    uint64_t client = span_number(message_field(&visit->in, "X-Client", 0));
    struct span chain = message_field(&visit->in, "X-Forwarded-For", 0), before = message_field(&visit->in, "X-Before", 0);
    char address[ADDR_TEXT_MAX], wanted[2 * ADDR_TEXT_MAX];
    struct addr from;

    if (client >= PLAN_CLIENTS)
        return false;
    from = plan_client_known(visit->instance->plan, (unsigned)client);
    addr_format_host(&from, address);
    snprintf(wanted, sizeof(wanted), "%.*s%s%s", (int)before.len, before.ptr == NULL ? "" : before.ptr, before.ptr == NULL ? "" : ", ", address);
    return span_is(chain, wanted);
}

static void check_forwarded(const struct visit *visit, const struct strict *head)
{
    must_be(visit, head->forwarded_fors == 1 && head->forwarded_ports == 1 && head->forwarded_protos == 1, "X-Forwarded-* once each");
    must_be(visit, chain_as_asked(visit), "X-Forwarded-For ends with the client");
    must_be(visit, span_number(message_field(&visit->in, "X-Forwarded-Port", 0)) == plan_client_port(visit->instance->plan, client_of(visit)),
            "X-Forwarded-Port");
    must_be(visit, span_is(message_field(&visit->in, "X-Forwarded-Proto", 0), "http"), "X-Forwarded-Proto");
}

/* "X-F<n>-<length>: " and that many of one letter that id and n choose. */
static bool filler_right(uint64_t id, struct span name, struct span value)
{
    struct span digits = { name.ptr + 3, 0 };
    uint64_t n, len;

    while (3 + digits.len < name.len && digits.ptr[digits.len] != '-')
        digits.len++;
    n = span_number(digits);
    len = span_number((struct span){ digits.ptr + digits.len + 1, name.len - 3 - digits.len - 1 });
    if (value.len != len)
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] != (char)('a' + (id + n) % 26))
            return false;
    return true;
}

static void check_fillers(const struct visit *visit)
{
    uint64_t wanted = span_number(message_field(&visit->in, "X-Fillers", 0)), n = 0;
    struct span name, value;

    for (size_t at = 0; message_each(&visit->in, &at, &name, &value);)
        if (name.len > 5 && memcmp(name.ptr, "X-F", 3) == 0 && name.ptr[3] >= '0' && name.ptr[3] <= '9') {
            must_be(visit, filler_right(visit->asked.id, name, value), "a field's value");
            n++;
        }
    must_be(visit, wanted == n, "all fields that were sent");
}

static void check_hop_by_hop(const struct visit *visit)
{
    static const char *const names[] = { "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Expect", "X-Hop", "Connection", "Upgrade" };
    size_t count = sizeof(names) / sizeof(names[0]);

    if (visit->asked.tunnel != '\0') {
        must_be(visit, span_is(message_field(&visit->in, "Connection", 0), "upgrade"), "that the connection is to be upgraded");
        must_be(visit, span_is(message_field(&visit->in, "Upgrade", 0), "websocket"), "the upgrade as asked");
        count -= 2;
    }
    for (size_t i = 0; i < count; i++)
        must_be(visit, message_field(&visit->in, names[i], 0).ptr == NULL, "nothing that is of one connection only");
}

static void check_head(const struct visit *visit, const struct strict *head)
{
    must_be(visit, line_as_asked(visit), "method and path as asked");
    must_be(visit, span_is(message_field(&visit->in, "Host", 0), "sim.example"), "Host as asked");
    check_forwarded(visit, head);
    check_hop_by_hop(visit);
    check_fillers(visit);
}

/* ---- one request ---- */

static void check_come(struct visit *visit)
{
    if (!span_is(message_field(&visit->in, "Connection", 0), "close") || visit->carried > 0)
        world_fail("instance %u: a check that is not alone on its connection", visit->instance->index);
    introduction_judge_check(visit);
    visit->kind = VISIT_CHECK;
}

static enum message_follows on_head(struct message *in)
{
    struct visit *visit = container_of(in, struct visit, in);
    struct strict head;

    strict_request(in->head, in->head_len, &head);
    visit->head_come = true;
    if (span_is(message_field(in, "User-Agent", 0), CHECKER)) {
        check_come(visit);
        return FOLLOWS_NOTHING;
    }
    visit->asked = asked_by(visit);
    check_head(visit, &head);
    trace("instance %u: request %llu", visit->instance->index, (unsigned long long)visit->asked.id);
    if (visit->stale)
        oracle_misbehaved(visit->asked.id, visit->instance->index, "was stopped");
    oracle_reached(visit->asked.id, visit->instance->index, visit->carried == 0 ? visit->opened_us : visit->sent_us, visit->carried);
    introduction_judge(visit, visit->asked.id);
    return head.lengths > 0 ? FOLLOWS_LENGTH : head.codings > 0 ? FOLLOWS_CHUNKS : FOLLOWS_NOTHING;
}

static void on_payload(struct message *in, const char *bytes, size_t len)
{
    struct visit *visit = container_of(in, struct visit, in);
    size_t right = body_right(visit->asked.id, BODY_OF_REQUEST, 0, in->payload, bytes, len);

    if (right == len)
        return;
    oracle_request_byte(visit->asked.id, visit->instance->index, in->payload + right, (unsigned char)bytes[right]);
    must_be(visit, false, "its body's bytes");
}

void http_visit_init(struct visit *visit)
{
    static const struct message_events events = { .head = on_head, .payload = on_payload };

    message_init(&visit->in, &events, "instance");
}

static uint64_t time_to_think(struct visit *visit)
{
    struct dice *dice = &visit->instance->dice;
    uint64_t most = visit->instance->balancer->idle_timeout_ms * 1000 / 3;

    if (visit->kind == VISIT_CHECK)
        return dice_below(dice, 500);
    if (visit->instance->manner != MANNER_SLOW)
        return dice_permille(dice, 500) ? 0 : dice_below(dice, 2000);
    return dice_below(dice, most < 4000000 ? most + 1 : 4000000);
}

static void thought(struct visit *visit)
{
    struct instance *instance = visit->instance;

    visit->answering = true;
    visit->answer_at = visit->out.written;
    if (visit->kind == VISIT_CHECK) {
        answer_check(visit, instance->manner != MANNER_SICK);
    } else if (instance->manner == MANNER_GARBLED && dice_permille(&instance->dice, 600)) {
        answer_garbled(visit);
    } else if (visit->asked.code == 101) {
        must_be(visit, visit->asked.tunnel != '\0', "an upgrade that may be");
        answer_switches(visit);
        stream_visit_upgrade(visit);
    } else {
        answer_begin(visit);
        if (instance->manner == MANNER_HASTY)
            answer_hasty(visit);
    }
    (void)visit_pump(visit);
}

/* Something is to be done as soon as the head has come, or when all has. */
static void decide(struct visit *visit)
{
    if (!visit->head_come || visit->decided || (!visit->asked.early && visit->in.step != MESSAGE_DONE))
        return;
    visit->decided = true;
    visit_later(visit, time_to_think(visit), thought);
}

static void patience_over(struct visit *visit)
{
    struct dice *dice = &visit->instance->dice;

    if (visit->instance->manner != MANNER_HASTY)
        return;
    visit_tell(visit, "ended an idle connection");
    (void)visit_end(visit, dice_permille(dice, 500) ? ENDS_FIN : ENDS_RESET);
}

/* Answered and read whole: the next may come. */
static void next_request(struct visit *visit)
{
    struct dice *dice = &visit->instance->dice;

    message_next(&visit->in);
    visit->head_come = visit->decided = visit->answering = false;
    visit->slowly = visit->stale = false;
    visit->carried++;
    if (visit->instance->manner == MANNER_HASTY && dice_permille(dice, 500))
        visit_later(visit, dice_below(dice, dice_permille(dice, 500) ? 3000 : 3000000), patience_over);
}

bool http_visit_answered(struct visit *visit)
{
    bool lingers = visit->ending == ENDS_FIN && visit->in.step != MESSAGE_DONE && visit->kind != VISIT_CHECK;

    visit->answering = false;
    visit->answered = true;
    if (lingers)
        peer_shut(&visit->peer);        /* and reads on, or a reset might overtake the answer */
    else if (visit->ending != ENDS_NOT)
        return visit_end(visit, visit->ending);
    else if (visit->in.step == MESSAGE_DONE)
        next_request(visit);
    return true;
}

static void whole(struct visit *visit)
{
    if (visit->kind != VISIT_CHECK)
        oracle_request_whole(visit->asked.id, visit->instance->index, visit->in.payload);
    if (visit->answered)
        next_request(visit);            /* it was answered early */
}

static void request_begins(struct visit *visit)
{
    visit->answered = false;
    visit->asked.id = 0;
    event_clear(&visit->event);         /* of patience */
    visit->sent_us = peer_sent_us(&visit->peer);
}

/* No more than what belongs to this request, so that what follows it is seen to. */
static size_t read_piece(struct visit *visit, char *bytes)
{
    if (visit->head_come)
        return visit_read(visit, bytes, message_safe(&visit->in));
    if (!message_begun(&visit->in))
        request_begins(visit);
    return visit_read(visit, bytes, VISIT_READ);
}

bool http_visit_read(struct visit *visit)
{
    static char bytes[VISIT_READ];
    size_t n;

    while (peer_readable(&visit->peer) > 0) {
        if (visit->in.step == MESSAGE_DONE)
            world_fail("instance %u: bytes behind request %llu, which is not answered", visit->instance->index, (unsigned long long)visit->asked.id);
        n = read_piece(visit, bytes);
        if (n == 0)
            break;
        if (message_take(&visit->in, bytes, n) < n)
            world_fail("instance %u: bytes behind request %llu", visit->instance->index, (unsigned long long)visit->asked.id);
        decide(visit);
        if (visit->in.step == MESSAGE_DONE)
            whole(visit);
    }
    return true;
}
