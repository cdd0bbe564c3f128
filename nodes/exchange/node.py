"""The local venue: a synthetic market, or a replayed capture, over REST and websocket.

It speaks as Binance spot and as Binance USD-M.

When it dies: its state is on disk (written before anything is sent), so trade, update and order ids go on, balances and
resting orders stand, and a replay goes on where it was. Clients reconnect, as with any venue.
"""

import asyncio
import time

from aiohttp import web

from tickmesh.bus.config import ConfigError
from tickmesh.bus.process import Context
from tickmesh.bus.schema import Kind
from tickmesh.nodes.exchange.api.routes import BASES, MARKET, PRIVATE, PUBLIC
from tickmesh.nodes.exchange.market.instruments import SPOT, USDM
from tickmesh.nodes.exchange.market.logged_market import READS as LOGGED
from tickmesh.nodes.exchange.server.callers import refuse_other_sites
from tickmesh.nodes.exchange.server.faults import install_faults, run_faults
from tickmesh.nodes.exchange.server.files import ExchangeFiles
from tickmesh.nodes.exchange.server.pace import run_derived, run_market
from tickmesh.nodes.exchange.server.paper import PaperMarket
from tickmesh.nodes.exchange.server.rest import RestHandler
from tickmesh.nodes.exchange.server.running import RunningExchange
from tickmesh.nodes.exchange.server.sockets import MESSAGE_BYTES_MAX, SocketHandlers, announce_shutdown, close, keep_alive
from tickmesh.nodes.exchange.server.tls import server_context
from tickmesh.nodes.net import exchange_address

__all__ = ["HELP", "READS", "WRITES", "ExchangeFiles", "run"]
READS = LOGGED  # in mode paper, where the market is what the log has of a real venue
WRITES: tuple[Kind, ...] = ()

HELP = """The local venue: a real exchange server on loopback that speaks the dialects of Binance spot and USD-M.

Its addresses are in run/exchange.json ({"rest", "ws", "pid", "venues"}); [exchange] in mesh.toml: port, seed, rates, keys, tls.
docs/exchange.md teaches it; alone, in any folder:   touch mesh.toml; python -m tickmesh.nodes exchange

REST     GET  /api/v3/{ping,time,exchangeInfo,depth,trades,historicalTrades,aggTrades,klines,avgPrice}
         GET  /api/v3/ticker/{24hr,price,bookTicker}
         POST /api/v3/order[/test|/cancelReplace]  GET|DELETE /api/v3/order  GET|DELETE /api/v3/openOrders
         POST /api/v3/orderList/{oco,oto,otoco}  GET|DELETE /api/v3/orderList  GET /api/v3/{openOrderList,allOrderList}
         PUT  /api/v3/order/amend/keepPriority  GET /api/v3/order/amendments
         GET  /api/v3/{allOrders,myTrades,myPreventedMatches,myAllocations,account,account/commission,rateLimit/order}
              (signed: X-MBX-APIKEY, timestamp, signature; microseconds: X-MBX-TIME-UNIT: MICROSECOND)
Streams  /ws, /ws/<stream>/…, /stream?streams=a/b[&timeUnit=MICROSECOND]
         btcusdt@trade  @aggTrade  @bookTicker  @depth[@100ms]  @depth5|10|20[@100ms]  @kline_1s…1M
         @miniTicker  !miniTicker@arr  @ticker  @avgPrice   SUBSCRIBE UNSUBSCRIBE LIST_SUBSCRIPTIONS SET_PROPERTY GET_PROPERTY
WS-API   /ws-api/v3   order.place .test .cancel .cancelReplace .amend.keepPriority .amendments .status
         orderList.place.oco .place.oto .place.otoco .cancel .status  openOrderLists.status  allOrderLists
         openOrders.status .cancelAll  allOrders  myTrades  myPreventedMatches  myAllocations
         account.status .commission .rateLimits.orders  depth  klines  ticker.*  trades.*
         exchangeInfo  time  ping  userDataStream.subscribe.signature  userDataStream.unsubscribe  session.*
USD-M    /binance_usdm/{public,market}/{stream,ws}, /binance_usdm/stream (as public): market data of instruments of venue
         binance_usdm. public: @trade @bookTicker @depth@100ms @depth@500ms   market: @aggTrade; the wrong path is silent
         GET /binance_usdm/fapi/v1/{ping,time,exchangeInfo,depth,trades,historicalTrades,aggTrades,premiumIndex,fundingRate}
         orders, positions, funding: /binance_usdm/fapi/v{1,2,3}/…, /private/ws, /ws-fapi/v1: docs/exchange-futures.md
State    GET /tickmesh/v1/replay   {"position", "frames", "ended", "clients", "error", …}
Faults   GET|POST|DELETE /tickmesh/v1/faults           cuts, stalls, lost acknowledgements, outages: docs/faults.md

Orders: LIMIT (GTC, IOC, FOK), MARKET (quantity or quoteOrderQty), LIMIT_MAKER, STOP_LOSS(_LIMIT), TAKE_PROFIT(_LIMIT),
        trailing, iceberg, self-trade prevention, amend, order lists; one account, fees, every filter.
Limits: [exchange.limits] in mesh.toml; the venue's own by default: 429, then 418, with Retry-After.
Keys: `api_key` and `api_secret` of [exchange] (default local-key / local-secret), HMAC-SHA256; `ed25519_public_key`
        (a PEM file) is another one, which may `session.logon`.

ccxt:    B, W = "http://127.0.0.1:PORT", "ws://127.0.0.1:PORT"
         ex = ccxt.pro.binance({"apiKey": "local-key", "secret": "local-secret",
           "options": {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False,
                       "fetchMargins": False},
           "urls": {"api": {"public": B + "/api/v3", "private": B + "/api/v3", "v1": B + "/api/v1",
                            "sapi": B + "/sapi/v1",
                            "ws": {"spot": W + "/ws", "margin": W + "/ws", "ws-api": {"spot": W + "/ws-api/v3"}}}}})

Market:  synthetic (seed, trades_per_s, quotes_per_s), or `replay = ["capture.gz", …]` with speed (0 = as fast as its
         clients take it) and lines (connections that must have subscribed before it starts). In mode paper it is a real
         venue's, as the mesh's log has it: docs/trading.md.
"""


