"""The instruments of a mesh with their exponents: those that mesh.toml states, else those decided from the venue's definitions.

What is decided is kept in `instruments.json` of the source's folder and stays: both lines of a venue, what repairs, trades and
reads must all mean the same number by a mantissa, today and in a year. The first decision wins; who comes later takes it over.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from tickmesh.bus.config import Config, ConfigError
from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.files import write_file
from tickmesh.bus.setting_types import Exponent
from tickmesh.bus.settings import Instrument, InstrumentSettings

FILE = "instruments.json"


class ExponentDecision(msgspec.Struct, frozen=True):
    """The exponents of one instrument, and the venue's tick and lot size that they were decided from, for people."""

    price_exponent: Exponent
    quantity_exponent: Exponent
    tick_size: str = ""
    lot_size: str = ""
    decided_ns: int = 0


_decode = msgspec.json.Decoder(dict[str, ExponentDecision]).decode


def read_decisions(path: Path) -> dict[str, ExponentDecision]:
    """The decisions in a file, by subject; none where there is no file. Raises ConfigError for a damaged one."""
    try:
        return _decode(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read: {error}. It has the exponents of what is stored beside it: take a copy, or remove "
            f"it and state price_exponent and quantity_exponent of every instrument in mesh.toml, as the archive's files do"
        ) from None


class DecidedInstruments(Mapping[str, Instrument]):
    """Subject → Instrument, of those of mesh.toml (of one venue, if named) whose exponents are known by now.

    Whoever asks for one that is not known has the file read again: another process may have decided it meanwhile.
    """

    def __init__(self, config: Config, venue: str = ""):
        self._path = config.source_dir / FILE
        self._settings = {one.subject: one for one in config.instruments if venue in ("", one.venue)}
        self._known: dict[str, Instrument] = {}
        self._look()

    def __getitem__(self, subject: str) -> Instrument:
        if subject not in self._known and subject in self._settings:
            self._look()
        return self._known[subject]

    def __contains__(self, subject: object) -> bool:
        return subject in self._known or super().__contains__(subject)

    def __iter__(self) -> Iterator[str]:
        if len(self._known) < len(self._settings):
            self._look()
        return iter(tuple(self._known))

    def __len__(self) -> int:
        return len(self._known)

    def for_reading(self, subject: str) -> Instrument | None:
        """The instrument as stored data has it: at −8 where nothing was decided, as of old; None where mesh.toml has none."""
        settings = self._settings.get(subject)
        known = self.get(subject)
        return Instrument(settings.symbol, settings.venue) if known is None and settings is not None else known

    def keep(self, wanted: Mapping[str, ExponentDecision]) -> list[Instrument]:
        """Keeps decisions about instruments that are not known; gives these, at the exponents that were decided first."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._path.with_suffix(".lock")) as lock:
            lock.acquire()
            decisions = read_decisions(self._path)
            if wanted.keys() - decisions.keys():
                decisions = dict(sorted({**wanted, **decisions}.items()))
                write_file(self._path, msgspec.json.format(msgspec.json.encode(decisions)) + b"\n")
        self._take(decisions)
        return [self._known[subject] for subject in wanted]

    def _look(self) -> None:
        self._take(read_decisions(self._path))

    def _take(self, decisions: Mapping[str, ExponentDecision]) -> None:
        known = {subject: _known(one, decisions.get(subject)) for subject, one in self._settings.items()}
        self._known = {subject: one for subject, one in known.items() if one is not None}


def _known(settings: InstrumentSettings, decision: ExponentDecision | None) -> Instrument | None:
    """What mesh.toml states comes before what was decided; None where neither says it."""
    price, quantity = settings.price_exponent, settings.quantity_exponent
    if decision is not None:
        price = decision.price_exponent if price is None else price
        quantity = decision.quantity_exponent if quantity is None else quantity
    if price is None or quantity is None:
        return None
    return Instrument(settings.symbol, settings.venue, price, quantity)
