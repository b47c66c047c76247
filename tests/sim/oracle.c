#include "oracle.h"
#include "alloc.h"
#include "lb/generation.h"
#include "lb/instance.h"
#include "lb/worker.h"
#include "own.h"
#include "rig.h"
#include "watch.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PICK_SLACK_US 2000              /* from a pick to its connect or send, within one turn of a worker */
#define LINGERING_US 120000000          /* a bad manner may show so much later, by a connection that was kept since */
#define FAULT_SHOWS_US 100000           /* and a fault of a fault loop, by what is tried again */
#define RESERVED_BYTES (2u << 20)       /* halb's memory: what is there without any connection, */
#define CONNECTION_BYTES (160u << 10)   /* and what one may hold on both its sides */

enum fate { FATE_OPEN, FATE_HEAD, FATE_WHOLE, FATE_NONE };

struct record {
    struct oracle_ask ask;
    bool stream;
    enum fate fate;
    uint64_t asked_us, reached_us;
    uint64_t rules_us;                  /* by the state of things from when on it may be served: asked_us, or when its listener left */
    unsigned reached;                   /* times */
    unsigned instances;                 /* bits: who has seen it */
    unsigned at;                        /* the last one that has */
    uint64_t picked_us;                 /* by whom it was reached last: r->at */
    bool misbehaved;
    uint64_t broken_us;                 /* when the last one's answer broke off behind its beginning; 0: it did not */
    struct named { struct addr source, destination; } named;
    char how[64];
    unsigned status;
    int by;                             /* who answered; -1: halb */
    uint64_t answer_bytes;              /* seen so far */
};

static struct oracle {
    const struct plan *plan;
    struct record *records;             /* [room]; id - 1 is the index */
    size_t count, room;
    unsigned picks[PLAN_INSTANCES];
    struct named named[PLAN_CLIENTS];
    bool incomplete;                    /* somebody asked while not all were in service */
    uint64_t status_seen[600];          /* answers that halb made itself and a client has seen whole */
    uint64_t unanswered, answers_5xx;
} oracle;

void oracle_begin(const struct plan *plan)
{
    free(oracle.records);
    memset(&oracle, 0, sizeof(oracle));
    oracle.plan = plan;
    watch_begin(plan);
}

void oracle_look(void)
{
    watch_look();
}

unsigned char pattern_byte(uint64_t id, unsigned direction, unsigned instance, uint64_t at)
{
    uint64_t x = (id * 2 + direction) * UINT64_C(0x9e3779b97f4a7c15) + instance * UINT64_C(0xbf58476d1ce4e5b9) + (at >> 3) * UINT64_C(0x94d049bb133111eb);

    x ^= x >> 29;
    return (unsigned char)(x >> (at & 7) * 8);
}

static struct record *record_of(uint64_t id, const char *who)
{
    if (id == 0 || id > oracle.count)
        world_fail("%s: a request %" PRIu64 " that nobody has made", who, id);
    return &oracle.records[id - 1];
}

static bool all_eligible(void)
{
    for (unsigned i = 0; i < PLAN_INSTANCES; i++)
        if (oracle.plan->instances[i].present && oracle.plan->instances[i].registered && !watch_eligible_throughout(i, world_now_us(), world_now_us()))
            return false;
    return true;
}

static uint64_t record_add(const struct record *record)
{
    oracle.incomplete = oracle.incomplete || !all_eligible();
    if (oracle.count == oracle.room) {
        oracle.room = oracle.room == 0 ? 256 : 2 * oracle.room;
        oracle.records = realloc(oracle.records, oracle.room * sizeof(*oracle.records));
    }
    oracle.records[oracle.count] = *record;
    oracle.records[oracle.count].ask.id = oracle.count + 1;
    oracle.records[oracle.count].named = oracle.named[record->ask.client];
    oracle.records[oracle.count].asked_us = oracle.records[oracle.count].rules_us = world_now_us();
    if (record->ask.listener_left_us < world_now_us())
        oracle.records[oracle.count].rules_us = record->ask.listener_left_us;
    return ++oracle.count;
}

