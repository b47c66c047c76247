#ifndef COMMON_HTTP1_H
#define COMMON_HTTP1_H
#include "common/span.h"
#include <stdbool.h>
#include <stdint.h>
/*
 * HTTP/1 heads and body framing (RFC 9110, RFC 9112): bytes in, verdict out.
 * Pure: no I/O, no allocation, no clock; nothing is kept between calls but what
 * the caller holds. The verdict never depends on how the bytes were cut.
 * Strict: lines end in CRLF, and whatever leaves the end of a message in
 * doubt is an error. What else others might read differently is repaired in
 * requests, as far as the mode lets it pass. Spans point into the caller's
 * bytes, or into the head where it was repaired, and live as long as both.
 */

/* Why a head or body is refused: NAME, text for logs and counters. Request errors are 400 unless said otherwise. */
#define HTTP1_REASONS(X)                                                              \
    X(HTTP1_BAD_LINE_END, "bad-line-end")               /* bare CR, bare LF, NUL */   \
    X(HTTP1_BAD_METHOD, "bad-method")                                                 \
    X(HTTP1_METHOD_TOO_LONG, "method-too-long")         /* > 127 characters: 405 */   \
    X(HTTP1_METHOD_REFUSED, "method-refused")           /* CONNECT */                 \
    X(HTTP1_BAD_TARGET, "bad-target")                                                 \
    X(HTTP1_BAD_VERSION, "bad-version")                                               \
    X(HTTP1_BAD_STATUS, "bad-status")                   /* response status line */    \
    X(HTTP1_BAD_FIELD, "bad-field")                     /* name, colon, value */      \
    X(HTTP1_FOLDED_FIELD, "folded-field")                                             \
    X(HTTP1_BAD_HOST, "bad-host")                       /* missing, twice, invalid */ \
    X(HTTP1_BAD_CONTENT_LENGTH, "bad-content-length")                                 \
    X(HTTP1_BAD_TRANSFER_ENCODING, "bad-transfer-encoding")                           \
    X(HTTP1_AMBIGUOUS_LENGTH, "ambiguous-length")       /* both of these, or CL twice */ \
    X(HTTP1_BAD_EXPECT, "bad-expect")                                                 \
    X(HTTP1_LINE_TOO_LONG, "line-too-long")             /* request or status line */  \
    X(HTTP1_FIELD_TOO_LONG, "field-too-long")                                         \
    X(HTTP1_HEAD_TOO_LONG, "head-too-long")                                           \
    X(HTTP1_TOO_MANY_FIELDS, "too-many-fields")                                       \
    X(HTTP1_BAD_CHUNK, "bad-chunk")                                                   \
    X(HTTP1_DESYNC, "desync-refused")                   /* it could be repaired, but the mode says no, or there is no room */

enum http1_reason {
    HTTP1_OK,
#define X(name, text) name,
    HTTP1_REASONS(X)
#undef X
    HTTP1_REASON_COUNT
};
const char *http1_reason_text(enum http1_reason reason);
int http1_reason_status(enum http1_reason reason);      /* what a client gets: 400 or 405 */

/* How far a request is from what everybody reads alike (ELB's desync classes). */
enum http1_class { HTTP1_COMPLIANT, HTTP1_ACCEPTABLE, HTTP1_AMBIGUOUS, HTTP1_SEVERE, HTTP1_CLASS_COUNT };
const char *http1_class_text(enum http1_class class);   /* "Compliant", ... */

/* Which classes pass: all, all but severe, compliant alone. */
enum http1_mode { HTTP1_DEFENSIVE, HTTP1_MONITOR, HTTP1_STRICTEST };

/*
 * Why a request is not compliant: NAME, class, ELB's id for logs and counters. Its PartialHeaderLine and
 * MissingLastEmptyLine are not here: they are heads that never come whole.
 */
