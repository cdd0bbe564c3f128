"""A step as a process of its own; what fails in it for good is alerted of, and stays stopped."""

import asyncio
from collections.abc import Callable
from typing import Any

from tickmesh.bus.config import Config, ConfigError
from tickmesh.bus.log import LogReader
from tickmesh.bus.process import Context, Stopped
from tickmesh.bus.sockets import OutboxFull
from tickmesh.nodes.model import refused
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.nodes.runner.history import catch_up, history
from tickmesh.nodes.runner.stalls import STALL_S, StallWatch, key_of, stall_of
from tickmesh.nodes.runner.step import ColumnStep, PureStep, StepModule, StepRunner
from tickmesh.nodes.runner.warm import warm_start

PUBLISH_EVENTS = 1000  # of a long past, in one go


def explained(config: Config, module: StepModule, name: str, instance: str, fault: ModelFault) -> ModelFault:
    """Replays the log from the checkpoint on until `fault` comes again, now with its line and the very event; gives that, or
    `fault` itself where it does not come again."""
    try:
        catch_up(config, StepRunner(module, config, name, instance))
    except ModelFault as found:
        return found
    return fault


def complaints(ctx: Context, step: PureStep) -> dict[str, Any]:
    """The step's counters; raises an alert first where there is something to complain of."""
    if isinstance(step, ColumnStep) and (why := step.complaint()):
        ctx.alert("warning", "signals refused", why, "they are not published, and counted as refused in its health event")
    return step.counters()


def started(config: Config, module: StepModule, name: str, instance: str, stop: Callable[[], bool]) -> StepRunner:
    """Makes a runner from its checkpoint; without one, for a step that looks back no further, from a look-back ago."""

    def make() -> StepRunner:
        return StepRunner(module, config, name, instance)

    return warm_start(config, make(), make, stop)


async def run_step(ctx: Context, module: StepModule) -> None:
    """A step as a process of its own. Raises Stopped, after an alert, for what would be the same at every start."""
    try:
        refused.check(ctx.config, ctx.name)
        await _run_step(ctx, module)
    except ModelFault as fault:
        ctx.alert("critical", "model stopped", str(fault), fault.action)
        raise Stopped(str(fault)) from fault
    except ConfigError as error:
        ctx.alert(
            "critical", "stopped", str(error), "it stays stopped, all else goes on; correct mesh.toml, then `mesh reload`"
        )
        raise Stopped(str(error)) from error


async def _run_step(ctx: Context, module: StepModule) -> None:
    watch = StallWatch(ctx.config.run_dir, ctx.name, key_of(ctx.config, ctx.name, ctx.instance))
    try:
        await _watched_step(ctx, module, watch)
    finally:
        watch.end()


async def _watched_step(ctx: Context, module: StepModule, watch: StallWatch) -> None:
    def stop() -> bool:
        return watch.arm() or ctx.stop.is_set()

    def make() -> StepRunner:
        return StepRunner(module, ctx.config, ctx.name, ctx.instance)

    runner = make()
    watch.begin()  # it is compiled by now
    if watch.stalled:
        watch.found()
        raise stall_of(ctx.config, ctx.name, ctx.instance, watch.stalled_at, STALL_S)
    if not watch.suspect:
        runner = warm_start(ctx.config, runner, make, stop)
    ctx.producer.publish([])  # opens the outbox, which cuts off a torn tail
    outbox = LogReader(ctx.config.outbox(ctx.name))  # all of it: its end alone may be a heartbeat
    for event in outbox.events(outbox.first - 1):
        runner.note_published(event)
    if watch.suspect:
        for events in history(ctx.config, runner.seq, runner.history_lanes):
            for event in events:
                watch.note(event.seq)
                runner.replay([event])
    watch.found()
    catch_up(ctx.config, runner, stop)
    if ctx.stop.is_set():
        return
    subscription = ctx.subscribe(module.READS + module.WRITES, runner.seq)
    for events in subscription.backlog():
        runner.replay(events)
    await _publish(ctx, runner.unpublished())
    ctx.report_unused_checkpoint(runner.unused)
    ctx.ask_counters = lambda: complaints(ctx, runner.step)
    ctx.ready(getattr(runner.step, "sources", ""), **runner.step.identity(), **runner.begun())
    ctx.own(_stay_armed(watch), "stall watch")
    async for events in subscription:
        try:
            fresh = runner.live(events)
        except ModelFault as fault:
            raise explained(ctx.config, module, ctx.name, ctx.instance, fault) from fault
        if fresh:
            await _publish(ctx, fresh)
        runner.offer_checkpoint()
        runner.checkpoints.write_if_durable(subscription.durable_seq, subscription.log_id, ctx.own)


async def _stay_armed(watch: StallWatch) -> None:
    """Sets the timer again as long as the loop has its turn."""
    while True:
        watch.arm()
        await asyncio.sleep(STALL_S / 5)


async def _publish(ctx: Context, events: list[bytearray]) -> None:
    """Publishes in pieces, and waits while the outbox is full: a derived producer may, the log does not run away."""
    for begin in range(0, len(events), PUBLISH_EVENTS):
        while not ctx.stop.is_set():
            try:
                ctx.publish(events[begin : begin + PUBLISH_EVENTS])
                break
            except OutboxFull:
                await asyncio.sleep(0.1)
