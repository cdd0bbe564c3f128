"""A made-up market and the coverage ledger that it must have."""

import numpy as np
from hypothesis import strategies as st

from tests.support.stored import START, Market
from tickmesh.bus.schema import DTYPES, Coverage, Evidence, Flag, GapState, Kind, Reason
from tickmesh.bus.wire import Event, stamp_checksum
from tickmesh.storage.coverage.stretch import of_tables
from tickmesh.storage.hdf5.columns import from_bytes

SUBJECT = "binance.BTCUSDT"


SECOND = 1_000_000_000


class Scene(Market):
    """Builds a log's events with chosen ids; an id's venue time is a second an id."""

    def __init__(self, subject: str = SUBJECT, seq_ns: int = START) -> None:
        super().__init__(0, seq_ns)
        self.subject = subject
        self.raws: list[bytes] = []

    def publish(self, kind: Kind, record: np.ndarray, **fields) -> None:
        """Adds an event."""
        self.raws.append(self.event(kind, self.subject, record, recv_ns=self.seq_ns, **fields))

    def trades(self, *ids: int, repaired: bool = False, reset: bool = False) -> "Scene":
        """Adds a trade of each id."""
        for number in ids:
            record = np.zeros(1, DTYPES[Kind.trade])
            record["trade_id"], record["venue_ns"] = number, number * SECOND
            flags = Flag.REPAIRED if repaired else Flag.RESET if reset else 0
            self.publish(Kind.trade, record, first_id=number, last_id=number, flags=flags)
        return self

    def quotes(self, *ids: int) -> "Scene":
        """Adds a quote of each id."""
        for number in ids:
            record = np.zeros(1, DTYPES[Kind.quote])
            record["update_id"] = number
            self.publish(Kind.quote, record, first_id=number, last_id=number, venue_ns=number * SECOND)
        return self

    def change(self, first: int, last: int, checked: bool = False, reset: bool = False) -> "Scene":
        """Adds a change of the book. `checked`: the book had the venue's checksum."""
        record = np.zeros(1, DTYPES[Kind.depth])
        flags = Flag.RESET if reset else 0
        self.publish(Kind.depth, record, first_id=first, last_id=last, venue_ns=last % 10**9 * SECOND, flags=flags)
        if checked:
            event = bytearray(self.raws[-1])
            stamp_checksum(event, 1234, True)
            self.raws[-1] = bytes(event)
        return self

    def book(self, last: int, reset: bool = False) -> "Scene":
        """Adds a snapshot of the book at an id."""
        record = np.zeros(1, DTYPES[Kind.depth])
        flags = Flag.SNAPSHOT | (Flag.RESET if reset else 0)
        self.publish(Kind.depth, record, first_id=last + 1, last_id=last, flags=flags)
        return self

    def lost(self, kind: Kind, first: int, last: int, state: GapState = GapState.open, reason: int = 0) -> "Scene":
        """Adds a gap."""
        record = np.zeros(1, DTYPES[Kind.gap])
        record[0] = (first, last, kind, state, reason, 0, 0, 0, 0)
        self.publish(Kind.gap, record, first_id=first, last_id=last)
        return self


def tables(raws: list[bytes]) -> dict:
    """Events as the archive's tables, by kind."""
    kinds = {Kind(Event(raw).kind) for raw in raws}
    parts = {kind: [raw for raw in raws if Event(raw).kind == kind] for kind in kinds}
    return {kind: from_bytes(kind, b"".join(own), np.array([len(raw) for raw in own])) for kind, own in parts.items()}


def ledger_of(scene: Scene) -> np.ndarray:
    """The coverage ledger of all events of a scene."""
    return of_tables(tables(scene.raws), scene.subject)[0]


def shown(rows: np.ndarray) -> list[tuple]:
    """Rows of a ledger as (stream, first id, last id, state, reason or evidence)."""
    return [
        (
            Kind(row["stream"]).name, int(row["first_id"]), int(row["last_id"]), Coverage(row["state"]).name,
            (Reason if row["state"] in (Coverage.missing, Coverage.unproven) else Evidence)(
                row["reason"] if row["state"] in (Coverage.missing, Coverage.unproven) else row["evidence"]
            ).name,
        )
        for row in rows
    ]  # fmt: skip


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("trade"), st.integers(1, 3)),
        st.tuples(st.just("trade hole"), st.integers(1, 4)),
        st.tuples(st.just("undeclared hole"), st.integers(1, 2)),
        st.tuples(st.just("repair"), st.integers(0, 10)),
        st.tuples(st.just("give up"), st.integers(0, 10)),
        st.tuples(st.just("quote"), st.integers(1, 5)),
        st.tuples(st.just("change"), st.integers(0, 3)),
        st.tuples(st.just("depth hole"), st.integers(1, 4)),
        st.tuples(st.just("broken chain"), st.integers(1, 3)),
        st.tuples(st.just("contradiction"), st.integers(0, 2)),
        st.tuples(st.just("trades anew"), st.integers(1, 3)),
        st.tuples(st.just("book"), st.integers(0, 2)),
        st.tuples(st.just("reset"), st.integers(0, 2)),
    ),
    max_size=40,
)


