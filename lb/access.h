#ifndef LB_ACCESS_H
#define LB_ACCESS_H
#include "common/addr.h"
#include "common/config.h"
#include "common/span.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/*
 * The access log: a line for each request (HTTP) or connection (TCP), in ELB's
 * exact format or as JSON (docs/ACCESS_LOG.md). A worker formats into its own
 * bounded ring and never waits; one writer thread takes the lines to the files.
 * What finds the ring full, or can not be written, is dropped and counted.
 */
struct access_log;
struct access_lines;    /* one worker's ring of lines */

/* What there is to tell; all is borrowed for the call. Times in microseconds; -1: did not happen. */
struct access_entry {
    const char *balancer;
    uint64_t at_us;                         /* realtime: when the request (connection) was received */
    struct addr client, instance;           /* AF_UNSPEC: none */
    int64_t request_us, instance_us, response_us;   /* the three processing times of ELB */
    unsigned elb_status, instance_status;   /* http; 0: none */
    uint64_t received_bytes, sent_bytes;    /* http: of bodies alone */
    bool http;
    struct span method;                     /* http; empty: no valid head, and then what follows is not looked at */
    struct span target, host;               /* as http1_head's path and authority; the listener's port takes the place of the host's */
    struct span user_agent;                 /* empty: none */
    unsigned minor;
    uint16_t port;                          /* the listener's */
    const char *ssl_cipher, *ssl_protocol;  /* NULL: a plain connection */
    const char *why;                        /* JSON: how it ended; or NULL */
};

/* Longer ones are cut: bytes, before escaping. */
#define ACCESS_TARGET_MAX (16 * 1024)
#define ACCESS_USER_AGENT_MAX (8 * 1024)

/* The longest line: what is cut, with six bytes for each. */
#define ACCESS_LINE_MAX (160 * 1024)

/* Pure: no allocation, lock or time zone. Returns the line's length; it ends in '\n', is ASCII, and is not terminated. */
size_t access_format(char line[ACCESS_LINE_MAX], enum access_log_format format, const struct access_entry *entry);

/* Starts the writer thread. `worker_count` rings of `bytes` each, rounded up to a power of two. 0 and *ret, or -errno. */
int access_log_start(unsigned worker_count, size_t bytes, struct access_log **ret);
void access_log_stop(struct access_log **log);          /* the workers have ended; writes what is left, closes the files */

/*
 * The files by path; main thread. `fd` was opened for appending by who may, and
 * is taken over, also on failure. Lines added from now on go to it; the same
 * path again replaces it. 0, -ENOMEM or, with 256 paths known, -ENOSPC.
 */
int access_log_attach(struct access_log *log, const char *path, int fd);
/* Detaches every path that no balancer of config logs to: closed once the lines that are queued for it and those expected are written. */
void access_log_retain(struct access_log *log, const struct config *config);

struct access_lines *access_log_lines(struct access_log *log, unsigned worker);
/* That worker's. A line for `path` will come: until then its file is not closed. Its number, or -ENOENT: it is not attached. */
int access_expect(struct access_lines *lines, const char *path);
/* The line, once, with what access_expect() gave (-ENOENT: dropped). Formats and queues; never waits. */
void access_add(struct access_lines *lines, int file, enum access_log_format format, const struct access_entry *entry);

/* Lines dropped, for whatever reason: all, and those for one path. Any thread. */
uint64_t access_dropped(const struct access_log *log);
uint64_t access_log_dropped(const struct access_log *log, const char *path);
#endif
