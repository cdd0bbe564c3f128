"""OKX's instruments: what its REST interface says of each. Sans I/O."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from tickmesh.bus.settings import Instrument, InstrumentSettings
from tickmesh.nodes.venues.parsing import writer
from tickmesh.nodes.venues.parsing.dialect import UNREADABLE, FrameError, Question, Request, Unknown, Unwell
from tickmesh.nodes.venues.parsing.listing import Listed, read_listed
from tickmesh.nodes.venues.parsing.names import separated

NO_INSTRUMENT = "51001"
LISTED_TYPES = ("SPOT", "SWAP", "FUTURES")  # options are listed by family only


class Definition(msgspec.Struct):
    """A row of `GET /api/v5/public/instruments`."""

    instId: str  # noqa: N815
    tickSz: str = "0"  # noqa: N815
    lotSz: str = "0"  # noqa: N815
    minSz: str = "0"  # noqa: N815
    state: str = "live"

    @property
    def standing(self) -> str:
        """The venue's own word where it is not traded; "" where it is."""
        return "" if self.state in ("live", "") else self.state


class Definitions(msgspec.Struct):
    """The body of `GET /api/v5/public/instruments`, each row unread; code "0" means success."""

    code: str
    data: list[msgspec.Raw]
    msg: str = ""


class _Named(msgspec.Struct):
    instId: str  # noqa: N815


_definitions = msgspec.json.Decoder(Definitions).decode
_named = msgspec.json.Decoder(_Named).decode
_of_definition = msgspec.json.Decoder(Definition).decode


def definitions(instruments: Sequence[InstrumentSettings]) -> Iterator[Question]:
    """Questions for definitions: of one instrument by its name; of several, one for all that the venue has of their type."""
    groups: dict[tuple[tuple[str, str], ...], list[InstrumentSettings]] = {}
    for instrument in instruments:
        kind = _type(instrument.symbol)
        family = {"instFamily": "-".join(instrument.symbol.split("-")[:2])} if kind == "OPTION" else {}
        groups.setdefault(tuple({"instType": kind, **family}.items()), []).append(instrument)
    for query, many in groups.items():
        one = {"instId": many[0].symbol} if len(many) == 1 else {}
        yield Question(Request("/api/v5/public/instruments", {**dict(query), **one}), tuple(many))


def spell(name: str) -> str:
    """The name in capitals, with hyphens between its parts: BTC-USDT, BTC-USDT-SWAP."""
    return separated(name, "-")


def listings() -> Iterator[Request]:
    """A request for each type of instrument; options, of which there are tens of thousands, are left out."""
    for kind in LISTED_TYPES:
        yield Request("/api/v5/public/instruments", {"instType": kind})


def listed(body: bytes) -> dict[str, Listed]:
    """All instruments of an answer, by name; sizes of derivatives are in contracts. Raises FrameError."""
    try:
        return read_listed(_known_instruments(body)[0].values(), _listed)
    except UNREADABLE as error:
        raise FrameError(f"not a list of instruments: {error}") from None


def _listed(row: msgspec.Raw) -> Listed:
    one = _of_definition(row)
    return Listed(one.instId, one.tickSz, one.lotSz, one.standing)


def _type(symbol: str) -> str:
    """BTC-USDT, BTC-USDT-SWAP, BTC-USD-220527, BTC-USD-220527-30000-C."""
    parts = symbol.split("-")
    return {2: "SPOT", 5: "OPTION"}.get(len(parts), "SWAP" if parts[-1] == "SWAP" else "FUTURES")


def decode_definition(body: bytes, recv_ns: int, instrument: Instrument) -> bytearray:
    """The `instrument` event of one instrument; sizes of derivatives are in contracts. Raises Unknown, Unwell, FrameError."""
    data = _definition(body, instrument)
    try:
        return writer.definition(instrument, recv_ns, tick_size=data.tickSz, lot_size=data.lotSz, min_quantity=data.minSz)
    except UNREADABLE as error:
        raise FrameError(f"not the definition of {instrument.symbol}: {error}") from None


def _definition(body: bytes, instrument: Instrument) -> Definition:
    try:
        known, code, why = _known_instruments(body)
        if code not in ("0", NO_INSTRUMENT):
            raise Unwell(f"the venue answers {code} {why}")
        if instrument.symbol not in known:
            raise Unknown(f"the venue has no instrument {instrument.symbol}")
        return _of_definition(known[instrument.symbol])
    except (Unknown, Unwell):
        raise
    except UNREADABLE as error:
        raise FrameError(f"not the definition of {instrument.symbol}: {error}") from None


@lru_cache(maxsize=1)
def _known_instruments(body: bytes) -> tuple[dict[str, msgspec.Raw], str, str]:
    """(by instId, each unread: an odd one costs no other; code, message)."""
    answer = _definitions(body)
    return {_named(row).instId: row for row in answer.data}, answer.code, answer.msg


def standing(body: bytes, instrument: Instrument) -> str:
    """The venue's own word for an instrument that it does not trade (suspend, preopen, …); "" for one that it trades."""
    return _definition(body, instrument).standing
