"""A venue that acts, matches and reports when it likes, and a log of signals, quotes and its reports in any order."""

import numpy as np

from tests.support.executor_tape import ASK, BID, LOT, Tape
from tickmesh.bus.schema import Action, GapState, Kind, Status
from tickmesh.nodes.executor import node as executor
from tickmesh.nodes.orders.commands import KillSwitch, SwitchStrategy

SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT")
SUBJECTS = tuple(f"binance.{symbol}" for symbol in SYMBOLS)
TICK = 1_000_000


class Venue:
    """Acts on intents when it likes, matches what it likes, and queues its reports to be delivered in any order."""

    def __init__(self) -> None:
        self.position = 0
        self.waiting: list[np.void] = []
        self.orders: dict[bytes, list] = {}  # id → [side, quantity, filled, open]
        self.reports: list[tuple] = []
        self.trade_id = 0

    def act(self, index: int) -> None:
        if not self.waiting:
            return
        intent = self.waiting.pop(index % len(self.waiting))
        if intent["action"] == Action.CANCEL:
            order = self.orders.get(intent["target_id"])
            if order is None or not order[3]:
                self.reports.append(("update", intent["client_order_id"], Status.Rejected, 0, 1, 0))
                return
            order[3] = False
            self._report(intent["target_id"], Status.Canceled)
        else:
            side, lots = int(intent["side"]), int(intent["quantity_lots"])
            if index % 5 == 0:
                self.orders[intent["client_order_id"]] = [side, lots, 0, False]
                self._report(intent["client_order_id"], Status.Rejected)
                return
            self.orders[intent["client_order_id"]] = [side, lots, 0, True]
            self._report(intent["client_order_id"], Status.New)

    def match(self, index: int) -> None:
        alive = [name for name, order in self.orders.items() if order[3]]
        if not alive:
            return
        name = alive[index % len(alive)]
        order = self.orders[name]
        lots = min(order[1] - order[2], LOT // 2)
        order[2] += lots
        self.position += order[0] * lots
        self.trade_id += 1
        order[3] = order[2] < order[1]
        self.reports.append(("fill", name, self.trade_id, lots, order[0]))
        self._report(name, Status.PartiallyFilled if order[3] else Status.Filled)

    def doubt(self, index: int) -> None:
        if self.orders:
            name = list(self.orders)[index % len(self.orders)]
            if self.orders[name][3]:
                self._report(name, Status.Unknown)

    def _report(self, name: bytes, status: Status) -> None:
        side, lots, filled, _ = self.orders[name]
        self.reports.append(("update", name, status, filled, side, lots))

    def most(self) -> tuple[int, int]:
        """How short and how long we could be if it matched everything it has now."""
        open_lots = [(o[0], o[1] - o[2]) for o in self.orders.values() if o[3]]
        return (
            self.position - sum(lots for side, lots in open_lots if side < 0),
            self.position + sum(lots for side, lots in open_lots if side > 0),
        )


def drive(step: executor.Step, actions: list[tuple[str, int]], tape: Tape, check, subjects=SUBJECTS) -> dict[str, Venue]:
    """Signal, venue Acts, Matches, Tells one report, a Duplicate, Unknown, Quote, Prices, Volume, Gap, Clock, sWitch, Kill."""
    venues = {subject: Venue() for subject in subjects}
    tape.opened(step, subjects)
    for what, n in actions:
        subject = subjects[n // 7 % len(subjects)]
        venue = venues[subject]
        event = None
        if what == "S":
            event = tape.signal(1.0 if n % 3 else -1.0, subject=subject, model="mabc"[n % 4])
        elif what == "W":
            event = tape.command(SwitchStrategy("abcd"[n % 4], ("live", "off", "shadow")[n % 3], "operator"))
        elif what == "K":
            event = tape.command(KillSwitch(n % 2 == 1, "operator"))
        elif what == "A":
            venue.act(n)
        elif what == "M":
            venue.match(n)
        elif what == "U":
            venue.doubt(n)
        elif what in "TD" and venue.reports:
            index = n % len(venue.reports)
            report = venue.reports[index] if what == "D" else venue.reports.pop(index)
            event = reported(tape, subject, report)
        elif what == "Q":
            event = tape.quote(subject=subject)
        elif what == "C":
            event = tape.clock(n)
        elif what == "L":
            event = tape.command(KillSwitch(False, "operator"))
        elif what == "c":
            event = tape.clock(n / 10)
        elif what == "P":  # the best prices move, sometimes apart, and now and then come late
            bid = BID + (n % 9 - 4) * TICK
            apart = 1 + (n % 4 if n % 5 else n % 80)
            event = tape.quote(bid=bid, ask=bid + apart * TICK, subject=subject, lag_ms=70 if n % 23 == 0 else n % 50)
        elif what == "V":
            lots, price, flags = n * LOT // 99 + 1, ASK + (n % 9 - 4) * TICK, 2 * (n % 5 == 0)
            event = tape.trade(lots, price, subject=subject, flags=flags, lag_ms=n % 50)
        elif what == "G":
            event = tape.gap(7, 8, GapState.open, Kind.depth if n % 3 == 0 else Kind.trade, subject)
        elif what == "R":
            event = tape.gap(7, 8, GapState.repaired, Kind.trade, subject)
        if event is not None:
            published = [(raw, "executor") for raw in step.step([event])]
            while published:  # an order that comes when its strategy is off is cancelled at once
                own = tape.log(*published.pop(0))
                if own.kind == Kind.intent:
                    venues[own.subject].waiting.append(own.records[0])
                published += [(raw, "executor") for raw in step.step([own])]
        for each in venues.values():
            check(step, each)
    return venues


def reported(tape: Tape, subject: str, report: tuple):
    if report[0] == "fill":
        return tape.fill(report[1], report[2], report[3], side=report[4], subject=subject)
    return tape.update(report[1], report[2], report[3], side=report[4], lots=report[5], subject=subject)
