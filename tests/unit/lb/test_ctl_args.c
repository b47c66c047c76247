#include "lb/ctl_args.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define WORDS_MAX 12

static char program[] = "halbctl", word_status[] = "status", word_s[] = "-s", word_x[] = "x";

static const struct args_row {
    const char *name;
    const char *words;                  /* apart by one space; '_' stands for an empty word */
    const char *understood;             /* as describe() shows it; NULL: refused */
    const char *error;                  /* refused: part of it */
} rows[] = {
    { "a command alone asks the default socket", "status", "status [/run/halb/halb.sock]", NULL },
    { "a socket", "-s a.sock status", "status [a.sock]", NULL },
    { "several sockets, in order", "-s a -s b --socket c status", "status [a b c]", NULL },
    { "options may come after the command", "status --json -s a", "status [a] json", NULL },
    { "health of all", "instance-health", "instance-health [/run/halb/halb.sock]", NULL },
    { "health of some", "instance-health ha-lbint web-left web-right", "instance-health [/run/halb/halb.sock] ha-lbint web-left web-right", NULL },
    { "register", "register ha-lbint a b", "register [/run/halb/halb.sock] ha-lbint a b", NULL },
    { "deregister", "deregister ha-lbint a", "deregister [/run/halb/halb.sock] ha-lbint a", NULL },
    { "a health check", "configure-health-check ha-lbint target=TCP:80 unhealthy=3",
      "configure-health-check [/run/halb/halb.sock] ha-lbint target=TCP:80 unhealthy=3", NULL },
    { "an override", "set-state ha-lbint a drain", "set-state [/run/halb/halb.sock] ha-lbint a drain", NULL },
    { "the configuration", "config", "config [/run/halb/halb.sock]", NULL },
    { "its difference", "config --diff", "config [/run/halb/halb.sock] diff", NULL },
    { "a group of a process", "security-group secg-web --nft", "security-group [/run/halb/halb.sock] secg-web nft", NULL },
    { "a group of a file", "-c f.conf security-group secg-web --nft", "security-group [/run/halb/halb.sock] secg-web nft -c f.conf", NULL },
    { "what comes later is understood", "why ha-lbint a", "why [/run/halb/halb.sock] ha-lbint a", NULL },
    { "an operand after -- may begin with a dash", "register ha-lbint -- -a", "register [/run/halb/halb.sock] ha-lbint -a", NULL },
    { "help needs no command", "-h", "help", NULL },
    { "version needs no command", "--version", "version", NULL },
    { "nothing", "", NULL, "expected a command" },
    { "options alone", "--json", NULL, "expected a command" },
    { "a command misspelt", "stauts", NULL, "stauts: no such command" },
    { "an option that is none", "-x status", NULL, "-x: no such option" },
    { "a long option that is none", "--jsonn status", NULL, "--jsonn: no such option" },
    { "a value for what takes none", "--json=1 status", NULL, "--json=1: no such option" },
    { "a socket is missing", "status -s", NULL, "-s: expected a value" },
    { "status takes no operand", "status ha-lbint", NULL, "status: expected no operand" },
    { "register needs an id", "register ha-lbint", NULL, "register: expected LB ID..." },
    { "set-state needs three", "set-state ha-lbint a", NULL, "set-state: expected LB ID auto|in|out|drain" },
    { "set-state knows its states", "set-state ha-lbint a up", NULL, "up: expected auto, in, out or drain" },
    { "a health check of nothing", "configure-health-check ha-lbint", NULL, "expected LB KEY=VALUE..." },
    { "a health check's key is unknown", "configure-health-check ha-lbint intervall=6s", NULL, "intervall=6s: expected target=" },
    { "a health check's key without value", "configure-health-check ha-lbint interval", NULL, "interval: expected target=" },
    { "the start of a key is not the key", "configure-health-check ha-lbint inter=6s", NULL, "inter=6s: expected target=" },
    { "a group in no format", "security-group secg-web", NULL, "security-group: expected --nft" },
    { "--nft elsewhere", "status --nft", NULL, "--nft: belongs to security-group, not to status" },
    { "--diff elsewhere", "status --diff", NULL, "--diff: belongs to config" },
    { "-c elsewhere", "-c f.conf status", NULL, "-c: belongs to security-group" },
    { "an empty operand", "register ha-lbint _", NULL, "register: an operand is empty" },
};

