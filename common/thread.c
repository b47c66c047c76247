#include "common/thread.h"
#include <signal.h>

int thread_start(struct thread *thread, const char *name, void *(*main)(void *arg), void *arg)
{
    sigset_t all, before;
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = -pthread_create(&thread->id, NULL, main, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r == 0)
        pthread_setname_np(thread->id, name);
    return r;
}

void thread_join(struct thread *thread)
{
    pthread_join(thread->id, NULL);
}

void thread_wait(pthread_cond_t *changed, pthread_mutex_t *lock)
{
    pthread_cond_wait(changed, lock);
}

void thread_notify(pthread_cond_t *changed)
{
    pthread_cond_broadcast(changed);
}
