"""The facade: the same tables from a mesh, a copy and exports of every kind; names, times, forms; errors that teach."""

import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tickmesh as tm
from tests.support.command_run import mesh_here
from tests.support.research_scene import DAYS, OTHER, SUBJECT, export, recorded
from tests.support.stored import Market, write_log
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.table_names import TABLES
from tickmesh.bus.wire import Event
from tickmesh.research.database import Database
from tickmesh.research.topics import Topics
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.query import bars, reader
from tickmesh.storage.query.gaps import CoverageError, CoverageWarning
from tickmesh.storage.query.known import known_subjects
from tickmesh.storage.query.times import ReadError, to_ns

pytestmark = pytest.mark.filterwarnings("ignore::tickmesh.storage.query.gaps.CoverageWarning")
EXPORTED = {"definitions": "instrument", "trades": "trade", "quotes": "quote", "depth": "depth", "gaps": "gap", "fills": "fill"}
FOLDERS = {"float": ("--decimals", "float"), "mantissa": (), "exact": ("--decimals", "exact"), "arrow": ("--format", "arrow")}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("mesh")
    recorded(root)
    for name, words in FOLDERS.items():
        export(root, name, *words)
    return root


@pytest.fixture(scope="module")
def db(root) -> Database:
    return tm.open(root)


@pytest.fixture(scope="module")
def copied(root, tmp_path_factory) -> Database:
    """A copy of the data alone: no mesh.toml beside it."""
    place = tmp_path_factory.mktemp("copied") / "data"
    shutil.copytree(root / "data/sim", place)
    return tm.open(place)


def written(root: Path, kind: str, subject: str = SUBJECT) -> pa.Table:
    """What `mesh export --decimals float` has written."""
    paths = sorted((root / "float" / kind / subject.replace(".", "/")).glob("*.parquet"))
    return pa.concat_tables([pq.ParquetFile(path).read() for path in paths])


@pytest.mark.parametrize("name", EXPORTED)
def test_a_mesh_a_copy_and_every_export_give_the_columns_of_the_float_export(root, db, copied, name):
    truth = written(root, EXPORTED[name])
    assert truth.num_rows
    for place in (db, copied, *(tm.open(root / folder) for folder in FOLDERS)):
        found = getattr(place, name)(SUBJECT).to_arrow()
        assert found.equals(truth), f"{name} of {place.place}"


def test_stored_rows_come_back_from_exact_exports_as_the_reader_has_them(root, db):
    for kind, name in (("trade", "trades"), ("quote", "quotes"), ("depth", "depth"), ("update", "orders"), ("fill", "fills")):
        truth = reader.arrays(load(root), f"{kind}.{SUBJECT}", gaps="ignore")
        for place in (db, *(tm.open(root / folder) for folder in FOLDERS)):
            assert getattr(place, name)(SUBJECT).to_numpy().tobytes() == truth.tobytes(), (name, place.place)


def test_forms_are_the_same_rows(db):
    selection = db.quotes(SUBJECT, DAYS[0], DAYS[1])
    table = selection.to_arrow()
    assert len(selection) == table.num_rows == 30 and selection.columns == table.column_names
    assert selection.to_polars().to_arrow().cast(table.schema).equals(table)
    frame = selection.to_pandas()
    assert frame["seq_ns"].astype("i8").tolist() == selection.to_numpy()["seq_ns"].tolist()
    assert frame["ask_quantity"].tolist() == [0.0] * 30 and frame.attrs["coverage"] == selection.coverage
    assert selection.head(3).equals(frame.head(3))
    assert selection.tail(4)["seq"].tolist() == frame["seq"].tolist()[-4:]
    connection = duckdb.connect()
    assert selection.to_duckdb(connection, "mine") == "mine"
    assert connection.sql("select count(*), max(seq) from mine").fetchall() == [(30, table["seq"][-1].as_py())]
    assert "nothing is read" in repr(selection) and "bid_price" in repr(selection)


def test_chunks_are_bounded_and_together_everything(db):
    selection = db.depth(SUBJECT)
    chunks = list(selection.chunks(64))
    assert {chunk.num_rows for chunk in chunks[:-1]} == {64} and 0 < chunks[-1].num_rows <= 64
    assert pa.concat_tables(chunks).equals(selection.to_arrow())


