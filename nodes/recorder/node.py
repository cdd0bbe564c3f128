"""Follows the log into the recent store (LMDB) and the archive (HDF5), seals days, and releases log segments that are archived.

When it dies the log waits: it resumes from the two watermarks, removes what an interrupted cut left, and goes on. What it
archives it reads from the log itself, never beyond what is durable, so the archive is a function of the log alone.
"""

import asyncio
import contextlib
import re
import time
from collections import deque

import numpy as np

from tickmesh.bus.clock import now_ns
from tickmesh.bus.log import LogReader
from tickmesh.bus.operator_log import log_line
from tickmesh.bus.process import Context
from tickmesh.bus.schema import WATERMARK, Kind
from tickmesh.bus.segments import LogError, LogReleased, release, used_bytes
from tickmesh.bus.sockets import OutboxFull
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.recorder.cutting import Waiting, due, files_expected
from tickmesh.nodes.recorder.days import Days, keep_days, keep_space
from tickmesh.nodes.runner.disk_space import Alert
from tickmesh.storage.archive.catalog import DAY_NS
from tickmesh.storage.archive.cut import CutCoverage, coverage_of
from tickmesh.storage.archive.file import ArchiveError, ArchiveFull
from tickmesh.storage.archive.merge import Interrupted, Stop
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.query import coverage
from tickmesh.storage.recent.environment import RecentError
from tickmesh.storage.recent.store import RecentFull, RecentWriter

READS: tuple[Kind, ...] = tuple(Kind)
WRITES = (Kind.watermark, Kind.coverage)

LOOK_S = 0.1  # how often it is asked whether a cut is due
RETRY_S = 2.0  # after a full disk
CHUNK_EVENTS = 5000  # of one LMDB transaction: some 20 ms
ROWS_MAX = 1000  # of one coverage event
CUTS_MAX = 100  # whose coverage waits to be published: beyond it, it is read from their files
DURABLE_WAIT_S = 2.0  # at the end, for the sequencer's last sync
FINISH_S = 40.0  # at the end, for the last cut: supervisord waits for 60
BYTES_LOOK_S = 1.0  # how often the log's size is looked at


