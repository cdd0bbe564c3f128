"""`mesh coverage`: what is known of every stored interval. docs/coverage.md says what the states mean."""

from pathlib import Path

import numpy as np
from rich.text import Text

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Coverage, Kind, Reason
from tickmesh.bus.segments import LogError
from tickmesh.storage.query import coverage as ledger
from tickmesh.storage.query.line_evidence import line_evidence
from tickmesh.tools.extras import use_matplotlib
from tickmesh.tools.tables import TerminalTable
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, config, out

COLOURS = {"complete": "tab:green", "repaired": "tab:blue", "missing": "tab:red", "unproven": "0.6"}
STYLES = {"complete": "green", "repaired": "blue", "missing": "bold red", "unproven": "dim"}
TOPICS_MAX = 3  # that the last line names
ERAS_SHOWN = 3  # the newest, of a stream whose ids began anew
ROWS_MAX = 40  # intervals of one stream that a person is shown; --json has all


def coverage(instrument: str | None, kinds: list[str], only_missing: bool) -> JsonObject:
    """Reads the coverage of all instruments, or of one (a symbol, or venue.symbol), as `--json` prints it. Raises Failure."""
    settings = config()
    wanted = [_kind(name) for name in kinds] or list(ledger.COVERED)
    configured = {one.subject for one in settings.instruments}
    streams = []
    try:
        for subject in _subjects(settings, instrument):
            rows = ledger.read(settings, subject, wanted)
            if instrument is None and not len(rows) and subject not in configured:
                continue  # an account, not a market
            mine = [_stream(subject, kind, rows[rows["stream"] == kind], only_missing) for kind in wanted]
            if any(stream["by_nature"] for stream in mine):
                evidence = line_evidence(settings, subject)
                for stream in mine:
                    if stream["by_nature"] and (lines := evidence.get(Kind[stream["kind"]])) is not None:
                        stream["lines"] = lines.events
                        stream["silence_s"] = round(lines.silence_ns / 1e9, 3)
                        stream["report_s"] = round(lines.report_ns / 1e9, 3)
            streams += mine
    except LogError as error:
        raise Failure(str(error)) from None
    lost = sum(stream["missing_intervals"] for stream in streams)
    heard = {stream["subject"] for stream in streams if stream["begins"] is not None}
    unheard = sorted({stream["subject"] for stream in streams if stream["subject"] in configured} - heard)
    return {"ok": not lost, "source": settings.source, "missing_intervals": lost, "unheard": unheard, "streams": streams}


def _kind(name: str) -> Kind:
    if name not in [kind.name for kind in ledger.COVERED]:
        raise UsageFailure(f"--kind {name} is unknown; it should be one of {', '.join(kind.name for kind in ledger.COVERED)}")
    return Kind[name]


def _subjects(settings: Config, instrument: str | None) -> list[str]:
    known = [one for one in ledger.subjects(settings) if one.partition(".")[2]]  # not who gives commands
    if instrument is None:
        return known
    found = [subject for subject in known if instrument.lower() in (subject.lower(), subject.partition(".")[2].lower())]
    if not found:
        raise Failure(f"nothing of {instrument} is stored in {settings.source_dir}; known are {', '.join(known)}")
    return found


def _stream(subject: str, kind: Kind, rows: np.ndarray, only_missing: bool) -> JsonObject:
    lost = ledger.missing(rows)
    by_ids, by_time = ledger.share(rows)
    known = rows[rows["begin_ns"] > 0]
    doubted = rows[rows["state"] == Coverage.unproven]
    return {
        "subject": subject,
        "kind": kind.name,
        "begins": int(rows["first_id"][0]) if len(rows) else None,
        "ends": int(rows["last_id"][-1]) if len(rows) else None,
        "begin": ledger.iso(int(known["begin_ns"].min())) if len(known) else None,
        "end": ledger.iso(int(known["end_ns"].max())) if len(known) else None,
        "ids": {state.name: _ids(rows[rows["state"] == state]) for state in Coverage},
        "eras": [_ids_of(rows[rows["era"] == era]) for era in dict.fromkeys(rows["era"].tolist())],
        "share_of_ids": round(by_ids, 9),
        "share_of_time": round(by_time, 9),
        "unproven": {reason.name: ids for reason in ledger.DOUBTED if (ids := _ids(doubted[doubted["reason"] == reason]))},
        "by_nature": _nature(doubted),
        "lines": {},
        "silence_s": None,
        "report_s": None,
        "missing_intervals": len(lost),
        "missing_at_least": bool((lost["reason"] == Reason.reset).any()),  # what an era had after its last id is not known
        "intervals": ledger.described(lost if only_missing else rows),
    }


