#include "lb/api.h"
#include "common/board.h"
#include "common/config.h"
#include "lb/control.h"
#include "lb/generation.h"
#include "lb/instance.h"
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
/*
 * Requests against a generation made by hand, over a real configuration, and
 * a control that notes what it was asked and answers as it is told.
 */
#define SINCE_MS 1772600767123          /* 2026-03-04T05:06:07.123Z */

struct control {
    struct config *config;
    struct generation generation;
    struct board *board;
    enum control_code code;             /* of the next change */
    char asked[512];
};

const struct generation *control_generation(const struct control *control)
{
    return &control->generation;
}

struct instance_health control_health(const struct instance *instance)
{
    struct slot_status status = slot_status(instance->slot);
    if (status.state == SLOT_IN_SERVICE)
        return (struct instance_health){ "InService", "N/A", "N/A", status.since_ms };
    return (struct instance_health){ "OutOfService", "Instance", "Instance has failed.", status.since_ms };
}

size_t control_in_service(const struct generation *generation, size_t balancer)
{
    size_t count = 0;
    for (size_t i = 0; i < generation->balancers[balancer].instance_count; i++)
        count += slot_eligible(generation->balancers[balancer].instances[i]->slot);
    return count;
}

size_t control_registered(const struct generation *generation, size_t balancer)
{
    return generation->balancers[balancer].conf->instance_count;
}

__attribute__((format(printf, 2, 3))) static void note(struct control *control, const char *format, ...)
{
    size_t len = strlen(control->asked);
    va_list args;
    va_start(args, format);
    vsnprintf(control->asked + len, sizeof(control->asked) - len, format, args);
    va_end(args);
}

static enum control_code answer(const struct control *control, struct control_error *error)
{
    snprintf(error->message, sizeof(error->message), "code %d", (int)control->code);
    return control->code;
}

static enum control_code note_ids(struct control *control, const char *verb, const char *balancer, const char *const *ids, size_t count,
                                  struct control_error *error)
{
    note(control, "%s %s", verb, balancer);
    for (size_t i = 0; i < count; i++)
        note(control, " %s", ids[i]);
    return answer(control, error);
}

enum control_code control_register(struct control *control, const char *balancer, const char *const *ids, size_t count, struct control_error *error)
{
    return note_ids(control, "register", balancer, ids, count, error);
}

enum control_code control_deregister(struct control *control, const char *balancer, const char *const *ids, size_t count, struct control_error *error)
{
    return note_ids(control, "deregister", balancer, ids, count, error);
}

static const char *shown(const char *text)
{
    return text == NULL ? "-" : text;
}

enum control_code control_health_check(struct control *control, const char *balancer, const struct config_health_change *change, struct control_error *error)
{
    note(control, "health-check %s %s %s %s %s %s", balancer, shown(change->target), shown(change->interval), shown(change->timeout),
         shown(change->unhealthy_threshold), shown(change->healthy_threshold));
    return answer(control, error);
}

enum control_code control_set_admin(struct control *control, const char *balancer, const char *id, enum slot_admin admin, struct control_error *error)
{
    note(control, "set-admin %s %s %s", balancer, id, slot_admin_text(admin));
    return answer(control, error);
}

