#include "lb/surge.h"
#include "common/board.h"
#include "lb/generation.h"
#include "lb/instance.h"
#include "lb/pool.h"
#include "tests/unit/common/loop.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
/*
 * First the queue by itself, then workers with real rings that compete for the
 * places of real instances, by the rule in lb/surge.h.
 */
#define THREADS 4
#define PLACES 8

struct waker {                      /* a ring that counts how often it was woken */
    struct ring *ring;
    unsigned woken;
};

static void on_woken(void *arg)
{
    ((struct waker *)arg)->woken++;
}

static void waker_init(struct waker *w)
{
    struct ring_conf conf = { .ops_max = 16, .woken = on_woken, .arg = w };
    w->woken = 0;
    assert_int_equal(ring_new(&conf, &w->ring), 0);
}

struct stage {
    struct surge surge;
    struct waker waker;
    struct surge_place places[PLACES];
};

static void setup(struct stage *s, unsigned count)
{
    surge_init(&s->surge);
    waker_init(&s->waker);
    for (unsigned i = 0; i < count; i++)
        assert_true(surge_enter(&s->surge, &s->places[i], s->waker.ring, PLACES));
}

static void teardown(struct stage *s)
{
    assert_false(surge_any(&s->surge));
    surge_fini(&s->surge);
    ring_free(&s->waker.ring);
}

static void test_bound(void **state)
{
    struct surge_place extra;
    struct stage s;
    (void)state;
    setup(&s, PLACES);
    for (unsigned i = 0; i < 3; i++)
        assert_false(surge_enter(&s.surge, &extra, s.waker.ring, PLACES));
    surge_leave(&s.surge, &s.places[3]);
    assert_true(surge_enter(&s.surge, &extra, s.waker.ring, PLACES));
    assert_false(surge_enter(&s.surge, &s.places[3], s.waker.ring, PLACES));
    surge_leave(&s.surge, &extra);
    for (unsigned i = 0; i < PLACES; i++)
        if (i != 3)
            surge_leave(&s.surge, &s.places[i]);
    assert_false(surge_enter(&s.surge, &extra, s.waker.ring, 0));
    teardown(&s);
}

static const struct queue_row {
    const char *name;
    const char *steps;      /* cN: N is called (c- nobody); C: an instance calls; lN: N leaves; tN: N takes its call; fN: N is the oldest */
} queues[] = {
    { "nobody is called by itself",                      "c-f0" },
    { "the oldest is called",                            "Cc0" },
    { "two calls at once are one",                       "CCc0t0c-" },
    { "a call is taken once",                            "Ct0c-Cc0" },
    { "after it the next",                               "Ct0l0f1Cc1" },
    { "who leaves passes its call on",                   "Cl0c1" },
    { "and so on",                                       "Cl0c1l1c2l2c3" },
    { "a call that was taken is not passed on",          "Ct0l0c-" },
    { "who leaves in the middle had no call",            "Cl1c0l0c2" },
    { "who leaves from the middle changes no order",     "l1l2Cc0t0l0Cc3" },
    { "called again while it looks: the next is called", "Ct0Cl0c1" },
    { "an empty queue forgets calls",                    "l0l1l2l3C" },
    { "the last passes to nobody",                       "l0l1l2Cl3" },
};

static void assert_called(const struct stage *s, char who)
{
    for (int i = 0; i < 4; i++)
        assert_int_equal(s->places[i].called, who == '0' + i);
}

static void test_queue(void **state)
{
    const struct queue_row *row = *state;
    bool left[4] = { false };
    struct stage s = { .waker = { .woken = 0 } };
    setup(&s, 4);
    for (const char *step = row->steps; *step != '\0'; step += *step == 'C' ? 1 : 2) {
        unsigned i = (unsigned)(step[1] - '0');
        switch (*step) {
        case 'C':
            surge_call(&s.surge);
            break;
        case 'c':
            assert_called(&s, step[1]);
            break;
        case 'l':
            surge_leave(&s.surge, &s.places[i]);
            left[i] = true;
            break;
        case 't':
            assert_true(surge_called(&s.surge, &s.places[i]));
            break;
        case 'f':
            for (unsigned k = 0; k < 4; k++)
                assert_int_equal(surge_first(&s.surge, &s.places[k]), k == i);
            break;
        }
    }
    for (unsigned i = 0; i < 4; i++)
        if (!left[i])
            surge_leave(&s.surge, &s.places[i]);
    teardown(&s);
}

