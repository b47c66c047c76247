#ifndef TESTS_SIM_ACTORS_H
#define TESTS_SIM_ACTORS_H
#include "plan.h"
/*
 * Those who are not halb: clients of every kind and instances of every manner. They tell the oracle what they do and see, and check
 * what is theirs alone: a client, that answers come in order, whole and well framed, one for each request; an instance, that what
 * comes parses strictly (tests/fuzz/strict.h and framing), is what was asked and nothing else.
 */
void clients_begin(const struct plan *plan);            /* each starts at its start_us */
bool clients_done(void);                                /* every one has made its requests, or has given up */
void clients_hurry(void);                               /* no further requests, no pauses: finish what is under way */
void clients_end(void);                                 /* frees; all are done */

void instances_begin(const struct plan *plan);
void instance_become(unsigned instance, enum manner manner);    /* tells the oracle */
void instances_end(void);                               /* resets what is left, frees */
#endif
