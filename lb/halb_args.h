#ifndef LB_HALB_ARGS_H
#define LB_HALB_ARGS_H
/* halb's command line. */
enum halb_action { ACTION_RUN, ACTION_TEST, ACTION_DUMP, ACTION_VERSION, ACTION_HELP };

struct halb_args {
    enum halb_action action;
    const char *config, *zone, *admin_socket, *state_dir;  /* NULL: not given */
};

/* 0; or -EINVAL, the reason and the usage already on standard error. */
int halb_args_parse(int argc, char **argv, struct halb_args *args);
void halb_args_usage(void);         /* to standard output */
#endif
