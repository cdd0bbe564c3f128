"""When a model publishes a signal: at a change that matters, at a bounded rate, and again while a strong value stands."""

from numba import njit

from tickmesh.nodes.models.interface import Parameter

SIGNAL_RULE = {
    "step": Parameter(0.2, 0.0, 2.0, "a value that moved so far since the last signal is published"),
    "threshold": Parameter(0.6, 0.0, 1.0, "a |value| that crosses it, either way, is published"),
    "interval_ms": Parameter(100.0, 0.0, 3.6e6, "least time between two signals, by seq_ns"),
    "repeat_ms": Parameter(1000.0, 0.0, 3.6e6, "a |value| that stays at the threshold or above is published again; 0: never"),
}


@njit(cache=True)
def signal_due(
    value: float, now_ns: int, published_value: float, published_ns: int, step: float, threshold: float, interval_ns: float,
    repeat_ns: float,
) -> bool:  # fmt: skip
    """Whether `value` is to be published at `now_ns`, by the parameters of SIGNAL_RULE; `published_ns` 0: nothing was yet."""
    if published_ns == 0:
        return True
    silent_ns = now_ns - published_ns
    if silent_ns < interval_ns:
        return False
    strong = abs(value) >= threshold
    if abs(value - published_value) >= step or strong != (abs(published_value) >= threshold):
        return value != published_value
    return strong and repeat_ns > 0 and silent_ns >= repeat_ns
