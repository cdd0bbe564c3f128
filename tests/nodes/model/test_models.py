"""Kernels against plain Python, steps against any cut of the log, and a kernel cache that sees a changed callee."""

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.model_steps import START_NS, SUBJECT, log, make, quote, values
from tests.support.places import PROJECT
from tickmesh.bus.config import ConfigError
from tickmesh.bus.names import KERNEL_BYTES
from tickmesh.bus.schema import GAP, QUOTE, TRADE, Flag, GapState, Kind
from tickmesh.bus.wire import Event, decode, encode, stamp_sequenced
from tickmesh.nodes.model import node as model
from tickmesh.nodes.model import staging
from tickmesh.nodes.models import loading
from tickmesh.nodes.models.decay import decay


def trade(ms: int, side: int, lots: int, flags: int = 0) -> tuple:
    return Kind.trade, ms, (1, 100, lots, 0, 0, side, b""), flags


def gap(ms: int, stream: Kind, state: GapState = GapState.open) -> tuple:
    return Kind.gap, ms, (1, 1, stream, state, 0, 0, 0, 0, 0), 0


LOTS = st.integers(0, 10**10)
QUOTES = st.builds(quote, st.integers(0, 400), LOTS, LOTS)
TRADES = st.builds(
    trade, st.integers(0, 400), st.sampled_from([-1, 1]), st.integers(1, 10**10), st.sampled_from([0, 0, 0, Flag.REPAIRED])
)
GAPS = st.builds(
    gap, st.integers(0, 400), st.sampled_from([Kind.quote, Kind.trade, Kind.depth]), st.sampled_from(list(GapState))
)
ROWS = st.lists(st.one_of(QUOTES, QUOTES, TRADES, TRADES, GAPS), max_size=80)


class NaiveSignalRule:
    """When a model publishes a signal, written from the meaning of its parameters alone."""

    def __init__(self, step=0.2, threshold=0.6, interval_ms=100.0, repeat_ms=1000.0):
        self.published, self.published_ns = 0.0, 0
        self.step, self.threshold, self.interval_ms, self.repeat_ms = step, threshold, interval_ms, repeat_ms

    def due(self, value: float, now_ns: int) -> bool:
        silent_ms = (now_ns - self.published_ns) / 1e6
        crossed = (abs(value) >= self.threshold) != (abs(self.published) >= self.threshold)
        moved = value != self.published and (crossed or abs(value - self.published) >= self.step)
        again = abs(value) >= self.threshold and silent_ms >= self.repeat_ms and not crossed
        if self.published_ns == 0 or (silent_ms >= self.interval_ms and (moved or again)):
            self.published, self.published_ns = value, now_ns
            return True
        return False


def naive_imbalance(events: list[Event]) -> list[tuple[int, float]]:
    rule, smoothed, since = NaiveSignalRule(), None, 0
    out = []
    for event in events:
        if event.kind == Kind.gap and event.records[0]["stream"] == Kind.quote and event.records[0]["state"] in (1, 3):
            smoothed = None
        if event.kind != Kind.quote:
            continue
        bid, ask = int(event.records[0]["bid_lots"]), int(event.records[0]["ask_lots"])
        if not bid or not ask:
            smoothed = None
            continue
        imbalance = (bid - ask) / (bid + ask)
        if smoothed is None:
            smoothed = imbalance
        else:
            weight = 0.5 ** ((event.seq_ns - since) / 50e6)
            smoothed = imbalance + (smoothed - imbalance) * weight
        since = event.seq_ns
        if rule.due(smoothed, event.seq_ns):
            out.append((event.seq, smoothed))
    return out


def naive_flow(events: list[Event]) -> list[tuple[int, float]]:
    """Sums over every trade since the last gap, anew at each event."""
    rule, trades = NaiveSignalRule(), []
    out = []
    for event in events:
        if event.kind == Kind.gap:
            if event.records[0]["stream"] == Kind.trade and event.records[0]["state"] == 1:
                trades = []
            continue
        if event.kind == Kind.instrument or (event.kind == Kind.trade and event.flags & Flag.REPAIRED):
            continue
        if event.kind == Kind.trade:
            trades.append((event.seq_ns, int(event.records[0]["side"]), int(event.records[0]["quantity_lots"])))
        fast = [(side, lots * 0.5 ** ((event.seq_ns - at) / 500e6)) for at, side, lots in trades]
        slow = sum(lots * 0.5 ** ((event.seq_ns - at) / 30e9) for at, _, lots in trades)
        scale = max(sum(lots for _, lots in fast), slow * 500 / 30_000)
        if scale > 0:
            value = sum(side * lots for side, lots in fast) / scale
            if rule.due(value, event.seq_ns):
                out.append((event.seq, value))
    return out


