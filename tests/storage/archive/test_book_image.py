"""A book that is brought forward by many events at once is the one that they make one after the other."""

import numpy as np
import pytest

from tickmesh.bus.schema import DEPTH, GAP, HEADER, Flag, Kind
from tickmesh.storage.archive.book import ArchivedBook


@pytest.mark.parametrize("seed", range(20))
def test_many_events_at_once_are_those_one_after_the_other(seed):
    rng = np.random.default_rng(seed)
    headers, gap_headers, levels, gaps = np.zeros(60, HEADER), np.zeros(12, HEADER), [], []
    last_id = 100
    for number, header in enumerate(headers):
        last_id += int(rng.integers(-2, 4))  # some come again, or go back: they are not applied
        header["seq"], header["last_id"], header["count"] = 2 * number + 2, last_id, rng.integers(1, 6)
        header["flags"] = Flag.SNAPSHOT if rng.random() < 0.1 else 0
        own = np.zeros(header["count"], DEPTH)
        own["price_ticks"], own["quantity_lots"] = rng.integers(0, 9, len(own)), rng.integers(0, 3, len(own))  # 0: removed
        own["side"] = rng.choice([1, -1], len(own))
        levels.append(own)
    gap_headers["seq"] = np.sort(rng.choice(np.arange(1, 122, 2), 12, replace=False))
    gap_headers["count"] = 1
    for _ in gap_headers:
        gaps.append(np.zeros(1, GAP))
        gaps[-1]["stream"] = Kind.depth if rng.random() < 0.5 else Kind.trade
    wanted, events = ArchivedBook(), [(int(h["seq"]), h, r) for h, r in zip(headers, levels)]
    for _, header, records in sorted(
        [*events, *((int(h["seq"]), None, r) for h, r in zip(gap_headers, gaps))], key=lambda e: e[0]
    ):
        if header is None:
            wanted.broken(records)
        else:
            wanted.apply(int(header["flags"]), int(header["last_id"]), records)
    got = ArchivedBook()
    middle = int(rng.integers(0, 61))  # as two stretches of the log; all gaps are in one of them
    counts = np.cumsum([0, *headers["count"]])
    early = gap_headers["seq"] < 2 * middle + 1
    for rows, some in ((slice(0, middle), early), (slice(middle, 60), ~early)):
        records = np.concatenate(levels)[counts[rows.start] : counts[rows.stop]]
        got.follow(headers[rows], records, gap_headers[some], np.concatenate(gaps)[some])
    assert (got.valid, got.last_update_id) == (wanted.valid, wanted.last_update_id)
    assert got.levels().tolist() == wanted.levels().tolist()