static const struct config_attributes *attributes_of(const struct record *r)
{
    const struct generation *generation = rig_generation();
    uint16_t port = oracle.plan->balancers[oracle.plan->clients[r->ask.client].balancer].port;

    for (size_t b = 0; generation != NULL && b < generation->balancer_count; b++)
        if (generation->balancers[b].conf->listeners[0].port == port)
            return &generation->balancers[b].conf->attributes;
    return NULL;
}

/* From where nobody is admitted. */
static bool foreign(const struct record *r)
{
    return oracle.plan->clients[r->ask.client].foreign;
}

static bool of_balancer(const struct record *r, unsigned instance)
{
    const struct plan_instance *i = &oracle.plan->instances[instance];

    return i->present && i->balancer == oracle.plan->clients[r->ask.client].balancer;
}

/* ---- what is fair ---- */

/* The kernel, memory or max_connections has refused halb something while this was under way, or may have: it may have had to refuse
 * somebody in turn. One fault of a fault loop excuses nothing that was asked for when it was over. */
static bool resources_failed(const struct record *r)
{
    const struct kernel_faults *f = &oracle.plan->faults;

    if (f->emfile + f->enomem > 0 || rig_counted(COUNT_TOO_MANY) > 0)
        return true;
    return watch_fault_us() != 0 && r->asked_us <= watch_fault_us() + FAULT_SHOWS_US;
}

static bool any_faults(void)
{
    const struct kernel_faults *f = &oracle.plan->faults;

    return f->emfile + f->enomem > 0 || watch_fault_us() != 0 || rig_counted(COUNT_TOO_MANY) > 0;
}

static bool has_acts(void)
{
    for (size_t i = 0; i < PLAN_ACTS; i++)
        if (oracle.plan->acts[i].present)
            return true;
    return false;
}

static bool has_limits(const struct record *r)
{
    for (unsigned i = 0; i < PLAN_INSTANCES; i++)
        if (of_balancer(r, i) && (oracle.plan->instances[i].max_connections > 0 || oracle.plan->instances[i].weight == 0))
            return true;
    return false;
}

/* From when on an instance's manner may show in what becomes of a request. */
static uint64_t lingering(const struct record *r)
{
    return r->asked_us > LINGERING_US ? r->asked_us - LINGERING_US : 0;
}

/* Was there always one that was well and could be picked, by a node of any zone? */
static bool always_one(const struct record *r)
{
    const struct config_attributes *attributes = attributes_of(r);
    uint64_t now = world_now_us();

    if (attributes == NULL || (!attributes->cross_zone && oracle.plan->workers > 0))
        return false;
    for (unsigned i = 0; i < PLAN_INSTANCES; i++)
        if (of_balancer(r, i) && oracle.plan->instances[i].weight > 0 && watch_eligible_throughout(i, r->rules_us, now) &&
            !watch_bad_within(i, lingering(r), now))
            return true;
    return false;
}

/* How many tries the world may have used up: a bad instance two (its kept connection, and a fresh one), one that left service, one. */
static unsigned tries_spoilt(const struct record *r)
{
    uint64_t now = world_now_us();
    unsigned spoilt = 0;

    for (unsigned i = 0; i < PLAN_INSTANCES; i++) {
        if (!of_balancer(r, i))
            continue;
        if (watch_bad_within(i, lingering(r), now))
            spoilt += 2;
        else if (!watch_eligible_throughout(i, r->rules_us, now))
            spoilt++;
    }
    return spoilt;
}

static bool any_bad(const struct record *r)
{
    uint64_t now = world_now_us();

    for (unsigned i = 0; i < PLAN_INSTANCES; i++)
        if (of_balancer(r, i) && watch_bad_within(i, lingering(r), now))
            return true;
    return false;
}

static bool any_slow(void)
{
    for (size_t i = 0; i < PLAN_ACTS; i++)
        if (oracle.plan->acts[i].present && oracle.plan->acts[i].kind == ACT_MANNER && oracle.plan->acts[i].manner == MANNER_SLOW)
            return true;
    return false;
}

