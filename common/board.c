/*
 * The board. A slot's verdict is one word {state, why, since}, so a reader
 * never sees half of a change. What workers touch is on a line of its own,
 * apart from the history, whose lock they never take.
 */
#include "common/board.h"
#include "common/clock.h"
#include "common/ring.h"
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define SUBSCRIBERS_MAX 256
#define WHY_SHIFT 48
#define STATE_SHIFT 56
#define SINCE_MASK ((UINT64_C(1) << WHY_SHIFT) - 1)

struct board {
    atomic_uint refs;                   /* the owner's, and one for each slot */
    pthread_mutex_t lock;               /* subscribers; they change only under it, so none is woken after it left */
    struct ring *subscribers[SUBSCRIBERS_MAX];
    atomic_uint_least64_t changes;
    size_t subscriber_count;
    pthread_mutex_t hint_lock;          /* taken by a worker only for the first hint that health has not yet seen */
    struct ring *hint_ring;
};

struct slot {
    _Alignas(64) atomic_uint_least64_t verdict;
    _Atomic enum slot_admin admin;
    atomic_bool hinted;
    _Alignas(64) atomic_uint refs;
    struct board *board;
    bool zone_enabled;
    atomic_uint_least64_t checked_at_us;
    pthread_mutex_t history_lock;
    struct check_record history[SLOT_HISTORY];
    size_t record_count;                /* ever; the newest is the one before it, modulo SLOT_HISTORY */
};

const char *slot_admin_text(enum slot_admin admin)
{
    switch (admin) {
    case ADMIN_AUTO: return "auto";
    case ADMIN_IN: return "in";
    case ADMIN_OUT: return "out";
    case ADMIN_DRAIN: return "drain";
    }
    return "";
}

char *check_detail(const struct check_record *record, char text[CHECK_DETAIL_MAX])
{
    static const char *const texts[] = {
#define X(name, t) [name] = t,
        CHECK_REASONS(X)
#undef X
    };

    if (record->reason == CHECK_STATUS)
        snprintf(text, CHECK_DETAIL_MAX, "status-%03u", record->status);
    else
        snprintf(text, CHECK_DETAIL_MAX, "%s", texts[record->reason]);
    return text;
}

int board_new(struct board **ret)
{
    struct board *board = calloc(1, sizeof(*board));

    if (board == NULL)
        return -ENOMEM;
    atomic_init(&board->refs, 1);
    pthread_mutex_init(&board->lock, NULL);
    pthread_mutex_init(&board->hint_lock, NULL);
    *ret = board;
    return 0;
}

static void board_unref(struct board *board)
{
    if (atomic_fetch_sub_explicit(&board->refs, 1, memory_order_acq_rel) > 1)
        return;
    pthread_mutex_destroy(&board->hint_lock);
    pthread_mutex_destroy(&board->lock);
    free(board);
}

void board_free(struct board **board)
{
    if (*board != NULL)
        board_unref(*board);
    *board = NULL;
}

int board_subscribe(struct board *board, struct ring *ring)
{
    int r = -ENOSPC;

    pthread_mutex_lock(&board->lock);
    if (board->subscriber_count < SUBSCRIBERS_MAX) {
        board->subscribers[board->subscriber_count++] = ring;
        r = 0;
    }
    pthread_mutex_unlock(&board->lock);
    return r;
}

void board_unsubscribe(struct board *board, struct ring *ring)
{
    pthread_mutex_lock(&board->lock);
    for (size_t i = 0; i < board->subscriber_count; i++) {
        if (board->subscribers[i] != ring)
            continue;
        board->subscribers[i] = board->subscribers[--board->subscriber_count];
        break;
    }
    pthread_mutex_unlock(&board->lock);
}

uint64_t board_changes(const struct board *board)
{
    return atomic_load_explicit(&board->changes, memory_order_acquire);
}

void board_wake(const struct board *board)
{
    struct board *b = (struct board *)board;    /* a lock is no part of what is observed */

    atomic_fetch_add_explicit(&b->changes, 1, memory_order_release);
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < b->subscriber_count; i++)
        ring_wake(b->subscribers[i]);
    pthread_mutex_unlock(&b->lock);
}

void board_on_hint(struct board *board, struct ring *ring)
{
    pthread_mutex_lock(&board->hint_lock);
    board->hint_ring = ring;
    pthread_mutex_unlock(&board->hint_lock);
}

static uint64_t verdict_pack(struct slot_status status)
{
    return (uint64_t)status.state << STATE_SHIFT | (uint64_t)status.why << WHY_SHIFT | (status.since_ms & SINCE_MASK);
}

