"""Steps as they were: a `run` event says which code and parameters began there, and a step is made of that again."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from tickmesh.bus.config import Config, ConfigError
from tickmesh.bus.settings import ModelSettings
from tickmesh.bus.settings_trading import ExecutorSettings, RiskSettings, StrategySettings
from tickmesh.nodes.executor import node as executor
from tickmesh.nodes.model import node as model
from tickmesh.nodes.models.faults import ModelFault

Identity = dict[str, Any]  # what `identity()` of a step gives, as the log has it
EXECUTOR = "executor"
LONG = 48  # characters of a value that is shown


class StepMaker(NamedTuple):
    """How a step of `node` is made anew, and what it is."""

    node: str
    identity: Identity
    make: Callable[[], Any]


def present(config: Config, node: str) -> StepMaker:
    """The step that mesh.toml names. Raises ModelFault for a model that cannot be loaded."""

    def make() -> Any:
        return executor.Step(config, "") if node == EXECUTOR else model.Step(config, node.removeprefix("model-"))

    return StepMaker(node, plain(make().identity()), make)


def recorded(config: Config, now: StepMaker, then: Identity) -> StepMaker | str:
    """The step that a `run` event names, if the present code can be it; else why not, a sentence."""
    if then.get("code") != now.identity["code"]:
        return f"its code was {then.get('code')}, and is {now.identity['code']} now"
    try:
        old = _executor_then(config, then) if now.node == EXECUTOR else _model_then(config, now.node, then)
        maker = present(old, now.node)
    except (ConfigError, ModelFault, msgspec.ValidationError, KeyError, AttributeError, TypeError, ValueError) as error:
        return f"its settings are not possible any more: {error}"
    if changes := changed(then, maker.identity):
        return "it cannot be made again: " + "; ".join(changes)
    return maker


def _model_then(config: Config, node: str, then: Identity) -> Config:
    name = node.removeprefix("model-")
    settings = ModelSettings(name, then["kernel"], tuple(then["instruments"]), dict(then["parameters"]))
    settings = msgspec.structs.replace(settings, features=tuple(then.get("features", ())))
    return Config(msgspec.structs.replace(config.mesh, models=(settings,)), config.root)


def _executor_then(config: Config, then: Identity) -> Config:
    given = dict(then["parameters"])
    strategies, risk = given.pop("strategies"), given.pop("risk")
    mesh = msgspec.structs.replace(
        config.mesh,
        executor=msgspec.convert({**given, "instruments": then["instruments"]}, ExecutorSettings),
        strategies=tuple(msgspec.convert(one, StrategySettings) for one in strategies.values()),
        risk=msgspec.convert(risk, RiskSettings),
    )
    return Config(mesh, config.root)


def plain(identity: Identity) -> Identity:
    """An identity as it comes out of the log: lists for tuples."""
    built: Identity = msgspec.json.decode(msgspec.json.encode(identity))
    return built


def same(then: Identity, now: Identity) -> bool:
    """Whether a `run` event, which has more in it, names this identity."""
    return all(then.get(name) == value for name, value in now.items())


def changed(then: Identity, now: Identity, path: str = "") -> list[str]:
    """What differs, "parameters.fast_ms: 100 then, 200 now"; of what `now` has, table by table."""
    out: list[str] = []
    for name in sorted({**now, **(then if path else {})}):
        before, after = then.get(name), now.get(name)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            out += changed(before, after, f"{path}{name}.")
        else:
            out.append(f"{path}{name}: {_short(before)} then, {_short(after)} now")
    return out


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= LONG else f"{text[:LONG]}…"
