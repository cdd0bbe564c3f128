"""What keys of `mesh top` change, by the functions of `mesh strategy` and `mesh kill-switch`, and what is asked before."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from tickmesh.nodes.supervision.process_control import Change, ProcessUnchanged, change_process
from tickmesh.tools import kill_switch, terminal, trading

WHY = "by a key of mesh top"


class Act(NamedTuple):
    """Something that a person may do. `question`: what is to be confirmed; `carry_out`: does it, and gives a sentence.

    `carry_out` raises terminal.Failure or ConfigError with why it was not done.
    """

    question: str
    carry_out: Callable[[], str]


def process_act(change: Change, name: str) -> Act:
    """The act that starts, stops or restarts a process."""

    def carry_out() -> str:
        try:
            return change_process(terminal.config(), change, name)
        except ProcessUnchanged as error:
            raise terminal.Failure(str(error)) from None

    stays = ", which stays stopped until it is started" if change == "stop" else ""
    return Act(f"{change.capitalize()} {name}{stays}?", carry_out)


def strategy_act(name: str, state: Literal["on", "off", "shadow"]) -> Act:
    """The act that switches a strategy."""

    def carry_out() -> str:
        result = trading.switch(name, state, WHY)
        return f"strategy {name} is {result['state']} from seq {result['seq']} of the log on"

    then = {
        "on": "it trades", "off": "its open orders are cancelled, its position stays",
        "shadow": "its open orders are cancelled, and it goes on without sending any",
    }  # fmt: skip
    return Act(f"Switch strategy {name or '(none)'} {state}: {then[state]}?", carry_out)


def kill_switch_act(on: bool) -> Act:
    """The act that throws or lifts the kill switch."""

    def carry_out() -> str:
        result = kill_switch.switch(on, WHY)
        place = "the file is written, and the log does not have it" if result["seq"] is None else f"seq {result['seq']}"
        return f"the kill switch is {'on' if on else 'off'} ({place})"

    if on:
        return Act("Throw the kill switch: every order is cancelled, and nothing is ordered until it is lifted?", carry_out)
    return Act("Lift the kill switch: strategies may order again?", carry_out)
