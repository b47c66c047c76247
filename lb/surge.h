#ifndef LB_SURGE_H
#define LB_SURGE_H
#include "common/list.h"
#include <stdatomic.h>
#include <pthread.h>
#include <stdbool.h>
/*
 * The surge queue of one balancer node, over all workers: who waits until an
 * instance may take more work, oldest first. Bounded. Any thread; a place is
 * embedded in who waits, and leaves before it is freed.
 *
 * Only the oldest is ever called, and only the oldest may take what became free; but who can not use it, because it has failed just
 * there, stands aside for those behind until somebody is called anew.
 * So that nobody sleeps beside room, each looks at the room again after it has
 * entered and after it has left, and calls if there is some.
 */
struct ring;

struct surge {
    pthread_mutex_t lock;
    struct list places;             /* oldest first */
    atomic_uint waiting;
    unsigned aside;                 /* of them; under the lock */
};

struct surge_place {
    struct list link;
    struct ring *ring;              /* woken when it is this place's turn */
    bool called;                    /* its turn has come; both under the lock */
    bool aside;                     /* it can not use the room that there is */
};

void surge_init(struct surge *surge);
void surge_fini(struct surge *surge);
static inline bool surge_any(const struct surge *surge)
{
    return atomic_load(&surge->waiting) > 0;
}

/* false: it is full, and nothing was changed. */
bool surge_enter(struct surge *surge, struct surge_place *place, struct ring *ring, unsigned max);
void surge_leave(struct surge *surge, struct surge_place *place);      /* passes a call on that it has not used */
bool surge_called(struct surge *surge, struct surge_place *place);     /* and takes the call */
bool surge_first(struct surge *surge, const struct surge_place *place);        /* is it the oldest, but for those aside? */
void surge_stand_aside(struct surge *surge, struct surge_place *place);        /* and calls the next */
void surge_call(struct surge *surge);                                  /* an instance may take more: calls the oldest */
#endif