/* web-left passes, web-right failed with 503, "web-spare" is not registered and has no zone. */
static const char place[] =
    "instances = ( { id = \"web-left\"; address = \"10.0.20.100\"; zone = \"us-east-1a\"; aliases = [ \"i-0123\" ]; },"
    "              { id = \"web-right\"; address = \"fd00::21\"; zone = \"us-east-1b\"; },"
    "              { id = \"web-spare\"; address = \"10.0.22.100\"; } );"
    "security_groups = ( { name = \"secg-web\"; ingress = ( { protocol = \"tcp\"; port = 80; source = \"10.0.0.0/8\"; } ); } );"
    "load_balancers = ("
    "  { name = \"ha-lbint\"; scheme = \"internal\";"
    "    subnets = ( { id = \"subnet-20\"; cidr = \"10.0.20.0/24\"; zone = \"us-east-1a\"; address = \"10.0.20.10\"; } );"
    "    listeners = ( { protocol = \"HTTP\"; port = 80; instance_protocol = \"HTTP\"; instance_port = 8080; },"
    "                  { protocol = \"TCP\"; port = 3306; instance_protocol = \"TCP\"; instance_port = 3307; } );"
    "    health_check = { target = \"HTTP:8080/\"; interval = \"6s\"; timeout = \"5s\"; unhealthy_threshold = 2; healthy_threshold = 10; };"
    "    instances = [ \"web-left\", \"web-right\" ]; },"
    "  { name = \"ha-lbext\"; scheme = \"internet-facing\";"
    "    subnets = ( { id = \"subnet-10\"; cidr = \"10.0.10.0/24\"; address = \"10.0.10.10\"; } );"
    "    listeners = ( { protocol = \"HTTP\"; port = 80; instance_protocol = \"HTTP\"; instance_port = 8080; } );"
    "    instances = [ ]; } );";

static struct config *make_config(void)
{
    struct config *config = NULL;
    struct config_errors errors;
    int r = config_parse(place, "place", &config, &errors);
    for (size_t i = 0; i < errors.count; i++)
        print_error("%s\n", errors.lines[i]);
    config_errors_free(&errors);
    assert_int_equal(r, 0);
    return config;
}

static struct instance *make_instance(struct board *board, const struct config_instance *conf, enum slot_state state)
{
    struct slot *slot = slot_new(board, true);
    struct instance *instance = instance_new(conf->id, conf->zone, &conf->address, slot, 1, 1);
    slot_publish(slot, (struct slot_status){ .state = state, .why = WHY_PASSED, .since_ms = SINCE_MS });
    assert_non_null(instance);
    return instance;
}

static struct control *control_make(void)
{
    static struct instance *instances[2];
    static struct balancer balancers[2];
    const struct check_record failed = { .at_ms = SINCE_MS + 1000, .duration_us = 12345, .reason = CHECK_STATUS, .status = 503 };
    struct control *c = calloc(1, sizeof(*c));
    assert_non_null(c);
    c->config = make_config();
    assert_int_equal(board_new(&c->board), 0);
    instances[0] = make_instance(c->board, &c->config->instances[0], SLOT_IN_SERVICE);
    instances[1] = make_instance(c->board, &c->config->instances[1], SLOT_OUT_OF_SERVICE);
    slot_record(instances[1]->slot, &failed, true);
    balancers[0] = (struct balancer){ .conf = &c->config->balancers[0], .instances = instances, .instance_count = 2 };
    balancers[1] = (struct balancer){ .conf = &c->config->balancers[1] };
    c->generation = (struct generation){ .config = c->config, .balancers = balancers, .balancer_count = 2 };
    return c;
}

static void control_end(struct control *c)
{
    instance_unref(&c->generation.balancers[0].instances[0]);
    instance_unref(&c->generation.balancers[0].instances[1]);
    board_free(&c->board);
    config_free(&c->config);
    free(c);
}

#define LEFT                                                                                                                         \
    "{\"load_balancer\":\"ha-lbint\",\"instance\":\"web-left\",\"state\":\"InService\",\"reason_code\":\"N/A\",\"description\":\"N/A\"," \
    "\"since\":\"2026-03-04T05:06:07.123Z\",\"address\":\"10.0.20.100\",\"port\":8080,\"zone\":\"us-east-1a\",\"admin\":\"auto\","      \
    "\"last_check\":null}"
#define RIGHT                                                                                                                       \
    "{\"load_balancer\":\"ha-lbint\",\"instance\":\"web-right\",\"state\":\"OutOfService\",\"reason_code\":\"Instance\","               \
    "\"description\":\"Instance has failed.\",\"since\":\"2026-03-04T05:06:07.123Z\",\"address\":\"fd00::21\",\"port\":8080,"           \
    "\"zone\":\"us-east-1b\",\"admin\":\"auto\",\"last_check\":{\"at\":\"2026-03-04T05:06:08.123Z\",\"result\":\"fail\","              \
    "\"detail\":\"status-503\",\"duration_ms\":12.345}}"
