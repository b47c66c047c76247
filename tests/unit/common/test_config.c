/*
 * A row of bad input changes one piece of a good configuration; what is said
 * about it is exact, with its line. Other rows: good input, files that include
 * files, writing out and reading back, changes at run time.
 */
#include "common/config_internal.h"
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* The pieces of the good configuration; each stands on a line of its own. */
enum piece { PROCESS, INSTANCE, GROUP, BALANCER, SUBNET, LISTENER, CHECK, REGISTERED, ATTRIBUTES, MORE, PIECES, WHOLE };

#define ID "id = \"b\"; "
#define ADDRESS "address = \"10.0.1.1\"; "
#define SUBNET_REST "id = \"s2\"; cidr = \"10.0.1.0/24\"; "
#define SUBNET_GOOD SUBNET_REST "address = \"10.0.1.10\"; "
#define TCP81 "protocol = \"TCP\"; port = 81; instance_port = 8081; "
#define LB2(node, port)                                                                                                \
    ", { name = \"lb2\"; subnets = ( { id = \"s1\"; cidr = \"10.0.0.0/24\"; address = \"" node "\"; } ); " \
    "listeners = ( { protocol = \"TCP\"; port = " port "; instance_port = 1; } ); }"

static const char *const good[PIECES] = {
    [PROCESS] = "",
    [INSTANCE] = ID ADDRESS "aliases = [ \"i-b\" ];",
    [GROUP] = "name = \"h\";",
    [BALANCER] = "name = \"lb\";",
    [SUBNET] = SUBNET_GOOD "zone = \"z2\";",
    [LISTENER] = TCP81,
    [CHECK] = "",
    [REGISTERED] = "instances = [ \"a\" ];",
    [ATTRIBUTES] = "",
    [MORE] = "",
};

static char *text_with(enum piece piece, const char *text)
{
    const char *pieces[PIECES];
    char *ret;
    if (piece == WHOLE)
        return strdup(text);
    memcpy(pieces, good, sizeof(pieces));
    pieces[piece] = text;
    assert_true(asprintf(&ret,
                         "process = { %s };\n"                                                                            /* 1 */
                         "instances = ( { id = \"a\"; address = \"10.0.0.1\"; zone = \"z1\"; security_groups = [ \"g\" ]; },\n"
                         " { %s } );\n"                                                                                   /* 3 */
                         "security_groups = ( { name = \"g\"; members = [ \"10.9.0.0/16\" ]; },\n"
                         " { %s } );\n"                                                                                   /* 5 */
                         "load_balancers = ( {\n"
                         " %s\n"                                                                                          /* 7 */
                         " subnets = ( { id = \"s1\"; cidr = \"10.0.0.0/24\"; zone = \"z1\"; address = \"10.0.0.10\"; },\n"
                         "  { %s } );\n"                                                                                  /* 9 */
                         " listeners = ( { protocol = \"HTTP\"; port = 80; instance_port = 8080; },\n"
                         "  { %s } );\n"                                                                                  /* 11 */
                         " health_check = { %s };\n"                                                                      /* 12 */
                         " %s\n"                                                                                          /* 13 */
                         " attributes = { %s };\n"                                                                        /* 14 */
                         " } %s );\n",                                                                                    /* 15 */
                         pieces[PROCESS], pieces[INSTANCE], pieces[GROUP], pieces[BALANCER], pieces[SUBNET], pieces[LISTENER],
                         pieces[CHECK], pieces[REGISTERED], pieces[ATTRIBUTES], pieces[MORE]) > 0);
    return ret;
}

static char *joined(const struct config_errors *errors)
{
    char *ret = NULL;
    size_t size;
    FILE *to = open_memstream(&ret, &size);
    assert_non_null(to);
    for (size_t i = 0; i < errors->count; i++)
        fprintf(to, "%s%s", i == 0 ? "" : "\n", errors->lines[i]);
    assert_int_equal(fclose(to), 0);
    return ret;
}

typedef int parse_fn(const char *text, const char *name, struct config **ret, struct config_errors *errors);

/* As a version will that supports all settings that can be read. */
static int parse_ahead(const char *text, const char *name, struct config **ret, struct config_errors *errors)
{
    return config_read_ahead(name, text, ret, errors);
}

static struct config *parse_with(parse_fn *how, const char *text)
{
    struct config *config = NULL;
    struct config_errors errors;
    int r = how(text, "t", &config, &errors);
    if (r != 0)
        print_error("%s\n", joined(&errors));
    assert_int_equal(r, 0);
    assert_int_equal(errors.count, 0);
    config_errors_free(&errors);
    return config;
}

static struct config *parse(const char *text)
{
    return parse_with(config_parse, text);
}

static char *printed(const struct config *config)
{
    char *ret = NULL;
    size_t size;
    FILE *to = open_memstream(&ret, &size);
    assert_non_null(to);
    assert_int_equal(config_print(config, to), 0);
    assert_int_equal(fclose(to), 0);
    return ret;
}

/* ---- bad input ---- */

#define A_NAME "a name of 1 to 32 letters, digits and inner hyphens"
#define A_HOST "the IPv4 or IPv6 address of one host"
#define NOT_YET ", not supported by this version, expected "
#define LEFT_OUT ": found a setting that is not supported by this version, expected it to be left out"
#define NO_END "found a string without end, expected \" on the same line"
#define SYNTAX ", expected NAME = VALUE; or the end of what is open (syntax error)"
#define LINE32 "abcdefghijklmnopqrstuvwxyz012345"
#define LINE107 "/" LINE32 LINE32 LINE32 "0123456789"

