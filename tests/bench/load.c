/*
 * Load for a proxy under measurement: the clients before it and the instances
 * behind it, in one process and one thread, so that they share one core.
 *
 * Clients are a closed loop: each connection sends its next request when the
 * last answer is whole, or, at a fixed rate, when the schedule says so; then
 * latency counts from the scheduled time. Both sides speak either HTTP/1.1 or
 * messages of fixed size. Every answer is checked for its status and its length.
 *
 * Commands, a line each on standard input, answered by a line on standard output:
 *   start   opens the client connections           -> started
 *   begin   forgets what was counted so far        -> begun
 *   end     reports since begin                    -> one JSON object
 * End of input ends the process. "ready" is printed once instances listen.
 */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>

#define HEAD_BYTES_MAX 4096
#define BLOCK_BYTES (256 * 1024)
#define CHUNK_BYTES 16384
#define PIECES_MAX 16
#define EVENTS_MAX 256
#define ACCEPTS_MAX 64
#define DISCARD_BYTES_MIN 65536 /* longer rests are dropped in the kernel, uncopied */
#define REOPEN_MS 1
#define NS_PER_SECOND 1000000000LL

struct options {
    bool http, chunked, new_connection;
    struct sockaddr_in target;
    uint16_t listen_port;
    unsigned connections;
    uint64_t request_bytes, response_bytes;
    unsigned rate; /* requests per second over all connections; 0: as fast as they go */
};

/* head, then block repeated until body_length bytes are out, then tail. */
struct message {
    char head[512], tail[8];
    char *block;
    size_t head_length, block_length, tail_length;
    uint64_t body_length;
};

enum phase { HEAD, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, WHOLE, BROKEN };

/* What has come of the message now being received. */
struct incoming {
    enum phase phase;
    bool close;             /* its sender will close after it */
    unsigned status;        /* 0 in a request */
    uint64_t left;          /* of the body or of the chunk */
    uint64_t body_bytes;
    size_t line_length;     /* of what is held in line: a head, a chunk size or a trailer line */
    char line[HEAD_BYTES_MAX];
};

enum kind { COMMANDS, LISTENER, INSTANCE_SIDE, CLIENT_SIDE };

struct conn {
    enum kind kind;
    int fd;
    bool want_out;
    bool busy;              /* client: a request is under way; instance: an answer is */
    bool listed;            /* in the idle or in the reopen list */
    uint64_t sent;
    int64_t since_ns;
    struct conn *next;
    struct incoming in;
};

/* Relative precision 1/64: exact below 64 ns, then 64 steps to each doubling. */
#define STEPS 64
#define DOUBLINGS 34
struct histogram {
    uint64_t counts[DOUBLINGS * STEPS];
    uint64_t total, max_ns;
};

struct counters {
    int64_t begin_ns;
    uint64_t requests, bytes, connects;
    uint64_t refused, cut, bad_status, bad_length, malformed;
    struct histogram latency;
};

static struct options options;
static struct message request, response;
static struct counters counters;
static int epoll_fd;
static bool running;
static int64_t schedule_ns;
static struct conn *idle, *reopen;
static struct conn commands = { .kind = COMMANDS, .fd = STDIN_FILENO };
static struct conn listener = { .kind = LISTENER };
static struct conn *clients;
static char buffer[BLOCK_BYTES];

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench_load: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * NS_PER_SECOND + ts.tv_nsec;
}

/* Histogram */

static unsigned histogram_slot(uint64_t ns)
{
    unsigned shift, slot;
    if (ns < STEPS)
        return (unsigned)ns;
    shift = 63 - (unsigned)__builtin_clzll(ns) - 6;
    slot = (shift + 1) * STEPS + (unsigned)(ns >> shift) - STEPS;
    return slot < DOUBLINGS * STEPS ? slot : DOUBLINGS * STEPS - 1;
}

static uint64_t histogram_value(unsigned slot)
{
    unsigned shift;
    if (slot < STEPS)
        return slot;
    shift = slot / STEPS - 1;
    return ((uint64_t)(slot % STEPS + STEPS) << shift) + ((UINT64_C(1) << shift) >> 1);
}

static void histogram_add(struct histogram *h, uint64_t ns)
{
    h->counts[histogram_slot(ns)]++;
    h->total++;
    if (ns > h->max_ns)
        h->max_ns = ns;
}

