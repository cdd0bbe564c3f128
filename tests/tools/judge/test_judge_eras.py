"""The judge knows one era of the exchange from another, what may be taken back, and what must have been heard."""

import json

import pytest

from tickmesh.nodes.exchange.ledger import ExchangeLedger
from tickmesh.tools.judge import against_ledger, eras, exchange_ledger
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.log import Event

SUBJECT = "binance.BTCUSDT"
RESET = 4
PACE_MS = 25
ERA = 1600  # trades, and changes of the book, of each era: 40 s


def at_ms(era: int, number: int) -> int:
    return 1000 + (era * (ERA + 40) + number) * PACE_MS


class Scene:
    """An exchange with two eras and one connection, and what a mesh stored of it: rows of (kind, era, id)."""

    def __init__(self, folder):
        self.folder = folder
        self.book = ExchangeLedger("synthetic")
        self.book.add_head({}, 1)
        self.stored = [(kind, era, n) for era in (0, 1) for n in range(1, ERA + 1) for kind in ("trade", "depth", "quote")]
        self.resets = {(kind, 1, 1) for kind in ("trade", "depth", "quote")}
        self.gaps: dict[tuple[str, int, int], tuple] = {}  # before which row → the record
        self.clients = [(900, "opened"), (at_ms(1, -20), "closed"), (at_ms(1, -10), "opened")]
        self.altered: list[tuple[str, str]] = []
        self.dropped: list[int] = []  # frames of trades

    def without(self, kind: str, era: int, low: int, high: int) -> None:
        self.stored = [row for row in self.stored if row[:2] != (kind, era) or not low <= row[2] <= high]

    def write(self) -> None:
        rows = [(ms, "client", *(number or [1]), *what.split(":")) for ms, what, *number in self.clients]
        rows = [row if len(row) > 4 else (*row, "/stream?streams=x") for row in rows]
        for era in (0, 1):
            rows.append((at_ms(era, -15), "start", "BTCUSDT", 0, 0, era))
            for n in range(1, ERA + 1):
                rows.append((at_ms(era, n), "trade", "BTCUSDT", n, 100 + era, 5, 1, at_ms(era, n)))
                rows.append((at_ms(era, n), "depth", "BTCUSDT", n, n, [(1, 90 + era, n)]))
        rows += [(ms, "frame", 1, 1, "btcusdt@trade", "dropped", "") for ms in self.dropped]
        for ms, kind, *values in sorted(rows, key=lambda row: row[0]):
            self.book.add(kind, ms, *values)
        self.book.add("fault", at_ms(1, ERA), 1, "added", json.dumps({"kind": "jump", "by": 5000}))
        for stream, text in self.altered:
            self.book.add("frame", at_ms(1, ERA), 1, 1, stream, "altered", text)
        (self.folder / "ledger-00000000000000000001.bin").write_bytes(self.book.take_batch())

    def events(self):
        for seq, (kind, era, n) in enumerate(self.stored, 1):
            records = {
                "trade": [(n, 100 + era, 5, at_ms(era, n % 5000) * 10**6, 0, 1)],
                "depth": [(90 + era, n, 1)],
                "quote": [(n, 90 + era, n, 0, 0, 0)],
            }[kind]
            if (record := self.gaps.get((kind, era, n))) is not None:
                yield Event("gap", "sequencer", SUBJECT, [record], *(0,) * 14)
            flags = RESET if (kind, era, n) in self.resets else 0
            venue_ns = 0 if kind == "quote" else at_ms(era, n) * 10**6
            yield Event(kind, "feed-1", SUBJECT, records, flags, 0, 1, seq, seq, 0, 0, n, n, venue_ns, 0, 0, 0, 0)

    def verdict(self) -> Findings:
        self.write()
        findings = Findings()
        truth = exchange_ledger.read_contents(self.folder, findings)
        pairs = eras.pair_eras(truth, eras.gather_stored(self.events()), findings)
        against_ledger.compare(truth, pairs, findings)
        return findings


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def test_two_eras_of_the_same_numbers_are_judged_each_by_its_own(scene):
    findings = scene.verdict()
    assert findings.ok, findings.sentences
    assert findings.counts["trades"] == 2 * ERA == findings.counts["quotes_checked"] == findings.counts["depth_checked"]
    assert findings.counts["eras"] == 2 and findings.counts["gone_with_era"] == 0


def test_a_mesh_that_did_not_notice_is_found(scene):
    scene.resets = set()
    findings = scene.verdict()
    assert findings.faults["duplicated"] >= ERA and findings.faults["lost"] > ERA - 100


def test_an_era_that_the_exchange_did_not_begin_is_found(scene):
    scene.resets.add(("depth", 1, 700))
    assert scene.verdict().faults == {"false_era": 1}


