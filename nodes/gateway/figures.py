"""How the mesh and its trading stand, by the newest heartbeats: plain values for the API."""

from typing import Any

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.bus.topics import TABLE
from tickmesh.nodes.gateway.problems import RequestProblem
from tickmesh.nodes.gateway.recent_events import RecentEvents

JsonObject = dict[str, Any]
SECOND_NS = 1_000_000_000
EXECUTOR = "executor"


def processes(recent: RecentEvents, now_ns: int) -> list[JsonObject]:
    """One object a process that has published: pid, since when it has been ready, its heartbeat's age and content.

    `stale`: its heartbeat is older than the table of topics allows.
    """
    beats, runs = recent.newest_of(Kind.health), recent.newest_of(Kind.run)
    out = []
    for name, beat in sorted(beats.items()):
        age_ns, content, run = now_ns - beat.sent_ns, beat.map(), runs.get(name)
        out.append({
            "name": name, "pid": content.get("pid"),
            "ready_ns": run.sent_ns if run is not None else None,
            "heartbeat_age_s": round(age_ns / SECOND_NS, 3),
            "stale": age_ns > TABLE[Kind.health].stale_after_ns, "lag": content.get("lag"), "health": content,
        })  # fmt: skip
    return out


def topics(recent: RecentEvents, now_ns: int) -> list[JsonObject]:
    """The newest trade and quote of each instrument: topic, seq, age, and whether it is stale by the table of topics."""
    out = []
    for name, entry in sorted(recent.latest.items()):
        kind = Kind[name.partition(".")[0]]
        if kind in (Kind.trade, Kind.quote):
            age_ns = now_ns - entry.seq_ns
            stale = age_ns > TABLE[kind].stale_after_ns
            out.append({"topic": name, "last_seq": entry.seq, "age_s": round(age_ns / SECOND_NS, 3), "stale": stale})
    return out


def trading(config: Config, recent: RecentEvents) -> JsonObject:
    """What the executor's newest heartbeat has of trading, with its seq and time. Raises RequestProblem where there is none."""
    beat = recent.newest_of(Kind.health).get(EXECUTOR)
    if beat is None:
        raise RequestProblem(404, "no executor has published what it holds; in mode capture, or switched off, none does")
    return {"seq": beat.seq, "seq_ns": beat.seq_ns, "currency": config.risk.currency, **beat.map()}


def positions(found: JsonObject) -> JsonObject:
    """Positions by instrument, and by strategy and instrument, out of `trading`."""
    strategies = {name: one.get("positions", {}) for name, one in found.get("strategies", {}).items()}
    return {"seq": found["seq"], "seq_ns": found["seq_ns"], "positions": found.get("positions", {}), "strategies": strategies}


MONEY = ("realised", "unrealised", "fee_cost", "funding", "fills")


def profit_and_loss(found: JsonObject) -> JsonObject:
    """Profit and loss by instrument, by strategy and in all, out of `trading`; in the quote currency, in all in `currency`."""
    by_instrument = {
        subject: {name: one[name] for name in MONEY if name in one} for subject, one in found.get("positions", {}).items()
    }
    by_strategy = {name: one.get("profit") for name, one in found.get("strategies", {}).items()}
    return {
        "seq": found["seq"], "seq_ns": found["seq_ns"], "currency": found["currency"], "profit": found.get("profit"),
        "instruments": by_instrument, "strategies": by_strategy, "fees": found.get("fees", {}),
        "fundings": found.get("fundings", {}), "kill_switch": found.get("kill_switch"),
    }  # fmt: skip