static double histogram_us(const struct histogram *h, double share)
{
    uint64_t seen = 0, wanted = (uint64_t)(share * (double)h->total);
    for (unsigned i = 0; i < DOUBLINGS * STEPS; i++) {
        seen += h->counts[i];
        if (seen > wanted)
            return (double)histogram_value(i) / 1e3;
    }
    return (double)h->max_ns / 1e3;
}

/* Messages to send */

static void message_block(struct message *m, uint64_t body_bytes)
{
    bool chunked = options.http && options.chunked;
    uint64_t length = chunked && body_bytes > CHUNK_BYTES ? CHUNK_BYTES : body_bytes;
    int prefix = 0;
    if (!chunked && length > BLOCK_BYTES)
        length = BLOCK_BYTES;
    m->block = malloc(length + 32);
    if (m->block == NULL)
        die("no memory for a body");
    if (chunked)
        prefix = sprintf(m->block, "%" PRIx64 "\r\n", length);
    memset(m->block + prefix, 'x', length);
    m->block_length = length;
    m->body_length = body_bytes;
    if (chunked && length > 0) {
        memcpy(m->block + prefix + length, "\r\n", 2);
        m->block_length = (size_t)prefix + length + 2;
        m->body_length = body_bytes / length * m->block_length;
    }
}

static void message_init(struct message *m, const char *first_line, const char *fields, uint64_t body_bytes, bool framed)
{
    char framing[64] = "";
    message_block(m, body_bytes);
    if (!options.http)
        return;
    if (framed && options.chunked)
        strcpy(framing, "Transfer-Encoding: chunked\r\n");
    else if (framed)
        snprintf(framing, sizeof(framing), "Content-Length: %" PRIu64 "\r\n", body_bytes);
    if (framed && options.chunked)
        m->tail_length = (size_t)sprintf(m->tail, "0\r\n\r\n");
    m->head_length = (size_t)snprintf(m->head, sizeof(m->head), "%s\r\n%s%s\r\n", first_line, fields, framing);
}

static void messages_init(void)
{
    char fields[256];
    snprintf(fields, sizeof(fields), "Host: bench.example\r\nUser-Agent: bench_load/1.0\r\nAccept: */*\r\n%s",
             options.new_connection ? "Connection: close\r\n" : "");
    message_init(&request, options.request_bytes > 0 ? "POST /bench HTTP/1.1" : "GET /bench HTTP/1.1", fields,
                 options.request_bytes, options.request_bytes > 0);
    message_init(&response, "HTTP/1.1 200 OK", "Server: bench_load/1.0\r\nContent-Type: text/plain\r\n",
                 options.response_bytes, true);
}

static uint64_t message_length(const struct message *m)
{
    return m->head_length + m->body_length + m->tail_length;
}

/* The bytes that follow `offset` in one run of memory. */
static struct iovec message_piece(const struct message *m, uint64_t offset)
{
    uint64_t in_body, left;
    size_t in_block;
    if (offset < m->head_length)
        return (struct iovec){ (char *)m->head + offset, m->head_length - offset };
    in_body = offset - m->head_length;
    if (in_body >= m->body_length)
        return (struct iovec){ (char *)m->tail + (in_body - m->body_length), m->tail_length - (in_body - m->body_length) };
    in_block = in_body % m->block_length;
    left = m->body_length - in_body;
    return (struct iovec){ m->block + in_block, left < m->block_length - in_block ? left : m->block_length - in_block };
}

static unsigned message_pieces(const struct message *m, uint64_t offset, struct iovec pieces[PIECES_MAX])
{
    unsigned count = 0;
    while (count < PIECES_MAX && offset < message_length(m)) {
        pieces[count] = message_piece(m, offset);
        offset += pieces[count++].iov_len;
    }
    return count;
}

/* Messages received */

static void incoming_reset(struct incoming *in, uint64_t fixed_bytes)
{
    in->phase = options.http ? HEAD : fixed_bytes > 0 ? BODY : WHOLE;
    in->close = false;
    in->status = 0;
    in->left = options.http ? 0 : fixed_bytes;
    in->body_bytes = 0;
    in->line_length = 0;
}

static void incoming_field(struct incoming *in, const char *line, enum phase *next)
{
    if (strncasecmp(line, "content-length:", 15) == 0) {
        in->left = strtoull(line + 15, NULL, 10);
        *next = in->left > 0 ? BODY : WHOLE;
    } else if (strncasecmp(line, "transfer-encoding: chunked", 26) == 0) {
        *next = CHUNK_SIZE;
    } else if (strncasecmp(line, "connection: close", 17) == 0) {
        in->close = true;
    }
}

