#include "lb/halb_args.h"
#include <errno.h>
#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define ARGS_MAX 12

static const struct args_row {
    const char *name;
    const char *argv[ARGS_MAX];
    struct halb_args args;          /* if it is good */
    const char *refusal;            /* on standard error; NULL: it is good */
} rows[] = {
    { "a configuration is enough", { "-c", "a.conf" }, { .action = ACTION_RUN, .config = "a.conf" }, NULL },
    { "joined to its letter", { "-ca.conf" }, { .action = ACTION_RUN, .config = "a.conf" }, NULL },
    { "all overrides", { "-c", "a.conf", "-z", "us-east-1a", "-s", "/s", "-d", "/d" },
      { .action = ACTION_RUN, .config = "a.conf", .zone = "us-east-1a", .admin_socket = "/s", .state_dir = "/d" }, NULL },
    { "in any order", { "-d", "/d", "-z", "b", "-c", "a.conf" }, { .action = ACTION_RUN, .config = "a.conf", .zone = "b", .state_dir = "/d" }, NULL },
    { "a test", { "-t", "-c", "a.conf" }, { .action = ACTION_TEST, .config = "a.conf" }, NULL },
    { "a test, letters joined", { "-tc", "a.conf" }, { .action = ACTION_TEST, .config = "a.conf" }, NULL },
    { "a dump", { "-D", "-c", "a.conf" }, { .action = ACTION_DUMP, .config = "a.conf" }, NULL },
    { "the version needs no configuration", { "-V" }, { .action = ACTION_VERSION }, NULL },
    { "help needs none either", { "-h" }, { .action = ACTION_HELP }, NULL },
    { "nothing at all", { NULL }, { 0 }, "halb: -c FILE is missing\nusage: halb -c FILE" },
    { "a test of nothing", { "-t" }, { 0 }, "halb: -c FILE is missing\nusage:" },
    { "a dump of nothing", { "-D" }, { 0 }, "halb: -c FILE is missing\nusage:" },
    { "an argument too many", { "-c", "a.conf", "b.conf" }, { 0 }, "halb: what is this argument for: b.conf\nusage:" },
    { "a file without its letter", { "a.conf" }, { 0 }, "halb: what is this argument for: a.conf\nusage:" },
    { "a letter without its value", { "-c" }, { 0 }, "option requires an argument -- 'c'\nusage:" },
    { "an unknown letter", { "-c", "a.conf", "-x" }, { 0 }, "invalid option -- 'x'\nusage:" },
    { "what a later version brings is refused in plain words", { "-c", "a.conf", "-a", "127.0.0.1:9080" }, { 0 },
      "halb: -a: an HTTP control endpoint is not supported by this version; halbctl uses the control socket\nusage:" },
};

/* Redirects a standard stream into memory; returns what restores it. */
static int capture(int stream, int *into)
{
    int saved = dup(stream);
    fflush(NULL);
    *into = memfd_create("captured", 0);
    assert_true(saved >= 0);
    assert_true(*into >= 0);
    assert_int_equal(dup2(*into, stream), stream);
    return saved;
}

static void restore(int stream, int saved, int from, char text[2048])
{
    ssize_t n;
    fflush(NULL);
    dup2(saved, stream);
    close(saved);
    n = pread(from, text, 2047, 0);
    close(from);
    assert_true(n >= 0);
    text[n] = '\0';
}

static void assert_same(const char *a, const char *b)
{
    assert_int_equal(a == NULL, b == NULL);
    if (a != NULL)
        assert_string_equal(a, b);
}

static void test_args(void **state)
{
    const struct args_row *row = *state;
    char *argv[ARGS_MAX + 2] = { (char *)"halb" }, text[2048];
    struct halb_args args;
    int argc = 1, r, saved, into;
    for (; row->argv[argc - 1] != NULL; argc++)
        argv[argc] = (char *)row->argv[argc - 1];
    optind = 0;                 /* glibc: begin anew */
    saved = capture(STDERR_FILENO, &into);
    r = halb_args_parse(argc, argv, &args);
    restore(STDERR_FILENO, saved, into, text);
    if (row->refusal != NULL) {
        assert_int_equal(r, -EINVAL);
        assert_non_null(strstr(text, row->refusal));
        return;
    }
    assert_int_equal(r, 0);
    assert_string_equal(text, "");
    assert_int_equal(args.action, row->args.action);
    assert_same(args.config, row->args.config);
    assert_same(args.zone, row->args.zone);
    assert_same(args.admin_socket, row->args.admin_socket);
    assert_same(args.state_dir, row->args.state_dir);
}

static void test_usage_names_every_letter(void **state)
{
    char text[2048];
    int saved, into;
    (void)state;
    saved = capture(STDOUT_FILENO, &into);
    halb_args_usage();
    restore(STDOUT_FILENO, saved, into, text);
    for (const char *letter = "czsdtDVh"; *letter != '\0'; letter++) {
        char line[8];
        snprintf(line, sizeof(line), "\n  -%c ", *letter);
        assert_non_null(strstr(text, line));
    }
}

int main(void)
{
    static struct CMUnitTest tests[32];
    size_t count = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        tests[count++] = (struct CMUnitTest){ .name = rows[i].name, .test_func = test_args, .initial_state = (void *)&rows[i] };
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_usage_names_every_letter);
    return _cmocka_run_group_tests("halb_args", tests, count, NULL, NULL);
}
