"""The latency of the orders in a recording: from an intent to the venue's time of its acceptance, and on to the log."""

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Action, Kind, Status
from tickmesh.nodes.exchange.market.latency import InterpolatedLatency
from tickmesh.nodes.orders.states import FINAL
from tickmesh.storage.query import reader
from tickmesh.storage.query.times import ReadError

MS = 1e6


def recorded_latency(config: Config, subjects: tuple[str, ...]) -> InterpolatedLatency:
    """Reads what orders of these instruments took, at the times at which they were sent. Raises ReadError where there are none.

    The venue's own time divides the way there and back; where its clock says an impossible thing, the whole is divided by it.
    """
    sent: dict[bytes, int] = {}
    rows: list[tuple[int, float, float]] = []
    for event in reader.events(config, kinds=(Kind.intent, Kind.update)):
        if event.subject not in subjects:
            continue
        for record in event.records:
            name = bytes(record["client_order_id"])
            if event.kind == Kind.intent:
                if record["action"] == Action.NEW:
                    sent[name] = event.seq_ns
            elif not record["venue_ns"]:  # the session's own word: of an order that never was at the venue, or is not known yet
                if record["status"] in FINAL:
                    sent.pop(name, None)
            elif record["status"] != Status.PendingNew and name in sent:
                begun_ns = sent.pop(name)
                whole = event.seq_ns - begun_ns
                entry = min(max(int(record["venue_ns"]) - begun_ns, 0), whole)
                rows.append((begun_ns, entry / MS, (whole - entry) / MS))
    if not rows:
        raise ReadError(
            f"no order on {', '.join(subjects)} was recorded, so there is no latency to take; say one in ms, like 5 or 5,3"
        )
    return InterpolatedLatency(rows)
