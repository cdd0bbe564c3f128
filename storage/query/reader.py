"""One `read`: archive, then log, as one continuous stream of events, as arrays, or as DataFrames, up to this moment.

The archive holds everything up to its watermark, the log what came since; the recent store answers what is asked often
(the latest, the last few).
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.instruments import DecidedInstruments
from tickmesh.bus.log import LogReader, Tail
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.segments import LogReleased
from tickmesh.bus.wire import Event
from tickmesh.bus.wire import events as events_of
from tickmesh.storage.archive.catalog import Watermark
from tickmesh.storage.archive.eras import era_of
from tickmesh.storage.archive.reader import DAY_NS, ArchiveReader, day_of, read_watermark
from tickmesh.storage.archive.rows import By, check_order, in_id_order, rows_of
from tickmesh.storage.hdf5.columns import from_bytes
from tickmesh.storage.query.columns_shown import columns_shown
from tickmesh.storage.query.coverage import described
from tickmesh.storage.query.gaps import Gaps, check_recorded, coverage_of, rows_with_coverage
from tickmesh.storage.query.known import check_known
from tickmesh.storage.query.map_rows import is_map, map_columns
from tickmesh.storage.query.times import ReadError, Time, to_ns
from tickmesh.storage.recent.environment import RecentError
from tickmesh.storage.recent.reader import RecentReader

__all__ = ["ReadError", "Time", "arrays", "events", "exponents", "frame", "last", "latest", "parse_topic", "to_ns"]

if TYPE_CHECKING:
    import pandas

FOLLOW_S = 0.02
ROWS_BATCH = 50_000  # events of the log that are turned into rows at once


def parse_topic(topic: str) -> tuple[Kind, str]:
    """Splits `kind.subject` into kind and subject. Raises ReadError with the kinds that there are."""
    name, _, subject = topic.partition(".")
    if name not in Kind.__members__ or not subject:
        kinds = ", ".join(kind.name for kind in Kind)
        raise ReadError(f"{topic!r} is no topic; it should be kind.subject like trade.binance.BTCUSDT, kind one of {kinds}")
    return Kind[name], subject


def events(
    config: Config,
    after: int = 0,
    until: int | None = None,
    kinds: Iterable[Kind] | None = None,
    subject: str | None = None,
    follow: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Reads events with after < seq ≤ until in order of `seq`, each once, the same bytes wherever they lie.

    With `follow` it waits at the end for more until `stop()`. Raises ReadError when neither archive nor log has a
    number in between or they are not of one mesh, ArchiveError or LogError when files are damaged.
    """
    wanted = None if kinds is None else frozenset(kinds)
    position = after
    while until is None or position < until:
        mark = read_watermark(config.archive_dir)
        archived = mark.archived_seq
        if archived > position:
            reader = ArchiveReader(config.archive_dir)
            yield from reader.events(position, until, wanted, subject)
            position = reader.archived_seq
            continue
        check_one_mesh(config, mark)
        try:
            for event in _from_log(config, position, until, follow, stop):
                position = event.seq
                if (wanted is None or event.kind in wanted) and (subject is None or event.subject == subject):
                    yield event
            return
        except LogReleased:
            if read_watermark(config.archive_dir).archived_seq > position:
                continue  # released because it was archived meanwhile
            raise missing(config, position + 1, archived) from None


def missing(config: Config, seq: int, archived: int) -> ReadError:
    """The error about an event that neither the archive, which ends at `archived`, nor the log has."""
    return ReadError(
        f"seq {seq} is neither in {config.archive_dir}, which ends at {archived}, nor in "
        f"{config.log_dir}, which begins at {LogReader(config.log_dir).first}; restore the missing part from a copy"
    )


def check_one_mesh(config: Config, mark: Watermark) -> None:
    """Raises ReadError where the log does not go on with what the archive holds. One without the other is read alone."""
    log = LogReader(config.log_dir)
    if mark.archived_seq and log.first and (why := log.foreign(mark.archived_seq, mark.log_id)):
        raise ReadError(
            f"{config.archive_dir} and {config.log_dir} are not of one mesh: the archive ends at seq {mark.archived_seq}; "
            f"{why}. Move the archive away, or bring its log back"
        )


def _from_log(config: Config, after: int, until: int | None, follow: bool, stop: Callable[[], bool]) -> Iterator[Event]:
    tail = Tail(config.log_dir, after)
    try:
        while True:
            batches = tail.read()
            if not batches:
                if not follow or stop():
                    return
                time.sleep(FOLLOW_S)
                continue
            for batch in batches:
                for event in events_of(batch.body):
                    if until is not None and event.seq > until:
                        return
                    if event.seq > after:
                        yield event
            if until is not None and tail.next > until:
                return
    finally:
        tail.close()