static const struct bad_row {
    const char *name;
    enum piece piece;
    const char *text, *said;        /* each line as "t:LINE: ..." */
} bad_rows[] = {
    /* syntax: the first alone */
    { "an empty file lacks balancers on line 1", WHOLE, "", "t:1: load_balancers: found nothing, expected a list of at least one group ( { ... }, ... )" },
    { "a file of comments is empty", WHOLE, "# a\n// b\n/* c\n */\n\n", "t:1: load_balancers: found nothing, expected a list of at least one group ( { ... }, ... )" },
    { "a group without end", WHOLE, "process = {\n  workers = 1;\n", "t:3: found the end of the file, expected the end of what is open (syntax error)" },
    { "a value that is missing", WHOLE, "process = {\n  workers = ;\n};", "t:2: found ;" SYNTAX },
    { "a bracket of the wrong kind", WHOLE, "process = {\n\n);", "t:3: found )" SYNTAX },
    { "only the first error of syntax is said", WHOLE, "a = ;\nb = ;\n", "t:1: found ;" SYNTAX },
    { "an error of syntax hides those of meaning", WHOLE, "wrong = 1;\nb = ;\n", "t:2: found ;" SYNTAX },
    { "a character of no token", WHOLE, "process $ { };", "t:1: found $" SYNTAX },
    { "a string where a name is", WHOLE, "process = { };\n\"x\";\nb = ;", "t:2: found \"x\"" SYNTAX },
    { "a string after a value", WHOLE, "process = {\nworkers = 1 \"x\" };", "t:2: found \"x\"" SYNTAX },
    { "a string after a comma in a group", WHOLE, "process = { workers = 1,\n \"x\" };", "t:2: found \"x\"" SYNTAX },
    { "a string where a comma is", WHOLE, "instances = ( { }\n \"x\" );", "t:2: found \"x\"" SYNTAX },
    { "an error before a string where none is", WHOLE, "process = ;\n \"x\";", "t:1: found ;" SYNTAX },
    { "a string without end", WHOLE, "a = 1;\nb = \"x;\n", "t:2: " NO_END },
    { "a string that ends in an escaped quote", WHOLE, "b = \"x\\\"", "t:1: " NO_END },
    { "a string that ends in a backslash", WHOLE, "b = \"x\\", "t:1: " NO_END },
    { "a zero byte in a string", WHOLE, "b = \"x\\x00y\";", "t:1: found a zero byte in a string, expected text" },
    { "a comment without end is named where it begins", WHOLE, "a = 1;\n/* b\n\n", "t:2: found a comment without end, expected */" },
    { "a setting twice", WHOLE, "process = {\n workers = 1;\n workers = 2; };", "t:3: found setting \"workers\" a second time, expected it once" },
    { "a group twice", WHOLE, "process = { };\nprocess = { };", "t:2: found setting \"process\" a second time, expected it once" },
    { "an array of two types", WHOLE, "instances = [ \"a\",\n1 ];", "t:2: found elements of different types in [ ], expected one type" },
    { "a text includes nothing", WHOLE, "\n@include \"x\"\n", "t:2: found @, expected no @include here" },
    { "brackets without bound", WHOLE,
      "a = ((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((", "t:1: found brackets more than 64 deep, expected fewer" },

    /* what a setting is called */
    { "a misspelt group", WHOLE, "proces = { };", "t:1: load_balancers: found nothing, expected a list of at least one group ( { ... }, ... )\n"
      "t:1: found unknown setting \"proces\", expected a setting of the configuration; did you mean \"process\"?" },
    { "a misspelt setting", PROCESS, "wrokers = 1;", "t:1: found unknown setting \"wrokers\", expected a setting of process; did you mean \"workers\"?" },
    { "a letter too many", CHECK, "intervall = 1;", "t:12: found unknown setting \"intervall\", expected a setting of load_balancers.health_check; did you mean \"interval\"?" },
    { "a letter too few", ATTRIBUTES, "retrie = 1;", "t:14: found unknown setting \"retrie\", expected a setting of load_balancers.attributes; did you mean \"retries\"?" },
    { "a hyphen for an underscore", ATTRIBUTES, "cross-zone = true;", "t:14: found unknown setting \"cross-zone\", expected a setting of load_balancers.attributes; did you mean \"cross_zone\"?" },
    { "nothing near: no suggestion", PROCESS, "nbproc = 1;", "t:1: found unknown setting \"nbproc\", expected a setting of process" },
    { "a setting of another group", BALANCER, "name = \"lb\"; idle_timeout = 1;", "t:7: found unknown setting \"idle_timeout\", expected a setting of load_balancers" },
    { "an unknown setting of an instance", INSTANCE, ID ADDRESS "wieght = 1;", "t:3: found unknown setting \"wieght\", expected a setting of instances; did you mean \"weight\"?" },
    { "an unknown setting of a group in a group", ATTRIBUTES, "connection_draining = { enable = true; };",
      "t:14: found unknown setting \"enable\", expected a setting of load_balancers.attributes.connection_draining; did you mean \"enabled\"?" },
    { "an unknown setting of a rule", GROUP, "name = \"h\"; ingress = ( { port = 1; source = \"g\"; ports = 2; } );",
      "t:5: found unknown setting \"ports\", expected a setting of security_groups.ingress; did you mean \"port\"?" },

    /* types */
    { "a number where a group is", WHOLE, "process = 5; load_balancers = 1;",
      "t:1: process: found 5, expected a group { ... }\nt:1: load_balancers: found 1, expected a list of at least one group ( { ... }, ... )" },
    { "a group where a list is", WHOLE, "load_balancers = { };", "t:1: load_balancers: found a group { ... }, expected a list of at least one group ( { ... }, ... )" },
    { "a number among groups", MORE, ", 7", "t:15: load_balancers: found 7, expected a list of at least one group ( { ... }, ... )" },
    { "a list among groups", MORE, ", ( )", "t:15: load_balancers: found a list, expected a list of at least one group ( { ... }, ... )" },
    { "no balancer", WHOLE, "load_balancers = ( );", "t:1: load_balancers: found an empty list, expected a list of at least one group ( { ... }, ... )" },
    { "a text where an integer is", PROCESS, "workers = \"2\";", "t:1: workers: found \"2\", expected an integer of 0 to 240" },
    { "a fraction where an integer is", PROCESS, "workers = 1.5;", "t:1: workers: found 1.5, expected an integer of 0 to 240" },
    { "a truth where an integer is", PROCESS, "workers = true;", "t:1: workers: found true, expected an integer of 0 to 240" },
    { "a list where an integer is", PROCESS, "workers = [ 1 ];", "t:1: workers: found a list, expected an integer of 0 to 240" },
    { "an integer where a truth is", ATTRIBUTES, "fail_open = 1;", "t:14: fail_open: found 1, expected true or false" },
    { "a text where a truth is", ATTRIBUTES, "cross_zone = \"yes\";", "t:14: cross_zone: found \"yes\", expected true or false" },
    { "an integer where a text is", PROCESS, "state_dir = 1;", "t:1: state_dir: found 1, expected 1 to 1024 characters of printable ASCII" },
    { "a text where names are", REGISTERED, "instances = \"a\";", "t:13: instances: found \"a\", expected a list of names [ \"...\", ... ]" },
    { "a number among names", REGISTERED, "instances = ( \"a\", 5 );", "t:13: instances: found 5, expected " A_NAME },
    { "the line of a name in a list is its own", REGISTERED, "instances = [ \"a\",\n\n \"-\"\n\n ];", "t:15: instances: found \"-\", expected " A_NAME },
    { "a text where CIDRs are", ATTRIBUTES, "trusted_proxies = \"10.0.0.0/8\";",
      "t:14: trusted_proxies: found \"10.0.0.0/8\", expected a list of CIDRs [ \"10.0.0.0/24\", ... ]" },
    { "a control byte in a text is shown", PROCESS, "state_dir = \"/a\\nb\";", "t:1: state_dir: found \"/a\\x0ab\", expected 1 to 1024 characters of printable ASCII" },

    /* integers */
    { "2^31 does not wrap", PROCESS, "workers = 2147483648;", "t:1: workers: found 2147483648, expected an integer of 0 to 240" },
    { "2^32 does not wrap to 0", PROCESS, "workers = 4294967296;", "t:1: workers: found 4294967296, expected an integer of 0 to 240" },
    { "2^32 + 1 does not wrap to 1", PROCESS, "workers = 4294967297;", "t:1: workers: found 4294967297, expected an integer of 0 to 240" },
    { "twenty digits do not wrap", PROCESS, "workers = 99999999999999999999;", "t:1: workers: found 99999999999999999999, expected an integer of 0 to 240" },
    { "2^64 + 1 does not wrap", PROCESS, "workers = 18446744073709551617;", "t:1: workers: found 18446744073709551617, expected an integer of 0 to 240" },
    { "nine hexadecimal digits do not wrap", PROCESS, "workers = 0x100000001;", "t:1: workers: found 0x100000001, expected an integer of 0 to 240" },
    { "a 64-bit integer does not wrap", PROCESS, "workers = 4294967297L;", "t:1: workers: found 4294967297L, expected an integer of 0 to 240" },
    { "a negative integer", PROCESS, "workers = -1;", "t:1: workers: found -1, expected an integer of 0 to 240" },
    { "a negative one beyond 32 bits", PROCESS, "workers = -4294967295;", "t:1: workers: found -4294967295, expected an integer of 0 to 240" },
    { "one above the range", PROCESS, "workers = 241;", "t:1: workers: found 241, expected an integer of 0 to 240" },
    { "a size that would wrap", ATTRIBUTES, "header_max = 4294983680;", "t:14: header_max: found 4294983680, expected a size of 64 to 256K" },
    { "a duration that would wrap", ATTRIBUTES, "idle_timeout = 4294967356;", "t:14: idle_timeout: found 4294967356, expected a duration of 10ms to 4000s" },
    { "port 0", LISTENER, "protocol = \"TCP\"; port = 0; instance_port = 1;", "t:11: port: found 0, expected an integer of 1 to 65535" },
    { "port 65536", LISTENER, "protocol = \"TCP\"; port = 65536; instance_port = 1;", "t:11: port: found 65536, expected an integer of 1 to 65535" },
    { "a port that would wrap to 80", LISTENER, "protocol = \"TCP\"; port = 81; instance_port = 65616;", "t:11: instance_port: found 65616, expected an integer of 1 to 65535" },
    { "more fields than there is room for", ATTRIBUTES, "header_count_max = 257;", "t:14: header_count_max: found 257, expected an integer of 1 to 256" },
    { "a surge queue too long", ATTRIBUTES, "surge_queue = 65536;", "t:14: surge_queue: found 65536, expected an integer of 0 to 65535" },
    { "a pool too large", ATTRIBUTES, "backend_idle_max = 65536;", "t:14: backend_idle_max: found 65536, expected an integer of 0 to 65535" },

    /* durations and sizes */
    { "a duration in days", ATTRIBUTES, "tunnel_timeout = \"1d\";", "t:14: tunnel_timeout: found \"1d\", expected a duration of 10ms to 168h" },
    { "a duration with a space", ATTRIBUTES, "idle_timeout = \"6 s\";", "t:14: idle_timeout: found \"6 s\", expected a duration of 10ms to 4000s" },
    { "a negative duration", PROCESS, "shutdown_timeout = -1;", "t:1: shutdown_timeout: found -1, expected a duration of 0s to 1h" },
    { "part of a millisecond", ATTRIBUTES, "idle_timeout = \"10.5ms\";", "t:14: idle_timeout: found \"10.5ms\", expected a duration of 10ms to 4000s" },
    { "a duration of no number", ATTRIBUTES, "idle_timeout = \"inf\";", "t:14: idle_timeout: found \"inf\", expected a duration of 10ms to 4000s" },
    { "a truth where a duration is", ATTRIBUTES, "idle_timeout = false;", "t:14: idle_timeout: found false, expected a duration of 10ms to 4000s" },
    { "an idle timeout above ELB's", ATTRIBUTES, "idle_timeout = \"4001s\";", "t:14: idle_timeout: found \"4001s\", expected a duration of 10ms to 4000s" },
    { "an interval too short", CHECK, "interval = \"99ms\"; timeout = \"10ms\";", "t:12: interval: found \"99ms\", expected a duration of 100ms to 5m" },
    { "an interval too long", CHECK, "interval = 301;", "t:12: interval: found 301, expected a duration of 100ms to 5m" },
    { "a timeout too short", CHECK, "timeout = 0.009;", "t:12: timeout: found 0.009, expected a duration of 10ms to 1m" },
    { "a timeout too long", CHECK, "interval = \"2m\"; timeout = \"60.1s\";", "t:12: timeout: found \"60.1s\", expected a duration of 10ms to 1m" },
    { "a timeout as long as the interval", CHECK, "interval = \"6s\"; timeout = \"6s\";", "t:12: timeout: found \"6s\", expected less than the interval, \"6s\"" },
    { "the default timeout above a short interval", CHECK, "interval = 0.1;", "t:12: timeout: found \"5s\" by default, expected less than the interval, \"100ms\"" },
    { "threshold 0", CHECK, "unhealthy_threshold = 0;", "t:12: unhealthy_threshold: found 0, expected an integer of 1 to 10" },
    { "threshold 11", CHECK, "healthy_threshold = 11;", "t:12: healthy_threshold: found 11, expected an integer of 1 to 10" },
    { "draining for more than an hour", ATTRIBUTES, "connection_draining = { timeout = \"3601s\"; };", "t:14: timeout: found \"3601s\", expected a duration of 10ms to 1h" },
    { "a size of an unknown unit", ATTRIBUTES, "headers_max = \"64KB\";", "t:14: headers_max: found \"64KB\", expected a size of 64 to 1M" },
    { "a size with a fraction", ATTRIBUTES, "headers_max = \"1.5K\";", "t:14: headers_max: found \"1.5K\", expected a size of 64 to 1M" },
    { "a size that is a fraction", ATTRIBUTES, "headers_max = 100.0;", "t:14: headers_max: found 100.0, expected a size of 64 to 1M" },
    { "a size too small", ATTRIBUTES, "request_line_max = 63;", "t:14: request_line_max: found 63, expected a size of 64 to 256K" },
    { "a size too large", ATTRIBUTES, "response_headers_max = \"2M\";", "t:14: response_headers_max: found \"2M\", expected a size of 64 to 1M" },
    { "a size of a unit alone", ATTRIBUTES, "headers_max = \"K\";", "t:14: headers_max: found \"K\", expected a size of 64 to 1M" },

    /* names, choices, texts */
    { "a name that begins with a hyphen", BALANCER, "name = \"-lb\";", "t:7: name: found \"-lb\", expected " A_NAME },
    { "a name that ends with a hyphen", BALANCER, "name = \"lb-\";", "t:7: name: found \"lb-\", expected " A_NAME },
    { "a name with an underscore", BALANCER, "name = \"l_b\";", "t:7: name: found \"l_b\", expected " A_NAME },
    { "an empty name", BALANCER, "name = \"\";", "t:7: name: found \"\", expected " A_NAME },
    { "a name of 33 characters", BALANCER, "name = \"" LINE32 "6\";", "t:7: name: found \"" LINE32 "6\", expected " A_NAME },
    { "a name with a letter beyond ASCII", BALANCER, "name = \"b\xc3\xa4r\";", "t:7: name: found \"b\xc3\xa4r\", expected " A_NAME },
    { "a zone with a dot", INSTANCE, ID ADDRESS "zone = \"a.b\";", "t:3: zone: found \"a.b\", expected " A_NAME },
    { "an alias with a space", INSTANCE, ID ADDRESS "aliases = [ \"a b\" ];", "t:3: aliases: found \"a b\", expected " A_NAME },
    { "an unknown scheme", BALANCER, "name = \"lb\"; scheme = \"external\";", "t:7: scheme: found \"external\", expected internet-facing or internal" },
    { "an unknown log level", PROCESS, "log_level = \"verbose\";", "t:1: log_level: found \"verbose\", expected error, warning, info or debug" },
    { "an unknown protocol", LISTENER, "protocol = \"UDP\"; port = 1; instance_port = 1;", "t:11: protocol: found \"UDP\", expected HTTP or TCP" },
    { "a rule of another transport", GROUP, "name = \"h\"; ingress = ( { protocol = \"udp\"; port = 1; source = \"g\"; } );", "t:5: protocol: found \"udp\", expected tcp" },
    { "a socket path longer than a socket's address", PROCESS, "admin_socket = \"" LINE107 "0\";",
      "t:1: admin_socket: found \"/" LINE32 LINE32 "abcdefghijklmn...\", expected 1 to 107 characters of printable ASCII" },
    { "no control socket", PROCESS, "admin_socket = \"\";", "t:1: admin_socket: found \"\", expected 1 to 107 characters of printable ASCII" },
    { "no state folder", PROCESS, "state_dir = \"\";", "t:1: state_dir: found \"\", expected 1 to 1024 characters of printable ASCII" },
    { "a user beyond ASCII", PROCESS, "user = \"j\xc3\xb6rg\";", "t:1: user: found \"j\xc3\xb6rg\", expected 0 to 32 characters of printable ASCII" },

    /* addresses */
    { "an address that is none", INSTANCE, ID "address = \"10.0.0.256\";", "t:3: address: found \"10.0.0.256\", expected " A_HOST },
    { "a host name is no address", INSTANCE, ID "address = \"localhost\";", "t:3: address: found \"localhost\", expected " A_HOST },
    { "an address with a port", INSTANCE, ID "address = \"10.0.0.1:80\";", "t:3: address: found \"10.0.0.1:80\", expected " A_HOST },
    { "any address is no host", INSTANCE, ID "address = \"0.0.0.0\";", "t:3: address: found \"0.0.0.0\", expected " A_HOST },
    { "a multicast address is no host", INSTANCE, ID "address = \"224.0.0.1\";", "t:3: address: found \"224.0.0.1\", expected " A_HOST },
    { "IPv6's any address is no host", INSTANCE, ID "address = \"::\";", "t:3: address: found \"::\", expected " A_HOST },
    { "a cidr that is none", SUBNET, "id = \"s2\"; cidr = \"10.0.1.0/33\"; address = \"10.0.1.10\";", "t:9: cidr: found \"10.0.1.0/33\", expected a CIDR such as 10.0.0.0/24" },
    { "a cidr with host bits", SUBNET, "id = \"s2\"; cidr = \"10.0.1.1/24\"; address = \"10.0.1.10\";",
      "t:9: cidr: found \"10.0.1.1/24\", expected a CIDR without host bits, such as 10.0.0.0/24" },
    { "a node outside its cidr", SUBNET, SUBNET_REST "address = \"10.0.2.10\";", "t:9: address: found \"10.0.2.10\", expected an address in 10.0.1.0/24" },
    { "a node of another family than its cidr", SUBNET, SUBNET_REST "address = \"fd00::1\";", "t:9: address: found \"fd00::1\", expected an address in 10.0.1.0/24" },
    { "a member that is no CIDR", GROUP, "name = \"h\"; members = [ \"10.0.0.0/8\", \"g\" ];", "t:5: members: found \"g\", expected a CIDR such as 10.0.0.0/24" },
    { "a member with host bits", GROUP, "name = \"h\"; members = [ \"10.0.0.1/8\" ];", "t:5: members: found \"10.0.0.1/8\", expected a CIDR without host bits, such as 10.0.0.0/24" },
    { "a trusted proxy that is no CIDR", ATTRIBUTES, "trusted_proxies = [ \"any\" ];", "t:14: trusted_proxies: found \"any\", expected a CIDR such as 10.0.0.0/24" },
    { "a source that is neither CIDR nor name", GROUP, "name = \"h\"; ingress = ( { port = 1; source = \"10.0.0.0.0\"; } );",
      "t:5: source: found \"10.0.0.0.0\", expected a CIDR such as 10.0.0.0/24 or the name of a security group" },
    { "a source with host bits", GROUP, "name = \"h\"; ingress = ( { port = 1; source = \"10.0.0.1/8\"; } );",
      "t:5: source: found \"10.0.0.1/8\", expected a CIDR without host bits, such as 10.0.0.0/24" },

    /* targets */
    { "a target of an unknown protocol", CHECK, "target = \"UDP:53\";", "t:12: target: found \"UDP:53\", expected HTTP:PORT/PATH, HTTPS:PORT/PATH, TCP:PORT or SSL:PORT" },
    { "a target without a port", CHECK, "target = \"HTTP:/x\";", "t:12: target: found \"HTTP:/x\", expected a port of 1 to 65535 after the colon" },
    { "a target of port 65536", CHECK, "target = \"TCP:65536\";", "t:12: target: found \"TCP:65536\", expected a port of 1 to 65535 after the colon" },
    { "a target of port 0", CHECK, "target = \"TCP:0\";", "t:12: target: found \"TCP:0\", expected a port of 1 to 65535 after the colon" },
    { "a TCP target with a path", CHECK, "target = \"TCP:80/\";", "t:12: target: found \"TCP:80/\", expected nothing after the port" },
    { "an HTTP target without a path", CHECK, "target = \"HTTP:80\";", "t:12: target: found \"HTTP:80\", expected a path after the port that starts with /" },
    { "an HTTP target with a query alone", CHECK, "target = \"HTTP:80?a\";", "t:12: target: found \"HTTP:80?a\", expected a path after the port that starts with /" },
    { "a path with a space", CHECK, "target = \"HTTP:80/a b\";", "t:12: target: found \"HTTP:80/a b\", expected a path of printable ASCII without space or #" },
    { "a path with a line end", CHECK, "target = \"HTTP:80/\\r\\nX: y\";", "t:12: target: found \"HTTP:80/\\x0d\\x0aX: y\", expected a path of printable ASCII without space or #" },
    { "a path with a fragment", CHECK, "target = \"HTTP:80/#a\";", "t:12: target: found \"HTTP:80/#a\", expected a path of printable ASCII without space or #" },
    { "a path beyond ASCII", CHECK, "target = \"HTTP:80/\xc3\xa4\";", "t:12: target: found \"HTTP:80/\xc3\xa4\", expected a path of printable ASCII without space or #" },
    { "a target that is a number", CHECK, "target = 80;", "t:12: target: found 80, expected HTTP:PORT/PATH or TCP:PORT" },

    /* what must be there */
    { "an instance without an id", INSTANCE, ADDRESS, "t:3: id: found nothing, expected " A_NAME },
    { "an instance without an address", INSTANCE, ID, "t:3: address: found nothing, expected " A_HOST },
    { "a group without a name", GROUP, "", "t:5: name: found nothing, expected " A_NAME },
    { "a rule without port and source", GROUP, "name = \"h\"; ingress = ( { } );",
      "t:5: port: found nothing, expected an integer of 1 to 65535\nt:5: source: found nothing, expected a CIDR such as 10.0.0.0/24 or the name of a security group" },
    { "a missing setting is of its group's line", GROUP, "name = \"h\"; ingress = (\n {\n port = 1; } );",
      "t:6: source: found nothing, expected a CIDR such as 10.0.0.0/24 or the name of a security group" },
    { "a balancer without a name", BALANCER, "", "t:6: name: found nothing, expected " A_NAME },
    { "a subnet without anything", SUBNET, "", "t:9: id: found nothing, expected " A_NAME "\nt:9: cidr: found nothing, expected a CIDR such as 10.0.0.0/24\n"
      "t:9: address: found nothing, expected " A_HOST },
    { "a listener without anything", LISTENER, "", "t:11: protocol: found nothing, expected HTTP or TCP\nt:11: port: found nothing, expected an integer of 1 to 65535\n"
      "t:11: instance_port: found nothing, expected an integer of 1 to 65535" },
    { "a balancer without subnets and listeners", MORE, ", { name = \"x\"; }",
      "t:15: subnets: found nothing, expected a list of at least one group ( { ... }, ... )\nt:15: listeners: found nothing, expected a list of 1 to 100 groups ( { ... }, ... )" },
    { "a balancer with no subnets and no listeners", MORE, ", { name = \"x\"; subnets = ( ); listeners = [ ]; }",
      "t:15: subnets: found an empty list, expected a list of at least one group ( { ... }, ... )\nt:15: listeners: found an empty list, expected a list of 1 to 100 groups ( { ... }, ... )" },

    /* what may be there once */
    { "two balancers of one name", MORE, ", { name = \"lb\"; subnets = ( { " SUBNET_REST "address = \"10.0.1.11\"; } ); listeners = ( { " TCP81 " } ); }",
      "t:15: name: found \"lb\", which t:7 has already, expected another" },
    { "two instances of one id", INSTANCE, "id = \"a\"; " ADDRESS, "t:3: id: found \"a\", which t:2 has already, expected another" },
    { "an alias that is another's id", INSTANCE, ID ADDRESS "aliases = [ \"a\" ];", "t:3: id: found \"a\", which t:2 has already, expected another" },
    { "an alias that is its own id", INSTANCE, ID ADDRESS "aliases = [ \"b\" ];", "t:3: id: found \"b\", which t:3 has already, expected another" },
    { "an alias twice", INSTANCE, ID ADDRESS "aliases = [ \"c\", \"c\" ];", "t:3: id: found \"c\", which t:3 has already, expected another" },
    { "two groups of one name", GROUP, "name = \"g\";", "t:5: name: found \"g\", which t:4 has already, expected another" },
    { "two subnets of one id", SUBNET, "id = \"s1\"; cidr = \"10.0.1.0/24\"; address = \"10.0.1.10\";", "t:9: id: found \"s1\", which t:8 has already, expected another" },
    { "two subnets of one zone", SUBNET, SUBNET_GOOD "zone = \"z1\";", "t:9: zone: found \"z1\", which t:8 has already, expected another" },
    { "two nodes of one address", SUBNET, "id = \"s2\"; cidr = \"10.0.0.0/16\"; address = \"10.0.0.10\";", "t:9: address: found \"10.0.0.10\", which t:8 has already, expected another" },
    { "two listeners of one port", LISTENER, "protocol = \"TCP\"; port = 80; instance_port = 8081;", "t:11: port: found 80, which t:10 has already, expected another" },
    { "two balancers at one address and port", MORE, LB2("10.0.0.10", "80"), "t:15: address: found \"10.0.0.10:80\", which t:8 has already, expected another" },
    { "an instance registered twice", REGISTERED, "instances = [ \"a\", \"b\", \"a\" ];", "t:13: instances: found \"a\", which t:13 has already, expected another" },
    { "an instance registered by id and alias", REGISTERED, "instances = [ \"b\", \"i-b\" ];", "t:13: instances: found \"b\", which t:13 has already, expected another" },
    { "a group carried twice", INSTANCE, ID ADDRESS "security_groups = [ \"g\", \"g\" ];", "t:3: security_groups: found \"g\", which t:3 has already, expected another" },

    /* references */
    { "an instance that is not in the inventory", REGISTERED, "instances = [ \"a\", \"web\" ];", "t:13: instances: found \"web\", expected the id of an instance" },
    { "a balancer's group that is none", BALANCER, "name = \"lb\"; security_groups = [ \"secg\" ];", "t:7: security_groups: found \"secg\", expected the name of a security group" },
    { "an instance's group that is none", INSTANCE, ID ADDRESS "security_groups = [ \"secg\" ];", "t:3: security_groups: found \"secg\", expected the name of a security group" },
    { "a source that is no group", GROUP, "name = \"secg-web\"; ingress = ( { port = 80; source = \"secg-wbe\"; } );",
      "t:5: source: found \"secg-wbe\", expected the name of a security group; did you mean \"secg-web\"?" },
    { "a misspelt instance", WHOLE, "instances = ( { id = \"ha-web-left\"; address = \"10.0.0.1\"; } );\nload_balancers = ( { name = \"l\"; subnets = ( { id = \"s\"; "
      "cidr = \"10.0.0.0/24\"; address = \"10.0.0.9\"; } ); listeners = ( { protocol = \"TCP\"; port = 1; instance_port = 1; } );\n instances = [ \"ha-web-lfet\" ]; } );",
      "t:3: instances: found \"ha-web-lfet\", expected the id of an instance; did you mean \"ha-web-left\"?" },

    /* what must fit together */
    { "an internal balancer's node at a public address", MORE,
      ", { name = \"x\"; scheme = \"internal\"; subnets = ( { id = \"s\"; cidr = \"54.0.0.0/8\"; address = \"54.1.1.1\"; } ); listeners = ( { " TCP81 " } ); }",
      "t:15: address: found \"54.1.1.1\", expected a private address, as the scheme is internal" },
    { "HTTP to TCP", LISTENER, "protocol = \"HTTP\"; port = 81; instance_protocol = \"TCP\"; instance_port = 1;",
      "t:11: instance_protocol: found \"TCP\", expected HTTP or HTTPS, as the protocol is HTTP" },
    { "TCP to HTTP", LISTENER, "protocol = \"TCP\"; port = 81; instance_protocol = \"HTTP\"; instance_port = 1;",
      "t:11: instance_protocol: found \"HTTP\", expected TCP or SSL, as the protocol is TCP" },
    { "one instance port, plain and secure", LISTENER, "protocol = \"HTTP\"; port = 81; instance_protocol = \"HTTPS\"; instance_port = 8080;",
      "t:11: instance_protocol: found \"HTTPS\"" NOT_YET "HTTP or TCP\n"
      "t:11: instance_protocol: found \"HTTPS\", expected what fits HTTP, as another listener has for instance_port 8080" },

    /* what a later version brings */
    { "an HTTPS listener", LISTENER, "protocol = \"HTTPS\"; port = 81; instance_protocol = \"HTTP\"; instance_port = 1;", "t:11: protocol: found \"HTTPS\"" NOT_YET "HTTP or TCP" },
    { "an SSL listener", LISTENER, "protocol = \"SSL\"; port = 81; instance_protocol = \"TCP\"; instance_port = 1;", "t:11: protocol: found \"SSL\"" NOT_YET "HTTP or TCP" },
    { "SSL to instances", LISTENER, "protocol = \"TCP\"; port = 81; instance_protocol = \"SSL\"; instance_port = 1;", "t:11: instance_protocol: found \"SSL\"" NOT_YET "HTTP or TCP" },
    { "an HTTPS target", CHECK, "target = \"HTTPS:443/\";", "t:12: target: found \"HTTPS:443/\"" NOT_YET "HTTP:PORT/PATH or TCP:PORT" },
    { "an SSL target", CHECK, "target = \"SSL:443\";", "t:12: target: found \"SSL:443\"" NOT_YET "HTTP:PORT/PATH or TCP:PORT" },
    { "a certificate", LISTENER, TCP81 "ssl_certificate = \"/a\"; ssl_private_key = \"/b\";", "t:11: ssl_certificate" LEFT_OUT "\nt:11: ssl_private_key" LEFT_OUT },
    { "certificates", LISTENER, TCP81 "ssl_certificates = ( { certificate = \"/a\"; } );", "t:11: ssl_certificates" LEFT_OUT },
    { "certificates of clients", LISTENER, TCP81 "client_certificate = { mode = \"optional\"; };", "t:11: client_certificate" LEFT_OUT },
    { "a redirect", LISTENER, TCP81 "redirect = \"https\"; redirect_port = 443; hsts = true;",
      "t:11: redirect" LEFT_OUT "\nt:11: redirect_port" LEFT_OUT "\nt:11: hsts" LEFT_OUT },
    { "a weight beyond all versions", INSTANCE, ID ADDRESS "weight = 257;", "t:3: weight: found 257, expected an integer of 0 to 256" },
    { "an unknown format of the access log that is off", ATTRIBUTES, "access_log = { format = \"clf\"; };", "t:14: format: found \"clf\", expected elb or json" },
    { "a desync mode that never was", ATTRIBUTES, "desync_mitigation_mode = \"off\";", "t:14: desync_mitigation_mode: found \"off\", expected monitor, defensive or strictest" },
    { "the HTTP control surface", PROCESS, "admin_http = \"127.0.0.1:9080\";", "t:1: admin_http: found \"127.0.0.1:9080\"" NOT_YET "\"\"" },
    { "a log in JSON", PROCESS, "log_format = \"json\";", "t:1: log_format: found \"json\"" NOT_YET "\"text\"" },
    { "a key file of TLS", PROCESS, "tls_ticket_key_file = \"/b\";", "t:1: tls_ticket_key_file" LEFT_OUT },
    { "secrets of the control surface", PROCESS, "admin_token_file = \"/a\"; admin_certificate = \"/b\"; admin_private_key = \"/c\";",
      "t:1: admin_token_file" LEFT_OUT "\nt:1: admin_certificate" LEFT_OUT "\nt:1: admin_private_key" LEFT_OUT },

    /* all at once */
    { "errors come in the order of lines, and none causes another", WHOLE,
      "load_balancers = ( {\n name = 5;\n subnets = ( 7 );\n listeners = ( { port = 0; } );\n instances = [ \"a\" ]; } );\n"
      "process = { x = 1; };\ninstances = ( { id = \"a\"; address = 5; } );",
      "t:2: name: found 5, expected " A_NAME "\nt:3: subnets: found 7, expected a list of at least one group ( { ... }, ... )\n"
      "t:4: protocol: found nothing, expected HTTP or TCP\nt:4: instance_port: found nothing, expected an integer of 1 to 65535\n"
      "t:4: port: found 0, expected an integer of 1 to 65535\nt:6: found unknown setting \"x\", expected a setting of process\n"
      "t:7: address: found 5, expected " A_HOST },
    { "elements that are no groups cause no further errors", WHOLE,
      "instances = ( 1 ); security_groups = ( 2 );\nload_balancers = ( 3 );",
      "t:1: instances: found 1, expected a list of groups ( { ... }, ... )\nt:1: security_groups: found 2, expected a list of groups ( { ... }, ... )\n"
      "t:2: load_balancers: found 3, expected a list of at least one group ( { ... }, ... )" },
};

