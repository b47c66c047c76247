#include "lb/answer.h"
#include <stddef.h>
#include <string.h>

#define HEAD_ROOM 128       /* the fields of an answer with a body, without their values */

const char answer_continue[] = "HTTP/1.1 100 Continue\r\n\r\n";

static const struct answer {
    int status;
    const char *line, *closing, *keeping;
} answers[] = {
#define ANSWER(status, line)                                                              \
    { status, "HTTP/1.1 " line "\r\n", "HTTP/1.1 " line "\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", \
      "HTTP/1.1 " line "\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n" }
    ANSWER(503, "503 Service Unavailable: Back-end server is at capacity"),
    ANSWER(400, "400 BAD_REQUEST"),
    ANSWER(405, "405 METHOD_NOT_ALLOWED"),
    ANSWER(408, "408 REQUEST_TIMEOUT"),
    ANSWER(502, "502 BAD_GATEWAY"),
    ANSWER(504, "504 GATEWAY_TIMEOUT"),
#undef ANSWER
};

static const struct answer *find(int status)
{
    const struct answer *answer = &answers[0];

    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        if (answers[i].status == status)
            answer = &answers[i];
    return answer;
}

const char *answer_text(int status, bool keep_alive)
{
    const struct answer *answer = find(status);

    return keep_alive && status >= 500 ? answer->keeping : answer->closing;
}

struct buf *answer_with_body(int status, bool keep_alive, bool head_only, const struct answer_body *body)
{
    const char *line = find(status)->line;
    struct buf *buf = buf_new(strlen(line) + strlen(body->content_type) + body->len + HEAD_ROOM);

    if (buf == NULL)
        return NULL;
    buf_add_text(buf, line);
    buf_add_text(buf, "Content-Type: ");
    buf_add_text(buf, body->content_type);
    buf_add_text(buf, "\r\nContent-Length: ");
    buf_add_number(buf, body->len, 10);
    buf_add_text(buf, keep_alive && status >= 500 ? "\r\nConnection: keep-alive\r\n\r\n" : "\r\nConnection: Close\r\n\r\n");
    if (!head_only)
        buf_add(buf, body->bytes, body->len);
    return buf;
}
