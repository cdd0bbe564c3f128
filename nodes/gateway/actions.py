"""What the gateway may change in a mesh, where mesh.toml allows it: processes, strategies and the kill switch.

Each is done as the command of its name does it: over supervisord's socket, or by a command in the log. All of this blocks; one
thing is done at a time.
"""

import asyncio
from typing import Any, Literal

import msgspec

from tickmesh.bus.config import Config
from tickmesh.bus.names import OPERATOR
from tickmesh.bus.operator_log import log_line
from tickmesh.bus.settings_trading import StrategyState
from tickmesh.nodes.gateway.problems import RequestProblem

JsonObject = dict[str, Any]
NAME = "gateway"
WHY_CHARACTERS = 120
WAITING_MAX = 8  # actions that wait for the one that is done


class ProcessAction(msgspec.Struct, tag_field="action", tag="process", frozen=True, forbid_unknown_fields=True):
    """A process is started, stopped (it stays down), or stopped and started."""

    name: str
    do: Literal["start", "stop", "restart"]
    why: str = ""


class StrategyAction(msgspec.Struct, tag_field="action", tag="strategy", frozen=True, forbid_unknown_fields=True):
    """A strategy is switched: live, shadow (simulated) or off."""

    name: str
    state: StrategyState
    why: str = ""


class KillSwitchAction(msgspec.Struct, tag_field="action", tag="kill_switch", frozen=True, forbid_unknown_fields=True):
    """The kill switch is thrown or lifted."""

    on: bool
    why: str = ""


Action = ProcessAction | StrategyAction | KillSwitchAction


def read_action(body: bytes) -> Action:
    """An action from the JSON of a request. Raises RequestProblem for what is none."""
    try:
        action: Action = msgspec.json.decode(body, type=Action)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        example = '{"action": "process", "name": "feed-binance-1", "do": "restart"}'
        raise RequestProblem(
            422, f"this is no action: {error}; allowed is what docs/dashboard.md lists, as {example}"
        ) from None
    return action


class MeshActions:
    """Carries out actions on the mesh of `config`, one at a time; none where `gateway.actions` is false."""

    def __init__(self, config: Config):
        self.config = config
        self.done = 0
        self._waiting = 0
        self._turn = asyncio.Lock()

    @property
    def enabled(self) -> bool:
        """Whether mesh.toml allows them."""
        return self.config.gateway.actions

    async def carry_out(self, action: Action, by: str) -> JsonObject:
        """Carries out one action and logs who asked for it; gives what was done. Raises RequestProblem.

        `by`: the address that asked, and by which way.
        """
        if not self.enabled:
            raise RequestProblem(403, "nothing may be changed here: gateway.actions is false in mesh.toml")
        if self._waiting >= WAITING_MAX:
            raise RequestProblem(503, f"{self._waiting} actions wait; wait for them", {"Retry-After": "5"})
        self._waiting += 1
        try:
            async with self._turn:
                log_line(NAME, "warning", f"{by} asks: {_words(action)}")
                done = await asyncio.to_thread(carry_out, self.config, action, by)
        except RequestProblem as problem:
            log_line(NAME, "warning", f"{by} asked: {_words(action)}; not done: {problem.detail}")
            raise
        finally:
            self._waiting -= 1
        self.done += 1
        log_line(NAME, "warning", f"{by} asked: {_words(action)}; {done['done']}")
        return done


def _words(action: Action) -> str:
    why = f" ({action.why[:WHY_CHARACTERS]!r})" if action.why else ""
    if isinstance(action, ProcessAction):
        return f"{action.do} {action.name[:40]!r}{why}"
    if isinstance(action, StrategyAction):
        return f"strategy {action.name[:40]!r} {action.state}{why}"
    return f"kill switch {'on' if action.on else 'off'}{why}"


def carry_out(config: Config, action: Action, by: str) -> JsonObject:
    """Carries out an action and waits until it is done; gives `done`, a sentence, and more. Raises RequestProblem."""
    if isinstance(action, ProcessAction):
        return _process(config, action)
    if config.mode == "capture" or not config.executor.enabled:
        raise RequestProblem(409, "this mesh does not trade: its mode is 'capture', or executor.enabled is false, in mesh.toml")
    why = f"{by}: {action.why}"[:WHY_CHARACTERS] if action.why else by
    if isinstance(action, StrategyAction):
        return _strategy(config, action, why)
    return _kill_switch(config, action, why)


def _process(config: Config, action: ProcessAction) -> JsonObject:
    # 6 MB, and few gateways change anything
    from tickmesh.nodes.supervision.process_control import ProcessUnchanged, change_process

    if action.name == NAME and action.do != "start":
        raise RequestProblem(409, f"the gateway does not {action.do} itself: supervisorctl {action.do} {NAME}")
    try:
        return {"done": change_process(config, action.do, action.name)}
    except ProcessUnchanged as error:
        raise RequestProblem(409, str(error)) from None


def _strategy(config: Config, action: StrategyAction, why: str) -> JsonObject:
    from tickmesh.nodes.orders.commanding import CommandFailure, publish_command
    from tickmesh.nodes.orders.commands import SwitchStrategy

    names = [one.name for one in config.strategies]
    if action.name not in names:
        raise RequestProblem(404, f"mesh.toml has no strategy {action.name[:40]!r}; there: {', '.join(names) or 'none'}")
    try:
        seq = publish_command(config, SwitchStrategy(action.name, action.state, OPERATOR, why))
    except CommandFailure as failure:
        raise RequestProblem(503, str(failure)) from None
    return {"done": f"strategy {action.name} is {action.state} from seq {seq} on", "seq": seq}


def _kill_switch(config: Config, action: KillSwitchAction, why: str) -> JsonObject:
    from tickmesh.nodes.orders.commanding import CommandFailure, switch_kill

    try:
        done = switch_kill(config, action.on, why)
    except CommandFailure as failure:
        raise RequestProblem(503, str(failure)) from None
    where = f"from seq {done.seq} on" if done.seq is not None else f"by its file; the log does not have it: {done.not_logged}"
    return {
        "done": f"the kill switch is {'on' if action.on else 'off'} {where}", "seq": done.seq, "emergency": done.emergency,
    }  # fmt: skip
