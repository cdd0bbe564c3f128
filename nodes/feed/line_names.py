"""The name of a line: which venue's it is, and which of them. `1` is line 1 of feed.venue, `kraken-1` line 1 of kraken."""

from tickmesh.bus.config import Config, ConfigError
from tickmesh.bus.names import PRODUCER_BYTES
from tickmesh.nodes.venues.table import ADAPTERS


def line_of(config: Config, instance: str) -> tuple[str, int]:
    """(venue, number from 1) of the line that an instance names, like `kraken-1`; of a venue's name its last part will do."""
    word, dash, number = instance.rpartition("-")
    word = word if dash else config.feed.venue
    found = [name for name in ADAPTERS if name == word] or [name for name in ADAPTERS if word and name.endswith(f"_{word}")]
    if not (number.isascii() and number.isdigit() and int(number) >= 1) or len(found) != 1:
        raise ConfigError(
            f"feed {instance!r} is no line; a line is a number from 1, or venue-number, as in kraken-1; "
            f"venues: {', '.join(sorted(ADAPTERS))}"
        )
    if len(name := f"feed-{instance}") > PRODUCER_BYTES:
        raise ConfigError(
            f"feed {instance!r} would be named {name}, {len(name)} bytes; {PRODUCER_BYTES} are allowed, "
            "and a number without leading zeros, as in kraken-1"
        )
    return found[0], int(number)


def names_of(config: Config, instance: str) -> tuple[str, ...]:
    """The names that the process of this line may have: feed-kraken-1, feed-usdm-1, and feed-1 of feed.venue."""
    venue, number = line_of(config, instance)
    names = {f"feed-{venue}-{number}", f"feed-{venue.rpartition('_')[2]}-{number}", f"feed-{instance}"}
    return tuple(sorted(names | ({f"feed-{number}"} if venue == config.feed.venue else set())))


def idle_because(config: Config, instance: str) -> str:
    """Why this line has nothing to do in this mesh; empty if it has. Raises ConfigError."""
    venue, number = line_of(config, instance)
    if number > config.feed.lines:
        return f"feed.lines is {config.feed.lines} in mesh.toml"
    if not any(instrument.venue == venue for instrument in config.instruments):
        return f"mesh.toml has no instrument of venue {venue}"
    return ""
