"""A crash at any event: what arbitration knew is found in the log again, and it goes on as if nothing had been."""

import copy
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.arbitration import event, trades, unrecoverable
from tickmesh.bus.intake import Cursor
from tickmesh.bus.layout import header_slice
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import INSTRUMENT, Flag, GapState, Kind
from tickmesh.bus.wire import decode, encode, stamp_sent, stamp_sequenced, stamp_venue_ns
from tickmesh.nodes.sequencer import doubts
from tickmesh.nodes.sequencer.arbiter import ARBITRATED, Arbiter
from tickmesh.nodes.sequencer.cursors import NAME, LogPosition

HOLD = 100


@pytest.fixture(autouse=True, scope="module")
def no_doubt_is_decided_by_time():
    """Everything but time is in the log: after a crash a doubt lasts anew. What time decides: test_absurd_ids.py."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OTHER_HOLDS", "ERA_HOLDS", "LATE_HOLDS", "KEPT_HOLDS"):
            patch.setattr(doubts, name, 10**9)
        yield


SUBJECTS = {"trade": "binance.BTCUSDT", "quote": "binance.BTCUSDT", "depth": "binance.BTCUSDT", "exclusive": "kraken.XBTUSD"}


class Sequencing:
    """The sequencer's decisions without its files: producers' messages in, a log of events out."""

    def __init__(self):
        self.arbiter = Arbiter(HOLD)
        self.position = LogPosition(self.arbiter)
        self.log = []
        self.now = 0

    def take(self, producer, number, raw):
        """As `Sequencer.sequence` does with one event."""
        cursor = self.position.cursors.setdefault(producer, Cursor(1, 0))
        if number <= cursor.number:
            return
        cursor.number = number
        if number in cursor.skip:
            cursor.skip.discard(number)
            return
        raw = bytearray(raw)
        stamp_sent(raw, producer_bytes(producer), 1, number, 0)
        found = decode(raw)
        if found.kind in ARBITRATED:
            self.append(self.arbiter.offer(found.kind, found.subject, producer, number, raw, self.now))
        elif found.kind == Kind.gap:
            self.append(self.arbiter.declare(found.subject, producer, found.records))
        else:
            self.arbiter.connected(producer, number, found.subject)
            self.append([raw])

    def wait(self, ns):
        self.now += ns
        self.append(self.arbiter.due(self.now))

    def cursors(self):
        if self.position.cursors:
            self.append([encode(Kind.cursor, NAME, self.position.records())])

    def append(self, out):
        for raw in out:
            if raw[header_slice("producer")][0] == 0:
                self.position.number += 1
                stamp_sent(raw, producer_bytes(NAME), 1, self.position.number, 0)
            stamp_sequenced(raw, len(self.log) + 1, 0, 0)
            self.log.append(decode(bytes(raw)))

    def held(self):
        return {
            key: {line: [one.number for _, one in queue] for line, queue in stream.held.items()}
            for key, stream in self.arbiter.streams.items()
            if stream.held
        }

    def known(self):
        """Streams that only dropped events have touched are none."""
        state = {key: one for key, one in self.arbiter.state().items() if one["last"] is not None or one["gaps"]}
        return state, self.held()


def recovered(log, packed=b"", after=0):
    fresh = Sequencing()
    fresh.position.restore(packed)
    fresh.position.replay(log[after:])
    fresh.log = list(log)
    return fresh


def definition():
    return encode(Kind.instrument, SUBJECTS["trade"], np.zeros(1, INSTRUMENT), first_id=1, last_id=1)


def message(rng, kind, at):
    """One event of a line that is about at id `at`: (event, the id after it)."""
    first = max(1, at + rng.choice((0, 0, 0, 0, 0, 1, 2, 4, -1, -3)))
    last = first + rng.choice((0, 0, 0, 1, 3))
    if kind == "trade":
        many = trades(*range(first, last + 1))
        return rng.choice((many, many, trades((first, last)))), last + 1
    if kind == "quote":
        return event(Kind.quote, last, last), last + rng.choice((1, 3))
    if rng.random() < 0.2:
        return event(Kind.depth, last + 1, last, snapshot=True), last + 1
    return event(Kind.depth, first, last), last + 1


def script_of(rng, kind, steps=60):
    """Three lines with holes, repetitions, disorder and new connections; backfill, waits, cursors."""
    at = dict.fromkeys("abc", 1)
    script = []
    for _ in range(rng.randrange(5, steps)):
        dice = rng.random()
        if dice < 0.7:
            line = rng.choice("aabbc")
            raw, at[line] = message(rng, kind, at[line])
            script.append(("say", line, raw))
        elif dice < 0.78:
            script.append(("say", rng.choice("abc"), definition()))
        elif dice < 0.88 and kind == "trade":
            first = rng.randrange(1, max(at.values()) + 2)
            last = first + rng.randrange(5)
            repair = trades(*range(first, last + 1), flags=Flag.REPAIRED)
            declaration = encode(Kind.gap, SUBJECTS["trade"], unrecoverable(first, last), first_id=first, last_id=last)
            script.append(("say", "backfill", rng.choice((repair, declaration))))
        elif dice < 0.94:
            script.append(("wait", HOLD + 1))
        else:
            script.append(("cursors",))
    return script


def possible(script):
    """Without what backfill could not have said yet: it speaks of gaps that are in the log."""
    scratch, numbers, out = Sequencing(), {}, []
    for step in script:
        stream = scratch.arbiter.streams.get((Kind.trade, SUBJECTS["trade"]))
        if step[:2] != ("say", "backfill") or (stream and stream.last and decode(step[2]).last_id <= stream.last):
            play(scratch, [step], numbers)
            out.append(step)
    return out


rngs = st.integers(0, 1 << 32).map(random.Random)


def play(sequencing, script, numbers):
    for what, *arguments in script:
        if what == "say":
            producer, raw = arguments
            numbers[producer] = numbers.get(producer, 0) + 1
            sequencing.take(producer, numbers[producer], raw)
        else:
            getattr(sequencing, what)(*arguments)


@pytest.mark.parametrize("kind", ["trade", "quote", "depth"])
@pytest.mark.parametrize("absurd", [[2004], [5004], [10**12], [10**14, 10**12], [10**12, 5004], [90_000, 6, 5400]], ids=str)
def test_a_crash_after_a_contradiction_forgets_no_gap(kind, absurd):
    def offer(i):
        return trades(i) if kind == "trade" else event(Kind[kind], i, i)

    ids = [1, 2, 3, 4, *absurd, 7, 8, 9, 11, 12]
    script = [step for i in ids for line in "ab" for step in (("say", line, offer(i)), ("wait", HOLD + 1))]
    live, numbers = Sequencing(), {}
    for step in script:
        play(live, [step], numbers)
        again = recovered(live.log)
        assert again.arbiter.state() == live.arbiter.state()
    assert kind == "quote" or live.arbiter.state()[f"{int(Kind[kind])} {SUBJECTS[kind]}"]["last"] == 12


@pytest.mark.parametrize("kind", ["trade", "depth"])
def test_what_waits_to_be_an_era_outlives_its_line_s_new_connection_and_a_crash(kind, monkeypatch):
    """Ids had begun anew once before, and do again: both lines say so, one is started anew meanwhile."""
    live, numbers, said = Sequencing(), {}, []

    def offer(*ids):
        for i in ids:
            for line in "ab":
                raw = trades(i) if kind == "trade" else event(Kind[kind], i, i)
                stamp_venue_ns(raw, 1 + len(said))  # the venue's time goes on
                said.append(("say", line, raw))
                play(live, said[-1:], numbers)

    offer(900, 901, 902)
    with monkeypatch.context() as patch:
        patch.setattr(doubts, "ERA_HOLDS", 0)
        offer(500, 501, 502, 503)
        live.wait(1)
        offer(504)
    assert [one.last_id for one in live.log if one.flags & Flag.RESET] == [500]
    offer(3, 4, 5)  # lower again; it is too soon to say what that means
    said.append(("say", "a", definition()))
    play(live, said[-1:], numbers)
    offer(6)
    waiting = {line: live.arbiter.held_numbers(line) for line in "ab"}
    assert all(len(held) == 4 for held in waiting.values()), waiting
    again, numbers = recovered(live.log), {}
    play(again, said, numbers)
    assert {line: again.arbiter.held_numbers(line) for line in "ab"} == waiting


@settings(max_examples=400)
@given(rngs, st.sampled_from(["trade", "quote", "depth"]))
def test_a_crash_at_any_event_changes_nothing(rng, kind):
    script = possible(script_of(rng, kind))
    crash = rng.randrange(len(script) + 1)  # after so many steps, the last of which may be in the log in part
    live = Sequencing()
    numbers = {}
    play(live, script[: max(crash - 1, 0)], numbers)
    before = len(live.log)
    packed, packed_at = (live.position.pack(), before) if rng.random() < 0.5 else (b"", 0)
    play(live, script[max(crash - 1, 0) : crash], numbers)
    written = rng.randrange(before, len(live.log) + 1)
    again = recovered(live.log[:written], packed, packed_at)
    again.now = live.now
    # Outboxes have everything that was said; what is decided is not taken again.
    seen = {}
    for what, *arguments in script[:crash]:
        if what == "say":
            producer, raw = arguments
            seen[producer] = seen.get(producer, 0) + 1
            again.take(producer, seen[producer], raw)
    again.append(again.arbiter.due(again.now))
    live.append(live.arbiter.due(live.now))
    if script[max(crash - 1, 0) : crash] == [("wait", HOLD + 1)] and written < len(live.log):
        # What was being given up waits anew, and another line's copy of it may be the first now.
        play(again, script[crash:], numbers)
        again.wait(HOLD + 1)
        if kind == "trade":
            judge(again)
        return
    assert again.known() == live.known()
    again.wait(HOLD + 1), live.wait(HOLD + 1)
    assert again.known() == live.known()
    rest = script[crash:]
    numbers_again = copy.copy(numbers)
    play(live, rest, numbers), play(again, rest, numbers_again)
    live.wait(HOLD + 1), again.wait(HOLD + 1)
    assert again.known() == live.known()
    assert said(again) == said(live)


def said(sequencing):
    """What the log has of the market; a crash may change the order of what was held."""
    out = []
    for one in sequencing.log:
        if one.kind in ARBITRATED:
            out.append((one.kind, one.producer, one.number, one.flags, one.first_id, one.last_id))
        elif one.kind == Kind.gap:
            out += [(one.kind, *r[:5]) for r in one.records.tolist()]
    return sorted(out)


def judge(live):
    """Every id is in the log once, or missing in an open gap, or declared lost; and the gap records say the same."""
    state = live.arbiter.streams.get((Kind.trade, SUBJECTS["trade"]))
    if state is None or state.last is None:
        return
    taken, opened, repaired, lost = [], set(), set(), set()
    for one in live.log:
        if one.kind == Kind.trade:
            taken += range(one.first_id, one.last_id + 1)
        elif one.kind == Kind.gap:
            for first, last, _, what, *_ in one.records.tolist():
                ids = set(range(first, last + 1))
                assert what == GapState.open or ids <= opened, "decided, but was never open"
                {GapState.open: opened, GapState.repaired: repaired, GapState.unrecoverable: lost}[what].update(ids)
    missing = {i for low, high in state.gaps.missing(0, 1 << 40) for i in range(low, high + 1)}
    assert len(taken) == len(set(taken)), "no id twice"
    assert set(taken) | missing | lost == set(range(min(taken), state.last + 1))
    assert not (set(taken) & (missing | lost)) and not missing & lost
    assert repaired <= set(taken) and missing <= opened
    open_still = {i for gap in state.gaps.all for i in range(gap.low, gap.high + 1)}
    assert repaired == (opened & set(taken)) - open_still, "said of every gap that is decided, and of no other"


@settings(max_examples=200)
@given(rngs)
def test_the_log_tells_the_fate_of_every_id(rng):
    """Whatever lines and backfill say: every id up to the highest is there once, or in an open gap, or declared lost."""
    live = Sequencing()
    play(live, [("say", "a", trades(1)), *script_of(rng, "trade"), ("wait", HOLD + 1)], {})
    judge(live)


def exclusive_script():
    def change(i):
        return event(Kind.depth, i, i, subject=SUBJECTS["exclusive"])

    def book(i):
        return event(Kind.depth, i, i, snapshot=True, subject=SUBJECTS["exclusive"])

    who = st.sampled_from("ab")
    mark = st.builds(lambda: encode(Kind.instrument, SUBJECTS["exclusive"], np.zeros(1, INSTRUMENT), first_id=1, last_id=1))
    step = st.one_of(
        st.tuples(who, st.just(change)), st.tuples(who, st.just(change)), st.tuples(who, st.just(book)), st.tuples(who, mark)
    )
    return st.lists(st.tuples(step, st.sampled_from([1, HOLD // 2, HOLD + 1])), max_size=40)


@settings(max_examples=200)
@given(exclusive_script(), st.data())
def test_a_book_without_ids_is_one_lines_at_a_time_and_each_change_of_line_begins_with_a_snapshot(script, data):
    live = Sequencing()
    numbers, ids = {}, iter(range(1, 10_000, 10))
    for (who, what), ns in script:
        numbers[who] = numbers.get(who, 0) + 1
        live.take(who, numbers[who], what(next(ids)) if callable(what) else what)
        live.now += ns
    owner, holed = "", False
    last = 0
    for one in live.log:
        if one.kind == Kind.gap:
            holed = True
        elif one.kind == Kind.depth:
            if owner not in ("", one.producer) or holed:
                assert one.flags & Flag.SNAPSHOT and holed, "a change of line without its gap or its snapshot"
            assert one.last_id > last
            owner, last, holed = one.producer, one.last_id, False
    again = recovered(live.log)
    assert again.known() == live.known()
    part = recovered(live.log[: data.draw(st.integers(0, len(live.log)))])
    for one in live.log[len(part.log) :]:
        part.take(one.producer, one.number, one.raw) if one.producer != NAME else None
    assert [e.last_id for e in part.log if e.kind == Kind.depth][-1:] <= [last]


@settings(max_examples=200)
@given(st.data())
def test_new_ids_survive_a_crash(data):
    """Two lines pass the venue's reset at different moments; a crash anywhere in between is not to be seen."""
    old = [event(Kind.depth, 1000 + i, 1000 + i) for i in range(4)]
    new = [event(Kind.depth, 5, 5, snapshot=True, reset=True), *(event(Kind.depth, i, i) for i in range(6, 10))]
    first = event(Kind.depth, 999, 999, snapshot=True)
    queues = {"a": [first, *old, *new], "b": [first, *old, *new]}
    script = [("say", "a", queues["a"].pop(0))]
    while any(queues.values()):
        who = data.draw(st.sampled_from([name for name, queue in queues.items() if queue]))
        script.append(("say", who, queues[who].pop(0)))
        if data.draw(st.integers(0, 9)) == 0:
            script.append(("cursors",))
    live = Sequencing()
    play(live, script, {})
    live.wait(HOLD + 1)
    assert [e.last_id for e in live.log if e.kind == Kind.depth][-5:] == [5, 6, 7, 8, 9]
    assert sum(e.kind == Kind.gap for e in live.log) == 1
    again = recovered(live.log[: data.draw(st.integers(0, len(live.log)))])
    play(again, [step for step in script if step[0] == "say"], {})
    again.wait(HOLD + 1)
    assert [e.last_id for e in again.log if e.kind == Kind.depth][-5:] == [5, 6, 7, 8, 9]
    assert again.known()[0]["4 binance.BTCUSDT"]["last"] == 9
