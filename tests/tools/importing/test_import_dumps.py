"""Binance's public dumps into an archive: exact, with what is missing said, bad rows named, and taken up where it ended."""

import json
import zipfile
from decimal import Decimal

import pytest

from tests.support import published
from tests.support.command_run import mesh_here
from tickmesh.bus.config import load
from tickmesh.bus.schema import Coverage, GapState, Kind
from tickmesh.storage.query import coverage
from tickmesh.tools.importing import archiving

NEW_YEAR_2025 = 1_735_689_600 * 10**9
MINUTE = 60 * 10**9
EXACT = 100_000_000  # mantissas at -8


@pytest.fixture
def root(tmp_path):
    (tmp_path / "mesh.toml").write_text('source = "history"\n[[instruments]]\nsymbol = "BTCUSDT"\n')
    return tmp_path


def imported(root, *words, code=0):
    done = mesh_here(root, "import", *words, "--source", "history", "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def as_made(events):
    """Stored trades as their publisher knows them."""
    rows = []
    for event in events:
        (record,) = event.records
        price, quantity = (Decimal(int(record[name])) / EXACT for name in ("price_ticks", "quantity_lots"))
        rows.append((event.first_id, event.last_id, price, quantity, int(record["venue_ns"]), int(record["side"])))
    return rows


def wanted(made):
    return [(one.id, one.id, Decimal(one.price), Decimal(one.quantity), one.at_ns, -1 if one.sold else 1) for one in made]


def new_year(root):
    """Two daily files over the change of the time's unit, with a hole of three ids, and the month's minutes."""
    old = published.trades(100, 400, NEW_YEAR_2025 - 100 * 10**9)
    new = published.trades(503, 1200, NEW_YEAR_2025)
    files = [
        published.zipped(root / "BTCUSDT-trades-2024-12-31.zip", published.trade_lines(old), checksum=True),
        published.zipped(root / "BTCUSDT-trades-2025-01-01.zip", published.trade_lines(new, microseconds=True)),
    ]
    return files, old, new


def test_every_trade_is_there_exactly_and_a_hole_is_missing_for_good(root):
    files, old, new = new_year(root)
    result = imported(root, *reversed(files))
    assert [one["rows"] for one in result["files"]] == [400, 1200] and result["missing"] == {"trade.binance.BTCUSDT": 3}
    events = published.stored_events(root / "data/history", "trade")
    assert as_made(events) == wanted(old + new)
    assert all(event.recv_ns == 0 and event.sent_ns == 0 for event in events), "no receive time is made up"
    assert all(0 <= event.seq_ns - one.at_ns < 10 for event, one in zip(events, old)), "the log's time is the venue's"
    gaps = [gap for event in published.stored_events(root / "data/history", "gap") for gap in event.records]
    assert [(int(gap["first_id"]), int(gap["last_id"]), GapState(int(gap["state"]))) for gap in gaps] == [
        (500, 502, GapState.open), (500, 502, GapState.unrecoverable),
    ]  # fmt: skip
    rows = coverage.read(load(root), "binance.BTCUSDT", ["trade"])
    assert [(int(r["first_id"]), int(r["last_id"]), Coverage(int(r["state"]))) for r in rows] == [
        (100, 499, Coverage.complete), (500, 502, Coverage.missing), (503, 1702, Coverage.complete),
    ]  # fmt: skip
    (run, *_) = published.stored_events(root / "data/history", "run")
    assert [one["name"] for one in run.map()["files"]] == ["BTCUSDT-trades-2024-12-31.zip"], "the log says where it came from"
    assert result["sealed"] == ["2024-12-31"]
    assert mesh_here(root, "verify").returncode == 0, "the independent judge finds nothing either"


def test_klines_are_those_of_the_trades_or_the_difference_is_named(root):
    files, old, new = new_year(root)
    months = {"2024-12": (old, False), "2025-01": (new, True)}
    bars = [
        published.zipped(root / f"BTCUSDT-1m-{month}.zip", published.kline_lines(made, MINUTE, unit))
        for month, (made, unit) in months.items()
    ]
    result = imported(root, *files, *bars)
    assert [(one["equal"], one["differ"], one["absent"]) for one in result["klines"]] == [(2, 0, 0), (5, 0, 0)]
    lines = published.kline_lines(new, MINUTE, True)
    cells = lines[1].split(",")
    cells[5] = str(Decimal(cells[5]) + Decimal("0.00001"))
    lines[1] = ",".join(cells)
    later = published.kline_lines(published.trades(1, 4, NEW_YEAR_2025 + 3600 * 10**9), MINUTE, True)
    (check,) = imported(root, published.zipped(root / "BTCUSDT-1m-2025-01.zip", [*lines, *later]), code=1)["klines"]
    assert (check["equal"], check["differ"], check["absent"]) == (4, 1, 1)
    assert "2025-01-01T00:01" in check["differences"][0] and "volume" in check["differences"][0]


def test_a_second_import_changes_nothing_and_a_dry_one_writes_nothing(root):
    files, _, _ = new_year(root)
    dry = imported(root, *files, "--dry-run")
    assert dry["events"]["trade.binance.BTCUSDT"] == 1600 and not (root / "data").exists()
    first = imported(root, *files)
    assert first["events"] == dry["events"] and first["missing"] == dry["missing"]
    before = {path: path.read_bytes() for path in (root / "data").rglob("*") if path.is_file()}
    again = imported(root, *files)
    assert all(one["already"] for one in again["files"]) and again["events"] == {}
    assert {path: path.read_bytes() for path in (root / "data").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("blocks", [0, 3])
def test_an_import_that_was_killed_goes_on_to_the_same_archive(root, tmp_path, monkeypatch, blocks):
    files, _, _ = new_year(root)
    monkeypatch.setattr(archiving, "BLOCK_EVENTS", 300)
    imported(root, *files)
    undisturbed = [bytes(event.raw) for event in published.stored_events(root / "data/history")]
    (root / "data").rename(root / "undisturbed")
    cut, left = archiving.ImportArchive._cut, [blocks]

    def dying(self, block):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        cut(self, block)

    monkeypatch.setattr(archiving.ImportArchive, "_cut", dying)
    assert mesh_here(root, "import", *files, "--source", "history").returncode == 130
    monkeypatch.setattr(archiving.ImportArchive, "_cut", cut)
    other = published.zipped(
        root / "ETHUSDT-trades-2024-12-31.zip", published.trade_lines(published.trades(1, 5, NEW_YEAR_2025 - MINUTE))
    )
    assert "was interrupted" in imported(root, other, code=1)
    imported(root, *files)
    assert [bytes(event.raw) for event in published.stored_events(root / "data/history")] == undisturbed


def test_what_cannot_be_read_is_named_by_line_and_costs_nothing_beside_it(root):
    made = published.trades(10, 60, NEW_YEAR_2025)
    lines = published.trade_lines(made, microseconds=True)
    lines[0] = "\ufeff" + lines[0]
    spoiled = {
        5: (2, "nan"), 8: (1, "-60000.01"), 11: (4, "0"), 14: (1, "9" * 40), 17: (5, "perhaps"), 20: (0, "x12"),
        23: (1, ""), 26: (2, "1e-400"),
    }  # fmt: skip
    for number, (column, text) in spoiled.items():
        cells = lines[number].split(",")
        cells[column] = text
        lines[number] = ",".join(cells)
    lines[29] = lines[29].rpartition(",")[0]
    cells = lines[32].split(",")
    cells[2] = "1.5E-3"  # a float as some programs print it: exact all the same
    lines[32] = ",".join(cells)
    path = root / "BTCUSDT-trades-2025-01-01.csv"
    path.write_text("\n".join(lines))  # and the last line has no end
    result = imported(root, path)
    bad = sorted([*spoiled, 29, 59])
    assert result["odd"] == len(bad) and [one["line"] - 1 for one in result["odd_rows"]] == bad
    assert all(one["file"] == path.name and one["why"] for one in result["odd_rows"])
    rows = wanted([one for n, one in enumerate(made) if n not in bad])
    at = [n for n in range(60) if n not in bad].index(32)
    rows[at] = (*rows[at][:3], Decimal("0.0015"), *rows[at][4:])
    assert as_made(published.stored_events(root / "data/history", "trade")) == rows
    refusals = [event.map() for event in published.stored_events(root / "data/history", "refusal")]
    assert [one["line"] - 1 for one in refusals] == bad and refusals[0]["raw"] == lines[5].encode()
    assert result["missing"] == {"trade.binance.BTCUSDT": len(bad) - 1}, (
        "ids of rows that cannot be read are missing; the last is not known of"
    )


def test_copies_late_rows_and_absurd_ids_and_times(root):
    made = published.trades(10, 300, NEW_YEAR_2025)
    rows = published.trade_lines(made, microseconds=True)
    absurd = rows[100].replace(f"{made[100].id},", f"{made[100].id + 10**9},", 1)
    ahead = rows[150].split(",")
    ahead[4] = str(int(ahead[4]) + 3600 * 10**6)  # an hour too late
    rows = [*rows[:50], rows[51], rows[50], *rows[52:100], absurd, *rows[101:150], ",".join(ahead), *rows[151:], *rows[290:]]
    result = imported(root, published.zipped(root / "BTCUSDT-trades-2025-01-01.zip", rows))
    events = published.stored_events(root / "data/history", "trade")
    ids = [event.last_id for event in events]
    assert sorted(ids) == [one.id for one in made if one.id != 110] and len(set(ids)) == len(ids)
    assert result["duplicates"] == 10 and result["refused"] == 1 and result["missing"] == {"trade.binance.BTCUSDT": 1}
    after = next(event for event in events if event.last_id == made[151].id)
    assert after.seq_ns < NEW_YEAR_2025 + 300 * 10**9, "one row of a wrong time moves no other"


def test_usdm_files_with_names_in_the_first_line(root):
    made = published.trades(1000, 90, NEW_YEAR_2025)
    names = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
    quotes = "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time"
    at = published.stamp(NEW_YEAR_2025, False)
    lines = [f"{7_000_000 + 13 * n},60000.1,{n}.5,60000.2,2,{at + n},{at + n + 3}" for n in range(40)]
    files = [
        published.zipped(root / "BTCUSDT-aggTrades-2025-01-01.zip", [names, *published.aggregate_lines(made, 3)]),
        published.zipped(root / "BTCUSDT-bookTicker-2025-01-01.zip", [quotes, *lines]),
    ]
    result = imported(root, *files)
    assert {topic: n for topic, n in result["events"].items() if "BTC" in topic} == {
        "instrument.binance_usdm.BTCUSDT": 1, "quote.binance_usdm.BTCUSDT": 40, "trade.binance_usdm.BTCUSDT": 30,
    }  # fmt: skip
    trades = published.stored_events(root / "data/history", "trade")
    assert [(event.first_id, event.last_id) for event in trades] == [(n, n + 2) for n in range(1000, 1090, 3)]
    record = published.stored_events(root / "data/history", "quote")[7].records[0]
    assert (int(record["bid_ticks"]), int(record["bid_lots"])) == (60000 * EXACT + EXACT // 10, 7 * EXACT + EXACT // 2)
    assert int(record["venue_ns"]) == (at + 7) * 10**6
    (definition,) = published.stored_events(root / "data/history", "instrument")
    assert int(definition.records[0]["tick_size"]) == 0, "a tick size that nobody said is not known"
    rows = coverage.read(load(root), "binance_usdm.BTCUSDT")
    states = {Kind(int(row["stream"])).name: Coverage(int(row["state"])).name for row in rows}
    assert states == {"trade": "complete", "quote": "unproven"}


def test_sizes_that_are_said_are_stored_and_stay(root):
    files, _, _ = new_year(root)
    imported(root, *files, "--tick", "0.01", "--lot", "0.00001")
    (definition,) = published.stored_events(root / "data/history", "instrument")
    assert definition.records[["tick_size", "lot_size"]].tolist() == [(EXACT // 100, EXACT // 100_000)]
    assert "go together" in imported(root, *files, "--tick", "0.01", code=2)


def damaged(root):
    """(a file, what is said of it) for each way in which a file as a whole cannot be imported."""
    lines = published.trade_lines(published.trades(1, 2000, NEW_YEAR_2025), microseconds=True)
    whole = published.zipped(root / "BTCUSDT-trades-2025-01-01.zip", lines)
    (root / "torn.zip").write_bytes(whole.read_bytes()[:-4000])
    packed = published.gzipped(root / "whole.gz", lines).read_bytes()
    (root / "torn.gz").write_bytes(packed[: len(packed) // 2])
    (root / "empty.csv").write_bytes(b"")
    with zipfile.ZipFile(root / "two.zip", "w") as archive:
        archive.writestr("a.csv", "1")
        archive.writestr("b.csv", "2")
    published.zipped(root / "BTCUSDT-trades-2025-01-02.zip", [line.replace(",", ";") for line in lines])
    published.zipped(
        root / "BTCUSD_PERP-trades-2025-01-02.zip", published.trade_lines(published.trades(1, 5, NEW_YEAR_2025), False)
    )
    published.zipped(root / "BTCUSDT-trades-2025-01-03.zip", lines, checksum=True).write_bytes(whole.read_bytes() + b" ")
    (root / "BTCUSDT-trades-2025-01-04.csv").write_text("".join("a,b,c,d,e,f,g\n" for _ in range(9)))
    (root / "notes.txt").write_text("hello\n")
    return {
        "torn.zip": "damaged", "torn.gz": "damaged", "empty.csv": "is empty", "two.zip": "2 files",
        "BTCUSDT-trades-2025-01-02.zip": "1 columns", "BTCUSD_PERP-trades-2025-01-02.zip": "coin-margined",
        "BTCUSDT-trades-2025-01-03.zip": "SHA-256", "BTCUSDT-trades-2025-01-04.csv": "none of its first and last rows",
        "notes.txt": "no format that is known", "absent.zip": "there is no file",
    }  # fmt: skip


def test_a_file_that_cannot_be_imported_is_a_sentence_and_nothing_is_written(root):
    cases = damaged(root)
    for name, words in cases.items():
        said = imported(root, root / "BTCUSDT-trades-2025-01-01.zip", root / name, code=1)
        assert words in said and name in said and "Traceback" not in said, said
    assert not (root / "data").exists()


def test_what_would_mix_two_histories_is_refused(root):
    files, old, _ = new_year(root)
    rows = published.aggregate_lines(old, 2)
    both = published.zipped(root / "BTCUSDT-aggTrades-2024-12-31.zip", [f"{row},True" for row in rows])
    assert "both say trade.binance.BTCUSDT" in imported(root, *files, both, code=1)
    imported(root, files[1])
    assert "time never goes back" in imported(root, files[0], code=1)
    (root / "data/sim").mkdir()
    (root / "data/sim/market").write_text("exchange\n")
    done = mesh_here(root, "import", files[0], "--source", "sim")
    assert done.returncode == 1 and "a folder of its own" in done.stderr
    assert "is unknown" in imported(root, files[0], "--format", "csv", code=2)
