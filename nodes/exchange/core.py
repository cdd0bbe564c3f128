"""The whole exchange without its sockets and files: markets, desk and population, restored from what was written; it gives what
has happened since, to be written to files first and then sent to clients."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import NamedTuple

from tickmesh.bus.config import Config
from tickmesh.bus.settings import LOCAL_VENUES
from tickmesh.nodes.exchange.api.venue import UsdmVenue, Venue, VenueDoor
from tickmesh.nodes.exchange.ledger import LastBook, LedgerRow
from tickmesh.nodes.exchange.market.captures import RecordedFrame, RecordedMark
from tickmesh.nodes.exchange.market.derived import DerivedStreams, MiniTickers
from tickmesh.nodes.exchange.market.fees import SCHEDULES, Fees
from tickmesh.nodes.exchange.market.flow import Flow
from tickmesh.nodes.exchange.market.instruments import (
    SPOT,
    USDM,
    market_name,
    recorded_spec,
    spec,
    starting_amounts,
    venue_and_symbol,
)
from tickmesh.nodes.exchange.market.logged_market import LoggedMarket
from tickmesh.nodes.exchange.market.mark_price import MarkPrice
from tickmesh.nodes.exchange.market.market import Market, VenueMarket, stream_head
from tickmesh.nodes.exchange.market.matching import UpdateIds
from tickmesh.nodes.exchange.market.population import leaders_first, population_of, shape
from tickmesh.nodes.exchange.market.queue import MODELS as QUEUES
from tickmesh.nodes.exchange.market.recorded_market import OWN_TRADES_FROM, RecordedMarket
from tickmesh.nodes.exchange.market.replay import Replay
from tickmesh.nodes.exchange.market.survey import Survey, SymbolShape
from tickmesh.nodes.exchange.market.tape import Print, Tape
from tickmesh.nodes.exchange.orders.desk import Desk
from tickmesh.nodes.exchange.orders.listen_key import ListenKey
from tickmesh.nodes.exchange.orders.margin_desk import MarginDesk
from tickmesh.nodes.exchange.orders.margin_reports import listen_key_expired
from tickmesh.nodes.exchange.orders.orders import StateLine
from tickmesh.nodes.exchange.protocol import Level, mantissa

ERA_IDS = 10_000_000  # so much lower an era of ids begins than the one before it
RESERVED_IDS = 100_000  # update ids set aside in one write: what is skipped, never repeated, where the ledger is gone


class Outgoing(NamedTuple):
    """Frames to be sent once they are on disk: market frames as (stream, data), and events of the accounts.

    `private`: those of the futures account as (listenKey, event); the key is "" when nobody has one."""

    frames: list[tuple[str, str]]
    events: list[str]
    private: list[tuple[str, str]] = []


class Uncommitted(NamedTuple):
    """Everything that has happened since the last commit: rows to be written to files first, and frames to be sent then."""

    trades: list[tuple[str, list[Print]]]  # by market
    state_lines: list[StateLine]
    outgoing: Outgoing
    ledger_rows: list[LedgerRow] = []  # of the exchange ledger (nodes/exchange/ledger.py), in order


def era_of(lines: Iterable[StateLine]) -> int:
    """The newest era that lines of a state file name; 0 for none."""
    return max((line.era for line in lines), default=0)


def first_id_of(first_id: int, era: int) -> int:
    """Where the ids of an era begin, if those of the first one began at `first_id`."""
    return max(first_id - era * ERA_IDS, 1)


class Core:
    """Markets, orders, account and population of one exchange. `flows` is empty when a capture is replayed.

    `markets`: by name, a spot symbol as it is, of another venue `venue.symbol`."""

    def __init__(self, config: Config, markets: Mapping[str, VenueMarket], lines: list[StateLine], era: int = 0):
        self.settings = config.exchange
        self.era = era  # how often all ids have begun anew
        self.status = dict.fromkeys(markets, "TRADING")
        self.markets = markets
        self.synthetic_markets = {name: m for name, m in markets.items() if isinstance(m, Market)}
        self.recorded_markets = {name: m for name, m in markets.items() if isinstance(m, RecordedMarket)}
        self.flows: list[Flow] = []
        self.reserved: dict[str, int] = {}  # market → update ids that may be used without another write
        self.absent = {name: last for line in lines for name, last in line.reserved.items() if name not in markets}
        self.brought: frozenset[str] = frozenset()  # streams that a capture brings itself
        self.unknown: set[str] = set()  # markets that the exchange denies to have (a fault)
        self.marks: dict[str, MarkPrice] = {}  # of contracts, by symbol
        self.venue, self.usdm = self._spot(), self._usdm(lines)
        self.venue.key_withdraws = self.settings.key_withdraws
        self.venues: dict[str, VenueDoor] = {SPOT: self.venue, USDM: self.usdm}
        self.desk, self.margin = self.venue.desk, self.usdm.desk
        self.expired_keys: list[tuple[str, str]] = []  # of the futures account's events, each with its last event
        self.derived = {name: DerivedStreams(market) for name, market in markets.items() if market.spec.venue == SPOT}
        self.mini_tickers = MiniTickers(derived.market for derived in self.derived.values())
        self._taken: dict[str, list[Level]] = {}  # what our orders had taken of recorded books, until they are replayed
        for line in lines:
            self.desk.apply_line(line)
            self._taken.update(line.taken)
        for market in self.desk.markets.values():
            for asset, amount in starting_amounts(market.spec, self.settings.balances).items():
                self.desk.deposit(asset, amount)
        for market in self.margin.markets.values():
            self.margin.state.deposit(market.spec.quote, mantissa(self.settings.usdm_wallet))
        self.desk.take_line()  # the state file is written anew at every start, with all of it
        self.margin.state.take_line()

    def _markets_of(self, venue: str) -> dict[str, VenueMarket]:
        return {market.spec.symbol: market for market in self.markets.values() if market.spec.venue == venue}

    def _spot(self) -> Venue:
        settings, markets = self.settings, self._markets_of(SPOT)
        fees = SCHEDULES.get(settings.fees, Fees(settings.maker_fee_ppm, settings.taker_fee_ppm))
        desk = Desk(markets, fees.maker_ppm, fees.taker_ppm)
        return Venue(markets, desk, settings.api_key, settings.api_secret, settings.limits)

    def _usdm(self, lines: Iterable[StateLine]) -> UsdmVenue:
        """The futures venue, its account and mark prices as the lines of a state file left them."""
        settings, markets = self.settings, self._markets_of(USDM)
        fees = Fees(settings.usdm_maker_fee_ppm, settings.usdm_taker_fee_ppm)
        listen_key = ListenKey(settings.api_secret, settings.listen_key_s)
        desk = MarginDesk(markets, fees, lambda symbol: self.marks[symbol].state.mark, listen_key)
        for line in lines:
            if line.margin is not None:
                desk.state.apply_line(line.margin)
        for symbol, market in markets.items():
            spot = self.markets.get(market_name(SPOT, symbol))
            # a venue's own fundings are in no log, and in a capture's mark prices or not at all: none are made up
            interval_s = 0.0 if isinstance(market, RecordedMarket) else settings.funding_interval_s
            self.marks[symbol] = MarkPrice(market, spot, interval_s, desk.state.marks.get(symbol))
        return UsdmVenue(markets, desk, self.marks, settings.api_key, settings.api_secret, settings.usdm_limits)

    @classmethod
    def synthetic(
        cls,
        config: Config,
        lines: list[StateLine],
        tape: Callable[[str], Tape],
        now_ms: float,
        books: Mapping[str, LastBook] | None = None,
    ) -> "Core":
        """Builds an exchange with synthetic markets for the configured instruments; `tape` gives a market's kept trades.

        `books`: where those of the process before ended. Ids of one that is not there begin beyond all that may have been sent.
        """
        last_ids: dict[str, int] = {}
        era = era_of(lines)
        for line in lines:
            last_ids.update(line.reserved)
        last_ids.update((name, book.update_id) for name, book in (books or {}).items())
        before = first_id_of(config.exchange.first_id, era) - 1
        usdm_ids = UpdateIds(max((last for name, last in last_ids.items() if name.startswith(f"{USDM}.")), default=before))
        markets = {}
        for instrument in config.instruments:
            if instrument.venue in LOCAL_VENUES:
                known = spec(instrument.symbol, instrument.venue)
                ids = usdm_ids if known.venue == USDM else UpdateIds(last_ids.get(known.name, before))
                kept = tape(known.name)
                kept.id_before = before
                markets[known.name] = Market(known, ids, kept, era, (books or {}).get(known.name))
        return cls(config, markets, lines, era)

    @classmethod
    def recorded(cls, config: Config, survey: Survey, lines: list[StateLine], snapshot_ahead: Callable[[str], bool]) -> "Core":
        """Builds an exchange that replays a capture, with markets for what it holds and for what mesh.toml names.

        `snapshot_ahead`: whether the capture has a snapshot of a venue's that is still to come."""
        queue = QUEUES[config.exchange.queue]()
        configured = (market_name(one.venue, one.symbol) for one in config.instruments if one.venue in LOCAL_VENUES)
        markets = {}
        for name in dict.fromkeys([*survey.symbols, *configured]):
            venue, symbol = venue_and_symbol(name)
            shape = survey.symbols.get(name) or SymbolShape()
            known = recorded_spec(symbol, venue, shape.tick, shape.lot, shape.price)
            markets[name] = RecordedMarket(known, partial(snapshot_ahead, venue), config.exchange.trades_kept, queue)
        core = cls(config, markets, lines)
        core.brought = frozenset(survey.streams)
        return core

    @classmethod
    def logged(cls, config: Config, markets: Mapping[str, LoggedMarket], lines: list[StateLine]) -> "Core":
        """Builds an exchange whose market is a real venue's, as the log has it: orders are filled on paper."""
        core = cls(config, markets, lines)
        core._restore_recorded()
        return core

    def replay_to(self, lines: Iterable[str], depths: dict[str, str] | None = None) -> Replay:
        """Replays lines that clients had before a restart, without sending anything. `depths`: see Replay."""
        replay = Replay(self.recorded_markets, depths)
        for line in lines:
            frame = replay.pass_line(line, 0)
            if frame is not None and isinstance(frame.row, RecordedMark) and frame.symbol in self.marks:
                self.marks[frame.symbol].is_recorded = True  # where they stand is in the state file
            for market in self.recorded_markets.values():
                market.ledger_rows.clear()  # it is in the ledger already, or was never sent
        self._restore_recorded()
        return replay

    def _restore_recorded(self) -> None:
        """Gives recorded markets, which stand where they are to go on, what our orders had taken, and ids to go on with."""
        own_ids = [*(t.trade_id for t in self.desk.trades), *(t.trade_id for t in self.margin.state.trades)]
        own = max(own_ids, default=0)
        for number, market in enumerate(self.recorded_markets.values()):
            # ids of one symbol must not clash; each has its own million millions
            market.next_trade = max(own + 1, OWN_TRADES_FROM + number * 10**12)
            market.consumed.restore(self._taken.get(market.spec.name, []), market.book.shown)
            market.ledger_rows = market.standing_rows()

    def start(self, now_ms: float) -> None:
        """Puts our open orders back into their books, and the synthetic population around them."""
        self.desk.restore(int(now_ms))
        self.margin.restore(int(now_ms))
        for name, market in self.synthetic_markets.items():
            self.reserved[name] = market.book.update_id + RESERVED_IDS
        self._populate(now_ms)
        self.follow_marks(int(now_ms))
        for name in self.reserved:
            self.reserved[name] = self.markets[name].book_id + RESERVED_IDS

    def follow_marks(self, now_ms: int) -> None:
        """Moves mark prices that are due, with the fundings that follow, and ends a listenKey that was not kept alive."""
        for symbol, mark in self.marks.items():
            state = mark.state
            if mark.is_due(now_ms):
                self.margin.settle_funding(symbol, state.mark, state.rate, now_ms)
                mark.begin_interval(now_ms)
                self.margin.state.note_mark(symbol, state)
            if mark.tick(now_ms):
                self._note_mark(symbol, mark)
                self._announce_mark(symbol, mark, now_ms)
        self.expire_listen_keys(now_ms)

    def follow_recorded_mark(self, frame: RecordedFrame, now_ms: int) -> None:
        """Moves the mark price of a frame's contract: by the venue's own, if it is one, else once a second of recorded time."""
        mark = self.marks.get(frame.symbol) if frame.venue == USDM else None
        if mark is None:
            return
        if isinstance(frame.row, RecordedMark):
            price, rate = mark.take(frame.row)
            if price:
                self.margin.settle_funding(frame.symbol, price, rate, now_ms)
            self._note_mark(frame.symbol, mark)
        elif mark.tick(at_ms := frame.recv_ns // 1_000_000):
            self._note_mark(frame.symbol, mark)
            self._announce_mark(frame.symbol, mark, frame.venue_ms or at_ms)

    def _note_mark(self, symbol: str, mark: MarkPrice) -> None:
        """Writes where a contract's mark price stands into ledger and state file."""
        state, market = mark.state, self.markets[market_name(USDM, symbol)]
        market.ledger_rows.append(("mark", market.spec.name, state.mark, state.index, state.rate, state.next_ms))
        self.margin.state.note_mark(symbol, state)

    def _announce_mark(self, symbol: str, mark: MarkPrice, at_ms: int) -> None:
        """Has a mark price of our own making sent to those who have subscribed to it."""
        market = self.markets[market_name(USDM, symbol)]
        if isinstance(market, LoggedMarket) or market.spec.name in self.unknown:
            return  # nobody hears the streams of a market on paper
        if isinstance(market, Market | RecordedMarket):
            frames = [(stream_head(market.spec) + name, data) for name, data in mark.frames(at_ms)]
            market.announce([frame for frame in frames if frame[0] not in self.brought])

    def expire_listen_keys(self, now_ms: int) -> None:
        """Ends a listenKey of the futures account that was not kept alive."""
        for expired in self.margin.state.listen_key.take_expired(now_ms):
            self.expired_keys.append((expired, listen_key_expired(expired, now_ms)))

    def _populate(self, now_ms: float) -> None:
        """Builds the synthetic traders of every market; a leader's before its followers', so that it acts before them."""
        flows: dict[str, Flow] = {}
        exchange = self.settings
        shapes = {}
        for name, market in self.synthetic_markets.items():
            one = population_of(exchange.population, market.spec)
            shapes[name] = shape(one, exchange.trades_per_s, exchange.quotes_per_s, market.spec.venue)
            if one.follows:
                shapes[name] = shapes[name]._replace(follows=self._leader(one.follows, market.spec.venue))
        for name in leaders_first({name: one.follows for name, one in shapes.items()}):
            market = self.synthetic_markets[name]
            last = market.tape.last_id
            # neither a restart nor a new era repeats what was
            seed = f"{exchange.seed}/{last}/{self.era}" if self.era else f"{exchange.seed}/{last}" if last else exchange.seed
            flows[name] = Flow(market, shapes[name], seed, now_ms, flows.get(shapes[name].follows))
        self.flows = list(flows.values())

    def _leader(self, follows: str, venue: str) -> str:
        """The name of the market that settings call `follows`: `venue.symbol`, or a symbol of the follower's own venue."""
        named, _, symbol = follows.partition(".")
        return market_name(named, symbol) if named in LOCAL_VENUES else market_name(venue, follows)

    def overload(self, on: bool) -> None:
        """Begins or ends an outage: makers are cut off, and of our own requests only market orders get through."""
        self.desk.overloaded = self.margin.overloaded = on
        for flow in self.flows:
            flow.cut_off = on

    def close(self, closed: Collection[str]) -> None:
        """Sets which markets take no new orders since no book of them is known; orders that rest there stand."""
        for venue in self.venues.values():
            markets = self._markets_of(venue.name)
            venue.desk.without_book = {symbol for symbol in markets if market_name(venue.name, symbol) in closed}

    def halt(self, halted: set[str], unknown: set[str]) -> None:
        """Sets which markets are not traded and which ones their venue does not know; all others are traded."""
        self.unknown = unknown
        for flow in self.flows:
            flow.halted = flow.market.name in halted | unknown
            if flow.halted:
                flow.market.forget_unpublished_changes()
        for venue in self.venues.values():
            venue.desk.halted, venue.desk.unknown = (
                {symbol for symbol in self._markets_of(venue.name) if market_name(venue.name, symbol) in names}
                for names in (halted, unknown)
            )
        for name, market in self.markets.items():
            status = "UNKNOWN" if name in unknown else "BREAK" if name in halted else "TRADING"
            if status != self.status[name]:
                self.status[name] = status
                market.ledger_rows.append(("status", name, status))

    def lose_orders(self, now_ms: int) -> None:
        """Expires all of our open orders without an event about it."""
        self.desk.lose_orders(now_ms)
        self.margin.lose_orders(now_ms)

    def take_uncommitted(self) -> Uncommitted:
        """Takes everything that has happened since the last call, to be written and then sent."""
        done = Uncommitted([], [], Outgoing([], [], []), [])
        for name, market in self.markets.items():
            if not market.moved:
                continue  # of many markets most stand still from one millisecond to the next
            trades, frames = market.drain()
            done.ledger_rows.extend(market.ledger_rows)
            market.ledger_rows = []
            if trades:
                done.trades.append((name, trades))
            done.outgoing.frames.extend(frames)
            if name in self.reserved and market.book_id > self.reserved[name] - RESERVED_IDS // 4:
                self.reserved[name] = market.book_id + RESERVED_IDS
                done.state_lines.append(StateLine(reserved={name: self.reserved[name]}))
        for name, recorded in self.recorded_markets.items():
            if recorded.consumed.changed:
                recorded.consumed.changed = False
                done.state_lines.append(StateLine(taken={name: recorded.consumed.rows()}))
        if (line := self.desk.take_line()) is not None:
            done.state_lines.append(line)
        done.outgoing.events.extend(self.desk.events)
        self.desk.events = []
        self._take_margin(done)
        return done

    def _take_margin(self, done: Uncommitted) -> None:
        """Takes what has happened to the futures account."""
        margin = self.margin
        if (line := margin.state.take_line()) is not None:
            done.state_lines.append(StateLine(margin=line))
        done.ledger_rows.extend(margin.ledger_rows)
        done.outgoing.private.extend((margin.state.listen_key.key, event) for event in margin.events)
        done.outgoing.private.extend(self.expired_keys)
        margin.ledger_rows, margin.events, self.expired_keys = [], [], []

    def whole_state(self) -> StateLine:
        """The whole state that a restart needs, as one line of the state file."""
        line = self.desk.whole_state()
        line.reserved, line.era = self.absent | self.reserved, self.era
        line.margin = self.margin.state.whole()
        line.taken = {name: rows for name, market in self.recorded_markets.items() if (rows := market.consumed.rows())}
        return line

    def state_of_new_era(self) -> StateLine:
        """The whole state for an exchange whose ids begin anew: orders and accounts are what they were."""
        line = self.whole_state()
        line.reserved, line.era = {}, self.era + 1
        return line
