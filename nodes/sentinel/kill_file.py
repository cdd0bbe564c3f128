"""The file run/kill-switch: whoever can make a file can stop all trading. No I/O."""

from typing import Any

AGAIN_NS = 3_000_000_000  # the executor's next health shows within a second whether it has heard it


class KillFile:
    """Decides when the kill switch is to be thrown because the file is there."""

    def __init__(self) -> None:
        self._is_on = False  # by the executor's newest health
        self._known = False
        self._published_ns = 0

    def read_health(self, health: dict[str, Any]) -> None:
        """Takes in a health event of the executor."""
        switch = health.get("kill_switch")
        self._known = isinstance(switch, dict)
        self._is_on = isinstance(switch, dict) and bool(switch.get("on"))

    def is_due(self, is_there: bool, now_ns: int) -> bool:
        """Whether a command has to be published now."""
        if not is_there or not self._known or self._is_on or now_ns - self._published_ns < AGAIN_NS:
            return False
        self._published_ns = now_ns
        return True
