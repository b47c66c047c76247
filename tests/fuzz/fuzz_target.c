/* Health check targets and durations, against regular expressions that say the same, and written out again. */
#include "common/config.h"
#include "tests/fuzz/fuzz.h"
#include <errno.h>
#include <regex.h>
#include <stdio.h>

#define DURATION_MAX_MS (UINT64_C(100) * 24 * 3600 * 1000)

static regex_t with_path, without_path, duration;

static void compile(regex_t *regex, const char *text)
{
    int r = regcomp(regex, text, REG_EXTENDED | REG_NOSUB);
    assert(r == 0);
}

static void compile_once(void)
{
    static bool done;

    if (done)
        return;
    compile(&with_path, "^[Hh][Tt][Tt][Pp][Ss]?:[1-9][0-9]{0,4}/[!\"$-~]*$");
    compile(&without_path, "^([Tt][Cc][Pp]|[Ss][Ss][Ll]):[1-9][0-9]{0,4}$");
    compile(&duration, "^([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([eE][+-]?[0-9]+)?(ms|s|m|h)?$");
    done = true;
}

static bool matches(const regex_t *regex, const char *text)
{
    return regexec(regex, text, 0, NULL, 0) == 0;
}

static void check_target(const char *text)
{
    static const char *const names[] = { [PROTOCOL_HTTP] = "HTTP", [PROTOCOL_HTTPS] = "HTTPS", [PROTOCOL_TCP] = "TCP", [PROTOCOL_SSL] = "SSL" };
    struct config_target target = { .path = NULL };
    const char *expected = NULL, *colon = strchr(text, ':');
    char *again = NULL;
    bool good = (matches(&with_path, text) || matches(&without_path, text)) && atoi(colon + 1) <= 65535 && strlen(text) <= 1024;
    int r = config_parse_target(text, &target, &expected);

    assert((r == 0) == good);
    assert(r == 0 || (r == -EINVAL && expected != NULL && expected[0] != '\0'));
    if (r < 0)
        return;
    assert((target.path != NULL) == (target.protocol == PROTOCOL_HTTP || target.protocol == PROTOCOL_HTTPS));
    r = asprintf(&again, "%s:%u%s", names[target.protocol], target.port, target.path != NULL ? target.path : "");
    assert(r > 0);
    assert(strcasecmp(again, text) == 0);
    assert(target.path == NULL || strcmp(target.path, strchr(text, '/')) == 0);
    free(again);
}

static void check_duration(const char *text)
{
    uint64_t ms = 12345, again;
    char written[32];
    int r = config_parse_duration(text, &ms);

    assert(r == 0 || (r == -EINVAL && ms == 12345));
    if (r < 0)
        return;
    assert(matches(&duration, text));
    assert(ms <= DURATION_MAX_MS);
    config_format_duration(ms, written);
    assert(config_parse_duration(written, &again) == 0);
    assert(again == ms);
}

/* A decimal with few digits, read exactly: good if it is a whole number of milliseconds, and not too many. */
static void check_decimal(const char *text)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = { { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
    uint64_t digits = 0, scale = 1, factor = 0, ms = 0;
    const char *at = text;
    bool fraction = false;

    for (; (*at >= '0' && *at <= '9') || (*at == '.' && !fraction); at++) {
        fraction = fraction || *at == '.';
        digits = *at == '.' ? digits : digits * 10 + (uint64_t)(*at - '0');
        scale *= fraction && *at != '.' ? 10 : 1;
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(at, units[i].unit) == 0)
            factor = units[i].ms;
    if (!matches(&duration, text) || factor == 0 || at - text > 11 || scale > 10000)
        return;
    digits *= factor;
    assert((config_parse_duration(text, &ms) == 0) == (digits % scale == 0 && digits / scale <= DURATION_MAX_MS));
    assert(digits % scale != 0 || digits / scale > DURATION_MAX_MS || ms == digits / scale);
}

/* A whole number with its unit is what it says: no rounding. */
static void check_whole(uint64_t number)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = { { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        uint64_t ms = 0;
        char text[32];
        int r;
        snprintf(text, sizeof(text), "%llu%s", (unsigned long long)number, units[i].unit);
        r = config_parse_duration(text, &ms);
        assert((r == 0) == (number <= DURATION_MAX_MS / units[i].ms));
        assert(r < 0 || ms == number * units[i].ms);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    uint64_t number = 0;

    compile_once();
    check_target(text);
    check_duration(text);
    check_decimal(text);
    memcpy(&number, data, size < 5 ? size : 5);
    check_whole(number);
    free(text);
    return 0;
}
