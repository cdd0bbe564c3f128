"""`mesh verify`: the independent judge. What it compares is listed in docs/operations.md, how it reads in tools/judge/."""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from tickmesh.bus.config import Config, load
from tickmesh.tools.judge import (
    account,
    against_capture,
    against_ledger,
    archive,
    capture,
    checks,
    closing,
    coverage,
    eras,
    exchange_ledger,
    in_force,
    limit_facts,
    log,
    order_rules,
    overlays,
    parents,
    recent,
    trading,
)
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.log import Event
from tickmesh.tools.judge.log_facts import LogFacts
from tickmesh.tools.progress import Shown, progress
from tickmesh.tools.terminal import Failure, JsonObject, out

READ_AGAIN = 5
SHOWN_EVERY = 500  # events
INCOMPLETE = "NOT ok, incomplete: what could be compared holds; the sentences above name what could not."


def verify(captures: list[Path], settled: bool = False) -> JsonObject:
    """Judges the stored data: against captures, or an exchange's ledger, or alone. Gives the object that `--json` prints.

    `settled`: of an account nothing may be on its way, as trading had ended before the mesh was stopped.
    Where a running mesh releases a segment of the log that is about to be read, all is read again. Raises Failure when there is
    nothing to judge, or that happens READ_AGAIN times.
    """
    return verify_stored(load(), captures, settled)


def verify_stored(config: Config, captures: Sequence[Path] = (), settled: bool = False) -> JsonObject:
    """What `verify` gives, of the data that these settings name: a mesh's, or a backup's. Raises Failure likewise."""
    if not log.segment_files(config.log_dir) and not archive.watermark(config.archive_dir):
        raise Failure(f"there is neither a log nor an archive in {config.source_dir} yet; `mesh up` makes them")
    for _ in range(READ_AGAIN):
        findings = Findings()
        try:
            with progress("judging events") as shown:
                result = _judge(config, list(captures), settled, findings, shown)
        except log.ReleasedMeanwhile as released:
            why = released  # what it was about is archived now: from the beginning, with a later watermark
            continue
        return {"ok": findings.ok, "verdict": findings.verdict, "source": config.source, **result, **findings.as_dict()}
    raise Failure(
        f"the log was released under the judge {READ_AGAIN} times in a row ({why}): run it again, or after `mesh down`"
    )


def _judge(config: Config, captures: list[Path], settled: bool, findings: Findings, shown: Shown) -> JsonObject:
    if any(path.is_dir() for path in captures):
        return _against_ledger(config, captures, settled, findings, shown)
    return _against(config, captures, findings, shown) if captures else _alone(config, findings, shown)


def _followed(events: Iterable[Event], shown: Shown) -> Iterator[Event]:
    """Gives the events on, and shows how many there were: where they end is not known before they have been read."""
    for event in events:
        if event.seq % SHOWN_EVERY == 0:
            shown(event.seq, None)
        yield event


def _without_events(config: Config, stored: Iterable[str]) -> list[str]:
    """Configured instruments of which nothing is stored: no fault of what is, and a person should know."""
    return sorted({instrument.subject for instrument in config.instruments} - set(stored))


def _against(config: Config, captures: list[Path], findings: Findings, shown: Shown) -> JsonObject:
    """The archive, and the log for what is not archived yet, compared with the captures."""
    for path in captures:
        if not path.is_file():
            raise Failure(f"{path} is no capture: there is no such file")
    facts = LogFacts()
    upto = archive.watermark(config.archive_dir)
    beyond = log.read(config.log_dir, findings, after=upto)
    events = _followed(chain(archive.read(config.archive_dir, upto, findings), beyond), shown)
    stored = against_capture.gather_stored(events, facts)
    try:
        captured = capture.read_captures(captures, facts)
    except OSError as error:
        raise Failure(f"a capture cannot be read: {error}") from None
    against_capture.compare(captured, stored, facts, findings, config.feed.depth_limit)
    return {
        "captures": [str(path) for path in captures],
        "named": {why: f"{count} lines, first {captured.examples[why]}" for why, count in captured.reasons.items()},
        "archived_seq": upto,
        "not_heard": _without_events(config, stored),
        "compared": against_capture.COMPARED,
    }