static int split(char *words, char **argv)
{
    int argc = 0;
    argv[argc++] = program;
    for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " ")) {
        assert_true(argc < WORDS_MAX);
        if (strcmp(word, "_") == 0)
            *word = '\0';
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    return argc;
}

static void describe(const struct ctl_args *a, char *text, size_t size)
{
    FILE *to = fmemopen(text, size, "w");
    if (a->help || a->version) {
        fputs(a->help ? "help" : "version", to);
    } else {
        fprintf(to, "%s [", ctl_command_text(a->command));
        for (size_t i = 0; i < a->socket_count; i++)
            fprintf(to, "%s%s", i == 0 ? "" : " ", a->sockets[i]);
        fputc(']', to);
        for (size_t i = 0; i < a->operand_count; i++)
            fprintf(to, " %s", a->operands[i]);
        fprintf(to, "%s%s%s", a->json ? " json" : "", a->nft ? " nft" : "", a->diff ? " diff" : "");
        if (a->config_path != NULL)
            fprintf(to, " -c %s", a->config_path);
    }
    fclose(to);
}

static int parse(const char *line, const char *env_socket, char *text, size_t size)
{
    char words[256], error[256] = "", *argv[WORDS_MAX + 1];
    struct ctl_args args;
    int r;
    snprintf(words, sizeof(words), "%s", line);
    r = ctl_args_parse(split(words, argv), argv, env_socket, &args, error);
    if (r == 0)
        describe(&args, text, size);
    else
        snprintf(text, size, "%s", error);
    return r;
}

static void test_args(void **state)
{
    const struct args_row *row = *state;
    char text[512] = "";
    int r = parse(row->words, NULL, text, sizeof(text));
    assert_int_equal(r, row->understood == NULL ? -EINVAL : 0);
    if (row->understood != NULL)
        assert_string_equal(text, row->understood);
    else if (strstr(text, row->error) == NULL)
        assert_string_equal(text, row->error);
}

static void test_environment(void **state)
{
    char text[512];
    (void)state;
    assert_int_equal(parse("status", "/e.sock", text, sizeof(text)), 0);
    assert_string_equal(text, "status [/e.sock]");
    assert_int_equal(parse("-s a status", "/e.sock", text, sizeof(text)), 0);
    assert_string_equal(text, "status [a]");
    assert_int_equal(parse("status", "", text, sizeof(text)), 0);
    assert_string_equal(text, "status [" CTL_SOCKET_DEFAULT "]");
}

static void test_sockets_are_bounded(void **state)
{
    char *argv[2 * CTL_SOCKETS_MAX + 5], error[256];
    struct ctl_args args;
    int argc = 0;
    (void)state;
    argv[argc++] = program;
    argv[argc++] = word_status;
    for (int i = 0; i < CTL_SOCKETS_MAX + 1; i++) {
        argv[argc++] = word_s;
        argv[argc++] = word_x;
    }
    argv[argc] = NULL;
    assert_int_equal(ctl_args_parse(argc, argv, NULL, &args, error), -EINVAL);
    argc -= 2;
    argv[argc] = NULL;
    assert_int_equal(ctl_args_parse(argc, argv, NULL, &args, error), 0);
    assert_int_equal(args.socket_count, CTL_SOCKETS_MAX);
}

static void test_health_keys(void **state)
{
    const char *value;
    (void)state;
    assert_string_equal(ctl_health_key("unhealthy=2", &value), "unhealthy_threshold");
    assert_string_equal(value, "2");
    assert_string_equal(ctl_health_key("target=HTTP:80/?a=b", &value), "target");
    assert_string_equal(value, "HTTP:80/?a=b");
    assert_null(ctl_health_key("=2", &value));
}

/* A command that the usage does not show is one that nobody finds. */
static void test_usage_is_whole(void **state)
{
    (void)state;
    for (int command = 0; command < CTL_WHY; command++)
        assert_non_null(strstr(ctl_usage(), ctl_command_text((enum ctl_command)command)));
}

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

int main(void)
{
    struct CMUnitTest tests[COUNT(rows) + 4];
    size_t count = 0;
    for (size_t i = 0; i < COUNT(rows); i++)
        tests[count++] = (struct CMUnitTest){ .name = rows[i].name, .test_func = test_args, .initial_state = (void *)&rows[i] };
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_environment);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_sockets_are_bounded);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_health_keys);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_usage_is_whole);
    return _cmocka_run_group_tests("ctl_args", tests, count, NULL, NULL);
}
