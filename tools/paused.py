"""What of a mesh that trades is not heard of, so that nothing is ordered."""

from collections.abc import Mapping

from tickmesh.bus.config import Config
from tickmesh.nodes.sentinel.latch import watched
from tickmesh.nodes.sentinel.vitals import SEQUENCER
from tickmesh.tools.log_window import SECOND, LogWindow


def lost(config: Config, window: LogWindow, now: int) -> dict[str, float]:
    """Who is not heard of, for how many seconds, so that trading is paused. 0: for longer than the log is read back."""
    if config.mode == "capture" or not config.executor.enabled:
        return {}
    pause_s = config.risk.lost_pause_s
    age_s = window.age_s(now)
    if age_s is None or age_s >= pause_s:
        return {SEQUENCER: round(age_s or 0.0, 1)}
    health = window.health
    ages = {name: (now - health[name].seq_ns) / SECOND if name in health else 0.0 for name in watched(config)}
    return {name: round(age, 1) for name, age in ages.items() if not 0 < age < pause_s}


def paused_because(lost_now: Mapping[str, float], latch_s: float) -> list[str]:
    """A sentence of each that is lost."""
    then = f"; after {latch_s:g} s the kill switch is on" if latch_s else ""
    return [
        f"{name} {f'has not been heard of for {age_s:.0f} s' if age_s else 'has not been heard of lately'}{then}"
        for name, age_s in lost_now.items()
    ]
