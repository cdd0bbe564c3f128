"""A session process dies by SIGKILL at every transition, and around all that it sends or publishes; then it starts again."""

import asyncio
import time

import pytest

from tests.support import dying_session
from tests.support.dying_session import FINAL, PATIENCE_S, QUICK, WORDS
from tests.support.scripted_futures import FuturesVenue
from tests.support.session_scene import Venue, known_at, scenario
from tests.support.waiting import until
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.nodes.orders.accounts import session_of_venue

ORDERS = ("filled", "cancelled", "refused", "late", "unsure")
WHOLE = 100_000_000  # lots of an order
REDUCED = 90_000_000  # lots: to which the first order is amended


class Lives:
    """The lives of one session: the first dies at a point, those after it do not."""

    def __init__(self, mesh, point: str):
        self.mesh = mesh
        self.process = dying_session.start(mesh.config.root, point, session_of_venue(mesh.account))
        self.deaths = 0

    async def until(self, condition) -> None:
        """Waits for a condition; a session that has died is started again."""

        def look():
            if not self.process.is_alive():
                assert self.process.exitcode == -9, f"it ended with {self.process.exitcode}"
                self.deaths += 1
                assert self.deaths == 1, "it died where it should not"
                self.process = dying_session.start(self.mesh.config.root, "", session_of_venue(self.mesh.account))
            return condition()

        await until(look, PATIENCE_S)

    def end(self) -> None:
        self.process.kill()
        self.process.join(10)


async def trade(mesh, venue, lives: Lives) -> None:
    """Every transition there is: fills in parts, an amendment, a cancel, a refusal, an intent that is too late, no answer."""

    def over(cid):
        return mesh.states(cid)[-1:] and mesh.states(cid)[-1] in FINAL

    def placed(cid):
        return cid in venue.orders or over(cid)

    venue.mood |= {"refused": "refused", "unsure": "timeout"}
    for cid in ORDERS:
        mesh.publish_intent(cid, ttl_s=-1 if cid == "late" else PATIENCE_S)
    await lives.until(
        lambda: all(placed(cid) for cid in ("filled", "cancelled", "unsure")) and over("refused") and over("late")
    )
    # Where a venue amends in place, that is asked for until it is done, or the order has died unsent
    for number in range(100 if venue.AMENDS else 0):
        order = venue.orders.get("filled")
        if over("filled") or (order is not None and order["lots"] == REDUCED and mesh.quantities("filled")[-1] == REDUCED):
            break
        mesh.publish_intent(f"amend-{number}", target="filled", lots=REDUCED, amend=True)
        again = time.monotonic() + 1.0
        await lives.until(
            lambda at=again: time.monotonic() > at or over("filled") or mesh.quantities("filled")[-1:] == [REDUCED]
        )
    for lots in (40_000_000, (REDUCED if venue.AMENDS else WHOLE) - 40_000_000):
        if "filled" in venue.orders:
            await venue.fill("filled", lots)
            venue.balances["BTC"] = (f"{venue.orders['filled']['filled'] / 1e8:.8f}", "0.00000000")
            await venue.emit_balances("BTC")
            await lives.until(lambda: len(mesh.fills("filled")) == len(venue.trades))
    if make_fundings := getattr(venue, "fund", None):
        await make_fundings("-0.50000000")
        await lives.until(lambda: not venue.trades or len(mesh.fundings()) == 1)
    for number in range(100):  # the executor's way: a cancel again, ever later, until the order is over
        if over("cancelled") and over("unsure"):
            break
        for cid in ("cancelled", "unsure"):
            mesh.publish_intent(f"cancel-{number}-{cid}", target=cid)
        again = time.monotonic() + 1.0
        await lives.until(lambda at=again: time.monotonic() > at or (over("cancelled") and over("unsure")))
    await lives.until(lambda: all(over(cid) for cid in ORDERS))
    await lives.until(lambda: lives.deaths == 1)


EVERYWHERE = [
    *(pytest.param(Venue, point, id=point) for point in dying_session.POINTS),
    *(pytest.param(FuturesVenue, point, id=f"futures {point}") for point in dying_session.POINTS_OF_FUTURES),
]


@pytest.mark.parametrize(("make", "point"), EVERYWHERE)
def test_nothing_is_doubled_and_nothing_lost_when_it_dies(tmp_path, make, point):
    async def play(mesh, venue):
        (tmp_path / "mesh.toml").write_text(QUICK.replace("[session]", known_at(make.NAME) + "[session]"))
        lives = Lives(mesh, point)
        try:
            await asyncio.wait_for(trade(mesh, venue, lives), 3 * PATIENCE_S)
        finally:
            lives.end()
        placed = [cid for what, cid in venue.received if what == "place"]
        assert len(set(placed)) == len(placed) and "late" not in placed, "no order is sent twice, or too late"
        for cid in ORDERS:
            states = mesh.states(cid)
            assert states[-1] in FINAL and not set(states[:-1]) & set(FINAL)
            if cid in venue.orders:
                assert states[-1] == WORDS[venue.orders[cid]["status"]]
                assert mesh.quantities(cid)[-1] == venue.orders[cid]["lots"], "as the venue has it"
            else:
                assert states[-1] in ("Rejected", "Expired"), "it never reached the venue"
        logged = [trade_id for cid in ORDERS for trade_id in mesh.fills(cid)]
        assert sorted(logged) == [trade["id"] for trade in venue.trades]
        assert mesh.fundings() == ([-50_000_000] if venue.trades and make is FuturesVenue else [])
        held = venue.balances.get("BTC", ("0", "0"))[0]
        assert mesh.balances().get("BTC", (0, 0, 0))[0] == round(float(held) * 1e8)
        alerts = [event.map()["what"] for event in LogReader(mesh.config.log_dir).events() if event.kind == Kind.alert]
        assert "impossible_transition" not in alerts

    scenario(tmp_path, play, started=False, make=make)
