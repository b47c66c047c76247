/*
 * The log: "TIME LEVEL MESSAGE" on standard error. A reader that stopped
 * reading must not stop us: what does not fit at once is dropped and counted,
 * and the next line that fits is preceded by the count.
 */
#include "common/log.h"
#include "common/clock.h"
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MESSAGE_MAX 1024        /* bytes before escaping; the rest is cut */
#define LINE_MAX_BYTES 4096     /* <= PIPE_BUF, so that a line is written whole */

static _Atomic enum log_level most_shown = LOG_INFO;
static atomic_ulong dropped_count;

void log_open(enum log_level most)
{
    atomic_store_explicit(&most_shown, most, memory_order_relaxed);
}

static const char *level_text(enum log_level level)
{
    switch (level) {
    case LOG_ERROR: return "error";
    case LOG_WARNING: return "warning";
    case LOG_INFO: return "info";
    case LOG_DEBUG: return "debug";
    }
    return "";
}

/* Messages may carry what a peer sent: whatever is not printable ASCII can neither end a line nor drive a terminal. */
static size_t escape(char *to, size_t size, const char *from)
{
    static const char hex[] = "0123456789abcdef";
    size_t len = 0;

    for (; *from != '\0' && len + 4 <= size; from++) {
        unsigned char c = (unsigned char)*from;
        if (c >= 0x20 && c < 0x7f) {
            to[len++] = (char)c;
            continue;
        }
        to[len++] = '\\';
        to[len++] = 'x';
        to[len++] = hex[c >> 4];
        to[len++] = hex[c & 15];
    }
    return len;
}

static bool write_line(enum log_level level, const char *message)
{
    struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };
    char line[LINE_MAX_BYTES], time[CLOCK_TEXT_MAX];
    size_t len;

    len = (size_t)snprintf(line, sizeof(line), "%s %s ", clock_format(clock_realtime_ms(), time), level_text(level));
    len += escape(line + len, sizeof(line) - 1 - len, message);
    line[len++] = '\n';
    return poll(&out, 1, 0) == 1 && write(STDERR_FILENO, line, len) == (ssize_t)len;
}

static void report_dropped(void)
{
    unsigned long count = atomic_exchange_explicit(&dropped_count, 0, memory_order_relaxed);
    char message[80];

    if (count == 0)
        return;
    snprintf(message, sizeof(message), "%lu log lines were dropped: standard error did not take them", count);
    if (!write_line(LOG_WARNING, message))
        atomic_fetch_add_explicit(&dropped_count, count, memory_order_relaxed);
}

void log_line(enum log_level level, const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list args;

    if (level > atomic_load_explicit(&most_shown, memory_order_relaxed))
        return;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    report_dropped();
    if (!write_line(level, message))
        atomic_fetch_add_explicit(&dropped_count, 1, memory_order_relaxed);
}
