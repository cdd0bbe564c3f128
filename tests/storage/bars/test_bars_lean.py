"""Resampling of bars and ticks that others published (lean/): their minutes are what our merging makes of their seconds."""

import io
import zipfile
from collections import Counter

import numpy as np
import pytest

from tests.support.naive_bars import headers
from tickmesh.bus.schema import TRADE, Kind
from tickmesh.storage.bars.bar import BAR, SECOND_NS, coarsen
from tickmesh.storage.bars.runs import Window
from tickmesh.storage.bars.ticks import bars_of, held
from tickmesh.storage.hdf5.columns import Table

pytestmark = pytest.mark.data
DAYS = ("20161007", "20161008", "20161009")
LOTS = 100_000_000
MINUTE = 60 * SECOND_NS


def rows(path) -> np.ndarray:
    """The CSV in a zip as text cells, shape (n, columns)."""
    with zipfile.ZipFile(path) as archive:
        text = archive.read(archive.namelist()[0]).decode()
    return np.genfromtxt(io.StringIO(text), delimiter=",", dtype=str)


def bars_from(path, day_ns: int) -> np.ndarray:
    """ms of the day, open, high, low, close in dollars, volume."""
    cells = rows(path)
    out = np.zeros(len(cells), BAR)
    out["begin_ns"] = day_ns + cells[:, 0].astype("i8") * 1_000_000
    out["count"], out["first_id"], out["last_id"] = 1, out["begin_ns"], out["begin_ns"]
    for column, name in enumerate(("open", "high", "low", "close"), 1):
        out[f"{name}_ticks"] = np.rint(cells[:, column].astype(float) * 100)
    out["volume_lots"] = np.rint(cells[:, 5].astype(float) * LOTS)
    return out


def test_coinbase_seconds_merge_to_its_minutes(data):
    """All 4,216 minutes of three days agree in open, high, low, close and volume."""
    folder, agreed = data / "lean/Data/crypto/coinbase", 0
    for day in DAYS:
        day_ns = int(np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}", "ns").astype("i8"))
        seconds, minutes = (bars_from(folder / name / f"btcusd/{day}_trade.zip", day_ns) for name in ("second", "minute"))
        ours = coarsen(seconds, MINUTE)
        assert ours["begin_ns"].tolist() == minutes["begin_ns"].tolist()
        for name in ("open_ticks", "high_ticks", "low_ticks", "close_ticks", "volume_lots"):
            assert (ours[name] == minutes[name]).all(), (day, name)
        agreed += len(ours)
    assert agreed == 4216


def test_a_day_of_equity_ticks(data):
    """Some 30,000 ticks, many in the same millisecond: every bar at every length is that of a plain loop over them."""
    cells = rows(data / "lean/Data/equity/usa/tick/aig/20131008_trade.zip")
    trades = np.zeros(len(cells), TRADE)
    trades["trade_id"], trades["side"] = np.arange(1, len(cells) + 1), 1
    trades["venue_ns"] = 1_381_190_400 * SECOND_NS + cells[:, 0].astype("i8") * 1_000_000
    trades["price_ticks"], trades["quantity_lots"] = cells[:, 1].astype("i8"), cells[:, 2].astype("i8")
    assert len(trades) > 25_000
    for every_s in (1, 60, 300, 3600):
        got = bars_of(held({Kind.trade: Table(headers(len(trades)), trades)}), Window(every_s * SECOND_NS)).bars
        volume: Counter = Counter()
        last: dict[int, int] = {}
        for trade in trades:
            begin = int(trade["venue_ns"]) // (every_s * SECOND_NS) * every_s * SECOND_NS
            volume[begin] += int(trade["quantity_lots"])
            last[begin] = int(trade["price_ticks"])
        assert dict(zip(got["begin_ns"].tolist(), got["volume_lots"].tolist())) == volume
        assert dict(zip(got["begin_ns"].tolist(), got["close_ticks"].tolist())) == last
