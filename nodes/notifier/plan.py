"""Who is told of which trouble, and when: troubles in, messages out. No I/O.

A receiver is told of a trouble once, again after `repeat_s` while it goes on, and once when it is over if it was told of it.
In its quiet hours only critical ones pass; the others are held, and those that still go on afterwards are told of then. Beyond
`per_hour` messages the rest waits; who gets a message then is told how many troubles were over before they could be told.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from tickmesh.bus.settings_alerts import NotifySettings
from tickmesh.nodes.alerts.episodes import HAPPENED, LEVELS, SECOND, Episode, sentence

HOUR_NS = 3600 * SECOND
KEPT_NS = 24 * HOUR_NS  # what was told of a trouble that no alert of the last hours has is forgotten then
Phase = Literal["begins", "goes on", "is over"]


class Dispatch(msgspec.Struct, frozen=True):
    """What a receiver is given, as JSON, of one trouble. `text`: all in words.

    `at`: UTC, of its newest alert, or when it was over; `left_out`: troubles that were over before it could be told of them.
    """

    mesh: str
    phase: Phase
    level: str
    what: str
    target: str
    why: str
    action: str
    at: str
    times: int
    text: str
    left_out: int = 0


class Delivery(msgspec.Struct):
    """What a receiver was told of one trouble: when last (ns), and whether it is known to it as over."""

    at_ns: int
    over: bool = False


class ReceiverState(msgspec.Struct):
    """What one receiver was given: of troubles by `what target`, when in the last hour, and how many it missed.

    `since_ns`: when it was first there; what was over before is not told of.
    """

    since_ns: int = 0
    deliveries: dict[str, Delivery] = {}
    sent_ns: list[int] = []
    left_out: int = 0
    held: set[str] = set()  # troubles that wait for the end of quiet hours, or for `per_hour`


@dataclass
class ReceiverPlan:
    """One receiver's plan, and what was done of it."""

    settings: NotifySettings
    mesh: str
    state: ReceiverState = field(default_factory=ReceiverState)

    def due(self, troubles: Iterable[Episode], now_ns: int, local: datetime) -> list[tuple[str, Dispatch]]:
        """(key, message) of what is to be sent now, the oldest first. `local`: now, by this machine's zone.

        `sent` has to be called for each that was delivered.
        """
        newest: dict[str, Episode] = {}
        for one in filter(self._is_mine, troubles):
            newest.pop(key := _key(one), None)  # of a trouble that has come again, the end of the one before is no news
            newest[key] = one
        keys = newest.keys()
        self.state.deliveries = {
            key: one for key, one in self.state.deliveries.items() if key in keys or now_ns - one.at_ns < KEPT_NS
        }
        self.state.sent_ns = [at for at in self.state.sent_ns if now_ns - at < HOUR_NS]
        room = self.settings.per_hour - len(self.state.sent_ns)
        quiet = is_quiet(self.settings.quiet, local.time())
        out: list[tuple[str, Dispatch]] = []
        for key, one in newest.items():
            if not one.goes_on(now_ns):
                self._forget(key, one, now_ns)
            phase = self._phase(key, one, now_ns)
            if phase is None:
                continue
            if (quiet and one.content.get("level") != "critical") or len(out) >= room:
                if key not in self.state.deliveries:
                    self.state.held.add(key)
                continue
            out.append((key, self._message(one, phase, now_ns, self.state.left_out if not out else 0)))
        self.state.held &= keys
        return out

    def _forget(self, key: str, one: Episode, now_ns: int) -> None:
        """A trouble that is over: one that was held is counted, one whose end is not to be told of is over all the same."""
        delivery = self.state.deliveries.get(key)
        if delivery is not None and not self.settings.recoveries and self._is_known(one, delivery):
            delivery.over = True
        if key in self.state.held:
            self.state.held.discard(key)
            self.state.left_out += 1
            self.state.deliveries[key] = Delivery(now_ns, over=True)

    def _is_known(self, one: Episode, delivery: Delivery) -> bool:
        """Whether `delivery` is of this trouble, not of one before it. (Its first alert may be out of sight by now.)"""
        return not delivery.over or one.first_ns <= delivery.at_ns

    def sent(self, key: str, message: Dispatch, now_ns: int, counts: bool = True) -> None:
        """Takes notice that a message of `due` was delivered; `counts` among those of the hour."""
        self.state.deliveries[key] = Delivery(now_ns, message.phase == "is over")
        if counts:
            self.state.sent_ns.append(now_ns)
            self.state.left_out -= message.left_out
        self.state.held.discard(key)

    def _is_mine(self, one: Episode) -> bool:
        name = f"{one.what}.{one.target}"
        level = str(one.content.get("level", "warning"))
        least = LEVELS.index(self.settings.level)
        return (
            level in LEVELS and LEVELS.index(level) >= least and any(fnmatchcase(name, pattern) for pattern in self.settings.of)
        )

    def _phase(self, key: str, one: Episode, now_ns: int) -> Phase | None:
        delivery = self.state.deliveries.get(key)
        if delivery is not None and not self._is_known(one, delivery):
            delivery = None
        if one.goes_on(now_ns):
            if delivery is None:
                return "begins"
            again_ns = int(self.settings.repeat_s * SECOND)
            return "goes on" if again_ns and not delivery.over and now_ns - delivery.at_ns >= again_ns else None
        if delivery is None:  # it came and went while the receiver could not be reached, or it merely happened
            return ("begins" if one.what in HAPPENED else "is over") if one.newest.seq_ns > self.state.since_ns else None
        return "is over" if self.settings.recoveries and not delivery.over and one.what not in HAPPENED else None

    def _message(self, one: Episode, phase: Phase, now_ns: int, left_out: int) -> Dispatch:
        content = one.content
        words = {name: str(content.get(name, "")) for name in ("level", "why", "action")}
        at_ns = one.cleared_ns if phase == "is over" and one.cleared_ns else one.newest.seq_ns
        more = f" {left_out} more were over before this receiver could be told of them." if left_out else ""
        head = {"begins": "", "goes on": "Still: ", "is over": "Over: "}[phase]
        return Dispatch(
            mesh=self.mesh, phase=phase, what=one.what, target=one.target, at=_utc(at_ns), times=one.times,
            text=f"{self.mesh}: {head}{sentence(one.as_json(now_ns))}{more}", left_out=left_out, **words,
        )  # fmt: skip