/* Who can not use what became free lets the next have it, and is the first again at the next call. */
static void test_aside(void **state)
{
    struct stage s;
    (void)state;
    setup(&s, 3);
    surge_call(&s.surge);
    assert_true(surge_called(&s.surge, &s.places[0]));
    surge_stand_aside(&s.surge, &s.places[0]);
    assert_true(surge_first(&s.surge, &s.places[1]));
    assert_true(surge_called(&s.surge, &s.places[1]));
    surge_stand_aside(&s.surge, &s.places[1]);
    surge_leave(&s.surge, &s.places[1]);
    assert_true(surge_called(&s.surge, &s.places[2]));
    surge_stand_aside(&s.surge, &s.places[2]);
    assert_false(surge_first(&s.surge, &s.places[0]));      /* nobody is */
    surge_call(&s.surge);
    assert_true(surge_first(&s.surge, &s.places[0]));
    assert_true(surge_called(&s.surge, &s.places[0]));
    surge_leave(&s.surge, &s.places[0]);
    surge_leave(&s.surge, &s.places[2]);
    teardown(&s);
}

static void test_a_call_wakes_the_ring(void **state)
{
    struct stage s;
    (void)state;
    setup(&s, 2);
    surge_call(&s.surge);
    STEP_UNTIL(s.waker.ring, s.waker.woken > 0);
    assert_true(surge_called(&s.surge, &s.places[0]));
    assert_false(surge_called(&s.surge, &s.places[1]));
    surge_call(&s.surge);
    surge_leave(&s.surge, &s.places[0]);
    s.waker.woken = 0;
    STEP_UNTIL(s.waker.ring, s.waker.woken > 0);
    assert_true(surge_called(&s.surge, &s.places[1]));
    surge_leave(&s.surge, &s.places[1]);
    teardown(&s);
}

/*
 * Workers: each plays several requests, which take a place, wait for one, hold it for a while, and sometimes give up. Nobody goes
 * while somebody waits beside room: so a call that was lost is made up for by nobody, and is seen.
 */
#define GUESTS_MAX 4

enum guest_state { AWAY, WAITS, INSIDE };

struct house {
    struct board *board;
    struct instance *instances[2];
    struct candidate candidates[2];
    struct shared_node shared;
    struct node node;
    struct surge surge;
    atomic_uint inside, inside_max;
    atomic_uint_least64_t entered, served;      /* in test_order_over_threads: who came when, who was served when */
};

struct guest {
    struct surge_place place;
    enum guest_state state;
    struct instance *instance;
    unsigned visits, waits, left;
};

struct worker_thread {
    struct house *house;
    pthread_t thread;
    struct ring *ring;
    struct guest guests[GUESTS_MAX];
    unsigned guest_count, visits_max, seed;
    bool lost;                      /* nothing went on any more */
};

static void house_init(struct house *h, size_t instances, uint32_t limit)
{
    struct addr address;
    *h = (struct house){ .node = { .candidates = h->candidates, .candidate_count = instances, .shared = &h->shared } };
    surge_init(&h->surge);
    assert_int_equal(board_new(&h->board), 0);
    assert_int_equal(addr_parse("127.0.20.100", &address), 0);
    for (size_t i = 0; i < instances; i++) {
        h->instances[i] = instance_new("id", "", &address, slot_new(h->board, true), 1, 1);
        assert_non_null(h->instances[i]);
        slot_publish(h->instances[i]->slot, (struct slot_status){ .state = SLOT_IN_SERVICE });
        h->candidates[i] = (struct candidate){ .instance = h->instances[i], .weight = 1, .outstanding_max = limit };
    }
}

static void house_fini(struct house *h)
{
    assert_false(surge_any(&h->surge));
    surge_fini(&h->surge);
    for (size_t i = 0; i < h->node.candidate_count; i++) {
        assert_int_equal(instance_outstanding(h->instances[i]), 0);
        instance_unref(&h->instances[i]);
    }
    board_free(&h->board);
}

static bool beside_room(struct house *h)
{
    return surge_any(&h->surge) && pool_look(&h->node, false) == PICK_ONE;
}

static void offer(struct house *h)
{
    if (beside_room(h))
        surge_call(&h->surge);
}

static void wait_end(struct house *h, struct guest *g)
{
    if (g->state != WAITS)
        return;
    surge_leave(&h->surge, &g->place);
    offer(h);
}

