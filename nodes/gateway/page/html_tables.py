"""Tables, ladders and bars of the page as HTML, from plain values: everything that comes from outside is escaped. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, NamedTuple

JsonObject = Mapping[str, Any]
SECOND_NS = 1_000_000_000
MEBIBYTE = 1 << 20
BAR_WIDTH = 1000  # units of a bar's own width
SEGMENT_MIN = 4  # units: a hole of a millisecond can be seen
STATES = ("complete", "repaired", "unproven", "missing")
NONE = "–"


class Head(NamedTuple):
    """A column of a table: its heading, the field, and whether it is a number, which stands to the right."""

    heading: str
    field: str
    number: bool = False


class TableRow(NamedTuple):
    """A row of a table: field → text; `word`: what the row is marked as, a class of page.css."""

    cells: JsonObject
    word: str = ""


def table(caption: str, columns: Sequence[Head], rows: Iterable[TableRow], empty: str) -> str:
    """A table with a caption for who cannot see where it stands, or a sentence where it has no row."""
    body = ""
    for row in rows:
        cells = "".join(_cell(row, column, number == 0) for number, column in enumerate(columns))
        body += f'<tr class="{escape(row.word)}">{cells}</tr>'
    if not body:
        return f'<p class="quiet">{escape(empty)}</p>'
    heads = "".join(f'<th scope="col"{_side(column)}>{escape(column.heading)}</th>' for column in columns)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _cell(row: TableRow, column: Head, first: bool) -> str:
    text = shown(row.cells.get(column.field))
    return f'<th scope="row">{text}</th>' if first else f"<td{_side(column)}>{text}</td>"


def _side(column: Head) -> str:
    return ' class="number"' if column.number else ""


def shown(value: Any) -> str:
    """A value as text, escaped; a dash for none."""
    if value is None or value == "":
        return NONE
    if isinstance(value, float):
        return escape(f"{value:.8g}")
    return escape(str(value))


def clock_text(ns: int) -> str:
    """The time of day (UTC) of nanoseconds since 1970, to the millisecond."""
    return datetime.fromtimestamp(ns / SECOND_NS, UTC).strftime("%H:%M:%S.%f")[:-3]


def duration_text(seconds: float | None) -> str:
    """A duration in one unit."""
    if seconds is None:
        return NONE
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def time_ns_text(ns: float | None) -> str:
    """A short time in the unit that suits it; a dash for none."""
    if ns is None:
        return NONE
    for size, unit in ((SECOND_NS, "s"), (1_000_000, "ms"), (1000, "µs")):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


def bytes_text(count: int | None) -> str:
    """A number of bytes in MiB or GiB; a dash for none."""
    if count is None:
        return NONE
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / MEBIBYTE:.1f} MiB"


def trades_table(trades: Iterable[JsonObject]) -> str:
    """The newest trades, the newest first."""
    rows = [
        TableRow({**one, "time": clock_text(one["seq_ns"])}, one["side"])
        for one in reversed(list(trades))
    ]  # fmt: skip
    columns = (
        Head("time", "time"),
        Head("side", "side"),
        Head("price", "price", True),
        Head("quantity", "quantity", True),
    )
    return table("newest trades", columns, rows, "no trade has come yet")


ORDER_WORDS = {"Filled": "good", "Rejected": "bad", "Unknown": "bad"}


def orders_table(orders: Iterable[JsonObject]) -> str:
    """Our orders, the newest first."""
    rows = [
        TableRow({
            "time": clock_text(one["begun_ns"]), "status": one["status"], "side": one["side"], "type": one["order_type"],
            "price": one["price"], "filled": f"{one['filled_quantity']} of {one['quantity']}", "id": one["client_order_id"],
        }, ORDER_WORDS.get(one["status"], ""))
        for one in reversed(list(orders))
    ]  # fmt: skip
    columns = (
        Head("time", "time"), Head("status", "status"), Head("side", "side"), Head("type", "type"),
        Head("price", "price", True), Head("filled", "filled", True), Head("client order id", "id"),
    )  # fmt: skip
    return table("our newest orders", columns, rows, "no order has been made lately")


def fills_table(fills: Iterable[JsonObject], most: int = 10) -> str:
    """Our newest fills, the newest first."""
    rows = [
        TableRow({
            "time": clock_text(one["seq_ns"]), "side": one["side"], "price": one["price"], "quantity": one["quantity"],
            "fee": f"{one['fee']} {one['fee_asset']}", "maker": "maker" if one["maker"] else "taker",
        }, one["side"])
        for one in list(fills)[-most:][::-1]
    ]  # fmt: skip
    columns = (
        Head("time", "time"), Head("side", "side"), Head("price", "price", True), Head("quantity", "quantity", True),
        Head("fee", "fee", True), Head("as", "maker"),
    )  # fmt: skip
    return table("our newest fills", columns, rows, "nothing has been filled lately")


def signals_table(signals: Mapping[str, JsonObject], now_s: float) -> str:
    """The newest signal of each model, and how old it is."""
    rows = [
        TableRow({
            "model": model, "value": f"{one['value']:+.3f}", "age": duration_text(max(now_s - one["seq_ns"] / SECOND_NS, 0.0)),
            "horizon": time_ns_text(one.get("horizon_ns")),
        }, "buy" if one["value"] > 0 else "sell")
        for model, one in sorted(signals.items())
    ]  # fmt: skip
    columns = (
        Head("model", "model"),
        Head("value", "value", True),
        Head("age", "age", True),
        Head("horizon", "horizon", True),
    )
    return table("newest signal of each model", columns, rows, "no model has published a signal")


def ladder(book: JsonObject, why_not: str) -> str:
    """The best levels of a book: bids to the left, asks to the right, with bars of what lies there."""
    if why_not or not book:
        return f'<p class="quiet">{escape(why_not or "there is no book")}</p>'
    most = max((float(one["quantity"]) for side in ("bids", "asks") for one in book[side]), default=0.0) or 1.0
    rows = []
    for number in range(max(len(book["bids"]), len(book["asks"]))):
        cells = ""
        for side in ("bids", "asks"):
            one = book[side][number] if number < len(book[side]) else None
            if one is None:
                cells += "<td></td><td></td>"
                continue
            width = round(float(one["quantity"]) / most * 100)
            quantity = f'<td class="number {side}" style="--share:{width}%">{escape(one["quantity"])}</td>'
            price = f'<td class="number">{escape(one["price"])}</td>'
            cells += quantity + price if side == "bids" else price + quantity
        rows.append(f"<tr>{cells}</tr>")
    heads = "".join(f'<th scope="col" class="number">{name}</th>' for name in ("bid quantity", "bid", "ask", "ask quantity"))
    body = "".join(rows)
    return f'<table class="ladder"><caption>order book</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def processes_table(processes: Iterable[JsonObject], supervisord: str) -> str:
    """Processes with their state, restarts, lag and heartbeat."""
    rows = [
        TableRow({
            **one, "uptime": duration_text(one["uptime_s"]), "heartbeat": f"{duration_text(one['heartbeat_age_s'])} ago",
            "lag": NONE if one["lag"] is None else f"{one['lag']} events",
        }, _process_word(one))
        for one in processes
    ]  # fmt: skip
    columns = (
        Head("process", "name"), Head("state", "state"), Head("pid", "pid", True), Head("up", "uptime", True),
        Head("heartbeat", "heartbeat", True), Head("lag", "lag", True), Head("restarts, last minute", "restarts", True),
    )  # fmt: skip
    found = table("processes", columns, rows, "no process is known")
    return f'<p class="bad">{escape(supervisord)}</p>{found}' if supervisord else found


def _process_word(one: JsonObject) -> str:
    if one["state"] not in ("RUNNING", "hosted", "STARTING"):
        return "bad"
    return "warning" if one["stale"] or one["state"] == "STARTING" or one["restarts"] else ""


def strategies_table(trading: JsonObject) -> str:
    """Strategies with state, position and profit, and all of it together."""
    rows = [
        TableRow({**one, "profit": _money(one["profit"])}, "" if one["state"] == "live" else "quiet")
        for one in trading["strategies"]
    ]
    columns = (
        Head("strategy", "strategy"), Head("state", "state"), Head("position", "position"),
        Head(f"profit, {trading['currency']}", "profit", True), Head("fills", "fills", True),
        Head("open orders", "open_orders", True), Head("intents", "intents", True), Head("refused", "refused", True),
    )  # fmt: skip
    return table("strategies", columns, rows, "no executor has published what it does")


def positions_table(trading: JsonObject) -> str:
    """Positions by instrument, with what has been gained."""
    rows = [
        TableRow({
            **one, "position": f"{one['position']:.8g}", "average": f"{one['average_price']:.8g}",
            "realised": _money(one["realised"]), "unrealised": _money(one["unrealised"]), "fees": _money(one["fee_cost"]),
        })
        for one in trading["positions"]
    ]  # fmt: skip
    columns = (
        Head("instrument", "instrument"), Head("position", "position", True), Head("average price", "average", True),
        Head("realised", "realised", True), Head("unrealised", "unrealised", True), Head("fees", "fees", True),
    )  # fmt: skip
    return table("positions", columns, rows, "nothing is traded")


def _money(amount: float | None) -> str:
    return NONE if amount is None else f"{amount:+.4f}"


def alerts_table(alerts: Iterable[JsonObject]) -> str:
    """Troubles, the newest first: what goes on, and what is over."""
    rows = [
        TableRow({
            **one, "state": "goes on" if one["goes_on"] else "over", "age": f"{duration_text(one['age_s'])} ago",
            "trouble": one["what"].replace("_", " "),
        }, ("bad" if one["level"] == "critical" else "warning") if one["goes_on"] else "quiet")
        for one in alerts
    ]  # fmt: skip
    columns = (
        Head("trouble", "trouble"), Head("of", "target"), Head("level", "level"), Head("state", "state"),
        Head("last", "age", True), Head("times", "times", True), Head("why", "why"), Head("done", "action"),
    )  # fmt: skip
    return table("troubles", columns, rows, "no alert has come")


def races_table(lines: Iterable[JsonObject]) -> str:
    """The race of the feed's lines, by stream: how often each was first, and by how much."""
    rows = [
        TableRow({
            "line": f"{one['line']}, {one['stream']}",
            "first": f"{one['firsts'] / one['events']:.0%}" if one["events"] else NONE,
            "events": one["events"], "lead": time_ns_text(one["lead_p50_ns"]), "lead99": time_ns_text(one["lead_p99_ns"]),
            "lag": time_ns_text(one["lag_p50_ns"]),
        }, "good" if one["events"] and one["firsts"] * 2 > one["events"] else "")
        for one in lines
    ]  # fmt: skip
    columns = (
        Head("line, stream", "line"), Head("was first", "first", True), Head("of events", "events", True),
        Head("ahead by, median", "lead", True), Head("99 %", "lead99", True), Head("behind by, median", "lag", True),
    )  # fmt: skip
    return table(
        "race of the lines, last report", columns, rows, "the sequencer has not reported a race yet: it does every 10 s"
    )


