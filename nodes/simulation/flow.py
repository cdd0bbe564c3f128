"""A seeded synthetic population for one instrument. Pure: its only clock is the time of its own next action.

What is in it, and where it comes from:
- makers quote around a fair price that walks at random and requote one at a time, so the book is deep but bounded;
- takers arrive in clusters: a Hawkes process with exponential kernel (Hawkes 1971; order flow: Bacry et al. 2015), with
  persistent signs (Lillo & Farmer 2004) and log-normal sizes;
- a hidden pressure (Ornstein-Uhlenbeck, `PRESSURE_S`) tilts makers' sizes first and moves the fair price and the takers
  after: a model that reads the imbalance of the book finds short-lived predictability, as in real books
  (Cont, Kukanov & Stoikov 2014).
"""

import math
import random

from nodes.simulation.market import Market
from nodes.simulation.matching import Order
from nodes.simulation.protocol import UNIT

NEAR = 14  # makers per side at the touch and just behind it
FAR = 110  # makers per side further out
EXCITED = 0.55  # share of takers that another taker brought (branching ratio of the Hawkes process)
DECAY_PER_S = 4.0
PRESSURE_S = 1.5  # how long a pressure lasts
DRIFT = 1.2e-5  # relative move of the fair price per second at pressure 1
NOISE = 1.5e-5  # relative standard deviation of its random part per square root of a second
FILLS_PER_TAKER = 1.12  # measured: trades that one taker makes on average
NEAR_ACTIONS = 1.05  # maker actions at the touch per bookTicker change beyond those of the trades; measured
FAR_ACTIONS = 0.5  # further out, per action at the touch
PANIC = 2.5  # takers in an outage, compared with calm
TAKER_VALUE = 600.0  # median value of a taker in quote units