/* Had halb reason to fail this request, in whatever way? */
static bool may_fail(const struct record *r)
{
    const struct config_attributes *attributes = attributes_of(r);

    if (resources_failed(r) || rig_stopping() || r->misbehaved || attributes == NULL)
        return true;
    if (!any_bad(r))
        return false;
    return !r->ask.repeatable || r->ask.body_bytes > 0 || tries_spoilt(r) > attributes->retries || !always_one(r);
}

/* A 503 of halb's own. */
static bool may_refuse(const struct record *r)
{
    return may_fail(r) || !always_one(r) || has_limits(r);
}

static bool slow_client(const struct record *r)
{
    enum client_kind kind = oracle.plan->clients[r->ask.client].kind;

    return kind == CLIENT_SLOW_SENDER || kind == CLIENT_VANISHING || kind == CLIENT_SLOW_READER;
}

static uint64_t shortest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Stalls and slow links may let halb's own time limits pass. */
static bool slow_world(const struct record *r)
{
    const struct plan *plan = oracle.plan;
    const struct config_attributes *a = attributes_of(r);
    uint64_t lost = plan->stall_max_us * (plan->stall_permille > 0) + plan->faults.late_max_us * (plan->faults.late > 0);
    uint64_t limit_ms;

    if (a == NULL || plan->net.syn_lost > 0 || plan->net.cut_max == 1)
        return true;
    limit_ms = shortest(shortest(a->connect_timeout_ms, a->idle_timeout_ms), shortest(a->request_header_timeout_ms, a->request_body_timeout_ms));
    return 2 * lost + 6 * plan->net.delay_max_us > limit_ms * 1000;
}

/* May it have been with an instance that has left since, and whose time to drain was over? ELB cuts then. */
static bool cut_by_leaving(const struct record *r)
{
    const struct config_attributes *a = attributes_of(r);
    uint64_t now = world_now_us();

    if (a == NULL || (a->draining && now - r->asked_us < a->draining_timeout_ms * 1000))
        return false;
    for (unsigned i = 0; i < PLAN_INSTANCES; i++)
        if (of_balancer(r, i) && !watch_eligible_throughout(i, r->rules_us, now))
            return true;
    return false;
}

static void judge_own_answer(const struct record *r, unsigned status)
{
    bool fair = false;

    switch (status) {
    case 400:
    case 405:
        fair = r->ask.illegal;
        break;
    case 408:
        fair = slow_client(r) || slow_world(r);
        break;
    case 502:
        fair = may_fail(r) || cut_by_leaving(r);
        break;
    case 503:
        fair = may_refuse(r);
        break;
    case 504:                           /* silence is waited for, and not repeated elsewhere */
        fair = may_fail(r) || any_bad(r) || any_slow() || slow_world(r);
        break;
    }
    if (!fair)
        world_fail("oracle: request %" PRIu64 " (%s, client %u) got %u from halb itself, for no reason that the world gave it", r->ask.id,
                   r->ask.method, r->ask.client, status);
}

/* ---- from clients ---- */

void oracle_ask(struct oracle_ask *ask)
{
    struct record record = { .ask = *ask, .by = -1 };

    ask->id = record_add(&record);
    trace("client %u asks %" PRIu64 ": %s, %" PRIu64 " bytes, for %u with %" PRIu64 " bytes%s", ask->client, ask->id, ask->method, ask->body_bytes,
          ask->code, ask->answer_bytes, ask->illegal ? " (illegal)" : "");
}

void oracle_answer_head(uint64_t id, unsigned status, int instance)
{
    struct record *r = record_of(id, "client");

    trace("client %u has the head of %" PRIu64 ": %u by %d", r->ask.client, id, status, instance);
    if (r->fate != FATE_OPEN)
        world_fail("oracle: request %" PRIu64 " is answered twice", id);
    if (foreign(r))
        world_fail("oracle: request %" PRIu64 " is answered, and its client %u must not be let in", id, r->ask.client);
    r->fate = FATE_HEAD;
    r->status = status;
    r->by = instance;
    oracle.answers_5xx += status >= 500;
    if (instance < 0) {
        judge_own_answer(r, status);
        return;
    }
    if (instance >= PLAN_INSTANCES || (r->instances & 1u << instance) == 0)
        world_fail("oracle: request %" PRIu64 " is answered by instance %d, which has never seen it", id, instance);
    if (r->ask.illegal)
        world_fail("oracle: request %" PRIu64 " is illegal, and instance %d has answered it", id, instance);
    if (status != r->ask.code && !r->misbehaved)
        world_fail("oracle: request %" PRIu64 " asked for %u and got %u", id, r->ask.code, status);
}

