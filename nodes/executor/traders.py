"""A strategy's settings, ready to be asked: which signals it acts on, how much it orders, which limits hold it now. No I/O."""

from fnmatch import fnmatchcase
from fractions import Fraction

import msgspec

from tickmesh.bus.settings_trading import ACCOUNT, Limits, StrategySettings
from tickmesh.nodes.executor.profit import MONEY_EXPONENT, money_of_text
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.nodes.executor.sizes import Sizes

MS = 1_000_000
AMOUNTS = (
    "position_max", "position_notional", "notional_max", "order_quantity_max", "order_notional_max", "daily_loss_max",
    "drawdown_max",
)  # fmt: skip


def tightened(limits: Limits, values: dict[str, str]) -> Limits:
    """The limits with the tighter of both values of each: what mesh.toml says is never widened. Values are decimals."""
    changes: dict[str, object] = {}
    for name, value in values.items():
        present = getattr(limits, name)
        if present and Fraction(str(present)) <= Fraction(value):
            continue
        changes[name] = value if name in AMOUNTS else float(value) if name == "price_collar" else int(value)
    return msgspec.structs.replace(limits, **changes)


def limit_error(name: str, value: str) -> str:
    """Why no limit of this name can be set to this value, a sentence; "" if it can. "" as value: as mesh.toml says."""
    if name not in Limits.__struct_fields__:
        return f"there is no limit {name!r}; there are {', '.join(Limits.__struct_fields__)}"
    if not value:
        return ""
    whole = int(value) if name == "open_orders_max" and value.isascii() and value.isdigit() else value
    given: object = float(value) if name == "price_collar" and _is_number(value) else whole
    try:
        set_to = getattr(msgspec.convert({name: given}, Limits), name)
    except msgspec.ValidationError:
        set_to = None
    if set_to:
        return ""
    special = {"open_orders_max": "a whole number of 1 or more", "price_collar": "a share above 0, up to 1"}
    allowed = special.get(name, "a plain decimal above 0, like 0.001")
    return f"{name} is {value!r}; allowed: {allowed}; without a value: as mesh.toml says"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class Bounds:
    """Limits of one scope for one instrument, in its own units. None: no limit."""

    def __init__(self, limits: Limits, rules: InstrumentRules):
        money = 10 ** (rules.price_exponent + rules.quantity_exponent - MONEY_EXPONENT)

        def lots(quantity: str) -> int | None:
            return int(Fraction(quantity) * 10**-rules.quantity_exponent) if quantity else None

        def notional(amount: str) -> int | None:
            return money_of_text(amount) // money if amount else None

        self.position_lots = lots(limits.position_max)
        self.position_notional = notional(limits.position_notional)
        self.notional_max = notional(limits.notional_max)
        self.order_max_lots = lots(limits.order_quantity_max)
        self.order_max_notional = notional(limits.order_notional_max)
        self.price_collar = limits.price_collar
        self.open_orders_max = limits.open_orders_max

    def position_max_lots(self, price_ticks: int) -> int | None:
        """How far a position may go at this price: as far as the tighter of both bounds says."""
        if self.position_notional is None:
            return self.position_lots
        worth = self.position_notional // price_ticks if price_ticks > 0 else 0
        return worth if self.position_lots is None else min(worth, self.position_lots)


class Trader:
    """One strategy as it is now. `subjects`: what it trades."""

    def __init__(self, settings: StrategySettings, subjects: frozenset[str], tight: dict[str, str]):
        self.name = settings.name
        self.stated = settings
        self.subjects = subjects
        self.ttl_ns = (settings.order_ttl_ms or 0) * MS
        self.threshold = settings.signal_threshold or 0.0
        self.styles = settings.styles
        self.execution = settings.execution
        self.has_target = settings.has_target
        self.fee_ppm = settings.shadow_fee_ppm
        self.orders_per_s = settings.orders_per_s
        self._asked: dict[str, bool] = {}
        self.tighten(tight)

    def tighten(self, values: dict[str, str]) -> None:
        """Takes over tightened limits, those of before count no more."""
        limits = tightened(self.stated, values)
        assert isinstance(limits, StrategySettings)
        self.limits = limits
        self.daily_loss_max = money_of_text(limits.daily_loss_max)
        self.drawdown_max = money_of_text(limits.drawdown_max)
        self._sizes: dict[str, tuple[InstrumentRules, Sizes, Bounds]] = {}

    def acts_on(self, producer: str) -> bool:
        """Whether it acts on signals of this process, `model-NAME`."""
        known = self._asked.get(producer)
        if known is None:
            name = producer.removeprefix("model-")
            known = self._asked[producer] = any(fnmatchcase(name, pattern) for pattern in self.stated.models)
        return known

    def sizes(self, subject: str, rules: InstrumentRules) -> tuple[Sizes, Bounds]:
        """How much it orders of an instrument, and its limits there."""
        known = self._sizes.get(subject)
        if known is None or known[0] is not rules:
            bounds = Bounds(self.limits, rules)
            known = self._sizes[subject] = (rules, Sizes(self.stated, rules, bounds.position_max_lots), bounds)
        return known[1], known[2]


class AccountLimits:
    """The limits of `[risk]` as they are now."""

    name = ACCOUNT

    def __init__(self, limits: Limits, tight: dict[str, str]):
        self.stated = limits
        self.tighten(tight)

    def tighten(self, values: dict[str, str]) -> None:
        """Takes over tightened limits, those of before count no more."""
        self.limits = tightened(self.stated, values)
        self.daily_loss_max = money_of_text(self.limits.daily_loss_max)
        self.drawdown_max = money_of_text(self.limits.drawdown_max)
        self._bounds: dict[str, tuple[InstrumentRules, Bounds]] = {}

    def bounds(self, subject: str, rules: InstrumentRules) -> Bounds:
        """Its limits of an instrument."""
        known = self._bounds.get(subject)
        if known is None or known[0] is not rules:
            known = self._bounds[subject] = (rules, Bounds(self.limits, rules))
        return known[1]
