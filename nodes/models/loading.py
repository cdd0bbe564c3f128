"""A kernel by its name: its module checked, its parameters checked, its arrays made."""

import importlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tickmesh.bus.config import Config, ConfigError
from tickmesh.nodes import models
from tickmesh.nodes.models.interface import Parameter, Records


def use_folder(config: Config) -> None:
    """Lets this process find the models of the mesh's own folder (`[paths] models`), beside the shipped ones.

    Raises ConfigError for a file there with a shipped one's name: whoever imports it would get the other.
    """
    folder = config.models_dir
    shipped = {path.name for path in Path(__file__).parent.glob("*.py")}
    if taken := sorted(path.name for path in folder.glob("*.py") if path.name in shipped):
        raise ConfigError(f"{folder / taken[0]} has the name of a shipped file, which comes first: give it a name of its own")
    if folder.is_dir() and str(folder) not in models.__path__:
        models.__path__.append(str(folder))


def folders() -> list[Path]:
    """The folders that models lie in: those of the package nodes.models, in order."""
    return [Path(folder) for folder in models.__path__]


def names() -> list[str]:
    """The names of all kernels: the files of these folders that define one."""
    paths = [path for folder in folders() for path in folder.glob("*.py")]
    return sorted({path.stem for path in paths if "\ndef kernel(" in path.read_text(errors="replace")})


def load(name: str) -> ModuleType:
    """Imports the module of a kernel, and numba with it. Raises ConfigError when there is none."""
    if name not in names():
        where = " or ".join(["nodes/models", *map(str, folders()[1:])])
        raise ConfigError(f"kernel {name!r} is no file of {where}; there are {', '.join(names())}")
    return importlib.import_module(f"tickmesh.nodes.models.{name}")


def compiled(kernel: Callable[..., int], arguments: tuple[Any, ...]) -> Callable[..., int]:
    """The kernel's machine code for arguments of exactly these types, after one call with these.

    It looks at no types: numba's own look takes longer (0.6 µs a call) than most kernels. Where numba compiles nothing
    (NUMBA_DISABLE_JIT), it is the kernel as it is.
    """
    import numba

    kernel(*arguments)  # compiles it, or loads it from the cache
    if not hasattr(kernel, "overloads"):
        return kernel
    types = tuple(numba.typeof(argument) for argument in arguments)
    code: Callable[..., int] = kernel.overloads[types].entry_point
    return code


def parameters(module: ModuleType, given: Mapping[str, float]) -> Records:
    """The kernel's parameters as an array of shape (1,), one float64 field each; defaults where `given` has none.

    Raises ConfigError with the name, the value and the range."""
    declared: dict[str, Parameter] = module.PARAMETERS
    kernel = module.__name__.rpartition(".")[2]
    for name, value in given.items():
        if name not in declared:
            raise ConfigError(f"kernel {kernel} has no parameter {name!r}; it has {', '.join(sorted(declared))}")
        least, most = declared[name].least, declared[name].most
        if not (math.isfinite(value) and least <= value <= most):
            raise ConfigError(f"{name} = {value!r} is impossible for kernel {kernel}; allowed: {least:g} to {most:g}")
    values = tuple(float(given.get(name, parameter.default)) for name, parameter in declared.items())
    return np.array([values], np.dtype([(name, "<f8") for name in declared]))