async def run(ctx: Context) -> None:
    """Runs the exchange until it is stopped. ConfigError when it cannot begin, or can no longer write its state."""
    paper = PaperMarket(ctx) if ctx.config.mode == "paper" else None
    if paper is not None and not await paper.rebuild():
        return
    try:
        running = RunningExchange(ctx, paper.markets if paper is not None else None)
    except OSError as error:
        raise ConfigError(f"the exchange cannot keep its state in {ctx.config.exchange_dir}: {error}") from None
    try:
        install_faults(running)
        runner = await listen(running)
        ctx.ready(market=running.market)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(paper.run(running) if paper is not None else run_market(running)),
                    group.create_task(run_upkeep(running)),
                    group.create_task(run_faults(running)),
                    group.create_task(run_derived(running)),
                ]
                await ctx.stop.wait()
                for task in tasks:
                    task.cancel()
            running.end_market()
        finally:
            running.wake()
            for client in list(running.hub.clients):
                announce_shutdown(running, client)
                close(client, 1001, "going away")
            await runner.cleanup()
        if running.failure:
            raise ConfigError(running.failure)
    finally:
        running.close()


async def run_upkeep(running: RunningExchange) -> None:
    """Pings clients, ends connections that are silent or too old, and updates the node's counters, until it is stopped."""
    settings = running.settings
    pinged = time.monotonic()
    while await running.sleep(min(0.5, settings.ping_s, settings.pong_s, settings.life_s / 4)):
        now = time.monotonic()
        due = now - pinged >= settings.ping_s
        pinged = now if due else pinged
        keep_alive(running, now, due)
        desk, futures, hub = running.core.desk, running.core.margin, running.hub
        running.ctx.counters.update(
            clients=len(hub.clients), frames=hub.frames, cut_off=hub.cut_off,
            limited=sum(venue.limits.refused for venue in running.core.venues.values()),
            orders=desk.next_order + futures.state.next_order - 2, open_orders=len(desk.open) + len(futures.orders.open),
            own_trades=len(desk.trades) + len(futures.state.trades),
        )  # fmt: skip
        if running.capture:
            replay, survey = running.replay, running.capture.survey
            running.ctx.counters.update(
                replay_position=replay.position, replay_lines=survey.lines,
                replay_ended=int(running.ended), refused=replay.refused, not_served=dict(replay.not_served),
                not_in_capture=survey.lacking(one.subject for one in running.ctx.config.instruments),
            )  # fmt: skip


async def listen(running: RunningExchange) -> web.AppRunner:
    """Starts the server for REST and websockets, and writes its addresses into run/exchange.json."""
    rest, sockets = RestHandler(running), SocketHandlers(running)
    app = web.Application(client_max_size=MESSAGE_BYTES_MAX, middlewares=[refuse_other_sites(running.settings.host)])
    for base in (BASES[SPOT], *(f"{BASES[USDM]}{part}" for part in ("", f"/{PUBLIC}", f"/{MARKET}", f"/{PRIVATE}"))):
        for path in ("/ws", "/ws/{tail:.*}", "/stream", "/stream/{tail:.*}"):
            app.router.add_get(base + path, sockets.market)
    for path in ("/ws-api/v3", f"{BASES[USDM]}/ws-fapi/v1"):
        app.router.add_get(path, sockets.orders)
    app.router.add_route("*", "/{tail:.*}", rest.answer)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    settings = running.settings
    host, port = settings.host, settings.port or exchange_address.port_before(running.config)
    tls = server_context(running.config.run_dir, host) if settings.tls else None
    s = "s" if tls else ""
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
    except OSError as error:
        if settings.port:
            reason = error.strerror or error
            raise ConfigError(f"exchange.port = {port} on {host} cannot be listened on: {reason}") from None
        await web.TCPSite(runner, host, 0, ssl_context=tls).start()
    port = runner.addresses[0][1]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    exchange_address.write(running.config, f"http{s}://{address}", f"ws{s}://{address}", BASES)
    return runner
