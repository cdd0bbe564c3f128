"""A model that declares how far it looks back starts from there, in the state that the whole log would have given it."""

import pytest

from tests.support.odd_models import models_in, source
from tests.support.stored import Market, write_log
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.nodes.model import node as model
from tickmesh.nodes.runner import history, warm
from tickmesh.nodes.runner.alone import started
from tickmesh.nodes.runner.history import catch_up
from tickmesh.nodes.runner.step import StepRunner

SUBJECTS = "binance.BTCUSDT", "binance.ETHUSDT"
COUNT = 6000  # 100 ms apart: ten minutes
# The mean of the last hundred milliseconds or so: s.x halves with each quote, and nothing else is remembered.
SHORT = source("0.5 * s.x", before="s.n = 0\ns.x = 0.5 * s.x + 0.5 * (q.bid_lots % 2)", head="LOOKBACK_S = 30.0\n")
ALL = source("(s.n % 7) * 0.1", head="LOOKBACK_S = 30.0\n")


@pytest.fixture
def mesh(tmp_path, monkeypatch):
    """A log of ten minutes, and models beside it."""
    market, raws = Market(), []
    import numpy as np

    for at in range(COUNT):
        subject = SUBJECTS[at % 2]
        if at < 2 or at == COUNT - 200:
            raws.append(market.instrument((-8 if at < 2 else -6, -8), subject))
        record = np.zeros(1, DTYPES[Kind.quote])
        record[0] = (at, 100, 5 + at * 7919 % 97, 103, 5, 0)
        raws.append(market.event(Kind.quote, subject, record, step_ns=100_000_000))
    (tmp_path / "mesh.toml").write_text('[[instruments]]\nsymbol = "BTCUSDT"\n[[instruments]]\nsymbol = "ETHUSDT"\n')
    config = load(tmp_path)
    write_log(config.log_dir, raws, segment_bytes=1 << 15)
    monkeypatch.setattr(warm, "WARM_FROM", 1000)
    monkeypatch.setattr(history, "COLUMNS_FROM", 1)
    with models_in(tmp_path):
        yield lambda text, name: written(tmp_path, text, name)


def written(root, text: str, name: str) -> Config:
    (root / f"{name}.py").write_text(text)
    return load(root, {"models": [{"name": "m", "kernel": name}]})


def both(config: Config) -> tuple[StepRunner, StepRunner]:
    """(as a node starts, with the whole log), both at its end."""
    quick, whole = started(config, model, "model-m", "m", lambda: False), StepRunner(model, config, "model-m", "m")
    for runner in (quick, whole):
        catch_up(config, runner)
    return quick, whole


def test_it_is_the_state_of_the_whole_log_for_a_part_of_the_work(mesh):
    quick, whole = both(mesh(SHORT, "short_memory"))
    assert quick.step.state_bytes() == whole.step.state_bytes() and quick.seq == whole.seq
    assert quick.step.counters()["events"] == 300 and whole.step.counters()["events"] == COUNT
    begun = quick.begun()
    assert begun["publishes_after"] == quick.seq and begun["warm_after"] == quick.seq - 301, "30 s of 100 ms, and a definition"
    assert quick.unpublished() == []


def test_where_the_look_back_is_too_short_the_whole_log_is_replayed_and_that_is_said(mesh, caplog):
    quick, whole = both(mesh(ALL, "long_memory"))
    assert quick.step.state_bytes() == whole.step.state_bytes() and quick.step.counters()["events"] == COUNT
    assert "LOOKBACK_S = 30 is not enough" in caplog.text and "warm_after" not in quick.begun()


@pytest.mark.parametrize("kernel", ["book_imbalance", "trade_flow"])
def test_the_default_models_look_back_no_further_than_they_declare(mesh, kernel, tmp_path):
    """Ten minutes are less than their look-back: all of it is replayed; the declared time follows the parameters."""
    config = load(tmp_path, {"models": [{"name": "m", "kernel": kernel}]})
    quick, whole = both(config)
    assert quick.step.state_bytes() == whole.step.state_bytes() and not quick.warm_after
    assert quick.step.lookback_ns >= 600 * 10**9
    slow = {"slow_ms": 8.64e7} if kernel == "trade_flow" else {"half_life_ms": 3.6e6}
    other = load(tmp_path, {"models": [{"name": "m", "kernel": kernel, "parameters": slow}]})
    assert StepRunner(model, other, "model-m", "m").step.lookback_ns > 30 * quick.step.lookback_ns


def test_a_span_is_cut_between_two_numbers(mesh):
    config = mesh(SHORT, "short_memory")
    spans = list(history.column_history(config, 0, (Kind.quote, Kind.instrument), ()))
    pieces = [warm.cut(span, 1000, 2000) for span in spans]
    seqs = sorted(seq for piece in pieces for columns in piece.subjects for seq in columns.seqs.tolist())
    assert seqs == list(range(1001, 2001)) and LogReader(config.log_dir).last == COUNT + 3
