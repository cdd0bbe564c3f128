"""mesh.toml of a sweep of market data, and its standing faults."""

import json
from collections.abc import Sequence
from typing import Any

from tickmesh.tools.chaos.market import HALTED, UNKNOWN, SweepInstrument, rates_of, toml_of
from tickmesh.tools.chaos.small_tmpfs import BUDGET_BYTES

# A sweep's connections come and go by the dozen, and its outages have to fit into seconds. It asks the venue as often in a
# minute as others do in an hour: were the venue's minute used up, repairs would wait for the next one, and ids begin anew
SETTINGS = """
host = {host}
{instruments}
[feed]
stale_s = 2.0
backoff_s = [0.05, 0.5]
connections_per_5_minutes = 100000
fresh_min_s = 3.0
fresh_times = 60.0
clock_s = 5.0
renew = {renew}
renew_s = 5.0
resync = {resync}
lines = {lines}
check_instruments = {check_instruments}

[log]
outbox_read = {outbox_read}
outbox_spill = {outbox_spill}
outbox_segment_bytes = 65536
outbox_ram_bytes = {outbox_ram_bytes}
log_read = {log_read}
check_numbers = {check_numbers}
contradictions = {contradictions}
eras = {eras}
unsynced = {unsynced}
steady_clock = {steady_clock}
segment_bytes = 262144
keep_segments = 100000

[backfill]
enabled = {backfill}
backoff_s = [0.1, 1.0]

[venues.binance]
weight_per_minute = 1000000
[venues.binance_usdm]
weight_per_minute = 1000000

[executor]
instruments = ["binance.*"]

# The machine's clock is stepped for good: by default nothing would be ordered after the first step.
[risk]
clock_skew_max_ms = 0.0

[sentinel]
respawns_per_minute = {respawns}

[recorder]
segment_s = 3.0

[exchange]
seed = {seed}
trades_per_s = {trades_per_s}
quotes_per_s = {quotes_per_s}
life_s = 30.0
first_id = 3000000000
faults = "faults.toml"

[exchange.limits]
connections_per_5_minutes = 1000000
weight_per_minute = 1000000
raw_per_5_minutes = 100000000
messages_per_s = 1000

[exchange.usdm_limits]
connections_per_5_minutes = 1000000
weight_per_minute = 1000000
raw_per_5_minutes = 100000000
messages_per_s = 1000
"""
STANDING = """
[[faults]]
kind = "halt"
symbol = "{halted}"
[[faults]]
kind = "unknown"
symbol = "{unknown}"
"""


def market_settings(seed: int, switches: dict[str, Any], instruments: Sequence[SweepInstrument]) -> str:
    """The text of mesh.toml. `switches`: what is otherwise than in a whole mesh."""
    words = {
        "seed": seed,
        "resync": True,
        "renew": True,
        "respawns": 30,
        "lines": 2,
        "outbox_read": True,
        "outbox_spill": True,
        "outbox_ram_bytes": BUDGET_BYTES,
        "log_read": True,
        "check_numbers": True,
        "contradictions": True,
        "eras": True,
        "unsynced": True,
        "steady_clock": True,
        "check_instruments": True,
        "backfill": True,
        "host": [],
        **switches,
    }
    settings = {name: json.dumps(value) for name, value in words.items()}
    settings["instruments"] = toml_of(instruments)
    settings["trades_per_s"], settings["quotes_per_s"] = map(str, rates_of(instruments))
    return SETTINGS.format_map(settings)


def standing_faults() -> str:
    """The schedule of the faults that last all the time: one instrument is halted, one the venue does not know."""
    return STANDING.format(halted=HALTED, unknown=UNKNOWN)
