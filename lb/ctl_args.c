#include "lb/ctl_args.h"
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    size_t min, max;            /* operands */
    const char *expected;
} commands[CTL_COMMAND_COUNT] = {
    [CTL_STATUS] = { "status", 0, 0, "no operand" },
    [CTL_INSTANCE_HEALTH] = { "instance-health", 0, SIZE_MAX, "[LB] [ID...]" },
    [CTL_REGISTER] = { "register", 2, SIZE_MAX, "LB ID..." },
    [CTL_DEREGISTER] = { "deregister", 2, SIZE_MAX, "LB ID..." },
    [CTL_CONFIGURE_HEALTH_CHECK] = { "configure-health-check", 2, SIZE_MAX, "LB KEY=VALUE..." },
    [CTL_SET_STATE] = { "set-state", 3, 3, "LB ID auto|in|out|drain" },
    [CTL_CONFIG] = { "config", 0, 0, "no operand" },
    [CTL_SECURITY_GROUP] = { "security-group", 1, 1, "GROUP --nft" },
    [CTL_WHY] = { "why", 1, 2, "[LB] ID" },
    [CTL_METRICS] = { "metrics", 0, 0, "no operand" },
    [CTL_RELOAD] = { "reload", 0, 0, "no operand" },
    [CTL_TOP] = { "top", 0, 0, "no operand" },
};

const char *ctl_command_text(enum ctl_command command)
{
    return commands[command].name;
}

const char *ctl_usage(void)
{
    return "usage: halbctl [-s SOCKET]... [--json] COMMAND\n"
           "  status                                  balancers, and a line an instance\n"
           "  instance-health [LB] [ID...]            state, reason, description, last check\n"
           "  register LB ID...                       give new work to these instances\n"
           "  deregister LB ID...                     end it; drains if draining is on\n"
           "  configure-health-check LB KEY=VALUE...  keys: target interval timeout unhealthy healthy\n"
           "  set-state LB ID auto|in|out|drain       the operator's override\n"
           "  config                                  the effective configuration\n"
           "  security-group GROUP --nft              the group as an nftables ruleset; with -c FILE: without a process\n"
           "options:\n"
           "  -s, --socket SOCKET   halb's control socket (default: $HALB_SOCKET, then " CTL_SOCKET_DEFAULT ");\n"
           "                        several: each is asked\n"
           "  -c, --config FILE     read the configuration from FILE\n"
           "      --json            one JSON document\n"
           "  -V, --version   -h, --help\n";
}

__attribute__((format(printf, 2, 3))) static int fail(char error[256], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, 256, format, args);
    va_end(args);
    return -EINVAL;
}

enum { OPTION_JSON = CHAR_MAX + 1, OPTION_NFT, OPTION_DIFF };

static int take_option(struct ctl_args *a, int option, char **argv, char error[256])
{
    switch (option) {
    case 's':
        if (a->socket_count == CTL_SOCKETS_MAX)
            return fail(error, "-s: expected at most %d sockets", CTL_SOCKETS_MAX);
        a->sockets[a->socket_count++] = optarg;
        return 0;
    case 'c':
        a->config_path = optarg;
        return 0;
    case 'V':
        a->version = true;
        return 0;
    case 'h':
        a->help = true;
        return 0;
    case OPTION_JSON:
        a->json = true;
        return 0;
    case OPTION_NFT:
        a->nft = true;
        return 0;
    case OPTION_DIFF:
        a->diff = true;
        return 0;
    case ':':
        return fail(error, "%.100s: expected a value", argv[optind - 1]);
    default:
        return fail(error, "%.100s: no such option", optopt > 0 && optopt <= CHAR_MAX ? (char[]){ '-', (char)optopt, '\0' } : argv[optind - 1]);
    }
}

