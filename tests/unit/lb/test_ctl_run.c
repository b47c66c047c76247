#include "lb/ctl_run.h"
#include "lb/ctl_args.h"
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
/*
 * halbctl against processes "a" and "b": threads that listen on sockets in a
 * folder of the test's and know a few answers by heart.
 */
struct canned {
    const char *request;                /* "METHOD PATH[ BODY]" */
    const char *status, *body;
};

#define INSTANCE(balancer, id, since)                                                                                          \
    "{\"load_balancer\":\"" balancer "\",\"instance\":\"" id "\",\"state\":\"OutOfService\",\"reason_code\":\"Instance\","        \
    "\"description\":\"D.\",\"since\":" since ",\"address\":\"10.0.0.1\",\"port\":80,\"zone\":null,\"admin\":\"auto\",\"last_check\":null}"
#define BALANCER(name, in_service, instances)                                                                     \
    "{\"load_balancer\":\"" name "\",\"scheme\":\"internal\",\"dns_name\":null,\"in_service\":" in_service ","        \
    "\"registered\":1,\"listeners\":[],\"instances\":[" instances "]}"
#define REFUSED(message) "{\"error\":{\"code\":\"x\",\"message\":\"" message "\"}}"
#define V1 "/v1/load-balancers"

static const struct canned on_a[] = {
    { "GET " V1, "200 OK", "[" BALANCER("one", "1", INSTANCE("one", "i", "\"T1\"")) "," BALANCER("two", "0", "") "]" },
    { "GET " V1 "/one/instances/i", "200 OK", INSTANCE("one", "i", "\"T1\"") },
    { "GET " V1 "/two/instances/i", "200 OK", INSTANCE("two", "i", "null") },
    { "GET " V1 "/one/instances/spare", "200 OK", INSTANCE("one", "spare", "null") },
    { "GET " V1 "/two/instances/spare", "200 OK", INSTANCE("two", "spare", "null") },
    { "GET " V1 "/one/instances/i-9", "404 Not Found", REFUSED("there is no instance named i-9") },
    { "POST " V1 "/one/instances/register {\"instances\":[\"x y\",\"z\"]}", "200 OK", "{\"load_balancer\":\"one\",\"instances\":[\"x y\",\"z\"]}" },
    { "POST " V1 "/one/instances/deregister {\"instances\":[\"z\"]}", "200 OK", "{\"load_balancer\":\"one\",\"instances\":[]}" },
    { "POST " V1 "/one/instances/register {\"instances\":[\"u\"]}", "200 OK", "{\"load_balancer\":\"one\",\"instances\":[\"u\"]}" },
    { "POST " V1 "/o%2Fe/instances/a%20b/state {\"state\":\"out\"}", "200 OK", INSTANCE("o/e", "a b", "\"T1\"") },
    { "POST " V1 "/one/health-check {\"interval\":\"6s\",\"unhealthy_threshold\":\"3\"}", "200 OK",
      "{\"load_balancer\":\"one\",\"target\":\"TCP:80\",\"interval\":\"6s\",\"timeout\":\"5s\",\"unhealthy_threshold\":3,\"healthy_threshold\":2}" },
    { "POST " V1 "/one/health-check {\"interval\":\"x\"}", "400 Bad Request", REFUSED("interval: not \\u001b a duration") },
    { "GET /v1/config", "200 OK", "{\"config\":\"process = {};\\n\"}" },
    { "GET /v1/security-groups/g?format=nft", "200 OK", "table inet halb\n" },
    { NULL, NULL, NULL },
};

static const struct canned on_b[] = {
    { "GET " V1, "200 OK", "[" BALANCER("one", "0", "") "]" },
    { "GET /v1/config", "200 OK", "{\"config\":\"process = {};\\n\"}" },
    { "POST " V1 "/one/instances/register {\"instances\":[\"u\"]}", "404 Not Found", REFUSED("u is not known") },
    { NULL, NULL, NULL },
};

struct server {
    const struct canned *answers;
    int fd;
    pthread_t thread;
    char path[64];
};

static char folder[] = "/tmp/halbctl-XXXXXX";

