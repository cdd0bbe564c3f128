"""What trading needs and is lost: paused at once, latched after a set time, and never for a pause of the sentinel itself."""

import pytest

from tickmesh.nodes.sentinel.latch import Latch
from tickmesh.nodes.sentinel.vitals import SECOND

T = 10**18


class Scene:
    """A mesh whose parts a test silences; `pass_s` looks twice a second, and gives the reasons to latch."""

    def __init__(self, latch_s: float = 30.0, pause_s: float = 5.0):
        self.latch = Latch(latch_s, pause_s, ("executor", "session"))
        self.now = self.log_ns = T
        self.signs = {"executor": T, "session": T}
        self.silent: set[str] = set()
        self.stopped: set[str] = set()
        self.reasons: list[str] = []

    def pass_s(self, seconds: float) -> list[str]:
        before = len(self.reasons)
        for _ in range(int(2 * seconds)):
            self.now += SECOND // 2
            if "sequencer" not in self.silent:
                self.log_ns = self.now
                self.signs |= {name: self.now for name in self.signs if name not in self.silent}
            if why := self.latch.look(self.now, self.log_ns, self.signs, self.log_ns, self.stopped):
                self.reasons.append(why)
        return self.reasons[before:]


@pytest.mark.parametrize("lost, said", [
    ({"sequencer"}, "nothing has come into the log for 30 s; risk.lost_latch_s allows 30"),
    ({"executor"}, "executor has not been heard of for 30 s"),
    ({"session"}, "session has not been heard of for 30 s"),
    ({"executor", "session"}, "executor has not been heard of for 30 s"),
    ({"sequencer", "executor"}, "nothing has come into the log for 30 s"),
])  # fmt: skip
def test_a_loss_pauses_and_latches_only_after_the_set_time(lost, said):
    scene = Scene()
    assert scene.pass_s(10) == [] and not scene.latch.lost
    scene.silent = lost
    assert scene.pass_s(4) == [] and not scene.latch.lost, "a second or two is no loss"
    assert scene.pass_s(25) == [] and set(scene.latch.lost) == ({"sequencer"} if "sequencer" in lost else lost)
    assert scene.pass_s(2)[0].startswith(said)


def test_what_comes_back_in_time_is_forgotten():
    scene = Scene()
    scene.pass_s(5)
    for lost in ({"sequencer"}, {"executor"}, {"session"}) * 3:
        scene.silent = lost
        scene.pass_s(25)
        scene.silent = set()
        scene.pass_s(2)
    assert scene.reasons == [] and not scene.latch.lost


def test_never_is_a_choice_and_so_is_what_an_operator_stops():
    never = Scene(latch_s=0.0)
    never.pass_s(1)
    never.silent = {"executor"}
    assert never.pass_s(300) == [] and never.latch.lost["executor"] > 290
    stopped = Scene()
    stopped.pass_s(1)
    stopped.silent = stopped.stopped = {"executor"}
    assert stopped.pass_s(300) == []


def test_a_sentinel_that_was_stopped_itself_waits_anew():
    scene = Scene()
    scene.pass_s(5)
    scene.silent = {"sequencer"}
    scene.pass_s(20)
    scene.now += 3600 * SECOND
    assert scene.pass_s(25) == [] and scene.pass_s(10)


def test_what_was_never_heard_of_is_not_lost():
    scene = Scene()
    scene.silent, scene.signs = {"sequencer"}, {}
    assert scene.pass_s(120) == [], "a mesh that starts slowly"
    scene.silent = set()
    assert scene.pass_s(60) == [], "one without an executor"
