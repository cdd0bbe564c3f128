"""`mesh new-model`: what it writes can run, is started by what it says, and replaces nothing."""

import json

import pytest

from tests.support.command_run import mesh_here
from tickmesh.bus.config import load
from tickmesh.nodes.model.trial import tried
from tickmesh.tools.new_model import TEMPLATES


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_is_written_can_run_and_is_a_model_of_the_mesh(root, template):
    done = mesh_here(root, "new-model", f"my_{template}", "--template", template, "--add", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (root / "models" / f"my_{template}.py").read_text() == (root / result["file"]).read_text()
    added = next(model for model in load(root).models if model.name == f"my_{template}")
    assert (added.kernel, added.instruments) == (f"my_{template}", ("*",))
    found = tried(load(root), f"my_{template}", {})  # as check-model does in a process of its own
    assert found["ok"] and found["signals"] > 20 and not found["refused"] and not found["warnings"], found


def test_it_says_what_to_do_next(root):
    (root / "mesh.toml").write_text('# mine\n[[instruments]]\nsymbol = "ETHUSDT"')
    done = mesh_here(root, "new-model", "fair")
    assert done.returncode == 0 and (root / "mesh.toml").read_text().endswith('"ETHUSDT"'), "without --add it is left as it is"
    for words in ("mesh check-model fair", "mesh reload", "restart model-fair", "[[models]]", 'kernel = "fair"'):
        assert words in done.stdout
    assert "again with --add" in done.stdout and mesh_here(root, "new-model", "fair", "--add").returncode == 0
    assert (
        (root / "mesh.toml")
        .read_text()
        .startswith('# mine\n[[instruments]]\nsymbol = "ETHUSDT"\n\n[[models]]\nname = "fair"\n')
    )
    assert [model.name for model in load(root).models][:1] == ["fair"]
    assert mesh_here(root, "new-model", "fair", "--add").returncode == 1, "it is there, and in mesh.toml"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("My-Model", "'My-Model' cannot be a model's name"),
        ("lambda", "'lambda' cannot be a model's name"),
        ("../up", "'../up' cannot be a model's name"),
        ("a" * 33, "should be 1 to 32 of a–z"),
        ("trade_flow", "trade_flow is the name of a shipped file"),
        ("features", "features is the name of a shipped file"),
    ],
)
def test_a_name_that_cannot_be_is_refused(root, name, sentence):
    done = mesh_here(root, "new-model", name)
    assert done.returncode == 2 and sentence in " ".join(done.stderr.split()), done.stderr
    assert not (root / "models").exists()


def test_nothing_that_is_there_is_replaced(root):
    (root / "models").mkdir()
    (root / "models/mine.py").write_text("x = 1\n")
    done = mesh_here(root, "new-model", "mine", "--add")
    assert done.returncode == 1 and "is there already" in done.stderr and 'kernel = "mine"' in done.stderr
    assert (root / "models/mine.py").read_text() == "x = 1\n" and (root / "mesh.toml").read_text() == ""
    (root / "mesh.toml").write_text('[[models]]\nname = "other"\nkernel = "trade_flow"\n')
    for code, name, whose in ((1, "other", "a model of"), (2, "flow", "a default model, of kernel trade_flow")):
        for words in ((), ("--add",)):
            done = mesh_here(root, "new-model", name, *words)
            assert done.returncode == code and f"'{name}' is the name of {whose}" in " ".join(done.stderr.split()), done
            assert not (root / f"models/{name}.py").exists()
    (root / "mesh.toml").write_text("models = []\n")
    done = mesh_here(root, "new-model", "third", "--add")
    assert done.returncode == 1 and "nothing was changed" in " ".join(done.stderr.split())
    assert (root / "mesh.toml").read_text() == "models = []\n" and not (root / "models/third.py").exists()
    assert not (root / "models/other.py").exists()


def test_an_unknown_template_is_a_sentence(root):
    done = mesh_here(root, "new-model", "mine", "--template", "magic")
    assert done.returncode == 2 and "there are mean_reversion, features" in " ".join(done.stderr.split())