/* The head, then as much as Content-Length says. */
static size_t read_request(int fd, char *bytes, size_t room)
{
    size_t len = 0, needed = 0;
    while (needed == 0 || len < needed) {
        const char *end, *field;
        ssize_t n = read(fd, bytes + len, room - len - 1);
        if (n <= 0)
            break;
        len += (size_t)n;
        bytes[len] = '\0';
        end = strstr(bytes, "\r\n\r\n");
        field = strstr(bytes, "Content-Length: ");
        if (end != NULL)
            needed = (size_t)(end + 4 - bytes) + (field == NULL ? 0 : strtoul(field + 16, NULL, 10));
    }
    return len;
}

static const struct canned *find_answer(const struct canned *c, const char *bytes)
{
    char request[1024];
    const char *body = strstr(bytes, "\r\n\r\n");
    int line = (int)strcspn(bytes, "\r");
    snprintf(request, sizeof(request), "%.*s%s%s", line - (int)strlen(" HTTP/1.1"), bytes, body[4] == '\0' ? "" : " ", body + 4);
    while (c->request != NULL && strcmp(c->request, request) != 0)
        c++;
    return c;
}

static void answer(const struct server *s, int fd)
{
    char bytes[4096] = "";
    const struct canned *c;
    if (read_request(fd, bytes, sizeof(bytes)) == 0)
        return;
    c = find_answer(s->answers, bytes);
    dprintf(fd, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", c->request == NULL ? "404 Not Found" : c->status,
            c->request == NULL ? 0 : strlen(c->body), c->request == NULL ? "" : c->body);
}

static void *serve(void *arg)
{
    const struct server *s = arg;
    int fd;
    while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
        answer(s, fd);
        close(fd);
    }
    return NULL;
}

static int listen_at(const char *path)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static void server_start(struct server *s, const char *name, const struct canned *answers)
{
    snprintf(s->path, sizeof(s->path), "%s/%s", folder, name);
    s->answers = answers;
    s->fd = listen_at(s->path);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    unlink(s->path);
}

static struct server a, b;

static int start_all(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    server_start(&a, "a", on_a);
    server_start(&b, "b", on_b);
    return 0;
}

static int stop_all(void **state)
{
    (void)state;
    server_stop(&a);
    server_stop(&b);
    return rmdir(folder);
}

#define HEAD "LOAD BALANCER  INSTANCE  STATE         REASON CODE  DESCRIPTION  SINCE  ADMIN  LAST CHECK\n"

