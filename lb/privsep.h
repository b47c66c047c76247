#ifndef LB_PRIVSEP_H
#define LB_PRIVSEP_H
#include "common/config.h"
#include <stdbool.h>
/*
 * Started as root, the program splits before it has a ring or a thread: a small
 * parent keeps the rights and hears only its child, which drops them all and
 * does the work. The child asks for descriptors by index; the parent gives what
 * its own reading of the configuration has at that index. Not root, or user =
 * "root": one process, and the same calls act in place. Main thread alone.
 */
struct privsep;

/*
 * Splits if need be. The parent does not return: it passes signals on and ends as its child does.
 * In the child (or the one process): 0 and *ret, or -errno with the reason already logged. config, read from path, is borrowed for good.
 */
int privsep_start(const struct config *config, const char *path, struct privsep **ret);
void privsep_free(struct privsep **privsep);

/* Reads the configuration again, with the rights to: one reading, which the parent acts on from then on and the child gets. 0 and *ret,
 * or -EINVAL with all errors in *text (yours to free). */
int privsep_reload(struct privsep *privsep, struct config **ret, char **text);
/* After a privsep_reload() that gave one: is it in force now? What is asked for in between is meant by it. */
void privsep_reload_end(struct privsep *privsep, bool taken);

/* A listening socket of its own for one worker; subnet and listener index into the balancer's. -errno: -EADDRINUSE also when
 * SO_REUSEPORT would have let us in beside a stranger. */
int privsep_listener(struct privsep *privsep, unsigned balancer, unsigned subnet, unsigned listener, unsigned worker);
/* The balancer's access log, opened for appending; again after it was moved away. -ENOENT: it has none. */
int privsep_access_log(struct privsep *privsep, unsigned balancer);
/* process.cookie_key_file, opened for reading; -ENOENT: none is configured. */
int privsep_cookie_key(struct privsep *privsep);
/* What was made before the split, so that no folder of the child's is ever acted in with root's rights: the control socket,
 * listening (yours, once; a stale one was replaced), and the state directory. -EADDRINUSE: a living process serves the socket. */
int privsep_admin_socket(struct privsep *privsep);
int privsep_state_dir(const struct privsep *privsep);
#endif
