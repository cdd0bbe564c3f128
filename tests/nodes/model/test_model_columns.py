"""Columns give a model what events give it: the same signals to the byte, the same states; whatever the instruments are."""

import random
from pathlib import Path

import pytest

from tests.support.random_tapes import SUBJECTS, tape
from tests.support.stored import write_log
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import Instrument, Mesh, ModelSettings
from tickmesh.bus.wire import Event, cause_of
from tickmesh.nodes.model import columns as model_columns
from tickmesh.nodes.model import node as model
from tickmesh.nodes.model import staging
from tickmesh.nodes.models import loading
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.columns import archive, log, reading

COUNT = 3000
RESTLESS = {"interval_ms": 0.0, "step": 0.0}  # a signal for nearly every event
SERVED = ("binance.*", "okx.BTC-USDT")  # all but kraken's


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder for kernels' caches."""
    return tmp_path_factory.mktemp("mesh")


def make(root, kernel: str, instruments: tuple[str, ...] = SERVED, subjects: tuple[str, ...] = SUBJECTS, **more) -> model.Step:
    """Builds a step of a mesh with these instruments."""
    known = tuple(Instrument(symbol=s.partition(".")[2], venue=s.partition(".")[0]) for s in subjects)
    features = ("*",) if kernel == "live_features" else ()
    settings = ModelSettings("m", kernel, instruments=instruments, parameters=more, features=features)
    return model.Step(Config(Mesh(instruments=known, models=(settings,)), root), "m")


def by_events(step: model.Step, raws: list[bytes], seed: int) -> list[bytes]:
    """What the step publishes for the events in lists of random lengths."""
    pick, events, out, at = random.Random(seed), [Event(raw) for raw in raws], [], 0
    while at < len(events):
        size = pick.choice((1, 1, 2, 5, 300, 4096))
        out += [bytes(raw) for raw in step.step(events[at : at + size])]
        at += size
    return out


def by_columns(step: model.Step, spans) -> list[bytes]:
    """What the step publishes for spans of columns."""
    return [bytes(raw) for span in spans for raw in step.encoded(step.step_span(span))]


@pytest.mark.parametrize(
    "kernel, more, seed",
    [
        ("book_imbalance", {}, 1),
        ("trade_flow", {}, 2),
        ("trade_flow", RESTLESS, 3),
        ("live_features", {"interval_ms": 100.0}, 4),
    ],
)
def test_columns_give_the_signals_and_states_of_events(root, tmp_path, monkeypatch, kernel, more, seed):
    raws = tape(seed, COUNT)
    config = Config(Mesh(), tmp_path)
    write_log(config.log_dir, raws, segment_bytes=1 << 15, size=1 + 6 * seed)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), COUNT // 2, 700)
    writer.close()
    monkeypatch.setattr(staging, "ROWS", 64)
    monkeypatch.setattr(model, "ROWS", 64)
    monkeypatch.setattr(model_columns, "ROWS", 50)
    monkeypatch.setattr(log, "SPAN_EVENTS", 500)
    monkeypatch.setattr(log, "READ_BYTES", 30_000)
    monkeypatch.setattr(archive, "SPAN_SEQS", 400)
    events, in_log, in_both, resumed = (make(root, kernel, **more) for _ in range(4))
    published = by_events(events, raws, seed)
    places = [cause_of(bytearray(raw)) for raw in published]
    assert len(published) > 100 and places == sorted(places) and len({Event(raw).subject for raw in published}) == 3
    assert by_columns(in_log, log.LogColumns(config.log_dir, in_log.kinds).spans()) == published
    assert by_columns(in_both, reading.spans(config, model.READS, (Kind.health,))) == published
    cut = COUNT // 3
    first = by_events(resumed, raws[:cut], seed)  # events, a checkpoint, columns
    state = resumed.save()
    resumed.reset()
    resumed.load(state)
    assert first + by_columns(resumed, reading.spans(config, resumed.kinds, after=cut)) == published
    assert in_log.save() == in_both.save() == resumed.save() == events.save()
    assert events.states.others == {"kraken.BTC/USD"}


def test_each_instrument_has_its_own_state(root):
    """One model over all of them gives what a model for each gives, merged by (cause_seq, k)."""
    raws = tape(4, COUNT)
    together = by_events(make(root, "trade_flow", ("*",)), raws, 1)
    alone = [raw for subject in SUBJECTS for raw in by_events(make(root, "trade_flow", (subject,)), raws, 2)]
    assert together == sorted(alone, key=lambda raw: cause_of(bytearray(raw))) and len(together) > 100


def test_instruments_come_and_go_and_the_others_keep_their_states(root):
    """One that is added begins with its first event, or the checkpoint is refused: never in the middle of its history."""
    raws = tape(5, COUNT)
    half = next(
        i for i, raw in enumerate(raws) if Event(raw).subject == SUBJECTS[3]
    )  # the silent one speaks for the first time
    before = make(root, "book_imbalance", ("*",), SUBJECTS[:3])
    by_events(before, raws[:half], 1)
    more, fresh = make(root, "book_imbalance", ("*",)), make(root, "book_imbalance", ("*",))
    more.load(before.save())
    by_events(fresh, raws[:half], 2)
    assert by_events(more, raws[half:], 3) == by_events(fresh, raws[half:], 4) and more.save() == fresh.save()

    fewer = make(root, "book_imbalance", ("binance.*",))
    fewer.load(before.save())
    only = make(root, "book_imbalance", ("binance.*",))
    by_events(only, raws[:half], 5)
    assert by_events(fewer, raws[half:], 6) == by_events(only, raws[half:], 7)
    for late in (fewer, only):  # kraken's has had events that its state would need
        with pytest.raises(ValueError, match="kraken.BTC/USD .*was not served, and the log has events of it"):
            make(root, "book_imbalance", ("*",)).load(late.save())


class AskingModule:
    """The kernel of trade_flow, in a module that asks for trades off the book."""

    def __init__(self, module):
        self.__dict__.update(vars(module), OFF_BOOK=True)


def test_trades_off_the_book_move_no_model_unless_it_asks_for_them(root, monkeypatch):
    """Without them the same signals, from the same causes, to the byte; live and from columns."""
    raws = tape(5, 1500)
    away = {Event(raw).seq for raw in raws if Event(raw).kind == Kind.trade and Event(raw).flags & Flag.OFF_BOOK}
    assert len(away) > 20
    whole, without = make(root, "trade_flow", **RESTLESS), make(root, "trade_flow", **RESTLESS)
    published = by_events(whole, raws, 1)
    assert published == by_events(without, [raw for raw in raws if Event(raw).seq not in away], 2)
    assert whole.save() == without.save() and not away & {Event(raw).cause_seq for raw in published}
    load = loading.load
    monkeypatch.setattr(loading, "load", lambda name: AskingModule(load(name)))
    asking = make(root, "trade_flow", **RESTLESS)
    assert away & {Event(raw).cause_seq for raw in by_events(asking, raws, 1)}
