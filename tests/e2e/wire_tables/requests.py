"""
What clients send, and what the instance gets of it: every row with its rule.

ELB: the desync class and reason of the classic balancer. RFC 3986, 9110, 9112: the section. CVE: the class of fault that
the row stands for; "desync" is the research of 2019 to 2025 on requests that two readers end at different bytes.
"""
from dataclasses import dataclass

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
STATUS = {400: b"HTTP/1.1 400 BAD_REQUEST\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n",
          405: b"HTTP/1.1 405 METHOD_NOT_ALLOWED\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n"}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CONTROLS = [c for c in range(0x20) if c not in b"\0\t\n\r"] + [0x7f]
DELIMITERS = b'"(),/;<=>?@[\\]{}'

KEPT, CLOSES, ENDS, REFUSED, CUT = "kept", "closes", "ends", "refused", "cut"


@dataclass
class Row:
    """`seen` is what the instance gets (<forwarded> and <node> stand for what depends on addresses); CUT: what it gets, less the end."""
    kind: str
    name: str
    rule: str
    sent: bytes
    seen: bytes = b""
    answer: bytes = b""


ROWS = []


def octets(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def lines(*texts):
    return b"".join(octets(text) + b"\r\n" for text in texts) + b"\r\n"


def sent(*fields, start="POST / HTTP/1.1", host="a", body=b""):
    return lines(start, *([f"Host: {host}"] if host is not None else []), *fields) + body


def seen(*fields, start="POST / HTTP/1.1", host="a", body=b"", length=None, chain=""):
    """As halb writes it: Host, the sender's fields in their order, X-Forwarded-*, framing."""
    framing = [] if length is None else [length if length == CHUNKED else f"Content-Length: {length}"]
    return lines(start, b"Host: " + octets(host), *fields, f"<forwarded{chain}>", *framing) + body


CHUNKED = "Transfer-Encoding: chunked"
END = b"0\r\n\r\n"
ABC = b"3\r\nabc\r\n"


def answer(kind, head=False, interim=b""):
    connection = b"keep-alive" if kind == KEPT else b"close"
    return interim + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: " + connection + b"\r\n\r\n" + (b"" if head else b"ok")


def add(kind, name, rule, request, wanted, interim=b""):
    head = wanted.startswith(b"HEAD ")
    ROWS.append(Row(kind, name, rule, octets(request), wanted, answer(kind, head, interim)))


def kept(name, rule, request, wanted, **more):
    """Passes, and both connections go on."""
    add(KEPT, name, rule, request, wanted, **more)


def closes(name, rule, request, wanted, **more):
    """Passes, then both connections end."""
    add(CLOSES, name, rule, request, wanted, **more)


def ends(name, rule, request, wanted, **more):
    """Passes, and the client's connection ends, as it wished."""
    add(ENDS, name, rule, request, wanted, **more)


def refused(name, rule, request, status=400):
    """The instance hears nothing."""
    ROWS.append(Row(REFUSED, name, rule, octets(request), b"", STATUS[status]))


def cut(name, rule, body, payload=b"abc"):
    """A chunked body that turns bad: of the request, the instance gets the head and what came before the bad byte, never its end."""
    whole = b"%x\r\n%s\r\n" % (len(payload), payload) if payload else b""
    ROWS.append(Row(CUT, name, rule, sent(CHUNKED, body=octets(body)), seen(length=CHUNKED, body=whole), STATUS[400]))


def same(name, rule, *fields, start="GET / HTTP/1.1", **more):
    """Nothing is changed but what halb adds."""
    kept(name, rule, sent(*fields, start=start, **more), seen(*fields, start=start, **more))


def get(target):
    return f"GET {target} HTTP/1.1"


# ---- request line: method

for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "get", "M-SEARCH", "M" * 127]:
    same(f"method {method[:20]}", "RFC 9110 9.1", start=f"{method} / HTTP/1.1")
same("method of every odd token character", "RFC 9110 5.6.2", start="!#$%&'*+-.^_`|~09 / HTTP/1.1")
same("method connect in small letters is another one", "RFC 9110 9.1", start="connect / HTTP/1.1")
refused("method of 128 characters", "ELB 405", sent(start="M" * 128 + " / HTTP/1.1"), 405)
refused("method of 20000 characters", "ELB 405; CVE-2019-18801 class", sent(start="M" * 20000 + " / HTTP/1.1"), 405)
for byte in DELIMITERS:
    refused(f"method with {chr(byte)}", "ELB BadMethod; RFC 9110 5.6.2", sent(start=f"GE{chr(byte)}T / HTTP/1.1"))
for byte in (1, 9, 0x0b, 0x7f, 0x80, 0xe9):
    refused(f"method with byte {byte:#04x}", "ELB BadMethod; desync", sent(start=f"GE{chr(byte)}T / HTTP/1.1"))
refused("method with a colon", "ELB BadMethod; desync", sent(start="GET: / HTTP/1.1"))
refused("no method", "ELB BadMethod; RFC 9112 3", sent(start=" / HTTP/1.1"))
refused("method after a space", "RFC 9112 3", sent(start=" GET / HTTP/1.1"))
refused("method after a tab", "RFC 9112 3", sent(start="\tGET / HTTP/1.1"))
refused("method and a tab", "RFC 9112 3; desync", sent(start="GET\t/ HTTP/1.1"))
refused("CONNECT", "ELB 400; RFC 9110 9.3.6", sent(start="CONNECT a:443 HTTP/1.1"))
refused("CONNECT of a path", "ELB 400; RFC 9110 9.3.6", sent(start="CONNECT / HTTP/1.1"))
refused("CONNECT of an absolute-form", "ELB 400; RFC 9110 9.3.6", sent(start="CONNECT http://a/ HTTP/1.1"))
refused("NUL in the method", "ELB BadMethod", sent(start="GE\0T / HTTP/1.1"))
refused("CR in the method", "ELB BadMethod; RFC 9112 2.2", sent(start="GE\rT / HTTP/1.1"))
refused("byte order mark", "RFC 9112 3", b"\xef\xbb\xbf" + sent(start=get("/")))

# ---- request line: target