#define HTTP1_DESYNCS(X)                                                                                          \
    X(DESYNC_NON_COMPLIANT_HEADER, ACCEPTABLE, "NonCompliantHeader")        /* byte of a name or value: dropped */ \
    X(DESYNC_SPACE_IN_URI, ACCEPTABLE, "SpaceInUri")                        /* sent on as %20 */                   \
    X(DESYNC_NON_COMPLIANT_VERSION, ACCEPTABLE, "NonCompliantVersion")      /* 1.2 to 1.9, spaces around; 0.9: refused */ \
    X(DESYNC_GET_HEAD_ZERO_LENGTH, ACCEPTABLE, "GetHeadZeroContentLength")                                        \
    X(DESYNC_NON_CRLF, ACCEPTABLE, "NonCrLfLineTermination")                /* refused */                          \
    X(DESYNC_AMBIGUOUS_URI, AMBIGUOUS, "AmbiguousUri")                      /* control byte: sent on as %XX */     \
    X(DESYNC_BOTH_TE_CL, AMBIGUOUS, "BothTeClPresent")                      /* Content-Length is dropped */        \
    X(DESYNC_DUPLICATE_LENGTH, AMBIGUOUS, "DuplicateContentLength")         /* made one */                         \
    X(DESYNC_EMPTY_HEADER, AMBIGUOUS, "EmptyHeader")                        /* no name: dropped */                 \
    X(DESYNC_SUSPICIOUS_HEADER, AMBIGUOUS, "SuspiciousHeader")              /* looks like framing: dropped */      \
    X(DESYNC_UNDEFINED_LENGTH, AMBIGUOUS, "UndefinedContentLengthSemantics")        /* GET, HEAD */                \
    X(DESYNC_UNDEFINED_CODING, AMBIGUOUS, "UndefinedTransferEncodingSemantics")     /* GET, HEAD; 1.0: refused */  \
    X(DESYNC_MULTILINE_HEADER, AMBIGUOUS, "MultilineHeader")                /* joined by a space; Host, framing: refused */ \
    X(DESYNC_MISSING_COLON, AMBIGUOUS, "MissingHeaderColon")                /* dropped */                          \
    X(DESYNC_MISSING_URI, AMBIGUOUS, "MissingUri")                          /* refused, as is all below */         \
    X(DESYNC_BAD_HEADER, SEVERE, "BadHeader")                               /* CR, NUL */                          \
    X(DESYNC_BAD_URI, SEVERE, "BadUri")                                     /* CR, NUL */                          \
    X(DESYNC_BAD_METHOD, SEVERE, "BadMethod")                                                                     \
    X(DESYNC_BAD_VERSION, SEVERE, "BadVersion")                             /* 2.0 to 9.9: read as 1.1 if it passes */ \
    X(DESYNC_BAD_LENGTH, SEVERE, "BadContentLength")                                                              \
    X(DESYNC_MULTIPLE_LENGTH, SEVERE, "MultipleContentLength")                                                    \
    X(DESYNC_BAD_CODING, SEVERE, "BadTransferEncoding")                                                           \
    X(DESYNC_MULTIPLE_CHUNKED, SEVERE, "MultipleTransferEncodingChunked")

enum http1_desync {
    DESYNC_NONE,
#define X(name, class, text) name,
    HTTP1_DESYNCS(X)
#undef X
    DESYNC_COUNT
};
const char *http1_desync_text(enum http1_desync desync);
enum http1_class http1_desync_class(enum http1_desync desync);

enum http1_method { METHOD_OTHER, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_TRACE, METHOD_PUT, METHOD_DELETE, METHOD_POST, METHOD_PATCH };

/* Fields that the program acts on; all others are FIELD_OTHER. */
enum http1_field_id {
    FIELD_OTHER, FIELD_HOST, FIELD_CONNECTION, FIELD_CONTENT_LENGTH, FIELD_TRANSFER_ENCODING, FIELD_EXPECT, FIELD_UPGRADE,
    FIELD_TE, FIELD_TRAILER, FIELD_KEEP_ALIVE, FIELD_PROXY_CONNECTION, FIELD_PROXY_AUTHENTICATE, FIELD_PROXY_AUTHORIZATION,
    FIELD_X_FORWARDED_FOR, FIELD_X_FORWARDED_PROTO, FIELD_X_FORWARDED_PORT, FIELD_COOKIE, FIELD_SET_COOKIE, FIELD_USER_AGENT
};

