#ifndef LB_LOGGED_H
#define LB_LOGGED_H
/*
 * What one exchange (HTTP) or connection (TCP) leaves for the access log,
 * gathered on its way. Nothing is gathered where the balancer has no log.
 */
struct conn;
struct http1_head;

void logged_head_begins(struct conn *c);                 /* a request's head has begun to come, and not come whole */
void logged_begin(struct conn *c, const struct http1_head *head);   /* head: NULL for a stream, or where none was valid */
void logged_sent(struct conn *c);                       /* the request goes to c's instance now */
void logged_answered(struct conn *c, unsigned status);  /* the instance's head has come (stream: it is connected; status 0) */
void logged_pumped(struct conn *c);                      /* bytes may have come and gone in either direction */
void logged_status(struct conn *c, unsigned status);    /* what the client gets */
void logged_end(struct conn *c, const char *why);       /* writes the line, if there was a beginning */
#endif