def test_what_went_with_an_era_is_counted_but_only_its_end(scene):
    scene.without("trade", 0, ERA - 99, ERA)
    assert scene.verdict().faults == {"lost": 60}, "all but the last second was surely sent"
    scene.__init__(scene.folder)
    scene.without("trade", 0, ERA - 99, ERA)
    scene.clients[1] = at_ms(0, ERA - 99), "cut"
    findings = scene.verdict()
    assert findings.ok and findings.counts["gone_with_era"] == 100
    scene.__init__(scene.folder)
    scene.without("trade", 0, ERA - 999, ERA)
    scene.clients[1] = at_ms(0, ERA - 999), "cut"
    assert scene.verdict().faults["lost"] == 1000 - against_ledger.ERA_MS // PACE_MS


def test_the_beginning_of_an_era_is_there_from_the_first_connection_on(scene):
    scene.without("trade", 1, 1, 49)
    scene.resets.add(("trade", 1, 50))
    findings = scene.verdict()
    assert findings.ok and findings.counts["before_listening"] == 49
    scene.__init__(scene.folder)
    scene.without("trade", 1, 1, 400)
    scene.resets.add(("trade", 1, 401))
    findings = scene.verdict()
    assert findings.faults["lost"] == 351 and findings.counts["before_listening"] == 49, (
        "1.5 s after it, by the exchange's clock"
    )
    scene.__init__(scene.folder)
    scene.without("trade", 1, 1, 400)
    scene.resets.add(("trade", 1, 401))
    scene.dropped = [at_ms(1, n) for n in range(1, 341)]
    assert scene.verdict().ok, "the exchange sent none of them"


def test_changes_that_an_open_connection_was_sent_are_stored(scene):
    scene.without("depth", 1, 500, 900)
    assert scene.verdict().faults == {"lost": 1}
    scene.__init__(scene.folder)
    scene.without("depth", 1, 500, 900)
    scene.clients += [(at_ms(1, 510), "cut"), (at_ms(1, 890), "opened")]
    assert scene.verdict().ok
    scene.__init__(scene.folder)
    scene.without("depth", 1, 700, 710)
    scene.clients += [(at_ms(1, 695), "opened", 2), (at_ms(1, 715), "closed")]
    assert scene.verdict().ok, "of a line that was killed the end is seen when its successor is there already"


def test_a_connection_was_sent_only_what_it_had_subscribed_to(scene):
    """An instrument that is added while others are heard: until a connection asks for it, it was sent to nobody."""

    def subscribe(*more) -> None:
        scene.without("trade", 1, 1, 400)
        scene.without("depth", 1, 500, 900)
        scene.resets.add(("trade", 1, 401))
        scene.clients += [(at_ms(1, 1), "subscribed:btcusdt@bookTicker"), (at_ms(1, 400), "subscribed:btcusdt@trade"), *more]

    subscribe()
    findings = scene.verdict()
    assert findings.ok and findings.counts["before_listening"] == 400, findings.sentences
    scene.__init__(scene.folder)
    subscribe((at_ms(1, 450), "subscribed:btcusdt@depth@100ms"), (at_ms(1, 880), "unsubscribed:btcusdt@depth@100ms"))
    assert scene.verdict().faults == {"lost": 1}, "those of the depth were sent for a while"


def test_only_what_was_absurd_is_taken_back(scene):
    place = scene.stored.index(("trade", 1, 800))
    scene.stored[place] = ("trade", 1, 5800)  # the exchange said 5800 in place of 800; the mesh believed it at first
    scene.gaps["trade", 1, 801] = (800, 800, 2, 1, eras.CONTRADICTION, 0, 0, 0, 0)
    scene.altered = [("btcusdt@trade", '{"t":800}')]
    findings = scene.verdict()
    assert findings.faults == {"lost": 1} and findings.counts["taken_back"] == 1, "800 itself has to come over REST"
    scene.__init__(scene.folder)
    scene.gaps["trade", 1, 801] = (700, 790, 2, 1, eras.CONTRADICTION, 0, 0, 0, 0)
    findings = scene.verdict()
    assert findings.faults == {"taken_back": 10, "lost": 10}, "791 to 800 were true"


def test_what_is_older_than_the_ledger_is_not_judged_by_it(scene):
    """The exchange's folder was removed: it begins with a ledger and ids of its own."""
    scene.stored = [(kind, era - 1, n) for kind, era, n in scene.stored] + [r for r in scene.stored if r[1] == 1]
    scene.resets = {(kind, era, 1) for kind in ("trade", "depth", "quote") for era in (0, 1)}
    findings = scene.verdict()
    assert findings.ok, findings.sentences
    assert findings.counts["before_ledger"] == 3 and findings.counts["eras"] == 2
