"""A table's values are whole wherever it is shown: what has no room goes by the column."""

import io

import rich.table

from tests.support.command_run import run_here
from tests.support.stored import Market, write_log
from tickmesh.bus.config import load
from tickmesh.tools import terminal
from tickmesh.tools.tables import TerminalTable

NAMES = ("topic", "begin", "end", "evidence")
ROW = ("trade.binance.BTCUSDT", "2026-11-29 04:31:30.175000001", "2026-11-29 04:42:40.897000002", "ids")


def printed(table, width: int, is_terminal: bool) -> list[str]:
    page = io.StringIO()
    console = terminal._Terminal(file=page, width=width, force_terminal=is_terminal, highlight=False, soft_wrap=True)
    table.add_row(*ROW)
    console.print(table)
    return page.getvalue().splitlines()


def test_what_is_no_terminal_gets_every_value_whole():
    for table in (TerminalTable(*NAMES, box=None), rich.table.Table(*NAMES, box=None)):
        lines = printed(table, 40, False)
        assert lines[1].split("  ")[0].strip() == ROW[0] and all(value in lines[1] for value in ROW), lines
        assert len(lines) == 2


def test_a_narrow_terminal_lacks_columns_the_least_first():
    lines = printed(TerminalTable(*NAMES, least=("evidence", "begin"), box=None), 60, True)
    assert ROW[0] in lines[1] and ROW[2] in lines[1] and ROW[1] not in lines[1] and "…" not in "".join(lines)
    assert "no room for evidence, begin" in lines[2]
    lines = printed(rich.table.Table(*NAMES, box=None), 60, True)
    assert ROW[1] in lines[1] and ROW[2] not in lines[1] and "no room for evidence, end" in lines[2], "from the right"
    lines = printed(TerminalTable(*NAMES, box=None), 10, True)
    assert ROW[0] in "".join(lines), "the first column stays, however narrow it is"
    assert len(printed(TerminalTable(*NAMES, box=None), 200, True)) == 2


def test_commands_in_a_pipe_shorten_nothing(make_root, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    root = make_root()
    write_log(load(root).log_dir, Market().mixed(200))
    for words in (["coverage"], ["bars", "BTCUSDT", "--every", "1s"], ["coverage", "--missing"]):
        done = run_here(root, "mesh", *words)
        assert "Traceback" not in done.stderr and len(done.stdout) > 100, done
        assert "…\n" not in done.stdout and "… " not in done.stdout.replace("… and", ""), done.stdout