static void enters(struct worker_thread *w, struct guest *g)
{
    static const struct tried nothing_tried;
    struct pool_ask ask = { .algorithm = ALGORITHM_LEAST_OUTSTANDING, .tried = &nothing_tried };
    struct house *h = w->house;
    bool first = g->state == WAITS ? surge_first(&h->surge, &g->place) : !surge_any(&h->surge);

    if (first && pool_pick(&h->node, &ask, &g->instance) == PICK_ONE) {
        unsigned inside = 1 + atomic_fetch_add(&h->inside, 1), most = atomic_load(&h->inside_max);
        while (inside > most && !atomic_compare_exchange_weak(&h->inside_max, &most, inside))
            ;
        wait_end(h, g);
        g->state = INSIDE;
    } else if (g->state == AWAY && surge_enter(&h->surge, &g->place, w->ring, 1024)) {
        g->state = WAITS;
        g->waits++;
        offer(h);
    }
}

static void goes(struct worker_thread *w, struct guest *g)
{
    g->visits++;
    g->state = AWAY;
    atomic_fetch_sub(&w->house->inside, 1);
    pool_release(0, &g->instance);
    surge_call(&w->house->surge);
}

static void gives_up(struct worker_thread *w, struct guest *g)
{
    wait_end(w->house, g);
    g->state = AWAY;
    g->left++;
}

static void on_worker_woken(void *arg)
{
    struct worker_thread *w = arg;
    for (size_t i = 0; i < w->guest_count; i++)
        if (w->guests[i].state == WAITS && surge_called(&w->house->surge, &w->guests[i].place))
            enters(w, &w->guests[i]);
}

/* Has it done anything? */
static bool acts(struct worker_thread *w, struct guest *g)
{
    int chance = rand_r(&w->seed) % 64;
    if (g->state == AWAY && g->visits < w->visits_max)
        enters(w, g);
    else if (g->state == INSIDE && chance < 40 && !beside_room(w->house))
        goes(w, g);
    else if (g->state == WAITS && chance == 0 && !beside_room(w->house))
        gives_up(w, g);
    else
        return false;
    return true;
}

static bool all_wait(const struct worker_thread *w)
{
    bool any = false;
    for (size_t i = 0; i < w->guest_count; i++) {
        if (w->guests[i].state == INSIDE || (w->guests[i].state == AWAY && w->guests[i].visits < w->visits_max))
            return false;
        any = any || w->guests[i].state == WAITS;
    }
    return any;
}

static bool all_done(const struct worker_thread *w)
{
    for (size_t i = 0; i < w->guest_count; i++)
        if (w->guests[i].state != AWAY || w->guests[i].visits < w->visits_max)
            return false;
    return true;
}

/* Sleeps only when all its requests wait; then only another worker can wake it. */
static void *worker_main(void *arg)
{
    struct worker_thread *w = arg;
    struct ring_conf conf = { .ops_max = 16, .woken = on_worker_woken, .arg = w };
    struct timer patience;
    if (ring_new(&conf, &w->ring) < 0)
        return NULL;
    timer_init(&patience, loop_patience_over);
    ring_timer_set(w->ring, &patience, ring_now_ms(w->ring) + LOOP_PATIENCE_MS);
    while (!all_done(w) && !w->lost) {
        for (size_t i = 0; i < w->guest_count; i++)
            if (acts(w, &w->guests[i]))
                ring_timer_set(w->ring, &patience, ring_now_ms(w->ring) + LOOP_PATIENCE_MS);
        while (all_wait(w) && timer_is_set(&patience))
            ring_step(w->ring);
        w->lost = !timer_is_set(&patience);
        ring_wake(w->ring);
        ring_step(w->ring);
    }
    ring_timer_stop(w->ring, &patience);
    for (size_t i = 0; i < w->guest_count; i++)
        if (w->guests[i].state == WAITS)
            gives_up(w, &w->guests[i]);
    ring_free(&w->ring);
    return NULL;
}

static const struct stress_row {
    const char *name;
    size_t instances;
    uint32_t limit;
    unsigned guests, visits;        /* of each worker, of each guest */
} stresses[] = {
    { "one place, a request of each worker: nobody sleeps beside room", 1, 1, 1, 4000 },
    { "one place, several requests: nobody sleeps beside room", 1, 1, 4, 1000 },
    { "a place at each of two instances: nobody sleeps beside room", 2, 1, 2, 1000 },
    { "three places at each: nobody sleeps beside room", 2, 3, 4, 200 },
    { "as many places as requests: hardly anybody waits", 2, 8, 4, 2000 },
};

