"""Models with one fault each, written into a folder of their own that is added to nodes.models."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tickmesh.nodes import models

HEAD = '''"""A model with a fault."""

import numpy as np
from numba import njit

from tickmesh.bus.schema import Kind
from tickmesh.nodes.models.interface import QUOTE, Parameter

KINDS = (Kind.quote,)
HORIZON_NS = 0
PARAMETERS = {"scale": Parameter(1.0, 0.0, 1e6, "of its values")}
STATE = np.dtype([("n", "<i8"), ("x", "<f8")])
'''
KERNEL = """

@njit(cache=True)
def kernel(state, parameters, units, rows, count, quotes, trades, levels, out):
    s = state[0]
    p = parameters[0]
    n = 0
    for r in range(count):
        if rows[r].kind != QUOTE:
            continue
        q = quotes[rows[r].first]
        s.n += 1
{body}
    return n
"""
SIGNAL = """
        out[n].row = {row}
        out[n].value = {value}
        out[n].price = {price}
        out[n].reference_ticks = 0
        n += 1
"""


def source(value: str = "p.scale * 0.5", row: str = "r", price: str = "np.nan", before: str = "", head: str = "") -> str:
    """The text of a model that says `value` for every quote, after the lines `before`."""
    lines = "".join(f"        {line}\n" for line in before.splitlines())
    body = lines + SIGNAL.format(row=row, value=value, price=price).lstrip("\n")
    return HEAD + head + KERNEL.format(body=body.rstrip("\n"))


SEVEN_MORE = """for i in range(7):
    out[n].row = r
    out[n].value = 0.1
    out[n].price = np.nan
    n += 1"""
EIGHT = source(before=SEVEN_MORE)


def zero_at(number: int) -> str:
    """The text of a model that divides by zero at its quote of this number."""
    return source(before=f"s.x = 1 // (s.n - {number})")


def line_of(text: str, part: str) -> int:
    """The number of the line of a model's text with this in it."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


@contextmanager
def models_in(folder: Path) -> Iterator[Path]:
    """Lets the models of a folder be found by name."""
    models.__path__.append(str(folder))
    try:
        yield folder
    finally:
        models.__path__.remove(str(folder))
        for name, module in tuple(sys.modules.items()):
            if name.startswith("tickmesh.nodes.models.") and str(module.__file__).startswith(f"{folder}/"):
                del sys.modules[name]
