"""Which processes a mesh has, from its settings alone: those that supervisord runs, and what the sequencer's process hosts.

run/processes.conf is written from it, and `mesh reload` compares it with what runs. READS names, for each node, the parts of
mesh.toml that it depends on: where one of them changes its process is restarted, and no other.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from tickmesh.bus.config import Config, ConfigError
from tickmesh.bus.names import HOT_PATH
from tickmesh.bus.patterns import matching
from tickmesh.bus.settings import LOCAL_ORDERS, REAL_ORDERS, InstrumentSettings, VenueSettings
from tickmesh.bus.settings_latency import AUTO
from tickmesh.nodes.feed import line_names
from tickmesh.nodes.orders.accounts import account_venues, session_of_venue, venue_of_session
from tickmesh.nodes.venues.table import ADAPTERS

HOSTABLE = ("feed", "model", "executor", "session")
TRADING = ("exchange", "executor", "session")  # nodes that a mesh in mode capture does not have
SENTINELS = ("1", "2")
FIXED = ("mode", "source", "data", "run")  # what all processes of a mesh agree on as long as it is up


class NodeRow(NamedTuple):
    """What all processes of one node have in common.

    `priority`: supervisord stops the highest first; `stopwaitsecs`: then it kills; `reads`: names in mesh.toml, beside FIXED.
    """

    priority: int
    stopwaitsecs: int
    reads: tuple[str, ...]
    group: str = ""  # word for all its processes in supervisorctl; "": the node's own name


# In the order in which data flows. Shutdown goes by priority: sentinels (so that they do not bring back what is being stopped),
# who orders and who sends it, while the venue is there to cancel at, the venue and its feeds, backfill, models, the sequencer,
# and the recorder last of all. Sessions that the sequencer hosts end where one alone would: nodes/supervision/sessions.py.
NODES: Mapping[str, NodeRow] = {
    "exchange": NodeRow(800, 15, ("exchange", "instruments", "log", "latency")),
    "sequencer": NodeRow(300, 30, ("host", "hosting", "log", "latency")),
    "recorder": NodeRow(200, 60, ("recorder", "disk", "feed", "instruments", "log", "latency")),
    "feed": NodeRow(700, 15, ("feed", "instruments", "venues", "disk", "log", "latency"), "feeds"),
    "backfill": NodeRow(650, 15, ("backfill", "instruments", "venues", "checkpoint_s", "log", "latency")),
    "model": NodeRow(600, 15, ("models", "paths", "instruments", "checkpoint_s", "log", "latency"), "models"),
    "executor": NodeRow(870, 15, ("executor", "strategies", "risk", "instruments", "checkpoint_s", "log", "latency")),
    "session": NodeRow(850, 15, ("session", "risk", "exchange", "instruments", "venues", "checkpoint_s", "log", "latency")),
    "gateway": NodeRow(890, 10, ("gateway", "risk", "executor", "strategies", "disk", "instruments", "log", "latency")),
    "notifier": NodeRow(880, 10, ("notify", "recorder", "checkpoint_s", "log", "latency")),
    "sentinel": NodeRow(
        900, 10, ("sentinel", "alerts", "exchange", "risk", "recorder", "feed", "instruments", "log", "latency"), "sentinels"
    ),
}


@dataclass(frozen=True)
class ProcessEntry:
    """One process of the table. `settings`: part of mesh.toml → a digest of what it says to this process."""

    name: str
    node: str
    instance: str
    group: str
    priority: int
    stopwaitsecs: int
    settings: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """All of `settings` in one text, `executor=0f3a9b21 log=…`: another one, and the process has to begin anew."""
        return " ".join(f"{part}={digest}" for part, digest in sorted(self.settings.items()))


def name_of(node: str, instance: str) -> str:
    """The name of a process, which is that of its producer, too."""
    return f"{node}-{instance}" if instance else node


def processes(config: Config) -> list[ProcessEntry]:
    """The processes that supervisord runs, in the order in which data flows. Raises ConfigError for names that cannot be."""
    return [_entry(config, node, instance) for node, instance in nodes_of(config) if not _is_hosted(config, node, instance)]


def hot_path(config: Config) -> list[str]:
    """Names of the processes that a tick passes on its way to an order, in the order in which cores are given to them."""
    found = [(node, instance) for node, instance in nodes_of(config) if not _is_hosted(config, node, instance)]
    return [name_of(node, instance) for hot in HOT_PATH for node, instance in found if node == hot]


def hosted(config: Config) -> list[tuple[str, str]]:
    """(node, instance) of what the sequencer's process runs beside itself, in the order in which data flows."""
    return [(node, instance) for node, instance in nodes_of(config) if _is_hosted(config, node, instance)]


