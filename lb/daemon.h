#ifndef LB_DAEMON_H
#define LB_DAEMON_H
#include "common/config.h"
#include "lb/halb_args.h"
#include <stdbool.h>
/*
 * The process between its configuration and its end: it starts everything in
 * order, takes signals, reloads, and stops everything in order. Main thread.
 */
struct board;
struct generation;

#define EXIT_CONFIG 1
#define EXIT_USAGE 2
#define EXIT_START 3

/* Who checks the instances; the daemon does not know them otherwise. Each as health/health.h has it. */
struct daemon_checks {
    int (*start)(struct board *board, void **ret);
    int (*plan)(void *checks, const struct generation *generation);
    void (*stop)(void **checks);
};

/* Serves until it is told to stop; the exit code. The configuration is borrowed. */
int daemon_serve(const struct halb_args *args, const struct config *config, const struct daemon_checks *checks);

/* -z: is there anything to serve in this zone? NULL: all zones. */
bool daemon_zone_served(const struct config *config, const char *zone);
/* What the command line says in the place of the file. */
void daemon_overrides_apply(const struct halb_args *args, struct config *config);
#endif