static enum slot_state verdict_state(uint64_t verdict)
{
    return (enum slot_state)(verdict >> STATE_SHIFT);
}

struct slot *slot_new(struct board *board, bool zone_enabled)
{
    struct slot_status status = { zone_enabled ? SLOT_NEW : SLOT_OUT_OF_SERVICE, zone_enabled ? WHY_REGISTERING : WHY_ZONE_NOT_ENABLED,
                                  clock_realtime_ms() };
    struct slot *slot = aligned_alloc(_Alignof(struct slot), sizeof(*slot));

    if (slot == NULL)
        return NULL;
    *slot = (struct slot){ .board = board, .zone_enabled = zone_enabled };
    atomic_init(&slot->refs, 1);
    atomic_init(&slot->verdict, verdict_pack(status));
    pthread_mutex_init(&slot->history_lock, NULL);
    atomic_fetch_add_explicit(&board->refs, 1, memory_order_relaxed);
    return slot;
}

struct slot *slot_ref(struct slot *slot)
{
    atomic_fetch_add_explicit(&slot->refs, 1, memory_order_relaxed);
    return slot;
}

void slot_unref(struct slot **slot)
{
    struct slot *s = *slot;

    *slot = NULL;
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
        return;
    pthread_mutex_destroy(&s->history_lock);
    board_unref(s->board);
    free(s);
}

struct slot_status slot_status(const struct slot *slot)
{
    uint64_t verdict = atomic_load_explicit(&slot->verdict, memory_order_acquire);

    return (struct slot_status){ verdict_state(verdict), (enum slot_why)(verdict >> WHY_SHIFT & 0xff), verdict & SINCE_MASK };
}

enum slot_admin slot_admin(const struct slot *slot)
{
    return atomic_load_explicit(&slot->admin, memory_order_acquire);
}

bool slot_eligible(const struct slot *slot)
{
    switch (slot_admin(slot)) {
    case ADMIN_AUTO: return verdict_state(atomic_load_explicit(&slot->verdict, memory_order_acquire)) == SLOT_IN_SERVICE;
    case ADMIN_IN: return true;
    case ADMIN_OUT:
    case ADMIN_DRAIN: return false;
    }
    return false;
}

void slot_set_admin(struct slot *slot, enum slot_admin admin)
{
    if (atomic_exchange_explicit(&slot->admin, admin, memory_order_acq_rel) != admin)
        board_wake(slot->board);
}

void slot_publish(struct slot *slot, struct slot_status status)
{
    uint64_t verdict = verdict_pack(status);

    /* One writer: a look first leaves the line in the workers' caches when nothing changed. */
    if (!slot->zone_enabled || atomic_load_explicit(&slot->verdict, memory_order_relaxed) == verdict)
        return;
    atomic_store_explicit(&slot->verdict, verdict, memory_order_release);
    board_wake(slot->board);
}

void slot_record(struct slot *slot, const struct check_record *record, bool first_result)
{
    pthread_mutex_lock(&slot->history_lock);
    slot->history[slot->record_count++ % SLOT_HISTORY] = *record;
    pthread_mutex_unlock(&slot->history_lock);
    atomic_store_explicit(&slot->checked_at_us, clock_monotonic_us(), memory_order_release);
    if (first_result)
        board_wake(slot->board);        /* who waits for first results looks again */
}

size_t slot_history(const struct slot *slot, struct check_record *records, size_t max)
{
    struct slot *s = (struct slot *)slot;       /* for its lock */
    size_t count;

    pthread_mutex_lock(&s->history_lock);
    count = s->record_count < SLOT_HISTORY ? s->record_count : SLOT_HISTORY;
    if (count > max)
        count = max;
    for (size_t i = 0; i < count; i++)
        records[i] = s->history[(s->record_count - 1 - i) % SLOT_HISTORY];
    pthread_mutex_unlock(&s->history_lock);
    return count;
}

uint64_t slot_checked_at_us(const struct slot *slot)
{
    return atomic_load_explicit(&slot->checked_at_us, memory_order_acquire);
}

void slot_hint(struct slot *slot)
{
    struct board *board = slot->board;

    if (atomic_load_explicit(&slot->hinted, memory_order_relaxed) ||
        atomic_exchange_explicit(&slot->hinted, true, memory_order_acq_rel))
        return;
    pthread_mutex_lock(&board->hint_lock);
    if (board->hint_ring != NULL)
        ring_wake(board->hint_ring);
    pthread_mutex_unlock(&board->hint_lock);
}

bool slot_take_hint(struct slot *slot)
{
    return atomic_load_explicit(&slot->hinted, memory_order_relaxed) &&
           atomic_exchange_explicit(&slot->hinted, false, memory_order_acq_rel);
}
