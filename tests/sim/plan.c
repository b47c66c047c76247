/* From a seed to everything that acts. Each part has dice of its own, so that one that grows leaves the others as they were. */
#include "tests/sim/plan.h"
#include "common/board.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SECOND_US UINT64_C(1000000)
#define MINUTE_US (60 * SECOND_US)

/* What a run costs is bounded here: checks and requests are most of it. */
#define CHECKS_MAX 500
#define BURSTS_MAX 4

enum part { PART_SHAPE = 0x506c616e, PART_NET, PART_BALANCER, PART_INSTANCES = PART_BALANCER + PLAN_BALANCERS, PART_CLIENTS, PART_ACTS, PART_FAULTS };

/* What came later has numbers of its own. */
enum feature { FEATURE_TUNNELS = 0x46000001, FEATURE_PROXIES = 0x46000006, FEATURE_STICKY = 0x46000024, FEATURE_DOORS = 0x456e7472 };

struct making {
    struct plan *plan;
    uint64_t bursts_us[BURSTS_MAX];
    unsigned bursts;
};

static struct dice dice_of(const struct plan *plan, unsigned part)
{
    struct dice dice;

    dice_init(&dice, plan->seed, part);
    return dice;
}

static bool chance(struct dice *dice, unsigned percent)
{
    return dice_below(dice, 100) < percent;
}

static uint64_t one_of(struct dice *dice, const uint64_t *values, size_t count)
{
    return values[dice_below(dice, count)];
}
/* Throws are statements of their own everywhere: the order in which a compiler evaluates arguments must not decide. */
#define ONE_OF(dice, ...) one_of((dice), (const uint64_t[]){ __VA_ARGS__ }, COUNT(((const uint64_t[]){ __VA_ARGS__ })))

static uint64_t least(uint64_t value, uint64_t low)
{
    return value < low ? low : value;
}

/* ---- text ---- */

struct text {
    char *at;
    size_t size, len;
};

__attribute__((format(printf, 2, 3))) static void text_add(struct text *text, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text->at + text->len, text->size - text->len, format, args);
    va_end(args);
    assert(n >= 0);
    assert((size_t)n < text->size - text->len);
    text->len += (size_t)n;
}

/* ---- shape and network ---- */

static void make_mood(struct plan *plan, struct dice *dice)
{
    uint64_t share = dice_below(dice, 10);

    plan->mood = share < 3 ? MOOD_STRICT : share < 7 ? MOOD_ACTS : MOOD_EVERYTHING;
}

static void make_shape(struct making *making)
{
    struct plan *plan = making->plan;
    struct dice dice = dice_of(plan, PART_SHAPE);

    make_mood(plan, &dice);
    plan->workers = (unsigned)ONE_OF(&dice, 1, 1, 2, 2, 2, 3);
    plan->zones = chance(&dice, 20) ? 2 : 1;
    plan->duration_us = chance(&dice, 25) ? dice_between(&dice, 20 * MINUTE_US, 30 * MINUTE_US) : dice_between(&dice, 5 * MINUTE_US, 20 * MINUTE_US);
    plan->cut_at_end = chance(&dice, 15);
    plan->max_connections = plan->mood == MOOD_EVERYTHING && chance(&dice, 20) ? (unsigned)dice_between(&dice, 2, 12) : 1000;
    making->bursts = (unsigned)dice_between(&dice, 1, BURSTS_MAX);
    for (unsigned i = 0; i < making->bursts; i++)
        making->bursts_us[i] = dice_below(&dice, plan->duration_us * 9 / 10);
    if (chance(&dice, 15))
        making->bursts_us[0] = 0;       /* some do not wait for the first checks */
}

static const struct net_profile nets[] = {
    { .delay_min_us = 20, .delay_max_us = 300, .window_min = 65536, .window_max = 262144 },
    { .delay_min_us = 20, .delay_max_us = 300, .cut_max = 1460, .window_min = 4096, .window_max = 65536 },
    { .delay_min_us = 3000, .delay_max_us = 60000, .cut_max = 1460, .window_min = 16384, .window_max = 65536 },
    { .delay_min_us = 50, .delay_max_us = 150000, .cut_max = 9000, .window_min = 1024, .window_max = 131072 },
    { .delay_min_us = 10, .delay_max_us = 4000, .cut_max = 100, .window_min = 64, .window_max = 4096 },
};

static void make_net(struct plan *plan)
{
    struct dice dice = dice_of(plan, PART_NET);

    plan->net = nets[dice_below(&dice, COUNT(nets))];
    if (plan->net.cut_max == 100)
        plan->net.cut_max = (unsigned)ONE_OF(&dice, 1, 3, 17, 40, 100, 100);
    if (plan->mood == MOOD_EVERYTHING && chance(&dice, 30))
        plan->net.syn_lost = (unsigned)dice_between(&dice, 1, 50);
}

/* ---- faults ---- */

static unsigned dealt(struct dice *dice, unsigned percent, unsigned low, unsigned high)
{
    return chance(dice, percent) ? (unsigned)dice_between(dice, low, high) : 0;
}

