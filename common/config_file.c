/* What is in a file that the configuration names? Where it lies, and whether it will do. */
#include "common/config_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESPONSE_MAX 65536
#define SECRET_MIN 32
#define SECRET_MAX 4096

/* `start` begins the path of the file that names this one; what is relative to us becomes absolute. */
static char *absolute(struct arena *arena, const char *start, int start_len, const char *path)
{
    char *here = start[0] == '/' ? strdup("") : get_current_dir_name();
    char *ret = here != NULL ? arena_print(arena, "%s%s%.*s%s", here, here[0] != '\0' ? "/" : "", start_len, start, path) : NULL;
    free(here);
    return ret;
}

const char *file_path(struct reading *r, const char *setting, const char *path, size_t token)
{
    const char *from = source_token(&r->source, token)->file, *slash = strrchr(from, '/');
    char found[FOUND_MAX], *ret;
    struct value value = { VALUE_STRING, path, false };
    if (path[0] == '/')
        return path;
    if (r->from_text) {
        complain(&r->report, token, "%s: found %s, expected an absolute path", setting, value_found(&value, found));
        return NULL;
    }
    ret = absolute(r->arena, from, slash != NULL ? (int)(slash + 1 - from) : 0, path);
    r->no_memory = r->no_memory || ret == NULL;
    return ret;
}

static const char *content_type(const char *path)
{
    static const struct {
        const char *ending, *type;
    } types[] = { { ".html", "text/html" }, { ".txt", "text/plain" }, { ".json", "application/json" } };
    const char *ending = strrchr(path, '.');
    for (size_t i = 0; ending != NULL && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcasecmp(ending, types[i].ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}

/* Opening must not wait, as for a pipe's other end. -ENODATA: no regular file. */
static int read_regular(const char *path, char *bytes, size_t room, size_t *len)
{
    int r, fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return -errno;
    r = fstat(fd, &st) < 0 ? -errno : 0;
    if (r == 0 && !S_ISREG(st.st_mode))
        r = -ENODATA;
    if (r == 0)
        r = source_read_all(fd, bytes, room, len);
    close(fd);
    return r;
}

void file_read_response(struct reading *r, struct config_error_response *response, size_t token)
{
    const char *path = file_path(r, "file", response->file, token);
    char *bytes = arena_alloc(r->scratch, RESPONSE_MAX + 1, 1);
    int err;
    if (bytes == NULL)
        r->no_memory = true;
    if (bytes == NULL || path == NULL)
        return;
    err = read_regular(path, bytes, RESPONSE_MAX + 1, &response->len);
    if (err == -EFBIG)
        complain(&r->report, token, "file: found %s of more than 64K, expected less", path);
    else if (err == -ENODATA)
        complain(&r->report, token, "file: found %s, expected a regular file", path);
    else if (err < 0)
        complain(&r->report, token, "file: found no readable file %s (%s), expected the body of an answer", path, strerror(-err));
    response->file = path;
    response->content_type = content_type(path);
    response->bytes = err == 0 ? arena_copy(r->arena, bytes, response->len) : NULL;
    r->no_memory = r->no_memory || (err == 0 && response->bytes == NULL);
}

void file_check_secret(struct reading *r, const char *setting, const char *path, size_t token)
{
    struct stat st;
    if (stat(path, &st) < 0)
        complain(&r->report, token, "%s: found no file %s (%s), expected a secret", setting, path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        complain(&r->report, token, "%s: found %s, expected a regular file", setting, path);
    else if ((st.st_mode & 077) != 0)
        complain(&r->report, token, "%s: found %s of mode %04o, expected 0600 or stricter", setting, path, (unsigned)st.st_mode & 07777);
    else if (st.st_size < SECRET_MIN || st.st_size > SECRET_MAX)
        complain(&r->report, token, "%s: found %s of %lld bytes, expected %d to %d", setting, path, (long long)st.st_size, SECRET_MIN, SECRET_MAX);
}
