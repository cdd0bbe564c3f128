"""Pages of a history by id, by time and backwards: what they prove, and that none is asked for in vain."""

import json

import numpy as np
import pytest

from tests.support.backfill_plan import PATIENCE, always
from tickmesh.bus.schema import GAP, Flag, GapState, Kind, Reason
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import decode, encode
from tickmesh.nodes.backfill.plan import Plan
from tickmesh.nodes.gaps.clipping import clip
from tickmesh.nodes.venues import binance, binance_usdm, coinbase, kraken
from tickmesh.nodes.venues.parsing.dialect import FrameError

BTC = Instrument(symbol="BTCUSDT")


def row(ident, **other):
    return {"id": ident, "price": "61837.63000000", "qty": "0.02000000", "quoteQty": "1236.75260000",
            "time": 1723161255342, "isBuyerMaker": True, "isBestMatch": True, **other}  # fmt: skip


def test_binance_history():
    request = binance.history(BTC, 4711)
    assert (request.path, request.weight) == ("/api/v3/historicalTrades", 25)
    assert request.query == {"symbol": "BTCUSDT", "fromId": 4711, "limit": 1000}
    page = json.dumps([row(4712, isBuyerMaker=False), row(4711)]).encode()
    first, second = map(decode, binance.decode_history(page, 99, BTC))
    assert (first.first_id, first.last_id, first.flags, first.recv_ns) == (4711, 4711, Flag.REPAIRED, 99)
    assert first.venue_ns == 1723161255342000000
    assert first.records.tolist() == [(4711, 6183763000000, 2000000, 1723161255342000000, 0, -1, b"")]
    assert second.records["side"][0] == 1
    assert binance.decode_history(b"[]", 0, BTC) == []


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'[{"id":1}', b"\xff"])
def test_what_is_no_page_is_refused_with_a_sentence(body):
    with pytest.raises(FrameError, match="no trades of BTCUSDT"):
        binance.decode_history(body, 0, BTC)


def test_a_bad_row_costs_only_itself():
    page = json.dumps([row(1), row(2, price="1e5"), row(3, qty=None), row(4)]).encode()
    with pytest.raises(FrameError, match="2 of 4 trades") as caught:
        binance.decode_history(page, 0, BTC)
    assert [decode(e).last_id for e in caught.value.readable] == [1, 4]


def test_a_part_of_a_page_has_the_time_of_its_own_last_trade():
    """A page goes on for minutes beyond the gap: with its last trade's time a repair would lie behind what follows it."""
    usdm = Instrument(symbol="BTCUSDT", venue="binance_usdm")
    page = json.dumps([row(number, time=1723161255342 + 1000 * number) for number in range(1, 101)]).encode()
    (whole,) = binance_usdm.decode_history(page, 99, usdm)
    part = decode(clip(whole, 3, 4))
    assert (part.first_id, part.last_id, part.venue_ns) == (3, 4, (1723161255342 + 4000) * 10**6)
    assert decode(clip(whole, 1, 100)).venue_ns == (1723161255342 + 100_000) * 10**6


