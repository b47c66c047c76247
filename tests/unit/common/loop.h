#ifndef TESTS_UNIT_COMMON_LOOP_H
#define TESTS_UNIT_COMMON_LOOP_H
#include "common/ring.h"
/*
 * Turns a ring until something has come about. It ends by what is waited for;
 * the patience is only there so that what never comes about fails.
 */
#define LOOP_PATIENCE_MS 20000

static inline void loop_patience_over(struct timer *timer)
{
    (void)timer;
}

#define STEP_UNTIL(ring, condition)                                                   \
    do {                                                                              \
        struct timer patience_;                                                       \
        timer_init(&patience_, loop_patience_over);                                   \
        ring_timer_set((ring), &patience_, ring_now_ms(ring) + LOOP_PATIENCE_MS);     \
        while (!(condition)) {                                                        \
            assert_int_equal(ring_step(ring), 0);                                     \
            if (!timer_is_set(&patience_) && !(condition))                            \
                fail_msg("%s never came about", #condition);                          \
        }                                                                             \
        ring_timer_stop((ring), &patience_);                                          \
    } while (0)
#endif
