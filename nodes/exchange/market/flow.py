"""A seeded synthetic population for one instrument. Pure: its only clock is the time of its own next action.

What is in it, and where it comes from:
- makers quote around a fair price that walks at random and requote one at a time, so the book is deep but bounded;
- takers arrive in clusters: a Hawkes process with exponential kernel (Hawkes 1971; order flow: Bacry et al. 2015), with
  persistent signs (Lillo & Farmer 2004) and log-normal sizes;
- activity wanders slowly: a log-normal factor (Ornstein-Uhlenbeck, `ACTIVITY_S`) on the volatility of the fair price, as in
  stochastic volatility models (Taylor 1986), so that large moves come together;
- a venue of futures now and then closes somebody's position itself: a fill off the book, far from the market;
- an instrument may follow another: the leader's moves of the fair price, times the correlation, are part of its own;
- a hidden pressure (Ornstein-Uhlenbeck, `PRESSURE_S`) tilts makers' sizes first and moves the fair price and the takers
  after: a model that reads the imbalance of the book finds short-lived predictability, as in real books
  (Cont, Kukanov & Stoikov 2014).
"""

import math
import random
from bisect import bisect_right
from collections import deque

from tickmesh.nodes.exchange.market.market import Market
from tickmesh.nodes.exchange.market.matching import ExchangeOrder
from tickmesh.nodes.exchange.market.population import MarketShape
from tickmesh.nodes.exchange.protocol import UNIT

NEAR = 14  # makers per side at the touch and just behind it
FAR = 110  # makers per side further out
EXCITED = 0.7  # share of takers that another taker brought (branching ratio of the Hawkes process)
DECAY_PER_S = 5.0
SIGN_REDRAWN = 0.6  # share of takers that decide for themselves; the others do what the last one did
TAKER_SPREAD = 2.0  # standard deviation of the log of a taker's value: a few are very large
SNIPED = 1.0  # how much takers lean towards a fair price that is its volatility over a second away from the mid
ALERT = 0.6  # share of makers who look first whether their quote is on the wrong side of the fair price
STALE = 0.6  # so far beyond the fair price, in units of its volatility over a second, a quote is on the wrong side
PRESSURE_S = 1.5  # how long a pressure lasts
DRIFT = 0.6  # move of the fair price per second at pressure 1, in units of its volatility over a second
ACTIVITY_S, ACTIVITY = 20.0, 0.5  # how long a calm or a busy time lasts, and the standard deviation of the log of its factor
PATH_KEPT = 4096  # moves of a leader's fair price that a follower may still ask for
FILLS_PER_TAKER = 1.06  # measured: trades that one taker makes on average
NEAR_ACTIONS = 0.9  # maker actions at the touch per bookTicker change beyond those of the trades; measured
FAR_ACTIONS = 0.5  # further out, per action at the touch
PANIC = 2.5  # takers in an outage, compared with calm
OFF_BOOK_KINDS = ("INSURANCE_FUND", "ADL")
OFF_BOOK_AWAY = (0.02, 0.12)  # of the fair price, on the side of the position that is closed
OFF_BOOK_VALUE = 30.0  # of such a fill, compared with a taker's median
FAR_VALUE = 3.0  # a maker further out, compared with one at the touch


