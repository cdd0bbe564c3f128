"""Which orders are not sent now, because the venue has refused such again and again, and why. Sans I/O.

A refusal has a kind (`Trouble` of nodes/venues/order_venue.py), which says of what it is: of the account (key, maintenance), of
an instrument (halted, unknown, a filter), or of one side of it (the balance, the position). After ALLOWED of them in a row
nothing of that is sent for a while; then one order alone tries again, and each refusal of such a try doubles the pause. An
accepted order ends it. Intents wait meanwhile, and expire as always: nothing is sent late. Cancels go out all the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tickmesh.nodes.venues.order_venue import Trouble

Scope = tuple[str, int]  # subject, side; ("", 0): the account; (subject, 0): both sides

# How many refusals in a row begin a pause: one where no other order can do better, else a few.
ALLOWED = {
    Trouble.KEY: 1, Trouble.PERMISSION: 1, Trouble.MAINTENANCE: 3, Trouble.HALTED: 1, Trouble.SYMBOL: 1, Trouble.BALANCE: 3,
    Trouble.POSITION: 3, Trouble.FILTER: 3,
}  # fmt: skip
OF_ACCOUNT = frozenset((Trouble.KEY, Trouble.PERMISSION, Trouble.MAINTENANCE))
OF_SIDE = frozenset((Trouble.BALANCE, Trouble.POSITION))
WHAT = {
    Trouble.KEY: "the venue does not take this key or its signature",
    Trouble.PERMISSION: "this key may not trade",
    Trouble.MAINTENANCE: "the venue is closed for maintenance, or does not cope",
    Trouble.HALTED: "the venue has halted trading in it",
    Trouble.SYMBOL: "the venue does not list it (any more)",
    Trouble.BALANCE: "the account has not enough for such orders",
    Trouble.POSITION: "the venue has no position there that they would close",
    Trouble.FILTER: "the venue's rules for orders of it are not met",
}
ACTION = {
    Trouble.KEY: "look at key, secret and the addresses that the venue allows for it; then restart the session",
    Trouble.PERMISSION: "allow the key to trade at the venue, from this address; the session tries again by itself",
    Trouble.MAINTENANCE: "look at the venue's status page; the session tries again by itself",
    Trouble.HALTED: "nothing is to be done: the session tries again by itself; `mesh strategy NAME off` stops who orders it",
    Trouble.SYMBOL: "take it out of mesh.toml, then `mesh reload`; look at the venue for orders and positions of it",
    Trouble.BALANCE: "pay in, or lower the sizes of the strategies in mesh.toml; the session tries again by itself",
    Trouble.POSITION: "compare `mesh positions` with the venue: who else has closed it? The session tries again by itself",
    Trouble.FILTER: "compare sizes in mesh.toml with the venue's rules (least size, least worth, price bounds)",
}


class Notice(NamedTuple):
    """Something to tell the operator, as an alert has it. `over`: the trouble has ended."""

    trouble: Trouble
    target: str
    why: str
    action: str
    over: bool = False


@dataclass
class _Pause:
    trouble: Trouble
    refusals: int = 0  # in a row
    next_s: float = 0.0
    until_s: float = 0.0
    tried_s: float = 0.0  # until then the answer to the order that tries again is waited for
    why: str = ""


class Troubles:
    """What is paused. `bounds_s`: the first pause and the longest; `now_s()`: a clock that never goes back."""

    def __init__(self, venue: str, bounds_s: tuple[float, float], now_s: Callable[[], float]):
        self._venue = venue
        self._bounds_s = bounds_s
        self._now_s = now_s
        self._pauses: dict[Scope, _Pause] = {}

    def paused(self, subject: str, side: int) -> bool:
        """Whether an order of this instrument and side is not to be sent now."""
        if not self._pauses:
            return False
        now_s = self._now_s()
        return any(max(pause.until_s, pause.tried_s) > now_s for _, pause in self._of(subject, side))

    def take_sent(self, subject: str, side: int) -> None:
        """Takes in that an order is sent: after a pause no other one is until it is answered, or for a pause more."""
        for _, pause in self._of(subject, side):
            if pause.why:
                pause.tried_s = self._now_s() + self._bounds_s[0]

    def take_refusal(self, trouble: Trouble, subject: str, side: int, words: str) -> Notice | None:
        """Takes in a refusal of an order, or of the account ("", 0); gives what to tell, where a pause begins."""
        scope = ("", 0) if trouble in OF_ACCOUNT else (subject, side if trouble in OF_SIDE else 0)
        pause = self._pauses.get(scope)
        if pause is None or pause.trouble is not trouble:
            pause = self._pauses[scope] = _Pause(trouble, next_s=self._bounds_s[0])
        now_s = self._now_s()
        if pause.until_s > now_s:
            return None  # of an order that was on its way when the pause began
        pause.tried_s = 0.0
        pause.refusals += 1
        if pause.refusals < ALLOWED[trouble]:
            return None
        pause.until_s, pause.next_s = now_s + pause.next_s, min(pause.next_s * 2, self._bounds_s[1])
        target = self._target(scope)
        pause.why = f'no orders of {target} are sent for {pause.until_s - now_s:g} s: {WHAT[trouble]}; it said "{words}"'
        return Notice(trouble, target, pause.why, ACTION[trouble])

    def take_success(self, subject: str, side: int) -> list[Notice]:
        """Takes in that the venue took an order; gives what to tell, where troubles are over."""
        return [notice for scope, _ in self._of(subject, side) for notice in self._end(scope)]

    def take_connection(self) -> list[Notice]:
        """Takes in that the venue answered all questions about the account: it takes the key, and is there."""
        account = self._pauses.get(("", 0))
        return self._end(("", 0)) if account is not None and account.trouble is not Trouble.PERMISSION else []

    def _end(self, scope: Scope) -> list[Notice]:
        pause, target = self._pauses.pop(scope), self._target(scope)
        if not pause.why:
            return []
        return [Notice(pause.trouble, target, f"orders of {target} are sent again", "nothing is to be done", True)]

    def sentences(self) -> list[str]:
        """What is paused, and why, for who looks."""
        return [pause.why for _, pause in sorted(self._pauses.items()) if pause.why]

    def _of(self, subject: str, side: int) -> list[tuple[Scope, _Pause]]:
        scopes: tuple[Scope, ...] = (("", 0), (subject, 0), (subject, side))
        return [(scope, self._pauses[scope]) for scope in dict.fromkeys(scopes) if scope in self._pauses]

    def _target(self, scope: Scope) -> str:
        subject, side = scope
        if not subject:
            return f"{self._venue}.account"
        return f"{subject} {'buy' if side > 0 else 'sell'}" if side else subject
