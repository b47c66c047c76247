#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/*
 * What a target is: one function that takes any bytes, runs the code on them
 * and asserts what must hold of the result. libFuzzer's own name, so that
 * either it or standalone.c drives it. Always 0.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What libFuzzer (-max_len) and standalone.c give at most. */
#define FUZZ_INPUT_MAX 4096

/* Bytes that end where their allocation does: a sanitizer sees the first read beyond. The caller frees them. */
static inline char *fuzz_exact(const uint8_t *data, size_t size)
{
    char *bytes = calloc(1, size > 0 ? size : 1);
    assert(bytes != NULL);
    if (size > 0)
        memcpy(bytes, data, size);
    return bytes;
}

/* As a string: up to the first NUL. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    assert(text != NULL);
    return text;
}
#endif
