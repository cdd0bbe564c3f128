"""Where machine code is kept, and what numba does beside compiling: a full disk, and scipy, which it imports to see it."""

import logging
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tickmesh.bus.config import Config
from tickmesh.bus.space import is_full, refusal

_logged: set[Path] = set()


def base_folder(config: Config) -> Path:
    """Where machine code lies, and what is known of kernels: NUMBA_CACHE_DIR if that is set, else the mesh's run/kernels."""
    return Path(os.environ.get("NUMBA_CACHE_DIR") or config.run_dir / "kernels").resolve()


def go_on_without_room() -> None:
    """Makes numba keep kernels where there is room, and go on where there is none; to be called before kernels are compiled.

    By itself (0.61 to 0.68) a kernel's first call raises OSError when its machine code cannot be written into the cache.
    It leaves scipy alone, too.
    """
    from numba.core import caching

    leave_scipy_alone()
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


def leave_scipy_alone() -> None:
    """Makes numba look for scipy instead of importing it; to be called before kernels are compiled or loaded.

    By itself (0.61 to 0.68) numba imports scipy.linalg before a process's first kernel, half a second of CPU, where scipy is
    installed: to know whether there is a BLAS. A kernel that needs one (`@`, numpy.linalg) still imports it as it is compiled.
    """
    from numba.core.cpu import CPUContext

    load: Callable[..., None] | None = getattr(CPUContext, "load_additional_registries", None)
    if load is None or getattr(load, "looks_only", False) or "numba.np.arraymath" in sys.modules:  # that one has asked already
        return

    def load_additional_registries(self: Any) -> None:
        setattr(CPUContext, "load_additional_registries", load)  # noqa: B010 - the first time is the only one that asks
        from numba.np import linalg

        ask = getattr(linalg, "ensure_blas", None)  # another numba asks elsewhere: then it imports scipy, as by itself
        if ask is not None:
            vars(linalg)["ensure_blas"] = _look_for_scipy
        try:
            load(self)
        finally:
            if ask is not None:
                vars(linalg)["ensure_blas"] = ask

    vars(load_additional_registries)["looks_only"] = True
    setattr(CPUContext, "load_additional_registries", load_additional_registries)  # noqa: B010


def _look_for_scipy() -> None:
    if find_spec("scipy") is None:
        raise ImportError("scipy is not installed")