def test_several_instruments_come_one_after_the_other_or_in_order_of_seq(db):
    apart, merged = db.trades("*").to_pandas(), db.trades(merge=True).to_pandas()
    assert apart["instrument"].unique().tolist() == ["BTCUSDT", "ETHUSDT"] and len(apart) == len(merged) == 120
    assert (np.diff(apart["seq"]) < 0).any() and (np.diff(merged["seq"]) > 0).all()
    assert merged.equals(apart.sort_values("seq", ignore_index=True))
    mantissas = db.trades(decimals="mantissa", merge=True).to_pandas()
    assert (mantissas["price_ticks"] * 10.0 ** mantissas["price_exponent"] - merged["price"]).abs().max() < 1e-9
    prices = merged.groupby("venue")["price"].mean()  # of other exponents
    assert 61_000 < prices["binance"] < 62_000 and 300 < prices["binance_usdm"] < 310
    rows = db.trades(merge=True).to_numpy()
    assert rows["seq"].tolist() == merged["seq"].tolist() and set(rows["subject"].tolist()) == {
        SUBJECT.encode(),
        OTHER.encode(),
    }


def test_names(db):
    assert db.instruments == [SUBJECT, "binance.ETHUSDT", OTHER]
    for name in ("BTCUSDT", "btcusdt", "BTC*", "binance.BTCUSDT", ["BTCUSDT", "binance.BTC*"]):
        assert db.trades(name).topics == [f"trade.{SUBJECT}"]
    assert db.trades("binance_usdm.*").topics == [f"trade.{OTHER}"]
    assert db.topic("trades.BTCUSDT").topics == db.topic("trade.BTCUSDT").topics == [f"trade.{SUBJECT}"]


@pytest.mark.parametrize(
    "ask, sentence",
    [
        (lambda db: db.trades("ETHUSDT"), "known of 2 venues; say which: binance.ETHUSDT, binance_usdm.ETHUSDT"),
        (lambda db: db.trades("BTCUST"), "no instrument 'BTCUST' in .*there is binance.BTCUSDT.*did you mean binance.BTCUSDT"),
        (lambda db: db.trades("DOGE*"), "no instrument"),
        (lambda db: db.trades(SUBJECT, "2024-08-10", "2024-08-09"), "start 2024-08-10.* is not before the end 2024-08-09"),
        (lambda db: db.trades(SUBJECT, "yesterday"), "'yesterday' is no time; allowed .*so long ago"),
        (lambda db: db.trades(SUBJECT, gaps="hide"), "gaps='hide' is unknown.*'mask'"),
        (lambda db: db.trades(SUBJECT, decimals="decimal"), "decimals='decimal' is unknown.*'exact'"),
        (lambda db: db.trades(decimals="exact").to_arrow(), "exact decimals of several instruments.*'mantissa'"),
        (lambda db: db.topic("trdae.BTCUSDT"), "no topic; it should be kind.subject"),
        (lambda db: db.health("feed-9").to_pandas(), "no health of 'feed-9'.*feed-1, feed-2"),
        (lambda db: db.health().to_numpy(), "fit into no array"),
        (lambda db: db.coverage(SUBJECT, ["gap"]), "coverage is of trade, quote, depth"),
        (lambda db: db.sql("select * from tradez"), "tradez does not exist(.|\n)*The tables are definitions, trades"),
        (lambda db: db.sql("select pryce from trades"), 'pryce(.|\n)*Candidate bindings: "price"'),
        (lambda db: db.trades(SUBJECT).chunks(0), "chunks of 0 rows are impossible"),
        (lambda db: db.bars(["BTCUSDT", OTHER], "1m").to_numpy(), "of 2 instruments fit into no array"),
    ],
)
def test_what_cannot_be_answered_is_a_sentence_that_says_what_can(db, ask, sentence):
    with pytest.raises(ReadError, match=sentence):
        ask(db)


def test_an_empty_range_is_an_empty_table_with_all_columns(db):
    selection = db.trades(SUBJECT, "2030-01-01", "2030-01-02")
    assert len(selection) == 0 and selection and selection.to_arrow().column_names == selection.columns
    assert selection.to_numpy().dtype == reader.arrays(load(db.source.config.root), f"trade.{SUBJECT}", gaps="ignore").dtype
    assert len(selection.tail()) == len(selection.head()) == 0


def test_so_long_ago_is_a_time():
    hour = 3_600_000_000_000
    assert abs(to_ns("now") - to_ns("1h") - hour) < hour / 60
    assert abs(to_ns("2h ago") - to_ns("1h") + hour) < hour / 60


