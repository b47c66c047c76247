#include "lb/ctl_client.h"
#include "common/http1.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define REPLY_MAX (64u << 20)

static int connect_to(const char *path, int *ret)
{
    const struct timeval timeout = { .tv_sec = CTL_CLIENT_TIMEOUT_S };
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd, r;
    if (strlen(path) >= sizeof(to.sun_path))
        return -ENAMETOOLONG;
    memcpy(to.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        r = errno == EAGAIN ? -ETIMEDOUT : -errno;
        close(fd);
        return r;
    }
    *ret = fd;
    return 0;
}

static int send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

static int send_request(int fd, const char *method, const char *path, const char *body)
{
    char *text = NULL;
    int r, len;
    if (body == NULL)
        len = asprintf(&text, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", method, path);
    else
        len = asprintf(&text, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                       method, path, strlen(body), body);
    if (len < 0)
        return -ENOMEM;
    r = send_all(fd, text, (size_t)len);
    free(text);
    /* A refusal may come before all was read. */
    return r == -EPIPE || r == -ECONNRESET ? 0 : r;
}

/* Until the other side closes. *bytes is terminated. */
static int receive_all(int fd, char **bytes, size_t *len)
{
    size_t room = 0;
    *bytes = NULL;
    *len = 0;
    for (;;) {
        ssize_t n;
        if (room - *len < 2) {
            size_t more = room == 0 ? 4096 : 2 * room;
            char *wider = more > REPLY_MAX ? NULL : realloc(*bytes, more);
            if (wider == NULL)
                return more > REPLY_MAX ? -EMSGSIZE : -ENOMEM;
            *bytes = wider;
            room = more;
        }
        n = recv(fd, *bytes + *len, room - *len - 1, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == ECONNRESET && *len > 0)
            break;              /* refused before all that we sent was read */
        if (n < 0)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        if (n == 0)
            break;
        *len += (size_t)n;
    }
    (*bytes)[*len] = '\0';
    return 0;
}

/* Takes bytes over on success. */
static int take_reply(char *bytes, size_t len, struct ctl_reply *ret)
{
    static const struct http1_limits limits = { .line_max = 8192, .field_max = 8192, .head_max = 65536, .count_max = 64 };
    struct http1_head head;
    struct http1_body body;
    size_t payload, consumed;
    int head_len = http1_parse_response(&head, bytes, len, &limits, METHOD_GET);
    if (head_len <= 0)
        return -EPROTO;
    ret->status = head.status;
    http1_body_init(&body, &head);
    memmove(bytes, bytes + head_len, len - (size_t)head_len);
    if (http1_body_take(&body, bytes, len - (size_t)head_len, &payload, &consumed) < 0)
        return -EPROTO;
    if (!body.done && body.framing != BODY_UNTIL_CLOSE)
        return -EPROTO;
    bytes[payload] = '\0';
    ret->body = bytes;
    ret->body_len = payload;
    return 0;
}

int ctl_exchange(const char *socket_path, const char *method, const char *path, const char *body, struct ctl_reply *ret)
{
    char *bytes = NULL;
    size_t len = 0;
    int fd = -1, r;
    r = connect_to(socket_path, &fd);
    if (r < 0)
        return r;
    r = send_request(fd, method, path, body);
    if (r == 0)
        r = receive_all(fd, &bytes, &len);
    if (r == 0)
        r = take_reply(bytes, len, ret);
    if (r < 0)
        free(bytes);
    close(fd);
    return r;
}
