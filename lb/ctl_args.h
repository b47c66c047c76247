#ifndef LB_CTL_ARGS_H
#define LB_CTL_ARGS_H
#include <stdbool.h>
#include <stddef.h>
/* halbctl's command line, understood but not yet acted on. Pure; strings are borrowed from argv. */
enum ctl_command {
    CTL_STATUS,
    CTL_INSTANCE_HEALTH,
    CTL_REGISTER,
    CTL_DEREGISTER,
    CTL_CONFIGURE_HEALTH_CHECK,
    CTL_SET_STATE,
    CTL_CONFIG,
    CTL_SECURITY_GROUP,
    CTL_WHY,                    /* from here on: known, and not supported by this version */
    CTL_METRICS,
    CTL_RELOAD,
    CTL_TOP,
    CTL_COMMAND_COUNT
};

#define CTL_SOCKETS_MAX 64
#define CTL_SOCKET_DEFAULT "/run/halb/halb.sock"

struct ctl_args {
    const char *sockets[CTL_SOCKETS_MAX];
    size_t socket_count;        /* at least 1 */
    const char *config_path;    /* -c, or NULL */
    bool json, nft, diff, help, version;
    enum ctl_command command;
    char **operands;            /* after the command */
    size_t operand_count;
};

/* env_socket: $HALB_SOCKET, or NULL. 0; or -EINVAL and error says why, for people. argv's order may change. */
int ctl_args_parse(int argc, char **argv, const char *env_socket, struct ctl_args *ret, char error[256]);
const char *ctl_command_text(enum ctl_command command);
/* "unhealthy=2": the API's key, *value points to "2"; NULL: not a KEY=VALUE of configure-health-check. */
const char *ctl_health_key(const char *operand, const char **value);
const char *ctl_usage(void);
#endif
