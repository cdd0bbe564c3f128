"""What a model remembers: one state record and two units for each instrument that it serves."""

from collections.abc import Iterable

import msgpack
import numpy as np

from tickmesh.nodes.models.interface import Floats, Records


class InstrumentStates:
    """The states of the instruments `subjects`; it also notes which others the log has had events of.

    A state may begin with zeros only where the log has nothing of the instrument before: that is what `others` is for.
    """

    def __init__(self, subjects: tuple[str, ...], dtype: np.dtype):
        self.subjects, self.dtype = subjects, dtype
        self.places = {subject: place for place, subject in enumerate(subjects)}
        self.reset()

    def reset(self) -> None:
        """Puts all to the start of the log."""
        count = len(self.subjects)
        self._states, self._units = np.zeros(count, self.dtype), np.full((count, 2), np.nan)
        self.others: set[str] = set()  # subjects that are not served and had an event of the kinds that the model reads
        # By place, what the kernel is given: state (1,), units (2,); views, made once.
        self.of: list[tuple[Records, Floats]] = [(self._states[i : i + 1], self._units[i]) for i in range(count)]

    def define(self, place: int, price_exponent: int, quantity_exponent: int) -> None:
        """Sets an instrument's units from its definition."""
        self._units[place] = float(f"1e{price_exponent}"), float(f"1e{quantity_exponent}")

    def save(self) -> bytes:
        """Packs all states by subject, and the names of the others."""
        states = {s: self._units[i].tobytes() + self._states[i].tobytes() for i, s in enumerate(self.subjects)}
        packed: bytes = msgpack.packb({"states": states, "others": sorted(self.others)})
        return packed

    def load(self, packed: bytes) -> None:
        """Takes up what `save` gave, maybe when other instruments were served: each keeps its own state.

        An instrument that is no longer served becomes one of the others. Raises ValueError where one is served that was not,
        and that the log has events of: its state follows from those.
        """
        saved = msgpack.unpackb(packed)
        states, others = saved["states"], set(saved["others"])
        if known := sorted(others & self.places.keys()):
            raise ValueError(f"{_short(known)} was not served, and the log has events of it from before")
        self.reset()
        self.others = others | (states.keys() - self.places.keys())
        for subject, place in self.places.items():
            if (state := states.get(subject)) is not None:
                self._units[place] = np.frombuffer(state, "<f8", 2)
                self._states[place] = np.frombuffer(state, self.dtype, 1, self._units[:1].nbytes)[0]


def _short(subjects: Iterable[str]) -> str:
    first, *rest = subjects
    return f"{first} (and {len(rest)} more)" if rest else first
