"""A model step, its events, and what it publishes."""

from pathlib import Path

import numpy as np
import pytest

from tickmesh.bus.config import Config
from tickmesh.bus.schema import DTYPES, SIGNAL, Kind
from tickmesh.bus.settings import Mesh, ModelSettings
from tickmesh.bus.wire import Event, decode, encode, stamp_sequenced
from tickmesh.nodes.model import node as model

SUBJECT = "binance.BTCUSDT"


MS = 1_000_000


START_NS = 1_700_000_000 * 1_000_000_000


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder for kernels' caches."""
    return tmp_path_factory.mktemp("mesh")


def make(root: Path, kernel: str, **parameters: float) -> model.Step:
    """Builds a model's step with this kernel and parameters."""
    return model.Step(Config(Mesh(models=(ModelSettings("m", kernel, parameters=parameters),)), root), "m")


def log(rows: list[tuple[Kind, int, tuple, int]], subject: str = SUBJECT) -> list[Event]:
    """Builds sequenced events of (kind, ms since the last one, record, flags); the instrument is the first."""
    instrument = np.array([(-8, -8, 1, 1, 1, 1, 0)], DTYPES[Kind.instrument])
    events, now_ns = [], START_NS
    for seq, (kind, ms, record, flags) in enumerate([(Kind.instrument, 0, instrument[0], 0), *rows], 1):
        now_ns += ms * MS
        event = encode(kind, subject, np.array([record], DTYPES[kind]), flags=flags)
        stamp_sequenced(event, seq, 0, now_ns)
        events.append(decode(bytes(event)))
    return events


def quote(ms: int, bid_lots: int, ask_lots: int, bid: int = 100, ask: int = 103) -> tuple:
    """A row for `log`: a quote."""
    return Kind.quote, ms, (1, bid if bid_lots else 0, bid_lots, ask if ask_lots else 0, ask_lots, 0), 0


def values(published: list[bytearray]) -> list[tuple[int, float, float, int]]:
    """(cause_seq, value, price, reference) of every signal that a step published."""
    out = []
    for raw in published:
        event = decode(bytes(raw))
        row = np.frombuffer(event.body, SIGNAL)[0]
        out.append((event.cause_seq, float(row["value"]), float(row["price"]), int(row["reference_ticks"])))
    return out
