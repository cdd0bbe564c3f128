"""Streams of tables: cut to size, merged in order of seq, read ahead without losing an error or leaving a thread."""

import threading

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickmesh.research.chunks import merged, of_size, read_ahead


def table(seqs: list[int], of: int = 0) -> pa.Table:
    return pa.table({"seq": pa.array(seqs, pa.int64()), "of": pa.array([of] * len(seqs), pa.int64())})


def cut(seqs: list[int], sizes: list[int], of: int):
    """The rows in tables of these sizes, then the rest."""
    at = 0
    for size in sizes:
        if seqs[at : at + size]:
            yield table(seqs[at : at + size], of)
        at += size
    if seqs[at:]:
        yield table(seqs[at:], of)


@given(st.lists(st.integers(0, 9)), st.integers(1, 7))
def test_tables_are_cut_to_size(sizes, rows):
    seqs = list(range(sum(sizes)))
    parts = list(of_size(cut(seqs, sizes, 0), rows))
    assert [one for part in parts for one in part["seq"].to_pylist()] == seqs
    assert all(part.num_rows == rows for part in parts[:-1]) and all(0 < part.num_rows <= rows for part in parts)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3))), st.lists(st.integers(1, 5), max_size=4))
def test_streams_are_merged_in_order_of_seq_and_events_stay_whole(events, sizes):
    """Each event belongs to one stream and has one to three rows."""
    own: list[list[int]] = [[], [], []]
    wanted = []
    for seq, (of, count) in enumerate(events):
        own[of] += [seq] * count
        wanted += [(seq, of)] * count
    found = list(merged([cut(seqs, sizes, of) for of, seqs in enumerate(own)]))
    rows = [row for part in found for row in zip(part["seq"].to_pylist(), part["of"].to_pylist())]
    assert rows == wanted


def test_merging_holds_one_table_of_each_stream():
    made = [0, 0]

    def stream(of: int):
        for number in range(50):
            made[of] += 1
            yield table([4 * number + of, 4 * number + of + 2], of)

    out = merged([stream(0), stream(1)])
    for number in range(1, 20):
        next(out)
        assert max(made) <= number + 1


def test_what_is_read_ahead_is_the_same_and_bounded():
    made = []

    def items():
        for number in range(20):
            made.append(number)
            yield number

    ahead = read_ahead(items(), held=2)
    assert next(ahead) == 0
    assert len(made) <= 4, "two are held, one is being put"
    assert list(ahead) == list(range(1, 20))


def test_an_error_of_the_thread_is_raised_where_the_items_are_wanted_and_no_thread_stays():
    def items():
        yield 1
        raise ValueError("a file is damaged")

    before = threading.active_count()
    ahead = read_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="a file is damaged"):
        next(ahead)
    endless = read_ahead(iter(np.arange(1_000_000)))
    next(endless)
    endless.close()
    assert threading.active_count() == before
