"""`make bench`: every benchmark, or those named: `python -m bench bus decode`. Each figure stands beside its floor or peer.

A run leaves nothing behind, neither in the temporary folder nor in RAM, however it ends (but for SIGKILL).
`--json FILE`: figures of those that give them, as one object by name. TICKMESH_BENCH_ROUNDS: fewer rounds, for a quick look.
"""

import argparse
import importlib
import json
import signal
import sys
from pathlib import Path

from bench.floor import nothing_left

ALL = (
    "bus", "message", "signal_to_intent", "tick_to_order", "appends", "tails", "kill_switch", "gateway", "decode", "kernels",
    "features", "archive", "trade_columns", "disk", "bars", "books", "frames", "memory", "backtest", "sweep", "exchange",
    "capture",
)  # fmt: skip
LONG = ("soak",)  # only where it is named


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(ALL)}; none: all of them. Besides: {', '.join(LONG)}")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    asked = parser.parse_args(words)
    unknown = [name for name in asked.names if name not in (*ALL, *LONG)]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join((*ALL, *LONG))}", file=sys.stderr)
        return 2
    figures = {}
    for name in asked.names or ALL:
        print(f"\n== {name}", flush=True)
        with nothing_left():
            given = importlib.import_module(f"bench.{name}").main()
        if given is not None:
            figures[name] = given
            if asked.json:
                asked.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # folders and processes of a benchmark end with it
    sys.exit(main(sys.argv[1:]))