@pytest.mark.parametrize(("kernel", "naive"), [("book_imbalance", naive_imbalance), ("trade_flow", naive_flow)])
def test_kernel_against_plain_python(root, kernel, naive):
    step = make(root, kernel)

    @settings(max_examples=80, deadline=None)
    @given(ROWS)
    def same(rows):
        step.reset()
        events = log(rows)
        got, expected = values(step.step(events)), naive(events)
        # a value within rounding of a limit may be said by one and not by the other: stop comparing there
        for (seq, value, _, _), (naive_seq, naive_value) in zip(got, expected, strict=False):
            if seq != naive_seq:
                break
            assert value == pytest.approx(naive_value, abs=1e-9)
            assert -1.0 <= value <= 1.0
        else:
            assert abs(len(got) - len(expected)) <= 1
        assert [v[0] for v in got[:1]] == [n[0] for n in expected[:1]]

    same()


def test_imbalance_known_answers(root):
    """3 to 1: I = 0.5, weighted mid = bid + spread·3/4; the reference is the mid, rounded down."""
    step = make(root, "book_imbalance", half_life_ms=0.0)
    said = step.step(log([quote(1, 300, 100), quote(200, 0, 100), quote(200, 100, 300)]))
    assert values(said) == [
        (2, 0.5, pytest.approx(102.25e-8), 101),
        (4, -0.5, pytest.approx(100.75e-8), 101),
    ]


def test_flow_known_answers(root):
    """One sided is ±1 at once; a silence lets it fall; a gap in the trades forgets; a repaired trade is too late."""
    step = make(root, "trade_flow", step=0.0, threshold=1.0, interval_ms=0.0, repeat_ms=0.0, fast_ms=100.0, slow_ms=1000.0)
    rows = [trade(1, 1, 50), quote(1000, 5, 5), gap(0, Kind.trade), quote(1, 5, 5), trade(1, -1, 1), trade(0, 1, 9, 2)]
    got = values(step.step(log(rows)))
    assert [seq for seq, *_ in got] == [2, 3, 6]
    assert got[0][1] == 1.0 and got[2][1] == -1.0
    assert got[1][1] == pytest.approx(2**-10 / (0.5 * 0.1))
    assert math.isnan(got[0][2]) and [row[3] for row in got] == [0, 101, 101]


def test_a_standing_strong_value_is_published_again(root):
    step = make(root, "book_imbalance")
    said = values(step.step(log([quote(100, 900, 100)] * 50)))
    assert [seq for seq, *_ in said] == [2, 12, 22, 32, 42], "once a second"


@given(st.integers(-5, 10**12), st.floats(1.0, 1e12))
def test_decay_is_a_power_of_two(elapsed_ns, half_life_ns):
    got = decay(elapsed_ns, half_life_ns)
    assert got == pytest.approx(2.0 ** -(max(elapsed_ns, 0) / half_life_ns), rel=1e-13, abs=1e-300)
    assert decay(int(half_life_ns) * 3, float(int(half_life_ns))) == 0.125


@pytest.mark.parametrize("kernel", ["book_imbalance", "trade_flow"])
def test_signals_do_not_depend_on_how_events_are_cut_into_calls_or_on_checkpoints(root, kernel):
    whole, pieces, resumed = (make(root, kernel) for _ in range(3))

    @settings(max_examples=30, deadline=None)
    @given(ROWS, st.integers(1, 9), st.integers(0, 80))
    def same(rows, batch, cut):
        for step in (whole, pieces, resumed):
            step.reset()
        events = log(rows)
        expected = [bytes(e) for e in whole.step(events)]
        got = [bytes(e) for i in range(0, len(events), batch) for e in pieces.step(events[i : i + batch])]
        assert got == expected and pieces.save() == whole.save()
        first = pieces
        first.reset()
        said = first.step(events[:cut])
        resumed.load(first.save())
        said = said + resumed.step(events[cut:])
        assert [bytes(e) for e in said] == expected and resumed.save() == whole.save()

    same()


