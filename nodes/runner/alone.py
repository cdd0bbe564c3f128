"""A step as a process of its own; what fails in it for good is alerted of, and stays stopped."""

import asyncio
from typing import Any

from tickmesh.bus.config import Config, ConfigError
from tickmesh.bus.log import LogReader
from tickmesh.bus.process import Context, Stopped
from tickmesh.bus.sockets import OutboxFull
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.nodes.runner.history import catch_up
from tickmesh.nodes.runner.step import ColumnStep, PureStep, StepModule, StepRunner

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


async def run_step(ctx: Context, module: StepModule) -> None:
    """A step as a process of its own. Raises Stopped, after an alert, for what would be the same at every start."""
    try:
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
    runner = StepRunner(module, ctx.config, ctx.name, ctx.instance)
    ctx.producer.publish([])  # opens the outbox, which cuts off a torn tail
    outbox = LogReader(ctx.config.outbox_dir / ctx.name)  # all of it: its end alone may be a heartbeat
    for event in outbox.events(outbox.first - 1):
        runner.note_published(event)
    catch_up(ctx.config, runner, ctx.stop.is_set)
    if ctx.stop.is_set():
        return
    subscription = ctx.subscribe(module.READS + module.WRITES, runner.seq)
    for events in subscription.backlog():
        runner.replay(events)
    await _publish(ctx, runner.unpublished())
    ctx.report_unused_checkpoint(runner.unused)
    ctx.ask_counters = lambda: complaints(ctx, runner.step)
    ctx.ready(**runner.step.identity(), **runner.begun())
    async for events in subscription:
        try:
            fresh = runner.live(events)
        except ModelFault as fault:
            raise explained(ctx.config, module, ctx.name, ctx.instance, fault) from fault
        if fresh:
            await _publish(ctx, fresh)
        runner.offer_checkpoint()
        runner.checkpoints.write_if_durable(subscription.durable_seq, subscription.log_id, ctx.own)


async def _publish(ctx: Context, events: list[bytearray]) -> None:
    """Publishes in pieces, and waits while the outbox is full: a derived producer may, the log does not run away."""
    for begin in range(0, len(events), PUBLISH_EVENTS):
        while not ctx.stop.is_set():
            try:
                ctx.publish(events[begin : begin + PUBLISH_EVENTS])
                break
            except OutboxFull:
                await asyncio.sleep(0.1)