def _against_ledger(config: Config, folders: list[Path], settled: bool, findings: Findings, shown: Shown) -> JsonObject:
    """Archive and log compared with what the local exchange says it did.

    The ledger is read last: its rows are written before anything is sent, so it has all that is stored.
    """
    if len(folders) != 1:
        raise Failure(f"one ledger at a time: --against was given {len(folders)} paths, one of them a folder")
    if not exchange_ledger.ledger_files(folders[0]):
        raise Failure(f"{folders[0]} holds no ledger (ledger-*.bin); the exchange's is in {config.exchange_dir}")
    begun_ms = time.time() * 1000 if (config.run_dir / "ready").exists() else 0.0
    upto = archive.watermark(config.archive_dir)
    beyond = log.read(config.log_dir, findings, after=upto)
    orders, traded = account.StoredAccount(), trading.StoredTrading()
    worked, facts = parents.StoredParents(), limit_facts.LimitFacts(in_force.SettingsInForce(_settings(config)))
    events = _followed(chain(archive.read(config.archive_dir, upto, findings), beyond), shown)
    stored = eras.gather_stored(facts.watch(worked.watch(traded.watch(orders.watch(events)))))
    truth = exchange_ledger.read_contents(folders[0], findings)
    pairs = eras.pair_eras(truth, stored, findings)
    against_ledger.compare(truth, pairs, findings, begun_ms, config.feed.depth_limit)
    late_ms = 0.0 if settled else account.ASKED_MS
    positions = account.compare(truth, orders, findings, begun_ms, late_ms)
    believed_ms = config.session.recv_window_ms + config.session.absence_margin_s * 1000
    absent_ms = 0.0 if settled else late_ms + believed_ms
    # of a mesh that runs: the log ends here with what was read, the ledger goes on
    until_ms = traded.last_ms if begun_ms else float("inf")
    order_rules.compare(truth, orders, traded, facts, findings, late_ms, absent_ms, until_ms)
    parents.compare(truth, worked, facts.settings, findings, late_ms, absent_ms, until_ms)
    known, earlier = truth.order_events(until_ms), account.earlier_fills(truth, orders)
    closing.compare(known, traded.strategy, traded.closing, truth.complete, findings, earlier)
    claimed, _ = coverage.read(config.archive_dir, upto, findings)
    coverage.compare_with_ledger(truth, claimed, pairs, findings)
    return {
        "ledger": str(folders[0]),
        "ledger_rows": truth.rows,
        "archived_seq": upto,
        "not_heard": _without_events(config, stored),
        "account": positions,
        "compared": against_ledger.COMPARED,
    }


def _settings(config: Config) -> in_force.Settings:
    """Those of mesh.toml, for a log that names none. What ran is in the log, and what a person has tightened."""
    decimal_of = in_force.decimal_of
    scopes = {in_force.ACCOUNT: config.risk, **{one.name: one for one in config.strategies_resolved}}
    limits = {
        name: in_force.Limit(
            decimal_of(of.position_max), decimal_of(of.position_notional), decimal_of(of.notional_max), of.open_orders_max
        )
        for name, of in scopes.items()
    }
    return in_force.Settings(limits, frozenset(one.name for one in config.strategies_resolved if one.has_target))


def _alone(config: Config, findings: Findings, shown: Shown) -> JsonObject:
    """Log, archive and recent store: each by itself, then where they overlap."""
    upto = archive.watermark(config.archive_dir)
    files = log.segment_files(config.log_dir)
    first = int(files[0].stem) if files else upto + 1
    if first > upto + 1:
        findings.fault("lost", f"the log begins with seq {first}, the archive ends with {upto}")
    watching = checks.LogChecks(findings, 1)
    strayed = overlays.Overlays(config.archive_dir)
    archived = strayed.watch(watching.watch(archive.read(config.archive_dir, upto, findings)))
    logged = log.read(config.log_dir, findings, after=0)
    last = 0
    everything = _joined(archived, logged, first, watching, findings)
    covering = coverage.CoverageWatch(upto)
    rules = recent.RetentionRules(int(config.recorder.recent_hours * 3600e9), config.recorder.recent_bytes_max)
    agreed = recent.compare(config.recent_dir, config.log_dir, rules, everything, findings)
    for event in covering.watch(_followed(agreed, shown)):
        last = event.seq
    covering.judge(config.archive_dir, findings)
    strayed.judge(findings)
    if watching.archived_seq > archive.watermark(config.archive_dir):
        findings.fault("watermark", f"the log says that {watching.archived_seq} is archived; the archive does not")
    return {
        "first_seq": 1 if upto else first,
        "last_seq": last,
        "log_first_seq": first,
        "archived_seq": upto,
        "not_heard": _without_events(config, watching.streams.subjects),
    }


def _joined(
    archived: Iterable[Event], logged: Iterator[Event], first: int, watching: checks.LogChecks, findings: Findings
) -> Iterator[Event]:
    """The archive's events, each compared with the log's of the same seq in every field; then the rest of the log."""
    twin = None
    last = 0
    for event in archived:
        last = event.seq
        while event.seq >= first and (twin is None or twin.seq < event.seq):
            twin = next(logged, None)
            if twin is None:
                findings.fault("log_short", f"seq {event.seq} is archived, but the log ends before it")
                first = event.seq + (1 << 63)
        if twin is not None and twin.seq == event.seq:
            findings.count("compared_with_log")
            if twin != event:
                names = [name for name, a, b in zip(event._fields, event, twin) if a != b]
                findings.fault("differs", f"seq {event.seq}: archive and log differ in {', '.join(names)}")
        yield event
    rest = [twin] if twin is not None and twin.seq > last else []
    yield from watching.watch(chain(rest, logged))


def show(result: JsonObject) -> None:
    """Prints the verdict for a person."""
    skip = ("ok", "verdict", "faults", "sentences", "compared", "captures", "named", "account")
    for name, value in result.items():
        if name not in skip and value != []:
            out.print(f"{name:<20} {', '.join(value) if isinstance(value, list) else value}")
    for subject, one in result.get("account", {}).items():
        position = f"{one['position']:.8f} after {one['fills']} fills, {one['position_by_ledger']:.8f} by the exchange's ledger"
        out.print(f"position             {subject} {position}", markup=False)
    for why, where in result.get("named", {}).items():
        out.print(f"  - cannot be read: {why} ({where})")
    for sentence in result["sentences"]:
        out.print(f"  ! {sentence}")
    faults = ", ".join(f"{count} × {name}" for name, count in result["faults"].items())
    ends = {"ok": "ok: every check holds.", "wrong": f"NOT ok: {faults}.", "incomplete": INCOMPLETE}
    out.print(ends[result["verdict"]])
