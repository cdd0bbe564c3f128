"""What a venue adapter is: the members of a module in `nodes/venues/` that speaks for a venue. Write a new one from this file.

An adapter is a plain module without I/O: bytes in, events out. mypy compares each with `VenueAdapter` where `table.py` lists
it. docs/new-venue.md tells how to write and to prove one. Times are nanoseconds since the Unix epoch (UTC), durations seconds;
an event is an encoded one (`bytearray`), not yet stamped with epoch and number.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol, TypeVar

from tickmesh.bus.settings import FeedSettings, Instrument, InstrumentSettings
from tickmesh.nodes.venues.books.rule import BookRule
from tickmesh.nodes.venues.parsing.dialect import Control, FrameError, Question, Request, RestRules
from tickmesh.nodes.venues.parsing.listing import Listed
from tickmesh.nodes.venues.scanning.forms import NONE, UsualForms

BookKind = Literal["rest", "chain", "checksum", "stream"]
HistoryKind = Literal["forward", "backward", "time"]
RoutesT = TypeVar("RoutesT")


class VenueAdapter(Protocol[RoutesT]):
    """Decodes one venue's market data. `RoutesT`: the adapter's own type for what `decode` knows of the instruments."""

    @property
    def VENUE(self) -> str:
        """The venue's name in mesh.toml and in subjects."""

    @property
    def WS(self) -> tuple[str, ...]:
        """Base addresses of the websocket, such as wss://host:443, tried in turn."""

    @property
    def REST(self) -> tuple[str, ...]:
        """Base addresses of the REST interface, such as https://host, tried in turn."""

    @property
    def REST_RULES(self) -> RestRules:
        """How its REST answers state used weight and errors, and how a client states its key."""

    @property
    def QUIET_S(self) -> float:
        """The longest silence of a healthy connection, pings of the server included; beyond it the feed connects anew."""

    @property
    def PING(self) -> str | None:
        """The text message that keeps a connection alive; None where the venue wants none: then websocket pings measure it."""

    @property
    def PING_S(self) -> float:
        """Seconds between two such texts; of no meaning where `PING` is None."""

    @property
    def LIFE_S(self) -> float:
        """Age at which the venue itself closes a connection; 0: it does not."""

    @property
    def CLOCK_STEP_NS(self) -> int:
        """The step to which the venue rounds its own time down in the answer to `clock`; 0: it states what it has."""

    @property
    def CONNECTIONS_PER_5_MINUTES(self) -> int:
        """Websocket connections, tries included, that the venue allows one address in five minutes."""

    @property
    def MESSAGES_PER_S(self) -> float:
        """Rate of text messages that a client may send on one connection."""

    @property
    def WEIGHT_PER_MINUTE(self) -> int:
        """Weight of REST requests that the venue allows one address in a minute; every `Request` states its own."""

    @property
    def REQUESTS_PER_S(self) -> float:
        """Rate of requests of weight 1 where the venue counts by the second as well; 0: it does not."""

    @property
    def HISTORY(self) -> HistoryKind:
        """How `history` asks for past trades: "forward" from an id on, "backward" before an id, or by "time"."""

    @property
    def UNKNOWN(self) -> tuple[tuple[int, int], ...]:
        """(HTTP status, error code) with which REST refuses a name that it does not know; () where it says so inside a 200."""

    @property
    def INSTRUMENTS_MAX(self) -> int:
        """Instruments that one connection takes; those beyond are left out, with an alert. 0: no bound is known."""

    @property
    def FRAME_BYTES_MAX(self) -> int:
        """Bytes of the largest message to take; a larger one ends the connection, and its book is given up."""

    @property
    def BOOK(self) -> BookKind:
        """How a missed change of a book shows: "rest", "chain", "checksum" or "stream".

        "rest": by its ids, which are joined to a snapshot by REST; "chain": each change names the one before, after a snapshot
        on the stream; "checksum": one comes with each change; "stream": not at all.
        """

    # The stream.

    def path(self, instruments: Iterable[Instrument], settings: FeedSettings) -> str:
        """The websocket's path after the base address, with its query."""

    def subscribe(self, instruments: Iterable[Instrument], settings: FeedSettings, books: bool = True) -> Iterator[str]:
        """Text messages, in order, that subscribe trades and best prices of all `instruments`, and with `books` their depth.

        Where one name that the venue does not know has a whole message refused, one message an instrument.
        """

    def resubscribe(self, instrument: Instrument, settings: FeedSettings) -> Iterator[str]:
        """Text messages after which the instrument's depth begins with a snapshot; `no_resubscription` if it comes by REST."""

    def routes(self, instruments: Iterable[Instrument]) -> RoutesT:
        """Builds what `decode` has to know of these instruments, once a line: counters of ids in it go on over a renewal.

        A dict: that of an instrument which is taken up later is joined to it.
        """

    def forms(self, known: RoutesT) -> UsualForms:
        """The usual forms of the streams' frames, for the compiled scanner; `no_forms` where `decode` is to read all.

        What the scanner makes of a frame in such a form is what `decode` would, byte for byte.
        """

    def decode(self, frame: bytes, recv_ns: int, known: RoutesT) -> list[bytearray]:
        """The events of one message received at `recv_ns`, in its order; [] for a control message. `known`: from `routes`.

        Raises FrameError for a message that cannot be understood, or of a stream that was not subscribed, with the subject of
        the book that lost a change by it where that can be told; OddRows where only some rows cannot be held, with the events
        of all the others.
        """

    def control(self, frame: bytes) -> Control:
        """The meaning of a message without events: an acknowledgement, a refusal, an announced end, or nothing."""

    def book_of(self, head: bytes, known: RoutesT) -> str:
        """The subject whose book a message that begins with `head` would change; "" where 512 bytes are not enough to know."""

    def book(self, instrument: Instrument, settings: FeedSettings) -> BookRule:
        """A new rule for the instrument's book."""

    def spell(self, name: str) -> str:
        """The name as the venue writes it, of one that a person wrote nearly so (btc/usdt); it need not exist there."""

    # REST.

    def listings(self) -> Iterator[Request]:
        """Requests whose answers together list the instruments of the venue, for whoever looks for a name."""

    def listed(self, body: bytes) -> dict[str, Listed]:
        """All that an answer to `listings` or to a question of `definitions` lists, by the name in mesh.toml.

        A row that cannot be read costs no other. Raises FrameError.
        """

    def definitions(self, instruments: Sequence[InstrumentSettings]) -> Iterator[Question]:
        """As few questions as can be for the definitions of these instruments; at least one instrument is given."""

    def decode_definition(self, body: bytes, recv_ns: int, instrument: Instrument) -> bytearray:
        """The `instrument` event that the answer to a question has of one instrument.

        Raises Unknown where the venue has none of this name, Unwell where it answers that it cannot answer now, and
        FrameError for what cannot be understood, or not be held at the instrument's exponents.
        """

    def standing(self, body: bytes, instrument: Instrument) -> str:
        """The venue's own word for an instrument that it does not trade (HALT, delisted, …); "" for one that it trades.

        `body`: an answer of which `decode_definition` made an event.
        """

    def snapshot(self, instrument: Instrument, limit: int) -> Request | None:
        """The request for a snapshot of at least `limit` levels a side, or of as many as the venue sells.

        `no_snapshot` where it comes on the stream.
        """

    def decode_snapshot(self, body: bytes, recv_ns: int, instrument: Instrument) -> tuple[int, bytearray]:
        """(id of the last change that it has, depth event flagged SNAPSHOT) of the answer. Raises FrameError, OddRows."""

    def history(self, instrument: Instrument, first_id: int, since_ns: int = 0, until_id: int = 0) -> Request | None:
        """The request for a page of past trades from `first_id` on; None where the venue has no way to ask for them.

        `until_id`: those before this id instead (`HISTORY` "backward"). `since_ns`: the venue's time of the last trade that is
        known before the hole, 0: none is (`HISTORY` "time"). A page may begin below what was asked for.
        """

    def recent_trades(self, instrument: Instrument) -> Request | None:
        """The request for the newest trades, read by `decode_history`; None where a page of `history` costs no more."""

    def decode_history(self, body: bytes, recv_ns: int, instrument: Instrument) -> list[bytearray]:
        """The trade events of a page, flagged REPAIRED, ascending by id, event_ns 0.

        Raises FrameError, whose `readable` has the events of a page of which some rows could not be read; Unwell where the
        venue answers that it cannot answer now: what is concluded from a page is final.
        """

    def clock(self) -> Request:
        """The request for the venue's time."""

    def decode_clock(self, body: bytes) -> int:
        """The venue's time in the answer, ns. Raises FrameError."""


