/* How is it written? The configuration as a file, and the table as documentation. */
#include "common/config_internal.h"
#include <errno.h>
#include <string.h>

static void print_section(FILE *to, const struct section *section, const void *base, int depth);

static const void *cell_of(const struct row *row, const void *base)
{
    return (const char *)base + row->offset;
}

static void indent(FILE *to, int depth)
{
    fprintf(to, "%*s", 4 * depth, "");
}

static void print_quoted(FILE *to, const char *text)
{
    fputc('"', to);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', to);
        fputc(*text, to);
    }
    fputc('"', to);
}

static void print_scalar(FILE *to, const struct row *row, const void *base)
{
    char text[CELL_TEXT_MAX];
    const char *value = row->offset == NOWHERE ? row->fallback : cell_format(row, cell_of(row, base), text);
    if (row_has_quotes(row))
        print_quoted(to, value);
    else
        fputs(value, to);
}

static const char *item_text(const struct row *row, const void *items, size_t i, char text[ADDR_TEXT_MAX])
{
    if (row->kind == KIND_CIDRS)
        return cidr_format((const struct cidr *)items + i, text);
    if (row->kind == KIND_INSTANCES)
        return ((const struct config_instance *const *)items)[i]->id;
    return ((const char *const *)items)[i];
}

static void print_items(FILE *to, const struct row *row, const struct array *array)
{
    char text[ADDR_TEXT_MAX];
    fputs("[ ", to);
    for (size_t i = 0; i < array->count; i++) {
        print_quoted(to, item_text(row, array->items, i, text));
        fputs(i + 1 < array->count ? ", " : " ", to);
    }
    fputc(']', to);
}

static void print_set(FILE *to, const struct row *row, unsigned bits)
{
    fputs("[ ", to);
    for (unsigned i = 0; row->choices[i] != NULL; i++) {
        if ((bits & 1u << i) == 0)
            continue;
        print_quoted(to, row->choices[i]);
        fputs(bits >> i > 1 ? ", " : " ", to);
    }
    fputc(']', to);
}

static void print_group(FILE *to, const struct section *section, const void *base, int depth)
{
    fputs("{\n", to);
    print_section(to, section, base, depth + 1);
    indent(to, depth);
    fputc('}', to);
}

static void print_list(FILE *to, const struct row *row, const struct array *array, int depth)
{
    if (array->count == 0) {
        fputs("( )", to);
        return;
    }
    fputs("(\n", to);
    for (size_t i = 0; i < array->count; i++) {
        indent(to, depth + 1);
        print_group(to, row->section, (const char *)array->items + i * row->section->size, depth + 1);
        fputs(i + 1 < array->count ? ",\n" : "\n", to);
    }
    indent(to, depth);
    fputc(')', to);
}

static void print_section(FILE *to, const struct section *section, const void *base, int depth)
{
    static const struct array none = { 0 };
    for (const struct row *row = section->rows; row < section->rows + section->count; row++) {
        const struct array *array = row->offset == NOWHERE ? &none : cell_of(row, base);
        if (row->support == SUPPORT_NONE || !row_applies(row, base))
            continue;
        indent(to, depth);
        fprintf(to, "%s = ", row->name);
        if (row->kind == KIND_GROUP)
            print_group(to, row->section, cell_of(row, base), depth);
        else if (row->kind == KIND_LIST)
            print_list(to, row, array, depth);
        else if (row->kind == KIND_SET)
            print_set(to, row, *(const unsigned *)cell_of(row, base));
        else if (row_is_scalar(row))
            print_scalar(to, row, base);
        else
            print_items(to, row, array);
        fputs(";\n", to);
    }
}

int config_print(const struct config *config, FILE *to)
{
    print_section(to, &config_section, config, 0);
    return fflush(to) == 0 && !ferror(to) ? 0 : -EIO;
}

/* ---- reference ---- */

static void reference_default(FILE *to, const struct row *row)
{
    const char *quote = row_has_quotes(row) ? "\"" : "";
    if (row->support == SUPPORT_NONE)
        fputs("left out", to);
    else if (row->derived != NULL)
        fputs(row->derived, to);
    else if (row->fallback == NULL)
        fputs("**required**", to);
    else if (row->kind == KIND_GROUP)
        fputs("its defaults", to);
    else
        fprintf(to, "`%s%s%s`", quote, row->fallback, quote);
}

static void reference_row(FILE *to, const struct row *row)
{
    char expected[EXPECTED_MAX];
    fprintf(to, "| `%s` | %s | ", row->name, row->support == SUPPORT_NONE ? "-" : row_expected(row, expected));
    reference_default(to, row);
    fprintf(to, " | %s", row->help);
    if (row->support == SUPPORT_NEUTRAL || row->support == SUPPORT_STAGED)
        fputs(" *Anything but the default is not supported by this version.*", to);
    if (row->support == SUPPORT_NONE)
        fputs(" *Not supported by this version.*", to);
    fputs(" |\n", to);
}

static void reference_section(FILE *to, const struct section *section, const char *title)
{
    fprintf(to, "### %s\n\n| setting | value | default | meaning |\n|---|---|---|---|\n", title);
    for (size_t i = 0; i < section->count; i++)
        reference_row(to, &section->rows[i]);
    for (size_t i = 0; i < section->count; i++) {
        const struct section *inner = section->rows[i].section;
        if (inner == NULL)
            continue;
        fputc('\n', to);
        reference_section(to, inner, inner->title);
    }
}

int config_print_reference(FILE *to)
{
    reference_section(to, &config_section, "The file");
    return fflush(to) == 0 && !ferror(to) ? 0 : -EIO;
}