#define SPARE(balancer)                                                                                                                \
    "{\"load_balancer\":\"" balancer "\",\"instance\":\"web-spare\",\"state\":\"OutOfService\",\"reason_code\":\"Instance\","           \
    "\"description\":\"Instance is not currently registered with the LoadBalancer.\",\"since\":null,\"address\":\"10.0.22.100\","      \
    "\"port\":8080,\"zone\":null,\"admin\":\"auto\",\"last_check\":null}"
#define LBINT                                                                                                                            \
    "{\"load_balancer\":\"ha-lbint\",\"scheme\":\"internal\",\"dns_name\":null,\"in_service\":1,\"registered\":2,\"listeners\":["           \
    "{\"protocol\":\"HTTP\",\"port\":80,\"instance_protocol\":\"HTTP\",\"instance_port\":8080},"                                           \
    "{\"protocol\":\"TCP\",\"port\":3306,\"instance_protocol\":\"TCP\",\"instance_port\":3307}],\"instances\":[" LEFT "," RIGHT "]}"
#define LBEXT                                                                                                                              \
    "{\"load_balancer\":\"ha-lbext\",\"scheme\":\"internet-facing\",\"dns_name\":null,\"in_service\":0,\"registered\":0,\"listeners\":["      \
    "{\"protocol\":\"HTTP\",\"port\":80,\"instance_protocol\":\"HTTP\",\"instance_port\":8080}],\"instances\":[]}"
#define ERROR(code, message) "{\"error\":{\"code\":\"" code "\",\"message\":\"" message "\"}}"
#define NOT_YET ERROR("not-found", "not supported by this version")
#define REGISTERED "{\"load_balancer\":\"ha-lbint\",\"instances\":[\"web-left\",\"web-right\"]}"
#define HEALTH                                                                                                       \
    "{\"load_balancer\":\"ha-lbint\",\"target\":\"HTTP:8080/\",\"interval\":\"6s\",\"timeout\":\"5s\",\"unhealthy_threshold\":2," \
    "\"healthy_threshold\":10}"
#define V1 "/v1/load-balancers"
#define INT V1 "/ha-lbint"

