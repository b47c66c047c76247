#ifndef LB_CTL_RUN_H
#define LB_CTL_RUN_H
#include <stdio.h>
/*
 * What a command line asks for, done: each process is asked in turn and what
 * they answered is printed, once if they agree. Returns the exit code, the
 * worst of all processes.
 */
struct ctl_args;

enum { CTL_EXIT_OK = 0, CTL_EXIT_REFUSED = 1, CTL_EXIT_USAGE = 2, CTL_EXIT_NO_CONTACT = 3 };

int ctl_run(const struct ctl_args *args, FILE *out, FILE *err);
#endif