def test_what_is_missing_is_said_refused_or_marked(db, root):
    with pytest.warns(CoverageWarning, match="trade.binance.BTCUSDT is missing") as caught:
        list(db.trades(SUBJECT).chunks())
    assert caught[0].filename == __file__, "the warning points at the line that asked"
    with pytest.raises(CoverageError, match="is missing"):
        db.trades(SUBJECT, gaps="raise").to_pandas()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        marked = db.trades(SUBJECT, gaps="mask")
        truth = reader.arrays(load(root), f"trade.{SUBJECT}", gaps="mask")["stretch"].tolist()
        assert marked.to_pandas()["stretch"].tolist() == truth == marked.to_numpy()["stretch"].tolist()
        assert len(set(truth)) > 2
        assert marked.coverage[0]["instrument"] == SUBJECT and {one["state"] for one in marked.coverage} > {"missing"}
    frame = db.coverage("BTCUSDT")
    assert set(frame["kind"]) == {"trade", "quote", "depth"} and str(frame["begin"].dtype) == "datetime64[ns, UTC]"
    exported = tm.open(root / "mantissa").coverage("BTCUSDT", ["trade"])
    assert exported.equals(frame[frame["kind"] == "trade"].reset_index(drop=True))


def test_bars_are_those_of_the_bars_command(db, root):
    frame = db.bars("BTCUSDT", "1h", DAYS[0], DAYS[1]).to_pandas()
    truth = bars.frame(load(root), SUBJECT, "1h", DAYS[0], DAYS[1])
    pd.testing.assert_frame_equal(frame.drop(columns=["venue", "instrument"]), truth)
    by_ticks = db.resample(["BTCUSDT", OTHER], "ticks", 10)
    assert by_ticks.groupby("instrument")["count"].sum().to_dict() == {"BTCUSDT": 90, "ETHUSDT": 30}
    assert by_ticks["count"].max() == 10
    both = db.bars(["BTCUSDT", OTHER], "1d").to_polars()
    assert both.columns[:3] == ["time", "venue", "instrument"] and both["instrument"].n_unique() == 2
    with pytest.raises(ReadError, match="is an export, which has ticks and no bars"):
        tm.open(root / "float").bars("BTCUSDT")


def test_books_are_those_of_the_arrays_in_decimals(db, root):
    """The made-up changes have no snapshot before them: a snapshot is given, in a place of its own."""
    with pytest.raises(ReadError, match="are 3 instruments; a book is of one"):
        db.books("*")
    with pytest.raises(ReadError, match='say every="1s" too'):
        db.books(SUBJECT, start="1h")
    with pytest.raises(ReadError, match="is an export, which has ticks and no books"):
        tm.open(root / "float").books(SUBJECT)
    assert db.books(SUBJECT).attrs["valid"] is False and not len(db.books(SUBJECT)), "changes without a snapshot are no book"


def test_a_book_has_the_exponents_of_its_moment(tmp_path):
    market = Market()
    raws = [market.instrument((-2, -5)), market.depth([(100, 5, 1), (102, 7, -1), (99, 1, 1)], 1, snapshot=True)]
    raws += [market.trade(), market.instrument((-3, -5)), market.depth([(1000, 0, 1), (1010, 3, 1)], 2), market.trade()]
    (tmp_path / "mesh.toml").write_text("")
    write_log(load(tmp_path).log_dir, raws)
    db = tm.open(tmp_path)
    before = db.books("BTCUSDT", at=Event(raws[2]).seq_ns)
    assert before.values.tolist() == [["bid", 1.0, 5e-5], ["bid", 0.99, 1e-5], ["ask", 1.02, 7e-5]]
    assert before.attrs["valid"] and before.attrs["last_update_id"] == 1
    samples = db.books("BTCUSDT", every="1ms", levels=1)
    assert samples["bid_price_1"].tolist()[0] == 1.0 and samples["seq"].is_monotonic_increasing
    assert samples.columns.tolist() == ["seq", "valid", "bid_price_1", "bid_quantity_1", "ask_price_1", "ask_quantity_1"]


def test_sql_sees_every_table_and_only_what_was_asked_for(db, root):
    rows = db.sql("select instrument, count(*), sum(quantity) from trades group by all order by all").fetchall()
    trades = db.trades().to_pandas().groupby("instrument")["quantity"].agg(["size", "sum"])
    assert rows == [(name, one["size"], pytest.approx(one["sum"])) for name, one in trades.iterrows()]
    twice = "select count(*) from trades a join trades b using (seq) join quotes q on q.seq = a.seq + 1"
    assert db.sql(twice, SUBJECT).fetchall() == [(90,)], "a table that is named twice is there twice"
    assert db.sql("select count(*) from trades", SUBJECT, DAYS[1]).fetchall() == [(60,)]
    assert db.sql("select what from alerts").fetchall() == [("restart",)]
    assert db.sql("with x as (select * from fills) select count(*) from x, health").fetchall() == [(27,)]
    assert tm.open(root / "float").sql("select count(*) from depth").fetchall() == [(270,)]
    for name in TABLES:
        assert db.sql(f"select * from {name}").columns


