"""Numba's cache on a full disk: a kernel that cannot be kept is compiled all the same, and once more the next time."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tickmesh.bus.space import is_full, refusal

_logged: set[Path] = set()


def go_on_without_room() -> None:
    """Makes numba keep kernels where there is room, and go on where there is none; to be called before kernels are compiled.

    By itself (0.61 to 0.68) a kernel's first call raises OSError when its machine code cannot be written into the cache.
    """
    from numba.core import caching

    save: Callable[..., None] = caching.FunctionCache.save_overload
    if getattr(save, "goes_on", False):
        return

    def save_overload(self: Any, sig: object, data: object) -> None:
        try:
            save(self, sig, data)
        except OSError as error:
            if not is_full(error):
                raise
            if (folder := Path(self.cache_path)) not in _logged:
                _logged.add(folder)
                why = refusal(error, folder)
                logging.getLogger(__name__).warning("compiled kernels are not kept in %s: %s; they work", folder, why)

    vars(save_overload)["goes_on"] = True
    setattr(caching.FunctionCache, "save_overload", save_overload)  # noqa: B010 - mypy refuses what numba has no hook for
