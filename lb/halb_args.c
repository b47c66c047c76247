#include "lb/halb_args.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>

static const char usage[] =
    "usage: halb -c FILE [-z ZONE] [-s SOCKET] [-d DIR] [-t] [-D] [-V] [-h]\n"
    "  -c FILE    the configuration\n"
    "  -z ZONE    serve only the balancer nodes of this zone\n"
    "  -s SOCKET  the control socket, instead of process.admin_socket\n"
    "  -d DIR     the state directory, instead of process.state_dir\n"
    "  -t         check the configuration and exit: 0 good, 1 bad\n"
    "  -D         print the effective configuration, all defaults filled in, and exit\n"
    "  -V         print the versions and what io_uring offers here, and exit\n"
    "  -h         this\n";

static int refuse(const char *why, const char *what)
{
    fprintf(stderr, "halb: %s%s\n%s", why, what, usage);
    return -EINVAL;
}

static int option(struct halb_args *args, int letter)
{
    switch (letter) {
    case 'c':
        args->config = optarg;
        return 0;
    case 'z':
        args->zone = optarg;
        return 0;
    case 's':
        args->admin_socket = optarg;
        return 0;
    case 'd':
        args->state_dir = optarg;
        return 0;
    case 'a':
        return refuse("-a: an HTTP control endpoint is not supported by this version; halbctl uses the control socket", "");
    case 't':
        args->action = ACTION_TEST;
        return 0;
    case 'D':
        args->action = ACTION_DUMP;
        return 0;
    case 'V':
        args->action = ACTION_VERSION;
        return 0;
    case 'h':
        args->action = ACTION_HELP;
        return 0;
    default:
        fputs(usage, stderr);       /* getopt has said what is wrong */
        return -EINVAL;
    }
}

int halb_args_parse(int argc, char **argv, struct halb_args *args)
{
    int letter;

    *args = (struct halb_args){ 0 };
    while ((letter = getopt(argc, argv, "c:z:s:a:d:tDVh")) != -1)
        if (option(args, letter) < 0)
            return -EINVAL;
    if (optind < argc)
        return refuse("what is this argument for: ", argv[optind]);
    if (args->config == NULL && args->action != ACTION_VERSION && args->action != ACTION_HELP)
        return refuse("-c FILE is missing", "");
    return 0;
}

void halb_args_usage(void)
{
    fputs(usage, stdout);
}
