"""A websocket text frame, and what a faulty venue makes of it. Pure: bytes in, bytes out."""

import random
import string

import msgspec

from tickmesh.nodes.exchange.api.streams import text_frame

GARBAGE_MAX = 400
IDS = {"trade": "t", "bookTicker": "u", "depth": "u", "depth@100ms": "u"}  # part of a stream's name after `symbol@` → its id
LETTERS = string.ascii_letters + string.digits + '{}[]":,@# '
_encode = msgspec.json.Encoder().encode


def payload_of(frame: bytes) -> bytes:
    """The payload of one unmasked websocket frame (RFC 6455 §5.2)."""
    size = frame[1] & 127
    return frame[2:] if size < 126 else frame[4:] if size == 126 else frame[10:]


def garbage(frame: bytes, chance: random.Random) -> bytes:
    """The frame with its text replaced by random characters: readable as text, and as nothing else."""
    size = max(min(len(payload_of(frame)), GARBAGE_MAX), 8)
    return text_frame(("?" + "".join(chance.choices(LETTERS, k=size - 1))).encode())


def truncated(frame: bytes) -> bytes:
    """The frame with its JSON cut in the middle, never inside a character; the websocket frame itself is whole."""
    payload = payload_of(frame)
    return text_frame(payload[: len(payload) // 2].decode(errors="ignore").encode())


def id_of(stream: str) -> str:
    """The name of the id in a stream's frames; "" for a stream without one that follows from frame to frame."""
    return IDS.get(stream.partition("@")[2], "")


def _opened(frame: bytes) -> tuple[object, dict[str, object]]:
    """A frame's JSON, and the stream's data in it; ({}, {}) for one that is something else."""
    try:
        message = msgspec.json.decode(payload_of(frame))
    except msgspec.DecodeError:
        return {}, {}
    data = message.get("data", message) if isinstance(message, dict) else None
    return (message, data) if isinstance(data, dict) else ({}, {})


def jumped(frame: bytes, stream: str, by: int) -> bytes:
    """The frame with `by` added to its id, for the fault `jump`; one without an id stays as it is."""
    message, data = _opened(frame)
    field = id_of(stream)
    number = data.get(field)
    if not isinstance(number, int):
        return frame
    data[field] = number + by
    return text_frame(_encode(message))


def crossed(frame: bytes) -> bytes:
    """The frame with bids and asks exchanged; one without both stays as it is."""
    message, data = _opened(frame)
    if not data:
        return frame
    for bid, ask in (("b", "a"), ("B", "A"), ("bids", "asks")):
        if bid in data and ask in data:
            data[bid], data[ask] = data[ask], data[bid]
    return text_frame(_encode(message))
