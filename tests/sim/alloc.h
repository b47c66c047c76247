#ifndef TESTS_SIM_ALLOC_H
#define TESTS_SIM_ALLOC_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/*
 * halb's memory: what it allocates by itself (not what libraries do for it) is counted, filled with junk before its use and after, and
 * fails on demand. The simulation's own is not touched (own.h).
 */
void alloc_begin(void);                 /* what there was is forgotten, counts begin at 0; the demand below stays */
/* From the next alloc_begin() on: the n-th allocation (from 1) and those after it, `count` in all, find no memory. n 0: none. */
void alloc_fail_nth(uint64_t n, uint64_t count);
bool alloc_nth_reached(void);           /* since alloc_begin() */
uint64_t alloc_failed(void);            /* how many found none since then */
uint64_t alloc_count(void);             /* allocations since then */
size_t alloc_live_blocks(void);
size_t alloc_peak_bytes(void);
void alloc_print_live(void);            /* the oldest few that are left, with who asked for them */
#endif
