#include "lb/answer.h"
#include <stddef.h>

#define EMPTY "Content-Length: 0\r\n"
#define CLOSING EMPTY "Connection: Close\r\n\r\n"
#define KEEPING EMPTY "Connection: keep-alive\r\n\r\n"

const char answer_continue[] = "HTTP/1.1 100 Continue\r\n\r\n";

static const struct answer {
    int status;
    const char *closing, *keeping;
} answers[] = {
#define ANSWER(status, line) { status, "HTTP/1.1 " line "\r\n" CLOSING, "HTTP/1.1 " line "\r\n" KEEPING }
    ANSWER(503, "503 Service Unavailable: Back-end server is at capacity"),
    ANSWER(400, "400 BAD_REQUEST"),
    ANSWER(405, "405 METHOD_NOT_ALLOWED"),
    ANSWER(408, "408 REQUEST_TIMEOUT"),
    ANSWER(502, "502 BAD_GATEWAY"),
    ANSWER(504, "504 GATEWAY_TIMEOUT"),
#undef ANSWER
};

const char *answer_text(int status, bool keep_alive)
{
    const struct answer *answer = &answers[0];

    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        if (answers[i].status == status)
            answer = &answers[i];
    return keep_alive && status >= 500 ? answer->keeping : answer->closing;
}
