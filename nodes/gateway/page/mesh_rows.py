"""Rows of what the page shows of the whole mesh: instruments at a glance, processes, strategies, alerts. No I/O."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.bus.topics import TABLE
from tickmesh.bus.wire import Event
from tickmesh.nodes.alerts.episodes import episodes
from tickmesh.nodes.gateway.figures import EXECUTOR
from tickmesh.nodes.gateway.recent_events import RecentEvents

JsonObject = dict[str, Any]
SECOND_NS = 1_000_000_000
ALERTS_SHOWN = 12
OVERVIEW = ("instrument", "bid", "ask", "last", "spread_bp")
DIGITS = 10  # of a price: what a float has beyond is none
BASIS = 1e4  # of a price's hundredths of a percent


def instrument_rows(
    subjects: Iterable[str], recent: RecentEvents, exponents: Mapping[str, tuple[int, int]], now_ns: int
) -> list[JsonObject]:
    """One row an instrument: its newest bid, ask and trade, spread in hundredths of a percent (bp), age in seconds, time."""
    rows = []
    for subject in subjects:
        row: JsonObject = {
            "instrument": subject,
            "bid": None,
            "ask": None,
            "last": None,
            "spread_bp": None,
            "age_s": None,
            "newest_ns": None,
        }
        scale = 10.0 ** exponents.get(subject, (0, 0))[0]
        quote, trade = recent.latest.get(f"quote.{subject}"), recent.latest.get(f"trade.{subject}")
        times = [one.seq_ns for one in (quote, trade) if one is not None]
        if quote is not None:
            record = Event(quote.raw).records[-1]
            bid, ask = round(int(record["bid_ticks"]) * scale, DIGITS), round(int(record["ask_ticks"]) * scale, DIGITS)
            row |= {"bid": bid or None, "ask": ask or None}
            if bid and ask:
                row["spread_bp"] = round((ask - bid) / ((ask + bid) / 2) * BASIS, 3)
        if trade is not None:
            row["last"] = round(int(Event(trade.raw).records[-1]["price_ticks"]) * scale, DIGITS)
        if times:
            row["newest_ns"] = max(times)
            age_ns = now_ns - max(times)
            row |= {"age_s": round(age_ns / SECOND_NS, 1), "stale": age_ns > TABLE[Kind.quote].stale_after_ns}
        rows.append(row)
    return rows


def overview_rows(rows: Iterable[JsonObject]) -> dict[str, JsonObject]:
    """What the table of all instruments shows of `instrument_rows`, by instrument: `at`, the newest's time of day (UTC).

    So a row changes only when something has come: an age would change all of them all the time.
    """
    shown = {}
    for row in rows:
        at = None if row["newest_ns"] is None else f"{datetime.fromtimestamp(row['newest_ns'] // SECOND_NS, UTC):%H:%M:%S}"
        shown[row["instrument"]] = {**{name: row[name] for name in OVERVIEW}, "at": at}
    return shown


def process_rows(
    recent: RecentEvents, supervised: Iterable[Mapping[str, Any]], restarts: Mapping[str, int], now_ns: int
) -> list[JsonObject]:
    """One row a process: its state by supervisord, pid, uptime and heartbeat's age in seconds, lag in events, restarts.

    `restarts`: of the last minute, as supervisord counts; `began`: how many of its lives the memory has.
    """
    beats = recent.newest_of(Kind.health)
    rows = {}
    for one in supervised:
        up_s = one["now"] - one["start"] if one["pid"] else None
        rows[one["name"]] = {"name": one["name"], "state": one["statename"], "pid": one["pid"] or None, "uptime_s": up_s}
    for name in beats:
        rows.setdefault(name, {"name": name, "state": "hosted", "pid": None, "uptime_s": None})
    for name, row in rows.items():
        beat = beats.get(name)
        content = beat.map() if beat is not None else {}
        age_s = (now_ns - beat.sent_ns) / SECOND_NS if beat is not None else None
        stale = beat is None or now_ns - beat.sent_ns > TABLE[Kind.health].stale_after_ns
        row |= {
            "heartbeat_age_s": None if age_s is None else round(age_s, 1), "stale": stale, "lag": content.get("lag"),
            "restarts": restarts.get(name, 0),
        }  # fmt: skip
    return list(rows.values())


def alert_rows(recent: RecentEvents, reports: Iterable[Event], now_ns: int) -> list[JsonObject]:
    """The newest troubles of the reports (alerts, runs, commands), the newest first, as `mesh status --json` has them."""
    begun = {name: event.sent_ns for name, event in recent.newest_of(Kind.run).items()}
    found = episodes(reports, begun)
    return [one.as_json(now_ns) for one in found[-ALERTS_SHOWN:]][::-1]


def trading_rows(config: Config, recent: RecentEvents) -> JsonObject:
    """What the executor's newest heartbeat has: strategies, positions, profit, kill switch; empty without one."""
    beat = recent.newest_of(Kind.health).get(EXECUTOR)
    content = beat.map() if beat is not None else {}
    strategies = []
    for name, one in content.get("strategies", {}).items():
        held = ", ".join(f"{held['position']:.8g} {subject}" for subject, held in one.get("positions", {}).items())
        strategies.append({
            "strategy": name or "(none)", "state": one.get("state", ""), "position": held, "profit": one.get("profit"),
            "open_orders": one.get("open_orders"), "fills": one.get("fills"), "intents": one.get("intents"),
            "refused": sum(one.get("refused", {}).values()),
        })  # fmt: skip
    positions = [{"instrument": subject, **one} for subject, one in sorted(content.get("positions", {}).items())]
    return {
        "strategies": strategies, "positions": positions, "profit": content.get("profit"), "currency": config.risk.currency,
        "kill_switch": content.get("kill_switch"), "trades": bool(content),
    }  # fmt: skip
