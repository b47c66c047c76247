#ifndef COMMON_HTTP1_FIELDS_H
#define COMMON_HTTP1_FIELDS_H
#include "common/http1.h"
/* What targets and fields mean, apart from how their lines are cut; private to common/http1*.c. Verdicts: 0 or -reason, unless said otherwise. */

/* What the lines so far have said; lives for one call of the parser. */
struct http1_seen {
    bool request;           /* else a response */
    bool host, expect, connection;
    bool start_line;        /* it is behind us */
    bool kept;              /* the line before is head->fields[field_count - 1] */
    size_t lines;           /* field lines, dropped ones too; folds are not counted */
};

/* ---- desync: what others might read differently (http1_desync.c) ---- */

/* Keeps the highest class, and the first reason of that class. */
void http1_note(struct http1_head *head, enum http1_desync desync);
int http1_desync_judge(struct http1_head *head, enum http1_mode mode);      /* last of all: whether the mode lets it pass */
bool http1_name_suspicious(struct span name);       /* looks like Content-Length or Transfer-Encoding */
/* Why a field line cannot be one, as it came without its end; it was refused by the grammar. */
enum http1_desync http1_line_desync(struct span line);
/* Target and version from what followed the method's space, the line's end taken off. */
int http1_request_line_repair(struct http1_head *head, struct span rest);
/* value becomes value, SP, more. */
int http1_value_join(struct http1_head *head, struct span *value, struct span more);

/* ---- targets and fields ---- */

bool http1_authority_valid(struct span authority);      /* host [":" port], RFC 3986 */
int http1_target_judge(struct http1_head *head);        /* method and target are set; sets authority and path */

enum http1_field_id http1_field_id(struct span name);   /* name is a token */
bool http1_field_is_vital(enum http1_field_id id);      /* never repaired: recipient and framing hang on it */
int http1_field_refuse(struct http1_head *head, enum http1_field_id id);    /* the verdict on a vital field whose value is none */
enum { FIELD_KEPT, FIELD_DROPPED };                     /* beside -reason: what becomes of a field */
int http1_field_judge(struct http1_head *head, struct http1_seen *seen, const struct http1_field *field);

/* After the last field: what only all of them together decide. `method`: of the request. */
int http1_request_finish(struct http1_head *head, const struct http1_seen *seen, enum http1_mode mode);
int http1_response_finish(struct http1_head *head, const struct http1_seen *seen, enum http1_method method);
#endif
