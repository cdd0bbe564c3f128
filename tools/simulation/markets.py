"""Markets in simulated time: the local exchange's made-up one, and replayed captures. Each moves on by one step at a time."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from tickmesh.bus.config import Config
from tickmesh.bus.settings import ExchangeSettings, Instrument, InstrumentSettings, Mesh
from tickmesh.nodes.exchange.core import Core
from tickmesh.nodes.exchange.market.captures import RecordedFrame, RecordedTrade, Unserved, read_line
from tickmesh.nodes.exchange.market.frames import MARKET
from tickmesh.nodes.exchange.market.instruments import USDM, InstrumentSpec, market_name, venue_and_symbol
from tickmesh.nodes.exchange.market.survey import Survey, SymbolShape
from tickmesh.nodes.exchange.market.tape import Tape
from tickmesh.tools.simulation.venue import OrderDesk, SimulatedVenue, SpotDesk, UsdmDesk

START_MS = 1_760_000_000_000  # of a made-up market; any time does, and a fixed one makes it the same every time
MS = 1_000_000


class TradeMoved(NamedTuple):
    """A public trade of a market, as mantissas at 10^−8. `side`: of the taker."""

    trade_id: int
    price: int
    quantity: int
    side: int


class SimulatedMarket(Protocol):
    """A market that is moved on from outside. `due_ns`: when it moves next; 0: it has ended."""

    venue: SimulatedVenue
    due_ns: int

    def act(self) -> list[TradeMoved]:
        """Moves on by one step, at `due_ns`; gives the public trades of it."""

    def settle(self) -> None:
        """Lets go of what the exchange would write to its files and send."""


class MadeUpMarket:
    """The local exchange's synthetic market, spot. `overloads`: (from, to) in ns, when makers are cut off."""

    def __init__(self, symbol: str, settings: ExchangeSettings, overloads: Sequence[tuple[int, int]] = ()):
        instrument = InstrumentSettings(symbol=symbol)
        config = Config(Mesh(instruments=(instrument,), exchange=settings), Path("/nonexistent"))
        self._core = Core.synthetic(config, [], lambda name: Tape(1000), START_MS)
        self._core.start(START_MS)
        self._market = self._core.synthetic_markets[symbol]
        (self._flow,) = self._core.flows
        self._edges = sorted([(begin, True) for begin, _ in overloads] + [(end, False) for _, end in overloads])
        self.venue = SimulatedVenue(Instrument(symbol), self._market, SpotDesk(self._core.desk))
        self.due_ns = int(self._flow.due_ms * MS)

    def act(self) -> list[TradeMoved]:
        """Moves on by one action of one trader."""
        while self._edges and self._edges[0][0] <= self.due_ns:
            self._core.overload(self._edges.pop(0)[1])
        self._flow.run(self._flow.due_ms)
        self.due_ns = int(self._flow.due_ms * MS)
        printed, _ = self._market.drain()
        return [TradeMoved(one.id, one.price, one.quantity, -1 if one.buyer_is_maker else 1) for one in printed]

    def settle(self) -> None:
        """Lets go of what the exchange would write to its files and send."""
        self._core.take_uncommitted()


class ReplayedMarket:
    """The one recorded market of an exchange, moved on by the frames of a capture at their receive times."""

    def __init__(self, frames: Sequence[RecordedFrame], core: Core, instrument: Instrument):
        self._frames = iter(frames)
        self._core = core
        (self._market,) = core.recorded_markets.values()
        desk: OrderDesk = UsdmDesk(core.margin) if instrument.venue == USDM else SpotDesk(core.desk)
        self.venue = SimulatedVenue(instrument, self._market, desk)
        self._next = next(self._frames, None)
        self.due_ns = self._next.recv_ns if self._next is not None else 0

    def act(self) -> list[TradeMoved]:
        """Replays the next frame. Receive times that fall are moved up: the log's never do."""
        frame = self._next
        assert frame is not None
        trades = []
        try:
            self._market.apply(frame, self.due_ns // MS)
        except Unserved:
            pass  # a snapshot of another book; the exchange leaves it out too, and says so where it replays
        else:
            self._core.follow_recorded_mark(frame, self.due_ns // MS)
            if isinstance(row := frame.row, RecordedTrade) and row.type == MARKET:
                trades = [TradeMoved(row.id, row.price, row.quantity, -1 if row.buyer_is_maker else 1)]
        self._next = next(self._frames, None)
        self.due_ns = max(self._next.recv_ns, self.due_ns) if self._next is not None else 0
        return trades

    def settle(self) -> None:
        """Lets go of what the exchange would write to its files and send."""
        self._core.take_uncommitted()


def read_frames(lines: Iterable[str], market: str) -> list[RecordedFrame]:
    """The frames of a capture that are of one market, by its name, with the snapshots of its venue, as they were recorded.

    Lines that are none are left out."""
    frames = []
    venue, _ = venue_and_symbol(market)
    for line in lines:
        try:
            frame = read_line(line, venue)
        except Unserved:
            continue
        if frame.market == market or frame.venue == venue and not frame.stream:
            frames.append(frame)
    return frames


def replayed(symbol: str, venue: str, frames: Sequence[RecordedFrame], settings: ExchangeSettings) -> ReplayedMarket:
    """A capture of one symbol as the exchange replays it, with its account there."""
    instrument = InstrumentSettings(symbol=symbol, venue=venue)
    config = Config(Mesh(instruments=(instrument,), exchange=settings), Path("/nonexistent"))
    survey = Survey(symbols={market_name(venue, symbol): SymbolShape()})
    return ReplayedMarket(frames, Core.recorded(config, survey, [], lambda _: False), Instrument(symbol, venue=venue))


MakeMarket = Callable[[], SimulatedMarket]  # the same market from its beginning, each time


def rules_row(known: InstrumentSpec) -> tuple[int, int, int, int, int, int, int]:
    """The fields of an `instrument` record, at 10^−8: what the venue asks of orders."""
    return (-8, -8, known.tick, known.lot, known.lot, known.notional_min, 0)
