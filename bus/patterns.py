"""Patterns on `venue.symbol`, as several keys of mesh.toml have them."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from tickmesh.bus.settings import InstrumentSettings

SUBJECTS_SHOWN = 8  # in a sentence about all of them


def matching(patterns: Iterable[str], instruments: Iterable[InstrumentSettings]) -> tuple[InstrumentSettings, ...]:
    """The instruments whose `venue.symbol` one of the patterns matches (`binance.*`; case counts), in their order."""
    return tuple(one for one in instruments if any(fnmatchcase(one.subject, pattern) for pattern in patterns))


def some(subjects: list[str]) -> str:
    """The first of them in words, and how many there are."""
    shown = ", ".join(subjects[:SUBJECTS_SHOWN])
    return shown if len(subjects) <= SUBJECTS_SHOWN else f"{shown}, … ({len(subjects)} in all)"