class Recorder:
    """Writes both stores from the log: the recent store as events come, the archive in cuts; and publishes how far they are."""

    def __init__(self, ctx: Context):
        self.ctx = ctx
        self.config = ctx.config
        self.log = LogReader(ctx.config.log_dir)
        self.log_id = self.log.log_id
        self.cuts: deque[CutCoverage] = deque(maxlen=CUTS_MAX)  # what each proves, until it is published
        self.archive = ArchiveWriter(ctx.config.archive_dir, self.cuts.append)
        try:
            self._check_continuity()
            bytes_max = ctx.config.recorder.recent_bytes_max
            self.recent = RecentWriter(ctx.config.recent_dir, self.log_id, bytes_max, last=self.log.last)
        except LogError:
            self.archive.close()
            raise
        if self.recent.unused:
            ctx.alert("warning", "recent store not used", self.recent.unused, "it is filled again from the log")
        self.recent.start_after(self._recent_start())
        self.days = Days(ctx, self.archive)
        self.troubles: dict[str, str] = {}  # by store: its present one, of which an alert was raised; not at every retry
        self.behind = False  # the recent store refused a commit: it is filled from the log later
        self.newest_ns = 0
        self.oldest_ns = 0  # seq_ns of the first event that is not archived; 0 = to be looked up
        self.cut_at = time.monotonic()
        self.waiting_bytes, self.sized_at = 0, 0.0
        ctx.counters.update(archive_failures=0, recent_failures=0, release_failures=0)
        ctx.counters.update(pruned=0, strays_removed=self.archive.removed)
        self.published_seq: int | None = None  # the coverage up to here is published; None = to be looked up

    def _check_continuity(self) -> None:
        archived, first = self.archive.archived_seq, self.log.first
        if first > archived + 1:
            raise ArchiveError(
                f"{self.config.archive_dir} ends at seq {archived} and {self.config.log_dir} begins at {first}: what lies "
                "between is missing. Restore it from a copy, or move both folders away to begin anew"
            )
        if archived and (why := self.log.foreign(archived, self.archive.log_id)):
            raise ArchiveError(
                f"{self.config.archive_dir} and {self.config.log_dir} are not of one mesh: the archive ends at seq {archived}; "
                f"{why}. Move the archive away, or bring its log back"
            )

    def _recent_start(self) -> int:
        """Events older than `recent_hours`, or no longer in the log, are not put into a store that begins anew."""
        start = self.log.first - 1
        if self.recent.recent_seq == 0:
            start = max(start, self.log.seq_at(now_ns() - self._recent_ns()))
        return start

    def _recent_ns(self) -> int:
        return int(self.config.recorder.recent_hours * 3600e9)

    # -- the recent store

    def put(self, events: list[Event]) -> None:
        """Puts the log's next events into the recent store, unless it is behind: then `refill` reads them from the log."""
        if events:
            self.newest_ns = max(self.newest_ns, events[-1].seq_ns)
        for start in range(0, len(events), CHUNK_EVENTS):
            if self.behind:
                return
            self.recent.put(events[start : start + CHUNK_EVENTS])
            if len(self.recent.pending) >= CHUNK_EVENTS:
                self.commit()

    def commit(self) -> None:
        """Commits what was put; a full store is counted, an alert raised, and `refill` makes it good later."""
        try:
            self.recent.commit()
        except RecentFull as error:
            self._recent_refused(error)

    def _recent_refused(self, error: RecentFull) -> None:
        self.behind = True
        self._trouble("recent", error)

    def _trouble(self, store: str, error: LogError) -> None:
        """Counted; an alert when it begins and when its cause changes (numbers in it do not count)."""
        self.ctx.counters[f"{store}_failures"] += 1
        cause = re.sub(r"\d+", "0", str(error))
        if self.troubles.get(store) != cause:
            self.troubles[store] = cause
            self.days.raise_alert(
                Alert("critical", store, self._place(store), str(error), "tried again; the log keeps everything")
            )

    def _settled(self, store: str) -> None:
        if self.troubles.pop(store, None) is not None:
            self.days.raise_alert(Alert("info", store, self._place(store), "it goes on again", "nothing was lost"))

    def _place(self, store: str) -> str:
        places = {"archive": self.config.archive_dir, "recent": self.config.recent_dir, "release": self.config.log_dir}
        return str(places[store])

    async def refill(self) -> None:
        """Puts into the recent store what it does not have yet, from the log; afterwards `put` goes on from there."""
        while True:
            try:
                for count, event in enumerate(self.log.events(self.recent.recent_seq), 1):
                    self.recent.put([event])
                    if count % CHUNK_EVENTS == 0:
                        self.recent.commit()
                        self.behind = True  # what comes meanwhile is read from the log as well
                        await asyncio.sleep(0)
                self.recent.commit()
                self.behind = False
                self._settled("recent")
                return
            except LogReleased:
                self.recent.start_after(self.log.first - 1)
            except RecentFull as error:
                self._recent_refused(error)
                return

    def prune(self) -> None:
        """Deletes a part of what is older than `recent_hours` from the recent store."""
        before = min(self.newest_ns, now_ns()) - self._recent_ns()
        try:
            self.ctx.counters["pruned"] += self.recent.prune(before, CHUNK_EVENTS)
        except RecentFull as error:
            self._trouble("recent", error)

    # -- the archive

    def due(self, durable: int) -> str:
        """Why a cut up to the seq `durable` is due now, as nodes/recorder/cutting.py decides; "" = not yet."""
        if durable <= self.archive.archived_seq:
            return ""
        if not self.oldest_ns:
            first = next(self.log.events(self.archive.archived_seq), None)
            self.oldest_ns = first.seq_ns if first is not None else 0
        now = time.monotonic()
        if now - self.sized_at >= BYTES_LOOK_S:
            self.sized_at = now
            self.waiting_bytes = used_bytes(self.config.log_dir, self.archive.archived_seq)
        age_s = max(now - self.cut_at, (self.newest_ns - self.oldest_ns) / 1e9 if self.oldest_ns else 0.0)
        return due(
            self.config.recorder,
            max(self.archive.files_of_cut, files_expected(self.config)),
            Waiting(
                durable - self.archive.archived_seq,
                self.waiting_bytes,
                age_s,
                midnight=self.newest_ns // DAY_NS > self.oldest_ns // DAY_NS > 0,
                low=self.days.is_low,
            ),
        )

    async def cut(self, durable: int, stop: Stop) -> bool:
        """Archives up to `durable` in a thread. False when the disk refused or `stop()`; the log keeps everything."""
        before = self.archive.archived_seq
        settings = self.config.recorder
        try:
            await asyncio.to_thread(
                self.archive.archive_log, self.log, durable, settings.segment_events, settings.segment_bytes, stop
            )  # fmt: skip
        except ArchiveFull as error:
            self._trouble("archive", error)
            return False
        except Interrupted:
            return False
        finally:
            self.oldest_ns, self.sized_at = 0, 0.0
            if self.archive.archived_seq > before:
                self.release()
        self._settled("archive")
        self.cut_at = time.monotonic()
        return True

    def release(self) -> None:
        """Releases log segments that both stores have; a recent store that takes nothing does not hold them."""
        if not self.archive.settled:
            return
        archived = self.archive.archived_seq
        upto = archived if self.behind else min(archived, self.recent.recent_seq)
        try:
            release(self.config.log_dir, upto, self.config.log.keep_segments)
            self._settled("release")
        except LogError as error:
            self._trouble("release", error)

    async def publish_archived(self) -> None:
        """Publishes what the cuts since the last watermark prove, and then the new one: it vouches in the log for both.

        After a crash it is published again at worst: coverage is a union.
        """
        until = self.archive.archived_seq
        if self.published_seq is None:
            self.published_seq = await asyncio.to_thread(coverage.published_until, self.config)
        proven = await self._proven(self.published_seq, until)
        record = np.zeros(1, WATERMARK)
        record["archived_seq"], record["recent_seq"] = until, self.recent.recent_seq
        words = [
            encode(Kind.coverage, subject, rows[start : start + ROWS_MAX])
            for subject, rows in proven.items()
            for start in range(0, len(rows), ROWS_MAX)
        ]
        try:
            self.ctx.publish([*words, encode(Kind.watermark, self.ctx.name, record)])
            self.published_seq = until
            self.cuts.clear()
        except OutboxFull as error:  # both are published with the next cut
            log_warning(str(error))

    async def _proven(self, after: int, until: int) -> dict[str, np.ndarray]:
        """Gives, by subject, what the cuts of seq `after` + 1 to `until` prove: as it was computed, or, where one of them was
        made before this process began, from the archive's files.
        """
        known = await asyncio.to_thread(coverage_of, tuple(self.cuts), after, until)
        if known is not None:
            return known
        proven, damaged = await asyncio.to_thread(coverage.added, self.config, after, until)
        for sentence in damaged:  # what such a file proves is not published; nobody dies of it
            self.ctx.counters["archive_failures"] += 1
            log_warning(sentence)
        return proven

    def count(self) -> None:
        """Brings the counters of this node's health up to date."""
        self.ctx.counters.update(
            archived_seq=self.archive.archived_seq,
            sealed_seq=self.archive.sealed_seq,
            recent_seq=self.recent.recent_seq,
            archive_files=self.archive.files,
            archive_bytes=self.archive.bytes,
            waiting_bytes=self.waiting_bytes,
        )