static void make_faults(struct plan *plan)
{
    struct dice dice = dice_of(plan, PART_FAULTS);

    if (plan->mood != MOOD_EVERYTHING)
        return;
    plan->faults.late = dealt(&dice, 50, 1, 200);
    plan->faults.late_max_us = ONE_OF(&dice, 100, 3000, 50000, 400000);
    plan->faults.emfile = dealt(&dice, 30, 1, 60);
    plan->faults.enomem = dealt(&dice, 30, 1, 20);
    plan->faults.multishot_ends = dealt(&dice, 40, 1, 200);
    plan->faults.short_moves = dealt(&dice, 50, 1, 600);
    plan->faults.cq_entries = dealt(&dice, 25, 1, 16) * 2;
    plan->faults.buffers = dealt(&dice, 30, 1, 8);
    plan->faults.early_wakes = dealt(&dice, 40, 1, 200);
    plan->stall_permille = dealt(&dice, 40, 1, 100);
    plan->stall_max_us = plan->stall_permille == 0 ? 0 : ONE_OF(&dice, 1000, 20000, 300000);
}

/* ---- balancers ---- */

/* What a whole exchange of small messages may take on this network: no timeout is shorter. */
static uint64_t patience_ms(const struct plan *plan)
{
    return 20 + (8 + 4096 / plan->net.window_min) * plan->net.delay_max_us / 1000;
}

static void check_text(struct plan_balancer *b)
{
    struct text text = { .at = b->check, .size = sizeof(b->check) };

    text_add(&text, "target = \"%s:%u%s\"; interval = \"%" PRIu64 "ms\"; timeout = \"%" PRIu64 "ms\"; unhealthy_threshold = %u; healthy_threshold = %u;",
             b->http_check ? "HTTP" : "TCP", b->instance_port, b->http_check ? "/health" : "", b->interval_ms, b->timeout_ms, b->unhealthy, b->healthy);
}

static void check_throw(const struct plan *plan, struct dice *dice, struct plan_balancer *b)
{
    uint64_t low = patience_ms(plan);

    b->interval_ms = least(ONE_OF(dice, 500, 1000, 2000, 5000, 6000, 10000, 15000, 30000), 2 * low);
    while (3 * plan->duration_us / 1000 / b->interval_ms > CHECKS_MAX)
        b->interval_ms *= 2;
    b->timeout_ms = dice_between(dice, low, b->interval_ms - 1 < 10000 ? b->interval_ms - 1 : 10000);
    b->unhealthy = (unsigned)ONE_OF(dice, 1, 2, 2, 2, 3, 5, 10);
    b->healthy = (unsigned)ONE_OF(dice, 1, 2, 2, 3, 4, 10);
    check_text(b);
}

void plan_check_vary(const struct plan *plan, struct plan_balancer *balancer, uint64_t value)
{
    struct dice dice;

    dice_init(&dice, value, PART_BALANCER);
    check_throw(plan, &dice, balancer);
}

static const char *const algorithms[] = { "default", "least-outstanding", "round-robin", "random-two", "source-hash" };
static const char *const desync_modes[] = { "monitor", "defensive", "strictest" };

/* What struct plan does not say: nothing that is judged depends on it. */
static void attributes_unsaid(struct text *text, struct dice *dice, bool even)
{
    if (chance(dice, 20))
        text_add(text, " request_header_timeout = \"%" PRIu64 "s\";", ONE_OF(dice, 10, 30, 120));
    if (chance(dice, 20))
        text_add(text, " request_body_timeout = \"%" PRIu64 "s\";", ONE_OF(dice, 10, 30, 120));
    if (!even && chance(dice, 20))
        text_add(text, " slow_start = \"%" PRIu64 "s\";", ONE_OF(dice, 1, 30, 120));
    text_add(text, " desync_mitigation_mode = \"%s\";", desync_modes[dice_below(dice, COUNT(desync_modes))]);
}

static void balancer_timeouts(const struct plan *plan, struct dice *dice, struct plan_balancer *b)
{
    bool strict = plan->mood == MOOD_STRICT;
    uint64_t low = patience_ms(plan);

    b->connect_timeout_ms = least(ONE_OF(dice, 100, 500, 1000, 1000, 5000), low);
    b->idle_timeout_ms = least(strict ? ONE_OF(dice, 3000, 10000, 60000, 60000) : ONE_OF(dice, 300, 1000, 5000, 20000, 60000), 4 * low);
    b->draining_timeout_ms = strict ? 300000 : ONE_OF(dice, 10, 1000, 10000, 60000, 300000);
}

static void make_balancer(struct plan *plan, unsigned index)
{
    struct plan_balancer *b = &plan->balancers[index];
    struct dice dice = dice_of(plan, PART_BALANCER + index);
    struct text text = { .at = b->attributes, .size = sizeof(b->attributes) };
    bool strict = plan->mood == MOOD_STRICT;
    unsigned algorithm = (unsigned)ONE_OF(&dice, 0, 0, 1, 1, 2, 2, 3, 4);

    b->http = index == 0;
    b->present = b->http || chance(&dice, 40);
    b->port = b->http ? 80 : 3306;
    b->instance_port = b->http ? 8080 : 3307;
    b->http_check = b->http && chance(&dice, 75);
    b->even = algorithm <= 2 && plan->zones == 1 && (strict || chance(&dice, 50));
    b->retries = (unsigned)ONE_OF(&dice, 0, 1, 2, 3, 3, 3, 10);
    b->draining = strict || chance(&dice, 75);
    b->fail_open = !strict && chance(&dice, 20);
    b->cross_zone = strict || chance(&dice, 60);
    b->surge_queue = strict ? 1024 : (unsigned)ONE_OF(&dice, 0, 1, 8, 1024);
    balancer_timeouts(plan, &dice, b);
    check_throw(plan, &dice, b);
    text_add(&text, "algorithm = \"%s\"; retries = %u; surge_queue = %u; fail_open = %s; cross_zone = %s; ", algorithms[algorithm], b->retries,
             b->surge_queue, b->fail_open ? "true" : "false", b->cross_zone ? "true" : "false");
    text_add(&text, "connect_timeout = \"%" PRIu64 "ms\"; idle_timeout = \"%" PRIu64 "ms\"; ", b->connect_timeout_ms, b->idle_timeout_ms);
    text_add(&text, "connection_draining = { enabled = %s; timeout = \"%" PRIu64 "ms\"; };", b->draining ? "true" : "false", b->draining_timeout_ms);
    attributes_unsaid(&text, &dice, b->even);
}

