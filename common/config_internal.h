#ifndef COMMON_CONFIG_INTERNAL_H
#define COMMON_CONFIG_INTERNAL_H
#include "common/config.h"
#include <stdarg.h>
/*
 * Between the config_*.c files, each of which answers one question:
 *
 *   config_source   which tokens stand in which file and line?
 *   config_table    which settings are there?
 *   config_value    what does one value mean?
 *   config_read     which values has this file?
 *   config_check    do they fit together?
 *   config_policy   do policies fit what names them?
 *   config_link     what do names stand for?
 *   config_file     what is in a file that one names?
 *   config_print    how is it written?
 *   config_change   what is the next configuration?
 *   config_report   what is wrong, in order?
 *   config_suggest  what was meant?
 *   config_arena    whose memory is it?
 */
struct config_setting_t;    /* libconfig's */

/* ---- config_arena: memory that is freed as one ---- */
struct arena;
struct arena *arena_new(void);                                      /* NULL: no memory, here and below */
void arena_free(struct arena **arena);
void *arena_alloc(struct arena *arena, size_t count, size_t size);  /* zeroed */
char *arena_copy(struct arena *arena, const char *text, size_t len);
char *arena_print(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- config_report: errors of meaning, collected in any order ---- */
#define TOKEN_NONE SIZE_MAX         /* not from a file */
struct source;

struct complaint {
    size_t token;
    size_t order;                   /* of those at one token */
    char *text;
};

struct report {
    struct complaint *items;
    size_t count, room;
    bool no_memory;                 /* something could not even be reported */
};
void complain(struct report *report, size_t token, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Empties the report into lines with FILE:LINE, in the order of tokens. `source` may be NULL: no FILE:LINE. */
void report_finish(struct report *report, const struct source *source, struct config_errors *errors);

/* ---- config_source: files to tokens, includes resolved ---- */
struct token {
    const char *file;
    unsigned line;
    size_t start;                   /* into text */
};

/* Tokens count from 1; 0 is the file as a whole and count + 1 its end. In `text` token N stands alone on line N. */
struct source {
    struct arena *arena;            /* of file names; borrowed */
    char *text;
    size_t len, room;
    struct token *tokens;
    size_t count, tokens_room;
};
void source_fini(struct source *source);
/* 0, or -EINVAL with one complaint, or -ENOMEM. `bytes` NULL: read the file `name`; else `name` only stands for it. */
int source_open(struct source *source, struct arena *arena, const char *name, const char *bytes, struct report *report);
const struct token *source_token(const struct source *source, size_t token);
/* The first string where none may stand, or 0. Brackets are nested no deeper than source_open() allows. */
size_t source_misplaced_string(const struct source *source);
/* All of a file that has less than `room` bytes; -EFBIG: it has more. */
int source_read_all(int fd, char *bytes, size_t room, size_t *len);
/* The token's text as it stood in the file; allocated in the source's arena. */
const char *source_text(const struct source *source, size_t token);

/* ---- config_table: the settings ---- */
enum row_kind {
    KIND_BOOL,          /* bool */
    KIND_COUNT,         /* unsigned */
    KIND_PORT,          /* uint16_t */
    KIND_STATUS,        /* unsigned, one of the row's choices */
    KIND_DURATION,      /* uint64_t, ms */
    KIND_SIZE,          /* size_t, bytes */
    KIND_CHOICE,        /* an enum */
    KIND_SET,           /* unsigned, a bit for each choice */
    KIND_TEXT,          /* const char * */
    KIND_NAME,          /* const char * */
    KIND_TOKEN,         /* const char * */
    KIND_FILE,          /* struct config_error_response, from file on */
    KIND_ADDRESS,       /* struct addr */
    KIND_CIDR,          /* struct cidr */
    KIND_SOURCE,        /* struct config_rule, from from_group on */
    KIND_TARGET,        /* struct config_health_check, from target on */
    KIND_NAMES,         /* struct config_strings */
    KIND_CIDRS,         /* struct config_cidrs */
    KIND_SOURCES,       /* struct config_strings: CIDRs and names of groups */
    KIND_INSTANCES,     /* array of const struct config_instance *, and its count */
    KIND_GROUP,         /* a struct with a section of its own */
    KIND_LIST,          /* array of structs with a section of their own, and its count */
    KIND_ANY            /* SUPPORT_NONE alone */
};

enum row_support {
    SUPPORT_FULL,
    SUPPORT_NEUTRAL,    /* only its fallback is accepted until a later version */
    SUPPORT_STAGED,     /* the same, though it can be read: what it asks for is not there yet */
    SUPPORT_NONE        /* must be left out until a later version */
};

#define NOWHERE SIZE_MAX            /* offset of a row that no member stands for */
#define CHOICE_BLANK (-1)           /* an enum without a value: not given, or bad */

struct row {
    const char *name;
    enum row_kind kind;
    size_t offset;
    const char *fallback;           /* as in a file, without quotes; NULL: must be given, or is derived */
    uint64_t min, max;              /* of the value, of a text's length or of a list's; max 0: none */
    const char *help;
    enum row_support support;
    const char *derived;            /* where the value comes from if not given */
    const char *const *choices;     /* NULL-terminated */
    unsigned types;                 /* bit: this type of struct config_policy has it; 0: all have, or it is no policy's */
    unsigned later;                 /* bit: this choice comes with a later version */
    const char *note;               /* said with what a bad choice should have been */
    const struct section *section;
};

struct section {
    const char *title;              /* "load_balancers.listeners"; "" for the file itself */
    size_t size;                    /* of the struct */
    const struct row *rows;
    size_t count;
};
extern const struct section config_section;         /* the file: struct config */
const struct row *section_row(const struct section *section, const char *name);     /* NULL if it has none */

/* False: another type of policy has it; then its cell is zero. */
static inline bool row_applies(const struct row *row, const void *base)
{
    const struct config_policy *policy = base;
    return row->types == 0 || ((int)policy->type != CHOICE_BLANK && (row->types >> policy->type & 1) != 0);
}

struct array {                      /* what a KIND_LIST, KIND_INSTANCES, KIND_NAMES, KIND_SOURCES or KIND_CIDRS row's offset points at */
    void *items;
    size_t count;
};

static inline void *row_cell(const struct row *row, void *base)
{
    return (char *)base + row->offset;
}

/* ---- config_value: one value ---- */
extern const char *const policy_types[];    /* NULL-terminated */

enum value_type { VALUE_INTEGER, VALUE_FLOAT, VALUE_STRING, VALUE_BOOL, VALUE_GROUP, VALUE_LIST };

struct value {
    enum value_type type;
    const char *text;               /* a number as in the file; a string's content */
    bool truth;
};

union cell {                        /* room for any scalar kind */
    uint64_t number;
    const char *text;
    struct cidr cidr;
    struct config_rule rule;
    struct config_health_check check;
};

#define EXPECTED_MAX 320
#define FOUND_MAX 400

/* Of a scalar kind, into its cell. 0; -EINVAL and what was expected; -ENOTSUP the same, of a later version; -ENOMEM. */
int value_read(struct arena *arena, const struct row *row, const struct value *value, void *cell, char expected[EXPECTED_MAX]);
bool source_is_group(const char *text);             /* of KIND_SOURCES: no CIDR */
struct value value_from_text(const struct row *row, const char *text);  /* as a fallback */
char *value_found(const struct value *value, char found[FOUND_MAX]);    /* for messages */
char *row_expected(const struct row *row, char expected[EXPECTED_MAX]);
void cell_blank(const struct row *row, void *cell);
bool row_is_scalar(const struct row *row);
unsigned set_from_text(const struct row *row, const char *text);        /* as a fallback, of a KIND_SET row */
bool row_has_quotes(const struct row *row);
/* A scalar cell as in the file, without quotes. */
#define CELL_TEXT_MAX 1100
const char *cell_format(const struct row *row, const void *cell, char text[CELL_TEXT_MAX]);

/* ---- config_read: a file's values ---- */
struct place {                      /* where a cell's value came from */
    const void *cell;
    size_t token;
    bool given;                     /* else its group's */
};

struct reference {                  /* an entry of a balancer's `instances`, not yet resolved */
    const struct config_instance **slot;
    const char *id;
};

struct reading {
    struct source source;
    struct arena *arena, *scratch;  /* the configuration's; until the end of reading */
    struct config *config;
    struct report report;
    struct place *places;
    size_t place_count, places_room;
    struct reference *references;
    size_t reference_count, references_room;
    bool from_text;                 /* no file: it stands in no folder */
    bool ahead;                     /* SUPPORT_STAGED is supported */
    bool no_memory;
};
/* As config_load() of `name` if `text` is NULL, else as config_parse(), but with SUPPORT_STAGED supported: so that such
 * settings are tested before there is what they ask for. */
int config_read_ahead(const char *name, const char *text, struct config **ret, struct config_errors *errors);
/* Sets every cell: to its value, its fallback, or blank. */
void reading_fill(struct reading *r, const struct config_setting_t *root);
const struct place *reading_place(const struct reading *r, const void *cell);

/* ---- config_check ---- */
/* Derives what was not given, resolves references, complains about what does not fit together. */
void reading_check(struct reading *r);

/* ---- config_policy ---- */
void policies_check(struct reading *r, const struct config_balancer *balancer);

/* ---- config_link ---- */
/* Sets what follows from names: of a configuration that has been checked, or of a copy. 0 or -ENOMEM. */
int config_link(struct config *config);

/* ---- config_file: each complains at `token`, with the setting's name ---- */
/* Relative to the folder of the file that says so. NULL: it has been said. */
const char *file_path(struct reading *r, const char *setting, const char *path, size_t token);
/* Reads response->file into the rest. */
void file_read_response(struct reading *r, struct config_error_response *response, size_t token);
/* A secret: a regular file of 32 to 4096 bytes, for its owner alone. It is not opened: it may be another user's. */
void file_check_secret(struct reading *r, const char *setting, const char *path, size_t token);

/* ---- config_suggest: which of the names that exist was meant? ---- */
struct suggestion {
    const char *wanted, *nearest;
    size_t distance;
};
struct suggestion suggestion_of(const char *wanted);
void suggestion_offer(struct suggestion *s, const char *candidate);
const char *suggestion_text(const struct suggestion *s, char text[FOUND_MAX]);     /* "; did you mean "x"?", or "" */
#endif
