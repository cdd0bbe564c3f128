"""The recorder's slow work beside its cuts: sealing days, watching the disk, pruning. The I/O is storage's, in a thread."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from tickmesh.bus.operator_log import log_alert, log_line
from tickmesh.bus.process import Context
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError
from tickmesh.bus.sockets import OutboxFull
from tickmesh.bus.space import PLENTY, free_of
from tickmesh.bus.wire import encode
from tickmesh.nodes.runner.disk_space import Alert, recorder_watch
from tickmesh.storage.archive.merge import Interrupted, Stop
from tickmesh.storage.archive.prune import prunable, prune
from tickmesh.storage.archive.seal import Sealer
from tickmesh.storage.archive.writer import ArchiveWriter

SEAL_LOOK_S = 10.0  # how often it is asked whether a day is over
RETRY_S = 30.0  # after a seal or a prune that failed


class Days:
    """Seals days that are over, watches the disk, prunes exported days; raises alerts about each."""

    def __init__(self, ctx: Context, archive: ArchiveWriter):
        self.ctx, self.archive = ctx, archive
        self.sealer = Sealer(archive, ctx.config.recorder.seal_after_s)
        self.watch = recorder_watch(str(archive.folder), ctx.config.disk)
        self.troubles: dict[str, str] = {}  # by work: its present one, of which an alert was raised
        ctx.counters.update(sealed_days=0, overlays=0, pruned_days=0, seal_failures=0, prune_failures=0, free_bytes=0)

    @property
    def is_low(self) -> bool:
        """Whether the disk is short of bytes."""
        return bool(self.watch.room.bytes)

    async def seal(self) -> bool:
        """Seals the oldest day that is over. False when there was none, or it failed: an alert, and tried again."""
        day = await asyncio.to_thread(self.sealer.due)
        if day is None:
            return False
        done = await self._work("seal", lambda stop: self.sealer.seal(day, stop))
        if done:
            log_line(self.ctx.name, "info", f"sealed {day}")
        self.ctx.counters.update(sealed_days=self.sealer.sealed_days, overlays=self.sealer.overlays)
        return done

    async def look_at_disk(self) -> None:
        """Counts the free space, says when it becomes low, and prunes one day if the user said so."""
        with contextlib.suppress(OSError):
            free = await asyncio.to_thread(free_of, self.archive.folder)
            self.ctx.counters["free_bytes"] = free.bytes
            if free.inodes < PLENTY:
                self.ctx.counters["free_inodes"] = free.inodes
            alert = self.watch.look(free, self.ctx.config.disk)
            if alert is not None:
                self.raise_alert(alert)
        if self.is_low and self.ctx.config.disk.prune == "exported":
            await self._prune()

    async def _prune(self) -> None:
        def work(stop: Stop) -> None:
            day = prunable(self.archive)
            if day is None:
                raise NothingToPrune("no sealed day has been exported completely; run `mesh export`, or free space")
            freed = prune(self.archive, day, stop)
            self.ctx.counters["pruned_days"] += 1
            pruned.append(Alert("warning", "prune", day, "disk is low and the day is exported", f"pruned, {freed} bytes freed"))

        pruned: list[Alert] = []
        await self._work("prune", work)
        for alert in pruned:
            self.raise_alert(alert)

    async def _work(self, name: str, work: Callable[[Stop], object]) -> bool:
        """In a thread, which is asked to stop when we are."""
        stop = self.ctx.stop.is_set
        try:
            await asyncio.to_thread(work, stop)
        except Interrupted:
            return False
        except LogError as error:
            self.ctx.counters[f"{name}_failures"] += 1
            if self.troubles.get(name) != str(error):
                self.troubles[name] = str(error)
                self.raise_alert(
                    Alert("critical", name, str(self.archive.folder), str(error), "tried again; nothing was removed")
                )
            return False
        self.troubles.pop(name, None)
        return True

    def raise_alert(self, alert: Alert) -> None:
        """Publishes an alert and writes its line to the operator's log."""
        log_alert(self.ctx.name, alert._asdict())
        with contextlib.suppress(OutboxFull):
            self.ctx.publish([encode(Kind.alert, self.ctx.name, alert._asdict())])


class NothingToPrune(LogError):
    """The disk is low, and pruning would be allowed."""


async def keep_days(ctx: Context, days: Days) -> None:
    """Seals what is over, one day after the other, until we are stopped."""
    while ctx.config.recorder.seal and not ctx.stop.is_set():
        if not await days.seal():
            await pause(ctx, RETRY_S if "seal" in days.troubles else SEAL_LOOK_S)


async def keep_space(ctx: Context, days: Days) -> None:
    """Looks at the disk every `disk.look_s`."""
    while not ctx.stop.is_set():
        began = time.monotonic()
        await days.look_at_disk()
        await pause(ctx, max(ctx.config.disk.look_s - (time.monotonic() - began), 0.1))


async def pause(ctx: Context, seconds: float) -> None:
    """Waits so long; returns at once when we are stopped."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(ctx.stop.wait(), seconds)
