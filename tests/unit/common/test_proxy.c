/* PROXY headers: every row whole, at every prefix, and up against a page that cannot be read. */
#include "common/proxy.h"
#include "guard.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define X4(s) s s s s
#define X12(s) s s s s s s s s s s s s
#define X16(s) X4(X4(s))

/* name: what must hold; sections are those of proxy-protocol.txt. */
static const struct parse_row {
    const char *name;
    const char *bytes;
    size_t len;
    const char *says;       /* "local" or "SOURCE DESTINATION"; NULL: refused */
    size_t at;              /* refused: as soon as so many bytes have come */
    size_t rest;            /* bytes after the header */
} rows[] = {
#define GOOD(name_, text, says_) { .name = (name_), .bytes = (text), .len = sizeof(text) - 1, .says = (says_) }
#define REST(name_, text, rest_, says_) \
    { .name = (name_), .bytes = text rest_, .len = sizeof(text rest_) - 1, .says = (says_), .rest = sizeof(rest_) - 1 }
/* The error shows when `early` has come, neither before nor later. */
#define BAD(name_, early, text) { .name = (name_), .bytes = early text, .len = sizeof(early text) - 1, .at = sizeof(early) - 1 }

    /* version 1 */
    GOOD("an IPv4 line (2.1)", "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "192.168.0.1:56324 192.168.0.11:443"),
    GOOD("the one of ELB's guide", "PROXY TCP4 198.51.100.22 203.0.113.7 35646 80\r\n", "198.51.100.22:35646 203.0.113.7:80"),
    GOOD("the longest IPv4 line (2.1)", "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535 255.255.255.255:65535"),
    GOOD("zeros are legal addresses and ports (2.1)", "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0 0.0.0.0:0"),
    GOOD("an IPv6 line", "PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "[2001:db8::1]:1 [::1]:2"),
    GOOD("the longest IPv6 line (2.1)",
         "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 [ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
    GOOD("groups may have leading zeros and upper case (2.1)", "PROXY TCP6 2001:0DB8:0:0:0:0:0:000A :: 1 2\r\n", "[2001:db8::a]:1 [::]:2"),
    GOOD("HAProxy's line of mixed families", "PROXY TCP6 ::1 ::ffff:127.0.0.1 59660 28115\r\n", "[::1]:59660 127.0.0.1:28115"),
    GOOD("the same in groups of hexadecimal digits", "PROXY TCP6 ::1 ::ffff:7f00:1 59660 28115\r\n", "[::1]:59660 127.0.0.1:28115"),
    GOOD("UNKNOWN in its short form (2.1)", "PROXY UNKNOWN\r\n", "local"),
    GOOD("UNKNOWN with addresses, which are ignored (2.1)", "PROXY UNKNOWN 1.2.3.4 5.6.7.8 1 2\r\n", "local"),
    GOOD("UNKNOWN with a space alone", "PROXY UNKNOWN \r\n", "local"),
    GOOD("UNKNOWN with bytes of all kinds", "PROXY UNKNOWN \x01\xff\t x\r\n", "local"),
    GOOD("UNKNOWN of 107 bytes (2.1)",
         "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "local"),
    REST("the client's bytes are not the header's", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "GET / HTTP/1.1\r\n", "1.2.3.4:1 5.6.7.8:2"),
    REST("nor is a second header", "PROXY UNKNOWN\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "local"),
    BAD("UNKNOWN of 108 bytes",
        "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535 ", "\r\n"),
    BAD("UNKNOWN without end", "PROXY UNKNOWN " X16("12345") "12345678901" "1", X16("1234567890")),
    BAD("UNKNOWN that ends in LF alone would take the client's first line for its own", "PROXY UNKNOWN\n", "GET / HTTP/1.1\r\n"),
    BAD("so would one with a LF later", "PROXY UNKNOWN x\n", "GET / HTTP/1.1\r\n"),
    BAD("a bare CR in UNKNOWN (2.1)", "PROXY UNKNOWN x\rG", "ET / HTTP/1.1\r\n"),
    BAD("two CRs", "PROXY UNKNOWN\r\r", "\n"),
    BAD("UNKNOWN with something stuck to it", "PROXY UNKNOWNS", "\r\n"),
    BAD("UNKNOWN in lower case", "PROXY u", "nknown\r\n"),
    BAD("bytes that are no header", "G", "ET / HTTP/1.1\r\n"),
    BAD("NUL", "\0", "PROXY"),
    BAD("a space before it", " ", "PROXY UNKNOWN\r\n"),
    BAD("lower case (2.1)", "p", "roxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n"),
    BAD("HTTP's POST begins like it", "PO", "ST / HTTP/1.1\r\n"),
    BAD("WebDAV's PROPFIND goes on like it", "PROP", "FIND / HTTP/1.1\r\n"),
    BAD("a tab after PROXY", "PROXY\t", "TCP4 1.2.3.4 5.6.7.8 1 2\r\n"),
    BAD("two spaces after PROXY (2.1)", "PROXY  ", "TCP4 1.2.3.4 5.6.7.8 1 2\r\n"),
    BAD("PROXY alone", "PROXY\r", "\n"),
    BAD("no family", "PROXY \r", "\n"),
    BAD("an unknown family of TCP", "PROXY TCP5", " 1.2.3.4 5.6.7.8 1 2\r\n"),
    BAD("TCP without a family", "PROXY TCP ", "1.2.3.4 5.6.7.8 1 2\r\n"),
    BAD("UDP, which version 1 has not", "PROXY UD", "P4 1.2.3.4 5.6.7.8 1 2\r\n"),
    BAD("a family of two digits", "PROXY TCP46", " 1.2.3.4 5.6.7.8 1 2\r\n"),
    BAD("two spaces before the source", "PROXY TCP4  ", "1.2.3.4 5.6.7.8 1 2\r\n"),
    BAD("a tab before the destination", "PROXY TCP4 1.2.3.4\t", "5.6.7.8 1 2\r\n"),
    BAD("two spaces before the destination", "PROXY TCP4 1.2.3.4  ", "5.6.7.8 1 2\r\n"),
    BAD("two spaces before the first port", "PROXY TCP4 1.2.3.4 5.6.7.8  ", "1 2\r\n"),
    BAD("two spaces before the second port", "PROXY TCP4 1.2.3.4 5.6.7.8 1  ", "2\r\n"),
    BAD("a space before the line's end", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ", "\r\n"),
    BAD("an octet of 256", "PROXY TCP4 256", ".2.3.4 5.6.7.8 1 2\r\n"),
    BAD("an octet that would wrap a counter", "PROXY TCP4 1.999", "99999999999999999.3.4 5.6.7.8 1 2\r\n"),
    BAD("a leading zero in an octet (2.1)", "PROXY TCP4 01", ".2.3.4 5.6.7.8 1 2\r\n"),
    BAD("two zeros as an octet", "PROXY TCP4 1.2.3.00", " 5.6.7.8 1 2\r\n"),
    BAD("three octets", "PROXY TCP4 1.2.3 ", "5.6.7.8 1 2\r\n"),
    BAD("five octets", "PROXY TCP4 1.2.3.4.", "5 5.6.7.8 1 2\r\n"),
    BAD("an empty octet", "PROXY TCP4 1..", "3.4 5.6.7.8 1 2\r\n"),
    BAD("a sign", "PROXY TCP4 -", "1.2.3.4 5.6.7.8 1 2\r\n"),
    BAD("hexadecimal octets", "PROXY TCP4 0x", "1.2.3.4 5.6.7.8 1 2\r\n"),
    BAD("a name in an address's place", "PROXY TCP4 l", "ocalhost 5.6.7.8 1 2\r\n"),
    BAD("NUL in an address", "PROXY TCP4 1.2.3.4\0", " 5.6.7.8 1 2\r\n"),
    BAD("IPv6 in TCP4", "PROXY TCP4 :", ":1 ::1 1 2\r\n"),
    BAD("IPv6 as TCP4's destination", "PROXY TCP4 1.2.3.4 2001", ":db8::1 1 2\r\n"),
    BAD("IPv4 in TCP6", "PROXY TCP6 1.2.3.4 ", "5.6.7.8 1 2\r\n"),
    BAD("IPv4 as TCP6's destination", "PROXY TCP6 ::1 5.6.7.8 ", "1 2\r\n"),
    BAD("seven groups", "PROXY TCP6 1:2:3:4:5:6:7 ", "::1 1 2\r\n"),
    BAD("nine groups", "PROXY TCP6 1:2:3:4:5:6:7:8:9 ", "::1 1 2\r\n"),
    BAD("eight groups and a double colon", "PROXY TCP6 1:2:3:4:5:6:7:8:: ", "::1 1 2\r\n"),
    BAD("two double colons", "PROXY TCP6 1::2::3 ", "::1 1 2\r\n"),
    BAD("three colons", "PROXY TCP6 1:::2 ", "::1 1 2\r\n"),
    BAD("a colon at the end", "PROXY TCP6 1:2:3:4:5:6:7: ", "::1 1 2\r\n"),
    BAD("a group of five digits", "PROXY TCP6 ::12345 ", "::1 1 2\r\n"),
    BAD("a letter that is no digit", "PROXY TCP6 ::g", " ::1 1 2\r\n"),
    BAD("a scope", "PROXY TCP6 fe80::1%", "eth0 ::1 1 2\r\n"),
    BAD("brackets", "PROXY TCP6 [", "::1] ::1 1 2\r\n"),
    BAD("NUL in an IPv6 address", "PROXY TCP6 ::1\0", " ::1 1 2\r\n"),
    BAD("a leading zero in the dots of a mapped address", "PROXY TCP6 ::ffff:1.2.3.04 ", "::1 1 2\r\n"),
    BAD("an IPv6 address that is too long", "PROXY TCP6 0000:0000:0000:0000:0000:0000:0000:00000", " ::1 1 2\r\n"),
    BAD("an empty address", "PROXY TCP6  ", "::1 1 2\r\n"),
    BAD("port 65536", "PROXY TCP4 1.2.3.4 5.6.7.8 65536", " 2\r\n"),
    BAD("a port that would wrap", "PROXY TCP4 1.2.3.4 5.6.7.8 1 429496", "7297\r\n"),
    BAD("a leading zero in a port (2.1)", "PROXY TCP4 1.2.3.4 5.6.7.8 08", "0 2\r\n"),
    BAD("a negative port", "PROXY TCP4 1.2.3.4 5.6.7.8 -", "1 2\r\n"),
    BAD("an empty port", "PROXY TCP4 1.2.3.4 5.6.7.8 1 \r", "\n"),
    BAD("no second port", "PROXY TCP4 1.2.3.4 5.6.7.8 1\r", "\n"),
    BAD("no ports", "PROXY TCP4 1.2.3.4 5.6.7.8\r", "\n"),
    BAD("a third port", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ", "3\r\n"),
    BAD("a line that ends in LF alone (2.1)", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", "GET / HTTP/1.1\r\n"),
    BAD("a line that ends in CR alone", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rG", "ET / HTTP/1.1\r\n"),

    /* version 2 */
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define INET(len) SIGNATURE "\x21\x11" len "\x01\x02\x03\x04" "\x05\x06\x07\x08" "\x00\x50" "\x01\xbb"
#define V6(last) "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0" last
#define INET6(len) SIGNATURE "\x21\x21" len V6("\x01") V6("\x02") "\x00\x50" "\x01\xbb"
#define X108(s) X4(X12(s s)) X12(s)
    GOOD("TCP over IPv4 (2.2)", INET("\0\x0c"), "1.2.3.4:80 5.6.7.8:443"),
    GOOD("TCP over IPv6", INET6("\0\x24"), "[2001:db8::1]:80 [2001:db8::2]:443"),
    GOOD("a mapped address is IPv4",
         SIGNATURE "\x21\x21\0\x24" "\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04" V6("\x02") "\x00\x50" "\x01\xbb", "1.2.3.4:80 [2001:db8::2]:443"),
    GOOD("a UNIX stream names nobody that we know", SIGNATURE "\x21\x31\0\xd8" X108("a") X108("b"), "local"),
    GOOD("LOCAL without a block (2.2)", SIGNATURE "\x20\x00\0\0", "local"),
    GOOD("LOCAL with a block, which is skipped unread (2.2)", SIGNATURE "\x20\x00\0\x05" "\x03\xff\xff\xff\xff", "local"),
    GOOD("LOCAL with addresses, which are not used", SIGNATURE "\x20\x11\0\x0c" "\x01\x02\x03\x04" "\x05\x06\x07\x08" "\x00\x50" "\x01\xbb", "local"),
    GOOD("LOCAL with less than the addresses of its family", SIGNATURE "\x20\x11\0\x05" "\x01\x02\x03\x04\x05", "local"),
    GOOD("LOCAL with what would be a broken TLV", SIGNATURE "\x20\x11\0\x0d" "\x01\x02\x03\x04" "\x05\x06\x07\x08" "\x00\x50" "\x01\xbb" "\x04", "local"),
    GOOD("with LOCAL the family is ignored (2.2)", SIGNATURE "\x20\xff\0\0", "local"),
    GOOD("an unspecified family", SIGNATURE "\x21\x00\0\0", "local"),
    GOOD("an unspecified family of a stream", SIGNATURE "\x21\x01\0\x01" "x", "local"),
    GOOD("TLVs that nobody asked for are skipped", INET("\0\x18") "\x01\0\x02h2" "\xe0\0\x01z" "\x04\0\0", "1.2.3.4:80 5.6.7.8:443"),
    GOOD("an empty TLV", INET("\0\x0f") "\x04\0\0", "1.2.3.4:80 5.6.7.8:443"),
    GOOD("HAProxy's IPv4 header with checksum",
         SIGNATURE "\x21\x11\0\x13" "\x7f\0\0\x01" "\x7f\0\0\x01" "\x94\x6a" "\x6d\xcf" "\x03\0\x04\x95\xcc\xc4\x70", "127.0.0.1:37994 127.0.0.1:28111"),
    GOOD("HAProxy's IPv6 header with checksum",
         SIGNATURE "\x21\x21\0\x2b" "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01" "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01" "\xbe\x00" "\x6d\xd1" "\x03\0\x04\x65\x29\x3c\xf2",
         "[::1]:48640 [::1]:28113"),
    REST("the client's bytes are not the block's", INET("\0\x0c"), "\x04\0\xff", "1.2.3.4:80 5.6.7.8:443"),
    REST("the first client byte after LOCAL", SIGNATURE "\x20\x00\0\0", "\r", "local"),
    BAD("a TLS hello", "\x16", "\x03\x01\x02"),
    BAD("an empty line before a request", "\r\nG", "ET / HTTP/1.1\r\n"),
    BAD("a wrong byte at the signature's end", "\r\n\r\n\0\r\nQUIT\r", "\n"),
    BAD("version 1 in binary (2.2)", SIGNATURE "\x11", "\x11\0\x0c"),
    BAD("version 3", SIGNATURE "\x31", "\x11\0\x0c"),
    BAD("an unassigned command (2.2)", SIGNATURE "\x22", "\x11\0\x0c"),
    BAD("UDP over IPv4", SIGNATURE "\x21\x12", "\0\x0c"),
    BAD("UDP over IPv6", SIGNATURE "\x21\x22", "\0\x24"),
    BAD("a UNIX datagram", SIGNATURE "\x21\x32", "\0\xd8"),
    BAD("datagrams of no family", SIGNATURE "\x21\x02", "\0\0"),
    BAD("IPv4 without a protocol", SIGNATURE "\x21\x10", "\0\x0c"),
    BAD("an unassigned protocol (2.2)", SIGNATURE "\x21\x13", "\0\x0c"),
    BAD("an unassigned family (2.2)", SIGNATURE "\x21\x41", "\0\x0c"),
    BAD("IPv4 in eleven bytes", SIGNATURE "\x21\x11\0\x0b", "\x01\x02\x03\x04\x05\x06\x07\x08\x00\x50\x01"),
    BAD("IPv6 in IPv4's room", SIGNATURE "\x21\x21\0\x0c", "\x01\x02\x03\x04\x05\x06\x07\x08\x00\x50\x01\xbb"),
    BAD("UNIX in 215 bytes", SIGNATURE "\x21\x31\0\xd7", "a"),
    BAD("a block of 4081 bytes", SIGNATURE "\x21\x11\x0f\xf1", "\x01"),
    BAD("a block of 64K, as soon as the length's first byte says so", SIGNATURE "\x21\x11\xff", "\xff\x01"),
    BAD("the same with LOCAL", SIGNATURE "\x20\x00\x10", "\0\x01"),
    BAD("one byte after the addresses is no TLV, as the length says", SIGNATURE "\x21\x11\0\x0d", "\x01\x02\x03\x04" "\x05\x06\x07\x08" "\x00\x50" "\x01\xbb" "\x04"),
    BAD("nor are two", SIGNATURE "\x21\x11\0\x0e", "\x01\x02\x03\x04" "\x05\x06\x07\x08" "\x00\x50" "\x01\xbb" "\x04\0"),
    BAD("a TLV that goes on after the block", INET("\0\x10") "\x01\0\x02", "h2"),
    BAD("a TLV of 64K", INET("\0\x10") "\x01\xff\xff", "h"),
    BAD("two bytes left after a TLV", INET("\0\x12") "\x04\0\x01", "x\x04\0"),
    BAD("a wrong checksum", SIGNATURE "\x21\x11\0\x13" "\x7f\0\0\x01" "\x7f\0\0\x01" "\x94\x6a" "\x6d\xcf" "\x03\0\x04\x95\xcc\xc4\x71", ""),
    BAD("the right one in the other byte order", SIGNATURE "\x21\x11\0\x13" "\x7f\0\0\x01" "\x7f\0\0\x01" "\x94\x6a" "\x6d\xcf" "\x03\0\x04\x70\xc4\xcc\x95", ""),
    BAD("a header other than the one that was summed", SIGNATURE "\x21\x11\0\x13" "\x7f\0\0\x01" "\x7f\0\0\x01" "\x94\x6b" "\x6d\xcf" "\x03\0\x04\x95\xcc\xc4\x70", ""),
    BAD("a checksum of three bytes", INET("\0\x12") "\x03\0\x03", "\x01\x02\x03"),
    BAD("an empty checksum", INET("\0\x0f") "\x03\0\0", ""),
    BAD("two checksums", INET("\0\x1a") "\x03\0\x04\x01\x02\x03\x04" "\x03\0\x04", "\x01\x02\x03\x04"),
};

static void say(const struct proxy_info *info, char text[2 * ADDR_TEXT_MAX])
{
    char source[ADDR_TEXT_MAX], destination[ADDR_TEXT_MAX];
    if (info->local)
        strcpy(text, "local");
    else
        snprintf(text, 2 * ADDR_TEXT_MAX, "%s %s", addr_format(&info->source, source), addr_format(&info->destination, destination));
}

/* Every prefix says "more" until the one that decides, and all after it the same. What is not accepted leaves no trace. */
static int parse_cut(const char *bytes, size_t len, size_t *decided, struct proxy_info *ret)
{
    int verdict = 0;
    *decided = 0;
    for (size_t n = 0; n <= len; n++) {
        struct proxy_info info, before;
        int r;
        memset(&info, 0x55, sizeof(info));
        before = info;
        r = proxy_parse(guard_copy(bytes, n), n, &info);
        if (verdict != 0)
            assert_int_equal(r, verdict);
        else if (r != 0)
            *decided = n;
        verdict = r;
        if (r > 0)
            *ret = info;
        else
            assert_memory_equal(&info, &before, sizeof(info));
    }
    return verdict;
}

static void test_parse(void **state)
{
    const struct parse_row *row = *state;
    struct proxy_info info;
    size_t decided;
    char said[2 * ADDR_TEXT_MAX];
    int r = parse_cut(row->bytes, row->len, &decided, &info);
    if (row->says == NULL) {
        assert_int_equal(r, -EINVAL);
        assert_int_equal(decided, row->at);
        return;
    }
    assert_int_equal(r, row->len - row->rest);
    assert_int_equal(decided, row->len - row->rest);
    say(&info, said);
    assert_string_equal(said, row->says);
}

/* The largest header: TLVs up to 4096 bytes, checksum last. */
static void test_largest(void **state)
{
    static const char start[] = SIGNATURE "\x21\x11\x0f\xf0" "\x01\x02\x03\x04" "\x05\x06\x07\x08" "\x00\x50" "\x01\xbb";
    char header[PROXY_HEADER_MAX] = { 0 };
    size_t at = sizeof(start) - 1, noop = sizeof(header) - at - 3 - 7;
    struct proxy_info info;
    uint32_t crc;
    (void)state;
    memcpy(header, start, at);
    memcpy(header + at, (const char[]){ 0x04, (char)(noop >> 8), (char)noop }, 3);
    memcpy(header + sizeof(header) - 7, "\x03\0\x04", 3);
    crc = proxy_crc32c(0, header, sizeof(header));
    for (int i = 0; i < 4; i++)
        header[sizeof(header) - 4 + (size_t)i] = (char)(crc >> (24 - 8 * i));
    assert_int_equal(parse_cut(header, sizeof(header), &at, &info), sizeof(header));
    header[sizeof(header) - 8] = 1;
    assert_int_equal(parse_cut(header, sizeof(header), &at, &info), -EINVAL);
    assert_int_equal(at, sizeof(header));
}

static const struct format_row {
    const char *name, *source, *destination;
    uint16_t from, to;
    const char *line;
    const char *block;          /* of version 2, from its 13th byte on */
    size_t len;
} formats[] = {
#define BLOCK(text) .block = (text), .len = sizeof(text) - 1
    { "IPv4", "198.51.100.22", "203.0.113.7", 35646, 80, "PROXY TCP4 198.51.100.22 203.0.113.7 35646 80\r\n",
      BLOCK("\x21\x11\0\x0c" "\xc6\x33\x64\x16" "\xcb\x00\x71\x07" "\x8b\x3e" "\x00\x50") },
    { "IPv6", "2001:db8::1", "::1", 65535, 0, "PROXY TCP6 2001:db8::1 ::1 65535 0\r\n",
      BLOCK("\x21\x21\0\x24" V6("\x01") "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01" "\xff\xff" "\0\0") },
    { "a client of IPv4 at a node of IPv6 goes mapped", "192.0.2.1", "2001:db8::2", 1, 443, "PROXY TCP6 ::ffff:c000:201 2001:db8::2 1 443\r\n",
      BLOCK("\x21\x21\0\x24" "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01" V6("\x02") "\0\x01" "\x01\xbb") },
    { "a node of IPv4 with a client of IPv6 goes mapped", "2001:db8::1", "10.0.0.0", 1, 443, "PROXY TCP6 2001:db8::1 ::ffff:a00:0 1 443\r\n",
      BLOCK("\x21\x21\0\x24" V6("\x01") "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x00\x00\x00" "\0\x01" "\x01\xbb") },
    { "an address that inet_ntop() writes with dots", "::1.2.3.4", "::2:0", 1, 2, "PROXY TCP6 ::102:304 ::2:0 1 2\r\n",
      BLOCK("\x21\x21\0\x24" "\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\x03\x04" "\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0" "\0\x01" "\0\x02") },
    { "the longest", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", 65535, 65535,
      "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n",
      BLOCK("\x21\x21\0\x24" X12("\xff") "\xff\xff\xff\xfe" X12("\xff") "\xff\xff\xff\xfe" "\xff\xff" "\xff\xff") },
};

static struct addr address(const char *host, uint16_t port)
{
    struct addr a;
    int r = addr_parse(host, &a);
    assert_int_equal(r, 0);
    return addr_with_port(a, port);
}

static void check_round_trip(unsigned version, const struct addr *source, const struct addr *destination)
{
    char out[PROXY_MAX];
    struct proxy_info info;
    size_t decided, len = proxy_format(version, source, destination, out);
    assert_true(len <= PROXY_MAX);
    assert_int_equal(parse_cut(out, len, &decided, &info), len);
    assert_false(info.local);
    assert_true(addr_equal_host(&info.source, source));
    assert_true(addr_equal_host(&info.destination, destination));
    assert_int_equal(addr_port(&info.source), addr_port(source));
    assert_int_equal(addr_port(&info.destination), addr_port(destination));
}

static void test_format(void **state)
{
    const struct format_row *row = *state;
    struct addr source = address(row->source, row->from), destination = address(row->destination, row->to);
    char out[PROXY_MAX];
    size_t len = proxy_format(1, &source, &destination, out);
    assert_int_equal(len, strlen(row->line));
    assert_memory_equal(out, row->line, len);
    len = proxy_format(2, &source, &destination, out);
    assert_int_equal(len, 12 + row->len);
    assert_memory_equal(out, SIGNATURE, 12);
    assert_memory_equal(out + 12, row->block, row->len);
    check_round_trip(1, &source, &destination);
    check_round_trip(2, &source, &destination);
}

static void test_format_local(void **state)
{
    struct proxy_info info = { .local = false };
    char out[PROXY_MAX];
    (void)state;
    assert_int_equal(proxy_format_local(1, out), 15);
    assert_memory_equal(out, "PROXY UNKNOWN\r\n", 15);
    assert_int_equal(proxy_parse(out, 15, &info), 15);
    assert_true(info.local);
    info.local = false;
    assert_int_equal(proxy_format_local(2, out), 16);
    assert_memory_equal(out, SIGNATURE "\x20\x00\0\0", 16);
    assert_int_equal(proxy_parse(out, 16, &info), 16);
    assert_true(info.local);
}

static const struct crc_row {
    const char *name;
    unsigned char first;
    int step;
    uint32_t crc;
} crcs[] = {
    { "RFC 3720 B.4: 32 bytes of zeros", 0, 0, 0x8a9136aa },
    { "RFC 3720 B.4: 32 bytes of ones", 0xff, 0, 0x62a8ab43 },
    { "RFC 3720 B.4: 32 incrementing bytes", 0, 1, 0x46dd794e },
    { "RFC 3720 B.4: 32 decrementing bytes", 31, -1, 0x113fdb5c },
};

static void test_crc(void **state)
{
    const struct crc_row *row = *state;
    char bytes[32];
    for (int i = 0; i < 32; i++)
        bytes[i] = (char)(row->first + i * row->step);
    for (size_t cut = 0; cut <= sizeof(bytes); cut++)
        assert_int_equal(proxy_crc32c(proxy_crc32c(0, bytes, cut), bytes + cut, sizeof(bytes) - cut), row->crc);
}

static uint64_t random_state;

static unsigned random_below(unsigned n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned)((random_state >> 33) % n);
}

static size_t mutate(char *bytes, size_t len)
{
    static const char likely[] = " \r\n.:0129af\x00\x03\x04\x11\x20\x21\xff";
    size_t at = len > 0 ? random_below((unsigned)len) : 0;
    switch (random_below(4)) {
    case 0:
        if (len > 0)
            bytes[at] = (char)random_below(256);
        break;
    case 1:
        if (len > 0)
            bytes[at] = likely[random_below(sizeof(likely))];
        break;
    case 2:
        memmove(bytes + at + 1, bytes + at, len - at);
        bytes[at] = likely[random_below(sizeof(likely))];
        return len + 1;
    case 3:
        if (len > 0)
            memmove(bytes + at, bytes + at + 1, len - at - 1);
        return len > 0 ? len - 1 : 0;
    }
    return len;
}

static void seed_random(void)
{
    const char *given = getenv("HALB_TEST_SEED");
    random_state = given != NULL ? strtoull(given, NULL, 0) : UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)getpid() << 1;
    print_message("seed: HALB_TEST_SEED=%#llx\n", (unsigned long long)random_state);
}

/* Whatever is accepted can be said again and means the same. */
static void test_mutants(void **state)
{
    unsigned accepted = 0, refused = 0;
    (void)state;
    seed_random();
    for (int i = 0; i < 20000; i++) {
        const struct parse_row *row = &rows[random_below(sizeof(rows) / sizeof(rows[0]))];
        char bytes[512];
        size_t len = row->len, decided;
        struct proxy_info info;
        int r;
        memcpy(bytes, row->bytes, len);
        for (unsigned n = random_below(4); n > 0; n--)
            len = mutate(bytes, len);
        r = parse_cut(bytes, len, &decided, &info);
        accepted += r > 0;
        refused += r < 0;
        assert_true(r >= -EINVAL && (r <= 0 || (size_t)r == decided));
        if (r > 0 && !info.local) {
            check_round_trip(1, &info.source, &info.destination);
            check_round_trip(2, &info.source, &info.destination);
        }
    }
    assert_true(accepted > 1000);
    assert_true(refused > 1000);
}

static struct addr random_address(void)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = (in_port_t)random_below(65536), .sin_addr.s_addr = random_below(UINT32_MAX) };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = (in_port_t)random_below(65536) };
    if (random_below(2) == 0)
        return addr_from_sockaddr((const struct sockaddr *)&in);
    for (size_t i = 0; i < 16; i++)
        in6.sin6_addr.s6_addr[i] = random_below(3) == 0 ? (uint8_t)random_below(256) : 0;
    return addr_from_sockaddr((const struct sockaddr *)&in6);
}

static void test_round_trips(void **state)
{
    (void)state;
    seed_random();
    for (int i = 0; i < 5000; i++) {
        struct addr source = random_address(), destination = random_address();
        check_round_trip(1, &source, &destination);
        check_round_trip(2, &source, &destination);
    }
}

#define ROWS(table, function)                                     \
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) \
        tests[count++] = (struct CMUnitTest){ .name = table[i].name, .test_func = (function), .initial_state = (void *)&table[i] }

int main(void)
{
    static struct CMUnitTest tests[256];
    size_t count = 0;
    ROWS(rows, test_parse);
    ROWS(formats, test_format);
    ROWS(crcs, test_crc);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_largest);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_format_local);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_round_trips);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_mutants);
    return _cmocka_run_group_tests("proxy", tests, count, NULL, NULL);
}
