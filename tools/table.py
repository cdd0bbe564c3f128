"""run/processes.conf, the part of supervisord's table that is written from mesh.toml, and the names of all processes."""

import configparser
import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from tickmesh.bus.config import Config, ConfigError
from tickmesh.bus.exits import STOPPED_EXIT
from tickmesh.bus.files import write_file
from tickmesh.bus.settings import DEFAULT_MODELS
from tickmesh.nodes.__main__ import UsageError, parse
from tickmesh.nodes.process_table import ProcessEntry, full_instance, name_of, nodes_of, processes
from tickmesh.nodes.supervision.groups import GROUP, SETTINGS

FILE = "run/processes.conf"
COMMON = "supervisor.conf"
HEAD = """\
; Written from mesh.toml by `mesh up` and `mesh reload`: edit mesh.toml instead, what is changed here is lost.
; What is common to all processes stands in supervisor.conf, which includes this file; docs/operations.md explains both.
"""
# autorestart=unexpected: exit 0 means that there is nothing to do, 70 that it would die of the same at every start.
# startsecs=0: a quick death is a death like any other, no
# series of them ends FATAL. supervisord alone brings a process back within a second, with a sentinel within milliseconds.
PROGRAM = """
[program:{name}]
command={command}
environment={group_variable}="{group}",{settings_variable}="{settings}"
priority={priority}
autostart=true
autorestart=unexpected
exitcodes=0,{stopped_exit}
startsecs=0
startretries=1000000
stopsignal=TERM
stopwaitsecs={stopwaitsecs}
redirect_stderr=true
stdout_logfile=/proc/self/cwd/run/logs/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
stdout_events_enabled=true
"""


def command_of(entry: ProcessEntry) -> str:
    """The command of a process, relative to the mesh's folder: supervisord's working folder, whatever its path is."""
    return " ".join((".venv/bin/python -m tickmesh.nodes", entry.node, entry.instance)).strip()


def text_of(entries: Iterable[ProcessEntry]) -> str:
    """The content of run/processes.conf."""
    return HEAD + "".join(
        PROGRAM.format(
            name=entry.name, command=command_of(entry), group_variable=GROUP, group=entry.group, settings_variable=SETTINGS,
            settings=entry.fingerprint, priority=entry.priority, stopwaitsecs=entry.stopwaitsecs, stopped_exit=STOPPED_EXIT,
        )
        for entry in entries
    )  # fmt: skip


def write(root: Path, entries: Iterable[ProcessEntry]) -> None:
    """Writes run/processes.conf, whole or not at all."""
    write_file(root / FILE, text_of(entries).encode())


def hand_written(root: Path) -> dict[str, str] | None:
    """Name → command of each process in a supervisor.conf with a table of its own; None where it includes the written one."""
    parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(" ;", "\t;"))
    try:
        parser.read(root / COMMON)
    except configparser.Error as error:
        raise ConfigError(f"{root / COMMON} cannot be read: {' '.join(str(error).split())}") from None
    if any(name.endswith(FILE) for name in parser.get("include", "files", fallback="").split()):
        return None
    programs = [section for section in parser.sections() if section.startswith("program:")]
    return {section.removeprefix("program:"): parser.get(section, "command", fallback="") for section in programs}


def lacking(config: Config, programs: Mapping[str, str]) -> list[str]:
    """What mesh.toml names and a table of these programs does not run, by the names that processes have here."""
    run: set[tuple[str, str]] = set()
    for command in programs.values():
        with contextlib.suppress(UsageError, ConfigError):
            for node, instance in parse(command.partition("tickmesh.nodes")[2].split()):
                run.add((node, full_instance(config, node, instance)))
    return [
        entry.name for entry in processes(config) if (entry.node, entry.instance) not in run and (entry.node, "") not in run
    ]


def own_models(config: Config, names: Iterable[str]) -> list[str]:
    """Picks the names of models that somebody has written into mesh.toml: not the default ones."""
    own = {name_of("model", model.name) for model in config.models if model not in DEFAULT_MODELS}
    return [name for name in names if name in own]


def process_names(config: Config) -> list[str]:
    """The names of all processes and of whom the sequencer's hosts, in the order in which data flows."""
    programs = hand_written(config.root)
    return [name_of(*one) for one in nodes_of(config)] if programs is None else list(programs)


def wanted_names(config: Config) -> list[str]:
    """The names of the processes that supervisord has to run."""
    programs = hand_written(config.root)
    return [entry.name for entry in processes(config)] if programs is None else list(programs)
