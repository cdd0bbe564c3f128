"""A kernel by its name or file: its module checked, its parameters checked, its arrays made."""

import ast
import importlib
import importlib.util
import math
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tickmesh.bus.config import Config, ConfigError
from tickmesh.bus.names import FEATURE_BYTES
from tickmesh.bus.schema import Kind
from tickmesh.nodes import models
from tickmesh.nodes.models import cache, calls
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.nodes.models.interface import RANGE, Parameter, Records

PACKAGE = "tickmesh.nodes.models"
_KERNEL = re.compile(r"^def kernel\(", re.MULTILINE)
_FEATURES = re.compile(r"^FEATURES\b", re.MULTILINE)
_imported: dict[str, tuple[Path, str]] = {}  # a kernel → its file, and the hash of the sources that it was imported from
_own: set[str] = set()  # the models' folder of the mesh that this process works for, one at most
NO_KERNEL = "it defines no kernel: no line begins with `def kernel(`"
ARGUMENTS = ("state", "parameters", "units", "rows", "count", "quotes", "trades", "levels", "out")


def use_folder(config: Config) -> None:
    """Lets this process find the models of the mesh's own folder (`[paths] models`), beside the shipped ones; of no other mesh.

    Raises ConfigError for a file there with a shipped one's name: whoever imports it would get the other.
    """
    folder = config.models_dir
    here = Path(__file__).parent
    shipped = {path.name for path in here.glob("*.py")} | {f"{path.parent.name}.py" for path in here.glob("*/__init__.py")}
    if taken := sorted(path.name for path in folder.glob("*.py") if path.name in shipped):
        raise ConfigError(f"{folder / taken[0]} has the name of a shipped file, which comes first: give it a name of its own")
    for other in _own - {str(folder)}:
        models.__path__[:] = [path for path in models.__path__ if path != other]
    _own.clear()
    if folder.is_dir():
        _own.add(str(folder))
        if str(folder) not in models.__path__:
            models.__path__.append(str(folder))


def folders() -> list[Path]:
    """The folders that models lie in: those of the package nodes.models, in order."""
    return [Path(folder) for folder in models.__path__]


def names() -> list[str]:
    """The names of all kernels: the files of these folders that define one."""
    paths = [path for folder in folders() for path in folder.glob("*.py")]
    return sorted({path.stem for path in paths if _KERNEL.search(path.read_text(errors="replace"))})


def file_of(name: str) -> Path:
    """The file of a kernel, nodes/models/<name>.py. Raises ConfigError when there is none, or none with a kernel."""
    if name not in names():
        there = [path for folder in folders() if name.isidentifier() and (path := folder / f"{name}.py").is_file()]
        if there:
            raise ConfigError(f"{short(str(there[0]))}: {NO_KERNEL}")
        where = " or ".join(["nodes/models", *map(str, folders()[1:])])
        raise ConfigError(f"kernel {name!r} is no file of {where}; there are {', '.join(names())}")
    return next(path for folder in folders() if (path := folder / f"{name}.py").is_file())


def gives_features(name: str) -> bool:
    """Whether a kernel has FEATURES: it publishes those, no signals. The file is not imported: see cache.use."""
    return bool(_FEATURES.search(file_of(name).read_text(errors="replace")))


def load(name: str) -> ModuleType:
    """Imports the module nodes/models/<name>.py, and numba with it, and checks what it declares.

    A process that lives on, like a notebook's, is given an edited file as it is now, and what it imports of its own folder too.
    Raises ConfigError when there is none, ModelFault with file and line for one that cannot be used."""
    path = file_of(name)
    return _checked(path, lambda: _import(path, name))


