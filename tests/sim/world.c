/* Dice, the clock, events and tasks of the simulated world, and the trace of what happened in it. */
#include "tests/sim/world.h"
#include "common/list.h"
#include <assert.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#if SANITIZED
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define STACK_BYTES ((size_t)448 * 1024)        /* frames have their red zones */
#else
#define STACK_BYTES ((size_t)256 * 1024)
#endif
#define GUARD_BYTES ((size_t)4096)
#define TASKS_MAX 64
#define STILL_MAX 1000000       /* steps in one microsecond: somebody goes round in circles */

#define LINES_KEPT 256          /* a power of two */
#define LINE_ARGS 192
#define LINE_TEXT 512
#define SCHEDULE_STREAM UINT64_C(0x7261636b)

enum task_state { TASK_RUNS, TASK_WAITS, TASK_LATE, TASK_READY, TASK_ENDED };

struct task {
    char name[16];
    ucontext_t context;
    char *stack;
    void *(*main)(void *arg);
    void *arg;
    enum task_state state;
    bool again;                 /* woken while it ran */
    struct event late;
    void *fake_stack;           /* ASan's */
};

/* A line of the trace as it was given: arguments are turned into text only if somebody reads it. */
struct line {
    uint64_t at_us;
    const char *format;
    char task[16];
    unsigned args_len;
    unsigned char args[LINE_ARGS];
};

struct heap_slot {
    uint64_t at_us, order;
    struct event *event;
};

static struct world {
    struct world_conf conf;
    uint64_t now_us, order, steps, still;
    void (*look)(void);         /* after each step; NULL: nobody looks */
    bool calm;
    struct dice schedule, stalls;
    struct heap_slot *heap;     /* from 1 */
    size_t heap_count, heap_room;
    struct task *ready[TASKS_MAX];
    unsigned ready_count, tasks;
    struct task *running;
    ucontext_t outside;
    const void *outside_stack;
    size_t outside_bytes;
    struct line lines[LINES_KEPT];
    uint64_t line_count, hash;
    char *spare_stacks[TASKS_MAX];      /* kept from run to run */
    unsigned spare_count;
} world;

/* Dice: xoroshiro128+, each stream seeded by splitmix64. */

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t rotate(uint64_t x, unsigned by)
{
    return (x << by) | (x >> (64 - by));
}

void dice_init(struct dice *dice, uint64_t seed, uint64_t stream)
{
    uint64_t x = mix(seed + UINT64_C(0x9e3779b97f4a7c15)) ^ mix(mix(stream + UINT64_C(0xd1b54a32d192ed03)));

    dice->state[0] = mix(x + UINT64_C(0x9e3779b97f4a7c15));
    dice->state[1] = mix(x + 2 * UINT64_C(0x9e3779b97f4a7c15)) | 1;     /* never all zero */
}

uint64_t dice_next(struct dice *dice)
{
    uint64_t a = dice->state[0], b = dice->state[1], result = a + b;

    b ^= a;
    dice->state[0] = rotate(a, 24) ^ b ^ (b << 16);
    dice->state[1] = rotate(b, 37);
    return result;
}

uint64_t dice_below(struct dice *dice, uint64_t n)
{
    assert(n > 0);
    return (uint64_t)(((unsigned __int128)dice_next(dice) * n) >> 64);
}

uint64_t dice_between(struct dice *dice, uint64_t low, uint64_t high)
{
    assert(low <= high);
    return high - low == UINT64_MAX ? dice_next(dice) : low + dice_below(dice, high - low + 1);
}

bool dice_permille(struct dice *dice, unsigned permille)
{
    return permille > 0 && dice_below(dice, 1000) < permille;
}

/* The trace. */

/* One conversion of a format: "%", flags, width, precision, length, letter. */
struct spec {
    const char *start, *end;
    unsigned stars;             /* widths and precisions among the arguments */
    unsigned longs;             /* 'l', 'z', 'j', 't': at least one */
    char letter;
};

