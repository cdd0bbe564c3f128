"""The verdict is incomplete where a stream of the capture was not compared, whatever else was."""

import json
import subprocess
import sys

import pytest

from tests.support.places import PROJECT
from tests.support.verify_capture import DATA_NULL, judged
from tests.support.verify_scene import frame, scene
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import ids_of, kind_of, stamp_first_id


def unrecorded(channel: str) -> str:
    return frame(1, channel, {"e": channel, "E": 1, "s": "BTCUSDT", "p": "1.0"})


@pytest.mark.parametrize(
    "channel", ["markPrice", "markPrice@1s", "kline_1m", "depth5", "depth20@100ms", "forceOrder", "ticker", "x"]
)
def test_a_stream_that_nothing_records_makes_it_incomplete(root, channel):
    made = scene()
    result = judged([*made.lines, unrecorded(channel), unrecorded(channel)], made.events)
    assert (result["verdict"], result["lines_not_compared"]) == ("incomplete", 2), result
    assert f"2 lines of btcusdt@{channel}" in result["sentences"][0]


def test_a_stream_of_which_no_line_can_be_read_makes_it_incomplete(root):
    made = scene()
    lines = [line for line in made.lines if "@trade" not in line] + [DATA_NULL, DATA_NULL]
    result = judged(lines, [raw for raw in made.events if raw[8] != Kind.trade])
    assert "none of the 2 lines of btcusdt@trade" in result["sentences"][0]


def test_messages_that_are_of_no_stream_make_it_incomplete(root):
    made = scene()
    line = "1723161600000 " + json.dumps({"e": "trade", "s": "BTCUSDT", "t": 1})
    assert judged([*made.lines, line], made.events)["verdict"] == "incomplete"


def test_incomplete_is_said_and_is_an_exit_code(root):
    made = scene()
    judged([*made.lines, unrecorded("markPrice")], made.events)
    done = subprocess.run(
        [sys.executable, "-m", "tickmesh.tools.cli", "verify", "--against", "capture.dat"],
        cwd=root, capture_output=True, text=True, env={"PYTHONPATH": str(PROJECT), "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 1 and "btcusdt@markPrice" in done.stdout and "incomplete" in done.stdout, done.stdout


def aggregated(lines: list[str], *spans: tuple[int, int]) -> list[str]:
    """`@aggTrade` of these ids, at the price of the last; spot."""
    out = []
    for first, last in spans:
        data = json.loads(next(line for line in lines if f'"t": {last},' in line).partition(" ")[2])["data"]
        told = {name: data[name] for name in ("E", "s", "p", "q", "T", "m")}
        out.append(frame(1, "aggTrade", {"e": "aggTrade", "a": 1, "f": first, "l": last, "M": True, **told}))
    return out


def as_aggregates(raws: list[bytes], *spans: tuple[int, int]) -> list[bytes]:
    """The trades of these ids as one event each, as the mesh takes an `@aggTrade`."""
    firsts = {last: first for first, last in spans}
    out = []
    for raw in raws:
        event = bytearray(raw)
        if kind_of(raw) == Kind.trade:
            _, last = ids_of(raw)
            if last not in firsts:
                continue
            stamp_first_id(event, firsts[last])
        out.append(bytes(event))
    return out


SPANS = ((501, 503), (504, 504), (505, 529))


def test_trades_told_as_aggregates_only_are_compared_as_what_they_are(root):
    made = scene()
    lines = [line for line in made.lines if "@trade" not in line] + aggregated(made.lines, *SPANS)
    result = judged(lines, as_aggregates(made.events, *SPANS))
    assert result["ok"] and result["trades"] == 3, result


def test_aggregates_that_the_mesh_has_not_are_lost(root):
    made = scene()
    lines = [line for line in made.lines if "@trade" not in line] + aggregated(made.lines, *SPANS)
    result = judged(lines, [raw for raw in made.events if raw[8] != Kind.trade])
    assert result["verdict"] == "wrong" and result["lost"] == 3, result


def test_an_aggregate_stored_as_a_single_trade_is_different(root):
    made = scene()
    lines = [line for line in made.lines if "@trade" not in line] + aggregated(made.lines, *SPANS)
    result = judged(lines, as_aggregates(made.events, *((last, last) for _, last in SPANS)))
    assert result["different"] == 2, result


def test_aggregates_beside_single_trades_say_nothing_new_or_make_it_incomplete(root):
    made = scene()
    assert judged([*made.lines, *aggregated(made.lines, *SPANS)], made.events)["ok"]
    without = [line for line in made.lines if '"t": 510,' not in line] + aggregated(made.lines, *SPANS)
    result = judged(without, made.events)
    assert result["faults"] == {"invented": 1, "not_compared": 1}, result


def test_a_second_depth_stream_of_an_instrument_makes_it_incomplete(root):
    made = scene()
    lines = made.lines
    data = {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": 101, "u": 109, "b": [], "a": []}
    result = judged([*lines, frame(1, "depth", data)], made.events)
    assert result["verdict"] == "incomplete" and "btcusdt@depth, beside btcusdt@depth@100ms" in result["sentences"][0]
