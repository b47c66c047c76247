#ifndef TESTS_SIM_WATCH_H
#define TESTS_SIM_WATCH_H
#include "plan.h"
/*
 * What was true when: each instance's manner, and whether halb let it have new work. Looks after every step at the board, and fails
 * the world when a verdict is not what the results of the checks make of it, or comes too late.
 */
struct instance;

void watch_begin(const struct plan *plan);
void watch_look(void);
void watch_end(void);

void watch_manner(unsigned instance, enum manner manner);       /* from now on */
enum manner watch_manner_of(unsigned instance);
void watch_check(unsigned instance, uint64_t opened_us, bool passes);

/* Times in microseconds; both ends count. */
bool watch_bad_within(unsigned instance, uint64_t from, uint64_t to);           /* a manner that may fail a request */
bool watch_eligible_within(unsigned instance, uint64_t from, uint64_t to);      /* was it ever? */
bool watch_eligible_throughout(unsigned instance, uint64_t from, uint64_t to);
uint64_t watch_fault_us(void);                  /* when the n-th of a fault loop failed; 0: not yet */
enum door_state { DOOR_CLOSED, DOOR_OPEN, DOOR_MOVING /* opens or closes, or nobody knows yet */ };
unsigned watch_door_within(unsigned balancer, bool second, uint64_t from, uint64_t to);         /* bits */
uint64_t watch_door_left_us(unsigned balancer, bool second, uint64_t from);     /* when it was first anything but open; UINT64_MAX: never */
bool watch_registered(unsigned instance);       /* now */
const struct instance *watch_instance(unsigned instance);       /* NULL: not registered */
#endif