/* ---- instances ---- */

static unsigned instances_of(const struct plan *plan, unsigned balancer, bool registered, unsigned places[PLAN_INSTANCES])
{
    unsigned count = 0;

    for (unsigned i = 0; i < PLAN_INSTANCES; i++)
        if (plan->instances[i].present && plan->instances[i].balancer == balancer && (plan->instances[i].registered || !registered))
            places[count++] = i;
    return count;
}

static void make_instance(struct plan *plan, struct dice *dice, unsigned index, unsigned balancer, bool first)
{
    struct plan_instance *instance = &plan->instances[index];
    bool even = plan->balancers[balancer].even, strict = plan->mood == MOOD_STRICT;

    *instance = (struct plan_instance){ .present = true, .balancer = balancer, .zone = index % plan->zones, .weight = 1, .registered = true };
    if (!even)
        instance->weight = (unsigned)ONE_OF(dice, 1, 1, 1, 2, 3, 10, first ? 1 : 0);
    if (!even && !strict && chance(dice, 40))
        instance->max_connections = (unsigned)dice_between(dice, 1, 6);
    if (!first && chance(dice, 12))
        instance->registered = false;
}

static void make_instances(struct plan *plan)
{
    struct dice dice = dice_of(plan, PART_INSTANCES);
    unsigned web = (unsigned)ONE_OF(&dice, 1, 2, 2, 2, 3, 3, 4), tcp = plan->balancers[1].present ? (unsigned)dice_between(&dice, 1, 2) : 0;

    for (unsigned i = 0; i < web + tcp; i++)
        make_instance(plan, &dice, i, i < web ? 0 : 1, i == 0 || i == web);
}

/* ---- clients ---- */

/* Most are small: what a body costs here is by the byte. */
static uint32_t body_max(struct dice *dice, const struct net_profile *net, unsigned *requests)
{
    uint64_t share = dice_below(dice, 100), most;

    if (share < 60)
        most = dice_between(dice, 0, 500);
    else if (share < 85)
        most = dice_between(dice, 500, 4000);
    else
        most = share < 97 ? dice_between(dice, 4000, 20000) : dice_between(dice, 20000, 150000);
    if (most > 4000 && *requests > 4)
        *requests = 4;
    if (net->cut_max > 0 && most > (uint64_t)net->cut_max * 40)
        most = net->cut_max * 40;
    return (uint32_t)most;
}

static enum client_kind web_kind(struct dice *dice)
{
    static const enum client_kind kinds[] = { CLIENT_STEADY, CLIENT_STEADY, CLIENT_STEADY, CLIENT_ONE_SHOT, CLIENT_ONE_SHOT, CLIENT_PIPELINING,
        CLIENT_SLOW_SENDER, CLIENT_SLOW_READER, CLIENT_VANISHING, CLIENT_ILLEGAL };

    return kinds[dice_below(dice, COUNT(kinds))];
}

/* Between requests: at once, as people do, or so that idle timeouts pass. */
static uint64_t pause_max(struct dice *dice, const struct plan_balancer *b, bool patient)
{
    uint64_t idle_us = b->idle_timeout_ms * 1000;

    if (patient)
        return dice_below(dice, idle_us / 2);
    return ONE_OF(dice, 0, 2000, 100000, 1000000, idle_us, 2 * idle_us);
}

static void make_client(const struct making *making, struct dice *dice, unsigned index, unsigned requests)
{
    struct plan *plan = making->plan;
    struct plan_client *client = &plan->clients[index];
    uint64_t spread_us;
    bool slow;

    client->present = true;
    client->balancer = plan->balancers[1].present && chance(dice, 30) ? 1 : 0;
    client->kind = client->balancer == 1 ? CLIENT_STREAM : web_kind(dice);
    client->zone = (unsigned)dice_below(dice, plan->zones);
    client->requests = (unsigned)dice_between(dice, 1, 2 * requests);
    client->start_us = making->bursts_us[dice_below(dice, making->bursts)];
    spread_us = ONE_OF(dice, 1, 1000, 100000, 2 * SECOND_US);
    client->start_us += dice_below(dice, spread_us);
    slow = client->kind == CLIENT_SLOW_SENDER || client->kind == CLIENT_SLOW_READER;
    if (slow && client->requests > 5)
        client->requests = 5;
    client->pause_max_us = pause_max(dice, &plan->balancers[client->balancer], slow && (plan->mood == MOOD_STRICT || chance(dice, 70)));
    client->body_max = body_max(dice, &plan->net, &client->requests);
}

static void make_clients(struct making *making)
{
    struct dice dice = dice_of(making->plan, PART_CLIENTS);
    unsigned count = (unsigned)dice_between(&dice, 2, PLAN_CLIENTS), requests = (unsigned)dice_between(&dice, 30, 350);

    /* A byte a segment is dear. */
    if (making->plan->net.cut_max > 0 && requests > 30 + 10 * making->plan->net.cut_max)
        requests = 30 + 10 * making->plan->net.cut_max;
    for (unsigned i = 0; i < count; i++)
        make_client(making, &dice, i, (requests + count - 1) / count);
}

