"""The judge's verdict on a capture beside a log that has these events; it accounts for every line of the capture."""

import gzip
from pathlib import Path

from tests.support.stored import write_log
from tests.support.verify_scene import frame, renumbered
from tickmesh.bus.config import load
from tickmesh.tools import verify as command

DATA_NULL = '1723161600000 {"stream":"btcusdt@trade","data":null}'


def judged(lines: list, events: list[bytes], name: str = "capture.dat") -> dict:
    """Writes lines as a capture and judges the log against it; gives the verdict, in which every line is accounted for."""
    path = Path(name)
    data = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    if not list(load().log_dir.glob("*.seg")):
        write_log(load().log_dir, renumbered(events))
    result = command.verify([path])
    parts = ("lines_compared", "lines_repeated", "lines_named", "lines_not_compared")
    assert sum(result[part] for part in parts) == result["lines"] == len([line for line in lines if line.strip()])
    assert result["ok"] == (result["verdict"] == "ok")
    return result


def bad_trade(**fields) -> str:
    """A line of a trade with these fields replaced."""
    data = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": 9, "p": "1.0", "q": "1.0", "T": 1, "m": True} | fields
    return frame(1, "trade", data)
