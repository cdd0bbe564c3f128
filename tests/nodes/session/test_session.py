"""The order session against a scripted venue on loopback, with a real sequencer, a real log and real outboxes."""

import asyncio
import shutil
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.places import KNOWN
from tests.support.scripted_futures import FuturesVenue
from tests.support.session_scene import LOCAL, SUBJECT, Venue, scenario
from tests.support.waiting import until
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.process import Context
from tickmesh.bus.schema import INTENT, Action, Kind, Status
from tickmesh.bus.segments import release
from tickmesh.bus.wire import decode, encode
from tickmesh.nodes.session import node as session
from tickmesh.nodes.session.account import Account
from tickmesh.nodes.venues.order_venue import Fill, Report


@pytest.fixture(params=[Venue, FuturesVenue], ids=["spot", "futures"])
def make(request):
    """The scripted venue: what a session does is the same at each."""
    return request.param


def test_an_order_is_on_file_before_it_is_sent_then_new_filled_once_and_final(tmp_path, make):
    async def play(mesh, venue):
        mesh.publish_intent("a")
        await until(lambda: mesh.states("a")[-1:] == ["New"])
        await venue.fill("a", 40_000_000)
        trade = await venue.fill("a", 60_000_000)
        await venue.emit(venue.orders["a"], "TRADE", trade)  # the stream repeats itself
        await until(lambda: mesh.states("a")[-1:] == ["Filled"])
        await asyncio.sleep(0.1)
        assert mesh.states("a") == ["PendingNew", "New", "PartiallyFilled", "Filled"]
        assert mesh.fills("a") == [1000, 1001]
        fill = mesh.published(Kind.fill, "a")[0]
        assert (fill["price_ticks"], fill["quantity_lots"], fill["fee"], fill["maker"]) == (
            10_000_000_000, 40_000_000, 100_000, 1,
        )  # fmt: skip
        assert venue.received == [("place", "a")]

    scenario(tmp_path, play, make=make)


def test_the_certificate_that_the_venue_s_settings_name_is_trusted(tmp_path):
    """Over REST and websocket: without `ca` it never connects."""

    async def play(mesh, venue):
        mesh.publish_intent("a")
        await until(lambda: mesh.states("a")[-1:] == ["New"])
        assert venue.received == [("place", "a")]

    scenario(tmp_path, play, tls=True)


def test_events_that_overtake_the_answer_do_not_move_the_order_back(tmp_path, make):
    async def play(mesh, venue):
        venue.reply_last = True
        mesh.publish_intent("a")
        await until(lambda: "Filled" in mesh.states("a"))
        await asyncio.sleep(0.2)
        assert mesh.states("a") == ["PendingNew", "New", "Filled"]
        assert mesh.fills("a") == [1000]

    scenario(tmp_path, play, make=make)


def test_a_refused_and_a_senseless_intent_end_rejected_and_one_that_is_too_old_expired(tmp_path, make):
    async def play(mesh, venue):
        venue.mood["poor"] = "refused"
        mesh.publish_intent("poor")
        mesh.publish_intent("late", ttl_s=-1)
        mesh.publish_intent("zero", lots=0)
        await until(lambda: mesh.states("poor")[-1:] == ["Rejected"] and mesh.states("zero") == ["Rejected"])
        assert mesh.published(Kind.update, "poor")[-1]["code"] == -2010
        assert mesh.states("late") == ["Expired"]
        assert venue.received == [("place", "poor")]

    scenario(tmp_path, play, make=make)


@pytest.mark.parametrize("mood", ["lost", "timeout", "cut"])
def test_an_order_without_an_answer_is_unknown_then_found_and_never_sent_again(tmp_path, make, mood):
    async def play(mesh, venue):
        venue.mood["a"] = mood
        venue.muted = True
        mesh.publish_intent("a")
        await until(lambda: mesh.states("a")[-1:] == ["New"])
        assert mesh.states("a") == ["PendingNew", "Unknown", "New"]
        assert venue.received == [("place", "a")]

    scenario(tmp_path, play, make=make)