static void assert_bad(parse_fn *how, const struct bad_row *row)
{
    char *text = text_with(row->piece, row->text), *said;
    struct config *config = NULL;
    struct config_errors errors;
    assert_int_equal(how(text, "t", &config, &errors), -EINVAL);
    assert_null(config);
    said = joined(&errors);
    assert_string_equal(said, row->said);
    config_errors_free(&errors);
    free(said);
    free(text);
}

static void test_bad(void **state)
{
    assert_bad(config_parse, *state);
}

static void test_bad_ahead(void **state)
{
    assert_bad(parse_ahead, *state);
}

/* ---- good input ---- */

static const struct good_row {
    const char *name;
    enum piece piece;
    const char *text, *effect;      /* a line of what is printed */
} good_rows[] = {
    { "an interval with a unit", CHECK, "interval = \"6s\";", "interval = \"6s\";" },
    { "an interval as a number of seconds", CHECK, "interval = 6;", "interval = \"6s\";" },
    { "an interval as a fraction of seconds", CHECK, "interval = 0.1; timeout = \"90ms\";", "interval = \"100ms\";" },
    { "an interval as a fraction without a leading digit", CHECK, "interval = .5; timeout = 0.4;", "interval = \"500ms\";" },
    { "an interval of a tenth of a minute", CHECK, "interval = \"0.1m\";", "interval = \"6s\";" },
    { "an interval at the range's end", CHECK, "interval = \"300s\";", "interval = \"5m\";" },
    { "a timeout at the range's start", CHECK, "timeout = \"10ms\";", "timeout = \"10ms\";" },
    { "a timeout just below the interval", CHECK, "interval = \"100ms\"; timeout = \"99ms\";", "timeout = \"99ms\";" },
    { "the target's default is the first instance port", CHECK, "", "target = \"HTTP:8080/index.html\";" },
    { "a target's protocol in small letters", CHECK, "target = \"http:80/Path?q=1\";", "target = \"HTTP:80/Path?q=1\";" },
    { "a TCP target", CHECK, "target = \"TCP:22\";", "target = \"TCP:22\";" },
    { "the checks' defaults are the console's", CHECK, "", "healthy_threshold = 10;" },
    { "hexadecimal", PROCESS, "workers = 0x10;", "workers = 16;" },
    { "a plus", PROCESS, "workers = +3;", "workers = 3;" },
    { "a 64-bit integer that is small", PROCESS, "workers = 5L;", "workers = 5;" },
    { "a leading zero is not octal", PROCESS, "workers = 010;", "workers = 10;" },
    { "a size with a unit", ATTRIBUTES, "header_max = \"8K\";", "header_max = \"8K\";" },
    { "a size in small letters", ATTRIBUTES, "header_max = \"8k\";", "header_max = \"8K\";" },
    { "a size in bytes", ATTRIBUTES, "header_max = 8192;", "header_max = \"8K\";" },
    { "a size that is no whole unit", ATTRIBUTES, "header_max = 8193;", "header_max = \"8193\";" },
    { "a size in bytes as a text", ATTRIBUTES, "header_max = \"8193\";", "header_max = \"8193\";" },
    { "a megabyte", ATTRIBUTES, "headers_max = \"1M\";", "headers_max = \"1M\";" },
    { "an idle back connection lives as long as an idle front one", ATTRIBUTES, "idle_timeout = \"7s\";", "backend_idle_timeout = \"7s\";" },
    { "unless it is said", ATTRIBUTES, "idle_timeout = \"7s\"; backend_idle_timeout = \"3s\";", "backend_idle_timeout = \"3s\";" },
    { "no retry", ATTRIBUTES, "retries = 0;", "retries = 0;" },
    { "a socket path as long as possible", PROCESS, "admin_socket = \"" LINE107 "\";", "admin_socket = \"" LINE107 "\";" },
    { "a quote and a backslash in a path", PROCESS, "state_dir = \"/a\\\"b\\\\c\";", "state_dir = \"/a\\\"b\\\\c\";" },
    { "text in two pieces", PROCESS, "state_dir = \"/a\" \"/b\";", "state_dir = \"/a/b\";" },
    { "a name of 32 characters", GROUP, "name = \"" LINE32 "\";", "name = \"" LINE32 "\";" },
    { "a name of one", GROUP, "name = \"x\";", "name = \"x\";" },
    { "the instance protocol's default is plain TCP for TCP", LISTENER, TCP81, "instance_protocol = \"TCP\";" },
    { "a protocol in small letters", LISTENER, "protocol = \"tcp\"; port = 81; instance_port = 1;", "protocol = \"TCP\";" },
    { "a list in round brackets", REGISTERED, "instances = ( \"b\" );", "instances = [ \"b\" ];" },
    { "an alias is resolved", REGISTERED, "instances = [ \"i-b\", \"a\" ];", "instances = [ \"b\", \"a\" ];" },
    { "nobody is registered", REGISTERED, "", "instances = [ ];" },
    { "internal with private nodes", BALANCER, "name = \"lb\"; scheme = \"internal\";", "scheme = \"internal\";" },
    { "an IPv6 node", SUBNET, "id = \"s2\"; cidr = \"fd00::/64\"; address = \"fd00:0::1\";", "address = \"fd00::1\";" },
    { "two subnets without a zone", MORE, ", { name = \"x\"; subnets = ( { id = \"1\"; cidr = \"10.3.0.0/16\"; address = \"10.3.0.1\"; }, { id = \"2\"; "
      "cidr = \"10.4.0.0/16\"; address = \"10.4.0.1\"; } ); listeners = ( { " TCP81 " } ); }", "name = \"x\";" },
    { "a second balancer at the same address, another port", MORE, LB2("10.0.0.10", "82"), "name = \"lb2\";" },
    { "a second balancer at the same port, another address", MORE, LB2("10.0.0.11", "80"), "name = \"lb2\";" },
    { "a source that is an address alone", GROUP, "name = \"h\"; ingress = ( { port = 80; source = \"10.1.2.3\"; } );", "source = \"10.1.2.3/32\";" },
    { "a group that names itself", GROUP, "name = \"h\"; ingress = ( { port = 80; source = \"h\"; } );", "source = \"h\";" },
    { "neutral values of what a later version brings", ATTRIBUTES,
      "access_log = { enabled = false; path = \"/var/log/a\"; format = \"json\"; }; desync_mitigation_mode = \"defensive\"; algorithm = \"default\"; slow_start = 0; error_responses = ( ); upgrade = [ ];",
      "slow_start = \"0s\";" },
    { "neutral values of a listener", LISTENER, TCP81 "policies = [ ]; proxy_protocol_from = ( );", "policies = [ ];" },
    { "neutral values of a balancer", BALANCER, "name = \"lb\"; policies = ( ); backend_servers = [ ];", "backend_servers = ( );" },
    { "neutral values of an instance", INSTANCE, ID ADDRESS "aliases = [ \"i-b\" ]; weight = 1; max_connections = 0;", "weight = 1;" },
    { "neutral values of the process", PROCESS, "admin_http = \"\"; log_format = \"text\";", "log_format = \"text\";" },
};

