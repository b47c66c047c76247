#include "lb/answer.h"
#include "common/http1.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const struct answer_row {
    const char *name;
    int status;
    bool keep_alive;
    const char *text;
} answers[] = {
    { "a bad request", 400, false, "HTTP/1.1 400 BAD_REQUEST\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n" },
    { "a bad request closes whatever was wished", 400, true, "HTTP/1.1 400 BAD_REQUEST\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n" },
    { "a refused method", 405, false, "HTTP/1.1 405 METHOD_NOT_ALLOWED\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n" },
    { "a refused method closes", 405, true, "HTTP/1.1 405 METHOD_NOT_ALLOWED\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n" },
    { "a request that did not come in time", 408, false, "HTTP/1.1 408 REQUEST_TIMEOUT\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n" },
    { "one that did not come in time closes", 408, true, "HTTP/1.1 408 REQUEST_TIMEOUT\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n" },
    { "a bad answer", 502, true, "HTTP/1.1 502 BAD_GATEWAY\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n" },
    { "a bad answer to a request not read whole", 502, false, "HTTP/1.1 502 BAD_GATEWAY\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n" },
    { "nobody in service", 503, true,
      "HTTP/1.1 503 Service Unavailable: Back-end server is at capacity\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n" },
    { "nobody in service, request not read whole", 503, false,
      "HTTP/1.1 503 Service Unavailable: Back-end server is at capacity\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n" },
    { "no answer in time", 504, true, "HTTP/1.1 504 GATEWAY_TIMEOUT\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n" },
    { "no answer in time, request not read whole", 504, false, "HTTP/1.1 504 GATEWAY_TIMEOUT\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n" },
};

static void test_answer(void **state)
{
    static const struct http1_limits limits = { 1000, 1000, 1000, 10, HTTP1_DEFENSIVE };
    static struct http1_head head;
    const struct answer_row *row = *state;
    const char *text = answer_text(row->status, row->keep_alive);
    size_t len = strlen(row->text);
    assert_string_equal(text, row->text);
    assert_int_equal(http1_parse_response(&head, text, len, &limits, METHOD_GET), len);
    assert_int_equal(head.status, row->status);
    assert_int_equal(head.framing, BODY_LENGTH);
    assert_int_equal(head.content_length, 0);
    assert_int_equal(head.keep_alive, row->keep_alive && row->status >= 500);
}

static void test_continue(void **state)
{
    (void)state;
    assert_string_equal(answer_continue, "HTTP/1.1 100 Continue\r\n\r\n");
}

int main(void)
{
    static struct CMUnitTest tests[32];
    size_t count = 0;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        tests[count++] = (struct CMUnitTest){ .name = answers[i].name, .test_func = test_answer, .initial_state = (void *)&answers[i] };
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_continue);
    return _cmocka_run_group_tests("answer", tests, count, NULL, NULL);
}
