"""Runs the cells of a notebook in order, in one namespace, as Jupyter does with plain Python: without a kernel of its own."""

import ast
import json
from pathlib import Path
from typing import Any


class CellError(Exception):
    """A cell that raised; its message names the notebook and shows the cell."""


def cells(path: Path) -> list[str]:
    """The code cells of a notebook (nbformat 4)."""
    book = json.loads(path.read_text())
    assert book["nbformat"] == 4 and book["cells"], path
    return ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]


def run(path: Path) -> dict[str, Any]:
    """Runs all cells; gives the names that they have set. What a cell ends with is made text, as it would be shown.

    Raises CellError for a cell that raises.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, source in enumerate(cells(path), 1):
        try:
            tree = ast.parse(source)
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, f"{path.name}[{number}]", "exec"), namespace)
            if isinstance(last, ast.Expr):
                shown = eval(compile(ast.Expression(last.value), f"{path.name}[{number}]", "eval"), namespace)
                repr(shown)
        except Exception as error:
            raise CellError(f"{path.name}, cell {number}: {type(error).__name__}: {error}\n{source}") from error
    return namespace
