"""Every task and every callback has an owner: a fault in one ends its process, with the fault as its last word."""

import ast
import asyncio
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.exchange_clients import served
from tests.support.places import PROJECT
from tests.support.waiting import until
from tickmesh.bus.config import load
from tickmesh.bus.layout import HEADER_SIZE
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.process import Context
from tickmesh.bus.segments import LogError
from tickmesh.nodes.feed import node as feed
from tickmesh.nodes.feed.line import Line
from tickmesh.nodes.feed.pacing import PacedSender

# A real process of the runner's, with one thing broken in it before it starts.
NODE = """
import sys
from pathlib import Path
import tickmesh.bus.config as config, tickmesh.bus.process as process, tickmesh.nodes.__main__ as runner
from tickmesh.nodes.sequencer import node as sequencer
root = Path(sys.argv[1])
runner.load = lambda: config.load(root)
def boom(*_):
    raise ZeroDivisionError("a bug of this test")
{broken}
sys.exit(runner.main(sys.argv[2:]))
"""
HEARTBEAT = "process.Context.health = boom; sequencer.SequencerContext.health = boom"
CALLBACK = """
import asyncio
whole = process.Context.ready
def ready(self, sources="", **more):
    whole(self, **more)
    asyncio.get_running_loop().call_later(0.05, boom)
process.Context.ready = ready
"""
EAGER = "process.HEALTH_S = 0.0005"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "mesh.toml").write_text("")
    yield tmp_path
    shutil.rmtree(load(tmp_path).outbox_dir, ignore_errors=True)


def node(root: Path, broken: str, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", NODE.format(broken=broken), str(root), *words], cwd=PROJECT, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("words", [("sequencer",), ("sequencer", "executor")], ids=["alone", "hosting"])
@pytest.mark.parametrize("broken", [HEARTBEAT, CALLBACK], ids=["heartbeat", "timer"])
def test_a_fault_beside_the_node_ends_its_process_loudly(root, broken, words):
    process = node(root, broken, *words)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1
    assert err.rstrip().endswith("ZeroDivisionError: a bug of this test"), err
    LogWriter(load(root).log_dir).close()  # and it has let go of its log


def test_a_host_ends_without_an_append_to_a_closed_log(root):
    """Guests that have a word to say at every moment: their heartbeats are a hundred times too quick."""
    process = node(root, EAGER, "sequencer", "executor", "session")
    try:
        ready = [root / f"run/ready/{name}.json" for name in ("sequencer", "executor")]
        deadline = time.monotonic() + 60
        while not all(path.exists() for path in ready):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0 and all(" info " in line for line in err.splitlines()), err


def test_a_fault_in_what_is_said_on_a_connection_ends_the_feed(root, monkeypatch):
    async def scene():
        config = load(root, {"exchange": {"lines": 0}})
        async with served(config):
            ctx = Context(config, "feed-1", "1")
            running = asyncio.create_task(feed.run(ctx))
            await until(lambda: ctx.counters.get("connections") or running.done())
            assert not running.done() and ctx.failure is None

            async def boom(self):
                raise ZeroDivisionError("a bug of this test")

            monkeypatch.setattr(PacedSender, "_run", boom)
            line_of(running).connections[0].websocket.abort("the next connection sends with the bug")
            await asyncio.wait_for(asyncio.gather(running, return_exceptions=True), 20)
            await ctx.close()
            assert isinstance(ctx.failure, ZeroDivisionError)

    asyncio.run(scene())


def line_of(running: asyncio.Task) -> Line:
    return running.get_coro().cr_frame.f_locals["line"]


def test_a_task_that_ends_well_or_is_cancelled_is_no_fault(root):
    async def scene():
        ctx = Context(load(root), "x")
        done = ctx.own(asyncio.sleep(0))
        endless = ctx.own(asyncio.sleep(1000))
        await done
        endless.cancel()
        await asyncio.wait((endless,))
        assert ctx.failure is None and not ctx.stop.is_set() and not ctx._tasks

    asyncio.run(scene())


def test_a_sync_thread_that_dies_of_a_bug_is_heard_of(tmp_path, monkeypatch):
    writer = LogWriter(tmp_path, sync_ms=1)

    def boom() -> None:
        raise ZeroDivisionError("a bug of this test")

    monkeypatch.setattr(writer, "_sync_now", boom)
    with pytest.raises(LogError, match="a bug of this test; nothing more is accepted"):
        for _ in range(1000):
            writer.append(writer.last + 1, [b"\0" * HEADER_SIZE])
            time.sleep(0.01)
    writer._let_go()


def test_a_task_is_owned_by_its_context_or_ended_by_the_function_that_made_it():
    """Else a fault in it is heard of by nobody, or late. A group's tasks are the group's."""
    makers = ("asyncio.create_task", "asyncio.ensure_future", "loop.create_task")
    found = 0
    for path in sorted([*(PROJECT / "bus").rglob("*.py"), *(PROJECT / "nodes").rglob("*.py")]):
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or function.name == "own":
                continue
            made = [node for node in ast.walk(function) if isinstance(node, ast.Call) and ast.unparse(node.func) in makers]
            named = {
                ast.unparse(node.targets[0])
                for node in ast.walk(function)
                if isinstance(node, ast.Assign) and node.value in made
            }
            ended = {ast.unparse(last) for node in ast.walk(function) if isinstance(node, ast.Try) for last in node.finalbody}
            assert len(named) == len(made), f"{path}: {function.name}"
            assert {f"{name}.cancel()" for name in named} <= ended, f"{path}: {function.name}"
            found += len(made)
    assert found