void oracle_answer_byte(uint64_t id, uint64_t at, unsigned char byte)
{
    struct record *r = record_of(id, "client");

    if (r->by < 0 || r->misbehaved)
        return;                         /* no pattern in halb's own answers, nor in what is garbled */
    if (byte != pattern_byte(id, 1, (unsigned)r->by, at))
        world_fail("oracle: byte %" PRIu64 " of the answer to request %" PRIu64 " is %02x, which instance %d did not send there", at, id, byte, r->by);
}

void oracle_answered(uint64_t id)
{
    struct record *r = record_of(id, "client");

    if (r->fate != FATE_HEAD)
        world_fail("oracle: request %" PRIu64 " has an answer's end without its head", id);
    r->fate = FATE_WHOLE;
    if (r->by < 0 && r->status < 600)
        oracle.status_seen[r->status]++;
}

static bool may_be_unanswered(const struct record *r, enum unanswered how)
{
    if (how == UNANSWERED_LEFT || (r->ask.illegal && !foreign(r)))
        return true;
    if (foreign(r))
        return how != UNANSWERED_TIMEOUT;
    if (how == UNANSWERED_TIMEOUT)
        return slow_client(r);
    return may_fail(r) || slow_client(r) || slow_world(r) || cut_by_leaving(r) || (r->fate == FATE_HEAD && any_bad(r));
}

void oracle_unanswered(uint64_t id, enum unanswered how)
{
    static const char *const texts[] = { "the client left", "closed", "reset", "the client gave up waiting" };
    struct record *r = record_of(id, "client");

    trace("client %u has no answer to %" PRIu64 ": %s", r->ask.client, id, texts[how]);
    if (r->fate == FATE_WHOLE || r->fate == FATE_NONE)
        world_fail("oracle: request %" PRIu64 " ended twice", id);
    if (!may_be_unanswered(r, how))
        world_fail("oracle: request %" PRIu64 " (%s, client %u) came to nothing (%s%s), for no reason that the world gave halb", id, r->ask.method,
                   r->ask.client, texts[how], r->fate == FATE_HEAD ? ", after its head" : "");
    r->fate = FATE_NONE;
    oracle.unanswered += !foreign(r);
}

void oracle_broken(unsigned client, uint64_t connect_us, int err)
{
    const struct plan_client *conf = &oracle.plan->clients[client];
    bool open = watch_door_within(conf->balancer, conf->second, connect_us, world_now_us()) == 1u << DOOR_OPEN;

    if (err == -ECONNREFUSED && rig_serving_us() != 0 && connect_us >= rig_serving_us() && (open || !conf->second))
        world_fail("oracle: client %u is refused, as if nobody listened, and halb has started", client);
}

/* ---- from instances ---- */

static void judge_pick(const struct record *r, unsigned instance, uint64_t picked_us)
{
    const struct config_attributes *attributes = attributes_of(r);

    if (foreign(r))
        world_fail("oracle: request %" PRIu64 " came to instance %u, and its client %u must not be let in", r->ask.id, instance, r->ask.client);
    if (!of_balancer(r, instance))
        world_fail("oracle: request %" PRIu64 " went to instance %u, which is another balancer's", r->ask.id, instance);
    if (attributes == NULL || attributes->fail_open)
        return;
    if (!watch_eligible_within(instance, picked_us - PICK_SLACK_US - (oracle.plan->faults.late > 0 ? oracle.plan->faults.late_max_us : 0), picked_us))
        world_fail("oracle: request %" PRIu64 " was given to instance %u, which was out of service", r->ask.id, instance);
}