static void assert_good(parse_fn *how, const struct good_row *row)
{
    char *text = text_with(row->piece, row->text), *out, *again;
    struct config *config = parse_with(how, text);
    out = printed(config);
    if (strstr(out, row->effect) == NULL)
        fail_msg("no %s in\n%s", row->effect, out);
    config_free(&config);
    config = parse_with(how, out);
    again = printed(config);
    assert_string_equal(out, again);
    config_free(&config);
    free(again);
    free(out);
    free(text);
}

static void test_good(void **state)
{
    assert_good(config_parse, *state);
}

static void test_good_ahead(void **state)
{
    assert_good(parse_ahead, *state);
}

/* ---- settings that can be read ahead of what they ask for ---- */

#define A_STATUS "400, 405, 408, 502, 503 or 504"
#define A_SET "websocket (never h2c: its requests would pass unseen)"

/* The second listener, and what follows the listeners on its line. */
#define HTTP81 "protocol = \"HTTP\"; port = 81; instance_port = 8081; "
#define POLICIES(listener, policies) listener " } ); policies = ( { " policies
#define SERVERS(listener, policies, servers) POLICIES(listener, policies) " } ); backend_servers = ( { " servers
#define NAMES(names) "policies = [ " names " ]; "
#define LB_COOKIE(name) "name = \"" name "\"; type = \"LBCookieStickinessPolicyType\"; "
#define APP_COOKIE(name) "name = \"" name "\"; type = \"AppCookieStickinessPolicyType\"; "
#define PROXY(name) "name = \"" name "\"; type = \"ProxyProtocolPolicyType\"; "
#define AND " }, { "
#define A_POLICY "the name of a policy of the balancer"
#define A_TOKEN "a token of 1 to 256 letters, digits and !#$%&'*+-.^_`|~"
#define SUPPORTED_TYPES "LBCookieStickinessPolicyType, AppCookieStickinessPolicyType or ProxyProtocolPolicyType"
#define OTHER_TYPE ": found a setting of another type, expected it to be left out of a policy of type "

static const struct bad_row ahead_bad_rows[] = {
    { "PROXY headers from a group that is none", LISTENER, TCP81 "proxy_protocol_from = [ \"10.0.0.0/8\",\n \"secg\" ];",
      "t:12: proxy_protocol_from: found \"secg\", expected the name of a security group" },
    { "PROXY headers from a misspelt group", WHOLE, "security_groups = ( { name = \"secg-lb\"; } );\nload_balancers = ( { name = \"l\"; subnets = ( { id = \"s\"; "
      "cidr = \"10.0.0.0/24\"; address = \"10.0.0.9\"; } ); listeners = ( { " TCP81 "proxy_protocol_from = [ \"secg-bl\" ]; } ); } );",
      "t:2: proxy_protocol_from: found \"secg-bl\", expected the name of a security group; did you mean \"secg-lb\"?" },
    { "PROXY headers from what is neither CIDR nor group", LISTENER, TCP81 "proxy_protocol_from = [ \"10.0.0.0.0\" ];",
      "t:11: proxy_protocol_from: found \"10.0.0.0.0\", expected a CIDR such as 10.0.0.0/24 or the name of a security group" },
    { "PROXY headers from a CIDR with host bits", LISTENER, TCP81 "proxy_protocol_from = [ \"10.0.0.1/8\" ];",
      "t:11: proxy_protocol_from: found \"10.0.0.1/8\", expected a CIDR without host bits, such as 10.0.0.0/24" },
    { "PROXY headers from a number", LISTENER, TCP81 "proxy_protocol_from = [ 10 ];",
      "t:11: proxy_protocol_from: found 10, expected a CIDR such as 10.0.0.0/24 or the name of a security group" },
    { "PROXY headers from a text", LISTENER, TCP81 "proxy_protocol_from = \"10.0.0.0/8\";",
      "t:11: proxy_protocol_from: found \"10.0.0.0/8\", expected a list of CIDRs and names of security groups [ \"...\", ... ]" },
    { "PROXY headers from one CIDR twice", LISTENER, TCP81 "proxy_protocol_from = [ \"10.0.0.1\", \"10.0.0.1/32\" ];",
      "t:11: proxy_protocol_from: found \"10.0.0.1/32\", which t:11 has already, expected another" },
    { "PROXY headers from one group twice", LISTENER, TCP81 "proxy_protocol_from = [ \"g\", \"g\" ];",
      "t:11: proxy_protocol_from: found \"g\", which t:11 has already, expected another" },
    { "a policy without anything", LISTENER, POLICIES(HTTP81, ""), "t:11: name: found nothing, expected " A_NAME "\nt:11: type: found nothing, expected " SUPPORTED_TYPES },
    { "an unknown type of policy", LISTENER, POLICIES(HTTP81, "name = \"p\"; type = \"Sticky\";"), "t:11: type: found \"Sticky\", expected " SUPPORTED_TYPES },
    { "a policy of an unknown type causes no further errors", LISTENER,
      POLICIES(HTTP81 NAMES("\"p\""), "name = \"p\"; type = \"Sticky\"; version = 9; cookie_name = \"\";"), "t:11: type: found \"Sticky\", expected " SUPPORTED_TYPES },
    { "a type that is no text", LISTENER, POLICIES(HTTP81, "name = \"p\"; type = 1;"), "t:11: type: found 1, expected " SUPPORTED_TYPES },
    { "a policy of TLS", LISTENER, POLICIES(HTTP81, "name = \"p\"; type = \"SSLNegotiationPolicyType\"; protocols = [ \"TLSv1.2\" ];"),
      "t:11: type: found \"SSLNegotiationPolicyType\"" NOT_YET SUPPORTED_TYPES "\nt:11: protocols" LEFT_OUT },
    { "a listener's policy of TLS says it once", LISTENER, POLICIES(HTTP81 NAMES("\"p\""), "name = \"p\"; type = \"SSLNegotiationPolicyType\";"),
      "t:11: type: found \"SSLNegotiationPolicyType\"" NOT_YET SUPPORTED_TYPES },
    { "a public key", LISTENER, POLICIES(HTTP81, "name = \"p\"; type = \"PublicKeyPolicyType\"; public_key_file = \"/k\";"),
      "t:11: type: found \"PublicKeyPolicyType\"" NOT_YET SUPPORTED_TYPES "\nt:11: public_key_file" LEFT_OUT },
    { "instances that prove themselves", LISTENER, POLICIES(HTTP81, "name = \"p\"; type = \"BackendServerAuthenticationPolicyType\"; ca_file = \"/c\"; server_name = \"x\";"),
      "t:11: type: found \"BackendServerAuthenticationPolicyType\"" NOT_YET SUPPORTED_TYPES "\nt:11: ca_file" LEFT_OUT "\nt:11: server_name" LEFT_OUT },
    { "two policies of one name", LISTENER, POLICIES(HTTP81, LB_COOKIE("p") AND "\n" PROXY("p")), "t:12: name: found \"p\", which t:11 has already, expected another" },
    { "a policy's name that is none", LISTENER, POLICIES(HTTP81, LB_COOKIE("p_1")), "t:11: name: found \"p_1\", expected " A_NAME },
    { "an unknown setting of a policy", LISTENER, POLICIES(HTTP81, LB_COOKIE("p") "cookie_expiry = 1;"), "t:11: found unknown setting \"cookie_expiry\", expected a setting of load_balancers.policies" },
    { "part of a second", LISTENER, POLICIES(HTTP81, LB_COOKIE("p") "cookie_expiration_period = 1.5;"), "t:11: cookie_expiration_period: found \"1500ms\", expected whole seconds" },
    { "a negative period", LISTENER, POLICIES(HTTP81, LB_COOKIE("p") "cookie_expiration_period = -1;"), "t:11: cookie_expiration_period: found -1, expected a duration of 0s to 2400h" },
    { "a period above a hundred days", LISTENER, POLICIES(HTTP81, LB_COOKIE("p") "cookie_expiration_period = 8640001;"),
      "t:11: cookie_expiration_period: found 8640001, expected a duration of 0s to 2400h" },
    { "a period that is a truth", LISTENER, POLICIES(HTTP81, LB_COOKIE("p") "cookie_expiration_period = true;"),
      "t:11: cookie_expiration_period: found true, expected a duration of 0s to 2400h" },
    { "an LB cookie has no name of its own", LISTENER, POLICIES(HTTP81, LB_COOKIE("p") "cookie_name = \"c\";"), "t:11: cookie_name" OTHER_TYPE "LBCookieStickinessPolicyType" },
    { "an LB cookie has no version", LISTENER, POLICIES(HTTP81, LB_COOKIE("p") "version = 1;"), "t:11: version" OTHER_TYPE "LBCookieStickinessPolicyType" },
    { "an application cookie has no period", LISTENER, POLICIES(HTTP81, APP_COOKIE("p") "cookie_name = \"c\"; cookie_expiration_period = 1;"),
      "t:11: cookie_expiration_period" OTHER_TYPE "AppCookieStickinessPolicyType" },
    { "a PROXY header has no cookie", LISTENER, POLICIES(HTTP81, "cookie_name = \"c\"; " PROXY("p")), "t:11: cookie_name" OTHER_TYPE "ProxyProtocolPolicyType" },
    { "an application cookie without a name", LISTENER, POLICIES(HTTP81, APP_COOKIE("p")), "t:11: cookie_name: found nothing, expected " A_TOKEN },
    { "an application cookie with an empty name", LISTENER, POLICIES(HTTP81, APP_COOKIE("p") "cookie_name = \"\";"), "t:11: cookie_name: found \"\", expected " A_TOKEN },
    { "a cookie's name with a space", LISTENER, POLICIES(HTTP81, APP_COOKIE("p") "cookie_name = \"a b\";"), "t:11: cookie_name: found \"a b\", expected " A_TOKEN },
    { "a cookie's name with an equals sign", LISTENER, POLICIES(HTTP81, APP_COOKIE("p") "cookie_name = \"a=b\";"), "t:11: cookie_name: found \"a=b\", expected " A_TOKEN },
    { "a cookie's name with a semicolon", LISTENER, POLICIES(HTTP81, APP_COOKIE("p") "cookie_name = \"a;\";"), "t:11: cookie_name: found \"a;\", expected " A_TOKEN },
    { "a cookie's name with a line end", LISTENER, POLICIES(HTTP81, APP_COOKIE("p") "cookie_name = \"a\\r\\n\";"), "t:11: cookie_name: found \"a\\x0d\\x0a\", expected " A_TOKEN },
    { "a cookie's name beyond ASCII", LISTENER, POLICIES(HTTP81, APP_COOKIE("p") "cookie_name = \"\xc3\xa4\";"), "t:11: cookie_name: found \"\xc3\xa4\", expected " A_TOKEN },
    { "a cookie's name of 257 characters", LISTENER,
      POLICIES(HTTP81, APP_COOKIE("p") "cookie_name = \"" LINE32 LINE32 LINE32 LINE32 LINE32 LINE32 LINE32 LINE32 "6\";"),
      "t:11: cookie_name: found \"" LINE32 LINE32 "abcdefghijklmno...\", expected " A_TOKEN },
    { "the balancer's own cookie", LISTENER, POLICIES(HTTP81, APP_COOKIE("p") "cookie_name = \"AWSELB\";"),
      "t:11: cookie_name: found \"AWSELB\", expected another, as the balancer's own has it" },
    { "version 0 of the PROXY protocol", LISTENER, POLICIES(HTTP81, PROXY("p") "version = 0;"), "t:11: version: found 0, expected an integer of 1 to 2" },
    { "version 3 of the PROXY protocol", LISTENER, POLICIES(HTTP81, PROXY("p") "version = 3;"), "t:11: version: found 3, expected an integer of 1 to 2" },
    { "a PROXY header or not", LISTENER, POLICIES(HTTP81, PROXY("p") "proxy_protocol = 1;"), "t:11: proxy_protocol: found 1, expected true or false" },
    { "a listener's policy that is none", LISTENER, POLICIES(HTTP81 NAMES("\"q\""), LB_COOKIE("sticky")), "t:11: policies: found \"q\", expected " A_POLICY },
    { "a misspelt policy", LISTENER, POLICIES(HTTP81 NAMES("\"stikcy\""), LB_COOKIE("sticky")),
      "t:11: policies: found \"stikcy\", expected " A_POLICY "; did you mean \"sticky\"?" },
    { "a policy of another balancer", MORE, ", { name = \"x\"; subnets = ( { id = \"s\"; cidr = \"10.3.0.0/16\"; address = \"10.3.0.1\"; } ); listeners = ( { " HTTP81
      " } ); policies = ( { " LB_COOKIE("p") " } ); },\n { name = \"y\"; subnets = ( { id = \"s\"; cidr = \"10.4.0.0/16\"; address = \"10.4.0.1\"; } ); listeners = ( { " HTTP81
      NAMES("\"p\"") " } ); }", "t:16: policies: found \"p\", expected " A_POLICY },
    { "a listener's policy twice", LISTENER, POLICIES(HTTP81 NAMES("\"p\", \"p\""), LB_COOKIE("p")), "t:11: policies: found \"p\", which t:11 has already, expected another" },
    { "two policies of stickiness", LISTENER, POLICIES(HTTP81 NAMES("\"p\",\n \"q\""), LB_COOKIE("p") AND APP_COOKIE("q") "cookie_name = \"c\";"),
      "t:12: policies: found \"q\" beside \"p\", expected one of stickiness alone" },
    { "two LB cookies", LISTENER, POLICIES(HTTP81 NAMES("\"p\", \"q\""), LB_COOKIE("p") AND LB_COOKIE("q")),
      "t:11: policies: found \"q\" beside \"p\", expected one of stickiness alone" },
    { "a listener sends no PROXY header", LISTENER, POLICIES(HTTP81 NAMES("\"p\""), PROXY("p")),
      "t:11: policies: found \"p\" of type ProxyProtocolPolicyType, expected one of stickiness" },
    { "stickiness of TCP", LISTENER, POLICIES(TCP81 NAMES("\"p\""), LB_COOKIE("p")), "t:11: policies: found \"p\", expected none, as the protocol is TCP" },
    { "any policy of TCP", LISTENER, POLICIES(TCP81 NAMES("\"p\", \"q\""), PROXY("p")), "t:11: policies: found \"p\", expected none, as the protocol is TCP" },
    { "a number among a listener's policies", LISTENER, HTTP81 "policies = ( 1 );", "t:11: policies: found 1, expected " A_NAME },
    { "an instance port of no listener", LISTENER, SERVERS(TCP81, PROXY("p"), "instance_port = 81; " NAMES("\"p\"")),
      "t:11: instance_port: found 81, expected the instance port of a listener" },
    { "backend servers without a port", LISTENER, SERVERS(TCP81, PROXY("p"), NAMES("\"p\"")), "t:11: instance_port: found nothing, expected an integer of 1 to 65535" },
    { "backend servers of port 65536", LISTENER, SERVERS(TCP81, PROXY("p"), "instance_port = 65536; " NAMES("\"p\"")),
      "t:11: instance_port: found 65536, expected an integer of 1 to 65535" },
    { "one instance port twice", LISTENER, SERVERS(TCP81, PROXY("p"), "instance_port = 8081; " NAMES("\"p\"") AND "\ninstance_port = 8081;"),
      "t:12: instance_port: found 8081, which t:11 has already, expected another" },
    { "a port's policy that is none", LISTENER, SERVERS(TCP81, PROXY("proxy"), "instance_port = 8081; " NAMES("\"poxy\"")),
      "t:11: policies: found \"poxy\", expected " A_POLICY "; did you mean \"proxy\"?" },
    { "a port's policy twice", LISTENER, SERVERS(TCP81, PROXY("p"), "instance_port = 8081; " NAMES("\"p\", \"p\"")),
      "t:11: policies: found \"p\", which t:11 has already, expected another" },
    { "two PROXY headers", LISTENER, SERVERS(TCP81, PROXY("p") AND PROXY("q") "version = 2;", "instance_port = 8081; " NAMES("\"p\", \"q\"")),
      "t:11: policies: found \"q\" beside \"p\", expected one of type ProxyProtocolPolicyType alone" },
    { "stickiness of an instance port", LISTENER, SERVERS(TCP81, LB_COOKIE("p"), "instance_port = 8081; " NAMES("\"p\"")),
      "t:11: policies: found \"p\" of type LBCookieStickinessPolicyType, expected one of type ProxyProtocolPolicyType" },
    { "an unknown setting of backend servers", LISTENER, SERVERS(TCP81, PROXY("p"), "instance_port = 8081; port = 1;"),
      "t:11: found unknown setting \"port\", expected a setting of load_balancers.backend_servers" },
    { "what is not staged stays refused", PROCESS, "log_format = \"json\";", "t:1: log_format: found \"json\"" NOT_YET "\"text\"" },
    { "a weight above 256", INSTANCE, ID ADDRESS "weight = 257;", "t:3: weight: found 257, expected an integer of 0 to 256" },
    { "a negative weight", INSTANCE, ID ADDRESS "weight = -1;", "t:3: weight: found -1, expected an integer of 0 to 256" },
    { "a weight in quotes", INSTANCE, ID ADDRESS "weight = \"2\";", "t:3: weight: found \"2\", expected an integer of 0 to 256" },
    { "a limit above a million", INSTANCE, ID ADDRESS "max_connections = 1000001;", "t:3: max_connections: found 1000001, expected an integer of 0 to 1000000" },
    { "a limit that would wrap", INSTANCE, ID ADDRESS "max_connections = 4294967296;",
      "t:3: max_connections: found 4294967296, expected an integer of 0 to 1000000" },
    { "an unknown algorithm", ATTRIBUTES, "algorithm = \"leastconn\";",
      "t:14: algorithm: found \"leastconn\", expected default, least-outstanding, round-robin, random-two or source-hash" },
    { "an algorithm with an underscore", ATTRIBUTES, "algorithm = \"round_robin\";",
      "t:14: algorithm: found \"round_robin\", expected default, least-outstanding, round-robin, random-two or source-hash" },
    { "a slow start above a quarter of an hour", ATTRIBUTES, "slow_start = \"901s\";", "t:14: slow_start: found \"901s\", expected a duration of 0s to 15m" },
    { "a negative slow start", ATTRIBUTES, "slow_start = -1;", "t:14: slow_start: found -1, expected a duration of 0s to 15m" },
    { "a desync mode that never was", ATTRIBUTES, "desync_mitigation_mode = \"off\";",
      "t:14: desync_mitigation_mode: found \"off\", expected monitor, defensive or strictest" },
    { "h2c is refused in plain words", ATTRIBUTES, "upgrade = [ \"h2c\" ];", "t:14: upgrade: found \"h2c\", expected " A_SET },
    { "h2c beside websocket", ATTRIBUTES, "upgrade = [ \"websocket\",\n \"h2c\" ];", "t:15: upgrade: found \"h2c\", expected " A_SET },
    { "an unknown upgrade", ATTRIBUTES, "upgrade = [ \"\" ];", "t:14: upgrade: found \"\", expected " A_SET },
    { "an upgrade that is no list", ATTRIBUTES, "upgrade = \"websocket\";", "t:14: upgrade: found \"websocket\", expected a list of websocket" },
    { "an upgrade that is no text", ATTRIBUTES, "upgrade = [ 1 ];", "t:14: upgrade: found 1, expected " A_SET },
    { "an access log without a path", ATTRIBUTES, "access_log = { enabled = true; };",
      "t:14: path: found \"\" by default, expected an absolute path, as the log is enabled" },
    { "an access log with an empty path", ATTRIBUTES, "access_log = { enabled = true;\n path = \"\"; };",
      "t:15: path: found \"\", expected an absolute path, as the log is enabled" },
    { "an access log with a relative path", ATTRIBUTES, "access_log = { enabled = true; path = \"log/a\"; };",
      "t:14: path: found \"log/a\", expected an absolute path, as the log is enabled" },
    { "a relative path of an access log that is off", ATTRIBUTES, "access_log = { path = \"a\"; };", "t:14: path: found \"a\", expected an absolute path" },
    { "a path that is no text says no more", ATTRIBUTES, "access_log = { enabled = true; path = 1; };",
      "t:14: path: found 1, expected 0 to 1024 characters of printable ASCII" },
    { "an unknown format of the access log", ATTRIBUTES, "access_log = { enabled = true; path = \"/a\"; format = \"clf\"; };",
      "t:14: format: found \"clf\", expected elb or json" },
    { "an access log that is a truth", ATTRIBUTES, "access_log = true;", "t:14: access_log: found true, expected a group { ... }" },
    { "an own answer without anything", ATTRIBUTES, "error_responses = ( { } );",
      "t:14: status: found nothing, expected " A_STATUS "\nt:14: file: found nothing, expected 1 to 1024 characters of printable ASCII" },
    { "a status that halb never answers itself", ATTRIBUTES, "error_responses = ( { status = 404; file = \"/dev/null/x\"; } );",
      "t:14: status: found 404, expected " A_STATUS "\nt:14: file: found no readable file /dev/null/x (Not a directory), expected the body of an answer" },
    { "a status in quotes", ATTRIBUTES, "error_responses = ( { status = \"503\"; file = 1; } );",
      "t:14: status: found \"503\", expected " A_STATUS "\nt:14: file: found 1, expected 1 to 1024 characters of printable ASCII" },
    { "a status that would wrap", ATTRIBUTES, "error_responses = ( { status = 4294967799; file = \"\"; } );",
      "t:14: status: found 4294967799, expected " A_STATUS "\nt:14: file: found \"\", expected 1 to 1024 characters of printable ASCII" },
    { "an own answer's body of a text is absolute", ATTRIBUTES, "error_responses = ( { status = 503; file = \"e\"; } );",
      "t:14: file: found \"e\", expected an absolute path" },
    { "an unknown setting of an own answer", ATTRIBUTES, "error_responses = ( { status = 503; file = 1; code = 1; } );",
      "t:14: file: found 1, expected 1 to 1024 characters of printable ASCII\n"
      "t:14: found unknown setting \"code\", expected a setting of load_balancers.attributes.error_responses" },
    { "own answers that are no list", ATTRIBUTES, "error_responses = \"/a\";", "t:14: error_responses: found \"/a\", expected a list of groups ( { ... }, ... )" },
    { "a key file of a text is absolute", PROCESS, "cookie_key_file = \"key\";", "t:1: cookie_key_file: found \"key\", expected an absolute path" },
    { "a key file that is not there", PROCESS, "cookie_key_file = \"/nowhere/key\";",
      "t:1: cookie_key_file: found no file /nowhere/key (No such file or directory), expected a secret" },
    { "a key file that is a folder", PROCESS, "cookie_key_file = \"/tmp\";", "t:1: cookie_key_file: found /tmp, expected a regular file" },
    { "a key file that is a device", PROCESS, "cookie_key_file = \"/dev/zero\";", "t:1: cookie_key_file: found /dev/zero, expected a regular file" },
};

