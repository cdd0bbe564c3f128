"""`make bench`: every benchmark, or those named: `python -m bench bus decode`. Each figure stands beside its floor or peer."""

import importlib
import sys

ALL = ("bus", "tick_to_order", "kill_switch", "decode", "kernels", "archive", "bars", "exchange", "capture")


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(ALL)}", file=sys.stderr)
        return 2
    for name in names or ALL:
        print(f"\n== {name}", flush=True)
        importlib.import_module(f"bench.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