class Flow:
    """The synthetic traders of one market, makers and takers. `run(until_ms)` does everything that is due."""

    def __init__(self, market: Market, shape: MarketShape, seed: int | str, now_ms: float, leader: "Flow | None" = None):
        self.market = market
        self.shape = shape
        trades_per_s, quotes_per_s = shape.trades_per_s, shape.quotes_per_s
        self.random = random.Random(f"{seed} {market.name}")
        self.closing = random.Random(f"{seed} {market.name} off the book")  # the market is the same with it and without
        self.takers_per_s = trades_per_s / FILLS_PER_TAKER
        self.makers_per_s = max(quotes_per_s - 0.9 * self.takers_per_s, 0.2 * quotes_per_s) * NEAR_ACTIONS
        self.fair = float(market.last_price or market.spec.start)
        self.sigma = shape.volatility * 1e-6
        self.half_spread = self.fair * shape.spread_ppm * 0.5e-6
        self.pressure = 0.0  # hidden; above 0 it drives the price up
        self.activity = 0.0  # log of the factor on the volatility
        self.leader = leader
        self.path: deque[tuple[float, float]] = deque([(now_ms, math.log(self.fair))], maxlen=PATH_KEPT)
        self._led = leader.log_fair(now_ms) if leader else 0.0
        self.sign = 1  # side of the last taker
        self.excitement = 0.0  # takers per second that earlier takers bring
        self.now_ms = now_ms
        self.next_id = -1  # the population's orders count down, ours count up
        self.slots: dict[tuple[int, int], int] = {}  # (side, place) → order id
        self.places: dict[int, tuple[int, int]] = {}  # the inverse
        self.skew_ms = 0.0  # what the venue's clock is off by: its stamps, not the pace
        self.halted = False  # nothing is traded
        self.cut_off = False  # an outage: makers do not get through, takers only with market orders
        for place in range(NEAR + FAR):
            self._requote(1, place)
            self._requote(-1, place)
        self.due_ms = now_ms + self._wait()

    def run(self, until_ms: float) -> int:
        """Lets traders act until the given time, and gives the number of their actions."""
        if self.halted and self.due_ms <= until_ms:
            self.skip(until_ms)
        count = 0
        while self.due_ms <= until_ms:
            self._pass(self.due_ms)
            self._act()
            self.due_ms = self.now_ms + self._wait()
            count += 1
        return count

    def skip(self, to_ms: float) -> None:
        """Moves the clock to `to_ms` without any action in between, as after a pause of the process."""
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
        fade = math.exp(-dt / ACTIVITY_S)
        self.activity = self.activity * fade + ACTIVITY * math.sqrt(1 - fade * fade) * self.random.gauss(0, 1)
        sigma = self.sigma * math.exp(self.activity - 0.5 * ACTIVITY * ACTIVITY)
        move = sigma * (DRIFT * self.pressure * dt + math.sqrt(dt) * self.random.gauss(0, 1))
        if self.leader:
            move = self._follow(self.leader, to_ms, move)
        self.fair *= 1 + move
        self.path.append((to_ms, math.log(self.fair)))

    def log_fair(self, at_ms: float) -> float:
        """The logarithm of the fair price at a time within the last few thousand moves."""
        times = [at for at, _ in self.path] if at_ms < self.path[-1][0] else ()
        return self.path[max(bisect_right(times, at_ms) - 1, 0)][1] if times else self.path[-1][1]

    def _follow(self, leader: "Flow", to_ms: float, own: float) -> float:
        now = leader.log_fair(to_ms)
        led, self._led = now - self._led, now
        rho = self.shape.correlation
        return rho * led * self.sigma / leader.sigma + math.sqrt(1 - rho * rho) * own

    def _act(self) -> None:
        takers, near, far = self._rates()
        draw = self.random.random() * self._before
        if draw < takers:
            self._take()
        elif self.cut_off:
            return
        elif draw < takers + near:
            stale = self._stale() if self.random.random() < ALERT else None
            side = self.random.choice((1, -1))
            self._requote(*(stale or (side, min(int(self.random.expovariate(0.45)), NEAR - 1))))
        elif draw < takers + near + far:
            self._requote(self.random.choice((1, -1)), NEAR + self.random.randrange(FAR))

    def _stale(self) -> tuple[int, int] | None:
        """The slot of a quote on the wrong side of the fair price; else one whose new quote narrows a spread that is wide."""
        book = self.market.book
        room = 2 * max(self.market.spec.tick, self.half_spread)
        wide = None
        for side in (1, -1) if self.random.random() < 0.5 else (-1, 1):
            if not book.sides[side]:
                return side, 0
            level = book.sides[side].peekitem(0)[1]
            ahead = (level.price - self.fair) * side
            if ahead > STALE * self.fair * self.sigma:
                return self.places.get(next(iter(level.orders)))
            if -ahead > room and not wide:
                wide = side, self.random.randrange(3)
        return wide

    def _requote(self, side: int, place: int) -> None:
        market, spec, rand = self.market, self.market.spec, self.random
        old = self.slots.pop((side, place), None)
        now = int(self.now_ms + self.skew_ms)
        if old is not None:
            self.places.pop(old, None)
            market.cancel(old, now)
        if place < NEAR:
            step = max(spec.tick, self.half_spread)
            behind = max(spec.tick * 0.5, self.half_spread) + place * step * 0.7 + self.fair * 1e-6 * place * rand.random()
        else:
            behind = self.fair * (4e-6 * (place - NEAR + 2) ** 1.35) * (0.8 + 0.4 * rand.random()) + NEAR * self.half_spread
        price = self.fair - side * behind
        ticks = math.floor(price / spec.tick) if side > 0 else math.ceil(price / spec.tick)
        price = ticks * spec.tick
        opposite = market.best(-side)[0]
        if opposite and (opposite - price) * side <= 0:
            price = opposite - side * spec.tick
        if price <= 0:
            return
        tilt = math.exp(0.9 * side * self.pressure) if place < NEAR else 1.0
        value = rand.lognormvariate(0, 0.9) * self.shape.depth * (1.0 if place < NEAR else FAR_VALUE) * tilt
        order = ExchangeOrder(self.next_id, 0, side, price, self._lots(value))
        self.next_id -= 1
        status, _ = market.submit(order, "LIMIT_MAKER", "GTC", now)
        if status == "NEW":
            self.slots[side, place] = order.id
            self.places[order.id] = (side, place)

    def _take(self) -> None:
        rand = self.random
        self.excitement += EXCITED * DECAY_PER_S
        bid, ask = self.market.best(1)[0], self.market.best(-1)[0]
        wrong = (self.fair - (bid + ask) / 2) / (self.fair * self.sigma) if bid and ask else 0.0
        lean = math.tanh(0.8 * self.pressure + SNIPED * wrong)
        if rand.random() < SIGN_REDRAWN:
            self.sign = 1 if rand.random() < 0.5 + 0.5 * lean else -1
        quantity = self._lots(rand.lognormvariate(math.log(self.shape.taker), TAKER_SPREAD))
        best, there = self.market.best(-self.sign)
        if not best:
            return
        # most takers look at what is there and do not walk the book
        if quantity > there and rand.random() < 0.7:
            quantity = there
        limit = best + self.sign * 5 * self.market.spec.tick + self.sign * int(best * 2e-5 + self.half_spread)
        limit -= limit % self.market.spec.tick
        order = ExchangeOrder(self.next_id, 0, self.sign, limit, quantity)
        self.next_id -= 1
        self.market.submit(order, "MARKET" if self.cut_off else "LIMIT", "IOC", int(self.now_ms + self.skew_ms))
        if self.shape.off_book and self.closing.random() < self.shape.off_book:
            self._close_off_book()
        # impact: what was taken is partly information
        self.fair += self.sign * min(quantity / max(there, 1), 3.0) * 0.15 * self.market.spec.tick

    def _close_off_book(self) -> None:
        """The venue closes a position: who was long sells far below the market, who was short buys far above it."""
        tick, side = self.market.spec.tick, self.closing.choice((1, -1))
        price = int(self.fair * (1 + side * self.closing.uniform(*OFF_BOOK_AWAY)))
        quantity = self._lots(self.shape.taker * OFF_BOOK_VALUE * self.closing.lognormvariate(0, 1))
        kind = self.closing.choice(OFF_BOOK_KINDS)
        self.market.print_off_book(max(price - price % tick, tick), quantity, side, kind, int(self.now_ms + self.skew_ms))

    def _lots(self, value: float) -> int:
        """A quantity in whole lots worth about `value` quote units."""
        lot = self.market.spec.lot
        quantity = int(min(value, 2e6) * UNIT * UNIT / self.fair)
        return max(quantity - quantity % lot, lot)