static const struct good_row ahead_good_rows[] = {
    { "PROXY headers from an address alone", LISTENER, TCP81 "proxy_protocol_from = [ \"10.1.2.3\" ];", "proxy_protocol_from = [ \"10.1.2.3/32\" ];" },
    { "PROXY headers from a group", LISTENER, TCP81 "proxy_protocol_from = ( \"g\", \"fd00::/8\" );", "proxy_protocol_from = [ \"g\", \"fd00::/8\" ];" },
    { "PROXY headers to an HTTP listener", LISTENER, HTTP81 "proxy_protocol_from = [ \"h\" ];", "proxy_protocol_from = [ \"h\" ];" },
    { "an LB cookie for as long as the browser runs", LISTENER, POLICIES(HTTP81 NAMES("\"p\""), LB_COOKIE("p")), "cookie_expiration_period = \"0s\";" },
    { "an LB cookie's period in seconds", LISTENER, POLICIES(HTTP81 NAMES("\"p\""), LB_COOKIE("p") "cookie_expiration_period = 900;"), "cookie_expiration_period = \"15m\";" },
    { "an LB cookie's period with a unit", LISTENER, POLICIES(HTTP81, LB_COOKIE("p") "cookie_expiration_period = \"2400h\";"), "cookie_expiration_period = \"2400h\";" },
    { "an application cookie of all characters of a token", LISTENER, POLICIES(HTTP81 NAMES("\"p\""), APP_COOKIE("p") "cookie_name = \"!#$%&'*+-.^_`|~09azAZ\";"),
      "cookie_name = \"!#$%&'*+-.^_`|~09azAZ\";" },
    { "a type in small letters", LISTENER, POLICIES(HTTP81, "name = \"p\"; type = \"proxyprotocolpolicytype\";"), "type = \"ProxyProtocolPolicyType\";" },
    { "settings before the type", LISTENER, POLICIES(HTTP81, "version = 2; " PROXY("p")), "version = 2;" },
    { "no PROXY header after all", LISTENER, SERVERS(TCP81, PROXY("p") "proxy_protocol = false;", "instance_port = 8081; " NAMES("\"p\"")), "proxy_protocol = false;" },
    { "one policy for two listeners", LISTENER, POLICIES(HTTP81 NAMES("\"p\"") AND "protocol = \"HTTP\"; port = 82; instance_port = 1; " NAMES("\"p\""), LB_COOKIE("p")), "policies = [ \"p\" ];" },
    { "a policy that nothing names", LISTENER, POLICIES(TCP81, LB_COOKIE("p")), "name = \"p\";" },
    { "a PROXY header to HTTP instances", LISTENER, SERVERS(TCP81, PROXY("p"), "instance_port = 8080; " NAMES("\"p\"")), "instance_port = 8080;" },
    { "an instance port without policies", LISTENER, SERVERS(TCP81, PROXY("p"), "instance_port = 8081;"), "backend_servers = (" },
    { "no new work for an instance", INSTANCE, ID ADDRESS "weight = 0;", "weight = 0;" },
    { "the largest weight", INSTANCE, ID ADDRESS "weight = 256;", "weight = 256;" },
    { "the weight is 1 by default", INSTANCE, ID ADDRESS, "weight = 1;" },
    { "the largest limit", INSTANCE, ID ADDRESS "max_connections = 1000000;", "max_connections = 1000000;" },
    { "least outstanding requests", ATTRIBUTES, "algorithm = \"least-outstanding\";", "algorithm = \"least-outstanding\";" },
    { "round robin", ATTRIBUTES, "algorithm = \"Round-Robin\";", "algorithm = \"round-robin\";" },
    { "the better of two", ATTRIBUTES, "algorithm = \"random-two\";", "algorithm = \"random-two\";" },
    { "by the client's address", ATTRIBUTES, "algorithm = \"source-hash\";", "algorithm = \"source-hash\";" },
    { "by protocol", ATTRIBUTES, "", "algorithm = \"default\";" },
    { "the longest slow start", ATTRIBUTES, "slow_start = \"15m\";", "slow_start = \"15m\";" },
    { "a slow start in seconds", ATTRIBUTES, "slow_start = 30;", "slow_start = \"30s\";" },
    { "the mode that only counts", ATTRIBUTES, "desync_mitigation_mode = \"monitor\";", "desync_mitigation_mode = \"monitor\";" },
    { "the strictest mode", ATTRIBUTES, "desync_mitigation_mode = \"strictest\";", "desync_mitigation_mode = \"strictest\";" },
    { "an upgrade", ATTRIBUTES, "upgrade = ( \"WebSocket\" );", "upgrade = [ \"websocket\" ];" },
    { "an upgrade twice is one", ATTRIBUTES, "upgrade = [ \"websocket\", \"websocket\" ];", "upgrade = [ \"websocket\" ];" },
    { "no upgrade", ATTRIBUTES, "upgrade = [ ];", "upgrade = [ ];" },
    { "an access log in ELB's format", ATTRIBUTES, "access_log = { enabled = true; path = \"/var/log/a\"; };", "path = \"/var/log/a\";" },
    { "an access log in JSON", ATTRIBUTES, "access_log = { enabled = true; path = \"/a\"; format = \"json\"; };", "format = \"json\";" },
    { "a path of an access log that is off is kept", ATTRIBUTES, "access_log = { path = \"/a\"; };", "path = \"/a\";" },
};

/* A set's fallback reads as the same set in a file. */
static void test_set_fallback(void **state)
{
    const struct row row = { .name = "s", .kind = KIND_SET, .choices = (const char *const[]){ "a", "ab", "b", NULL } };
    (void)state;
    assert_int_equal(set_from_text(&row, "[ ]"), 0);
    assert_int_equal(set_from_text(&row, "[ \"a\" ]"), 1);
    assert_int_equal(set_from_text(&row, "[ \"ab\" ]"), 2);
    assert_int_equal(set_from_text(&row, "[ \"a\", \"b\" ]"), 5);
}

