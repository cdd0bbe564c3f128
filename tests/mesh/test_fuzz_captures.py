"""Captures with anything done to them: no crash, no hang, and never a valid line that is neither stored nor named.

The lines go through the feed's own reception and the sequencer's own arbitration on two lines; the judge's parser says
which of them are valid, and its comparison what became of each. TICKMESH_FUZZ_S: for how many seconds (30 by default).
"""

import gzip
import itertools
import json
import os
import random
import time

import pytest

from tests.support.captures import DATA
from tickmesh.bus.layout import header_slice
from tickmesh.bus.schema import DESCRIPTION, Kind
from tickmesh.bus.settings import FeedSettings, Instrument
from tickmesh.bus.wire import decode, encode
from tickmesh.nodes.feed.reception import Reception
from tickmesh.nodes.sequencer.arbiter import ARBITRATED, Arbiter
from tickmesh.nodes.sequencer.holding import HeldEvents
from tickmesh.nodes.venues import binance
from tickmesh.tools.judge import against_capture, capture, log
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.log_facts import LogFacts

SECONDS = float(os.environ.get("TICKMESH_FUZZ_S", "0"))  # so long at least, and then beyond the usual seeds
SEEDS = 400
SYMBOLS = ("ETHUSDT", "BTCUSDT")
STEP_NS, SECOND_NS = 10_000_000, 1_000_000_000
FIELDS = {name: tuple(map(tuple, rows)) for name, rows in DESCRIPTION.items()}
ODD = ("1e400", "-1", "NaN", "", "0x10", "1_000", "9" * 25, "١", "1.", "0.000000001", "null", "true", "[]", '"' * 2)


def frame(stream, data):
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":")).encode()


def market(rng, count=150):
    """A small recorded market of its own: `<receive time> <frame>`."""
    out, update, covered, trade = [], 100_000, 100_000, 50_000
    for k in range(count):
        now = 1_723_161_255_000 + 20 * k
        price = f"{2500 + rng.random():.8f}"
        what = rng.choice("ttqqd")
        if k == 20:
            levels = [[f"{2499 - i}.00000000", "1.00000000"] for i in range(5)]
            body = json.dumps({"lastUpdateId": covered, "bids": levels, "asks": [["2600.00000000", "1.00000000"]]}).encode()
        elif what == "t":
            trade += 1
            body = frame("ethusdt@trade", {"e": "trade", "E": now, "s": "ETHUSDT", "t": trade, "p": price, "q": "0.10000000",
                                           "T": now - 1, "m": rng.random() < 0.5, "M": True})  # fmt: skip
        elif what == "q":
            update += rng.randint(1, 9)
            quote = {"u": update, "s": "ETHUSDT", "b": price, "B": "1.00000000", "a": "2600.00000000", "A": "2.00000000"}
            body = frame("ethusdt@bookTicker", quote)
        else:
            update += rng.randint(1, 20)
            first, covered = covered + 1, update
            change = {
                "e": "depthUpdate",
                "E": now,
                "s": "ETHUSDT",
                "U": first,
                "u": update,
                "b": [[price, "1.00000000"]],
                "a": [],
            }
            body = frame("ethusdt@depth@100ms", change)
        out.append(f"{now * 1_000_000} ".encode() + body)
    return out


def recorded():
    """The beginning of a real one, where there is one."""
    path = DATA / "hard" / "ka_second_symbol_after_2000_lines.gz"
    return gzip.decompress(path.read_bytes()).splitlines()[:400] if path.exists() else []


def flip(rng, line):
    at = rng.randrange(len(line))
    return line[:at] + bytes([rng.randrange(32, 256)]) + line[at + 1 :]


def jump(rng, line):
    """An id that is too high, or too low."""
    key = rng.choice((b'"t":', b'"u":', b'"U":'))
    at = line.find(key)
    digits = line[at + 4 :].split(b",")[0].split(b"}")[0] if at >= 0 else b""
    if not digits.isdigit():
        return line
    by = rng.choice((3, 5000, 10**6, 10**12, 10**17, 10**22, -5, -(10**6)))
    return line[: at + 4] + str(int(digits) + by).encode() + line[at + 4 + len(digits) :]


def odd(rng, line):
    key = rng.choice((b'"p":"', b'"q":"', b'"b":"', b'"E":', b'"t":', b'"data":', b'"s":"'))
    at = line.find(key)
    return line if at < 0 else line[: at + len(key)] + rng.choice(ODD).encode() + line[at + len(key) :]


def nested(rng, line):
    deep = rng.randrange(5, 400)
    return line[:20] + b'{"stream":"ethusdt@trade","data":' + b"[" * deep + b"]" * deep + b"}"


def elsewhere(rng, line):
    """Another symbol, another dialect."""
    return rng.choice((
        lambda: line.replace(b"ETHUSDT", b"XYZUSDT").replace(b"ethusdt", b"xyzusdt"),
        lambda: line.replace(b'"s":"ETHUSDT"', b'"s":"BTCUSDT"'),
        lambda: line[:20] + b'{"arg":{"channel":"books","instId":"ETH-USDT"},"action":"update","data":[]}',
        lambda: line[:20] + b'{"result":null,"id":1}',
    ))()  # fmt: skip


