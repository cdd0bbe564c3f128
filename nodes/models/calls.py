"""What a kernel is made of: the compiled functions that it calls, their files, and the numbers that numba freezes into it."""

import hashlib
import linecache
import types
from collections.abc import Callable, Iterator
from typing import Any, cast

FROZEN = (bool, int, float, complex, str, bytes, tuple, type(None))


def functions(kernel: Callable[..., Any]) -> list[Callable[..., Any]]:
    """The kernel and every function that it calls, through any number of others, compiled ones as numba's dispatchers."""
    found: dict[int, Callable[..., Any]] = {}
    waiting = [kernel]
    while waiting:
        one = waiting.pop()
        if id(one) not in found:
            found[id(one)] = one
            waiting += [value for _, value in _globals(one) if hasattr(value, "py_func")]
    return list(found.values())


def check_bounds(kernel: Callable[..., Any]) -> None:
    """Has numba check the bounds of every array that the kernel or what it calls reads or writes; to be called before it is
    compiled. A kernel beyond its arrays raises IndexError then, where it would else write into memory of others."""
    for one in functions(kernel):
        if (options := getattr(one, "targetoptions", None)) is not None:
            options["boundscheck"] = True


def files(kernel: Callable[..., Any]) -> list[str]:
    """The files of the kernel and of all that it calls, sorted."""
    return sorted({python(one).__code__.co_filename for one in functions(kernel)})


def frozen(kernel: Callable[..., Any]) -> list[str]:
    """`name = value` of each global number, text or array that the functions use, sorted: numba makes constants of them."""
    out = set()
    for one in functions(kernel):
        for name, value in _globals(one):
            if isinstance(value, FROZEN):
                out.add(f"{name} = {value!r}")
            elif hasattr(value, "dtype") and hasattr(value, "tobytes"):  # an array
                out.add(f"{name} = {value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}")
    return sorted(out)


def python(function: Callable[..., Any]) -> types.FunctionType:
    """The plain Python function of a dispatcher, or the function itself."""
    plain: Any = getattr(function, "py_func", function)
    return cast(types.FunctionType, plain)


def line_of(function: Callable[..., Any]) -> int:
    """The line of a function's `def`, below its decorators."""
    code = python(function).__code__
    lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
    return code.co_firstlineno + next((at for at, line in enumerate(lines) if line.lstrip().startswith("def ")), 0)


def _globals(function: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """(name, value) of what a function reads from outside: globals, attributes of modules (`ours.step`), and cells."""
    plain = python(function)
    yield from zip(plain.__code__.co_freevars, (cell.cell_contents for cell in plain.__closure__ or ()))
    codes = [plain.__code__]
    while codes:
        code = codes.pop()
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        for name in code.co_names:
            value = plain.__globals__.get(name)
            if isinstance(value, types.ModuleType) and value.__name__.partition(".")[0] not in ("numpy", "math", "numba"):
                for inner in set(code.co_names) & vars(value).keys():
                    yield f"{name}.{inner}", vars(value)[inner]
            elif name in plain.__globals__:
                yield name, value