def _ids_of(rows: np.ndarray) -> JsonObject:
    """The ids of one era, of rows of one stream."""
    return {"era": int(rows["era"][0]), "begins": int(rows["first_id"].min()), "ends": int(rows["last_id"].max())}


NATURE = {
    Reason.conflated: "the venue conflates it, so its ids have holes that mean nothing and cannot prove that all is there",
    Reason.no_ids: "the venue gives it no ids, so nothing can prove that all is there",
}


def _nature(doubted: np.ndarray) -> str:
    """The name of the reason for which a stream cannot be proven by its nature; "" where it could be."""
    return next((reason.name for reason in NATURE if (doubted["reason"] == reason).any()), "")


def _ids(rows: np.ndarray) -> int:
    return int((rows["last_id"] - rows["first_id"] + 1).sum())


def show(result: JsonObject, only_missing: bool) -> None:
    """Prints coverage for a person: a table for each stream that has anything, what has nothing, and a sentence."""
    for stream in result["streams"]:
        if stream["begins"] is None or (only_missing and not stream["intervals"]):
            continue
        shares = f"{_percent(stream['share_of_ids'])} of ids and {_percent(stream['share_of_time'])} of time"
        known = f"{'at most ' * stream['missing_at_least']}{shares} complete or repaired"
        out.print(
            f"[bold]{stream['kind']}.{stream['subject']}[/bold]  {_spans(stream['eras'])}, "
            f"{_when(stream['begin'])} to {_when(stream['end'])}: {_by_nature(stream) if stream['by_nature'] else known}"
        )
        eras = any(row["era"] for row in stream["intervals"])  # else the column says nothing
        names = (
            "state",
            "first id",
            "last id",
            "ids",
            "from (UTC)",
            "to (UTC)",
            "evidence",
            "reason",
            *(("era",) if eras else ()),
        )
        table = TerminalTable(*names, box=None, least=("evidence", "ids"))
        for row in stream["intervals"][:ROWS_MAX]:
            table.add_row(
                Text(row["state"], STYLES[row["state"]]), str(row["first_id"]), str(row["last_id"]),
                _count(row), _when(row["begin"]), _when(row["end"]),
                row["evidence"].replace("none", "-"), row["reason"].replace("none", "-"), *((str(row["era"]),) if eras else ()),
            )  # fmt: skip
        out.print(table)
        if len(stream["intervals"]) > ROWS_MAX:
            out.print(f"… and {len(stream['intervals']) - ROWS_MAX} more; --json has all of them")
        out.print()
    for subject in result["unheard"] if any(stream["begins"] is not None for stream in result["streams"]) else ():
        out.print(f"[bold]{subject}[/bold]  is configured, and nothing of it was ever recorded: `mesh status` may say why")
    if any(stream["begins"] is not None and not stream["by_nature"] for stream in result["streams"]) and not only_missing:
        out.print(f"{BY_IDS}\n")
    out.print(_verdict(result))


def _spans(eras: list[JsonObject]) -> str:
    """The ids of a stream in words; those of each era, where the venue began them anew."""
    spans = [f"{one['begins']} to {one['ends']}" for one in eras]
    if len(spans) == 1:
        return f"ids {spans[0]}"
    more = f"… ({len(spans) - ERAS_SHOWN} eras), " if len(spans) > ERAS_SHOWN else ""
    return f"ids {more}{', then anew '.join(spans[-ERAS_SHOWN:])}"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _count(row: JsonObject) -> str:
    """How many ids an interval has; after the last one of an era it is not known."""
    count = str(row["last_id"] - row["first_id"] + 1)
    return f"{count} or more" if row["reason"] == Reason.reset.name else count


BY_IDS = (
    "Ids without a hole prove that nothing is missing, also of time in which the mesh was down. How much of the time was "
    "heard, `mesh bars` says: `covered`."
)


def _by_nature(stream: JsonObject) -> str:
    """What can be said for a stream that nothing can prove: whether its lines brought as much, and for how long nobody did."""
    why = NATURE[Reason[stream["by_nature"]]]
    if not stream["lines"]:
        return why
    counts = sorted(stream["lines"].items())
    if len(counts) > 1 and len({count for _, count in counts}) == 1:
        alike = f"its {len(counts)} lines brought the same number, {counts[0][1]:,}"
    else:
        alike = ", ".join(f"{line} brought {count:,}" for line, count in counts)
    quiet = (
        f"nothing came for {stream['silence_s']:.0f} s at most"
        if stream["silence_s"] > stream["report_s"]
        else f"it was never silent for {stream['report_s']:.0f} s"
    )
    return f"{why}. What speaks for it: {alike}; {quiet}"