static const struct api_row {
    const char *name, *method, *target, *body;
    unsigned status;
    const char *answer;                 /* NULL: not looked at */
    const char *asked;                  /* of control; NULL: nothing */
    enum control_code code;
} rows[] = {
    { "all balancers", "GET", V1, NULL, 200, "[" LBINT "," LBEXT "]", NULL, 0 },
    { "HEAD is as GET", "HEAD", V1, NULL, 200, "[" LBINT "," LBEXT "]", NULL, 0 },
    { "one balancer", "GET", INT, NULL, 200, LBINT, NULL, 0 },
    { "a balancer that is not there", "GET", V1 "/ha-lbin", NULL, 404, ERROR("not-found", "there is no load balancer named ha-lbin"), NULL, 0 },
    { "its instances", "GET", INT "/instances", NULL, 200, "[" LEFT "," RIGHT "]", NULL, 0 },
    { "instances of none", "GET", V1 "/x/instances", NULL, 404, NULL, NULL, 0 },
    { "one instance", "GET", INT "/instances/web-right", NULL, 200, RIGHT, NULL, 0 },
    { "by its alias", "GET", INT "/instances/i-0123", NULL, 200, LEFT, NULL, 0 },
    { "known, not registered; its name escaped", "GET", INT "/instances/web%2dspare", NULL, 200, SPARE("ha-lbint"), NULL, 0 },
    { "never known", "GET", INT "/instances/i-9", NULL, 404, ERROR("not-found", "there is no instance named i-9 in the inventory"), NULL, 0 },
    { "register", "POST", INT "/instances/register", "{\"instances\":[\"web-left\",\"web-spare\"]}", 200, REGISTERED,
      "register ha-lbint web-left web-spare", 0 },
    { "deregister", "POST", INT "/instances/deregister", "{\"instances\":[\"web-left\"]}", 200, REGISTERED, "deregister ha-lbint web-left", 0 },
    { "what control does not find is 404", "POST", INT "/instances/register", "{\"instances\":[\"i-9\"]}", 404, ERROR("not-found", "code 1"),
      "register ha-lbint i-9", CONTROL_NOT_FOUND },
    { "what control can not understand is 400", "POST", INT "/health-check", "{\"interval\":\"x\"}", 400, ERROR("bad-request", "code 2"),
      "health-check ha-lbint - x - - -", CONTROL_BAD_REQUEST },
    { "a conflict is 409", "POST", INT "/instances/register", "{\"instances\":[\"i-9\"]}", 409, ERROR("conflict", "code 3"), "register ha-lbint i-9",
      CONTROL_CONFLICT },
    { "what failed is 500", "POST", INT "/instances/register", "{\"instances\":[\"i-9\"]}", 500, ERROR("failed", "code 4"), "register ha-lbint i-9",
      CONTROL_FAILED },
    { "to register nobody is a mistake", "POST", INT "/instances/register", "{\"instances\":[]}", 400, NULL, NULL, 0 },
    { "ids are texts", "POST", INT "/instances/register", "{\"instances\":[\"a\",1]}", 400, NULL, NULL, 0 },
    { "ids are a list", "POST", INT "/instances/register", "{\"instances\":\"a\"}", 400, NULL, NULL, 0 },
    { "a key beside is heard of", "POST", INT "/instances/register", "{\"instances\":[\"a\"],\"weight\":3}", 400,
      ERROR("bad-request", "\\\"weight\\\" is not known here"), NULL, 0 },
    { "a key twice is refused", "POST", INT "/instances/register", "{\"instances\":[\"a\"],\"instances\":[\"b\"]}", 400, NULL, NULL, 0 },
    { "a health check as texts", "POST", INT "/health-check", "{\"target\":\"TCP:80\",\"interval\":\"6s\",\"timeout\":\"5s\"}", 200, HEALTH,
      "health-check ha-lbint TCP:80 6s 5s - -", 0 },
    { "a health check as numbers", "POST", INT "/health-check",
      "{\"interval\":6,\"timeout\":0.1,\"unhealthy_threshold\":2,\"healthy_threshold\":3}", 200, HEALTH, "health-check ha-lbint - 6 0.1 2 3", 0 },
    { "a health check of nothing", "POST", INT "/health-check", "{}", 400, NULL, NULL, 0 },
    { "a health check of a truth", "POST", INT "/health-check", "{\"interval\":true}", 400, ERROR("bad-request", "interval: expected a text or a number"),
      NULL, 0 },
    { "drain", "POST", INT "/instances/web-left/state", "{\"state\":\"drain\"}", 200, LEFT, "set-admin ha-lbint web-left drain", 0 },
    { "auto", "POST", INT "/instances/web-right/state", "{\"state\":\"auto\"}", 200, RIGHT, "set-admin ha-lbint web-right auto", 0 },
    { "a state that is none", "POST", INT "/instances/web-left/state", "{\"state\":\"up\"}", 400, NULL, NULL, 0 },
    { "no state", "POST", INT "/instances/web-left/state", "{}", 400, NULL, NULL, 0 },
    { "a body that is not JSON", "POST", INT "/health-check", "{\"interval\":", 400, NULL, NULL, 0 },
    { "an empty body", "POST", INT "/health-check", "", 400, NULL, NULL, 0 },
    { "a body that is not an object", "POST", INT "/health-check", "[]", 400, ERROR("bad-request", "the body is JSON; expected an object"), NULL, 0 },
    { "a NUL in a text", "POST", INT "/instances/register", "{\"instances\":[\"a\\u0000b\"]}", 400, NULL, NULL, 0 },
    { "bytes that are not UTF-8", "POST", INT "/instances/register", "{\"instances\":[\"\xff\"]}", 400, NULL, NULL, 0 },
    { "a group for nft", "GET", "/v1/security-groups/secg-web?format=nft", NULL, 200, NULL, NULL, 0 },
    { "a group in no format", "GET", "/v1/security-groups/secg-web", NULL, 400, ERROR("bad-request", "expected ?format=nft, the one format there is"), NULL, 0 },
    { "a group that is not there", "GET", "/v1/security-groups/x?format=nft", NULL, 404, ERROR("not-found", "there is no security group named x"), NULL, 0 },
    { "a query where none belongs", "GET", V1 "?x=y", NULL, 400, ERROR("bad-request", "\\\"x=y\\\": expected no query"), NULL, 0 },
    { "DELETE of what is there", "DELETE", V1, NULL, 405, ERROR("method-not-allowed", "expected GET, HEAD"), NULL, 0 },
    { "GET of what is to be posted", "GET", INT "/health-check", NULL, 405, ERROR("method-not-allowed", "expected POST"), NULL, 0 },
    { "PUT where both are", "PUT", INT "/instances/register", NULL, 405, ERROR("method-not-allowed", "expected GET, HEAD, POST"), NULL, 0 },
    { "methods are read exactly", "get", V1, NULL, 405, NULL, NULL, 0 },
    { "nothing there", "GET", "/v2", NULL, 404, ERROR("not-found", "there is nothing here; see /v1/load-balancers"), NULL, 0 },
    { "a '/' too many", "GET", V1 "/", NULL, 404, NULL, NULL, 0 },
    { "too deep", "GET", "/1/2/3/4/5/6/7/8/9", NULL, 400, NULL, NULL, 0 },
    { "a '*' is a name", "GET", V1 "/*", NULL, 404, ERROR("not-found", "there is no load balancer named *"), NULL, 0 },
    { "the server as a whole", "OPTIONS", "*", NULL, 400, NULL, NULL, 0 },
    { "half an escape", "GET", V1 "/%4", NULL, 400, NULL, NULL, 0 },
    { "an escape of no digits", "GET", V1 "/%zz", NULL, 400, NULL, NULL, 0 },
    { "an escaped NUL", "GET", V1 "/a%00", NULL, 400, NULL, NULL, 0 },
    { "an escaped '/' stays in its name", "GET", V1 "/a%2Fb", NULL, 404, ERROR("not-found", "there is no load balancer named a/b"), NULL, 0 },
    { "a name that is not UTF-8 comes back readable", "GET", V1 "/%ff", NULL, 404, ERROR("not-found", "there is no load balancer named ?"), NULL, 0 },
    { "why: later", "GET", INT "/instances/web-left/why", NULL, 404, NOT_YET, NULL, 0 },
    { "reload: later", "POST", "/v1/reload", "{}", 404, NOT_YET, NULL, 0 },
    { "the status page: later", "GET", "/", NULL, 404, NOT_YET, NULL, 0 },
    { "ELB's interface: later", "GET", "/?Action=DescribeLoadBalancers", NULL, 404, NOT_YET, NULL, 0 },
    { "metrics: later", "GET", "/metrics", NULL, 404, NOT_YET, NULL, 0 },
    { "livez: later", "GET", "/livez", NULL, 404, NOT_YET, NULL, 0 },
    { "healthz: later", "GET", "/healthz", NULL, 404, NOT_YET, NULL, 0 },
    { "the difference from the file: later", "GET", "/v1/config?diff=1", NULL, 404,
      ERROR("not-found", "the difference from the file is not supported by this version"), NULL, 0 },
};

