"""What is said of the clock's corrections (docs/decisions/time.md). No I/O."""

from tickmesh.bus.clock import SECOND, SLEW_DIVISOR, Correction
from tickmesh.nodes.sequencer.cursors import NAME

PACE = f"{100 // SLEW_DIVISOR} %"


def alert(correction: Correction, offset_ns: int) -> dict[str, str | int]:
    """Builds the content of an alert about a correction. `offset_ns`: the wall clock's distance from the mesh's time now."""
    what, size_ns = correction
    size = f"{abs(size_ns) / SECOND:.3f} s"
    side = "ahead of" if size_ns > 0 else "behind"
    large = abs(size_ns) >= SECOND
    if what == "clock_step":
        why, action = (
            f"the wall clock was {size} ahead, at every look of the last second",
            f"seq_ns went forward by {size} at once",
        )
    elif what == "clock_slew":
        hours = abs(size_ns) * SLEW_DIVISOR / (3600 * SECOND)
        pace = f"{'fast' if size_ns > 0 else 'slow'} by at most {PACE}, for {hours:.2g} h if the wall clock stays right"
        why, action = f"the wall clock is {size} {side} seq_ns", f"seq_ns never goes back: it goes on, {pace}"
    elif what == "clock_slew_end":
        why = f"seq_ns is within {abs(offset_ns) / 1e6:.3f} ms of the wall clock again"
        action, large = f"it was slewed by {size_ns / SECOND:+.3f} s", False
    else:
        why, action = f"the machine was suspended for {size}", "seq_ns counts that time; deadlines of processes do not"
    level = "warning" if large or what in ("clock_step", "clock_suspend") else "info"
    return {"level": level, "what": what, "target": NAME, "why": why, "action": action, "size_ns": size_ns}
