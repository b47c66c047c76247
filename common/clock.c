/* The system's clocks. A virtual time source replaces this file at link time. */
#include "common/clock.h"
#include <assert.h>
#include <stdio.h>
#include <time.h>

#define YEAR_9999_END_MS UINT64_C(253402300799999)      /* the last instant that RFC 3339 can write */

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

char *clock_format(uint64_t realtime_ms, char text[CLOCK_TEXT_MAX])
{
    uint64_t ms = realtime_ms > YEAR_9999_END_MS ? YEAR_9999_END_MS : realtime_ms;
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm = { 0 };
    size_t len;

    gmtime_r(&seconds, &tm);
    len = strftime(text, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, CLOCK_TEXT_MAX - len, ".%03uZ", (unsigned)(ms % 1000));
    return text;
}
