"""Libraries that only some commands need: an installation has them when it asked for the extra (setup.cfg)."""

import importlib
from importlib.util import find_spec

from tickmesh.research.libraries import install_sentence
from tickmesh.tools.terminal import Failure


def need(library: str, extra: str, purpose: str) -> None:
    """Raises Failure, with the command that installs it into this environment, where a library of an extra is missing."""
    if find_spec(library) is not None:
        return
    raise Failure(install_sentence(library, extra, purpose))


def use_matplotlib(purpose: str) -> None:
    """Chooses the backend that needs no display. Raises Failure without matplotlib."""
    need("matplotlib", "plot", purpose)
    importlib.import_module("matplotlib").use("Agg")