/* The head is complete and terminated in in->line. */
static void incoming_head(struct incoming *in)
{
    const char *line = in->line;
    enum phase next = WHOLE;
    if (strncmp(line, "HTTP/1.1 ", 9) == 0) {
        in->status = (unsigned)strtoul(line + 9, NULL, 10);
        next = BROKEN;      /* an answer must be framed */
    } else {
        in->close = strstr(line, " HTTP/1.0\r\n") != NULL;
    }
    for (line = strchr(line, '\n'); line != NULL && line[1] != '\r'; line = strchr(line + 1, '\n'))
        if ((line[1] | 0x20) == 'c' || (line[1] | 0x20) == 't')
            incoming_field(in, line + 1, &next);
    in->phase = next;
}

static void incoming_chunk_size(struct incoming *in)
{
    char *end;
    in->left = strtoull(in->line, &end, 16);
    if (end == in->line)
        in->phase = BROKEN;
    else
        in->phase = in->left > 0 ? CHUNK_DATA : TRAILER;
}

/* Takes bytes up to the end that this phase waits for; acts when it is there. */
static size_t incoming_line(struct incoming *in, const char *bytes, size_t length)
{
    const char *mark = in->phase == HEAD ? "\r\n\r\n" : "\r\n";
    size_t mark_length = strlen(mark), held = in->line_length, from, room = HEAD_BYTES_MAX - 1 - held;
    size_t taken = length < room ? length : room;
    const char *end;
    memcpy(in->line + held, bytes, taken);
    in->line_length += taken;
    from = held < mark_length ? 0 : held - mark_length;
    end = memmem(in->line + from, in->line_length - from, mark, mark_length);
    if (end == NULL) {
        if (in->line_length == HEAD_BYTES_MAX - 1)
            in->phase = BROKEN;
        return taken;
    }
    taken = (size_t)(end - in->line) + mark_length - held;
    in->line[held + taken] = '\0';
    in->line_length = 0;
    if (in->phase == HEAD)
        incoming_head(in);
    else if (in->phase == CHUNK_SIZE)
        incoming_chunk_size(in);
    else if (in->phase == CHUNK_END)
        in->phase = CHUNK_SIZE;
    else if (in->line[0] == '\r')
        in->phase = WHOLE;
    return taken;
}

static size_t incoming_data(struct incoming *in, size_t length)
{
    size_t taken = length < in->left ? length : in->left;
    in->left -= taken;
    in->body_bytes += taken;
    if (in->left == 0)
        in->phase = in->phase == BODY ? WHOLE : CHUNK_END;
    return taken;
}

/* Returns how many bytes belong to the message; fewer than length only when it is whole or broken. */
static size_t incoming_feed(struct incoming *in, const char *bytes, size_t length)
{
    size_t used = 0;
    while (used < length && in->phase != WHOLE && in->phase != BROKEN) {
        if (in->phase == BODY || in->phase == CHUNK_DATA)
            used += incoming_data(in, length - used);
        else
            used += incoming_line(in, bytes + used, length - used);
    }
    return used;
}

/* Connections of both sides */

static void conn_list(struct conn **list, struct conn *c)
{
    assert(!c->listed);
    c->listed = true;
    c->next = *list;
    *list = c;
}

static struct conn *conn_unlist(struct conn **list)
{
    struct conn *c = *list;
    *list = c->next;
    c->listed = false;
    return c;
}

static void conn_watch(struct conn *c, int how)
{
    struct epoll_event event = { .events = c->want_out ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c };
    if (epoll_ctl(epoll_fd, how, c->fd, &event) < 0)
        die("epoll_ctl");
}

static void conn_want_out(struct conn *c, bool want)
{
    if (c->want_out == want)
        return;
    c->want_out = want;
    conn_watch(c, EPOLL_CTL_MOD);
}

/* Sends what is left of m; false when the connection is dead. */
static bool conn_send(struct conn *c, const struct message *m)
{
    while (c->sent < message_length(m)) {
        struct iovec pieces[PIECES_MAX];
        struct msghdr msg = { .msg_iov = pieces, .msg_iovlen = message_pieces(m, c->sent, pieces) };
        ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n < 0) {
            conn_want_out(c, true);
            return true;
        }
        c->sent += (uint64_t)n;
    }
    conn_want_out(c, false);
    return true;
}

