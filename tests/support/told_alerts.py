"""Alert events as the log has them, for what reads troubles out of them."""

from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import decode, encode, stamp_sent, stamp_sequenced

SECOND = 10**9


def told(*alerts: tuple) -> list:
    """Alert events, one a second: (level, what, target[, more fields])."""
    out = []
    for seq, (level, what, target, *more) in enumerate(alerts, 1):
        content = {
            "level": level,
            "what": what,
            "target": target,
            "why": f"reason {seq}",
            "action": "none",
            **(more or [{}])[0],
        }
        raw = encode(Kind.alert, "sentinel-1" if more else "feed-binance-1", content)
        stamp_sent(raw, b"x".ljust(32, b"\0"), 1, seq, seq * SECOND)
        stamp_sequenced(raw, seq, 0, seq * SECOND)
        out.append(decode(raw))
    return out
