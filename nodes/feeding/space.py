"""What a feed still says when the disk runs out of space: raw frames go first, then depth, trades and quotes never."""

from enum import IntEnum

AGAIN = 10  # a threshold and its tenth part have to be free before a step is taken back


class Space(IntEnum):
    """`ample`: everything is said. `low`: no raw frames. `critical`: no depth either."""

    ample = 0
    low = 1
    critical = 2


def judge(before: Space, free_bytes: int, low_bytes: int, critical_bytes: int) -> Space:
    """The step that is right for this much free space, with hysteresis."""
    limits = {Space.low: low_bytes, Space.critical: critical_bytes}
    step = Space.ample
    for at, limit in limits.items():
        if free_bytes < (limit + limit // AGAIN if before >= at else limit):
            step = at
    return step