static void test_stress(void **state)
{
    const struct stress_row *row = *state;
    struct worker_thread workers[THREADS];
    struct house house;
    unsigned waits = 0, seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    house_init(&house, row->instances, row->limit);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker_thread){ .house = &house, .guest_count = row->guests, .visits_max = row->visits, .seed = seed + i };
        assert_int_equal(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_false(workers[i].lost);
        for (size_t k = 0; k < row->guests; k++) {
            assert_int_equal(workers[i].guests[k].visits, row->visits);
            waits += workers[i].guests[k].waits;
        }
    }
    assert_in_range(atomic_load(&house.inside_max), 1, row->instances * row->limit);
    assert_true(row->limit > 1 || waits > 0);
    house_fini(&house);
}

/* Four workers enter one after the other, many times round; places come free one by one: served is who came first. */
#define LINE 64

struct line_thread {
    struct house *house;
    pthread_t thread;
    struct ring *ring;
    unsigned index, wrong;
    struct surge_place places[LINE / THREADS];
};

static void on_line_woken(void *arg)
{
    struct line_thread *l = arg;
    for (unsigned i = 0; i < LINE / THREADS; i++) {
        struct surge_place *place = &l->places[i];
        if (place->ring == NULL || !surge_called(&l->house->surge, place))
            continue;
        l->wrong += !surge_first(&l->house->surge, place) || atomic_load(&l->house->served) != i * THREADS + l->index;
        surge_leave(&l->house->surge, place);
        place->ring = NULL;
        atomic_fetch_add(&l->house->served, 1);
        surge_call(&l->house->surge);       /* its place is free again */
    }
}

static void line_enter(struct line_thread *l, unsigned i)
{
    while (atomic_load(&l->house->entered) != i * THREADS + l->index)
        sched_yield();
    l->wrong += !surge_enter(&l->house->surge, &l->places[i], l->ring, LINE);
    if (atomic_fetch_add(&l->house->entered, 1) == LINE - 1)
        surge_call(&l->house->surge);
}

static bool line_waits(const struct line_thread *l)
{
    for (unsigned i = 0; i < LINE / THREADS; i++)
        if (l->places[i].ring != NULL)
            return true;
    return false;
}

static void *line_main(void *arg)
{
    struct line_thread *l = arg;
    struct ring_conf conf = { .ops_max = 16, .woken = on_line_woken, .arg = l };
    struct timer patience;
    if (ring_new(&conf, &l->ring) < 0)
        return NULL;
    timer_init(&patience, loop_patience_over);
    for (unsigned i = 0; i < LINE / THREADS; i++)
        line_enter(l, i);
    ring_timer_set(l->ring, &patience, ring_now_ms(l->ring) + LOOP_PATIENCE_MS);
    while (line_waits(l) && timer_is_set(&patience))
        ring_step(l->ring);
    l->wrong += line_waits(l);
    ring_timer_stop(l->ring, &patience);
    while (atomic_load(&l->house->served) < LINE && l->wrong == 0)
        sched_yield();              /* a last call may still be on its way to our ring */
    pthread_mutex_lock(&l->house->surge.lock);
    pthread_mutex_unlock(&l->house->surge.lock);
    ring_free(&l->ring);
    return NULL;
}

static void test_order_over_threads(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 100; round++) {
        struct line_thread lines[THREADS];
        struct house house;
        house_init(&house, 1, 1);
        for (unsigned i = 0; i < THREADS; i++) {
            lines[i] = (struct line_thread){ .house = &house, .index = i };
            assert_int_equal(pthread_create(&lines[i].thread, NULL, line_main, &lines[i]), 0);
        }
        for (unsigned i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_join(lines[i].thread, NULL), 0);
            assert_int_equal(lines[i].wrong, 0);
        }
        assert_int_equal(atomic_load(&house.served), LINE);
        house_fini(&house);
    }
}

#define ROWS(table, function)                                                                     \
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)                                 \
        tests[count++] = (struct CMUnitTest){ .name = table[i].name, .test_func = (function), .initial_state = (void *)&table[i] }

int main(void)
{
    static struct CMUnitTest tests[32];
    size_t count = 0;
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_bound);
    ROWS(queues, test_queue);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_aside);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_a_call_wakes_the_ring);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_order_over_threads);
    ROWS(stresses, test_stress);
    return _cmocka_run_group_tests("surge", tests, count, NULL, NULL);
}
