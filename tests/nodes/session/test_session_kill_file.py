"""While the file run/kill-switch is there the session sends no order, whatever the log says; cancels go all the same."""

import pytest

from tests.support.session_scene import scenario
from tests.support.waiting import until
from tickmesh.bus.names import KILL_SWITCH_FILE
from tickmesh.bus.schema import Kind

PATIENCE_S = 60.0
HOUR_NS = 3600 * 10**9
OLD, NEW, AFTER = (f"t0123456789abcdef-{i}-0" for i in range(3))


def test_it_refuses_orders_and_sends_cancels(tmp_path):
    async def play(mesh, venue):
        file = mesh.config.run_dir / KILL_SWITCH_FILE
        mesh.publish_intent(OLD, ttl_s=60)
        await until(lambda: mesh.states(OLD)[-1:] == ["New"], PATIENCE_S)
        file.touch()
        mesh.publish_intent(NEW, ttl_s=60)
        await until(lambda: mesh.states(NEW) == ["Rejected"], PATIENCE_S)
        assert mesh.published(Kind.update, NEW)[-1]["reason"].startswith(b"the kill switch is on")
        mesh.publish_intent("t0123456789abcdef-9-0", target=OLD)
        await until(lambda: mesh.states(OLD)[-1:] == ["Canceled"], PATIENCE_S)
        file.unlink()
        mesh.publish_intent(AFTER, ttl_s=60)
        await until(lambda: mesh.states(AFTER)[-1:] == ["New"], PATIENCE_S)
        assert [cid for what, cid in venue.received if what == "place"] == [OLD, AFTER], "what was refused was never sent"

    scenario(tmp_path, play)


@pytest.mark.parametrize("skew_ms", [0, 5000])
def test_its_health_says_how_far_the_venues_clock_is_from_the_mesh_s_time_and_from_the_machine_s_clock(tmp_path, skew_ms):
    async def play(mesh, venue):
        venue.skew_ms = skew_ms
        mesh.start()
        await until(lambda: mesh.ctx.ask_counters is not None, PATIENCE_S)
        await until(lambda: "clock_skew_ms" in mesh.ctx.ask_counters(), PATIENCE_S)
        assert abs(mesh.ctx.ask_counters()["clock_skew_ms"] - skew_ms) < 1000
        if skew_ms:
            await until(lambda: mesh.alerts("clock_skew"), PATIENCE_S)
            assert mesh.alerts("clock_skew")[0][0] == "critical"
            return
        clock = mesh.log.sequencer.clock.clock
        clock.segment = clock.segment._replace(time_ns=clock.segment.time_ns + HOUR_NS)  # it was an hour ahead, and is right
        await until(lambda: mesh.ctx.ask_counters()["clock_skew_ms"] < -3_590_000, PATIENCE_S)
        assert abs(mesh.ctx.ask_counters()["wall_skew_ms"]) < 1000
        mesh.publish_intent(NEW, ttl_s=3660)
        await until(lambda: mesh.states(NEW)[-1:] == ["New"], PATIENCE_S)
        assert mesh.alerts("clock_skew") == [], "the mesh's time goes back for days, and orders go on"

    scenario(tmp_path, play, started=False)
