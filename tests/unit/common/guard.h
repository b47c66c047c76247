#ifndef TESTS_UNIT_COMMON_GUARD_H
#define TESTS_UNIT_COMMON_GUARD_H
#include <assert.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
/* Memory that ends where no page is: a parser that reads one byte too far dies there. */
#define GUARD_BYTES_MAX 65536

static char *guard_end(void)
{
    static char *end;
    if (end == NULL) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        char *base = mmap(NULL, GUARD_BYTES_MAX + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert(base != MAP_FAILED);
        assert(mprotect(base + GUARD_BYTES_MAX, page, PROT_NONE) == 0);
        end = base + GUARD_BYTES_MAX;
    }
    return end;
}

/* A copy whose last byte is the last of its page; good until the next call. */
static inline char *guard_copy(const char *bytes, size_t len)
{
    assert(len <= GUARD_BYTES_MAX);
    return len == 0 ? guard_end() : memcpy(guard_end() - len, bytes, len);
}
#endif