def guests_of(config: Config, named: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """(node, instance) of whom a sequencer hosts: as named on its command line, else as in mesh.toml.

    `model` alone is every model, `session` alone that of every account.
    """
    out: list[tuple[str, str]] = []
    for node, instance in named:
        if node == "model" and not instance:
            out += [("model", model.name) for model in config.models]
        elif node == "session" and not instance and config.mode != "capture":
            out += [("session", session_of_venue(venue)) for venue in account_venues(config)]
        elif node == "feed" and (why := line_names.idle_because(config, instance)):
            raise ConfigError(f"{name_of(node, instance)} cannot be hosted: {why}")
        elif not (node in TRADING and config.mode == "capture") and (node != "executor" or config.executor.enabled):
            out.append((node, instance))
    return out if named else hosted(config)


def outboxes_of(config: Config, node: str, instance: str) -> tuple[str, ...]:
    """The names under which a node's own process may have left an outbox."""
    return line_names.names_of(config, instance) if node == "feed" else (name_of(node, instance),)


def idle_because(config: Config, node: str, instance: str) -> str:
    """Why this node has nothing to do in this mesh; empty if it has. Raises ConfigError for a line that cannot be."""
    if _is_hosted(config, node, full_instance(config, node, instance)):
        return "hosted by the sequencer (host in mesh.toml)"
    if node in TRADING and config.mode == "capture":
        return "mode is 'capture' in mesh.toml: real venues, and no orders"
    if node == "exchange" and config.mode in REAL_ORDERS:
        return f"mode is {config.mode!r} in mesh.toml: orders go to the venue"
    if node == "feed":
        return line_names.idle_because(config, instance)
    if node == "backfill" and not config.backfill.enabled:
        return "backfill.enabled is false in mesh.toml"
    if node == "model" and instance not in {m.name for m in config.models}:
        return f"mesh.toml has no model {instance!r}"
    if node == "session" and venue_of_session(instance) not in account_venues(config):
        return f"no strategy in mesh.toml trades an instrument of {venue_of_session(instance)}"
    if node == "notifier" and not config.notify:
        return "mesh.toml has no [[notify]]: alerts are in the log alone"
    if node == "executor" and not config.executor.enabled:
        return "executor.enabled is false in mesh.toml"
    if node == "gateway" and not config.gateway.enabled:
        return "gateway.enabled is false in mesh.toml"
    return ""


def nodes_of(config: Config) -> Iterator[tuple[str, str]]:
    """(node, instance) of everything that this mesh is made of, hosted or not, in the order in which data flows."""
    trades = config.mode != "capture"
    if config.mode in LOCAL_ORDERS:
        yield "exchange", ""
    yield "sequencer", ""
    yield "recorder", ""
    for venue in _venues(config):
        yield from (("feed", f"{venue}-{line}") for line in range(1, config.feed.lines + 1))
    if config.backfill.enabled:
        yield "backfill", ""
    yield from (("model", model.name) for model in config.models)
    if trades and config.executor.enabled:
        yield "executor", ""
    if trades:
        yield from (("session", session_of_venue(venue)) for venue in account_venues(config))
    if config.gateway.enabled:
        yield "gateway", ""
    if config.notify:
        yield "notifier", ""
    yield from (("sentinel", number) for number in SENTINELS)


def _venues(config: Config) -> list[str]:
    venues = list(dict.fromkeys(instrument.venue for instrument in config.instruments))
    for venue in venues:
        if venue not in ADAPTERS:
            raise ConfigError(f"instruments.venue = {venue!r} is impossible; allowed: {', '.join(sorted(ADAPTERS))}")
    return venues


def full_instance(config: Config, node: str, instance: str) -> str:
    """An instance as the table has it: of a line its venue's whole name and its number, `binance-1` for `1`."""
    if node != "feed":
        return instance
    venue, line = line_names.line_of(config, instance)
    return f"{venue}-{line}"


def _is_hosted(config: Config, node: str, instance: str) -> bool:
    """Whether `host` names it: by its node (all models), its name, or (feed-1) its line, of whatever venue."""
    words = {node, name_of(node, instance)}
    if node == "feed":
        words = {name_of(node, instance), f"feed-{instance.rpartition('-')[2]}"}
    return node in HOSTABLE and not words.isdisjoint(config.host)


def _entry(config: Config, node: str, instance: str) -> ProcessEntry:
    row, name = NODES[node], name_of(node, instance)
    parts: defaultdict[str, list[object]] = defaultdict(list)
    for part in FIXED:
        parts[part].append(getattr(config, part))
    for one in [(node, instance), *(hosted(config) if node == "sequencer" else ())]:
        for part in NODES[one[0]].reads:
            word = f"models.{one[1]}" if part == "models" else part
            value = _setting(config, part, *one)
            parts[word] += [value] if value not in parts[word] else []
    settings = {part: _digest(values) for part, values in parts.items()}
    return ProcessEntry(name, node, instance, row.group or name, row.priority, row.stopwaitsecs, settings)


def _digest(values: list[object]) -> str:
    return hashlib.sha256(msgspec.json.encode(values, order="sorted")).hexdigest()[:8]


def _setting(config: Config, part: str, node: str, instance: str) -> object:
    """What a part of mesh.toml says to one node: of lists and tables that several read, only what concerns this one."""
    if part == "instruments":
        return _instruments(config, node, instance)
    if part == "venues" and node in ("feed", "session"):
        return config.venues.get(_venue_of(instance) if node == "feed" else venue_of_session(instance), VenueSettings())
    if part == "models":
        return config.model(instance)
    if part == "feed" and node != "feed":  # how many files a cut of the archive makes
        return config.feed.lines * config.feed.raw
    if part == "exchange" and node == "session":
        return [config.exchange.api_key, config.exchange.api_secret]
    if part == "exchange" and node == "sentinel":
        return bool(config.exchange.replay)
    if part == "risk" and node == "session":
        return config.risk.on_kill
    if node == "gateway" and part in ("risk", "executor", "strategies", "disk"):
        return _shown_by_gateway(config, part)
    if part == "host":
        return hosted(config)
    if part == "latency":
        return _latency(config, name_of(node, instance))
    if part == "log":
        others = {name_of(*one) for one in nodes_of(config)} - {name_of(node, instance)}
        mine = {name: level for name, level in config.log.levels.items() if name not in others}
        return msgspec.structs.replace(config.log, levels=mine)
    return getattr(config, part)


def _latency(config: Config, name: str) -> object:
    """What [latency] says to a process: of the hot path which of the cores, and the rest; to others which cores they leave."""
    latency, hot = config.latency, hot_path(config)
    name = name if name not in [name_of(*guest) for guest in hosted(config)] else "sequencer"
    place: list[object] = [latency.pin] if latency.pin else []
    if name in hot and latency.pin and len(latency.pin) >= len(hot) and latency.pin != AUTO:
        place = [latency.pin[hot.index(name)]]
    elif latency.pin == AUTO:  # of a machine that this file does not look at
        place = [AUTO, hot.index(name) if name in hot else -1, len(hot)]
    return [*place, latency.spin_us, latency.realtime] if name in hot else place


def _shown_by_gateway(config: Config, part: str) -> object:
    """What of a part the gateway shows, or needs for an action."""
    return {
        "risk": config.risk.currency, "executor": config.executor.enabled,
        "strategies": [strategy.name for strategy in config.strategies], "disk": config.disk.low_bytes,
    }[part]  # fmt: skip


def _instruments(config: Config, node: str, instance: str) -> tuple[InstrumentSettings, ...] | list[int]:
    """The instruments that a node reads the settings of; of a recorder how many there are, at how many venues."""
    if node == "feed":
        return tuple(one for one in config.instruments if one.venue == _venue_of(instance))
    if node == "model":
        return matching(config.model(instance).instruments, config.instruments)
    if node == "executor":
        return config.traded
    if node == "session":
        return tuple(one for one in config.instruments if one.venue == venue_of_session(instance))
    if node == "recorder":
        return [len(config.instruments), len(_venues(config))]
    return config.instruments


def _venue_of(instance: str) -> str:
    return instance.rpartition("-")[0]
