"""Libraries that only some commands need: an installation has them when it asked for the extra (setup.cfg)."""

import importlib
import sys
from importlib.metadata import requires
from importlib.util import find_spec

from tickmesh.tools.terminal import Failure


def need(library: str, extra: str, purpose: str) -> None:
    """Raises Failure, with the command that installs it into this environment, where a library of an extra is missing."""
    if find_spec(library) is not None:
        return
    range_ = next(
        (line.partition(";")[0].strip() for line in requires("tickmesh") or () if line.startswith(library) and extra in line),
        library,
    )
    raise Failure(
        f"{purpose} needs {library}, which the mesh itself does not and which is not installed. This installs it:\n"
        f"  {sys.executable} -m pip install '{range_}'"
    )


def use_matplotlib(purpose: str) -> None:
    """Chooses the backend that needs no display. Raises Failure without matplotlib."""
    need("matplotlib", "plot", purpose)
    importlib.import_module("matplotlib").use("Agg")