def _key(one: Episode) -> str:
    """What merely happens is another trouble each time."""
    return f"{one.what} {one.target} {one.newest.seq_ns}" if one.what in HAPPENED else f"{one.what} {one.target}"


def is_quiet(hours: str, now: time) -> bool:
    """Whether a time of day lies in hours like '22:00-07:00', which may go over midnight; '' has none."""
    if not hours:
        return False
    begin, end = (time.fromisoformat(one) for one in hours.split("-"))
    return begin <= now < end if begin <= end else now >= begin or now < end


def _utc(ns: int) -> str:
    return datetime.fromtimestamp(ns // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pack(plans: Sequence[ReceiverPlan]) -> bytes:
    """What all receivers were told, for `unpack`."""
    return msgspec.json.encode({plan.settings.name: plan.state for plan in plans})


def unpack(state: bytes) -> dict[str, ReceiverState]:
    """Receivers by name. Raises ValueError for what is none."""
    try:
        found: dict[str, ReceiverState] = msgspec.json.decode(state, type=dict[str, ReceiverState])
    except msgspec.DecodeError as error:
        raise ValueError(f"what receivers were told cannot be read: {error}") from None
    return found


def trial(settings: NotifySettings, mesh: str, now_ns: int) -> Dispatch:
    """The message of `mesh alert test`."""
    text = f"{mesh}: a test of receiver {settings.name}; nothing is wrong."
    why, action = "`mesh alert test` was asked for", "none"
    return Dispatch(mesh, "begins", "info", "test", settings.name, why, action, _utc(now_ns), 1, text)
