"""The file run/kill-switch becomes a command when the executor's health says that it is not on yet."""

from tickmesh.nodes.sentinel.kill_file import AGAIN_NS, KillFile

T = 10**18


def test_it_is_due_while_the_file_is_there_and_the_executor_says_off():
    file = KillFile()
    assert not file.is_due(True, T + 1), "no executor: nobody knows whether it is on"
    file.read_health({"kill_switch": {"on": False}})
    assert not file.is_due(False, T + 2)
    assert file.is_due(True, T) and not file.is_due(True, T + 4), "once, and again when nobody has heard it"
    assert file.is_due(True, T + AGAIN_NS)
    file.read_health({"kill_switch": {"on": True}})
    assert not file.is_due(True, T + 9 * AGAIN_NS)
    file.read_health({"kill_switch": {"on": False}})
    assert file.is_due(True, T + 10 * AGAIN_NS), "lifted by a command, with the file still there"


def test_a_health_event_of_another_version_says_nothing():
    file = KillFile()
    file.read_health({"positions": {}})
    assert not file.is_due(True, T)
