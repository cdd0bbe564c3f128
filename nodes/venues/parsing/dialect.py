"""The words that every venue adapter uses (docs/new-venue.md)."""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import msgspec

from tickmesh.bus.settings import InstrumentSettings

InstrumentT = TypeVar("InstrumentT", bound=InstrumentSettings)


class FrameError(ValueError):
    """A frame that cannot be understood, with a sentence for the refusal.

    `subject`: the instrument whose book lost a change by it, or "" where that is not known: it is synchronised anew at once.
    `readable`: events of what could be read all the same.
    """

    readable: Sequence[bytearray] = ()

    def __init__(self, why: str, subject: str = ""):
        super().__init__(why)
        self.subject = subject


class OddRows(FrameError):
    """Rows of a frame that nobody can hold; `readable` has the events of all the others. No book lost a change by it."""

    def __init__(self, odd: Sequence[str], readable: Sequence[bytearray] = ()):
        more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
        super().__init__(f"{odd[0]}{more}")
        self.readable = readable


class Unknown(FrameError):
    """The venue has no instrument of this name, by its own definitions."""


class Unwell(FrameError):
    """The venue cannot answer now: that is no evidence of anything, and the request is to be sent again."""


# What reading a damaged frame can raise; each becomes a FrameError. RecursionError: JSON nested a thousand deep.
UNREADABLE = (msgspec.MsgspecError, ValueError, struct.error, RecursionError)


@dataclass(frozen=True)
class Request:
    """A GET: `path` after the base address, `query` parameters, `weight` of the venue's request budget."""

    path: str
    query: dict[str, object] = field(default_factory=dict)
    weight: float = 1.0


def error_text(body: bytes) -> tuple[int, str]:
    """(0, the beginning of a REST refusal's body as text): for a refusal that states no error code."""
    return 0, body[:200].decode("utf-8", "replace")


@dataclass(frozen=True)
class RestRules:
    """A venue's own conventions over REST, for the client that all venues share (nodes/net/rest.py).

    `used_weight_header`: of an answer, the weight that this address has used in the running minute; "": none states it.
    `api_key_header`: of a request, the client's key; "": no key is known here. `limited_statuses`: HTTP statuses that mean "too
    many requests, wait". `decode_error`: body of a refusal → (error code, 0 for none; message); it never raises.
    """

    used_weight_header: str = ""
    api_key_header: str = ""
    limited_statuses: frozenset[int] = frozenset((429,))
    decode_error: Callable[[bytes], tuple[int, str]] = error_text


class Question(NamedTuple):
    """A request for definitions, and the instruments that its answer is about."""

    request: Request
    instruments: tuple[InstrumentSettings, ...]


def batched(instruments: Sequence[InstrumentT], most: int) -> Iterator[tuple[InstrumentT, ...]]:
    """The instruments in order, in groups of at most `most`."""
    for start in range(0, len(instruments), most):
        yield tuple(instruments[start : start + most])


@dataclass(frozen=True)
class Control:
    """The meaning of a message without market data; all False: nothing of interest (a heartbeat, a welcome).

    `acknowledged`: it confirms a subscription; `shutdown`: the venue will close the connection; `refused`: it refuses a
    request, with its `code` and `msg`.
    """

    acknowledged: bool = False
    shutdown: bool = False
    refused: bool = False
    code: int | str = 0
    msg: str = ""
