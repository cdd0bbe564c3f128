"""Position, cost and profit of one instrument, from fills alone, in exact integers.

Money is a mantissa at 10^(price_exponent + quantity_exponent), as price_ticks × quantity_lots gives it. It outgrows 64
bits on purpose: Python's integers do not round.
"""

import msgspec


class Position(msgspec.Struct):
    """What is held of one instrument, and what it cost. Always: cash = realised − cost; fees are apart, per asset, at 10^−8."""

    lots: int = 0  # signed: + is long
    cash: int = 0  # − what was paid, + what was received
    cost: int = 0  # of what is held, by average price; its sign is that of lots
    realised: int = 0
    bought_lots: int = 0
    sold_lots: int = 0
    fills: int = 0
    fees: dict[str, int] = {}
    fee_cost: int = 0  # what of the fees could be valued (profit.fee_cost), as money
    fundings: dict[str, int] = {}  # received, below zero paid, per asset, at 10^−8
    funding: int = 0  # what of them could be valued, as money

    def unrealised(self, mark_ticks: int) -> int:
        """The profit that closing the position at this price would add to `realised`."""
        return self.lots * mark_ticks - self.cost

    def profit(self, mark_ticks: int) -> int:
        """What was gained or lost by now, fees and fundings that could be valued included."""
        return self.realised + self.unrealised(mark_ticks) - self.fee_cost + self.funding

    @property
    def average_ticks(self) -> float:
        """Average price of what is held; 0.0 when flat."""
        return self.cost / self.lots if self.lots else 0.0


def apply_fill(
    position: Position, side: int, price_ticks: int, lots: int, fee: int = 0, fee_asset: str = "", fee_cost: int = 0
) -> None:
    """Adds one fill to the position: side +1 bought, −1 sold. A fill through zero closes first, then opens the other side.

    Closing a part releases cost × part ÷ held, rounded down; the rest keeps the remainder, so nothing is ever lost.
    """
    position.cash -= side * price_ticks * lots
    position.fills += 1
    if side > 0:
        position.bought_lots += lots
    else:
        position.sold_lots += lots
    if fee:
        position.fees[fee_asset] = position.fees.get(fee_asset, 0) + fee
        position.fee_cost += fee_cost
    held = abs(position.lots)
    closing = min(lots, held) if position.lots * side < 0 else 0
    if closing:
        released = position.cost if closing == held else position.cost * closing // held
        position.realised += -side * price_ticks * closing - released
        position.cost -= released
    position.cost += side * price_ticks * (lots - closing)
    position.lots += side * lots


def apply_funding(position: Position, amount: int, asset: str, value: int) -> None:
    """Adds a funding to the position: `amount` at 10^−8 of its asset, `value` as money; below zero where it was paid."""
    position.fundings[asset] = position.fundings.get(asset, 0) + amount
    position.funding += value


def funding_shares(amount: int, held: dict[str, int]) -> dict[str, int]:
    """Divides a funding among strategies by the lots that each held; what division leaves, and what no position explains, is
    nobody's (""). The parts add up to the whole.
    """
    total = sum(held.values())
    shares = {name: amount * lots // total for name, lots in held.items() if lots} if total else {}
    shares[""] = shares.get("", 0) + amount - sum(shares.values())
    return shares
