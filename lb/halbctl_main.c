#include "lb/ctl_args.h"
#include "lb/ctl_run.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int run(const struct ctl_args *args)
{
    if (args->help)
        fputs(ctl_usage(), stdout);
    else if (args->version)
        puts("halbctl " HALB_VERSION);
    else
        return ctl_run(args, stdout, stderr);
    return CTL_EXIT_OK;
}

int main(int argc, char **argv)
{
    struct ctl_args args;
    char error[256];
    int code;
    if (ctl_args_parse(argc, argv, getenv("HALB_SOCKET"), &args, error) < 0) {
        fprintf(stderr, "halbctl: %s\n%s", error, ctl_usage());
        return CTL_EXIT_USAGE;
    }
    code = run(&args);
    if (fflush(stdout) != 0) {
        fprintf(stderr, "halbctl: can not write: %s\n", strerror(errno));
        return CTL_EXIT_REFUSED;
    }
    return code;
}
