#ifndef COMMON_THREAD_H
#define COMMON_THREAD_H
#include <pthread.h>
/*
 * Threads, and waiting for another one: the two things that a simulated
 * schedule must decide. Locks are pthread's own; none is held over a ring_step().
 */
struct thread {
    pthread_t id;
};

/* All signals are blocked in it: they are the main thread's business. name: at most 15 characters. 0 or -errno. */
int thread_start(struct thread *thread, const char *name, void *(*main)(void *arg), void *arg);
void thread_join(struct thread *thread);

/* As pthread_cond_wait() and pthread_cond_broadcast(): may return early, so wait in a loop, under the lock. */
void thread_wait(pthread_cond_t *changed, pthread_mutex_t *lock);
void thread_notify(pthread_cond_t *changed);
#endif
