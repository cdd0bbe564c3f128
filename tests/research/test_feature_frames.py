"""Features are those of their definitions, the same event by event as over columns, and never know what comes later."""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

import tickmesh as tm
from bench.archive import captured, sequenced
from tests.support import captures
from tests.support.captures import needs
from tests.support.feature_tape import EXPONENTS, SUBJECT, market_tape
from tests.support.naive_features import Past, parsed
from tests.support.stored import write_log
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, Flag, GapState, Kind
from tickmesh.bus.settings import Mesh
from tickmesh.bus.wire import Event, encode, stamp_sequenced
from tickmesh.bus.wire import events as events_in
from tickmesh.nodes.models.features import sampling, table
from tickmesh.nodes.models.interface import ROW
from tickmesh.research import feature_frames
from tickmesh.research.feature_frames import feature_chunks, feature_frame
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.columns import archive, log
from tickmesh.storage.query.times import ReadError

QUICK = {
    "half_life_ms": 300.0, "half_life_trades": 40.0, "sign_lag": 2.0, "sample_ms": 250.0, "half_life_returns": 30.0,
    "bar_ms": 400.0, "half_life_bars": 20.0, "vpin_bucket": 0.03, "depth_levels": 5.0, "refit_quotes": 200.0,
}  # fmt: skip
RAWS = market_tape(11, 2600)
DEFINED = 2  # the seq of the definition: events before it have no units


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A mesh with the tape, half of it archived."""
    root = tmp_path_factory.mktemp("mesh")
    (root / "mesh.toml").write_text("")
    config = load(root)
    write_log(config.log_dir, RAWS)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), len(RAWS) // 2, 700)
    writer.close()
    return root


def parameters(given: dict[str, float]) -> dict[str, float]:
    return {name: given.get(name, one.default) for name, one in table.PARAMETERS.items()}


def compare(frame, events: list[Event], given: dict[str, float], exponents: tuple[int, int], rows: range) -> dict[str, int]:
    """Holds rows of a frame against the definitions; gives how many values of each feature were known."""
    tick, lot = (10.0**exponent for exponent in exponents)
    everything = parsed(events)
    known = dict.fromkeys(table.NAMES, 0)
    for i in rows:
        at_ns = int(frame.index[i].value)
        past = [row for row in everything if row.seq_ns <= at_ns]
        assert past[-1].seq == frame["seq"].iloc[i] and past[-1].seq_ns == frame["seq_ns"].iloc[i].value
        past = [row for row in past if row.seq > DEFINED]
        truth = Past(past, parameters(given), tick, lot).values(at_ns)
        for name in table.NAMES:
            got, expected = frame[name].iloc[i], truth.get(name, math.nan)
            assert got == pytest.approx(expected, rel=1e-8, abs=1e-12, nan_ok=True), (name, i)
            known[name] += not math.isnan(expected)
    return known


def test_features_are_those_of_their_definitions(root):
    ours = given_to_models(map(Event, RAWS))
    frame = tm.open(root).features("BTCUSDT", table.NAMES, every="500ms", parameters=QUICK)
    assert len(frame) > 200 and frame.attrs["instrument"] == SUBJECT
    known = compare(frame, ours, QUICK, EXPONENTS, range(5, len(frame), len(frame) // 11))
    assert min(known.values()) > 1, known


def given_to_models(events: Iterable[Event]) -> list[Event]:
    """The events that are rows: no definitions, no trades off the book, no gaps that were told before."""
    return [
        event for event in events
        if event.kind != Kind.instrument and not event.flags & Flag.OFF_BOOK and (event.kind != Kind.gap or is_told(event))
    ]  # fmt: skip


def is_told(event: Event) -> bool:
    """Whether models are told of a gap: it opens, or is decided at once."""
    stream, state = int(event.records["stream"][0]), int(event.records["state"][0])
    return state == GapState.open or (state == GapState.unrecoverable and stream != Kind.trade)


def by_event(raws: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """(samples, values) after each event, the functions being called with one event at a time, as live."""
    state, units = np.zeros(1, table.state_dtype(table.NAMES)), np.full(2, np.nan)
    chosen = np.array([tuple(parameters(QUICK).values())], [(name, "<f8") for name in QUICK])
    pace, rows, seqs = np.zeros(1, sampling.PACE), np.zeros(1, ROW), np.zeros(1, "u8")
    pace["end_ns"] = 1 << 62
    wanted = table.wanted_of(table.NAMES)
    samples, values = np.zeros(len(raws), sampling.SAMPLE), np.zeros((len(raws), len(table.NAMES)))
    n = 0
    for event in map(Event, raws):
        if event.kind == Kind.instrument:
            price, quantity = (int(event.records[name][0]) for name in ("price_exponent", "quantity_exponent"))
            units[:] = float(f"1e{price}"), float(f"1e{quantity}")
            continue
        gap = event.kind == Kind.gap
        if not given_to_models([event]):
            continue
        stream = int(event.records["stream"][0]) if gap else 0
        rows[0] = (event.kind, event.flags, stream, 0, 0, 0 if gap else event.count, event.seq_ns)
        seqs[0] = event.seq
        records = {kind: np.zeros(1, DTYPES[kind]) for kind in (Kind.quote, Kind.trade, Kind.depth)}
        if not gap:
            records[event.kind] = event.records.copy() if event.count else records[event.kind]
        _, n = sampling.sample_rows(state, chosen, units, rows, seqs, 0, 1, *records.values(), wanted, pace, samples, values, n)
    return samples[:n], values[:n]


def test_columns_give_what_events_give_to_the_byte(root, monkeypatch):
    samples, values = by_event(RAWS)
    assert len(samples) > 2200
    for rows, size in ((feature_frames.ROWS, feature_frames.SAMPLES), (50, 70)):
        monkeypatch.setattr(feature_frames, "ROWS", rows)
        monkeypatch.setattr(feature_frames, "SAMPLES", size)
        monkeypatch.setattr(log, "SPAN_EVENTS", rows * 7)
        monkeypatch.setattr(archive, "SPAN_SEQS", rows * 5)
        chunks = list(feature_chunks(load(root), SUBJECT, table.NAMES, parameters=QUICK))
        assert np.concatenate([chunk.samples for chunk in chunks]).tobytes() == samples.tobytes()
        assert np.concatenate([chunk.values for chunk in chunks]).tobytes() == values.tobytes()


def test_a_row_knows_nothing_of_what_comes_after_its_seq(root, tmp_path):
    """The log is cut after each of some events, and goes on otherwise: rows up to there are the same bytes."""
    frame = feature_frame(load(root), SUBJECT, table.NAMES, None, None, "100ms", QUICK, None)
    times = [Event(raw).seq_ns for raw in RAWS]
    silences = [cut for cut in range(800, len(RAWS)) if times[cut] - times[cut - 1] >= 250_000_000]
    for number, cut in enumerate(silences[::150]):
        config = Config(Mesh(), tmp_path / str(number))
        other = [Event(raw) for raw in market_tape(77 + number, 200)]
        later = [as_next(event, cut + k, times[cut - 1]) for k, event in enumerate(other, 1)]
        write_log(config.log_dir, [*RAWS[:cut], *later])
        planted = feature_frame(config, SUBJECT, table.NAMES, None, None, "100ms", QUICK, None)
        known = frame[frame.index.asi8 < min(times[cut], Event(later[0]).seq_ns)]
        assert known.index.asi8[-1] >= times[cut - 1], "a row lies between the last event that both have and the next one"
        assert len(known) > 100 and known.equals(planted.iloc[: len(known)])
        assert not frame.iloc[: len(known) + 50].equals(planted.iloc[: len(known) + 50]), "and it does go on otherwise"
    assert number >= 1


def as_next(event: Event, seq: int, after_ns: int) -> bytes:
    """The event as one that comes later, with this seq."""
    raw = encode(event.kind, event.subject, event.records, flags=event.flags)
    stamp_sequenced(raw, seq, 0, after_ns + seq * 1_000_000)
    return bytes(raw)


def test_another_definition_begins_everything_anew_but_what_has_no_unit():
    before, after = RAWS[:900], [Event(raw) for raw in market_tape(21, 900, exponents=(-4, -3))]
    later = [as_next(event, len(before) + k, Event(before[-1]).seq_ns) for k, event in enumerate(after, 1)]
    both, alone = by_event([*before, *later]), by_event(later)
    count = len(alone[0]) - 1  # the first of them is a trade in the old units
    kept = [i for i, name in enumerate(table.NAMES) if "volatility" not in name]
    assert both[0][-count:].tobytes() == alone[0][-count:].tobytes()
    assert both[1][-count:, kept].tobytes() == alone[1][-count:, kept].tobytes()
    known = ~np.isnan(both[1][-count:])
    assert known[:, [table.REALISED, table.BIPOWER]].sum() > (~np.isnan(alone[1]))[:, [table.REALISED, table.BIPOWER]].sum()


def test_a_span_its_warm_up_and_the_order_of_columns(root):
    db = tm.open(root)
    whole = db.features(SUBJECT, ["ofi", "mid", "vpin"], every="1s", parameters=QUICK)
    start, end = whole.index[40], whole.index[90]
    part = db.features("BTCUSDT", ["vpin", "ofi", "mid"], start.to_pydatetime(), end.to_pydatetime(), "1s", QUICK)
    assert part.equals(whole.iloc[40:90][["seq", "seq_ns", "vpin", "ofi", "mid"]])
    warm = db.features(SUBJECT, ["mid", "ofi", "vpin"], int(start.value), int(end.value), "1s", QUICK, warm="1h")
    assert warm.equals(whole.iloc[40:90][["seq", "seq_ns", "mid", "ofi", "vpin"]]), (
        "the archive's day is read from its beginning"
    )


@pytest.mark.parametrize(
    "names, more, sentence",
    [
        (["micro"], {}, "'micro' is no feature; there are mid, quoted_spread"),
        ([], {}, "no feature was asked for"),
        (["mid", "mid"], {}, "each feature once"),
        (["mid"], {"every": "0s"}, "0s. is no length of"),
        (["mid"], {"warm": "1h"}, "there is no start"),
    ],
)
def test_what_cannot_be_is_a_sentence(root, names, more, sentence):
    with pytest.raises(ReadError, match=sentence):
        tm.open(root).features(SUBJECT, names, **more)


def test_wrong_parameters_and_instruments_are_sentences(root):
    with pytest.raises(ReadError, match="sign_lag = 99 is impossible for the feature library; allowed: 1 to 31"):
        tm.open(root).features(SUBJECT, ["mid"], parameters={"sign_lag": 99})
    with pytest.raises(ReadError, match="the feature library has no parameter 'lag'"):
        tm.open(root).features(SUBJECT, ["mid"], parameters={"lag": 1.0})
    with pytest.raises(ReadError, match="there is no instrument 'DOGE'"):
        tm.open(root).features("DOGE", ["mid"])
    config = Config(Mesh(), root)
    with pytest.raises(ReadError):
        list(feature_chunks(config, "binance.NOTHING", ["mid"]))


@pytest.mark.data
@needs(captures.SPOT_BTC)
def test_features_of_a_capture_are_those_of_their_definitions(tmp_path):
    heard = [(recv_ns, event) for recv_ns, event in captured(captures.SPOT_BTC)][:12_000]
    definition = np.zeros(1, DTYPES[Kind.instrument])
    definition["price_exponent"] = definition["quantity_exponent"] = -8
    heard.insert(1, (heard[0][0], encode(Kind.instrument, SUBJECT, definition)))
    batches = sequenced(iter(heard))
    writer = ArchiveWriter(tmp_path / "data" / "sim" / "archive")
    writer.archive(iter(batches), batches[-1].last, 20_000, 5)
    writer.close()
    events = [event for batch in batches for event in events_in(batch.body)]
    assert events[DEFINED - 1].kind == Kind.instrument
    config = Config(Mesh(), tmp_path)
    given = {"vpin_bucket": 0.05, "refit_quotes": 500.0, "sample_ms": 500.0}
    frame = feature_frame(config, SUBJECT, table.NAMES, None, None, "1s", given, None)
    known = compare(frame, given_to_models(events), given, (-8, -8), range(10, len(frame), max(len(frame) // 6, 1)))
    assert min(known.values()) > 0, known
