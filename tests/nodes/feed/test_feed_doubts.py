"""Where a line must not take silence for agreement: ids without a trade, renewals of quiet streams, ids that began anew while
it was away, a new connection that is mute, a clock that is rounded, memory while nobody listens."""

import asyncio
import json
import time
from types import SimpleNamespace

import pytest

from tests.support.feed_frames import depth, trade
from tickmesh.bus.config import load
from tickmesh.bus.schema import Flag, GapState, Kind
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.bus.sockets import OutboxFull
from tickmesh.bus.wire import decode, encode
from tickmesh.nodes.feed import watching
from tickmesh.nodes.feed.connection import LineConnection
from tickmesh.nodes.feed.line import Line as FeedLine
from tickmesh.nodes.feed.reachability import Reachability
from tickmesh.nodes.feed.reception import Reception
from tickmesh.nodes.feed.rest_requests import LineRequests
from tickmesh.nodes.feed.streams import key_of
from tickmesh.nodes.feed.upkeep import ConnectionUpkeep
from tickmesh.nodes.net.budget import RequestBudget
from tickmesh.nodes.net.venue_clock import Sample
from tickmesh.nodes.net.websocket import Disconnected
from tickmesh.nodes.sequencer.arbiter import Arbiter
from tickmesh.nodes.venues import binance, binance_usdm, coinbase, kraken, okx

SECOND = 1_000_000_000


def text(tree) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()


class Line:
    """A reception, and what the sequencer's arbitration logs of what it says."""

    def __init__(self, adapter, symbol):
        self.instrument = Instrument(symbol=symbol, venue=adapter.VENUE)
        self.reception = Reception("feed-1", adapter, [self.instrument], FeedSettings())
        subject = self.instrument.subject
        self.reception.definitions.known[subject] = encode(Kind.instrument, subject, bytes(48))
        self.arbiter = Arbiter(SECOND)
        self.sources, self.number, self.now_ns, self.logged, self.refused = {}, 0, SECOND, [], []

    def take(self, said):
        """Arbitrates what was said; returns its events."""
        for event in said:
            self.number += 1
            self.now_ns += 1000
            head = decode(event)
            if head.kind == Kind.instrument:
                self.arbiter.connected("feed-1", self.number, head.subject, head.k)
            else:
                self.logged += self.arbiter.offer(head.kind, head.subject, "feed-1", self.number, event, self.now_ns)
        return [decode(event) for event in said]

    def open(self, number, at_once=()):
        self.sources[number], said = self.reception.open(number, self.now_ns, at_once)
        return self.take(said)

    def hears(self, number, *frames):
        raw = [frame if isinstance(frame, bytes) else frame.encode() for frame in frames]
        heard = self.reception.frames(self.sources[number], self.now_ns, raw)
        self.refused += heard.refused
        return self.take(heard.events)

    def log(self, *kinds):
        """(kind, first_id, last_id, flags) of all that was logged, holes given up."""
        self.logged += self.arbiter.due(self.now_ns + 10 * SECOND)
        heads = [decode(event) for event in self.logged]
        return [(Kind(h.kind).name, h.first_id, h.last_id, h.flags) for h in heads if h.kind in kinds]


def usdm(trade_id, void=False):
    price, quantity, kind = ("0", "0", "NA") if void else ("61800.30", "0.006", "MARKET")
    data = {"e": "trade", "E": 1723161256322, "T": 1723161256321, "s": "BTCUSDT", "t": trade_id, "p": price, "q": quantity,
            "X": kind, "m": False}  # fmt: skip
    return text({"stream": "btcusdt@trade", "data": data})


def gaps_and_trades(line):
    out = []
    for event in line.logged + line.arbiter.due(line.now_ns + 10 * SECOND):
        head = decode(event)
        if head.kind == Kind.trade:
            out.append((head.first_id, head.last_id))
        elif head.kind == Kind.gap:
            assert [record["state"] for record in head.records] == [GapState.open]
            out += [("gap", int(record["first_id"]), int(record["last_id"])) for record in head.records]
    return out


