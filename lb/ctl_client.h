#ifndef LB_CTL_CLIENT_H
#define LB_CTL_CLIENT_H
#include <stddef.h>
/* One request to halb's control socket and its answer, blocking. Each step may take CTL_CLIENT_TIMEOUT_S. */
#define CTL_CLIENT_TIMEOUT_S 10

struct ctl_reply {
    unsigned status;
    char *body;                 /* of malloc(), yours; terminated */
    size_t body_len;
};

/* body: JSON text, or NULL. 0 and *ret; or -errno: -ETIMEDOUT, -ECONNREFUSED, -ENOENT ...; -EPROTO: what came is no whole answer. */
int ctl_exchange(const char *socket_path, const char *method, const char *path, const char *body, struct ctl_reply *ret);
#endif
