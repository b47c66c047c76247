/* Answers that break RFC 9112, each in its way: none may pass as it is, nor be taken for the answer to another request. */
#include "instance.h"
#include <stdio.h>

#define LONG_FIELD 70000
#define MANY_INTERIM 1000

enum garbled_body {
    AS_ASKED,                   /* by length, whatever the fields say */
    ONE_MORE,                   /* as asked, and another answer behind it */
    ONE_LESS, BAD_SIZE, HUGE_SIZE, NO_LINE_END, BAD_TRAILER
};

/* In `fields`, '@' stands for the length, '#' for a larger one, '~' for NUL, '^' for very many bytes. start NULL: "HTTP/1.1 <code> Sim". */
static const struct garbled {
    const char *how, *start, *fields;
    enum garbled_body body;
    bool head_is_right;         /* it may pass, as far as its body is right */
} rows[] = {
    { "two lengths", NULL, "Content-Length: @\r\nContent-Length: #\r\n", AS_ASKED, false },
    { "a length and chunks", NULL, "Content-Length: @\r\nTransfer-Encoding: chunked\r\n", AS_ASKED, false },
    { "a bad length", NULL, "Content-Length: @x\r\n", AS_ASKED, false },
    { "a negative length", NULL, "Content-Length: -@\r\n", AS_ASKED, false },
    { "gzip for a coding", NULL, "Transfer-Encoding: gzip\r\n", AS_ASKED, false },
    { "chunked twice", NULL, "Transfer-Encoding: chunked, chunked\r\n", AS_ASKED, false },
    { "a space before a colon", NULL, "X-Bad : 1\r\nContent-Length: @\r\n", AS_ASKED, false },
    { "a field in two lines", NULL, "X-Bad: 1\r\n 2\r\nContent-Length: @\r\n", AS_ASKED, false },
    { "NUL in a value", NULL, "X-Bad: 1~2\r\nContent-Length: @\r\n", AS_ASKED, false },
    { "CR in a value", NULL, "X-Bad: 1\rX-B: 2\r\nContent-Length: @\r\n", AS_ASKED, false },
    { "bare LF", NULL, "X-Bad: 1\nContent-Length: @\r\n", AS_ASKED, false },
    { "no status line", "SSH-2.0-sim", "Content-Length: @\r\n", AS_ASKED, false },
    { "another protocol", "HTTP/2.0 200 OK", "Content-Length: @\r\n", AS_ASKED, false },
    { "a status that is none", "HTTP/1.1 20 OK", "Content-Length: @\r\n", AS_ASKED, false },
    { "101 that nobody asked for", "HTTP/1.1 101 Switching", "Connection: upgrade\r\nUpgrade: websocket\r\n", AS_ASKED, false },
    { "1xx without end", "", "", AS_ASKED, false },
    { "a head without end", NULL, "X-Bad: ^\r\nContent-Length: @\r\n", AS_ASKED, false },
    { "another answer behind it", NULL, "Content-Length: @\r\n", ONE_MORE, true },
    { "less than its length", NULL, "Content-Length: @\r\n", ONE_LESS, true },
    { "a bad chunk's size", NULL, "Transfer-Encoding: chunked\r\n", BAD_SIZE, true },
    { "a huge chunk's size", NULL, "Transfer-Encoding: chunked\r\n", HUGE_SIZE, true },
    { "no line end after a chunk", NULL, "Transfer-Encoding: chunked\r\n", NO_LINE_END, true },
    { "a bad trailer", NULL, "Transfer-Encoding: chunked\r\n", BAD_TRAILER, true },
};

static void add_many(struct outbox *out)
{
    memset(outbox_reserve(out, LONG_FIELD), 'b', LONG_FIELD);
    outbox_took(out, LONG_FIELD);
}

static void add_fields(struct visit *visit, const char *fields)
{
    for (const char *c = fields; *c != '\0'; c++)
        if (*c == '@')
            outbox_text(&visit->out, "%llu", (unsigned long long)visit->asked.answer_bytes);
        else if (*c == '#')
            outbox_text(&visit->out, "%llu", (unsigned long long)visit->asked.answer_bytes + 7);
        else if (*c == '~')
            outbox_add(&visit->out, "", 1);
        else if (*c == '^')
            add_many(&visit->out);
        else
            outbox_add(&visit->out, c, 1);
}