def test_ids_without_a_trade_hide_no_loss_behind_them():
    lost = Line(binance_usdm, "BTCUSDT")
    lost.open(1)
    lost.hears(1, usdm(49), usdm(50, void=True))
    lost.take(lost.reception.close(lost.sources[1], 1))
    lost.open(2)
    lost.hears(2, usdm(61))
    assert gaps_and_trades(lost) == [(49, 49), ("gap", 50, 60), (61, 61)], "what came while it was away is missed"
    refused = Line(binance_usdm, "BTCUSDT")
    refused.open(1)
    refused.hears(1, usdm(49), usdm(50, void=True), usdm(51).replace(b"61800.30", b"618x0.30"), usdm(52))
    assert gaps_and_trades(refused) == [(49, 49), ("gap", 50, 51), (52, 52)], "a refused trade is missed"


def test_two_connections_that_tell_of_the_same_ids_without_a_trade_cover_them_once():
    line = Line(binance_usdm, "BTCUSDT")
    line.open(1)
    line.hears(1, usdm(49))
    line.open(2)
    for number, frame in (
        (2, usdm(49)), (1, usdm(50, True)), (1, usdm(51)), (1, usdm(52, True)), (2, usdm(50, True)), (1, usdm(53)),
        (2, usdm(51)), (2, usdm(52, True)), (2, usdm(53)), (2, usdm(54)),
    ):  # fmt: skip
        line.hears(number, frame)
    assert gaps_and_trades(line) == [(49, 49), (50, 51), (52, 53), (54, 54)]


def match(trade_id, kind="match"):
    return text({"type": kind, "trade_id": trade_id, "product_id": "BTC-USD", "size": "1", "price": "100", "side": "buy",
                 "time": "2024-01-01T00:00:00.000001Z"})  # fmt: skip


BOOK = text({"type": "snapshot", "product_id": "BTC-USD", "bids": [["99", "1"]], "asks": [["101", "1"]]})
CHANGE = text({"type": "l2update", "product_id": "BTC-USD", "changes": [["buy", "98", "1"]], "time": "2024-01-01T00:00:00.1Z"})


def test_a_planned_renewal_without_a_new_trade_costs_the_book_nothing():
    """Each connection begins with the trade that the other one has said: that proves the overlap."""
    line = Line(coinbase, "BTC-USD")
    line.open(1)
    line.hears(1, match(100, "last_match"), BOOK)
    line.hears(1, CHANGE, CHANGE)
    line.open(2)
    line.hears(2, match(100, "last_match"), BOOK)
    line.hears(2, CHANGE)
    said = line.take(line.reception.hand_over(line.now_ns))
    line.hears(2, CHANGE, CHANGE, CHANGE, CHANGE)
    assert not said, "nothing may have been missed: no mark"
    log = line.log(Kind.trade, Kind.depth, Kind.gap)
    assert [kind for kind, *_ in log] == ["trade", *["depth"] * 9], log
    assert sum(flags & Flag.SNAPSHOT for *_, flags in log) == 2


@pytest.mark.parametrize("changed", [False, True])
def test_a_quiet_book_is_no_loss(changed):
    """Its connection is renewed for its silence: the new one's snapshot shows whether anything had been missed."""
    line = Line(coinbase, "BTC-USD")
    line.open(1)
    line.hears(1, match(100, "last_match"), BOOK)
    line.now_ns += 30 * SECOND
    line.open(2, at_once=line.reception.stream_keys())
    again = BOOK.replace(b"99", b"97") if changed else BOOK
    line.hears(2, match(100, "last_match"), again)
    line.take(line.reception.hand_over(line.now_ns))
    line.hears(2, CHANGE)
    gaps = [one for one in line.log(Kind.depth, Kind.gap) if one[0] == "gap"]
    assert len(gaps) == changed
    assert line.arbiter.taken_over == changed


