/* Which of the names that exist was meant? The nearest by edit distance, if near enough. */
#include "common/config_internal.h"
#include <string.h>

#define WORD_MAX 64

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment: insert, delete, replace, swap of two neighbours cost one each. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][WORD_MAX + 1], *before = rows[0], *above = rows[1], *row = rows[2];
    size_t a_len = strlen(a), b_len = strlen(b);
    for (size_t j = 0; j <= b_len; j++)
        above[j] = before[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *next = before;
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            row[j] = min(min(row[j - 1], above[j]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = min(row[j], before[j - 2] + 1);
        }
        before = above;
        above = row;
        row = next;
    }
    return above[b_len];
}

struct suggestion suggestion_of(const char *wanted)
{
    return (struct suggestion){ .wanted = wanted, .distance = SIZE_MAX };
}

void suggestion_offer(struct suggestion *s, const char *candidate)
{
    size_t distance, len = strlen(s->wanted);
    if (len > WORD_MAX || strlen(candidate) > WORD_MAX)
        return;
    distance = edit_distance(s->wanted, candidate);
    if (distance > 0 && distance <= 1 + len / 4 && distance < len && distance < s->distance) {
        s->distance = distance;
        s->nearest = candidate;
    }
}

const char *suggestion_text(const struct suggestion *s, char text[FOUND_MAX])
{
    text[0] = '\0';
    if (s->nearest != NULL)
        snprintf(text, FOUND_MAX, "; did you mean \"%s\"?", s->nearest);
    return text;
}
