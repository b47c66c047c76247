#ifndef COMMON_TIMER_H
#define COMMON_TIMER_H
#include "common/list.h"
#include <stdbool.h>
#include <stdint.h>
/*
 * A hierarchical timing wheel of 1 ms steps: set and stop are O(1), and a far
 * deadline costs nothing until it is near. One wheel a ring; one thread.
 * A timer is embedded in its owner, who stops it before being freed.
 */
#define TIMER_LEVELS 6
#define TIMER_SLOTS 64

struct timer {
    struct list link;
    uint64_t deadline_ms;
    void (*fire)(struct timer *timer);
    uint8_t level, slot;
};

struct timer_wheel {
    uint64_t now_ms;                            /* all before and at this have fired, but those in `due` */
    uint64_t occupied[TIMER_LEVELS];            /* bit: slot has timers */
    struct list slots[TIMER_LEVELS][TIMER_SLOTS];
    struct list due;                            /* set when their deadline had passed: for the next advance */
    struct list far;                            /* beyond the top level's present turn */
};

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms);
void timer_init(struct timer *timer, void (*fire)(struct timer *timer));
/* Fires at the first advance that reaches deadline_ms (a past one: at the next advance). Re-setting moves it. */
void timer_set(struct timer_wheel *wheel, struct timer *timer, uint64_t deadline_ms);
void timer_stop(struct timer_wheel *wheel, struct timer *timer);        /* harmless if not set */
bool timer_is_set(const struct timer *timer);
/* Fires what is due, in the order of deadlines (one that was past when set counts as of then); a fired timer may set itself or any other. */
void timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms);
/* When advance has something to do next, at the latest; UINT64_MAX if never. May be early, never late. */
uint64_t timer_wheel_next(const struct timer_wheel *wheel);
#endif
