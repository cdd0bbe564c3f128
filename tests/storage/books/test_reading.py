"""Books from archive and log: at any seq and time, sampled, through a kernel; always those of a plain loop over all events."""

from bisect import bisect_right

import numpy as np
import pytest
from numba import njit

from tests.support.sealed_days import DAYS, SUBJECT, three_days
from tests.support.stored import START, write_log
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DEPTH, Kind
from tickmesh.bus.segments import release
from tickmesh.bus.settings import Mesh
from tickmesh.bus.wire import Event
from tickmesh.storage.archive.book import ArchivedBook
from tickmesh.storage.archive.prune import mark_exported, prune
from tickmesh.storage.archive.reader import PrunedWarning
from tickmesh.storage.archive.seal import Sealer
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.books import events, reading
from tickmesh.storage.books.arrays import ASK, BID, best
from tickmesh.storage.query.times import ReadError

HOUR_NS = 3_600_000_000_000
RAWS = three_days(seed=4, count=1200)
TOUCH = np.dtype([("seq", "<i8"), ("seq_ns", "<i8"), ("valid", "<i8"), ("id", "<i8"), ("prices", "<i8", 2), ("changes", "<i8")])


class Naive:
    """The book after each change and gap of depth, by a plain loop. `books`: levels, `heads`: (valid, id), `stamps`: times of
    all depth events and gaps, also of those that change no book."""

    def __init__(self) -> None:
        self.seqs, self.times, self.books, self.heads = [0], [0], [np.zeros(0, DEPTH)], [(False, 0)]
        self.stamps: list[int] = []
        book = ArchivedBook()
        for event in map(Event, RAWS):
            before = book.valid, book.last_update_id
            if event.subject != SUBJECT or event.kind not in (Kind.depth, Kind.gap):
                continue
            if event.kind == Kind.gap and not (event.records["stream"] == Kind.depth).any():
                continue
            self.stamps.append(event.seq_ns)
            if event.kind == Kind.gap:
                book.broken(event.records)
            else:
                book.apply(event.flags, event.last_id, event.records)
                if (book.valid, book.last_update_id) == before:
                    continue
            self.seqs.append(event.seq)
            self.times.append(event.seq_ns)
            self.books.append(book.levels())
            self.heads.append((book.valid, book.last_update_id))

    def same(self, image: reading.BookImage, place: int) -> bool:
        return (image.valid, image.levels.tobytes()) == (self.heads[place][0], self.books[place].tobytes())


NAIVE = Naive()


def stored(config: Config, archived: int, seal: bool, released: int = 0) -> Config:
    write_log(config.log_dir, RAWS, segment_bytes=1 << 13)
    writer = ArchiveWriter(config.archive_dir)
    if archived:
        writer.archive_log(LogReader(config.log_dir), archived, 300)
    sealer = Sealer(writer)
    while seal and (day := sealer.due()) is not None:
        sealer.seal(day)
    writer.close()
    if released:
        assert release(config.log_dir, released)
    return config


