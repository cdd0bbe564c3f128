"""Money over several instruments, and when a scope has lost too much. Exact integers, no I/O.

One instrument's money is a mantissa at 10^(price_exponent + quantity_exponent); to add it up it is brought to 10^−36, the
smallest that exponents allow, so nothing is rounded. All of it is in the currency of `[risk]`, which the settings see to.
"""

from collections.abc import Callable
from fractions import Fraction

import msgspec

from tickmesh.bus.fields import AMOUNT_EXPONENT
from tickmesh.nodes.executor.rules import InstrumentRules

MONEY_EXPONENT = -36
DAY_NS = 86_400 * 1_000_000_000


def money_of(mantissa: int, rules: InstrumentRules) -> int:
    """An instrument's money, as price_ticks × quantity_lots gives it, at 10^−36."""
    return int(mantissa * 10 ** (rules.price_exponent + rules.quantity_exponent - MONEY_EXPONENT))


def money_of_text(amount: str) -> int:
    """A decimal of the settings at 10^−36; 0 for none."""
    return int(Fraction(amount) / Fraction(10) ** MONEY_EXPONENT) if amount else 0


def money_value(money: int) -> float:
    """Money at 10^−36 as a person's number."""
    return float(Fraction(money) * Fraction(10) ** MONEY_EXPONENT)


def fee_cost(
    symbol: str, asset: str, fee: int, price_ticks: int, rules: InstrumentRules,
    find_price: Callable[[str, str], tuple[int, InstrumentRules] | None],
) -> int | None:  # fmt: skip
    """What a fee (mantissa at 10^−8 of its asset) cost, as money of the instrument, rounded up; None where that is not known.

    A fee in the quote currency is what it is, one in the base currency is worth the price of its fill, one in a third asset
    what `find_price(asset, symbol)` finds: (mid in ticks, rules) of an instrument of that asset in the same quote currency.
    """
    exponent, worth = AMOUNT_EXPONENT, 1
    symbol = symbol.partition("_")[0]  # of a dated future, whose delivery date follows
    if symbol.endswith(asset):
        pass
    elif symbol.startswith(asset):
        exponent, worth = exponent + rules.price_exponent, price_ticks
    elif (found := find_price(asset, symbol)) is not None:
        worth, other = found
        exponent += other.price_exponent
    else:
        return None
    exponent -= rules.price_exponent + rules.quantity_exponent
    value = fee * worth
    return int(value * 10**exponent if exponent >= 0 else -(-value // 10**-exponent))


class LossWatch(msgspec.Struct):
    """What a scope's profit is compared with: where it began the day (UTC, by log time), and its highest. Money at 10^−36."""

    day: int = -1
    day_profit: int = 0
    peak: int = 0

    def follow(self, profit: int, now_ns: int) -> None:
        """Takes in the present profit."""
        if (day := now_ns // DAY_NS) != self.day:
            self.day, self.day_profit = day, profit if self.day >= 0 else 0
        self.peak = max(self.peak, profit)

    def begin_anew(self, profit: int) -> None:
        """What was lost so far counts no more: a person has seen it."""
        self.day_profit = self.peak = profit

    def breach(self, profit: int, daily_loss_max: int, drawdown_max: int) -> str:
        """Why a limit (0: none) is breached, a sentence; "" if none is."""
        lost, down = self.day_profit - profit, self.peak - profit
        if daily_loss_max and lost > daily_loss_max:
            return f"{money_value(lost):g} lost since midnight (UTC); daily_loss_max allows {money_value(daily_loss_max):g}"
        if drawdown_max and down > drawdown_max:
            return f"{money_value(down):g} below its highest profit; drawdown_max allows {money_value(drawdown_max):g}"
        return ""
