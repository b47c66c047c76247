/* What is in a file that the configuration names? Where it lies, and whether it will do. */
#include "common/config_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
