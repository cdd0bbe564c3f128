"""Topic prefixes and places in the log, as people write them."""

import re
from datetime import UTC, datetime

from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.topics import TABLE, Lane
from tickmesh.tools.table import process_names
from tickmesh.tools.terminal import UsageFailure

UNITS_NS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
AGO = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def kinds_of(prefixes: list[str], config: Config) -> tuple[Kind, ...]:
    """The kinds that topic prefixes name; all kinds for no prefix. Raises UsageFailure for a topic that cannot exist."""
    kinds = []
    for prefix in prefixes:
        name, dot, subject = prefix.partition(".")
        if name not in Kind.__members__:
            raise UsageFailure(f"there is no topic {prefix!r}; a topic begins with one of {', '.join(k.name for k in Kind)}")
        kind = Kind[name]
        known = process_names(config) if TABLE[kind].lane is Lane.system else [i.subject for i in config.instruments]
        if dot and not any(matches(f"{name}.{other}", prefix) for other in known):
            raise UsageFailure(f"there is no topic {prefix!r}; the subjects of {name} are {', '.join(known)}")
        kinds.append(kind)
    return tuple(dict.fromkeys(kinds)) or tuple(Kind)


def matches(topic: str, prefix: str) -> bool:
    """Whether a topic begins with a prefix of whole words: `trade.binance`, not `trade.bin`, for `trade.binance.BTCUSDT`."""
    return topic == prefix or topic.startswith(prefix + ".")


def start_position(text: str, log: LogReader) -> tuple[int, int]:
    """The place where reading begins for `--from`: (after this seq, not before this time in ns).

    `text`: a seq, a time (UTC unless it says otherwise), or `30s` ago. A time before the log's begin is in the archive.
    """
    if text.isdigit():
        return max(int(text) - 1, 0), 0
    if match := AGO.fullmatch(text):
        since_ns = now_ns() - int(float(match[1]) * UNITS_NS[match[2]])
        return log.seq_at(since_ns), since_ns
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageFailure(
            f"--from {text!r} is neither a sequence number (4711), nor a time (2026-01-31T12:00:00), nor so long ago (30s)"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since_ns = int(moment.timestamp() * 10**6) * 1000
    return log.seq_at(since_ns), since_ns
