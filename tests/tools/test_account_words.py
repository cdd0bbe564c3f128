"""What commands about strategies and orders answer to a person, without a process."""

import pytest

from tests.support.command_run import run_here
from tickmesh.tools import trading, verdict

TWO = '[[strategies]]\nname = "mine"\n'


@pytest.fixture
def root(make_root):
    return make_root(TWO)


@pytest.mark.parametrize("word, state", [("on", "live"), ("live", "live"), ("off", "off"), ("shadow", "shadow")])
def test_a_strategy_is_switched_on_by_either_word_of_it(root, monkeypatch, word, state):
    published = []
    monkeypatch.setattr(trading, "publish_command", lambda config, command: published.append(command) or 7)
    done = run_here(root, "mesh", "strategy", "mine", word)
    assert done.returncode == 0 and [one.state for one in published] == [state], done


def test_a_missing_word_is_one_sentence_with_what_it_may_be(root):
    done = run_here(root, "mesh", "strategy", "list")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "\t" not in done.stderr, done.stderr
    assert "Choose from: on, live, off, shadow; see mesh --help" in done.stderr


def test_what_starts_stopped_feeds_is_named():
    assert "`mesh up` starts its feeds" in verdict.no_line("binance") and "reload" not in verdict.no_line("binance")