/* "@a" stands for the socket of a. */
static const struct run_row {
    const char *name;
    const char *words;
    int code;
    const char *out, *err;
} rows[] = {
    { "status", "-s @a status", 0,
      "one  internal  1 of 1 instances in service\n  i  OutOfService  10.0.0.1:80  -  auto  D.\ntwo  internal  0 of 1 instances in service\n", "" },
    { "health of all", "-s @a instance-health", 0, HEAD "one            i         OutOfService  Instance     D.           T1     auto   -\n", "" },
    { "health of a balancer", "-s @a instance-health two", 0, "LOAD BALANCER  INSTANCE  STATE  REASON CODE  DESCRIPTION  SINCE  ADMIN  LAST CHECK\n", "" },
    { "health of an instance where it is registered", "-s @a instance-health i", 0,
      HEAD "one            i         OutOfService  Instance     D.           T1     auto   -\n", "" },
    { "health of an instance in a balancer where it is not", "-s @a instance-health two i", 0,
      HEAD "two            i         OutOfService  Instance     D.           -      auto   -\n", "" },
    { "health of an instance that is registered nowhere", "-s @a instance-health spare", 0,
      HEAD "one            spare     OutOfService  Instance     D.           -      auto   -\n"
           "two            spare     OutOfService  Instance     D.           -      auto   -\n", "" },
    { "health of an instance that never was", "-s @a instance-health i-9", 1, "",
      "halbctl: instance-health: there is no load balancer and no instance named i-9\n" },
    { "health of several, one of which never was, is refused whole", "-s @a instance-health one i i-9", 1, "",
      "halbctl: instance-health: there is no instance named i-9\n" },
    { "register", "-s @a register one x_y z", 0, "one  registered:  x y  z\n", "" },
    { "deregister", "-s @a deregister one z", 0, "one  registered:  none\n", "" },
    { "names are escaped on their way", "-s @a set-state o/e a_b out", 0, "o/e  a b  admin auto  OutOfService\n", "" },
    { "a health check", "-s @a configure-health-check one interval=6s unhealthy=3", 0,
      "one  target TCP:80  interval 6s  timeout 5s  unhealthy 3  healthy 2\n", "" },
    { "a refusal's words can not steer the terminal", "-s @a configure-health-check one interval=x", 1, "",
      "halbctl: configure-health-check: interval: not ? a duration\n" },
    { "the configuration", "-s @a config", 0, "process = {};\n", "" },
    { "a group", "-s @a security-group g --nft", 0, "table inet halb\n", "" },
    { "a group as JSON", "-s @a --json security-group g --nft", 0,
      "{\n  \"group\": \"g\",\n  \"format\": \"nft\",\n  \"ruleset\": \"table inet halb\\n\"\n}\n", "" },
    { "a refusal without words", "-s @b security-group g --nft", 1, "", "halbctl: security-group: refused with status 404\n" },
    { "those who agree speak once", "-s @a -s @b config", 0, "process = {};\n", "" },
    { "those who differ are named", "-s @a -s @b status", 0,
      "@a:\none  internal  1 of 1 instances in service\n  i  OutOfService  10.0.0.1:80  -  auto  D.\ntwo  internal  0 of 1 instances in service\n"
      "@b:\none  internal  0 of 1 instances in service\n", "" },
    { "one took the change, one refused it", "-s @a -s @b register one u", 1, "@a:\none  registered:  u\n",
      "halbctl: @b: register: u is not known\n" },
    { "several as one document", "--json -s @a -s @b config", 0,
      "[\n  {\n    \"config\": \"process = {};\\n\",\n    \"socket\": \"@a\"\n  },\n  {\n    \"config\": \"process = {};\\n\",\n    \"socket\": \"@b\"\n  }\n]\n", "" },
    { "nobody there", "-s @c config", 3, "", "halbctl: config: no contact with halb at @c: No such file or directory\n" },
    { "one is there, one is not", "-s @c -s @a config", 3, "@a:\nprocess = {};\n",
      "halbctl: config: no contact with halb at @c: No such file or directory\n" },
    { "the worst of all is the code", "-s @b -s @c register one u", 3, "",
      "halbctl: @b: register: u is not known\nhalbctl: register: no contact with halb at @c: No such file or directory\n" },
    { "why: later", "-s @a why i", 1, "", "halbctl: why: not supported by this version\n" },
    { "metrics: later", "-s @a metrics", 1, "", "halbctl: metrics: not supported by this version\n" },
    { "top: later", "-s @a top", 1, "", "halbctl: top: not supported by this version\n" },
    { "reload: later", "-s @a reload", 1, "", "halbctl: reload: not supported by this version\n" },
    { "config --diff: later", "-s @a config --diff", 1, "", "halbctl: config --diff: not supported by this version\n" },
    { "a group of a file, without a process", "-c configs/ha-waf/ha-lbint.conf security-group secg-lbint --nft", 0,
      "# security group secg-lbint\ntable inet halb\ndelete table inet halb\ntable inet halb {\n\tchain input {\n"
      "\t\ttype filter hook input priority filter; policy drop;\n\t\tiifname \"lo\" accept\n"
      "\t\tct state established,related accept\n\t\tmeta l4proto { icmp, icmpv6 } accept\n"
      "\t\t# tcp 80 from secg-utm\n\t\tip saddr { 10.0.10.100, 10.0.11.100 } tcp dport 80 accept\n\t}\n}\n", "" },
    { "a group that the file does not have", "-c configs/ha-waf/ha-lbint.conf security-group secg-x --nft", 1, "",
      "halbctl: security-group: there is no security group named secg-x in configs/ha-waf/ha-lbint.conf\n" },
    { "a file that is not a configuration", "-c CMakeLists.txt security-group secg-x --nft", 1, "", NULL },
    { "a file that is not there", "-c @c security-group g --nft", 1, "", NULL },
};

/* "@a" becomes the socket's path, '_' a space where `spaces`. */
static void expand(const char *from, bool spaces, char *to, size_t size)
{
    FILE *out = fmemopen(to, size, "w");
    to[0] = '\0';
    for (; *from != '\0'; from++) {
        if (*from == '@')
            fprintf(out, "%s/", folder);
        else
            fputc(spaces && *from == '_' ? ' ' : *from, out);
    }
    fclose(out);
}

