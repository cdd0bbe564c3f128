"""Kraken's pairs: what its REST interface says of each. Sans I/O."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from tickmesh.bus.settings import Instrument, InstrumentSettings
from tickmesh.nodes.venues.parsing import writer
from tickmesh.nodes.venues.parsing.dialect import UNREADABLE, FrameError, Question, Request, Unknown, Unwell, batched
from tickmesh.nodes.venues.parsing.listing import Listed, read_listed
from tickmesh.nodes.venues.parsing.names import separated

PAIRS_PER_QUESTION = 100
NO_PAIR = "EQuery:Unknown asset pair"
NOT_TRADED = ("cancel_only", "delisted", "maintenance", "work_in_progress")
REST_NAMES = {"BTC": "XBT", "DOGE": "XDG"}  # REST's older names of assets
NAMES_TODAY = {old: new for new, old in REST_NAMES.items()}


class _Pair(msgspec.Struct):
    """One of `GET /0/public/AssetPairs`."""

    altname: str
    pair_decimals: int
    lot_decimals: int
    tick_size: str = ""
    ordermin: str = "0"
    costmin: str = "0"
    status: str = "online"
    wsname: str = ""

    @property
    def standing(self) -> str:
        """The venue's own word where it is not traded; "" where it is."""
        return self.status if self.status in NOT_TRADED else ""


class Pairs(msgspec.Struct):
    """`GET /0/public/AssetPairs`: pairs by the venue's key, each unread."""

    error: list[str]
    result: dict[str, msgspec.Raw] = {}


class _Named(msgspec.Struct):
    altname: str


_pairs = msgspec.json.Decoder(Pairs).decode
_pair_of = msgspec.json.Decoder(_Pair).decode
_named = msgspec.json.Decoder(_Named).decode


def rest_name(symbol: str) -> str:
    """The name of a pair in the REST interface: of BTC/USD it is XBTUSD."""
    return "".join(REST_NAMES.get(asset, asset) for asset in symbol.split("/"))


def definitions(instruments: Sequence[InstrumentSettings]) -> Iterator[Question]:
    """One question for a hundred pairs. The venue refuses it if one of them is unknown."""
    for many in batched(instruments, PAIRS_PER_QUESTION):
        pairs = ",".join(rest_name(instrument.symbol) for instrument in many)
        yield Question(Request("/0/public/AssetPairs", {"pair": pairs}), many)


def spell(name: str) -> str:
    """The name in capitals, with a slash between its assets, each as v2 calls it: BTC/USD of xbt-usd."""
    return name_today(separated(name, "/"))


def listings() -> Iterator[Request]:
    """One request for all pairs."""
    yield Request("/0/public/AssetPairs")


def listed(body: bytes) -> dict[str, Listed]:
    """All pairs of an answer, by their name of today. Raises FrameError."""
    try:
        return read_listed(_known_pairs(body)[0].values(), _listed)
    except UNREADABLE as error:
        raise FrameError(f"not a list of pairs: {error}") from None


def _listed(row: msgspec.Raw) -> Listed:
    pair = _pair_of(row)
    if not pair.wsname:
        raise ValueError(f"{pair.altname} is not on the stream")
    decimals = pair.pair_decimals, pair.lot_decimals
    tick_size, lot_size = pair.tick_size or _step(decimals[0]), _step(decimals[1])
    return Listed(name_today(pair.wsname), tick_size, lot_size, pair.standing, decimals)


def name_today(symbol: str) -> str:
    """The name of a pair on the stream of version 2: of XBT/USD it is BTC/USD."""
    return "/".join(NAMES_TODAY.get(asset, asset) for asset in symbol.split("/"))


def decode_definition(body: bytes, recv_ns: int, instrument: Instrument) -> bytearray:
    """The `instrument` event of one pair. Raises FrameError, also where the exponents are not the pair's precisions."""
    pair = _pair(body, instrument)
    if (today := name_today(instrument.symbol)) != instrument.symbol:
        raise Unknown(f"the venue calls {instrument.symbol} {today} here")
    seen, needed = (instrument.price_exponent, instrument.quantity_exponent), (-pair.pair_decimals, -pair.lot_decimals)
    if seen != needed:
        raise FrameError(
            f"{instrument.symbol} has price_exponent {seen[0]} and quantity_exponent {seen[1]}; its checksums are made at "
            f"full precision and need {needed[0]} and {needed[1]}"
        )
    return definition_event(body, recv_ns, instrument)


def definition_event(body: bytes, recv_ns: int, instrument: Instrument) -> bytearray:
    """The `instrument` event of one pair at any exponents that can hold it. Raises FrameError."""
    pair = _pair(body, instrument)
    try:
        return writer.definition(
            instrument, recv_ns, tick_size=pair.tick_size or _step(pair.pair_decimals), lot_size=_step(pair.lot_decimals),
            min_quantity=pair.ordermin, min_notional=pair.costmin,
        )  # fmt: skip
    except UNREADABLE as error:
        raise FrameError(f"not the definition of {instrument.symbol}: {error}") from None


def _pair(body: bytes, instrument: Instrument) -> _Pair:
    name = rest_name(instrument.symbol)
    try:
        known, errors = _known_pairs(body)
        if name in known:
            return _pair_of(known[name])
    except UNREADABLE as error:
        raise FrameError(f"not the definition of {instrument.symbol}: {error}") from None
    if [error for error in errors if not error.startswith(NO_PAIR)]:
        raise Unwell(f"the venue answers {errors}")
    raise Unknown(f"the venue has no pair {name}")


@lru_cache(maxsize=1)
def _known_pairs(body: bytes) -> tuple[dict[str, msgspec.Raw], list[str]]:
    """(by altname, each unread: an odd one costs no other; the venue's errors)."""
    answer = _pairs(body)
    return {_named(row).altname: row for row in answer.result.values()}, answer.error


def standing(body: bytes, instrument: Instrument) -> str:
    """The venue's own word for an instrument that it does not trade (delisted, …); "" for one that it trades."""
    return _pair(body, instrument).standing


def _step(decimals: int) -> str:
    """The least step of a number with so many decimals: of 2 it is 0.01."""
    return f"0.{'1':0>{decimals}}" if decimals > 0 else "1"