/* recv(): long rests of a body are dropped without a copy, so that the load stays cheaper than what it measures. */
static ssize_t conn_recv(struct conn *c)
{
    struct incoming *in = &c->in;
    if (in->phase == BODY && in->left >= DISCARD_BYTES_MIN)
        return recv(c->fd, NULL, in->left < (1 << 30) ? in->left : 1 << 30, MSG_TRUNC | MSG_DONTWAIT);
    return recv(c->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
}

static void nodelay(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* Instances */

static void instance_close(struct conn *c)
{
    close(c->fd);
    c->fd = -1;
    free(c);
}

/* False when the connection was closed. */
static bool instance_answer(struct conn *c)
{
    if (!conn_send(c, &response) || (c->sent == message_length(&response) && c->in.close)) {
        instance_close(c);
        return false;
    }
    if (c->sent == message_length(&response)) {
        c->busy = false;
        c->sent = 0;
        incoming_reset(&c->in, options.request_bytes);
    }
    return true;
}

static void instance_event(struct conn *c)
{
    ssize_t n;
    if (c->busy) {
        instance_answer(c);
        return;
    }
    n = conn_recv(c);
    if (n < 0 && errno == EAGAIN)
        return;
    /* A proxy never sends a request before the last is answered: a surplus byte ends the connection. */
    if (n <= 0 || incoming_feed(&c->in, buffer, (size_t)n) < (size_t)n || c->in.phase == BROKEN) {
        instance_close(c);
        return;
    }
    if (c->in.phase == WHOLE) {
        c->busy = true;
        instance_answer(c);
    }
}

static void instance_accept(void)
{
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct conn *c;
        if (fd < 0)
            return;
        c = calloc(1, sizeof(*c));
        if (c == NULL)
            die("no memory for a connection");
        nodelay(fd);
        c->kind = INSTANCE_SIDE;
        c->fd = fd;
        incoming_reset(&c->in, options.request_bytes);
        conn_watch(c, EPOLL_CTL_ADD);
    }
}

static void instances_listen(void)
{
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(options.listen_port) };
    int one = 1;
    listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener.fd < 0)
        die("socket");
    setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    any.sin_addr.s_addr = htonl(INADDR_ANY);
    if (bind(listener.fd, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(listener.fd, 65535) < 0)
        die("cannot listen");
    conn_watch(&listener, EPOLL_CTL_ADD);
}

/* Clients */

static void client_fail(struct conn *c, uint64_t *why)
{
    (*why)++;
    close(c->fd);
    c->fd = -1;
    c->busy = false;
    conn_list(&reopen, c);
}

static uint64_t *cut_or_refused(int err)
{
    return err == ECONNREFUSED ? &counters.refused : &counters.cut;
}

static void client_request(struct conn *c, int64_t since_ns)
{
    c->busy = true;
    c->sent = 0;
    c->since_ns = since_ns;
    incoming_reset(&c->in, options.response_bytes);
    if (!conn_send(c, &request))
        client_fail(c, cut_or_refused(errno));
}

static bool client_connect(struct conn *c)
{
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    nodelay(c->fd);
    c->want_out = false;
    counters.connects++;
    if (connect(c->fd, (const struct sockaddr *)&options.target, sizeof(options.target)) < 0 && errno != EINPROGRESS) {
        client_fail(c, &counters.refused);
        return false;
    }
    conn_watch(c, EPOLL_CTL_ADD);
    return true;
}

/* A connection that is open, or is to be opened for this request. */
static void client_start(struct conn *c, int64_t since_ns)
{
    if (c->fd >= 0 || client_connect(c))
        client_request(c, since_ns);
}

static void client_next(struct conn *c)
{
    if (options.rate > 0)
        conn_list(&idle, c);
    else
        client_start(c, now_ns());
}

static void client_whole(struct conn *c)
{
    if (options.http && c->in.status != 200) {
        client_fail(c, &counters.bad_status);
        return;
    }
    if (c->in.body_bytes != options.response_bytes) {
        client_fail(c, &counters.bad_length);
        return;
    }
    counters.requests++;
    histogram_add(&counters.latency, (uint64_t)(now_ns() - c->since_ns));
    c->busy = false;
    if (options.new_connection || c->in.close) {
        close(c->fd);
        c->fd = -1;
    }
    client_next(c);
}

