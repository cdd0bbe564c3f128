"""run/logs as entries: in both forms, backwards and forwards, through the rotation that supervisord does."""

import logging
import random
from pathlib import Path

import pytest
from supervisor.loggers import LevelsByName, LogRecord, RotatingFileHandler

from tickmesh.bus.operator_log import LineFormatter
from tickmesh.tools.operator_logs.entries import entries_of, parse
from tickmesh.tools.operator_logs.files import WholeLog, logs_of
from tickmesh.tools.operator_logs.following import FollowedLog

AT = "2026-01-31T12:00:00.{:03d}Z"


def line(number: int) -> str:
    return f"{AT.format(number % 1000)} info feed-1: number {number}"


class Supervisord:
    """Writes a process's log as supervisord does: with its own handler, in pieces that do not end where lines do."""

    def __init__(self, path: Path, bytes_max: int = 2000, backups: int = 3):
        self.handler = RotatingFileHandler(str(path), maxBytes=bytes_max, backupCount=backups)
        self.handler.fmt = "%(message)s"

    def write(self, text: str) -> None:
        self.handler.emit(LogRecord(LevelsByName.INFO, text))


@pytest.mark.parametrize("form", ["human", "json"])
def test_what_the_formatter_writes_is_read_back(form):
    record = logging.LogRecord("feed-1", logging.WARNING, "", 0, "slow: %s", ("é: 3 ms",), None)
    record.created, record.fields = 1_770_000_000.25, {"what": "slow"}
    (entry,) = entries_of([LineFormatter(["feed-1"], form).format(record)], "feed-1")
    assert (entry.time_ns, entry.level, entry.node, entry.message) == (
        1_770_000_000_250_000_000,
        "warning",
        "feed-1",
        "slow: é: 3 ms",
    )
    assert entry.fields == ({"what": "slow"} if form == "json" else {})
    assert entry.is_at_least("warning") and not entry.is_at_least("error")


def test_a_traceback_belongs_to_the_line_above_it_and_supervisords_own_lines_have_a_level(monkeypatch):
    head = f"{AT.format(1)} critical model-x: ends because of a fault in it"
    entries = list(entries_of(["Traceback", head, "  File …", "ValueError: 3", line(2)], "sequencer"))
    assert [(one.node, one.message.count("\n")) for one in entries] == [("sequencer", 0), ("model-x", 2), ("feed-1", 0)]
    (later,) = entries_of(["  and more of it"], "sequencer", before=entries[1])
    assert (later.time_ns, later.level, later.node) == (entries[1].time_ns, "critical", "model-x")
    own = parse("2026-01-31 12:00:00,123 WARN exited: feed-1", "supervisord")
    assert own is not None and (own.level, own.message, own.time_ns % 10**9) == ("warning", "exited: feed-1", 123_000_000)


def test_a_log_in_several_files_is_read_as_one_from_both_ends(tmp_path):
    """Lines are cut where a file was full; the last one has no end yet."""
    path = tmp_path / "logs" / "feed-1.log"
    path.parent.mkdir()
    writer, random_ = Supervisord(path, 30_000, 9), random.Random(1)
    text = "".join(f"{line(n)}{' long' * random_.randrange(400)}\n" for n in range(200)) + line(999)
    place = 0
    while place < len(text):
        size = random_.randrange(1, 4000)
        writer.write(text[place : place + size])
        place += size
    assert len(list(path.parent.iterdir())) > 4, "it was rotated"
    numbers = [f"number {n}" for n in range(200)]
    with WholeLog("feed-1", logs_of(tmp_path)["feed-1"]) as log:
        found = [entry.message.partition(" long")[0] for entry, _ in log.newest_first()]
        assert found == numbers[::-1]
        assert [one.message.partition(" long")[0] for one in log.since(1_769_860_800_000_000_000 + 150 * 10**6)] == numbers[
            150:
        ]


def test_following_misses_nothing_and_gives_nothing_twice_through_rotation(tmp_path):
    """However the reader's looks fall between the writer's: up to two rotations of four between two looks."""
    path, random_ = tmp_path / "feed-1.log", random.Random(2)
    writer = Supervisord(path)
    writer.write(f"{line(0)}\n{line(1)[:20]}")
    with WholeLog("feed-1", path) as whole:
        assert [entry.message for entry, _ in whole.newest_first()] == ["number 0"]
        followed = FollowedLog("feed-1", path, whole)
    writer.write(line(1)[20:] + "\n")
    seen, number, rotations = [], 2, 0
    while number < 3000:
        for _ in range(random_.randrange(80)):
            writer.write(f"{line(number)}\n")
            number += 1
        rotations += path.stat().st_size < 100
        seen += followed.read()
    assert [one.message for one in seen] == [f"number {n}" for n in range(1, number)]
    assert followed.lost == 0


def test_what_was_rotated_away_unread_is_counted_and_a_file_that_was_emptied_goes_on(tmp_path):
    path = tmp_path / "feed-1.log"
    writer = Supervisord(path)
    followed = FollowedLog("feed-1", path)
    assert followed.read() == []
    for number in range(400):  # five files of 40 lines and more: more than are kept
        writer.write(f"{line(number)}\n")
        if not number:
            assert len(followed.read()) == 1
    found = [one.message for one in followed.read()]
    assert followed.lost == 1
    assert found[-1] == "number 399" and 100 < len(found) < 200
    path.write_bytes(b"")
    followed.read()
    path.write_text(f"{line(7)}\n")
    assert [one.message for one in followed.read()] == ["number 7"]
    followed.close()
