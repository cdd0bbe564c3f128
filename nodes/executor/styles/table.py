"""What each style is made of: a schedule, which says how much is due by now, and work towards that."""

from tickmesh.bus.settings_trading import ExecutionSettings
from tickmesh.nodes.executor.styles.interface import Schedule, Work
from tickmesh.nodes.executor.styles.once import once
from tickmesh.nodes.executor.styles.resting import MS, patient, post_only
from tickmesh.nodes.executor.styles.schedules import pov, twap
from tickmesh.nodes.executor.styles.taking import sweep, take

ONCE = frozenset(("market", "limit", "limit_ioc", "limit_maker"))  # styles of one order; the others work
WORK: dict[str, Work] = {"post_only": post_only, "patient": patient, "sweep": sweep, **dict.fromkeys(ONCE, once)}
SLICE_WORK: dict[str, Work] = {"market": take, "post_only": post_only, "patient": patient, "sweep": sweep}
SCHEDULES: dict[str, Schedule] = {"twap": twap, "pov": pov}


def work_of(style: str, settings: ExecutionSettings) -> Work:
    """What works towards what is due."""
    return SLICE_WORK[settings.slice_style or "patient"] if style in SCHEDULES else WORK[style]


def lifetime_ns(style: str, settings: ExecutionSettings, ttl_ns: int) -> int:
    """How long a parent of this style is worked; `ttl_ns`: how long one order may rest."""
    if style in ONCE:
        return ttl_ns
    return ((settings.horizon_ms if style in SCHEDULES else settings.lifetime_ms) or 1) * MS
