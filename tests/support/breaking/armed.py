"""A whole node process under a watch: `python -m tests.support.breaking.armed ROOT SITE NTH FATE NODE …` kills itself at that
call.

An empty SITE lets it live, and the file ROOT/calls then tells what it did, one JSON row a call.
"""

import json
import sys
from pathlib import Path

from tests.support.breaking.runs import count_lmdb
from tests.support.breaking.watch import Fate, Step, Watch
from tickmesh.nodes.__main__ import main


def run(root: Path, site: str, nth: int, fate: str, words: list[str]) -> int:
    """Runs the node command `words`, killed at the nth call of `site`; gives its exit status and leaves ROOT/calls."""
    watch = Watch(root / "data", Step(site, nth, Fate[fate]) if site else None)
    count_lmdb(watch)
    with watch:
        status = main(words)
    with open(root / "calls", "w") as file:
        for call in watch.calls:
            file.write(json.dumps(call) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5:]))