static void add_endless_interim(struct visit *visit)
{
    for (unsigned i = 0; i < MANY_INTERIM; i++)
        outbox_text(&visit->out, "HTTP/1.1 100 Continue\r\n\r\n");
}

static void add_head(struct visit *visit, const struct garbled *row)
{
    struct outbox *out = &visit->out;
    const struct asked *asked = &visit->asked;

    if (row->start == NULL)
        outbox_text(out, "HTTP/1.1 %u Sim\r\n", asked->code);
    else if (row->start[0] != '\0')
        outbox_text(out, "%s\r\n", row->start);
    else
        add_endless_interim(visit);
    outbox_text(out, "X-Instance: %u\r\nX-Ask: %llu\r\n%s", visit->instance->index, (unsigned long long)asked->id,
                row->head_is_right || asked->bodiless ? "" : "X-Garbled: 1\r\n");
    add_fields(visit, row->fields);
    outbox_text(out, "\r\n");
}

static void add_first_chunk(struct visit *visit)
{
    struct body *body = &visit->body;
    size_t len = body->total < 1000 ? (size_t)body->total : 1000;

    if (len == 0)
        return;
    outbox_text(&visit->out, "%zx\r\n", len);
    body_add_pattern(body, &visit->out, len);
    outbox_text(&visit->out, "\r\n");
}

static void add_chunks(struct visit *visit, const char *bad)
{
    if (!visit->asked.bodiless)
        add_first_chunk(visit);
    outbox_text(&visit->out, "%s", bad);
    visit->body.done = true;
}

static void add_body(struct visit *visit, enum garbled_body body)
{
    switch (body) {
    case AS_ASKED:
        break;
    case ONE_MORE:
        while (!visit->body.done)
            body_add_piece(&visit->body, &visit->out, &visit->instance->dice);
        outbox_text(&visit->out, "HTTP/1.1 200 OK\r\nX-Poison: 1\r\nContent-Length: 6\r\n\r\npoison");
        break;
    case ONE_LESS:
        visit->body.total -= visit->body.total > 0;
        visit->body.done = visit->body.done || visit->body.total == 0;
        break;
    case BAD_SIZE:
        add_chunks(visit, "0x3\r\nabc\r\n0\r\n\r\n");
        break;
    case HUGE_SIZE:
        add_chunks(visit, "ffffffffffffffff\r\nabc\r\n0\r\n\r\n");
        break;
    case NO_LINE_END:
        add_chunks(visit, "3\r\n");
        body_add_pattern(&visit->body, &visit->out, 3);         /* these may pass */
        outbox_text(&visit->out, "d\r\n0\r\n\r\n");
        break;
    case BAD_TRAILER:
        add_chunks(visit, "0\r\nX : 1\r\n\r\n");
        break;
    }
}

void answer_garbled(struct visit *visit)
{
    struct dice *dice = &visit->instance->dice;
    const struct garbled *row = &rows[dice_below(dice, sizeof(rows) / sizeof(rows[0]))];
    const struct asked *asked = &visit->asked;
    static const enum ending endings[] = { ENDS_FIN, ENDS_FIN, ENDS_RESET, ENDS_NOT };

    if (asked->tunnel != '\0' && row->start != NULL && strstr(row->start, "101") != NULL)
        row = rows;                     /* nothing is wrong with this one */
    if (asked->code == 101)
        visit->asked.code = 200;
    oracle_misbehaved(asked->id, visit->instance->index, row->how);
    add_head(visit, row);
    visit->body = (struct body){ .id = asked->id, .direction = BODY_OF_ANSWER, .instance = visit->instance->index,
                                 .total = asked->answer_bytes, .framing = asked->bodiless ? BODY_IS_NONE : BODY_BY_LENGTH };
    body_begin(&visit->body, dice);
    add_body(visit, row->body);
    visit->ending = endings[dice_below(dice, sizeof(endings) / sizeof(endings[0]))];
    visit->slowly = false;
}
