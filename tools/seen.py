"""In words what `mesh up` has found: in a capture before its replay, and in the log of a mesh that has come up."""

from collections.abc import Mapping

from tickmesh.tools.terminal import JsonObject, err

STREAMS_SHOWN = 12


def seen_sentence(rates: Mapping[str, float], counts: Mapping[str, int]) -> str:
    """What was seen of each kind: how many a second; of the rare ones how many so far, and which have not come at all."""
    often = ", ".join(f"{rate:g} {_word(kind, rate)}" for kind, rate in rates.items() if rate)
    rare = ", ".join(f"{counts[kind]} {_word(kind, counts[kind])}" for kind, rate in rates.items() if not rate and counts[kind])
    none = ", ".join(kind for kind in rates if not counts[kind])
    parts = (f"per second {often}" if often else "", f"so far {rare}" if rare else "", f"not yet any {none}" if none else "")
    return f"In the log: {'; '.join(part for part in parts if part)}."


def _word(kind: str, number: float) -> str:
    """A kind after its number: one fill, two fills."""
    word = "depth change" if kind == "depth" else kind
    return word if number == 1 else f"{word}s"


def show_capture(summary: JsonObject) -> None:
    """Prints for a person what a capture holds, before its replay: on stderr, so that `--json` is alone on stdout."""
    bad = sum(summary["not_served"].values())
    words = f"{summary['dialect']}, receive times in {summary['unit']}, {summary['lines']} lines of {summary['seconds']:g} s"
    found = f"{len(summary['symbols'])} symbols, {summary['snapshots']} book snapshots"
    err.print(f"Capture: {words}, {found}, {bad} lines not served.", markup=False)
    for name, count in list(summary["streams"].items())[:STREAMS_SHOWN]:
        note = " (sent to who asks, not recorded)" if name in summary["not_recorded"] else ""
        err.print(f"  {count:>9} {name}{note}", markup=False)
    if len(summary["streams"]) > STREAMS_SHOWN:
        err.print(f"  and {len(summary['streams']) - STREAMS_SHOWN} streams more (--json has all)")
    for reason, count in summary["not_served"].items():
        err.print(f"  {count:>9} not served: {reason}; the first: {summary['first'][reason]}", style="bold", markup=False)
    for name in summary["no_snapshot"]:
        err.print(f"  no depth snapshot of {name}'s venue: its book will not be known", style="bold", markup=False)
    if summary["jumps"]:
        err.print(f"  {summary['jumps']} receive times go back, or jump by more than an hour", markup=False)
