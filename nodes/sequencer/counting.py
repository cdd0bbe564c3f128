"""What arbitration counts, for the sequencer's `health` events (docs/watching.md). Pure."""

from typing import Any

from tickmesh.nodes.sequencer.arbiter import Arbiter


def arbitration_counters(arbiter: Arbiter) -> dict[str, Any]:
    """How often what has happened since this process began, and how many gaps are open now."""
    return {
        "gaps": arbiter.waiting.given_up,
        "open_gaps": arbiter.open_gaps,
        "gaps_forgotten": arbiter.trade_gaps.forgotten,
        "late": arbiter.trade_gaps.late,
        "taken_over": arbiter.taken_over,
        "stale_snapshots": arbiter.stale_snapshots,
        "contradictions": arbiter.contradictions,
        "eras": arbiter.eras,
        "brought_up": arbiter.brought_up,
        "duplicates": dict(arbiter.copies.duplicates),
    }
