"""The settings that an executor ran with when it made an event: its own `run` events name them, not today's mesh.toml."""

from bisect import bisect_right
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from tickmesh.tools.judge.log import Event
from tickmesh.tools.judge.trading import map_of

ACCOUNT = "account"  # the scope of everything
MADE = ("intent", "parent", "shadow", "command")  # what an executor publishes of its causes


class Limit(NamedTuple):
    """What a scope may have at most; None: no limit. Position: base currency; worth: quote currency; `open_orders` 0: none."""

    position: Decimal | None = None  # of each instrument, with all that is outstanding
    worth: Decimal | None = None  # likewise
    worth_in_all: Decimal | None = None  # of all instruments together
    open_orders: int = 0


class Settings(NamedTuple):
    """What the judge asks of an executor's settings. `limits`: by scope; None: its `run` event does not tell them.

    `targets`: strategies whose signals ask for a position.
    """

    limits: Mapping[str, Limit] | None = None
    targets: frozenset[str] = frozenset()


class SettingsInForce:
    """Follows the `run` events of executors. `stated`: what holds before the first of them, of a log that has none."""

    def __init__(self, stated: Settings) -> None:
        self._seqs = [0]
        self._settings = [stated]
        self._waiting_seq = 0  # of the first event that waits for the `run` event of whoever made it

    def take(self, event: Event) -> None:
        """Takes the next event; they come in order.

        A process that starts publishes first what it finds unsaid, without a time of receipt, and then its `run` event.
        """
        if not event.producer.startswith("executor"):
            return
        if event.kind == "run":
            self._seqs.append(self._waiting_seq or event.seq)
            self._settings.append(read_settings(map_of(event.records)))
            self._waiting_seq = 0
        elif event.kind in MADE:
            self._waiting_seq = 0 if event.recv_ns else self._waiting_seq or event.seq

    def at(self, seq: int) -> Settings:
        """The settings with which an executor's event of this seq was made."""
        return self._settings[bisect_right(self._seqs, seq) - 1]


def read_settings(content: Mapping[str, Any]) -> Settings:
    """What an executor's `run` event tells of its settings; nothing of one that is older than limits, or of another shape."""
    try:
        strategies, risk = content["parameters"]["strategies"], content["parameters"]["risk"]
        limits = {name: _limit(one) for name, one in {**strategies, ACCOUNT: risk}.items()}
        targets = [name for name, one in strategies.items() if one.get("target_notional") or one.get("target_quantity")]
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation):
        return Settings()
    return Settings(limits, frozenset(targets))


def _limit(of: Mapping[str, Any]) -> Limit:
    position, worth, in_all = (of.get(name) for name in ("position_max", "position_notional", "notional_max"))
    return Limit(decimal_of(position), decimal_of(worth), decimal_of(in_all), int(of.get("open_orders_max") or 0))


def decimal_of(amount: str | None) -> Decimal | None:
    """An amount of mesh.toml; None where it states none. Raises InvalidOperation for what is no decimal."""
    return Decimal(amount) if amount else None
