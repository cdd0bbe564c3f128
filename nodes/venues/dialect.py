"""The words that every venue adapter uses (docs/new-venue.md)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

Routes = dict  # what an adapter's `decode` has to know; its own business


class FrameError(ValueError):
    """A frame that cannot be understood: a sentence for the refusal. `readable`: events of what could be read all the same."""

    readable: Sequence[bytearray] = ()


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
