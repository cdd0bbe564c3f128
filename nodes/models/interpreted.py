"""A kernel run by Python instead of numba, on copies: it is slow, and its traceback has the line that compiled code has not."""

import traceback
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from tickmesh.nodes.models import calls

ALIKE: dict[type[BaseException], tuple[type[Exception], ...]] = {
    ZeroDivisionError: (ZeroDivisionError, FloatingPointError),
    IndexError: (IndexError,),
}


class Record:
    """One record of a structured array, its fields as attributes: as numba reads and writes them."""

    __slots__ = ("_record",)

    def __init__(self, record: np.void):
        object.__setattr__(self, "_record", record)

    def __getattr__(self, name: str) -> Any:
        value = self._record[self._known(name)]
        return Record(value) if isinstance(value, np.void) else value  # a record within it

    def __setattr__(self, name: str, value: Any) -> None:
        self._record[self._known(name)] = value

    def _known(self, name: str) -> str:
        names = self._record.dtype.names or ()
        if name not in names:
            raise AttributeError(f"there is no field {name!r}; there are {', '.join(names) or 'none'}")
        return name


class PlainRows:
    """A structured array that gives `Record`s."""

    def __init__(self, array: np.ndarray):
        self.array, self.shape, self.size, self.dtype = array, array.shape, array.size, array.dtype

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, key: Any) -> Any:
        found = self.array[key]
        return Record(found) if isinstance(found, np.void) else found


def line_of(kernel: Callable[..., Any], arguments: tuple[Any, ...], error: BaseException | None = None) -> tuple[str, str]:
    """Runs the kernel in Python on copies of the arguments, until it raises: (`file:line`, what it raised).

    ("", "") where it raises nothing, or nothing like `error`: Python counts otherwise than numba now and then.
    """
    copies = [PlainRows(one.copy()) if isinstance(one, np.ndarray) and one.dtype.names else one for one in arguments]
    alike = ALIKE.get(type(error), (Exception,)) if error is not None else (Exception,)
    try:
        with np.errstate(divide="raise", invalid="ignore", over="ignore", under="ignore"):
            plain(kernel)(*copies)
    except Exception as raised:  # noqa: BLE001 - a model's code may raise anything, and that is what is looked for
        ours = set(calls.files(kernel))
        lines = [frame for frame in traceback.extract_tb(raised.__traceback__) if frame.filename in ours]
        if isinstance(raised, alike) and lines:
            return f"{lines[-1].filename}:{lines[-1].lineno}", f"{type(raised).__name__}: {raised}"
    return "", ""


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function in Python, and so all that it calls by a global name."""
    made: dict[int, types.FunctionType] = {}

    def make(one: Callable[..., Any]) -> types.FunctionType:
        if id(one) not in made:
            source = calls.python(one)
            scope = dict(source.__globals__)
            made[id(one)] = types.FunctionType(source.__code__, scope, source.__name__, source.__defaults__, source.__closure__)
            scope |= {
                name: make(scope[name]) for name in source.__code__.co_names if hasattr(scope.get(name), "py_func")
            }  # in `scope`, which the function has: numba's own are replaced
        return made[id(one)]

    return make(function)
