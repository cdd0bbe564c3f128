"""One websocket client connection: an asyncio protocol around the sans-I/O core of `websockets`.

Frames are handed over in the same call that read them from the socket, all that one read brought in one list, with the
time at which the read returned. No queue stands between, so nothing can grow; a receiver that cannot take more pauses
the socket and TCP tells the server.
"""

import asyncio
import struct
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidURI, PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from tickmesh.bus.clock import now_ns
from tickmesh.nodes.net import refusals
from tickmesh.nodes.net.failures import why_unreached
from tickmesh.nodes.net.trust import trust
from tickmesh.nodes.net.waits import Waits
from tickmesh.nodes.net.whole_frames import frame_size, whole_messages

MESSAGE_BYTES_MAX = 8 << 20  # where a venue's adapter says no other: far above any message but a whole book
HEAD_BYTES = 512  # that are kept of a message beyond the bound, to know what it was about
HEAD_END = b"\r\n\r\n"  # of the answer to the handshake; frames follow
FRAME_HEAD_BYTES = 10  # of a server's frame: opcode and size
CLOSE_S = 1.0  # for the closing handshake, then the socket is cut
REFUSAL_S = 1.0  # for the body of an answer that refuses the handshake: not all of them end

OnFrames = Callable[[int, list[bytes]], None]


class Disconnected(ConnectionError):
    """A connection could not be made, or it ended: a sentence with the reason."""


class Oversize(NamedTuple):
    """A message beyond the bound: its size as far as it is known, and how it begins."""

    size: int
    head: bytes


