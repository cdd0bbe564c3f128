"""A kernel that breaks a rule is stopped with a sentence that names its file, line and event; what is no signal is counted."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from tests.support import odd_models
from tests.support.model_steps import log, make, quote, values
from tests.support.odd_models import EIGHT, line_of, models_in, source, zero_at
from tests.support.stored import write_log
from tickmesh.bus.config import Config
from tickmesh.bus.settings import Mesh
from tickmesh.bus.wire import decode
from tickmesh.nodes.model import node as model
from tickmesh.nodes.model.checks import RefusedSignals
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.storage.columns import log as log_columns

NAMES = itertools.count()


@pytest.fixture
def step_of(root, tmp_path):
    """Makes a step of a model's text; gives it and its file."""
    with models_in(tmp_path):

        def of(text: str, **parameters: float) -> tuple[model.Step, Path]:
            path = tmp_path / f"odd_{next(NAMES)}.py"
            path.write_text(text)
            return make(root, path.stem, **parameters), path

        yield of


QUOTES = [quote(1, 5 + i, 5) for i in range(30)]
WAYS = "one by one", "lists", "columns"


def run(step: model.Step, way: str, tmp_path: Path, rows=QUOTES) -> list[bytearray]:
    """What a step publishes for events that come in this way, as in a replay."""
    events, step.careful = log(rows), True
    step.reset()
    if way == "columns":
        config = Config(Mesh(), tmp_path / "mesh")
        write_log(config.log_dir, [bytes(event.raw) for event in events])
        spans = log_columns.LogColumns(config.log_dir, step.kinds).spans()
        return [raw for span in spans for raw in step.encoded(step.step_span(span))]
    size = 1 if way == "one by one" else 1000
    return [raw for i in range(0, len(events), size) for raw in step.step(events[i : i + size])]


@pytest.mark.parametrize(
    ("text", "part", "what", "seq"),
    [
        (zero_at(20), "s.x = 1 //", "ZeroDivisionError|FloatingPointError", 21),
        (source(before="if s.n == 7:\n    quotes[count + 10**6].bid_lots"), "quotes[count", "IndexError", 8),
        (source(before="if s.n == 7:\n    out[10**7].value = 1.0"), "out[10**7]", "IndexError", 8),
        (source(before='if s.n == 7:\n    raise ValueError("too odd")'), "raise", "too odd", 8),
        (EIGHT, "def kernel", "more than 4 signals for one row", 2),
        (source(row="r - 1"), "def kernel", "names row -1, and the kernel was given rows 0 to 0", 2),
        (source(row="r + 1"), "def kernel", "names row 1, and the kernel was given rows 0 to 0", 2),
        (source(before="if s.n == 7:\n    return -3"), "def kernel", "gave back -3 as the number of its signals", 8),
    ],
)
def test_a_fault_names_file_line_and_event(step_of, tmp_path, text, part, what, seq):
    step, path = step_of(text)
    line = line_of(text, part)
    for way in WAYS:
        with pytest.raises(ModelFault, match=what) as caught:
            run(step, way, tmp_path / way)
        assert caught.value.where == f"{path}:{line}" and caught.value.seq == seq, way
        assert caught.value.on == "quote of binance.BTCUSDT" and "mesh check-model" in caught.value.action


@pytest.mark.parametrize("value", ["np.nan", "-15440.99", "np.log(float(q.bid_lots // 10**12))"])
def test_what_is_no_signal_is_counted_and_complained_of_once(step_of, tmp_path, value):
    step, path = step_of(source(value))
    on = "at event 2 (quote of binance.BTCUSDT) is no signal; allowed: -1 to 1"
    for way in WAYS:
        assert run(step, way, tmp_path / way) == []
        assert step.counters()["refused"] == len(QUOTES) and step.counters()["signals"] == 0
        complaint = step.refused.complaint()
        assert complaint.startswith(f"{path}:") and on in complaint, way
        assert complaint.endswith(f"and {len(QUOTES) - 1} more like it") and step.refused.complaint() == ""


