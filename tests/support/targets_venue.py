"""Target strategies on one instrument whose signals come together, at a venue whose reports come rounds later."""

from functools import partial

from tests.support.executor_tape import ASK, BID, LOT, SUBJECT, Tape, make
from tests.support.limits_venue import LimitsVenue
from tickmesh.bus.schema import Action
from tickmesh.bus.settings_trading import ExecutionSettings, StrategySettings

ROUND_MS = 100
EXECUTION = {
    "lifetime_ms": 600_000, "horizon_ms": 3_000, "slices": 3, "slice_style": "post_only", "patience_ms": 500,
    "participation": 0.5, "slippage_max_bp": 50.0,
}  # fmt: skip


def strategies(styles: dict[str, str], spreads: dict[str, float]) -> tuple[StrategySettings, ...]:
    """One for each style named: a signal of 1.0 asks for 0.016, sixteen lots; no position of one may go beyond that.

    `spreads`: `spread_max_bp` by strategy.
    """
    return tuple(
        StrategySettings(
            name=name, models=(name,), target_quantity="0.016", styles=(style,), position_max="0.016",
            order_ttl_ms=600_000, execution=ExecutionSettings(**EXECUTION, spread_max_bp=spreads.get(name, 0.0)),
        )
        for name, style in styles.items()
    )  # fmt: skip


class TargetsVenue:
    """A step and its venue, by rounds of 100 ms: signals of all strategies in one list, what it answers, what the venue does.

    `late`: after how many rounds a report is in the log. `fills`: what rests is filled once it is accepted; what takes always
    is. `lost`: orders are not accepted, nor filled, as long as it is set.
    """

    def __init__(
        self, late: int = 0, fills: bool = True, limits: dict | None = None, spreads: dict | None = None, **styles: str
    ):  # fmt: skip
        self.names, self.late, self.fills, self.lost = tuple(styles), late, fills, False
        self.fresh = partial(
            make, strategies=strategies(styles, spreads or {}), limits=limits, orders_per_s=1000.0, stale_ms=60_000
        )
        self.step = self.fresh()
        self.tape = Tape().opened(self.step)
        self.venue = LimitsVenue(self.tape)
        self.venue.quotes[SUBJECT] = BID, ASK
        self.accepted: set[bytes] = set()
        self.reported: list[int] = []  # by round: how many reports there were by its end
        self.logged = 0
        self.reductions = 0  # cancels and amendments
        self.longest = self.shortest = 0  # of the account, at any instant

    def give(self, *events) -> None:
        """One list of events; what it answers is in the log behind it, and with the venue."""
        own = [self.tape.log(raw, "executor") for raw in self.step.step(list(events))]
        for event in own:
            if "action" in event.records.dtype.names:
                self.reductions += event.records[0]["action"] != Action.NEW
                self.venue.take(SUBJECT, event.records[0])
                self.judge()
        if own:
            self.give(*own)

    def judge(self) -> None:
        """No strategy may come beyond its limit, whatever is filled."""
        for name in (*self.names, None):
            longest, shortest = self.venue.exposure(SUBJECT, name)
            if name is None:
                self.longest, self.shortest = max(self.longest, longest), min(self.shortest, shortest)
            else:
                assert max(longest, -shortest) <= 16 * LOT, name
        bought = [one.price for one in self.venue.working.values() if one.side > 0 and one.rests]
        sold = [one.price for one in self.venue.working.values() if one.side < 0 and one.rests]
        assert not bought or not sold or max(bought) < min(sold), "two of ours could meet"

    def round(self, targets: dict[str, int] | None = None, together: bool = True) -> None:
        """A round; `targets`: in lots, the signals' order; None: no signals."""
        self.tape.now_ns += ROUND_MS * 1_000_000
        self.give(self.tape.clock(0))
        self.give(self.tape.quote(BID, ask=ASK), self.tape.trade(4 * LOT))
        signals = [self.tape.signal(lots / 16, model=name) for name, lots in (targets or {}).items()]
        for some in [signals] if together else [[one] for one in signals]:
            self.give(*some)
        if not self.lost:
            for name, order in tuple(self.venue.working.items()):
                if name not in self.accepted:
                    self.accepted.add(name)
                    self.venue.accept(order)
                    if not order.rests:
                        self.venue.fill(name, 1.0)
                elif self.fills:
                    self.venue.fill(name, 1.0)
        self.judge()
        self.reported.append(self.logged + len(self.venue.unlogged))
        while len(self.reported) > self.late and self.logged < self.reported[-1 - self.late]:
            self.logged += 1
            self.give(self.venue.log())

    def net(self) -> float:
        """Lots that the account has, and would have when all that stands is filled."""
        stands = sum(one.side * one.left for one in self.venue.working.values())
        return (sum(self.venue.positions.values()) + stands) / LOT