def mutated(rng, lines):
    lines = list(lines)
    hows = rng.choices(
        ("flip", "jump", "odd", "nested", "elsewhere", "truncate", "duplicate", "reorder", "drop"), k=rng.randint(0, 6)
    )
    if rng.random() < 0.2:
        hows.insert(rng.randint(0, len(hows)), "move")  # a venue begins anew at most once in these seconds
    for how in hows:
        at = rng.randrange(len(lines))
        if how == "truncate":
            lines[at] = lines[at][: rng.randrange(1, len(lines[at]))]
        elif how == "duplicate":
            lines.insert(min(len(lines), at + rng.randrange(1, 30)), lines[at])
        elif how == "reorder" and at + 1 < len(lines):
            lines[at], lines[at + 1] = lines[at + 1], lines[at]
        elif how == "drop":
            del lines[at : at + rng.randrange(1, 20)]
        elif how == "move":  # ids of everything from here on begin anew, or go up
            by = rng.choice((-40_000, 10**6, 10**10))
            lines[at:] = [shifted(line, by) for line in lines[at:]]
        elif how in ("flip", "jump", "odd", "nested", "elsewhere"):
            lines[at] = {"flip": flip, "jump": jump, "odd": odd, "nested": nested, "elsewhere": elsewhere}[how](rng, lines[at])
        if not lines:
            break
    return lines


def shifted(line, by):
    try:
        message = json.loads(line[20:])
        for name in ("t", "u", "U"):
            if name in message["data"]:
                message["data"][name] += by
                if message["data"][name] < 1:
                    return line
    except (ValueError, KeyError, TypeError):
        return line
    return line[:20] + json.dumps(message, separators=(",", ":")).encode()


class Mesh:
    """Two lines' receptions and one arbitration, without sockets and files."""

    def __init__(self):
        self.arbiter = Arbiter(SECOND_NS)
        self.now, self.out = SECOND_NS, []
        instruments = [Instrument(symbol=symbol) for symbol in SYMBOLS]
        self.lines = {name: Reception(name, binance, instruments, FeedSettings()) for name in ("feed-1", "feed-2")}
        self.sources = {name: line.open(1, 0)[0] for name, line in self.lines.items()}
        self.numbers = dict.fromkeys(self.lines, 0)

    def hear(self, name, text):
        line = self.lines[name]
        stamp, _, payload = text.partition(b" ")
        if not stamp.isdigit():
            return  # whoever serves a capture refuses it
        if b'{"lastUpdateId"' in payload[:36]:
            heard = line.snapshot("binance.ETHUSDT", self.now, payload)
        else:
            heard = line.frames(self.sources[name], self.now, [payload.strip()])
        self.say(name, heard.events)
        for why, raw in heard.refused:
            self.out.append(encode(Kind.refusal, name, {"node": name, "why": why, "raw": raw[:4096], "raw_bytes": len(raw)}))

    def say(self, name, said):
        for event in said:
            self.numbers[name] += 1
            head = decode(event)
            if head.kind in ARBITRATED:
                self.out += self.arbiter.offer(head.kind, head.subject, name, self.numbers[name], event, self.now)

    def pass_time(self, ns):
        self.now += ns
        self.out += self.arbiter.due(self.now)

    def events(self):
        for seq, event in enumerate(self.out, 1):
            event[header_slice("seq")] = seq.to_bytes(8, "little")
        return list(log.decode_batch(b"".join(self.out), FIELDS))


def run(rng, lines):
    """(findings of the judge, what goes with them) after these lines were heard on two lines, the second a little behind."""
    mesh = Mesh()
    behind = []
    for line in lines:
        mesh.hear("feed-1", line)
        behind.append(line)
        while behind and (rng.random() < 0.7 or len(behind) > 20):
            mesh.hear("feed-2", behind.pop(0))
        mesh.pass_time(STEP_NS)
    for line in behind:
        mesh.hear("feed-2", line)
    for _ in range(150):
        mesh.pass_time(SECOND_NS)
    known, findings = LogFacts(), Findings()
    stored = against_capture.gather_stored(mesh.events(), known)
    reader = capture.CaptureReader(known)
    for number, line in enumerate(lines, 1):
        reader.read_line(line, f"line {number}")
    against_capture.compare(reader.capture, stored, known, findings)
    return findings, mesh


@pytest.mark.timeout(max(180, 2 * SECONDS))
def test_no_valid_line_is_neither_stored_nor_named():
    first, end = int(os.environ.get("TICKMESH_FUZZ_SEED", "1")), time.monotonic() + SECONDS
    bases = [market(random.Random(k)) for k in range(4)] + [lines for lines in (recorded(),) if lines]
    for seed in itertools.count(first):
        if time.monotonic() >= end and (SECONDS or seed == first + SEEDS):
            break
        rng = random.Random(seed)
        lines = mutated(rng, rng.choice(bases))
        begun = time.monotonic()
        findings, _ = run(rng, lines)
        lost = [sentence for sentence in findings.sentences if sentence.endswith("is in the capture, but not stored")]
        wrong = {name: findings.counts[name] for name in ("different", "duplicated")}
        assert not (lost or any(wrong.values())), f"TICKMESH_FUZZ_SEED={seed}: {wrong} {findings.sentences[:5]}"
        assert time.monotonic() - begun < 10, f"TICKMESH_FUZZ_SEED={seed} hangs"


def test_the_fuzzer_finds_what_is_lost(monkeypatch):
    """With the rules against absurd ids off, a jump costs what follows it, and that is found."""
    lines = market(random.Random(1))
    at = next(k for k, line in enumerate(lines) if b"@bookTicker" in line and k > 60)
    lines[at] = jump_by(lines[at], 10**12)
    assert run(random.Random(1), lines)[0].counts["lost"] == 0
    monkeypatch.setattr(HeldEvents, "unconfirmed", lambda *_: False)
    monkeypatch.setattr(Arbiter, "_decide", lambda *_: None)
    assert run(random.Random(1), lines)[0].counts["lost"] > 10


def jump_by(line, by):
    message = json.loads(line[20:])
    message["data"]["u"] += by
    return line[:20] + json.dumps(message, separators=(",", ":")).encode()
