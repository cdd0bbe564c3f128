"""One line of a venue's market data: subscribe, receive, parse exactly, publish.

Every frame is published in the order of its coming and nothing is dropped; a frame that cannot be understood is a refusal with
its bytes. Depth changes are published as they come, with a book or without. Connections are replaced with overlap before the
venue ends them, and when one of their streams falls silent. When it dies the other lines carry on, and it comes back with fresh
snapshots; when the sequencer is away, its outbox fills, and at the bound it stops reading the sockets.
"""

import asyncio

from tickmesh.bus.process import Context
from tickmesh.bus.schema import Kind
from tickmesh.nodes.feed.line import Line
from tickmesh.nodes.feed.scanning import take_up_scanner
from tickmesh.nodes.feed.upkeep import ConnectionUpkeep
from tickmesh.nodes.feed.watching import LineWatch

READS: tuple[Kind, ...] = ()
WRITES = (Kind.instrument, Kind.trade, Kind.quote, Kind.depth, Kind.raw)

END_S = 2.0  # for the tasks to end; then the process ends without them


async def run(ctx: Context) -> None:
    """Keeps one line up until the context stops. Raises what a bug raises; what venues and networks do is survived."""
    line = Line(ctx)
    requests = line.requests
    scanner = ctx.own(take_up_scanner(line))  # no job that ends the line when it ends
    jobs = (
        ConnectionUpkeep(line).keep_connected,
        LineWatch(line).watch,
        requests.keep_definitions,
        requests.keep_books,
        requests.keep_time,
    )
    tasks = [*(ctx.own(job()) for job in jobs), ctx.own(ctx.stop.wait())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (*tasks, scanner):
            task.cancel()
        await asyncio.wait([*tasks, scanner], timeout=END_S)
        for connection in tuple(line.connections):
            line.end(connection)
            if connection.websocket is not None:
                connection.websocket.abort("this line ends it")
        line.publisher.publish_last()
        await requests.rest.close()
