#!/usr/bin/env bash
# hftbacktest 2.4.4: partial fills are missing from the position, and the ROI depth gives prices where best quantities belong.
#
# One bid of 10 waits at 100 behind 1, and 2, 3 and 4 are sold into it. With partial_fill_exchange the order shows the fills (1, 3, 4; 2 are
# left), while position, balance and number of trades of the same asset stay 0: a partial fill that leaves a part open is not counted there,
# so inventory, profit and any strategy that asks for its position are wrong until the last part fills.
# And ROIVectorMarketDepthBacktest says best_bid_qty 100 and best_ask_qty 101 of a book with 1 at 100 and 50 at 101: the prices.
# HashMapMarketDepthBacktest gives the quantities.
#
# Needs the package index only. Fails when the package says something else than it does here.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check hftbacktest==2.4.4 'numpy<2.3' 2>"$folder/pip.log" ||
    { cat "$folder/pip.log" >&2; exit 2; }

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import hftbacktest as hft
import numpy as np

STEP = 10_000_000
ROWS = [
    (STEP, hft.DEPTH_EVENT | hft.BUY_EVENT, 100, 1),
    (STEP, hft.DEPTH_EVENT | hft.SELL_EVENT, 101, 50),
    (3 * STEP, hft.TRADE_EVENT | hft.SELL_EVENT, 100, 2),
    (4 * STEP, hft.TRADE_EVENT | hft.SELL_EVENT, 100, 3),
    (5 * STEP, hft.TRADE_EVENT | hft.SELL_EVENT, 100, 4),
]


def run(kind):
    events = np.zeros(len(ROWS), hft.types.event_dtype)
    for event, (at, what, price, quantity) in zip(events, ROWS):
        event["ev"] = what | hft.EXCH_EVENT | hft.LOCAL_EVENT
        event["exch_ts"] = event["local_ts"] = at
        event["px"], event["qty"] = price, quantity
    asset = hft.BacktestAsset().data([events]).linear_asset(1.0).constant_order_latency(0, 0).tick_size(1.0).lot_size(1.0)
    asset = asset.risk_adverse_queue_model().partial_fill_exchange().trading_value_fee_model(0.0, 0.0).roi_lb(0.0).roi_ub(200.0)
    test = kind([asset])
    test.elapse(STEP + STEP // 2)
    depth = test.depth(0)
    print(kind.__name__, "best:", depth.best_bid_qty, "at", depth.best_bid, "|", depth.best_ask_qty, "at", depth.best_ask)
    test.submit_buy_order(0, 1, 100.0, 10.0, hft.GTC, hft.LIMIT, False)
    test.elapse(STEP // 4)
    for step in (3, 4, 5):
        test.elapse(STEP * step + STEP // 2 - test.current_timestamp)
        order, state = test.orders(0).get(1), test.state_values(0)
        print("  left", order.leaves_qty, "position", test.position(0), "balance", state.balance, "trades", state.num_trades)
    test.close()


print("hftbacktest", hft.__version__)
run(hft.HashMapMarketDepthBacktest)
run(hft.ROIVectorMarketDepthBacktest)
PYTHON

diff - "$folder/seen" <<'SEEN' && echo "as described: fills in the order and none in the position; prices as best quantities"
hftbacktest 2.4.4
HashMapMarketDepthBacktest best: 1.0 at 100.0 | 50.0 at 101.0
  left 9.0 position 0.0 balance 0.0 trades 0
  left 6.0 position 0.0 balance 0.0 trades 0
  left 2.0 position 0.0 balance 0.0 trades 0
ROIVectorMarketDepthBacktest best: 100.0 at 100.0 | 101.0 at 101.0
  left 9.0 position 0.0 balance 0.0 trades 0
  left 6.0 position 0.0 balance 0.0 trades 0
  left 2.0 position 0.0 balance 0.0 trades 0
SEEN
