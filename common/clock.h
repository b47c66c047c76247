#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H
#include <stddef.h>
#include <stdint.h>
/*
 * The only source of time. Can be replaced at link time by a virtual one, so
 * nothing else may ask the system. Inside a loop use ring_now_ms(), which is
 * read once a turn.
 */
uint64_t clock_monotonic_us(void);   /* never jumps; counts suspend (CLOCK_BOOTTIME) */
uint64_t clock_realtime_us(void);
uint64_t clock_realtime_ms(void);    /* since 1970, UTC; may jump: for people only */
void clock_sleep_ms(unsigned ms);    /* at a beginning or an end, where there is no ring to wait with */

#define CLOCK_TEXT_MAX 32
/* RFC 3339, UTC, milliseconds: "2026-03-04T05:06:07.123Z". Returns text. */
char *clock_format(uint64_t realtime_ms, char text[CLOCK_TEXT_MAX]);
#endif
