/* Configuration files: what is taken, written out, reads as itself; what is refused says where, in lines. */
#include "common/config.h"
#include "tests/fuzz/fuzz.h"
#include <errno.h>

#define NAME "fuzz.conf"

static char *print(const struct config *config)
{
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);
    int r;

    assert(to != NULL);
    r = config_print(config, to);
    assert(r == 0);
    fclose(to);
    return text;
}

static void check_errors(const struct config_errors *errors)
{
    assert(errors->count > 0);
    for (size_t i = 0; i < errors->count; i++) {
        const char *line = errors->lines[i];
        assert(strncmp(line, NAME ":", strlen(NAME ":")) == 0);
        assert(strchr(line, '\n') == NULL);
        for (; *line != '\0'; line++)
            assert((unsigned char)*line >= ' ' && *line != 0x7f);
    }
}

static void check_printed(const char *text)
{
    struct config *again = NULL;
    struct config_errors errors;
    char *printed;
    int r = config_parse(text, NAME, &again, &errors);

    for (size_t i = 0; i < errors.count; i++)
        fprintf(stderr, "%s\n", errors.lines[i]);
    assert(r == 0);
    assert(errors.count == 0);
    printed = print(again);
    assert(strcmp(printed, text) == 0);
    free(printed);
    config_errors_free(&errors);
    config_free(&again);
}

static void check_config(struct config *config)
{
    char *text = print(config), *copied;
    struct config *copy = config_copy(config);

    assert(copy != NULL);
    config_free(&config);
    copied = print(copy);
    assert(strcmp(copied, text) == 0);
    check_printed(text);
    config_free(&copy);
    free(copied);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    struct config *config = NULL;
    struct config_errors errors;
    int r = config_parse(text, NAME, &config, &errors);

    free(text);
    assert(r == 0 || r == -EINVAL);
    if (r < 0)
        check_errors(&errors);
    else
        check_config(config);
    config_errors_free(&errors);
    return 0;
}
