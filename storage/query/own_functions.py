"""What a person's own numba function did wrong, as a sentence."""

from collections.abc import Callable
from typing import Any

from numba.core.errors import NumbaError

from tickmesh.storage.query.times import ReadError

FAILURES = (NumbaError, KeyError, ArithmeticError, IndexError, ValueError, RuntimeError)  # what calling one may raise


def failure(function: Callable[..., Any], error: Exception, where: str) -> ReadError:
    """Builds the error for one of FAILURES. `where`: the instrument, and the event where it is known."""
    name = str(getattr(function, "__name__", function))
    if isinstance(error, KeyError):  # numba's for a field of a record
        return ReadError(f"{name} does not compile: it uses the field {error}, which its record has not")
    if isinstance(error, NumbaError):
        return ReadError(f"{name} does not compile: {str(error).strip().splitlines()[-1]}")
    return ReadError(f"{name} raised {type(error).__name__} for {where}: {error}")