/* A cookie's instance is taken as long as it may be, and is not full. */
static void judge_claim(const struct record *r, unsigned instance, uint64_t picked_us)
{
    unsigned claim = (unsigned)r->ask.claim - 1;
    const struct plan_instance *i = &oracle.plan->instances[claim % PLAN_INSTANCES];

    if (r->ask.claim == 0 || claim == instance || r->reached > 0 || i->max_connections > 0 || i->weight == 0 || oracle.plan->zones > 1)
        return;
    if (watch_bad_within(claim, lingering(r), world_now_us()) || resources_failed(r) || oracle.plan->net.syn_lost > 0 || slow_world(r))
        return;                         /* it may have been tried */
    if (watch_eligible_throughout(claim, r->asked_us, world_now_us()))
        world_fail("oracle: request %" PRIu64 " has a cookie of instance %u and was given to instance %u at %" PRIu64, r->ask.id, claim, instance, picked_us);
}

void oracle_reached(uint64_t id, unsigned instance, uint64_t picked_us, unsigned on_connection)
{
    struct record *r = record_of(id, "instance");

    trace("instance %u has request %" PRIu64 " (picked at %" PRIu64 ", %u before it on its connection)", instance, id, picked_us, on_connection);
    if (r->ask.illegal)
        world_fail("oracle: request %" PRIu64 " is illegal, and instance %u got it", id, instance);
    if (r->fate == FATE_WHOLE && !r->misbehaved && r->by >= 0 && !(r->ask.repeatable && (tries_spoilt(r) > 0 || any_faults())))
        world_fail("oracle: request %" PRIu64 " came to instance %u after its client had the answer", id, instance);
    if (r->reached > 0 && !r->ask.repeatable)
        world_fail("oracle: request %" PRIu64 " (%s) must not be repeated, and instance %u is the second to have it", id, r->ask.method, instance);
    if (r->broken_us != 0 && picked_us > r->broken_us && watch_eligible_throughout(r->at, r->picked_us, picked_us))
        world_fail("oracle: request %" PRIu64 " is repeated on instance %u, although the answer of instance %u had begun", id, instance, r->at);
    judge_claim(r, instance, picked_us);
    judge_pick(r, instance, picked_us);
    r->reached++;
    r->instances |= 1u << instance;
    r->at = instance;
    r->broken_us = 0;
    r->picked_us = picked_us;
    r->reached_us = world_now_us();
    oracle.picks[instance]++;
}

void oracle_named(unsigned client, const struct addr *source, const struct addr *destination)
{
    oracle.named[client] = (struct named){ *source, *destination };
}

static bool same_addr(const struct addr *a, const struct addr *b)
{
    return addr_equal_host(a, b) && addr_port(a) == addr_port(b);
}

void oracle_introduced(uint64_t id, unsigned instance, const struct addr *source, const struct addr *destination)
{
    const struct record *r = record_of(id, "instance");
    char named[ADDR_TEXT_MAX], right[ADDR_TEXT_MAX];

    if (!same_addr(source, &r->named.source))
        world_fail("oracle: request %" PRIu64 " comes to instance %u as from %s; it is from %s", id, instance, addr_format(source, named),
                   addr_format(&r->named.source, right));
    if (!same_addr(destination, &r->named.destination))
        world_fail("oracle: request %" PRIu64 " comes to instance %u as to %s; it is to %s", id, instance, addr_format(destination, named),
                   addr_format(&r->named.destination, right));
}

void oracle_request_byte(uint64_t id, unsigned instance, uint64_t at, unsigned char byte)
{
    if (byte != pattern_byte(id, 0, 0, at))
        world_fail("oracle: byte %" PRIu64 " of request %" PRIu64 " is %02x when it comes to instance %u, which its client did not send there", at, id, byte, instance);
}

void oracle_request_whole(uint64_t id, unsigned instance, uint64_t bytes)
{
    const struct record *r = record_of(id, "instance");

    if (bytes != r->ask.body_bytes)
        world_fail("oracle: request %" PRIu64 " has %" PRIu64 " bytes of body when it comes to instance %u; its client sent %" PRIu64, id, bytes, instance,
                   r->ask.body_bytes);
}

