/*
 * A target without libFuzzer: every file of a folder, then mutations of them,
 * the same ones each time. The work runs in a child, for a broken assertion or
 * a sanitizer ends it; what it was at is in memory that both see, and is kept.
 *
 *   fuzz_NAME CORPUS_FOLDER|FILE      HALB_TEST_SEED=0x... HALB_FUZZ_RUNS=n
 */
#include "tests/fuzz/fuzz.h"
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEED          0x68616c62
#define RUNS          20000
#define FILES_MAX     256
#define INPUT_SECONDS 20 /* one that takes longer hangs; a sanitizer's slowness is in it */
#define MUTATIONS_MAX 5  /* of one input */

struct input {
    size_t size;
    uint8_t data[FUZZ_INPUT_MAX];
};

static struct input *files[FILES_MAX];
static size_t file_count;
static uint64_t random_state;

/* xorshift64* */
static size_t below(size_t bound)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (size_t)((random_state * UINT64_C(0x2545f4914f6cdd1d)) >> 33) % bound;
}

/* ---- inputs ---- */

static void file_read(const char *path)
{
    FILE *from = fopen(path, "re");
    struct input *input = calloc(1, sizeof(*input));

    assert(input != NULL);
    assert(file_count < FILES_MAX);
    if (from == NULL) {
        perror(path);
        exit(2);
    }
    input->size = fread(input->data, 1, sizeof(input->data), from);
    assert(!ferror(from));
    fclose(from);
    files[file_count++] = input;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* In the order of their names, whatever the file system's. A file alone is good, too. */
static void files_read(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, is_visible, alphasort);

    if (count < 0)
        file_read(path);
    for (int i = 0; i < count; i++) {
        char name[4096];
        snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
        file_read(name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

static void files_free(void)
{
    while (file_count > 0)
        free(files[--file_count]);
}

/* ---- mutations ---- */

/* Replaces `removed` bytes at `at`; what then is beyond the room is lost. */
static void replace(struct input *input, size_t at, size_t removed, const uint8_t *bytes, size_t len)
{
    uint8_t tail[FUZZ_INPUT_MAX];
    size_t tail_len = input->size - at - removed, room = FUZZ_INPUT_MAX - at;

    memcpy(tail, input->data + at + removed, tail_len);
    len = len < room ? len : room;
    memcpy(input->data + at, bytes, len);
    room -= len;
    tail_len = tail_len < room ? tail_len : room;
    memcpy(input->data + at + len, tail, tail_len);
    input->size = at + len + tail_len;
}

static uint8_t byte_worth(void)
{
    static const char often[] = "\r\n\0 \t:,;=\"\\/%?#*[]{}()-+.0159aAfFxXzZ\x01\x7f\x80\xc5\xff";
    return below(4) == 0 ? (uint8_t)below(256) : (uint8_t)often[below(sizeof(often))];
}

static void mutate_bytes(struct input *input, size_t at)
{
    uint8_t byte = byte_worth();
    size_t removed = at < input->size && below(2) == 0;

    replace(input, at, removed, &byte, 1);
}

static void mutate_bit(struct input *input, size_t at)
{
    if (at < input->size)
        input->data[at] ^= (uint8_t)(1u << below(8));
}

static void mutate_away(struct input *input, size_t at)
{
    size_t left = input->size - at;

    replace(input, at, left > 0 ? 1 + below(left < 16 ? left : 16) : 0, input->data, 0);
}

/* A piece of this input or of a file's goes in. */
static void mutate_splice(struct input *input, size_t at, const struct input *from)
{
    uint8_t piece[64];
    size_t start, len;

    if (from->size == 0)
        return;
    start = below(from->size);
    len = 1 + below(from->size - start);
    len = len < sizeof(piece) ? len : sizeof(piece);
    memcpy(piece, from->data + start, len);
    replace(input, at, below(2) == 0 && input->size - at >= len ? len : 0, piece, len);
}

static void mutate(struct input *input)
{
    for (size_t n = 1 + below(MUTATIONS_MAX); n > 0; n--) {
        size_t at = below(input->size + 1);
        switch (below(5)) {
        case 0:
            mutate_bytes(input, at);
            break;
        case 1:
            mutate_bit(input, at);
            break;
        case 2:
            mutate_away(input, at);
            break;
        case 3:
            mutate_splice(input, at, input);
            break;
        case 4:
            mutate_splice(input, at, files[below(file_count)]);
            break;
        }
    }
}

/* ---- runs ---- */

static void run(const struct input *input)
{
    alarm(INPUT_SECONDS);
    (void)LLVMFuzzerTestOneInput(input->data, input->size);
}

static void run_all(struct input *now, unsigned long runs)
{
    for (size_t i = 0; i < file_count; i++) {
        *now = *files[i];
        run(now);
    }
    while (runs-- > 0) {
        *now = *files[below(file_count)];
        mutate(now);
        run(now);
    }
    alarm(0);
    files_free();
}

static void keep(const struct input *input, const char *program)
{
    const char *slash = strrchr(program, '/');
    char name[256];
    FILE *to;

    snprintf(name, sizeof(name), "%s.crash", slash != NULL ? slash + 1 : program);
    to = fopen(name, "we");
    fprintf(stderr, "%zu bytes of input, kept in %s: \"", input->size, to != NULL ? name : "no file");
    for (size_t i = 0; i < input->size; i++)
        fprintf(stderr, input->data[i] >= ' ' && input->data[i] <= '~' ? "%c" : "\\x%02x", input->data[i]);
    fprintf(stderr, "\"\n");
    if (to != NULL) {
        fwrite(input->data, 1, input->size, to);
        fclose(to);
    }
}

static unsigned long number_of(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoul(text, NULL, 0) : otherwise;
}

int main(int argc, char **argv)
{
    unsigned long seed = number_of("HALB_TEST_SEED", SEED), runs = number_of("HALB_FUZZ_RUNS", RUNS);
    struct input *now = mmap(NULL, sizeof(*now), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;
    pid_t child;

    if (argc != 2 || now == MAP_FAILED) {
        fprintf(stderr, "usage: %s CORPUS_FOLDER|FILE\n", argv[0]);
        return 2;
    }
    random_state = seed != 0 ? seed : 1;
    files_read(argv[1]);
    printf("%zu files, %lu mutations, seed %#lx\n", file_count, runs, seed);
    fflush(stdout);
    assert(file_count > 0);
    child = fork();
    assert(child >= 0);
    if (child == 0) {
        run_all(now, runs);
        exit(0);
    }
    files_free();
    if (waitpid(child, &status, 0) != child || status != 0) {
        keep(now, argv[0]);
        return 1;
    }
    return 0;
}
