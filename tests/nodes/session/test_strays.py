"""A venue that says that it has rejected an order, and carries it out: what works is cancelled, what it filled is known."""

from tests.support.faults_scene import command_fault
from tests.support.session_at_exchange import PATIENCE_S, at_exchange
from tests.support.waiting import until
from tickmesh.bus.schema import Kind
from tickmesh.tools.chaos.orders_coda import DEAF, DENIED

OURS = "t00c0ffee00c0ffee"  # how the client ids of an executor begin
TAKING = 90_000 * 10**8  # ticks: above every ask


def test_what_the_venue_denies_and_carries_out_is_cancelled_and_its_fills_are_known(tmp_path):
    async def play(mesh, rest):
        await command_fault(rest, **DEAF)  # or the order's own event would come before the refusal
        await command_fault(rest, kind="timeout_after", length_s=30.0, times=2, **DENIED)
        rests, takes = mesh.order(f"{OURS}-1-0"), mesh.order(f"{OURS}-2-0", price_ticks=TAKING)
        await until(lambda: mesh.states(rests)[-1:] == mesh.states(takes)[-1:] == ["Rejected"], PATIENCE_S)
        await until(lambda: mesh.ctx.counters["strays_cancelled"] == 1, PATIENCE_S)

        async def over():
            _, open_ones = await rest.order("GET", "/api/v3/openOrders", symbol="BTCUSDT")
            return open_ones == [] and mesh.published(Kind.fill, takes)

        await until(over, PATIENCE_S)
        assert mesh.states(rests)[-1] == mesh.states(takes)[-1] == "Rejected", "a final state stays"
        later = mesh.order("later")
        await until(lambda: mesh.states(later)[-1:] == ["New"], PATIENCE_S)  # and nothing is paused for it

    at_exchange(tmp_path, play, reconcile_all_s=1.0)
