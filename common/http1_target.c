/* The forms of a request target (RFC 9112 3.2), and what a valid authority is (RFC 3986 3.2). */
#include "common/http1_bytes.h"
#include "common/http1_fields.h"
#include <arpa/inet.h>

static struct span span_from(struct span s, size_t n)
{
    return (struct span){ s.ptr + n, s.len - n };
}

/* Empty is legal (RFC 3986 3.2.3): the scheme's port. */
static bool port_valid(struct span port)
{
    unsigned value = 0;
    if (port.len > 5)
        return false;
    for (size_t i = 0; i < port.len; i++) {
        if (port.ptr[i] < '0' || port.ptr[i] > '9')
            return false;
        value = value * 10 + (unsigned)(port.ptr[i] - '0');
    }
    return value <= 65535;
}

/* Length of the IPv6 literal at the front, with its brackets; 0: none. No IPvFuture and no zone: nobody can connect there. */
static size_t literal_len(struct span s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr addr;
    const char *close = memchr(s.ptr, ']', s.len);
    size_t len;
    if (close == NULL)
        return 0;
    len = (size_t)(close - s.ptr) - 1;
    if (len >= sizeof(text))
        return 0;
    memcpy(text, s.ptr + 1, len);
    text[len] = '\0';
    return inet_pton(AF_INET6, text, &addr) == 1 ? len + 2 : 0;
}

/* Length of the registered name or IPv4 address at the front; 0: none. */
static size_t name_len(struct span s)
{
    size_t i = 0;
    while (i < s.len) {
        if (byte_is(s.ptr[i], BYTE_HOST))
            i++;
        else if (s.ptr[i] == '%' && s.len - i > 2 && byte_hex(s.ptr[i + 1]) >= 0 && byte_hex(s.ptr[i + 2]) >= 0)
            i += 3;
        else
            break;
    }
    return i;
}

bool http1_authority_valid(struct span authority)
{
    size_t len;
    if (authority.len == 0)
        return false;
    len = authority.ptr[0] == '[' ? literal_len(authority) : name_len(authority);
    if (len == 0 || len == authority.len)
        return len > 0;
    return authority.ptr[len] == ':' && port_valid(span_from(authority, len + 1));
}

static size_t scheme_len(struct span target)
{
    static const struct span schemes[] = { { "http://", 7 }, { "https://", 8 } };
    for (size_t i = 0; i < 2; i++)
        if (target.len > schemes[i].len && strncasecmp(target.ptr, schemes[i].ptr, schemes[i].len) == 0)
            return schemes[i].len;
    return 0;
}

/*
 * An absent path is "/", or "*" for OPTIONS (RFC 9112 3.2.1, 3.2.4). A query right after the authority would need a
 * "/" put between, and a span cannot hold one: refused, as nobody sends it.
 */
static int absolute_judge(struct http1_head *head)
{
    size_t scheme = scheme_len(head->target);
    struct span rest = span_from(head->target, scheme);
    const char *slash;
    if (scheme == 0)
        return -HTTP1_BAD_TARGET;
    slash = memchr(rest.ptr, '/', rest.len);
    head->authority = (struct span){ rest.ptr, slash == NULL ? rest.len : (size_t)(slash - rest.ptr) };
    if (slash != NULL)
        head->path = span_from(rest, head->authority.len);
    else
        head->path = head->method == METHOD_OPTIONS ? SPAN("*") : SPAN("/");
    return http1_authority_valid(head->authority) ? 0 : -HTTP1_BAD_TARGET;
}

int http1_target_judge(struct http1_head *head)
{
    head->path = head->target;
    if (head->target.ptr[0] == '/')
        return 0;
    if (head->method == METHOD_OPTIONS && span_equal(head->target, SPAN("*")))
        return 0;
    return absolute_judge(head);
}
