"""Stopping, starting and restarting a process where supervisord does not do as it is asked."""

import pytest

from tickmesh.bus.config import load
from tickmesh.nodes.sentinel.supervisord import ProcessStates
from tickmesh.nodes.supervision import process_control
from tickmesh.nodes.supervision.process_control import ProcessUnchanged, change_process

RUNNING, STOPPED, STOPPING = ProcessStates.RUNNING, ProcessStates.STOPPED, ProcessStates.STOPPING
WORDS = {RUNNING: "RUNNING", STOPPED: "STOPPED", STOPPING: "STOPPING"}


class Supervisord:
    """Stands for it: one process, which goes through `states`, one a look, and may refuse to start."""

    def __init__(self, states: list[int], starts: bool):
        self.states, self.starts = states, starts
        self.asked: list[str] = []

    def processes(self):
        state = self.states[0] if len(self.states) == 1 else self.states.pop(0)
        return [{"name": "recorder", "state": state, "statename": WORDS[state]}]

    def start(self, name: str) -> bool:
        self.asked.append(f"start {name}")
        return self.starts

    def stop(self, name: str) -> bool:
        self.asked.append(f"stop {name}")
        return True

    def close(self) -> None:
        self.asked.append("close")


@pytest.fixture
def change(tmp_path, monkeypatch):
    """A function that changes the process of a stand-in; gives what was said, or why it was not done."""
    (tmp_path / "mesh.toml").write_text("")

    def change(do: str, states: list[int], starts: bool = True, name: str = "recorder") -> tuple[str, list[str]]:
        stand_in = Supervisord(states, starts)
        monkeypatch.setattr(process_control, "Supervisord", lambda *_: stand_in)
        try:
            return change_process(load(tmp_path), do, name), stand_in.asked
        except ProcessUnchanged as error:
            return f"not done: {error}", stand_in.asked

    return change


def test_a_restart_waits_for_the_end_and_starts_once(change):
    said, asked = change("restart", [RUNNING, RUNNING, STOPPING, STOPPING, STOPPED])
    assert said == "recorder was restarted"
    assert asked[-2:] == ["start recorder", "close"] and asked.count("start recorder") == 1 and "stop recorder" in asked


def test_a_restart_that_supervisord_refuses_is_said(change):
    said, asked = change("restart", [RUNNING, RUNNING, STOPPED], starts=False)
    assert said == "not done: recorder has ended, and did not start again: it is STOPPED" and asked[-1] == "close"


def test_a_process_that_does_not_end_is_not_started(change, monkeypatch):
    monkeypatch.setattr(process_control, "STOP_S", 0.0)
    said, asked = change("restart", [RUNNING, RUNNING, STOPPING])
    assert said.startswith("not done: recorder has not ended within 0 s") and "start recorder" not in asked


@pytest.mark.parametrize("do, states, words", [
    ("start", [RUNNING], "recorder is RUNNING; only what does not run can be started"),
    ("stop", [STOPPED], "recorder does not run: it is STOPPED"),
])  # fmt: skip
def test_what_is_so_already_is_not_done(change, do, states, words):
    assert change(do, states, starts=False)[0] == f"not done: {words}"


def test_an_unknown_name_names_those_that_are_there(change):
    assert change("restart", [RUNNING], name="nobody")[0].endswith("there are: recorder")
