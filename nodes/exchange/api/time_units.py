"""Microseconds on request (`timeUnit=MICROSECOND`, `X-MBX-TIME-UNIT`): times in the venue's JSON, multiplied by 1000.

The exchange's own clock is in ms; who asks for µs gets the same moments in the other unit. Pure.
"""

import re

from tickmesh.nodes.exchange.protocol import VenueError

_EVENT = re.compile(r'"e":"([A-Za-z0-9]+)"')
_TIMES = {  # event → its keys that are times
    "trade": "E|T", "aggTrade": "E|T", "depthUpdate": "E", "kline": "E|t|T", "24hrTicker": "E|O|C", "24hrMiniTicker": "E",
    "avgPrice": "E|T", "executionReport": "E|T|O|W|D", "listStatus": "E|T", "outboundAccountPosition": "E|u",
    "serverShutdown": "E", "eventStreamTerminated": "E",
}  # fmt: skip
_PATTERNS = {event: re.compile(rf'("(?:{keys})":)(\d+)') for event, keys in _TIMES.items()}
_ANSWER = re.compile(
    rb'("(?:serverTime|time|transactTime|transactionTime|updateTime|workingTime|trailingTime|T|openTime|closeTime|connectedSince|authorizedSince)":)(\d+)'
)
_CANDLE = re.compile(rb'([\[,]\[)(\d+)(,"[^\]]*?",)(\d+)(,")')  # a row of klines: open time first, close time seventh


def asks_for_microseconds(value: str | None) -> bool:
    """Whether a timeUnit asks for µs. Raises VenueError −1194 for an unknown unit."""
    if value is None or value.upper() == "MILLISECOND":
        return False
    if value.upper() == "MICROSECOND":
        return True
    raise VenueError(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")


def event_in_microseconds(data: str) -> str:
    """The JSON of a stream's event with its times in µs."""
    found = _EVENT.search(data, 0, 64)
    pattern = _PATTERNS.get(found[1]) if found else None
    return pattern.sub(r"\g<1>\g<2>000", data) if pattern else data


def answer_in_microseconds(body: bytes) -> bytes:
    """The JSON of a REST or WS-API answer with its times in µs."""
    if body.startswith(b"[["):
        return _CANDLE.sub(rb"\g<1>\g<2>000\g<3>\g<4>000\g<5>", b"," + body)[1:]
    return _ANSWER.sub(rb"\g<1>\g<2>000", body)
