"""Against a capture the judge finds what the mesh has otherwise: futures, refusals, ids that come again, snapshots."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.schema_v1 import event_of_version_1
from tests.support.stored import Market
from tests.support.verify_capture import bad_trade, judged
from tests.support.verify_scene import SCALE, Scene, frame, price, scene
from tickmesh.bus.schema import DTYPES, Flag, GapState, Kind, Reason
from tickmesh.tools.judge import capture

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
    spot = [raw.replace(b"binance_usdm.BTCUSDT", b"binance.BTCUSDT\0\0\0\0\0") for raw in events]
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
    if by != "feed-1":
        record = np.zeros(1, DTYPES[Kind.quote])
        record["update_id"] = 10**12 + 5
        raw = Market().event(Kind.quote, "binance.BTCUSDT", record, first_id=10**12 + 5, last_id=10**12 + 5)
    if by == "older sequencer":
        raw = event_of_version_1(raw)
    content = {"node": by, "why": "absurd", "raw": raw[:4096], "raw_bytes": len(raw)}
    return [market.event(Kind.refusal, by, content, producer=by.encode())]


@pytest.mark.parametrize("by", ["feed-1", "sequencer", "older sequencer"])
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
    streams = capture.read_captures([Path("two.dat")]).streams
    assert [update_id for update_id, _ in streams["binance.ETHUSDT"].snapshots] == [7004]
    assert [update_id for update_id, _ in streams["binance.BTCUSDT"].snapshots] == [103]
