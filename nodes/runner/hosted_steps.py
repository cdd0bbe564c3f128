"""A step in the sequencer's own process: it takes part in every append, and is put out when it fails."""

import asyncio
import contextlib
import logging
from functools import partial

from tickmesh.bus.config import ConfigError
from tickmesh.bus.sockets import OutboxFull
from tickmesh.bus.wire import Event
from tickmesh.nodes.model import refused
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.nodes.runner import put_out
from tickmesh.nodes.runner.alone import complaints, explained, started
from tickmesh.nodes.runner.history import catch_up, history
from tickmesh.nodes.runner.hosting import HostedContext
from tickmesh.nodes.runner.stalls import ModelStall, StallRecord, key_of, stall_of
from tickmesh.nodes.runner.step import StepModule, StepRunner


async def host_step(ctx: HostedContext, module: StepModule) -> None:
    """Loads and warms a step beside the running sequencer, then lets it take part in every append.

    A step that fails is put out of this process, by name and with an alert; everything else in it goes on.
    """
    put_out.forget(ctx.config.run_dir, ctx.name)
    try:
        await asyncio.to_thread(refused.check, ctx.config, ctx.name)
        await _host_step(ctx, module)
    except ModelFault as fault:
        await _put_out(ctx, "model stopped", str(fault), fault.action, fault.sources if isinstance(fault, ModelStall) else "")
    except ConfigError as error:
        await _put_out(ctx, "stopped", str(error), "the sequencer and all else go on; correct mesh.toml, then `mesh reload`")
    except HostedStepError as failure:
        why = f"{type(failure.error).__name__}: {failure.error}"
        logging.getLogger(ctx.name).error("a hosted step failed", exc_info=failure.error)
        again = "`supervisorctl restart sequencer` tries again"
        await _put_out(
            ctx, "hosted step stopped", f"{why}; its traceback is in run/logs/sequencer.log", f"all else goes on; {again}"
        )


class HostedStepError(Exception):
    """A step raised what it never should: a bug."""

    def __init__(self, error: Exception):
        super().__init__(str(error))
        self.error = error


async def _put_out(ctx: HostedContext, what: str, why: str, action: str, sources: str = "") -> None:
    """Ends one guest's part in this process: it is given nothing more, has no heartbeat, and is not ready any more."""
    ctx.alert("critical", what, why, action)
    put_out.record(ctx.config.run_dir, ctx.name, why, sources)
    await ctx.close()


def one_by_one(ctx: HostedContext, module: StepModule, record: StallRecord) -> StepRunner:
    """Brings a step that the life before did not come back from up to date, noting each event before it is given it."""
    logging.getLogger(ctx.name).warning("it did not come back in the sequencer's last process: it is given one event at a time")
    try:
        runner = StepRunner(module, ctx.config, ctx.name, ctx.instance)
        for events in history(ctx.config, runner.seq, runner.history_lanes):
            for event in events:
                if ctx.stop.is_set():
                    return runner
                record.note(event.seq)
                runner.replay([event])
        return runner
    finally:
        record.found()


async def _host_step(ctx: HostedContext, module: StepModule) -> None:
    host, config = ctx.host, ctx.config
    stalls, place = host.stalls, host.stalls.place(ctx.name)

    def load() -> StepRunner:
        record = StallRecord(config.run_dir, ctx.name, key_of(config, ctx.name, ctx.instance))
        if record.stalled:  # a model stays out until it is another one, so that a restart is not held up by it again
            fault = stall_of(config, ctx.name, ctx.instance, record.stalled_at, stalls.bound_s)
            if not fault.sources:
                record.forget()
            raise fault
        if not record.suspect:
            record.forget()
        if record.suspect and record.begin_noting():
            runner = one_by_one(ctx, module, record)
        else:
            runner = started(config, module, ctx.name, ctx.instance, ctx.stop.is_set)
        catch_up(config, runner)
        return runner

    async with stalls.turn(ctx.name):
        runner = await asyncio.to_thread(load)
    await stalls.calm()
    for events in history(config, runner.seq, runner.history_lanes, host.log.last):  # what came meanwhile
        with stalls.at_work(place):
            runner.replay(events)
    runner.seq = max(runner.seq, host.log.last)

    unpublished = runner.unpublished()  # what a full disk has not taken; published before anything newer
    failed: Exception | None = None
    wake = asyncio.Event()

    def publish_all() -> None:
        nonlocal unpublished
        if unpublished:
            batch, unpublished = unpublished, []
            try:
                ctx.publish(batch)
            except OutboxFull:
                unpublished = batch + unpublished

    def handle(events: list[Event]) -> None:
        nonlocal failed
        fresh = events if events[0].seq > runner.seq else [event for event in events if event.seq > runner.seq]
        if not fresh:
            return
        stalls.enter(place)
        try:
            for answer in (partial(runner.live_first, fresh), runner.live_rest):
                try:
                    given = answer()
                except Exception as error:  # noqa: BLE001 - it must not end the sequencer, in whose call this is
                    failed = error
                    host.handlers.remove(handle)
                    wake.set()
                    return
                if given or unpublished:
                    unpublished.extend(given)
                    publish_all()
        finally:
            stalls.leave(place)

    host.handlers.append(handle)
    publish_all()
    ctx.report_unused_checkpoint(runner.unused)
    ctx.ask_counters = lambda: complaints(ctx, runner.step)
    ctx.ready(getattr(runner.step, "sources", ""), **runner.step.identity(), **runner.begun())
    stopping = asyncio.create_task(ctx.stop.wait())
    stopping.add_done_callback(lambda _: wake.set())
    try:
        while not ctx.stop.is_set() and failed is None:
            publish_all()
            if not unpublished:
                runner.offer_checkpoint()
                runner.checkpoints.write_if_durable(host.log.durable, host.log.log_id, ctx.own)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.25):
                    await wake.wait()
    finally:
        stopping.cancel()
        if handle in host.handlers:
            host.handlers.remove(handle)
    if isinstance(failed, ModelFault):
        raise await asyncio.to_thread(explained, config, module, ctx.name, ctx.instance, failed)
    if failed is not None:
        raise HostedStepError(failed)
