#ifndef LB_ADMIN_H
#define LB_ADMIN_H
/*
 * The control surface: HTTP/1.1 with JSON (the routes: lb/api.h) on a unix
 * stream socket, served on the main thread's ring, off the workers. Requests and answers are
 * bounded; a slow or silent client holds one of ADMIN_SESSIONS_MAX places for at most 10 s;
 * who comes while all are taken waits.
 */
struct admin;
struct control;
struct ring;

#define ADMIN_SESSIONS_MAX 64

/* Takes the listening descriptor over. 0 and *ret, or -errno. */
int admin_start(struct ring *ring, struct control *control, int listen_fd, struct admin **ret);
/* Ends sessions and the listener; *admin is freed by the ring's steps that follow; calls done(arg) then. */
void admin_stop(struct admin **admin, void (*done)(void *arg), void *arg);
#endif