static const char *spec_next(const char *format, struct spec *spec)
{
    const char *at = strchr(format, '%');

    if (at == NULL)
        return NULL;
    *spec = (struct spec){ .start = at++ };
    for (; strchr("-+ #0123456789.*", *at) != NULL && *at != '\0'; at++)
        spec->stars += *at == '*';
    for (; *at != '\0' && strchr("hlzjt", *at) != NULL; at++)
        spec->longs += *at != 'h';
    spec->letter = *at;
    spec->end = *at == '\0' ? at : at + 1;
    return at;
}

static void line_put(struct line *line, const void *bytes, size_t len)
{
    if (line->args_len + len <= sizeof(line->args))
        memcpy(line->args + line->args_len, bytes, len);
    line->args_len += (unsigned)len;
}

static void line_put_number(struct line *line, uint64_t number)
{
    line_put(line, &number, sizeof(number));
    world.hash = (rotate(world.hash, 5) ^ number) * UINT64_C(0x9e3779b97f4a7c15);
}

static void line_put_text(struct line *line, const char *text, size_t max)
{
    size_t room = line->args_len + 1 < sizeof(line->args) ? sizeof(line->args) - line->args_len - 1 : 0;
    size_t len = strnlen(text, max < room ? max : room);
    uint8_t short_len = (uint8_t)len;

    line_put(line, &short_len, 1);
    line_put(line, text, len);
    for (size_t i = 0; i < len; i++)
        world.hash = (world.hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
}

static size_t fixed_precision(const struct spec *spec)
{
    const char *dot = memchr(spec->start, '.', (size_t)(spec->end - spec->start));

    return dot != NULL && dot[1] != '*' ? strtoul(dot + 1, NULL, 10) : SIZE_MAX;
}

static void line_fill(struct line *line, va_list args)
{
    struct spec spec;

    for (const char *at = line->format; (at = spec_next(at, &spec)) != NULL; at = spec.end) {
        size_t max = fixed_precision(&spec);
        for (unsigned i = 0; i < spec.stars; i++) {
            int star = va_arg(args, int);
            line_put_number(line, (uint64_t)(int64_t)star);
            max = star < 0 ? SIZE_MAX : (size_t)star;
        }
        if (spec.letter == 's')
            line_put_text(line, va_arg(args, const char *), max);
        else if (spec.letter == 'd' || spec.letter == 'i')
            line_put_number(line, (uint64_t)(spec.longs > 0 ? va_arg(args, long) : va_arg(args, int)));
        else if (spec.letter != '\0' && strchr("uxXoc", spec.letter) != NULL)
            line_put_number(line, spec.longs > 0 ? va_arg(args, unsigned long) : va_arg(args, unsigned));
        else if (spec.letter != '%')
            world_fail("trace: \"%%%c\" of \"%s\" is not to be traced", spec.letter, line->format);
    }
}

/* Reads the arguments of a line back, in their order. */
struct line_reader {
    const struct line *line;
    unsigned at;
};

static bool read_bytes(struct line_reader *reader, void *bytes, size_t len)
{
    if (reader->at + len > reader->line->args_len || reader->at + len > sizeof(reader->line->args))
        return false;
    memcpy(bytes, reader->line->args + reader->at, len);
    reader->at += (unsigned)len;
    return true;
}

static uint64_t read_number(struct line_reader *reader)
{
    uint64_t number = 0;

    read_bytes(reader, &number, sizeof(number));
    return number;
}

/* "%-*.3lu" with its stars' numbers in their places and one length for all. */
static void spec_text(const struct spec *spec, struct line_reader *reader, char *text, size_t size)
{
    size_t len = 0;

    for (const char *at = spec->start; at < spec->end - 1 && len + 24 < size; at++)
        if (*at == '*')
            len += (size_t)snprintf(text + len, size - len, "%d", (int)read_number(reader));
        else if (strchr("hlzjt", *at) == NULL)
            text[len++] = *at;
    if (spec->letter != 's' && spec->letter != 'c')
        text[len++] = 'l';
    text[len++] = spec->letter;
    text[len] = '\0';
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static size_t spec_print(const struct spec *spec, struct line_reader *reader, char *out, size_t size)
{
    char format[64], text[256] = "";
    uint8_t len = 0;

    if (spec->letter == '%')
        return (size_t)snprintf(out, size, "%%");
    spec_text(spec, reader, format, sizeof(format));
    if (spec->letter == 'c')
        return (size_t)snprintf(out, size, format, (int)read_number(reader));
    if (spec->letter != 's')
        return (size_t)snprintf(out, size, format, (unsigned long)read_number(reader));
    if (read_bytes(reader, &len, 1) && !read_bytes(reader, text, len))
        text[0] = '\0';
    return (size_t)snprintf(out, size, format, text);
}
#pragma GCC diagnostic pop

static size_t advance(size_t len, size_t by, size_t size)
{
    return len + by < size ? len + by : size - 1;
}

static void line_print(const struct line *line)
{
    char text[LINE_TEXT];
    struct line_reader reader = { .line = line };
    struct spec spec;
    const char *at = line->format;
    size_t len = 0;

    while (spec_next(at, &spec) != NULL) {
        len = advance(len, (size_t)snprintf(text + len, sizeof(text) - len, "%.*s", (int)(spec.start - at), at), sizeof(text));
        len = advance(len, spec_print(&spec, &reader, text + len, sizeof(text) - len), sizeof(text));
        at = spec.end;
    }
    snprintf(text + len, sizeof(text) - len, "%s", at);
    printf("%6lu.%06lu %-12s %s%s\n", (unsigned long)(line->at_us / 1000000), (unsigned long)(line->at_us % 1000000), line->task, text,
           line->args_len > sizeof(line->args) ? " ..." : "");
}

void trace(const char *format, ...)
{
    struct line *line = &world.lines[world.line_count++ & (LINES_KEPT - 1)];
    va_list args;

    line->at_us = world.now_us;
    line->format = format;
    line->args_len = 0;
    memcpy(line->task, world.running != NULL ? world.running->name : "-\0            ", sizeof(line->task) - 1);
    line->task[sizeof(line->task) - 1] = '\0';
    world.hash = (world.hash ^ world.now_us) * UINT64_C(0x100000001b3);
    va_start(args, format);
    line_fill(line, args);
    va_end(args);
    if (world.conf.trace)
        line_print(line);
}

uint64_t world_hash(void)
{
    return world.hash;
}

static void show_end(void)
{
    uint64_t first = world.line_count > LINES_KEPT ? world.line_count - LINES_KEPT : 0;

    for (uint64_t i = first; !world.conf.trace && i < world.line_count; i++)
        line_print(&world.lines[i & (LINES_KEPT - 1)]);
    printf("seed %lu at %lu.%06lu, step %lu, task %s\n", (unsigned long)world.conf.seed, (unsigned long)(world.now_us / 1000000),
           (unsigned long)(world.now_us % 1000000), (unsigned long)world.steps, world.running != NULL ? world.running->name : "-");
    fflush(stdout);
}

void world_fail(const char *format, ...)
{
    va_list args;

    show_end();
    fputs("FAILED: ", stdout);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    fputs("\n", stdout);
    fflush(stdout);
    _exit(WORLD_FAILED);
}

/* An assertion of halb's (or ours) does not hold: its message is out already. */
static void on_abort(int signal)
{
    (void)signal;
    show_end();
    puts("FAILED: an assertion");
    fflush(stdout);
    _exit(WORLD_FAILED);
}

static void watch_for_crashes(void)
{
    signal(SIGABRT, on_abort);
#if SANITIZED
    __sanitizer_set_death_callback(show_end);
#endif
}

/* Events: a binary heap by time, then by the order of setting. */

uint64_t world_now_us(void)
{
    return world.now_us;
}

void event_init(struct event *event, void (*fire)(struct event *event))
{
    *event = (struct event){ .fire = fire };
}

bool event_is_set(const struct event *event)
{
    return event->place != 0;
}

static bool slot_before(const struct heap_slot *a, const struct heap_slot *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_place(size_t place, struct heap_slot slot)
{
    world.heap[place] = slot;
    slot.event->place = place;
}

static void heap_up(size_t place, struct heap_slot slot)
{
    while (place > 1 && slot_before(&slot, &world.heap[place / 2])) {
        heap_place(place, world.heap[place / 2]);
        place /= 2;
    }
    heap_place(place, slot);
}

static void heap_down(size_t place, struct heap_slot slot)
{
    for (size_t child = place * 2; child <= world.heap_count; child = place * 2) {
        if (child < world.heap_count && slot_before(&world.heap[child + 1], &world.heap[child]))
            child++;
        if (!slot_before(&world.heap[child], &slot))
            break;
        heap_place(place, world.heap[child]);
        place = child;
    }
    heap_place(place, slot);
}

static void heap_move(size_t place, struct heap_slot slot)
{
    if (place > 1 && slot_before(&slot, &world.heap[place / 2]))
        heap_up(place, slot);
    else
        heap_down(place, slot);
}

static void heap_grow(void)
{
    world.heap_room = world.heap_room == 0 ? 1024 : world.heap_room * 2;
    world.heap = realloc(world.heap, world.heap_room * sizeof(*world.heap));
    if (world.heap == NULL)
        world_fail("no memory for events");
}

void event_set(struct event *event, uint64_t at_us)
{
    assert(event->fire != NULL);
    event->at_us = at_us > world.now_us ? at_us : world.now_us;
    event->order = world.order++;
    if (event->place != 0) {
        heap_move(event->place, (struct heap_slot){ event->at_us, event->order, event });
        return;
    }
    if (world.heap_count + 2 > world.heap_room)
        heap_grow();
    heap_up(++world.heap_count, (struct heap_slot){ event->at_us, event->order, event });
}

void event_clear(struct event *event)
{
    size_t place = event->place;
    struct heap_slot last;

    if (place == 0)
        return;
    event->place = 0;
    last = world.heap[world.heap_count--];
    if (last.event != event)
        heap_move(place, last);
}

/* Tasks. */

static void fiber_leaves(void **fake_stack, const void *bottom, size_t size)
{
#if SANITIZED
    __sanitizer_start_switch_fiber(fake_stack, bottom, size);
#else
    (void)fake_stack, (void)bottom, (void)size;
#endif
}

static void fiber_arrives(void *fake_stack, const void **bottom, size_t *size)
{
#if SANITIZED
    __sanitizer_finish_switch_fiber(fake_stack, bottom, size);
#else
    (void)fake_stack, (void)bottom, (void)size;
#endif
}

static char *stack_new(void)
{
    char *stack;

    if (world.spare_count > 0) {
        stack = world.spare_stacks[--world.spare_count];
#if SANITIZED
        __asan_unpoison_memory_region(stack + GUARD_BYTES, STACK_BYTES);
#endif
        return stack;
    }
    stack = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack, GUARD_BYTES, PROT_NONE) < 0)
        world_fail("no memory for a stack");
    return stack;
}

static void ready_add(struct task *task)
{
    assert(world.ready_count < TASKS_MAX);
    task->state = TASK_READY;
    world.ready[world.ready_count++] = task;
}

static void late_fired(struct event *event)
{
    ready_add(container_of(event, struct task, late));
}

/* Back to world_run(), which resumes whoever is next. */
static void task_leave(struct task *task, bool for_good)
{
    fiber_leaves(for_good ? NULL : &task->fake_stack, world.outside_stack, world.outside_bytes);
    swapcontext(&task->context, &world.outside);
    fiber_arrives(task->fake_stack, &world.outside_stack, &world.outside_bytes);
}

static void task_begin(void)
{
    struct task *task = world.running;

    fiber_arrives(NULL, &world.outside_stack, &world.outside_bytes);
    task->main(task->arg);
    task->state = TASK_ENDED;
    task_leave(task, true);
    abort();
}

static void task_resume(struct task *task)
{
    void *fake_stack = NULL;

    task->state = TASK_RUNS;
    world.running = task;
    fiber_leaves(&fake_stack, task->stack + GUARD_BYTES, STACK_BYTES);
    swapcontext(&world.outside, &task->context);
    fiber_arrives(fake_stack, NULL, NULL);
    world.running = NULL;
}

struct task *task_start(const char *name, void *(*main)(void *arg), void *arg)
{
    struct task *task = calloc(1, sizeof(*task));

    if (task == NULL)
        world_fail("no memory for a task");
    if (world.tasks == TASKS_MAX)
        world_fail("more than %d tasks", TASKS_MAX);
    world.tasks++;
    snprintf(task->name, sizeof(task->name), "%s", name);
    task->main = main;
    task->arg = arg;
    task->stack = stack_new();
    event_init(&task->late, late_fired);
    getcontext(&task->context);
    task->context.uc_stack.ss_sp = task->stack + GUARD_BYTES;
    task->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&task->context, task_begin, 0);
    task->state = TASK_WAITS;
    task_wake(task);
    return task;
}

