"""Libraries of the extra `research` (setup.cfg), which the mesh itself does not need: imported when they are first used."""

import sys
from importlib import import_module
from importlib.metadata import requires
from types import ModuleType

from tickmesh.storage.query.times import ReadError

_PACKAGES = {"sklearn": "scikit-learn"}  # where a package has another name than its module


def install_sentence(library: str, extra: str, purpose: str) -> str:
    """The sentence about a library that is not installed, with the command that installs it into this environment."""
    ranges = [line.partition(";") for line in requires("tickmesh") or () if line.startswith(library)]
    ranges.sort(key=lambda one: extra not in one[2])  # an installation may be older than the extra: then another one's range
    wanted = ranges[0][0].strip() if ranges else library
    return (
        f"{purpose} needs {library}, which the mesh itself does not and which is not installed. This installs it:\n"
        f"  {sys.executable} -m pip install '{wanted}'"
    )


def library(name: str, purpose: str, extra: str = "research") -> ModuleType:
    """Imports a library of an extra. Raises ReadError, with the command that installs it, where it is missing."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        module = name.partition(".")[0]
        if (error.name or "").partition(".")[0] != module:
            raise
        raise ReadError(install_sentence(_PACKAGES.get(module, module), extra, purpose)) from None