/* ---- tunnels ---- */

static void make_tunnel_client(const struct making *making, struct dice *dice, struct plan_client *client)
{
    uint64_t spread_us = ONE_OF(dice, 1, 1000, 2 * SECOND_US);
    struct plan *plan = making->plan;

    *client = (struct plan_client){ .present = true, .kind = CLIENT_TUNNEL, .zone = (unsigned)dice_below(dice, plan->zones) };
    client->requests = (unsigned)dice_between(dice, 2, 12);
    client->start_us = making->bursts_us[dice_below(dice, making->bursts)];
    client->start_us += dice_below(dice, spread_us);
    client->pause_max_us = pause_max(dice, &plan->balancers[0], false);
    client->body_max = body_max(dice, &plan->net, &client->requests);
}

/* In some plans clients come that ask for WebSockets; the others stay as they are. */
static void make_tunnels(const struct making *making)
{
    struct plan *plan = making->plan;
    struct plan_balancer *web = &plan->balancers[0];
    struct dice dice = dice_of(plan, FEATURE_TUNNELS);
    struct text text = { .at = web->attributes, .size = sizeof(web->attributes), .len = strlen(web->attributes) };
    unsigned count = (unsigned)dice_between(&dice, 1, 4);

    if (!chance(&dice, 25))
        return;
    web->upgrades = chance(&dice, 90);
    web->tunnel_timeout_ms = least(ONE_OF(&dice, 2000, 10000, 30000), 4 * patience_ms(plan));
    text_add(&text, " upgrade = [%s]; tunnel_timeout = \"%" PRIu64 "ms\";", web->upgrades ? " \"websocket\" " : "", web->tunnel_timeout_ms);
    for (unsigned i = PLAN_CLIENTS; i > 0 && count > 0; i--)
        if (!plan->clients[i - 1].present) {
            make_tunnel_client(making, &dice, &plan->clients[i - 1]);
            count--;
        }
}

/* ---- proxies ---- */

/* Instances that want to be told who comes, and clients that come through a proxy. */
static void make_proxies(struct plan *plan)
{
    struct dice dice = dice_of(plan, FEATURE_PROXIES);

    for (unsigned i = 0; i < PLAN_BALANCERS; i++)
        plan->balancers[i].proxy_version = dealt(&dice, 15, 1, 2);
    if (!chance(&dice, 15))
        return;
    for (unsigned i = 0; i < PLAN_CLIENTS; i++) {
        enum introduces kind = (enum introduces)dice_between(&dice, INTRODUCES_V1, INTRODUCES_UNKNOWN);
        plan->clients[i].introduces = chance(&dice, 50) ? kind : INTRODUCES_NOT;
    }
}

/* ---- stickiness ---- */

static void make_sticky(struct plan *plan)
{
    struct dice dice = dice_of(plan, FEATURE_STICKY);
    struct plan_balancer *web = &plan->balancers[0];

    web->sticky = chance(&dice, 20);
    web->even = web->even && !web->sticky;
}

/* ---- acts ---- */

static void act_add(struct plan *plan, struct plan_act act)
{
    act.present = true;
    for (unsigned i = 0; i < PLAN_ACTS; i++)
        if (!plan->acts[i].present) {
            plan->acts[i] = act;
            return;
        }
}

/* Half of them come when there is traffic to be hit. */
static uint64_t act_time(const struct making *making, struct dice *dice)
{
    uint64_t burst_us = making->bursts_us[dice_below(dice, making->bursts)];

    if (chance(dice, 50))
        return burst_us + dice_below(dice, 3 * SECOND_US);
    return dice_below(dice, making->plan->duration_us);
}

/* From a moment to long enough to be noticed, and recovered from. */
static uint64_t act_length(struct dice *dice, const struct plan_balancer *b)
{
    uint64_t interval_us = b->interval_ms * 1000, round_us = interval_us * (b->unhealthy + b->healthy + 1);
    uint64_t bound_us = ONE_OF(dice, 1000, 100000, interval_us, round_us, 3 * round_us);

    return dice_below(dice, bound_us);
}

/* Something and its undoing. */
static void act_pair(const struct making *making, struct dice *dice, struct plan_act act, struct plan_act undo)
{
    const struct plan *plan = making->plan;

    act.at_us = act_time(making, dice);
    undo.at_us = act.at_us + act_length(dice, &plan->balancers[plan->instances[act.target].balancer]);
    act_add(making->plan, act);
    if (undo.at_us < plan->duration_us)
        act_add(making->plan, undo);
}

static void act_manner(const struct making *making, struct dice *dice, unsigned instance)
{
    enum manner manner = (enum manner)dice_between(dice, MANNER_SLOW, MANNERS - 1);
    struct plan_act act = { .kind = ACT_MANNER, .target = instance, .manner = manner };

    act_pair(making, dice, act, (struct plan_act){ .kind = ACT_MANNER, .target = instance, .manner = MANNER_WELL });
}

static void act_register(const struct making *making, struct dice *dice, unsigned instance)
{
    struct plan_act in = { .kind = ACT_REGISTER, .target = instance }, out = { .kind = ACT_DEREGISTER, .target = instance };

    act_pair(making, dice, making->plan->instances[instance].registered ? out : in, making->plan->instances[instance].registered ? in : out);
}