@pytest.fixture(scope="module", params=["log", "cuts", "days"])
def mesh(request, tmp_path_factory) -> Config:
    """All in the log; cuts and the rest in the log; sealed days, cuts, and a log without its beginning."""
    config = Config(Mesh(), tmp_path_factory.mktemp(request.param))
    upto = len(RAWS) * 9 // 10
    return stored(config, *{"log": (0, False), "cuts": (upto, False), "days": (upto, True, upto // 2)}[request.param])


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch):
    monkeypatch.setattr(events, "EVENTS_MAX", 7)
    monkeypatch.setattr(events, "LOGGED_BYTES", 2000)
    monkeypatch.setattr(reading, "OUT_ROWS", 11)


@njit
def touch(state, book, changes, out, n):
    head = book.head[0]
    state[0] += 1
    out[n].seq, out[n].seq_ns, out[n].valid, out[n].id = head.seq, head.seq_ns, head.valid, head.last_update_id
    out[n].prices[0], out[n].prices[1] = best(book, BID)[0], best(book, ASK)[0]
    out[n].changes = len(changes)
    return n + 1


def best_of(levels: np.ndarray, side: int) -> int:
    own = levels["price_ticks"][levels["side"] == side] if len(levels) else levels
    return int(own[0]) if len(own) else 0


def test_the_book_at_any_seq_and_time_is_the_naive_one(mesh):
    for seq in (*range(1, len(RAWS), 97), *NAIVE.seqs[1:8], len(RAWS), len(RAWS) + 99):
        image = reading.book_at(mesh, SUBJECT, seq=seq)
        assert NAIVE.same(image, bisect_right(NAIVE.seqs, seq) - 1), seq
    for at in (START - 1, *range(START, NAIVE.times[-1], 9 * HOUR_NS + 7), *NAIVE.times[1:8], NAIVE.times[-1] + HOUR_NS):
        image = reading.book_at(mesh, SUBJECT, at)
        place = bisect_right(NAIVE.times, at) - 1
        assert NAIVE.same(image, place), at
        assert image.last_update_id == NAIVE.heads[place][1] and image.seq in (
            NAIVE.seqs[place],
            image.seq * (not image.seq_ns),
        )
    now = reading.book_at(mesh, SUBJECT)
    assert NAIVE.same(now, -1) and len(now.bids) + len(now.asks) == len(now.levels)
    assert sum(valid for valid, _ in NAIVE.heads) > 100 and len({valid for valid, _ in NAIVE.heads}) == 2


@pytest.mark.parametrize(
    "start, end", [(None, None), (START + 30 * HOUR_NS, START + 50 * HOUR_NS), (START + 71 * HOUR_NS, None)]
)
def test_samples_are_the_naive_books_at_their_times(mesh, start, end):
    every_ns = HOUR_NS // 4
    samples = reading.snapshots(mesh, SUBJECT, "15m", start, end, levels=3)
    first = -(-max(start or 0, NAIVE.stamps[0]) // every_ns) * every_ns
    last = min(end or NAIVE.stamps[-1], NAIVE.stamps[-1])
    assert samples["at_ns"].tolist() == list(range(first, last, every_ns))
    for sample in samples:
        place = bisect_right(NAIVE.times, int(sample["at_ns"])) - 1
        levels = NAIVE.books[place]
        assert (bool(sample["valid"]), int(sample["last_update_id"])) == NAIVE.heads[place]
        for column, side in ((0, 1), (1, -1)):
            own = levels[levels["side"] == side][:3]
            for name in ("price_ticks", "quantity_lots"):
                assert sample[name][:, column].tolist() == [*own[name].tolist(), 0, 0, 0][:3]


@pytest.mark.parametrize("start, end", [(None, None), (NAIVE.times[40], NAIVE.times[90])])
def test_a_kernel_is_called_with_the_book_after_every_change(mesh, start, end):
    state = np.zeros(1, "i8")
    rows = np.concatenate(list(reading.stream(mesh, SUBJECT, touch, state, TOUCH, start, end)))
    chosen = [k for k in range(1, len(NAIVE.seqs)) if (start or 0) <= NAIVE.times[k] < (end or 1 << 62)]
    assert rows["seq"].tolist() == [NAIVE.seqs[k] for k in chosen] and state[0] == len(chosen)
    assert rows["seq_ns"].tolist() == [NAIVE.times[k] for k in chosen]
    assert list(zip(rows["valid"].tolist(), rows["id"].tolist())) == [NAIVE.heads[k] for k in chosen]
    assert rows["prices"].tolist() == [[best_of(NAIVE.books[k], side) for side in (1, -1)] for k in chosen]


def test_a_pruned_day_warns_and_the_book_after_it_is_right(tmp_path):
    config = stored(Config(Mesh(), tmp_path), len(RAWS) * 9 // 10, True)
    writer = ArchiveWriter(config.archive_dir)
    mark_exported(config.archive_dir, DAYS[0], tmp_path / "export")
    assert prune(writer, DAYS[0])
    writer.close()
    with pytest.warns(PrunedWarning, match=DAYS[0]):
        rows = np.concatenate(list(reading.stream(config, SUBJECT, touch, np.zeros(1, "i8"), TOUCH)))
    later = [k for k in range(1, len(NAIVE.seqs)) if NAIVE.times[k] >= START + 24 * HOUR_NS]
    assert rows["seq"].tolist() == [NAIVE.seqs[k] for k in later]
    assert rows["prices"].tolist() == [[best_of(NAIVE.books[k], side) for side in (1, -1)] for k in later]


def peeks(state, book, changes, out, n):
    return n + 9


def divides(state, book, changes, out, n):
    return n // (len(changes) - len(changes))


def misnames(state, book, changes, out, n):
    out[n].nothing = 1
    return n + 1


@pytest.mark.parametrize(
    "kernel, sentence",
    [
        (peeks, "peeks raised ValueError for binance.BTCUSDT at seq .*: it gave another number than"),
        (divides, "divides raised ZeroDivisionError for binance.BTCUSDT at seq"),
        (misnames, "misnames does not compile: it uses the field 'nothing'"),
    ],
)
def test_what_a_kernel_does_wrong_is_a_sentence(mesh, kernel, sentence):
    with pytest.raises(ReadError, match=sentence):
        list(reading.stream(mesh, SUBJECT, kernel, np.zeros(1, "i8"), TOUCH))


def test_what_cannot_be_asked_is_a_sentence(mesh, monkeypatch):
    for ask, sentence in (
        (lambda: reading.book_at(mesh, "binance.BTCUSD"), "no topic depth.binance.BTCUSD.*depth.* are binance.BTCUSDT"),
        (lambda: reading.book_at(mesh, SUBJECT, START, seq=3), "at a time or at a seq; give one"),
        (lambda: reading.snapshots(mesh, SUBJECT, "0ms"), "'0ms' is no length of time; allowed are 1ns and more"),
        (lambda: reading.snapshots(mesh, SUBJECT, "1x"), "'1x' is no length"),
        (lambda: reading.snapshots(mesh, SUBJECT, 1, levels=0), "levels = 0; allowed are 1 to 10000"),
    ):
        with pytest.raises(ReadError, match=sentence):
            ask()
    monkeypatch.setattr(reading, "SAMPLED_MAX", 1 << 12)
    with pytest.raises(ReadError, match="take more than 0 MiB; ask for less, or take snapshot_chunks"):
        reading.snapshots(mesh, SUBJECT, "1m")
