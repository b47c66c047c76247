#ifndef LB_NOTIFY_H
#define LB_NOTIFY_H
/* Tells the service manager, if there is one (NOTIFY_SOCKET, sd_notify(3)): "READY=1", "STOPPING=1". Never fails. */
void notify(const char *state);
#endif
