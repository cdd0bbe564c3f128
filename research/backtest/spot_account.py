"""Balances at one spot venue: what an order locks, what its fills pay and receive. Amounts are mantissas at 10^−8."""

from collections.abc import Mapping

FREE, LOCKED = 0, 1
ALL = 1 << 100  # beyond any amount (of int64): `settle` keeps what is locked and was not paid


class SpotAccount:
    """Free and locked amounts by asset, and what each open order has locked. An asset that is not named is not there."""

    def __init__(self, amounts: Mapping[str, int]):
        self.balances: dict[str, list[int]] = {asset: [amount, 0] for asset, amount in amounts.items()}
        self._locked: dict[int, tuple[str, int]] = {}  # order → (asset, amount)

    def free(self, asset: str) -> int:
        """What of an asset orders may take."""
        return self._balance(asset)[FREE]

    def lock(self, order: int, asset: str, amount: int) -> bool:
        """Locks an amount for an order; gives whether there was as much."""
        balance = self._balance(asset)
        if balance[FREE] < amount:
            return False
        balance[FREE] -= amount
        balance[LOCKED] += amount
        self._locked[order] = asset, amount
        return True

    def settle(self, order: int, paid: int, kept: int, received: str, amount: int) -> None:
        """A fill: pays of what the order has locked, of which `kept` stays locked at most, and receives an amount.

        What is neither paid nor kept is free again. A fee beyond what was locked is taken of what is free."""
        asset, locked = self._locked[order]
        kept = max(min(kept, locked - paid), 0)
        self._locked[order] = asset, kept
        balance = self._balance(asset)
        balance[LOCKED] -= locked - kept
        balance[FREE] += locked - kept - paid
        self._balance(received)[FREE] += amount

    def keep(self, order: int, kept: int) -> None:
        """Frees what an order has locked beyond so much: it was reduced, or (0) is over."""
        asset, locked = self._locked.get(order, ("", 0))
        if kept < locked:
            balance = self._balance(asset)
            balance[LOCKED] -= locked - kept
            balance[FREE] += locked - kept
            self._locked[order] = asset, kept
        if not kept:
            self._locked.pop(order, None)

    def _balance(self, asset: str) -> list[int]:
        return self.balances.setdefault(asset, [0, 0])
