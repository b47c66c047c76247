#include "lb/instance.h"
#include "common/board.h"
#include "lb/live.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static void instance_free(struct instance *instance)
{
    slot_unref(&instance->slot);
    live_unref(&instance->live);
    free(instance->id);
    free(instance->zone);
    free(instance->uses);
    free(instance->locals);
    free(instance);
}

static void *cache_lines(size_t count, size_t size)
{
    void *p = aligned_alloc(64, count * size);

    if (p != NULL)
        memset(p, 0, count * size);
    return p;
}

struct instance *instance_new(const char *id, const char *zone, const struct addr *address, struct slot *slot,
                              unsigned node_count, unsigned worker_count)
{
    struct instance *instance = cache_lines(1, sizeof(*instance));

    if (instance == NULL) {
        slot_unref(&slot);
        return NULL;
    }
    instance->slot = slot;
    instance->id = strdup(id);
    instance->zone = strdup(zone);
    instance->hash = instance_hash(id);
    instance->address = *address;
    instance->node_count = node_count;
    instance->worker_count = worker_count;
    instance->uses = cache_lines(node_count > 0 ? node_count : 1, sizeof(*instance->uses));
    instance->locals = cache_lines(worker_count > 0 ? worker_count : 1, sizeof(*instance->locals));
    atomic_init(&instance->refs, 1);
    atomic_init(&instance->phase, INSTANCE_REGISTERED);
    if (instance->id == NULL || instance->zone == NULL || instance->uses == NULL || instance->locals == NULL) {
        instance_free(instance);
        return NULL;
    }
    for (unsigned i = 0; i < worker_count; i++) {
        list_init(&instance->locals[i].idle);
        list_init(&instance->locals[i].busy);
    }
    return instance;
}

uint64_t instance_hash(const char *id)
{
    return XXH64(id, strlen(id), 0);
}

struct instance *instance_ref(struct instance *instance)
{
    atomic_fetch_add_explicit(&instance->refs, 1, memory_order_relaxed);
    return instance;
}

void instance_unref(struct instance **instance)
{
    struct instance *i = *instance;

    *instance = NULL;
    if (atomic_fetch_sub_explicit(&i->refs, 1, memory_order_acq_rel) == 1)
        instance_free(i);
}

bool instance_open(const struct instance *instance)
{
    enum slot_admin admin = slot_admin(instance->slot);

    return atomic_load_explicit(&instance->phase, memory_order_acquire) == INSTANCE_REGISTERED && admin != ADMIN_OUT && admin != ADMIN_DRAIN;
}

bool instance_eligible(const struct instance *instance)
{
    return atomic_load_explicit(&instance->phase, memory_order_acquire) == INSTANCE_REGISTERED && slot_eligible(instance->slot);
}

uint64_t instance_outstanding(const struct instance *instance)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < instance->node_count; i++)
        sum += atomic_load_explicit(&instance->uses[i].outstanding, memory_order_acquire);
    return sum;
}