static struct span span(const char *text)
{
    return (struct span){ text, text == NULL ? 0 : strlen(text) };
}

static struct api_request request_of(const char *method, const char *target, const char *body)
{
    return (struct api_request){ .method = span(method), .target = span(target), .host = span("localhost"),
                                 .content_type = span(body == NULL ? NULL : "application/json"), .body = span(body) };
}

static void check_whole(const struct api_answer *answer_)
{
    assert_non_null(answer_->body);
    assert_int_equal(strlen(answer_->body), answer_->body_len);
    assert_int_equal(answer_->allow != NULL, answer_->status == 405);
    assert_non_null(api_phrase(answer_->status));
}

static void test_api(void **state)
{
    const struct api_row *row = *state;
    struct control *c = control_make();
    struct api_request request = request_of(row->method, row->target, row->body);
    struct api_answer got;
    c->code = row->code;
    api_serve(c, &request, &got);
    check_whole(&got);
    assert_int_equal(got.status, row->status);
    if (row->answer != NULL)
        assert_string_equal(got.body, row->answer);
    if (row->status != 200)
        assert_non_null(strstr(got.body, "{\"error\":{\"code\":\""));
    assert_string_equal(c->asked, row->asked == NULL ? "" : row->asked);
    free(got.body);
    control_end(c);
}

