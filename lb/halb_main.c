/* halb: the command line and the configuration. */
#include "common/config.h"
#include "common/log.h"
#include "common/ring.h"
#include "lb/daemon.h"
#include "lb/halb_args.h"
#include "lb/halb_checks.h"
#include <openssl/crypto.h>
#include <stdio.h>

static int version(void)
{
    char text[512];

    printf("halb " HALB_VERSION "\nliburing " HALB_LIBURING "\n%s\nio_uring: %s\n", OpenSSL_version(OPENSSL_VERSION),
           ring_features(text, sizeof(text)));
    return 0;
}

static int with_config(const struct halb_args *args, struct config *config)
{
    daemon_overrides_apply(args, config);
    if (args->action == ACTION_TEST)
        return 0;
    if (args->action == ACTION_DUMP)
        return config_print(config, stdout) < 0 || fflush(stdout) != 0 ? EXIT_START : 0;
    if (!daemon_zone_served(config, args->zone)) {
        fprintf(stderr, "halb: -z %s: no balancer has a subnet in this zone\n", args->zone);
        return EXIT_USAGE;
    }
    log_open(config->process.log_level);
    return daemon_serve(args, config, &halb_checks);
}

int main(int argc, char **argv)
{
    struct halb_args args;
    struct config_errors errors;
    struct config *config;
    int r;

    if (halb_args_parse(argc, argv, &args) < 0)
        return EXIT_USAGE;
    if (args.action == ACTION_HELP) {
        halb_args_usage();
        return 0;
    }
    if (args.action == ACTION_VERSION)
        return version();
    if (config_load(args.config, &config, &errors) < 0) {
        for (size_t i = 0; i < errors.count; i++)
            fprintf(stderr, "%s\n", errors.lines[i]);
        config_errors_free(&errors);
        return EXIT_CONFIG;
    }
    config_errors_free(&errors);
    r = with_config(&args, config);
    config_free(&config);
    return r;
}
