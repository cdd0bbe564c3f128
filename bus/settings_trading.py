"""The sections of `mesh.toml` about trading: `[executor]`, `[[strategies]]`, and `[risk]`.

An amount is a decimal as text, '' for none. `[executor]` says what a strategy does that does not say otherwise; without any
[[strategies]] it is the one strategy, "default".
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tickmesh.bus.setting_types import (
    Amount,
    AmountOrNone,
    Count,
    FeePpm,
    OrderMs,
    Section,
    Share,
    StrategyName,
    ZeroOrMore,
)

Style = Literal[
    "market", "limit", "limit_ioc", "limit_maker", "post_only", "patient", "sweep", "twap", "pov"
]  # nodes/executor/styles/table.py says what each does
SliceStyle = Literal["market", "post_only", "patient", "sweep"]
StrategyState = Literal["live", "shadow", "off"]
ShareOrNone = Annotated[float, Meta(ge=0, le=1, description="above 0 to 1, or 0 for none")]
BasisPointsOrNone = Annotated[
    float, Meta(ge=0, le=1000, description="above 0 to 1000 (a hundredth of a percent each), or 0 for none")
]
PerMinute = Annotated[float, Meta(gt=0, le=6000)]
TickCount = Annotated[int, Meta(ge=0, le=1000)]
SliceCount = Annotated[int, Meta(ge=1, le=1000)]
DEFAULT_STRATEGY = "default"  # the one of a mesh.toml without [[strategies]]
ACCOUNT = "account"  # the scope of [risk]: all strategies and instruments together
SIZINGS = ("order_notional", "order_quantity", "order_equity", "target_notional", "target_quantity")


class Limits(Section, frozen=True):
    """What a scope (a strategy, or the account) may do at most. '' or 0: no limit. Orders count as if they were filled.

    Position and order sizes are of each instrument by itself; notional, open orders and losses of all that is in the scope.
    """

    position_max: AmountOrNone = ""  # in the base currency
    position_notional: AmountOrNone = ""  # in the quote currency, like all that follows
    notional_max: AmountOrNone = ""  # of all positions of the scope, long or short, added up
    order_quantity_max: AmountOrNone = ""  # in the base currency
    order_notional_max: AmountOrNone = ""
    price_collar: ShareOrNone = 0.0  # how far from the mid price an order may be executed, as a share of it
    open_orders_max: Count = 0
    daily_loss_max: AmountOrNone = ""  # since midnight (UTC), fees included; beyond it nothing is traded until a person says so
    drawdown_max: AmountOrNone = ""  # from the highest profit so far, likewise


class RiskSettings(Limits, frozen=True):
    """Limits of the account, and what a kill switch does."""

    on_kill: Literal["cancel", "flatten"] = "cancel"  # all orders are cancelled; "flatten": and what they brought is closed
    messages_per_s: ZeroOrMore = 0.0  # orders and cancels together; beyond it no new orders, cancels go all the same. 0: none
    # How far this machine's clock may be from the venue's for an order; 0: however far
    clock_skew_max_ms: ZeroOrMore = 1000.0
    # No heartbeat of the session, or no event in the log, for so long: no new order until it is back
    lost_pause_s: Annotated[float, Meta(ge=2, description="2 or more: health is said every second")] = 5.0
    # and, of the executor too, for so long: the kill switch is on, until a person lifts it. 0: never
    lost_latch_s: ZeroOrMore = 30.0
    # Orders that a kill switch has not cancelled by then the sentinel cancels by a connection of its own
    session_patience_ms: OrderMs = 2000
    currency: str = "USDT"  # in which money is added up: where that is limited, every symbol ends with it


class ExecutionSettings(Section, frozen=True):
    """How styles work a parent order, and when nothing is ordered. What a strategy does not state is as in
    [executor.execution], and what that does not state as in `EXECUTION`."""

    lifetime_ms: OrderMs | None = None  # post_only, patient, sweep: what is not done by then is not done
    slippage_max_bp: BasisPointsOrNone | None = None  # no order at a price farther beyond the mid of arrival; 0: no bound
    improve_ticks: TickCount | None = None  # post_only, patient: by how many tick sizes the best price is improved; 0: joined
    reprices_per_min: PerMinute | None = None  # post_only, patient: how often an order may follow the book
    patience_ms: OrderMs | None = None  # patient: so long it rests, then it takes
    horizon_ms: OrderMs | None = None  # twap, pov: by then it is over
    slices: SliceCount | None = None  # twap: parts of equal size; pov: at most so many
    participation: Share | None = None  # pov: of the traded volume
    slice_style: SliceStyle | None = None  # twap, pov: how each part is done
    spread_max_bp: BasisPointsOrNone | None = None  # nothing is ordered while the spread is wider; 0: however wide
    venue_lag_max_ms: ZeroOrMore | None = (
        None  # nor while quotes and trades come later than this after the venue's time; 0: any
    )
    gap_pause: bool | None = None  # nor while trades are missing, or the book had a gap within stale_ms


EXECUTION = ExecutionSettings(
    lifetime_ms=10_000, slippage_max_bp=0.0, improve_ticks=0, reprices_per_min=30.0, patience_ms=3000, horizon_ms=60_000,
    slices=6, participation=0.1, slice_style="patient", spread_max_bp=0.0, venue_lag_max_ms=0.0, gap_pause=True,
)  # fmt: skip


def stated(*layers: ExecutionSettings) -> ExecutionSettings:
    """Merges layers into one that states every key: what the first that does says, and what none does is as in `EXECUTION`."""
    values = {
        name: next(value for one in (*layers, EXECUTION) if (value := getattr(one, name)) is not None)
        for name in EXECUTION.__struct_fields__
    }
    return ExecutionSettings(**values)


class ExecutorSettings(Section, frozen=True):
    enabled: bool = True
    # Patterns on venue.symbol. Empty: the first instrument alone, so that nothing is traded only because it is recorded
    instruments: tuple[str, ...] = ()
    order_notional: Amount = "60"  # in the quote currency, in whole lots; raised to the venue's least up to twice that
    position_notional: AmountOrNone = ""  # empty: ten orders
    order_quantity: AmountOrNone = ""  # in the base currency, instead of order_notional
    position_max: AmountOrNone = ""  # likewise, instead of position_notional
    # Of all instruments together, on average, and at most so many (at least one) at once; cancels are always allowed
    orders_per_s: Annotated[float, Meta(gt=0, le=1000)] = 5.0
    signal_threshold: ZeroOrMore = 0.6  # |value| from which a signal is acted on
    # Taken in turn
    styles: Annotated[tuple[Style, ...], Meta(min_length=1, description="at least one style")] = (
        "limit_ioc",
        "limit",
        "market",
    )
    stale_ms: OrderMs = 2000  # no quote for so long, or a signal whose cause is so old (by seq_ns): no new order
    order_ttl_ms: OrderMs = 2000  # a resting order is cancelled after so long
    intent_ttl_ms: OrderMs = 5000  # an intent that the session has not acted on for so long is refused
    execution: ExecutionSettings = ExecutionSettings()


class StrategySettings(Limits, frozen=True):
    """Which signals trade what, how much, in which way, and within which limits. What is not stated is as in [executor]."""

    name: StrategyName = DEFAULT_STRATEGY
    models: tuple[str, ...] = ("*",)  # patterns on the names of [[models]]
    instruments: tuple[str, ...] = ()  # patterns on venue.symbol
    state: StrategyState = "live"  # at the beginning; then as `mesh strategy` has switched it
    # One of these five: an order's worth (quote currency), its quantity (base), its share of the equity,
    order_notional: AmountOrNone = ""
    order_quantity: AmountOrNone = ""
    order_equity: ShareOrNone = 0.0
    # or the position that a signal of 1 asks for: value × target, and the difference is traded
    target_notional: AmountOrNone = ""
    target_quantity: AmountOrNone = ""
    capital: AmountOrNone = ""  # what it begins with; its equity is that plus its profit
    signal_threshold: ZeroOrMore | None = None  # with a target: below it the target is flat; 0 then, if it is not stated
    styles: tuple[Style, ...] = ()
    order_ttl_ms: OrderMs | None = None
    orders_per_s: ZeroOrMore = 0.0  # beside the executor's; 0: that alone
    shadow_fee_ppm: FeePpm = 1000  # what simulated fills cost
    execution: ExecutionSettings = ExecutionSettings()

    @property
    def sizings(self) -> tuple[str, ...]:
        """Which of the five ways to size are stated."""
        return tuple(name for name in SIZINGS if getattr(self, name))

    @property
    def has_target(self) -> bool:
        """Whether signals ask for a position, not for an order."""
        return bool(self.target_notional or self.target_quantity)


def resolved(one: StrategySettings, executor: ExecutorSettings) -> StrategySettings:
    """A strategy with everything stated: where it says nothing, what [executor] says."""
    changes: dict[str, object] = {}
    if not one.sizings:
        size = "order_quantity" if executor.order_quantity else "order_notional"
        changes[size] = getattr(executor, size)
    if not (one.position_max or one.position_notional or one.has_target):
        bound = "position_max" if executor.position_max else "position_notional"
        changes[bound] = getattr(executor, bound)
    if one.signal_threshold is None:
        changes["signal_threshold"] = 0.0 if one.has_target else executor.signal_threshold
    if one.order_ttl_ms is None:
        changes["order_ttl_ms"] = executor.order_ttl_ms
    changes["styles"] = one.styles or executor.styles
    changes["instruments"] = one.instruments or executor.instruments
    changes["execution"] = stated(one.execution, executor.execution)
    return msgspec.structs.replace(one, **changes)