/* Each proper prefix of a body that is good must not reach control, and no target's prefix may upset anything. */
static void test_cut(void **state)
{
    const struct api_row *row = *state;
    size_t target_len = strlen(row->target), body_len = row->body == NULL ? 0 : strlen(row->body);
    struct control *c = control_make();
    struct api_request request = request_of(row->method, row->target, row->body);
    struct api_answer got;
    for (size_t i = 0; i < target_len; i++) {
        request.target.len = i;
        api_serve(c, &request, &got);
        check_whole(&got);
        free(got.body);
    }
    c->asked[0] = '\0';
    request.target.len = target_len;
    for (size_t i = 0; i < body_len; i++) {
        request.body.len = i;
        api_serve(c, &request, &got);
        check_whole(&got);
        assert_int_not_equal(got.status, 200);
        assert_string_equal(c->asked, "");
        free(got.body);
    }
    control_end(c);
}

static const struct guard_row {
    const char *name;
    const char *host, *origin, *content_type;
    unsigned status;
} guard_rows[] = {
    { "localhost is us", "localhost", NULL, "application/json", 200 },
    { "with any port", "LocalHost:9080", NULL, "application/json", 200 },
    { "no Host", NULL, NULL, "application/json", 200 },
    { "an empty Host", "", NULL, "application/json", 200 },
    { "another Host", "evil.example", NULL, "application/json", 403 },
    { "another that begins like us", "localhost.evil.example", NULL, "application/json", 403 },
    { "no port but a name", "localhost:x", NULL, "application/json", 403 },
    { "a port alone", ":80", NULL, "application/json", 403 },
    { "our Origin", "localhost", "http://localhost:9080", "application/json", 200 },
    { "another Origin", "localhost", "http://evil.example", "application/json", 403 },
    { "an Origin that hides itself", "localhost", "null", "application/json", 403 },
    { "an empty Origin", "localhost", "", "application/json", 403 },
    { "no name in the Origin", "localhost", "http://", "application/json", 403 },
    { "parameters of the type", "localhost", NULL, "Application/JSON ; charset=utf-8", 200 },
    { "a form, as any page may post it", "localhost", NULL, "application/x-www-form-urlencoded", 400 },
    { "no type", "localhost", NULL, NULL, 400 },
    { "nearly the type", "localhost", NULL, "application/jsonp", 400 },
};

static void test_guard(void **state)
{
    const struct guard_row *row = *state;
    struct control *c = control_make();
    struct api_request request = request_of("POST", INT "/instances/web-left/state", "{\"state\":\"out\"}");
    struct api_answer got;
    request.host = span(row->host);
    request.origin = span(row->origin);
    request.content_type = span(row->content_type);
    api_serve(c, &request, &got);
    check_whole(&got);
    assert_int_equal(got.status, row->status);
    assert_string_equal(c->asked, row->status == 200 ? "set-admin ha-lbint web-left out" : "");
    free(got.body);
    control_end(c);
}

static void test_override_is_shown(void **state)
{
    struct control *c = control_make();
    struct api_request request = request_of("GET", INT, NULL);
    struct api_answer got;
    json_t *document, *left;
    (void)state;
    slot_set_admin(c->generation.balancers[0].instances[0]->slot, ADMIN_DRAIN);
    api_serve(c, &request, &got);
    document = json_loads(got.body, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(document, "in_service")), 0);
    left = json_array_get(json_object_get(document, "instances"), 0);
    assert_string_equal(json_string_value(json_object_get(left, "admin")), "drain");
    assert_string_equal(json_string_value(json_object_get(left, "state")), "InService");
    json_decref(document);
    free(got.body);
    control_end(c);
}