class Connection(asyncio.Protocol):
    """A websocket to a server, made by `connect`. `on_frames(recv_ns, messages)` is called for what arrives; raising ends it.

    `closed`: a future that becomes the reason, a sentence, when the connection is over. `round_trip_s`: of the last `ping`
    that was answered; None before. `oversize`: the message of more than `bytes_max` that ended it; None if none did.
    `on_wait(wait_s, why, banned)` is called when the server says so, as it refuses the handshake or closes.
    """

    def __init__(
        self, url: str, on_frames: OnFrames, stale_s: float, bytes_max: int,
        on_wait: Callable[[float, str, bool], None] = lambda wait_s, why, banned: None,
    ):  # fmt: skip
        self._on_wait = on_wait
        self._answer = bytearray()  # of the answer to the handshake, as it came
        self._refusing: asyncio.TimerHandle | None = None
        self._protocol = ClientProtocol(parse_uri(url), max_size=bytes_max)
        self._bytes_max = bytes_max
        self._unframed = 0  # bytes that were read and are of no frame that has ended; 0: the next read begins with a frame
        self._read_before = b""  # the end of the read before: a frame's head may be in two
        self.oversize: Oversize | None = None
        self._on_frames = on_frames
        self._stale_s = stale_s
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._fragments: list[bytes] = []
        self._watch: asyncio.TimerHandle | None = None
        self._reason = ""
        self._paused = False
        self._pinged = (b"", 0.0)  # payload and time of the ping whose answer is awaited
        self.round_trip_s: float | None = None
        self.failure: BaseException | None = None
        self.last_read_s = time.monotonic()  # anything at all, pings too
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self.closed: asyncio.Future[str] = self._loop.create_future()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the handshake: asyncio has connected the socket."""
        self._transport = cast(asyncio.Transport, transport)  # of a socket; uvloop's have its methods, not its class
        # uvloop writes when the loop has its turn, unless more waits than this: an order leaves in the call that sends it
        self._transport.set_write_buffer_limits(high=0)
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        self._look()

    def data_received(self, data: bytes) -> None:
        """Hands on the messages that one read of the socket brought, with its time; answers pings."""
        recv_ns = now_ns()  # first of all: this is the receive time of everything in `data`
        self.last_read_s = time.monotonic()
        protocol = self._protocol
        messages: list[bytes] | None = None
        if not self._unframed and protocol.state is OPEN and not self._fragments:
            messages = whole_messages(data, self._bytes_max)
        if messages is None:
            messages = self._parse(data)
        else:
            self._read_before = b""
        if messages:
            try:
                self._on_frames(recv_ns, messages)
            except Exception as error:  # noqa: BLE001  a bug or a full disk in the receiver: its owner raises it
                self.failure = error
                self.abort(f"the receiver failed: {error!r}")
        if protocol.close_expected() and self._transport is not None:
            self._loop.call_later(CLOSE_S, self._transport.abort)

    def eof_received(self) -> None:
        """Answers the end of what the server sends."""
        self._protocol.receive_eof()
        self._flush()
        if not self.opened.done() and self._answer:
            self._refuse()

    def connection_lost(self, error: Exception | None) -> None:
        """Sets `closed` (and `opened`, if it was never open) to the reason why the connection is over."""
        if self._watch is not None:
            self._watch.cancel()
        if self._refusing is not None:
            self._refusing.cancel()
        protocol = self._protocol
        reason = self._reason or (str(error) if error else "")
        if not reason and protocol.close_rcvd is not None:
            code, words = protocol.close_rcvd.code, protocol.close_rcvd.reason
            reason = f"the server closed: {code} {words}".rstrip()
            if (wait_s := refusals.closed_wait_s(code, words, now_ns() / 1e9)) is not None:
                self._on_wait(wait_s, reason, refusals.is_ban(code, words))
        if self.oversize is not None:
            reason = (
                f"a message of {self.oversize.size} bytes came, {self._bytes_max} are allowed; "
                f"it begins {self.oversize.head[:64]!r}"
            )
        if not reason and protocol.parser_exc is not None:
            reason = f"protocol: {protocol.parser_exc}"
        if not self.opened.done():
            self._refuse(reason)
        reason = reason or "the connection was cut"
        if not self.closed.done():
            self.closed.set_result(reason)

    # What the owner calls.

    @property
    def open(self) -> bool:
        """Whether messages can be sent."""
        return self._protocol.state is OPEN and self._transport is not None and not self._transport.is_closing()

    def send(self, text: str | bytes) -> None:
        """Sends one text message, handed to the socket at once. Raises Disconnected when the connection is over."""
        if not self.open:
            raise Disconnected(self._reason or "the connection is closed")
        self._protocol.send_text(text.encode() if isinstance(text, str) else text)
        self._flush()

    def ping(self) -> None:
        """Sends a ping; the time to its answer is in `round_trip_s`. Raises Disconnected when the connection is over."""
        if not self.open:
            raise Disconnected(self._reason or "the connection is closed")
        now = time.monotonic()
        self._pinged = (struct.pack("<d", now), now)
        self._protocol.send_ping(self._pinged[0])
        self._flush()

    def pause(self) -> None:
        """Reads no more from the socket until `resume`; what one read brought may still come once."""
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads from the socket again; silence is counted from now on."""
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self.last_read_s = time.monotonic()
        self._paused = False

    def abort(self, reason: str) -> None:
        """Cuts the connection at once."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Ends the connection by the closing handshake; waits at most CLOSE_S for the answer, then cuts it."""
        if self.open:
            self._protocol.send_close(1000)
            self._flush()
        try:
            async with asyncio.timeout(CLOSE_S):
                await asyncio.shield(self.closed)
        except TimeoutError:
            self.abort("closed here")
            await self.closed

    def unopened(self, open_s: float) -> str:
        """How far the handshake came in `open_s`, a sentence: for who gives it up."""
        if not self._answer:
            return f"it took the connection, and did not answer the handshake in {open_s:g} s"
        return f"its answer to the handshake did not end in {open_s:g} s; it begins {bytes(self._answer[:64])!r}"

    # Inner works.

    def _parse(self, data: bytes) -> list[bytes]:
        """The messages that end in `data`, by the core, which keeps what does not; acts on whatever else is in it."""
        protocol = self._protocol
        if not self.opened.done():
            self._answer += data[: refusals.HEARD_BYTES - len(self._answer)]
        protocol.receive_data(data)
        self._unframed += len(data)
        messages: list[bytes] = []
        for event in protocol.events_received():
            if type(event) is Frame:
                self._unframed -= frame_size(len(event.data))
                self._take(event, messages)
            elif isinstance(event, Response) and not self.opened.done() and protocol.handshake_exc is None:
                self.opened.set_result(None)
                self._unframed -= self._answer.find(HEAD_END) + len(HEAD_END) if HEAD_END in self._answer else 0
        if isinstance(protocol.parser_exc, PayloadTooBig):
            self._measure(protocol.parser_exc, data)
        self._read_before = data[-FRAME_HEAD_BYTES:]
        self._flush()
        if not self.opened.done():
            self._look_for_refusal()
        return messages

    def _look_for_refusal(self) -> None:
        """Looks whether the server refuses the handshake; an answer without an end gets some time for its words."""
        if self._protocol.handshake_exc is not None:
            self._refuse()
        elif self._refusing is None and refusals.is_refused(bytes(self._answer)):
            self._refusing = self._loop.call_later(REFUSAL_S, self._refuse)

    def _refuse(self, otherwise: str = "") -> None:
        """Ends the opening with what the server said; with `otherwise` where it said nothing."""
        if self.opened.done():
            return
        said = refusals.read_http(bytes(self._answer), now_ns() / 1e9)
        error = self._protocol.handshake_exc
        if said is not None and said.status != 101:
            reason = said.sentence
            if said.wait_s is not None:
                self._on_wait(said.wait_s, reason, refusals.is_ban(said.status, said.words))
        elif said is not None and error is not None:
            reason = f"its answer to the handshake is not a websocket's: {error}"
        elif said is not None or not self._answer:
            reason = otherwise or "it cut the connection before it had answered the handshake"
        else:
            reason = f"its answer is not HTTP, it begins {bytes(self._answer[:64])!r}: look at the address in [venues.…]"
        self.opened.set_exception(Disconnected(reason))
        self.abort(reason)

    def _take(self, frame: Frame, messages: list[bytes]) -> None:
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY or opcode is Opcode.CONT:
            if frame.fin and not self._fragments:
                messages.append(bytes(frame.data))
                return
            self._fragments.append(bytes(frame.data))  # the core bounds the sum
            if frame.fin:
                messages.append(b"".join(self._fragments))
                self._fragments.clear()
        elif opcode is Opcode.PONG and bytes(frame.data) == self._pinged[0] and self._pinged[1]:
            self.round_trip_s = time.monotonic() - self._pinged[1]
            self._pinged = (b"", 0.0)
        # Pings were answered by the core; `_flush` sends the pongs.

    def _measure(self, error: PayloadTooBig, data: bytes) -> None:
        """What is known of the message beyond the bound: the core has left its bytes unread."""
        if self.oversize is not None:
            self.oversize = Oversize(self.oversize.size, (self.oversize.head + data)[:HEAD_BYTES])
            return
        size = error.size or 0
        head = b"".join(self._fragments)[:HEAD_BYTES]
        if not head:
            mark = b"\x7f" + size.to_bytes(8, "big") if size >= 1 << 16 else b"\x7e" + size.to_bytes(2, "big")
            read = self._read_before + data
            at = read.rfind(mark)  # the frame is the last one of this read
            head = read[at + len(mark) :][:HEAD_BYTES] if at >= 0 else b""
        self.oversize = Oversize(size + (error.current_size or 0), head)

    def _flush(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            self._protocol.data_to_send()
            return
        for data in self._protocol.data_to_send():
            if data:
                transport.write(data)
            elif transport.can_write_eof():
                transport.write_eof()

    def _look(self) -> None:
        """The deadline for any message: a peer that pings every 20 s and is silent for longer is gone."""
        silent_s = time.monotonic() - self.last_read_s
        if silent_s >= self._stale_s and not self._paused:
            self.abort(
                f"nothing was heard for {silent_s:.1f} s; feed.stale_s and the venue's own deadline allow {self._stale_s}"
            )
            return
        self._watch = self._loop.call_later(max(0.01, min(self._stale_s - silent_s, 1.0)), self._look)


async def connect(
    url: str,
    on_frames: OnFrames,
    stale_s: float,
    open_s: float = 10.0,
    local_addr: str = "",
    bytes_max: int = MESSAGE_BYTES_MAX,
    ca: Path | None = None,
    waits: Waits | None = None,
) -> Connection:
    """Opens a websocket, from the address `local_addr` if that is not empty. Raises Disconnected; it begins with the server.

    `bytes_max`: of a message. `ca`: a file of certificates to trust beside the system's. `waits`: who asked to be left alone;
    it waits until the server may be asked, and what this one asks is noted there. Compression is not offered: it costs latency
    and the links are short.
    """
    waits = waits or Waits()
    await waits.until_free(url, local_addr)
    parts = urlsplit(url)
    secure = parts.scheme == "wss"
    loop = asyncio.get_running_loop()
    connection: Connection | None = None
    try:
        context = trust(ca) if secure else None
        async with asyncio.timeout(open_s):
            _, connection = await loop.create_connection(
                lambda: Connection(url, on_frames, stale_s, bytes_max, partial(waits.take, url, local_addr)),
                parts.hostname or "",
                parts.port or (443 if secure else 80),
                ssl=context,
                local_addr=(local_addr, 0) if local_addr else None,
            )
            await connection.opened
    except (OSError, InvalidURI, InvalidHandshake) as error:  # TimeoutError is an OSError
        why = why_unreached(error)
        if connection is not None:
            if isinstance(error, TimeoutError):
                why = connection.unopened(open_s)
            connection.abort(why)
        raise Disconnected(f"{parts.netloc}: {why}") from None
    return connection
