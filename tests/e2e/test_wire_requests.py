"""Every byte that the instance gets, request for request: over one halb, each row on a connection of its own."""
import re

import pytest
from lib import DEADLINE, wait_until
from wire_tables import play
from wire_tables.requests import CLOSES, CUT, KEPT, REFUSED, ROWS, SMUGGLED

IDS = [f"{row.name} ({row.rule})"[:120].encode("ascii", "backslashreplace").decode() for row in ROWS]
SHORT = [row for row in ROWS if len(row.sent) < 400]
ONE_BY_ONE = SHORT[::7]
# One of every kind that a cut could turn into another.
HALVED = ["method POST", "absolute-form http://a/b?c=d", "a space in the target", "byte 0x01 in the target", "two spaces before the version", "HTTP/1.9", "version 'HTTP/1.10'",
          "bare LF after a field", "CR CR LF after a field", "an empty line before the request", "obs-fold", "obs-fold that hides a coding", "no colon", "no name",
          "a space before the colon", "value with byte 0x01", "byte 0x00 in a value", "Host after others", "Content-Length twice", "Content-Length 3, then '4'",
          "Content-Length: 5, Transfer-Encoding: chunked", "a name like a coding: 'Transfer-Encoding '", "two chunks", "line ends as data", "trailer 'A: b\\r\\nC: d'",
          "after the data b'x\\r\\n'", "chunk size '3;a\\n'", "Expect: 100-continue", "Connection: X", "an empty line after a body"]


@pytest.fixture(scope="module")
def wires(shared_place):
    """(balancer, recorder, pieces); what came without a row's doing fails at the end."""
    web = shared_place.instance()
    balancer = shared_place.balancer([web])
    shared_place.start()
    recorder, pieces = play.Recorder(web), play.Pieces()
    yield balancer, recorder, pieces
    left = recorder.take()
    pieces.close()
    recorder.close()
    assert [record.data for record in left] == []


def converse(wires, row, pieces):
    """Sends the row and what must follow it; returns what the client got and the address that it had."""
    balancer, recorder, sender = wires
    assert [record.data for record in recorder.take()] == [], "the row before this one made it"
    with balancer.connect() as client:
        sender.send(client, pieces)
        client.send_until_closed(play.FOLLOW if row.kind == KEPT else SMUGGLED)
        return client.read_to_any_end()[0], client.sock.getsockname()[0]


def expected(balancer, row, client):
    """The row's bytes, with addresses."""
    node = f"{balancer.address}:{balancer.port}".encode()
    return re.sub(rb"<forwarded(?: (.*))?>\r\n", lambda mark: play.forwarded(client, balancer, (mark[1] or b"").decode()),
                  row.seen.replace(b"<node>", node))


def judge(wires, row, pieces):
    """The instance has got exactly the row's bytes and the client exactly its answer."""
    balancer, recorder, _ = wires
    got, client = converse(wires, row, pieces)
    records = recorder.take()
    wanted = expected(balancer, row, client)
    came = [play.one_chunk(record.data) for record in records]
    if row.kind == REFUSED:
        assert (came, got) == ([], row.answer)
    elif row.kind == CUT:
        judge_cut(recorder, records, wanted)
        assert got == row.answer
    elif row.kind == KEPT:
        assert came == [wanted, play.follow_seen(client, balancer)]
        assert got == row.answer + play.FOLLOW_ANSWER
    else:
        assert (came, got) == ([wanted], row.answer)
    if row.kind == CLOSES:
        wait_until(lambda: not recorder.is_open(records[0]), DEADLINE, "the connection to the instance ends")


def judge_cut(recorder, records, wanted):
    """One request has come, all that was right of it but no end, and its connection ends."""
    record, = records
    wait_until(lambda: not recorder.is_open(record), DEADLINE, "the connection to the instance ends")
    head = wanted[:wanted.index(b"\r\n\r\n") + 4]
    assert record.data.startswith(head)
    assert play.chunks_end(record.data, len(head)) == (None, play.chunks_end(wanted, len(head))[1])


def test_the_table_is_large():
    """What it is worth: rows, names that say which one, and no rule left out."""
    assert len(ROWS) >= 300
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(row.rule for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_request(wires, row):
    """Sent at once."""
    judge(wires, row, [row.sent])


@pytest.mark.parametrize("cut", play.CUTS)
@pytest.mark.parametrize("row", [row for row in ROWS if row.kind == CUT], ids=lambda row: row.name)
def test_a_body_turns_bad(wires, row, cut):
    """However it was cut: the same answer, and the instance hears the same."""
    judge(wires, row, play.CUTS[cut](row.sent))


@pytest.mark.parametrize("row", ONE_BY_ONE, ids=lambda row: row.name)
def test_byte_by_byte(wires, row):
    """Each byte read alone by halb: the same bytes, the same answer."""
    judge(wires, row, play.single_bytes(row.sent))


@pytest.mark.parametrize("name", HALVED)
def test_cut_in_two_everywhere(wires, name):
    """In two pieces, at every position: the same bytes, the same answer."""
    row, = [row for row in ROWS if row.name == name]
    for pieces in play.halves(row.sent):
        judge(wires, row, pieces)