class FakeKraken:
    """Trades by time only, 1000 a page, compared to the nanosecond and printed as it likes."""

    def __init__(self, fills, begins=0, digits=9):
        self.fills, self.begins, self.digits = fills, begins, digits  # (id, ns), ascending
        self.asked = 0

    def page(self, since_ns):
        self.asked += 1
        rows = [(i, ns) for i, ns in self.fills if ns > since_ns and i >= self.begins][:1000]
        unit = 10 ** (9 - self.digits)
        rows = [["1.0", "1.0", -(-ns // unit) * unit, "b", "l", "", i] for i, ns in rows]  # rounded up
        text = ", ".join(f'["1.0", "1.0", {ns // 10**9}.{ns % 10**9:09}, "b", "l", "", {i}]' for _, _, ns, *_, i in rows)
        return f'{{"error": [], "result": {{"XXBTZUSD": [{text}], "last": "0"}}}}'.encode()


@pytest.mark.parametrize("digits", [9, 4])
@pytest.mark.parametrize("shared", [1, 30, 400, 999])
@pytest.mark.parametrize("begins", [0, 700])
def test_trades_that_share_an_instant_are_no_price_of_paging_by_time(digits, shared, begins):
    """A page may end among them, and what it prints may be later than what the venue compares."""
    pair = Instrument(symbol="BTC/USD", venue="kraken", price_exponent=-1, quantity_exponent=-8)
    at = 1_700_000_000_123_456_789
    venue = FakeKraken([(i, at + i // shared * 1_234_567) for i in range(1, 1700)], begins, digits)
    plan = Plan(PATIENCE, lambda: lambda: 1.0)
    record = np.zeros(1, GAP)
    record[0] = (50, 1649, Kind.trade, GapState.open, Reason.skipped, 0, at + 49 // shared * 1_234_567 // 1000 * 1000, 0, 0)
    opened = encode(Kind.gap, "kraken.BTC/USD", record, first_id=50, last_id=1649)
    plan.observe(decode(bytes(opened)))
    repaired, lost = [], []
    while (effort := plan.next(0.0, always)) is not None and venue.asked < 40:
        plan.ask(effort)
        request = kraken.history(pair, effort.first_missing(), effort.from_ns)
        events = kraken.decode_history(venue.page(request.query["since"]), 1, pair)
        for event in map(decode, plan.page(effort, events, False, 0.0, kraken.HISTORY)):
            if event.kind == Kind.trade:
                repaired += event.records["trade_id"].tolist()
            else:
                lost += [(r["first_id"], r["last_id"], r["reason"]) for r in event.records]
    assert lost == ([(50, 699, Reason.retention)] if begins else [])
    assert repaired == list(range(max(50, begins), 1650))


class FakeBackward:
    """Trades before an id, newest first, at most `rows` of them whatever is asked for."""

    def __init__(self, ids, rows):
        self.ids, self.rows, self.asked = sorted(ids), rows, 0

    def page(self, after):
        self.asked += 1
        found = [i for i in self.ids if i < after][-self.rows :]
        rows = [
            {"trade_id": i, "side": "buy", "size": "1", "price": "1", "time": "2026-01-01T00:00:00Z"} for i in reversed(found)
        ]
        return json.dumps(rows).encode()


def backward(venue, low, high):
    """(ids repaired, runs lost) of the gap `low` to `high`, at most 200 requests."""
    product = Instrument(symbol="BTC-USD", venue="coinbase")
    plan = Plan(PATIENCE, lambda: lambda: 1.0)
    record = np.zeros(1, GAP)
    record[0] = (low, high, Kind.trade, GapState.open, Reason.skipped, 0, 5, 0, 0)
    plan.observe(decode(bytes(encode(Kind.gap, "coinbase.BTC-USD", record, first_id=low, last_id=high))))
    repaired, lost, now = [], [], 0.0
    while (effort := plan.next(now, always)) is not None and venue.asked < 200:
        plan.ask(effort)
        request = coinbase.history(product, effort.first_missing(), effort.from_ns, effort.until_id)
        events = coinbase.decode_history(venue.page(request.query["after"]), 1, product)
        for event in map(decode, plan.page(effort, events, False, now, coinbase.HISTORY)):
            if event.kind == Kind.trade:
                repaired += event.records["trade_id"].tolist()
            else:
                lost += [(int(r["first_id"]), int(r["last_id"]), Reason(r["reason"])) for r in event.records]
        now += 2.0
    return repaired, lost


@pytest.mark.parametrize("rows", [1000, 300, 100])
def test_a_page_that_is_shorter_than_asked_is_no_retention(rows):
    venue = FakeBackward(range(1, 6000), rows)
    assert backward(venue, 50, 3049) == (list(range(50, 3050)), [])
    assert venue.asked <= 3000 // rows + 2 * (1000 // rows) + 2, "and is not asked for in vain again and again"


@pytest.mark.parametrize("rows", [1000, 100])
def test_what_is_before_the_oldest_trade_that_a_venue_has_is_lost_by_retention(rows):
    venue = FakeBackward(range(700, 6000), rows)
    assert backward(venue, 50, 1649) == (list(range(700, 1650)), [(50, 699, Reason.retention)])
    assert backward(FakeBackward(range(5000, 6000), rows), 50, 1649) == ([], [(50, 1649, Reason.refused)]), "no page says so"


@pytest.mark.parametrize("rows", [1000, 100])
def test_a_hole_in_a_venue_s_own_history_is_no_retention(rows):
    venue = FakeBackward(set(range(1, 6000)) - set(range(400, 420)), rows)
    assert backward(venue, 50, 1649) == ([*range(50, 400), *range(420, 1650)], [(400, 419, Reason.skipped)])
