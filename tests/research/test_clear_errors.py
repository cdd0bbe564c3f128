"""What can go wrong with what is asked, read or run, at the functions of `tickmesh`: one sentence, a ReadError."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import tickmesh as tm
from tests.support.backtest_scene import lay
from tests.support.command_run import mesh_here
from tests.support.damaged_meshes import damaged_copies
from tests.support.odd_models import line_of, source, zero_at
from tests.support.research_scene import SUBJECT, recorded
from tickmesh.bus.segments import LogError
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.storage.query.times import ReadError

pytestmark = pytest.mark.filterwarnings("ignore::tickmesh.storage.query.gaps.CoverageWarning")
Ask = Callable[[Path, str, tuple[str, ...]], object]
OF_ROWS: dict[str, Ask] = {  # of a mesh's folder, an instrument, a span
    name: lambda root, instrument, span, name=name: getattr(tm.open(root), name)(instrument, *span).to_pandas()
    for name in ("trades", "quotes", "depth", "definitions", "gaps", "signals", "orders", "fills")
}
OF_SPAN: dict[str, Ask] = OF_ROWS | {
    "head": lambda root, instrument, span: tm.open(root).trades(instrument, *span).head(),
    "len": lambda root, instrument, span: len(tm.open(root).trades(instrument, *span)),
    "topic": lambda root, instrument, span: tm.open(root).topic(f"trade.{instrument}", *span).to_polars(),
    "bars": lambda root, instrument, span: tm.open(root).bars(instrument, "1h", *span).to_pandas(),
    "resample": lambda root, instrument, span: tm.open(root).resample(instrument, "ticks", 10, *span),
    "features": lambda root, instrument, span: tm.open(root).features(instrument, "ofi", *span),
    "sampled": lambda root, instrument, span: tm.open(root).books(instrument, None, "1h", *span),
    "coverage": lambda root, instrument, span: tm.open(root).coverage(instrument, "trade", *span),
    "sql": lambda root, instrument, span: tm.open(root).sql("select count(*) from trades", instrument, *span),
    "plot": lambda root, instrument, span: tm.plot(instrument, root / "out.html", *span, place=root),
    "sweep": lambda root, instrument, span: tm.sweep(root, None, *(span or (None, None)), None, instrument, workers=1),
    "sweep_bars": lambda root, instrument, span: tm.sweep_bars(root, "1h", *(span or (None, None)), instrument, root / "bars"),
}
OF_NOW: dict[str, Ask] = {
    "books": lambda root, instrument, span: tm.open(root).books(instrument),
    "exponents": lambda root, instrument, span: tm.open(root).exponents(instrument),
}
OF_ALL: dict[str, Ask] = {
    "backtest": lambda root, instrument, span: tm.backtest(root, *span),
    "compare": lambda root, instrument, span: tm.compare(root, *span),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mesh")
    recorded(folder, rounds=10)
    return folder


@pytest.fixture(scope="module")
def damaged(root, tmp_path_factory) -> dict[str, tuple[Path, str]]:
    return damaged_copies(root, tmp_path_factory.mktemp("damaged"), ("gone", "newer", "cut", "log"))


@pytest.mark.parametrize("name", [*OF_SPAN, *OF_NOW])
def test_an_instrument_that_there_is_not_is_named_with_those_that_there_are(root, name):
    with pytest.raises(ReadError, match="no instrument 'BTCUST' in .*; there is binance.BTCUSDT"):
        (OF_SPAN | OF_NOW)[name](root, "BTCUST", ())


@pytest.mark.parametrize("name", [*OF_SPAN, *OF_ALL])
def test_a_span_that_ends_before_it_starts_is_refused(root, name):
    with pytest.raises(ReadError, match="start .*2024-08-10.*end .*2024-08-09"):
        (OF_SPAN | OF_ALL)[name](root, SUBJECT, ("2024-08-10", "2024-08-09"))


@pytest.mark.parametrize("name", ["plot", "compare"])
def test_a_span_in_which_nothing_is_recorded_is_named_as_it_was_asked_for(root, name):
    with pytest.raises(ReadError, match="(neither|no order).*(2030-01-01 to the end of what is recorded|that time)"):
        (OF_SPAN | OF_ALL)[name](root, SUBJECT, ("2030-01-01",))


@pytest.mark.parametrize("fault", ["gone", "newer", "cut", "log"])
def test_a_file_that_cannot_be_read_is_named_with_what_to_do(damaged, fault):
    folder, sentence = damaged[fault]
    for name, ask in (OF_SPAN | OF_NOW | OF_ALL).items():
        if not name.startswith("sweep"):  # whose parts say it, each in its row
            with pytest.raises(LogError) as caught:
                ask(folder, SUBJECT, ())
            assert re.search(sentence, str(caught.value)) and "\n" not in str(caught.value), (name, caught.value)


@pytest.mark.parametrize(
    "ask, sentence",
    [
        (lambda db: db.bars(SUBJECT, None).to_pandas(), "None is no length of a bar"),
        (lambda db: db.trades([5]), "instruments: 5 is no name"),
        (
            lambda db: db.features(SUBJECT, ["ofi"], parameters={"x": 1}),
            "the feature library has no parameter 'x'; it has bar_ms",
        ),
        (lambda db: db.features(SUBJECT, "mod"), "'mod' is no feature; there are mid"),
        (lambda db: db.exponents("*"), "are 3 instruments; exponents are of one"),
        (lambda db: db.sql(""), "'' asks for nothing"),
        (lambda db: db.trades(SUBJECT).join_asof(5, ["bid_price"]), "int is no selection.*tickmesh.asof"),
        (lambda db: tm.sweep(db.place.parents[1], vary=["latency"]), "is impossible; allowed is a name with its values"),
        (lambda db: tm.sweep(db.place.parents[1], vary={"seed": 5}), "seed = 5 is no list of values"),
        (lambda db: tm.backtest(db.place.parents[1], fees=5), "fees '5' are none; allowed: spot"),
        (lambda db: tm.backtest(db.place.parents[1], strategies="none"), "there is no strategy 'none'"),
        (lambda db: tm.plot(SUBJECT, db.place.with_suffix(".png"), place=db), "is a folder; a plot is a file"),
    ],
)
def test_what_is_no_value_is_refused_with_what_is_one(root, ask, sentence):
    (root / "data" / "sim.png").mkdir(exist_ok=True)
    with pytest.raises(ReadError, match=sentence):
        ask(tm.open(root))


def test_one_name_is_as_good_as_a_list_of_one(root):
    db = tm.open(root)
    assert db.coverage(SUBJECT, "trade").equals(db.coverage(SUBJECT, ["trade"])) and len(db.coverage(SUBJECT, "trade"))


RAISES = zero_at(5)
UNCOMPILED = source(value="q.no_such_field")
DIES = f"""{source()}
import os, signal
from pathlib import Path
seen = Path(__file__).with_name("seen")
if seen.exists():  # whoever looks at the model first lives; a worker does not
    os.kill(os.getpid(), signal.SIGKILL)