printable = "/" + "".join(chr(c) for c in range(0x21, 0x7f) if c != ord("#"))
same("every printable byte of a target", "RFC 9112 3.2.1; a WAF must see what came", start=get(printable))
for target in ["/", "//", "//a/b", "/..", "/../../etc/passwd", "/./a/.", "/%00", "/%2e%2e/", "/%", "/%zz", "/a?b", "/?", "/a?b?c", "/a;b=c", "/a|b", "/\\..\\",
               "/a//b", "/http://b/", "/*", "/a:80", "/%0d%0aX:%20y", "/<script>", "/?q=%23"]:
    same(f"target {target}", "RFC 9112 3.2.1; RFC 3986 3.3", start=get(target))
for byte in CONTROLS + [9]:
    closes(f"byte {byte:#04x} in the target", "ELB AmbiguousUri; RFC 3986 2.1", sent(start=get(f"/a{chr(byte)}b")), seen(start=get(f"/a%{byte:02X}b")))
kept("a space in the target", "ELB SpaceInUri; RFC 9112 3.2", sent(start=get("/a b")), seen(start=get("/a%20b")))
kept("spaces in the target", "ELB SpaceInUri; RFC 9112 3.2", sent(start=get("/a b  c?d e")), seen(start=get("/a%20b%20%20c?d%20e")))
kept("a version in the target", "ELB SpaceInUri; desync", sent(start=get("/ HTTP/1.1 HTTP/1.0 x")), seen(start=get("/%20HTTP/1.1%20HTTP/1.0%20x")))
refused("NUL in the target", "ELB BadUri", sent(start=get("/a\0b")))
refused("CR in the target", "ELB BadUri; RFC 9112 2.2", sent(start=get("/a\rb")))
refused("LF in the target", "ELB BadUri; RFC 9112 2.2", sent(start=get("/a\nb")))
refused("'#' in the target", "CVE-2023-45539; RFC 9112 3.2", sent(start=get("/a#b")))
refused("'#' after the query", "CVE-2023-45539", sent(start=get("/a?b#c")))
for byte in (0x80, 0xa0, 0xe9, 0xff):
    refused(f"byte {byte:#04x} in the target", "RFC 3986 2", sent(start=get(f"/{chr(byte)}")))
refused("no target", "ELB MissingUri", sent(start="GET HTTP/1.1"))
refused("no target, two spaces", "ELB MissingUri", sent(start="GET  HTTP/1.1"))
refused("two spaces before the target", "ELB MissingUri; RFC 9112 3", sent(start="GET  / HTTP/1.1"))
refused("a method alone", "ELB MissingUri", sent(start="GET"))
refused("a method and a space alone", "ELB MissingUri", sent(start="GET "))
for target in ["a", "a/b", "?a", ".", "\\a", "%2f", "*", "**", "*/", "a:80", "a:443", "[::1]:80", "ftp://a/", "file:///etc/passwd", "http:/a/", "http:a", "http://", "http:///a",
               "http://u@a/", "http://u:p@a/", "http://a:b/", "http://a:65536/", "http://[::1/", "http://a%zz/", "http://a#b/", "http://a\\b/", "http://a?b",
               "http://<a>/", "xhttp://a/", "javascript:1"]:
    refused(f"target {target}", "RFC 9112 3.2; RFC 9110 4.2", sent(start=get(target)))
kept("OPTIONS *", "RFC 9112 3.2.4", sent(start="OPTIONS * HTTP/1.1"), seen(start="OPTIONS * HTTP/1.1"))
refused("OPTIONS and more than an asterisk", "RFC 9112 3.2.4", sent(start="OPTIONS *a HTTP/1.1"))
for target, host, path in [("http://a/", "a", "/"), ("http://a/b?c=d", "a", "/b?c=d"), ("HTTP://a/", "a", "/"), ("https://a/", "a", "/"), ("http://b:81/x", "b:81", "/x"),
                           ("http://b", "b", "/"), ("http://b:/x", "b:", "/x"), ("http://[::1]:80/", "[::1]:80", "/"), ("http://B.Example./", "B.Example.", "/"),
                           ("http://b//c", "b", "//c"), ("http://b/http://c/", "b", "/http://c/")]:
    kept(f"absolute-form {target}", "RFC 9112 3.2.2", sent(start=get(target)), seen(start=get(path), host=host))
kept("absolute-form of OPTIONS without a path", "RFC 9112 3.2.4", sent(start="OPTIONS http://b HTTP/1.1"), seen(start="OPTIONS * HTTP/1.1", host="b"))
kept("absolute-form with a space in its path", "ELB SpaceInUri", sent(start=get("http://b/c d")), seen(start=get("/c%20d"), host="b"))
refused("absolute-form with a space in its authority", "RFC 9110 4.2.4", sent(start=get("http://a b/")))
refused("absolute-form without Host", "RFC 9112 3.2.2", lines(get("http://a/")))
refused("absolute-form with an invalid Host beside", "RFC 9112 3.2", sent(start=get("http://a/"), host="b c"))
ends("absolute-form in HTTP/1.0", "RFC 9112 3.2.2", lines("GET http://b/c HTTP/1.0"), seen(start=get("/c"), host="b"))

# ---- request line: version and line ends

for digit in range(2, 10):
    kept(f"HTTP/1.{digit}", "ELB NonCompliantVersion; RFC 9110 2.5", sent(start=f"GET / HTTP/1.{digit}"), seen(start=get("/")))
kept("a space after the version", "ELB NonCompliantVersion", sent(start="GET / HTTP/1.1 "), seen(start=get("/")))
kept("two spaces before the version", "ELB NonCompliantVersion", sent(start="GET /  HTTP/1.1"), seen(start=get("/")))
kept("spaces around the version", "ELB NonCompliantVersion", sent(start="GET /   HTTP/1.1   "), seen(start=get("/")))
for version in ["HTTP/2.0", "HTTP/3.0", "HTTP/9.9"]:
    refused(version, "ELB BadVersion", sent(start=f"GET / {version}"))
