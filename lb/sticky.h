#ifndef LB_STICKY_H
#define LB_STICKY_H
#include "common/span.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/*
 * Which instance a request asks for by its AWSELB cookie, and which fields an
 * answer gets so that the next request will. The cookie is an instance's id,
 * sealed: it tells a client nothing, and only who has the key can make one.
 * What does not open is as good as absent; whether the instance may be used is
 * the caller's to ask, each time. No I/O; any thread.
 *
 * Request:  sticky_read(); of the claim's ids the first whose instance is eligible, else the normal algorithm.
 * Answer:   sticky_add() with the instance that answered, before the head's empty line; not for 1xx.
 */
struct buf;                 /* common/buf.h */
struct config_policy;       /* common/config.h */
struct http1_head;          /* common/http1.h */

#define STICKY_KEY_BYTES 32
#define STICKY_SEALED_LEN 138       /* as ELB's: upper-case hexadecimal digits */
#define STICKY_ID_MAX 32            /* the configuration's bound of instance ids and balancer names */
#define STICKY_CLAIMS_MAX 2

struct sticky_key {
    uint8_t bytes[STICKY_KEY_BYTES];
};

/* The key that seals, and one that was before it and still opens (NULL: none). 0 and *ret, or -ENOMEM, -ENOTSUP (no AES-SIV). */
struct sticky_keys;
int sticky_keys_new(const struct sticky_key *current, const struct sticky_key *previous, struct sticky_keys **ret);
void sticky_keys_free(struct sticky_keys **keys);       /* NULL is fine */

/* A listener's stickiness; all is borrowed. A cookie holds for one balancer and one instance port. */
struct sticky {
    const struct sticky_keys *keys;
    const struct config_policy *policy;     /* of an LB or application cookie */
    const char *balancer;
    uint16_t instance_port;
};

/*
 * AES-SIV (RFC 5297): without a nonce, so that an instance has one cookie, the same from every node that has the key,
 * and a world that is replayed from its seed makes the same bytes; there is no nonce to repeat by mistake either.
 */
int sticky_seal(const struct sticky *sticky, const char *id, char sealed[STICKY_SEALED_LEN + 1]);   /* 0 or -ENOMEM */
bool sticky_open(const struct sticky *sticky, struct span sealed, char id[STICKY_ID_MAX + 1]);

/* What a request asks for; it outlives the request's bytes. */
struct sticky_claim {
    bool session;       /* application cookie: it came along */
    uint8_t count;      /* ids: none, or in the order in which the client sent them */
    char ids[STICKY_CLAIMS_MAX][STICKY_ID_MAX + 1];
};
void sticky_read(const struct sticky *sticky, const struct http1_head *request, struct sticky_claim *ret);

/* The answer's own fields are in `answer`. 0; -ENOMEM: nothing was added, and the answer is right without. */
int sticky_add(struct buf *buf, const struct sticky *sticky, const struct sticky_claim *claim,
               const struct http1_head *answer, const char *id);
size_t sticky_room(const struct sticky *sticky, const struct http1_head *answer);   /* how many bytes sticky_add() appends at most */

/* Goes through the cookies of a request; starts zeroed. Names are case-sensitive; quotes around a value are taken off. */
struct sticky_search {
    size_t field, at;
};
bool sticky_find(const struct http1_head *request, struct span name, struct sticky_search *search, struct span *value);

/*
 * The last Set-Cookie of that name, and its attributes: all after the first ';', empty without. As with ELB one that ends in ';'
 * does not count.
 */
bool sticky_find_set(const struct http1_head *answer, struct span name, struct span *attributes);
#endif