def test_a_new_connection_that_does_not_bring_a_stream_does_not_take_over():
    """It was acknowledged, and brings other streams; the one that it is to replace goes on."""
    line = Line(binance, "BTCUSDT")
    line.open(1)
    line.hears(1, trade(100))
    line.open(2)
    line.hears(1, trade(101))
    line.hears(2, depth(10, 12))
    assert line.reception.mute_streams == [key_of(Kind.trade, line.instrument.subject)] and not line.reception.joined
    line.hears(2, trade(101))
    assert line.reception.mute_streams == [], "it was only late"


def books(action, previous, seq, ms, price="100"):
    row = {"asks": [["101", "1", "0", "1"]], "bids": [[price, "1", "0", "1"]], "ts": str(1652459225464 + ms), "checksum": 0,
           "prevSeqId": previous, "seqId": seq}  # fmt: skip
    return text({"arg": {"channel": "books", "instId": "BTC-USDT"}, "action": action, "data": [row]})


def quote(seq):
    row = {"asks": [["101", "1", "0", "1"]], "bids": [["100", "1", "0", "1"]], "ts": "1652459225999", "seqId": seq}
    return text({"arg": {"channel": "bbo-tbt", "instId": "BTC-USDT"}, "data": [row]})


def test_ids_that_began_anew_while_the_line_was_away_go_on():
    line = Line(okx, "BTC-USDT")
    line.open(1)
    line.hears(1, books("snapshot", -1, 1000, 0), books("update", 1000, 1010, 1), quote(1010))
    line.take(line.reception.close(line.sources[1], 1))
    line.open(2)
    line.hears(2, books("snapshot", -1, 5, 2), books("update", 5, 9, 3), books("update", 9, 12, 4), quote(12))
    log = line.log(Kind.depth, Kind.quote)
    assert ("depth", 6, 5, Flag.SNAPSHOT | Flag.RESET) in log and ("depth", 10, 12, 0) in log
    assert ("quote", 12, 12, Flag.RESET) in log


def test_an_older_snapshot_of_a_server_that_lags_is_no_new_beginning():
    line = Line(okx, "BTC-USDT")
    line.open(1)
    line.hears(1, books("snapshot", -1, 1000, 0), books("update", 1000, 1010, 9))
    line.take(line.reception.close(line.sources[1], 1))
    line.open(2)
    (said,) = line.hears(2, books("snapshot", -1, 1005, 5))
    assert said.flags == Flag.SNAPSHOT


def test_ids_that_began_anew_while_the_book_waited_go_on():
    line = Line(okx, "BTC-USDT")
    line.open(1)
    line.hears(1, books("snapshot", -1, 1000, 0), books("update", 1005, 1010, 1), books("update", 1010, 5, 2))
    line.hears(1, books("snapshot", -1, 7, 3), books("update", 7, 9, 4))
    assert line.log(Kind.depth)[-2:] == [("depth", 8, 7, Flag.SNAPSHOT | Flag.RESET), ("depth", 8, 9, 0)]


def test_a_chained_book_sees_by_itself_that_a_refused_change_was_missed():
    line = Line(okx, "BTC-USDT")
    line.open(1)
    line.hears(1, books("snapshot", -1, 1000, 0), books("update", 1000, 1010, 1, "1x"))
    (book,) = (book for _, book in line.sources[1].books())
    assert len(line.refused) == 1 and not book.wants_resubscription
    assert len(line.hears(1, books("update", 1010, 1020, 2))) == 1, "said at once, for whoever can use it"
    assert book.wants_resubscription and not book.wants_snapshot, "from where the first one came"