def gaps_table(gaps: Iterable[JsonObject]) -> str:
    """The newest gaps, the newest first: open, repaired or unrecoverable."""
    words = {"open": "bad", "repaired": "good", "unrecoverable": "bad"}
    rows = [
        TableRow({
            "time": clock_text(one["seq_ns"]), "stream": one["stream"], "state": one["state"],
            "ids": f"{one['first_id']} to {one['last_id']}", "reason": one["reason"],
        }, words.get(str(one["state"]), ""))
        for one in reversed(list(gaps))
    ]  # fmt: skip
    columns = (
        Head("time", "time"),
        Head("stream", "stream"),
        Head("state", "state"),
        Head("ids", "ids", True),
        Head("reason", "reason"),
    )
    return table("newest gaps", columns, rows, "no gap has been seen")


def coverage_bars(intervals: Iterable[JsonObject], from_s: float, now_s: float) -> str:
    """A bar for each stream from `from_s` to `now_s` (seconds since 1970): what is complete, repaired, unproven and missing."""
    by_kind: dict[str, list[JsonObject]] = {}
    for one in intervals:
        by_kind.setdefault(one["kind"], []).append(one)
    if not by_kind:
        return '<p class="quiet">nothing is known of this time yet</p>'
    out = []
    for kind, own in by_kind.items():
        counted = dict.fromkeys(STATES, 0)
        segments = ""
        for one in sorted(own, key=lambda one: STATES.index(one["state"])):  # what is missing lies above all
            begin, end = (max(_seconds(one[name]), from_s) for name in ("begin", "end"))
            counted[one["state"]] += 1
            left = (begin - from_s) / (now_s - from_s) * BAR_WIDTH
            width = max((min(end, now_s) - begin) / (now_s - from_s) * BAR_WIDTH, SEGMENT_MIN)
            title = f"{one['state']}: ids {one['first_id']} to {one['last_id']}, {one['reason']}"
            segments += (
                f'<rect class="{escape(one["state"])}" x="{left:.1f}" y="0" width="{width:.1f}" height="16">'
                f"<title>{escape(title)}</title></rect>"
            )
        words = ", ".join(f"{count} {state}" for state, count in counted.items() if count)
        label = f"{kind}: {words}"
        out.append(
            f'<p class="bar-name">{escape(label)}</p><svg class="coverage" role="img" aria-label="{escape(label)}" '
            f'viewBox="0 0 {BAR_WIDTH} 16" preserveAspectRatio="none">{segments}</svg>'
        )
    legend = "".join(f'<span class="key {state}"></span>{state} ' for state in STATES)
    return f'{"".join(out)}<p class="legend">{legend}; {round((now_s - from_s) / 60)} minutes up to now</p>'


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00").timestamp()


