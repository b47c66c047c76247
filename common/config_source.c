/*
 * Which tokens stand in which file and line? Includes are resolved here,
 * relative to the file that includes (libconfig knows one folder for all), and
 * libconfig is given one token a line: so each setting's line is a token, its
 * own text is at hand (libconfig wraps long integers without a word), and
 * lines are exact where libconfig's are those of the token that follows.
 */
#include "common/config_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX 10                        /* of includes; of a chain that never ends */
#define NESTING_MAX 64                      /* of brackets: libconfig recurses */
#define BYTES_MAX ((size_t)16 << 20)        /* of all files together */

struct lexer {
    struct source *source;
    struct report *report;
    const char *file;
    const char *at, *end;
    unsigned line;
    unsigned depth;
};

static int lex(struct lexer *lx);

static int grow(void *items, size_t *room, size_t need, size_t size)
{
    void **array = items;
    size_t more = *room == 0 ? 256 : *room;
    void *ret;
    if (need <= *room)
        return 0;
    while (more < need)
        more *= 2;
    ret = reallocarray(*array, more, size);
    if (ret == NULL)
        return -ENOMEM;
    *array = ret;
    *room = more;
    return 0;
}

static int add_token(struct source *s, const char *file, unsigned line)
{
    int r = grow(&s->tokens, &s->tokens_room, s->count + 2, sizeof(*s->tokens));
    if (r < 0)
        return r;
    s->tokens[s->count + 1] = (struct token){ .file = file, .line = line, .start = s->len };
    return 0;
}

static int emit(struct lexer *lx, const char *bytes, size_t len)
{
    struct source *s = lx->source;
    int r = grow(&s->text, &s->room, s->len + len + 2, 1);
    if (r == 0)
        r = add_token(s, lx->file, lx->line);
    if (r < 0)
        return r;
    memcpy(s->text + s->len, bytes, len);
    s->len += len;
    s->text[s->len++] = '\n';
    s->text[s->len] = '\0';
    s->count++;
    return 0;
}

/* The complaint stands at a token of its own, so that it has this line. */
static int refuse(struct lexer *lx, unsigned line, const char *text)
{
    int r = add_token(lx->source, lx->file, line);
    if (r < 0)
        return r;
    lx->source->count++;
    complain(lx->report, lx->source->count, "%s", text);
    return -EINVAL;
}

static bool starts(const struct lexer *lx, const char *text)
{
    size_t len = strlen(text);
    return (size_t)(lx->end - lx->at) >= len && memcmp(lx->at, text, len) == 0;
}

static int skip_block_comment(struct lexer *lx)
{
    unsigned first = lx->line;
    for (lx->at += 2; lx->at < lx->end; lx->at++) {
        if (starts(lx, "*/")) {
            lx->at += 2;
            return 0;
        }
        lx->line += *lx->at == '\n';
    }
    return refuse(lx, first, "found a comment without end, expected */");
}

static void skip_line(struct lexer *lx)
{
    while (lx->at < lx->end && *lx->at != '\n')
        lx->at++;
}

/* lx->at is the opening quote; *len with both quotes. */
static int measure_string(struct lexer *lx, size_t *len)
{
    const char *p = lx->at + 1;
    for (; p < lx->end && *p != '"' && *p != '\n'; p++) {
        if (*p == '\0' || (lx->end - p >= 4 && memcmp(p, "\\x00", 4) == 0))
            return refuse(lx, lx->line, "found a zero byte in a string, expected text");
        if (*p == '\\' && lx->end - p > 1 && p[1] != '\n')
            p++;
    }
    if (p >= lx->end || *p != '"')
        return refuse(lx, lx->line, "found a string without end, expected \" on the same line");
    *len = (size_t)(p + 1 - lx->at);
    return 0;
}

static int take_string(struct lexer *lx)
{
    size_t len;
    int r = measure_string(lx, &len);
    if (r == 0)
        r = emit(lx, lx->at, len);
    if (r == 0)
        lx->at += len;
    return r;
}

int source_read_all(int fd, char *bytes, size_t room, size_t *len)
{
    ssize_t n;
    *len = 0;
    do {
        n = read(fd, bytes + *len, room - *len);
        if (n > 0)
            *len += (size_t)n;
    } while ((n > 0 && *len < room) || (n < 0 && errno == EINTR));
    return n < 0 ? -errno : *len == room ? -EFBIG : 0;
}

/* *ret is the caller's to free. */
static int read_file(const char *path, char **ret, size_t *len)
{
    char *bytes = NULL;
    int r, fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    r = -ENOMEM;
    bytes = malloc(BYTES_MAX);
    if (bytes == NULL)
        goto out;
    r = source_read_all(fd, bytes, BYTES_MAX, len);
    if (r < 0)
        goto out;
    *ret = bytes;
    bytes = NULL;
out:
    free(bytes);
    close(fd);
    return r;
}

static int refuse_file(struct lexer *lx, const char *path, int err)
{
    char *text;
    int r;
    if (err == -ENOMEM)
        return err;
    if (asprintf(&text, "found no readable file %s (%s), expected a configuration", path, strerror(-err)) < 0)
        return -ENOMEM;
    r = refuse(lx, lx->line, text);
    free(text);
    return r;
}

/* `from` says where it is included: errors of reading stand there. */
static int lex_file(struct lexer *from, const char *path)
{
    struct lexer lx = *from;
    char *bytes = NULL;
    size_t len = 0;
    int r = read_file(path, &bytes, &len);
    if (r < 0)
        return refuse_file(from, path, r);
    lx.file = path;
    lx.line = 1;
    lx.at = bytes;
    lx.end = bytes + len;
    r = lex(&lx);
    if (from->depth == 0)
        from->line = lx.line;
    free(bytes);
    return r;
}

