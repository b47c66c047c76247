"""What instances answer, and what the client gets of it: every row with its rule."""
from dataclasses import dataclass

from .requests import CONTROLS, DELIMITERS, lines, octets

BAD_GATEWAY = b"HTTP/1.1 502 BAD_GATEWAY\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
KEPT, FRESH, BAD, CUT, SPOILED, ENDS = "kept", "fresh", "bad", "cut", "spoiled", "ends"
STAYS, CLOSE, RESET = "", "close", "reset"


@dataclass
class Row:
    """`then` is what the instance does after its bytes; CUT: the client gets at most a part of `wanted`; SPOILED: all of it, and no end."""
    kind: str
    name: str
    rule: str
    asked: bytes
    sent: bytes
    then: str
    wanted: bytes


ROWS = []
GET = lines("GET /row HTTP/1.1", "Host: a")
HEAD = lines("HEAD /row HTTP/1.1", "Host: a")
POST = lines("POST /row HTTP/1.1", "Host: a")       # never repeated
OLD = lines("GET /row HTTP/1.0", "Host: a")
OLD_KEPT = lines("GET /row HTTP/1.0", "Host: a", "Connection: keep-alive")
CHUNKED = "Transfer-Encoding: chunked"
END = b"0\r\n\r\n"
ABC = b"3\r\nabc\r\n"
OK = "HTTP/1.1 200 OK"


def row(kind, name, rule, sent, wanted, asked=GET, then=STAYS):
    ROWS.append(Row(kind, name, rule, asked, octets(sent), then, wanted))


def reply(*fields, start=OK, body=b""):
    return lines(start, *fields) + body


def got(*fields, start=OK, body=b"", framing="Content-Length: 3", connection="keep-alive"):
    """As halb writes it: the instance's fields in their order, framing, Connection."""
    return lines(start, *fields, *([framing] if framing else []), f"Connection: {connection}") + body


def kept(name, rule, sent, wanted, **more):
    """Passes, and both connections go on."""
    row(KEPT, name, rule, sent, wanted, **more)


def fresh(name, rule, sent, wanted, **more):
    """Passes, and the client's connection goes on; the instance's does not."""
    row(FRESH, name, rule, sent, wanted, **more)


def ends(name, rule, sent, wanted, **more):
    """Passes, and the client's connection ends."""
    row(ENDS, name, rule, sent, wanted, **more)


def bad(name, rule, sent, then=STAYS, asked=POST):
    """502; the client's connection goes on, the instance's does not."""
    row(BAD, name, rule, sent, BAD_GATEWAY, asked=asked, then=then)


def cut(name, rule, sent, wanted, then=STAYS, asked=GET):
    """The answer breaks off, visibly, and so does the client's connection."""
    row(CUT, name, rule, sent, wanted, asked=asked, then=then)


def spoiled(name, rule, body, payload=b"abc"):
    """Chunks that turn bad: the client gets the head and what came before the bad byte, and sees that this is not the end."""
    chunk = b"%x\r\n%s\r\n" % (len(payload), payload) if payload else b""
    row(SPOILED, name, rule, reply(CHUNKED, body=body), got(framing=CHUNKED, body=chunk))
    row(SPOILED, f"{name} to HTTP/1.0", rule, reply(CHUNKED, body=body), got(framing=None, connection="close", body=payload), asked=OLD)


ABC_SENT = reply("Content-Length: 3", body=b"abc")
ABC_GOT = got(body=b"abc")

# ---- status line

