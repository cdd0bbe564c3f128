"""What the exchange's ledger says of its own silences and of who was connected: read from its rows alone (docs/ledger.md).

Nothing of the mesh's processes is asked. Times are milliseconds of the exchange's clock, which is the true one in a sweep.
"""

import json
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from tickmesh.tools.chaos.stretches import Stretch, within
from tickmesh.tools.judge.exchange_ledger import WS_API, Row, subject_of

# Faults while which no connection can bring anything, where they concern all of them → what the venue does.
SILENT = {
    "stall": "sends nothing (stall)",
    "halt": "trades nothing (halt)",
    "cut": "cuts whoever connects (cut)",
    "restart": "is down (restart)",
    "anew": "is down (anew)",
    "refuse": "refuses every handshake (refuse)",
}
DEFAULT_VENUE = "binance"  # whose paths stand without its name
LAST_MS = 1 << 62  # the end of what has not ended


class VenueRecord:
    """Takes the ledger's rows; `subjects`: the instruments that are traded. What lasts at the end lasts for ever.

    `tried_ms`: venue → when market connections were opened, or refused by a fault.
    """

    def __init__(self, subjects: Sequence[str]) -> None:
        self.subjects = subjects
        self.tried_ms: dict[str, list[int]] = {one.partition(".")[0]: [] for one in subjects}
        self._faults: dict[int, dict[str, Any]] = {}
        self._lasting: dict[int, tuple[int, str]] = {}  # fault → since when, and what it is about
        self._over: list[tuple[str, str, Stretch]] = []  # what the venue did, of which instrument ("": all), when
        self._subscribed: dict[int, int] = {}  # market connection that has subscribed something → since when
        self._subscriptions: list[Stretch] = []
        self._open: dict[int, int] = {}
        self._ended: list[Stretch] = []

    def read(self, rows: Iterable[Row]) -> "VenueRecord":
        """Takes all rows; gives itself."""
        for _, kind, time_ms, *values in rows:
            if kind == "fault":
                self._fault(time_ms, *values)
            elif kind == "client":
                self._client(time_ms, *values)
            elif kind == "request" and values[2] == "ws":
                self._tried(time_ms, values[3])
            elif kind == "start":  # a process began: who was connected is not any more
                for number in tuple(self._open):
                    self._client(time_ms, number, "closed", "")
        return self

    @property
    def silences(self) -> dict[str, list[Stretch]]:
        """What the venue does → the stretches in which, by that alone, it brought nothing of any traded instrument."""
        lasting = [(*self._about(number), (since, LAST_MS)) for number, (since, _) in self._lasting.items()]
        out: dict[str, list[Stretch]] = {}
        for words in SILENT.values():
            of_each = [
                [stretch for said, subject, stretch in (*self._over, *lasting) if said == words and subject in ("", one)]
                for one in self.subjects
            ]
            common = of_each[0] if of_each else []
            for stretches in of_each[1:]:
                common = within(common, stretches)
            if common:
                out[words] = within(common, [(0, LAST_MS)])
        return out

    @property
    def open(self) -> list[Stretch]:
        """When a market connection was open, subscribed or not; overlapping."""
        return [*self._ended, *((since, LAST_MS) for since in self._open.values())]

    @property
    def subscribed(self) -> list[Stretch]:
        """When a market connection was open that had subscribed something; overlapping."""
        return [*self._subscriptions, *((since, LAST_MS) for since in self._subscribed.values())]

    def most_tried(self, venue: str, window_ms: int) -> int:
        """The most market connections that were tried at a venue within `window_ms`."""
        most = first = 0
        tried_ms = self.tried_ms[venue]
        for place, time_ms in enumerate(tried_ms):
            while tried_ms[first] <= time_ms - window_ms:
                first += 1
            most = max(most, place - first + 1)
        return most

    def _tried(self, time_ms: int, path: str) -> None:
        named = path.split("/")[1] if path.count("/") > 1 else ""
        self.tried_ms[named if named in self.tried_ms else DEFAULT_VENUE].append(time_ms)

    def _about(self, number: int) -> tuple[str, str]:
        """(what the venue does by a fault, of which traded instrument; "": of all)."""
        fault = self._faults[number]
        return SILENT[fault["kind"]], self._lasting[number][1]

    def _fault(self, time_ms: int, number: int, what: str, detail: str) -> None:
        if what == "added":
            self._faults[number] = json.loads(detail)
        elif what == "started" and (about := self._concerned(self._faults[number])):
            self._lasting[number] = (time_ms, "" if about == "*" else about)
        elif what == "ended" and number in self._lasting:
            words, subject = self._about(number)
            self._over.append((words, subject, (self._lasting.pop(number)[0], time_ms)))

    def _concerned(self, fault: dict[str, Any]) -> str:
        """The traded instrument that a fault silences, "*" for all of them; "" where it does not silence one whole."""
        kind = fault["kind"]
        if kind not in SILENT or fault.get("connection") or fault.get("stream") or fault.get("endpoint"):
            return ""
        if fault.get("probability", 1) < 1 or fault.get("times"):
            return ""
        pattern = fault.get("symbol", "")
        if kind != "halt" or not pattern:
            return "*"
        return next((one for one in self.subjects if fnmatchcase(one, subject_of(pattern))), "")

    def _client(self, time_ms: int, number: int, what: str, detail: str) -> None:
        if what == "opened" and not detail.startswith(WS_API):
            self._tried(time_ms, detail)
            self._open[number] = time_ms
        elif number not in self._open:
            return
        elif what == "subscribed":
            self._subscribed.setdefault(number, time_ms)
        elif what in ("cut", "closed"):
            self._ended.append((self._open.pop(number), time_ms))
            if number in self._subscribed:
                self._subscriptions.append((self._subscribed.pop(number), time_ms))
