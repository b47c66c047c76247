#include "lb/sticky_key.h"
#include "lb/sticky.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_MIN 32
#define SECRET_MAX 4096

/* The whole file, which st says is a secret. Its length, or -errno. */
static ssize_t read_secret(int fd, const struct stat *st, uint8_t secret[SECRET_MAX])
{
    ssize_t n;

    if (!S_ISREG(st->st_mode))
        return -EINVAL;
    if ((st->st_mode & 077) != 0)
        return -EPERM;
    if (st->st_size < SECRET_MIN || st->st_size > SECRET_MAX)
        return -ERANGE;
    n = pread(fd, secret, (size_t)st->st_size, 0);
    if (n < 0)
        return -errno;
    return n == st->st_size ? n : -ERANGE;
}

int sticky_key_read(int fd, struct sticky_key *ret)
{
    uint8_t secret[SECRET_MAX], key[EVP_MAX_MD_SIZE];
    struct stat st;
    ssize_t n;
    int r = 0;

    if (fstat(fd, &st) < 0)
        return -errno;
    n = read_secret(fd, &st, secret);
    if (n < 0)
        r = (int)n;
    else if (EVP_Digest(secret, (size_t)n, key, NULL, EVP_sha256(), NULL) != 1)
        r = -ENOMEM;
    else
        memcpy(ret->bytes, key, sizeof(ret->bytes));
    OPENSSL_cleanse(secret, sizeof(secret));
    OPENSSL_cleanse(key, sizeof(key));
    return r;
}

static int load_at(int dir, const char *path, struct sticky_key *ret)
{
    int r, fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);     /* a FIFO holds nobody up */

    if (fd < 0)
        return -errno;
    r = sticky_key_read(fd, ret);
    close(fd);
    return r;
}

int sticky_key_load(const char *path, struct sticky_key *ret)
{
    return load_at(AT_FDCWD, path, ret);
}

#define KEY "cookie.key"
#define UNFINISHED KEY ".new"

static int write_random(int fd)
{
    uint8_t secret[SECRET_MIN];
    int r = 0;

    if (getrandom(secret, sizeof(secret), 0) != (ssize_t)sizeof(secret))
        return -EIO;
    errno = ENOSPC;     /* what a short write means */
    if (write(fd, secret, sizeof(secret)) != (ssize_t)sizeof(secret) || fchmod(fd, 0600) < 0 || fsync(fd) < 0)
        r = -errno;
    OPENSSL_cleanse(secret, sizeof(secret));
    return r;
}

/* One that was made meanwhile stays. */
static int make_at(int dir)
{
    int r, fd;

    unlinkat(dir, UNFINISHED, 0);
    fd = openat(dir, UNFINISHED, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    r = write_random(fd);
    close(fd);
    if (r == 0 && linkat(dir, UNFINISHED, dir, KEY, 0) < 0 && errno != EEXIST)
        r = -errno;
    if (r == 0 && fsync(dir) < 0)
        r = -errno;
    unlinkat(dir, UNFINISHED, 0);
    return r;
}

int sticky_key_make(const char *state_dir, struct sticky_key *ret)
{
    int r, dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0)
        return -errno;
    r = load_at(dir, KEY, ret);
    if (r == -ENOENT) {
        r = make_at(dir);
        if (r == 0)
            r = load_at(dir, KEY, ret);
    }
    close(dir);
    return r;
}
