"""Every byte that the client gets of an answer, and whose answer it is: over one halb, each row on a connection of its own."""
import socket
import struct

import pytest
from lib import DEADLINE, Wire, wait_until
from wire_tables import play
from wire_tables.responses import BAD, CLOSE, CUT, ENDS, FRESH, KEPT, RESET, ROWS, SPOILED

IDS = [f"{row.name} ({row.rule})"[:120].encode("ascii", "backslashreplace").decode() for row in ROWS]
# What comes after an answer is seen in time only if it comes with it.
CUTTABLE = [row for row in ROWS if len(row.sent) < 400 and not row.name.startswith(("after ", "HEAD with a body", "HEAD with chunks"))]
ONE_BY_ONE = CUTTABLE[::4]
HALVED = ["status line 'HTTP/1.1 200 OK'", "status line 'HTTP/1.1 2000 OK'", "status line 'HTTP/1.1 200 O\\rK'", "fields keep letters and order", "field 'A: b\\nC: d'", "field 'A: b\\r\\n c'",
          "CR CR LF at the end of the head", "chunked", "Content-Length and chunked", "Content-Length 3, then 4", "until close", "chunks: extensions", "chunks: trailers", "chunk size '3;\\n'",
          "chunks b'3\\r\\nabc\\n'", "chunks b'3\\r\\nabcd\\r\\n'", "2 of 3 bytes, then close", "HEAD with a length", "304 with a length", "102, 103 and 199", "100 that nobody asked for", "103 to HTTP/1.0", "chunked to HTTP/1.0",
          "Connection: X", "Connection: close"]


@pytest.fixture(scope="module")
def wires(shared_place):
    """(balancer, recorder, pieces)"""
    web = shared_place.instance()
    balancer = shared_place.balancer([web])
    shared_place.start()
    recorder, pieces = play.Recorder(web), play.Pieces()
    yield balancer, recorder, pieces
    left = recorder.take()
    pieces.close()
    recorder.close()
    assert [record.data for record in left] == []


def script(row, sender, pieces):
    """How the instance answers: in pieces, then as the row says."""
    def answer(sock):
        sender.send(Wire(sock), pieces)
        if row.then == RESET:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return row.then not in (CLOSE, RESET)
    return answer


def converse(wires, row, pieces):
    """What the client gets for the row's request and the one that follows, and how it ends."""
    balancer, recorder, sender = wires
    assert [record.data for record in recorder.take()] == [], "the row before this one made it"
    recorder.script = script(row, sender, pieces)
    with balancer.connect() as client:
        client.send(row.asked + play.FOLLOW)
        return client.read_to_any_end()


def judge(wires, row, pieces):
    """The client has got exactly the row's bytes, and then its next answer from a connection that is in no doubt."""
    recorder = wires[1]
    got, end = converse(wires, row, pieces)
    records = recorder.take()
    kind, wanted = row.kind, row.wanted
    if kind == CUT:
        judge_cut(wanted, got, end)
    elif kind == SPOILED:
        judge_spoiled(wanted, got, end)
    else:
        method = row.asked.split(b" ", 1)[0].decode()
        assert (play.one_chunk(got, method), end) == (wanted + (b"" if kind == ENDS else play.FOLLOW_ANSWER), "fin")
    assert len(records) == (1 if kind in (CUT, SPOILED, ENDS) else 2)
    if kind in (KEPT, FRESH, BAD):
        assert (records[1].sock is records[0].sock) == (kind == KEPT)
    if kind in (FRESH, BAD, CUT, SPOILED):
        wait_until(lambda: not recorder.is_open(records[0]), DEADLINE, "the connection to the instance ends")


def judge_cut(wanted, got, end):
    """No more than a part has come, and nobody can take it for the whole."""
    head = wanted[:wanted.index(b"\r\n\r\n") + 4]
    assert got.startswith(head)
    if b"Transfer-Encoding" in head:
        assert play.chunks_end(got, len(head))[0] is None
        assert play.chunks_end(wanted, len(head))[1].startswith(play.chunks_end(got, len(head))[1])
    elif b"Content-Length" in head:
        assert len(got) < len(wanted) and wanted.startswith(got)
    else:
        assert wanted.startswith(got) and end == "rst"


def judge_spoiled(wanted, got, end):
    """All that was right has come, and nobody can take it for the whole."""
    head = wanted[:wanted.index(b"\r\n\r\n") + 4]
    if b"Transfer-Encoding" in head:
        assert (got[:len(head)], end) == (head, "fin")
        assert play.chunks_end(got, len(head)) == (None, play.chunks_end(wanted, len(head))[1])
    else:
        assert (got, end) == (wanted, "rst")


def test_the_table_is_large():
    """What it is worth: rows, names that say which one, and no rule left out."""
    assert len(ROWS) >= 100
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(row.rule for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_response(wires, row):
    """Sent at once."""
    judge(wires, row, [row.sent] if row.sent else [])


@pytest.mark.parametrize("cut", play.CUTS)
@pytest.mark.parametrize("row", [row for row in ROWS if row.kind == SPOILED], ids=lambda row: row.name)
def test_an_answer_turns_bad(wires, row, cut):
    """However it was cut: never 502 by luck."""
    judge(wires, row, play.CUTS[cut](row.sent))


@pytest.mark.parametrize("row", ONE_BY_ONE, ids=lambda row: row.name)
def test_byte_by_byte(wires, row):
    """Each byte read alone by halb: the same answer."""
    judge(wires, row, play.single_bytes(row.sent))


@pytest.mark.parametrize("name", HALVED)
def test_cut_in_two_everywhere(wires, name):
    """In two pieces, at every position: the same answer."""
    row, = [row for row in ROWS if row.name == name]
    for pieces in play.halves(row.sent):
        judge(wires, row, pieces)
