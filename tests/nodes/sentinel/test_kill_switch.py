"""The sentinel's hand on the kill switch, at a real exchange: file, command, the process that cancels past the session."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from tests.support.exchange_clients import limit, venue
from tests.support.waiting import until
from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.names import KILL_SWITCH_FILE
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import decode, encode
from tickmesh.nodes.orders.commands import KillSwitch, content_of, read_command
from tickmesh.nodes.sentinel.kill_switch import KillSwitchKeeper
from tickmesh.nodes.sentinel.vitals import Life, Vitals

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

NAMES = [f"t0123456789abcdef-{i}-0" for i in range(5)]
SETTINGS = "[risk]\nsession_patience_ms = 200\nlost_latch_s = 1.0\nlost_pause_s = 2.0\n"


class Hand:
    """A keeper, and what it has published and raised."""

    def __init__(self, config):
        self.published, self.alerts = [], []
        ctx = SimpleNamespace(config=config, name="sentinel-1", counters={}, publish=self.published.extend)
        self.vitals = Vitals(config.sentinel)
        self.keeper = KillSwitchKeeper(ctx, self.vitals, self.alerts.append)
        self.file = config.run_dir / KILL_SWITCH_FILE
        self.log_end = 0

    def look(self) -> None:
        self.log_end += 1
        self.keeper.look(self.log_end)

    def commands(self):
        return [read_command(event.map()) for event in map(decode, self.published) if event.kind == Kind.command]


def scene(tmp_path, play) -> None:
    async def go():
        async with venue(tmp_path, SETTINGS) as (rest, _, ctx):
            hand = Hand(ctx.config)
            try:
                await play(rest, hand)
            finally:
                hand.keeper.end()

    asyncio.run(asyncio.wait_for(go(), 280))


async def open_orders(rest) -> set[str]:
    _, rows = await rest.order("GET", "/api/v3/openOrders")
    return {row["clientOrderId"] for row in rows}


def test_what_nobody_cancels_is_cancelled_and_told(tmp_path):
    async def play(rest, hand):
        for i, name in enumerate([*NAMES, "by-hand"]):
            await rest.order(**limit("BUY", f"{30_000 + i}.00", newClientOrderId=name))
        hand.look()
        assert not hand.published and not hand.alerts, "the switch is off"
        hand.file.write_text("the news\n")

        async def is_over():
            hand.look()
            return any(alert["level"] == "info" for alert in hand.alerts)

        await until(is_over, 240)
        assert await open_orders(rest) == {"by-hand"}
        assert [alert["what"] for alert in hand.alerts] == ["emergency cancel"] * 2
        assert f"{len(NAMES)} were cancelled" in hand.alerts[-1]["why"]
        assert [(one.on, one.by, one.why) for one in hand.commands()] == [(True, "sentinel-1", "the news")]

    scene(tmp_path, play)


def test_a_switch_that_is_lifted_ends_the_cancelling_that_is_at_work(tmp_path):
    async def play(rest, hand):
        await rest.order(**limit("BUY", "30000.00", newClientOrderId=NAMES[0]))
        hand.file.touch()

        async def at_work():
            hand.look()
            await asyncio.sleep(0.3)  # the venue counts questions
            _, row = await rest.order("GET", symbol="BTCUSDT", origClientOrderId=NAMES[0])
            return row["status"] == "CANCELED"

        await until(at_work, 240)  # it asks on, for as long as a request of before may still be under way
        hand.file.unlink()
        hand.look()
        await rest.order(**limit("BUY", "30000.00", newClientOrderId=NAMES[1]))

        async def is_over():
            with FileLock(hand.file.parent / "emergency.lock") as lock:
                return lock.try_acquire()

        await until(is_over, 240)
        assert await open_orders(rest) == {NAMES[1]}, "what is ordered after the switch is lifted is nobody's to cancel"

    scene(tmp_path, play)


def test_a_key_that_is_missing_is_a_critical_alert(tmp_path):
    async def play(rest, hand):
        (tmp_path / "mesh.toml").write_text(SETTINGS + '[session]\nkey_file = "no.toml"\n')
        hand.file.touch()

        async def is_over():
            hand.look()
            return len(hand.alerts) > 1

        await until(is_over, 240)
        assert hand.alerts[-1]["level"] == "critical" and "no.toml cannot be read" in hand.alerts[-1]["why"]

    scene(tmp_path, play)


def test_a_loss_writes_the_file_once_and_lifting_it_clears_the_memory_of_it(tmp_path):
    async def play(rest, hand):
        now = hand.vitals.log_ns = time.time_ns()
        hand.vitals.lives["executor"] = Life(1, now - 60 * 10**9)
        hand.look()
        hand.look()
        assert "executor has not been heard of for 60 s; risk.lost_latch_s allows 1" in hand.file.read_text()
        assert [alert["what"] for alert in hand.alerts].count("latched") == 1
        hand.file.unlink()
        hand.look()
        assert not hand.file.exists(), "it is remembered, not written again, until a person's command is in the log"
        off = encode(Kind.command, "operator", content_of(KillSwitch(False, "operator")))
        hand.keeper.take(decode(off))
        hand.vitals.lives["executor"].sign_ns = now
        hand.look()
        assert not hand.file.exists(), "lifted, and the executor is back"
        hand.vitals.lives["executor"].sign_ns = now - 60 * 10**9
        hand.look()
        assert hand.file.exists(), "lost once more"

    scene(tmp_path, play)