def test_an_order_that_never_arrived_is_rejected_only_after_the_window(tmp_path, make):
    async def play(mesh, venue):
        venue.mood["a"] = "swallowed"
        began = time.monotonic()
        mesh.publish_intent("a")
        await until(lambda: mesh.states("a")[-1:] == ["Rejected"])
        assert time.monotonic() - began >= 0.8  # recv_window + margin
        assert mesh.states("a") == ["PendingNew", "Unknown", "Rejected"]
        assert mesh.published(Kind.update, "a")[-1]["reason"] == b"never reached the venue"
        assert venue.received == [("place", "a")]

    scenario(tmp_path, play, make=make)


def test_a_step_of_the_time_makes_no_order_older(tmp_path):
    """An hour forward while an order may still be on its way: that the venue does not know it proves nothing yet."""

    async def play(mesh, venue):
        venue.mood["a"] = "swallowed"
        began = time.monotonic()
        mesh.publish_intent("a")
        await until(lambda: mesh.states("a"))
        clock = mesh.log.sequencer.clock.clock
        clock.segment = clock.segment._replace(time_ns=clock.segment.time_ns + 3600 * 10**9)
        await until(lambda: mesh.states("a")[-1:] == ["Rejected"])
        assert time.monotonic() - began >= 0.8  # recv_window + margin
        corrected = [e.records["correction_ns"][0] for e in LogReader(mesh.config.log_dir).events() if e.kind == Kind.clock]
        assert max(corrected) == pytest.approx(3600 * 10**9, abs=10**7)

    scenario(tmp_path, play)


def test_a_cancel_is_pending_then_canceled_and_one_that_lost_the_race_ends_filled(tmp_path, make):
    async def play(mesh, venue):
        mesh.publish_intent("a")
        mesh.publish_intent("b")
        await until(lambda: mesh.states("a")[-1:] == mesh.states("b")[-1:] == ["New"])
        mesh.publish_intent("ca", target="a")
        await until(lambda: mesh.states("a")[-1:] == ["Canceled"])
        assert mesh.states("a") == ["PendingNew", "New", "PendingCancel", "Canceled"]
        await venue.fill("b", 100_000_000, quiet=True)
        mesh.publish_intent("cb", target="b")
        await until(lambda: mesh.states("b")[-1:] == ["Filled"] and mesh.fills("b") == [1000])
        assert mesh.states("b") == ["PendingNew", "New", "PendingCancel", "Filled"]

    scenario(tmp_path, play, make=make)


def test_a_crash_between_pending_new_and_sending_ends_without_an_order_and_without_resending(tmp_path):
    class Dies(Context):
        def publish(self, events):
            super().publish(events)
            if any(event[8] == Kind.update for event in events):
                raise KeyboardInterrupt  # nothing after the append happens

    async def play(mesh, venue):
        ctx = Dies(mesh.config, "session")
        doomed = session.Session(ctx, LOCAL)
        following = asyncio.create_task(await doomed.rebuild())
        connecting = asyncio.create_task(doomed.connection.keep_connected())
        await until(lambda: doomed.requests.trading)
        died = asyncio.Event()
        place = doomed.sender.place

        def dying(intent, cid):
            try:
                place(intent, cid)
            except KeyboardInterrupt:
                ctx.publish = lambda events: None
                died.set()

        doomed.sender.place = dying
        mesh.publish_intent("a")
        await asyncio.wait_for(died.wait(), 5)
        ctx.stop.set()
        for task in (following, connecting):
            task.cancel()
        await asyncio.gather(following, connecting, return_exceptions=True)
        await doomed.venue.rest.close()
        await ctx.close()
        assert venue.received == []
        mesh.start()
        await until(lambda: mesh.states("a")[-1:] == ["Rejected"])
        assert mesh.states("a") == ["PendingNew", "Unknown", "Rejected"]
        assert venue.received == []

    scenario(tmp_path, play, started=False)


