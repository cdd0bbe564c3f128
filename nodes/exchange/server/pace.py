"""The local venue's market in time: a synthetic one by the clock, a replayed one at its own pace."""

import asyncio
import logging
import math
import os
import time
from collections import Counter
from collections.abc import Iterable

from tickmesh.nodes.exchange.market.captures import SERVED_DEPTH, is_snapshot, recv_ns_of
from tickmesh.nodes.exchange.market.derived import MINI_TICKERS
from tickmesh.nodes.exchange.market.pace import ReceivePace
from tickmesh.nodes.exchange.protocol import VenueError
from tickmesh.nodes.exchange.server.running import GONE, RunningExchange

SNAPSHOT_S = 2.0  # a replay waits so long at the capture's first snapshot for every line to ask for it
SUBSCRIBERS_S = 5.0  # a market waits so long for what its lines have to do first, and then goes on without them
MESH_S = 30.0  # … in a mesh, for those of each venue: they come, and what is said before they are there is lost to them
LOGGED_MAX = 20  # lines left out that are logged one by one; all are counted, by reason
BATCH_FRAMES = 256  # of a replay between two looks at the clients
BEHIND_MS_MAX = 1000.0  # a process that was away for longer goes on from now
log = logging.getLogger("exchange")


async def run_market(running: RunningExchange) -> None:
    """Runs the market, synthetic or replayed, until the node is stopped or can no longer write its state."""
    try:
        await (_replay(running) if running.capture else _synthetic(running))
    except VenueError as error:
        if error is not GONE:
            raise


async def _synthetic(running: RunningExchange) -> None:
    venues = {market.spec.venue for market in running.core.markets.values()} if _in_mesh() else set()
    await _lines_subscribed(running, MESH_S if venues else SUBSCRIBERS_S, venues)
    depth_ms = running.true_ms()
    while not running.ctx.stop.is_set():
        if not await _up(running):
            return
        now = running.true_ms()
        for flow in running.core.flows:
            if now < flow.due_ms <= now + BEHIND_MS_MAX:
                continue
            flow.skew_ms = running.skew_ms
            if now - flow.due_ms > BEHIND_MS_MAX or flow.due_ms - now > 60_000:
                flow.skip(now)  # stopped, or suspended
            flow.run(now)
        if now >= depth_ms or depth_ms - now > BEHIND_MS_MAX:
            for name, market in running.core.synthetic_markets.items():
                if name not in running.core.unknown:
                    market.flush_depth(running.now_ms())
            running.core.follow_marks(running.now_ms())
            # as of the moment up to which the traders have acted: a candle is closed when none of its trades can come any more
            publish_derived(running, int(now + running.skew_ms))
            depth_ms = max(depth_ms + 100, now) if now >= depth_ms else now + 100
        running.publish(running.commit())
        due = min(depth_ms, *(flow.due_ms for flow in running.core.flows))
        await asyncio.sleep(max((due - running.true_ms()) / 1000, 0.001))


def publish_derived(running: RunningExchange, now_ms: int) -> None:
    """Sends partial depth, klines and tickers to those who have subscribed; called every 100 ms."""
    for name, derived in running.core.derived.items():
        if name in running.core.unknown:
            continue
        for stream, data in derived.frames(now_ms, running.hub.wanted_streams(f"{derived.lower}@")):
            running.hub.publish(stream, data)
    if MINI_TICKERS in running.hub.listeners:
        frame = running.core.mini_tickers.frame(now_ms, running.core.unknown)
        if frame is not None:
            running.hub.publish(MINI_TICKERS, frame)


async def run_derived(running: RunningExchange) -> None:
    """Sends the derived streams of a replay every 100 ms, and ends listenKeys; a synthetic market does both with its depth."""
    while running.capture and await running.sleep(0.1):
        publish_derived(running, running.now_ms())
        running.core.expire_listen_keys(running.now_ms())


async def _up(running: RunningExchange) -> bool:
    """Waits while the exchange is down (a fault); False when the node was stopped."""
    while running.down and not running.ctx.stop.is_set():
        await asyncio.sleep(0.01)
    return not running.ctx.stop.is_set()


def _in_mesh() -> bool:
    return bool(os.environ.get("SUPERVISOR_ENABLED"))


def _recorded_venues(running: RunningExchange) -> list[str]:
    """The venues of the captures of which a mesh has feeds."""
    assert running.capture is not None
    fed = {one.venue for one in running.config.instruments}
    return [venue for venue in running.capture.survey.venues if venue in fed]