for start, wanted in [("HTTP/1.1 200 OK", "HTTP/1.1 200 OK"), ("HTTP/1.1 200 ", "HTTP/1.1 200 "), ("HTTP/1.1 200", "HTTP/1.1 200 "), ("HTTP/1.1 200 a\tb  c:d", "HTTP/1.1 200 a\tb  c:d"),
                      ("HTTP/1.1 200 \xe9\xff", "HTTP/1.1 200 \xe9\xff"), ("HTTP/1.1 599 x", "HTTP/1.1 599 x"), ("HTTP/1.1 418 x", "HTTP/1.1 418 x"), ("HTTP/1.1 205 x", "HTTP/1.1 205 x"),
                      ("HTTP/1.1 206 x", "HTTP/1.1 206 x"), ("HTTP/1.1 302 x", "HTTP/1.1 302 x"), ("HTTP/1.1 404 x", "HTTP/1.1 404 x"), ("HTTP/1.1 500 x", "HTTP/1.1 500 x"),
                      ("HTTP/1.1 503 x", "HTTP/1.1 503 x"), ("HTTP/1.9 200 x", "HTTP/1.1 200 x")]:
    kept(f"status line {start!r}", "RFC 9112 4; RFC 9110 2.5, 15", reply("Content-Length: 3", start=start, body=b"abc"), got(start=wanted, body=b"abc"), asked=POST)
