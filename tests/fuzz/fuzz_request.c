/* Requests' heads: the verdict of each mode follows from the class, however the bytes were cut and whatever the limits. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/head_pieces.h"

static const struct http1_limits wide = { .line_max = 16384, .field_max = 16384, .head_max = 61440, .count_max = HTTP1_FIELDS_MAX };
static const struct http1_limits narrow = { .line_max = 40, .field_max = 32, .head_max = 96, .count_max = 4 };

static int parse(struct http1_head *head, const char *bytes, size_t len, const void *limits)
{
    return http1_parse_request(head, bytes, len, limits);
}

static void check_request(const struct http1_head *head, const char *bytes, int verdict, const struct http1_limits *limits)
{
    size_t hosts = 0;

    head_check(head, bytes, verdict, limits);
    assert(head->method_text.len > 0 && head->method_text.len <= 127);
    assert(head->path.len > 0);
    assert(head->path.ptr[0] == '/' || (head->path.ptr[0] == '*' && head->path.len == 1 && head->method == METHOD_OPTIONS));
    assert(head->framing != BODY_UNTIL_CLOSE);
    assert((head->framing == BODY_LENGTH) == head->has_content_length);
    assert(head->close_after == (head->desync_class >= HTTP1_AMBIGUOUS));
    assert(!head->close_after || !head->keep_alive);
    for (size_t i = 0; i < head->field_count; i++)
        hosts += head->fields[i].id == FIELD_HOST;
    assert(hosts == 1 || (hosts == 0 && head->minor == 0));
    assert(hosts == 0 || head->authority.len > 0);
}

/* What is compliant has no byte that others could take for another line's end. */
static void check_compliant(const char *bytes, int len)
{
    for (int i = 0; i < len; i++) {
        assert(bytes[i] != '\0');
        assert((bytes[i] != '\r' || bytes[i + 1] == '\n') && (bytes[i] != '\n' || bytes[i - 1] == '\r'));
        assert(i < 2 || bytes[i - 1] != '\n' || (bytes[i] != ' ' && bytes[i] != '\t'));
    }
}

/* Monitor lets everything pass that can be repaired: the other modes differ by the class alone. */
static void check_modes(struct http1_head *head, const char *bytes, size_t len, struct http1_limits limits)
{
    int monitor, r;
    enum http1_class class;

    limits.mode = HTTP1_MONITOR;
    monitor = head_in_pieces(head, bytes, len, parse, &limits);
    class = head->desync_class;
    assert(class == http1_desync_class(head->desync_reason));
    if (monitor > 0)
        check_request(head, bytes, monitor, &limits);
    if (monitor > 0 && class == HTTP1_COMPLIANT)
        check_compliant(bytes, monitor);
    limits.mode = HTTP1_DEFENSIVE;
    r = http1_parse_request(head, bytes, len, &limits);
    assert(r == (monitor > 0 && class > HTTP1_AMBIGUOUS ? -HTTP1_DESYNC : monitor));
    assert(head->desync_class == class);
    limits.mode = HTTP1_STRICTEST;
    r = head_in_pieces(head, bytes, len, parse, &limits);
    assert(r == (monitor > 0 && class > HTTP1_COMPLIANT ? -HTTP1_DESYNC : monitor));
    assert(head->desync_class == class);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http1_head head;
    char *bytes = fuzz_exact(data, size);

    check_modes(&head, bytes, size, wide);
    check_modes(&head, bytes, size, narrow);
    free(bytes);
    return 0;
}
