"""The commands `mesh run`, `mesh backup …`, `mesh restore`, as typer reads them; their work is in the files of their names."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tickmesh.tools import terminal

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of backups.")]
MAKE = "make"


class _Group(TyperGroup):
    """`mesh backup FOLDER` makes a backup; a word that is no command of the group is the folder."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = [MAKE, *args]
        return super().parse_args(ctx, args)


group = typer.Typer(
    cls=_Group, no_args_is_help=True,
    help="Copy the whole mesh, running or not: `mesh backup FOLDER`. Unchanged files are not copied again (docs/backup.md).",
)  # fmt: skip


def add_to(commands: typer.Typer) -> None:
    """Adds the group, and `mesh run` and `mesh restore`."""
    commands.command()(run)
    commands.add_typer(group, name="backup")
    commands.command()(restore)


@group.command(MAKE, hidden=True)
def make(
    to: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where backups lie side by side; best on another disk.")],
    secrets: Annotated[bool, typer.Option("--secrets", help="Keys, passwords and tokens in files as well.")] = False,
    json: Json = False,
) -> None:
    """Make a backup of this folder's mesh, running or not, in a folder of its own below FOLDER.

    mesh backup /mnt/backups/mesh
    """
    from tickmesh.tools import backup as command

    result = command.backup(to, secrets)
    terminal.print_json(result) if json else command.show(result)


@group.command("list")
def show(folder: Folder, json: Json = False) -> None:
    """Show the backups in a folder, oldest first."""
    from tickmesh.tools import backup as command

    result = command.listed(folder)
    terminal.print_json(result) if json else command.show_list(result)


@group.command("verify")
def verify(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of backups (the newest is judged), or a backup.")],
    backup: Annotated[str, typer.Option(help="This one of them.")] = "",
    json: Json = False,
) -> None:
    """Judge a backup: each file by its SHA-256, then log and archive as `mesh verify` does. Exit code 1: it is not whole."""
    from tickmesh.tools import backup as command

    result = command.verified(folder, backup)
    terminal.print_json(result) if json else command.show_verified(result)
    if not result["ok"]:
        raise typer.Exit(1)


def restore(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of backups (the newest is taken), or a backup.")],
    to: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The new mesh's folder, empty or not there; else this one.")
    ] = Path(),
    backup: Annotated[str, typer.Option(help="This one of them.")] = "",
    json: Json = False,
) -> None:
    """Make a mesh of a backup in an empty folder; `mesh up` there goes on after the backup's last seq.

    mesh restore /mnt/backups/mesh --to ~/mesh
    """
    from tickmesh.tools import restore as command

    result = command.restore(folder, to, backup)
    terminal.print_json(result) if json else command.show(result)


def run(
    live: Annotated[bool, typer.Option("--live", help="Ask to confirm that orders go to real venues.")] = False,
    confirm: Annotated[str, typer.Option(help="Confirm it, by the venues' names as `mesh up` says.")] = "",
) -> None:
    """Start everything and stay: this process becomes supervisord, for a container, systemd or a terminal.

    SIGTERM, or a Ctrl-C, ends the mesh in order. What its processes write comes out here, too. `mesh status` shows how it is.
    """
    from tickmesh.tools import run as command

    command.run(live, confirm, terminal.announcer(json=True))