async def run(ctx: Context) -> None:
    """Records until the context stops, then takes the log to its end. Raises LogError where the log is another one."""
    recorder = await begin(ctx)
    if recorder is None:
        return
    subscription = ctx.subscribe(READS, recorder.recent.recent_seq)
    ctx.ready(archived_seq=recorder.archive.archived_seq, recent_seq=recorder.recent.recent_seq)
    tasks = [ctx.own(keep(ctx, recorder)) for keep in (keep_recent, keep_archive)]  # all end when we are stopped
    tasks += [ctx.own(keep(ctx, recorder.days)) for keep in (keep_days, keep_space)]
    try:
        async for events in subscription:
            recorder.put(events)
            if subscription.log_id not in (0, recorder.log_id):
                raise LogError("the log has a new identity; the recorder begins again with it")
    finally:
        ctx.stop.set()
        await asyncio.gather(*tasks)
    await finish(recorder)


async def begin(ctx: Context) -> Recorder | None:
    """Waits for the log's first segment, which the sequencer makes, and for a folder that can be written."""
    log = LogReader(ctx.config.log_dir)
    told = ""
    while True:  # once even when stopped already: what is in the log shall be in the archive
        if log.first:
            try:
                return Recorder(ctx)
            except (ArchiveFull, RecentError) as error:
                if str(error) != told:
                    told = str(error)
                    log_warning(told)
                    place = str(ctx.config.source_dir)
                    alert = Alert("critical", "recorder", place, told, "tried again; the log keeps everything")
                    with contextlib.suppress(OutboxFull):
                        ctx.publish([encode(Kind.alert, ctx.name, alert._asdict())])
        if ctx.stop.is_set():
            return None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ctx.stop.wait(), RETRY_S if told else LOOK_S)