static void act_admin(const struct making *making, struct dice *dice, unsigned instance)
{
    struct plan_act act = { .kind = ACT_ADMIN, .target = instance, .value = ONE_OF(dice, ADMIN_IN, ADMIN_OUT, ADMIN_DRAIN) };

    act_pair(making, dice, act, (struct plan_act){ .kind = ACT_ADMIN, .target = instance, .value = ADMIN_AUTO });
}

static void act_whole(const struct making *making, struct dice *dice, unsigned balancer)
{
    bool check = chance(dice, 50), same = !check && chance(dice, 30);
    struct plan_act act = { .kind = check ? ACT_CHECK : ACT_RELOAD, .target = check ? balancer : 0 };

    act.at_us = act_time(making, dice);
    act.value = same ? 0 : 1 + dice_below(dice, 1u << 30);
    act_add(making->plan, act);
}

/* Of a run where nothing goes wrong the first instance of each balancer always serves. */
static bool may_leave(const struct plan *plan, unsigned instance)
{
    unsigned places[PLAN_INSTANCES];

    return plan->mood != MOOD_STRICT || (instances_of(plan, plan->instances[instance].balancer, false, places) > 1 && places[0] != instance);
}

static void make_act(const struct making *making, struct dice *dice)
{
    struct plan *plan = making->plan;
    unsigned places[PLAN_INSTANCES], balancer = plan->balancers[1].present && chance(dice, 35) ? 1 : 0;
    unsigned instance = places[dice_below(dice, instances_of(plan, balancer, false, places))];
    uint64_t share = dice_below(dice, 100);

    if (plan->mood != MOOD_STRICT && share < 60)
        act_manner(making, dice, instance);
    else if (share < 75 && may_leave(plan, instance))
        act_register(making, dice, instance);
    else if (share < 87 && may_leave(plan, instance))
        act_admin(making, dice, instance);
    else
        act_whole(making, dice, balancer);
}

static int earlier(const void *left, const void *right)
{
    const struct plan_act *a = left, *b = right;

    if (a->present != b->present)
        return a->present ? -1 : 1;
    if (a->at_us != b->at_us)
        return a->at_us < b->at_us ? -1 : 1;
    return (a->kind > b->kind) - (a->kind < b->kind);
}

static void make_acts(struct making *making)
{
    struct plan *plan = making->plan;
    struct dice dice = dice_of(plan, PART_ACTS);
    unsigned count = (unsigned)dice_between(&dice, 1, 10);

    if (plan->mood == MOOD_STRICT)
        count = chance(&dice, 60) ? 0 : (unsigned)dice_between(&dice, 1, 4);
    for (unsigned i = 0; i < count; i++)
        make_act(making, &dice);
    qsort(plan->acts, PLAN_ACTS, sizeof(plan->acts[0]), earlier);
}

/* ---- doors: second listeners, and who may come in ---- */

static void make_second(const struct making *making, struct dice *dice, unsigned index)
{
    struct plan *plan = making->plan;
    unsigned reloads = (unsigned)dice_between(dice, 1, 4);

    plan->balancers[index].second_port = (uint16_t)(plan->balancers[index].port + 1);
    for (unsigned i = 0; i < PLAN_CLIENTS; i++)
        if (plan->clients[i].present && plan->clients[i].balancer == index)
            plan->clients[i].second = chance(dice, 50);
    for (unsigned i = 0; i < reloads; i++) {
        struct plan_act act = { .kind = ACT_RELOAD };
        act.at_us = act_time(making, dice);
        act.value = 1 + dice_below(dice, 1u << 30);
        act_add(plan, act);
    }
}

static void make_doors(const struct making *making)
{
    struct plan *plan = making->plan;
    struct dice dice = dice_of(plan, FEATURE_DOORS);

    for (unsigned i = 0; i < PLAN_BALANCERS; i++) {
        if (!plan->balancers[i].present)
            continue;
        if (chance(&dice, 30))
            make_second(making, &dice, i);
        plan->balancers[i].guarded = chance(&dice, 25);
        for (unsigned k = 0; plan->balancers[i].guarded && k < PLAN_CLIENTS; k++)
            if (plan->clients[k].present && plan->clients[k].balancer == i)
                plan->clients[k].foreign = chance(&dice, 10);
    }
    qsort(plan->acts, PLAN_ACTS, sizeof(plan->acts[0]), earlier);
}

void plan_make(uint64_t seed, struct plan *plan)
{
    struct making making = { .plan = plan };

    memset(plan, 0, sizeof(*plan));
    plan->seed = seed;
    make_shape(&making);
    make_net(plan);
    make_faults(plan);
    for (unsigned i = 0; i < PLAN_BALANCERS; i++)
        make_balancer(plan, i);
    make_instances(plan);
    make_clients(&making);
    make_tunnels(&making);
    make_proxies(plan);
    make_sticky(plan);
    make_acts(&making);
    make_doors(&making);
}

/* ---- narrowing ---- */

/* Clients without a node and acts without their target go with it. */
static void plan_tidy(struct plan *plan)
{
    for (unsigned i = 0; i < PLAN_INSTANCES; i++)
        if (!plan->balancers[plan->instances[i].balancer].present)
            plan->instances[i].present = false;
    for (unsigned i = 0; i < PLAN_CLIENTS; i++)
        if (!plan->balancers[plan->clients[i].balancer].present)
            plan->clients[i].present = false;
    for (unsigned i = 0; i < PLAN_ACTS; i++) {
        struct plan_act *act = &plan->acts[i];
        if (act->kind == ACT_CHECK ? !plan->balancers[act->target].present : act->kind != ACT_RELOAD && !plan->instances[act->target].present)
            act->present = false;
    }
}

