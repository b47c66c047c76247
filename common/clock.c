/* The system's clocks. A virtual time source replaces this file at link time. */
#include "common/clock.h"
#include <assert.h>
#include <errno.h>
#include <time.h>

static struct timespec read_clock(clockid_t id)
{
    struct timespec ts;
    int r = clock_gettime(id, &ts);

    assert(r == 0);
    (void)r;
    return ts;
}

uint64_t clock_monotonic_us(void)
{
    struct timespec ts = read_clock(CLOCK_BOOTTIME);

    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_realtime_us(void)
{
    struct timespec ts = read_clock(CLOCK_REALTIME);

    return ts.tv_sec < 0 ? 0 : (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_realtime_ms(void)
{
    return clock_realtime_us() / 1000;
}

void clock_sleep_ms(unsigned ms)
{
    struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

    while (nanosleep(&pause, &pause) < 0 && errno == EINTR)
        continue;
}
