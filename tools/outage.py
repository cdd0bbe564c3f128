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
from tickmesh.tools.extras import use_matplotlib
from tickmesh.tools.terminal import Failure, JsonObject, config, out

Seen = dict[str, np.ndarray]  # "trades": s, price, sign; "quotes": s, bid, ask, of every one from the beginning on
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
            began = time.monotonic()
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
    return {"trades": np.array(trades).reshape(-1, 3), "quotes": np.array(quotes).reshape(-1, 3)}


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
    """Draws every trade with bid and ask, and the spread below, into a file."""
    from matplotlib import pyplot

    at, bids, asks = seen["quotes"].T
    figure, (top, below) = pyplot.subplots(2, 1, figsize=(10, 6), sharex=True, height_ratios=(3, 1), layout="constrained")
    top.fill_between(
        at, np.where(bids > 0, bids, np.nan), np.where(asks > 0, asks, np.nan), step="post", color="0.85", label="spread"
    )
    top.step(at, np.where(bids > 0, bids, np.nan), where="post", color="tab:blue", linewidth=0.8, label="bid")
    top.step(at, np.where(asks > 0, asks, np.nan), where="post", color="tab:red", linewidth=0.8, label="ask")
    for sign, colour, name in ((1, "tab:green", "taker bought"), (-1, "tab:purple", "taker sold")):
        rows = seen["trades"][seen["trades"][:, 2] == sign]
        top.scatter(rows[:, 0], rows[:, 1], s=5, color=colour, label=name, linewidths=0, zorder=3)
    below.step(at, np.where((bids > 0) & (asks > 0), asks - bids, np.nan), where="post", color="black", linewidth=0.8)
    below.set_yscale("log")
    for axis in (top, below):
        axis.axvspan(calm_s, calm_s + length_s, color="tab:orange", alpha=0.1, linewidth=0)
    top.set_ylabel("price")
    below.set_ylabel("ask − bid")
    below.set_xlabel("seconds (shaded: makers cut off, only market orders get through)")
    top.legend(loc="lower left", fontsize=8, ncols=5)
    top.set_title("Outage of the local exchange: every trade, bid and ask", fontsize=10)
    figure.savefig(plot, dpi=110)
    pyplot.close(figure)


def show(result: JsonObject) -> None:
    """Prints for a person how far the spread opened and closed."""
    calm, widest, after = (result[f"spread_{when}"] for when in ("calm", "widest", "after"))
    out.print(f"spread: calm {calm:.2f}, widest {widest:.2f} ({result['opened_times']:.0f} times), after {after:.2f}")
    out.print(f"{result['trades']} trades, {result['trades_in_outage']} of them in the overload; drawn in {result['plot']}")
    if not result["ok"]:
        out.print(f"NOT ok: the spread must open {OPENS:.0f} times at least, and close again.")