static void without_later(struct plan *plan, uint64_t at_us)
{
    if (plan->duration_us > at_us)
        plan->duration_us = at_us;
    for (unsigned i = 0; i < PLAN_CLIENTS; i++)
        if (plan->clients[i].start_us >= at_us)
            plan->clients[i].present = false;
    for (unsigned i = 0; i < PLAN_ACTS; i++)
        if (plan->acts[i].at_us >= at_us)
            plan->acts[i].present = false;
}

static int without_fault(struct plan *plan, const char *name)
{
    const struct {
        const char *name;
        unsigned *value;
    } rows[] = {
        { "late", &plan->faults.late }, { "emfile", &plan->faults.emfile }, { "enomem", &plan->faults.enomem },
        { "multishot_ends", &plan->faults.multishot_ends }, { "short_moves", &plan->faults.short_moves },
        { "cq_entries", &plan->faults.cq_entries }, { "buffers", &plan->faults.buffers }, { "early_wakes", &plan->faults.early_wakes },
    };

    for (size_t i = 0; i < COUNT(rows); i++)
        if (strcmp(rows[i].name, name) == 0) {
            *rows[i].value = 0;
            return 0;
        }
    return -EINVAL;
}

static int without_balancer(struct plan *plan, unsigned index)
{
    if (!plan->balancers[1 - index].present)
        return -EINVAL;                 /* a configuration without any is none */
    plan->balancers[index].present = false;
    return 0;
}

static int without_one(struct plan *plan, const char *class, unsigned long index)
{
    if (strcmp(class, "client") == 0 && index < PLAN_CLIENTS)
        plan->clients[index].present = false;
    else if (strcmp(class, "act") == 0 && index < PLAN_ACTS)
        plan->acts[index].present = false;
    else if (strcmp(class, "instance") == 0 && index < PLAN_INSTANCES)
        plan->instances[index].present = false;
    else if (strcmp(class, "balancer") == 0 && index < PLAN_BALANCERS)
        return without_balancer(plan, (unsigned)index);
    else if (strcmp(class, "later") == 0 && index > 0)
        without_later(plan, index * SECOND_US);
    else
        return -EINVAL;
    return 0;
}

static int without_counted(struct plan *plan, const char *what)
{
    const char *colon = strchr(what, ':');
    char class[16], *end;
    unsigned long index;

    if (colon == NULL || colon[1] < '0' || colon[1] > '9' || (size_t)(colon - what) >= sizeof(class))
        return -EINVAL;
    memcpy(class, what, (size_t)(colon - what));
    class[colon - what] = '\0';
    index = strtoul(colon + 1, &end, 10);
    return *end != '\0' ? -EINVAL : without_one(plan, class, index);
}

int plan_without(struct plan *plan, const char *what)
{
    int r = 0;

    if (strcmp(what, "faults") == 0)
        plan->faults = (struct kernel_faults){ 0 };
    else if (strcmp(what, "stalls") == 0)
        plan->stall_permille = 0;
    else if (strcmp(what, "net") == 0)
        plan->net = nets[0];
    else if (strncmp(what, "faults.", 7) == 0)
        r = without_fault(plan, what + 7);
    else
        r = without_counted(plan, what);
    plan_tidy(plan);
    return r;
}

/* ---- the configuration ---- */

struct addr plan_node_address(unsigned zone)
{
    return (struct addr){ .in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000001 + (zone << 8)) } };
}

struct addr plan_instance_address(unsigned instance)
{
    return (struct addr){ .in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a010001 + instance) } };
}

struct addr plan_client_address(const struct plan *plan, unsigned client)
{
    uint32_t net = plan->clients[client].foreign ? 0x0a030001 : 0x0a020001;

    return (struct addr){ .in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(net + client) } };
}

uint16_t plan_client_port(const struct plan *plan, unsigned client)
{
    const struct plan_balancer *b = &plan->balancers[plan->clients[client].balancer];

    return plan->clients[client].second ? b->second_port : b->port;
}

bool plan_has_second(const struct plan *plan, unsigned balancer, uint64_t variant)
{
    struct dice dice;

    dice_init(&dice, variant, FEATURE_DOORS + balancer);
    return plan->balancers[balancer].second_port != 0 && (variant == 0 || chance(&dice, 50));
}

static struct addr named(const struct plan *plan, unsigned client, const char *ipv4, const char *ipv6, uint16_t port)
{
    enum introduces kind = plan->clients[client].introduces;
    struct addr addr;
    int r = addr_parse(kind == INTRODUCES_V1_IPV6 || kind == INTRODUCES_V2_IPV6 ? ipv6 : ipv4, &addr);

    assert(r == 0);
    return addr_with_port(addr, port);
}

struct addr plan_client_named(const struct plan *plan, unsigned client)
{
    return named(plan, client, "198.51.100.7", "2001:db8::a:0:7", (uint16_t)(7000 + client));
}

struct addr plan_destination_named(const struct plan *plan, unsigned client)
{
    return named(plan, client, "203.0.113.1", "2001:db8:1::1", 443);
}

struct addr plan_client_known(const struct plan *plan, unsigned client)
{
    enum introduces kind = plan->clients[client].introduces;

    if (kind == INTRODUCES_NOT || kind == INTRODUCES_LOCAL || kind == INTRODUCES_UNKNOWN)
        return plan_client_address(plan, client);
    return plan_client_named(plan, client);
}