def latency_table(hops: Iterable[JsonObject]) -> str:
    """Latencies hop by hop: how many, median, 99 % and most, and a histogram of each."""
    rows = "".join(
        f'<tr><th scope="row">{escape(one["hop"])}</th><td class="number">{one["count"]}</td>'
        f'<td class="number">{time_ns_text(one["p50_ns"])}</td><td class="number">{time_ns_text(one["p99_ns"])}</td>'
        f'<td class="number">{time_ns_text(one["max_ns"])}</td><td>{_histogram(one)}</td></tr>'
        for one in hops
        if one["count"]
    )
    if not rows:
        return '<p class="quiet">no latency has been measured yet</p>'
    heads = "".join(f'<th scope="col"{side}>{name}</th>' for name, side in (
        ("hop", ""), ("events", ' class="number"'), ("median", ' class="number"'), ("99 %", ' class="number"'),
        ("most", ' class="number"'), ("histogram", ""),
    ))  # fmt: skip
    return f"<table><caption>latency by hop</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _histogram(one: JsonObject) -> str:
    """A histogram of buckets [upper, how many took less], ascending; each bar is twice as long a time as the one before."""
    counts, before = [], 0
    for upper, below in one["buckets"]:
        counts.append((upper, below - before))
        before = below
    most = max((count for _, count in counts), default=1) or 1
    bars = ""
    for number, (upper, count) in enumerate(counts):
        if count:
            height = max(round(count / most * 20), 1)
            title = escape(f"{count} below {time_ns_text(upper)}")
            bars += f'<rect x="{number * 6}" y="{20 - height}" width="5" height="{height}"><title>{title}</title></rect>'
    label, width = f"histogram of {one['hop']}", max(len(counts) * 6, 6)
    return f'<svg class="histogram" role="img" aria-label="{escape(label)}" viewBox="0 0 {width} 20">{bars}</svg>'