def arrays(
    config: Config,
    topic: str,
    start: Time = None,
    end: Time = None,
    order: Literal["seq", "id"] = "seq",
    gaps: Gaps = "warn",
) -> np.ndarray:
    """Reads one row for each record of the topic with start ≤ seq_ns < end, in order, up to this moment.

    `order` "seq": as it was heard, which is what a model saw. "id" (trades): with start ≤ venue_ns < end in order of trade_id,
    each once, what was repaired later in its place; where a venue began its ids anew, all of one era before all of the next.

    dtype: `tickmesh.storage.archive.reader.row_dtype(kind)`: seq, seq_ns, recv_ns, flags, ids and venue_ns of the event (u8,
    i8 ns, UTC), then the record's own fields as they are stored: mantissas, codes, 0 for an unknown time. A depth event with n
    levels gives n rows. Rows of two topics are joined in time by `seq`: `seq_ns` has ties in older logs.

    Its attribute `coverage` has the ledger's rows that the request touches. What is to be done where one of them is missing
    says `gaps`: "warn" (CoverageWarning), "raise" (CoverageError), "mask" (one more field `stretch`, i4: rows between which
    nothing is missing have the same number, those that lie in a missing interval −1), "ignore" (the ledger is not even read).

    Raises ReadError for a topic of which nothing is known (with those that there are), and for a kind whose records are maps.
    """
    kind, subject = parse_topic(topic)
    if is_map(kind):
        raise ReadError(f"{kind.name} events have maps, which fit into no array; reader.frame({topic!r}) has a row for each")
    start_ns, end_ns = to_ns(start), to_ns(end)
    if order not in ("seq", "id"):
        raise ReadError(f"order = {order!r} is unknown; allowed are 'seq' (as it was heard) and 'id' (the venue's, for trades)")
    by: By = "venue" if order == "id" else "seq"
    rows = _gathered(config, kind, subject, start_ns, end_ns, by)
    if not len(rows):
        check_known(config, kind, subject)
    return rows_with_coverage(config, kind, subject, start_ns, end_ns, rows, gaps, by)


def moments(config: Config, kind: Kind, subject: str) -> list[tuple[int, int]]:
    """(seq, seq_ns) of every event of a topic, in order, whatever its records are; none where nothing is known of it."""
    rows = _gathered(config, kind, subject, None, None, "seq")
    seqs, first_rows = np.unique(rows["seq"], return_index=True)
    return list(zip(seqs.tolist(), rows["seq_ns"][first_rows].tolist(), strict=True))


def _gathered(config: Config, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None, by: By) -> np.ndarray:
    check_order(kind, by)
    archive = ArchiveReader(config.archive_dir)
    era, eras = 0, []
    if by == "venue":
        found, era = archive.by_venue(kind, subject, start_ns, end_ns)
        parts, eras = [found.rows], [found.eras]
    else:
        parts = [archive.columns(kind, subject, start_ns, end_ns)]
    position = archive.archived_seq
    if start_ns is not None and by == "seq":
        position = max(position, LogReader(config.log_dir).seq_at(start_ns))
    raws: list[bytes] = []
    resets: list[int] = []
    for event in events(config, position):
        if end_ns is not None and by == "seq" and event.seq_ns >= end_ns:
            break
        if event.kind == kind and event.subject == subject:
            raws.append(bytes(event.raw))
            if by == "venue" and event.flags & Flag.RESET:
                resets.append(event.seq)
            if len(raws) >= ROWS_BATCH:
                parts.append(_rows(kind, subject, raws, start_ns, end_ns, by))
                raws = []
    if raws:
        parts.append(_rows(kind, subject, raws, start_ns, end_ns, by))
    rows = np.concatenate(parts)
    if by == "seq":
        return rows
    logged = era_of(np.array([era, *resets], "i8"), rows["seq"][len(parts[0]) :])
    return in_id_order(rows, np.concatenate([*eras, logged]))


def _rows(kind: Kind, subject: str, raws: list[bytes], start_ns: int | None, end_ns: int | None, by: By) -> np.ndarray:
    table = from_bytes(kind, b"".join(raws), np.array([len(raw) for raw in raws], "i8"))
    return rows_of(kind, table, subject, start_ns, end_ns, by)


