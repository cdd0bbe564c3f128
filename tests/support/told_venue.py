"""A line beside a venue that answers as it is told to."""

import contextlib
import json
import shutil

from aiohttp import web

from tests.support.feed_run import line, published
from tickmesh.bus.config import load
from tickmesh.bus.schema import Kind


@contextlib.asynccontextmanager
async def beside(folder, venue, symbols, socket, rest, exponent=-8, **settings):
    """A running feed of one venue: `socket(ws, words)` is given each message, `rest(request)` gives a body or a Response.

    `exponent`: of prices and quantities, as mesh.toml states it; None: it states none, so they are decided.
    """
    sockets = []

    async def answer(request):
        if request.headers.get("Upgrade", "").lower() != "websocket":
            asked.append(request.path)
            body = rest(request)
            return body if isinstance(body, web.Response) else web.json_response(body)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        sockets.append(ws)
        async for message in ws:
            await socket(ws, json.loads(message.data))
        return ws

    asked = []
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    (folder / "mesh.toml").write_text("")
    stated = {} if exponent is None else {"price_exponent": exponent, "quantity_exponent": exponent}
    instruments = [{"venue": venue, "symbol": symbol, **stated} for symbol in symbols]
    places = {"ws": [f"ws://127.0.0.1:{port}"], "rest": [f"http://127.0.0.1:{port}"]}
    feed_settings = {"lines": 1, "fresh_min_s": 0.4, "backoff_s": [0.05, 0.2], **settings}
    config = load(folder, {"instruments": instruments, "venues": {venue: places}, "feed": feed_settings})
    try:
        async with line(config, f"{venue.removeprefix('binance_')}-1" if venue != "binance" else "1") as ctx:
            ctx.asked, ctx.sockets = asked, sockets
            yield ctx
    finally:
        shutil.rmtree(config.outbox_dir, ignore_errors=True)
        await runner.cleanup()


def alerts(ctx, *names):
    """(what, target) of the alerts in the feed's outbox; of those names, if any are given."""
    found = [(event.map()["what"], event.map()["target"]) for event in published(ctx, Kind.alert)]
    return [one for one in found if not names or one[0] in names]