/* Draining it is seen, cut off it is as if it had not been registered. */
static void test_deregistered(void **state)
{
    struct control *c = control_make();
    struct api_request request = request_of("GET", INT "/instances", NULL);
    struct instance *left = c->generation.balancers[0].instances[0];
    struct api_answer got;
    (void)state;
    atomic_store(&left->phase, INSTANCE_DRAINING);
    api_serve(c, &request, &got);
    assert_string_equal(got.body, "[" LEFT "," RIGHT "]");
    free(got.body);
    atomic_store(&left->phase, INSTANCE_CUT);
    api_serve(c, &request, &got);
    assert_string_equal(got.body, "[" RIGHT "]");
    free(got.body);
    request.target = span(INT "/instances/web-left");
    api_serve(c, &request, &got);
    assert_non_null(strstr(got.body, "Instance is not currently registered with the LoadBalancer."));
    free(got.body);
    control_end(c);
}

static void test_nft_is_text(void **state)
{
    struct control *c = control_make();
    struct api_request request = request_of("GET", "/v1/security-groups/secg-web?format=nft", NULL);
    struct api_answer got;
    (void)state;
    api_serve(c, &request, &got);
    assert_string_equal(got.content_type, "text/plain; charset=utf-8");
    assert_non_null(strstr(got.body, "ip saddr { 10.0.0.0/8 } tcp dport 80 accept\n"));
    free(got.body);
    control_end(c);
}

/* What comes is the configuration in force, as a file that is one. */
static void test_config(void **state)
{
    struct control *c = control_make();
    struct api_request request = request_of("GET", "/v1/config", NULL);
    struct config *again = NULL;
    struct config_errors errors;
    struct api_answer got;
    json_t *document;
    (void)state;
    api_serve(c, &request, &got);
    assert_int_equal(got.status, 200);
    document = json_loads(got.body, 0, NULL);
    assert_int_equal(config_parse(json_string_value(json_object_get(document, "config")), "printed", &again, &errors), 0);
    assert_int_equal(again->balancer_count, 2);
    assert_int_equal(again->balancers[0].health_check.interval_ms, 6000);
    config_errors_free(&errors);
    config_free(&again);
    json_decref(document);
    free(got.body);
    control_end(c);
}

static void test_long_target(void **state)
{
    struct control *c = control_make();
    char target[API_TARGET_MAX + 2];
    struct api_request request = request_of("GET", "", NULL);
    struct api_answer got;
    (void)state;
    memset(target, 'a', sizeof(target));
    target[0] = '/';
    for (size_t len = API_TARGET_MAX; len <= API_TARGET_MAX + 1; len++) {
        request.target = (struct span){ target, len };
        api_serve(c, &request, &got);
        assert_int_equal(got.status, len == API_TARGET_MAX ? 404 : 400);
        free(got.body);
    }
    control_end(c);
}

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

int main(void)
{
    struct CMUnitTest tests[2 * COUNT(rows) + COUNT(guard_rows) + 5];
    size_t count = 0;
    for (size_t i = 0; i < COUNT(rows); i++) {
        tests[count++] = (struct CMUnitTest){ .name = rows[i].name, .test_func = test_api, .initial_state = (void *)&rows[i] };
        tests[count++] = (struct CMUnitTest){ .name = rows[i].name, .test_func = test_cut, .initial_state = (void *)&rows[i] };
    }
    for (size_t i = 0; i < COUNT(guard_rows); i++)
        tests[count++] = (struct CMUnitTest){ .name = guard_rows[i].name, .test_func = test_guard, .initial_state = (void *)&guard_rows[i] };
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_override_is_shown);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_nft_is_text);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_long_target);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_config);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_deregistered);
    return _cmocka_run_group_tests("api", tests, count, NULL, NULL);
}
