"""Against a capture the judge compares every line, or names it; it is never ok where a stream was not compared."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.places import PROJECT
from tests.support.stored import Market, write_log
from tests.support.verify_scene import SCALE, Scene, frame, price, renumbered, scene
from tickmesh.bus.config import load
from tickmesh.bus.schema import DTYPES, Flag, GapState, Kind, Reason
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.venues import binance
from tickmesh.nodes.venues.parsing.dialect import OddRows
from tickmesh.tools import verify as command
from tickmesh.tools.judge import capture


def judged(lines: list, events: list[bytes], name: str = "capture.dat") -> dict:
    path = Path(name)
    data = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    if not list(load().log_dir.glob("*.seg")):
        write_log(load().log_dir, renumbered(events))
    result = command.verify([path])
    parts = ("lines_compared", "lines_repeated", "lines_named", "lines_not_compared")
    assert sum(result[part] for part in parts) == result["lines"] == len([line for line in lines if line.strip()])
    assert result["ok"] == (result["verdict"] == "ok")
    return result


DEEP = "1723161600000 " + "[" * 3000 + "]" * 3000
DATA_NULL = '1723161600000 {"stream":"btcusdt@trade","data":null}'


def bad_trade(**fields) -> str:
    data = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": 9, "p": "1.0", "q": "1.0", "T": 1, "m": True} | fields
    return frame(1, "trade", data)


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


def foreign(channel: str) -> str:
    return frame(1, channel, {"e": channel, "E": 1, "s": "BTCUSDT", "p": "1.0"})


@pytest.mark.parametrize(
    "channel", ["markPrice", "markPrice@1s", "kline_1m", "depth5", "depth20@100ms", "forceOrder", "ticker", "x"]
)
def test_a_stream_that_nothing_records_makes_it_incomplete(root, channel):
    made = scene()
    result = judged([*made.lines, foreign(channel), foreign(channel)], made.events)
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
    judged([*made.lines, foreign("markPrice")], made.events)
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
        last = int.from_bytes(raw[112:120], "little")
        if raw[8] == Kind.trade and last not in firsts:
            continue
        out.append(raw[:104] + firsts[last].to_bytes(8, "little") + raw[112:] if raw[8] == Kind.trade else raw)
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


# -- futures


def usdm() -> tuple[list[str], list[bytes]]:
    """A small USD-M market: a book whose ids skip, ids that stand for no trade. As lines, and as a mesh logs them."""
    market, lines, events, subject = Market(), [], [], "binance_usdm.BTCUSDT"

    def log(kind, record, **fields):
        events.append(market.event(kind, subject, record, **fields))

    lines.append("1 " + json.dumps({"lastUpdateId": 100, "E": 1, "T": 1, "bids": [["60.00", "1"]], "asks": [["70.00", "1"]]}))
    before = 100
    for step in range(20):
        first, last = before + 5, before + 9
        level = [f"{60 + step}.00", "2.000"]
        data = {"e": "depthUpdate", "E": 5, "T": 4, "s": "BTCUSDT", "U": first, "u": last, "pu": before, "b": [level], "a": []}
        lines.append(frame(1, "depth@0ms", data))
        record = np.zeros(1, DTYPES[Kind.depth])
        record[0] = ((60 + step) * SCALE, 2 * SCALE, 1, b"")
        flags = Flag.UNSYNCED if step == 0 else 0
        log(Kind.depth, record, first_id=before + 1, last_id=last, venue_ns=5_000_000, flags=flags)
        if step == 0:
            image = np.zeros(3, DTYPES[Kind.depth])
            image[:] = [(60 * SCALE, 2 * SCALE, 1, b""), (70 * SCALE, SCALE, -1, b""), (0, 0, 0, b"")]
            log(Kind.depth, image[:2], first_id=last + 1, last_id=last, flags=Flag.SNAPSHOT)
        quote = {"e": "bookTicker", "u": last, "s": "BTCUSDT", "b": level[0], "B": "2", "a": "70.00", "A": "1", "T": 4, "E": 5}
        lines.append(frame(1, "bookTicker", quote))
        record = np.zeros(1, DTYPES[Kind.quote])
        record[0] = (last, (60 + step) * SCALE, 2 * SCALE, 70 * SCALE, SCALE, 4_000_000)
        if step < 10:  # beyond it the book is crossed
            log(Kind.quote, record, last_id=last)
        else:
            lines.pop()
        trade = {"e": "trade", "E": 5, "T": 4, "s": "BTCUSDT", "t": 900 + 2 * step, "p": "0", "q": "0", "X": "NA", "m": True}
        lines.append(frame(1, "trade", trade))
        lines.append(frame(1, "trade", trade | {"t": 901 + 2 * step, "p": "60.5", "q": "3", "X": "MARKET"}))
        record = np.zeros(1, DTYPES[Kind.trade])
        record[0] = (901 + 2 * step, 605 * SCALE // 10, 3 * SCALE, 4_000_000, 5_000_000, -1, b"")
        log(Kind.trade, record, first_id=900 + 2 * step, last_id=901 + 2 * step, venue_ns=5_000_000)
        before = last
    return lines, events


def test_a_capture_of_usd_m_is_compared_with_what_is_stored_of_usd_m(root):
    lines, events = usdm()
    result = judged(lines, events)
    assert result["ok"], (result["faults"], result["sentences"])
    assert (result["trades"], result["depth_events"], result["book_checks"]) == (20, 20, 10)
    assert result["snapshots_compared"] == 1


def test_a_capture_of_usd_m_stored_as_spot_is_not_ok(root):
    lines, events = usdm()
    spot = [raw[:32] + b"binance.BTCUSDT".ljust(32, b"\0") + raw[64:] for raw in events]
    result = judged(lines, spot)
    assert result["verdict"] == "wrong" and {"lost", "invented"} <= set(result["faults"])


def test_coin_m_is_its_own_venue(root):
    lines, events = usdm()
    data = {"e": "trade", "E": 1, "T": 1, "s": "BTCUSD_PERP", "t": 1, "p": "1", "q": "1", "X": "MARKET", "m": True}
    line = "1 " + json.dumps({"stream": "btcusd_perp@trade", "data": data})
    result = judged([*lines, line], events)
    assert result["lost"] == 1 and "trade.binance_coinm.BTCUSD_PERP" in result["sentences"][0]


def test_prices_are_read_at_the_exponents_that_the_log_states(root):
    market = Market()
    record = np.zeros(1, DTYPES[Kind.instrument])
    record["price_exponent"], record["quantity_exponent"] = -2, -3
    events = [market.event(Kind.instrument, "binance.BTCUSDT", record)]
    record = np.zeros(1, DTYPES[Kind.trade])
    record[0] = (9, 6050, 1500, 1_000_000, 1_000_000, -1, b"")
    events.append(market.event(Kind.trade, "binance.BTCUSDT", record, first_id=9, last_id=9, venue_ns=1_000_000))
    assert judged([bad_trade(p="60.50", q="1.500")], events)["ok"]


# -- what the mesh refused


def absurd_quote() -> str:
    return frame(2, "bookTicker", {"u": 10**12 + 5, "s": "BTCUSDT", "b": "1.0", "B": "1.0", "a": "2.0", "A": "1.0"})


def refusals(market: Market, line: str, by: str) -> list[bytes]:
    """As a feed keeps a frame, or the sequencer an event whose id its line took back."""
    raw = line.partition(" ")[2].encode()
    if by == "sequencer":
        record = np.zeros(1, DTYPES[Kind.quote])
        record["update_id"] = 10**12 + 5
        raw = Market().event(Kind.quote, "binance.BTCUSDT", record, first_id=10**12 + 5, last_id=10**12 + 5)
    content = {"node": by, "why": "absurd", "raw": raw[:4096], "raw_bytes": len(raw)}
    return [market.event(Kind.refusal, by, content, producer=by.encode())]


@pytest.mark.parametrize("by", ["feed-1", "sequencer"])
def test_what_was_refused_with_its_bytes_is_not_lost(root, by):
    made = scene()
    lines = [*made.lines[:20], absurd_quote(), *made.lines[20:]]
    result = judged(lines, [*made.events, *refusals(made.market, absurd_quote(), by)])
    assert result["ok"] and (result["refused"], result["lost"]) == (1, 0), result


@pytest.mark.parametrize("by", ["feed-1", "sequencer"])
def test_what_was_neither_stored_nor_refused_is_lost(root, by):
    made = scene()
    other = absurd_quote().replace("1.0", "1.5") if by == "feed-1" else absurd_quote().replace(str(10**12 + 5), str(10**12 + 6))
    result = judged([*made.lines, other], [*made.events, *refusals(made.market, absurd_quote(), by)])
    assert result["lost"] == 1 and not result["refused"], result


def test_a_named_line_that_the_mesh_refused_is_counted(root):
    made = scene()
    line = bad_trade(t=10**23)
    result = judged([*made.lines, line], [*made.events, *refusals(made.market, line, "feed-1")])
    assert result["ok"] and result["lines_refused"] == 1


# -- ids that come again


def test_ids_that_begin_anew_are_compared_in_both_eras(root):
    made = Scene()
    for n in (1, 2, 3):
        made.trade(n)
    old = made.lines[-1], made.events[-1]
    record = np.zeros(1, DTYPES[Kind.gap])
    record[0] = (504, 504, Kind.trade, GapState.unrecoverable, Reason.reset, 0, 0, 0, 0)
    made.events.append(made.market.event(Kind.gap, "binance.BTCUSDT", record, producer=b"sequencer"))
    record = np.zeros(1, DTYPES[Kind.trade])
    record[0] = (503, 7 * SCALE, SCALE, 9_000_000, 9_000_000, -1, b"")
    made.lines.append(bad_trade(t=503, p=price(7 * SCALE), E=9, T=9))
    fields = {"first_id": 503, "last_id": 503, "venue_ns": 9_000_000, "flags": Flag.RESET}
    made.events.append(made.market.event(Kind.trade, "binance.BTCUSDT", record, **fields))
    assert judged(made.lines, made.events)["ok"]
    lost = judged([*made.lines, old[0].replace('"t": 503', '"t": 503 ').replace('T": 1', 'T": 2')], made.events)
    assert lost["lost"] == 1, lost


@pytest.mark.parametrize(("said", "refused"), [(1, 1), (2, 1), (1, 0)])
def test_of_ids_that_began_anew_what_was_refused_is_not_lost_and_no_more(root, said, refused):
    made = Scene()
    made.trade(1)
    record = np.zeros(1, DTYPES[Kind.trade])
    record[0] = (501, 7 * SCALE, SCALE, 9_000_000, 9_000_000, -1, b"")
    fields = {"first_id": 501, "last_id": 501, "venue_ns": 9_000_000, "flags": Flag.RESET}
    made.lines.append(bad_trade(t=501, p=price(7 * SCALE), E=9, T=9))
    made.events.append(made.market.event(Kind.trade, "binance.BTCUSDT", record, **fields))
    for n in range(said):  # the same id with other prices
        made.lines.append(bad_trade(t=501, p=price((8 + n) * SCALE), E=10, T=10))
    record["price_ticks"] = 8 * SCALE
    raw = made.market.event(Kind.trade, "binance.BTCUSDT", record, **{**fields, "flags": 0})
    content = {"node": "sequencer", "why": "something else", "raw": raw, "raw_bytes": len(raw)}
    for _ in range(refused):
        made.events.append(made.market.event(Kind.refusal, "binance.BTCUSDT", content, producer=b"sequencer"))
    result = judged(made.lines, made.events)
    assert result["refused"] == refused and result["lost"] == said - refused, result


# -- snapshots


def with_snapshot(change) -> Scene:
    """A scene whose logged snapshot, later than the captured one, is as `change` makes it."""
    made = scene(3)
    levels = [
        (60_002 * SCALE, 3 * SCALE, 1),
        (60_001 * SCALE, 2 * SCALE, 1),
        (60_000 * SCALE, SCALE, 1),
        (70_000 * SCALE, SCALE, -1),
    ]
    levels = change(levels)
    record = np.zeros(len(levels), DTYPES[Kind.depth])
    record["price_ticks"], record["quantity_lots"], record["side"] = zip(*levels)
    made._log(Kind.depth, record, flags=Flag.SNAPSHOT, first_id=made.update_id + 1, last_id=made.update_id)
    return made


def test_a_logged_snapshot_is_compared_with_the_captures_own_book_at_its_id(root):
    made = with_snapshot(lambda levels: levels)
    result = judged(made.lines, made.events)
    assert result["ok"] and result["snapshots_compared"] == 2, result


@pytest.mark.parametrize("what", ["another quantity", "a level too many", "a level too few"])
def test_a_logged_snapshot_that_is_not_that_book_is_found(root, what):
    changes = {
        "another quantity": lambda levels: [*levels[:2], (levels[2][0], 7, 1), levels[3]],
        "a level too many": lambda levels: [*levels, (80_000 * SCALE, 1, -1)],
        "a level too few": lambda levels: [levels[0], levels[0], levels[2], levels[3]],
    }
    made = with_snapshot(changes[what])
    assert judged(made.lines, made.events)["different"] == 1


def test_a_snapshot_is_of_the_instrument_whose_ids_it_has(root):
    """Another one's, at the end or between its lines, does not spoil the book."""
    made = scene()
    other = {"e": "depthUpdate", "E": 1, "s": "ETHUSDT", "U": 7000, "u": 7009, "b": [["5.0", "1.0"]], "a": []}
    eth = "1 " + json.dumps({"stream": "ethusdt@depth@100ms", "data": other})
    book = "1 " + json.dumps({"lastUpdateId": 7004, "bids": [["4.0", "1.0"]], "asks": [["6.0", "1.0"]]})
    Path("two.dat").write_text("\n".join([*made.lines[:9], book, eth, *made.lines[9:]]))
    streams = capture.read([Path("two.dat")]).streams
    assert [update_id for update_id, _ in streams["binance.ETHUSDT"].snapshots] == [7004]
    assert [update_id for update_id, _ in streams["binance.BTCUSDT"].snapshots] == [103]


# -- anything

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
    path = tmp_path_factory.getbasetemp() / "any.dat"
    path.write_bytes(b"\n".join(lines))
    seen = capture.read([path])
    repeated = sum(stream.repeated for stream in seen.streams.values())
    taken = sum(seen.heard.values()) + seen.snapshots
    written = [line for line in path.read_bytes().split(b"\n") if line.strip()]
    assert seen.lines == len(written)
    assert taken + sum(seen.named.values()) + sum(seen.foreign.values()) == seen.lines and repeated <= taken


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