async def keep_recent(ctx: Context, recorder: Recorder) -> None:
    """Commits, prunes, and fills up after a refusal."""
    pruned_at = time.monotonic()
    retry_at = 0.0
    while not ctx.stop.is_set():
        await asyncio.sleep(ctx.config.recorder.commit_ms / 1000)
        now = time.monotonic()
        if recorder.behind and now >= retry_at:
            await recorder.refill()
            retry_at = now + RETRY_S
        else:
            recorder.commit()
        if now - pruned_at >= 1.0:
            pruned_at = now
            recorder.prune()
        recorder.count()


async def keep_archive(ctx: Context, recorder: Recorder) -> None:
    """Cuts when it is due, and says so in the log: also what was cut last before a crash or a stop."""
    if recorder.archive.archived_seq:
        await recorder.publish_archived()
    while not ctx.stop.is_set():
        durable = recorder.log.durable
        if not recorder.due(durable):
            await asyncio.sleep(LOOK_S)
        elif await recorder.cut(durable, ctx.stop.is_set):
            log_line("recorder", "info", f"archived up to seq {recorder.archive.archived_seq}")
            await recorder.publish_archived()
        elif not ctx.stop.is_set():
            await asyncio.sleep(RETRY_S)


async def finish(recorder: Recorder) -> None:
    """Takes the log to its very end into both stores; the sequencer has stopped before."""
    await recorder.refill()
    last = recorder.log.last
    deadline = time.monotonic() + DURABLE_WAIT_S
    while recorder.log.durable < last and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    durable, ends = recorder.log.durable, time.monotonic() + FINISH_S
    if not await recorder.cut(durable, lambda: time.monotonic() > ends) and "archive" not in recorder.troubles:
        log_warning(
            f"seq {recorder.archive.archived_seq + 1} to {durable} stay in the log, there was no time to archive them in "
            f"{FINISH_S:g} s; the next start does"
        )
    log_line("recorder", "info", f"archived up to seq {recorder.archive.archived_seq}; the log ends at {last}")
    recorder.recent.close()
    recorder.archive.close()


def log_warning(sentence: str) -> None:
    log_line("recorder", "warning", sentence)
