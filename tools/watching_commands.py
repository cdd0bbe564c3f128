"""The commands of `mesh` by which a person looks at a mesh and its machine, as typer reads them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tickmesh.tools import completed_words, terminal
from tickmesh.tools.operator_logs.entries import Entry

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
JsonLines = Annotated[bool, typer.Option("--json", help="One JSON object on a line for each entry.")]


def add_to(commands: typer.Typer) -> None:
    """Adds the commands to a group."""
    commands.command()(latency)
    commands.command()(doctor)
    commands.command()(logs)
    commands.command()(top)
    commands.command()(completion)


def latency(
    instrument: Annotated[
        str,
        typer.Argument(
            help="A symbol, or venue.symbol; else all.", show_default=False, autocompletion=completed_words.instruments
        ),
    ] = "",
    seconds: Annotated[str, typer.Option("--for", help="Watch for so long: 10s, 2m.")] = "10s",
    since: Annotated[
        str, typer.Option("--from", help="Of what was recorded instead: from this seq, time (UTC) or so long ago (1h) on.")
    ] = "",
    until: Annotated[str, typer.Option(help="Up to there; else to the end.")] = "",
    plot: Annotated[Path | None, typer.Option(help="Draw the distributions, too (PNG, SVG or PDF; needs matplotlib).")] = None,
    json: Json = False,
) -> None:
    """Show where the time goes between a venue's event and our order, hop by hop: p50, p90, p99, p99.9, the longest.

    From the times in the messages themselves: out of the socket, appended and sent, in the log. The last hops are the venue's:
    from our sending to its word, and to the first fill. What is watched is at the cost of one more reader of the log.

    mesh latency

    mesh latency BTCUSDT --for 1m --plot hops.png

    mesh latency --from 2026-01-31 --until 2026-02-01
    """
    from tickmesh.tools import latency as command

    result = command.latency(instrument, seconds, since, until, plot)
    terminal.print_json(result) if json else command.show(result)


def doctor(json: Json = False) -> None:
    """Check machine, installation and folder, and say what to do about each thing that is not as it should be.

    Clock and NTP, memory, /dev/shm, limits, processors, libraries; in a mesh's folder also its settings, supervisord, ports,
    locks, permissions, file systems, room and speed of the disk, and what dead processes left. Nothing is changed; it takes a
    second or two. The mesh may be up or down, and without a mesh.toml the machine alone is looked at.

    Exit code 0: all is well. 1: something is worse than it should be (warn). 2: something must be mended (fail).
    """
    from tickmesh.tools import doctor as command

    result = command.doctor()
    terminal.print_json(result) if json else command.show(result)
    raise typer.Exit(command.EXIT_CODES[result["verdict"]])


def logs(
    nodes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NODE]...",
            autocompletion=completed_words.processes,
            help="A process, a kind (feed), a pattern ('model-*'), or supervisord; else all.",
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    lines: Annotated[
        int | None,
        typer.Option("--lines", "-n", min=0, help="The last so many entries; else 100, with --since all."),
    ] = None,
    since: Annotated[str, typer.Option(help="From this time on (UTC), like 12:00, or so long ago (10m, 1h).")] = "",
    level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"], typer.Option(help="At least so grave.")
    ] = "debug",
    grep: Annotated[str, typer.Option(help="Only what this regular expression is found in.")] = "",
    local: Annotated[bool, typer.Option("--local", help="Times of this machine's zone instead of UTC.")] = False,
    json: JsonLines = False,
) -> None:
    """Show what processes wrote into run/logs, all of them by time. The mesh need not be running.

    The last 100 entries of everybody; then what goes wrong, as it happens, through rotation and restarts; then what both feeds,
    the sequencer and whom it hosts wrote:

    mesh logs

    mesh logs --follow --level warning

    mesh logs feed sequencer --since 10m --grep 'lost|stale'

    These are lines for people. What happened in the market and to orders is in the log: tap, mesh orders.
    """
    from tickmesh.tools import logs as command

    config = terminal.config()
    wanted = command.choice(config, nodes or [], level, grep)

    def show(entry: Entry) -> None:
        terminal.print_json(command.as_json(entry)) if json else command.show_entry(entry, local)

    with command.opened(config) as whole:
        for one in command.written(whole, wanted, since, lines):
            show(one)
        if follow:
            for one in command.follow(config, whole, wanted):
                show(one)


def top(
    once: Annotated[bool, typer.Option("--once", help="Print one look as text, and end.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one look as a JSON object, and end.")] = False,
) -> None:
    """Watch the mesh on the terminal: processes, topics, positions, orders and alerts, as they change.

    Keys 1 to 5 choose, arrows move. Of the process under the cursor: r restarts, s stops, t starts it. Of the strategy: o on, f
    off, w shadow. k: the kill switch. Each asks first, and only y means yes. q ends it. It reads the log itself, and needs no
    gateway; a mesh that goes down and comes up again is followed.

    mesh top

    mesh top --once

    mesh top --json
    """
    from tickmesh.tools.top import command

    if not (once or json):
        command.run_screen()
        return
    result = command.look_once()
    terminal.print_json(result) if json else command.show(result)


def completion(
    what: Annotated[
        Literal["install", "remove", "show"],
        typer.Argument(help="install it, remove it, or show the script and change nothing."),
    ],
    shell: Annotated[str, typer.Option(help="bash, zsh or fish; else the one that SHELL names.")] = "",
    json: Json = False,
) -> None:
    """Have the shell complete commands, options, topics, columns and names of processes, of mesh and of tap, by the Tab key.

    For this user, in the next shell: a script, and for bash and zsh a line in .bashrc or .zshrc that reads it. The shell asks
    the program that was typed, so it fits .venv/bin/mesh of any folder and any version.

    mesh completion install

    mesh completion show --shell zsh
    """
    from tickmesh.tools import completion as command

    chosen = command.shell_of(shell)
    if what == "show":
        terminal.out.print(command.script(chosen), markup=False, end="")
        return
    result = command.install(chosen) if what == "install" else command.remove(chosen)
    if json:
        terminal.print_json(result)
        return
    for path in result["written" if what == "install" else "removed"]:
        terminal.out.print(f"{'written' if what == 'install' else 'changed or removed'}: {path}", markup=False)
    terminal.out.print("It holds in the next shell." if what == "install" else "It is gone in the next shell.")
