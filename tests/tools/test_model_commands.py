"""`mesh check-model` and `mesh run-model` as people type them, on models that can run and on models that cannot."""

import csv
import json
import shutil

import numpy as np
import pytest

from tests.support.command_run import mesh_here
from tests.support.model_steps import log, quote
from tests.support.odd_models import EIGHT, line_of, source, zero_at
from tests.support.stored import write_log
from tickmesh.bus.config import load
from tickmesh.nodes.model.refused import why_refused
from tickmesh.tools import check_model, run_model
from tickmesh.tools.terminal import UsageFailure


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A mesh's folder with a recorded log of quotes."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "mesh.toml").write_text("")
    rng = np.random.default_rng(1)
    rows = [quote(50, int(a), int(b)) for a, b in rng.integers(1, 1000, (400, 2))]
    config = load(folder)
    write_log(config.log_dir, [bytes(event.raw) for event in log(rows)])
    yield folder
    shutil.rmtree(config.outbox_dir, ignore_errors=True)


def checked(root, text: str, *words: str) -> tuple[int, str, str]:
    """(exit code, output, file) of check-model of a model with this text."""
    path = root / "tried.py"
    path.write_text(text)
    done = mesh_here(root, "check-model", path, *words)
    return done.returncode, done.stdout + done.stderr, str(path)


def test_a_model_that_can_run(root):
    code, shown, path = checked(root, source())
    assert code == 0 and f"{path}: it can run. " in shown and "signals for 4000 made events" in shown
    result = json.loads(mesh_here(root, "check-model", "trade_flow", "--set", "fast_ms=50", "--json").stdout)
    assert result["ok"] and result["signals"] > 50 and result["refused"] == 0 and not result["warnings"]
    assert result["identity"]["parameters"]["fast_ms"] == 50.0


@pytest.mark.parametrize(
    ("text", "part", "what"),
    [
        (EIGHT, "", "more than 4 signals for one row"),
        (zero_at(2000), "s.x = 1 //", "ZeroDivisionError"),
        (source("p.missing"), "p.missing", "no field 'missing'"),
        (source(before="if s.n\n    pass"), "if s.n", "it is no Python: syntax error, expected ':' in 'if s.n'"),
        ("def kernel(:\n    return 0\n", "def kernel(:", "it is no Python: syntax error, invalid syntax in 'def kernel(:'"),
        (source("count * 0.001"), "", "depends on how events are cut into calls"),
        (source().replace("def kernel(", "def colonel("), "", "it defines no kernel"),
        (
            source().replace("HORIZON_NS = 0", "HORIZON_NS = '10s'"),
            "",
            "HORIZON_NS = '10s' is impossible; allowed: a whole number",
        ),
        (source().replace("@njit(cache=True)\n", ""), "def kernel(", "the kernel is not compiled: put @njit(cache=True)"),
        (
            source().replace("1.0, 0.0, 1e6", "3e9, 0.0, 1e6"),
            "",
            "has the default 3000000000.0; allowed: least to most, 0.0 to 1000",
        ),
    ],
)
def test_a_model_that_cannot_run_is_a_sentence(root, text, part, what):
    code, shown, path = checked(root, text)
    assert code == 1 and what in shown and f"{path}:{line_of(text, part) if part else ''}" in shown, shown
    assert shown.count("\n") == 1, "one line"


def test_what_is_no_signal_and_a_look_back_that_does_not_hold_are_warnings(root):
    code, shown, _ = checked(root, source("np.nan", head="LOOKBACK_S = 1.0\n"))
    assert code == 0 and "value nan at event" in shown and "they are not published" in shown
    assert "LOOKBACK_S = 1 is too short" in shown, "it counts quotes for ever"


def test_nan_that_stays_in_the_state_is_a_warning(root):
    once = "s.x += np.nan\nif s.n > 1:\n    continue"
    code, shown, _ = checked(root, source(before=once))
    assert code == 0 and "x of STATE is NaN at the end, and it says nothing after event " in " ".join(shown.split())
    code, shown, _ = checked(root, source(before=once.replace("np.nan", "1.0")))
    assert code == 0 and "NaN" not in shown, "few signals alone are none"


