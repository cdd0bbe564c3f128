"""A number that may not be defined, and then says why: what no fills or no variance leaves open is neither 0 nor NaN."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Measure:
    """`value`, in the unit that docs/backtest-report.md gives it, or None and `why` it is not defined.

    `low` and `high`: its confidence interval, where one was computed.
    """

    value: float | None
    why: str = ""
    low: float | None = None
    high: float | None = None

    def times(self, factor: float) -> "Measure":
        """Gives the measure in another unit; `factor` is above 0."""
        value, low, high = (None if one is None else one * factor for one in (self.value, self.low, self.high))
        return replace(self, value=value, low=low, high=high)

    def as_dict(self) -> dict[str, float | str | None]:
        """`value` always; `why` where it is None; `low` and `high` where there is an interval."""
        found: dict[str, float | str | None] = {"value": self.value}
        if self.why:
            found["why"] = self.why
        if self.low is not None:
            found |= {"low": self.low, "high": self.high}
        return found


def undefined(why: str) -> Measure:
    """A measure that is not defined, with the reason as half a sentence: "there are no fills"."""
    return Measure(None, why)


def measured(value: float, why: str = "it is beyond what a float holds") -> Measure:
    """A measure of this value; where it is not finite, one that is not defined because of `why`."""
    return Measure(float(value)) if math.isfinite(value) else undefined(why)


def ratio(above: float, below: float, why: str) -> Measure:
    """above ÷ below; not defined because of `why` where `below` is 0 or NaN."""
    return measured(above / below) if below == below and below != 0.0 else undefined(why)
