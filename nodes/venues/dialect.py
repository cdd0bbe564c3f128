"""The words that every venue adapter uses (docs/new-venue.md)."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

Routes = dict  # what an adapter's `decode` has to know; its own business


class FrameError(ValueError):
    """A frame that cannot be understood: a sentence for the refusal. `subject`: the instrument whose book lost a change by
    it, where that can be told: it is synchronised anew at once. `readable`: events of what could be read all the same."""

    readable: Sequence[bytearray] = ()

    def __init__(self, why: str, subject: str = ""):
        super().__init__(why)
        self.subject = subject


class Unknown(FrameError):
    """The venue's own definitions have no instrument of this name."""


class Unwell(FrameError):
    """An answer in form, but the venue says that it cannot answer now: no evidence of anything, to be asked again."""


# What reading a damaged frame can raise; each becomes a FrameError. RecursionError: JSON nested a thousand deep.
UNREADABLE = (msgspec.MsgspecError, ValueError, struct.error, RecursionError)


@dataclass(frozen=True)
class Request:
    """A GET: `path` after the base address, `query` parameters, `weight` of the venue's request budget."""

    path: str
    query: dict[str, object] = field(default_factory=dict)
    weight: float = 1.0


@dataclass(frozen=True)
class Control:
    """A message that carries no market data. All False: nothing of interest (a heartbeat, a welcome)."""

    acknowledged: bool = False
    shutdown: bool = False
    refused: bool = False
    code: int | str = 0
    msg: str = ""
