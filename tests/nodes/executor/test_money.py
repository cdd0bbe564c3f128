"""Position, cost, profit, fees and fundings equal a naive computation in decimals, on many random histories."""

import random
from decimal import ROUND_FLOOR, Decimal, localcontext

from tests.support.naive_money import PLACES, ZERO, NaivePosition
from tickmesh.nodes.executor.exposure import Exposures
from tickmesh.nodes.executor.orders import Order
from tickmesh.nodes.executor.profit import MONEY_EXPONENT
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.nodes.executor.state import ExecutorState

HISTORIES = 10_000
TIMES = 9
SYMBOLS = ("BTCUSDT", "DOGEUSDT")
EXPONENTS = ((-8, -8), (-2, -5), (-1, 0), (-4, -12))
STRATEGIES = ("fast", "slow", "")
BNB = "binance.BNBUSDT"


def scaled(mantissa: int, exponent: int) -> Decimal:
    with localcontext() as exact:
        exact.prec = PLACES
        return Decimal(mantissa).scaleb(exponent)


class History:
    """One random history of fills, told to an executor's state and to the naive computation."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.state = ExecutorState()
        self.rules: dict[str, InstrumentRules] = {}
        self.naive: dict[tuple[str, str], NaivePosition] = {}
        self.bnb_price = Decimal("0")
        self.fills: list[tuple[int, str, str, Decimal]] = []  # (when, instrument, strategy, signed quantity)
        for symbol in SYMBOLS:
            self.define(f"binance.{symbol}", self.random.choice(EXPONENTS))
        if self.random.random() < 0.7:
            self.define(BNB, (-2, -3))
            self.bnb_price = scaled(self.quote(BNB, self.random.randrange(10_000, 90_000)), -2)

    def define(self, subject: str, exponents: tuple[int, int]) -> None:
        self.rules[subject] = self.state.instrument(subject).rules = InstrumentRules(*exponents, 1, 1, 0, 0)
        unit = scaled(1, sum(exponents))
        for name in ("all", *STRATEGIES):
            self.naive[subject, name] = NaivePosition(unit)

    def quote(self, subject: str, bid: int) -> int:
        """Sets a quote; gives the mid in ticks."""
        self.state.instruments[subject].quote = (bid, 1, bid + self.random.choice((2, 4)), 1)
        return self.state.instruments[subject].mark()

    def run(self) -> None:
        for order in range(self.random.randrange(1, 7)):
            subject = f"binance.{self.random.choice(SYMBOLS)}"
            side, strategy = self.random.choice((1, -1)), self.random.choice(STRATEGIES)
            name = f"t-{order}"
            if strategy:
                known = Order(name, side, 1, 1, 0, 1 << 50, 0, confirmed=True, strategy=strategy)
                self.state.add_order(subject, known)
            for trade in range(self.random.randrange(1, 5)):
                self.fill(subject, name, trade, side, strategy)
            if self.random.random() < 0.3:
                self.fund(subject)

    def fund(self, subject: str) -> None:
        """A funding of some time ago: each strategy has its part by what it held then, nobody has what is left."""
        amount, when = self.random.choice((1, -1)) * self.random.randrange(1, 10**12), self.random.randrange(1, TIMES + 1)
        self.state.apply_funding(subject, "USDT", amount, when)
        total = self.naive[subject, "all"]
        total.fund(scaled(amount, -8))
        rest = amount
        parts = dict.fromkeys(STRATEGIES, 0)
        with localcontext() as exact:
            exact.prec = PLACES
            held = dict.fromkeys(STRATEGIES, ZERO)
            for filled_at, instrument, name, quantity in self.fills:
                if instrument == subject and filled_at <= when:
                    held[name] += quantity
            whole = sum(held.values(), ZERO)
            for name in STRATEGIES if whole else ():
                parts[name] = int((amount * held[name] / whole).to_integral_value(ROUND_FLOOR))
                rest -= parts[name]
        parts[""] += rest
        for name, part in parts.items():
            self.naive[subject, name].fund(scaled(part, -8))

    def fill(self, subject: str, name: str, trade: int, side: int, strategy: str) -> None:
        pick, rules = self.random, self.rules[subject]
        lots = pick.choice((1, pick.randrange(1, 10), pick.randrange(1, 10**6), pick.randrange(1, 10**11)))
        ticks = pick.choice((1, pick.randrange(1, 100), pick.randrange(10**4, 10**13)))
        asset = pick.choice(("USDT", subject[8:-4], "BNB", "SHIB", ""))
        fee = pick.choice((0, 1, pick.randrange(1, 10**9), -pick.randrange(1, 1000))) if asset else 0  # makers may be paid
        when = pick.randrange(1, TIMES)  # in any order: reconciliation tells of older ones later
        for _ in range(pick.choice((1, 1, 2))):  # told twice, it counts once
            self.state.apply_fill(subject, name, trade, side, ticks, lots, fee, asset, when)
        price, quantity = scaled(ticks, rules.price_exponent), scaled(lots, rules.quantity_exponent)
        self.fills.append((when, subject, strategy, side * quantity))
        worth = {"USDT": Decimal(1), subject[8:-4]: price, "BNB": self.bnb_price or None}.get(asset)
        for one in ("all", strategy):
            position = self.naive[subject, one]
            position.fill(side, price, quantity)
            if fee:
                position.fee(asset, scaled(fee, -8), worth)

    def compare(self) -> None:
        exposures, total = Exposures(self.state, frozenset(STRATEGIES)), ZERO
        by_strategy = dict.fromkeys(STRATEGIES, ZERO)
        for symbol in SYMBOLS:
            subject = f"binance.{symbol}"
            rules, instrument = self.rules[subject], self.state.instruments[subject]
            mark_ticks = self.quote(subject, self.random.randrange(1, 10**13))
            mark = scaled(mark_ticks, rules.price_exponent)
            for name in ("all", *STRATEGIES):
                ours = instrument.position if name == "all" else instrument.book(name).position
                naive = self.naive[subject, name]
                money = rules.price_exponent + rules.quantity_exponent
                assert scaled(ours.lots, rules.quantity_exponent) == naive.quantity
                assert scaled(ours.cost, money) == naive.cost and scaled(ours.realised, money) == naive.realised
                assert scaled(ours.unrealised(mark_ticks), money) == naive.unrealised(mark)
                assert {asset: scaled(fee, -8) for asset, fee in ours.fees.items()} == naive.fees
                assert scaled(ours.fee_cost, money) == naive.fee_cost and scaled(ours.funding, money) == naive.funding
                with localcontext() as exact:
                    exact.prec = PLACES
                    if name == "all":
                        total += naive.profit(mark)
                    else:
                        by_strategy[name] += naive.profit(mark)
        assert scaled(exposures.profit(None), MONEY_EXPONENT) == total
        assert {name: scaled(exposures.profit(name), MONEY_EXPONENT) for name in STRATEGIES} == by_strategy


def test_money_equals_the_naive_computation_on_ten_thousand_histories():
    crossed = valued = unvalued = funded = 0
    for seed in range(HISTORIES):
        history = History(seed)
        history.run()
        history.compare()
        crossed += any(one.realised and one.quantity for one in history.naive.values())
        valued += any("BNB" in one.fees and history.bnb_price for one in history.naive.values())
        unvalued += any("SHIB" in one.fees for one in history.naive.values())
        funded += any(name in ("fast", "slow") and one.funding for (_, name), one in history.naive.items())
    assert min(crossed, valued, unvalued, funded) > HISTORIES / 20, "the histories have what is to be shown"


def test_the_naive_computation_is_that_of_a_textbook():
    """Bought 10 at 100 and 10 at 110; sold 5 at 120; sold 20 at 100: 75 gained, then 75 lost, and short 5 at 100."""
    one = NaivePosition(Decimal("0.01"))
    for side, price, quantity in ((1, 100, 10), (1, 110, 10), (-1, 120, 5)):
        one.fill(side, Decimal(price), Decimal(quantity))
    assert (one.quantity, one.cost / one.quantity, one.realised) == (15, 105, 75)
    one.fill(-1, Decimal(100), Decimal(20))
    assert (one.quantity, one.realised, one.cost) == (-5, 0, -500)
    one.fee("BNB", Decimal("0.001"), Decimal(600))
    assert one.profit(Decimal(90)) == Decimal("49.4")
