"""Real captures imported: what their frames say, by a reading of their JSON that shares nothing with ours."""

import json
from collections import defaultdict
from decimal import Decimal

import numpy as np
import pytest

from tests.support import captures, published
from tests.support.command_run import mesh_here
from tickmesh.bus.schema import Flag
from tickmesh.tools.importing.event_arrays import claims

EXACT = 100_000_000
pytestmark = pytest.mark.data


@pytest.fixture
def root(tmp_path):
    (tmp_path / "mesh.toml").write_text('source = "capture"\n')
    return tmp_path


def imported(root, *words):
    done = mesh_here(root, "import", *words, "--source", "capture", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def first_lines(path, count, target):
    """The first lines of a capture as a file of its own."""
    frames = [message for _, message in zip(range(count), captures.stamped(path))]
    lines = [f"{one.recv_ns} {one.frame.decode()}" for one in frames]
    return published.gzipped(target, lines), frames


@captures.needs(captures.SPOT_BTC)
def test_a_raw_capture_is_what_its_frames_say(root):
    path, frames = first_lines(captures.SPOT_BTC, 6000, root / "btcusdt.gz")
    result = imported(root, path)
    assert result["odd"] == 0 and result["missing"] == {} and [one["rows"] for one in result["files"]] == [6000]
    said = defaultdict(list)
    for one in frames:
        tree = json.loads(one.frame, parse_float=Decimal)
        said[tree.get("stream", "snapshot").partition("@")[2]].append((one.recv_ns, tree.get("data", tree)))
    stored = published.stored_events(root / "data/capture")
    value = lambda record, name: Decimal(int(record[name])) / EXACT  # noqa: E731
    trades = [
        (event.recv_ns, event.last_id, value(r, "price_ticks"), value(r, "quantity_lots"), int(r["side"]))
        for event in stored if event.topic.startswith("trade") for r in event.records
    ]  # fmt: skip
    assert trades == [(at, d["t"], Decimal(d["p"]), Decimal(d["q"]), -1 if d["m"] else 1) for at, d in said["trade"]]
    quotes = [
        (event.recv_ns, event.last_id, *(value(r, name) for name in ("bid_ticks", "bid_lots", "ask_ticks", "ask_lots")))
        for event in stored if event.topic.startswith("quote") for r in event.records
    ]  # fmt: skip
    assert quotes == [(at, d["u"], *(Decimal(d[name]) for name in "bBaA")) for at, d in said["bookTicker"]]
    changes = [event for event in stored if event.topic.startswith("depth") and not event.flags & Flag.SNAPSHOT]
    assert [(event.first_id, event.last_id) for event in changes] == [(d["U"], d["u"]) for _, d in said["depth@100ms"]]
    assert _agreeing(stored) > 20


def _agreeing(stored):
    """Quotes that are the best levels of the stored book at their very update id; none may differ."""
    levels, at, agreed = {1: {}, -1: {}}, None, 0
    quoted = {event.last_id: event.records[0] for event in stored if event.topic.startswith("quote")}
    for event in stored:
        if not event.topic.startswith("depth") or event.flags & Flag.UNSYNCED:
            continue
        if event.flags & Flag.SNAPSHOT:
            levels = {1: {}, -1: {}}
        for price, quantity, side, _ in event.records.tolist():
            if quantity:
                levels[side][price] = quantity
            elif side:
                levels[side].pop(price, None)
        at = event.last_id
        if (one := quoted.get(at)) is not None:
            bid, ask = max(levels[1]), min(levels[-1])
            assert (bid, levels[1][bid], ask, levels[-1][ask]) == one[["bid_ticks", "bid_lots", "ask_ticks", "ask_lots"]].item()
            agreed += 1
    return agreed


@captures.needs(captures.LASOTA)
def test_streams_as_csv_with_faults_keep_every_good_row(root):
    clean, faulty = (
        captures.LASOTA / f"test_{twin}_binance_trade_stream_spot_trxusdt_04-03-2025.csv" for twin in ("positive", "negative")
    )
    lines = {path: path.read_text().splitlines()[:1500] for path in (clean, faulty)}
    (root / "faulty.csv").write_text("\n".join(lines[faulty]) + "\n")
    result = imported(root, root / "faulty.csv")
    good = [a for a, b in zip(lines[clean][1:], lines[faulty][1:]) if a == b]
    stored = {event.last_id: event for event in published.stored_events(root / "data/capture", "trade")}
    for line in good:
        cells = line.split(",")
        record = stored[int(cells[6])].records[0]
        assert Decimal(int(record["price_ticks"])) / EXACT == Decimal(cells[7])
        assert int(record["venue_ns"]) == int(cells[4]) * 1000
    assert len(good) > 1000 and result["odd"] + result["refused"] > 0


@captures.needs(captures.USDM_BTC_2023_BOOK)
def test_a_published_book_is_imported_level_by_level(root):
    result = imported(root, captures.USDM_BTC_2023_BOOK, "--symbol", "BTCUSDT", "--tick", "0.1", "--lot", "0.001")
    assert result["odd"] == 0
    (event,) = published.stored_events(root / "data/capture", "depth")
    with np.load(captures.USDM_BTC_2023_BOOK) as file:
        wanted = {
            (round(Decimal(repr(p)), 8), round(Decimal(repr(q)), 8), int(s)) for _, _, _, s, p, q in file["data"].tolist()
        }
    found = {(Decimal(p) / EXACT, Decimal(q) / EXACT, s) for p, q, s, _ in event.records.tolist()}
    assert event.flags & Flag.SNAPSHOT and found == wanted and len(event.records) == 2306 + 1791
    assert claims(captures.SPOT_BTC, "", None) is None
