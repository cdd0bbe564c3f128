"""`mesh top`: the screen, or with --once one look at it as text."""

import os
import sys

from tickmesh.tools.tables import TerminalTable
from tickmesh.tools.terminal import Failure, JsonObject, out
from tickmesh.tools.top.panels import head, panels
from tickmesh.tools.top.picture import MeshPicture


def look_once() -> JsonObject:
    """Gives what `mesh top --json` prints."""
    return MeshPicture().look()


def show(picture: JsonObject) -> None:
    """Prints every panel, one below the other."""
    for line in head(picture):
        out.print(line, markup=False)
    for panel in panels(picture):
        out.print(f"\n{panel.name}", style="bold")
        if not panel.rows:
            out.print(panel.nothing, markup=False)
            continue
        table = TerminalTable(*panel.columns, box=None, header_style="bold", least=panel.least)
        for row in panel.rows:
            table.add_row(*row.cells)
        out.print(table)


def run_screen() -> None:
    """Shows the screen until a person ends it. Raises Failure where there is no terminal that could show it."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "") in ("", "dumb"):
        raise Failure(
            "a screen needs a terminal, and this is none (or TERM is dumb): `mesh top --once` prints one look as text"
        )
    from tickmesh.tools.top.screen import TopScreen  # with Textual: 11 MB and a tenth of a second

    TopScreen(MeshPicture().look).run()
