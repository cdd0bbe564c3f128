"""Every line of a capture is compared or named, whatever is in it, and costs no other."""

import json
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.stored import Market, write_log
from tests.support.verify_capture import DATA_NULL, bad_trade, judged
from tests.support.verify_scene import frame, scene
from tickmesh.bus.config import load
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.venues import binance
from tickmesh.nodes.venues.parsing.dialect import OddRows
from tickmesh.tools import verify as command
from tickmesh.tools.judge import capture

GZIP = b"\x1f\x8b"
DEEP = "1723161600000 " + "[" * 3000 + "]" * 3000


UNREADABLE = {
    "data is null": (DATA_NULL, "data is no object"),
    "nested deep": (DEEP, "nested too deep"),
    "no JSON": ("1723161600000 hello", "no JSON, or half of it"),
    "half a line": (bad_trade()[:60], "no JSON, or half of it"),
    "no time": ('{"stream":"btcusdt@trade","data":{}}', "no receive time before it"),
    "not text": (b"1723161600000 \xff\xfe\x00", "no JSON, or half of it"),
    "a list": ("1723161600000 [1, 2]", "JSON, but no object"),
    "an answer": ('1723161600000 {"result":null,"id":1}', "an answer to a request"),
    "a stream without a name": ('1723161600000 {"stream":7,"data":{}}', "the stream has no name"),
    "an id beyond 64 bits": (bad_trade(t=10**23), "t is beyond 64 bits"),
    "a price beyond 64 bits": (bad_trade(p="9" * 20), "a price or quantity is beyond 64 bits"),
    "a price that is a number": (bad_trade(p=1.5), "a price or quantity is no plain decimal number"),
    "a price that is infinite": (bad_trade(p="1e999999999"), "a price or quantity is no plain decimal number"),
    "a price of too many decimals": (bad_trade(p="0.000000001"), "a price or quantity has more than 8 decimals"),
    "an id as text": (bad_trade(t="9"), "t is no whole number"),
    "an id that is true": (bad_trade(t=True), "t is no whole number"),
    "a time beyond 64 bits": (bad_trade(T=10**18), "T is beyond 64 bits in ns"),
    "a side that is a number": (bad_trade(m=1), "m is neither true nor false"),
    "another symbol": (bad_trade(s="ETHUSDT"), "the symbol is not its stream's"),
    "ids the wrong way round": (
        frame(1, "depth@100ms", {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": 9, "u": 8, "b": [], "a": []}),
        "U is beyond u",
    ),
    "a level of one": (
        frame(1, "depth@100ms", {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": 8, "u": 8, "b": [["1"]], "a": []}),
        "a level of b is no pair",
    ),
    "a snapshot without sides": ('1723161600000 {"lastUpdateId":5}', "bids is no list"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_line_that_cannot_be_read_is_named_and_costs_no_other(root, name):
    line, why = UNREADABLE[name]
    made = scene()
    result = judged([*made.lines[:20], line, *made.lines[20:]], made.events)
    assert result["ok"], (result["faults"], result["sentences"])
    assert result["named"] == {why: "1 lines, first capture.dat, line 21"}
    assert (result["trades"], result["lines_named"]) == (29, 1)


@pytest.mark.parametrize("name", ["capture.dat", "capture.gz"])
def test_what_follows_half_a_file_is_named(root, name):
    made = scene()
    assert judged(made.lines, made.events, name)["ok"]
    path = Path(name)
    path.write_bytes(path.read_bytes()[:-40])
    result = command.verify([path])
    assert result["lines_named"] == 1 and set(result["faults"]) <= {"invented"}, result  # what the mesh has and the rest had


def test_a_file_that_only_calls_itself_gzip_is_read(root):
    made = scene()
    write_log(load().log_dir, made.events)
    Path("plain.gz").write_text("\n".join(made.lines))
    assert command.verify([Path("plain.gz")])["ok"]


@pytest.mark.parametrize("lines", [[], ["hello"], [UNREADABLE["an answer"][0]]], ids=["empty", "no capture", "answers only"])
def test_where_nothing_could_be_compared_it_is_not_ok(root, lines):
    result = judged(lines, [Market().clock()])
    assert result["verdict"] == "incomplete" and result["faults"] == {"not_compared": 1}, result


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1.5", "trade"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list("EsUubatpqTmXflM") + ["pu", "ps"]), inner),
    max_leaves=12,
)
NAMES = st.sampled_from(["btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms", "btcusdt@aggTrade", "@", "x@kline", ""])
LINES = st.one_of(
    st.binary(max_size=60),
    JSON.map(lambda tree: b"1 " + json.dumps(tree).encode()),
    st.tuples(NAMES, JSON).map(lambda pair: b"1 " + json.dumps({"stream": pair[0], "data": pair[1]}).encode()),
    st.tuples(st.sampled_from(scene(6).lines), st.integers(0, 200), st.binary(max_size=3)).map(
        lambda t: t[0].encode()[: t[1]] + t[2] + t[0].encode()[t[1] + len(t[2]) :]
    ),
    JSON.map(lambda tree: b"1 " + json.dumps({"lastUpdateId": tree, "bids": tree, "asks": []}).encode()),
)


@given(st.lists(LINES, max_size=12))
@settings(max_examples=300)
def test_no_line_stops_the_judge_and_each_is_accounted_for(tmp_path_factory, lines):
    assume(not b"\n".join(lines).startswith(GZIP))  # then it is no file of lines
    path = tmp_path_factory.getbasetemp() / "any.dat"
    path.write_bytes(b"\n".join(lines))
    seen = capture.read_captures([path])
    repeated = sum(stream.repeated for stream in seen.streams.values())
    taken = sum(seen.taken.values()) + seen.snapshots
    written = [line for line in path.read_bytes().split(b"\n") if line.strip()]
    assert seen.lines == len(written)
    assert taken + sum(seen.reasons.values()) + sum(seen.unrecorded.values()) == seen.lines and repeated <= taken


@pytest.mark.parametrize("odd", [["-1", "2"], ["0", "2"], ["9" * 30, "2"], ["5", "-2"], ["5", "9" * 30], None])
def test_a_change_is_compared_without_the_level_or_the_time_that_nobody_can_hold(root, odd):
    """The feed's own event: what the two leave out is the same, and nothing else is."""
    data = {"e": "depthUpdate", "E": 10**30, "s": "ETHUSDT", "U": 1, "u": 1, "b": [["7", "2"]], "a": [["8", "3"]]}
    if odd is not None:
        data |= {"E": 1723161600000, "b": [["7", "2"], odd]}
    payload = json.dumps({"stream": "ethusdt@depth@100ms", "data": data}, separators=(",", ":"))
    with pytest.raises(OddRows) as refusal:
        binance.decode(payload.encode(), 1, binance.routes([Instrument(symbol="ETHUSDT")]))
    made, line, stored = scene(), f"1723161600000 {payload}", [bytes(event) for event in refusal.value.readable]
    result = judged([*made.lines, line], [*made.events, *stored])
    assert result["ok"] and not result["named"], result
    for log in load().log_dir.glob("*"):
        log.unlink()
    assert not judged([*made.lines, line.replace('["7","2"]', '["7","4"]')], [*made.events, *stored])["ok"]
