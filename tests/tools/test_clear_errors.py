"""What can go wrong with what is read, at commands of research: one sentence, an exit code, no traceback."""

import re
from pathlib import Path

import pytest

from tests.support.command_run import mesh_here
from tests.support.damaged_meshes import damaged_copies
from tests.support.research_scene import recorded

NEVER = ("--start", "2030-01-01", "--end", "2030-01-02")
COMMANDS = {  # of an instrument, in the place of {}
    "head": ("head", "trade.{}"),
    "info": ("info", "trade.{}"),
    "sql": ("sql", "select count(*) from trades", "--instruments", "{}"),
    "bars": ("bars", "{}", "--source", "ticks"),
    "plot": ("plot", "{}", "--to", "out.html"),
    "market-report": ("market-report", "{}"),
    "train": ("train", "learner", "--instrument", "{}"),
    "run-model": ("run-model", "trade_flow", "--instruments", "{}"),
}
OF_ALL = {"export": ("export", "--partial", "--to", "out"), "compare": ("compare",), "replay": ("replay", "--check")}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mesh")
    recorded(folder, rounds=10)
    return folder


@pytest.fixture(scope="module")
def damaged(root, tmp_path_factory) -> dict[str, tuple[Path, str]]:
    return damaged_copies(root, tmp_path_factory.mktemp("damaged"), ("gone", "newer"))


def sentence_of(root: Path, words: tuple[str, ...], instrument: str = "BTCUSDT") -> str:
    """What a command that fails says: one sentence."""
    done = mesh_here(root, *(word.replace("{}", instrument) for word in words))
    assert done.returncode in (1, 2), (done.returncode, done.stdout, done.stderr)
    assert done.stderr.startswith("mesh: ") and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr, done.stderr
    return done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_an_instrument_that_there_is_not_is_said_with_those_that_there_are(root, command):
    assert re.search(r"BTCUST\b.*binance\.BTCUSDT", sentence_of(root, COMMANDS[command], "BTCUST"))


@pytest.mark.parametrize("command", ["bars", "plot", "market-report", "compare", "replay"])
def test_a_time_in_which_nothing_is_recorded_is_said(root, command):
    sentence = sentence_of(root, (*{**COMMANDS, **OF_ALL}[command], *NEVER))
    assert re.search("nothing|neither|no order|not recorded", sentence), sentence


@pytest.mark.parametrize("fault", ["gone", "newer"])
@pytest.mark.parametrize("command", [*COMMANDS, *OF_ALL])
def test_a_file_that_cannot_be_read_is_named_with_what_to_do(damaged, fault, command):
    folder, sentence = damaged[fault]
    words = {**COMMANDS, **OF_ALL}[command]
    assert re.search(sentence, sentence_of(folder, words, "binance.BTCUSDT"))