const char *plan_balancer_name(unsigned balancer)
{
    return balancer == 0 ? "web" : "tcp";
}

static bool weights_free(const struct plan *plan, const struct plan_instance *instance, uint64_t variant)
{
    return variant != 0 && instance->weight > 0 && !plan->balancers[instance->balancer].even;
}

static void config_inventory(struct text *text, const struct plan *plan, uint64_t variant, struct dice *dice)
{
    const char *comma = "";

    text_add(text, "instances = (");
    for (unsigned i = 0; i < PLAN_INSTANCES; i++) {
        const struct plan_instance *instance = &plan->instances[i];
        char address[ADDR_TEXT_MAX];
        struct addr at = plan_instance_address(i);
        unsigned weight = weights_free(plan, instance, variant) ? (unsigned)dice_between(dice, 1, 5) : instance->weight;
        if (!instance->present)
            continue;
        text_add(text, "%s\n    { id = \"i%u\"; aliases = [ \"a%u\" ]; address = \"%s\"; weight = %u; max_connections = %u;", comma, i, i,
                 addr_format_host(&at, address), weight, instance->max_connections);
        if (plan->zones > 1)
            text_add(text, " zone = \"z%u\";", instance->zone);
        text_add(text, " }");
        comma = ",";
    }
    text_add(text, "\n);\n");
}

static void config_subnets(struct text *text, const struct plan *plan)
{
    text_add(text, "    subnets = (");
    for (unsigned z = 0; z < plan->zones; z++) {
        char address[ADDR_TEXT_MAX];
        struct addr at = plan_node_address(z);
        text_add(text, "%s { id = \"s%u\"; cidr = \"10.0.%u.0/24\"; address = \"%s\";", z > 0 ? "," : "", z, z, addr_format_host(&at, address));
        if (plan->zones > 1)
            text_add(text, " zone = \"z%u\";", z);
        text_add(text, " }");
    }
    text_add(text, " );\n");
}

/* Clients may come in by either port. */
static void config_groups(struct text *text, const struct plan *plan)
{
    const char *comma = "";

    text_add(text, "security_groups = (");
    for (unsigned i = 0; i < PLAN_BALANCERS; i++) {
        const struct plan_balancer *b = &plan->balancers[i];
        if (!b->present || !b->guarded)
            continue;
        text_add(text, "%s { name = \"door%u\"; ingress = ( { protocol = \"tcp\"; port = %u; source = \"10.2.0.0/16\"; },", comma, i, b->port);
        text_add(text, " { protocol = \"tcp\"; port = %u; source = \"10.2.0.0/16\"; } ); }", b->port + 1);
        comma = ",";
    }
    text_add(text, " );\n");
}

static void config_registered(struct text *text, const struct plan *plan, unsigned balancer)
{
    unsigned places[PLAN_INSTANCES], count = instances_of(plan, balancer, true, places);

    text_add(text, "    instances = [");
    for (unsigned i = 0; i < count; i++)
        text_add(text, "%s \"i%u\"", i > 0 ? "," : "", places[i]);
    text_add(text, " ];\n");
}

static void config_listener(struct text *text, const struct plan *plan, unsigned index, uint16_t port)
{
    const struct plan_balancer *b = &plan->balancers[index];
    const char *protocol = b->http ? "HTTP" : "TCP", *comma = "";

    text_add(text, " { protocol = \"%s\"; port = %u; instance_protocol = \"%s\"; instance_port = %u; proxy_protocol_from = [", protocol, port, protocol,
             b->instance_port);
    for (unsigned i = 0; i < PLAN_CLIENTS; i++) {
        struct addr at = plan_client_address(plan, i);
        char address[ADDR_TEXT_MAX];
        if (plan->clients[i].introduces == INTRODUCES_NOT)
            continue;
        text_add(text, "%s \"%s/32\"", comma, addr_format_host(&at, address));
        comma = ",";
    }
    text_add(text, " ];%s }", b->sticky ? " policies = [ \"sticky\" ];" : "");
}

static void config_listeners(struct text *text, const struct plan *plan, unsigned index, uint64_t variant)
{
    const struct plan_balancer *b = &plan->balancers[index];

    text_add(text, "    listeners = (");
    config_listener(text, plan, index, b->port);
    if (plan_has_second(plan, index, variant)) {
        text_add(text, ",");
        config_listener(text, plan, index, b->second_port);
    }
    text_add(text, " );\n");
    if (b->guarded)
        text_add(text, "    security_groups = [ \"door%u\" ];\n", index);
}

static void config_policies(struct text *text, const struct plan_balancer *b)
{
    if (!b->sticky && b->proxy_version == 0)
        return;
    text_add(text, "    policies = (");
    if (b->sticky)
        text_add(text, " { name = \"sticky\"; type = \"LBCookieStickinessPolicyType\"; }%s", b->proxy_version > 0 ? "," : "");
    if (b->proxy_version > 0)
        text_add(text, " { name = \"proxy\"; type = \"ProxyProtocolPolicyType\"; version = %u; }", b->proxy_version);
    text_add(text, " );\n");
    if (b->proxy_version == 0)
        return;
    text_add(text, "    backend_servers = ( { instance_port = %u; policies = [ \"proxy\" ]; } );\n", b->instance_port);
}

