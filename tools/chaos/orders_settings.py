"""mesh.toml of a sweep of orders: three instruments, three strategies that use every style between them, limits close enough
to be met, parents that end within seconds, and a session whose patience does."""

import json
from collections.abc import Sequence

SYMBOLS = ("BTCUSDT", "ETHUSDT", "C00USDT")
VENUES = ("binance", "binance_usdm")  # whose order side is traded on
STRATEGIES = ("aim", "maker", "taker")
STYLES = ("market", "limit", "limit_ioc", "limit_maker", "post_only", "patient", "sweep", "twap", "pov")  # all there are

SETTINGS = """
host = {host}
checkpoint_s = 0.5
{instruments}
[feed]
stale_s = 3.0
backoff_s = [0.05, 0.5]
connections_per_5_minutes = 100000

[log]
segment_bytes = 1048576
keep_segments = 100000

[venues.binance]
weight_per_minute = 1000000
[venues.binance_usdm]
weight_per_minute = 1000000

[backfill]
backoff_s = [0.1, 1.0]
patience_s = 5.0

[executor]
instruments = {patterns}
orders_per_s = 15.0
order_notional = "60"
order_ttl_ms = 900
intent_ttl_ms = 1500
signal_threshold = 0.2

[executor.execution]
lifetime_ms = 2000
patience_ms = 400
horizon_ms = 2400
slices = 3
participation = 0.5
slippage_max_bp = 30.0
reprices_per_min = 1200.0

[[strategies]]
name = "maker"
models = ["imbalance"]
styles = ["limit_maker", "post_only", "limit", "patient"]
order_notional = "120"
position_notional = "600"
open_orders_max = 4

[[strategies]]
name = "taker"
models = ["flow"]
styles = ["limit_ioc", "sweep", "market", "twap"]
position_notional = "400"
orders_per_s = 5.0

[strategies.execution]
slice_style = "sweep"

[[strategies]]
name = "aim"
models = ["imbalance"]
target_notional = "300"
signal_threshold = 0.3
styles = ["limit", "pov", "limit_ioc", "patient"]
order_ttl_ms = 2500

[risk]
position_notional = "900"
notional_max = "1800"
open_orders_max = 7
on_kill = "cancel"

[session]
recv_window_ms = 1000
request_timeout_s = 1.5
reconcile_s = 0.5
reconcile_all_s = 5.0
absence_margin_s = 1.5
stale_s = 4.0
backoff_s = [0.05, 0.5]
refused_pause_s = [0.5, 4.0]
weight_share = 1.0

[sentinel]
heartbeat_s = 60.0

[exchange]
seed = {seed}
trades_per_s = 12.0
quotes_per_s = 20.0
ping_s = 1.0

[exchange.limits]
connections_per_5_minutes = 1000000
weight_per_minute = 1000000
raw_per_5_minutes = 100000000
orders_per_10_s = 10000
messages_per_s = 1000

[exchange.usdm_limits]
connections_per_5_minutes = 1000000
weight_per_minute = 1000000
raw_per_5_minutes = 100000000
orders_per_10_s = 10000
orders_per_minute = 0
orders_per_day = 0
messages_per_s = 1000
"""


def order_settings(seed: int, venues: Sequence[str] = VENUES, hosted: bool = False) -> str:
    """The text of mesh.toml: the same symbols at each venue, all of them traded. `hosted`: executor and sessions run in the
    sequencer's process."""
    listed = [f'[[instruments]]\nvenue = "{venue}"\nsymbol = "{symbol}"' for venue in venues for symbol in SYMBOLS]
    patterns = json.dumps([f"{venue}.*" for venue in venues])
    host = json.dumps(["executor", "session"] if hosted else [])
    return SETTINGS.format(seed=seed, instruments="\n".join(listed), patterns=patterns, host=host)