def test_a_model_that_says_no_signals_all_day_is_complained_of_a_few_times():
    """At the first one, and whenever there are ten times as many."""
    refused, said = RefusedSignals(), []
    for _ in range(86_400):
        refused.add(3, "bad")
        said.append(refused.complaint())
    assert len([one for one in said if one]) == 5 and said[0] == "bad; and 2 more like it"


def test_good_values_beside_bad_ones_are_published_with_their_own_k(step_of, tmp_path):
    step, _ = step_of(source("2.0 if s.n % 3 == 0 else 0.25"))
    said = [run(step, way, tmp_path / way) for way in WAYS]
    assert said[0] == said[1] == said[2] and len(said[0]) == 20
    assert [seq for seq, *_ in values(said[0])][:4] == [2, 3, 5, 6]


def test_a_declared_range_and_an_infinite_price(step_of, tmp_path):
    wide, _ = step_of(source("-15440.99", head="RANGE = (-1e6, 0)\n"))
    assert {value for _, value, *_ in values(run(wide, "lists", tmp_path))} == {-15440.99} and not wide.refused.count
    priced, _ = step_of(source(price="np.inf"))
    assert run(priced, "lists", tmp_path) == [] and "price inf" in priced.refused.complaint()


@pytest.mark.parametrize(
    ("text", "what", "part"),
    [
        (source("p.missing"), "no field 'missing'", "p.missing"),
        (source("s.gone"), "no field 'gone'", "s.gone"),
        (source(before="if s.n\n    pass"), "it is no Python: syntax error, expected ':'", "if s.n"),
        (source(head="import no_such_module\n"), "cannot be imported: ModuleNotFoundError", "import no_such"),
        (source(head="open('no_such_file')\n"), "cannot be imported: FileNotFoundError: .*no_such_file", "open("),
        (source(head="exec('if so')\n"), "cannot be imported: SyntaxError: .*line 1", "exec("),
        (source(before="x = undefined_name"), "numba cannot compile it: .*undefined_name", "undefined_name"),
        (source(head="RANGE = (1, -1)\n"), "RANGE = .* is impossible", ""),
        (source().replace("STATE = ", "STATES = "), "declares no STATE", ""),
        (source().replace("Kind.quote,", "Kind.fill,"), "KINDS = .* is impossible", ""),
        (source().replace(", levels, out)", ", out)"), "takes 8 arguments; it is given 9: state, parameters", ""),
    ],
)
def test_one_that_cannot_be_loaded_is_a_sentence_with_its_line(step_of, text, what, part):
    with pytest.raises(ModelFault, match=what) as caught:
        step_of(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    if part:
        assert caught.value.where.endswith(f":{line_of(text, part)}"), caught.value.where


def test_what_it_calls_is_checked_too(step_of, tmp_path):
    """A callee that writes beyond the buffer is stopped as the kernel itself is."""
    head = "\n\n@njit(cache=True)\ndef emit(out, n, value):\n    out[n].value = value\n"
    step, path = step_of(source(before="emit(out, 10**8, 1.0)", head=head))
    with pytest.raises(ModelFault, match="IndexError") as caught:
        run(step, "lists", tmp_path)
    assert caught.value.where == f"{path}:{line_of(source(head=head), 'out[n].value = value')}"


def test_live_a_fault_costs_no_copy_and_still_names_the_event(step_of):
    step, _ = step_of(zero_at(20))
    assert not step.careful
    with pytest.raises(ModelFault, match="ZeroDivisionError") as caught:
        for event in log(QUOTES):
            step.step([event])
    assert caught.value.seq == 21


def test_a_value_of_a_kernel_is_published_as_it_is(step_of, tmp_path):
    step, _ = step_of(source("p.scale * q.bid_lots"), scale=0.01)
    record = decode(bytes(run(step, "lists", tmp_path)[0])).records[0]
    assert math.isclose(record["value"], 0.05) and np.isnan(record["price"])
    assert odd_models.HEAD
