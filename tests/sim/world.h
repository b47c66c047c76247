#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/*
 * The simulated world: one thread of the machine, one clock, one seed. halb's
 * threads are tasks that run until they wait; clients, instances and the
 * network are events. When no task can run, the clock jumps to the next event.
 * Nothing here or above may look at the machine's time, addresses of objects,
 * or any other source that a second run would see differently.
 */

/* Randomness. Each actor has dice of its own, so that leaving one out does not change the others' throws. */
struct dice { uint64_t state[2]; };
void dice_init(struct dice *dice, uint64_t seed, uint64_t stream);
uint64_t dice_next(struct dice *dice);
uint64_t dice_below(struct dice *dice, uint64_t n);                     /* 0 <= result < n; n > 0 */
uint64_t dice_between(struct dice *dice, uint64_t low, uint64_t high);  /* both included */
bool dice_permille(struct dice *dice, unsigned permille);

/* Time: microseconds since the machine started; begins at WORLD_START_US. */
#define WORLD_START_US UINT64_C(1000000000)
uint64_t world_now_us(void);

/* Events fire in the order of their times, those of one time in the order in which they were set. */
struct event {
    uint64_t at_us, order;
    size_t place;                       /* world's; 0: not set */
    void (*fire)(struct event *event);
};
void event_init(struct event *event, void (*fire)(struct event *event));
void event_set(struct event *event, uint64_t at_us);    /* moves it if it is set; a past time means now */
void event_clear(struct event *event);                  /* harmless if not set */
bool event_is_set(const struct event *event);

/* Tasks: halb's threads. A task runs until task_wait(), and again after task_wake(). */
struct task;
struct task *task_start(const char *name, void *(*main)(void *arg), void *arg);
struct task *task_self(void);           /* NULL: an event is running */
void task_wait(void);                   /* returns after at least one task_wake() since the last return; may return early */
void task_wake(struct task *task);      /* it becomes runnable, at once or after a delay that the seed decides */
bool task_ended(const struct task *task);
void task_free(struct task **task);     /* it has ended */

struct world_conf {
    uint64_t seed;
    unsigned stall_permille;            /* of wake-ups: the task gets the processor late, */
    uint64_t stall_max_us;              /* by up to so much */
    bool trace;                         /* lines as they come, to standard output; else the last few are shown at a failure */
};
void world_begin(const struct world_conf *conf);
void world_each_step(void (*look)(void));       /* called after each task's turn and each event */
void world_run(struct task *until);     /* until it has ended. Nothing can run and no event is set: world_fail() */
void world_calm(void);                  /* no task is late any more */
void world_end(void);                   /* all tasks have ended and been freed */
uint64_t world_steps(void);             /* tasks resumed and events fired so far */
uint64_t world_hash(void);              /* of the trace so far: two runs of one seed give the same */

/* A property does not hold: says which and the seed, shows the end of the trace, and ends the process with WORLD_FAILED. */
#define WORLD_FAILED 3
void world_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* One line, with time and task before it. Cheap when nobody reads it. */
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
#endif
