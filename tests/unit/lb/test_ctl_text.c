#include "lb/ctl_text.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEFT                                                                                                                          \
    "{\"load_balancer\":\"ha-lbint\",\"instance\":\"web-left\",\"state\":\"InService\",\"reason_code\":\"N/A\",\"description\":\"N/A\","  \
    "\"since\":\"2026-03-04T05:06:07.123Z\",\"address\":\"10.0.20.100\",\"port\":8080,\"zone\":\"us-east-1a\",\"admin\":\"auto\","       \
    "\"last_check\":null}"
#define RIGHT                                                                                                                        \
    "{\"load_balancer\":\"ha-lbint\",\"instance\":\"web-right\",\"state\":\"OutOfService\",\"reason_code\":\"Instance\","                \
    "\"description\":\"Instance has failed.\",\"since\":\"2026-03-04T05:06:07.123Z\",\"address\":\"fd00::21\",\"port\":80,"             \
    "\"zone\":null,\"admin\":\"drain\",\"last_check\":{\"at\":\"2026-03-04T05:06:08.123Z\",\"result\":\"fail\","                         \
    "\"detail\":\"status-503\",\"duration_ms\":12.345}}"

static const struct text_row {
    const char *name;
    enum ctl_command command;
    const char *document, *text;
} rows[] = {
    { "status: a line a balancer, a line an instance", CTL_STATUS,
      "[{\"load_balancer\":\"ha-lbint\",\"scheme\":\"internal\",\"in_service\":1,\"registered\":2,\"instances\":[" LEFT "," RIGHT "]},"
      "{\"load_balancer\":\"ha-lbext\",\"scheme\":\"internet-facing\",\"in_service\":0,\"registered\":0,\"instances\":[]}]",
      "ha-lbint  internal  1 of 2 instances in service\n"
      "  web-left   InService     10.0.20.100:8080  us-east-1a  auto   -\n"
      "  web-right  OutOfService  [fd00::21]:80     -           drain  Instance has failed.\n"
      "ha-lbext  internet-facing  0 of 0 instances in service\n" },
    { "status of no balancers is nothing", CTL_STATUS, "[]", "" },
    { "health: ELB's words, since when, the last check and why", CTL_INSTANCE_HEALTH, "[" LEFT "," RIGHT "]",
      "LOAD BALANCER  INSTANCE   STATE         REASON CODE  DESCRIPTION           SINCE                     ADMIN  LAST CHECK\n"
      "ha-lbint       web-left   InService     N/A          N/A                   2026-03-04T05:06:07.123Z  auto   -\n"
      "ha-lbint       web-right  OutOfService  Instance     Instance has failed.  2026-03-04T05:06:07.123Z  drain  "
      "fail status-503 in 12.3 ms at 2026-03-04T05:06:08.123Z\n" },
    { "registered", CTL_REGISTER, "{\"load_balancer\":\"ha-lbint\",\"instances\":[\"a\",\"b\"]}", "ha-lbint  registered:  a  b\n" },
    { "nobody is registered any more", CTL_DEREGISTER, "{\"load_balancer\":\"ha-lbint\",\"instances\":[]}", "ha-lbint  registered:  none\n" },
    { "a health check", CTL_CONFIGURE_HEALTH_CHECK,
      "{\"load_balancer\":\"ha-lbint\",\"target\":\"HTTP:80/\",\"interval\":\"6s\",\"timeout\":\"5s\",\"unhealthy_threshold\":2,\"healthy_threshold\":10}",
      "ha-lbint  target HTTP:80/  interval 6s  timeout 5s  unhealthy 2  healthy 10\n" },
    { "an override", CTL_SET_STATE, RIGHT, "ha-lbint  web-right  admin drain  OutOfService\n" },
    { "a configuration is printed as it is", CTL_CONFIG, "{\"config\":\"process = {};\\n\"}", "process = {};\n" },
    { "a ruleset too", CTL_SECURITY_GROUP, "{\"ruleset\":\"table inet halb\\n\"}", "table inet halb\n" },
    { "a name can not steer the terminal", CTL_REGISTER, "{\"load_balancer\":\"a\\u001b[2J\",\"instances\":[\"b\\u0007\"]}", "a?[2J  registered:  b?\n" },
    { "a cell is one line", CTL_STATUS,
      "[{\"load_balancer\":\"x\",\"scheme\":\"internal\",\"in_service\":0,\"registered\":1,\"instances\":["
      "{\"instance\":\"a\\nb\\tc\\r\",\"state\":\"a\",\"address\":\"1.2.3.4\",\"port\":1,\"admin\":\"auto\"}]}]",
      "x  internal  0 of 1 instances in service\n  a b c?  a  1.2.3.4:1  -  auto  -\n" },
    { "letters of several bytes are one column", CTL_STATUS,
      "[{\"load_balancer\":\"x\",\"scheme\":\"internal\",\"in_service\":0,\"registered\":2,\"instances\":["
      "{\"instance\":\"\xc3\xa4\xc3\xb6\",\"state\":\"a\",\"address\":\"1.2.3.4\",\"port\":1,\"admin\":\"auto\"},"
      "{\"instance\":\"ao\",\"state\":\"a\",\"address\":\"1.2.3.4\",\"port\":1,\"admin\":\"auto\"}]}]",
      "x  internal  0 of 2 instances in service\n"
      "  \xc3\xa4\xc3\xb6  a  1.2.3.4:1  -  auto  -\n"
      "  ao  a  1.2.3.4:1  -  auto  -\n" },
    { "an unexpected document: status", CTL_STATUS, "[1,{}]", "-  -  0 of 0 instances in service\n-  -  0 of 0 instances in service\n" },
    { "an unexpected document: health", CTL_INSTANCE_HEALTH, "{}", "LOAD BALANCER  INSTANCE  STATE  REASON CODE  DESCRIPTION  SINCE  ADMIN  LAST CHECK\n" },
    { "an unexpected document: config", CTL_CONFIG, "[]", "-\n" },
};

static void test_text(void **state)
{
    const struct text_row *row = *state;
    json_t *document = json_loads(row->document, 0, NULL);
    char *text = ctl_text(row->command, document);
    assert_non_null(document);
    assert_string_equal(text, row->text);
    free(text);
    json_decref(document);
}

int main(void)
{
    struct CMUnitTest tests[sizeof(rows) / sizeof(rows[0])];
    size_t count = 0;
    for (; count < sizeof(rows) / sizeof(rows[0]); count++)
        tests[count] = (struct CMUnitTest){ .name = rows[count].name, .test_func = test_text, .initial_state = (void *)&rows[count] };
    return _cmocka_run_group_tests("ctl_text", tests, count, NULL, NULL);
}