fresh("HTTP/1.0", "RFC 9112 9.3", reply("Content-Length: 3", start="HTTP/1.0 200 OK", body=b"abc"), ABC_GOT)
kept("HTTP/1.0 with keep-alive", "RFC 9112 9.3", reply("Content-Length: 3", "Connection: keep-alive", start="HTTP/1.0 200 OK", body=b"abc"), ABC_GOT)
for start in ["HTTP/2.0 200 OK", "HTTP/2 200", "HTTP/0.9 200 OK", "HTTP/1.10 200 OK", "HTTP/1. 200 OK", "http/1.1 200 OK", "HTTPS/1.1 200 OK", "ICY 200 OK", "RTSP/1.0 200 OK", "HTTP/1.1\t200 OK", "HTTP/1.1  200 OK",
              " HTTP/1.1 200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 099 OK", "HTTP/1.1 000 OK", "HTTP/1.1 600 OK", "HTTP/1.1 999 OK", "HTTP/1.1 -20 OK", "HTTP/1.1 2x0 OK", "HTTP/1.1 abc OK", "HTTP/1.1 200OK",
              "HTTP/1.1 200\tOK", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 OK", "HTTP/1.1 200 O\0K", "HTTP/1.1 200 O\rK", "HTTP/1.1 200 O\x01K", "HTTP/1.1 200 O\x7fK", "200 OK", "GET / HTTP/1.1"]:
    bad(f"status line {start!r}", "RFC 9112 4", reply("Content-Length: 0", start=start))
bad("bare LF after the status line", "RFC 9112 2.2", b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n")
bad("an empty line before the status line", "RFC 9112 2.2: for requests alone", b"\r\n" + ABC_SENT)
for name, data in {"an SSH banner": b"SSH-2.0-x\r\n", "a page without a head (HTTP/0.9)": b"<html></html>", "TLS": b"\x15\x03\x01\0\x02\x02\x46", "HTTP/2 SETTINGS": b"\0\0\0\x04\0\0\0\0\0", "every byte": bytes(range(256))}.items():
    bad(name, "RFC 9112 4", data)

# ---- fields

kept("fields keep letters and order", "RFC 9110 5.3", reply("x-B: 1", "Set-Cookie: a=b", "X-A:", "Set-Cookie: c=d; Path=/", "Content-Length: 3", "X-b: 2", body=b"abc"),
     got("x-B: 1", "Set-Cookie: a=b", "X-A: ", "Set-Cookie: c=d; Path=/", "X-b: 2", body=b"abc"))
kept("blanks around values", "RFC 9112 5.1", reply("A:b", "C: \t d e\t ", "Content-Length:\t3 ", body=b"abc"), got("A: b", "C: d e", body=b"abc"))
kept("Date, Server, Via, Content-Encoding pass", "RFC 9110 6.6.1, 7.6.3", reply("Date: x", "Server: y", "Via: 1.1 z", "Content-Encoding: gzip", "Content-Length: 3", body=b"abc"),
     got("Date: x", "Server: y", "Via: 1.1 z", "Content-Encoding: gzip", body=b"abc"))
kept("high bytes in a value", "RFC 9110 5.5 obs-text", reply("A: \x80\xff", "Content-Length: 3", body=b"abc"), got("A: \x80\xff", body=b"abc"))
kept("a field of 16384 bytes", "response_headers_max", reply("A: " + "b" * 16381, "Content-Length: 3", body=b"abc"), got("A: " + "b" * 16381, body=b"abc"))
for byte in DELIMITERS + b"\x80\xff":
    bad(f"name with {chr(byte)!r}", "RFC 9110 5.6.2", reply(f"A{chr(byte)}: b", "Content-Length: 0"))
for byte in [0, *CONTROLS]:
    bad(f"value with byte {byte:#04x}", "RFC 9110 5.5", reply(f"A: b{chr(byte)}c", "Content-Length: 0"))
for field in [": b", "A", "A : b", "A\t: b", "A A: b", "A\rB: c", "A: b\rC: d", "A: b\nC: d", "A: b\r\n c", " A: b", "A\0: b", "Content-Length : 3", "Content_Length: 3", "Transfer-Encoding : chunked", "Transfer_Encoding: chunked",
              "Transfer\x0bEncoding: chunked", "HTTP/1.1 200 OK"]:
    bad(f"field {field!r}", "RFC 9112 5, 5.1, 5.2; response splitting", reply(field, "Content-Length: 0"))
bad("bare LF at the end of the head", "RFC 9112 2.2", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n")
bad("CR CR LF at the end of the head", "RFC 9112 2.2", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\r\n")
bad("a head without end", "response_headers_max", b"HTTP/1.1 200 OK\r\n" + b"A: " + b"b" * 70000)
bad("a status line without end", "response_headers_max", b"HTTP/1.1 200 " + b"x" * 70000)
bad("more than 64K of fields", "response_headers_max", reply(*["A: " + "b" * 9000] * 8, "Content-Length: 0"))
bad("300 fields", "bounded", reply(*["A: b"] * 300, "Content-Length: 0"))

# ---- framing

kept("Content-Length", "RFC 9112 6.3", ABC_SENT, ABC_GOT)
kept("Content-Length 0", "RFC 9112 6.3", reply("Content-Length: 0"), got(framing="Content-Length: 0"))
kept("leading zeros", "RFC 9110 8.6", reply("Content-Length: 0003", body=b"abc"), ABC_GOT)
kept("chunked", "RFC 9112 7.1", reply(CHUNKED, body=ABC + END), got(framing=CHUNKED, body=ABC + END))
kept("chunked in other letters", "RFC 9112 7", reply("transfer-encoding:CHUNKED", body=ABC + END), got(framing=CHUNKED, body=ABC + END))
kept("chunked and empty", "RFC 9112 7.1", reply(CHUNKED, body=END), got(framing=CHUNKED, body=END))
for value in ["", "-0", "-3", "+3", "0x3", "3h", "3.0", "1 3", "3,3", "3, 3", "3, 4", "3;a", "\xb3", "3\x0b", "3\xa0", "18446744073709551615", "18446744073709551616", "18446744073709551619", "9" * 100]:
    bad(f"Content-Length {value!r}", "RFC 9112 6.3; RFC 9110 8.6", reply(f"Content-Length: {value}", body=b"abc"))
for first, second in [("3", "4"), ("3", "0"), ("0", "3"), ("3", "x"), ("3", "3")]:
    bad(f"Content-Length {first}, then {second}", "RFC 9112 6.3; stricter: twice is doubt", reply(f"Content-Length: {first}", "A: b", f"content-length: {second}", body=b"abc"))
for value in ["", ",", "xchunked", "identity", "gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked", "chunked,", "chunked;a=b", '"chunked"', "\x0bchunked", "chunked\x0b", "chunked\xa0", "chunked\0"]:
    bad(f"Transfer-Encoding {value!r}", "RFC 9112 6.1, 6.3", reply(f"Transfer-Encoding: {value}", body=ABC + END))
bad("chunked twice", "RFC 9112 6.1", reply(CHUNKED, CHUNKED, body=ABC + END))
bad("Content-Length and chunked", "RFC 9112 6.3", reply("Content-Length: 3", CHUNKED, body=ABC + END))
bad("chunked and Content-Length", "RFC 9112 6.3", reply(CHUNKED, "Content-Length: 3", body=ABC + END))
bad("chunked in HTTP/1.0", "RFC 9112 6.1", reply(CHUNKED, start="HTTP/1.0 200 OK", body=ABC + END))
fresh("until close", "RFC 9112 6.3", reply(body=b"abc"), got(framing=CHUNKED, body=ABC + END), then=CLOSE)
fresh("until close, said so", "RFC 9112 6.3, 9.6", reply("Connection: close", body=b"abc"), got(framing=CHUNKED, body=ABC + END), then=CLOSE)
fresh("until close, nothing came", "RFC 9112 6.3", reply(), got(framing=CHUNKED, body=END), then=CLOSE)
fresh("until close in HTTP/1.0", "RFC 9112 6.3", reply(start="HTTP/1.0 200 OK", body=b"abc"), got(framing=CHUNKED, body=ABC + END), then=CLOSE)
fresh("until close, an answer in it", "RFC 9112 6.3", reply(body=POISON), got(framing=CHUNKED, body=b"%x\r\n%s\r\n" % (len(POISON), POISON) + END), then=CLOSE)
ends("until close to HTTP/1.0", "RFC 9112 6.3", reply(body=b"abc"), got(framing=None, connection="close", body=b"abc"), asked=OLD, then=CLOSE)
ends("chunked to HTTP/1.0", "RFC 9112 7.1", reply(CHUNKED, body=ABC + b"2\r\nde\r\n" + END), got(framing=None, connection="close", body=b"abcde"), asked=OLD)
ends("chunked to HTTP/1.0 that would stay", "RFC 9112 7.1", reply(CHUNKED, body=ABC + END), got(framing=None, connection="close", body=b"abc"), asked=OLD_KEPT)
ends("Content-Length to HTTP/1.0", "RFC 9112 9.3; ELB: HTTP/1.1 in the status line", ABC_SENT, got(connection="close", body=b"abc"), asked=OLD)
kept("Content-Length to HTTP/1.0 that stays", "RFC 9112 9.3", ABC_SENT, ABC_GOT, asked=OLD_KEPT)

# ---- chunks

for name, body, payload in [("sizes in capital letters", b"A\r\n0123456789\r\n" + END, b"0123456789"), ("leading zeros", b"0003\r\nabc\r\n00\r\n\r\n", b"abc"), ("two chunks", ABC + b"2\r\nde\r\n" + END, b"abcde"),
                            ("extensions", b'3;a=b;c="d e"\r\nabc\r\n0;a\r\n\r\n', b"abc"), ("trailers", ABC + b"0\r\nA: b\r\nC: d\r\n\r\n", b"abc"), ("a length in the trailers", ABC + b"0\r\nContent-Length: 36\r\n\r\n", b"abc"),
                            ("a cookie in the trailers", ABC + b"0\r\nSet-Cookie: a=b\r\n\r\n", b"abc"), ("an answer as a chunk", b"%x\r\n%s\r\n" % (len(POISON), POISON) + END, POISON)]:
    kept(f"chunks: {name}", "RFC 9112 7.1; RFC 9110 6.5.1", reply(CHUNKED, body=body), got(framing=CHUNKED, body=b"%x\r\n%s\r\n" % (len(payload), payload) + END))
for body in [b"", b"3", b"3\r\n", b"3\r\nab", b"3\r\nabc", ABC, ABC + b"0", ABC + b"0\r\n", ABC + b"0\r\nA: b\r\n"]:
    for then in (CLOSE, RESET):
        cut(f"chunks break off after {body!r}, {then}", "RFC 9112 8", reply(CHUNKED, body=body), got(framing=CHUNKED, body=ABC + END), then=then)
for size in ["", "g", "-3", "+3", "0x3", " 3", "3 ", "3\t", "3h", "3\n", "3\0", "3;\n", "3;\0", "3;a\rb", "00000000000000003", "10000000000000003", "ffffffffffffffff", "fffffffffffffffe", "8000000000000000"]:
    spoiled(f"chunk size {size!r}", "RFC 9112 7.1; CVE-2013-2028", octets(size) + b"\r\nabc\r\n" + END, b"")
for body in [b"3\r\nabcd\r\n", b"3\r\nabc\n", b"3\r\nabc0\r\n\r\n", ABC + b"\r\n" + END, ABC + b"z\r\n", ABC + b"0\n\n", ABC + b"0\r\nA\r\n\r\n", ABC + b"0\r\nA : b\r\n\r\n", ABC + b"0\r\nA: b\r\n c\r\n\r\n",
             ABC + b"0\r\nA: \0\r\n\r\n", ABC + b"0\r\n" + b"A: b\r\n" * 3000 + b"\r\n"]:
    spoiled(f"chunks {body[:40]!r}", "RFC 9112 7.1; CVE-2023-39326", body)
spoiled("an extension without end", "RFC 9112 7.1.1; CVE-2023-39326", b"3;" + b"a" * 5000 + b"\r\nabc\r\n", b"")

# ---- breaking off

for then in (CLOSE, RESET):
    for body in (b"", b"a", b"ab"):
        cut(f"{len(body)} of 3 bytes, then {then}", "RFC 9112 8", reply("Content-Length: 3", body=body), ABC_GOT, then=then)
    cut(f"a byte of a length near 2^63, then {then}", "RFC 9110 8.6", reply("Content-Length: 999999999999999999", body=b"a"), got(framing="Content-Length: 999999999999999999", body=b"a..."), then=then)
    for data in (b"", b"H", b"HTTP/1.1", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r"):
        bad(f"{then} after {data!r}", "RFC 9112 8", data, then=then)
cut("until close, but reset", "RFC 9112 8", reply(body=b"abc"), got(framing=CHUNKED, body=ABC + END), then=RESET)
cut("until close to HTTP/1.0, but reset", "RFC 9112 8", reply(body=b"abc"), got(framing=None, connection="close", body=b"abc"), asked=OLD, then=RESET)
cut("chunks to HTTP/1.0 that break off", "RFC 9112 8", reply(CHUNKED, body=ABC), got(framing=None, connection="close", body=b"abc"), asked=OLD, then=CLOSE)
fresh("whole, then close", "RFC 9112 9.6", ABC_SENT, ABC_GOT, then=CLOSE)
fresh("whole chunks, then close", "RFC 9112 9.6", reply(CHUNKED, body=ABC + END), got(framing=CHUNKED, body=ABC + END), then=CLOSE)

# ---- what is after an answer, or where none may be

for name, data, wanted, asked in [("a length", ABC_SENT, ABC_GOT, GET), ("chunks", reply(CHUNKED, body=ABC + END), got(framing=CHUNKED, body=ABC + END), GET),
                                  ("204", reply(start="HTTP/1.1 204 x"), got(start="HTTP/1.1 204 x", framing=None), GET), ("304", reply(start="HTTP/1.1 304 x"), got(start="HTTP/1.1 304 x", framing=None), GET),
                                  ("HEAD", reply("Content-Length: 3"), got(), HEAD)]:
    for after in (b"x", b"\r\n", POISON):
        fresh(f"after {name} {after!r}", "RFC 9112 6.3, 9.3; response-queue poisoning", data + after, wanted, asked=asked)
for status in ("204", "304"):
    kept(f"{status} with nothing", "RFC 9110 15", reply(start=f"HTTP/1.1 {status} x"), got(start=f"HTTP/1.1 {status} x", framing=None))
    kept(f"{status} said to be chunked", "RFC 9112 6.1, 6.3", reply(CHUNKED, start=f"HTTP/1.1 {status} x"), got(start=f"HTTP/1.1 {status} x", framing=None))
kept("204 with a length", "RFC 9110 8.6: none", reply("Content-Length: 3", start="HTTP/1.1 204 x"), got(start="HTTP/1.1 204 x", framing=None))
kept("304 with a length", "RFC 9110 8.6, 15.4.5", reply("Content-Length: 3", "ETag: x", start="HTTP/1.1 304 x"), got("ETag: x", start="HTTP/1.1 304 x"))
kept("HEAD with a length", "RFC 9110 9.3.2", reply("Content-Length: 3"), got(), asked=HEAD)
kept("HEAD said to be chunked", "RFC 9110 9.3.2; RFC 9112 6.3", reply(CHUNKED), got(framing=None), asked=HEAD)
kept("HEAD without framing", "RFC 9112 6.3", reply(), got(framing=None), asked=HEAD)
fresh("HEAD with a body", "RFC 9112 6.3; response-queue poisoning", ABC_SENT, got(), asked=HEAD)
fresh("HEAD with chunks", "RFC 9112 6.3; response-queue poisoning", reply(CHUNKED, body=ABC + END), got(framing=None), asked=HEAD)

# ---- 1xx

EARLY = lines("HTTP/1.1 103 Early Hints", "Link: x")
kept("100 that nobody asked for", "RFC 9110 15.2; ELB answers Expect itself", reply(start="HTTP/1.1 100 Continue") + ABC_SENT, ABC_GOT)
kept("103", "RFC 9110 15.2", EARLY + ABC_SENT, EARLY + ABC_GOT)
kept("103 with a length", "RFC 9110 8.6", reply("Content-Length: 3", "Link: x", start="HTTP/1.1 103 x") + ABC_SENT, lines("HTTP/1.1 103 x", "Link: x") + ABC_GOT)
kept("103 said to be chunked", "RFC 9112 6.1", reply(CHUNKED, "Link: x", start="HTTP/1.1 103 x") + ABC_SENT, lines("HTTP/1.1 103 x", "Link: x") + ABC_GOT)
kept("102, 103 and 199", "RFC 9110 15.2", reply(start="HTTP/1.1 102 x") + EARLY + reply(start="HTTP/1.1 199 y") + ABC_SENT, reply(start="HTTP/1.1 102 x") + EARLY + reply(start="HTTP/1.1 199 y") + ABC_GOT)
kept("103 before an answer to HEAD", "RFC 9110 15.2", EARLY + reply("Content-Length: 3"), EARLY + got(), asked=HEAD)
ends("103 to HTTP/1.0", "RFC 9110 15.2: not to HTTP/1.0", EARLY + ABC_SENT, got(connection="close", body=b"abc"), asked=OLD)
bad("101 that nobody asked for", "RFC 9110 15.2.2", reply("Connection: Upgrade", "Upgrade: x", start="HTTP/1.1 101 x"))
bad("101 to h2c", "h2c smuggling; CVE-2026-2833", reply("Connection: Upgrade", "Upgrade: h2c", start="HTTP/1.1 101 x"),
    asked=lines("POST /row HTTP/1.1", "Host: a", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: x"))
bad("a bad answer after 100", "RFC 9112 4", reply(start="HTTP/1.1 100 x") + b"x\r\n\r\n")
bad("100 and the end", "RFC 9112 8", reply(start="HTTP/1.1 100 x"), then=CLOSE)
bad("100 without end", "endless 1xx", reply(start="HTTP/1.1 100 x") * 1000)

# ---- Connection and what is of one connection only

for value, fields in {"X": ("X: b", "x: c"), "Keep-Alive": ("Keep-Alive: timeout=5",), "keep-alive, A,,X": ("X: b",)}.items():
    kept(f"Connection: {value}", "RFC 9110 7.6.1", reply(f"Connection: {value}", "Content-Length: 3", "B: c", *fields, body=b"abc"), got("B: c", body=b"abc"))
for name in ("Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Trailer", "TE", "Upgrade"):
    kept(f"{name} not named", "RFC 9110 7.6.1, 11.7", reply(f"{name}: b", "Content-Length: 3", body=b"abc"), got(body=b"abc"))
for value in ("close", "Close", "keep-alive, close", "a,close"):
    fresh(f"Connection: {value}", "RFC 9112 9.6", reply(f"Connection: {value}", "Content-Length: 3", body=b"abc"), ABC_GOT)
kept("Connection: Content-Length takes nothing away", "CVE-2022-31813 class", reply("Connection: Content-Length", "Content-Length: 3", body=b"abc"), ABC_GOT)
kept("Connection: Transfer-Encoding takes nothing away", "CVE-2022-31813 class", reply("Connection: Transfer-Encoding", CHUNKED, body=ABC + END), got(framing=CHUNKED, body=ABC + END))
