/* Requests that must not get through, or whose connection must end with their answer: nothing behind them may be read. */
#include "client.h"
#include <stdio.h>

#define MANY 20000
#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: sim.example\r\n\r\n"
#define HOST "Host: sim.example\r\n"
#define PASSES "POST $ HTTP/1.1\r\n" HOST "X-Asked: POST $\r\nX-Client: !\r\nX-Fillers: 0\r\n"
#define BAD_BODY PASSES "Transfer-Encoding: chunked\r\n\r\n"

/* '$' stands for the target, '!' for the client, '~' for NUL, '^' for many letters, '@' for the next five right bytes of the body. */
enum fault {
    REFUSED,                    /* in any desync mode */
    LATE,                       /* the head is legal, the body is not */
    DOUBTFUL                    /* refused in the strictest mode; else repaired, and the connection ends */
};
struct illegal {
    const char *name;
    unsigned status;
    enum fault fault;
    const char *text;
};
static const struct illegal rows[] = {
    { "two lengths", 400, REFUSED, "POST $ HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc" SMUGGLED },
    { "a length and none", 400, REFUSED, "POST $ HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: x\r\n\r\nabc" },
    { "a length with a sign", 400, REFUSED, "POST $ HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\nabc" },
    { "a list of lengths", 400, REFUSED, "POST $ HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\nabc" },
    { "a length beyond 64 bits", 400, REFUSED, "POST $ HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551619\r\n\r\nabc" SMUGGLED },
    { "a bad length beside chunks", 400, REFUSED,
      "POST $ HTTP/1.1\r\n" HOST "Content-Length: -1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED },
    { "chunked twice", 400, REFUSED, "POST $ HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" },
    { "chunked and something", 400, REFUSED,
      "POST $ HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" SMUGGLED },
    { "another coding", 400, REFUSED, "POST $ HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" SMUGGLED },
    { "chunks in HTTP/1.0", 400, REFUSED, "POST $ HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
    { "a length in two lines", 400, REFUSED, "POST $ HTTP/1.1\r\n" HOST "Content-Length:\r\n 3\r\n\r\nabc" },
    { "bare CR", 400, REFUSED, "GET $ HTTP/1.1\r\n" HOST "X-A: b\rX-B: c\r\n\r\n" },
    { "bare LF", 400, REFUSED, "GET $ HTTP/1.1\r\n" HOST "X-A: b\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
    { "bare LF at the end", 400, REFUSED, "GET $ HTTP/1.1\r\n" HOST "\n" SMUGGLED },
    { "NUL in a value", 400, REFUSED, "GET $ HTTP/1.1\r\n" HOST "X-A: b~c\r\n\r\n" },
    { "NUL in the target", 400, REFUSED, "GET $~ HTTP/1.1\r\n" HOST "\r\n" },
    { "a fragment", 400, REFUSED, "GET $#a HTTP/1.1\r\n" HOST "\r\n" },
    { "no Host", 400, REFUSED, "GET $ HTTP/1.1\r\nX-A: b\r\n\r\n" },
    { "two Hosts", 400, REFUSED, "GET $ HTTP/1.1\r\n" HOST "Host: b\r\n\r\n" },
    { "a bad Host", 400, REFUSED, "GET $ HTTP/1.1\r\nHost: a/b\r\n\r\n" },
    { "a space before the colon of Host", 400, REFUSED, "GET $ HTTP/1.1\r\nHost : sim.example\r\n\r\n" },
    { "CONNECT", 400, REFUSED, "CONNECT sim.example:443 HTTP/1.1\r\n" HOST "\r\n" },
    { "a long method", 405, REFUSED, "^ $ HTTP/1.1\r\n" HOST "\r\n" },
    { "HTTP/0.9", 400, REFUSED, "GET $\r\n" },
    { "no version that there is", 400, REFUSED, "GET $ HTTP/1.x\r\n" HOST "\r\n" },
    { "HTTP/2's preface", 400, REFUSED, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" },
    { "a huge line", 400, REFUSED, "GET $&^ HTTP/1.1\r\n" HOST "\r\n" },
    { "a huge field", 400, REFUSED, "GET $ HTTP/1.1\r\n" HOST "X-A: ^\r\n\r\n" },
    { "huge fields", 400, REFUSED, "GET $ HTTP/1.1\r\n" HOST "X-A: ^^^^^^^^\r\n\r\n" },
    { "an Expect that nobody knows", 400, REFUSED, "POST $ HTTP/1.1\r\n" HOST "Expect: 200-ok\r\nContent-Length: 3\r\n\r\nabc" },
    { "TLS", 400, REFUSED, "\x16\x03\x01\x02~\x01\r\n\r\n" },
    { "a second one behind it", 400, REFUSED, "GET $ HTTP/1.1\r\nHost: a b\r\n\r\n" SMUGGLED },
    { "a bad chunk's size", 400, LATE, BAD_BODY "0x5\r\n@\r\n0\r\n\r\n" SMUGGLED },
    { "no chunk's size", 400, LATE, BAD_BODY "\r\n@\r\n0\r\n\r\n" },
    { "a chunk's size beyond 64 bits", 400, LATE, BAD_BODY "5\r\n@\r\nffffffffffffffff5\r\n@\r\n0\r\n\r\n" },
    { "LF after a chunk's size", 400, LATE, BAD_BODY "5\r\n@\r\n5\n@\r\n0\r\n\r\n" SMUGGLED },
    { "more than a chunk's size", 400, LATE, BAD_BODY "5\r\n@xx\r\n0\r\n\r\n" SMUGGLED },
    { "a bad trailer", 400, LATE, BAD_BODY "5\r\n@\r\n0\r\nX : b\r\n\r\n" SMUGGLED },
    { "a bare LF at the end of chunks", 400, LATE, BAD_BODY "5\r\n@\r\n0\r\n\n" SMUGGLED },
    { "a length beside chunks", 400, DOUBTFUL, PASSES "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n@\r\n0\r\n\r\n" SMUGGLED },
    { "chunks beside a length", 400, DOUBTFUL, PASSES "Transfer-Encoding: chunked\r\nContent-Length: 60\r\n\r\n5\r\n@\r\n0\r\n\r\n" SMUGGLED },
    { "the same length twice", 400, DOUBTFUL, PASSES "Content-Length: 5\r\nContent-Length: 5\r\n\r\n@" SMUGGLED },
    { "a field in two lines", 400, DOUBTFUL, PASSES "X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n@" SMUGGLED },
    { "a field like a length", 400, DOUBTFUL, PASSES "Content_Length: 60\r\nContent-Length: 5\r\n\r\n@" SMUGGLED },
    { "a line without a colon", 400, DOUBTFUL, PASSES "Transfer-Encoding chunked\r\nContent-Length: 5\r\n\r\n@" SMUGGLED },
};

static bool strictest(const struct client *client)
{
    return strstr(client->balancer->attributes, "\"strictest\"") != NULL;
}

void illegal_make(struct client *client, struct request *request)
{
    const struct illegal *row = &rows[dice_below(&client->dice, sizeof(rows) / sizeof(rows[0]))];

    *request = (struct request){ .illegal = row, .ask = { .client = client->index, .code = 200, .method = "POST" }, .closes = true,
                                 .end_at = UINT64_MAX, .answer_framing = BODY_BY_LENGTH };
    request->ask.illegal = row->fault == REFUSED || (row->fault == DOUBTFUL && strictest(client));
    /* Whatever comes of a bad body is not whole. */
    request->ask.body_bytes = row->fault == LATE ? UINT64_MAX : row->fault == DOUBTFUL ? 5 : 0;
    request->body.done = true;
    trace("client %u: illegal: %s", client->index, row->name);
}

static void add_letter(const struct request *request, struct outbox *out, char c, uint64_t *at)
{
    struct body body = { .id = request->ask.id, .direction = BODY_OF_REQUEST, .at = *at };

    switch (c) {
    case '$':
        outbox_text(out, "/r%llu?len=0&code=200&framing=length&early=0", (unsigned long long)request->ask.id);
        break;
    case '!':
        outbox_text(out, "%u", request->ask.client);
        break;
    case '~':
        outbox_add(out, "", 1);
        break;
    case '^':
        memset(outbox_reserve(out, MANY), 'a', MANY);
        outbox_took(out, MANY);
        break;
    case '@':
        body_add_pattern(&body, out, 5);
        *at = body.at;
        break;
    default:
        outbox_add(out, &c, 1);
    }
}

void illegal_add(const struct request *request, struct outbox *out)
{
    uint64_t at = 0;

    for (const char *c = request->illegal->text; *c != '\0'; c++)
        add_letter(request, out, *c, &at);
}

/* What passes, and what is late, may come to nothing before its fault is seen. */
bool illegal_answered_by(const struct request *request, unsigned status, int instance)
{
    bool doubtful = request->illegal->fault == DOUBTFUL && !request->ask.illegal;

    if (instance >= 0)
        return doubtful;
    if (status == 408)
        return true;                    /* the oracle knows whether it was late */
    return doubtful ? status >= 500 : status == request->illegal->status || (request->illegal->fault == LATE && status >= 500);
}

bool illegal_late(const struct request *request)
{
    return request->illegal->fault == LATE;
}
