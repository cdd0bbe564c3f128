"""`mesh latency`: the time of each hop from a venue's event to our order, of what comes now or of what was recorded."""

import time
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from tickmesh.bus.clock import follow as follow_clock
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.segments import LogError
from tickmesh.bus.wire import Event
from tickmesh.nodes.hops.counts import LatencyCounts
from tickmesh.nodes.hops.tracker import HOPS, KINDS, TICK_TO_ORDER, VENUE, HopTracker
from tickmesh.storage.query.times import NOW, UNITS_NS
from tickmesh.tools import terminal, topics
from tickmesh.tools.event_streams import LogSpan, is_running, span_of, wanted_events
from tickmesh.tools.event_text import time_text
from tickmesh.tools.extras import use_matplotlib
from tickmesh.tools.progress import progress
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, out

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
EDGES_NS = [1000 * 2**n for n in range(4, 22, 2)]  # of the picture of a distribution: 16 µs, 64 µs … 1 s
BARS = " ▁▂▃▄▅▆▇█"
BAR_CHARACTERS = 40
PICTURES = (".png", ".svg", ".pdf")
NAMES = frozenset(kind.name for kind in KINDS)
LOOK = 1000  # events, after which it is shown how far it is


def latency(instrument: str, seconds: str, since: str, until: str, plot: Path | None) -> JsonObject:
    """Watches for `seconds` (10s), or reads from a place of the log to another; gives what `--json` prints. Raises Failure.

    `instrument`: a symbol or venue.symbol, "" all. A Ctrl-C while it watches ends that, and what was seen is given.
    """
    config = terminal.config()
    follow_clock(config.log_dir)
    history = bool(since or until)
    check_picture(plot)
    chosen, _ = topics.resolve(config, [instrument] if instrument else [], history)
    if not history and not is_running(config):
        raise Failure("the mesh is not running; `mesh up` starts it (or read what it recorded: --from 1h)")
    counts = {name: LatencyCounts() for name in HOPS}
    try:
        span = span_of(config, since, until or NOW if history else "", is_running(config))
        batches = wanted_events(config, KINDS, lambda one: one.partition(".")[0] in NAMES and chosen(one), span)
        first, last, events = _count(_until(batches, config, span, length_s(seconds)), counts)
    except LogError as error:
        raise Failure(str(error)) from None
    if not events:
        raise Failure(f"nothing of {instrument or 'the market'} was {'recorded there' if history else 'heard meanwhile'}")
    result = {
        "from_ns": first, "until_ns": last, "events": events,
        "hops": [_figures(name, count) for name, count in counts.items() if count.total],
    }  # fmt: skip
    if plot is not None:
        draw(counts, plot)
    return result


