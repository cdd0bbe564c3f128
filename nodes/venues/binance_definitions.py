"""Binance spot's symbols: what its REST interface says of each. Sans I/O."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from tickmesh.bus.settings import Instrument, InstrumentSettings
from tickmesh.nodes.venues.parsing import writer
from tickmesh.nodes.venues.parsing.dialect import UNREADABLE, FrameError, Question, Request, Unknown, batched
from tickmesh.nodes.venues.parsing.listing import Listed, read_listed
from tickmesh.nodes.venues.parsing.names import squeezed

SYMBOLS_PER_QUESTION = 100  # in one exchangeInfo


class _Filter(msgspec.Struct, rename={"kind": "filterType"}):
    kind: str
    tickSize: str = "0"  # noqa: N815
    stepSize: str = "0"  # noqa: N815
    minQty: str = "0"  # noqa: N815
    minNotional: str = "0"  # noqa: N815


class _Symbol(msgspec.Struct):
    symbol: str
    status: str = ""
    filters: list[_Filter] = []

    def rule(self, *kinds: str) -> _Filter:
        """The first of these filters that the symbol has; zeros where it has none."""
        rules = {rule.kind: rule for rule in self.filters}
        return next((rules[kind] for kind in kinds if kind in rules), _Filter(kind=""))

    @property
    def standing(self) -> str:
        """The venue's own word where it is not traded; "" where it is."""
        return "" if self.status in ("", "TRADING") else self.status


class ExchangeInfo(msgspec.Struct):
    """The body of exchangeInfo: its symbols, each unread."""

    symbols: list[msgspec.Raw]


class _Named(msgspec.Struct):
    symbol: str


_exchange_info = msgspec.json.Decoder(ExchangeInfo).decode
_named = msgspec.json.Decoder(_Named).decode
_symbol = msgspec.json.Decoder(_Symbol).decode


def definitions(instruments: Sequence[InstrumentSettings]) -> Iterator[Question]:
    """One question for a hundred symbols. The venue refuses it if one of them is unknown."""
    for many in batched(instruments, SYMBOLS_PER_QUESTION):
        names = [instrument.symbol for instrument in many]
        query: dict[str, object] = {"symbols": msgspec.json.encode(names).decode()}
        if len(names) == 1:
            query = {"symbol": names[0]}
        yield Question(Request("/api/v3/exchangeInfo", query, 20), many)


def spell(name: str) -> str:
    """The name in capitals and without a separator: BTCUSDT of btc/usdt."""
    return squeezed(name)


def listings() -> Iterator[Request]:
    """One request for all symbols; without their permissions, which are most of the megabytes."""
    yield Request("/api/v3/exchangeInfo", {"showPermissionSets": "false"}, 20)


def listed(body: bytes) -> dict[str, Listed]:
    """All symbols of an exchangeInfo, by name. Raises FrameError."""
    try:
        return read_listed(symbols(body).values(), _listed)
    except UNREADABLE as error:
        raise FrameError(f"not an exchangeInfo: {error}") from None


def _listed(row: msgspec.Raw) -> Listed:
    one = _symbol(row)
    return Listed(one.symbol, one.rule("PRICE_FILTER").tickSize, one.rule("LOT_SIZE").stepSize, one.standing)


def decode_definition(body: bytes, recv_ns: int, instrument: Instrument) -> bytearray:
    """The `instrument` event of one symbol in an answer of `GET /api/v3/exchangeInfo`. Raises FrameError.

    tickSize of PRICE_FILTER, stepSize and minQty of LOT_SIZE, minNotional of NOTIONAL or the older MIN_NOTIONAL;
    0 where the venue has no such rule.
    """
    try:
        row = symbols(body).get(instrument.symbol)
        if row is None:
            raise Unknown(f"exchangeInfo has no symbol {instrument.symbol}")
        symbol = _symbol(row)
        lot = symbol.rule("LOT_SIZE")
        return writer.definition(
            instrument, recv_ns, tick_size=symbol.rule("PRICE_FILTER").tickSize, lot_size=lot.stepSize,
            min_quantity=lot.minQty, min_notional=symbol.rule("NOTIONAL", "MIN_NOTIONAL").minNotional,
        )  # fmt: skip
    except Unknown:
        raise
    except UNREADABLE as error:
        raise FrameError(f"not an exchangeInfo of {instrument.symbol}: {error}") from None


@lru_cache(maxsize=1)
def symbols(body: bytes) -> dict[str, msgspec.Raw]:
    """Each symbol's definition in an exchangeInfo, unread, by name: one that is odd costs no other."""
    return {_named(row).symbol: row for row in _exchange_info(body).symbols}


def standing(body: bytes, instrument: Instrument) -> str:
    """The venue's own word for an instrument that it does not trade (HALT, BREAK, …); "" for one that it trades."""
    return _symbol(symbols(body)[instrument.symbol]).standing
