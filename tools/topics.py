"""The topics that this mesh has, or had, for commands that are given names of them (bus/topic_names.py)."""

from collections.abc import Sequence
from urllib.parse import unquote

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.bus.topic_names import (
    Choice,
    UnknownTopic,
    choose,
    is_known,
    is_pattern,
    topics_of_instruments,
    topics_of_processes,
)
from tickmesh.tools.terminal import UsageFailure


def resolve(config: Config, wanted: Sequence[str], history: bool) -> tuple[Choice, tuple[Kind, ...]]:
    """(whether a topic is wanted, the kinds that can be) in this mesh; of its `history`, names that it has no more too.

    Raises UsageFailure for a name that nothing here can have.
    """
    known = topics_of_instruments(_instruments(config, history))
    if any(is_pattern(word) or not is_known(word, known) for word in wanted):
        from tickmesh.tools.table import process_names  # the names of processes take longer to find out

        known += topics_of_processes(process_names(config))
    try:
        return choose(wanted, known, any_subject=history)
    except UnknownTopic as error:
        raise UsageFailure(str(error)) from None


def known_topics(config: Config) -> list[str]:
    """The topics that this mesh can have now: of its instruments and of its processes."""
    from tickmesh.tools.table import process_names

    return [*topics_of_instruments(_instruments(config, False)), *topics_of_processes(process_names(config))]


def _instruments(config: Config, history: bool) -> list[str]:
    """Those of mesh.toml, of history those in the archive too."""
    subjects = [one.subject for one in config.instruments]
    if history:
        folders = (path for path in config.archive_dir.glob("*/*") if path.is_dir())
        subjects += [f"{unquote(path.parent.name)}.{unquote(path.name)}" for path in folders]
    return subjects