def test_a_file_without_a_kernel_is_named_as_it_is(root):
    (root / "models").mkdir(exist_ok=True)
    for name, text in (("no_kernel", "x = 1\n"), ("empty", "")):
        (root / f"models/{name}.py").write_text(text)
        done = mesh_here(root, "check-model", name)
        assert done.returncode == 1 and f"{name}.py: it defines no kernel: no line begins with" in " ".join(done.stderr.split())
        (root / f"models/{name}.py").unlink()


def test_a_loop_without_end_is_ended_and_named(root, monkeypatch):
    monkeypatch.setattr(check_model, "CALL_S", 0.5)
    monkeypatch.setattr(check_model, "NEWS_S", 0.5)
    text = source(before="while s.n > 100:\n    s.x += 1.0")
    code, shown, path = checked(root, text)
    assert code == 1 and f"{path}:{line_of(text, 'while s.n')}: it does not come back within 0.5 s of processor time" in shown
    assert f"trying {path}: " in shown and " s so far, " in shown, "it says that it goes on"
    text = source().replace(
        "    n = 0\n", "    n = 0\n    while count == 0:\n        n += 0\n", 1
    )  # in the call that compiles it
    code, shown, path = checked(root, text)
    assert code == 1 and f"{path}:{line_of(text, 'while count')}: it does not come back within 0.5 s" in shown


def test_a_file_that_never_ends_or_waits_is_ended_and_named(root, monkeypatch):
    text = source(head="while True:\n    HORIZON_NS += 1\n")
    monkeypatch.setattr(check_model, "CALL_S", 1.5)
    code, shown, path = checked(root, text)
    lines = [line_of(text, "while True"), line_of(text, "HORIZON_NS += 1")]
    assert code == 1 and any(f"{path}:{one}: it does not come back within 1.5 s" in shown for one in lines), shown
    monkeypatch.setattr(check_model, "WAIT_S", 2.0)
    code, shown, path = checked(root, source(head="import time\ntime.sleep(600)\n"))
    assert code == 1 and "it has waited for 2 s without using the processor" in shown