struct task *task_self(void)
{
    return world.running;
}

/* Ready now, or when the machine has time for it. */
static void task_schedule(struct task *task)
{
    if (!world.calm && world.conf.stall_max_us > 0 && dice_permille(&world.stalls, world.conf.stall_permille)) {
        task->state = TASK_LATE;
        event_set(&task->late, world.now_us + dice_between(&world.stalls, 1, world.conf.stall_max_us));
        return;
    }
    ready_add(task);
}

void task_wait(void)
{
    struct task *task = world.running;

    if (task == NULL)
        world_fail("something waits that is no task");
    task->state = TASK_WAITS;
    if (task->again) {
        task->again = false;
        task_schedule(task);
    }
    task_leave(task, false);
}

void task_wake(struct task *task)
{
    if (task->state == TASK_RUNS)
        task->again = true;
    else if (task->state == TASK_WAITS)
        task_schedule(task);
}

bool task_ended(const struct task *task)
{
    return task->state == TASK_ENDED;
}

void task_free(struct task **task)
{
    struct task *t = *task;

    if (t == NULL)
        return;
    assert(t->state == TASK_ENDED);
    *task = NULL;
    if (world.spare_count < TASKS_MAX)
        world.spare_stacks[world.spare_count++] = t->stack;
    else
        munmap(t->stack, GUARD_BYTES + STACK_BYTES);
    world.tasks--;
    free(t);
}

