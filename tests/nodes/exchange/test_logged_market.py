"""Orders that are filled on paper: only by what the log has of a real venue, and by nothing while its book is not known."""

import numpy as np
import pytest

from tests.support.exchange_clients import configure
from tests.support.usdm_talk import place
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import DEPTH, INSTRUMENT, QUOTE, TRADE, Flag, Kind
from tickmesh.bus.settings import InstrumentSettings
from tickmesh.bus.wire import Event, decode, encode, stamp_sent, stamp_sequenced
from tickmesh.nodes.exchange.core import Core
from tickmesh.nodes.exchange.market.logged_market import LoggedMarket, LoggedMarkets
from tickmesh.nodes.exchange.market.matching import FILLED, NEW, ExchangeOrder
from tickmesh.nodes.exchange.market.queue import risk_averse
from tickmesh.nodes.exchange.orders.desk import OWNER
from tickmesh.nodes.exchange.protocol import UNIT, Params, VenueError

SPOT_BTC, FUTURE_BTC = InstrumentSettings("BTCUSDT"), InstrumentSettings("BTCUSDT", "binance_usdm")
BTC = SPOT_BTC.subject
SECOND = 10**9
LOT, TICK = 10**3, 10**6  # 10^-5 and 10^-2 at 10^-8: exponents of the log are -2 and -5


class Log:
    """Events of one instrument with the exponents -2 and -5, one millisecond apart."""

    def __init__(self, subject: str = BTC) -> None:
        self.seq, self.subject = 0, subject

    def event(self, kind: Kind, rows: np.ndarray, flags: int = 0, first: int = 0, last: int = 0) -> Event:
        self.seq += 1
        raw = encode(kind, self.subject, rows, flags=flags, first_id=first, last_id=last)
        stamp_sent(raw, producer_bytes("feed-1"), 1, self.seq, self.seq)
        stamp_sequenced(raw, self.seq, 0, SECOND + self.seq * 10**6)
        return decode(bytes(raw))

    def definition(self, exponents: tuple[int, int] = (-2, -5)) -> Event:
        return self.event(Kind.instrument, np.array([(*exponents, 1, 1, 1, 500, 0)], INSTRUMENT))

    def quote(self, ident: int, bid: int, ask: int, lots: int = 100) -> Event:
        return self.event(Kind.quote, np.array([(ident, bid, lots, ask, lots, 0)], QUOTE), last=ident)

    def trade(self, ident: int, price: int, lots: int, side: int, flags: int = 0) -> Event:
        row = np.array([(ident, price, lots, 10**15, 10**15, side, b"")], TRADE)
        return self.event(Kind.trade, row, flags, ident, ident)

    def depth(self, first: int, last: int, levels: list[tuple[int, int, int]], flags: int = 0) -> Event:
        return self.event(Kind.depth, np.array([(*level, b"") for level in levels], DEPTH), flags, first, last)


BOOK = [(10_000, 50, 1), (9_999, 70, 1), (10_002, 40, -1), (10_003, 90, -1)]


