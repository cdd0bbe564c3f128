"""What processes write for their operator: one formatter for nodes, libraries and faults, as lines for people or as JSON."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.places import PROJECT
from tickmesh.bus.config import ConfigError, load
from tickmesh.bus.operator_log import LineFormatter, LineLimit

FIELDS = {"time", "level", "node", "message"}

# A real process of the runner's that says much in a short life: alerts, a library's warning, Python's own, a fault in a
# thread and one that cannot be raised; then it dies of a bug.
NODE = """
import asyncio, logging, sys, threading, warnings
import tickmesh.bus.process as process, tickmesh.nodes.__main__ as runner
class Finalised:
    def __del__(self):
        raise OSError("in a finaliser")
whole = process.Context.ready
def boom():
    raise ZeroDivisionError("a bug of this test\\nin two lines")
def ready(self, **more):
    whole(self, **more)
    self.alert("critical", "trouble", "a \\"quoted\\" reason", "none")
    logging.getLogger("websockets.client").warning("odd frame %d", 7)
    logging.getLogger("websockets.client").info("nobody wants to know")
    warnings.warn("old ways")
    thread = threading.Thread(target=boom)
    thread.start()
    thread.join()
    Finalised()
    asyncio.get_running_loop().call_soon(boom)
process.Context.ready = ready
sys.exit(runner.main(sys.argv[1:]))
"""


@pytest.fixture
def mesh(tmp_path):
    yield tmp_path
    shutil.rmtree(load(tmp_path).outbox_dir, ignore_errors=True)


def run(root: Path, settings: str, *words: str, code: str = NODE) -> tuple[int, str]:
    (root / "mesh.toml").write_text(settings)
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=PROJECT, env={**os.environ, "TICKMESH_ROOT": str(root)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize("words", [("sequencer",), ("sequencer", "session")], ids=["alone", "hosting"])
def test_every_line_of_a_dying_process_is_json(mesh, words):
    code, text = run(mesh, '[log]\nformat = "json"', *words)
    assert code == 1
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(line.keys() >= FIELDS and line["time"].endswith("Z") for line in lines)
    by_message = {line["message"]: line for line in lines}
    alert = by_message['trouble: a "quoted" reason; none']
    assert {key: alert[key] for key in ("node", "level", "what", "why", "action", "target")} == {
        "node": "sequencer", "level": "critical", "what": "trouble", "why": 'a "quoted" reason', "action": "none",
        "target": "sequencer",
    }  # fmt: skip
    odd = by_message["odd frame 7"]
    assert (odd["node"], odd["logger"], odd["level"]) == ("sequencer", "websockets.client", "warning")
    assert "nobody wants to know" not in by_message
    assert any("old ways" in message for message in by_message)
    assert any("OSError: in a finaliser" in line.get("traceback", "") for line in lines)
    last = lines[-1]
    assert last["message"] == "ends because of a fault in it" and last["level"] == "critical"
    assert last["traceback"].endswith("ZeroDivisionError: a bug of this test\nin two lines")


def test_people_get_lines_and_tracebacks(mesh):
    code, text = run(mesh, "", "sequencer")
    assert code == 1 and 'critical sequencer: trouble: a "quoted" reason; none\n' in text
    assert "warning sequencer: websockets.client: odd frame 7\n" in text
    assert text.rstrip().endswith("ZeroDivisionError: a bug of this test\nin two lines")


def test_levels_go_by_node_and_by_library(mesh):
    settings = '[log]\nlevel = "error"\nlevels = { "websockets.client" = "info" }'
    _, text = run(mesh, settings, "sequencer")
    assert "nobody wants to know" in text and "trouble" in text
    _, text = run(mesh, '[log]\nlevels = { "model-nobody" = "warning" }', "model", "nobody")
    assert text == ""
    _, text = run(mesh, '[log]\nformat = "json"', "model", "nobody")
    assert json.loads(text)["message"] == "nothing to do here: mesh.toml has no model 'nobody'"


def test_a_whole_life_in_json(mesh):
    """A process that is stopped, and one that cannot begin because the other one writes the log."""
    (mesh / "mesh.toml").write_text('[log]\nformat = "json"')
    environment = {**os.environ, "TICKMESH_ROOT": str(mesh)}
    command = [sys.executable, "-m", "tickmesh.nodes"]
    first = subprocess.Popen([*command, "sequencer"], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (mesh / "run/ready/sequencer.json").exists():
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        second = subprocess.run([*command, "sequencer"], env=environment, capture_output=True, text=True, timeout=60)
        first.send_signal(signal.SIGTERM)
        _, said = first.communicate(timeout=60)
    finally:
        first.kill()
        first.wait()
    told = [json.loads(line)["message"] for line in said.splitlines()]
    words = (
        "begins: tickmesh",
        "is ready: log_id",
        "has taken what was in the outboxes",
        "ends, since it was sent SIGTERM",
        "has ended, in order",
    )
    assert len(told) == 5 and all(line.startswith(word) for line, word in zip(told, words)), told
    _, refusal = [json.loads(line) for line in (second.stdout + second.stderr).splitlines()]
    assert second.returncode == 1 and refusal["level"] == "critical" and "another process" in refusal["message"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ('format = "xml"', "log.format = 'xml' is impossible; allowed: 'human' or 'json'"),
        ('level = "loud"', "log.level = 'loud' is impossible; allowed: 'critical' or 'debug'"),
        ('levels = { "feed-1" = 3 }', "log.levels.feed-1 = 3 is impossible; allowed: 'critical' or 'debug'"),
        ('levels = "debug"', "log.levels = 'debug' is impossible; allowed: a table"),
    ],
)
def test_what_is_impossible_in_the_settings_is_a_sentence(tmp_path, settings, sentence):
    (tmp_path / "mesh.toml").write_text(f"[log]\n{settings}")
    with pytest.raises(ConfigError) as raised:
        load(tmp_path)
    assert sentence in str(raised.value)


def test_a_hosted_node_writes_under_its_own_name():
    formatter = LineFormatter(["sequencer", "executor"], "human")
    record = logging.makeLogRecord({"name": "executor", "levelname": "INFO", "msg": "it works", "created": 0.0})
    assert formatter.format(record) == "1970-01-01T00:00:00.000Z info executor: it works"


def test_a_flood_is_bounded_and_counted():
    logger, limit = logging.getLogger("flood"), LineLimit(most=3)

    def passes(level: int) -> bool:
        return limit.filter(logger.makeRecord("flood", level, "", 0, "line", (), None))

    assert [passes(logging.INFO) for _ in range(5)] == [True] * 3 + [False] * 2
    assert passes(logging.CRITICAL), "what ends a process is always written"
    limit._counts["flood"][0] -= 60
    record = logger.makeRecord("flood", logging.INFO, "", 0, "line", (), None)
    assert limit.filter(record) and record.getMessage() == "line (before it, 2 lines of a minute were left out)"


def test_a_process_does_not_wait_for_whoever_does_not_read_its_log(tmp_path):
    """As below a supervisord that hangs: a pipe that nobody reads takes 64 KiB, and then nothing."""
    code = """
import sys
from tickmesh.bus import operator_log
operator_log.set_up(["n"])
for number in range(3000):
    operator_log.log_line("n", "critical", f"{number} " + "x" * 100)
print("went on", flush=True)
sys.stdin.readline()
operator_log.log_line("n", "critical", "the last one")
"""
    environment = {**os.environ, "SUPERVISOR_ENABLED": "1"}
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, env=environment, **pipes) as process:
        assert process.stdout.readline() == "went on\n", "with 300 kB written to a pipe that nobody reads"
        lines = [process.stderr.readline() for _ in range(100)]
        process.stdin.close()
        lines += process.stderr.read().splitlines()
    lost = sum(int(line.split()[0][1:]) for line in lines if "lines before this one were lost" in line)
    assert lines[-1].rstrip().endswith("the last one") and lost and lost + sum("xxx" in line for line in lines) == 3000