static void client_take(struct conn *c, size_t length)
{
    uint64_t before = c->in.body_bytes;
    size_t used = incoming_feed(&c->in, buffer, length);
    counters.bytes += c->in.body_bytes - before;
    if (c->in.phase == BROKEN || used < length)
        client_fail(c, &counters.malformed);
    else if (c->in.phase == WHOLE)
        client_whole(c);
}

/* Between requests a close by the proxy is no failure: the next request reconnects. */
static void client_idle_event(struct conn *c)
{
    close(c->fd);
    c->fd = -1;
}

static void client_event(struct conn *c, uint32_t events)
{
    ssize_t n;
    if (!c->busy) {
        client_idle_event(c);
        return;
    }
    if ((events & EPOLLOUT) != 0 && !conn_send(c, &request)) {
        client_fail(c, cut_or_refused(errno));
        return;
    }
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) == 0)
        return;
    n = conn_recv(c);
    if (n > 0)
        client_take(c, (size_t)n);
    else if (n == 0 || errno != EAGAIN)
        client_fail(c, n == 0 ? &counters.cut : cut_or_refused(errno));
}

static void clients_start(void)
{
    clients = calloc(options.connections, sizeof(*clients));
    if (clients == NULL)
        die("no memory for clients");
    running = true;
    schedule_ns = now_ns();
    for (unsigned i = 0; i < options.connections; i++) {
        clients[i].kind = CLIENT_SIDE;
        clients[i].fd = -1;
        client_next(&clients[i]);
    }
}

/* Failed ones try again once a turn, so that a dead proxy is not answered by a busy loop. */
static void clients_reopen(void)
{
    struct conn *list = reopen;
    reopen = NULL;
    while (list != NULL)
        client_next(conn_unlist(&list));
}

static void clients_on_schedule(void)
{
    int64_t now = now_ns();
    while (idle != NULL && schedule_ns <= now) {
        client_start(conn_unlist(&idle), schedule_ns);
        schedule_ns += NS_PER_SECOND / options.rate;
    }
}

/* Commands */

static void report(void)
{
    const struct counters *n = &counters;
    const struct histogram *h = &n->latency;
    printf("{\"seconds\":%.6f,\"requests\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"connects\":%" PRIu64,
           (double)(now_ns() - n->begin_ns) / 1e9, n->requests, n->bytes, n->connects);
    printf(",\"errors\":{\"refused\":%" PRIu64 ",\"cut\":%" PRIu64 ",\"status\":%" PRIu64 ",\"length\":%" PRIu64
           ",\"malformed\":%" PRIu64 "}",
           n->refused, n->cut, n->bad_status, n->bad_length, n->malformed);
    printf(",\"latency_us\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p99.9\":%.1f,\"max\":%.1f}}\n",
           histogram_us(h, 0.5), histogram_us(h, 0.9), histogram_us(h, 0.99), histogram_us(h, 0.999), (double)h->max_ns / 1e3);
}

static void command(const char *line)
{
    if (strcmp(line, "start") == 0 && !running) {
        clients_start();
        puts("started");
    } else if (strcmp(line, "begin") == 0) {
        counters = (struct counters){ .begin_ns = now_ns() };
        puts("begun");
    } else if (strcmp(line, "end") == 0) {
        report();
    } else {
        fprintf(stderr, "bench_load: unknown command: %s\n", line);
        exit(EXIT_FAILURE);
    }
    fflush(stdout);
}

/* One command at a time: the sender waits for the answer. False at the end of input. */
static bool commands_event(void)
{
    char line[64];
    ssize_t n = read(STDIN_FILENO, line, sizeof(line) - 1);
    if (n <= 0)
        return false;
    line[n] = '\0';
    line[strcspn(line, "\n")] = '\0';
    command(line);
    return true;
}

static struct timespec *loop_timeout(struct timespec *ts)
{
    int64_t wait = -1;
    if (running && options.rate > 0 && idle != NULL)
        wait = schedule_ns - now_ns();
    if (reopen != NULL && (wait < 0 || wait > REOPEN_MS * 1000000LL))
        wait = REOPEN_MS * 1000000LL;
    else if (wait < 0 && (!running || options.rate == 0 || idle == NULL))
        return NULL;
    if (wait < 0)
        wait = 0;
    *ts = (struct timespec){ .tv_sec = wait / NS_PER_SECOND, .tv_nsec = wait % NS_PER_SECOND };
    return ts;
}