struct http1_field {
    struct span name, value;        /* value without surrounding SP and HT; may be empty */
    enum http1_field_id id;
    bool named_in_connection;       /* a Connection field of this head lists it: hop-by-hop */
};

/* How the end of a message's body is found (RFC 9112 6.3). */
enum http1_framing { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_UNTIL_CLOSE };

#define HTTP1_FIELDS_MAX 256        /* the ceiling of header_count_max */
#define HTTP1_REPAIRED_MAX 4096     /* bytes that had to be written anew: more are refused */

struct http1_head {
    enum http1_method method;
    struct span method_text, target;        /* request: the target as received */
    struct span authority;                  /* request: Host's value, or the authority of an absolute-form target (which wins, RFC 9112 3.2.2); empty: HTTP/1.0 without */
    struct span path;                       /* request: origin-form ("/a?b", "*"): the target less scheme and authority, repaired; never empty */
    unsigned status;                        /* response */
    struct span phrase;                     /* response: reason phrase */
    unsigned minor;                         /* HTTP/1.minor: 0 or 1 */
    enum http1_framing framing;
    uint64_t content_length;                /* BODY_LENGTH; also what a response to HEAD says */
    bool has_content_length;
    bool keep_alive;                        /* the sender is willing to go on (RFC 9112 9.3) */
    bool expect_continue;
    enum http1_class desync_class;          /* request, refused or not: the highest class met; its first reason */
    enum http1_desync desync_reason;
    bool close_after;                       /* request: both sides close after the answer; not keep_alive then */
    size_t field_count;
    struct http1_field fields[HTTP1_FIELDS_MAX];
    size_t repaired_len;                    /* what a repaired head may be longer than the received one, at most */
    char repaired[HTTP1_REPAIRED_MAX];      /* spans may point here: a head is not copied */
};

struct http1_limits {
    size_t line_max, field_max;             /* bytes of the start line, of one field line; without CRLF */
    size_t head_max;                        /* of all field lines, with CRLF; without the start line and the empty one */
    size_t count_max;                       /* fields, dropped ones too; <= HTTP1_FIELDS_MAX */
    enum http1_mode mode;                   /* requests; responses are never repaired */
};

/*
 * Return: > 0 the length of the complete head, *head is filled; 0 more bytes are needed;
 * < 0 an enum http1_reason, negated. Errors show as early as the bytes allow, but what a mode refuses when the head is
 * whole: then its class is known. A prefix of a bad head is never "more" for ever. One empty line before a request is skipped (RFC 9112 2.2). len counts from the head's first byte each time.
 */
int http1_parse_request(struct http1_head *head, const char *bytes, size_t len, const struct http1_limits *limits);
/* `method` is the request's: it decides whether a body follows. 1xx, 204 and 304 have none. */
int http1_parse_response(struct http1_head *head, const char *bytes, size_t len, const struct http1_limits *limits, enum http1_method method);

/* Where a body stands: copy of a head's framing, advanced by http1_body_take(). */
struct http1_body {
    enum http1_framing framing;
    uint64_t left;                          /* LENGTH: bytes to come; CHUNKED: of this chunk */
    uint32_t line;                          /* CHUNKED: bytes of the current size line, or of all trailers */
    uint8_t step;                           /* CHUNKED: where in the grammar */
    bool done;                              /* the body's last byte was taken */
};
void http1_body_init(struct http1_body *body, const struct http1_head *head);
/*
 * Takes what belongs to the body from bytes[0, len): *consumed of them, of which the payload is moved together to the
 * front, to bytes[0, *payload). After the end, consumed < len is the next message's. Chunk extensions and trailers are
 * checked and dropped. 0, or -HTTP1_BAD_CHUNK from then on, consumed being what came before the bad byte.
 */
int http1_body_take(struct http1_body *body, char *bytes, size_t len, size_t *payload, size_t *consumed);

/* Whether a comma-separated list of tokens (Connection, TE, ...) has this one, without regard to case. */
bool http1_list_has(struct span list, struct span token);
#endif
