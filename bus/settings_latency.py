"""The section `[latency]` of `mesh.toml`: cores, waiting, priority of processes that a tick passes on its way to an order."""

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from tickmesh.bus.setting_types import Section

AUTO: Literal["auto"] = "auto"
Core = Annotated[int, Meta(ge=0, le=8191, description="the number of a core, 0 or more")]
Pin = tuple[Core, ...] | Literal["auto"]


class LatencySettings(Section, frozen=True):
    """All off by default: each takes something from all else that runs on the machine (docs/performance.md, Tails).

    They concern sequencer, feeds, executor, sessions and models; `pin` keeps all others off their cores, too.
    """

    # Cores for them alone, one each where there are enough; "auto": the machine's last ones, never its first
    pin: Annotated[Pin, Meta(description='"auto", or a list of cores like [2, 3]')] = ()
    # So long after each event a process looks for the next one before it sleeps, which takes its core; 0: it sleeps at once
    spin_us: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    realtime: bool = False  # the kernel runs them before all ordinary processes (SCHED_FIFO), where this user has the right


def contradictions_of_latency(latency: LatencySettings) -> Iterator[tuple[str, object, str]]:
    """(key, value, what is allowed) of what is impossible beside another key, or within the list."""
    if len(set(latency.pin)) < len(latency.pin) and latency.pin != AUTO:
        yield "latency.pin", list(latency.pin), "each core only once"
    if latency.realtime and latency.spin_us:
        allowed = (
            "0 with latency.realtime: a process that never sleeps and goes before all others would keep its core from them"
        )
        yield "latency.spin_us", latency.spin_us, allowed