@pytest.fixture
def scene():
    """A market whose book is known up to id 10, what has been filled in it, and the log that goes on."""
    log, markets = Log(), LoggedMarkets([SPOT_BTC], risk_averse)
    events = (log.definition(), log.depth(10, 10, BOOK, Flag.SNAPSHOT), log.quote(10, 10_000, 10_002))
    for event in events:
        markets.take(event, 0)
    market = markets.known["BTCUSDT"]
    fills: list[tuple[int, int, int]] = []
    market.on_fill = lambda order, execution, now_ms: fills.append((order, execution.price // TICK, execution.quantity // LOT))
    return log, markets, market, fills


def submit(market: LoggedMarket, ident: int, side: int, price: int, lots: int, kind: str = "LIMIT") -> tuple[str, list]:
    order = ExchangeOrder(ident, 1, side, price * TICK, lots * LOT)
    status, executions = market.submit(order, kind, "GTC", 0)
    return status, [(one.price // TICK, one.quantity // LOT) for one in executions]


def test_a_definition_of_the_log_gives_tick_lot_and_least_of_the_market(scene):
    _, markets, market, _ = scene
    assert (market.spec.tick, market.spec.lot, market.spec.notional_min) == (TICK, LOT, 5 * UNIT)
    assert market.spec.start == 10_000 * TICK and markets.missing == []
    assert LoggedMarkets([InstrumentSettings("ETHUSDT")], risk_averse).missing == ["ETHUSDT"]


def test_a_taker_fills_from_the_levels_of_the_real_book_and_not_twice(scene):
    log, markets, market, _ = scene
    assert submit(market, 1, 1, 10_003, 60) == (FILLED, [(10_002, 40), (10_003, 20)])
    assert submit(market, 2, 1, 10_002, 10)[0] == NEW, "that level is taken"
    markets.take(log.depth(11, 11, [(10_002, 45, -1)]), 0)
    assert market.own_orders[2].remaining == 5 * LOT, "what came to stand there fills what rests"


def test_a_resting_order_waits_behind_the_real_queue(scene):
    log, markets, market, fills = scene
    submit(market, 1, 1, 10_000, 10)
    markets.take(log.trade(1, 10_000, 50, -1), 0)
    assert fills == [], "fifty stood before it"
    markets.take(log.trade(2, 10_000, 4, -1), 0)
    markets.take(log.trade(3, 10_000, 20, 1), 0)
    assert fills == [(1, 10_000, 4)], "only sellers reach it"
    markets.take(log.trade(4, 9_999, 1_000, -1), 0)
    assert fills[-1] == (1, 10_000, 6) and not market.own_orders


@pytest.mark.parametrize("flag", [Flag.REPAIRED, Flag.OFF_BOOK])
def test_what_is_of_the_past_or_was_never_in_the_book_fills_nothing(scene, flag):
    log, markets, market, fills = scene
    submit(market, 1, 1, 10_000, 10)
    markets.take(log.trade(9, 9_000, 10_000, -1, flag), 0)
    assert fills == []


def test_without_its_book_a_market_is_closed_until_the_next_snapshot_and_nothing_fills(scene):
    log, markets, market, fills = scene
    now = SECOND + 10**8
    submit(market, 1, 1, 9_000, 10)
    assert markets.closed(now, SECOND) == set()
    markets.take(log.depth(15, 15, [(8_000, 10, -1)]), 0)  # 11 to 14 are missing
    assert markets.closed(now, SECOND) == {"BTCUSDT"} and fills == []
    assert next(market.levels(-1), None) in (None, (10_002 * TICK, 100 * LOT)), "no level that the hole has made up"
    markets.take(log.depth(20, 20, BOOK, Flag.SNAPSHOT), 0)
    assert markets.closed(now, SECOND) == set() and fills == [] and 1 in market.own_orders


def test_changes_without_a_snapshot_close_it_too_and_ids_that_begin_anew_are_followed(scene):
    log, markets, market, fills = scene
    submit(market, 1, 1, 10_000, 10)
    markets.take(log.depth(11, 11, [(10_002, 1, -1)], Flag.UNSYNCED), 0)
    assert markets.closed(SECOND, SECOND) == {"BTCUSDT"}
    markets.take(log.depth(3, 3, BOOK, Flag.SNAPSHOT | Flag.RESET), 0)
    assert markets.closed(SECOND, SECOND) == set() and market.book_id == 3
    markets.take(log.depth(4, 4, [(10_000, 5, 1)]), 0)
    markets.take(log.trade(1, 10_000, 8, -1, Flag.RESET), 0)
    assert fills == [(1, 10_000, 3)], "five stood before it then"


def test_a_silent_venue_closes_its_markets(scene):
    log, markets, _, _ = scene
    newest = SECOND + log.seq * 10**6
    assert markets.closed(newest + SECOND, SECOND) == set()
    assert markets.closed(newest + SECOND + 1, SECOND) == {"BTCUSDT"}


def test_books_survive_a_restart_and_go_on_by_their_ids(scene):
    log, markets, market, _ = scene
    fresh = LoggedMarkets([SPOT_BTC], risk_averse)
    fresh.load(markets.pack())
    again = fresh.known["BTCUSDT"]
    assert again.spec == market.spec and again.image() == market.image() and again.book_id == 10
    change = log.depth(11, 12, [(10_001, 7, 1)])
    for one in (markets, fresh):
        one.take(change, 0)
    assert again.best(1) == (10_001 * TICK, 7 * LOT)


def test_a_definition_that_is_too_fine_to_be_held_is_a_sentence():
    with pytest.raises(ValueError, match="BTCUSDT has the exponents -9 and -5"):
        LoggedMarkets([SPOT_BTC], risk_averse).take(Log().definition((-9, -5)), 0)


FUTURES_BOOK = [(600_000, 2_000, 1), (600_001, 500, -1), (600_010, 2_000, -1)]  # ticks of 0.1, lots of 0.001


@pytest.fixture
def contract(tmp_path):
    """A contract on paper, the log that goes on, and the exchange around it; of spot nothing has come."""
    log, markets = Log(FUTURE_BTC.subject), LoggedMarkets([SPOT_BTC, FUTURE_BTC], risk_averse)
    for event in (log.definition((-1, -3)), log.depth(10, 10, FUTURES_BOOK, Flag.SNAPSHOT)):
        markets.take(event, 0)
    core = Core.logged(configure(tmp_path, 'mode = "paper"\n[exchange]\nusdm_wallet = "100000"\n'), markets.known, [])
    core.start(0)
    return log, markets, core


def test_a_contract_is_filled_on_its_own_book_with_margin_and_the_fees_of_futures(contract):
    log, markets, core = contract
    desk = core.margin
    done = place(desk, 1, side="BUY", type="MARKET", quantity="1.000").order
    paid = (600_001 + 600_010) * UNIT // 10 // 2
    assert done.status == FILLED and [one.price for one in desk.state.trades] == [600_001 * UNIT // 10, 600_010 * UNIT // 10]
    assert desk.accounts.position(OWNER, "BTCUSDT").amount == UNIT
    assert desk.accounts.wallet(OWNER, "USDT") == 100_000 * UNIT - paid * 500 // 10**6
    rests = place(desk, 2, side="SELL", type="LIMIT", timeInForce="GTX", quantity="0.100", price="60000.1").order
    markets.take(log.trade(1, 600_001, 250, 1), 3)
    assert rests.status == NEW, "it waits behind what stood there"
    markets.take(log.trade(2, 600_005, 250, 1), 4)
    assert rests.status == FILLED and rests.id not in desk.orders.open, "a trade beyond its price"
    assert desk.state.trades[-1].fee == 600_001 * UNIT // 10 // 10 * 200 // 10**6, "as a maker"
    with pytest.raises(VenueError, match="Margin is insufficient"):
        place(desk, 5, side="BUY", type="LIMIT", timeInForce="GTC", quantity="200.000", price="59000.0")


def test_a_contract_on_paper_has_a_mark_price_and_no_funding_that_is_made_up(contract):
    log, markets, core = contract
    place(core.margin, 1, side="BUY", type="MARKET", quantity="0.500")
    core.take_uncommitted()
    state = core.marks["BTCUSDT"].state
    assert state.mark == (600_000 + 600_001) * UNIT // 20 and state.next_ms == state.rate == 0
    markets.take(
        log.depth(11, 11, [(600_000, 0, 1), (590_000, 900, 1), (600_001, 0, -1), (600_010, 0, -1), (590_002, 9, -1)]), 0
    )
    core.follow_marks(9 * 3_600_000)
    assert state.mark < 595_000 * UNIT // 10 and core.margin.state.incomes[-1].kind != "FUNDING_FEE"
    done = core.take_uncommitted()
    assert ("mark", "binance_usdm.BTCUSDT") in [row[:2] for row in done.ledger_rows] and done.outgoing.frames == []


def test_markets_of_both_venues_close_each_for_itself(contract):
    log, markets, core = contract
    newest = SECOND + log.seq * 10**6
    assert markets.missing == ["BTCUSDT"] and markets.ready == ["binance_usdm.BTCUSDT"]
    spot = Log()
    for event in (spot.definition(), spot.depth(10, 10, BOOK, Flag.SNAPSHOT)):
        markets.take(event, 0)
    assert markets.closed(newest, SECOND) == set()
    spot.seq += 5_000
    markets.take(spot.trade(1, 10_000, 1, 1), 0)
    closed = markets.closed(newest + 2 * SECOND, SECOND)
    assert closed == {"binance_usdm.BTCUSDT"}, "spot goes on"
    stands = place(core.margin, 1, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.100", price="59000.0").order
    core.close(closed)
    with pytest.raises(VenueError, match="Symbol is closed") as refused:
        place(core.margin, 2, side="BUY", type="MARKET", quantity="0.100")
    assert refused.value.code == -4141 and core.desk.without_book == set()
    core.margin.cancel(Params({"symbol": "BTCUSDT", "orderId": stands.id}), 3)
    assert core.margin.orders.open == {}


def test_a_contracts_book_and_decimals_survive_a_restart(contract):
    _, markets, _ = contract
    fresh = LoggedMarkets([SPOT_BTC, FUTURE_BTC], risk_averse)
    fresh.load(markets.pack())
    known = fresh.known["binance_usdm.BTCUSDT"].spec
    assert known == markets.known["binance_usdm.BTCUSDT"].spec and (known.price_decimals, known.quantity_decimals) == (1, 3)
