#ifndef COMMON_HTTP1_FIELDS_H
#define COMMON_HTTP1_FIELDS_H
#include "common/http1.h"
/* What targets and fields mean, apart from how their lines are cut; private to common/http1*.c. Verdicts: 0 or -reason. */

/* What the lines so far have said; lives for one call of the parser. */
struct http1_seen {
    bool request;           /* else a response */
    bool host, expect, connection;
};

bool http1_authority_valid(struct span authority);      /* host [":" port], RFC 3986 */
int http1_target_judge(struct http1_head *head);        /* method and target are set; sets authority and path */

enum http1_field_id http1_field_id(struct span name);   /* name is a token */
int http1_field_judge(struct http1_head *head, struct http1_seen *seen, const struct http1_field *field);

/* After the last field: what only all of them together decide. `method`: of the request. */
int http1_request_finish(struct http1_head *head, const struct http1_seen *seen);
int http1_response_finish(struct http1_head *head, const struct http1_seen *seen, enum http1_method method);
#endif
