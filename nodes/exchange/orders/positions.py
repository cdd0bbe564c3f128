"""Who holds which contracts, and whose wallet has what: fills, fees and funding in whole mantissas at 10^−8.

A contract has two sides: what we hold long, the outside (the synthetic population) is short, and what we realise it loses. So
positions add up to zero, and wallets to what was deposited; fees go to an account of their own.
"""

from typing import NamedTuple

from tickmesh.nodes.exchange.orders.accounts import FEES, OUTSIDE
from tickmesh.nodes.exchange.orders.margin_records import MarginPosition
from tickmesh.nodes.exchange.protocol import UNIT, towards_zero


class Booked(NamedTuple):
    """What one fill did: the profit that it realised, and its fee. Mantissas of the quote asset."""

    realised: int
    fee: int


def apply_fill(position: MarginPosition, side: int, price: int, quantity: int, now_ms: int) -> int:
    """Applies one fill to a position and gives the profit that it realises.

    What is closed leaves at the average price; of the cost that cannot be divided, the rest stays with the position."""
    change = side * quantity
    realised = 0
    closing = 0
    if position.amount * change < 0:
        closing = min(quantity, abs(position.amount))
        released = towards_zero(position.cost * closing, abs(position.amount))
        realised = -side * (price * closing // UNIT) - released
        position.cost -= released
        position.amount += side * closing
    opening = quantity - closing
    position.amount += side * opening
    position.cost += side * (price * quantity // UNIT - price * closing // UNIT)
    position.realised += realised
    position.update_time = now_ms
    return realised


class MarginAccounts:
    """Positions by symbol and wallets by asset, of the owner, the outside and the fee account."""

    def __init__(self) -> None:
        self.positions: dict[str, dict[int, MarginPosition]] = {}
        self.wallets: dict[str, dict[int, int]] = {}
        self.deposited: dict[str, int] = {}

    def position(self, account: int, symbol: str) -> MarginPosition:
        """The position of an account in a contract, to be changed in place."""
        return self.positions.setdefault(symbol, {}).setdefault(account, MarginPosition())

    def wallet(self, account: int, asset: str) -> int:
        """What an account has of an asset, without the profit of open positions."""
        return self.wallets.get(asset, {}).get(account, 0)

    def deposit(self, account: int, asset: str, amount: int) -> None:
        """Adds to a wallet from outside."""
        self._add(account, asset, amount)
        self.deposited[asset] = self.deposited.get(asset, 0) + amount

    def book_fill(
        self, account: int, symbol: str, asset: str, side: int, price: int, quantity: int, fee: int, now_ms: int
    ) -> Booked:
        """Books one fill of an account against the outside; the fee is taken from its wallet."""
        realised = apply_fill(self.position(account, symbol), side, price, quantity, now_ms)
        lost = apply_fill(self.position(OUTSIDE, symbol), -side, price, quantity, now_ms)
        assert lost == -realised, f"{symbol}: one side realised {realised}, the other {lost}"
        self._add(account, asset, realised - fee)
        self._add(OUTSIDE, asset, -realised)
        self._add(FEES, asset, fee)
        return Booked(realised, fee)

    def book_funding(self, account: int, symbol: str, asset: str, mark: int, rate: int) -> int:
        """Moves one funding between an account and the outside; gives what the account received, below zero if it paid.

        A long position pays `rate` (at 10^−8) of its value at the mark price, a short one receives it."""
        paid = towards_zero(self.position(account, symbol).amount * mark * rate, UNIT * UNIT)
        self._add(account, asset, -paid)
        self._add(OUTSIDE, asset, paid)
        return -paid

    def check_conserved(self) -> None:
        """Raises AssertionError unless wallets add up to what was deposited, and positions to nothing."""
        for asset, accounts in self.wallets.items():
            assert sum(accounts.values()) == self.deposited.get(asset, 0), f"{asset}: {accounts}"
        for symbol, positions in self.positions.items():
            for field in ("amount", "cost", "realised"):
                assert not sum(getattr(one, field) for one in positions.values()), f"{symbol}: {field} of {positions}"

    def _add(self, account: int, asset: str, amount: int) -> None:
        wallets = self.wallets.setdefault(asset, {})
        wallets[account] = wallets.get(account, 0) + amount