def test_what_happened_while_it_was_dead_is_found_at_the_next_start(tmp_path, make):
    async def play(mesh, venue):
        for cid in "abc":
            mesh.publish_intent(cid)
        await until(lambda: all(mesh.states(cid)[-1:] == ["New"] for cid in "abc"))
        published = [event.seq for event in LogReader(mesh.config.log_dir).events() if event.kind == Kind.update]
        await until(lambda: mesh.ctx.checkpoint.load(LogReader(mesh.config.log_dir)).seq >= published[-1], what="a checkpoint")
        await mesh.kill()
        await venue.fill("a", 100_000_000)
        await venue.fill("b", 30_000_000)
        venue.orders["c"]["status"] = "CANCELED"
        mesh.publish_intent("d")
        mesh.publish_intent("e", ttl_s=0.01)
        await asyncio.sleep(0.1)
        mesh.start()
        await until(lambda: mesh.states("d")[-1:] == ["New"])
        assert mesh.states("a") == ["PendingNew", "New", "Filled"]
        assert mesh.states("b") == ["PendingNew", "New", "PartiallyFilled"]
        assert mesh.states("c") == ["PendingNew", "New", "Canceled"]
        assert mesh.states("e") == ["Expired"]
        assert mesh.fills("a") == [1000] and mesh.fills("b") == [1001]
        assert venue.received == [("place", "a"), ("place", "b"), ("place", "c"), ("place", "d")]
        await mesh.kill()
        mesh.start()
        await until(lambda: mesh.ctx.counters.get("reconciles", 0) >= 1)
        await asyncio.sleep(0.2)
        assert len(venue.received) == 4 and mesh.fills("a") == [1000]

    scenario(tmp_path, play, make=make)


def test_intents_wait_for_a_venue_that_is_away_but_not_longer_than_they_may(tmp_path, make):
    async def play(mesh, venue):
        venue.down = True
        mesh.start()
        mesh.publish_intent("short", ttl_s=0.2)
        mesh.publish_intent("long", ttl_s=5)
        mesh.publish_intent("gone", ttl_s=5)
        mesh.publish_intent("cancel-gone", target="gone")
        await until(lambda: mesh.states("short") == ["Expired"])
        venue.down = False
        await until(lambda: mesh.states("long")[-1:] == ["New"])
        assert mesh.states("gone") == ["Rejected"]
        assert venue.received == [("place", "long")]

    scenario(tmp_path, play, started=False, rest_fallback=False, make=make)


def test_a_second_session_on_the_same_account_cannot_start(tmp_path):
    async def play(mesh, venue):
        await until(lambda: mesh.ctx.counters.get("reconciles", 0) >= 1)
        with pytest.raises(session.SessionLocked, match="another session"):
            await session.run(Context(mesh.config, "session-2"))

    scenario(tmp_path, play)


def report_of(step):
    status, filled, fills = {
        "new": (Status.New, 0, ()),
        "part": (Status.PartiallyFilled, 40, (1,)),
        "full": (Status.Filled, 100, (2,)),
        "query": (Status.PartiallyFilled, 40, ()),
        "late": (Status.New, 0, ()),
    }[step]
    lots = {1: 40, 2: 60}
    return Report(
        SUBJECT, "a", 9, status, filled, 0,
        fills=[Fill(t, 1, 5, lots[t], 0, "BTC", False, 0, 9) for t in fills],
    )  # fmt: skip


@given(st.lists(st.sampled_from(["new", "part", "full", "query", "late"]), max_size=12))
def test_in_any_order_and_number_reports_never_move_an_order_back(steps):
    account = Account()
    record = np.zeros(1, INTENT)
    record["client_order_id"], record["action"], record["side"], record["quantity_lots"] = b"a", Action.NEW, 1, 100
    intent = decode(encode(Kind.intent, SUBJECT, record))
    account.read(intent)
    published = [account.build_pending_new(intent, 7)]
    account.read(decode(published[0]))
    for step in steps:
        published += account.apply_report(report_of(step), "stream", 7)
    events = [decode(event) for event in published]
    updates = [event.records[0] for event in events if event.kind == Kind.update]
    filled = [int(update["filled_lots"]) for update in updates]
    assert filled == sorted(filled)
    trades = [int(event.records[0]["trade_id"]) for event in events if event.kind == Kind.fill]
    assert sorted(trades) == sorted(({1} if "part" in steps else set()) | ({2} if "full" in steps else set()))
    states = [int(update["status"]) for update in updates]
    assert len(set(states)) == len(states)  # each state at most once
    if "full" in steps:
        assert states[-1] == Status.Filled
        assert account.order("a").fills_missing == ("part" not in steps)
    again = Account()
    again.load(account.pack())
    for event in events:
        again.read(event)  # the log read again changes nothing
    assert again.pack() == account.pack()