def test_more_events_than_one_call_takes_and_events_of_many_records(root):
    one, many = make(root, "trade_flow"), make(root, "trade_flow")
    rows = [trade(i % 7, 1 if i % 3 else -1, 1 + i % 11) for i in range(3 * staging.ROWS)]
    events = log(rows)
    assert [bytes(e) for e in one.step(events)] == [bytes(e) for event in events for e in many.step([event])]
    records = np.zeros(3 * staging.ROWS, TRADE)
    records["side"], records["quantity_lots"] = 1, 5
    event = encode(Kind.trade, SUBJECT, records)
    stamp_sequenced(event, 9, 0, START_NS)
    one.reset()
    assert values(one.step([decode(bytes(event))]))[0][:2] == (9, 1.0), "one event, one signal"


def test_other_instruments_change_nothing(root):
    step = make(root, "book_imbalance")
    before, counters = step.states.of[0][0].tobytes(), step.counters()
    assert step.step(log([quote(1, 5, 1)], subject="binance.ETHUSDT")) == [] and step.counters() == counters
    assert step.states.of[0][0].tobytes() == before and step.states.others == {"binance.ETHUSDT"}


def test_a_price_needs_the_instrument(root):
    step = make(root, "book_imbalance")
    assert math.isnan(values(step.step(log([quote(1, 5, 1)])[1:]))[0][2])


def test_a_state_of_other_parameters_is_refused(root):
    state = make(root, "book_imbalance").save()
    make(root, "book_imbalance").load(state)
    for other in (make(root, "book_imbalance", step=0.5), make(root, "trade_flow")):
        with pytest.raises(ValueError, match="other code or parameters"):
            other.load(state)


