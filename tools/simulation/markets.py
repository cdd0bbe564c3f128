"""Markets in simulated time: the local exchange's made-up one, and replayed captures. Each moves on by one step at a time."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from tickmesh.bus.config import Config
from tickmesh.bus.settings import ExchangeSettings, Instrument, InstrumentSettings, Mesh
from tickmesh.nodes.exchange.core import Core
from tickmesh.nodes.exchange.market.captures import RecordedFrame, RecordedTrade, Unserved, read_line
from tickmesh.nodes.exchange.market.fees import Fees
from tickmesh.nodes.exchange.market.instruments import USDM, InstrumentSpec, spec
from tickmesh.nodes.exchange.market.recorded_market import RecordedMarket
from tickmesh.nodes.exchange.market.survey import Survey, SymbolShape
from tickmesh.nodes.exchange.market.tape import Tape
from tickmesh.nodes.exchange.orders.listen_key import ListenKey
from tickmesh.nodes.exchange.orders.margin_desk import MarginDesk
from tickmesh.nodes.exchange.protocol import mantissa
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
    """A recorded market, moved on by the frames of a capture at their receive times."""

    def __init__(self, frames: Sequence[RecordedFrame], market: RecordedMarket, instrument: Instrument, desk: OrderDesk):
        self._frames = iter(frames)
        self._market = market
        self.venue = SimulatedVenue(instrument, market, desk)
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
            if isinstance(row := frame.row, RecordedTrade):
                trades = [TradeMoved(row.id, row.price, row.quantity, -1 if row.buyer_is_maker else 1)]
        self._next = next(self._frames, None)
        self.due_ns = max(self._next.recv_ns, self.due_ns) if self._next is not None else 0
        return trades

    def settle(self) -> None:
        """Lets go of what the exchange would write to its files and send."""
        self._market.drain()
        self._market.ledger_rows.clear()


def spot_frames(lines: Iterator[str]) -> list[RecordedFrame]:
    """The frames of a spot capture, in the order in which they were recorded; lines that are none are left out."""
    frames = []
    for line in lines:
        try:
            frames.append(read_line(line))
        except Unserved:
            continue
    return frames


def replayed_spot(symbol: str, frames: Sequence[RecordedFrame], settings: ExchangeSettings) -> ReplayedMarket:
    """A spot capture of one symbol as a market, with its account."""
    config = Config(Mesh(instruments=(InstrumentSettings(symbol=symbol),), exchange=settings), Path("/nonexistent"))
    core = Core.recorded(config, Survey(symbols={symbol: SymbolShape()}), [], lambda: False)
    return ReplayedMarket(frames, core.recorded_markets[symbol], Instrument(symbol), SpotDesk(core.desk))


def replayed_usdm(symbol: str, frames: Sequence[RecordedFrame], settings: ExchangeSettings) -> ReplayedMarket:
    """A USD-M capture of one symbol as a market, with its account; the mark price is the middle of the book."""
    market = RecordedMarket(spec(symbol, USDM))
    fees = Fees(settings.usdm_maker_fee_ppm, settings.usdm_taker_fee_ppm)
    desk = MarginDesk({symbol: market}, fees, lambda _: middle(market), ListenKey("", 3600.0))
    desk.state.deposit(market.spec.quote, mantissa(settings.usdm_wallet))
    return ReplayedMarket(frames, market, Instrument(symbol, venue=USDM), UsdmDesk(desk))


def middle(market: RecordedMarket) -> int:
    """The mid price of a recorded market, rounded down; its last price where a side is empty."""
    bid, ask = market.best(1)[0], market.best(-1)[0]
    return (bid + ask) // 2 if bid and ask else market.last_price


MakeMarket = Callable[[], SimulatedMarket]  # the same market from its beginning, each time


def rules_row(known: InstrumentSpec) -> tuple[int, int, int, int, int, int, int]:
    """The fields of an `instrument` record, at 10^−8: what the venue asks of orders."""
    return (-8, -8, known.tick, known.lot, known.lot, known.notional_min, 0)
