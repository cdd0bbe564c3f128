"""What a sweep says of the time until market data is there again: why it took long, and what that asked of the venues."""

from typing import Any

from tickmesh.nodes.venues.table import adapter_of
from tickmesh.tools.chaos.figures import Figures, quantiles
from tickmesh.tools.chaos.late import LATE_S, as_json, explained, table
from tickmesh.tools.chaos.plan import FEEDS, USDM_FEEDS
from tickmesh.tools.chaos.sweep_mesh import HOST, SweepMesh
from tickmesh.tools.chaos.venue_record import VenueRecord
from tickmesh.tools.judge.exchange_ledger import read_rows
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.terminal import JsonObject, out

MINUTE_MS = 60_000


def recovery(mesh: SweepMesh, figures: Figures) -> JsonObject:
    """The part of a sweep's result about recovery, from the exchange's ledger, the kills and the log's next events."""
    traded = [one.subject for one in mesh.instruments if not one.silent]
    venue = VenueRecord(traded).read(read_rows(mesh.config.exchange_dir, Findings()))
    there = {f"feed-{one.partition('.')[0]}" for one in traded}
    lines = [name for name in (*FEEDS, *USDM_FEEDS) if name.rpartition("-")[0] in there]
    if mesh.config.host:
        lines[0] = HOST
    lates = explained(figures.kills, figures.next_s, venue, mesh.asleep, lines)
    begun_ns = min((one.true_ns for one in lates), default=0)
    return {
        "next_event_ours_s": quantiles([one.ours_s for one in lates]),
        "late_causes": table(lates),
        "late": [as_json(one, begun_ns) for one in lates if one.next_s > LATE_S],
        "asked": {name: _asked(name, venue, figures) for name in venue.tried_ms},
    }


def _asked(name: str, venue: VenueRecord, figures: Figures) -> dict[str, Any]:
    """The most that was asked of a venue, beside what it allows."""
    adapter = adapter_of(name)
    return {
        "connections_in_a_minute": venue.most_tried(name, MINUTE_MS),
        "connections_in_5_minutes": venue.most_tried(name, 5 * MINUTE_MS),
        "connections_allowed_in_5_minutes": adapter.CONNECTIONS_PER_5_MINUTES,
        "weight_in_a_minute": figures.used_weight[name],
        "weight_allowed_in_a_minute": adapter.WEIGHT_PER_MINUTE,
    }


def show_recovery(result: JsonObject) -> None:
    """Prints that part of the result for a person."""
    times = "  ".join(f"{q} {s * 1000:.0f} ms" for q, s in result["next_event_ours_s"].items())
    out.print(f"  {'… without what the venue was silent':<38} {times or 'no kill'}")
    out.print(f"  {len(result['late'])} next events came later than {LATE_S} s; the time until then, by cause:")
    for row in result["late_causes"]:
        out.print(
            f"    {row['cause']:<38} {row['seconds']:7.2f} s, at most {row['longest_s']:.2f} s a kill; most of {row['kills']}"
        )
    for name, asked in result["asked"].items():
        out.print(
            f"  asked of {name}, at most: {asked['connections_in_a_minute']} connections in a minute, "
            f"{asked['connections_in_5_minutes']} in five ({asked['connections_allowed_in_5_minutes']} allowed), weight "
            f"{asked['weight_in_a_minute']} in a minute ({asked['weight_allowed_in_a_minute']} allowed)"
        )