@pytest.mark.parametrize(
    ("kernel", "parameters", "sentence"),
    [
        ("no_such", {}, "no file of nodes/models; there are book_imbalance, .*trade_flow"),
        ("decay", {}, "decay.py: it defines no kernel"),
        ("trade_flow", {"speed": 1.0}, "no parameter 'speed'; it has fast_ms, .*threshold"),
        ("trade_flow", {"fast_ms": 0.0}, "fast_ms = 0.0 is impossible .* 1 to"),
        ("trade_flow", {"fast_ms": math.inf}, "fast_ms = inf is impossible"),
    ],
)
def test_wrong_settings_are_sentences(root, kernel, parameters, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make(root, kernel, **parameters)


def test_every_kernel_keeps_to_the_interface(root):
    for name in loading.names():
        module = loading.load(name)
        assert set(module.KINDS) <= set(model.READS) and len(name) <= KERNEL_BYTES
        assert set(module.STATE.names) and getattr(module, "HORIZON_NS", 0) >= 0
        assert all(p.least <= p.default <= p.most for p in module.PARAMETERS.values())
    assert GAP.fields["state"][1] == GAP.fields["stream"][1] + 2 and QUOTE.itemsize == 48


SCRIPT = """
import sys
from pathlib import Path
from tickmesh.bus.config import Config
from tickmesh.bus.settings import Mesh, ModelSettings
from tests.support.model_steps import log, quote, make, values
if len(sys.argv) > 2:  # as numba would have it: one folder, whatever the sources
    from tickmesh.nodes.models import cache
    cache.folder_name = lambda file: sys.argv[2]
    cache.forget_others = lambda folder, code: None
step = make(Path(sys.argv[1]), "book_imbalance", step=0.0, interval_ms=0.0)
print(values(step.step(log([quote(1, 900, 100), quote(50, 100, 900)])))[-1][1])
"""


def run_copy(project: Path, *more: str) -> float:
    environment = {**os.environ, "PYTHONPATH": str(project)}
    environment.pop("NUMBA_CACHE_DIR", None)
    words = [sys.executable, "-c", SCRIPT, str(project), *more]
    done = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_a_changed_callee_of_a_kernel_is_compiled_anew(tmp_path):
    """And it is not seen when the folder is the same: so the key is needed."""
    project = tmp_path / "project"
    for folder in ("bus", "storage", "nodes", "tests", "tickmesh"):
        shutil.copytree(PROJECT / folder, project / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    assert run_copy(project) == pytest.approx(0.0, abs=1e-12), "after one half life: the middle"
    assert run_copy(project, "fixed") == pytest.approx(0.0, abs=1e-12)
    callee = project / "nodes/models/decay.py"
    callee.write_text(callee.read_text().replace("x = elapsed_ns / half_life_ns", "x = 2.0 * elapsed_ns / half_life_ns"))
    assert run_copy(project, "fixed") == pytest.approx(0.0, abs=1e-12), "numba alone serves the old code"
    assert run_copy(project) == pytest.approx(-0.4)
    folders = [path for path in (project / "run/kernels").iterdir() if path.name != "fixed"]
    assert len(folders) == 2


def test_the_identity_of_a_model_is_of_its_own_sources_and_what_it_calls(tmp_path, root):
    """A comment in another model changes nothing, one in a callee or in its own file does; so do numbers from elsewhere."""
    import numba
    from numba import njit

    from tests.support.odd_models import models_in, source
    from tickmesh.nodes.models import cache

    shared = "from numba import njit\n\nSTEP = 0.25\n\n\n@njit(cache=True)\ndef half(x):\n    return STEP * x\n"
    first = source("half(p.scale)", head="from tickmesh.nodes.models.odd_shared import half\n")
    files = {"odd_shared": shared, "odd_first": first, "odd_second": source()}

    def written(**changed: str) -> dict[str, str]:
        for name, text in {**files, **changed}.items():
            (tmp_path / f"{name}.py").write_text(text)
        return {name: cache.sources_hash(tmp_path / f"{name}.py") for name in ("odd_first", "odd_second")}

    with models_in(tmp_path):
        before = written()
        assert written(odd_second=source() + "# a comment\n")["odd_first"] == before["odd_first"]
        after = written(odd_first=first + "# a comment\n")
        assert after["odd_first"] != before["odd_first"] and after["odd_second"] == before["odd_second"]
        after = written(odd_shared=shared + "# a comment\n")
        assert after["odd_first"] != before["odd_first"] and after["odd_second"] == before["odd_second"]
        written()
        identity = make(root, "odd_first").identity()
        assert identity["numba"] == numba.__version__ and identity["numpy"] == np.__version__
        files_of = {path.name for path in cache.sources(tmp_path / "odd_first.py")}
        assert files_of == {"odd_first.py", "odd_shared.py"}

    frozen = {"number": 1.0}

    def kernel_of(number: float):
        frozen["number"] = number

        @njit
        def kernel(x):
            return x + number

        return kernel

    one, two = (cache.code_hash(tmp_path / "odd_second.py", kernel_of(number)) for number in (1.0, 2.0))
    assert one != two, "numba makes a constant of what the kernel finds outside"


def test_machine_code_of_a_changed_file_elsewhere_is_removed(tmp_path):
    from tickmesh.nodes.models import cache

    (tmp_path / "inner").mkdir()
    code = tmp_path / "inner/kernel.nbc"
    code.touch()
    cache.forget_others(tmp_path, "one")
    cache.forget_others(tmp_path, "one")
    assert code.exists()
    cache.forget_others(tmp_path, "two")
    assert not code.exists()


def test_old_cache_folders_are_removed(tmp_path):
    from tickmesh.nodes.models import cache

    for i in range(9):
        (tmp_path / f"flow-{i:016x}").mkdir()
        os.utime(tmp_path / f"flow-{i:016x}", (i, i))
    (tmp_path / f"slow-flow-{0:016x}").mkdir()
    cache.prune(tmp_path, tmp_path / f"flow-{0:016x}")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [f"flow-{i:016x}" for i in (0, 5, 6, 7, 8)] + [f"slow-flow-{0:016x}"], "those of other kernels stay"
    for i in range(9, 18):
        (tmp_path / f"flow-{i:016x}").mkdir()
    cache.prune(tmp_path, tmp_path / f"flow-{0:016x}")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left[:-1] == [f"flow-{i:016x}" for i in (0, *range(9, 18))], "others may be compiling into what was used just now"


def test_the_example_in_the_docs_runs(tmp_path):
    """docs/research.md: the kernel as printed there, in a project of its own."""
    project = tmp_path / "project"
    for folder in ("bus", "storage", "nodes", "tests", "tickmesh"):
        shutil.copytree(PROJECT / folder, project / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    source = (PROJECT / "docs/research.md").read_text().partition("\n## Write one\n")[2].split("```python\n")[1].split("```")[0]
    (project / "nodes/models/spread.py").write_text(source)
    script = SCRIPT.replace("book_imbalance", "spread").replace(
        "quote(1, 900, 100), quote(50, 100, 900)", "quote(1, 5, 5, ask=110), quote(2000, 5, 5, ask=101)"
    )
    environment = {**os.environ, "PYTHONPATH": str(project)}
    words = [sys.executable, "-c", script, str(project)]
    done = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    usual = 1.0 + 9.0 * 2 ** -(2000 / 5000)
    assert float(done.stdout) == pytest.approx((usual - 1.0) / (usual + 1.0))
