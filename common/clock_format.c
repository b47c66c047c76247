#include "common/clock.h"
#include <stdio.h>
#include <time.h>

#define YEAR_9999_END_MS UINT64_C(253402300799999)      /* the last instant that RFC 3339 can write */

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