void oracle_misbehaved(uint64_t id, unsigned instance, const char *how)
{
    struct record *r = record_of(id, "instance");

    trace("instance %u does to request %" PRIu64 ": %s", instance, id, how);
    r->misbehaved = true;
    snprintf(r->how, sizeof(r->how), "%s", how);
}

void oracle_answer_broken(uint64_t id, unsigned instance)
{
    struct record *r = record_of(id, "instance");

    r->broken_us = r->at == instance ? world_now_us() : 0;
}

void oracle_manner(unsigned instance, enum manner manner)
{
    trace("instance %u is %s from now on", instance, manner_text(manner));
    watch_manner(instance, manner);
}

enum manner oracle_manner_of(unsigned instance)
{
    return watch_manner_of(instance);
}

void oracle_check(unsigned instance, uint64_t opened_us, bool passes)
{
    watch_check(instance, opened_us, passes);
}

/* ---- streams ---- */

uint64_t oracle_stream_asked(unsigned client)
{
    struct record record = { .ask = { .client = client, .method = "stream", .listener_left_us = UINT64_MAX }, .stream = true, .by = -1 };

    return record_add(&record);
}

void oracle_stream_reached(uint64_t id, unsigned instance, uint64_t picked_us)
{
    struct record *r = record_of(id, "instance");

    trace("instance %u has stream %" PRIu64, instance, id);
    if (r->reached > 0)
        world_fail("oracle: stream %" PRIu64 " came to instance %u, and to another before", id, instance);
    judge_pick(r, instance, picked_us);
    r->reached++;
    r->instances |= 1u << instance;
    r->at = instance;
    oracle.picks[instance]++;
}

/* A stream ends without an answer that could say why: any manner but WELL, a change, or an idle time is reason enough. */
void oracle_stream_ended(uint64_t id, bool whole, enum unanswered how)
{
    struct record *r = record_of(id, "client");

    trace("client %u: stream %" PRIu64 " ended %s", r->ask.client, id, whole ? "whole" : "early");
    if (r->fate == FATE_WHOLE || r->fate == FATE_NONE)
        world_fail("oracle: stream %" PRIu64 " ended twice", id);
    if (!whole && !may_be_unanswered(r, how) && !may_refuse(r))
        world_fail("oracle: stream %" PRIu64 " (client %u) broke off, for no reason that the world gave halb", id, r->ask.client);
    r->fate = whole ? FATE_WHOLE : FATE_NONE;
    oracle.unanswered += !whole && !foreign(r);
}

/* ---- the end ---- */

static uint64_t in_flight(unsigned i)
{
    const struct instance *instance = watch_instance(i);

    return instance == NULL ? 0 : instance_outstanding(instance);
}

/* Who has been deregistered is gone once its work has ended, and nobody waits in a queue. */
static const struct balancer *unsettled(void)
{
    const struct generation *generation = rig_generation();

    for (size_t b = 0; b < generation->balancer_count; b++) {
        const struct balancer *balancer = &generation->balancers[b];
        if (balancer->instance_count != balancer->registered_count)
            return balancer;
        for (size_t i = 0; i < balancer->live->count; i++)
            if (surge_any(&balancer->live->nodes[i].surge))
                return balancer;
    }
    return NULL;
}

bool oracle_at_rest(void)
{
    for (unsigned i = 0; i < PLAN_INSTANCES; i++)
        if (in_flight(i) > 0)
            return false;
    return unsettled() == NULL;
}

void oracle_restless(void)
{
    if (unsettled() != NULL)
        world_fail("oracle: nobody has asked for long, and %s still has a deregistered instance or a request in its queue", unsettled()->conf->name);
    for (unsigned i = 0; i < PLAN_INSTANCES; i++)
        if (in_flight(i) > 0)
            world_fail("oracle: nobody has asked for long, and instance %u has %" PRIu64 " requests in flight", i, in_flight(i));
}

