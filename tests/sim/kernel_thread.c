/* Threads are tasks, waiting is theirs, and the clock is the world's: common/thread.h and common/clock.h. */
#include "tests/sim/kernel_internal.h"
#include "common/clock.h"
#include "common/thread.h"
#include <errno.h>

#define THREADS_MAX 64
#define EPOCH_US UINT64_C(1767225600000000)     /* 2026-01-01T00:00:00Z, when the machine started */

static struct running {
    struct task *task;          /* NULL: a free place */
    struct task *joiner;
    void *(*main)(void *arg);
    void *arg;
    bool ended;
} threads[THREADS_MAX];

static void *thread_main(void *arg)
{
    struct running *thread = arg;

    thread->main(thread->arg);
    thread->ended = true;
    if (thread->joiner != NULL)
        task_wake(thread->joiner);
    return NULL;
}

int thread_start(struct thread *thread, const char *name, void *(*main)(void *arg), void *arg)
{
    unsigned i = 0;

    while (i < THREADS_MAX && threads[i].task != NULL)
        i++;
    if (i == THREADS_MAX)
        return -EAGAIN;
    threads[i] = (struct running){ .main = main, .arg = arg };
    threads[i].task = task_start(name, thread_main, &threads[i]);
    thread->id = (pthread_t)(i + 1);
    return 0;
}

void thread_join(struct thread *thread)
{
    struct running *t = &threads[thread->id - 1];

    if (t->task == NULL)
        world_fail("a thread is joined that does not run");
    t->joiner = task_self();
    while (!task_ended(t->task))
        task_wait();
    task_free(&t->task);
}

/* Waiters of all conditions, in the order of their coming. */
struct waiter {
    struct list place;
    const pthread_cond_t *changed;
    struct task *task;
    bool woken;
};
static struct list waiters = { .next = &waiters, .prev = &waiters };

struct alarm {
    struct event event;
    struct task *task;
};

static void alarm_fired(struct event *event)
{
    task_wake(container_of(event, struct alarm, event)->task);
}

static void alarm_set(struct alarm *alarm, uint64_t at_us)
{
    alarm->task = task_self();
    event_init(&alarm->event, alarm_fired);
    event_set(&alarm->event, at_us);
}

void thread_wait(pthread_cond_t *changed, pthread_mutex_t *lock)
{
    struct waiter waiter = { .changed = changed, .task = task_self() };
    struct alarm alarm = { .task = NULL };
    bool early = fault(FAULT_EARLY);

    list_append(&waiters, &waiter.place);
    pthread_mutex_unlock(lock);
    if (early)
        alarm_set(&alarm, world_now_us() + dice_below(&kernel.dice[FAULT_EARLY], 1000));
    do
        task_wait();
    while (!waiter.woken && (!early || event_is_set(&alarm.event)));
    event_clear(&alarm.event);
    list_remove(&waiter.place);
    pthread_mutex_lock(lock);
}

void thread_notify(pthread_cond_t *changed)
{
    list_for_each(place, &waiters) {
        struct waiter *waiter = list_entry(place, struct waiter, place);
        if (waiter->changed != changed)
            continue;
        waiter->woken = true;
        task_wake(waiter->task);
    }
}

uint64_t clock_monotonic_us(void)
{
    return world_now_us();
}

uint64_t clock_realtime_us(void)
{
    return EPOCH_US + world_now_us();
}

uint64_t clock_realtime_ms(void)
{
    return clock_realtime_us() / 1000;
}

void clock_sleep_ms(unsigned ms)
{
    struct alarm alarm;

    if (task_self() == NULL)
        world_fail("something sleeps that is no task");
    alarm_set(&alarm, world_now_us() + (uint64_t)ms * 1000);
    while (event_is_set(&alarm.event))
        task_wait();
}
