#include "lb/notify.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* A service manager's socket; its name as NOTIFY_SOCKET has it goes to `name`. */
static int manager(bool abstract, char name[108])
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    snprintf(name, 108, abstract ? "@halb-test-notify-%d" : "/tmp/halb-test-notify-%d", (int)getpid());
    strcpy(at.sun_path, name);
    unlink(name);
    if (abstract)
        at.sun_path[0] = '\0';
    assert_int_equal(bind(fd, (struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))), 0);
    return fd;
}

static void test_told(void **state)
{
    bool abstract = *(const bool *)*state;
    char name[108], text[64];
    int fd = manager(abstract, name);
    ssize_t n;
    setenv("NOTIFY_SOCKET", name, 1);
    notify("READY=1");
    n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
    assert_int_equal(n, 7);
    assert_memory_equal(text, "READY=1", 7);
    notify("STOPPING=1");
    n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
    assert_int_equal(n, 10);
    assert_memory_equal(text, "STOPPING=1", 10);
    assert_int_equal(recv(fd, text, sizeof(text), MSG_DONTWAIT), -1);
    close(fd);
    unlink(name);
}

static const struct nobody_row {
    const char *name, *socket;
    size_t padded;              /* to this length */
} nobodies[] = {
    { "no service manager", NULL, 0 },
    { "an empty name", "", 0 },
    { "a name that is no path", "run/notify", 0 },
    { "the abstract name of nothing", "@", 0 },
    { "nobody is there", "/nonexistent/halb/notify", 0 },
    { "nobody has this abstract name", "@halb-test-nobody", 0 },
    { "the longest path that may be", "/tmp/", 107 },
    { "a path longer than any", "/tmp/", 108 },
    { "far longer", "/tmp/", 4000 },
};

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += dup2(fd, fd) == fd;
    return count;
}

static void test_nobody(void **state)
{
    const struct nobody_row *row = *state;
    char name[4001] = "";
    int before = open_descriptors();
    unsetenv("NOTIFY_SOCKET");
    if (row->socket != NULL) {
        strcpy(name, row->socket);
        for (size_t len = strlen(name); len < row->padded; len++)
            name[len] = 'x';
        setenv("NOTIFY_SOCKET", name, 1);
    }
    notify("READY=1");
    assert_int_equal(open_descriptors(), before);
}

int main(void)
{
    static const bool abstract = true, path = false;
    static struct CMUnitTest tests[16] = {
        { .name = "told at a path", .test_func = test_told, .initial_state = (void *)&path },
        { .name = "told at an abstract name", .test_func = test_told, .initial_state = (void *)&abstract },
    };
    size_t count = 2;
    for (size_t i = 0; i < sizeof(nobodies) / sizeof(nobodies[0]); i++)
        tests[count++] = (struct CMUnitTest){ .name = nobodies[i].name, .test_func = test_nobody, .initial_state = (void *)&nobodies[i] };
    return _cmocka_run_group_tests("notify", tests, count, NULL, NULL);
}
