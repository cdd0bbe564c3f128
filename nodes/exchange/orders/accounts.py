"""Who owns what: free and locked balances, and fees. Amounts are mantissas at 10^−8 of the asset.

Nothing is made or lost: what an account pays, the outside world or the fee account receives. The outside world (the
synthetic population, or the recorded market) has unlimited credit; everyone else can only spend what is locked.
"""

from tickmesh.nodes.exchange.market.fees import fee_of

OUTSIDE = 0
FEES = -1


class InsufficientBalance(Exception):
    """Raised when an account's free balance does not cover what an order would lock."""


class Accounts:
    """Balances by account and asset: `[free, locked]`."""

    def __init__(self) -> None:
        self.balances: dict[int, dict[str, list[int]]] = {}
        self.deposited: dict[str, int] = {}

    def balance_of(self, account: int, asset: str) -> list[int]:
        """The balance `[free, locked]` of an account in an asset, to be changed in place."""
        return self.balances.setdefault(account, {}).setdefault(asset, [0, 0])

    def deposit(self, account: int, asset: str, amount: int) -> None:
        """Adds to a free balance from outside."""
        self.balance_of(account, asset)[0] += amount
        self.deposited[asset] = self.deposited.get(asset, 0) + amount

    def lock(self, account: int, asset: str, amount: int) -> None:
        """Moves an amount from free to locked. Raises InsufficientBalance."""
        balance = self.balance_of(account, asset)
        if amount < 0 or balance[0] < amount:
            raise InsufficientBalance(f"{asset}: {balance[0]} free, {amount} needed")
        balance[0] -= amount
        balance[1] += amount

    def unlock(self, account: int, asset: str, amount: int) -> None:
        """Moves an amount from locked to free."""
        balance = self.balance_of(account, asset)
        assert 0 <= amount <= balance[1], f"unlock {amount} of {balance[1]} {asset}"
        balance[0] += amount
        balance[1] -= amount

    def settle_fill(
        self, account: int, paid: str, amount_paid: int, refund: int, received: str, amount_received: int, fee_ppm: int
    ) -> int:
        """Settles one fill against the outside: pays from the locked balance, receives less the fee; gives the fee.

        `refund` of the locked balance goes back to free; the fee is in the received asset, as the venue takes it."""
        fee = fee_of(amount_received, fee_ppm)
        pay, get = self.balance_of(account, paid), self.balance_of(account, received)
        assert pay[1] >= amount_paid + refund, f"{paid}: {pay[1]} locked, {amount_paid} + {refund} to take"
        pay[1] -= amount_paid + refund
        pay[0] += refund
        get[0] += amount_received - fee
        self.balance_of(OUTSIDE, paid)[0] += amount_paid
        self.balance_of(OUTSIDE, received)[0] -= amount_received
        self.balance_of(FEES, received)[0] += fee
        return fee

    def check_conserved(self) -> None:
        """Raises AssertionError unless every asset is conserved and no balance but the outside's is negative."""
        totals: dict[str, int] = {}
        for account, assets in self.balances.items():
            for asset, (free, locked) in assets.items():
                totals[asset] = totals.get(asset, 0) + free + locked
                assert account == OUTSIDE or (free >= 0 and locked >= 0), f"{account} has {free}, {locked} {asset}"
        for asset, total in totals.items():
            assert total == self.deposited.get(asset, 0), f"{asset}: {total}, deposited {self.deposited.get(asset, 0)}"
