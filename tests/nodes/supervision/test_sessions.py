"""Which sessions supervisord takes for hosted, and for how long it waits for them before it stops anything."""

import os
from types import SimpleNamespace

import pytest

from tickmesh.bus.file_lock import FileLock
from tickmesh.nodes.supervision import sessions


@pytest.fixture
def sent(monkeypatch):
    told = []
    monkeypatch.setattr(os, "kill", lambda *words: told.append(words))
    return told


def supervisord(folder, **pids):
    processes = {name.replace("_", "-", 1): SimpleNamespace(pid=pid) for name, pid in pids.items()}
    options = SimpleNamespace(pidfile=str(folder / "supervisord.pid"))
    return SimpleNamespace(options=options, process_groups={"all": SimpleNamespace(processes=processes)})


def test_the_host_of_a_session_is_asked_once_and_waited_for_until_its_lock_is_free(tmp_path, sent):
    group = sessions.HostedSessions(supervisord(tmp_path, sequencer=41, session_binance_usdm=42))
    with FileLock.acquired(tmp_path / "session.lock"), FileLock.acquired(tmp_path / "session-binance_usdm.lock"):
        for _ in range(2):
            group.stop_all()
            assert group.get_unstopped_processes() == ["session"], "the other one has a process of its own"
    assert sent == [(41, sessions.END_TRADING)] and group.get_unstopped_processes() == []


def test_one_that_does_not_end_holds_up_the_stop_for_its_patience(tmp_path, sent, monkeypatch):
    monkeypatch.setattr(sessions, "PATIENCE_S", 0.0)
    group = sessions.HostedSessions(supervisord(tmp_path, sequencer=41))
    with FileLock.acquired(tmp_path / "session.lock"):
        group.stop_all()
        assert group.get_unstopped_processes() == []


def test_nobody_is_asked_where_no_session_is_hosted_or_the_host_is_dead(tmp_path, sent):
    (tmp_path / "session.lock").touch()  # of a session that was there once
    for pids in ({"sequencer": 41}, {"sequencer": 0}):
        group = sessions.HostedSessions(supervisord(tmp_path, **pids))
        group.stop_all()
        assert group.get_unstopped_processes() == []
    with FileLock.acquired(tmp_path / "session.lock"):
        group.stop_all()
        assert group.get_unstopped_processes() == [] and sent == []
