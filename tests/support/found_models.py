"""Which folders a process finds models in is the process's: a test leaves to the next one what it found."""

import contextlib
from collections.abc import Iterator

from tickmesh.nodes import models
from tickmesh.nodes.models import loading


@contextlib.contextmanager
def folders_kept() -> Iterator[None]:
    """Surrounds whatever works for a mesh in this process; after it models are found where they were before."""
    folders, own = list(models.__path__), set(loading._own)
    try:
        yield
    finally:
        models.__path__[:] = folders
        loading._own.clear()
        loading._own.update(own)
