"""A request that reaches beyond what is recorded is named so, in the same words, whichever reader is asked."""

import warnings

import pytest

import tickmesh as tm
from tests.support.command_run import mesh_here
from tests.support.research_scene import DAYS, SUBJECT, export, recorded
from tickmesh.bus.clock import now_ns
from tickmesh.bus.schema import Kind
from tickmesh.storage.query import bars, reader
from tickmesh.storage.query.gaps import CoverageError, CoverageWarning
from tickmesh.storage.query.recorded import SLACK_NS, recorded_spans
from tickmesh.storage.query.times import ReadError, to_ns

BEFORE, AFTER = ("2024-08-01", "2024-08-10"), ("2024-08-10", "2024-09-01")
NEVER = (("2020-01-01", "2020-01-02"), ("2030-01-01", "2030-01-02"))
ROWS = ("trades", "quotes", "depth", "definitions", "signals", "orders", "fills")
READERS = {
    **{name: lambda db, *span, name=name: getattr(db, name)(SUBJECT, *span).to_pandas() for name in ROWS},
    "numpy": lambda db, *span: db.fills(SUBJECT, *span).to_numpy(),
    "tail": lambda db, *span: db.fills(SUBJECT, *span).tail(),
    "health": lambda db, *span: db.health("feed-1", *span).head(),
    "alerts": lambda db, *span: db.alerts(None, *span).to_pandas(),
    "sql": lambda db, *span: db.sql("select count(*) from fills", SUBJECT, *span),
    "arrays": lambda db, *span: reader.arrays(db.source.config, f"fill.{SUBJECT}", *span),
    "by id": lambda db, *span: reader.arrays(db.source.config, f"trade.{SUBJECT}", *span, order="id"),
    "frame": lambda db, *span: reader.frame(db.source.config, "health.feed-1", *span),
    "bars": lambda db, *span: db.bars(SUBJECT, "1h", *span).to_pandas(),
    "plot": lambda db, *span: tm.plot(SUBJECT, db.place / "out.html", *span, place=db, book=False),
}
OF_KERNELS = {
    "resample": lambda db, *span: db.resample(SUBJECT, "ticks", 10, *span),
    "books": lambda db, *span: db.books(SUBJECT, every="1h", start=span[0], end=span[1]),
    "features": lambda db, *span: db.features(SUBJECT, "mid", *span, every="1h"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mesh")
    recorded(folder, rounds=10)
    return folder


def sentences(ask, *given) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            ask(*given)
        except ReadError as error:  # of a plot of nothing
            assert "neither a quote nor a trade" in str(error)
    return [str(one.message) for one in caught if issubclass(one.category, CoverageWarning) and "recorded" in str(one.message)]


@pytest.mark.parametrize("name", READERS)
def test_each_reader_names_what_is_beyond_the_recording_and_nothing_else(root, name):
    db = tm.open(root)
    (span,) = recorded_spans(db.source.config, Kind.trade, [SUBJECT]).values()
    for asked, part in ((BEFORE, "only a part"), (AFTER, "only a part"), (NEVER[0], "nothing"), (NEVER[1], "nothing")):
        (sentence,) = sentences(READERS[name], db, *asked)
        words = f"{part} of the time from {asked[0]}T00:00:00Z to {asked[1]}T00:00:00Z is recorded in {db.place}; "
        assert f"{words}recorded is {DAYS[0]}" in sentence and f" to {DAYS[2]}" in sentence and len(sentence) < 300
    whole = span.begin_ns, span.last_ns + 1
    for asked in (whole, (None, None), (DAYS[1], None), (DAYS[1], DAYS[2]), (DAYS[1], now_ns()), (DAYS[1], "2099-01-01")):
        assert not sentences(READERS[name], db, *asked), asked


@pytest.mark.parametrize("name", OF_KERNELS)
@pytest.mark.filterwarnings("error::tickmesh.storage.query.gaps.CoverageWarning")
def test_what_a_kernel_computes_of_is_named_before_it_is_compiled(root, name):
    for asked in (BEFORE, AFTER, *NEVER):
        with pytest.raises(CoverageWarning, match=f" of the time from {asked[0]}.* to {asked[1]}.*; recorded is {DAYS[0]}"):
            OF_KERNELS[name](tm.open(root), *asked)


def test_gaps_chooses_between_a_warning_an_error_and_nothing(root):
    db = tm.open(root)
    with pytest.raises(CoverageError, match=f"trade.{SUBJECT}: only a part"):
        db.trades(SUBJECT, *BEFORE, gaps="raise").to_numpy()
    with pytest.raises(CoverageError, match="nothing of the time"):
        bars.bars(db.source.config, SUBJECT, "1h", *NEVER[0], gaps="raise")
    assert sentences(lambda: db.trades(SUBJECT, *BEFORE, gaps="mask").to_numpy())
    assert not sentences(lambda: db.trades(SUBJECT, *BEFORE, gaps="ignore").to_numpy())
    (sentence,) = sentences(lambda: db.fills(None, *NEVER[0]).to_pandas())  # of all instruments one
    assert sentence.startswith("fill.binance.BTCUSDT, fill.binance")


def test_commands_print_the_same_sentence(root):
    asked = ("--start", BEFORE[0], "--end", BEFORE[1])
    for words in (("head", f"fill.{SUBJECT}"), ("sql", "select count(*) from fills"), ("bars", "BTCUSDT")):
        done = mesh_here(root, *words, *asked)
        assert done.returncode == 0 and "only a part of the time from 2024-08-01T" in " ".join(done.stderr.split()), done.stderr


def test_an_export_has_its_days(root):
    db = tm.open(export(root, "out"))
    assert sentences(lambda: db.fills(SUBJECT, *BEFORE).to_pandas()) and not sentences(
        lambda: db.fills(SUBJECT, DAYS[0], "2024-08-12").to_pandas()
    )


def test_what_ends_within_seconds_of_the_newest_event_is_whole(root):
    db = tm.open(root)
    (span,) = recorded_spans(db.source.config, Kind.trade, [SUBJECT]).values()
    start_ns = to_ns(DAYS[1])
    assert not span.beyond(start_ns, span.last_ns + SLACK_NS) and span.beyond(start_ns, span.last_ns + SLACK_NS + 1)
    assert not span.beyond(span.begin_ns - SLACK_NS, None) and span.beyond(span.begin_ns - SLACK_NS - 1, None)