/* Every supported setting away from its default. */
#define MAXIMAL                                                                                                          \
    "process = { workers = 3; admin_socket = \"/tmp/s\"; user = \"u\"; log_level = \"debug\"; state_dir = \"/tmp\";\n" \
    "  shutdown_timeout = \"1500ms\"; max_connections = 77; };\n"                                                       \
    "instances = ( { id = \"a\"; address = \"10.0.0.1\"; zone = \"z1\"; security_groups = [ \"g\", \"h\" ]; aliases = [ \"i-1\", \"i-2\" ]; },\n" \
    "  { id = \"b\"; address = \"fd00::2\"; } );\n"                                                                     \
    "security_groups = ( { name = \"g\"; ingress = ( { port = 80; source = \"h\"; }, { port = 81; source = \"10.0.0.0/8\"; } );\n" \
    "  members = [ \"10.1.0.0/16\", \"fd00::/8\" ]; }, { name = \"h\"; } );\n"                                          \
    "load_balancers = ( { name = \"lb\"; scheme = \"internal\";\n"                                                      \
    "  subnets = ( { id = \"s\"; cidr = \"10.0.0.0/24\"; zone = \"z1\"; address = \"10.0.0.10\"; } );\n"                \
    "  listeners = ( { protocol = \"HTTP\"; port = 80; instance_protocol = \"HTTP\"; instance_port = 8080; },\n"        \
    "    { protocol = \"TCP\"; port = 81; instance_protocol = \"TCP\"; instance_port = 8081; } );\n"                    \
    "  security_groups = [ \"g\" ]; instances = [ \"i-2\", \"b\" ];\n"                                                  \
    "  health_check = { target = \"HTTP:1/x?y=%20\"; interval = \"100ms\"; timeout = \"90ms\"; unhealthy_threshold = 3; healthy_threshold = 4; };\n" \
    "  attributes = { cross_zone = false; idle_timeout = \"11s\"; connect_timeout = \"12ms\"; request_header_timeout = \"13s\";\n" \
    "    request_body_timeout = \"14s\"; tunnel_timeout = \"15m\"; connection_draining = { enabled = false; timeout = \"16s\"; };\n" \
    "    surge_queue = 17; retries = 18; fail_open = true; trusted_proxies = [ \"10.2.0.0/16\" ];\n"                    \
    "    backend_idle_timeout = \"19s\"; backend_idle_max = 20; request_line_max = \"21K\"; header_max = \"22K\";\n"    \
    "    headers_max = \"23K\"; header_count_max = 24; response_headers_max = \"25K\"; }; } );\n"

static void check_maximal(const struct config *c)
{
    const struct config_balancer *lb = config_find_balancer(c, "lb");
    const struct config_attributes *at = &lb->attributes;
    char text[ADDR_TEXT_MAX];
    assert_int_equal(c->process.workers, 3);
    assert_string_equal(c->process.admin_socket, "/tmp/s");
    assert_string_equal(c->process.admin_http, "");
    assert_string_equal(c->process.user, "u");
    assert_string_equal(c->process.state_dir, "/tmp");
    assert_int_equal(c->process.log_level, LOG_DEBUG);
    assert_int_equal(c->process.shutdown_timeout_ms, 1500);
    assert_int_equal(c->process.max_connections, 77);
    assert_int_equal(c->instance_count, 2);
    assert_string_equal(c->instances[0].security_groups.items[1], "h");
    assert_string_equal(c->instances[0].aliases.items[1], "i-2");
    assert_string_equal(c->instances[1].zone, "");
    assert_int_equal(c->instances[1].weight, 1);
    assert_int_equal(c->instances[1].max_connections, 0);
    assert_string_equal(addr_format_host(&c->instances[1].address, text), "fd00::2");
    assert_ptr_equal(config_find_instance(c, "i-1"), &c->instances[0]);
    assert_ptr_equal(config_find_instance(c, "b"), &c->instances[1]);
    assert_null(config_find_instance(c, "c"));
    assert_ptr_equal(config_find_group(c, "h"), &c->groups[1]);
    assert_null(config_find_group(c, "i"));
    assert_int_equal(c->groups[0].ingress_count, 2);
    assert_true(c->groups[0].ingress[0].from_group);
    assert_string_equal(c->groups[0].ingress[0].group, "h");
    assert_false(c->groups[0].ingress[1].from_group);
    assert_int_equal(c->groups[0].ingress[1].port, 81);
    assert_string_equal(cidr_format(&c->groups[0].ingress[1].cidr, text), "10.0.0.0/8");
    assert_string_equal(cidr_format(&c->groups[0].members.items[1], text), "fd00::/8");
    assert_null(config_find_balancer(c, "l"));
    assert_int_equal(lb->scheme, SCHEME_INTERNAL);
    assert_string_equal(cidr_format(&lb->subnets[0].cidr, text), "10.0.0.0/24");
    assert_string_equal(addr_format_host(&lb->subnets[0].address, text), "10.0.0.10");
    assert_int_equal(lb->listener_count, 2);
    assert_int_equal(lb->listeners[1].protocol, PROTOCOL_TCP);
    assert_int_equal(lb->listeners[1].instance_protocol, PROTOCOL_TCP);
    assert_int_equal(lb->listeners[1].port, 81);
    assert_int_equal(lb->listeners[1].instance_port, 8081);
    assert_int_equal(lb->instance_count, 2);
    assert_ptr_equal(lb->instances[0], &c->instances[0]);
    assert_ptr_equal(lb->instances[1], &c->instances[1]);
    assert_int_equal(lb->health_check.target.protocol, PROTOCOL_HTTP);
    assert_int_equal(lb->health_check.target.port, 1);
    assert_string_equal(lb->health_check.target.path, "/x?y=%20");
    assert_int_equal(lb->health_check.interval_ms, 100);
    assert_int_equal(lb->health_check.timeout_ms, 90);
    assert_int_equal(lb->health_check.unhealthy_threshold, 3);
    assert_int_equal(lb->health_check.healthy_threshold, 4);
    assert_false(at->cross_zone);
    assert_false(at->draining);
    assert_true(at->fail_open);
    assert_int_equal(at->draining_timeout_ms, 16000);
    assert_int_equal(at->idle_timeout_ms, 11000);
    assert_int_equal(at->connect_timeout_ms, 12);
    assert_int_equal(at->request_header_timeout_ms, 13000);
    assert_int_equal(at->request_body_timeout_ms, 14000);
    assert_int_equal(at->tunnel_timeout_ms, 900000);
    assert_int_equal(at->backend_idle_timeout_ms, 19000);
    assert_int_equal(at->backend_idle_max, 20);
    assert_int_equal(at->surge_queue, 17);
    assert_int_equal(at->retries, 18);
    assert_int_equal(at->request_line_max, 21 * 1024);
    assert_int_equal(at->header_max, 22 * 1024);
    assert_int_equal(at->headers_max, 23 * 1024);
    assert_int_equal(at->header_count_max, 24);
    assert_int_equal(at->response_headers_max, 25 * 1024);
    assert_string_equal(cidr_format(&at->trusted_proxies.items[0], text), "10.2.0.0/16");
}

/* Read, printed and read again, copied: each has every value. */
static void test_maximal(void **state)
{
    struct config *config = parse(MAXIMAL), *copy = NULL;
    const char *which;
    char *out = printed(config), *again;
    (void)state;
    check_maximal(config);
    assert_int_equal(config_with_registered(config, "lb", NULL, 0, &copy, &which), 0);
    config_free(&config);
    assert_null(config);
    check_maximal(copy);
    again = printed(copy);
    assert_string_equal(out, again);
    config_free(&copy);
    config = parse(out);
    check_maximal(config);
    config_free(&config);
    free(again);
    free(out);
}

/* Every staged setting away from its default, but for those that name files. */
#define AHEAD                                                                                                            \
    "instances = ( { id = \"a\"; address = \"10.0.0.1\"; weight = 7; max_connections = 8; } );\n"                        \
    "load_balancers = ( { name = \"lb\"; subnets = ( { id = \"s\"; cidr = \"10.0.0.0/24\"; address = \"10.0.0.10\"; } );\n" \
    "  listeners = ( { protocol = \"HTTP\"; port = 80; instance_port = 8080; policies = [ \"app\" ]; },\n"            \
    "    { protocol = \"HTTP\"; port = 81; instance_port = 8080; policies = [ \"lb\" ]; },\n"                        \
    "    { protocol = \"TCP\"; port = 82; instance_port = 8082; }, { protocol = \"TCP\"; port = 83; instance_port = 8083; } );\n" \
    "  policies = ( { name = \"lb\"; type = \"LBCookieStickinessPolicyType\"; cookie_expiration_period = 60; },\n"   \
    "    { name = \"v2\"; type = \"ProxyProtocolPolicyType\"; version = 2; }, { name = \"v1\"; type = \"ProxyProtocolPolicyType\"; },\n" \
    "    { name = \"off\"; type = \"ProxyProtocolPolicyType\"; proxy_protocol = false; version = 2; },\n"            \
    "    { name = \"app\"; type = \"AppCookieStickinessPolicyType\"; cookie_name = \"SESSION\"; } );\n"             \
    "  backend_servers = ( { instance_port = 8082; policies = [ \"v2\" ]; }, { instance_port = 8080; policies = [ \"v1\" ]; },\n" \
    "    { instance_port = 8083; policies = [ \"off\" ]; } );\n"                                                     \
    "  attributes = { algorithm = \"source-hash\"; slow_start = \"9s\"; desync_mitigation_mode = \"strictest\";\n"      \
    "    upgrade = [ \"websocket\" ]; access_log = { enabled = true; path = \"/a\"; format = \"json\"; }; }; } );\n"

static void check_ahead(const struct config *c)
{
    const struct config_balancer *lb = &c->balancers[0];
    const struct config_attributes *at = &lb->attributes;
    assert_int_equal(c->instances[0].weight, 7);
    assert_int_equal(c->instances[0].max_connections, 8);
    assert_int_equal(lb->policy_count, 5);
    assert_ptr_equal(lb->listeners[0].sticky, &lb->policies[4]);
    assert_ptr_equal(lb->listeners[1].sticky, &lb->policies[0]);
    assert_null(lb->listeners[2].sticky);
    assert_int_equal(lb->policies[0].type, POLICY_LB_COOKIE);
    assert_int_equal(lb->policies[0].cookie_expiration_period_ms, 60000);
    assert_null(lb->policies[0].cookie_name);
    assert_int_equal(lb->policies[4].type, POLICY_APP_COOKIE);
    assert_string_equal(lb->policies[4].cookie_name, "SESSION");
    assert_ptr_equal(config_find_policy(lb, "v1"), &lb->policies[2]);
    assert_null(config_find_policy(lb, "v"));
    assert_int_equal(config_proxy_version(lb, 8080), 1);
    assert_int_equal(config_proxy_version(lb, 8082), 2);
    assert_int_equal(config_proxy_version(lb, 8083), 0);
    assert_int_equal(config_proxy_version(lb, 8084), 0);
    assert_int_equal(at->algorithm, ALGORITHM_SOURCE_HASH);
    assert_int_equal(at->slow_start_ms, 9000);
    assert_int_equal(at->desync_mode, DESYNC_STRICTEST);
    assert_int_equal(at->upgrades, UPGRADE_WEBSOCKET);
    assert_true(at->access_log.enabled);
    assert_string_equal(at->access_log.path, "/a");
    assert_int_equal(at->access_log.format, ACCESS_LOG_JSON);
}

/* Of a group: its instances, its nodes, its members, in this order; the group itself admits nobody else. */
static const char PROXY_FROM[] =
    "instances = ( { id = \"a\"; address = \"10.0.0.1\"; security_groups = [ \"h\", \"g\" ]; }, { id = \"b\"; address = \"fd00::2\"; security_groups = [ \"g\" ]; },\n"
    "  { id = \"c\"; address = \"10.0.0.3\"; security_groups = [ \"h\" ]; } );\n"
    "security_groups = ( { name = \"g\"; members = [ \"10.9.0.0/16\" ]; ingress = ( { port = 1; source = \"10.8.0.0/16\"; } ); }, { name = \"h\"; } );\n"
    "load_balancers = ( { name = \"x\"; subnets = ( { id = \"s\"; cidr = \"10.0.0.0/24\"; address = \"10.0.0.10\"; } );\n"
    "    listeners = ( { protocol = \"TCP\"; port = 1; instance_port = 1; proxy_protocol_from = [ \"192.0.2.0/24\", \"g\", \"192.0.2.1\" ]; },\n"
    "      { protocol = \"TCP\"; port = 2; instance_port = 1; } ); },\n"
    "  { name = \"y\"; security_groups = [ \"g\" ]; subnets = ( { id = \"s\"; cidr = \"10.1.0.0/24\"; address = \"10.1.0.10\"; } );\n"
    "    listeners = ( { protocol = \"TCP\"; port = 1; instance_port = 1; } ); } );\n";

static void assert_cidrs(const struct config_cidrs *cidrs, const char *expected)
{
    char all[256] = "", text[ADDR_TEXT_MAX];
    for (size_t i = 0; i < cidrs->count; i++)
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i > 0 ? " " : "", cidr_format(&cidrs->items[i], text));
    assert_string_equal(all, expected);
}

static void check_proxy_from(const struct config *c)
{
    const struct config_listener *listeners = c->balancers[0].listeners;
    assert_cidrs(&listeners[0].proxy_protocol_from, "192.0.2.0/24 10.0.0.1/32 fd00::2/128 10.1.0.10/32 10.9.0.0/16 192.0.2.1/32");
    assert_cidrs(&listeners[1].proxy_protocol_from, "");
}

static void test_proxy_from(void **state)
{
    struct config *config = parse_with(parse_ahead, PROXY_FROM), *copy;
    char *out = printed(config);
    (void)state;
    check_proxy_from(config);
    copy = config_copy(config);
    assert_non_null(copy);
    config_free(&config);
    check_proxy_from(copy);
    config_free(&copy);
    config = parse_with(parse_ahead, out);
    check_proxy_from(config);
    config_free(&config);
    free(out);
}

static void test_ahead(void **state)
{
    struct config *config = parse_with(parse_ahead, AHEAD), *copy;
    char *out = printed(config), *again;
    (void)state;
    check_ahead(config);
    copy = config_copy(config);
    assert_non_null(copy);
    config_free(&config);
    check_ahead(copy);
    again = printed(copy);
    assert_string_equal(out, again);
    config_free(&copy);
    config = parse_with(parse_ahead, out);
    check_ahead(config);
    config_free(&config);
    free(again);
    free(out);
}

