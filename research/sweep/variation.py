"""Parameters of a sweep: their names, the values of each, and the settings of a mesh with one value of each."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import msgspec

from tickmesh.bus.config import Config, ConfigError, load
from tickmesh.bus.settings_trading import StrategySettings
from tickmesh.storage.query.times import ReadError

OF_BACKTEST = ("latency", "queue", "fees", "through", "impact", "seed", "warm_up")  # words of tickmesh.backtest
TABLES = ("models", "strategies")  # lists of mesh.toml, whose entries have names
SECTIONS = ("executor", "risk", "exchange")
COMBINATIONS_MAX = 100_000
ALLOWED = (
    f"{', '.join(OF_BACKTEST)}, models.NAME.PARAMETER, strategies.NAME.KEY, or a key of [executor], [risk] or [exchange] like "
    "executor.stale_ms"
)
EXAMPLE = '{"latency": "1 5,3", "seed": [1, 2]}'
Values = Mapping[str, Iterable[Any] | str]


def combinations(vary: Values) -> list[dict[str, Any]]:
    """Every combination of one value of each parameter, the last one changing first; one, of none, where nothing varies.

    A text is values with spaces between them: {"latency": "1 5 5,3"}. Raises ReadError for a name that means nothing, for no
    values, the same one twice, and for more than COMBINATIONS_MAX.
    """
    if not isinstance(vary, Mapping):
        raise ReadError(f"vary={vary!r} is impossible; allowed is a name with its values, like {EXAMPLE}")
    lists: dict[str, list[Any]] = {}
    for name, given in vary.items():
        check_name(name)
        if not isinstance(given, Iterable):
            raise ReadError(f"{name} = {given!r} is no list of values; allowed is a list, or a text, like {EXAMPLE}")
        values = given.split() if isinstance(given, str) else list(given)
        if not values:
            raise ReadError(f"{name} has no value; give one or more, like {name}=1")
        plain = [msgspec.json.encode(one) for one in values]
        if len(set(plain)) < len(plain):
            raise ReadError(f"{name} has a value twice: {', '.join(map(str, values))}; each is one trial, once")
        lists[name] = values
    count = prod(map(len, lists.values()))
    if count > COMBINATIONS_MAX:
        raise ReadError(f"{count} combinations of parameters; {COMBINATIONS_MAX} are allowed: fewer values, or several sweeps")
    return [dict(zip(lists, values)) for values in product(*lists.values())]


def check_name(name: str) -> None:
    """Raises ReadError where `name` is no name of a parameter."""
    head, _, rest = name.partition(".")
    entry, _, key = rest.partition(".")
    known = name in OF_BACKTEST or (head in TABLES and entry and key) or (head in SECTIONS and rest)
    if not known:
        raise ReadError(f"{name!r} is no parameter; allowed are {ALLOWED}")


def varied(root: Path, parameters: Mapping[str, Any]) -> tuple[Config, dict[str, Any]]:
    """(the settings of a mesh with these parameters, those of them that are words of the backtest).

    A text for a key that wants a number is read as one. Raises ConfigError with the key, what was seen and what is allowed.
    """
    words = {name: value for name, value in parameters.items() if name in OF_BACKTEST}
    for name, wanted in (("impact", bool), ("seed", int)):
        if name in words:
            words[name] = _literal(words[name])
            if type(words[name]) is not wanted:
                raise ReadError(f"{name} = {words[name]!r} is impossible; allowed: {wanted.__name__}")
    for name in ("latency", "queue", "fees", "through", "warm_up"):
        if name in words:
            words[name] = str(words[name])  # "5,3", and 5
    keys = {name: value for name, value in parameters.items() if name not in OF_BACKTEST}
    config = load(root)
    if not keys:
        return config, words
    read = {name: _literal(value) for name, value in keys.items()}
    try:
        return load(root, _overrides(config, read)), words
    except ConfigError:
        if read == keys:
            raise
        return load(root, _overrides(config, keys)), words  # of a key that wants text, like a decimal


def _literal(value: Any) -> Any:
    """A text as the number or truth that it is in TOML; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.toml.decode(f"x = {value}".encode())["x"]
    except (msgspec.DecodeError, UnicodeEncodeError):
        return value


def _overrides(config: Config, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of mesh.toml that `keys` change, whole where they are lists."""
    tree: dict[str, Any] = {}
    for name, value in keys.items():
        head, _, rest = name.partition(".")
        if head in SECTIONS:
            _put(tree.setdefault(head, {}), rest.split("."), value)
            continue
        entry, _, key = rest.partition(".")
        table = tree.setdefault(head, [msgspec.to_builtins(one) for one in getattr(config.mesh, head)])
        found = next((one for one in table if one["name"] == entry), None)
        if found is None:
            raise ConfigError(
                f"{name}: there is no {head} {entry!r} in mesh.toml; there are {', '.join(o['name'] for o in table)}"
            )
        path = key.split(".")
        if head == "models" and path[0] not in ("parameters", "kernel", "instruments"):
            path.insert(0, "parameters")
        _put(found, path, value)
    return tree


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        inner = tree.get(name)
        if not isinstance(inner, dict):
            inner = tree[name] = {}
        tree = inner
    tree[path[-1]] = value


def traded_alone(config: Config, instrument: str, strategies: tuple[str, ...]) -> Config:
    """The settings with those strategies (none named: those that are not off) that trade an instrument, and that alone.

    `instrument`: its subject; "": all that they trade. Raises ReadError for names that there are not, or that do not trade it.
    """
    known = {one.name: one for one in config.strategies}
    for name in strategies:
        if name not in known:
            raise ReadError(f"there is no strategy {name!r} in mesh.toml; there are {', '.join(known)}")
    chosen = [known[name] for name in strategies] if strategies else [one for one in known.values() if one.state != "off"]
    if instrument:
        chosen = [msgspec.structs.replace(one, instruments=(instrument,)) for one in chosen if _trades(config, one, instrument)]
        if not chosen:
            raise ReadError(f"no strategy trades {instrument}; `instruments` of [[strategies]] in mesh.toml has what it does")
    live = tuple(msgspec.structs.replace(one, state="live") for one in chosen)
    return Config(msgspec.structs.replace(config.mesh, strategies=live), config.root)


def _trades(config: Config, strategy: StrategySettings, instrument: str) -> bool:
    whole = Config(msgspec.structs.replace(config.mesh, strategies=(strategy,)), config.root).strategies_resolved[0]
    return any(one.subject == instrument for one in config.traded_by(whole))


def kernels_of(config: Config) -> tuple[str, ...]:
    """The kernels of the models whose signals a strategy acts on, sorted."""
    return tuple(
        sorted(
            {
                model.kernel
                for model in config.models
                for strategy in config.strategies_resolved
                if any(fnmatchcase(model.name, pattern) for pattern in strategy.models)
            }
        )
    )