class Flow:
    """The population of one market. `run(until_ms)` does everything that is due."""

    def __init__(self, market: Market, trades_per_s: float, quotes_per_s: float, seed: int | str, now_ms: float):
        self.market = market
        self.random = random.Random(f"{seed} {market.spec.symbol}")
        self.takers_per_s = trades_per_s / FILLS_PER_TAKER
        self.makers_per_s = max(quotes_per_s - 0.9 * self.takers_per_s, 0.2 * quotes_per_s) * NEAR_ACTIONS
        self.fair = float(market.last_price or market.spec.start)
        self.pressure = 0.0
        self.sign = 1
        self.excitement = 0.0
        self.now_ms = now_ms
        self.next_id = -1  # the population's orders count down, ours count up
        self.slots: dict[tuple[int, int], int] = {}  # (side, place) → order id
        self.skew_ms = 0.0  # what the venue's clock is off by: its stamps, not the pace
        self.cut_off = False  # an outage: makers do not get through, takers only with market orders
        for place in range(NEAR + FAR):
            self._requote(1, place)
            self._requote(-1, place)
        self.due_ms = now_ms + self._wait()

    def run(self, until_ms: float) -> int:
        """Acts until the given time; the number of actions."""
        count = 0
        while self.due_ms <= until_ms:
            self._pass(self.due_ms)
            self._act()
            self.due_ms = self.now_ms + self._wait()
            count += 1
        return count

    def skip(self, to_ms: float) -> None:
        """The process was away: nothing happened meanwhile."""
        self.now_ms = to_ms
        self.due_ms = to_ms + self._wait()

    def _rates(self) -> tuple[float, float, float]:
        base = self.takers_per_s * (1 - EXCITED) * (PANIC if self.cut_off else 1)
        return base + self.excitement, self.makers_per_s, self.makers_per_s * FAR_ACTIONS

    def _wait(self) -> float:
        # the excitement only decays until the next arrival, so this is Ogata's thinning with the rate at its highest
        return self.random.expovariate(sum(self._rates())) * 1000

    def _pass(self, to_ms: float) -> None:
        """Moves pressure, fair price and excitement to `to_ms`."""
        dt = max(to_ms - self.now_ms, 0.0) / 1000
        self.now_ms = to_ms
        self._before = sum(self._rates())
        self.excitement *= math.exp(-DECAY_PER_S * dt)
        fade = math.exp(-dt / PRESSURE_S)
        self.pressure = self.pressure * fade + math.sqrt(1 - fade * fade) * self.random.gauss(0, 1)
        move = DRIFT * self.pressure * dt + NOISE * math.sqrt(dt) * self.random.gauss(0, 1)
        self.fair *= 1 + move

    def _act(self) -> None:
        takers, near, far = self._rates()
        draw = self.random.random() * self._before
        if draw < takers:
            self._take()
        elif self.cut_off:
            return
        elif draw < takers + near:
            side = self._weaker() if self.random.random() < 0.35 else self.random.choice((1, -1))
            self._requote(side, min(int(self.random.expovariate(0.45)), NEAR - 1))
        elif draw < takers + near + far:
            self._requote(self.random.choice((1, -1)), NEAR + self.random.randrange(FAR))

    def _weaker(self) -> int:
        """Whose best quote is furthest behind the fair price: the makers there move first."""
        bid, ask = self.market.best(1)[0], self.market.best(-1)[0]
        if not bid or not ask:
            return 1 if not bid else -1
        return 1 if self.fair - bid > ask - self.fair else -1

    def _requote(self, side: int, place: int) -> None:
        market, spec, rand = self.market, self.market.spec, self.random
        old = self.slots.pop((side, place), None)
        now = int(self.now_ms + self.skew_ms)
        if old is not None:
            market.cancel(old, now)
        if place < NEAR:
            behind = spec.tick * 0.5 + place * spec.tick * 0.7 + self.fair * 1e-6 * place * rand.random()
        else:
            behind = self.fair * (4e-6 * (place - NEAR + 2) ** 1.35) * (0.8 + 0.4 * rand.random())
        price = self.fair - side * behind
        ticks = math.floor(price / spec.tick) if side > 0 else math.ceil(price / spec.tick)
        price = ticks * spec.tick
        opposite = market.best(-side)[0]
        if opposite and (opposite - price) * side <= 0:
            price = opposite - side * spec.tick
        if price <= 0:
            return
        tilt = math.exp(0.9 * side * self.pressure) if place < NEAR else 1.0
        value = rand.lognormvariate(0, 0.9) * (4000.0 if place < NEAR else 12000.0) * tilt
        order = Order(self.next_id, 0, side, price, self._lots(value))
        self.next_id -= 1
        status, _ = market.submit(order, "LIMIT_MAKER", "GTC", now)
        if status == "NEW":
            self.slots[side, place] = order.id

    def _take(self) -> None:
        rand = self.random
        self.excitement += EXCITED * DECAY_PER_S
        lean = math.tanh(0.8 * self.pressure)
        if rand.random() < 0.45:
            self.sign = 1 if rand.random() < 0.5 + 0.5 * lean else -1
        quantity = self._lots(rand.lognormvariate(math.log(TAKER_VALUE), 1.5))
        best, there = self.market.best(-self.sign)
        if not best:
            return
        # most takers look at what is there and do not walk the book
        if quantity > there and rand.random() < 0.7:
            quantity = there
        limit = best + self.sign * 5 * self.market.spec.tick + self.sign * int(best * 2e-5)
        limit -= limit % self.market.spec.tick
        order = Order(self.next_id, 0, self.sign, limit, quantity)
        self.next_id -= 1
        self.market.submit(order, "MARKET" if self.cut_off else "LIMIT", "IOC", int(self.now_ms + self.skew_ms))
        # impact: what was taken is partly information
        self.fair += self.sign * min(quantity / max(there, 1), 3.0) * 0.15 * self.market.spec.tick

    def _lots(self, value: float) -> int:
        """A quantity in whole lots worth about `value` quote units."""
        lot = self.market.spec.lot
        quantity = int(min(value, 2e6) * UNIT * UNIT / self.fair)
        return max(quantity - quantity % lot, lot)
