"""A reader of libconfig's syntax, as far as the shipped configurations use it.

Groups become dicts, lists and arrays become lists. The lab needs addresses and
zones from the same files that the balancers read; halb itself judges whether
they are legal.
"""
import re
from pathlib import Path

TOKEN = re.compile(r"""
    (?P<skip>    \s+ | \#[^\n]* | //[^\n]* | /\*.*?\*/ )
  | (?P<string>  "(?:\\.|[^"\\])*" )
  | (?P<number>  [-+]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)L{0,2} )
  | (?P<name>    @?[A-Za-z*][-A-Za-z0-9_*]* )
  | (?P<mark>    [{}()\[\]=:;,] )
""", re.VERBOSE | re.DOTALL)

CLOSING = {"{": "}", "(": ")", "[": "]"}


def read(path):
    """The settings of a file and of the files it includes."""
    return _Reader(_tokens(Path(path))).settings(None)


def _tokens(path):
    text, at, tokens = path.read_text(), 0, []
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"{path}:{text.count(chr(10), 0, at) + 1}: cannot read {text[at:at + 20]!r}")
        at = match.end()
        if tokens and tokens[-1] == ("name", "@include"):
            if match.lastgroup == "string":
                tokens[-1:] = _tokens(path.parent / match.group()[1:-1])
        elif match.lastgroup != "skip":
            tokens.append((match.lastgroup, match.group()))
    return tokens


class _Reader:
    def __init__(self, tokens):
        self.tokens, self.at = tokens, 0

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else (None, None)

    def take(self):
        token = self.peek()
        self.at += 1
        return token

    def settings(self, end):
        found = {}
        while self.peek()[1] != end:
            _, name = self.take()
            _, assign = self.take()
            if assign not in ("=", ":"):
                raise ValueError(f"after setting {name}: found {assign!r}, expected '='")
            found[name] = self.value()
            if self.peek()[1] in (";", ","):
                self.take()
        self.take()
        return found

    def items(self, end):
        found = []
        while self.peek()[1] != end:
            found.append(self.value())
            if self.peek()[1] == ",":
                self.take()
        self.take()
        return found

    def value(self):
        kind, text = self.take()
        if text == "{":
            return self.settings("}")
        if text in CLOSING:
            return self.items(CLOSING[text])
        if kind == "string":
            return self.string(text)
        if kind == "number":
            text = text.rstrip("L")
            return float(text) if re.search(r"[.eE]", text) and "x" not in text else int(text, 0)
        if kind == "name" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise ValueError(f"found {text!r}, expected a value")

    def string(self, text):
        while self.peek()[0] == "string":           # neighbours are one string
            text = text[:-1] + self.take()[1][1:]
        return re.sub(r"\\(.)", r"\1", text[1:-1])
