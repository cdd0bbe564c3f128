"""What commands about strategies and orders answer to a person, without a process."""

import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from tests.support.command_run import run_here
from tests.support.executor_tape import BID, LOT, SUBJECT, Tape
from tickmesh.bus.schema import INTENT, Action, Kind, Status
from tickmesh.bus.wire import encode
from tickmesh.tools import closing, ls, orders, pnl, status_shown, terminal, trading, verdict

TWO = '[[strategies]]\nname = "mine"\n'


@pytest.fixture
def root(make_root):
    return make_root(TWO)


@pytest.fixture
def before(root, monkeypatch):
    """What a strategy that mesh.toml has no more has left: four orders, of which one is open and one is filled."""
    tape = Tape()
    tape.instrument()
    for number, strategy in enumerate((b"was", b"was", b"was", b"nothing")):
        row = np.zeros(1, INTENT)
        row["client_order_id"], row["action"], row["side"], row["strategy"] = b"t0-%d" % number, Action.NEW, 1, strategy
        row["quantity_lots"], row["price_ticks"] = LOT, BID
        tape.log(encode(Kind.intent, SUBJECT, row), "executor")
    tape.fill(b"t0-0", 1, LOT, price=BID)
    for order, now in ((b"t0-0", Status.Filled), (b"t0-1", Status.Canceled), (b"t0-3", Status.Canceled)):
        tape.update(order, now, LOT * (now is Status.Filled))
    monkeypatch.setattr(orders, "account_events", lambda config, until=None: tape.events)
    return root


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


def test_open_orders_are_counted_beside_all_that_are_over(before):
    for words in ((), ("--open",)):
        answer = json.loads(run_here(before, "mesh", "orders", "--json", *words).stdout)
        assert (answer["open"], answer["over"], len(answer["orders"])) == (1, 3, 1 if words else 4), words
    assert run_here(before, "mesh", "orders", "--open").stdout.splitlines()[-1] == "1 open, 3 over"


@pytest.mark.parametrize("command", ["orders", "fills"])
def test_a_strategy_that_never_was_is_refused_and_one_that_was_is_not(before, command):
    done = run_here(before, "mesh", command, "--strategy", "nosuch")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no strategy 'nosuch'" in done.stderr and done.stderr.endswith("there: mine; that ordered before: nothing, was\n")
    for strategy in ("was", "mine", ""):
        assert run_here(before, "mesh", command, "--strategy", strategy).returncode == 0, strategy


def test_profit_of_a_strategy_that_never_was_is_refused(root):
    done = run_here(root, "mesh", "pnl", "--strategy", "nosuch")
    assert done.returncode == 1 and done.stderr.endswith("none of that name ever ordered; there: mine\n"), done


@pytest.mark.parametrize("command", ["flatten", "cancel"])
def test_what_a_strategy_has_left_can_be_ended_when_mesh_toml_has_it_no_more(before, monkeypatch, command):
    published = []
    monkeypatch.setattr(closing, "publish_command", lambda config, wanted: published.append(wanted) or 99)
    for nothing in ("nosuch", "nothing"):
        done = run_here(before, "mesh", command, "--strategy", nothing)
        assert done.returncode == 2 and "none of that name has a position or an open order; there: mine" in done.stderr, done
    assert not published
    done = run_here(before, "mesh", command, "--strategy", "was", "--timeout", "0", "--json")
    assert [one.strategy for one in published] == ["was"], done


def test_status_says_of_a_strategy_that_it_is_no_longer_in_mesh_toml(monkeypatch):
    page = io.StringIO()
    monkeypatch.setattr(status_shown, "out", Console(file=page, width=200))
    status_shown._show_trading({"strategies": {"": {"state": ""}, "was": {"state": ""}, "mine": {"state": "live"}}})
    assert page.getvalue() == "strategies: (none) -, was (no longer in mesh.toml), mine live\n"


SHOWN = {  # by command: columns that 60 characters must have
    "orders": ("at", "price", "quantity", "status"),
    "fills": ("at", "side", "quantity", "price"),
    "ls": ("topic", "rows", "MB"),
    "pnl": ("strategy", "instrument", "position", "net"),
    "positions": ("strategy", "instrument", "position", "realised"),
}
FIGURES = {
    "position": 0.00394,
    "average_price": 60_000.0,
    "realised": 1.5,
    "unrealised": 2.5,
    "fee_cost": 0.1,
    "funding": 0.0,
    "fills": 3,
}
MONEY = {name: "12.3456" for name in pnl.MONEY}
ANSWERS = {  # of commands that have more to read than is worth storing here
    "ls": {"place": ".", "topics": [
        {"topic": "trade.binance.BTCUSDT", "days": ["2026-11-30"], "rows": 1_000_000, "logged": 26_000, "bytes": 10},
    ]},
    "pnl": {"rows": [{"strategy": "mine", "instrument": SUBJECT, "position": "0.00394", "average_price": "60000.12",
                      "mark": "60000.12", "fills": 3, **MONEY}],
            "strategies": {}, "in_all": MONEY, "not_added": []},
    "positions": {"strategies": {"mine": {"positions": {SUBJECT: FIGURES}, "shadow": {}, "state": "live"}}, "positions": {},
                  "tightened": {}, "fees": {}, "fundings": {}, "profit": 1.0},
}  # fmt: skip


@pytest.mark.parametrize("command", SHOWN)
def test_a_narrow_terminal_has_the_columns_that_matter(before, monkeypatch, command):
    page = io.StringIO()
    console = terminal._Terminal(file=page, width=60, force_terminal=True, highlight=False, soft_wrap=True, no_color=True)
    monkeypatch.setattr(terminal, "out", console)
    monkeypatch.setattr(ls, "out", console)
    if command in ("orders", "fills"):
        getattr(orders, f"show_{command}")(
            getattr(orders, command)("", None, "", None, *((False,) if command == "orders" else ()))
        )
    else:
        {"ls": ls.show, "pnl": pnl.show, "positions": trading.show_positions}[command](ANSWERS[command])
    headers = re.sub(r"\x1b\[[0-9;]*m", "", page.getvalue()).splitlines()[0].split()
    assert set(SHOWN[command]) <= set(headers) and "no room for" in page.getvalue(), page.getvalue()
