"""A session dies by SIGKILL around what only bad days bring: orders over REST, adoption, its own stop, an emergency cancel.

One mesh, one venue, one life after another: each dies at a place of its own, and what it left is the next one's.
"""

import asyncio
import os
import signal

from tests.support import dying_session
from tests.support.dying_session import FINAL, PATIENCE_S, QUICK, WORDS
from tests.support.places import KNOWN
from tests.support.session_scene import scenario
from tests.support.waiting import until
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind

UNSENT = ("before send order.place", "after send order.place")  # over REST a request is sent by a task of its own
SENT = ("before REST answers", "after REST answers")
CANCELS = ("before send order.cancel", "after send order.cancel")
STRANGER = "t00c0ffee00c0ffed-9-0"  # an executor's, of a log that is lost


def name(number: int) -> str:
    return f"t00c0ffee00c0ffee-{number}-0"


class Lives:
    """The lives of a session of one mesh."""

    def __init__(self, mesh):
        self.mesh, self.process, self.points = mesh, None, []

    def begin(self, point="", cancels=False):
        """Starts a life."""
        self.points.append(point)
        self.process = dying_session.start(self.mesh.config.root, point, cancels=cancels)

    async def until(self, condition):
        """Waits for a condition of a life that goes on."""
        await until(lambda: condition() or self.has_ended() and self._wrong(), PATIENCE_S, self.points[-1])

    async def death(self):
        """Waits until the process has died at its place."""
        await until(self.has_ended, PATIENCE_S, self.points[-1])
        assert self.process.exitcode == -9, f"{self.points[-1]}: it ended with {self.process.exitcode}"

    def has_ended(self):
        return not self.process.is_alive()

    def _wrong(self):
        raise AssertionError(f"{self.points[-1]}: it ended with {self.process.exitcode}")


def stands_again(states: list[str], cancels: int) -> bool:
    """Whether an order was asked for after so many cancels that came to nothing: the next one is sent."""
    return states.count("PendingCancel") == cancels and states[-1] == "New"


async def over_rest(mesh, venue, lives) -> list[str]:
    """Without an order socket; gives the orders that cannot have reached the venue."""
    venue.down = True
    for point in ("before REST begins", "after REST begins"):
        lives.begin(point)
        await lives.death()
    for number, point in enumerate((*UNSENT, *SENT)):
        lives.begin(point)
        mesh.publish_intent(name(number), ttl_s=PATIENCE_S)
        await lives.death()
    stands = name(2)
    for number, point in enumerate(CANCELS):
        lives.begin(point)
        await lives.until(lambda number=number: stands_again(mesh.states(stands), number))
        mesh.publish_intent(f"cancel-{number}", target=stands)
        await lives.death()
        assert venue.orders[stands]["status"] == "NEW"
    for when in ("before", "after"):
        venue.down, told = True, len(mesh.alerts("order_socket"))
        lives.begin(f"{when} REST ends")
        await lives.until(lambda told=told: len(mesh.alerts("order_socket")) > told)
        venue.down = False
        await lives.death()
    return [name(0), name(1)]


async def adopts(venue, lives) -> None:
    """What only the venue knows of."""
    venue.place(STRANGER)
    for when in ("before", "after"):
        lives.begin(f"{when} an adoption")
        await lives.death()


async def stops(mesh, lives) -> None:
    """Asked to end, it dies while it cancels."""
    for number, when in enumerate(("before", "after"), 10):
        lives.begin(f"{when} a cancel at the stop")
        mesh.publish_intent(name(number), ttl_s=PATIENCE_S)
        await lives.until(lambda number=number: mesh.states(name(number))[-1:] == ["New"])
        os.kill(lives.process.pid, signal.SIGTERM)
        await lives.death()


async def cancels(venue, lives) -> None:
    """No session is there, and who cancels in its place dies as well; the next one ends what is left."""
    assert len([one for one in venue.orders.values() if one["status"] == "NEW"]) > 1
    for point in ("before an emergency cancel", "after an emergency cancel", ""):
        lives.begin(point, cancels=True)
        await (lives.death() if point else until(lives.has_ended, PATIENCE_S))
    assert not [one for one in venue.orders.values() if one["status"] == "NEW"]


def test_nothing_is_doubled_and_nothing_lost_on_a_bad_day(tmp_path):
    async def play(mesh, venue):
        patient = QUICK.replace("request_timeout_s = 0.4", "request_timeout_s = 8.0")  # every answer has to come
        (tmp_path / "mesh.toml").write_text(patient.replace("[session]", KNOWN + "[session]"))
        lives = Lives(mesh)
        try:
            unsent = await over_rest(mesh, venue, lives)
            await adopts(venue, lives)
            await stops(mesh, lives)
            await cancels(venue, lives)
            lives.begin()
            ours = [*unsent, *venue.orders]
            await lives.until(lambda: all(mesh.states(cid)[-1:] and mesh.states(cid)[-1] in FINAL for cid in ours))
        finally:
            lives.process.kill()
            lives.process.join(10)
        covered = {point.partition(" ")[2] for point in lives.points}
        assert covered >= dying_session.BESIDE.keys(), "every place"
        placed = [cid for what, cid in venue.received if what == "place"]
        assert sorted(placed) == sorted(name(number) for number in (2, 3, 10, 11)), "each once, and what was unsent never"
        for cid in ours:
            states = mesh.states(cid)
            assert not set(states[:-1]) & set(FINAL)
            assert states[-1] == (WORDS[venue.orders[cid]["status"]] if cid in venue.orders else "Rejected")
        alerts = [event.map()["what"] for event in LogReader(mesh.config.log_dir).events() if event.kind == Kind.alert]
        assert "impossible_transition" not in alerts

    scenario(tmp_path, lambda mesh, venue: asyncio.wait_for(play(mesh, venue), 4 * PATIENCE_S), started=False)
