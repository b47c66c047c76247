#include "lb/surge.h"
#include "common/ring.h"

void surge_init(struct surge *surge)
{
    pthread_mutex_init(&surge->lock, NULL);
    list_init(&surge->places);
    atomic_init(&surge->waiting, 0);
    surge->aside = 0;
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
        place->called = place->aside = false;
        list_append(&surge->places, &place->link);
        atomic_fetch_add(&surge->waiting, 1);       /* in one order with pool_release(): it sees us, or we see what it gave back */
    }
    pthread_mutex_unlock(&surge->lock);
    return room;
}

/* NULL: nobody, or all stand aside. */
static struct surge_place *oldest(struct surge *surge)
{
    list_for_each(link, &surge->places) {
        struct surge_place *place = list_entry(link, struct surge_place, link);
        if (!place->aside)
            return place;
    }
    return NULL;
}

static void call_oldest(struct surge *surge)
{
    struct surge_place *place = oldest(surge);

    if (place == NULL || place->called)
        return;
    place->called = true;
    ring_wake(place->ring);
}

void surge_stand_aside(struct surge *surge, struct surge_place *place)
{
    pthread_mutex_lock(&surge->lock);
    surge->aside += !place->aside;
    place->aside = true;
    place->called = false;
    call_oldest(surge);
    pthread_mutex_unlock(&surge->lock);
}

void surge_leave(struct surge *surge, struct surge_place *place)
{
    pthread_mutex_lock(&surge->lock);
    list_remove(&place->link);
    surge->aside -= place->aside;
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
    first = oldest(surge) == place;
    pthread_mutex_unlock(&surge->lock);
    return first;
}

static void none_aside(struct surge *surge)
{
    list_for_each(link, &surge->places)
        list_entry(link, struct surge_place, link)->aside = false;
    surge->aside = 0;
}

void surge_call(struct surge *surge)
{
    if (!surge_any(surge))
        return;
    pthread_mutex_lock(&surge->lock);
    if (surge->aside > 0)
        none_aside(surge);
    call_oldest(surge);
    pthread_mutex_unlock(&surge->lock);
}