static void test_defaults(void **state)
{
    char *text = text_with(PROCESS, "");
    struct config *config = parse(text);
    const struct config_balancer *lb = &config->balancers[0];
    const struct config_attributes *at = &lb->attributes;
    (void)state;
    assert_int_equal(config->process.workers, 0);
    assert_string_equal(config->process.admin_socket, "/run/halb/halb.sock");
    assert_string_equal(config->process.user, "");
    assert_string_equal(config->process.state_dir, "/var/lib/halb");
    assert_int_equal(config->process.log_level, LOG_INFO);
    assert_int_equal(config->process.shutdown_timeout_ms, 30000);
    assert_int_equal(config->process.max_connections, 0);
    assert_int_equal(lb->scheme, SCHEME_INTERNET_FACING);
    assert_string_equal(lb->health_check.target_text, "HTTP:8080/index.html");
    assert_int_equal(lb->health_check.target.port, 8080);
    assert_string_equal(lb->health_check.target.path, "/index.html");
    assert_int_equal(lb->health_check.interval_ms, 30000);
    assert_int_equal(lb->health_check.timeout_ms, 5000);
    assert_int_equal(lb->health_check.unhealthy_threshold, 2);
    assert_int_equal(lb->health_check.healthy_threshold, 10);
    assert_true(at->cross_zone);
    assert_true(at->draining);
    assert_int_equal(at->draining_timeout_ms, 300000);
    assert_false(at->fail_open);
    assert_int_equal(at->idle_timeout_ms, 60000);
    assert_int_equal(at->connect_timeout_ms, 1000);
    assert_int_equal(at->request_header_timeout_ms, 60000);
    assert_int_equal(at->request_body_timeout_ms, 60000);
    assert_int_equal(at->tunnel_timeout_ms, 3600000);
    assert_int_equal(at->backend_idle_timeout_ms, 60000);
    assert_int_equal(at->backend_idle_max, 512);
    assert_int_equal(at->surge_queue, 1024);
    assert_int_equal(at->retries, 3);
    assert_int_equal(at->request_line_max, 16384);
    assert_int_equal(at->header_max, 16384);
    assert_int_equal(at->headers_max, 65536);
    assert_int_equal(at->header_count_max, 100);
    assert_int_equal(at->response_headers_max, 65536);
    assert_int_equal(at->trusted_proxies.count, 0);
    assert_int_equal(at->algorithm, ALGORITHM_DEFAULT);
    assert_int_equal(at->desync_mode, DESYNC_DEFENSIVE);
    assert_int_equal(at->slow_start_ms, 0);
    assert_false(at->access_log.enabled);
    assert_int_equal(at->access_log.format, ACCESS_LOG_ELB);
    assert_int_equal(at->upgrades, UPGRADE_WEBSOCKET);
    config_free(&config);
    free(text);
}

/* No prefix of a good file is read past its end, and each is good or has a first error inside the file. */
static void test_prefixes(void **state)
{
    char *text = strdup(MAXIMAL);
    size_t good_ones = 0;
    (void)state;
    for (size_t len = strlen(text); len-- > 0;) {
        char *prefix = strndup(text, len);
        struct config *config = NULL;
        struct config_errors errors;
        int r = config_parse(prefix, "t", &config, &errors);
        assert_int_equal(r == 0, errors.count == 0);
        assert_int_equal(r == 0, config != NULL);
        good_ones += r == 0;
        if (r != 0)
            assert_int_equal(strncmp(errors.lines[0], "t:", 2), 0);
        config_errors_free(&errors);
        config_free(&config);
        free(prefix);
    }
    assert_int_equal(good_ones, 2);     /* without the last line end; without the last semicolon, which is optional */
    free(text);
}

/* ---- files ---- */

static char folder[] = "/tmp/halb-config-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *to = fopen(path_of(name), "we");
    assert_non_null(to);
    assert_true(fputs(text, to) >= 0);
    assert_int_equal(fclose(to), 0);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL || mkdir(path_of("sub"), 0700) < 0 ? -1 : mkfifo(path_of("pipe"), 0600);
}