async def _replay(running: RunningExchange) -> None:
    assert running.capture is not None
    line = next(running.lines, None)
    if line is not None:
        await _lines_subscribed(running, math.inf, _recorded_venues(running) if _in_mesh() else ())
    if running.ctx.stop.is_set():
        return
    await _replay_from(running, line)
    running.ended = not running.ctx.stop.is_set()
    if running.ended:
        running.replay.error = running.capture.error or running.replay.error
        log.info(
            "the capture has ended after %d lines, %d frames; %s",
            running.replay.position, running.replay.frames, running.replay.error or "no error",
        )  # fmt: skip
        for reason, count in running.replay.not_served.most_common():
            log.warning("%d of its lines were not served: %s", count, reason)
        running.wake()
        await _taken(running, 0)
        running.state.mark_ended()


async def _lines_subscribed(running: RunningExchange, patience_s: float, venues: Iterable[str] = ()) -> None:
    """Waits until as many connections as there are lines have subscribed, so that none misses the beginning; to each of these
    venues, or to any where none is named."""
    deadline = time.monotonic() + patience_s
    lines = min(running.settings.lines, running.config.feed.lines) if venues else running.settings.lines
    while not running.ctx.stop.is_set():
        heard = Counter(client.route.venue for client in running.hub.stream_clients())
        if all(heard[venue] >= lines for venue in venues) if venues else heard.total() >= lines:
            return
        if time.monotonic() > deadline:
            return
        await asyncio.sleep(0.01)


async def _replay_from(running: RunningExchange, line: str | None) -> None:
    """Passes lines on at their pace until the capture ends or the node is stopped."""
    speed, limit = running.settings.speed, running.settings.client_bytes_max
    pace, first_s = ReceivePace(), time.monotonic()
    sent = 0
    opened = False
    while line is not None and await _up(running):
        following = next(running.lines, None)
        elapsed_ns = pace.elapsed(recv_ns_of(line), recv_ns_of(following) if following else 0)
        if speed:
            wait_s = first_s + elapsed_ns / 1e9 / speed - time.monotonic()
            if wait_s > 0:
                await _taken(running, limit)
                if not await running.sleep(wait_s):
                    return
        if not opened and is_snapshot(line):
            opened = True
            await _open_book(running, line)
            pace, first_s = ReceivePace(), time.monotonic()
        else:
            publish_line(running, line)
        line = following
        sent += 1
        if sent % BATCH_FRAMES == 0:
            await _taken(running, limit if speed else 0)


async def _open_book(running: RunningExchange, line: str) -> None:
    """Passes the capture's first snapshot once every line has asked for one, as its recorder had.

    So each gets it as it was recorded, and no change after it is missing before it."""
    deadline = time.monotonic() + SNAPSHOT_S
    while running.depth_waiting < running.settings.lines and time.monotonic() < deadline and not running.ctx.stop.is_set():
        await asyncio.sleep(0.001)
    publish_line(running, line)
    while running.depth_waiting and time.monotonic() < deadline:
        await asyncio.sleep(0)


def publish_line(running: RunningExchange, line: str) -> None:
    """Replays one line of the capture file and sends what follows from it to clients."""
    frame = running.replay.pass_line(line, running.now_ms())
    if frame is not None:
        running.core.follow_recorded_mark(frame, running.now_ms())
    running.publish(running.commit())
    if frame is None:
        if running.replay.refused <= LOGGED_MAX:
            log.warning(running.replay.error)
    elif frame.stream:
        # at its own pace a client can keep up, and is cut off if it does not; a faster replay waits for all of them
        cut = 0 < running.settings.speed <= 1
        running.hub.publish(frame.name, frame.data, cut=cut, recorded=frame.text)
        name = f"{frame.market.lower()}@{SERVED_DEPTH}"
        if frame.kind == "depth" and frame.name != name:
            running.hub.publish(name, frame.data, cut=cut)
    else:
        running.wake()


async def _taken(running: RunningExchange, bytes_max: int) -> None:
    """Waits until no client has more than so much unsent; at speed 0, until there is a client at all.

    The position is written when nothing is unsent: after a kill the replay repeats what nobody had, which clients
    recognise by the ids."""
    await asyncio.sleep(0)
    while not running.ctx.stop.is_set():
        clients = running.hub.stream_clients()
        waiting = max((c.waiting_bytes for c in clients), default=0)
        if not waiting:
            running.state.save_position(running.replay.position)
        if waiting <= bytes_max and (clients or running.settings.speed or running.ended):
            return
        await asyncio.sleep(0.001)
