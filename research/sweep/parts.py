"""What a sweep is made of: one part is one backtest, or one file of bars; what is asked of a worker, and what it answers."""

from typing import Any, Literal

import msgspec

Work = Literal["backtest", "bars"]


class DataMark(msgspec.Struct, frozen=True):
    """How much sealed data there is up to a day: a worker that sees another amount reads other data."""

    log_id: int
    sealed_seq: int
    last_day: str
    files: int
    bytes: int


class SweepPart(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One part, as a worker is given it.

    key          what it is known by: a hash over code, settings and data, so that the same key means the same answer
    place        a mesh's folder, or a URL of one
    parameters   name → value: words of `tickmesh.backtest`, or keys of mesh.toml (`models.NAME.KEY`)
    instrument   the one that is traded; "": all at once
    interval_ns  of the gains that are kept
    engine, kernels   hashes of the program's code and of each model's: a worker that has others refuses
    to, every_s  of bars: the file that is written, and their length
    """

    key: str
    work: Work
    place: str
    parameters: dict[str, Any]
    strategies: tuple[str, ...]
    instrument: str
    start_ns: int
    end_ns: int
    interval_ns: int
    engine: str
    kernels: dict[str, str]
    data: DataMark
    to: str = ""
    every_s: int = 0


class KernelQuestion(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Asks a worker for the code hashes of kernels of a mesh: of what is loaded, which only a fresh process knows."""

    place: str
    kernels: tuple[str, ...]


class PartAnswer(msgspec.Struct, kw_only=True, tag=True):
    """What became of a part. `error`: a sentence, "" where it is done.

    `measures`: name → number, None where it is not defined and `why` has the reason; `coverage`: sentences about missing data;
    `gains`: what each whole interval gained, float64, little-endian.
    """

    key: str
    error: str = ""
    measures: dict[str, float | int | None] = {}
    why: dict[str, str] = {}
    coverage: tuple[str, ...] = ()
    currency: str = ""
    gains: bytes = b""
    seconds: float = 0.0


class KernelAnswer(msgspec.Struct, kw_only=True, tag=True):
    """The code hash of each kernel, or why it has none."""

    codes: dict[str, str]


Question = SweepPart | KernelQuestion
Answer = PartAnswer | KernelAnswer


def failed(part: SweepPart, error: str, seconds: float = 0.0) -> PartAnswer:
    """The answer of a part that failed, with a sentence."""
    return PartAnswer(key=part.key, error=error, seconds=seconds)
