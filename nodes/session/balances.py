"""What an account holds of each asset, as the log has it; what the venue reports of it becomes events. Sans I/O."""

from collections.abc import Iterable

from tickmesh.bus.layout import record_struct
from tickmesh.bus.schema import Kind
from tickmesh.bus.topics import account_of
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.venues.order_venue import Reported
from tickmesh.nodes.venues.parsing.decimals import DecimalError
from tickmesh.nodes.venues.private import asset_name, held_amounts

BALANCE = record_struct(Kind.balance)
NOTHING = (0, 0, 0)

Held = tuple[int, int, int]  # free and locked as mantissas at 10^(scale − 8), scale


class Balances:
    """What is held of each asset by the log: `known`, by the name that the log has for it; a checkpoint holds it.

    `changes` counts what was read of the log or taken in; `unheld`: asset → why its balance is in no event.
    """

    def __init__(self, known: dict[str, Held], venue: str):
        self._subject = account_of(venue)
        self.known = known
        self.changes = 0
        self.unheld: dict[str, str] = {}
        self._changed: dict[str, int] = {}  # asset → `changes` then

    def read(self, event: Event) -> None:
        """Takes in a `balance` event of the log; the records say what is held, and nothing of the other assets."""
        for asset, free, locked, _, scale in BALANCE.iter_unpack(event.body):
            self._take(asset.rstrip(b"\0").decode(errors="replace"), (free, locked, scale))

    def apply(self, rows: Iterable[Reported], venue_ns: int, recv_ns: int) -> list[bytearray]:
        """Takes in the assets that a user event names, and gives the event to publish; [] where nothing changed."""
        return self._event(list(rows), venue_ns, recv_ns)

    def apply_whole(self, rows: Iterable[Reported], since: int, recv_ns: int) -> list[bytearray]:
        """Takes in all that the account holds, as the venue answered; an asset that is not among them has fallen to zero.

        `since`: `changes` when it was asked. What a user event has said of an asset meanwhile is newer, and stays.
        """
        rows = list(rows)
        named = {asset_name(row.asset).decode() for row in rows}
        gone = [Reported(asset, "0", "0") for asset, held in self.known.items() if asset not in named and held != NOTHING]
        settled = [row for row in rows + gone if self._changed.get(asset_name(row.asset).decode(), 0) <= since]
        return self._event(settled, 0, recv_ns)

    def _event(self, rows: list[Reported], venue_ns: int, recv_ns: int) -> list[bytearray]:
        records = []
        for row in rows:
            raw = asset_name(row.asset)
            name = raw.decode()
            try:
                free, locked, scale = held_amounts(row.free, row.locked)
            except DecimalError as error:  # one asset of an account stops no order of others
                self.unheld[row.asset] = str(error)
                continue
            self.unheld.pop(row.asset, None)
            if self.known.get(name, NOTHING) != (free, locked, scale) or name not in self.known:
                self._take(name, (free, locked, scale))
                records.append(BALANCE.pack(raw, free, locked, venue_ns, scale))
        if not records:
            return []
        return [encode(Kind.balance, self._subject, b"".join(records), venue_ns=venue_ns, recv_ns=recv_ns)]

    def _take(self, name: str, held: Held) -> None:
        self.changes += 1
        self._changed[name] = self.changes
        self.known[name] = held