Adapter = VenueAdapter[Any]  # of whichever venue: what its `routes` gives goes to its `decode` and `book_of` and nowhere else


# Members of venues that lack something.


def no_forms(known: object) -> UsualForms:
    """The `forms` of a venue whose frames are all read by `decode`: none."""
    return NONE


def no_resubscription(instrument: Instrument, settings: FeedSettings) -> Iterator[str]:
    """The `resubscribe` of a venue whose snapshots come by REST: no message."""
    return iter(())


def no_snapshot(instrument: Instrument, limit: int) -> None:
    """The `snapshot` of a venue whose snapshots come on the stream: no request."""


def no_snapshot_answer(body: bytes, recv_ns: int, instrument: Instrument) -> tuple[int, bytearray]:
    """The `decode_snapshot` beside `no_snapshot`: nothing was asked for. Raises FrameError."""
    raise FrameError(f"no snapshot of {instrument.symbol} was asked for by REST: it comes on the stream")


def no_recent_trades(instrument: Instrument) -> None:
    """The `recent_trades` of a venue where any page of `history` costs as little: no request."""


def no_history(instrument: Instrument, first_id: int, since_ns: int = 0, until_id: int = 0) -> None:
    """The `history` of a venue whose past trades cannot be asked for: no request."""


def no_history_answer(body: bytes, recv_ns: int, instrument: Instrument) -> list[bytearray]:
    """The `decode_history` beside `no_history`: nothing was asked for. Raises FrameError."""
    raise FrameError(f"no past trades of {instrument.symbol} were asked for: the venue has none to ask for")