def test_what_it_published_and_the_log_does_not_have_yet_is_read_from_its_outbox(tmp_path):
    """Also when the outbox has released its older part."""
    (tmp_path / "mesh.toml").write_text(KNOWN)
    config = load(tmp_path, {"log": {"outbox_segment_bytes": 1 << 16}})

    async def go():
        ctx = Context(config, "session")
        first = session.Session(ctx, LOCAL)
        intents = []
        for i in range(400):
            record = np.zeros(1, INTENT)
            record["client_order_id"], record["action"], record["side"] = f"id-{i}".encode(), Action.NEW, 1
            record["quantity_lots"] = 1
            intents.append(decode(encode(Kind.intent, SUBJECT, record)))
            ctx.publish([first.account.build_pending_new(intents[-1], time.time_ns())])
        await ctx.close()
        assert release(config.outbox_dir / "session", 250) > 0
        ctx = Context(config, "session")
        again = session.Session(ctx, LOCAL)
        (await again.rebuild()).close()
        known = [i for i in range(400) if again.account.order(f"id-{i}") is not None]
        assert known == list(range(known[0], 400)) and 0 < known[0] <= 250
        again.account.read(intents[399])
        assert not again.account.waiting_intents()  # its PendingNew is known: it will not be sent
        await ctx.close()

    try:
        asyncio.run(go())
    finally:
        shutil.rmtree(config.outbox_dir, ignore_errors=True)


def test_what_the_log_has_is_not_read_again_from_the_outbox(tmp_path, monkeypatch):
    """The log ends in the middle of what was published: no older update takes an order back, no cancel is refused twice."""
    (tmp_path / "mesh.toml").write_text(KNOWN)
    config = load(tmp_path, {})

    def intend(cid: str, target: str = ""):
        record = np.zeros(1, INTENT)
        record["client_order_id"], record["target_id"], record["side"] = cid.encode(), target.encode(), 1
        record["action"], record["quantity_lots"] = (Action.CANCEL, 0) if target else (Action.NEW, 100)
        return decode(encode(Kind.intent, SUBJECT, record))

    async def go():
        ctx = Context(config, "session")
        account = session.Session(ctx, LOCAL).account
        order, cancel, unknown, again = intend("a"), intend("c", "a"), intend("d", "nothing"), intend("e", "a")
        for intent in (order, cancel, unknown):
            account.read(intent)
        events = [account.build_pending_new(order, 7)]
        account.read(decode(events[0]))
        events += account.apply_report(report_of("new"), "reply", 7)
        events += account.apply_status(account.order("a"), Status.PendingCancel, "", 7)
        events += account.apply_report(report_of("query"), "reconcile", 7, settled=True)
        events += [account.build_unsent(unknown, Status.Rejected, "no such order", 7)]
        account.read(decode(events[-1]))
        ctx.publish(events)
        await ctx.close()
        published = list(LogReader(config.outbox_dir / "session").events())
        for taken in range(len(published) + 1):
            log = [order, cancel, unknown, *published[:taken]]
            if taken >= 4:  # another cancel, after the first failed
                log.append(again)
            monkeypatch.setattr(session, "history", lambda *_, log=log: iter([log]))
            ctx = Context(config, "session")
            rebuilt = session.Session(ctx, LOCAL)
            (await rebuilt.rebuild()).close()
            found = rebuilt.account.order("a")
            assert (found.status, found.filled_lots, found.order_id) == (Status.PartiallyFilled, 40, 9)
            assert set(rebuilt.account.state.waiting) == ({"e"} if taken >= 4 else set())
            await ctx.close()

    try:
        asyncio.run(go())
    finally:
        shutil.rmtree(config.outbox_dir, ignore_errors=True)
