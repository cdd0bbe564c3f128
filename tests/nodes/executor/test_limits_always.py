"""No limit is exceeded at any instant of the venue's ledger: random signals, prices, fills, late reports, commands, and cancels
that come late, are refused, or find the order filled."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.executor_tape import MS, Tape, make
from tests.support.limits_venue import LOT, LimitsVenue, Working, moved
from tickmesh.bus.schema import Status
from tickmesh.bus.settings_trading import StrategySettings
from tickmesh.nodes.orders.commands import KillSwitch, SetLimit

SYMBOLS = ("BTCUSDT", "ETHUSDT")
SUBJECTS = tuple(f"binance.{symbol}" for symbol in SYMBOLS)
STRATEGY_MAX, ACCOUNT_MAX, ORDER_MAX = 3 * LOT, 4 * LOT, 2 * LOT
OPEN_MAX, ACCOUNT_OPEN_MAX = 3, 5
PER_S, MESSAGES_PER_S = 4.0, 6.0
COLLAR = 0.0004
STRATEGIES = tuple(
    StrategySettings(
        name=name,
        models=(model,),
        styles=styles,
        position_max="0.003",
        open_orders_max=OPEN_MAX,
        order_ttl_ms=900,
        **{size: amount},
    )  # fmt: skip
    for name, model, styles, size, amount in (
        ("one", "a", ("limit", "limit_ioc", "market"), "order_quantity", "0.001"),
        ("two", "b", ("limit_maker", "limit"), "target_quantity", "0.003"),
    )
)
LIMITS = {
    "position_max": "0.004", "order_quantity_max": "0.002", "open_orders_max": ACCOUNT_OPEN_MAX,
    "messages_per_s": MESSAGES_PER_S, "price_collar": COLLAR, "notional_max": "400",
}  # fmt: skip

CANCELS = ("done", "late", "refused", "filled")  # what becomes of one at the venue

DEEDS = st.one_of(
    st.tuples(st.just("signal"), st.sampled_from("ab"), st.sampled_from(SUBJECTS), st.sampled_from([-1.0, -0.7, 0.7, 1.0])),
    st.tuples(st.just("signal"), st.sampled_from("ab"), st.sampled_from(SUBJECTS), st.sampled_from([-1.0, 1.0])),
    st.tuples(st.just("quote"), st.sampled_from(SUBJECTS), st.integers(-40, 40), st.just(0)),
    st.tuples(
        st.sampled_from(["fill", "cancel", "refuse", "accept"]), st.integers(0, 9), st.sampled_from([0.3, 1.0]), st.just(0)
    ),
    st.tuples(st.just("log"), st.integers(1, 4), st.just(0), st.just(0)),
    st.tuples(st.just("pass"), st.sampled_from([1, 40, 300, 1000]), st.just(0), st.just(0)),
    st.tuples(
        st.just("tighten"), st.sampled_from(["one", "two", "account"]), st.sampled_from(["", "0.001", "0.002"]), st.just(0)
    ),
    st.tuples(st.just("kill"), st.booleans(), st.just(0), st.just(0)),
    st.tuples(st.just("cancels"), st.sampled_from(CANCELS), st.just(0), st.just(0)),
)


class World:
    """A step, its log and a venue; every deed is followed by a look at what the venue has."""

    def __init__(self):
        self.step = make(
            SYMBOLS, STRATEGIES, LIMITS, instruments=("binance.*",), orders_per_s=PER_S, signal_threshold=0.6, stale_ms=60_000
        )
        self.tape = Tape().opened(self.step, SUBJECTS)
        self.venue = LimitsVenue(self.tape)
        self.bounds = {name: STRATEGY_MAX for name in ("one", "two")} | {None: ACCOUNT_MAX}
        self.killed = False
        for subject in SUBJECTS:
            self.quote(subject, 0)

    def quote(self, subject: str, steps: int) -> None:
        bid, ask = self.venue.quotes[subject] = moved(steps)
        self.give(self.tape.quote(bid, ask=ask, subject=subject))

    def give(self, event) -> None:
        """Gives the step an event, logs its answers, and has the venue take them."""
        for raw in self.step.step([event]):
            own = self.tape.log(raw, "executor")
            assert self.step.step([own]) == []
            if "action" in (own.records.dtype.names or ()):
                order = self.venue.take(own.subject, own.records[0])
                if order is not None:
                    self.judge_order(order)
        self.judge()

    def do(self, deed) -> None:
        what, a, b, c = deed
        working = list(self.venue.working)
        if what == "signal":
            self.give(self.tape.signal(c, subject=b, model=a))
        elif what == "quote":
            self.quote(a, b)
        elif what == "pass":
            self.give(self.tape.clock(a))
        elif what == "tighten":
            self.give(self.tape.command(SetLimit(a, "position_max", b, "operator")))
            limit = {"": 99 * LOT, "0.001": LOT, "0.002": 2 * LOT}[b]
            self.bounds[None if a == "account" else a] = min(limit, ACCOUNT_MAX if a == "account" else STRATEGY_MAX)
        elif what == "cancels":
            self.venue.answer_cancels(a)
            self.judge()
        elif what == "kill":
            self.killed = a
            self.give(self.tape.command(KillSwitch(a, "operator")))
        elif what == "log":
            for _ in range(min(a, len(self.venue.unlogged))):
                self.give(self.venue.log())
        elif working:
            self.at_venue(what, working[a % len(working)], b)
            self.judge()

    def at_venue(self, what: str, name: bytes, share: float) -> None:
        if what == "fill":
            self.venue.fill(name, share)
        elif what == "accept":
            self.venue.accept(self.venue.working[name])
        else:
            self.venue.end(name, Status.Canceled if what == "cancel" else Status.Rejected)

    def judge_order(self, order: Working) -> None:
        """What holds when an order is sent: its size and price, the limits of now, and no order while the switch is on."""
        assert not self.killed and 0 < order.lots <= ORDER_MAX
        bid, ask = self.venue.quotes[order.subject]
        worst = order.price or (ask if order.side > 0 else bid)
        assert abs(worst - (bid + ask) / 2) <= COLLAR * (bid + ask) / 2
        for other in self.venue.working.values():
            if other.subject == order.subject and other.rests and other.side == -order.side:
                assert order.price and (order.price - other.price) * order.side < 0, "it meets one of ours"
        for strategy in (order.strategy, None):
            longest, shortest = self.venue.exposure(order.subject, strategy)
            reached = longest if order.side > 0 else -shortest
            assert reached <= self.bounds[strategy], f"{strategy}: {reached} lots on {order.subject}"
        worth = 0.0
        for subject in SUBJECTS:
            longest, shortest = self.venue.exposure(subject)
            worth += max(longest, -shortest) * self.venue.quotes[subject][1] * 1e-16
        longest, shortest = self.venue.exposure(order.subject)
        assert worth <= 400 * 1.01 or (longest if order.side > 0 else -shortest) <= 0

    def judge(self) -> None:
        """What holds at every instant: positions whatever is filled, open orders, and no two orders of ours that can meet."""
        working = list(self.venue.working.values())
        for subject in SUBJECTS:
            for strategy, most in (("one", STRATEGY_MAX), ("two", STRATEGY_MAX), (None, ACCOUNT_MAX)):
                longest, shortest = self.venue.exposure(subject, strategy)
                assert -most <= shortest and longest <= most
            bought = [o.price for o in working if o.subject == subject and o.side > 0 and o.rests]
            sold = [o.price for o in working if o.subject == subject and o.side < 0 and o.rests]
            assert not bought or not sold or max(bought) < min(sold), "two of ours could meet"
        assert len(working) <= ACCOUNT_OPEN_MAX
        for name in ("one", "two"):
            assert sum(o.strategy == name for o in working) <= OPEN_MAX

    def judge_rates(self) -> None:
        """No window of time has more than its rate and one burst; of all messages those windows that end with an order."""
        orders = [at for at, _ in self.venue.sent]
        for i, begin in enumerate(orders):
            for j, end in enumerate(orders[i:], 1):
                assert j <= int(PER_S) + (end - begin) * PER_S / 1e9 + 1e-6
        for end in orders:
            before = [at for at in self.venue.messages if at <= end]
            for i, begin in enumerate(before):
                late = [at for at in before[i:] if at < end]
                assert len(late) + 1 <= int(MESSAGES_PER_S) + (end - begin) * MESSAGES_PER_S / 1e9 + 1e-6


@settings(max_examples=150, deadline=None)
@given(st.lists(DEEDS, min_size=20, max_size=150))
def test_no_limit_is_exceeded_at_any_instant(deeds):
    world = World()
    for deed in deeds:
        world.do(deed)
        world.tape.now_ns += MS
    world.judge_rates()


def test_the_world_of_the_test_above_trades_and_meets_its_limits():
    """A seeded run of it: without orders, fills and refusals it would show nothing."""
    import random

    chance, world = random.Random(5), World()
    for _ in range(3000):
        what = chance.choice(
            ["signal", "signal", "signal", "quote", "fill", "cancel", "accept", "log", "log", "pass", "cancels"]
        )
        world.do({
            "signal": ("signal", chance.choice("ab"), chance.choice(SUBJECTS), chance.choice([-1.0, 1.0])),
            "quote": ("quote", chance.choice(SUBJECTS), chance.randrange(-40, 40), 0),
            "log": ("log", chance.randrange(1, 5), 0, 0),
            "pass": ("pass", chance.choice([1, 40, 300]), 0, 0),
            "cancels": ("cancels", chance.choice(CANCELS), 0, 0),
        }.get(what, (what, chance.randrange(9), 1.0, 0)))  # fmt: skip
        world.tape.now_ns += MS
    world.judge_rates()
    refused = {reason for one in world.step.counters()["strategies"].values() for reason in one["refused"]}
    assert len(world.venue.sent) > 100 and world.venue.trade_id > 50
    assert {"position", "account_position", "rate", "own_order"} <= refused, refused
