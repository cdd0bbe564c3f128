"""The commands `mesh alert …`, as typer reads them; their work is in alert.py."""

from typing import Annotated

import typer

from tickmesh.tools import terminal

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
group = typer.Typer(no_args_is_help=True, help="What is a trouble, who is told of it, and what was told (docs/alerts.md).")


def add_to(commands: typer.Typer) -> None:
    """Adds the group."""
    commands.add_typer(group, name="alert")


@group.command("test")
def test(
    receiver: Annotated[
        list[str] | None, typer.Argument(help="Names of [[notify]]; all of them without one.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Send a test to every receiver of mesh.toml, and say what became of it. The mesh need not run.

    mesh alert test            all

    mesh alert test phone      one
    """
    from tickmesh.tools import alert

    result = alert.test(receiver or [])
    terminal.print_json(result) if json else alert.show_test(result)
    if not all(one["delivered"] for one in result["receivers"]):
        raise typer.Exit(1)


@group.command("list")
def show(json: Json = False) -> None:
    """Show the rules, who is told, and the troubles of the last hours. `tap alert` shows them as they come."""
    from tickmesh.tools import alert

    result = alert.overview()
    terminal.print_json(result) if json else alert.show(result)