/* Relative to the folder of the including file. */
static char *included_path(const struct lexer *lx, const char *name, size_t len)
{
    const char *slash = strrchr(lx->file, '/');
    int folder = name[0] == '/' || slash == NULL ? 0 : (int)(slash + 1 - lx->file);
    return arena_print(lx->source->arena, "%.*s%.*s", folder, lx->file, (int)len, name);
}

static int take_include(struct lexer *lx)
{
    struct lexer inner;
    const char *path;
    size_t len;
    int r;
    if (!starts(lx, "@include"))
        return refuse(lx, lx->line, "found @, expected @include \"FILE\"");
    for (lx->at += strlen("@include"); lx->at < lx->end && (*lx->at == ' ' || *lx->at == '\t');)
        lx->at++;
    if (lx->at == lx->end || *lx->at != '"')
        return refuse(lx, lx->line, "found @include without a file, expected @include \"FILE\"");
    r = measure_string(lx, &len);
    if (r < 0)
        return r;
    if (lx->depth == DEPTH_MAX)
        return refuse(lx, lx->line, "found includes more than 10 deep, expected fewer: does a file include itself?");
    path = included_path(lx, lx->at + 1, len - 2);
    if (path == NULL)
        return -ENOMEM;
    lx->at += len;
    inner = *lx;
    inner.depth++;
    return lex_file(&inner, path);
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '+' ||
           c == '.' || c == '*';
}

static int take_word(struct lexer *lx)
{
    const char *start = lx->at++;
    if (is_word(*start))
        while (lx->at < lx->end && is_word(*lx->at))
            lx->at++;
    if (*start == '\0')
        return refuse(lx, lx->line, "found a zero byte, expected text");
    return emit(lx, start, (size_t)(lx->at - start));
}

static int lex_one(struct lexer *lx, bool include_allowed)
{
    switch (*lx->at) {
    case '\n':
        lx->line++;
        /* fallthrough */
    case ' ':
    case '\t':
    case '\r':
    case '\f':
        lx->at++;
        return 0;
    case '#':
        skip_line(lx);
        return 0;
    case '"':
        return take_string(lx);
    case '@':
        return include_allowed ? take_include(lx) : refuse(lx, lx->line, "found @, expected no @include here");
    default:
        break;
    }
    if (starts(lx, "//"))
        skip_line(lx);
    else if (starts(lx, "/*"))
        return skip_block_comment(lx);
    else
        return take_word(lx);
    return 0;
}

static int lex(struct lexer *lx)
{
    int r = 0;
    while (r == 0 && lx->at < lx->end) {
        r = lex_one(lx, lx->depth < UINT8_MAX);
        if (r == 0 && lx->source->len > BYTES_MAX)
            r = refuse(lx, lx->line, "found more than 16M of configuration, expected less");
    }
    return r;
}

static int check_nesting(struct source *s, struct report *report)
{
    size_t depth = 0;
    for (size_t i = 1; i <= s->count; i++) {
        char c = s->text[s->tokens[i].start];
        if (c == '{' || c == '(' || c == '[')
            depth++;
        else if ((c == '}' || c == ')' || c == ']') && depth > 0)
            depth--;
        if (depth > NESTING_MAX) {
            complain(report, i, "found brackets more than %d deep, expected fewer", NESTING_MAX);
            return -EINVAL;
        }
    }
    return 0;
}

/* `open` is the innermost open bracket, `before` the token before's first byte. */
static bool string_may_follow(char open, char before)
{
    if (before == '=' || before == ':' || before == '"')
        return true;
    return (open == '[' || open == '(') && (before == open || before == ',');
}

size_t source_misplaced_string(const struct source *source)
{
    char open[NESTING_MAX + 1] = "", before = ';';
    size_t depth = 0;
    for (size_t i = 1; i <= source->count; i++) {
        char c = source->text[source->tokens[i].start];
        if (c == '"' && !string_may_follow(open[depth], before))
            return i;
        if (c == '{' || c == '(' || c == '[')
            open[++depth] = c;
        else if ((c == '}' || c == ')' || c == ']') && depth > 0)
            depth--;
        before = c;
    }
    return 0;
}

int source_open(struct source *source, struct arena *arena, const char *name, const char *bytes, struct report *report)
{
    struct lexer lx = { .source = source, .report = report, .line = 1 };
    int r;
    *source = (struct source){ .arena = arena };
    lx.file = arena_copy(arena, name, strlen(name));
    if (lx.file == NULL || grow(&source->text, &source->room, 1, 1) < 0)
        return -ENOMEM;
    source->text[0] = '\0';
    r = grow(&source->tokens, &source->tokens_room, 2, sizeof(*source->tokens));
    if (r < 0)
        return r;
    source->tokens[0] = (struct token){ .file = lx.file, .line = 1 };
    if (bytes == NULL) {
        r = lex_file(&lx, lx.file);
    } else {
        lx.at = bytes;
        lx.end = bytes + strlen(bytes);
        lx.depth = UINT8_MAX;       /* a text stands in no folder */
        r = lex(&lx);
    }
    if (r == 0)
        r = add_token(source, lx.file, lx.line);        /* the end */
    return r < 0 ? r : check_nesting(source, report);
}

void source_fini(struct source *source)
{
    free(source->text);
    free(source->tokens);
    *source = (struct source){ 0 };
}

const struct token *source_token(const struct source *source, size_t token)
{
    return &source->tokens[token <= source->count + 1 ? token : source->count + 1];
}

const char *source_text(const struct source *source, size_t token)
{
    const char *start, *text;
    if (token == 0 || token > source->count)
        return "the end of the file";
    start = source->text + source->tokens[token].start;
    text = arena_copy(source->arena, start, strcspn(start, "\n"));
    return text != NULL ? text : "";
}
