/*
 * A timer stands on the level of the highest 6-bit digit in which its deadline
 * differs from now, in the slot that this digit names. So on each level only
 * slots past now's own digit are in use, everything on a level comes before
 * everything above it, and a slot is opened exactly when now reaches its start:
 * on level 0 it fires, above it is dealt out to the levels below.
 */
#include "common/timer.h"
#include <assert.h>
#include <stddef.h>

#define SLOT_BITS 6
#define TOP_BITS (TIMER_LEVELS * SLOT_BITS)
#define NOT_ON_A_LEVEL TIMER_LEVELS     /* in due or far */

static unsigned digit(uint64_t ms, unsigned level)
{
    return (unsigned)(ms >> (level * SLOT_BITS)) & (TIMER_SLOTS - 1);
}

/* deadline >= now; equal only while a slot is dealt out, and then that slot is fired next. */
static void place(struct timer_wheel *wheel, struct timer *timer)
{
    uint64_t differs = timer->deadline_ms ^ wheel->now_ms;
    unsigned level = differs == 0 ? 0 : (63 - (unsigned)__builtin_clzll(differs)) / SLOT_BITS;

    assert(timer->deadline_ms >= wheel->now_ms);
    if (level >= TIMER_LEVELS) {
        timer->level = NOT_ON_A_LEVEL;
        list_append(&wheel->far, &timer->link);
        return;
    }
    timer->level = (uint8_t)level;
    timer->slot = (uint8_t)digit(timer->deadline_ms, level);
    wheel->occupied[level] |= UINT64_C(1) << timer->slot;
    list_append(&wheel->slots[level][timer->slot], &timer->link);
}

static void place_all(struct timer_wheel *wheel, struct list *timers)
{
    while (!list_empty(timers)) {
        struct timer *timer = list_entry(timers->next, struct timer, link);
        list_remove(&timer->link);
        place(wheel, timer);
    }
}

static void fire_all(struct list *timers)
{
    while (!list_empty(timers)) {
        struct timer *timer = list_entry(timers->next, struct timer, link);
        list_remove(&timer->link);
        timer->fire(timer);
    }
}

/* What the slot holds goes to *ret; a timer in there can still be stopped. */
static void slot_take(struct timer_wheel *wheel, unsigned level, unsigned slot, struct list *ret)
{
    wheel->occupied[level] &= ~(UINT64_C(1) << slot);
    list_take(&wheel->slots[level][slot], ret);
}

/* Occupied slots of a level that now has not reached. */
static uint64_t slots_ahead(const struct timer_wheel *wheel, unsigned level)
{
    return wheel->occupied[level] & (~UINT64_C(1) << digit(wheel->now_ms, level));
}

static uint64_t slot_start(uint64_t now_ms, unsigned level, unsigned slot)
{
    uint64_t turn = now_ms >> ((level + 1) * SLOT_BITS);

    return (turn << SLOT_BITS | slot) << (level * SLOT_BITS);
}

/* When the next slot opens, and on which level; the far list opens with the next turn of the top level. */
static uint64_t next_opening(const struct timer_wheel *wheel, unsigned *level)
{
    for (*level = 0; *level < TIMER_LEVELS; (*level)++) {
        uint64_t ahead = slots_ahead(wheel, *level);
        if (ahead != 0)
            return slot_start(wheel->now_ms, *level, (unsigned)__builtin_ctzll(ahead));
    }
    if (list_empty(&wheel->far))
        return UINT64_MAX;
    return ((wheel->now_ms >> TOP_BITS) + 1) << TOP_BITS;
}

static void open_slot(struct timer_wheel *wheel, unsigned level)
{
    struct list timers;

    if (level == NOT_ON_A_LEVEL)
        list_take(&wheel->far, &timers);
    else
        slot_take(wheel, level, digit(wheel->now_ms, level), &timers);
    if (level > 0)
        place_all(wheel, &timers);
    if (level > 0)
        slot_take(wheel, 0, digit(wheel->now_ms, 0), &timers);
    fire_all(&timers);
}

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms)
{
    *wheel = (struct timer_wheel){ .now_ms = now_ms };
    for (unsigned level = 0; level < TIMER_LEVELS; level++)
        for (unsigned slot = 0; slot < TIMER_SLOTS; slot++)
            list_init(&wheel->slots[level][slot]);
    list_init(&wheel->due);
    list_init(&wheel->far);
}

void timer_init(struct timer *timer, void (*fire)(struct timer *timer))
{
    *timer = (struct timer){ .fire = fire };
    list_init(&timer->link);
}

void timer_set(struct timer_wheel *wheel, struct timer *timer, uint64_t deadline_ms)
{
    timer_stop(wheel, timer);
    timer->deadline_ms = deadline_ms;
    if (deadline_ms > wheel->now_ms) {
        place(wheel, timer);
        return;
    }
    timer->level = NOT_ON_A_LEVEL;
    list_append(&wheel->due, &timer->link);
}

void timer_stop(struct timer_wheel *wheel, struct timer *timer)
{
    if (!timer_is_set(timer))
        return;
    list_remove(&timer->link);
    if (timer->level != NOT_ON_A_LEVEL && list_empty(&wheel->slots[timer->level][timer->slot]))
        wheel->occupied[timer->level] &= ~(UINT64_C(1) << timer->slot);
}

bool timer_is_set(const struct timer *timer)
{
    return !list_empty(&timer->link);
}

void timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms)
{
    struct list due;
    unsigned level;
    uint64_t start;

    list_take(&wheel->due, &due);
    fire_all(&due);
    while ((start = next_opening(wheel, &level)) <= now_ms) {
        wheel->now_ms = start;
        open_slot(wheel, level);
    }
    if (now_ms > wheel->now_ms)
        wheel->now_ms = now_ms;
}

uint64_t timer_wheel_next(const struct timer_wheel *wheel)
{
    unsigned level;

    return list_empty(&wheel->due) ? next_opening(wheel, &level) : wheel->now_ms;
}