def test_a_clock_that_is_rounded_down_is_not_behind():
    alerts = []
    reception = Reception("feed-1", kraken, [Instrument("BTC/USD", "kraken", -1)], FeedSettings())
    requests = LineRequests(
        kraken,
        reception,
        reception.instruments,
        SimpleNamespace(ca=None, waits=None),
        FeedSettings(),
        RequestBudget(60.0, 0.5),
        {},
        lambda said: None,
        lambda *words: alerts.append(words),
        print,
        Reachability("kraken"),
        print,
    )
    for late_ms in range(0, 1000, 50):  # the same clock, asked at any moment of a second
        requests._judge(Sample(-late_ms * 1_000_000, 10_000_000))
    assert alerts == []
    requests._judge(Sample(-2 * SECOND, 10_000_000))
    assert alerts[0][0] == "warning" and "-1500.0 ms" in alerts[0][3] and "±505.0 ms" in alerts[0][3]


def test_nothing_piles_up_while_the_outbox_is_full(tmp_path, monkeypatch):
    """Sockets are paused then; images of books are not made."""
    known = 'symbol = "BTC-USD"\nvenue = "coinbase"\nprice_exponent = -8\nquantity_exponent = -8\n'
    (tmp_path / "mesh.toml").write_text(f'[[instruments]]\n{known}[feed]\nvenue = "coinbase"\n')
    monkeypatch.setattr(watching, "IMAGE_S", 0.01)
    monkeypatch.setattr(watching, "WATCH_S", 0.01)

    def full(events):
        raise OutboxFull("full")

    async def go():
        ctx = SimpleNamespace(
            config=load(tmp_path), name="feed-1", instance="1", publish=full, counters={}, refuse=print, ready=print
        )
        line = FeedLine(ctx)
        connection = LineConnection(())
        connection.websocket = SimpleNamespace(
            closed=asyncio.get_running_loop().create_future(), pause=lambda: None, resume=lambda: None, round_trip_s=None
        )
        line.take_frames(connection, 1, [BOOK])
        waiting = len(line.publisher.waiting)
        watch = asyncio.create_task(watching.LineWatch(line).watch())
        began = time.monotonic()
        while time.monotonic() - began < 0.2:
            await asyncio.sleep(0.01)
        watch.cancel()
        assert waiting and len(line.publisher.waiting) == waiting

    asyncio.run(go())


def an_upkeep(folder):
    known = '[[instruments]]\nsymbol = "BTCUSDT"\nprice_exponent = -8\nquantity_exponent = -8\n'
    (folder / "mesh.toml").write_text(f"{known}[feed]\nbackoff_s = [0.01, 10.0]\n")
    ctx = SimpleNamespace(
        config=load(folder), name="feed-1", instance="1", publish=print, counters={}, refuse=print, ready=print
    )
    return ConnectionUpkeep(FeedLine(ctx))


def test_what_was_wanted_of_a_connection_is_forgotten_with_it(tmp_path):
    """Streams that were silent on it, and a shutdown that it announced."""

    async def go():
        upkeep, calls = an_upkeep(tmp_path), []
        again = asyncio.Event()

        async def connect(stale):
            calls.append(stale)
            if len(calls) == 1:
                raise Disconnected("gone")
            again.set()
            await asyncio.Event().wait()

        upkeep.connect, line = connect, upkeep.line
        line.stale.add(key_of(Kind.trade, "binance.BTCUSDT"))
        line.renewal_wanted.set()
        task = asyncio.create_task(upkeep.keep_connected())
        await asyncio.wait_for(again.wait(), 10)
        task.cancel()
        assert not line.stale and not line.renewal_wanted.is_set()

    asyncio.run(go())


def test_only_a_connection_that_lasted_makes_the_next_try_quick_again(tmp_path):
    async def go():
        upkeep, resets = an_upkeep(tmp_path), []
        upkeep.backoff = SimpleNamespace(reset=lambda: resets.append(1))
        for lived_s, expected in ((0.0, 0), (9.0, 0), (10.5, 1)):
            connection = LineConnection(())
            closed = asyncio.get_running_loop().create_future()
            closed.set_result("cut")
            connection.websocket = SimpleNamespace(closed=closed, failure=None)
            upkeep.line._begin_flow(connection)
            connection.flowed_at_s -= lived_s
            upkeep._broken(connection)
            assert len(resets) == expected, lived_s

    asyncio.run(go())
