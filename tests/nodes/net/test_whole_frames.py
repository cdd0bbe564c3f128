"""What a read brings whole is found without the parser, and is what the parser would have found, however reads are cut."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from tickmesh.nodes.net import websocket
from tickmesh.nodes.net.whole_frames import frame_size, whole_messages

MOST = 70_000  # bytes of a message
SIZES = st.sampled_from((0, 1, 2, 3, 125, 126, 127, 300, 65_535, 65_536, MOST, MOST + 1))


def frame(opcode: Opcode, size: int, fin: bool = True) -> bytes:
    """A server's frame, by the library."""
    return Frame(opcode, bytes([65 + size % 26]) * size, fin).serialize(mask=False)


PIECES = st.one_of(
    st.tuples(st.sampled_from((Opcode.TEXT, Opcode.BINARY)), SIZES).map(lambda one: frame(*one)),
    st.integers(0, 20).map(lambda size: frame(Opcode.PING, size)),
    st.tuples(st.integers(0, 200), st.integers(0, 200)).map(
        lambda sizes: frame(Opcode.TEXT, sizes[0], False) + frame(Opcode.PING, 3) + frame(Opcode.CONT, sizes[1])
    ),
    st.just(bytes((0x81, 126, 0, 5)) + b"wider"),  # a size that is not as short as can be
    st.just(bytes((0x81, 127, 0, 0, 0, 0, 0, 0, 0, 5)) + b"wider"),
    st.just(bytes((0xC1, 4)) + b"odd!"),  # an extension that nobody agreed to
    st.just(bytes((0x81, 0x84, 0, 0, 0, 0)) + b"mask"),  # a server masks nothing
)


class Wire:
    """A transport that keeps what is written, as far as a connection uses one."""

    def __init__(self):
        self.written, self.closing = b"", False

    def write(self, data):
        self.written += data

    def is_closing(self):
        return self.closing

    def abort(self):
        self.closing = True

    def set_write_buffer_limits(self, high):
        assert high == 0

    def can_write_eof(self):
        return False


def heard(pieces: list[bytes], cut) -> tuple[list[bytes], str, bytes, list[bool]]:
    """(messages; why it ended; what it wrote after the handshake but for masks; of each read, whether the parser saw it)."""

    async def go():
        got: list[bytes] = []
        connection = websocket.Connection("ws://localhost/x", lambda ns, messages: got.extend(messages), 60.0, MOST)
        parsed, parse = [], connection._parse
        connection._parse = lambda data: parsed.append(data) or parse(data)
        wire, server = Wire(), ServerProtocol()
        connection.connection_made(wire)
        server.receive_data(wire.written)
        server.send_response(server.accept(server.events_received()[0]))
        reads = cut(b"".join(server.data_to_send()), pieces)
        ways = []
        for read in reads:
            if read and not wire.closing:
                before = len(parsed)
                connection.data_received(read)
                ways.append(len(parsed) > before)
        connection.connection_lost(None)
        answers = ServerProtocol(state=websocket.OPEN)
        answers.receive_data(wire.written[wire.written.index(b"\r\n\r\n") + 4 :])
        said = b"".join(one.opcode.to_bytes() + one.data for one in answers.events_received())
        return got, connection.closed.result(), said, ways

    return asyncio.run(go())


def byte_by_byte(head: bytes, pieces: list[bytes]) -> list[bytes]:
    stream = head + b"".join(pieces)
    return [head, *(stream[at : at + 1] for at in range(len(head), len(stream)))]


@settings(max_examples=40, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=8), st.lists(st.integers(0, 400), max_size=12))
def test_however_reads_are_cut_the_same_is_heard(pieces, steps):
    small = [piece for piece in pieces if len(piece) < 1000]

    def cut(head, pieces):
        stream, reads = head + b"".join(pieces), []
        for step in steps:
            reads.append(stream[:step])
            stream = stream[step:]
        return [*reads, *(stream[at : at + 5000] for at in range(0, len(stream), 5000))]

    assert heard(small, cut)[:3] == heard(small, byte_by_byte)[:3]
    assert heard(pieces, cut)[:3] == heard(pieces, lambda head, pieces: [head + b"".join(pieces)])[:3]
    assert heard(pieces, lambda head, pieces: [head, *pieces])[:3] == heard(pieces, cut)[:3]


def test_whole_messages_need_no_parser_and_after_a_part_it_is_needed_until_the_next_whole_one():
    text, ping = frame(Opcode.TEXT, 300), frame(Opcode.PING, 3)
    reads = [text * 3, text[:7], text[7:], text, text + ping, text, frame(Opcode.TEXT, 9, False), frame(Opcode.CONT, 9), text]
    got, *_, ways = heard(reads, lambda head, pieces: [head, *pieces])
    assert ways == [True, False, True, True, False, True, False, True, True, False]
    assert len(got) == 9 and {len(message) for message in got} == {300, 18}


def test_what_looks_like_a_message_within_another_is_a_part_of_it():
    inner = frame(Opcode.TEXT, 9)
    outer = Frame(Opcode.BINARY, inner).serialize(mask=False)
    got, *_, ways = heard([outer[:2], inner, inner], lambda head, pieces: [head, *pieces])
    assert got == [inner, inner[2:]] and ways == [True, True, True, False]


def test_a_message_in_the_midst_of_a_fragmented_one_is_against_the_rules():
    pieces = [frame(Opcode.TEXT, 9, False), frame(Opcode.TEXT, 9)]
    got, why, *_ = heard(pieces, lambda head, pieces: [head, *pieces])
    assert got == [] and "continuation" in why


def test_frames_that_come_with_the_handshake_are_counted():
    text = frame(Opcode.TEXT, 300)
    *_, ways = heard([text, text], lambda head, pieces: [head + pieces[0], pieces[1]])
    assert ways == [True, False]


def test_what_is_beyond_the_bound_or_no_message_is_left_to_the_parser():
    assert whole_messages(frame(Opcode.TEXT, 300), 299) is None
    assert whole_messages(frame(Opcode.TEXT, 300), 300) == [b"O" * 300]
    assert whole_messages(b"HTTP/1.1 200 OK", 300) is None
    for size in (0, 1, 125, 126, 65_535, 65_536):
        assert frame_size(size) == len(frame(Opcode.BINARY, size))