def _verdict(result: JsonObject) -> str:
    seen = [stream for stream in result["streams"] if stream["begins"] is not None]
    if not seen:
        return f"Nothing is stored yet (source {result['source']})."
    doubts = _doubts(seen)
    by_nature = sum(stream["ids"]["unproven"] > sum(stream["unproven"].values()) for stream in seen)
    more = f" {by_nature} of {len(seen)} streams cannot be proven by their nature." if by_nature else ""
    if unheard := result["unheard"]:
        more += f" Never heard, and nothing is known of it: {', '.join(unheard)}."
    if not result["ok"]:
        lost = sum(stream["ids"]["missing"] for stream in seen)
        least = "at least " if any(stream["missing_at_least"] for stream in seen) else ""
        where = _plural(result["missing_intervals"], "interval")
        return f"MISSING: {least}{_plural(lost, 'id')} in {where}{f'; {doubts}' if doubts else ''}.{more}"
    repaired = sum(stream["ids"]["repaired"] for stream in seen)
    known = f"; {repaired} ids were repaired" if repaired else ""
    if doubts:
        return f"UNPROVEN: {doubts}. Nothing else is missing{' of what was heard' if unheard else ''}{known}.{more}"
    of = " of what was heard" if unheard else ""
    return f"Nothing is missing{of}{known}.{more}"


WHY = {"no_snapshot": "no book to apply them to", "contradiction": "ids were said that their own line took back"}


def _doubts(streams: list[JsonObject]) -> str:
    """What is unproven for what was heard, and why; "" where nothing is."""
    named = []
    for reason, why in WHY.items():
        own = [stream for stream in streams if stream["unproven"].get(reason)]
        if own:
            ids = sum(stream["unproven"][reason] for stream in own)
            topics = ", ".join(f"{stream['kind']}.{stream['subject']}" for stream in own[:TOPICS_MAX])
            rest = f" and {len(own) - TOPICS_MAX} more" if len(own) > TOPICS_MAX else ""
            named.append(f"{ids} ids of {topics}{rest} ({reason}: {why})")
    return "; ".join(named)


def _when(iso: str | None) -> str:
    """To the millisecond on a terminal, else whole."""
    return "-" if iso is None else iso.rstrip("Z").replace("T", " ")[: 23 if out.is_terminal else None]


def _percent(share: float) -> str:
    """Never rounded up to 100 %."""
    return "100 %" if share >= 1 else f"{int(share * 1e6) / 1e4:g} %"


def draw(result: JsonObject, plot: Path) -> None:
    """Draws coverage into a file: one lane a stream, by venue time. Raises Failure without matplotlib or anything to draw."""
    use_matplotlib("a plot")
    from matplotlib import dates, pyplot
    from matplotlib.patches import Patch

    def _bar(row: JsonObject) -> tuple[float, float]:
        """Begin and width in days; the edge makes a moment visible."""
        begin, end = (float(dates.date2num(np.datetime64(row[name].rstrip("Z")))) for name in ("begin", "end"))
        return begin, max(end - begin, 1e-9)

    streams = [s for s in result["streams"] if any(row["begin"] and row["end"] for row in s["intervals"])]
    if not streams:
        raise Failure("there is nothing to draw: no interval has a time yet")
    figure, axes = pyplot.subplots(figsize=(11, 1.2 + 0.4 * len(streams)), layout="constrained")
    for lane, stream in enumerate(streams):
        for state, colour in COLOURS.items():
            bars = [_bar(row) for row in stream["intervals"] if row["state"] == state and row["begin"] and row["end"]]
            axes.broken_barh(bars, (lane - 0.35, 0.7), color=colour, linewidth=0.8)
    axes.set_yticks(range(len(streams)), [f"{stream['kind']}.{stream['subject']}" for stream in streams])
    axes.invert_yaxis()
    axes.xaxis_date()
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(dates.AutoDateLocator()))
    handles = [Patch(color=colour, label=state) for state, colour in COLOURS.items()]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=8, frameon=False)
    axes.set_xlabel("venue time, UTC")
    figure.savefig(plot, dpi=110)
    pyplot.close(figure)
