#include "lb/surge.h"
#include "common/ring.h"

void surge_init(struct surge *surge)
{
    pthread_mutex_init(&surge->lock, NULL);
    list_init(&surge->places);
    atomic_init(&surge->waiting, 0);
}

void surge_fini(struct surge *surge)
{
    pthread_mutex_destroy(&surge->lock);
}

bool surge_enter(struct surge *surge, struct surge_place *place, struct ring *ring, unsigned max)
{
    bool room;

    pthread_mutex_lock(&surge->lock);
    room = atomic_load_explicit(&surge->waiting, memory_order_relaxed) < max;
    if (room) {
        place->ring = ring;
        place->called = false;
        list_append(&surge->places, &place->link);
        atomic_fetch_add(&surge->waiting, 1);       /* in one order with pool_release(): it sees us, or we see what it gave back */
    }
    pthread_mutex_unlock(&surge->lock);
    return room;
}

static void call_oldest(struct surge *surge)
{
    struct surge_place *place;

    if (list_empty(&surge->places))
        return;
    place = list_entry(surge->places.next, struct surge_place, link);
    if (place->called)
        return;
    place->called = true;
    ring_wake(place->ring);
}

void surge_leave(struct surge *surge, struct surge_place *place)
{
    pthread_mutex_lock(&surge->lock);
    list_remove(&place->link);
    atomic_fetch_sub_explicit(&surge->waiting, 1, memory_order_release);
    if (place->called)
        call_oldest(surge);
    place->called = false;
    pthread_mutex_unlock(&surge->lock);
}

bool surge_called(struct surge *surge, struct surge_place *place)
{
    bool called;

    pthread_mutex_lock(&surge->lock);
    called = place->called;
    place->called = false;
    pthread_mutex_unlock(&surge->lock);
    return called;
}

bool surge_first(struct surge *surge, const struct surge_place *place)
{
    bool first;

    pthread_mutex_lock(&surge->lock);
    first = surge->places.next == &place->link;
    pthread_mutex_unlock(&surge->lock);
    return first;
}

void surge_call(struct surge *surge)
{
    if (!surge_any(surge))
        return;
    pthread_mutex_lock(&surge->lock);
    call_oldest(surge);
    pthread_mutex_unlock(&surge->lock);
}