def frame(config: Config, topic: str, start: Time = None, end: Time = None, gaps: Gaps = "warn") -> "pandas.DataFrame":
    """Reads a topic's rows as a DataFrame as a person sees them (docs/fields.md), with a UTC index `time` (of seq_ns).

    Mantissas are decimal floats: `price_ticks` becomes `price`, `bid_lots` `bid_quantity`, `fee` is in its asset, and trades
    and fills have `notional`, price × quantity. Moments are datetime64[ns, UTC], codes their words, `flags` is `event_flags`;
    what is not known is NaT, NaN or None. Of kinds whose records are maps (health, alert …): a row for each event, a column
    for each key.

    Rows of two topics are joined in time by `seq` (`pandas.merge_asof(trades, quotes, on="seq")`): `seq_ns` has ties in
    older logs. `gaps` as in `arrays`; `attrs["coverage"]` is the ledger (`tickmesh.storage.query.coverage.described`).
    Raises ReadError for a topic of which nothing is known, with those that there are.
    """
    import pandas as pd

    kind, subject = parse_topic(topic)
    if is_map(kind):
        rows = _gathered(config, kind, subject, to_ns(start), to_ns(end), "seq")
        if not len(rows):
            check_known(config, kind, subject)
        check_recorded(config, kind, subject, (to_ns(start), to_ns(end)), gaps)
        columns = map_columns(kind, rows)
    else:
        rows = arrays(config, topic, start, end, gaps=gaps)
        columns = columns_shown(kind, rows, _exponents_of_rows(config, subject, start, end, rows["seq"]))
    index = pd.DatetimeIndex(columns["seq_ns"], name="time", tz="UTC")
    out = pd.DataFrame(columns, index=index)
    for name in (name for name, values in columns.items() if getattr(values, "dtype", None) == "M8[ns]"):
        out[name] = out[name].dt.tz_localize("UTC")
    if not is_map(kind):
        out.attrs["coverage"] = described(coverage_of(rows))  # plain values: pandas compares attrs, parquet keeps them as JSON
    return out


def definitions(config: Config, subject: str, start: Time = None, end: Time = None) -> list[tuple[int, int, int]]:
    """The exponents in force at start ≤ seq_ns < end: (seq, price_exponent, quantity_exponent), each from that seq on.

    The first one is what was in force before, where that is known; else it begins with seq 0 all the same.
    """
    start_ns = to_ns(start)
    begin_ns = None if start_ns is None else start_ns // DAY_NS * DAY_NS
    older = None if begin_ns is None else ArchiveReader(config.archive_dir).exponents(subject, day_of(begin_ns))
    rows = _gathered(
        config, Kind.instrument, subject, begin_ns if older else None, to_ns(end), "seq"
    )  # older: files are quicker
    found = [(int(r["seq"]), int(r["price_exponent"]), int(r["quantity_exponent"])) for r in rows]
    earlier = 0 if start_ns is None else int((rows["seq_ns"] < start_ns).sum())
    before = found[earlier - 1][1:] if earlier else older
    before = before or (found[0][1:] if found else exponents(config, subject))
    out = [(0, *before)]
    for one in found[earlier:]:
        if one[1:] != out[-1][1:]:
            out.append(one)
    return out


def _exponents_of_rows(config: Config, subject: str, start: Time, end: Time, seqs: np.ndarray) -> tuple[Any, Any]:
    """Of price and quantity: one number each, or one a row where the definition has changed between them."""
    known = definitions(config, subject, start, end)
    if len(known) == 1:
        return known[0][1:]
    place = np.searchsorted([seq for seq, *_ in known], seqs, "right") - 1
    return np.array([price for _, price, _ in known])[place], np.array([quantity for *_, quantity in known])[place]


def exponents(config: Config, subject: str) -> tuple[int, int]:
    """(price_exponent, quantity_exponent) by the newest instrument record, else by mesh.toml or as decided, else (0, 0)."""
    event = latest(config, f"instrument.{subject}")
    if event is not None:
        return int(event.records["price_exponent"][-1]), int(event.records["quantity_exponent"][-1])
    archived = ArchiveReader(config.archive_dir).exponents(subject)
    if archived is not None:
        return archived
    instrument = DecidedInstruments(config).for_reading(subject)
    return (0, 0) if instrument is None else (instrument.price_exponent, instrument.quantity_exponent)


def latest(config: Config, topic: str) -> Event | None:
    """Reads the newest event of a topic from the recent store; None if it has none, or there is no store."""
    parse_topic(topic)
    try:
        with RecentReader(config.recent_dir) as recent:
            return recent.latest(topic)
    except RecentError:
        return None


def last(config: Config, topic: str, count: int) -> list[Event]:
    """Reads the newest `count` events of a topic, oldest first: from the recent store, or else from log and archive."""
    kind, subject = parse_topic(topic)
    try:
        with RecentReader(config.recent_dir) as recent:
            found = recent.last(topic, count)
        if len(found) == count or (found and found[0].link == 0):  # a topic's first event links to none
            return found
    except RecentError:
        pass
    from collections import deque

    return list(deque(events(config, kinds=(kind,), subject=subject), maxlen=count))
