/*
 * What our parser makes of requests, for a test that asks another parser too.
 * In: for each, its length (32 bits, big endian) and its bytes: a head, and
 * what came after it. Out: a line for each, bytes in hex, "-" for none:
 *
 *   more
 *   refused REASON DESYNC
 *   taken DESYNC METHOD PATH AUTHORITY none|length|chunked whole|open|bad BODY REST [NAME VALUE]...
 */
#include "common/http1.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX 65536

static const struct http1_limits limits = { 16384, 16384, 65536, 100, HTTP1_MONITOR };

static void put_bytes(const char *bytes, size_t len)
{
    putchar(' ');
    if (len == 0)
        putchar('-');
    for (size_t i = 0; i < len; i++)
        printf("%02x", (unsigned char)bytes[i]);
}

static void put_span(struct span s)
{
    put_bytes(s.ptr, s.len);
}

static void put_body(const struct http1_head *head, char *bytes, size_t len)
{
    static const char *const framings[] = { [BODY_NONE] = "none", [BODY_LENGTH] = "length", [BODY_CHUNKED] = "chunked", [BODY_UNTIL_CLOSE] = "close" };
    struct http1_body body;
    size_t payload, consumed;
    bool bad;
    http1_body_init(&body, head);
    bad = http1_body_take(&body, bytes, len, &payload, &consumed) < 0;
    printf(" %s %s", framings[head->framing], bad ? "bad" : body.done ? "whole" : "open");
    put_bytes(bytes, payload);
    put_bytes(bytes + consumed, len - consumed);
}

static void dump(char *bytes, size_t len)
{
    static struct http1_head head;
    int n = http1_parse_request(&head, bytes, len, &limits);
    if (n == 0) {
        puts("more");
        return;
    }
    if (n < 0) {
        printf("refused %s %s\n", http1_reason_text((enum http1_reason)-n), http1_desync_text(head.desync_reason));
        return;
    }
    printf("taken %s", http1_desync_text(head.desync_reason));
    put_span(head.method_text);
    put_span(head.path);
    put_span(head.authority);
    put_body(&head, bytes + n, len - (size_t)n);
    for (size_t i = 0; i < head.field_count; i++) {
        put_span(head.fields[i].name);
        put_span(head.fields[i].value);
    }
    putchar('\n');
}

int main(void)
{
    static char bytes[BYTES_MAX];
    unsigned char prefix[4];
    while (fread(prefix, 1, sizeof(prefix), stdin) == sizeof(prefix)) {
        size_t len = (size_t)prefix[0] << 24 | (size_t)prefix[1] << 16 | (size_t)prefix[2] << 8 | prefix[3];
        if (len > sizeof(bytes) || fread(bytes, 1, len, stdin) != len)
            return EXIT_FAILURE;
        dump(bytes, len);
    }
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