def _import(path: Path, name: str) -> ModuleType:
    """Imports a kernel's module, anew where its sources are not those that it was imported from."""
    now = path, cache.sources_hash(path)
    if _imported.setdefault(name, now) != now:
        own = [file for file in cache.sources(path) if file.suffix == ".py" and not file.is_relative_to(Path(__file__).parent)]
        for file in own:
            # Python takes what it has compiled for current when time (in seconds) and size are the same: an edit may have both.
            Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)
            folder = next(one for one in folders() if file.is_relative_to(one))
            sys.modules.pop(".".join((PACKAGE, *file.relative_to(folder).with_suffix("").parts)), None)
        importlib.invalidate_caches()
        _imported[name] = now
    return importlib.import_module(f"{PACKAGE}.{name}")


def find(kernel: str) -> Path:
    """The file of a kernel, by its name or itself; its folder becomes one that models are found in.

    Raises ConfigError when there is none, ModelFault for one without a kernel."""
    if not kernel.endswith(".py"):
        return file_of(kernel)
    path = Path(kernel).resolve()
    if not path.is_file():
        raise ConfigError(f"there is no file {path}; kernels of this mesh: {', '.join(names())}")
    if path.parent not in [folder.resolve() for folder in folders()]:
        models.__path__.insert(0, str(path.parent))
    _check_syntax(path)
    if path.stem not in names():
        raise ModelFault(NO_KERNEL, short(str(path)))
    return path


def _checked(path: Path, run: Callable[[], ModuleType]) -> ModuleType:
    """The module that `run` imports, with all that a model declares."""
    shown = short(str(path))
    _check_syntax(path)
    try:
        module = run()
    except Exception as error:  # not narrower: a person's file runs as it is imported, and may raise anything
        lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f"{shown}:{lines[-1].lineno}" if lines else shown
        raise ModelFault(f"it cannot be imported: {type(error).__name__}: {error}", where) from error
    if wrong := _undeclared(module):
        raise ModelFault(f"{wrong} (nodes/models/interface.py has what a model declares)", shown)
    return module