def test_health_is_a_row_for_each_event(db):
    frame = db.health("feed-*").to_pandas()
    assert len(frame) == len(db.health()) == 9 and set(frame["subject"]) == {"feed-1", "feed-2"} and "trades" in frame
    assert db.health("feed-1", DAYS[2]).to_pandas()["subject"].tolist() == ["feed-1"] * 2
    assert db.alerts().to_polars()["what"].to_list() == ["restart"]


def test_stock_counts_what_is_there(db, root):
    stock = {one.topic: one for one in db.stock()}
    assert stock[f"trade.{SUBJECT}"].rows + stock[f"trade.{SUBJECT}"].logged == 90 and stock["health.*"].rows
    assert stock[f"depth.{SUBJECT}"].days == DAYS and stock[f"depth.{SUBJECT}"].bytes > 100
    assert set(stock) == set(db.topics)
    exported = {one.topic: one for one in tm.open(root / "float").stock()}
    assert exported[f"trade.{SUBJECT}"].rows == 90


def test_what_is_no_place_of_ours_is_said_with_what_is_there(root, tmp_path, monkeypatch):
    (tmp_path / "notes.txt").touch()
    for place, sentence in (
        (root / "data", r"holds the data of sim: open .*data/sim; allowed is"),
        (tmp_path, "holds notes.txt; allowed is a mesh's folder"),
        (tmp_path / "notes.txt", "is a file; allowed"),
        (tmp_path / "nothing", "is not there; allowed"),
    ):
        with pytest.raises(ReadError, match=sentence):
            tm.open(place)
    (tmp_path / "manifest.json").write_text('{"files": {"odd": 1}}')
    with pytest.raises(ReadError, match="no manifest of `mesh export`"):
        tm.open(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TICKMESH_ROOT", raising=False)
    with pytest.raises(ReadError, match="no mesh.toml in .*; or name what to open"):
        tm.open()


def test_every_method_has_a_docstring_whose_example_runs(db):
    names = [name for name in vars(Topics) | vars(Database) if not name.startswith("_")]
    named = [name for name in names if callable(getattr(Database, name)) and name not in ("stock",)]
    assert set(TABLES) <= set(names) and set(named) <= set(dir(db))
    from tickmesh.bus.schema import Kind

    for name in named:
        text = getattr(Database, name).__doc__
        example = re.search(r"`(db\.[^`]+)`", text)
        assert example, f"{name} has no example"
        eval(example[1], {"db": db, "Kind": Kind})


def test_importing_the_mesh_imports_nothing_of_research(tmp_path):
    program = (
        "import sys, tickmesh, tickmesh.bus.wire, tickmesh.nodes.sequencer.node\n"
        "heavy = ('pandas', 'pyarrow', 'polars', 'duckdb')\n"
        "print(sorted(n for n in sys.modules if n.split('.')[0] in heavy or 'tickmesh.research' in n))\n"
        "print('open' in dir(tickmesh), tickmesh.open.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["[]", "True tickmesh.research.opening"], done.stderr
    with pytest.raises(AttributeError, match="no attribute 'opne'; it has asof, backtest, .*, open, plot, sweep, sweep_bars"):
        tm.opne  # noqa: B018


@pytest.mark.parametrize("archived", [True, False])
def test_who_gives_commands_is_no_instrument(make_root, archived):
    root, market = make_root(), Market()
    config = load(root)
    raws = market.mixed(40)
    said = [market.event(Kind.command, who, {"command": "kill_switch", "on": False}) for who in ("operator", "sentinel-1")]
    write_log(config.log_dir, [*raws, *said])
    if archived:
        writer = ArchiveWriter(config.archive_dir)
        writer.archive_log(LogReader(config.log_dir), len(raws) + len(said), 90)
        writer.close()
    db, there = tm.open(root), [SUBJECT, "binance.ETHUSDT"]
    assert db.instruments == there
    with pytest.raises(ReadError, match=f"there is {', '.join(there)}$"):
        db.topic("trade.XRPUSDT")
    assert known_subjects(config, Kind.trade) == there
    assert len(db.topic("command.operator").to_pandas()) == 1
    with pytest.raises(ReadError, match="there is no command of 'nobody' in .*: operator, sentinel-1$"):
        db.topic("command.nobody").to_pandas()
    assert mesh_here(root, "coverage", "XRPUSDT").stderr.endswith(f"known are {', '.join(there)}\n")