/* The world itself. */

void world_begin(const struct world_conf *conf)
{
    world.conf = *conf;
    world.now_us = WORLD_START_US;
    world.order = world.steps = world.still = 0;
    world.calm = false;
    world.look = NULL;
    world.line_count = 0;
    world.hash = conf->seed;
    dice_init(&world.schedule, conf->seed, SCHEDULE_STREAM);
    dice_init(&world.stalls, conf->seed, SCHEDULE_STREAM + 1);
    watch_for_crashes();
}

void world_calm(void)
{
    world.calm = true;
}

static void event_fire_next(void)
{
    struct event *event = world.heap[1].event;

    if (event->at_us > world.now_us) {
        world.now_us = event->at_us;
        world.still = 0;
    }
    event_clear(event);
    event->fire(event);
}

/* Any of the ready ones: the order in which a machine of several processors runs them is nobody's business. */
static void task_resume_any(void)
{
    unsigned i = world.ready_count > 1 ? (unsigned)dice_below(&world.schedule, world.ready_count) : 0;
    struct task *task = world.ready[i];

    world.ready[i] = world.ready[--world.ready_count];
    task_resume(task);
}

static bool event_goes_first(void)
{
    return world.heap_count > 0 && world.heap[1].at_us <= world.now_us && dice_permille(&world.schedule, 500);
}

void world_each_step(void (*look)(void))
{
    world.look = look;
}

void world_run(struct task *until)
{
    while (!task_ended(until)) {
        world.steps++;
        if (++world.still > STILL_MAX)
            world_fail("a million steps, and time stands still");
        if (world.ready_count > 0 && !event_goes_first())
            task_resume_any();
        else if (world.heap_count > 0)
            event_fire_next();
        else
            world_fail("nothing can happen any more, and task %s waits", until->name);
        if (world.look != NULL)
            world.look();
    }
}

void world_end(void)
{
    if (world.tasks > 0)
        world_fail("%u tasks have not been freed", world.tasks);
    for (size_t i = 1; i <= world.heap_count; i++)
        world.heap[i].event->place = 0;
    world.heap_count = 0;
}

uint64_t world_steps(void)
{
    return world.steps;
}