def test_up_tries_models_once_and_again_only_when_they_change(root, tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    (tmp_path / "mesh.toml").write_text('[[models]]\nname = "lost"\nkernel = "nowhere"\n')
    announced = []
    faults = check_model.check_models(load(tmp_path), announced.append)
    assert list(faults) == ["lost"] and "'nowhere' is no file of nodes/models" in faults["lost"]
    assert len(announced) == 1 and announced[0].startswith("model-lost cannot run: ")
    tries = []
    monkeypatch.setattr(check_model, "tried", lambda config, kernels: tries.append(kernels) or [{"ok": True}])
    check_model.check_models(load(tmp_path), announced.append)
    assert [trial.kernel for (trial,) in tries] == ["nowhere"], "the default models are known to be good"
    flow = {"name": "flow", "kernel": "trade_flow", "parameters": {"fast_ms": 100.0}}
    check_model.check_models(load(tmp_path, {"models": [flow]}), announced.append)
    assert tries[1:] == [[("trade_flow", {"fast_ms": 100.0}, ())]]
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "shared"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mesh.toml").write_text("")
    for root, count in ((tmp_path, 5), (tmp_path / "other", 5)):
        check_model.check_models(load(root), announced.append)
        assert len(tries) == count, "meshes that share machine code share what is known of it"


def test_what_refuses_a_model_is_lifted_by_the_next_trial_that_finds_it_able(root, tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    (tmp_path / "mesh.toml").write_text("")
    config = load(tmp_path, {"models": [{"name": "flow", "kernel": "trade_flow"}], "default_models": False})
    (flow,) = config.models
    outcome = {"ok": False, "fault": "trade_flow.py:9: it does not come back"}
    monkeypatch.setattr(check_model, "tried", lambda *_: [outcome])
    for again in (lambda: check_model.check_models(config, print), lambda: check_model.check_model(config, "trade_flow", [])):
        (tmp_path / "run/kernels/tried.json").unlink(missing_ok=True)
        outcome |= {"ok": False}
        check_model.check_models(config, print)
        assert why_refused(config, flow) == outcome["fault"]
        outcome |= {"ok": True}
        check_model.check_model(config, "trade_flow", ["fast_ms=7"])
        assert why_refused(config, flow) == outcome["fault"], "with other parameters it is another"
        again()
        assert why_refused(config, flow) == ""


def test_what_is_remembered_of_tries_is_bounded_and_all_models_of_the_mesh_are_among_it(root, tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr(check_model, "KEPT", 3)
    tries = []
    monkeypatch.setattr(check_model, "tried", lambda config, kernels: tries.append(kernels) or [{"ok": True}])

    def checked_with(*fast_ms: float) -> int:
        """How many tries it takes to check models of these parameters; how many are remembered is bounded."""
        one = {"kernel": "trade_flow", "instruments": ["*"]}
        models = [{**one, "name": f"flow{at}", "parameters": {"fast_ms": ms}} for at, ms in enumerate(fast_ms)]
        before = len(tries)
        check_model.check_models(load(tmp_path, {"models": models, "default_models": False}), print)
        known = json.loads((tmp_path / "run/kernels/tried.json").read_bytes())
        assert len(known) <= max(3, len(fast_ms))
        return len(tries) - before

    (tmp_path / "mesh.toml").write_text("")
    assert checked_with(100.0, 200.0) == 2
    assert checked_with(300.0, 400.0) == 2 and checked_with(100.0) == 0 and checked_with(200.0) == 1, "the oldest is forgotten"
    assert checked_with(1.0, 2.0, 3.0, 4.0, 5.0) == 5 and checked_with(1.0, 2.0, 3.0, 4.0, 5.0) == 0


def test_a_model_over_recorded_data_with_other_parameters(root):
    frame = run_model.run_model("book_imbalance", {"half_life_ms": 0.0, "step": 0.0, "interval_ms": 0.0}, config=load(root))
    assert len(frame) > 350 and str(frame.index.dtype) == "datetime64[ns, UTC]" and frame.index.is_monotonic_increasing
    assert set(frame["instrument"]) == {"binance.BTCUSDT"} and frame["value"].abs().max() <= 1.0
    usual = run_model.run_model("book_imbalance", config=load(root))
    assert 0 < len(usual) < len(frame)

    file = root / "signals.csv"
    words = ("--set", "half_life_ms=0", "--set", "step=0", "--set", "interval_ms=0", "--source", "log", "--csv", file)
    result = json.loads(mesh_here(root, "run-model", "book_imbalance", *words, "--json").stdout)
    assert result["signals"] == len(frame) and result["parameters"]["half_life_ms"] == 0.0
    rows = list(csv.DictReader(file.open()))
    assert [float(row["value"]) for row in rows] == frame["value"].tolist()
    shown = mesh_here(root, "run-model", "book_imbalance")
    assert shown.returncode == 0 and f"{len(usual)} signals of 400 events" in shown.stdout
    assert mesh_here(root, "run-model", "no_such").returncode == 1


def test_parameters_are_those_of_mesh_toml_and_it_is_said(root, tmp_path):
    mine = 'name = "mine"\nkernel = "book_imbalance"\nparameters = { half_life_ms = 7, step = 0.5 }\n'
    (tmp_path / "mesh.toml").write_text(f"default_models = false\n[[models]]\n{mine}")
    step = run_model.step_of(load(tmp_path), "book_imbalance", {"step": 0.25}, ("*",))
    given = step.identity()["parameters"]
    assert (given["half_life_ms"], given["step"], given["interval_ms"]) == (7.0, 0.25, 100.0)
    shown = mesh_here(root, "run-model", "book_imbalance", "--set", "step=0.5").stdout
    assert "Parameters: model imbalance of mesh.toml, but as said: step" in shown
    assert run_model.configured(load(tmp_path), "trade_flow") is None


def test_what_run_model_cannot_do_is_a_sentence_at_once(root):
    wrong = mesh_here(root, "run-model", "book_imbalance", "--instruments", "kraken.*")
    assert wrong.returncode == 1 and "Traceback" not in wrong.stderr
    assert "no instrument of mesh.toml is as in kraken.*; there are binance.BTCUSDT" in " ".join(wrong.stderr.split())
    wrong = mesh_here(root, "run-model", "no_such", "--csv", root / "nowhere/x.csv")
    assert wrong.returncode == 1 and "there is no folder" in wrong.stderr, "before the model is looked for"
    wrong = mesh_here(root, "run-model", "no_such", "--csv", root)
    assert wrong.returncode == 1 and "it is a folder" in wrong.stderr


def test_a_word_that_is_no_parameter():
    with pytest.raises(UsageFailure, match="'fast' is no parameter; give NAME=NUMBER"):
        check_model.parameters_of(["fast"])