static int parse(const char *line, char words[16][128], char **argv, struct ctl_args *args)
{
    char copy[512], error[256];
    int argc = 0;
    snprintf(copy, sizeof(copy), "halbctl %s", line);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
        expand(word, true, words[argc], 128);
        argv[argc] = words[argc];
        argc++;
    }
    argv[argc] = NULL;
    return ctl_args_parse(argc, argv, NULL, args, error);
}

static int run(const char *line, char **out, char **err)
{
    char words[16][128], *argv[17];
    struct ctl_args args;
    size_t out_len, err_len;
    FILE *to = open_memstream(out, &out_len), *errors = open_memstream(err, &err_len);
    int code;
    assert_int_equal(parse(line, words, argv, &args), 0);
    code = ctl_run(&args, to, errors);
    fclose(to);
    fclose(errors);
    return code;
}

static void test_run(void **state)
{
    const struct run_row *row = *state;
    char *out, *err, expected[2048];
    int code = run(row->words, &out, &err);
    expand(row->out, false, expected, sizeof(expected));
    assert_string_equal(out, expected);
    if (row->err != NULL) {
        expand(row->err, false, expected, sizeof(expected));
        assert_string_equal(err, expected);
    } else {
        assert_string_not_equal(err, "");
    }
    assert_int_equal(code, row->code);
    free(out);
    free(err);
}

/* The list of one process is passed on as it came; that of several has each item's socket. */
static void test_json_lists(void **state)
{
    char *out, *err, path[64];
    json_t *one, *both;
    (void)state;
    assert_int_equal(run("--json -s @a status", &out, &err), 0);
    one = json_loads(out, 0, NULL);
    free(out);
    free(err);
    assert_int_equal(run("--json -s @a -s @b status", &out, &err), 0);
    both = json_loads(out, 0, NULL);
    free(out);
    free(err);
    assert_int_equal(json_array_size(one), 2);
    assert_null(json_object_get(json_array_get(one, 0), "socket"));
    assert_int_equal(json_array_size(both), 3);
    expand("@b", false, path, sizeof(path));
    assert_string_equal(json_string_value(json_object_get(json_array_get(both, 2), "socket")), path);
    json_decref(one);
    json_decref(both);
}

/* What is no answer of halb's: contact was not made. */
static const struct odd_row {
    const char *name, *answer;
} odd_rows[] = {
    { "an end without an answer", "" },
    { "half an answer", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[" },
    { "not HTTP", "SSH-2.0-OpenSSH\r\n\r\n" },
    { "not JSON", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{]}" },
};

static void *answer_oddly(void *arg)
{
    const struct server *s = arg;
    char bytes[4096];
    int fd = accept(s->fd, NULL, NULL);
    if (fd < 0)
        return NULL;
    read_request(fd, bytes, sizeof(bytes));
    dprintf(fd, "%s", s->answers->body);
    close(fd);
    return NULL;
}

static void test_odd(void **state)
{
    const struct odd_row *row = *state;
    const struct canned canned = { .body = row->answer };
    struct server s = { .answers = &canned };
    char *out, *err;
    snprintf(s.path, sizeof(s.path), "%s/o", folder);
    s.fd = listen_at(s.path);
    assert_int_equal(pthread_create(&s.thread, NULL, answer_oddly, &s), 0);
    assert_int_equal(run("-s @o config", &out, &err), 3);
    assert_string_equal(out, "");
    assert_non_null(strstr(err, "no contact with halb at "));
    free(out);
    free(err);
    server_stop(&s);
}

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

int main(void)
{
    struct CMUnitTest tests[COUNT(rows) + COUNT(odd_rows) + 1];
    size_t count = 0;
    for (size_t i = 0; i < COUNT(rows); i++)
        tests[count++] = (struct CMUnitTest){ .name = rows[i].name, .test_func = test_run, .initial_state = (void *)&rows[i] };
    for (size_t i = 0; i < COUNT(odd_rows); i++)
        tests[count++] = (struct CMUnitTest){ .name = odd_rows[i].name, .test_func = test_odd, .initial_state = (void *)&odd_rows[i] };
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_json_lists);
    return _cmocka_run_group_tests("ctl_run", tests, count, start_all, stop_all);
}