def length_s(text: str) -> float:
    """Reads a length of time, `10s`, `2m`, in seconds. Raises UsageFailure."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    try:
        seconds = float(number) * UNITS_NS[text[len(number) :]] / 1e9
    except (KeyError, ValueError):
        raise UsageFailure(f"--for {text!r} is no length of time, like 10s or 2m") from None
    if not 0 < seconds <= 86_400:
        raise UsageFailure(f"--for {text} is not more than 0 and at most 1d")
    return seconds


def _until(batches: Iterator[list[Event]], config: Config, span: LogSpan, seconds: float) -> Iterator[list[Event]]:
    """Gives the batches on, and shows how far it is: of what is recorded to its end, of what comes for so many seconds."""
    live = span.after is None
    log = LogReader(config.log_dir)
    begin, begun, read = span.after or 0, time.monotonic(), 0
    with progress("watching" if live else "reading") as shown:
        for batch in batches:
            yield batch
            read += len(batch)
            if live:
                passed = time.monotonic() - begun
                shown(int(min(passed, seconds)), int(seconds))
                if passed >= seconds:
                    return
            elif batch and read >= LOOK:
                read = 0
                shown(batch[-1].seq - begin, max((span.until_seq or log.last) - begin, 1))


def _count(batches: Iterator[list[Event]], counts: dict[str, LatencyCounts]) -> tuple[int, int, int]:
    """Counts the hops of all events: (time of the first, of the last, how many). A Ctrl-C ends it."""
    tracker = HopTracker()
    first = last = events = 0
    try:
        for batch in batches:
            for event in batch:
                for name, ns in tracker.add(event)[0]:
                    counts[name].add(ns)
            if batch:
                first, last, events = first or batch[0].seq_ns, batch[-1].seq_ns, events + len(batch)
    except KeyboardInterrupt:
        if not events:
            raise
        terminal.err.print("mesh latency: interrupted; this is what was seen until then", markup=False)
    return first, last, events


def _figures(name: str, counts: LatencyCounts) -> JsonObject:
    """One hop: how many there were, quantiles and extremes in µs, and how many lie between the edges of EDGES_NS."""
    assert counts.most is not None and counts.least is not None
    quantiles = {f"{word}_us": (counts.quantile(share) or 0) / 1000 for word, share in SHARES.items()}
    ends = {"least_us": counts.least / 1000, **quantiles, "max_us": counts.most / 1000}
    histogram = {"edges_us": [edge / 1000 for edge in EDGES_NS], "counts": counts.between(EDGES_NS)}
    return {"hop": name, "count": counts.total, **ends, "histogram": histogram}


def show(result: JsonObject) -> None:
    """Prints a row a hop with its distribution, and the whole way as bars."""
    table = Table(box=None, pad_edge=False)
    table.add_column("µs")
    for name in ("events", "p50", "p90", "p99", "p99.9", "max"):
        table.add_column(name, justify="right")
    table.add_column("16 µs … 1 s")
    for one in result["hops"]:
        figures = (one[f"{word}_us"] for word in (*SHARES, "max"))
        table.add_row(
            one["hop"], f"{one['count']:,}", *(f"{value:,.0f}" for value in figures), _picture(one["histogram"]["counts"])
        )
    out.print(table)
    whole = next((one for one in result["hops"] if one["hop"] == TICK_TO_ORDER), result["hops"][-1])
    out.print(f"\n{whole['hop']}:", markup=False)
    for words, count in zip(_ranges(), whole["histogram"]["counts"], strict=True):
        if count:
            bar = "█" * max(round(count / whole["count"] * BAR_CHARACTERS), 1)
            out.print(f"{words:>18}  {bar} {count:,}", markup=False)
    begin, end = (time_text(result[name]) for name in ("from_ns", "until_ns"))
    seconds = (result["until_ns"] - result["from_ns"]) / 1e9
    out.print(f"\n{result['events']:,} events of {seconds:,.1f} s, {begin} … {end} (UTC, of the log)", markup=False)
    if any(one["hop"] == VENUE and one["least_us"] < 0 for one in result["hops"]):
        out.print(f"{VENUE} below 0: the venue's clock, or its rounding, is ahead of ours", markup=False)


def _picture(counts: list[int]) -> str:
    most = max(counts)
    return "".join(BARS[0 if not count else max(round(count / most * (len(BARS) - 1)), 1)] for count in counts)


def _ranges() -> list[str]:
    edges = [_edge(ns) for ns in EDGES_NS]
    return [f"below {edges[0]}", *(f"{low} … {high}" for low, high in zip(edges, edges[1:])), f"{edges[-1]} and more"]


def _edge(ns: int) -> str:
    for size, unit in ((10**9, "s"), (10**6, "ms")):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns / 1000:.3g} µs"


def check_picture(path: Path | None) -> None:
    """Raises UsageFailure for a file that is no picture, Failure where matplotlib is not there: before anything is read."""
    if path is None:
        return
    if path.suffix.lower() not in PICTURES:
        raise UsageFailure(f"--plot {path} ends with {path.suffix or 'nothing'!r}; a picture ends with {', '.join(PICTURES)}")
    use_matplotlib("a picture")


def draw(counts: dict[str, LatencyCounts], path: Path) -> None:
    """Draws of each hop which share of events took so long or longer, both axes logarithmic."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(11, 6.5))
    for number, (name, count) in enumerate((name, count) for name, count in counts.items() if count.total):
        points = [(ns / 1000, share) for ns, share in count.at_least() if ns > 0]
        us, shares = [one for one, _ in points], [share for _, share in points]
        dashes, width = "--" if number >= 10 else "-", 2.0 if name == TICK_TO_ORDER else 1.0
        axes.step(us, shares, where="post", label=name, color=f"C{number % 10}", linestyle=dashes, linewidth=width)
    axes.set(xscale="log", yscale="log", xlabel="µs", ylabel="share of events that took so long or longer")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(fontsize="small", loc="lower left")
    try:
        figure.savefig(path, bbox_inches="tight")
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        plt.close(figure)
