"""A venue begins its ids anew, lower: both eras are read, made into bars and judged, and never taken for one another."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.stored import DAY, START, Market, write_log
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DEPTH, GAP, QUOTE, TRADE, Coverage, Flag, GapState, Kind, Reason
from tickmesh.bus.settings import Mesh
from tickmesh.bus.wire import decode
from tickmesh.storage.archive.eras import era_of, eras_in
from tickmesh.storage.archive.prune import prune
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.archive.rebuild import rebuild_day
from tickmesh.storage.archive.rows import in_id_order, row_dtype
from tickmesh.storage.archive.seal import Sealer
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.bars.bar import SECOND_NS
from tickmesh.storage.bars.runs import Window
from tickmesh.storage.bars.ticks import BarPart
from tickmesh.storage.query import bars as resample
from tickmesh.storage.query import coverage, reader
from tickmesh.storage.query.gaps import CoverageError

SUBJECT = "binance.BTCUSDT"
STEP_NS = 40 * SECOND_NS


class Venue:
    """Trades, quotes without a time, and depth changes that cover them, numbered by the venue; `anew` starts all ids from 1."""

    def __init__(self) -> None:
        self.market, self.raws = Market(), []
        self.trade_id, self.update_id, self.reset = 100_000, 5_000_000, set()
        self.snapshot(0)

    def anew(self) -> None:
        self.gap(Kind.trade, self.trade_id + 1)
        self.gap(Kind.quote, self.update_id + 1)
        self.gap(Kind.depth, self.update_id + 1)
        self.trade_id = self.update_id = 0
        self.reset = {Kind.trade, Kind.quote}
        self.snapshot(int(Flag.RESET))

    def gap(self, kind: Kind, number: int, reason: Reason = Reason.reset, last: int | None = None) -> None:
        record = np.zeros(1, GAP)
        record["first_id"], record["last_id"], record["stream"] = number, number if last is None else last, kind
        record["state"], record["reason"] = GapState.unrecoverable, reason
        self.raws.append(self.market.event(Kind.gap, SUBJECT, record, producer=b"sequencer", step_ns=1000))

    def say(self, kind: Kind, records: np.ndarray, step_ns: int = 1000, **fields) -> None:
        self.raws.append(self.market.event(kind, SUBJECT, records, step_ns=step_ns, **fields))

    def flags(self, kind: Kind) -> int:
        fresh = kind in self.reset
        self.reset.discard(kind)
        return int(Flag.RESET) if fresh else 0

    def snapshot(self, flags: int) -> None:
        records = np.zeros(2, DEPTH)
        records["price_ticks"], records["quantity_lots"], records["side"] = (100, 200), 5, (1, -1)
        self.raws.append(
            self.market.event(
                Kind.depth, SUBJECT, records, flags=flags | Flag.SNAPSHOT, last_id=self.update_id, first_id=self.update_id + 1,
                step_ns=1000,
            )
        )  # fmt: skip

    def trade(self, number: int | None = None, ns: int | None = None, flags: int = 0) -> None:
        self.trade_id += number is None
        number = self.trade_id if number is None else number
        record = np.zeros(1, TRADE)
        ns = self.market.seq_ns if ns is None else ns
        record[0] = (
            number,
            1000 + self.market.seq % 97,
            1 + self.market.seq % 5,
            ns,
            ns,
            1 if self.market.seq % 2 else -1,
            b"",
        )
        flags |= self.flags(Kind.trade) if not flags else 0
        self.raws.append(
            self.market.event(
                Kind.trade, SUBJECT, record, first_id=number, last_id=number, venue_ns=ns, flags=flags, step_ns=STEP_NS
            )
        )

    def quote(self) -> None:
        record = np.zeros(1, QUOTE)
        record[0] = (self.update_id + 2, 1000 + self.market.seq % 13, 1, 1020 + self.market.seq % 17, 2, 0)
        last = self.update_id + 2
        self.raws.append(
            self.market.event(
                Kind.quote, SUBJECT, record, first_id=last, last_id=last, flags=self.flags(Kind.quote), step_ns=1000
            )
        )

    def change(self) -> None:
        records = np.zeros(1, DEPTH)
        records["price_ticks"], records["quantity_lots"], records["side"] = 100, 1 + self.market.seq % 7, 1
        first, last = self.update_id + 1, self.update_id + 3
        self.update_id = last
        ns = self.market.seq_ns
        self.raws.append(
            self.market.event(Kind.depth, SUBJECT, records, first_id=first, last_id=last, venue_ns=ns, step_ns=1000)
        )

    def go(self, rounds: int) -> None:
        for _ in range(rounds):
            self.trade()
            if self.market.seq % 3:
                self.quote()
                self.change()
            else:  # the quote comes after its change
                self.change()
                self.update_id -= 3
                self.quote()
                self.update_id += 3


def mesh_of(root, raws: list[bytes], cuts: list[int], seal: bool, upto: int | None = None) -> Config:
    config = Config(Mesh(), root)
    write_log(config.log_dir, raws, segment_bytes=1 << 20)
    writer = ArchiveWriter(config.archive_dir)
    for cut in [*cuts, len(raws) if upto is None else upto]:
        writer.archive_log(LogReader(config.log_dir), cut, 10**9)
    sealer = Sealer(writer)
    while seal and (day := sealer.due()) is not None:
        sealer.seal(day)
    writer.close()
    return config


def rows_of(raws: list[bytes], kind: Kind) -> list[tuple]:
    """(era, id, seq, venue_ns) of every record."""
    era, out = 0, []
    for raw in raws:
        event = decode(raw, 0)
        if event.kind == kind:
            era = event.seq if event.flags & Flag.RESET else era
            out += [(era, int(r[0]), event.seq, int(r["venue_ns"])) for r in event.records]
    return out


def story(where: str) -> tuple[list[bytes], list[int]]:
    """Three days; ids begin anew within a cut, between two, or between two days. And where it is cut."""
    venue, cuts = Venue(), []
    venue.go(2160)
    if where == "between days":
        while venue.market.seq_ns < START + DAY:
            venue.go(1)
    else:
        venue.go(800)
    cuts.append(len(venue.raws) if where != "within a cut" else len(venue.raws) - 700)
    venue.anew()
    venue.go(300)
    if where == "within a cut":
        cuts.append(len(venue.raws))
    venue.trade(7, START + 1000 * SECOND_NS, int(Flag.REPAIRED))  # of the new era, by another day's time
    venue.go(3200)
    assert venue.market.seq_ns > START + 2 * DAY + DAY // 4
    return venue.raws, [cut // 5 for cut in cuts] + cuts


WHERE = ("within a cut", "between cuts", "between days")


@pytest.fixture(scope="module", params=WHERE)
def eras(request, tmp_path_factory):
    """Config by how it is stored: in cuts, with sealed days, half of it in the log only."""
    raws, cuts = story(request.param)
    made = {}
    for name, seal, upto in (
        ("cuts", False, None),
        ("sealed", True, None),
        ("log", True, len(raws) - 400),
        ("tail", False, 200),
    ):
        own = [cut for cut in sorted(cuts) if upto is None or cut < upto]
        made[name] = mesh_of(tmp_path_factory.mktemp(name), raws, own, seal, upto)
    return raws, made


def test_rows_come_era_by_era(eras):
    raws, made = eras
    wanted = sorted(rows_of(raws, Kind.trade))
    for name, config in made.items():
        rows = reader.arrays(config, f"trade.{SUBJECT}", order="id", gaps="ignore")
        assert list(zip(rows["trade_id"].tolist(), rows["seq"].tolist())) == [one[1:3] for one in wanted], name
        low, high = START + 900 * SECOND_NS, START + DAY + DAY // 3
        rows = reader.arrays(config, f"trade.{SUBJECT}", low, high, order="id", gaps="ignore")
        assert rows["seq"].tolist() == [one[2] for one in wanted if low <= one[3] < high], name


@pytest.mark.parametrize("every", [1, 3600, 7 * 86_400])
def test_bars_have_both_eras_and_are_the_same_from_everywhere(eras, every):
    raws, made = eras
    bars = {(name, source): seen(config, every, source) for name, config in made.items() for source in ("auto", "ticks")}
    first = bars["cuts", "ticks"]
    for name, other in bars.items():
        assert other.bars.tobytes() == first.bars.tobytes(), name
        assert other.timeless == first.timeless == 0 and not len(other.edges.quotes), name
    trades = rows_of(raws, Kind.trade)
    assert first.bars["count"].sum() == len(trades)
    assert first.bars["quotes"].sum() == sum(decode(raw, 0).kind == Kind.quote for raw in raws), "each quote is in a bar"
    buckets: dict[int, list] = {}
    for one in trades:
        buckets.setdefault(one[3] // (every * SECOND_NS), []).append(one)
    for bar in first.bars[first.bars["count"] > 0]:
        own = sorted(buckets[int(bar["begin_ns"]) // (every * SECOND_NS)])
        assert (own[0][:2], own[-1][:2]) == ((bar["first_era"], bar["first_id"]), (bar["last_era"], bar["last_id"]))


def seen(config: Config, every: int, source: str) -> BarPart:
    return resample.seen(config, SUBJECT, Window(every * SECOND_NS), source)


def test_a_window_behind_the_change_knows_its_era(eras):
    raws, made = eras
    for name, config in made.items():
        bars = resample.bars(config, SUBJECT, "1h", START + 2 * DAY + DAY // 8, gaps="ignore")
        assert set(bars["last_era"].tolist()) == {max(one[0] for one in rows_of(raws, Kind.trade))}, name


def test_the_ledger_and_requests_tell_the_eras_apart(eras):
    raws, made = eras
    era = max(one[0] for one in rows_of(raws, Kind.trade))
    for name, config in made.items():
        for kind in (Kind.trade, Kind.quote, Kind.depth):
            rows = coverage.read(config, SUBJECT, [kind])
            assert len(np.unique(rows["era"])) == 2, (name, kind)
            lost = coverage.missing(rows)
            assert len(lost) == 1 and lost["reason"][0] == Reason.reset and lost["era"][0] == 0, (name, kind)
        after = int(decode(raws[-1], 0).seq_ns) - 1000 * SECOND_NS
        rows = reader.arrays(config, f"trade.{SUBJECT}", after, gaps="raise")
        assert set(rows.coverage["era"].tolist()) == {era}
        before = reader.arrays(config, f"trade.{SUBJECT}", None, START + DAY // 4, gaps="raise")
        assert set(before.coverage["era"].tolist()) == {0}
        with pytest.raises(CoverageError, match="reset"):
            reader.arrays(config, f"trade.{SUBJECT}", gaps="raise")
        whole = reader.arrays(config, f"trade.{SUBJECT}", gaps="mask")
        ordinary = whole[(whole["flags"] & Flag.REPAIRED) == 0]
        assert np.unique(ordinary["stretch"]).tolist() == [0, 1] and (np.diff(ordinary["stretch"]) >= 0).all(), name


def test_a_sealed_day_is_made_again_and_pruned_with_both_eras(tmp_path):
    raws, cuts = story("within a cut")
    config = mesh_of(tmp_path / "mesh", raws, sorted(cuts), True)
    for number, day in enumerate(("2024-08-09", "2024-08-10")):
        _, made = rebuild_day(config.archive_dir, config.log_dir, day, tmp_path / f"again-{number}")
        assert all(one.same for one in made), day
    before = seen(config, 3600, "auto")
    writer = ArchiveWriter(config.archive_dir)
    prune(writer, "2024-08-10")
    writer.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert seen(config, 3600, "auto").bars.tobytes() == before.bars.tobytes()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 1), st.integers(1, 3)), min_size=2, max_size=40))
def test_order_by_era_and_id_loses_nothing_and_joins_nothing(words):
    """Ids that come again in an era (one that was taken back) stay beside one another; copies of one event become one."""
    rows, resets, expected = [], [], []
    for seq, (number, anew, copies) in enumerate(words, 1):
        if anew:
            resets.append(seq)
        row = np.zeros(1, row_dtype(Kind.trade))
        row["seq"], row["trade_id"] = seq, number
        rows += [row] * copies
        expected.append((max([0, *resets]), number, seq))
    got = np.concatenate(rows)
    known = np.array([0, *resets], "i8")
    order = np.random.default_rng(len(words)).permutation(len(got))
    out = in_id_order(got[order], era_of(known, got["seq"][order]))
    assert list(zip(out["trade_id"].tolist(), out["seq"].tolist())) == [one[1:] for one in sorted(expected)]


def test_ids_that_come_again_after_a_contradiction_break_nothing(tmp_path):
    """A trade with an absurd id was taken; its line goes on below."""
    venue = Venue()
    venue.go(500)
    venue.trade(10**15)
    venue.gap(Kind.trade, venue.trade_id + 1, Reason.contradiction, venue.trade_id)
    venue.trade_id -= 3  # three ids come again
    venue.go(2000)
    made = [mesh_of(tmp_path / name, venue.raws, cuts, seal) for name, cuts, seal in (("a", [1700], True), ("b", [], False))]
    numbers = [one[1] for one in rows_of(venue.raws, Kind.trade)]
    for config in made:
        rows = reader.arrays(config, f"trade.{SUBJECT}", order="id", gaps="ignore")
        assert rows["trade_id"].tolist() == sorted(numbers) and len(set(rows["seq"].tolist())) == len(numbers)
    bars = [seen(config, 3600, source).bars.tobytes() for config in made for source in ("auto", "ticks")]
    assert len(set(bars)) == 1
    rows = ArchiveReader(made[0].archive_dir).columns(Kind.trade, SUBJECT)
    assert rows["trade_id"].tolist() == numbers, "as it was heard"


def test_eras_are_named_by_the_ledger():
    rows = np.zeros(3, coverage.merge([]).dtype)
    rows["stream"], rows["era"], rows["state"] = Kind.trade, (0, 9, 20), Coverage.complete
    known = eras_in(rows, Kind.trade)
    assert era_of(known, np.array([1, 8, 9, 19, 20, 99])).tolist() == [0, 0, 9, 9, 20, 20]
    assert eras_in(rows, Kind.quote).tolist() == [0]