for version in ["HTTP/0.9", "HTTP/0.8", "HTTP/1.10", "HTTP/1.", "HTTP/1", "HTTP/11", "HTTP/.1", "HTTP/01.1", "HTTP/1,1", "HTTP/1.1x", "HTTP/1.x", "HTTP/-1.1", "HTTP/", "HTTP", "http/1.1",
                "Http/1.1", "XHTTP/1.1", "HTTP /1.1", "HTTP/ 1.1", "HTTP/1. 1", "HTTPS/1.1", "RTSP/1.0", "ICY", "\tHTTP/1.1", "HTTP/1.1\t", "HTTP/1.1\0", "HTTP/1.1\x0b",
                "HTTP/\xb9.1", "H2/1.1"]:
    refused(f"version {version!r}", "ELB BadVersion; RFC 9112 2.3", sent(start=f"GET / {version}"))
refused("HTTP/0.9", "ELB NonCompliantVersion; RFC 9112 2.3", b"GET /\r\n")
refused("HTTP/0.9 with fields", "ELB NonCompliantVersion", sent(start="GET /"))
refused("an empty version", "ELB NonCompliantVersion", sent(start="GET / "))
refused("the preface of HTTP/2", "RFC 9113 3.4; h2c smuggling", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
kept("an empty line before the request", "RFC 9112 2.2", b"\r\n" + sent(start=get("/")), seen(start=get("/")))
refused("two empty lines before the request", "RFC 9112 2.2", b"\r\n\r\n" + sent(start=get("/")))
refused("a bare LF before the request", "RFC 9112 2.2", b"\n" + sent(start=get("/")))
refused("a bare CR before the request", "RFC 9112 2.2", b"\r" + sent(start=get("/")))
refused("bare LF after the request line", "ELB NonCrLfLineTermination; RFC 9112 2.2", b"GET / HTTP/1.1\nHost: a\r\n\r\n")
refused("bare LF after a field", "ELB NonCrLfLineTermination; desync", b"GET / HTTP/1.1\r\nHost: a\nA: b\r\n\r\n")
refused("bare LF at the end of the head", "ELB NonCrLfLineTermination; desync", b"GET / HTTP/1.1\r\nHost: a\r\n\n")
refused("bare LF everywhere", "ELB NonCrLfLineTermination", b"GET / HTTP/1.1\nHost: a\n\n")
refused("LF CR", "RFC 9112 2.2", b"GET / HTTP/1.1\n\rHost: a\n\r\n\r")
refused("CR CR LF after the request line", "RFC 9112 2.2", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n")
refused("CR CR LF after a field", "RFC 9112 2.2; desync", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n")
refused("CR CR LF at the end of the head", "RFC 9112 2.2; desync", b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n")
refused("bare CR between fields", "RFC 9112 2.2; CVE-2023-30589 class", b"GET / HTTP/1.1\r\nHost: a\rA: b\r\n\r\n")
for name, data in {"a TLS ClientHello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), "an SSH banner": b"SSH-2.0-x\r\n", "SMTP": b"EHLO a\r\n",
                   "a PROXY line from a stranger": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + sent(start=get("/")),
                   "a PROXY v2 header from a stranger": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12), "an answer": b"HTTP/1.1 200 OK\r\n\r\n"}.items():
    refused(name, "RFC 9112 3", data)

# ---- Host

for host in ["www.example.org", "a:80", "a:", "a:0", "a:65535", "192.0.2.1", "192.0.2.1:8080", "[::1]", "[2001:db8::1]:443", "[::ffff:192.0.2.1]", "A.Example.", "a_b", "-a-", "a%20b",
             "a!$&'()*+,;=~b", "xn--bcher-kva.example", "1", "a..b"]:
    same(f"Host {host}", "RFC 9110 7.2; RFC 3986 3.2.2", host=host, start=get("/"))
for host in ["", "a b", "a/b", "a?b", "a#b", "a@b", "u@a:80", "a\\b", "a:65536", "a:99999999999", "a:8x", "a:-1", "a: 80", "a:80:80", ":", ":80", "[::1", "::1", "[::1]a", "[::g]", "[]", "[v1.a]",
             "[fe80::1%25eth0]", "[fe80::1%eth0]", "a%", "a%2", "a%zz", "<a>", '"a"', "{a}", "a|b", "a^b", "a`b", "a, b", "a\tb", "\xe9", "a\x80", "http://a"]:
    refused(f"Host {host!r}", "RFC 9112 3.2; RFC 3986 3.2.2", sent(host=host))
for byte in (0, 1, 0x0b, 0x1f, 0x7f):
    refused(f"byte {byte:#04x} in Host", "RFC 9112 3.2", sent(host=f"a{chr(byte)}b"))
refused("no Host", "RFC 9112 3.2", lines(get("/"), "A: b"))
refused("no fields", "RFC 9112 3.2", lines(get("/")))
refused("Host twice", "RFC 9112 3.2; desync", sent("Host: b"))
refused("Host twice, the same", "RFC 9112 3.2", sent("Host: a"))
refused("Host twice, in other letters", "RFC 9112 3.2", sent("A: b", "hOST: b"))
refused("Host twice beside an absolute-form", "RFC 9112 3.2", sent("Host: b", start=get("http://a/")))
refused("Host twice in HTTP/1.0", "RFC 9112 3.2", sent("Host: b", start="GET / HTTP/1.0"))
refused("Host with a space before its colon alone", "RFC 9112 5.1; desync", lines(get("/"), "Host : a"))
refused("Host after a space", "RFC 9112 2.2", lines(get("/"), " Host: a"))
refused("Host in two lines", "ELB MultilineHeader; RFC 9112 5.2", lines(get("/"), "Host: a", " b"))
refused("Host in two lines, the first empty", "ELB MultilineHeader", lines(get("/"), "Host:", " a"))
kept("Host with blanks around", "RFC 9110 5.5", lines(get("/"), "Host: \t a \t "), seen(start=get("/")))
kept("Host without a blank", "RFC 9110 5.5", lines(get("/"), "Host:a"), seen(start=get("/")))
kept("Host in other letters", "RFC 9110 5.1", lines(get("/"), "hOsT: a"), seen(start=get("/")))
kept("Host after others", "RFC 9110 7.2", lines(get("/"), "A: b", "Host: a", "C: d"), seen("A: b", "C: d", start=get("/")))
kept("a second Host with a space before its colon", "ELB NonCompliantHeader; RFC 9112 5.1", sent("Host : b"), seen())
ends("no Host in HTTP/1.0", "ELB: the node's address; RFC 9112 3.2", lines("GET / HTTP/1.0"), seen(start=get("/"), host="<node>"))

# ---- field lines

same("an empty value", "RFC 9110 5.5", "A: ")
kept("an empty value without a blank", "RFC 9110 5.5", sent("A:"), seen("A: "))
kept("blanks around a value", "RFC 9112 5.1", sent("A: \t b c\t \t"), seen("A: b c"))
kept("a value of blanks", "RFC 9112 5.1", sent("A:  \t "), seen("A: "))
kept("no blank before a value", "RFC 9112 5.1", sent("A:b"), seen("A: b"))
same("a tab in a value", "RFC 9110 5.5", "A: b\tc")
same("every odd token character in a name", "RFC 9110 5.6.2", "!#$%&'*+-.^_`|~09: b")
same("every printable byte in a value", "RFC 9110 5.5", "A: " + "".join(map(chr, range(0x21, 0x7f))))
same("every high byte in a value", "RFC 9110 5.5 obs-text", "A: " + "".join(map(chr, range(0x80, 0x100))))
same("names keep their letters, fields their order", "RFC 9110 5.3", "x-B: 1", "X-A: 2", "x-b: 3", "X-B: 1")
same("cookies", "RFC 6265 5.4", "Cookie: a=b; c=d", "Cookie: e=f")
same("a name of 300 characters", "CVE-2021-40346", "A" * 300 + ": b")
same("a name that begins as a length", "CVE-2021-40346", "Content-Length0" + "a" * 255 + ": 36")
same("a name that ends as one", "desync", "X-Transfer-Encoding: chunked", "X-Content-Length: 36")
same("underscores in a name", "RFC 9110 5.1", "X_Own: b")
for byte in DELIMITERS + b"\x80\xe9\xff":
    kept(f"name with {chr(byte)!r}", "ELB NonCompliantHeader; RFC 9110 5.6.2", sent(f"A{chr(byte)}A: b", "C: d"), seen("C: d"))
for byte in CONTROLS:
    kept(f"name with byte {byte:#04x}", "ELB NonCompliantHeader; RFC 9110 5.6.2", sent(f"A{chr(byte)}A: b", "C: d"), seen("C: d"))
    kept(f"value with byte {byte:#04x}", "ELB NonCompliantHeader; RFC 9110 5.5", sent(f"A: b{chr(byte)}c", "C: d"), seen("C: d"))
kept("a space before the colon", "ELB NonCompliantHeader; RFC 9112 5.1", sent("A : b", "C: d"), seen("C: d"))
kept("a tab before the colon", "ELB NonCompliantHeader; RFC 9112 5.1", sent("A\t: b", "C: d"), seen("C: d"))
kept("a space in a name", "ELB NonCompliantHeader", sent("A A: b", "C: d"), seen("C: d"))
closes("no name", "ELB EmptyHeader; CVE-2023-25725", sent(": b", "C: d"), seen("C: d"))
closes("colons for a name", "ELB EmptyHeader", sent("::A: b", "C: d"), seen("C: d"))
closes("no name, then a length", "ELB EmptyHeader; CVE-2023-25725", sent(":", "Content-Length: 3", body=b"abc"), seen(length=3, body=b"abc"))
closes("no colon", "ELB MissingHeaderColon; RFC 9112 5", sent("A", "C: d"), seen("C: d"))
closes("no colon in a coding", "ELB MissingHeaderColon; desync", sent("Transfer-Encoding chunked"), seen())
closes("no colon in a length", "ELB MissingHeaderColon; desync", sent("Content-Length 36"), seen())
closes("a request line among fields", "ELB MissingHeaderColon; desync", sent("GET /x HTTP/1.1", "C: d"), seen("C: d"))
closes("obs-fold", "ELB MultilineHeader; RFC 9112 5.2", sent("A: b", " c", "D: e"), seen("A: b c", "D: e"))
closes("obs-fold with tabs and blanks", "ELB MultilineHeader; RFC 9112 5.2", sent("A: b", "\t \tc \t", "D: e"), seen("A: b c", "D: e"))
closes("obs-fold of three lines", "ELB MultilineHeader", sent("A: b", " c", " d"), seen("A: b c d"))
closes("obs-fold of Content-Type", "ELB MultilineHeader", sent("Content-Type: text/plain;", " charset=x"), seen("Content-Type: text/plain; charset=x"))
closes("obs-fold with a blank line", "ELB MultilineHeader; RFC 9112 5.2", sent("A: b", "  ", "C: d"), seen("A: b", "C: d"))
closes("obs-fold after an empty value", "ELB MultilineHeader", sent("A:", " b"), seen("A: b"))
closes("obs-fold that hides a coding", "ELB MultilineHeader; desync", sent("A: b", " Transfer-Encoding: chunked"), seen("A: b Transfer-Encoding: chunked"))
closes("a blank before the first field", "ELB MultilineHeader; RFC 9112 2.2", lines("POST / HTTP/1.1", " A: b", "Host: a"), seen())
closes("a coding after a blank, first", "RFC 9112 2.2; desync", lines("POST / HTTP/1.1", " Transfer-Encoding: chunked", "Host: a"), seen())
closes("obs-fold with a control byte", "ELB MultilineHeader, NonCompliantHeader", sent("A: b", " c\x01", "D: e"), seen("D: e"))
for name in ("Content-Length", "Transfer-Encoding", "Expect"):
    value = {"Content-Length": "3", "Transfer-Encoding": "chunked", "Expect": "100-continue"}[name]
    refused(f"obs-fold of {name}", "ELB MultilineHeader; RFC 9112 5.2", sent(f"{name}: {value}", " 3"))
    refused(f"obs-fold of {name}, the first line empty", "ELB MultilineHeader; desync", sent(f"{name}:", f" {value}"))
    refused(f"obs-fold of {name} with a blank line", "ELB MultilineHeader; desync", sent(f"{name}: {value}", " "))
for byte in (0, 0x0d):
    refused(f"byte {byte:#04x} in a value", "ELB BadHeader; RFC 9110 5.5", sent(f"A: b{chr(byte)}c"))
    refused(f"byte {byte:#04x} in a name", "ELB BadHeader", sent(f"A{chr(byte)}A: b"))
    refused(f"byte {byte:#04x} in a line without a colon", "ELB BadHeader", sent(f"A{chr(byte)}"))

# ---- Content-Length

for value, number in [("3", 3), ("03", 3), ("000000000000000003", 3)]:
    kept(f"Content-Length {value}", "RFC 9110 8.6", sent(f"Content-Length: {value}", body=b"abc"), seen(length=number, body=b"abc"))
kept("Content-Length 0", "RFC 9110 8.6", sent("Content-Length: 0"), seen(length=0))
kept("Content-Length with blanks around", "RFC 9110 5.5", sent("content-length:\t 3 \t", body=b"abc"), seen(length=3, body=b"abc"))
kept("Content-Length between others", "RFC 9110 8.6", sent("A: b", "Content-Length: 3", "C: d", body=b"abc"), seen("A: b", "C: d", length=3, body=b"abc"))
for method in ("PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"):
    start = f"{method} / HTTP/1.1"
    kept(f"a body of {method}", "RFC 9110 9.3", sent("Content-Length: 3", start=start, body=b"abc"), seen(start=start, length=3, body=b"abc"))
for method in ("GET", "HEAD"):
    start = f"{method} / HTTP/1.1"
    kept(f"Content-Length 0 of {method}", "ELB GetHeadZeroContentLength", sent("Content-Length: 0", start=start), seen(start=start, length=0))
    closes(f"a body of {method}", "ELB UndefinedContentLengthSemantics", sent("Content-Length: 3", start=start, body=b"abc"), seen(start=start, length=3, body=b"abc"))
    closes(f"chunks of {method}", "ELB UndefinedTransferEncodingSemantics", sent(CHUNKED, start=start, body=ABC + END),
           seen(start=start, length=CHUNKED, body=ABC + END))
for value in ["", "-0", "-3", "+3", "0x3", "3h", "3.0", "3e0", "1 3", "3\x0b", "\x0c3", "3,", ",3", "3,3", "3, 3", "3, 4", "3;a", '"3"', "three", "\xb3", "\xd9\xa3", "\xef\xbc\x93", "3\xa0", "3_0",
              "9223372036854775808", "18446744073709551615", "18446744073709551616", "18446744073709551619", "99999999999999999999999999999999", "9" * 300, "3\0", "3\r3", "3\x7f"]:
    refused(f"Content-Length {value[:40]!r}", "ELB BadContentLength; RFC 9110 8.6; CVE-2018-7159, CVE-2023-40225", sent(f"Content-Length: {value}", body=b"abc"))
refused("Content-Length of 19 digits", "RFC 9110 8.6: no number that may wrap", sent("Content-Length: 0000000000000000003", body=b"abc"))
for first, second in [("3", "4"), ("3", "0"), ("0", "3"), ("3", "-3"), ("3", ""), ("3", "3 3"), ("x", "3")]:
    refused(f"Content-Length {first}, then {second!r}", "ELB MultipleContentLength, BadContentLength; RFC 9112 6.3", sent(f"Content-Length: {first}", "A: b", f"content-length: {second}", body=b"abc"))
closes("Content-Length twice", "ELB DuplicateContentLength; RFC 9110 8.6", sent("Content-Length: 3", "Content-Length: 3", body=b"abc"), seen(length=3, body=b"abc"))
closes("Content-Length twice, in other words", "ELB DuplicateContentLength", sent("Content-Length: 3", "CONTENT-LENGTH:03", body=b"abc"), seen(length=3, body=b"abc"))
closes("Content-Length three times", "ELB DuplicateContentLength", sent(*["Content-Length: 3"] * 3, body=b"abc"), seen(length=3, body=b"abc"))
for name in ["Content-Length ", "Content-Length\t", "Content_Length", "Content Length", "ContentLength", "Content--Length", "Content.Length", "Content-Length\x0b", "Content-Length\x7f", "Content-Length=",
             "\x01Content-Length", "Content-\xe2\x80\x90Length", "Content-Length\x80", '"Content-Length"']:
    closes(f"a name like a length: {name!r}", "ELB SuspiciousHeader; desync", sent(f"{name}: 36"), seen())
kept("a body in HTTP/1.1 after one in two names", "ELB NonCompliantHeader", sent("A A: 36", "Content-Length: 3", body=b"abc"), seen(length=3, body=b"abc"))

# ---- Transfer-Encoding

for value in ["chunked", "Chunked", "CHUNKED", "\t chunked \t"]:
    kept(f"Transfer-Encoding {value!r}", "RFC 9112 6.1, 7", sent(f"Transfer-Encoding: {value}", body=ABC + END), seen(length=CHUNKED, body=ABC + END))
kept("Transfer-Encoding without a blank", "RFC 9112 5.1", sent("transfer-encoding:chunked", body=ABC + END), seen(length=CHUNKED, body=ABC + END))
for value in ["", ",", "chunked,", ",chunked", "chunked, ", "xchunked", "chunkedx", "chunke", "chunk", "identity", "gzip", "deflate", "x", "gzip, chunked", "chunked, gzip", "chunked, identity", "identity, chunked",
              "identity,chunked,identity", "chunked;a=b", "chunked; q=1", "chunked ;", '"chunked"', "'chunked'", "chunked\x0b", "\x0bchunked", "\x0cchunked", "chunked\x0c", "chun\tked", "chunked\x7f", "\x01chunked", "chunked\xa0",
              "\xa0chunked", "\x85chunked", "chun\xe2\x84\xaaed", "chunked\0", "\0chunked", "chunked\r", "\rchunked", "ch unked", "chunked chunked", "chunked:"]:
    refused(f"Transfer-Encoding {value!r}", "ELB BadTransferEncoding; RFC 9112 6.1; desync", sent(f"Transfer-Encoding: {value}", body=ABC + END))
refused("chunked twice in a list", "ELB MultipleTransferEncodingChunked", sent("Transfer-Encoding: chunked, chunked", body=ABC + END))
for first, second in [("chunked", "chunked"), ("chunked", "identity"), ("identity", "chunked"), ("chunked", "x"), ("", "chunked"), ("chunked", ""), ("gzip", "chunked")]:
    refused(f"Transfer-Encoding {first!r}, then {second!r}", "ELB BadTransferEncoding; RFC 9112 6.1; desync", sent(f"Transfer-Encoding: {first}", f"Transfer-encoding: {second}", body=ABC + END))
refused("chunked in HTTP/1.0", "ELB UndefinedTransferEncodingSemantics; RFC 9112 6.1", sent(CHUNKED, start="POST / HTTP/1.0", body=ABC + END))
refused("chunked in HTTP/1.0 that stays", "RFC 9112 6.1", sent(CHUNKED, "Connection: keep-alive", start="POST / HTTP/1.0", body=ABC + END))
for fields in [("Content-Length: 5", CHUNKED), (CHUNKED, "Content-Length: 5"), ("Content-Length: 0", "A: b", CHUNKED), (CHUNKED, "Content-Length: 5", "Content-Length: 5")]:
    kind = ", ".join(fields)
    closes(kind, "ELB BothTeClPresent; RFC 9112 6.3; CVE-2005-2088", sent(*fields, body=ABC + END), seen(*[f for f in fields if f == "A: b"], length=CHUNKED, body=ABC + END))
for value in ("x", "", "-1", "3, 3", "18446744073709551616"):
    refused(f"chunked beside Content-Length {value!r}", "ELB BadContentLength; RFC 9112 6.3", sent(CHUNKED, f"Content-Length: {value}", body=ABC + END))
refused("chunked beside two lengths", "ELB MultipleContentLength", sent("Content-Length: 3", CHUNKED, "Content-Length: 4", body=ABC + END))
refused("a length beside a bad coding", "ELB BadTransferEncoding; desync", sent("Content-Length: 3", "Transfer-Encoding: xchunked", body=b"abc"))
for name in ["Transfer-Encoding ", "Transfer-Encoding\t", "Transfer_Encoding", "Transfer Encoding", "TransferEncoding", "Transfer\x0bEncoding", "Transfer-Encoding\x0b", "Transfer-Encoding\x1f", "Transfer.Encoding",
             "TRANSFER_ENCODING", "Tran\xc5\xbffer-Encoding", "Transfer-Encod\xc4\xb1ng", "\x80Transfer-Encoding", "(Transfer-Encoding)", "Transfer-Encoding;"]:
    closes(f"a name like a coding: {name!r}", "ELB SuspiciousHeader; desync", sent(f"{name}: chunked", "Content-Length: 3", body=b"abc"), seen(length=3, body=b"abc"))
kept("TE is not Transfer-Encoding", "RFC 9110 10.1.4", sent("TE: chunked, trailers", "Content-Length: 3", body=b"abc"), seen(length=3, body=b"abc"))
kept("no framing, no body", "RFC 9112 6.3; CVE-2026-2835", sent(start="POST / HTTP/1.1"), seen())
ends("HTTP/1.0: no framing, no body", "RFC 9112 6.3; CVE-2026-2835", sent(start="POST / HTTP/1.0"), seen())
ends("HTTP/1.0: a body by its length", "RFC 9112 6.3", sent("Content-Length: 3", start="POST / HTTP/1.0", body=b"abc"), seen(length=3, body=b"abc"))

# ---- chunks


def chunks(name, rule, body, payload=b"abc"):
    whole = b"%x\r\n%s\r\n" % (len(payload), payload) if payload else b""
    kept(name, rule, sent(CHUNKED, body=octets(body)), seen(length=CHUNKED, body=whole + END))


chunks("no chunk but the last", "RFC 9112 7.1", END, b"")
chunks("two chunks", "RFC 9112 7.1", ABC + b"2\r\nde\r\n" + END, b"abcde")
chunks("sizes in capital letters", "RFC 9112 7.1", b"A\r\n0123456789\r\n" + END, b"0123456789")
chunks("sizes in small letters", "RFC 9112 7.1", b"a\r\n0123456789\r\n" + END, b"0123456789")
chunks("leading zeros", "RFC 9112 7.1", b"0003\r\nabc\r\n000\r\n\r\n")
chunks("sixteen digits", "RFC 9112 7.1", b"0000000000000003\r\nabc\r\n" + END)
chunks("line ends as data", "RFC 9112 7.1", b"6\r\n\r\n0\r\n\r\r\n" + END, b"\r\n0\r\n\r")
chunks("NUL as data", "RFC 9112 7.1", b"3\r\n\0\0\0\r\n" + END, bytes(3))
for extension in [";a", ";a=b", ';a="b c"', ";", ";a=b;c=d", "; a = b", ";a\tb", ";\xe9"]:
    chunks(f"extension {extension!r}", "RFC 9112 7.1.1", f"3{extension}\r\nabc\r\n0{extension}\r\n\r\n")
chunks("a long extension", "RFC 9112 7.1.1; CVE-2023-39326", b"3;" + b"a" * 4000 + b"\r\nabc\r\n" + END)
for trailer in ["A: b", "A:", "A: b\r\nC: d", "Content-Length: 36", "Transfer-Encoding: chunked", "Host: b", "X-Forwarded-For: 192.0.2.1", "Connection: close", "Authorization: x", "A: \xe9"]:
    chunks(f"trailer {trailer!r}", "RFC 9112 7.1.2; RFC 9110 6.5.1", ABC + b"0\r\n" + octets(trailer) + b"\r\n\r\n")
for size in ["", "g", "x", "-3", "+3", "0x3", "3h", " 3", "3 ", "3\t", "3 ;a", "3,", "3.0", "3_", '"3"', "\xb3", "\x003", "3\0", "3\r", "3;\r", "3;a\0", "3;a\x01", "3;a\x7f", "3;a\n", "3\n", "00000000000000003", "10000000000000003",
             "ffffffffffffffff", "fffffffffffffffe", "8000000000000000", "7fffffffffffffff", "100000000000000000000000000000003", ";a"]:
    cut(f"chunk size {size!r}", "RFC 9112 7.1, erratum 7633; CVE-2013-2028, CVE-2015-3183, CVE-2024-22019", size + "\r\nabc\r\n0\r\n\r\n", b"")
cut("LF after the size", "RFC 9112 7.1; desync", b"3\nabc\r\n" + END, b"")
cut("LF after an extension", "RFC 9112 7.1.1; desync", b"3;a\nabc\r\n" + END, b"")
cut("CR in an extension", "RFC 9112 7.1.1; desync", b"3;a\rb\r\nabc\r\n" + END, b"")
cut("an extension without end", "CVE-2024-22019, CVE-2023-39326", b"3;" + b"a" * 5000 + b"\r\nabc\r\n" + END, b"")
for after in [b"", b"\n", b"\r", b"x\r\n", b"\r\r\n", b"\n\r", b"  ", b"\0\0", b"XX"]:
    cut(f"after the data {after!r}", "RFC 9112 7.1; desync", b"3\r\nabc" + after + END)
cut("more data than the size", "RFC 9112 7.1", b"3\r\nabcd\r\n" + END)
cut("a bad second size", "RFC 9112 7.1", ABC + b"z\r\n" + END)
cut("an empty line between chunks", "RFC 9112 7.1", ABC + b"\r\n" + END)
for trailer in [b"A", b"A b", b": b", b"A : b", b" A: b", b"A: b\r\n c", b"A: b\nC: d", b"A: b\rC", b"A: \0", b"A: \x01", b"A\0: b", b"A(: b", b"\xe9: b"]:
    cut(f"trailer {trailer!r}", "RFC 9112 7.1.2, 5", ABC + b"0\r\n" + trailer + b"\r\n\r\n")
cut("trailers without end", "RFC 9110 6.5.1; CVE-2019-18801 class", ABC + b"0\r\n" + b"A: b\r\n" * 3000 + b"\r\n")
cut("LF at the end", "RFC 9112 7.1", ABC + b"0\r\n\n")
cut("LF after the last size", "RFC 9112 7.1", ABC + b"0\n\r\n")
cut("a byte at the end", "RFC 9112 7.1", ABC + b"0\r\n\rX")

# ---- Connection and what is of one connection only

for value, fields in {"Keep-Alive": ("Keep-Alive: timeout=5",), "TE": ("TE: trailers",), "X": ("X: b", "x: c"), "close-not": (), "A,,X , ": ("X: b",), "Cookie": ("Cookie: a=b",), "Authorization": ("Authorization: x",),
                      "Proxy-Authorization": ("Proxy-Authorization: x",), "User-Agent": ("User-Agent: x",)}.items():
    kept(f"Connection: {value}", "RFC 9110 7.6.1", sent(f"Connection: {value}", "B: c", *fields), seen("B: c"))
kept("named in the second Connection", "RFC 9110 7.6.1", sent("Connection: keep-alive", "X: b", "Connection: X"), seen())
for name in ("Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Keep-Alive", "TE", "Trailer"):
    kept(f"{name} not named", "RFC 9110 7.6.1, 11.7", sent(f"{name}: b", "C: d"), seen("C: d"))
kept("Upgrade: h2c", "h2c smuggling; CVE-2024-23326", sent("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), seen())
for value in ("TLS/1.0", "foo", "websocket, h2c", "h2c, websocket", "websockets"):
    kept(f"Upgrade: {value}", "RFC 9110 7.8; CVE-2026-2833", sent("Connection: Upgrade", f"Upgrade: {value}"), seen())
kept("Upgrade not named", "RFC 9110 7.8", sent("Upgrade: websocket"), seen())
kept("Upgrade in two fields", "RFC 9110 7.8", sent("Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c"), seen())
ends("Upgrade in HTTP/1.0", "RFC 9110 7.8", sent("Connection: Upgrade", "Upgrade: websocket", start="GET / HTTP/1.0"), seen(start=get("/")))
for name in ("Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port", "Content-Length", "host, x-forwarded-for , CONTENT-LENGTH"):
    kept(f"Connection: {name} takes nothing away", "CVE-2022-31813; RFC 9110 7.6.1", sent(f"Connection: {name}", "Content-Length: 3", body=b"abc"), seen(length=3, body=b"abc"))
kept("Connection: Transfer-Encoding takes nothing away", "CVE-2022-31813", sent("Connection: transfer-encoding", CHUNKED, body=ABC + END), seen(length=CHUNKED, body=ABC + END))
kept("Connection: X-Forwarded-Host takes nothing away", "CVE-2022-31813", sent("Connection: X-Forwarded-Host", "X-Forwarded-Host: b"), seen("X-Forwarded-Host: b"))
kept("Connection: X-Forwarded-For with a chain", "CVE-2022-31813", sent("Connection: X-Forwarded-For", "X-Forwarded-For: 192.0.2.1"), seen(chain=" 192.0.2.1, "))
for value in ("close", "Close", "keep-alive, close", "close, keep-alive", "a,\tclose"):
    ends(f"Connection: {value}", "RFC 9112 9.3, 9.6", sent(f"Connection: {value}"), seen())
ends("Connection: close names a field too", "CVE-2022-31813", sent("Connection: close, X", "X: b"), seen())
refused("65 options", "a bound on the search for named fields", sent("Connection: " + ",".join(f"o{i}" for i in range(65))))
kept("64 options", "RFC 9110 7.6.1", sent("Connection: " + ",".join(f"o{i}" for i in range(64))), seen())
ends("HTTP/1.0", "RFC 9112 9.3", sent(start="GET / HTTP/1.0"), seen(start=get("/")))
ends("HTTP/1.0 with close", "RFC 9112 9.3", sent("Connection: close, keep-alive", start="GET / HTTP/1.0"), seen(start=get("/")))
kept("HTTP/1.0 with keep-alive", "RFC 9112 9.3", sent("Connection: Keep-Alive", start="GET / HTTP/1.0"), seen(start=get("/")))

# ---- X-Forwarded-*

kept("X-Forwarded-For", "ELB: appended", sent("X-Forwarded-For: 192.0.2.1"), seen(chain=" 192.0.2.1, "))
kept("X-Forwarded-For with a chain", "ELB: appended", sent("X-Forwarded-For: 192.0.2.1, 2001:db8::1"), seen(chain=" 192.0.2.1, 2001:db8::1, "))
kept("X-Forwarded-For twice", "ELB: appended; RFC 9110 5.3", sent("X-Forwarded-For: 192.0.2.1", "A: b", "x-forwarded-for: 192.0.2.2"), seen("A: b", chain=" 192.0.2.1, 192.0.2.2, "))
kept("X-Forwarded-For, empty", "ELB: appended", sent("X-Forwarded-For:"), seen())
kept("X-Forwarded-For of no address", "ELB: appended", sent("X-Forwarded-For: <x>"), seen(chain=" <x>, "))
kept("X-Forwarded-Proto", "ELB: replaced", sent("X-Forwarded-Proto: https"), seen())
kept("X-Forwarded-Port", "ELB: replaced", sent("X-Forwarded-Port: 443", "x-forwarded-port: 1"), seen())
kept("X-Forwarded-For with a control byte", "ELB NonCompliantHeader", sent("X-Forwarded-For: 192.0.2.1\x01"), seen())
kept("X-Forwarded-For with a space before its colon", "ELB NonCompliantHeader; desync", sent("X-Forwarded-For : 192.0.2.1"), seen())
closes("X-Forwarded-For in two lines", "ELB MultilineHeader", sent("X-Forwarded-For: 192.0.2.1,", " 192.0.2.2"), seen(chain=" 192.0.2.1, 192.0.2.2, "))
same("Forwarded, X-Real-IP and X-Forwarded-Host are the sender's", "RFC 7239", "Forwarded: for=192.0.2.1", "X-Real-IP: 192.0.2.1", "X-Forwarded-Host: b")

# ---- Expect

for value in ("100-continue", "100-Continue"):
    kept(f"Expect: {value}", "ELB: answered here; RFC 9110 10.1.1", sent(f"Expect: {value}", "Content-Length: 3", body=b"abc"), seen(length=3, body=b"abc"), interim=CONTINUE)
kept("Expect with chunks", "ELB: answered here", sent("Expect: 100-continue", CHUNKED, body=ABC + END), seen(length=CHUNKED, body=ABC + END), interim=CONTINUE)
kept("Connection: Expect", "RFC 9110 7.6.1", sent("Connection: Expect", "Expect: 100-continue", "Content-Length: 3", body=b"abc"), seen(length=3, body=b"abc"), interim=CONTINUE)
ends("Expect in HTTP/1.0", "RFC 9110 10.1.1: ignored", sent("Expect: 100-continue", "Content-Length: 3", start="POST / HTTP/1.0", body=b"abc"), seen(length=3, body=b"abc"))
for value in ("", "100", "200-ok", "100-continue, x", "100-continue;a", "x 100-continue", "100-continu\xe9", "\x01100-continue", "100-continue, 100-continue"):
    refused(f"Expect: {value!r}", "RFC 9110 10.1.1; desync of 2025", sent(f"Expect: {value}", "Content-Length: 3", body=b"abc"))
refused("Expect twice", "RFC 9110 10.1.1; desync of 2025", sent("Expect: 100-continue", "Expect: 100-continue", "Content-Length: 3", body=b"abc"))

# ---- sizes

same("a request line of 16384 bytes", "16K", start=get("/" + "a" * (16384 - 14)))
refused("a request line of 16385 bytes", "16K; CVE-2019-18801", sent(start=get("/" + "a" * (16385 - 14))))
refused("a request line without end", "16K", b"GET /" + b"a" * 20000)
same("a field of 16384 bytes", "16K", "A: " + "b" * 16381)
refused("a field of 16385 bytes", "16K", sent("A: " + "b" * 16382))
refused("a name of 16385 bytes", "16K; CVE-2021-40346", sent("A" * 16385 + ": b"))
refused("a value of 65600 bytes", "16K; CVE-2021-40346", sent("A: " + "b" * 65600))
same("100 fields", "header_count_max", *["A: b"] * 99)
refused("101 fields", "header_count_max", sent(*["A: b"] * 100))
refused("101 lines, dropped ones too", "header_count_max", sent(*["A[: b"] * 100))
refused("10000 fields", "header_count_max", sent(*["A: b"] * 10000))
same("65536 bytes of fields", "64K", *["A: " + "b" * 9995] * 6, "A: " + "b" * (65536 - 9 - 60000 - 5))
refused("65537 bytes of fields", "64K", sent(*["A: " + "b" * 9995] * 6, "A: " + "b" * (65537 - 9 - 60000 - 5)))
refused("more to repair than there is room for", "ELB MultilineHeader, bounded", sent("A: " + "b" * 3000, " " + "c" * 3000))

# ---- what follows

refused("the second after a bad first", "RFC 9112 9.6", sent("Content-Length: x") + sent(start=get("/second")))
ends("nothing after close", "RFC 9112 9.6; CVE-2025-4366", sent("Connection: close", "Content-Length: 3", body=b"abc") + sent(start=get("/second")), seen(length=3, body=b"abc"))
closes("nothing after a doubtful one", "ELB Ambiguous; RFC 9112 9.6", sent("Content-Length: 3", CHUNKED, body=ABC + END) + sent(start=get("/second")), seen(length=CHUNKED, body=ABC + END))
kept("a request as a body", "CVE-2025-4366", sent("Content-Length: 36", body=b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nx"), seen(length=36, body=b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nx"))
kept("a request in a chunk", "desync", sent(CHUNKED, body=b"23\r\n" + SMUGGLED + b"\r\n" + END), seen(length=CHUNKED, body=b"23\r\n" + SMUGGLED + b"\r\n" + END))
kept("an empty line after a body", "RFC 9112 2.2", sent("Content-Length: 3", body=b"abc\r\n"), seen(length=3, body=b"abc"))
