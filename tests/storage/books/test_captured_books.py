"""The books of real captures, from an archive: the venue's best prices at every equal update id, and its book at the end."""

from pathlib import Path

import numpy as np
import pytest
from numba import njit

from bench.archive import captured, sequenced
from tests.support import captures
from tests.support.captures import needs
from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import Mesh
from tickmesh.bus.wire import Event
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.books import reading
from tickmesh.storage.books.arrays import ASK, BID, best

pytestmark = pytest.mark.data
SUBJECT = "binance.BTCUSDT"
TOUCH = np.dtype([("id", "<i8"), ("touch", "<i8", 4)])
NAMES = ("bid_ticks", "bid_lots", "ask_ticks", "ask_lots")


def archived(tmp_path: Path, path: Path, kinds: tuple[Kind, ...] = (Kind.depth, Kind.quote)) -> Config:
    """An archive of a capture, its REST snapshot before all changes: those that it has are left out by their ids."""
    heard = [(recv_ns, event) for recv_ns, event in captured(path) if Event(event).kind in kinds]
    heard.sort(key=lambda one: not Event(one[1]).flags)
    batches = sequenced(iter(heard))
    writer = ArchiveWriter(tmp_path / "data" / "sim" / "archive")
    config = Config(Mesh(), tmp_path)
    assert config.archive_dir == writer.folder
    writer.archive(iter(batches), batches[-1].last, 20_000, 5)
    writer.close()
    return config


@njit
def touch(state, book, changes, out, n):
    out[n].id = book.head[0].last_update_id
    for side in (BID, ASK):
        out[n].touch[2 * side], out[n].touch[2 * side + 1] = best(book, side)
    return n + 1


@needs(captures.SPOT_BTC, captures.USDM_BTC)
@pytest.mark.parametrize("path, equal", [(captures.SPOT_BTC, 564), (captures.USDM_BTC, 629)], ids=["spot", "usdm"])
def test_the_streamed_book_is_the_book_ticker_at_every_equal_update_id(tmp_path, path, equal):
    config = archived(tmp_path, path)
    rows = np.concatenate(list(reading.stream(config, SUBJECT, touch, np.zeros(1, "i8"), TOUCH)))[1:]
    quotes = ArchiveReader(config.archive_dir).columns(Kind.quote, SUBJECT)
    _, ours, theirs = np.intersect1d(rows["id"], quotes["update_id"], return_indices=True)
    assert len(ours) == equal
    assert rows["touch"][ours].tolist() == [[int(quotes[name][k]) for name in NAMES] for k in theirs]


@needs(captures.USDM_BTC_2023, captures.USDM_BTC_2023_BOOK)
def test_the_book_at_the_end_of_the_day_is_the_published_one(tmp_path):
    config = archived(tmp_path, captures.USDM_BTC_2023, (Kind.depth,))
    published = np.load(captures.USDM_BTC_2023_BOOK)
    rows = published[published.files[0]].tolist()
    book = reading.book_at(config, SUBJECT)
    assert (len(book.bids), len(book.asks)) == (2306, 1791)
    levels = zip(book.levels["side"].tolist(), book.levels["price_ticks"].tolist(), book.levels["quantity_lots"].tolist())
    assert set(levels) == {(int(row[3]), round(row[4] * 10**8), round(row[5] * 10**8)) for row in rows}
