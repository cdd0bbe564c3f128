"""Workers: a part whose process dies is tried once more, one that takes too long is ended, and each costs itself alone."""

import os
import signal

import msgspec
import pytest

from tickmesh.research.sweep import processes
from tickmesh.research.sweep.child import TookTooLong, WorkerDied, WorkerProcess
from tickmesh.research.sweep.measuring import compute
from tickmesh.research.sweep.parts import DataMark, KernelQuestion, PartAnswer, SweepPart
from tickmesh.research.sweep.processes import ProcessBackend

MARK = DataMark(0, 0, "", 0, 0)


def part(key: str) -> SweepPart:
    return SweepPart(
        key=key, work="backtest", place="", parameters={}, strategies=(), instrument="", start_ns=0, end_ns=1, interval_ns=1,
        engine="", kernels={}, data=MARK,
    )  # fmt: skip


class StubChild:
    """A worker without a process: it dies of parts called dies…, as often as their number, and never answers hangs."""

    made: list["StubChild"] = []

    def __init__(self):
        self._in, self._out = os.pipe()
        self.key, self.closed = "", False
        StubChild.made.append(self)

    def fileno(self) -> int:
        return self._in

    def ask(self, question: SweepPart) -> None:
        self.key = question.key
        if self.key != "hangs":
            os.write(self._out, b"x")

    def answer(self) -> PartAnswer:
        os.read(self._in, 1)
        if self.key.startswith("dies"):
            deaths[self.key] = deaths.get(self.key, 0) + 1
            if deaths[self.key] <= int(self.key[4:]):
                self.close()
                raise WorkerDied("the worker's process ended by SIGKILL")
        return PartAnswer(key=self.key)

    def too_late(self, limit_s: float) -> TookTooLong:
        self.close()
        return TookTooLong(f"it took longer than {limit_s:g} s")

    def close(self) -> None:
        if not self.closed:
            os.close(self._in)
            os.close(self._out)
        self.closed = True


deaths: dict[str, int] = {}


@pytest.fixture(autouse=True)
def stubs(monkeypatch):
    StubChild.made.clear()
    deaths.clear()
    monkeypatch.setattr(processes, "WorkerProcess", StubChild)


def test_each_part_has_one_answer_whatever_becomes_of_its_process():
    backend = ProcessBackend(2, limit_s=0.2)
    keys = ["a", "dies1", "hangs", "b", "dies2", "c"]
    answers = {one.key: answer for one, answer in backend.run(map(part, keys))}
    assert sorted(answers) == sorted(keys)
    assert [key for key in keys if answers[key].error] == ["hangs", "dies2"]
    assert answers["dies2"].error == "the worker's process ended by SIGKILL, 2 times"
    assert answers["hangs"].error == "it took longer than 0.2 s"
    assert all(child.closed for child in StubChild.made) and not backend.at_work


def test_parts_are_begun_as_workers_are_free_and_all_processes_end_with_the_one_who_asks():
    taken = []

    def many():
        for number in range(1000):
            taken.append(number)
            yield part(f"{number}")

    backend = ProcessBackend(3)
    answers = backend.run(many())
    next(answers)
    assert len(taken) <= 4, "the rest is not even laid out"
    answers.close()
    assert len(StubChild.made) == 3 and all(child.closed for child in StubChild.made)


def test_a_process_that_is_killed_says_by_what():
    child = WorkerProcess()
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(WorkerDied, match="ended by SIGKILL, as the system does where memory ends"):
        child.ask(KernelQuestion(place="", kernels=()))
        child.answer()


def test_what_is_a_sentence_already_is_a_part_s_error_as_it_is():
    answer = compute(msgspec.structs.replace(part("a"), work="bars", place="nowhere"))
    assert answer.error.startswith("nowhere is not there; allowed is a mesh's folder") and answer.key == "a"
