"""What a line looks at as time passes: streams that fall silent, the room on the disk, books to publish whole, its counters."""

import asyncio
import time

from tickmesh.bus.clock import now_ns
from tickmesh.bus.space import Space, free_of
from tickmesh.nodes.feed.connection import LineConnection
from tickmesh.nodes.feed.line import Line
from tickmesh.nodes.feed.streams import KINDS, subject_of, topic_of
from tickmesh.nodes.net.waits import clock_words
from tickmesh.nodes.runner.disk_space import feed_watch

WATCH_S = 0.5
IMAGE_S = 5.0  # between two images of books that another line cannot go on with


class LineWatch:
    """Looks at one line again and again, and acts on what it sees."""

    def __init__(self, line: Line):
        self.line = line
        self.disk = feed_watch(str(line.ctx.config.source_dir))

    async def watch(self) -> None:
        """For ever: looks at streams and counters every WATCH_S or sooner, at the disk every `disk.look_s`."""
        line, look_s = self.line, self.line.ctx.config.disk.look_s
        looked_at_s, imaged_at_s = -look_s, time.monotonic()
        while True:
            now_s = time.monotonic()
            if now_s - looked_at_s >= look_s:
                looked_at_s = now_s
                self.look_at_disk()
            if line.publisher.waiting:
                line.freshness.count_silence_from(now_s)
            elif len(line.connections) == 1:
                self.look_at_streams(line.connections[0], now_s)
            if now_s - imaged_at_s >= IMAGE_S and not line.publisher.waiting:  # a whole book is not to wait in memory
                imaged_at_s = now_s
                line.publisher.publish(line.reception.images(now_ns()))
            line.resubscribe()
            self.update_counters()
            await asyncio.sleep(min(WATCH_S, line.settings.fresh_min_s / 4))

    def look_at_streams(self, connection: LineConnection, now_s: float) -> None:
        """Raises an alert of each stream that is silent, and has the connection renewed for those that came before."""
        assert connection.source is not None
        line, freshness, raise_alert = self.line, self.line.freshness, self.line.publisher.raise_alert
        stale = freshness.look(now_s, {key: stream.events for key, stream in connection.source.streams.items()})
        for key, silent_s in stale.items():
            line.requests.ask_about(subject_of(key))
            if line.is_silence_explained(subject_of(key)):  # and a renewal would bring nothing
                continue
            line.renewal_wanted.set()
            line.count["stale_streams"] += 1
            line.stale.add(key)
            limit_s = freshness.limit_s(freshness.pulses[key])
            why = f"silent for {silent_s:.1f} s on a connection that is heard"
            raise_alert("warning", "stale_stream", topic_of(key), why, f"renewed; patience is now {limit_s:.0f} s")
        for key in freshness.newly_without_events(now_s):
            if not line.is_silence_explained(subject_of(key)):
                why = f"nothing of it has come for {line.settings.fresh_min_s:.0f} s, since this process began"
                raise_alert("warning", "never_heard", topic_of(key), why, "none: others go on")

    def look_at_disk(self) -> None:
        """Leaves out raw frames, then depth, as the disk fills, and takes them up again; raises an alert of each step."""
        line, disk = self.line, self.line.ctx.config.disk
        try:
            free = free_of(line.ctx.config.source_dir)
        except OSError:  # looked at again in a moment
            return
        alert, space = self.disk.look(free, disk), self.disk.room.bytes
        line.count["disk"], line.count["free_bytes"] = space.name, free.bytes
        if alert is None:
            return
        line.count["disk_steps"] = line.count.get("disk_steps", 0) + 1
        line.publisher.raise_alert(*alert)
        line.publisher.publish(line.reception.leave_out_depth(space == Space.critical))
        line.publisher.publish(line.reception.keep_raw(line.settings.raw and space == Space.enough, now_ns()))
        line.ask_for_books()

    def update_counters(self) -> None:
        """Brings the counters of `health` up to date that are not counted where they arise."""
        line, count = self.line, self.line.count
        count["last_frame_age"] = round((now_ns() - line.last_frame_ns) / 1e9, 3) if line.last_frame_ns else -1.0
        count["resyncs"] = line.reception.resyncs
        count["depth_left_out"] = line.reception.depth_left_out
        count["raw_left_out"] = line.reception.raw_frames.left_out
        count["hops"] = line.addresses.hops
        count["waiting"] = line.addresses.waits.waiting
        wait = line.addresses.ws_wait(line.local_addr) if not line.connections else None
        count["no_data_until"] = clock_words(wait.until_ns) if wait is not None else ""
        count["given_up"] = dict(line.given_up.why)
        undecided = [one.subject for one in line.instruments if one.subject not in line.reception.instruments]
        count["undecided"] = undecided
        count["never_heard"] = [topic_of(key) for key in line.freshness.without_events]
        count["never_heard"] += [f"{kind.name}.{subject}" for subject in undecided for kind in KINDS]
        websocket = line.connections[0].websocket if line.connections else None
        if websocket is not None and websocket.round_trip_s is not None:
            count["ping_ms"] = round(websocket.round_trip_s * 1e3, 3)