class NaiveMarket:
    """A random market beside what the ledger must say of it: every id with its state, nothing clever."""

    def __init__(self, subject: str) -> None:
        self.scene = Scene(subject)
        self.trade, self.update, self.quote = 0, 100, 0
        self.open: list[int] = []
        self.states: dict[tuple, tuple[str, int]] = {}  # (stream, era, id) → state, reason
        self.book, self.begun, self.era, self.trade_era = False, False, 0, 0
        self.pending: list[int] = []  # ids of the newest change that the next one has to confirm

    def step(self, what: str, n: int) -> None:
        """Does one of STEPS."""
        getattr(self, f"publish_{what.replace(' ', '_')}")(n)

    def _trade(self, state: str, reason: int = 0) -> None:
        self.states["trade", self.trade_era, self.trade] = (state, reason)

    def publish_trade(self, n: int) -> None:
        """The next n trades."""
        for _ in range(n):
            self.trade += 1
            self._trade("complete")
            self.scene.trades(self.trade)

    def publish_trade_hole(self, n: int) -> None:
        """n trades are missing, and a gap says so."""
        if self.trade:
            first = self.trade + 1
            for _ in range(n):
                self.trade += 1
                self._trade("missing", Reason.skipped)
                self.open.append(self.trade)
            self.scene.lost(Kind.trade, first, self.trade)

    def publish_undeclared_hole(self, n: int) -> None:
        """n trades are missing, and no gap says so."""
        if self.trade:
            for _ in range(n):
                self.trade += 1
                self._trade("missing", Reason.none)
        self.publish_trade(1)

    def publish_repair(self, n: int) -> None:
        """A missing trade comes late."""
        if self.open:
            number = self.open.pop(n % len(self.open))
            self.states["trade", self.trade_era, number] = ("repaired", 0)
            self.scene.trades(number, repaired=True).lost(Kind.trade, number, number, GapState.repaired)

    def publish_give_up(self, n: int) -> None:
        """A missing trade is given up."""
        if self.open:
            number = self.open.pop(n % len(self.open))
            self.states["trade", self.trade_era, number] = ("missing", Reason.retention)
            self.scene.lost(Kind.trade, number, number, GapState.unrecoverable, Reason.retention)

    def publish_quote(self, n: int) -> None:
        """A quote whose id is n higher."""
        for number in range(self.quote + 1 if self.quote else n, self.quote + n + 1):
            self.states["quote", 0, number] = ("unproven", Reason.conflated)
        self.quote += n
        self.scene.quotes(self.quote)

    def _updates(self, n: int, state: str, reason: int = 0) -> None:
        for _ in range(n):
            self.update += 1
            if self.begun:
                self.states["depth", self.era, self.update] = (state, reason)

    def _confirm(self) -> None:
        """Something goes on after the newest change: its last id was true."""
        for number in self.pending:
            self.states["depth", self.era, number] = ("complete", 0)
        self.pending = []

    def publish_change(self, n: int) -> None:
        """A change of the book; of n = 3 the checksum is right."""
        first, begins = self.update + 1, self.update + 1 - (n % 2 if self.begun else 0)
        self.begun = True
        if self.book:
            self._confirm()
            ids = list(range(first, first + n + 1))
            proven = ids if n in (0, 3) else [number for number in ids if number <= begins]
            self.pending = [number for number in ids if number not in proven]
            for number in proven:
                self.states["depth", self.era, number] = ("complete", 0)
            self.update = ids[-1]
        else:
            self._updates(n + 1, "unproven", Reason.no_snapshot)
        self.scene.change(begins, self.update, checked=n == 3)

    def publish_depth_hole(self, n: int) -> None:
        """n ids of changes are missing."""
        first = self.update + 1
        self._confirm()
        self.book = False
        self._updates(n, "missing", Reason.no_history)
        self.scene.lost(Kind.depth, first, self.update, GapState.unrecoverable, Reason.no_history)

    def publish_broken_chain(self, n: int) -> None:
        """n ids of changes are missing, and no gap says so."""
        self._confirm()
        self._updates(n, "missing", Reason.none)
        self.book = False
        self.publish_change(0)

    def publish_contradiction(self, n: int) -> None:
        """The newest change claimed ids that its line takes back; it goes on n ids after what is sure."""
        if not self.pending:
            return
        first, self.pending, self.book = self.pending[0], [], False
        self.update = first - 1
        self._updates(n, "unproven", Reason.contradiction)
        self.scene.lost(Kind.depth, first, self.update, GapState.unrecoverable, Reason.contradiction)
        self.publish_change(0)

    def publish_book(self, n: int) -> None:
        """A snapshot, where the book is broken."""
        if not self.book:
            self._updates(n, "missing", Reason.resync)
            self.states["depth", self.era, self.update] = ("complete", 0)
            self.book = self.begun = True
            self.scene.book(self.update)

    def publish_trades_anew(self, n: int) -> None:
        """The venue's ids begin anew, lower; what the old era still had is unknown."""
        if self.trade:
            self.trade += 1
            self._trade("missing", Reason.reset)
            self.scene.lost(Kind.trade, self.trade, self.trade, GapState.unrecoverable, Reason.reset)
            self.trade, self.trade_era, self.open = n, self.scene.seq + 1, []
            self._trade("complete")
            self.scene.trades(self.trade, reset=True)

    def publish_reset(self, n: int) -> None:
        """Ids of the book begin anew."""
        self.update, self.pending = 100 - 30 * n, []
        self.scene.book(self.update, reset=True)
        self.era, self.book, self.begun = self.scene.seq, True, True
        self.states["depth", self.era, self.update] = ("complete", 0)


def play(steps: list[tuple[str, int]], subject: str = "okx.BTC-USDT") -> NaiveMarket:
    """Does these steps; gives the market."""
    naive = NaiveMarket(subject)
    for what, n in steps:
        naive.step(what, n)
    return naive


SUBJECTS = st.sampled_from(["okx.BTC-USDT", "kraken_v1.XBTUSD", "coinbase.BTC-USD"])
