"""The whole exchange without its sockets and files: markets, desk and population, restored from what was written, and
what has happened since, to be written and then told."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from tickmesh.bus.config import Config
from tickmesh.bus.settings import PopulationSettings
from tickmesh.nodes.exchange.api.venue import Venue
from tickmesh.nodes.exchange.ledger import LedgerRow
from tickmesh.nodes.exchange.market.derived import Derived
from tickmesh.nodes.exchange.market.fees import SCHEDULES, Fees
from tickmesh.nodes.exchange.market.flow import Flow
from tickmesh.nodes.exchange.market.instruments import KNOWN, Spec, quantity_max, spec
from tickmesh.nodes.exchange.market.market import Market, VenueMarket
from tickmesh.nodes.exchange.market.population import in_order, shape
from tickmesh.nodes.exchange.market.queue import MODELS as QUEUES
from tickmesh.nodes.exchange.market.replay import OWN_TRADES_FROM, RecordedMarket, Replay
from tickmesh.nodes.exchange.market.survey import Survey, step
from tickmesh.nodes.exchange.market.tape import Print, Tape
from tickmesh.nodes.exchange.orders.desk import Desk
from tickmesh.nodes.exchange.orders.orders import StateLine
from tickmesh.nodes.exchange.protocol import UNIT, mantissa

RESERVED_IDS = 100_000  # update ids set aside in one write: what a kill may skip, never repeat


class Told(NamedTuple):
    """What clients may hear once it is written: (stream, data) of market frames, and events of the account."""

    frames: list[tuple[str, str]]
    events: list[str]


class Done(NamedTuple):
    """What has happened: trades and state lines to write first, then what to tell."""

    printed: list[tuple[str, list[Print]]]
    lines: list[StateLine]
    told: Told
    happened: list[LedgerRow] = []  # rows of the ledger (nodes/exchange/ledger.py), in order


def era_of(lines: Iterable[StateLine]) -> int:
    return max((line.era for line in lines), default=0)


class Core:
    """`markets` by symbol; `flows` is empty when a capture is replayed."""

    def __init__(self, config: Config, markets: Mapping[str, VenueMarket], lines: list[StateLine], era: int = 0):
        self.exchange = config.exchange
        self.era = era  # how often all ids have begun anew
        self.status = dict.fromkeys(markets, "TRADING")
        self.markets = markets
        self.synthetic_markets = {symbol: m for symbol, m in markets.items() if isinstance(m, Market)}
        self.recorded_markets = {symbol: m for symbol, m in markets.items() if isinstance(m, RecordedMarket)}
        self.flows: list[Flow] = []
        self.reserved: dict[str, int] = {}
        fees = SCHEDULES.get(self.exchange.fees, Fees(self.exchange.maker_fee_ppm, self.exchange.taker_fee_ppm))
        self.desk = Desk(markets, fees.maker_ppm, fees.taker_ppm)
        key, secret = self.exchange.api_key, self.exchange.api_secret
        self.venue = Venue(markets, self.desk, key, secret, self.exchange.limits)
        self.derived = {symbol: Derived(market) for symbol, market in markets.items()}
        for line in lines:
            self.desk.apply(line)
        for market in markets.values():
            for asset, amount in self._deposits(market.spec).items():
                self.desk.deposit(asset, amount)
        self.desk.take_line()  # the state file is written anew at every start, with all of it

    @classmethod
    def synthetic(cls, config: Config, lines: list[StateLine], tape: Callable[[str], Tape], now_ms: float) -> "Core":
        reserved: dict[str, int] = {}
        era = era_of(lines)
        for line in lines:
            reserved.update(line.reserved)
        markets = {}
        for instrument in config.instruments:
            known = spec(instrument.symbol)
            markets[known.symbol] = Market(known, reserved.get(known.symbol, 0), tape(known.symbol), era)
        return cls(config, markets, lines, era)

    @classmethod
    def recorded(cls, config: Config, survey: Survey, lines: list[StateLine], snapshot_ahead: Callable[[], bool]) -> "Core":
        """Markets for what the captures hold, and for what mesh.toml names."""
        queue = QUEUES[config.exchange.queue]()
        markets = {}
        for symbol in dict.fromkeys([*survey.symbols, *(i.symbol for i in config.instruments)]):
            known, shape = spec(symbol), survey.symbols.get(symbol)
            if symbol not in KNOWN and shape and shape.price:
                known = known._replace(
                    tick=step(shape.tick, known.tick), lot=step(shape.lot, known.lot), start=shape.price,
                    quantity_max=quantity_max(shape.price),
                )  # fmt: skip
            markets[symbol] = RecordedMarket(known, snapshot_ahead, config.exchange.trades_kept, queue)
        return cls(config, markets, lines)

    def replay_to(self, lines: Iterable[str], depths: dict[str, str] | None = None) -> Replay:
        """Takes a capture to where its clients had it, without telling anyone. `depths`: see Replay."""
        replay = Replay(self.recorded_markets, depths)
        for line in lines:
            replay.pass_line(line, 0)
            for market in self.recorded_markets.values():
                market.happened.clear()  # it is in the ledger already, or was never told
        own = max((t.trade_id for t in self.desk.trades), default=0)
        for number, market in enumerate(self.recorded_markets.values()):
            # ids of one symbol must not clash; each has its own million millions
            market.next_trade = max(own + 1, OWN_TRADES_FROM + number * 10**12)
            market.happened = market.standing()
        return replay

    def start(self, now_ms: float) -> None:
        """Our orders that stood, and the population around them."""
        self.desk.restore(int(now_ms))
        for symbol, market in self.synthetic_markets.items():
            self.reserved[symbol] = market.book.update_id + RESERVED_IDS
        self._populate(now_ms)
        for symbol in self.reserved:
            self.reserved[symbol] = self.markets[symbol].book_id + RESERVED_IDS

    def _populate(self, now_ms: float) -> None:
        """The population of every market; whoever is followed comes, and acts, before those who follow."""
        flows: dict[str, Flow] = {}
        exchange = self.exchange
        shapes = {
            symbol: shape(exchange.population.get(symbol, PopulationSettings()), exchange.trades_per_s, exchange.quotes_per_s)
            for symbol in self.reserved
        }
        for symbol in in_order({symbol: one.follows for symbol, one in shapes.items()}):
            market = self.synthetic_markets[symbol]
            last = market.tape.last_id
            # neither a restart nor a new era repeats what was
            seed = f"{exchange.seed}/{last}/{self.era}" if self.era else f"{exchange.seed}/{last}" if last else exchange.seed
            flows[symbol] = Flow(market, shapes[symbol], seed, now_ms, flows.get(shapes[symbol].follows))
        self.flows = list(flows.values())

    def overload(self, on: bool) -> None:
        """Makers are cut off, and of our own requests only market orders get through."""
        self.desk.overloaded = on
        for flow in self.flows:
            flow.cut_off = on

    def halt(self, halted: set[str], unknown: set[str]) -> None:
        """Symbols that are not traded, and those that the venue does not know; all others are traded."""
        self.desk.halted, self.desk.unknown = halted, unknown
        for flow in self.flows:
            flow.halted = flow.market.spec.symbol in halted | unknown
            if flow.halted:
                flow.market.begin_silent()
        for symbol, market in self.markets.items():
            status = "UNKNOWN" if symbol in unknown else "BREAK" if symbol in halted else "TRADING"
            if status != self.status[symbol]:
                self.status[symbol] = status
                market.happened.append(("status", symbol, status))

    def lose_orders(self, now_ms: int) -> None:
        """Forgets what stood in the books: the orders are expired, and nobody is told."""
        self.desk.lose(now_ms)

    def take(self) -> Done:
        """What has happened since the last call."""
        done = Done([], [], Told([], []), [])
        for symbol, market in self.markets.items():
            trades, frames = market.drain()
            done.happened.extend(market.happened)
            market.happened = []
            if trades:
                done.printed.append((symbol, trades))
            done.told.frames.extend(frames)
            if symbol in self.reserved and market.book_id > self.reserved[symbol] - RESERVED_IDS // 4:
                self.reserved[symbol] = market.book_id + RESERVED_IDS
                done.lines.append(StateLine(reserved={symbol: self.reserved[symbol]}))
        if (line := self.desk.take_line()) is not None:
            done.lines.append(line)
        done.told.events.extend(self.desk.events)
        self.desk.events = []
        return done

    def whole(self) -> StateLine:
        """Everything that a restart needs, as one line."""
        line = self.desk.whole()
        line.reserved, line.era = dict(self.reserved), self.era
        return line

    def whole_anew(self) -> StateLine:
        """Likewise, of an exchange whose ids begin again from 1: orders and accounts are what they were."""
        line = self.whole()
        line.reserved, line.era = {}, self.era + 1
        return line

    def _deposits(self, known: Spec) -> dict[str, int]:
        base = "100" if known.start >= 100 * UNIT else "1000000"
        amounts = {known.base: base, known.quote: "10000000", **self.exchange.balances}
        return {asset: mantissa(amount) for asset, amount in amounts.items()}
