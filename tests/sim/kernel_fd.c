/* The simulated kernel as a whole: what goes wrong when, and the table of descriptors. */
#include "tests/sim/kernel_uring.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_FD 1000           /* no descriptor of the process: who mixes the two up is told */
#define FIRST_SOURCE_PORT 32768
#define DICE_STREAM UINT64_C(0x6b65726e656c)

struct kernel kernel;

void kernel_begin(const struct kernel_conf *conf)
{
    struct file **files = kernel.files;
    int room = kernel.files_room;

    assert(!kernel.running);
    kernel = (struct kernel){ .conf = *conf, .running = true, .files = files, .files_room = room, .next_port = FIRST_SOURCE_PORT };
    for (unsigned i = 0; i < FAULTS; i++)
        dice_init(&kernel.dice[i], conf->seed, DICE_STREAM + i);
    kernel.counts_multishot = choice(500);
    list_init(&kernel.listeners);
    list_init(&kernel.links);
}

void kernel_end(void)
{
    for (int i = 0; i < kernel.files_top; i++)
        if (kernel.files[i] != NULL)
            world_fail("halb has ended and left descriptor %d open: %s", i + FIRST_FD, file_text(kernel.files[i]));
    while (!list_empty(&kernel.links))
        link_free(list_entry(kernel.links.next, struct link, place));
    kernel.running = false;
}

void kernel_calm(void)
{
    kernel.calm = true;
    world_calm();
}

struct kernel_totals kernel_totals(void)
{
    return kernel.totals;
}

/* Faults. */

static unsigned permille_of(enum fault fault)
{
    const struct kernel_faults *f = &kernel.conf.faults;

    switch (fault) {
    case FAULT_LATE: return f->late;
    case FAULT_EMFILE: return f->emfile;
    case FAULT_ENOMEM: return f->enomem;
    case FAULT_MULTISHOT_ENDS: return f->multishot_ends;
    case FAULT_SHORT: return f->short_moves;
    case FAULT_EARLY: return f->early_wakes;
    case FAULT_CHOICE:
    case FAULTS: break;
    }
    return 0;
}

bool fault(enum fault fault)
{
    if (kernel.calm || !dice_permille(&kernel.dice[fault], permille_of(fault)))
        return false;
    kernel.totals.faults++;
    return true;
}

bool choice(unsigned permille)
{
    return !kernel.calm && dice_permille(&kernel.dice[FAULT_CHOICE], permille);
}

uint64_t late_by(void)
{
    uint64_t max = kernel.conf.faults.late_max_us;

    return dice_between(&kernel.dice[FAULT_LATE], 1, max > 0 ? max : 1);
}

size_t short_of(size_t len)
{
    return len > 1 && fault(FAULT_SHORT) ? dice_between(&kernel.dice[FAULT_SHORT], 1, len) : len;
}

void kernel_fail_nth(enum kernel_nth what, uint64_t n)
{
    kernel.nth.what = what;
    kernel.nth.n = n;
    kernel.nth.count = 0;
}

bool kernel_nth_reached(void)
{
    return kernel.nth.n > 0 && kernel.nth.count >= kernel.nth.n;
}

bool nth_reached(enum kernel_nth what)
{
    if (kernel.nth.n == 0 || kernel.nth.what != what || ++kernel.nth.count != kernel.nth.n)
        return false;
    kernel.totals.faults++;
    trace("fault: the %lu. %s", (unsigned long)kernel.nth.n,
          what == NTH_SUBMISSION ? "submission" : what == NTH_COMPLETION ? "completion" : "descriptor");
    return true;
}

bool descriptor_refused(void)
{
    return nth_reached(NTH_DESCRIPTOR) || fault(FAULT_EMFILE);
}

/* Descriptors. */

static void files_grow(void)
{
    int room = kernel.files_room == 0 ? 256 : kernel.files_room * 2;
    struct file **files = realloc(kernel.files, (size_t)room * sizeof(*files));

    if (files == NULL)
        world_fail("no memory for descriptors");
    kernel.files = files;
    kernel.files_room = room;
}

static int lowest_free(void)
{
    while (kernel.lowest < kernel.files_top && kernel.files[kernel.lowest] != NULL)
        kernel.lowest++;
    if (kernel.lowest == kernel.files_room)
        files_grow();
    if (kernel.lowest == kernel.files_top)
        kernel.files[kernel.files_top++] = NULL;
    return kernel.lowest;
}

struct file *file_new(enum file_kind kind)
{
    int place = lowest_free();
    struct file *file = calloc(1, sizeof(*file));

    if (file == NULL)
        world_fail("no memory for a descriptor");
    file->kind = kind;
    file->fd = place + FIRST_FD;
    file->opened_us = world_now_us();
    list_init(&file->waiting);
    kernel.files[place] = file;
    if (++kernel.totals.descriptors > kernel.totals.descriptors_most)
        kernel.totals.descriptors_most = kernel.totals.descriptors;
    return file;
}

struct file *file_get(int fd, const char *call)
{
    int place = fd - FIRST_FD;

    if (place < 0 || place >= kernel.files_top || kernel.files[place] == NULL)
        world_fail("%s on descriptor %d, which is not open", call, fd);
    return kernel.files[place];
}

struct file *file_socket(int fd, const char *call)
{
    struct file *file = file_get(fd, call);

    if (file->kind != FILE_SOCKET)
        world_fail("%s on descriptor %d: %s", call, fd, file_text(file));
    return file;
}

void file_free(struct file *file)
{
    int place = file->fd - FIRST_FD;

    if (file->requests > 0)
        world_fail("descriptor %d is closed with %u operations in flight on it: %s", file->fd, file->requests, file_text(file));
    kernel.files[place] = NULL;
    if (place < kernel.lowest)
        kernel.lowest = place;
    kernel.totals.descriptors--;
    free(file);
}

static const char *socket_text(const struct socket *socket, char *text, size_t size)
{
    char peer[ADDR_TEXT_MAX], own[ADDR_TEXT_MAX];
    struct link *link = socket->link;

    if (link == NULL)
        return "a socket that was never connected";
    snprintf(text, size, "a connection %s %s, of %s", socket->side == 0 ? "made to" : "accepted from",
             addr_format(&link->ends[1 - socket->side].addr, peer), addr_format(&link->ends[socket->side].addr, own));
    return text;
}

static const char *kind_text(const struct file *file, char *text, size_t size)
{
    char at[ADDR_TEXT_MAX];

    switch (file->kind) {
    case FILE_RING: return "a ring";
    case FILE_EVENT: return "an event";
    case FILE_PIPE: return file->end.input ? "a pipe's input" : "a pipe's output";
    case FILE_SOCKET: return socket_text(&file->socket, text, size);
    case FILE_LISTENER: break;
    }
    snprintf(text, size, "listening at %s", addr_format(&file->listener.at, at));
    return text;
}

const char *file_text(const struct file *file)
{
    static char text[320];
    char kind[256];

    snprintf(text, sizeof(text), "%s, opened at %lu.%06lu", kind_text(file, kind, sizeof(kind)), (unsigned long)(file->opened_us / 1000000),
             (unsigned long)(file->opened_us % 1000000));
    return text;
}

void file_changed(struct file *file, unsigned events)
{
    list_for_each(at, &file->waiting)
        request_wake(list_entry(at, struct request, waiting), events);
}
