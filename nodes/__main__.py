"""The one runner: `python -m tickmesh.nodes feed 1`, `python -m tickmesh.nodes sequencer model executor session`.

It reads mesh.toml, gives the node its Context, ends it on SIGTERM or SIGINT, and turns faults into sentences.
"""

import asyncio
import importlib
import os
import signal
import sys
import time
from collections.abc import Coroutine
from functools import partial
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, cast

from tickmesh.bus import operator_log
from tickmesh.bus.blocked import BlockedFile
from tickmesh.bus.config import Config, ConfigError, load
from tickmesh.bus.exits import STOPPED_EXIT
from tickmesh.bus.names import STEPS
from tickmesh.bus.process import Context, NodeFault, Stopped, die_with_parent
from tickmesh.bus.segments import LogError, LogFull
from tickmesh.bus.sockets import OutboxFull
from tickmesh.nodes.process_table import HOSTABLE, NODES, guests_of, idle_because, name_of, outboxes_of
from tickmesh.nodes.runner.placing import place
from tickmesh.nodes.supervision.sessions import END_TRADING

if TYPE_CHECKING:
    from tickmesh.nodes.runner.rehearsal import Rehearsal
    from tickmesh.nodes.runner.step import StepModule, UrgentStep

SWITCH_S = 0.0002  # a guest's thread (a sync, a checkpoint) lets the loop go on after so long, not after 5 ms: an order waits
USAGE = """\
usage: python -m tickmesh.nodes NODE [INSTANCE] [NODE [INSTANCE] …]

Runs one node of the mesh in this process; `sequencer` can host feeds, models, executor and session beside itself.

  python -m tickmesh.nodes exchange            the local venue
  python -m tickmesh.nodes feed kraken-1       line 1 of a venue's market data
  python -m tickmesh.nodes feed 1              line 1 of feed.venue's, named feed-1
  python -m tickmesh.nodes model imbalance     the model of that name in mesh.toml
  python -m tickmesh.nodes sequencer model executor session
  python -m tickmesh.nodes sequencer feed binance-1 model imbalance executor session

nodes: {nodes}
`python -m tickmesh.nodes NODE --help` tells what one does. Which a mesh has follows from mesh.toml: mesh up.
"""


class UsageError(ValueError):
    """A command line that names no node."""


def parse(words: list[str]) -> list[tuple[str, str]]:
    """[(node, instance)], in order; a word that is no node's name is the instance of the one before it."""
    out: list[tuple[str, str]] = []
    for word in words:
        if word in NODES:
            out.append((word, ""))
        elif out and not out[-1][1]:
            out[-1] = (out[-1][0], word)
        else:
            raise UsageError(f"{word!r} is no node; there are {', '.join(NODES)}")
    if not out:
        raise UsageError("which node?")
    if len(out) > 1 and (out[0][0] != "sequencer" or any(node not in HOSTABLE for node, _ in out[1:])):
        raise UsageError(f"only `sequencer` hosts others, and only {', '.join(HOSTABLE)}")
    return out


class NodeModule(Protocol):
    """nodes/NAME/node.py of a source or a sink."""

    def run(self, ctx: Context) -> Coroutine[Any, Any, None]:
        """Does the node's work until the context is stopped."""


def module_of(node: str) -> ModuleType:
    return importlib.import_module(f"tickmesh.nodes.{node}.node")


def node_module(node: str) -> NodeModule:
    """The module of a node that is no step."""
    return cast(NodeModule, module_of(node))


def step_module(node: str) -> "StepModule":
    """The module of a step; imported when it is asked for, since it may be heavy."""
    if node == "model":
        from tickmesh.nodes.model import node as model

        return model
    from tickmesh.nodes.executor import node as executor

    return executor


async def run_alone(config: Config, node: str, instance: str) -> None:
    ctx = Context(config, name_of(node, instance), instance)
    _stop_on_signal(ctx)
    ctx.guard(asyncio.get_running_loop())
    try:
        if node in STEPS:
            from tickmesh.nodes.runner.alone import run_step

            await run_step(ctx, step_module(node))
        else:
            await node_module(node).run(ctx)
    finally:
        await ctx.close()
        if ctx.failure is not None:
            raise ctx.failure


def build_rehearsal(config: Config, named: list[tuple[str, str]]) -> "Rehearsal":
    """A rehearsal of the models, the executor and the sessions among `named`."""
    from tickmesh.bus.instruments import DecidedInstruments
    from tickmesh.nodes.orders.accounts import venue_of_session
    from tickmesh.nodes.runner.rehearsal import Rehearsal
    from tickmesh.nodes.session.paper_sender import PaperSender
    from tickmesh.nodes.venues.table import dialect_of

    models = {
        name_of(node, instance): (step_module(node).Step(config, instance), config.subjects(config.model(instance).instruments))
        for node, instance in named if node == "model"
    }  # fmt: skip
    executor = cast("UrgentStep", step_module("executor").Step(config, ""))
    instruments = DecidedInstruments(config)
    venues = [venue_of_session(instance) for node, instance in named if node == "session"]
    senders = [PaperSender(venue, dialect_of(venue).orders, instruments, config.session) for venue in venues]
    return Rehearsal(models, executor, senders, instruments)