def _check_syntax(path: Path) -> None:
    """Raises ModelFault with the line where a file is no Python, ConfigError where it cannot be read."""
    try:
        ast.parse(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except SyntaxError as error:
        shown = short(str(path))
        where = f"{shown}:{error.lineno}" if error.lineno else shown
        text = f" in {error.text.strip()!r}" if error.text else ""
        raise ModelFault(f"it is no Python: syntax error, {error.msg}{text}", where) from None
    except ValueError as error:  # a zero byte
        raise ModelFault(f"it is no Python: {error}", short(str(path))) from None


def _undeclared(module: ModuleType) -> str:
    """What of a model's declarations is missing or wrong, a sentence; "" where all is well."""
    allowed = (Kind.quote, Kind.trade, Kind.depth)
    for name in ("KINDS", "PARAMETERS", "STATE", "HORIZON_NS", "kernel"):
        if not hasattr(module, name) and not (name == "HORIZON_NS" and hasattr(module, "FEATURES")):
            return f"it declares no {name}"
    if not module.KINDS or any(kind not in allowed for kind in module.KINDS):
        return f"KINDS = {module.KINDS!r} is impossible; allowed: some of quote, trade, depth"
    if not (isinstance(module.STATE, np.dtype) and module.STATE.names) or module.STATE.hasobject:
        return f"STATE = {module.STATE!r} is impossible; allowed: a structured numpy dtype of plain numbers"
    for name, one in module.PARAMETERS.items():
        if not isinstance(one, Parameter):
            return f"PARAMETERS[{name!r}] = {one!r} is impossible; allowed: Parameter(default, least, most, meaning)"
        if not one.least <= one.default <= one.most:
            bounds = f"least to most, {one.least!r} to {one.most!r}"
            return f"PARAMETERS[{name!r}] has the default {one.default!r}; allowed: {bounds}"
    if hasattr(module, "FEATURES") and (wrong := _impossible_features(module.FEATURES)):
        return wrong
    if "wanted" in module.PARAMETERS:
        return "PARAMETERS has 'wanted', which is what a kernel with FEATURES finds the chosen ones by; allowed: another name"
    least, most = value_range(module)
    if not (math.isfinite(least) and math.isfinite(most) and least < most):
        return f"RANGE = {(least, most)} is impossible; allowed: two finite numbers, the lesser first"
    horizon = getattr(module, "HORIZON_NS", 0)
    if not isinstance(horizon, (int, np.integer)) or isinstance(horizon, bool) or not 0 <= horizon < 2**63:
        return f"HORIZON_NS = {horizon!r} is impossible; allowed: a whole number of ns, 0 or more, like 10_000_000_000"
    if not callable(module.kernel):
        return f"kernel = {module.kernel!r} is impossible; allowed: a function under @njit"
    code = calls.python(module.kernel).__code__
    if code.co_argcount != len(ARGUMENTS):
        return f"kernel takes {code.co_argcount} arguments; it is given {len(ARGUMENTS)}: {', '.join(ARGUMENTS)}"
    return ""


def _impossible_features(names: Any) -> str:
    """What is wrong with a kernel's FEATURES, a sentence; "" for nothing."""
    fit = isinstance(names, (tuple, list)) and all(isinstance(name, str) for name in names)
    if not fit or not names or len(set(names)) < len(names) or any(not 0 < len(n.encode()) <= FEATURE_BYTES for n in names):
        return f"FEATURES = {names!r} is impossible; allowed: names of 1 to {FEATURE_BYTES} bytes, each once"
    return ""


def wanted_features(module: ModuleType, patterns: Sequence[str]) -> Records | None:
    """Which of a kernel's FEATURES `features` in mesh.toml chooses, (FEATURES,) u1; None for a kernel of signals, with none.

    Raises ConfigError where the one is there without the other, and for a pattern that matches none."""
    kernel, names = module.__name__.rpartition(".")[2], getattr(module, "FEATURES", ())
    if not names:
        if patterns:
            raise ConfigError(f"kernel {kernel} publishes signals: features = {list(patterns)} is impossible; leave it out")
        return None
    if not patterns:
        raise ConfigError(f'kernel {kernel} publishes features: say which, like features = ["{names[0]}"], or "*" for all')
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(f"{pattern!r} is no feature of kernel {kernel}; there are {', '.join(names)}")
    return np.array([any(fnmatchcase(name, pattern) for pattern in patterns) for name in names], "u1")


def kinds_of(module: ModuleType, wanted: Records | None) -> tuple[Kind, ...]:
    """The kinds that a kernel reads: its KINDS, or, where it says so, those of them that the wanted features are made of."""
    if wanted is None or not hasattr(module, "kinds_of"):
        return tuple(module.KINDS)
    needed = module.kinds_of([name for name, one in zip(module.FEATURES, wanted) if one])
    return tuple(kind for kind in module.KINDS if kind in needed)


def value_range(module: ModuleType) -> tuple[float, float]:
    """(least, most) that the values of a kernel may be: its RANGE, or −1 … +1."""
    least, most = getattr(module, "RANGE", RANGE)
    return float(least), float(most)


def lookback_ns(module: ModuleType, given: Records) -> int:
    """How much of the past a kernel's state depends on with these parameters, in ns; 0: all of it."""
    declared = getattr(module, "LOOKBACK_S", 0)
    if callable(declared):
        declared = declared({name: float(given[name][0]) for name in given.dtype.names or () if name != "wanted"})
    return int(float(declared) * 1e9)


def short(file: str) -> str:
    """A file's name for a person: below the project's folder where it lies there."""
    path = Path(file)
    for folder in folders():
        if path.parent in (folder, folder.resolve()):
            return "/".join(path.parts[-3:]) if folder.parts[-2:] == ("nodes", "models") else file
    return file


def compiled(
    kernel: Callable[..., int], arguments: tuple[Any, ...], begin: Callable[[], object] | None = None
) -> Callable[..., int]:
    """The kernel's machine code for arguments of exactly these types, after one call with these; it checks arrays' bounds.

    It looks at no types: numba's own look takes longer (0.6 µs a call) than most kernels. Where numba compiles nothing
    (NUMBA_DISABLE_JIT), it is the kernel as it is. `begin` is called when it is compiled, before that call. Raises ModelFault
    with the line that numba cannot compile.
    """
    import numba
    from numba.core.errors import NumbaError

    if not hasattr(kernel, "py_func") and not getattr(numba.config, "DISABLE_JIT", False):
        where = f"{short(calls.python(kernel).__code__.co_filename)}:{calls.line_of(kernel)}"
        raise ModelFault("the kernel is not compiled: put @njit(cache=True) above its def (from numba import njit)", where)
    calls.check_bounds(kernel)
    try:
        if hasattr(kernel, "compile"):
            kernel.compile(tuple(numba.typeof(argument) for argument in arguments))  # or loads it from the cache
        if begin is not None:
            begin()
        kernel(*arguments)
    except NumbaError as error:
        code = calls.python(kernel).__code__
        where = f"{short(code.co_filename)}:{getattr(getattr(error, 'loc', None), 'line', calls.line_of(kernel))}"
        raise ModelFault(f"numba cannot compile it: {sentence(error)}", where) from error
    except KeyError as error:  # numba's own way to refuse a field that a record does not have
        code = calls.python(kernel).__code__
        what = f"a record has no field {error}: of STATE, of PARAMETERS, or of a row"
        lines = field_lines(code.co_filename, str(error.args[0]))
        raise ModelFault(what, f"{short(code.co_filename)}:{lines[0] if lines else calls.line_of(kernel)}") from error
    if not hasattr(kernel, "overloads"):
        return kernel
    types = tuple(numba.typeof(argument) for argument in arguments)
    machine: Callable[..., int] = kernel.overloads[types].entry_point
    return machine


def sentence(error: BaseException) -> str:
    """What numba says of a function, in one line: the reason, without its pages of advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    chosen = [
        line for line in lines if not line.startswith(("Failed in", "File ", "During:", "<source", "This error", "For more"))
    ]
    return " ".join(chosen[:2])[:300] or type(error).__name__


def field_lines(file: str, name: str) -> list[int]:
    """The lines of a file that read or write an attribute of this name."""
    tree = ast.parse(Path(file).read_bytes())
    return sorted(node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == name)


def loop_lines(file: Path) -> tuple[list[int], int]:
    """The lines of a kernel's file with a `while`, which alone may have no end, and the line where the kernel begins."""
    text = file.read_text(encoding="utf-8")
    begins = _KERNEL.search(text)
    line = text.count("\n", 0, begins.start()) + 1 if begins else 1
    return sorted(node.lineno for node in ast.walk(ast.parse(text)) if isinstance(node, ast.While)), line


def parameters(module: ModuleType, given: Mapping[str, float], wanted: Records | None = None) -> Records:
    """The kernel's parameters as an array of shape (1,), one float64 field each, and `wanted`, (FEATURES,) u1, if it is given;
    defaults where `given` has none.

    Raises ConfigError with the name, the value and the range."""
    plain = chosen(module.PARAMETERS, given, f"kernel {module.__name__.rpartition('.')[2]}")
    if wanted is None:
        return plain
    return np.array([(*plain[0], wanted)], np.dtype([*plain.dtype.descr, ("wanted", "u1", wanted.shape)]))


def chosen(declared: Mapping[str, Parameter], given: Mapping[str, float], whose: str) -> Records:
    """As `parameters`, of what is declared anywhere; `whose`: in words."""
    for name, value in given.items():
        if name not in declared:
            raise ConfigError(f"{whose} has no parameter {name!r}; it has {', '.join(sorted(declared)) or 'none'}")
        least, most = declared[name].least, declared[name].most
        if not (math.isfinite(value) and least <= value <= most):
            raise ConfigError(f"{name} = {value!r} is impossible for {whose}; allowed: {least:g} to {most:g}")
    values = tuple(float(given.get(name, parameter.default)) for name, parameter in declared.items())
    return np.array([values], np.dtype([(name, "<f8") for name in declared]))
