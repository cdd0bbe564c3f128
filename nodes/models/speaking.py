"""When a model speaks: at a change that matters, at a bounded rate, and again while a strong value stands."""

from numba import njit

from tickmesh.nodes.models.interface import Parameter

SPEAKING = {
    "step": Parameter(0.2, 0.0, 2.0, "a value that moved so far since the last signal is said"),
    "threshold": Parameter(0.6, 0.0, 1.0, "a |value| that crosses it, either way, is said"),
    "interval_ms": Parameter(100.0, 0.0, 3.6e6, "least time between two signals, by seq_ns"),
    "repeat_ms": Parameter(1000.0, 0.0, 3.6e6, "a |value| that stays at the threshold or above is said again; 0: never"),
}


@njit(cache=True)
def due(
    value: float, now_ns: int, said_value: float, said_ns: int, step: float, threshold: float, interval_ns: float,
    repeat_ns: float,
) -> bool:  # fmt: skip
    """True when `value` is to be said at `now_ns`. `said_ns` is 0 before the first signal."""
    if said_ns == 0:
        return True
    silent_ns = now_ns - said_ns
    if silent_ns < interval_ns:
        return False
    strong = abs(value) >= threshold
    if abs(value - said_value) >= step or strong != (abs(said_value) >= threshold):
        return value != said_value
    return strong and repeat_ns > 0 and silent_ns >= repeat_ns