async def run_hosting(config: Config, named: list[tuple[str, str]]) -> None:
    """The sequencer, and its guests once it works: so that it is ready as soon as without them."""
    from tickmesh.nodes.runner.hosted_steps import host_step
    from tickmesh.nodes.runner.hosting import Guest, HostedContext, HostedNodes
    from tickmesh.nodes.sequencer import node as sequencer

    ctx = sequencer.SequencerContext(config, "sequencer")
    _stop_on_signal(ctx)
    ctx.guard(asyncio.get_running_loop())

    def begin(node: str, ctx: HostedContext) -> Coroutine[Any, Any, None]:
        return host_step(ctx, step_module(node)) if node in STEPS else node_module(node).run(ctx)

    guests = [
        Guest(
            name_of(node, instance),
            instance,
            partial(begin, node),
            outboxes_of(config, node, instance),
            arbitrated=node == "feed",
            trades=node in ("executor", "session"),
        )  # fmt: skip
        for node, instance in named
    ]
    if config.hosting.warm_ms and ("executor", "") in named:
        from tickmesh.nodes.runner.rehearsal import rehearse

        every_s, make = config.hosting.warm_ms / 1000, partial(build_rehearsal, config, named)
        guests.append(Guest("rehearsal", "", lambda ctx: rehearse(ctx, make, every_s), ()))
    hosted = HostedNodes(ctx, guests) if guests else None
    asyncio.get_running_loop().add_signal_handler(END_TRADING, hosted.end_trading if hosted is not None else lambda: None)
    if guests:
        sys.setswitchinterval(SWITCH_S)
    try:
        await sequencer.run(ctx, hosted)
    finally:
        if hosted is not None:
            hosted.cancel()
            await hosted.end()
        await ctx.close()
        if ctx.failure is not None:
            raise ctx.failure


def _stop_on_signal(ctx: Context) -> None:
    def stop(number: signal.Signals) -> None:
        if not ctx.stop.is_set():
            operator_log.log_line(ctx.name, "info", f"ends, since it was sent {number.name}")
        ctx.stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)


def _beginning(config: Config, guests: list[str]) -> str:
    """What a process writes first: which version it is of, for what."""
    hosting = f", hosts {', '.join(guests)}" if guests else ""
    return f"begins: tickmesh {version('tickmesh')}, pid {os.getpid()}, mode {config.mode}, source {config.source}{hosting}"


def help_of(node: str) -> str:
    module = module_of(node)
    reads = ", ".join(k.name for k in getattr(module, "READS", ())) or "nothing"
    writes = ", ".join(k.name for k in getattr(module, "WRITES", ())) or "nothing"
    return f"{node}: {module.__doc__}\nreads {reads}; writes {writes}\n{getattr(module, 'HELP', '')}"


def main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(USAGE.format(nodes=", ".join(NODES)))
        return 0 if words else 2
    name = words[0]
    try:
        if words[-1] in ("-h", "--help"):
            print(help_of(parse(words[:-1])[0][0]))
            return 0
        named = parse(words)
        node, instance = named[0]
        name = name_of(node, instance)
        operator_log.set_up([name])
        if os.environ.get("SUPERVISOR_ENABLED"):
            die_with_parent()
        config = load()
        guests = guests_of(config, named[1:]) if node == "sequencer" else []
        names = [name, *(name_of(*guest) for guest in guests)]
        operator_log.set_up(names, config.log.format, config.log.level, config.log.levels)
        if why := idle_because(config, node, instance):
            operator_log.log_line(name, "info", f"nothing to do here: {why}")
            return 0
        place(config, node, instance)
        import uvloop

        begun = time.monotonic()
        operator_log.log_line(name, "info", _beginning(config, names[1:]))
        if node == "sequencer":
            uvloop.run(run_hosting(config, guests))
        else:
            uvloop.run(run_alone(config, node, instance))
        operator_log.log_line(name, "info", f"has ended, in order, after {time.monotonic() - begun:.1f} s")
    except UsageError as error:
        print(f"{error}\n\n{USAGE.format(nodes=', '.join(NODES))}", file=sys.stderr)
        return 2
    except Stopped:
        return STOPPED_EXIT
    except (ConfigError, LogError, OutboxFull, NodeFault) as error:
        if isinstance(error, LogFull | OutboxFull):
            BlockedFile(load().run_dir, name).write(str(error))  # until it has been started again
        operator_log.log_line(name, "critical", str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