static void config_balancer(struct text *text, const struct plan *plan, unsigned index, uint64_t variant, struct dice *dice)
{
    const struct plan_balancer *b = &plan->balancers[index];

    text_add(text, "{\n    name = \"%s\";\n", plan_balancer_name(index));
    config_subnets(text, plan);
    config_listeners(text, plan, index, variant);
    config_policies(text, b);
    text_add(text, "    health_check = { %s };\n", b->check);
    config_registered(text, plan, index);
    text_add(text, "    attributes = { %s", b->attributes);
    if (variant != 0) {
        text_add(text, " backend_idle_timeout = \"%" PRIu64 "ms\";", ONE_OF(dice, 10, 500, 5000, 60000));
        text_add(text, " backend_idle_max = %" PRIu64 ";", ONE_OF(dice, 0, 1, 512));
        text_add(text, " headers_max = \"%" PRIu64 "K\";", ONE_OF(dice, 64, 256));
    }
    text_add(text, " };\n}");
}

size_t plan_config(const struct plan *plan, uint64_t variant, char *text, size_t size)
{
    struct text out = { .at = text, .size = size };
    struct dice dice;
    const char *comma = "";

    dice_init(&dice, variant, PART_SHAPE);
    text_add(&out, "process = { workers = %u; max_connections = %u; };\n", plan->workers, plan->max_connections);
    config_inventory(&out, plan, variant, &dice);
    config_groups(&out, plan);
    text_add(&out, "load_balancers = ( ");
    for (unsigned i = 0; i < PLAN_BALANCERS; i++)
        if (plan->balancers[i].present) {
            text_add(&out, "%s", comma);
            config_balancer(&out, plan, i, variant, &dice);
            comma = ", ";
        }
    text_add(&out, " );\n");
    return out.len;
}

/* ---- for people ---- */

const char *manner_text(enum manner manner)
{
    static const char *const texts[MANNERS] = { "well", "slow", "sick", "down", "dark", "stopped", "hasty", "garbled" };

    return texts[manner];
}

const char *client_kind_text(enum client_kind kind)
{
    static const char *const texts[CLIENT_KINDS] = { "steady", "one-shot", "pipelining", "slow sender", "slow reader", "vanishing", "illegal", "stream",
        "tunnel" };

    return texts[kind];
}

static double seconds(uint64_t us)
{
    return (double)us / SECOND_US;
}

static void print_weather(const struct plan *plan)
{
    const struct kernel_faults *f = &plan->faults;

    printf("network: %.3f to %.3f ms one way, segments of at most %u bytes (0: any), windows of %u to %u, %u permille of SYNs lost\n",
           (double)plan->net.delay_min_us / 1000, (double)plan->net.delay_max_us / 1000, plan->net.cut_max, plan->net.window_min, plan->net.window_max,
           plan->net.syn_lost);
    printf("faults, permille: late %u (up to %.3f ms), emfile %u, enomem %u, multishot_ends %u, short_moves %u, early_wakes %u; cq_entries %u, buffers %u (0: as asked)\n",
           f->late, (double)f->late_max_us / 1000, f->emfile, f->enomem, f->multishot_ends, f->short_moves, f->early_wakes, f->cq_entries, f->buffers);
    printf("stalls: %u permille, up to %.3f ms\n", plan->stall_permille, (double)plan->stall_max_us / 1000);
}

static void print_clients(const struct plan *plan)
{
    for (unsigned i = 0; i < PLAN_CLIENTS; i++) {
        const struct plan_client *c = &plan->clients[i];
        if (c->present)
            printf("client:%u  %s%s, from %.6f s, %u %s on %s (node %u, port %u), pauses up to %.3f s, bodies up to %u bytes\n", i, c->foreign ? "foreign, " : "",
                   client_kind_text(c->kind), seconds(c->start_us), c->requests, c->kind == CLIENT_STREAM ? "connections" : "requests",
                   plan_balancer_name(c->balancer), c->zone, plan_client_port(plan, i), seconds(c->pause_max_us), c->body_max);
    }
}

static void print_act(unsigned index, const struct plan_act *act)
{
    static const char *const kinds[ACT_KINDS] = { "becomes", "registered", "deregistered", "operator's state", "health check changes", "reload" };
    printf("act:%u  at %.6f s: ", index, seconds(act->at_us));
    switch (act->kind) {
    case ACT_MANNER:
        printf("i%u %s %s\n", act->target, kinds[act->kind], manner_text(act->manner));
        return;
    case ACT_REGISTER:
    case ACT_DEREGISTER:
        printf("i%u %s\n", act->target, kinds[act->kind]);
        return;
    case ACT_ADMIN:
        printf("i%u %s %s\n", act->target, kinds[act->kind], slot_admin_text((enum slot_admin)act->value));
        return;
    case ACT_CHECK:
        printf("%s: %s (%" PRIu64 ")\n", plan_balancer_name(act->target), kinds[act->kind], act->value);
        return;
    case ACT_RELOAD:
        printf("%s (%" PRIu64 ")\n", kinds[act->kind], act->value);
        return;
    case ACT_KINDS:
        break;
    }
    abort();
}

void plan_print(const struct plan *plan)
{
    static const char *const moods[] = { "nothing goes wrong", "instances and operator", "everything" };
    char text[8192];

    plan_config(plan, 0, text, sizeof(text));
    printf("seed %" PRIu64 ": %s, %.0f s, %s at the end\n%s", plan->seed, moods[plan->mood], seconds(plan->duration_us), plan->cut_at_end ? "cut" : "drains",
           text);
    print_weather(plan);
    print_clients(plan);
    for (unsigned i = 0; i < PLAN_ACTS; i++)
        if (plan->acts[i].present)
            print_act(i, &plan->acts[i]);
}
