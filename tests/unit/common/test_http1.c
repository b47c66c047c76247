/* Heads: every row whole, at every prefix, and up against a page that cannot be read. */
#include "common/http1.h"
#include "guard.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define X4(s) s s s s
#define X16(s) X4(X4(s))
#define X64(s) X16(X4(s))
#define X1024(s) X64(X16(s))

static const struct http1_limits usual = { 16384, 16384, 65536, 100, HTTP1_DEFENSIVE };
/* Lines of 24 bytes, heads of 48, three fields. */
static const struct http1_limits tight = { 24, 24, 48, 3, HTTP1_DEFENSIVE };

/* name: what must hold, and who says so. */
struct head_row {
    const char *name;
    const char *bytes;
    size_t len;
    enum http1_reason reason;
    size_t at;                      /* bytes that show the error; 0: any, once all have come */
    size_t rest;                    /* bytes after the head */
    const char *says;               /* what a good head means, as head_text() writes it */
    const char *fields;             /* its fields, as fields_text() writes them; NULL: not looked at */
    const struct http1_limits *limits;
    enum http1_method method;       /* response: its request's */
    enum http1_mode mode;
    enum http1_desync desync;       /* what a bad request counts as; DESYNC_NONE: what its reason says */
};

#define BYTES(text) .bytes = (text), .len = sizeof(text) - 1
#define GOOD(name_, text, says_) { .name = (name_), BYTES(text), .says = (says_) }
#define FIELDS(name_, text, says_, fields_) { .name = (name_), BYTES(text), .says = (says_), .fields = (fields_) }
#define REST(name_, text, rest_, says_) \
    { .name = (name_), BYTES(text rest_), .rest = sizeof(rest_) - 1, .says = (says_) }
