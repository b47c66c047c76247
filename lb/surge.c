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
        atomic_fetch_add_explicit(&surge->waiting, 1, memory_order_release);
    }
    pthread_mutex_unlock(&surge->lock);
    return room;
}

static void call_oldest(struct surge *surge)
{
    list_for_each(link, &surge->places) {
        struct surge_place *place = list_entry(link, struct surge_place, link);
        if (place->called)
            continue;
        place->called = true;
        ring_wake(place->ring);
        return;
    }
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

void surge_call(struct surge *surge)
{
    if (!surge_any(surge))
        return;
    pthread_mutex_lock(&surge->lock);
    call_oldest(surge);
    pthread_mutex_unlock(&surge->lock);
}
