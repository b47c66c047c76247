/* PROXY headers, both versions: every cut says the same, and what was read can be written and read again. */
#include "common/proxy.h"
#include "tests/fuzz/fuzz.h"

static bool same(const struct addr *a, const struct addr *b)
{
    return a->sa.sa_family == b->sa.sa_family && addr_equal_host(a, b) && addr_port(a) == addr_port(b);
}

static void check_info(const struct proxy_info *a, const struct proxy_info *b)
{
    assert(a->local == b->local);
    assert(a->local || (same(&a->source, &b->source) && same(&a->destination, &b->destination)));
}

static int parse_pieces(const char *bytes, size_t len, struct proxy_info *info)
{
    int whole = proxy_parse(bytes, len, info);
    bool decided = false;

    for (size_t n = 0; n < len; n++) {
        struct proxy_info again = { .local = false };
        char *prefix = fuzz_exact((const uint8_t *)bytes, n);
        int r = proxy_parse(prefix, n, &again);
        assert(r == whole || (r == 0 && !decided));
        assert(r <= 0 || (size_t)r <= n);
        if (r > 0)
            check_info(info, &again);
        decided = r != 0;
        free(prefix);
    }
    return whole;
}

/* Reads what it wrote, bytes behind it or none. */
static void check_written(const struct proxy_info *info, unsigned version)
{
    char out[PROXY_MAX + 4];
    struct proxy_info again;
    size_t len = proxy_format(version, &info->source, &info->destination, out);

    assert(len <= PROXY_MAX);
    memcpy(out + len, "GET ", 4);
    assert(proxy_parse(out, len - 1, &again) == 0);
    assert(proxy_parse(out, len, &again) == (int)len);
    check_info(info, &again);
    assert(proxy_parse(out, len + 4, &again) == (int)len);
    check_info(info, &again);
}

/* Bit by bit; ours goes by a table. */
static uint32_t crc32c(const char *bytes, size_t len)
{
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < len; i++) {
        crc ^= (uint8_t)bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
    }
    return ~crc;
}

/* With a checksum behind the addresses, no bit of these can change unseen. */
static void check_sum(const struct proxy_info *info, unsigned random)
{
    char out[PROXY_MAX + 7];
    struct proxy_info again;
    size_t len = proxy_format(2, &info->source, &info->destination, out), bits = (len - 16) * 8;
    uint32_t crc;

    out[15] = (char)(out[15] + 7);
    memcpy(out + len, "\x03\x00\x04\x00\x00\x00\x00", 7);
    len += 7;
    crc = crc32c(out, len);
    assert(proxy_crc32c(0, out, len) == crc);
    for (int i = 0; i < 4; i++)
        out[len - 1 - (size_t)i] = (char)(crc >> (8 * i));
    assert(proxy_parse(out, len, &again) == (int)len);
    check_info(info, &again);
    random %= (unsigned)bits;
    out[16 + random / 8] = (char)(out[16 + random / 8] ^ 1 << random % 8);
    assert(proxy_parse(out, len, &again) < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = fuzz_exact(data, size);
    struct proxy_info info = { .local = false };
    int r = parse_pieces(bytes, size, &info);

    assert(r != 0 || size < PROXY_HEADER_MAX);
    assert(r <= 0 || r <= (bytes[0] == 'P' ? 107 : PROXY_HEADER_MAX));
    assert(r <= 0 || bytes[0] != 'P' || (bytes[r - 2] == '\r' && bytes[r - 1] == '\n'));
    if (r > 0 && !info.local) {
        check_written(&info, 1);
        check_written(&info, 2);
        check_sum(&info, (unsigned)size * 31 + data[size / 2]);
    }
    free(bytes);
    return 0;
}
