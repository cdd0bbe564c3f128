"""Which nodes the sequencer's process runs by itself, as `host` in mesh.toml names them. Pure."""

from collections.abc import Iterator

from tickmesh.bus.config import Config
from tickmesh.nodes.feed import line_names


def hosted_nodes(config: Config) -> list[tuple[str, str]]:
    """(node, instance) of every hosted node, each once, in the order of `host`; `model` and `feed-N` stand for several."""
    return list(dict.fromkeys(guest for word in config.host for guest in _guests(config, word)))


def is_hosted(config: Config, node: str, instance: str) -> bool:
    """Whether the node of that name has nothing to do in a process of its own: a line is the same under each of its names."""
    if node == "feed":
        line = line_names.line_of(config, instance)
        return any(line_names.line_of(config, other) == line for guest, other in hosted_nodes(config) if guest == "feed")
    return (node, instance) in hosted_nodes(config)


def name_of(node: str, instance: str) -> str:
    """The name of a node's process, which is that of its producer."""
    return f"{node}-{instance}" if instance else node


def outboxes_of(config: Config, node: str, instance: str) -> tuple[str, ...]:
    """The names under which a node's own process may have left an outbox."""
    return line_names.names_of(config, instance) if node == "feed" else (name_of(node, instance),)


def _guests(config: Config, word: str) -> Iterator[tuple[str, str]]:
    node, _, instance = word.partition("-")
    if node == "model":
        yield from (("model", model.name) for model in config.models if instance in ("", model.name))
    elif node == "feed":
        venue, _, number = instance.rpartition("-")
        venues = dict.fromkeys(one.venue for one in config.instruments)
        yield from (("feed", f"{one}-{number}") for one in venues if venue in ("", one))
    elif node != "executor" or config.executor.enabled:
        yield node, ""