seen.touch()
"""
SETTINGS = """
[[models]]
name = "odd"
kernel = "odd"
[[strategies]]
name = "main"
instruments = ["binance.BTCUSDT"]
order_quantity = "0.05"
"""


@pytest.mark.parametrize("text, part", [(RAISES, "s.n - 5"), (UNCOMPILED, "no_such_field")], ids=["raises", "uncompiled"])
def test_a_model_that_cannot_run_is_named_with_its_file_and_line(tmp_path, text, part):
    root = lay(tmp_path, SETTINGS, ("odd", text), 100)
    where = f"odd.py:{line_of(text, part)}"
    with pytest.raises(ModelFault, match=where):
        tm.backtest(root)
    for words in (("run-model", "odd"), ("backtest",), ("replay", "--check", "--model", "odd")):
        done = mesh_here(root, *words)
        assert done.returncode == 1 and "Traceback" not in done.stderr, (words, done.stderr)
        assert where in (done.stderr + done.stdout).replace("\n", ""), (words, done.stdout, done.stderr)


def test_a_worker_that_dies_is_a_row_that_says_by_what(tmp_path):
    root = lay(tmp_path, SETTINGS, ("odd", DIES), 100)
    (failure,) = tm.sweep(root, every=None, workers=1).failures
    assert re.search("the worker's process ended by SIGKILL, as the system does where memory ends, 2 times", failure["error"])
