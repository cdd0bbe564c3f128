"""What a shell offers where arguments name something of this folder's mesh, and on the command line of `tap`."""

import argparse
import contextlib
import os
import shlex
from collections.abc import Iterable, Mapping

from tickmesh.bus.config import Config, ConfigError, load

Options = Mapping[str, argparse.Action]  # of a command line, by name


def _config() -> Config | None:
    try:
        return load()
    except ConfigError:
        return None


def processes(incomplete: str) -> list[str]:
    """Names of processes, and of whom the sequencer hosts, that begin so."""
    from tickmesh.nodes.process_table import name_of, nodes_of

    config = _config()
    names = [] if config is None else [name_of(*one) for one in nodes_of(config)]
    return [name for name in [*names, "supervisord"] if name.startswith(incomplete)]


def instruments(incomplete: str) -> list[str]:
    """Symbols of mesh.toml, and venue.symbol, that begin so."""
    config = _config()
    if config is None:
        return []
    names = dict.fromkeys(name for one in config.instruments for name in (one.symbol, one.subject))
    return [name for name in names if name.startswith(incomplete)]


def print_words_of_tap(options: Options) -> None:
    """Prints what may follow on a command line of `tap`; nothing where the words are none that can be read."""
    with contextlib.suppress(Exception):  # noqa: BLE001  a shell shows what is printed here in the middle of a line
        words = shlex.split(os.environ["COMP_WORDS"])
        number = int(os.environ["COMP_CWORD"])
        begun = words[number] if number < len(words) else ""
        print("\n".join(word for word in words_of_tap(options, words[1:number], begun) if word.startswith(begun)))


def words_of_tap(options: Options, before: list[str], begun: str) -> Iterable[str]:
    """What may follow `before` on a command line of `tap`, where a word has `begun`: options, columns, topics of this mesh."""
    from tickmesh.bus.schema import Kind
    from tickmesh.tools.event_rows import columns_of
    from tickmesh.tools.topics import known_topics

    if before and (action := options.get(before[-1])) is not None and action.nargs != 0:
        if before[-1] not in ("--columns", "--where", "--plot"):
            return []
        kinds = [Kind[word] for one in before if (word := one.partition(".")[0]) in Kind.__members__]
        head = begun.rpartition(",")[0] + "," if before[-1] == "--columns" and "," in begun else ""
        return [f"{head}{name}" for name in columns_of(kinds)]
    if begun.startswith("-"):
        return [name for name in options if name.startswith("--")]
    names = [kind.name for kind in Kind]
    with contextlib.suppress(ConfigError):
        names += known_topics(load())
    return names
