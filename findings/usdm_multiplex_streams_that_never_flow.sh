#!/usr/bin/env bash
# python-binance 1.0.37: futures_multiplex_socket() of trades, best prices and depth opens a connection that stays silent.
#
# Since 2026-04-23 Binance serves USD-M streams by entry: /public has @trade, @bookTicker and @depth, /market all others. A stream asked
# for at the other entry is acknowledged and never sends anything. futures_multiplex_socket() takes any list of streams and, unless told
# otherwise, opens /market; the same package opens /public for each of them alone, and ccxt 4.5.90 has all three channels at /public.
# A list that mixes both entries, which worked before, can work on neither.
#
# Needs the package index only: nothing connects to a venue. Fails when either package says something else than it does here.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check python-binance==1.0.37 ccxt==4.5.90 2>"$folder/pip.log" ||
    { cat "$folder/pip.log" >&2; exit 2; }

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import asyncio
from importlib.metadata import version
from types import SimpleNamespace

import ccxt.pro
from binance.ws.streams import BinanceSocketManager

STREAMS = ["btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms"]


def address(socket):
    return socket._url + socket._prefix + socket._path


async def main():
    client = SimpleNamespace(tld="com", testnet=False, demo=False, https_proxy=None)
    sockets = BinanceSocketManager(client)
    print("python-binance", version("python-binance"))
    print("  several:", address(sockets.futures_multiplex_socket(STREAMS)))
    print("  one:    ", address(sockets.symbol_ticker_futures_socket("BTCUSDT")))
    venue = ccxt.pro.binance()
    print("ccxt", ccxt.__version__)
    for stream in STREAMS:
        channel = stream.split("@")[1]
        print(f"  {channel}: /{venue.get_future_ws_category(channel)}")
    await venue.close()


asyncio.run(main())
PYTHON

diff - "$folder/seen" <<'SEEN' && echo "as described: trades, best prices and depth are asked for at /market, where they never flow"
python-binance 1.0.37
  several: wss://fstream.binance.com/market/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms
  one:     wss://fstream.binance.com/public/stream?streams=btcusdt@bookTicker
ccxt 4.5.90
  trade: /public
  bookTicker: /public
  depth: /public
SEEN