#define BAD(reason_, name_, text) { .name = (name_), BYTES(text), .reason = HTTP1_##reason_ }
/* The error shows when `early` has come, neither before nor later. */
#define EARLY(reason_, name_, early, text) \
    { .name = (name_), BYTES(early text), .reason = HTTP1_##reason_, .at = sizeof(early) - 1 }
/* The same, counted otherwise than its reason mostly is. */
#define COUNTED(desync_, reason_, name_, early, text) \
    { .name = (name_), BYTES(early text), .reason = HTTP1_##reason_, .at = sizeof(early) - 1, .desync = DESYNC_##desync_ }
/* It could be repaired, but not in this mode: which shows when all of it has come. */
#define REFUSED(mode_, desync_, name_, text) \
    { .name = (name_), BYTES(text), .reason = HTTP1_DESYNC, .at = sizeof(text) - 1, .mode = HTTP1_##mode_, .desync = DESYNC_##desync_ }
/* It could be repaired, but there is no room. */
#define REFUSED_EARLY(name_, desync_, early, text) \
    { .name = (name_), BYTES(early text), .reason = HTTP1_DESYNC, .at = sizeof(early) - 1, .desync = DESYNC_##desync_ }
#define PASSES(mode_, name_, text, says_) { .name = (name_), BYTES(text), .says = (says_), .mode = HTTP1_##mode_ }
#define TIGHT_GOOD(name_, text, says_) { .name = (name_), BYTES(text), .says = (says_), .limits = &tight }
#define TIGHT_COUNTED(desync_, reason_, name_, early, text) \
    { .name = (name_), BYTES(early text), .reason = HTTP1_##reason_, .at = sizeof(early) - 1, .limits = &tight, .desync = DESYNC_##desync_ }
#define TIGHT_BAD(reason_, name_, early, text) \
    { .name = (name_), BYTES(early text), .reason = HTTP1_##reason_, .at = sizeof(early) - 1, .limits = &tight }

#define GET "GET / HTTP/1.1\r\n"
#define GET10 "GET / HTTP/1.0\r\n"
#define POST "POST / HTTP/1.1\r\n"
#define HOST "Host: h\r\n"
#define END "\r\n"

static const struct head_row requests[] = {
    /* methods */
    GOOD("the smallest request (RFC 9112 2.1)", GET HOST END, "GET / h 1.1 none keep"),
    GOOD("HEAD is known", "HEAD / HTTP/1.1\r\n" HOST END, "HEAD / h 1.1 none keep"),
    GOOD("OPTIONS is known", "OPTIONS / HTTP/1.1\r\n" HOST END, "OPTIONS / h 1.1 none keep"),
    GOOD("TRACE is known", "TRACE / HTTP/1.1\r\n" HOST END, "TRACE / h 1.1 none keep"),
    GOOD("PUT is known", "PUT / HTTP/1.1\r\n" HOST END, "PUT / h 1.1 none keep"),
    GOOD("DELETE is known", "DELETE / HTTP/1.1\r\n" HOST END, "DELETE / h 1.1 none keep"),
    GOOD("POST is known", POST HOST END, "POST / h 1.1 none keep"),
    GOOD("PATCH is known", "PATCH / HTTP/1.1\r\n" HOST END, "PATCH / h 1.1 none keep"),
    GOOD("an unknown method passes (RFC 9110 9.1)", "PROPFIND / HTTP/1.1\r\n" HOST END, "other:PROPFIND / h 1.1 none keep"),
    GOOD("methods are case-sensitive (RFC 9110 9.1)", "get / HTTP/1.1\r\n" HOST END, "other:get / h 1.1 none keep"),
    GOOD("a method may hold every tchar (RFC 9110 5.6.2)", "!#$%&'*+-.^_`|~09 / HTTP/1.1\r\n" HOST END,
         "other:!#$%&'*+-.^_`|~09 / h 1.1 none keep"),
    GOOD("a method that starts like a known one is another", "GETS / HTTP/1.1\r\n" HOST END, "other:GETS / h 1.1 none keep"),
    GOOD("a method of 127 characters passes (ELB)",
         X64("M") X16("M") X16("M") X16("M") X4("M") X4("M") X4("M") "MMM" " / HTTP/1.1\r\n" HOST END,
         "other:" X64("M") X16("M") X16("M") X16("M") X4("M") X4("M") X4("M") "MMM" " / h 1.1 none keep"),
    EARLY(METHOD_TOO_LONG, "one of 128 does not (ELB: 405)", X64("M") X64("M"), " / HTTP/1.1\r\n" HOST END),
    EARLY(METHOD_REFUSED, "CONNECT is refused (ELB)", "CONNECT ", "h:80 HTTP/1.1\r\n" HOST END),
    EARLY(METHOD_REFUSED, "CONNECT is refused with any target", "CONNECT ", "/ HTTP/1.1\r\n" HOST END),
    EARLY(BAD_METHOD, "a request does not begin with a space (RFC 9112 3)", " ", GET HOST END),
    EARLY(BAD_METHOD, "nor with a tab", "\t", GET HOST END),
    EARLY(BAD_METHOD, "a slash is no tchar", "GET/", " / HTTP/1.1\r\n" HOST END),
    EARLY(BAD_METHOD, "nor is a parenthesis", "G(", "T / HTTP/1.1\r\n" HOST END),
    EARLY(BAD_METHOD, "nor a colon", "GET:", " / HTTP/1.1\r\n" HOST END),
    EARLY(BAD_METHOD, "nor obs-text", "G\xc9", "T / HTTP/1.1\r\n" HOST END),
    EARLY(BAD_METHOD, "nor DEL", "GET\x7f", " / HTTP/1.1\r\n" HOST END),
    EARLY(BAD_METHOD, "a tab does not end the method (RFC 9112 3)", "GET\t", "/ HTTP/1.1\r\n" HOST END),
    COUNTED(MISSING_URI, BAD_METHOD, "a line of the method alone", "GET\r\n", HOST END),
    EARLY(BAD_METHOD, "a TLS hello on a plain port", "\x16", "\x03\x01\x02"),
    /* empty lines before */
    GOOD("one empty line before a request is skipped (RFC 9112 2.2)", "\r\n" GET HOST END, "GET / h 1.1 none keep"),
    EARLY(BAD_METHOD, "two are not", "\r\n\r\n", GET HOST END),
    COUNTED(NON_CRLF, BAD_LINE_END, "a bare LF before a request is not an empty line", "\n", GET HOST END),
    COUNTED(BAD_METHOD, BAD_LINE_END, "a bare CR neither", "\rG", "ET / HTTP/1.1\r\n" HOST END),
    /* targets */
    GOOD("origin-form with a query (RFC 9112 3.2.1)", "GET /a/b?c=d&e HTTP/1.1\r\n" HOST END, "GET /a/b?c=d&e h 1.1 none keep"),
    GOOD("every byte from 0x21 to 0x7e but '#' passes untouched",
         "GET /!\"$%&'()*+,-./0:;<=>?@A[\\]^_`a{|}~ HTTP/1.1\r\n" HOST END,
         "GET /!\"$%&'()*+,-./0:;<=>?@A[\\]^_`a{|}~ h 1.1 none keep"),
    GOOD("what a WAF must see is not decoded", "GET /%3Cscript%3E%00/../ HTTP/1.1\r\n" HOST END,
         "GET /%3Cscript%3E%00/../ h 1.1 none keep"),
    GOOD("a target of two slashes is origin-form", "GET //x/y HTTP/1.1\r\n" HOST END, "GET //x/y h 1.1 none keep"),
    GOOD("absolute-form (RFC 9112 3.2.2)", "GET http://h/a?b HTTP/1.1\r\n" HOST END, "GET /a?b h 1.1 none keep"),
    GOOD("its authority wins over Host (RFC 9112 3.2.2)", "GET http://x:81/a HTTP/1.1\r\n" HOST END, "GET /a x:81 1.1 none keep"),
    GOOD("https and any case of the scheme (RFC 3986 3.1)", "GET hTTpS://x/ HTTP/1.1\r\n" HOST END, "GET / x 1.1 none keep"),
    GOOD("without a path it means / (RFC 9112 3.2.1)", "GET http://x HTTP/1.1\r\n" HOST END, "GET / x 1.1 none keep"),
    GOOD("OPTIONS without a path means * (RFC 9112 3.2.4)", "OPTIONS http://x HTTP/1.1\r\n" HOST END, "OPTIONS * x 1.1 none keep"),
    GOOD("OPTIONS with a path keeps it", "OPTIONS http://x/ HTTP/1.1\r\n" HOST END, "OPTIONS / x 1.1 none keep"),
    GOOD("absolute-form names the authority in HTTP/1.0", "GET http://x/ HTTP/1.0\r\n" END, "GET / x 1.0 none close"),
    GOOD("absolute-form with an IPv6 literal", "GET http://[2001:db8::1]:8080/ HTTP/1.1\r\n" HOST END, "GET / [2001:db8::1]:8080 1.1 none keep"),
    GOOD("asterisk-form of OPTIONS (RFC 9112 3.2.4)", "OPTIONS * HTTP/1.1\r\n" HOST END, "OPTIONS * h 1.1 none keep"),
    EARLY(BAD_TARGET, "asterisk-form of others is refused", "GET * ", "HTTP/1.1\r\n" HOST END),
    EARLY(BAD_TARGET, "an asterisk and more is no asterisk-form", "OPTIONS *x ", "HTTP/1.1\r\n" HOST END),
    EARLY(BAD_TARGET, "authority-form is CONNECT's (RFC 9112 3.2.3)", "GET h:80 ", "HTTP/1.1\r\n" HOST END),
    EARLY(BAD_TARGET, "a relative path is no target", "GET index.html ", "HTTP/1.1\r\n" HOST END),
    EARLY(BAD_TARGET, "nor is a query alone", "GET ?a ", "HTTP/1.1\r\n" HOST END),
    EARLY(BAD_TARGET, "another scheme is refused", "GET ftp://h/ ", "HTTP/1.1\r\n" HOST END),
    EARLY(BAD_TARGET, "a scheme without authority (RFC 9110 4.2.1)", "GET http:// ", "HTTP/1.1\r\n" HOST END),
    EARLY(BAD_TARGET, "an empty authority before a path (RFC 9110 4.2.1)", "GET http:///a ", "HTTP/1.1\r\n" HOST END),
    EARLY(BAD_TARGET, "a port without host", "GET http://:80/ ", "HTTP/1.1\r\n" HOST END),
    EARLY(BAD_TARGET, "user information (RFC 9110 4.2.4)", "GET http://u:p@h/ ", "HTTP/1.1\r\n" HOST END),
    EARLY(BAD_TARGET, "one slash after the scheme", "GET http:/h/ ", "HTTP/1.1\r\n" HOST END),
    EARLY(BAD_TARGET, "a query without a path", "GET http://h?q ", "HTTP/1.1\r\n" HOST END),
    EARLY(BAD_TARGET, "a slash in such a query", "GET http://h?q=/a ", "HTTP/1.1\r\n" HOST END),
    EARLY(BAD_TARGET, "a backslash ends no authority", "GET http://h\\@x/ ", "HTTP/1.1\r\n" HOST END),
    EARLY(BAD_TARGET, "a fragment is never sent (RFC 9112 3.2, CVE-2023-45539)", "GET /a#", "b HTTP/1.1\r\n" HOST END),
    COUNTED(MISSING_URI, BAD_TARGET, "two spaces before the target (RFC 9112 3)", "GET  ", "/ HTTP/1.1\r\n" HOST END),
    GOOD("a tab inside the target is escaped (ELB: AmbiguousUri)", "GET /\t HTTP/1.1\r\n" HOST END, "GET /%09 h 1.1 none close AmbiguousUri"),
    GOOD("so is any control byte", "GET /\x01?\x1f HTTP/1.1\r\n" HOST END, "GET /%01?%1F h 1.1 none close AmbiguousUri"),
    GOOD("and DEL", "GET /a\x7f" "b HTTP/1.1\r\n" HOST END, "GET /a%7Fb h 1.1 none close AmbiguousUri"),
    GOOD("what was escaped already stays so", "GET /%20\x01%zz HTTP/1.1\r\n" HOST END, "GET /%20%01%zz h 1.1 none close AmbiguousUri"),
    GOOD("a space inside the target is escaped (ELB: SpaceInUri)", "GET /a b  c HTTP/1.1\r\n" HOST END, "GET /a%20b%20%20c h 1.1 none keep SpaceInUri"),
    GOOD("a version inside the target is part of it", "GET /a HTTP/1.0 HTTP/1.1\r\n" HOST END, "GET /a%20HTTP/1.0 h 1.1 none keep SpaceInUri"),
    GOOD("a strange version there too", "GET /a HTTP/1.7 b HTTP/1.1\r\n" HOST END, "GET /a%20HTTP/1.7%20b h 1.1 none keep SpaceInUri"),
    GOOD("in absolute-form too", "GET http://h/a b HTTP/1.1\r\n" HOST END, "GET /a%20b h 1.1 none keep SpaceInUri"),
    GOOD("the worse of two counts", "GET /a b\x01 HTTP/1.1\r\n" HOST END, "GET /a%20b%01 h 1.1 none close AmbiguousUri"),
    COUNTED(AMBIGUOUS_URI, BAD_TARGET, "a control byte inside the authority", "GET http://h\x01/ HTTP/1.1\r\n", HOST END),
    COUNTED(SPACE_IN_URI, BAD_TARGET, "a space inside the authority", "GET http://h x/ HTTP/1.1\r\n", HOST END),
    COUNTED(SPACE_IN_URI, BAD_TARGET, "a space after the asterisk", "OPTIONS * x HTTP/1.1\r\n", HOST END),
    COUNTED(SPACE_IN_URI, BAD_TARGET, "a fragment after a space", "GET /a b#c HTTP/1.1\r\n", HOST END),
    COUNTED(SPACE_IN_URI, BAD_TARGET, "bytes above ASCII after a space", "GET /a \xc3\xa9 HTTP/1.1\r\n", HOST END),
    EARLY(BAD_TARGET, "bytes above ASCII inside the target (RFC 3986 2)", "GET /\xc3", "\xa9 HTTP/1.1\r\n" HOST END),
    COUNTED(MISSING_URI, BAD_TARGET, "a line that ends before the target", "GET \r\n", HOST END),
    COUNTED(BAD_URI, BAD_LINE_END, "NUL inside the target", "GET /\0", " HTTP/1.1\r\n" HOST END),
    COUNTED(BAD_URI, BAD_LINE_END, "NUL after a space inside the target", "GET /a b\0", " HTTP/1.1\r\n" HOST END),
    COUNTED(BAD_URI, BAD_LINE_END, "a bare CR inside the target (RFC 9112 2.2)", "GET /\ra", " HTTP/1.1\r\n" HOST END),
    COUNTED(BAD_URI, BAD_LINE_END, "a bare CR after a control byte", "GET /\x01\ra", " HTTP/1.1\r\n" HOST END),
    COUNTED(NON_CRLF, BAD_LINE_END, "a bare LF inside the target", "GET /\n", "a HTTP/1.1\r\n" HOST END),
    /* versions */
    GOOD("HTTP/1.0 closes (RFC 9112 9.3)", GET10 END, "GET / - 1.0 none close"),
    GOOD("HTTP/1.2 is read as 1.1 (RFC 9110 2.5)", "GET / HTTP/1.2\r\n" HOST END, "GET / h 1.1 none keep NonCompliantVersion"),
    GOOD("HTTP/1.9 too", "GET / HTTP/1.9\r\n" HOST END, "GET / h 1.1 none keep NonCompliantVersion"),
    COUNTED(NON_COMPLIANT_VERSION, BAD_VERSION, "HTTP/0.9's line has no version", "GET /\r\n", HOST END),
    COUNTED(NON_COMPLIANT_VERSION, BAD_VERSION, "an empty version", "GET / \r\n", HOST END),
    COUNTED(NON_COMPLIANT_VERSION, BAD_VERSION, "a tab is no space before the version", "GET /\tHTTP/1.1\r\n", HOST END),
    COUNTED(NON_COMPLIANT_VERSION, BAD_VERSION, "HTTP/0.9 by name", "GET / HTTP/0.9\r\n", HOST END),
    REFUSED(DEFENSIVE, BAD_VERSION, "HTTP/2.0 (ELB: BadVersion)", "GET / HTTP/2.0\r\n" HOST END),
    PASSES(MONITOR, "monitor reads it as 1.1", "GET / HTTP/2.0\r\n" HOST END, "GET / h 1.1 none close BadVersion"),
    PASSES(MONITOR, "with a space in the target too", "GET /a b HTTP/9.9\r\n" HOST END, "GET /a%20b h 1.1 none close BadVersion"),
    EARLY(BAD_TARGET, "HTTP/2's preface (RFC 9113 3.4)", "PRI * ", "HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    EARLY(BAD_VERSION, "two digits of minor version", "GET / HTTP/1.10\r\n", HOST END),
    EARLY(BAD_VERSION, "two digits of major version", "GET / HTTP/11.1\r\n", HOST END),
    EARLY(BAD_VERSION, "a version without minor", "GET / HTTP/1\r\n", HOST END),
    EARLY(BAD_VERSION, "a version whose minor is missing", "GET / HTTP/1.\r\n", HOST END),
    EARLY(BAD_VERSION, "the version's name is case-sensitive (RFC 9112 2.3)", "GET / http/1.1\r\n", HOST END),
    EARLY(BAD_VERSION, "another protocol's name", "GET / ICE/1.1\r\n", HOST END),
    GOOD("two spaces before the version mean one (RFC 9112 3)", "GET /  HTTP/1.1\r\n" HOST END, "GET / h 1.1 none keep NonCompliantVersion"),
    GOOD("spaces after the version mean nothing", "GET / HTTP/1.0  \r\n" END, "GET / - 1.0 none close NonCompliantVersion"),
    COUNTED(BAD_VERSION, BAD_VERSION, "but a tab does", "GET / HTTP/1.1\t\r\n", HOST END),
    EARLY(BAD_VERSION, "a sign in the version", "GET / HTTP/+1.1\r\n", HOST END),
    /* line ends */
    COUNTED(NON_CRLF, BAD_LINE_END, "a request line that ends in LF alone", "GET / HTTP/1.1\n", HOST END),
    COUNTED(BAD_URI, BAD_LINE_END, "one that ends in CR alone", "GET / HTTP/1.1\rH", "ost: h\r\n\r\n"),
    COUNTED(BAD_URI, BAD_LINE_END, "two CRs", "GET / HTTP/1.1\r\r", "\n" HOST END),
    COUNTED(BAD_URI, BAD_LINE_END, "NUL after the version", "GET / HTTP/1.1\0", "\r\n" HOST END),
    COUNTED(NON_CRLF, BAD_LINE_END, "a field line that ends in LF alone", GET "Host: h\n", "\r\n"),
    COUNTED(BAD_HEADER, BAD_LINE_END, "one that ends in CR alone", GET "Host: h\rA", ": b\r\n\r\n"),
    COUNTED(NON_CRLF, BAD_LINE_END, "a head that ends in LF alone", GET HOST "\n", ""),
    COUNTED(BAD_HEADER, BAD_LINE_END, "a head that ends in CR and something else", GET HOST "\rX", ""),
    COUNTED(BAD_HEADER, BAD_LINE_END, "NUL in a field name (CVE-2023-25725's kin)", GET HOST "A\0", "b: c\r\n\r\n"),
    COUNTED(BAD_HEADER, BAD_LINE_END, "NUL in a field value (RFC 9110 5.5)", GET HOST "A: b\0", "c\r\n\r\n"),
    COUNTED(BAD_HEADER, BAD_LINE_END, "NUL deep in a long value", GET HOST "A: " X16("0123456789") "\0", "c\r\n\r\n"),
    COUNTED(NON_CRLF, BAD_LINE_END, "a bare LF deep in a long value", GET HOST "A: " X16("0123456789") "\n", "B: c\r\n\r\n"),
    COUNTED(BAD_HEADER, BAD_LINE_END, "a bare CR in a field value (RFC 9112 2.2)", GET HOST "A: b\rc", "\r\n\r\n"),
    COUNTED(NON_CRLF, BAD_LINE_END, "a bare LF between name and colon", GET HOST "A\n", ": c\r\n\r\n"),
    COUNTED(NON_CRLF, BAD_LINE_END, "a bare LF before the value", GET HOST "A:\n", " c\r\n\r\n"),
    COUNTED(BAD_HEADER, BAD_LINE_END, "a bare CR before the value", GET HOST "A:\r ", "c\r\n\r\n"),
    /* fields */
    FIELDS("values lose the blanks around them (RFC 9112 5.1)", GET HOST "A: \t b c \t \r\n" END, "GET / h 1.1 none keep", "Host=h;A=b c;"),
    FIELDS("a value needs no blank before it", GET HOST "A:b\r\n" END, "GET / h 1.1 none keep", "Host=h;A=b;"),
    FIELDS("an empty value is legal (RFC 9110 5.5)", GET HOST "A:\r\nB: \t \r\n" END, "GET / h 1.1 none keep", "Host=h;A=;B=;"),
    FIELDS("colons and tabs belong to the value", GET HOST "A: b:\tc:\r\n" END, "GET / h 1.1 none keep", "Host=h;A=b:\tc:;"),
    FIELDS("obs-text is legal in values (RFC 9110 5.5)", GET HOST "A: \x80\xff" "b\r\n" END, "GET / h 1.1 none keep", "Host=h;A=\x80\xff" "b;"),
    FIELDS("a long value with tabs is whole", GET HOST "A: 0123456789\t0123456789abcdef\t\t01234567\r\n" END, "GET / h 1.1 none keep",
           "Host=h;A=0123456789\t0123456789abcdef\t\t01234567;"),
    FIELDS("every visible byte is legal in values", GET HOST "A: !\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~\r\n" END, "GET / h 1.1 none keep",
           "Host=h;A=!\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~;"),
    FIELDS("every tchar is legal in names", GET HOST "!#$%&'*+-.^_`|~09Az: b\r\n" END, "GET / h 1.1 none keep", "Host=h;!#$%&'*+-.^_`|~09Az=b;"),
    FIELDS("order and repeats are kept", GET "B: 1\r\n" HOST "A: 2\r\nB: 3\r\n" END, "GET / h 1.1 none keep", "B=1;Host=h;A=2;B=3;"),
    GOOD("names have no case (RFC 9110 5.1)", GET "hOST: h\r\n" END, "GET / h 1.1 none keep"),
    FIELDS("an empty name is no field (CVE-2023-25725): dropped", GET HOST ": b\r\nC: d\r\n" END, "GET / h 1.1 none close EmptyHeader", "Host=h;C=d;"),
    FIELDS("a name of blanks goes on with the field before", GET HOST "A: b\r\n : c\r\n" END, "GET / h 1.1 none close MultilineHeader", "Host=h;A=b : c;"),
    FIELDS("two colons", GET HOST "::b\r\n" END, "GET / h 1.1 none close EmptyHeader", "Host=h;"),
    FIELDS("a blank before the colon (RFC 9112 5.1): dropped", GET HOST "A : b\r\n" END, "GET / h 1.1 none keep NonCompliantHeader", "Host=h;"),
    FIELDS("a tab before the colon", GET HOST "A\t: b\r\nC: d\r\n" END, "GET / h 1.1 none keep NonCompliantHeader", "Host=h;C=d;"),
    COUNTED(NON_COMPLIANT_HEADER, BAD_HOST, "a Host with a blank before the colon is none", GET "Host : h\r\n" END, ""),
    GOOD("nor is it a second one", GET HOST "Host : i\r\n" END, "GET / h 1.1 none keep NonCompliantHeader"),
    FIELDS("a line without colon", GET "Abc\r\n" HOST "d\r\n" END, "GET / h 1.1 none close MissingHeaderColon", "Host=h;"),
    FIELDS("a blank inside the name", GET HOST "A b: c\r\nD: e\r\n" END, "GET / h 1.1 none keep NonCompliantHeader", "Host=h;D=e;"),
    FIELDS("obs-text in the name", GET HOST "A\xe9: c\r\nD: e\r\n" END, "GET / h 1.1 none keep NonCompliantHeader", "Host=h;D=e;"),
    FIELDS("a parenthesis in the name", GET HOST "A(: c\r\nD: e\r\n" END, "GET / h 1.1 none keep NonCompliantHeader", "Host=h;D=e;"),
    FIELDS("a quote in the name", GET HOST "\"A\": c\r\nD: e\r\n" END, "GET / h 1.1 none keep NonCompliantHeader", "Host=h;D=e;"),
    FIELDS("a slash in the name", GET HOST "A/b: c\r\nD: e\r\n" END, "GET / h 1.1 none keep NonCompliantHeader", "Host=h;D=e;"),
    FIELDS("DEL in the name", GET HOST "A\x7f: c\r\nD: e\r\n" END, "GET / h 1.1 none keep NonCompliantHeader", "Host=h;D=e;"),
    FIELDS("a control byte in the value (RFC 9110 5.5)", GET HOST "A: b\x01\r\nD: e\r\n" END, "GET / h 1.1 none keep NonCompliantHeader", "Host=h;D=e;"),
    FIELDS("vertical tab is no blank", GET HOST "A: \x0b" "b\r\nD: e\r\n" END, "GET / h 1.1 none keep NonCompliantHeader", "Host=h;D=e;"),
    FIELDS("form feed is no blank", GET HOST "A: b\x0c\r\nD: e\r\n" END, "GET / h 1.1 none keep NonCompliantHeader", "Host=h;D=e;"),
    FIELDS("DEL in the value", GET HOST "A: b\x7f\r\nD: e\r\n" END, "GET / h 1.1 none keep NonCompliantHeader", "Host=h;D=e;"),
    FIELDS("ESC deep in a long value", GET HOST "A: " X16("0123456789") "\x1b\r\nD: e\r\n" END, "GET / h 1.1 none keep NonCompliantHeader", "Host=h;D=e;"),
    FIELDS("DEL deep in a long value", GET HOST "A: " X16("0123456789") "\x7f\r\nD: e\r\n" END, "GET / h 1.1 none keep NonCompliantHeader", "Host=h;D=e;"),
    FIELDS("the last byte before SP too", GET HOST "A: " X16("0123456789") "\x1f" "23456789\r\nD: e\r\n" END, "GET / h 1.1 none keep NonCompliantHeader", "Host=h;D=e;"),
    FIELDS("a folded line is joined by a space (RFC 9112 5.2)", GET HOST "A: b \r\n  c\r\n" END, "GET / h 1.1 none close MultilineHeader", "Host=h;A=b c;"),
    FIELDS("however often", GET HOST "A: b\r\n c\r\n\td\t\r\n e\r\nF: g\r\n h\r\n" END, "GET / h 1.1 none close MultilineHeader", "Host=h;A=b c d e;F=g h;"),
    FIELDS("to an empty value nothing is joined", GET HOST "A:\r\n b\r\n c\r\n" END, "GET / h 1.1 none close MultilineHeader", "Host=h;A=b c;"),
    FIELDS("what looks like a field there is none", POST HOST "A: b\r\n Content-Length: 5\r\n" END, "POST / h 1.1 none close MultilineHeader", "Host=h;A=b Content-Length: 5;"),
    FIELDS("Connection is read when it is whole", GET HOST "A: 1\r\nConnection: close,\r\n a\r\n" END, "GET / h 1.1 none close MultilineHeader",
           "Host=h;*A=1;Connection=close, a;"),
    FIELDS("a control byte in it spoils the field", GET HOST "A: b\r\n c\x01\r\n d\r\nE: f\r\n" END, "GET / h 1.1 none close MultilineHeader", "Host=h;E=f;"),
    FIELDS("what goes on with a dropped line is dropped", GET HOST "A : b\r\n c\r\nE: f\r\n" END, "GET / h 1.1 none close MultilineHeader", "Host=h;E=f;"),
    EARLY(FOLDED_FIELD, "Host does not go on", GET HOST " ", "\r\n\r\n"),
    EARLY(FOLDED_FIELD, "nor does Content-Length", POST HOST "Content-Length: 5\r\n ", "5\r\n\r\n"),
    EARLY(FOLDED_FIELD, "nor does Transfer-Encoding", POST HOST "Transfer-Encoding: chunked\r\n\t", ", x\r\n\r\n"),
    EARLY(FOLDED_FIELD, "nor does Expect", POST HOST "Expect: 100-continue\r\n ", "x\r\n\r\n"),
    FIELDS("a line folded with a tab", GET HOST "A: b\r\n\tc\r\n" END, "GET / h 1.1 none close MultilineHeader", "Host=h;A=b c;"),
    FIELDS("a line with a blank before the first field is not looked at (RFC 9112 2.2)", GET " Host: x\r\n Content-Length: 5\r\n" HOST END,
           "GET / h 1.1 none close MultilineHeader", "Host=h;"),
    FIELDS("a line of blanks is not the empty line", GET HOST "A: b\r\n \t\r\nC: d\r\n" END, "GET / h 1.1 none close MultilineHeader", "Host=h;A=b;C=d;"),
    /* Host */
    BAD(BAD_HOST, "HTTP/1.1 without Host (RFC 9112 3.2)", GET END),
    BAD(BAD_HOST, "HTTP/1.1 in absolute-form needs Host too", "GET http://x/ HTTP/1.1\r\n" END),
    EARLY(BAD_HOST, "Host twice (RFC 9112 3.2)", GET HOST "Host: i\r\n", END),
    EARLY(BAD_HOST, "Host twice, the same", GET HOST HOST, END),
    EARLY(BAD_HOST, "Host twice in HTTP/1.0", GET10 HOST HOST, END),
    EARLY(BAD_HOST, "an invalid Host beside absolute-form", "GET http://x/ HTTP/1.1\r\nHost: a b\r\n", END),
    EARLY(BAD_HOST, "an invalid Host in HTTP/1.0", GET10 "Host: a/b\r\n", END),
    EARLY(BAD_HOST, "an empty Host", GET "Host:\r\n", END),
    EARLY(BAD_HOST, "an empty Host in HTTP/1.0", GET10 "Host: \r\n", END),
    GOOD("Host with a port", GET "Host: h.example:8080\r\n" END, "GET / h.example:8080 1.1 none keep"),
    GOOD("Host with the highest port", GET "Host: h:65535\r\n" END, "GET / h:65535 1.1 none keep"),
    GOOD("Host with port 0", GET "Host: h:0\r\n" END, "GET / h:0 1.1 none keep"),
    GOOD("Host with an empty port (RFC 3986 3.2.3)", GET "Host: h:\r\n" END, "GET / h: 1.1 none keep"),
    GOOD("Host as IPv4 address", GET "Host: 192.0.2.1:80\r\n" END, "GET / 192.0.2.1:80 1.1 none keep"),
    GOOD("Host as IPv6 literal (RFC 3986 3.2.2)", GET "Host: [::1]\r\n" END, "GET / [::1] 1.1 none keep"),
    GOOD("Host as IPv6 literal with port", GET "Host: [2001:DB8::ffff:192.0.2.1]:81\r\n" END, "GET / [2001:DB8::ffff:192.0.2.1]:81 1.1 none keep"),
    GOOD("Host with every byte of a reg-name (RFC 3986 3.2.2)", GET "Host: aZ09-._~!$&'()*+,;=%4a\r\n" END, "GET / aZ09-._~!$&'()*+,;=%4a 1.1 none keep"),
    GOOD("HTTP/1.0 may have a Host", GET10 HOST END, "GET / h 1.0 none close"),
    EARLY(BAD_HOST, "a port above 65535", GET "Host: h:65536\r\n", END),
    EARLY(BAD_HOST, "a port of six digits", GET "Host: h:000080\r\n", END),
    EARLY(BAD_HOST, "a port of letters", GET "Host: h:http\r\n", END),
    EARLY(BAD_HOST, "a signed port", GET "Host: h:+80\r\n", END),
    EARLY(BAD_HOST, "two ports", GET "Host: h:80:80\r\n", END),
    EARLY(BAD_HOST, "a port alone", GET "Host: :80\r\n", END),
    EARLY(BAD_HOST, "user information", GET "Host: u@h\r\n", END),
    EARLY(BAD_HOST, "a path", GET "Host: h/\r\n", END),
    EARLY(BAD_HOST, "a query", GET "Host: h?a\r\n", END),
    EARLY(BAD_HOST, "a fragment", GET "Host: h#a\r\n", END),
    EARLY(BAD_HOST, "a backslash", GET "Host: h\\a\r\n", END),
    EARLY(BAD_HOST, "a blank inside", GET "Host: h a\r\n", END),
    EARLY(BAD_HOST, "markup", GET "Host: <script>\r\n", END),
    EARLY(BAD_HOST, "obs-text", GET "Host: h\xe9\r\n", END),
    EARLY(BAD_HOST, "a percent sign alone", GET "Host: h%\r\n", END),
    EARLY(BAD_HOST, "half an escape", GET "Host: h%4\r\n", END),
    EARLY(BAD_HOST, "an escape that is not hex", GET "Host: h%4g\r\n", END),
    EARLY(BAD_HOST, "an IPv6 address without brackets", GET "Host: 2001:db8::1\r\n", END),
    EARLY(BAD_HOST, "an open bracket", GET "Host: [::1\r\n", END),
    EARLY(BAD_HOST, "a closing bracket alone", GET "Host: ::1]\r\n", END),
    EARLY(BAD_HOST, "empty brackets", GET "Host: []\r\n", END),
    EARLY(BAD_HOST, "IPv4 in brackets", GET "Host: [192.0.2.1]\r\n", END),
    EARLY(BAD_HOST, "two zero runs", GET "Host: [1::2::3]\r\n", END),
    EARLY(BAD_HOST, "nine groups", GET "Host: [1:2:3:4:5:6:7:8:9]\r\n", END),
    EARLY(BAD_HOST, "a literal longer than any address", GET "Host: [" X64("0") "::1]\r\n", END),
    EARLY(BAD_HOST, "a literal one byte longer", GET "Host: [0000:0000:0000:0000:0000:ffff:0255.255.255.255]\r\n", END),
    GOOD("the longest literal", GET "Host: [0000:0000:0000:0000:0000:ffff:255.255.255.255]\r\n" END,
         "GET / [0000:0000:0000:0000:0000:ffff:255.255.255.255] 1.1 none keep"),
    EARLY(BAD_HOST, "a zone", GET "Host: [fe80::1%25eth0]\r\n", END),
    EARLY(BAD_HOST, "a future literal", GET "Host: [v1.x]\r\n", END),
    EARLY(BAD_HOST, "a name after the literal", GET "Host: [::1]h\r\n", END),
    /* Content-Length */
    GOOD("a body of known length (RFC 9112 6.2)", POST HOST "Content-Length: 5\r\n" END, "POST / h 1.1 length:5 keep"),
    GOOD("a body of length 0", POST HOST "Content-Length: 0\r\n" END, "POST / h 1.1 length:0 keep"),
    GOOD("GET may have a body (RFC 9110 9.3.1), but not all look for it", GET HOST "Content-Length: 5\r\n" END, "GET / h 1.1 length:5 close UndefinedContentLengthSemantics"),
    GOOD("HEAD too", "HEAD / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n" END, "HEAD / h 1.1 length:5 close UndefinedContentLengthSemantics"),
    GOOD("one of length 0 does no harm", GET HOST "Content-Length: 0\r\n" END, "GET / h 1.1 length:0 keep GetHeadZeroContentLength"),
    GOOD("of HEAD neither", "HEAD / HTTP/1.1\r\n" HOST "Content-Length: 00\r\n" END, "HEAD / h 1.1 length:0 keep GetHeadZeroContentLength"),
    GOOD("HTTP/1.0 may have one", "POST / HTTP/1.0\r\nContent-Length: 5\r\n" END, "POST / - 1.0 length:5 close"),
    GOOD("a length of 18 digits", POST HOST "Content-Length: 999999999999999999\r\n" END, "POST / h 1.1 length:999999999999999999 keep"),
    GOOD("leading zeros mean nothing (RFC 9110 8.6)", POST HOST "Content-Length: 0010\r\n" END, "POST / h 1.1 length:10 keep"),
    GOOD("blanks around a length mean nothing", POST HOST "Content-Length: \t5 \r\n" END, "POST / h 1.1 length:5 keep"),
    REST("a head ends at its empty line; what follows is the body's", POST HOST "Content-Length: 5\r\n" END, "hello", "POST / h 1.1 length:5 keep"),
    REST("or the next request's", GET HOST END, "\0\n junk", "GET / h 1.1 none keep"),
    EARLY(BAD_CONTENT_LENGTH, "19 digits are more than any body", POST HOST "Content-Length: 1000000000000000000\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "2^64 is not 0 (CVE class: overflow)", POST HOST "Content-Length: 18446744073709551616\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "an empty length (CVE-2023-40225)", POST HOST "Content-Length:\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "a length of blanks", POST HOST "Content-Length: \t\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "a plus sign", POST HOST "Content-Length: +5\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "a minus sign", POST HOST "Content-Length: -5\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "hex", POST HOST "Content-Length: 0x5\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "a hex digit", POST HOST "Content-Length: a\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "a blank between digits (CVE-2018-7159)", POST HOST "Content-Length: 1 2\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "a fraction", POST HOST "Content-Length: 5.0\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "an exponent", POST HOST "Content-Length: 5e1\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "quotes", POST HOST "Content-Length: \"5\"\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "other scripts' digits", POST HOST "Content-Length: \xd9\xa5\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "a list, even of equal numbers (RFC 9110 8.6)", POST HOST "Content-Length: 5, 5\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "a list of different numbers", POST HOST "Content-Length: 5,6\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "a comma after it", POST HOST "Content-Length: 5,\r\n", END),
    EARLY(AMBIGUOUS_LENGTH, "twice, different (RFC 9112 6.3)", POST HOST "Content-Length: 5\r\nContent-Length: 6\r\n", END),
    FIELDS("twice, equal: one is enough (RFC 9110 8.6)", POST HOST "Content-Length: 5\r\nContent-Length: 5\r\n" END, "POST / h 1.1 length:5 close DuplicateContentLength",
           "Host=h;Content-Length=5;"),
    GOOD("twice, in other words", POST HOST "Content-Length: 0\r\ncontent-length: 00\r\n" END, "POST / h 1.1 length:0 close DuplicateContentLength"),
    EARLY(AMBIGUOUS_LENGTH, "three times, the last different", POST HOST "Content-Length: 5\r\nContent-Length: 5\r\nContent-Length: 6\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "a control byte in the length", POST HOST "Content-Length: 5\x01", "\r\n\r\n"),
    EARLY(BAD_CONTENT_LENGTH, "twice, the second invalid", POST HOST "Content-Length: 5\r\nContent-Length: x\r\n", END),
    /* Transfer-Encoding */
    GOOD("a chunked body (RFC 9112 7.1)", POST HOST "Transfer-Encoding: chunked\r\n" END, "POST / h 1.1 chunked keep"),
    GOOD("in any case (RFC 9112 7)", POST HOST "tRANSFER-eNCODING: ChunkeD\r\n" END, "POST / h 1.1 chunked keep"),
    GOOD("of a GET", GET HOST "Transfer-Encoding: chunked\r\n" END, "GET / h 1.1 chunked close UndefinedTransferEncodingSemantics"),
    FIELDS("length, then chunked: chunked wins (RFC 9112 6.3, CVE-2005-2088)", POST HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END,
           "POST / h 1.1 chunked close BothTeClPresent", "Host=h;Transfer-Encoding=chunked;"),
    FIELDS("chunked, then length", POST HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nA: b\r\n" END,
           "POST / h 1.1 chunked close BothTeClPresent", "Host=h;Transfer-Encoding=chunked;A=b;"),
    GOOD("chunked, then length 0", POST HOST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n" END, "POST / h 1.1 chunked close BothTeClPresent"),
    FIELDS("the first reason of a class counts", POST HOST "Content-Length: 5\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n" END,
           "POST / h 1.1 chunked close DuplicateContentLength", "Host=h;Transfer-Encoding=chunked;"),
    EARLY(BAD_CONTENT_LENGTH, "chunked, then a length that is none", POST HOST "Transfer-Encoding: chunked\r\nContent-Length: x\r\n", END),
    EARLY(AMBIGUOUS_LENGTH, "chunked, then different lengths", POST HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nContent-Length: 6\r\n", END),
    COUNTED(UNDEFINED_CODING, BAD_TRANSFER_ENCODING, "chunked in HTTP/1.0 (RFC 9112 6.1)", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", END),
    EARLY(BAD_TRANSFER_ENCODING, "empty", POST HOST "Transfer-Encoding:\r\n", END),
    EARLY(BAD_TRANSFER_ENCODING, "identity (RFC 9112 7: removed)", POST HOST "Transfer-Encoding: identity\r\n", END),
    EARLY(BAD_TRANSFER_ENCODING, "chunked not last (RFC 9112 6.3)", POST HOST "Transfer-Encoding: chunked, gzip\r\n", END),
    EARLY(BAD_TRANSFER_ENCODING, "a coding that we do not undo", POST HOST "Transfer-Encoding: gzip, chunked\r\n", END),
    COUNTED(MULTIPLE_CHUNKED, BAD_TRANSFER_ENCODING, "chunked twice in a list (RFC 9112 6.1)", POST HOST "Transfer-Encoding: chunked, chunked\r\n", END),
    COUNTED(MULTIPLE_CHUNKED, BAD_TRANSFER_ENCODING, "chunked twice in two fields", POST HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: Chunked\r\n", END),
    EARLY(BAD_TRANSFER_ENCODING, "chunked, then identity", POST HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", END),
    EARLY(BAD_TRANSFER_ENCODING, "with a parameter", POST HOST "Transfer-Encoding: chunked;q=1\r\n", END),
    EARLY(BAD_TRANSFER_ENCODING, "in quotes", POST HOST "Transfer-Encoding: \"chunked\"\r\n", END),
    EARLY(BAD_TRANSFER_ENCODING, "a letter missing", POST HOST "Transfer-Encoding: chunke\r\n", END),
    EARLY(BAD_TRANSFER_ENCODING, "a letter too many", POST HOST "Transfer-Encoding: xchunked\r\n", END),
    EARLY(BAD_TRANSFER_ENCODING, "an empty element before", POST HOST "Transfer-Encoding: ,chunked\r\n", END),
    EARLY(BAD_TRANSFER_ENCODING, "an empty element after", POST HOST "Transfer-Encoding: chunked,\r\n", END),
    EARLY(BAD_TRANSFER_ENCODING, "a byte above ASCII after", POST HOST "Transfer-Encoding: chunked\xa0\r\n", END),
    EARLY(BAD_TRANSFER_ENCODING, "a vertical tab before", POST HOST "Transfer-Encoding: \x0b", "chunked\r\n\r\n"),
    /* names made to be mistaken */
    FIELDS("an underscore for the hyphen (ELB: SuspiciousHeader)", POST HOST "Transfer_Encoding: chunked\r\nA: b\r\n" END, "POST / h 1.1 none close SuspiciousHeader", "Host=h;A=b;"),
    FIELDS("no hyphen", POST HOST "TransferEncoding: chunked\r\nA: b\r\n" END, "POST / h 1.1 none close SuspiciousHeader", "Host=h;A=b;"),
    FIELDS("a tchar before", POST HOST "!Transfer-Encoding: chunked\r\nA: b\r\n" END, "POST / h 1.1 none close SuspiciousHeader", "Host=h;A=b;"),
    FIELDS("a tchar after", POST HOST "Transfer-Encoding_: chunked\r\nA: b\r\n" END, "POST / h 1.1 none close SuspiciousHeader", "Host=h;A=b;"),
    FIELDS("two hyphens", POST HOST "Content--Length: 5\r\nA: b\r\n" END, "POST / h 1.1 none close SuspiciousHeader", "Host=h;A=b;"),
    FIELDS("an underscore in the length", POST HOST "content_length: 5\r\nA: b\r\n" END, "POST / h 1.1 none close SuspiciousHeader", "Host=h;A=b;"),
    FIELDS("dots", POST HOST "Content.Length: 5\r\nA: b\r\n" END, "POST / h 1.1 none close SuspiciousHeader", "Host=h;A=b;"),
    FIELDS("a blank after the length's name", POST HOST "Content-Length : 5\r\nA: b\r\n" END, "POST / h 1.1 none close SuspiciousHeader", "Host=h;A=b;"),
    FIELDS("a long s (ELB: U+017F)", POST HOST "Tran\xc5\xbf" "fer-Encoding: chunked\r\nA: b\r\n" END, "POST / h 1.1 none close SuspiciousHeader", "Host=h;A=b;"),
    FIELDS("an i without dot (ELB: U+0131)", POST HOST "Transfer-Encod\xc4\xb1ng: chunked\r\n" END, "POST / h 1.1 none close SuspiciousHeader", "Host=h;"),
    GOOD("half of such a letter is none", POST HOST "Tran\xc5: chunked\r\n" END, "POST / h 1.1 none keep NonCompliantHeader"),
    GOOD("obs-text around it", POST HOST "\xa0Transfer-Encoding\xff: chunked\r\n" END, "POST / h 1.1 none close SuspiciousHeader"),
    GOOD("a control byte before the colon", POST HOST "Transfer-Encoding\x01: chunked\r\n" END, "POST / h 1.1 none close SuspiciousHeader"),
    GOOD("a control byte in its value", POST HOST "Transfer_Encoding: \x01\r\n" END, "POST / h 1.1 none close SuspiciousHeader"),
    GOOD("a name that only holds it is another", POST HOST "X-Content-Length: 5\r\n" END, "POST / h 1.1 none keep"),
    GOOD("a name that only starts with it is another", POST HOST "Content-Length2: 5\r\n" END, "POST / h 1.1 none keep"),
    /* Expect */
    GOOD("the client waits for 100 (RFC 9110 10.1.1)", POST HOST "Expect: 100-continue\r\nContent-Length: 5\r\n" END, "POST / h 1.1 length:5 keep 100"),
    GOOD("in any case", POST HOST "Expect: 100-Continue\r\n" END, "POST / h 1.1 none keep 100"),
    GOOD("HTTP/1.0 is not waited for (RFC 9110 10.1.1)", "POST / HTTP/1.0\r\nExpect: 100-continue\r\n" END, "POST / - 1.0 none close"),
    EARLY(BAD_EXPECT, "another expectation", POST HOST "Expect: 200-ok\r\n", END),
    EARLY(BAD_EXPECT, "an empty one", POST HOST "Expect:\r\n", END),
    EARLY(BAD_EXPECT, "one with more", POST HOST "Expect: 100-continue; x\r\n", END),
    EARLY(BAD_EXPECT, "a list", POST HOST "Expect: 100-continue, 100-continue\r\n", END),
    EARLY(BAD_EXPECT, "twice", POST HOST "Expect: 100-continue\r\nExpect: 100-continue\r\n", END),
    EARLY(BAD_EXPECT, "another one in HTTP/1.0", "POST / HTTP/1.0\r\nExpect: x\r\n", END),
    /* Connection */
    GOOD("close closes (RFC 9112 9.6)", GET HOST "Connection: close\r\n" END, "GET / h 1.1 none close"),
    GOOD("in any case and among others", GET HOST "Connection: foo ,\tCLOSE\r\n" END, "GET / h 1.1 none close"),
    GOOD("close wins over keep-alive (RFC 9112 9.3)", GET HOST "Connection: keep-alive, close\r\n" END, "GET / h 1.1 none close"),
    GOOD("close wins in either order and field", GET HOST "Connection: close\r\nConnection: keep-alive\r\n" END, "GET / h 1.1 none close"),
    GOOD("HTTP/1.0 keeps alive when asked", GET10 HOST "Connection: Keep-Alive\r\n" END, "GET / h 1.0 none keep"),
    GOOD("a token that only holds close does not close", GET HOST "Connection: close-x, xclose, \"close\"\r\n" END, "GET / h 1.1 none keep"),
    GOOD("empty elements mean nothing (RFC 9110 5.6.1)", GET HOST "Connection: ,, close,\r\n" END, "GET / h 1.1 none close"),
    GOOD("an empty Connection means nothing", GET HOST "Connection:\r\n" END, "GET / h 1.1 none keep"),
    GOOD("Proxy-Connection closes nothing (RFC 9112 9.6)", GET HOST "Proxy-Connection: close\r\n" END, "GET / h 1.1 none keep"),
    FIELDS("fields named there are hop-by-hop (RFC 9110 7.6.1)", GET HOST "A: 1\r\nConnection: a, Bee\r\nBEE: 2\r\nC: 3\r\n" END,
           "GET / h 1.1 none keep", "Host=h;*A=1;Connection=a, Bee;*BEE=2;C=3;"),
    FIELDS("before, after, by two fields, each time", GET HOST "A: 1\r\nConnection: b\r\nB: 2\r\nConnection: A\r\nA: 3\r\n" END,
           "GET / h 1.1 none keep", "Host=h;*A=1;Connection=b;*B=2;Connection=A;*A=3;"),
    FIELDS("X-Forwarded-* cannot be deleted so (CVE-2022-31813)",
           GET HOST "X-Forwarded-For: 1\r\nx-forwarded-host: 2\r\nConnection: close, X-Forwarded-For, X-Forwarded-Host\r\n" END,
           "GET / h 1.1 none close", "Host=h;X-Forwarded-For=1;x-forwarded-host=2;Connection=close, X-Forwarded-For, X-Forwarded-Host;"),
    FIELDS("nor Host and framing", POST HOST "Content-Length: 5\r\nConnection: host, content-length, expect\r\nExpect: 100-continue\r\n" END,
           "POST / h 1.1 length:5 keep 100", "Host=h;Content-Length=5;Connection=host, content-length, expect;Expect=100-continue;"),
    FIELDS("nor Transfer-Encoding", POST HOST "Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n" END,
           "POST / h 1.1 chunked keep", "Host=h;Transfer-Encoding=chunked;Connection=transfer-encoding;"),
    GOOD("64 options are enough for anybody", GET HOST "Connection: " X64("a,") "\r\n" END, "GET / h 1.1 none keep"),
    BAD(BAD_FIELD, "65 are an attack on the search for them", GET HOST "Connection: " X64("a,") "a\r\n" END),
    BAD(BAD_FIELD, "in two fields too", GET HOST "Connection: " X64("a,") "\r\nConnection: b\r\n" END),
    /* modes */
    REFUSED(STRICTEST, SPACE_IN_URI, "strictest: what is acceptable is refused", "GET /a b HTTP/1.1\r\n" HOST END),
    REFUSED(STRICTEST, NON_COMPLIANT_VERSION, "strictest: a later version", "GET / HTTP/1.2\r\n" HOST END),
    REFUSED(STRICTEST, NON_COMPLIANT_HEADER, "strictest: a byte that no name has", GET HOST "A(: b\r\n" END),
    REFUSED(STRICTEST, GET_HEAD_ZERO_LENGTH, "strictest: GET of length 0", GET HOST "Content-Length: 0\r\n" END),
    REFUSED(STRICTEST, BOTH_TE_CL, "strictest: the worst counts, not the first", "POST /a b HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END),
    REFUSED(STRICTEST, MULTILINE_HEADER, "strictest: a folded line", GET HOST "A: b\r\n c\r\n" END),
    PASSES(STRICTEST, "strictest: what is compliant passes", POST HOST "A:\r\nContent-Length: 5\r\n" END, "POST / h 1.1 length:5 keep"),
    PASSES(MONITOR, "monitor: what is ambiguous passes, repaired", POST HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END, "POST / h 1.1 chunked close BothTeClPresent"),
    /* limits */
    TIGHT_GOOD("a request line of a byte less than line_max", "GET /456789012 HTTP/1.1\r\n" HOST END, "GET /456789012 h 1.1 none keep"),
    TIGHT_GOOD("one of just line_max: CRLF does not count", "GET /4567890123 HTTP/1.1\r\n" HOST END, "GET /4567890123 h 1.1 none keep"),
    TIGHT_BAD(LINE_TOO_LONG, "one byte more", "GET /45678901234 HTTP/1.1", "\r\n" HOST END),
    TIGHT_BAD(LINE_TOO_LONG, "an endless target shows before its end", "GET /5678901234567890123x", "xxxx"),
    TIGHT_BAD(LINE_TOO_LONG, "an endless method too", "0123456789012345678901234", "xxxx"),
    TIGHT_GOOD("the skipped empty line does not count", "\r\nGET /4567890123 HTTP/1.1\r\n" HOST END, "GET /4567890123 h 1.1 none keep"),
    TIGHT_GOOD("a field line of just field_max", GET "Host: 789012345678901234\r\n" END, "GET / 789012345678901234 1.1 none keep"),
    TIGHT_BAD(FIELD_TOO_LONG, "one byte more", GET "Host: 7890123456789012345", "\r\n" END),
    TIGHT_BAD(FIELD_TOO_LONG, "a long name", GET "A234567890123456789012345", ": b\r\n" END),
    TIGHT_BAD(FIELD_TOO_LONG, "blanks count", GET "A: b                     ", "\r\n" END),
    TIGHT_BAD(FIELD_TOO_LONG, "blanks before the value count", GET "A:                       ", "b\r\n" END),
    TIGHT_GOOD("a head of just head_max, line ends counted", GET HOST "A: 456789012345678\r\nB: 45678901234567\r\n" END,
               "GET / h 1.1 none keep"),
    TIGHT_BAD(HEAD_TOO_LONG, "one byte more in the last line", GET HOST "A: 456789012345678\r\nB: 456789012345678", "\r\n" END),
    TIGHT_GOOD("just count_max fields", GET HOST "A:\r\nB:\r\n" END, "GET / h 1.1 none keep"),
    TIGHT_BAD(TOO_MANY_FIELDS, "one field more", GET HOST "A:\r\nB:\r\nC", ":\r\n" END),
    TIGHT_COUNTED(BAD_HEADER, BAD_LINE_END, "a bare CR where the limit is", GET "Host: 789012345678901234\rx", "\r\n" END),
    TIGHT_BAD(LINE_TOO_LONG, "a line to be repaired is no longer", "GET /4 67890123 HTTP/1.1 ", "\r\n" HOST END),
    TIGHT_BAD(FIELD_TOO_LONG, "a line to be dropped is no longer", GET "A(345678901234567890123 x", ": b\r\n" END),
    TIGHT_COUNTED(MULTILINE_HEADER, FIELD_TOO_LONG, "a folded line is no longer", GET "A: b\r\n c                      x", "x\r\n" END),
    TIGHT_COUNTED(MULTILINE_HEADER, HEAD_TOO_LONG, "folds count for the head", GET "A: b\r\n c                     \r\n c              ", " \r\n" END),
    TIGHT_GOOD("folds are no fields of their own", GET HOST "A:\r\nB: a\r\n b\r\n c\r\n" END, "GET / h 1.1 none close MultilineHeader"),
    TIGHT_COUNTED(NON_COMPLIANT_HEADER, TOO_MANY_FIELDS, "dropped lines count", GET HOST "A(:\r\nB(:\r\nC", ":\r\n" END),
    GOOD("a target that just can be repaired", "GET /" X1024("\x01") X64("\x01\x01\x01\x01\x01") X16("\x01") X4("\x01") "\x01 HTTP/1.1\r\n" HOST END,
         "GET /" X1024("%01") X64("%01%01%01%01%01") X16("%01") X4("%01") "%01 h 1.1 none close AmbiguousUri"),
    REFUSED_EARLY("one byte more", AMBIGUOUS_URI, "GET /" X1024("\x01") X64("\x01\x01\x01\x01\x01") X16("\x01") X4("\x01") "\x01" "4 HTTP/1.1\r\n", HOST END),
    REFUSED_EARLY("a folded value beyond what can be joined", MULTILINE_HEADER, GET HOST "A: " X1024("b") X1024("b") "\r\n " X1024("c") X1024("c") "\r\n", END),
};

#define OK "HTTP/1.1 200 OK\r\n"
#define TO(method_, name_, text, says_) { .name = (name_), BYTES(text), .says = (says_), .method = METHOD_##method_ }

static const struct head_row responses[] = {
    /* status lines */
    GOOD("the smallest response ends with its connection (RFC 9112 6.3)", OK END, "200 'OK' 1.1 until-close close"),
    GOOD("an empty phrase (RFC 9112 4)", "HTTP/1.1 200 \r\nContent-Length: 0\r\n" END, "200 '' 1.1 length:0 keep"),
    GOOD("an absent one, as servers send it", "HTTP/1.1 200\r\nContent-Length: 0\r\n" END, "200 '' 1.1 length:0 keep"),
    GOOD("a phrase of many words", "HTTP/1.1 503 Service Unavailable: Back-end server is at capacity\r\nContent-Length: 0\r\n" END,
         "503 'Service Unavailable: Back-end server is at capacity' 1.1 length:0 keep"),
    GOOD("a phrase with tab and obs-text (RFC 9112 4)", "HTTP/1.1 200 \xe4\tb \r\nContent-Length: 0\r\n" END, "200 '\xe4\tb ' 1.1 length:0 keep"),
    GOOD("a phrase of one blank", "HTTP/1.1 200  \r\nContent-Length: 0\r\n" END, "200 ' ' 1.1 length:0 keep"),
    GOOD("the lowest status", "HTTP/1.1 100 Continue\r\n" END, "100 'Continue' 1.1 none keep"),
    GOOD("the highest status", "HTTP/1.1 599 x\r\nContent-Length: 0\r\n" END, "599 'x' 1.1 length:0 keep"),
    GOOD("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n" END, "200 'OK' 1.0 length:3 close"),
    GOOD("HTTP/1.0 that stays", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n" END, "200 'OK' 1.0 length:3 keep"),
    GOOD("HTTP/1.0 cannot stay without a length", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" END, "200 'OK' 1.0 until-close close"),
    GOOD("HTTP/1.2 is read as 1.1 (RFC 9110 2.5)", "HTTP/1.2 200 OK\r\nContent-Length: 3\r\n" END, "200 'OK' 1.1 length:3 keep"),
    EARLY(BAD_STATUS, "a status below 100", "HTTP/1.1 0", "99 x\r\n\r\n"),
    EARLY(BAD_STATUS, "a status above 599 (RFC 9110 15)", "HTTP/1.1 6", "00 x\r\n\r\n"),
    EARLY(BAD_STATUS, "two digits", "HTTP/1.1 20 ", "OK\r\n\r\n"),
    EARLY(BAD_STATUS, "two digits alone", "HTTP/1.1 20\r\n", "\r\n"),
    EARLY(BAD_STATUS, "four digits", "HTTP/1.1 2000", " OK\r\n\r\n"),
    EARLY(BAD_STATUS, "letters", "HTTP/1.1 2x", "0 OK\r\n\r\n"),
    EARLY(BAD_STATUS, "a sign", "HTTP/1.1 +", "20 OK\r\n\r\n"),
    EARLY(BAD_STATUS, "no status", "HTTP/1.1 \r\n", "\r\n"),
    EARLY(BAD_STATUS, "the version alone", "HTTP/1.1\r\n", "\r\n"),
    EARLY(BAD_STATUS, "two spaces before the status", "HTTP/1.1  ", "200 OK\r\n\r\n"),
    EARLY(BAD_STATUS, "a tab before the status", "HTTP/1.1\t", "200 OK\r\n\r\n"),
    EARLY(BAD_STATUS, "a tab after the status", "HTTP/1.1 200\t", "OK\r\n\r\n"),
    EARLY(BAD_STATUS, "a control byte in the phrase", "HTTP/1.1 200 O\x01", "K\r\n\r\n"),
    EARLY(BAD_STATUS, "DEL in the phrase", "HTTP/1.1 200 O\x7f", "K\r\n\r\n"),
    EARLY(BAD_VERSION, "not HTTP at all", "S", "SH-2.0-OpenSSH\r\n"),
    EARLY(BAD_VERSION, "a page without a head (HTTP/0.9)", "<", "html>\r\n"),
    EARLY(BAD_VERSION, "HTTP/2", "HTTP/2", " 200\r\n\r\n"),
    EARLY(BAD_VERSION, "an old stream server", "I", "CY 200 OK\r\n\r\n"),
    EARLY(BAD_VERSION, "lower case", "h", "ttp/1.1 200 OK\r\n\r\n"),
    EARLY(BAD_VERSION, "an empty line before is not skipped (RFC 9112 2.2)", "\r\n", OK END),
    EARLY(BAD_LINE_END, "a status line that ends in LF alone", "HTTP/1.1 200 OK\n", "\r\n"),
    EARLY(BAD_LINE_END, "one that ends in CR alone", "HTTP/1.1 200 OK\rx", "\r\n\r\n"),
    EARLY(BAD_LINE_END, "NUL in the phrase", "HTTP/1.1 200 O\0", "K\r\n\r\n"),
    EARLY(BAD_LINE_END, "LF alone after the status", "HTTP/1.1 200\n", "\r\n"),
    EARLY(BAD_LINE_END, "LF alone at a field", OK "A: b\n", "\r\n"),
    /* fields */
    FIELDS("fields are read as in requests", OK "A: b\r\nSet-Cookie: c=d; Path=/\r\nContent-Length: 0\r\n" END, "200 'OK' 1.1 length:0 keep",
           "A=b;Set-Cookie=c=d; Path=/;Content-Length=0;"),
    FIELDS("Connection names fields too", OK "A: b\r\nConnection: a, close\r\nContent-Length: 0\r\n" END, "200 'OK' 1.1 length:0 close",
           "*A=b;Connection=a, close;Content-Length=0;"),
    GOOD("Host means nothing here", OK "Host: a b\r\nHost:\r\nContent-Length: 0\r\n" END, "200 'OK' 1.1 length:0 keep"),
    GOOD("nor does Expect", OK "Expect: miracles\r\nContent-Length: 0\r\n" END, "200 'OK' 1.1 length:0 keep"),
    EARLY(BAD_FIELD, "a blank before the colon (RFC 9112 5.1)", OK "A ", ": b\r\n\r\n"),
    EARLY(BAD_FIELD, "no colon", OK "Abc\r\n", "\r\n"),
    EARLY(FOLDED_FIELD, "a folded line", OK "A: b\r\n ", "c\r\n\r\n"),
    EARLY(BAD_FIELD, "a name made to be mistaken", OK "Content_Length: 5\r\n", END),
    /* framing */
    GOOD("a length", OK "Content-Length: 12\r\n" END, "200 'OK' 1.1 length:12 keep"),
    GOOD("chunked", OK "Transfer-Encoding: chunked\r\n" END, "200 'OK' 1.1 chunked keep"),
    GOOD("until close, whatever Connection says", OK "Connection: keep-alive\r\n" END, "200 'OK' 1.1 until-close close"),
    REST("what follows the head is the body's", OK "Content-Length: 2\r\n" END, "ok", "200 'OK' 1.1 length:2 keep"),
    TO(HEAD, "HEAD has no body, but a length (RFC 9110 9.3.2)", OK "Content-Length: 12\r\n" END, "200 'OK' 1.1 none(12) keep"),
    TO(HEAD, "HEAD has no body, chunked or not", OK "Transfer-Encoding: chunked\r\n" END, "200 'OK' 1.1 none keep"),
    TO(HEAD, "HEAD needs no close", OK END, "200 'OK' 1.1 none keep"),
    TO(GET, "GET has one", OK "Content-Length: 12\r\n" END, "200 'OK' 1.1 length:12 keep"),
    GOOD("204 has no body (RFC 9110 15.3.5)", "HTTP/1.1 204 No Content\r\n" END, "204 'No Content' 1.1 none keep"),
    GOOD("not even with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n" END, "204 'No Content' 1.1 none(5) keep"),
    GOOD("304 has no body, but a length (RFC 9110 15.4.5)", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n" END, "304 'Not Modified' 1.1 none(5) keep"),
    GOOD("304 chunked has none", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n" END, "304 'Not Modified' 1.1 none keep"),
    GOOD("205 is no exception", "HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n" END, "205 'Reset' 1.1 length:0 keep"),
    GOOD("101 has no body of its own", "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n" END, "101 'Switching' 1.1 none keep"),
    GOOD("103 too", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n" END, "103 'Early Hints' 1.1 none keep"),
    EARLY(AMBIGUOUS_LENGTH, "length and chunked (RFC 9112 6.3)", OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", END),
    EARLY(AMBIGUOUS_LENGTH, "chunked and length", OK "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", END),
    EARLY(AMBIGUOUS_LENGTH, "two lengths (RFC 9112 6.3)", OK "Content-Length: 5\r\nContent-Length: 6\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "a negative length", OK "Content-Length: -1\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "a list", OK "Content-Length: 5, 5\r\n", END),
    EARLY(BAD_CONTENT_LENGTH, "an invalid length is one to HEAD too", "HTTP/1.1 304 x\r\nContent-Length: x\r\n", END),
    EARLY(BAD_TRANSFER_ENCODING, "identity", OK "Transfer-Encoding: identity\r\n", END),
    EARLY(BAD_TRANSFER_ENCODING, "gzip, chunked", OK "Transfer-Encoding: gzip, chunked\r\n", END),
    EARLY(BAD_TRANSFER_ENCODING, "chunked in HTTP/1.0 (RFC 9112 6.1)", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", END),
    EARLY(BAD_TRANSFER_ENCODING, "chunked twice", OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", END),
    /* limits */
    TIGHT_GOOD("a status line of just line_max", "HTTP/1.1 200 45678901234\r\nContent-Length: 0\r\n" END,
               "200 '45678901234' 1.1 length:0 keep"),
    TIGHT_BAD(LINE_TOO_LONG, "one byte more", "HTTP/1.1 200 456789012345", "\r\n\r\n"),
    TIGHT_BAD(FIELD_TOO_LONG, "a long field", OK "A: 4567890123456789012345", "\r\n\r\n"),
    TIGHT_BAD(HEAD_TOO_LONG, "a long head", OK "A: 45678901234567890\r\nB: 45678901234567890\r\nC: ", "4\r\n\r\n"),
    TIGHT_BAD(HEAD_TOO_LONG, "a line that begins a byte before", OK "A: 4567890123456789012\r\nB: 456789012345678901\r\nC", ": c\r\n" END),
    TIGHT_BAD(FIELD_TOO_LONG, "a line that breaks both limits at once", OK "A: 45678901234567890\r\nB: 4567890123456789012345", "\r\n" END),
    TIGHT_BAD(HEAD_TOO_LONG, "a line that begins where head_max ends", OK "A: 4567890123456789012\r\nB: 4567890123456789012\r\nC", ": c\r\n\r\n"),
    TIGHT_GOOD("a head that ends there", OK "A: 4567890123456789012\r\nB: 4567890123456789012\r\n" END, "200 'OK' 1.1 until-close close"),
    TIGHT_BAD(TOO_MANY_FIELDS, "many fields", OK "A:\r\nB:\r\nC:\r\nD", ":\r\n\r\n"),
};

/* ---- heads as text ---- */

#define TEXT_MAX 8192
#define ARG(span) (int)(span).len, (span).ptr

static const char *method_text(const struct http1_head *head)
{
    static const char *const names[] = {
        [METHOD_OTHER] = "other:", [METHOD_GET] = "GET", [METHOD_HEAD] = "HEAD", [METHOD_OPTIONS] = "OPTIONS",
        [METHOD_TRACE] = "TRACE", [METHOD_PUT] = "PUT", [METHOD_DELETE] = "DELETE", [METHOD_POST] = "POST",
        [METHOD_PATCH] = "PATCH",
    };
    return names[head->method];
}

static void framing_text(char *text, size_t size, const struct http1_head *head)
{
    static const char *const names[] = {
        [BODY_NONE] = "none", [BODY_LENGTH] = "length:", [BODY_CHUNKED] = "chunked", [BODY_UNTIL_CLOSE] = "until-close",
    };
    size_t len = (size_t)snprintf(text, size, "%s", names[head->framing]);
    assert_true(head->has_content_length || head->content_length == 0);
    if (head->has_content_length)
        snprintf(text + len, size - len, head->framing == BODY_LENGTH ? "%llu" : "(%llu)",
                 (unsigned long long)head->content_length);
}

static void request_text(char text[TEXT_MAX], const struct http1_head *head)
{
    char framing[64];
    struct span other = head->method == METHOD_OTHER ? head->method_text : SPAN("");
    framing_text(framing, sizeof(framing), head);
    snprintf(text, TEXT_MAX, "%s%.*s %.*s %.*s 1.%u %s %s%s%s%s", method_text(head), ARG(other), ARG(head->path),
             ARG(head->authority.len > 0 ? head->authority : SPAN("-")), head->minor, framing,
             head->keep_alive ? "keep" : "close", head->expect_continue ? " 100" : "",
             head->desync_reason != DESYNC_NONE ? " " : "",
             head->desync_reason != DESYNC_NONE ? http1_desync_text(head->desync_reason) : "");
}

static void response_text(char text[TEXT_MAX], const struct http1_head *head)
{
    char framing[64];
    framing_text(framing, sizeof(framing), head);
    snprintf(text, TEXT_MAX, "%u '%.*s' 1.%u %s %s", head->status, ARG(head->phrase), head->minor, framing,
             head->keep_alive ? "keep" : "close");
}

static void fields_text(char text[TEXT_MAX], const struct http1_head *head)
{
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < head->field_count; i++) {
        const struct http1_field *f = &head->fields[i];
        len += (size_t)snprintf(text + len, TEXT_MAX - len, "%s%.*s=%.*s;", f->named_in_connection ? "*" : "",
                                ARG(f->name), ARG(f->value));
        assert_true(len < TEXT_MAX);
    }
}

/* ---- rows ---- */

typedef int parse_fn(struct http1_head *head, const char *bytes, size_t len, const struct head_row *row);
typedef void text_fn(char text[TEXT_MAX], const struct http1_head *head);

static int parse_request(struct http1_head *head, const char *bytes, size_t len, const struct head_row *row)
{
    struct http1_limits limits = row->limits != NULL ? *row->limits : usual;
    limits.mode = row->mode;
    return http1_parse_request(head, bytes, len, &limits);
}

static int parse_response(struct http1_head *head, const char *bytes, size_t len, const struct head_row *row)
{
    return http1_parse_response(head, bytes, len, row->limits != NULL ? row->limits : &usual, row->method);
}

static struct http1_head parsed;        /* filled with rubbish before each call: nothing may be left over */

/* The first n bytes of the row, the last of them the last of its page. */
static int parse_prefix(const struct head_row *row, size_t n, parse_fn *parse)
{
    memset(&parsed, 0xa5, sizeof(parsed));
    return parse(&parsed, guard_copy(row->bytes, n), n, row);
}

static void expect_consistent(const struct http1_head *head)
{
    assert_int_equal(head->desync_class, http1_desync_class(head->desync_reason));
    assert_int_equal(head->close_after, head->desync_class >= HTTP1_AMBIGUOUS);
    assert_false(head->close_after && head->keep_alive);
}

static void expect_good(const struct head_row *row, size_t n, parse_fn *parse, text_fn *write)
{
    char text[TEXT_MAX];
    size_t head_len = row->len - row->rest;
    assert_int_equal(parse_prefix(row, n, parse), n < head_len ? 0 : (int)head_len);
    if (n < head_len)
        return;
    expect_consistent(&parsed);
    write(text, &parsed);
    assert_string_equal(text, row->says);
    if (row->fields == NULL)
        return;
    fields_text(text, &parsed);
    assert_string_equal(text, row->fields);
}

static void expect_bad(const struct head_row *row, size_t n, parse_fn *parse, int *before)
{
    int r = parse_prefix(row, n, parse);
    if (n == row->len || *before != 0 || (row->at > 0 && n >= row->at))
        assert_int_equal(r, -(int)row->reason);
    else if (row->at > 0)
        assert_int_equal(r, 0);
    else
        assert_true(r == 0 || r == -(int)row->reason);
    *before = r;
}

/* Growing by one byte a call is the same as every prefix: the parser is given all bytes each time. */
static void check_row(const struct head_row *row, parse_fn *parse, text_fn *write)
{
    int before = 0;
    for (size_t n = 0; n <= row->len; n++)
        if (row->reason == HTTP1_OK)
            expect_good(row, n, parse, write);
        else
            expect_bad(row, n, parse, &before);
}

/* What a refused request mostly counts as. */
static enum http1_desync desync_of_reason(enum http1_reason reason)
{
    static const enum http1_desync desyncs[HTTP1_REASON_COUNT] = {
        [HTTP1_BAD_METHOD] = DESYNC_BAD_METHOD, [HTTP1_BAD_VERSION] = DESYNC_BAD_VERSION,
        [HTTP1_FOLDED_FIELD] = DESYNC_MULTILINE_HEADER, [HTTP1_BAD_CONTENT_LENGTH] = DESYNC_BAD_LENGTH,
        [HTTP1_BAD_TRANSFER_ENCODING] = DESYNC_BAD_CODING, [HTTP1_AMBIGUOUS_LENGTH] = DESYNC_MULTIPLE_LENGTH,
    };
    return desyncs[reason];
}

static void expect_counted(const struct head_row *row)
{
    enum http1_desync desync = row->desync != DESYNC_NONE ? row->desync : desync_of_reason(row->reason);
    assert_int_equal(parse_prefix(row, row->len, parse_request), -(int)row->reason);
    assert_string_equal(http1_desync_text(parsed.desync_reason), http1_desync_text(desync));
    assert_int_equal(parsed.desync_class, http1_desync_class(desync));
    assert_false(parsed.close_after);
}

static const enum http1_class passes[] = {
    [HTTP1_DEFENSIVE] = HTTP1_AMBIGUOUS, [HTTP1_MONITOR] = HTTP1_SEVERE, [HTTP1_STRICTEST] = HTTP1_COMPLIANT,
};

/* A mode decides whether a head passes that can be repaired, and nothing else. */
static void check_modes(const struct head_row *row)
{
    static char expected[TEXT_MAX], text[TEXT_MAX];
    struct head_row other = *row;
    int r;
    other.mode = HTTP1_MONITOR;
    r = parse_prefix(&other, row->len, parse_request);
    if (r > 0)
        request_text(expected, &parsed);
    for (int mode = 0; mode < 3; mode++) {
        other.mode = (enum http1_mode)mode;
        if (r <= 0 || parsed.desync_class <= passes[mode])
            assert_int_equal(parse_prefix(&other, row->len, parse_request), r);
        else
            assert_int_equal(parse_prefix(&other, row->len, parse_request), -HTTP1_DESYNC);
        if (r <= 0 || parsed.desync_class > passes[mode])
            continue;
        request_text(text, &parsed);
        assert_string_equal(text, expected);
    }
}

static void test_request(void **state)
{
    const struct head_row *row = *state;
    check_row(row, parse_request, request_text);
    if (row->reason != HTTP1_OK)
        expect_counted(row);
    check_modes(row);
}

static void test_response(void **state)
{
    check_row(*state, parse_response, response_text);
}

/* ---- whatever comes ---- */

static uint64_t random_state;

static uint64_t random_next(void)       /* xorshift64 */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static size_t random_below(size_t n)
{
    return (size_t)(random_next() % n);
}

/* Bytes that grammars care about, more often than chance would have it. */
static char random_byte(void)
{
    static const char telling[] = "\r\n\0 \t:,;/#?*[]@%-_0159aAfhHcCtT\x7f\x80";
    return random_below(4) == 0 ? (char)random_next() : telling[random_below(sizeof(telling) - 1)];
}

#define MUTANT_MAX 4096
#define MUTANT_SOURCE_MAX 1000    /* of a longer one every prefix would take too long */

static size_t mutate(char bytes[MUTANT_MAX], const struct head_row *row)
{
    size_t len = row->len;
    memcpy(bytes, row->bytes, len);
    for (size_t edits = 1 + random_below(3); edits > 0; edits--) {
        size_t at = random_below(len + 1);
        if (at < len && random_below(3) == 0) {
            memmove(bytes + at, bytes + at + 1, --len - at);
        } else if (at < len && random_below(2) == 0) {
            bytes[at] = random_byte();
        } else {
            memmove(bytes + at + 1, bytes + at, len++ - at);
            bytes[at] = random_byte();
        }
    }
    return len;
}

/* What no accepted head may hold, told in another way than the parser's. */
static void expect_line_ends(const char *bytes, size_t len)
{
    assert_true(len >= 4 && memcmp(bytes + len - 4, "\r\n\r\n", 4) == 0);
    for (size_t i = 0; i < len; i++) {
        assert_true(bytes[i] != '\0');
        assert_true((bytes[i] == '\r') == (i + 1 < len && bytes[i + 1] == '\n'));
    }
}

static void expect_no_controls(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char b = (unsigned char)text.ptr[i];
        assert_true((b >= 0x20 && b != 0x7f) || b == '\t');
    }
}

static void expect_clean(const struct http1_head *head)
{
    unsigned lengths = 0, codings = 0;
    expect_consistent(head);
    for (size_t i = 0; i < head->path.len; i++)
        assert_true(head->path.ptr[i] > 0x20 && head->path.ptr[i] < 0x7f && head->path.ptr[i] != '#');
    for (size_t i = 0; i < head->field_count; i++) {
        const struct http1_field *f = &head->fields[i];
        assert_true(f->name.len > 0 && memchr(f->name.ptr, ' ', f->name.len) == NULL && memchr(f->name.ptr, ':', f->name.len) == NULL);
        expect_no_controls(f->name);
        expect_no_controls(f->value);
        lengths += f->id == FIELD_CONTENT_LENGTH;
        codings += f->id == FIELD_TRANSFER_ENCODING;
    }
    assert_true(lengths + codings <= 1);
}

static size_t add(char *text, size_t len, struct span s)
{
    assert_true(len + s.len < MUTANT_MAX);
    if (s.len > 0)
        memcpy(text + len, s.ptr, s.len);
    return len + s.len;
}

static size_t add_line(char *text, size_t len, struct span name, struct span value)
{
    len = add(text, add(text, len, name), SPAN(": "));
    return add(text, add(text, len, value), SPAN("\r\n"));
}

/* A request written anew from what was parsed, as it may go on to the instance. */
static size_t write_request(char text[MUTANT_MAX], const struct http1_head *head)
{
    size_t len = add(text, add(text, 0, head->method_text), SPAN(" "));
    len = add(text, add(text, len, head->path), SPAN(" HTTP/1.1\r\n"));
    len = add_line(text, len, SPAN("Host"), head->authority.len > 0 ? head->authority : SPAN("h"));
    for (size_t i = 0; i < head->field_count; i++)
        if (head->fields[i].id != FIELD_HOST)
            len = add_line(text, len, head->fields[i].name, head->fields[i].value);
    return add(text, len, SPAN("\r\n"));
}

/* Repaired once, it needs no repair again, and says the same: only a body where few look for one stays strange. */
static void expect_repaired(void)
{
    static struct http1_head again;
    static char text[MUTANT_MAX], path[MUTANT_MAX];
    size_t len = write_request(text, &parsed);
    size_t path_len = add(path, 0, parsed.path);
    struct http1_limits limits = { 8192, 8192, 65536, HTTP1_FIELDS_MAX, HTTP1_MONITOR };
    assert_int_equal(http1_parse_request(&again, text, len, &limits), len);
    assert_true(again.desync_reason == DESYNC_NONE || again.desync_reason == DESYNC_GET_HEAD_ZERO_LENGTH ||
                again.desync_reason == DESYNC_UNDEFINED_LENGTH || again.desync_reason == DESYNC_UNDEFINED_CODING);
    assert_int_equal(again.framing, parsed.framing);
    assert_true(again.content_length == parsed.content_length);
    assert_true(span_equal(again.path, (struct span){ path, path_len }));
    assert_true(span_equal(again.method_text, parsed.method_text));
}

static void check_mutant(const struct head_row *row, parse_fn *parse)
{
    char bytes[MUTANT_MAX];
    size_t len = mutate(bytes, row);
    struct head_row mutant = { .bytes = bytes, .len = len, .limits = row->limits, .method = row->method, .mode = (enum http1_mode)random_below(3) };
    int whole = parse_prefix(&mutant, len, parse);
    if (whole > 0) {
        expect_line_ends(bytes, (size_t)whole);
        expect_clean(&parsed);
    }
    if (whole > 0 && parse == parse_request)
        expect_repaired();
    for (size_t n = 0, said = 0; n < len; n++) {
        int r = parse_prefix(&mutant, n, parse);
        assert_true(r == whole || (r == 0 && !said));
        assert_true(r <= (int)n);
        said |= r != 0;
    }
    if (parse == parse_request)
        check_modes(&mutant);
}

static void test_mutants(void **state)
{
    const char *seed = getenv("HALB_TEST_SEED");
    (void)state;
    random_state = seed != NULL ? strtoull(seed, NULL, 0) : UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)getpid() << 1;
    print_message("seed: HALB_TEST_SEED=%#llx\n", (unsigned long long)random_state);
    for (int i = 0; i < 20000; i++) {
        const struct head_row *request = &requests[random_below(sizeof(requests) / sizeof(requests[0]))];
        if (request->len < MUTANT_SOURCE_MAX)
            check_mutant(request, parse_request);
        check_mutant(&responses[random_below(sizeof(responses) / sizeof(responses[0]))], parse_response);
    }
}

/* ---- field ids, lists, reasons ---- */

static const struct id_row {
    const char *name;
    enum http1_field_id id;
} ids[] = {
    { "Host", FIELD_HOST },
    { "Connection", FIELD_CONNECTION },
    { "Content-Length", FIELD_CONTENT_LENGTH },
    { "Transfer-Encoding", FIELD_TRANSFER_ENCODING },
    { "Expect", FIELD_EXPECT },
    { "Upgrade", FIELD_UPGRADE },
    { "TE", FIELD_TE },
    { "Trailer", FIELD_TRAILER },
    { "Keep-Alive", FIELD_KEEP_ALIVE },
    { "Proxy-Connection", FIELD_PROXY_CONNECTION },
    { "Proxy-Authenticate", FIELD_PROXY_AUTHENTICATE },
    { "Proxy-Authorization", FIELD_PROXY_AUTHORIZATION },
    { "X-Forwarded-For", FIELD_X_FORWARDED_FOR },
    { "X-Forwarded-Proto", FIELD_X_FORWARDED_PROTO },
    { "X-Forwarded-Port", FIELD_X_FORWARDED_PORT },
    { "Cookie", FIELD_COOKIE },
    { "Set-Cookie", FIELD_SET_COOKIE },
    { "User-Agent", FIELD_USER_AGENT },
    { "Accept", FIELD_OTHER },
    { "X-Forwarded-Host", FIELD_OTHER },
    { "Hast", FIELD_OTHER },
    { "X_Forwarded_For", FIELD_OTHER },
    { "Server", FIELD_OTHER },
    { "X", FIELD_OTHER },
    /* The same slot of the table as what they begin. */
    { "C", FIELD_OTHER },
    { "Set-C", FIELD_OTHER },
    { "Proxy-", FIELD_OTHER },
    { "X-Forwarded-", FIELD_OTHER },
};

static enum http1_field_id id_of(const char *name)
{
    char text[128];
    bool is_length = strcasecmp(name, "content-length") == 0;
    const char *value = strcasecmp(name, "transfer-encoding") == 0 ? "chunked" : is_length ? "5" : "x";
    int len = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n%s: %s\r\n\r\n", name, value);
    assert_int_equal(http1_parse_response(&parsed, text, (size_t)len, &usual, METHOD_GET), len);
    return parsed.fields[0].id;
}

static void test_id(void **state)
{
    const struct id_row *row = *state;
    char name[32];
    size_t len = strlen(row->name);
    assert_int_equal(id_of(row->name), row->id);
    for (size_t i = 0; i <= len; i++)
        name[i] = (char)(row->name[i] >= 'a' && row->name[i] <= 'z' ? row->name[i] - 0x20 : row->name[i]);
    assert_int_equal(id_of(name), row->id);
    /* One letter more is another field. */
    name[len] = 'x';
    name[len + 1] = '\0';
    assert_int_equal(id_of(name), FIELD_OTHER);
}

static const struct list_row {
    const char *name, *list, *token;
    bool has;
} lists[] = {
    { "the only element",               "close",            "close", true },
    { "without regard to case",         "CLose",            "clOSE", true },
    { "the first",                      "close,b",          "close", true },
    { "the last",                       "a,close",          "close", true },
    { "one with blanks around",         "a, \tclose\t ,b",  "close", true },
    { "one among empty elements",       ",, ,close,,",      "close", true },
    { "none in an empty list",          "",                 "close", false },
    { "none in commas",                 ",,,",              "close", false },
    { "a longer one is another",        "closed",           "close", false },
    { "a shorter one too",              "clos",             "close", false },
    { "blanks do not split",            "a close",          "close", false },
    { "quotes belong to it",            "\"close\"",        "close", false },
    { "a parameter belongs to it",      "trailers;q=1",     "trailers", false },
};

static void test_list(void **state)
{
    const struct list_row *row = *state;
    size_t len = strlen(row->list);
    struct span list = { guard_copy(row->list, len), len };
    assert_int_equal(http1_list_has(list, (struct span){ row->token, strlen(row->token) }), row->has);
}

static void test_list_of_nothing(void **state)
{
    (void)state;
    assert_false(http1_list_has((struct span){ NULL, 0 }, SPAN("close")));
}

static void test_reasons(void **state)
{
    (void)state;
    assert_string_equal(http1_reason_text(HTTP1_FOLDED_FIELD), "folded-field");
    for (int i = 0; i < HTTP1_REASON_COUNT; i++) {
        assert_int_equal(http1_reason_status((enum http1_reason)i), i == HTTP1_METHOD_TOO_LONG ? 405 : 400);
        assert_true(strlen(http1_reason_text((enum http1_reason)i)) > 0);
    }
}

/* ELB's table, by class. */
static const struct desync_row {
    const char *name;
    enum http1_class class;
    const char *class_text;
    unsigned bits;      /* which of the modes let it pass, if it can be repaired: Defensive 1, Monitor 2, Strictest 4 */
} desync_classes[] = {
    { "compliant requests pass everywhere", HTTP1_COMPLIANT, "Compliant", 7 },
    { "acceptable ones not in strictest", HTTP1_ACCEPTABLE, "Acceptable", 3 },
    { "ambiguous ones not in strictest", HTTP1_AMBIGUOUS, "Ambiguous", 3 },
    { "severe ones in monitor alone", HTTP1_SEVERE, "Severe", 2 },
};

static void test_class(void **state)
{
    static const char *const requests_of[] = { GET HOST END, "GET /a b HTTP/1.1\r\n" HOST END, "GET /\x01 HTTP/1.1\r\n" HOST END, "GET / HTTP/2.0\r\n" HOST END };
    const struct desync_row *row = *state;
    assert_string_equal(http1_class_text(row->class), row->class_text);
    for (int mode = 0; mode < 3; mode++) {
        struct http1_limits limits = usual;
        size_t len = strlen(requests_of[row->class]);
        int r;
        limits.mode = (enum http1_mode)mode;
        r = http1_parse_request(&parsed, requests_of[row->class], len, &limits);
        assert_int_equal(r, row->bits >> mode & 1 ? (int)len : -HTTP1_DESYNC);
        assert_int_equal(parsed.desync_class, row->class);
    }
}

static const struct elb_row {
    const char *name;
    enum http1_desync desync;
    enum http1_class class;
} elb[] = {
    { "none", DESYNC_NONE, HTTP1_COMPLIANT },
    { "NonCompliantHeader", DESYNC_NON_COMPLIANT_HEADER, HTTP1_ACCEPTABLE },
    { "SpaceInUri", DESYNC_SPACE_IN_URI, HTTP1_ACCEPTABLE },
    { "NonCompliantVersion", DESYNC_NON_COMPLIANT_VERSION, HTTP1_ACCEPTABLE },
    { "GetHeadZeroContentLength", DESYNC_GET_HEAD_ZERO_LENGTH, HTTP1_ACCEPTABLE },
    { "NonCrLfLineTermination", DESYNC_NON_CRLF, HTTP1_ACCEPTABLE },
    { "AmbiguousUri", DESYNC_AMBIGUOUS_URI, HTTP1_AMBIGUOUS },
    { "BothTeClPresent", DESYNC_BOTH_TE_CL, HTTP1_AMBIGUOUS },
    { "DuplicateContentLength", DESYNC_DUPLICATE_LENGTH, HTTP1_AMBIGUOUS },
    { "EmptyHeader", DESYNC_EMPTY_HEADER, HTTP1_AMBIGUOUS },
    { "SuspiciousHeader", DESYNC_SUSPICIOUS_HEADER, HTTP1_AMBIGUOUS },
    { "UndefinedContentLengthSemantics", DESYNC_UNDEFINED_LENGTH, HTTP1_AMBIGUOUS },
    { "UndefinedTransferEncodingSemantics", DESYNC_UNDEFINED_CODING, HTTP1_AMBIGUOUS },
    { "MultilineHeader", DESYNC_MULTILINE_HEADER, HTTP1_AMBIGUOUS },
    { "MissingHeaderColon", DESYNC_MISSING_COLON, HTTP1_AMBIGUOUS },
    { "MissingUri", DESYNC_MISSING_URI, HTTP1_AMBIGUOUS },
    { "BadHeader", DESYNC_BAD_HEADER, HTTP1_SEVERE },
    { "BadUri", DESYNC_BAD_URI, HTTP1_SEVERE },
    { "BadMethod", DESYNC_BAD_METHOD, HTTP1_SEVERE },
    { "BadVersion", DESYNC_BAD_VERSION, HTTP1_SEVERE },
    { "BadContentLength", DESYNC_BAD_LENGTH, HTTP1_SEVERE },
    { "MultipleContentLength", DESYNC_MULTIPLE_LENGTH, HTTP1_SEVERE },
    { "BadTransferEncoding", DESYNC_BAD_CODING, HTTP1_SEVERE },
    { "MultipleTransferEncodingChunked", DESYNC_MULTIPLE_CHUNKED, HTTP1_SEVERE },
};

static void test_elb(void **state)
{
    const struct elb_row *row = *state;
    static_assert(sizeof(elb) / sizeof(elb[0]) == DESYNC_COUNT, "a row for each reason");
    assert_string_equal(http1_desync_text(row->desync), row->name);
    assert_int_equal(http1_desync_class(row->desync), row->class);
}

#define ROWS(table, function)                                                                     \
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)                                 \
        tests[count++] = (struct CMUnitTest){ .name = table[i].name, .test_func = (function), .initial_state = (void *)&table[i] }

int main(void)
{
    static struct CMUnitTest tests[1024];
    size_t count = 0;
    ROWS(requests, test_request);
    ROWS(responses, test_response);
    ROWS(ids, test_id);
    ROWS(lists, test_list);
    ROWS(desync_classes, test_class);
    ROWS(elb, test_elb);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_list_of_nothing);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_reasons);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_mutants);
    return _cmocka_run_group_tests("http1", tests, count, NULL, NULL);
}
