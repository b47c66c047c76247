#ifndef LB_STICKY_KEY_H
#define LB_STICKY_KEY_H
struct sticky_key;      /* lb/sticky.h */

/*
 * Where the key of cookies comes from: a file's content, hashed. -EINVAL: no regular file; -EPERM: others than its
 * owner have rights on it; -ERANGE: not 32 to 4096 bytes; or as open(2) and read(2) say. *ret is untouched then.
 */
int sticky_key_read(int fd, struct sticky_key *ret);            /* fd stays the caller's, and where it is */
int sticky_key_load(const char *path, struct sticky_key *ret);

/* state_dir/cookie.key, which is made if there is none: whole or not at all, and on disk when this returns. */
int sticky_key_make(const char *state_dir, struct sticky_key *ret);
#endif
