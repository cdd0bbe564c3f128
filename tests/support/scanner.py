"""The compiled scanner, beside the kernels that tests share; and what an adapter makes of frames with it and without."""

import os
import subprocess
from functools import cache
from pathlib import Path

from tickmesh.bus import compiling_objects
from tickmesh.bus.compiled_objects import load
from tickmesh.nodes.feed.scanning import KERNEL, scanner_path
from tickmesh.nodes.venues.parsing.dialect import FrameError, OddRows
from tickmesh.nodes.venues.scanning.scanner import FrameScanner
from tickmesh.nodes.venues.table import adapter_of

RECV_NS = 1_723_161_255_030_314_667


@cache
def scanner_address() -> int:
    """Where the compiled scanner is in this process; compiled in another one, once for all tests."""
    path = scanner_path(Path(os.environ["NUMBA_CACHE_DIR"]))
    subprocess.run(compiling_objects.command(KERNEL, path), check=True, stdout=subprocess.DEVNULL)
    return load(path)["scan"]


def decoded(adapter, frame, known):
    """The events of a frame by the adapter alone, and what it says of a frame that it cannot read."""
    try:
        return [bytes(event) for event in adapter.decode(frame, RECV_NS, known)], ""
    except OddRows as error:
        return [bytes(event) for event in error.readable], str(error)
    except FrameError as error:
        return [], f"{error} {error.subject}"


class BothWays:
    """Reads frames with the scanner and without, each with an adapter's tables of its own; compares every event."""

    def __init__(self, venue, instruments):
        self.adapter = adapter_of(venue)
        self.known, self.alone = self.adapter.routes(instruments), self.adapter.routes(instruments)
        self.scanner = FrameScanner(scanner_address(), self.adapter.forms(self.known))

    def read(self, frames):
        """The events of frames that one read of a socket brought; which of them the scanner recognised."""
        found, recognised = [], []
        for frame, event in zip(frames, self.scanner.scan(frames, RECV_NS), strict=True):
            with_scanner = ([bytes(event)], "") if event is not None else decoded(self.adapter, frame, self.known)
            assert with_scanner == decoded(self.adapter, frame, self.alone), frame[:2000]
            found.append(with_scanner[0])
            recognised.append(event is not None)
        return found, recognised
