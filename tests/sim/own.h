#ifndef TESTS_SIM_OWN_H
#define TESTS_SIM_OWN_H
#include <stddef.h>
/*
 * The simulation's own memory neither counts nor fails: its files are compiled with this header before anything else, so that what
 * they allocate goes past alloc.c. halb's does not: the linker turns its calls to alloc.c (--wrap).
 */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void *__real_reallocarray(void *at, size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t len);
void __real_free(void *at);

#ifndef ALLOC_ITSELF
#define malloc __real_malloc
#define calloc __real_calloc
#define realloc __real_realloc
#define reallocarray __real_reallocarray
#define aligned_alloc __real_aligned_alloc
#define strdup __real_strdup
#define strndup __real_strndup
#define free __real_free
#endif
#endif