static int remove_folder(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

/* What is said about main.conf, with the folder's name cut away. */
static char *load_said(bool ahead)
{
    struct config *config = NULL;
    struct config_errors errors;
    char *ret, *at;
    size_t len;
    int r = ahead ? config_read_ahead(path_of("main.conf"), NULL, &config, &errors) : config_load(path_of("main.conf"), &config, &errors);
    assert_int_equal(r, errors.count > 0 ? -EINVAL : 0);
    ret = joined(&errors);
    len = strlen(folder) + 1;
    while ((at = strstr(ret, folder)) != NULL)
        memmove(at, at + len, strlen(at + len) + 1);
    config_errors_free(&errors);
    config_free(&config);
    return ret;
}

static void assert_said_by(bool ahead, const char *expected)
{
    char *said = load_said(ahead);
    assert_string_equal(said, expected);
    free(said);
}

static void assert_said(const char *expected)
{
    assert_said_by(false, expected);
}

#define BALANCER_A "load_balancers = ( { name = \"l\"; subnets = ( { id = \"s\"; cidr = \"10.0.0.0/24\"; address = \"10.0.0.9\"; } );\n" \
                   "listeners = ( { protocol = \"TCP\"; port = 1; instance_port = 1; } ); instances = [ \"a\" ]; } );\n"

/* Each include is relative to its own file; file and line stay right before, inside and after. */
static void test_includes(void **state)
{
    (void)state;
    write_file("main.conf", "process = {\n @include \"process.conf\"\n x = 1; };\n  @include \"sub/inventory.conf\"\n" BALANCER_A "y = 1;\n");
    write_file("process.conf", "\nworkers = 1;\n");
    write_file("sub/inventory.conf", "// an inventory\n@include \"more.conf\"\nsecurity_groups = ( 5 );");
    write_file("sub/more.conf", "instances = (\n { id = \"a\"; address = \"nowhere\"; } );");
    assert_said("main.conf:3: found unknown setting \"x\", expected a setting of process\n"
                "sub/more.conf:2: address: found \"nowhere\", expected " A_HOST "\n"
                "sub/inventory.conf:3: security_groups: found 5, expected a list of groups ( { ... }, ... )\n"
                "main.conf:7: found unknown setting \"y\", expected a setting of the configuration");
    write_file("main.conf", "@include \"sub/inventory.conf\"\n" BALANCER_A);
    write_file("sub/inventory.conf", "@include \"more.conf\"");
    write_file("sub/more.conf", "instances = ( { id = \"a\"; address = \"10.0.0.1\"; } );");
    assert_said("");
    write_file("sub/more.conf", "instances = ( { id = \"a\"; address = \"10.0.0.1\"; } );\ninstances = ( );");
    assert_said("sub/more.conf:2: found setting \"instances\" a second time, expected it once");
    write_file("sub/more.conf", "instances = ( { id = \"a\"; address = \"10.0.0.1\"; } );\n/*");
    assert_said("sub/more.conf:2: found a comment without end, expected */");
}

static void test_bad_files(void **state)
{
    (void)state;
    write_file("main.conf", "");
    assert_said("main.conf:1: load_balancers: found nothing, expected a list of at least one group ( { ... }, ... )");
    write_file("main.conf", "\n\n@include \"none.conf\"\n");
    assert_said("main.conf:3: found no readable file none.conf (No such file or directory), expected a configuration");
    write_file("main.conf", "\n@include \"sub\"\n");
    assert_said("main.conf:2: found no readable file sub (Is a directory), expected a configuration");
    write_file("main.conf", "\n\n@include \"main.conf\"\n");
    assert_said("main.conf:3: found includes more than 10 deep, expected fewer: does a file include itself?");
    write_file("main.conf", "a = 1;\n@include\n");
    assert_said("main.conf:2: found @include without a file, expected @include \"FILE\"");
    write_file("main.conf", "@insert \"x\"\n");
    assert_said("main.conf:1: found @, expected @include \"FILE\"");
    write_file("sub/open.conf", "process = {\n");
    write_file("main.conf", "@include \"sub/open.conf\"\n};\n" BALANCER_A);
    assert_said("main.conf:4: instances: found \"a\", expected the id of an instance");
    assert_int_equal(unlink(path_of("main.conf")), 0);
    assert_said("main.conf:1: found no readable file main.conf (No such file or directory), expected a configuration");
}

/* ---- files that settings name ---- */

#define BALANCER_0(more) "load_balancers = ( { name = \"l\"; subnets = ( { id = \"s\"; cidr = \"10.0.0.0/24\"; address = \"10.0.0.9\"; } );\n" \
                         "listeners = ( { protocol = \"HTTP\"; port = 1; instance_port = 1; } ); " more " } );\n"
#define BODY_SETTING(path) BALANCER_0("attributes = { error_responses = ( { status = 503;\n file = \"" path "\"; } ); };")
#define KEY_SETTING(path) "process = { cookie_key_file = \"" path "\"; };\n" BALANCER_0("")

static const struct file_row {
    const char *name;
    const char *file;           /* which the setting names; NULL: it is not there */
    size_t size;
    mode_t mode;
    const char *conf, *said;
} file_rows[] = {
    { "a key of 32 bytes", "key", 32, 0600, KEY_SETTING("key"), "" },
    { "a key of 4096 bytes that cannot be written", "key", 4096, 0400, KEY_SETTING("key"), "" },
    { "a key relative to the folder", "sub/key", 32, 0600, KEY_SETTING("sub/key"), "" },
    { "a key relative to the file that names it", "sub/key", 32, 0600, "process = { @include \"sub/key.conf\"\n };\n" BALANCER_0(""), "" },
    { "a key that is not beside the file that names it", "key", 32, 0600, "process = { @include \"sub/key.conf\"\n };\n" BALANCER_0(""),
      "sub/key.conf:1: cookie_key_file: found no file sub/key (No such file or directory), expected a secret" },
    { "a key of 31 bytes", "key", 31, 0600, KEY_SETTING("key"), "main.conf:1: cookie_key_file: found key of 31 bytes, expected 32 to 4096" },
    { "a key of 4097 bytes", "key", 4097, 0600, KEY_SETTING("key"), "main.conf:1: cookie_key_file: found key of 4097 bytes, expected 32 to 4096" },
    { "a key that its group may read", "key", 32, 0640, KEY_SETTING("key"), "main.conf:1: cookie_key_file: found key of mode 0640, expected 0600 or stricter" },
    { "a key that all may read", "key", 32, 0604, KEY_SETTING("key"), "main.conf:1: cookie_key_file: found key of mode 0604, expected 0600 or stricter" },
    { "a key that its group may run", "key", 32, 0610, KEY_SETTING("key"), "main.conf:1: cookie_key_file: found key of mode 0610, expected 0600 or stricter" },
    { "a key that is missing", NULL, 0, 0, KEY_SETTING("key"), "main.conf:1: cookie_key_file: found no file key (No such file or directory), expected a secret" },
    { "a body", "e.html", 10, 0644, BODY_SETTING("e.html"), "" },
    { "an empty body", "e.html", 0, 0644, BODY_SETTING("e.html"), "" },
    { "the largest body", "e.html", 65536, 0644, BODY_SETTING("e.html"), "" },
    { "a body too large", "e.html", 65537, 0644, BODY_SETTING("e.html"), "main.conf:3: file: found e.html of more than 64K, expected less" },
    { "a body that is missing", NULL, 0, 0, BODY_SETTING("e.html"),
      "main.conf:3: file: found no readable file e.html (No such file or directory), expected the body of an answer" },
    { "a body that is a folder", NULL, 0, 0, BODY_SETTING("sub"), "main.conf:3: file: found sub, expected a regular file" },
    { "a body that is a device", NULL, 0, 0, BODY_SETTING("/dev/zero"), "main.conf:3: file: found /dev/zero, expected a regular file" },
    { "a body that is a pipe is not waited for", NULL, 0, 0, BODY_SETTING("pipe"), "main.conf:3: file: found pipe, expected a regular file" },
    { "two bodies of one status", "e", 1, 0644, BALANCER_0("attributes = { error_responses = ( { status = 503; file = \"e\"; },\n { status = 503; file = \"e\"; } ); };"),
      "main.conf:3: status: found 503, which main.conf:2 has already, expected another" },
    { "a key that is a folder", NULL, 0, 0, KEY_SETTING("sub"), "main.conf:1: cookie_key_file: found sub, expected a regular file" },
};

static void make_file(const char *name, size_t size, mode_t mode)
{
    char *bytes = malloc(size + 1);
    assert_non_null(bytes);
    memset(bytes, 'k', size);
    bytes[size] = '\0';
    write_file(name, bytes);
    assert_int_equal(chmod(path_of(name), mode), 0);
    free(bytes);
}

static void test_file(void **state)
{
    const struct file_row *row = *state;
    if (row->file != NULL)
        make_file(row->file, row->size, row->mode);
    write_file("sub/key.conf", "cookie_key_file = \"key\";\n");
    write_file("main.conf", row->conf);
    assert_said_by(true, row->said);
    if (row->file != NULL)
        assert_int_equal(unlink(path_of(row->file)), 0);
}

static const struct type_row {
    const char *name, *file, *type;
} type_rows[] = {
    { "a body of .html", "e.html", "text/html" },
    { "a body of .TXT", "e.TXT", "text/plain" },
    { "a body of .json", "e.json", "application/json" },
    { "a body of the last of two endings", "e.html.gz", "application/octet-stream" },
    { "a body of no ending", "e", "application/octet-stream" },
};

/* The bytes are the file's when it was read, zero bytes too, and go along with a copy. */
static void test_body(void **state)
{
    static const char body[] = "a\0b\r\n";
    const struct type_row *row = *state;
    struct config *config = NULL, *copy;
    const struct config_error_response *response;
    struct config_errors errors;
    char conf[512];
    FILE *to = fopen(path_of(row->file), "we");
    assert_non_null(to);
    assert_int_equal(fwrite(body, 1, sizeof(body), to), sizeof(body));
    assert_int_equal(fclose(to), 0);
    snprintf(conf, sizeof(conf), BALANCER_0("attributes = { error_responses = ( { status = 504; file = \"%s\"; } ); };"), row->file);
    write_file("main.conf", conf);
    assert_int_equal(config_read_ahead(path_of("main.conf"), NULL, &config, &errors), 0);
    assert_int_equal(unlink(path_of(row->file)), 0);
    copy = config_copy(config);
    assert_non_null(copy);
    config_free(&config);
    response = &copy->balancers[0].attributes.error_responses[0];
    assert_int_equal(copy->balancers[0].attributes.error_response_count, 1);
    assert_int_equal(response->status, 504);
    assert_string_equal(response->file, path_of(row->file));
    assert_string_equal(response->content_type, row->type);
    assert_int_equal(response->len, sizeof(body));
    assert_memory_equal(response->bytes, body, sizeof(body));
    config_free(&copy);
}

/* What is printed names files wherever it is read. */
static void test_file_paths(void **state)
{
    struct config *config = NULL;
    struct config_errors errors;
    char expected[160], *out, *here = get_current_dir_name();
    (void)state;
    make_file("key", 32, 0600);
    write_file("main.conf", "process = { cookie_key_file = \"./key\"; };\n" BODY_SETTING("key"));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(config_read_ahead("main.conf", NULL, &config, &errors), 0);
    assert_int_equal(chdir(here), 0);
    snprintf(expected, sizeof(expected), "%s/./key", folder);
    assert_string_equal(config->process.cookie_key_file, expected);
    out = printed(config);
    config_free(&config);
    config = parse_with(parse_ahead, out);
    assert_string_equal(config->process.cookie_key_file, expected);
    assert_string_equal(config->balancers[0].attributes.error_responses[0].file, path_of("key"));
    assert_int_equal(config->balancers[0].attributes.error_responses[0].len, 32);
    config_free(&config);
    assert_int_equal(unlink(path_of("key")), 0);
    free(here);
    free(out);
}

/* ---- what is shipped ---- */

static const struct shipped_row {
    const char *name, *path, *balancer, *scheme, *first;
    uint64_t interval_ms, timeout_ms;
} shipped_rows[] = {
    { "ha-lbext at 100 ms", "configs/ha-waf/ha-lbext.conf", "ha-lbext", "internet-facing", "ha-utm-left", 100, 90 },
    { "ha-lbint at 100 ms", "configs/ha-waf/ha-lbint.conf", "ha-lbint", "internal", "ha-web-left", 100, 90 },
    { "ha-lbext at 6 s", "configs/ha-waf-6s/ha-lbext.conf", "ha-lbext", "internet-facing", "ha-utm-left", 6000, 5000 },
    { "ha-lbint at 6 s", "configs/ha-waf-6s/ha-lbint.conf", "ha-lbint", "internal", "ha-web-left", 6000, 5000 },
};

static void test_shipped(void **state)
{
    const struct shipped_row *row = *state;
    const struct config_balancer *lb;
    struct config *config = NULL;
    struct config_errors errors;
    char *out, *again;
    assert_int_equal(config_load(row->path, &config, &errors), 0);
    assert_int_equal(config->balancer_count, 1);
    lb = &config->balancers[0];
    assert_string_equal(lb->name, row->balancer);
    assert_string_equal(scheme_text(lb->scheme), row->scheme);
    assert_int_equal(lb->subnet_count, 2);
    assert_int_equal(lb->instance_count, 2);
    assert_string_equal(lb->instances[0]->id, row->first);
    assert_string_equal(lb->health_check.target_text, "HTTP:80/index.html");
    assert_int_equal(lb->health_check.interval_ms, row->interval_ms);
    assert_int_equal(lb->health_check.timeout_ms, row->timeout_ms);
    assert_int_equal(lb->health_check.unhealthy_threshold, 2);
    assert_int_equal(lb->health_check.healthy_threshold, 2);
    out = printed(config);
    config_free(&config);
    config = parse(out);
    again = printed(config);
    assert_string_equal(out, again);
    config_free(&config);
    free(again);
    free(out);
}

#define BEGIN "<!-- settings: begin -->\n"
#define END "<!-- settings: end -->\n"

static char *file_text(const char *path)
{
    char *ret = NULL;
    size_t size;
    FILE *from = fopen(path, "re"), *to = open_memstream(&ret, &size);
    assert_non_null(from);
    assert_non_null(to);
    for (int c; (c = fgetc(from)) != EOF;)
        fputc(c, to);
    assert_int_equal(fclose(from), 0);
    assert_int_equal(fclose(to), 0);
    return ret;
}

/* To renew it: HALB_PRINT_REFERENCE=1 build/tests/unit/test_config */
static void test_reference(void **state)
{
    char *document = file_text("docs/CONFIGURATION.md"), *reference = NULL, *begin, *end;
    size_t size;
    FILE *to = open_memstream(&reference, &size);
    (void)state;
    assert_non_null(to);
    assert_int_equal(config_print_reference(to), 0);
    assert_int_equal(fclose(to), 0);
    begin = strstr(document, BEGIN);
    end = strstr(document, END);
    assert_non_null(begin);
    assert_non_null(end);
    *end = '\0';
    assert_string_equal(begin + strlen(BEGIN), reference);
    free(reference);
    free(document);
}

/* The document's example is a configuration. */
static void test_example(void **state)
{
    static const char start[] = "```libconfig\n";
    char *document = file_text("docs/CONFIGURATION.md"), *begin = strstr(document, start), *end;
    struct config *config;
    (void)state;
    assert_non_null(begin);
    begin += strlen(start);
    end = strstr(begin, "```");
    assert_non_null(end);
    *end = '\0';
    config = parse(begin);
    assert_int_equal(config->balancer_count, 1);
    assert_int_equal(config->instance_count, 2);
    config_free(&config);
    free(document);
}

/* ---- changes at run time ---- */

#define INVENTORY4                                                                                            \
    "instances = ( { id = \"a\"; address = \"10.0.0.1\"; }, { id = \"b\"; address = \"10.0.0.2\"; aliases = [ \"i-b\" ]; },\n" \
    "{ id = \"c\"; address = \"10.0.0.3\"; }, { id = \"d\"; address = \"10.0.0.4\"; } );\n"                  \
    "load_balancers = ( { name = \"l\"; subnets = ( { id = \"s\"; cidr = \"10.0.0.0/24\"; address = \"10.0.0.9\"; } );\n" \
    "listeners = ( { protocol = \"HTTP\"; port = 80; instance_port = 80; } ); instances = [ \"c\", \"a\" ]; } );\n"

static const struct change_row {
    const char *name;
    int (*change)(const struct config *, const char *, const char *const *, size_t, struct config **, const char **);
    const char *balancer, *ids[3];
    int ret;
    const char *which, *registered;
} change_rows[] = {
    { "register appends", config_with_registered, "l", { "b" }, 0, NULL, "cab" },
    { "register keeps the order given", config_with_registered, "l", { "d", "b" }, 0, NULL, "cadb" },
    { "register by alias", config_with_registered, "l", { "i-b" }, 0, NULL, "cab" },
    { "registering twice is harmless", config_with_registered, "l", { "a", "b", "i-b" }, 0, NULL, "cab" },
    { "register what is not in the inventory", config_with_registered, "l", { "b", "e" }, -ESRCH, "e", NULL },
    { "register with no such balancer", config_with_registered, "m", { "b" }, -ENOENT, NULL, NULL },
    { "register nothing", config_with_registered, "l", { NULL }, 0, NULL, "ca" },
    { "deregister keeps the order", config_with_deregistered, "l", { "c" }, 0, NULL, "a" },
    { "deregister all", config_with_deregistered, "l", { "a", "c" }, 0, NULL, "" },
    { "deregistering twice in one go is harmless", config_with_deregistered, "l", { "a", "a" }, 0, NULL, "c" },
    { "deregister what is not registered", config_with_deregistered, "l", { "a", "b" }, -ESRCH, "b", NULL },
    { "deregister what is not in the inventory", config_with_deregistered, "l", { "e" }, -ESRCH, "e", NULL },
    { "deregister with no such balancer", config_with_deregistered, "m", { "a" }, -ENOENT, NULL, NULL },
};

static void assert_registered(const struct config *config, const char *expected)
{
    const struct config_balancer *lb = &config->balancers[0];
    char ids[8] = "";
    assert_true(lb->instance_count < sizeof(ids));
    for (size_t i = 0; i < lb->instance_count; i++) {
        assert_ptr_equal(lb->instances[i], config_find_instance(config, lb->instances[i]->id));
        strcat(ids, lb->instances[i]->id);
    }
    assert_string_equal(ids, expected);
}

static void test_change(void **state)
{
    const struct change_row *row = *state;
    struct config *from = parse(INVENTORY4), *to = NULL;
    const char *which = NULL;
    size_t count = 0;
    while (count < COUNT(row->ids) && row->ids[count] != NULL)
        count++;
    assert_int_equal(row->change(from, row->balancer, row->ids, count, &to, &which), row->ret);
    assert_registered(from, "ca");
    config_free(&from);
    if (row->ret == 0)
        assert_registered(to, row->registered);
    else
        assert_null(to);
    if (row->which != NULL)
        assert_string_equal(which, row->which);
    config_free(&to);
}

static const struct check_row {
    const char *name, *balancer;
    struct config_health_change change;
    int ret;
    const char *said;       /* errors, or "target interval timeout unhealthy healthy" afterwards */
} check_rows[] = {
    { "nothing changes", "l", { .target = NULL }, 0, "HTTP:80/index.html 30000 5000 2 10" },
    { "all change", "l", { "tcp:22", "100ms", "90ms", "3", "4" }, 0, "TCP:22 100 90 3 4" },
    { "a subset changes", "l", { .target = "HTTP:81/x", .healthy_threshold = "2" }, 0, "HTTP:81/x 30000 5000 2 2" },
    { "seconds need no unit", "l", { .interval = "6.5" }, 0, "HTTP:80/index.html 6500 5000 2 10" },
    { "no such balancer", "m", { .interval = "6s" }, -ENOENT, "" },
    { "what is wrong is said all at once", "l", { "UDP:1", "99ms", "1h", "0", "x" }, -EINVAL,
      "target: found \"UDP:1\", expected HTTP:PORT/PATH, HTTPS:PORT/PATH, TCP:PORT or SSL:PORT\n"
      "interval: found \"99ms\", expected a duration of 100ms to 5m\ntimeout: found \"1h\", expected a duration of 10ms to 1m\n"
      "unhealthy_threshold: found \"0\", expected an integer of 1 to 10\nhealthy_threshold: found \"x\", expected an integer of 1 to 10" },
    { "a threshold that would wrap", "l", { .healthy_threshold = "4294967298" }, -EINVAL, "healthy_threshold: found \"4294967298\", expected an integer of 1 to 10" },
    { "an empty value", "l", { .interval = "", .healthy_threshold = "" }, -EINVAL,
      "interval: found \"\", expected a duration of 100ms to 5m\nhealthy_threshold: found \"\", expected an integer of 1 to 10" },
    { "a new interval below the timeout that stays", "l", { .interval = "1s" }, -EINVAL, "timeout: found \"5s\", expected less than the interval, \"1s\"" },
    { "a new timeout above the interval that stays", "l", { .timeout = "30s" }, -EINVAL, "timeout: found \"30s\", expected less than the interval, \"30s\"" },
    { "an SSL target", "l", { .target = "SSL:443" }, -EINVAL, "target: found \"SSL:443\"" NOT_YET "HTTP:PORT/PATH or TCP:PORT" },
};

static void test_check_change(void **state)
{
    const struct check_row *row = *state;
    struct config *from = parse(INVENTORY4), *to = NULL;
    const struct config_health_check *check;
    struct config_errors errors;
    char text[128], *said;
    assert_int_equal(config_with_health_check(from, row->balancer, &row->change, &to, &errors), row->ret);
    assert_string_equal(from->balancers[0].health_check.target_text, "HTTP:80/index.html");
    config_free(&from);
    said = joined(&errors);
    assert_string_equal(said, row->ret == 0 ? "" : row->said);
    free(said);
    config_errors_free(&errors);
    if (row->ret != 0) {
        assert_null(to);
        return;
    }
    check = &to->balancers[0].health_check;
    snprintf(text, sizeof(text), "%s:%u%s %" PRIu64 " %" PRIu64 " %u %u", protocol_text(check->target.protocol), check->target.port,
             check->target.path != NULL ? check->target.path : "", check->interval_ms, check->timeout_ms, check->unhealthy_threshold,
             check->healthy_threshold);
    assert_string_equal(text, row->said);
    config_free(&to);
}

/* ---- durations ---- */

static const struct duration_row {
    const char *name, *text;
    int ret;
    uint64_t ms;
    const char *formatted;
} duration_rows[] = {
    { "milliseconds", "100ms", 0, 100, "100ms" },
    { "seconds", "6s", 0, 6000, "6s" },
    { "no unit is seconds", "6", 0, 6000, "6s" },
    { "a tenth of a minute is exact", "0.1m", 0, 6000, "6s" },
    { "a tenth of a second is exact", "0.1s", 0, 100, "100ms" },
    { "hours", "2h", 0, 7200000, "2h" },
    { "what is not a whole minute is seconds", "90s", 0, 90000, "90s" },
    { "what is a whole minute is minutes", "60s", 0, 60000, "1m" },
    { "zero", "0", 0, 0, "0s" },
    { "an exponent", "1e2", 0, 100000, "100s" },
    { "100 days", "2400h", 0, UINT64_C(8640000000), "2400h" },
    { "more than 100 days", "2401h", -EINVAL, 0, NULL },
    { "more than any number", "1e999", -EINVAL, 0, NULL },
    { "part of a millisecond", "0.5ms", -EINVAL, 0, NULL },
    { "negative", "-1s", -EINVAL, 0, NULL },
    { "negative zero", "-0", -EINVAL, 0, NULL },
    { "a plus", "+1s", -EINVAL, 0, NULL },
    { "infinite", "inf", -EINVAL, 0, NULL },
    { "no number", "nan", -EINVAL, 0, NULL },
    { "hexadecimal", "0x10", -EINVAL, 0, NULL },
    { "a unit alone", "s", -EINVAL, 0, NULL },
    { "a point alone", ".", -EINVAL, 0, NULL },
    { "an unknown unit", "1d", -EINVAL, 0, NULL },
    { "a unit twice", "1ss", -EINVAL, 0, NULL },
    { "a capital unit", "1S", -EINVAL, 0, NULL },
    { "a space before", " 1s", -EINVAL, 0, NULL },
    { "a space after", "1s ", -EINVAL, 0, NULL },
    { "nothing", "", -EINVAL, 0, NULL },
};

static void test_duration(void **state)
{
    const struct duration_row *row = *state;
    uint64_t ms = 0;
    char text[32];
    assert_int_equal(config_parse_duration(row->text, &ms), row->ret);
    assert_int_equal(ms, row->ms);
    if (row->ret == 0)
        assert_string_equal(config_format_duration(ms, text), row->formatted);
}

static void test_target_length(void **state)
{
    char text[1026];
    struct config_target target;
    const char *expected;
    (void)state;
    memset(text, 'x', sizeof(text));
    memcpy(text, "HTTP:80/", 8);
    text[1025] = '\0';
    assert_int_equal(config_parse_target(text, &target, &expected), -EINVAL);
    assert_string_equal(expected, "at most 1024 characters");
    text[1024] = '\0';
    assert_int_equal(config_parse_target(text, &target, &expected), 0);
    assert_ptr_equal(target.path, text + 7);
    assert_int_equal(config_parse_target("SSL:443", &target, &expected), 0);
    assert_int_equal(target.protocol, PROTOCOL_SSL);
    assert_null(target.path);
}

#define ADD(rows, function)                 \
    for (size_t i = 0; i < COUNT(rows); i++) \
    tests[count++] = (struct CMUnitTest){ .name = (rows)[i].name, .test_func = function, .initial_state = (void *)&(rows)[i] }

int main(void)
{
    const struct CMUnitTest single[] = {
        cmocka_unit_test(test_maximal),   cmocka_unit_test(test_defaults),  cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_includes),  cmocka_unit_test(test_bad_files), cmocka_unit_test(test_reference),
        cmocka_unit_test(test_example),   cmocka_unit_test(test_target_length), cmocka_unit_test(test_set_fallback),
        cmocka_unit_test(test_file_paths),   cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_proxy_from),
    };
    struct CMUnitTest tests[COUNT(bad_rows) + COUNT(good_rows) + COUNT(ahead_bad_rows) + COUNT(ahead_good_rows) + COUNT(file_rows) + COUNT(type_rows) + COUNT(shipped_rows) + COUNT(change_rows) + COUNT(check_rows) +
                            COUNT(duration_rows) + COUNT(single)];
    size_t count = 0;
    if (getenv("HALB_PRINT_REFERENCE") != NULL)
        return config_print_reference(stdout) < 0;
    ADD(bad_rows, test_bad);
    ADD(good_rows, test_good);
    ADD(ahead_bad_rows, test_bad_ahead);
    ADD(ahead_good_rows, test_good_ahead);
    ADD(file_rows, test_file);
    ADD(type_rows, test_body);
    ADD(shipped_rows, test_shipped);
    ADD(change_rows, test_change);
    ADD(check_rows, test_check_change);
    ADD(duration_rows, test_duration);
    for (size_t i = 0; i < COUNT(single); i++)
        tests[count++] = single[i];
    return _cmocka_run_group_tests("config", tests, count, make_folder, remove_folder);
}
