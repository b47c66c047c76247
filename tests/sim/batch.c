/* Many seeds: a range of them, or those of a file. */
#include "tests/sim/jobs.h"
#include "tests/sim/sim.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define END_LINES 40            /* of a failure's output that are shown */
#define KEPT_MOST 4096

static void show(const struct wanted *wanted, uint64_t step, const struct job_death *death)
{
    char line[1024];

    job_death_line(death, line, sizeof(line));
    job_death_print_end(death, END_LINES);
    fputs("halb_sim ", stdout);
    wanted_print(wanted);
    printf(": %s%s: %s\n", death->how, step == 0 ? ", by this or one before, when all of them had run" : "", line);
    fflush(stdout);
}

static void run_wanted(const struct wanted *wanted)
{
    struct plan plan;
    const char *bad;

    if (wanted_plan(wanted, &plan, &bad) < 0) {
        printf("FAILED: no part of this plan: %s\n", bad);
        exit(2);
    }
    rig_run(&plan, false);
}

/* ---- a range ---- */

static bool seed_run(void *arg, uint64_t track, uint64_t step)
{
    struct wanted wanted = { .seed = *(const uint64_t *)arg + track };

    (void)step;
    run_wanted(&wanted);
    return false;
}

static void seed_died(void *arg, uint64_t track, uint64_t step, const struct job_death *death)
{
    struct wanted wanted = { .seed = *(const uint64_t *)arg + track };

    show(&wanted, step, death);
}

int sim_seeds(uint64_t from, uint64_t to, unsigned jobs, bool keep_going)
{
    struct jobs conf = { .processes = jobs, .tracks = to - from + 1, .failures_most = keep_going ? 0 : 1, .run = seed_run, .died = seed_died, .arg = &from };
    struct jobs_result result;
    char what[80];

    jobs_run(&conf, &result);
    snprintf(what, sizeof(what), "seeds %" PRIu64 "-%" PRIu64, from, to);
    jobs_result_print(what, &result);
    return result.failures > 0;
}

/* ---- a file ---- */

struct kept {
    char *text;
    struct wanted *wanted;
    size_t count;
};

static bool kept_run(void *arg, uint64_t track, uint64_t step)
{
    (void)step;
    run_wanted(&((struct kept *)arg)->wanted[track]);
    return false;
}

static void kept_died(void *arg, uint64_t track, uint64_t step, const struct job_death *death)
{
    show(&((struct kept *)arg)->wanted[track], step, death);
}

/* Its words stay where they are in the text. */
static int parse_line(char *line, struct wanted *wanted)
{
    char *end, *rest = line, *word;

    *wanted = (struct wanted){ .seed = strtoull(line, &end, 10) };
    if (end == line || (*end != '\0' && *end != ' '))
        return -EINVAL;
    rest = end;
    while ((word = strsep(&rest, " \t")) != NULL) {
        if (*word == '\0')
            continue;
        while (rest != NULL && *rest == ' ')
            rest++;
        if (strcmp(word, "--without") != 0 || rest == NULL || wanted->without_count == WITHOUTS_MOST)
            return -EINVAL;
        wanted->without[wanted->without_count++] = strsep(&rest, " \t");
    }
    return 0;
}

static int parse_kept(struct kept *kept)
{
    char *rest = kept->text, *line;

    for (unsigned number = 1; (line = strsep(&rest, "\n")) != NULL; number++) {
        line[strcspn(line, "#")] = '\0';
        if (line[strspn(line, " \t")] == '\0')
            continue;
        if (kept->count == KEPT_MOST || parse_line(line, &kept->wanted[kept->count]) < 0) {
            fprintf(stderr, "halb_sim: line %u is no \"SEED [--without WHAT]... # what it found\", or too many lines\n", number);
            return -EINVAL;
        }
        kept->count++;
    }
    return 0;
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t size = 0;

    if (file == NULL)
        return NULL;
    if (getdelim(&text, &size, '\0', file) < 0 && !ferror(file)) {
        free(text);
        text = calloc(1, 1);            /* an empty file */
    }
    fclose(file);
    return text;
}

static int run_kept(struct kept *kept, unsigned jobs)
{
    struct jobs conf = { .processes = jobs, .tracks = kept->count, .run = kept_run, .died = kept_died, .arg = kept };
    struct jobs_result result;

    jobs_run(&conf, &result);
    jobs_result_print("kept seeds", &result);
    return result.failures > 0;
}

int sim_kept(const char *path, unsigned jobs)
{
    struct kept kept = { .text = read_file(path), .wanted = calloc(KEPT_MOST, sizeof(struct wanted)) };
    int r = 2;

    if (kept.text == NULL || kept.wanted == NULL)
        fprintf(stderr, "halb_sim: %s: %s\n", path, strerror(errno));
    else if (parse_kept(&kept) == 0)
        r = run_kept(&kept, jobs);
    free(kept.text);
    free(kept.wanted);
    return r;
}
