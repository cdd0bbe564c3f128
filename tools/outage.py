"""`mesh outage`: a local exchange in overload. Makers are cut off, only market orders get through, the spread opens and closes.

It runs an exchange of its own in a temporary folder (or uses the one of the mesh that runs here), commands the fault through
the exchange's own endpoint, listens as any client does, and draws every trade with bid and ask.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from tickmesh.bus.config import Config, load
from tickmesh.nodes.net import exchange_address
from tickmesh.nodes.net.exchange_address import Endpoints
from tickmesh.research.plot.market import PlottedMarket
from tickmesh.research.plot.two_markets import write_two_markets
from tickmesh.tools.extras import use_matplotlib
from tickmesh.tools.terminal import Failure, JsonObject, config, out

# "trades": s, price, sign; "quotes": s, bid, ask, of every one from the beginning on; "started_ns": when that was (1,)
Seen = dict[str, np.ndarray]
BEFORE_S = 5.0  # that the second picture has of the calm
DECIMALS = 8
START_S = 20.0
SETTLE_S = 5.0  # after the overload, before the market is judged as calm again
OPENS = 10.0  # so many times wider, at least


def outage(
    plot: Path, calm_s: float = 15.0, length_s: float = 25.0, after_s: float = 20.0, running: bool = False
) -> JsonObject:
    """Overloads a local exchange and draws it; gives the spread before, at its widest, and after. Raises Failure."""
    use_matplotlib("a plot")
    if running:
        where = _exchange_of(config())
        if where is None:
            raise Failure("no exchange runs in this folder; start it (mesh up), or leave out --running and one is started")
        try:
            seen = asyncio.run(_watch(where, calm_s, length_s, after_s))
        except OSError as error:
            raise Failure(f"the exchange at {where.rest} does not answer: {error}") from None
    else:
        with tempfile.TemporaryDirectory(prefix="tickmesh-outage-") as folder:
            seen = _alone(Path(folder), calm_s, length_s, after_s)
    result = _judge(seen, calm_s, length_s)
    draw(seen, plot, calm_s, length_s)
    return {**result, "plot": str(plot)}


def _alone(folder: Path, calm_s: float, length_s: float, after_s: float) -> Seen:
    (folder / "mesh.toml").write_text("[exchange]\nlines = 1\n")
    environment = {**os.environ, "TICKMESH_ROOT": str(folder)}
    log = folder / "exchange.log"
    with log.open("wb") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", "tickmesh.nodes", "exchange"], cwd=folder, env=environment, stderr=file, stdout=file
        )
    try:
        deadline = time.monotonic() + START_S
        while (where := _exchange_of(load(folder))) is None:
            if child.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"the exchange did not start: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.05)
        return asyncio.run(_watch(where, calm_s, length_s, after_s))
    finally:
        child.terminate()
        child.wait(10)


def _exchange_of(config: Config) -> Endpoints | None:
    """The running exchange of this mesh; None where there is none. Raises Failure for another mesh's."""
    try:
        return exchange_address.read(config)
    except exchange_address.ForeignExchange as error:
        raise Failure(str(error)) from None


async def _watch(where: Endpoints, calm_s: float, length_s: float, after_s: float) -> Seen:
    """Every trade and quote of the first instrument, in seconds from the beginning."""
    trades: list[tuple[float, float, int]] = []
    quotes: list[tuple[float, float, float]] = []
    async with aiohttp.ClientSession() as session:
        async with session.get(where.rest + "/api/v3/exchangeInfo") as answer:
            symbol = (await answer.json())["symbols"][0]["symbol"].lower()
        async with session.ws_connect(f"{where.ws}/stream?streams={symbol}@trade/{symbol}@bookTicker") as socket:
            began, started_ns = time.monotonic(), time.time_ns()
            fault = {"kind": "outage", "start_s": calm_s, "length_s": length_s}
            async with session.post(where.rest + "/tickmesh/v1/faults", json=fault) as answer:
                if answer.status != 200:
                    raise Failure(f"the exchange refused the outage: {await answer.text()}")
            while (now := time.monotonic() - began) < calm_s + length_s + after_s:
                try:
                    message: Any = await asyncio.wait_for(socket.receive_json(), 1.0)
                except TimeoutError:
                    continue
                data = message["data"]
                if "t" in data:
                    trades.append((now, float(data["p"]), -1 if data["m"] else 1))
                else:
                    quotes.append((now, float(data["b"]), float(data["a"])))
    rows = {"trades": np.array(trades).reshape(-1, 3), "quotes": np.array(quotes).reshape(-1, 3)}
    return {**rows, "started_ns": np.array([started_ns])}


