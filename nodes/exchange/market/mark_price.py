"""The mark price of a perpetual contract, its funding rate and the times of funding: whole numbers, of books and tape alone.

Source: the venue's support pages on mark price and price index, and on funding rates. As there, the mark price is the median of
the index carried to the next funding, the index with the contract's average basis, and the last price; the funding rate is
the average premium, drawn towards the interest. Simpler than there: the index is the local spot market's middle, the impact
prices are the best ones, the averages are plain (docs/exchange.md). Pure.
"""

import msgspec

from tickmesh.nodes.exchange.market.captures import RecordedMark
from tickmesh.nodes.exchange.market.market import VenueMarket
from tickmesh.nodes.exchange.protocol import UNIT, decimal_text, towards_zero

TICK_MS = 1000
SLOW_EVERY = 3  # of the ticks: the stream `markPrice`
BASIS_SAMPLES = 150  # that the average basis goes back
INTEREST = 10_000  # 0.01 % a funding, at 10^−8
DAMPER = 50_000  # 0.05 %: so far the rate is drawn from the premium towards the interest
RATE_MAX = 2_000_000  # 2 %
RESTART_MS = 86_400_000  # a recorded funding time that goes back by more is another capture's; by less, lines that come again


class MarkState(msgspec.Struct):
    """Where the mark price of a contract stands. `premiums` is the sum of `samples` premiums of this funding interval."""

    index: int = 0
    mark: int = 0
    rate: int = INTEREST  # what the next funding would be, at 10^−8
    next_ms: int = 0  # when that is
    basis: int = 0  # moving average of the book's middle less the index
    premiums: int = 0
    samples: int = 0


class MarkPrice:
    """Follows one contract, once a second. `spot`: the market that its index is taken from; its own book without one.

    `interval_s` between two fundings; 0: there are none by the clock, and the rate is 0. Where a capture has the venue's own
    mark prices (`take`), they count, with the fundings that they show.
    """

    def __init__(self, market: VenueMarket, spot: VenueMarket | None, interval_s: float, state: MarkState | None = None):
        self.market, self.spot = market, spot
        self.interval_ms = int(interval_s * 1000)
        self.state = state or MarkState()
        self.is_recorded = False  # the venue's own were taken
        self._due_ms = 0
        self._ticks = 0

    def tick(self, now_ms: int) -> bool:
        """Takes the next sample if one is due; whether it was."""
        if self.is_recorded or 0 < self._due_ms - now_ms <= TICK_MS:
            return False
        self._due_ms = now_ms + TICK_MS
        self._ticks += 1
        state = self.state
        if self.interval_ms and not 0 < state.next_ms <= now_ms + self.interval_ms:
            state.next_ms = self._boundary(now_ms)
        self._sample(now_ms)
        return True

    def take(self, row: RecordedMark) -> tuple[int, int]:
        """Takes a recorded mark price; gives mark price and rate of the funding that has taken place before it, else zeros."""
        state, before = self.state, (self.state.mark, self.state.rate)
        paid = row.next_ms > state.next_ms > 0 and self.is_recorded
        self.is_recorded = True
        if row.next_ms > state.next_ms or state.next_ms - row.next_ms > RESTART_MS:
            state.next_ms = row.next_ms
        state.mark, state.index, state.rate = row.mark, row.index_price, row.rate
        return before if paid else (0, 0)

    def is_due(self, now_ms: int) -> bool:
        """Whether it is time for a funding by the clock."""
        return bool(self.interval_ms and self.state.mark) and now_ms >= self.state.next_ms > 0

    def begin_interval(self, now_ms: int) -> None:
        """Goes on to the next funding; ones that were missed are left out."""
        self.state.next_ms = self._boundary(now_ms)
        self.state.premiums = self.state.samples = 0

    def frames(self, now_ms: int) -> list[tuple[str, str]]:
        """The streams' frames of this tick: (what follows `symbol@`, JSON)."""
        state = self.state
        data = (
            f'{{"e":"markPriceUpdate","E":{now_ms},"s":"{self.market.spec.symbol}","p":"{decimal_text(state.mark)}",'
            f'"i":"{decimal_text(state.index)}","P":"{decimal_text(state.index)}","r":"{decimal_text(state.rate)}",'
            f'"T":{state.next_ms}}}'
        )
        slow = [("markPrice", data)] if self._ticks % SLOW_EVERY == 1 else []
        return [("markPrice@1s", data), *slow]

    def _boundary(self, now_ms: int) -> int:
        return (now_ms // self.interval_ms + 1) * self.interval_ms

    def _sample(self, now_ms: int) -> None:
        state = self.state
        bid, ask = self.market.best(1)[0], self.market.best(-1)[0]
        middle = (bid + ask) // 2 if bid and ask else self.market.last_price or self.market.spec.start
        index = _middle(self.spot) or middle
        if not state.mark:
            state.basis = middle - index
        state.basis += towards_zero(middle - index - state.basis, BASIS_SAMPLES)
        state.index = index
        if self.interval_ms:
            self._sample_rate(bid, ask, index)
            left = max(min(state.next_ms - now_ms, self.interval_ms), 0)
            carried = index + towards_zero(index * state.rate * left, UNIT * self.interval_ms)
        else:
            state.rate, carried = 0, index
        state.mark = sorted((carried, index + state.basis, self.market.last_price or middle))[1]

    def _sample_rate(self, bid: int, ask: int, index: int) -> None:
        state = self.state
        state.premiums += (max(bid - index, 0) - (max(index - ask, 0) if ask else 0)) * UNIT // index
        state.samples += 1
        premium = towards_zero(state.premiums, state.samples)
        rate = premium + max(min(INTEREST - premium, DAMPER), -DAMPER)
        state.rate = max(min(rate, RATE_MAX), -RATE_MAX)


def _middle(market: VenueMarket | None) -> int:
    """The middle of a market's best prices; 0 when one of them is missing."""
    if market is None:
        return 0
    bid, ask = market.best(1)[0], market.best(-1)[0]
    return (bid + ask) // 2 if bid and ask else 0
