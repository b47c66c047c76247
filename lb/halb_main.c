/*
 * halb: the command line, the configuration, and who checks the instances. The
 * only file that knows both lb and health.
 */
#include "common/board.h"
#include "common/config.h"
#include "common/log.h"
#include "common/ring.h"
#include "health/health.h"
#include "lb/daemon.h"
#include "lb/generation.h"
#include "lb/halb_args.h"
#include "lb/instance.h"
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Checks come from the node that the traffic comes from: the one of the instance's zone, else the first that we serve. */
static const struct config_subnet *check_source(const struct balancer *balancer, const struct instance *instance)
{
    for (size_t i = 0; i < balancer->node_count; i++)
        if (strcmp(balancer->nodes[i].subnet->zone, instance->zone) == 0)
            return balancer->nodes[i].subnet;
    return balancer->nodes[0].subnet;
}

static struct health_item health_item(const struct balancer *balancer, const struct instance *instance)
{
    const struct config_subnet *source = check_source(balancer, instance);
    struct health_item item = {
        .slot = instance->slot,
        .balancer = balancer->conf->name,
        .instance = instance->id,
        .address = instance->address,
        .check = &balancer->conf->health_check,
        .proxy_version = config_proxy_version(balancer->conf, balancer->conf->health_check.target.port),
        .zone_enabled = slot_status(instance->slot).why != WHY_ZONE_NOT_ENABLED,
    };

    if (source->address.sa.sa_family == instance->address.sa.sa_family)
        item.source = source->address;
    return item;
}

static int checks_plan(void *checks, const struct generation *generation)
{
    struct health_item *items;
    size_t count = 0, room = 1;
    int r;

    for (size_t i = 0; i < generation->balancer_count; i++)
        room += generation->balancers[i].registered_count;
    items = calloc(room, sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < generation->balancer_count; i++) {
        const struct balancer *balancer = &generation->balancers[i];
        for (size_t k = 0; balancer->node_count > 0 && k < balancer->registered_count; k++)
            items[count++] = health_item(balancer, balancer->instances[k]);
    }
    r = health_plan(checks, items, count);
    free(items);
    return r;
}

static int checks_start(struct board *board, void **ret)
{
    struct health *health;
    int r = health_start(board, &health);

    if (r == 0)
        *ret = health;
    return r;
}

static void checks_stop(void **checks)
{
    struct health *health = *checks;

    *checks = NULL;
    health_stop(&health);
}

static int version(void)
{
    char text[512];

    printf("halb " HALB_VERSION "\nliburing " HALB_LIBURING "\n%s\nio_uring: %s\n", OpenSSL_version(OPENSSL_VERSION),
           ring_features(text, sizeof(text)));
    return 0;
}

static int with_config(const struct halb_args *args, struct config *config)
{
    static const struct daemon_checks checks = { checks_start, checks_plan, checks_stop };

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
    return daemon_serve(args, config, &checks);
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