static void answers_compare(unsigned status, enum worker_counter counter)
{
    uint64_t made = rig_counted(counter), seen = oracle.status_seen[status];

    if (made < seen)
        world_fail("oracle: clients have seen %" PRIu64 " answers %u of halb's own, which counts %" PRIu64, seen, status, made);
    if (made > seen + oracle.unanswered)
        world_fail("oracle: halb counts %" PRIu64 " answers %u of its own; clients have seen %" PRIu64 ", and have missed %" PRIu64 " of any kind", made, status,
                   seen, oracle.unanswered);
}

/* Round-robin over equal weights is exact: at any time, each node has given each instance as many as any other, or one more. */
static void shares_compare(const struct balancer *balancer, unsigned index)
{
    unsigned low = UINT32_MAX, high = 0;

    for (unsigned i = 0; i < PLAN_INSTANCES; i++) {
        const struct plan_instance *instance = &oracle.plan->instances[i];
        if (!instance->present || instance->balancer != index || !instance->registered)
            continue;
        low = oracle.picks[i] < low ? oracle.picks[i] : low;
        high = oracle.picks[i] > high ? oracle.picks[i] : high;
    }
    if (high > 0 && high - low > balancer->node_count)
        world_fail("oracle: balancer %u shared out unevenly: between %u and %u requests to an instance", index, low, high);
}

static bool in_turn(const struct balancer *balancer)
{
    enum algorithm algorithm = balancer->conf->attributes.algorithm;

    return algorithm == ALGORITHM_ROUND_ROBIN || (algorithm == ALGORITHM_DEFAULT && balancer->conf->listeners[0].protocol == PROTOCOL_TCP);
}

static void all_shares_compare(void)
{
    const struct generation *generation = rig_generation();

    if (has_acts() || oracle.incomplete || any_faults() || oracle.unanswered > 0 || rig_changes() != 1)
        return;
    for (unsigned i = 0; i < PLAN_BALANCERS; i++)
        for (size_t b = 0; oracle.plan->balancers[i].even && b < generation->balancer_count; b++)
            if (generation->balancers[b].conf->listeners[0].port == oracle.plan->balancers[i].port && in_turn(&generation->balancers[b]) &&
                generation->balancers[b].conf->attributes.cross_zone)
                shares_compare(&generation->balancers[b], i);
}

void oracle_workers_ended(void)
{
    uint64_t accepted = rig_counted(COUNT_ACCEPTED) + rig_counted(COUNT_DENIED) + rig_counted(COUNT_TOO_MANY);

    if (accepted > kernel_totals().accepted)
        world_fail("oracle: halb counts %" PRIu64 " connections accepted; its kernel gave it %" PRIu64, accepted, kernel_totals().accepted);
    if (rig_connections() > 0)
        world_fail("oracle: the workers have ended, and %u connections are counted as open", rig_connections());
    answers_compare(400, COUNT_ANSWER_400);
    answers_compare(405, COUNT_ANSWER_405);
    answers_compare(408, COUNT_ANSWER_408);
    answers_compare(502, COUNT_ANSWER_502);
    answers_compare(503, COUNT_ANSWER_503);
    answers_compare(504, COUNT_ANSWER_504);
    all_shares_compare();
}

void oracle_end(void)
{
    size_t most = RESERVED_BYTES + (size_t)kernel_totals().descriptors_most * CONNECTION_BYTES;

    for (size_t i = 0; i < oracle.count; i++)
        if (oracle.records[i].fate == FATE_OPEN || oracle.records[i].fate == FATE_HEAD)
            world_fail("oracle: request %zu never ended", i + 1);
    if (alloc_live_blocks() != 0) {
        alloc_print_live();
        world_fail("oracle: halb has ended, and %zu blocks of its memory are left", alloc_live_blocks());
    }
    if (alloc_peak_bytes() > most)
        world_fail("oracle: halb held %zu bytes; for %u descriptors at most %zu are right", alloc_peak_bytes(), kernel_totals().descriptors_most, most);
    watch_end();
}

void oracle_figures(uint64_t *requests, uint64_t *answers_5xx)
{
    *requests = oracle.count;
    *answers_5xx = oracle.answers_5xx;
}