static int take_options(struct ctl_args *a, int argc, char **argv, char error[256])
{
    static const struct option options[] = {
        { "socket", required_argument, NULL, 's' }, { "config", required_argument, NULL, 'c' }, { "json", no_argument, NULL, OPTION_JSON },
        { "nft", no_argument, NULL, OPTION_NFT },   { "diff", no_argument, NULL, OPTION_DIFF }, { "version", no_argument, NULL, 'V' },
        { "help", no_argument, NULL, 'h' },         { NULL, 0, NULL, 0 },
    };
    int option, r = 0;
    optind = 0;                 /* begin anew, also in a second call */
    while (r == 0 && (option = getopt_long(argc, argv, ":s:c:Vh", options, NULL)) != -1)
        r = take_option(a, option, argv, error);
    return r;
}

static int find_command(const char *name, enum ctl_command *ret)
{
    for (size_t i = 0; i < CTL_COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            *ret = (enum ctl_command)i;
            return 0;
        }
    }
    return -ENOENT;
}

const char *ctl_health_key(const char *operand, const char **value)
{
    static const struct {
        const char *key, *api_key;
    } keys[] = {
        { "target", "target" },
        { "interval", "interval" },
        { "timeout", "timeout" },
        { "unhealthy", "unhealthy_threshold" },
        { "healthy", "healthy_threshold" },
    };
    const char *equals = strchr(operand, '=');
    for (size_t i = 0; equals != NULL && i < sizeof(keys) / sizeof(keys[0]); i++) {
        size_t len = (size_t)(equals - operand);
        if (strlen(keys[i].key) == len && strncmp(keys[i].key, operand, len) == 0) {
            *value = equals + 1;
            return keys[i].api_key;
        }
    }
    return NULL;
}

static int check_operands(const struct ctl_args *a, char error[256])
{
    static const char *const states[] = { "auto", "in", "out", "drain" };
    const char *value;
    size_t i = 0;
    if (a->command == CTL_CONFIGURE_HEALTH_CHECK) {
        for (i = 1; i < a->operand_count; i++) {
            if (ctl_health_key(a->operands[i], &value) == NULL)
                return fail(error, "%.100s: expected target=, interval=, timeout=, unhealthy= or healthy=", a->operands[i]);
        }
    }
    if (a->command == CTL_SET_STATE) {
        while (i < 4 && strcmp(states[i], a->operands[2]) != 0)
            i++;
        if (i == 4)
            return fail(error, "%.100s: expected auto, in, out or drain", a->operands[2]);
    }
    for (i = 0; i < a->operand_count; i++) {
        if (a->operands[i][0] == '\0')
            return fail(error, "%s: an operand is empty", commands[a->command].name);
    }
    return 0;
}

/* Options that mean nothing to the command are mistakes. */
static int check_command(const struct ctl_args *a, char error[256])
{
    const struct command *c = &commands[a->command];
    if (a->operand_count < c->min || a->operand_count > c->max)
        return fail(error, "%s: expected %s", c->name, c->expected);
    if (a->nft != (a->command == CTL_SECURITY_GROUP))
        return fail(error, a->nft ? "--nft: belongs to security-group, not to %s" : "%s: expected --nft, the one format there is", c->name);
    if (a->diff && a->command != CTL_CONFIG)
        return fail(error, "--diff: belongs to config, not to %s", c->name);
    if (a->config_path != NULL && a->command != CTL_SECURITY_GROUP)
        return fail(error, "-c: belongs to security-group, not to %s", c->name);
    return check_operands(a, error);
}

static int take_command(struct ctl_args *a, int argc, char **argv, char error[256])
{
    if (optind == argc)
        return fail(error, "expected a command");
    if (find_command(argv[optind], &a->command) < 0)
        return fail(error, "%.100s: no such command", argv[optind]);
    a->operands = argv + optind + 1;
    a->operand_count = (size_t)(argc - optind - 1);
    return check_command(a, error);
}

int ctl_args_parse(int argc, char **argv, const char *env_socket, struct ctl_args *ret, char error[256])
{
    struct ctl_args a = { .socket_count = 0 };
    int r = take_options(&a, argc, argv, error);
    if (r == 0 && !a.help && !a.version)
        r = take_command(&a, argc, argv, error);
    if (r < 0)
        return r;
    if (a.socket_count == 0)
        a.sockets[a.socket_count++] = env_socket != NULL && env_socket[0] != '\0' ? env_socket : CTL_SOCKET_DEFAULT;
    *ret = a;
    return 0;
}