def _judge(seen: Seen, calm_s: float, length_s: float) -> JsonObject:
    at, bids, asks = seen["quotes"].T
    both = (bids > 0) & (asks > 0)
    spread = np.where(both, asks - bids, np.nan)
    calm = float(np.nanmean(spread[at < calm_s]))
    widest = float(np.nanmax(spread[(at >= calm_s) & (at < calm_s + length_s)], initial=0.0))
    after = float(np.nanmean(spread[at >= calm_s + length_s + SETTLE_S]))
    opened = widest / calm
    return {
        "ok": opened >= OPENS and widest >= OPENS * after,
        "spread_calm": calm,
        "spread_widest": widest,
        "spread_after": after,
        "opened_times": opened,
        "trades": len(seen["trades"]),
        "trades_in_outage": int(((seen["trades"][:, 0] >= calm_s) & (seen["trades"][:, 0] < calm_s + length_s)).sum()),
    }


def draw(seen: Seen, plot: Path, calm_s: float, length_s: float) -> None:
    """Draws every trade with bid and ask, and the spread, into a file: the calm before, and the overload with what follows."""
    start_ns = int(seen["started_ns"][0])
    last_s = max(float(seen["quotes"][-1, 0]), calm_s + length_s)
    before = min(BEFORE_S, calm_s)
    calm = market_of(seen, start_ns, 0.0, calm_s)
    worst = market_of(seen, start_ns, calm_s - before, last_s)
    shaded = start_ns + round(calm_s * 1e9), start_ns + round((calm_s + length_s) * 1e9), "makers cut off"
    titles = "An efficient market", "The same, its venue unavailable: only market orders get through"
    write_two_markets(calm, worst, plot, titles, shaded)


def market_of(seen: Seen, start_ns: int, begin_s: float, end_s: float) -> PlottedMarket:
    """What was seen from `begin_s` to `end_s`, as a market that can be drawn. `start_ns`: when it began."""
    view = PlottedMarket("local exchange", start_ns + round(begin_s * 1e9), start_ns + round(end_s * 1e9))
    quotes, trades = (rows[(rows[:, 0] >= begin_s) & (rows[:, 0] < end_s)] for rows in (seen["quotes"], seen["trades"]))
    bid, ask = (np.round(quotes[:, place] * 10**DECIMALS).astype("i8") for place in (1, 2))
    spread = np.where((bid > 0) & (ask > 0), ask - bid, 0)
    columns = {"bid": bid, "ask": ask, "spread": spread}
    view.quotes.add(start_ns + np.round(quotes[:, 0] * 1e9).astype("i8"), columns, dict.fromkeys(columns, DECIMALS))
    for series, sign in ((view.bought, 1), (view.sold, -1)):
        own = trades[trades[:, 2] == sign]
        prices = {"price": np.round(own[:, 1] * 10**DECIMALS).astype("i8"), "quantity": np.ones(len(own), "i8")}
        series.add(start_ns + np.round(own[:, 0] * 1e9).astype("i8"), prices, dict.fromkeys(prices, DECIMALS))
    return view


def show(result: JsonObject) -> None:
    """Prints for a person how far the spread opened and closed."""
    calm, widest, after = (result[f"spread_{when}"] for when in ("calm", "widest", "after"))
    out.print(f"spread: calm {calm:.2f}, widest {widest:.2f} ({result['opened_times']:.0f} times), after {after:.2f}")
    out.print(f"{result['trades']} trades, {result['trades_in_outage']} of them in the overload; drawn in {result['plot']}")
    if not result["ok"]:
        out.print(f"NOT ok: the spread must open {OPENS:.0f} times at least, and close again.")