static bool dispatch(struct conn *c, uint32_t events)
{
    switch (c->kind) {
    case COMMANDS:
        return commands_event();
    case LISTENER:
        instance_accept();
        return true;
    case INSTANCE_SIDE:
        instance_event(c);
        return true;
    case CLIENT_SIDE:
        client_event(c, events);
        return true;
    }
    return false;
}

static void loop(void)
{
    struct epoll_event events[EVENTS_MAX];
    struct timespec ts;
    for (;;) {
        int n = epoll_pwait2(epoll_fd, events, EVENTS_MAX, loop_timeout(&ts), NULL);
        if (n < 0 && errno != EINTR)
            die("epoll_pwait2");
        for (int i = 0; i < n; i++)
            if (!dispatch(events[i].data.ptr, events[i].events))
                return;
        clients_reopen();
        if (running && options.rate > 0)
            clients_on_schedule();
    }
}

/* Options */

static const struct option long_options[] = {
    { "protocol", required_argument, NULL, 'p' },      { "listen", required_argument, NULL, 'l' },
    { "target", required_argument, NULL, 't' },        { "connections", required_argument, NULL, 'c' },
    { "request-bytes", required_argument, NULL, 'q' }, { "response-bytes", required_argument, NULL, 'r' },
    { "rate", required_argument, NULL, 'R' },          { "chunked", no_argument, NULL, 'C' },
    { "new-connection", no_argument, NULL, 'n' },      { NULL, 0, NULL, 0 },
};

static void usage(const char *why)
{
    fprintf(stderr,
            "bench_load: %s\nusage: bench_load --protocol http|tcp --listen PORT --target ADDRESS:PORT --connections N\n"
            "                  [--request-bytes N] [--response-bytes N] [--chunked] [--new-connection] [--rate N]\n",
            why);
    exit(2);
}

static uint64_t number(const char *text, uint64_t max)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || value > max)
        usage("a number is wrong or too large");
    return value;
}

static void target_parse(char *text)
{
    char *colon = strrchr(text, ':');
    if (colon == NULL)
        usage("--target wants ADDRESS:PORT");
    *colon = '\0';
    options.target.sin_family = AF_INET;
    options.target.sin_port = htons((uint16_t)number(colon + 1, UINT16_MAX));
    if (inet_pton(AF_INET, text, &options.target.sin_addr) != 1)
        usage("--target wants an IPv4 address");
}

static bool protocol_http(const char *name)
{
    if (strcmp(name, "http") != 0 && strcmp(name, "tcp") != 0)
        usage("--protocol is http or tcp");
    return strcmp(name, "http") == 0;
}

static void option_set(int name)
{
    switch (name) {
    case 'p': options.http = protocol_http(optarg); break;
    case 'l': options.listen_port = (uint16_t)number(optarg, UINT16_MAX); break;
    case 't': target_parse(optarg); break;
    case 'c': options.connections = (unsigned)number(optarg, 1000000); break;
    case 'q': options.request_bytes = number(optarg, UINT64_MAX >> 1); break;
    case 'r': options.response_bytes = number(optarg, UINT64_MAX >> 1); break;
    case 'R': options.rate = (unsigned)number(optarg, NS_PER_SECOND); break;
    case 'C': options.chunked = true; break;
    case 'n': options.new_connection = true; break;
    default: usage("unknown option");
    }
}

static bool whole_chunks(uint64_t bytes)
{
    return bytes <= CHUNK_BYTES || bytes % CHUNK_BYTES == 0;
}

static void options_parse(int argc, char **argv)
{
    int name;
    while ((name = getopt_long(argc, argv, "", long_options, NULL)) >= 0)
        option_set(name);
    if (options.listen_port == 0 || options.target.sin_port == 0 || options.connections == 0)
        usage("--listen, --target and --connections are needed");
    if (!options.http && (options.request_bytes == 0 || options.response_bytes == 0))
        usage("tcp needs --request-bytes and --response-bytes");
    if (options.chunked && (!whole_chunks(options.request_bytes) || !whole_chunks(options.response_bytes)))
        usage("a chunked body above 16384 bytes is a multiple of that");
}

static void descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("setrlimit");
}

int main(int argc, char **argv)
{
    options_parse(argc, argv);
    descriptors_raise();
    messages_init();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("epoll_create1");
    instances_listen();
    conn_watch(&commands, EPOLL_CTL_ADD);
    puts("ready");
    fflush(stdout);
    loop();
    return EXIT_SUCCESS;
}
