"""Packed rows come back to the bit, and a group of them hides no extreme."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickmesh.research.plot.series import BLOCK_ROWS, GROUP, LEVEL_MIN, TimeSeries, pack, unpack

WIDE = st.integers(-(2**62), 2**62)


@settings(max_examples=60)
@given(st.lists(st.tuples(WIDE, WIDE), min_size=1, max_size=30), st.integers(0, 2**40))
def test_packed_columns_come_back(pairs, small):
    columns = [np.array(column, "i8") for column in zip(*pairs)]
    columns.append(np.arange(len(pairs)) * small)
    block = pack(columns, (0, 2, 8))
    assert [column.tolist() for column in unpack(block)] == [column.tolist() for column in columns]


def test_near_values_take_few_bytes():
    times = 1_723_161_600_000_000_000 + np.arange(BLOCK_ROWS) * 1_000_003
    block = pack([times, 6_183_763_000_000 + np.arange(BLOCK_ROWS) % 7 * 1_000_000], (0, 8))
    assert block.planes == (3, 3) and len(block.packed) < BLOCK_ROWS


def filled(rows: int, sizes: tuple[int, ...], seed: int = 1):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.integers(0, 5, rows))
    price, lots = rng.integers(100, 10**6, rows), rng.integers(1, 50, rows)
    price[rng.random(rows) < 0.01] = 0  # an empty side
    series = TimeSeries(("price", "quantity"), optional=("price",), added=("quantity",))
    at = 0
    while at < rows:
        for size in sizes:
            part = slice(at, at + size)
            series.add(times[part], {"price": price[part], "quantity": lots[part]}, {"price": 2, "quantity": 1})
            at += size
    return series, times, np.where(price > 0, price / 100, np.nan), lots / 10


@pytest.mark.parametrize("sizes", [(100_000,), (1, 7, 40_000), (BLOCK_ROWS,)])
def test_rows_come_back_however_they_were_added(sizes):
    series, times, price, quantity = filled(100_000, sizes)
    found_times, (found_price, found_quantity) = series.every_row()
    assert series.rows == 100_000 and np.array_equal(found_times, times) and np.array_equal(found_quantity, quantity)
    assert np.array_equal(found_price, price, equal_nan=True) and max(block.rows for block in series.blocks) == BLOCK_ROWS


def test_every_level_has_the_extremes_and_sums_of_the_rows_in_each_group():
    rows = GROUP * LEVEL_MIN + 12_345
    series, times, price, quantity = filled(rows, (50_000,))
    levels = series.levels()
    assert len(levels) == 2 and len(levels[0].time_ns) == -(-rows // GROUP) and len(levels[1].time_ns) <= LEVEL_MIN
    for level, each in zip(levels, (GROUP, GROUP * GROUP)):
        starts = np.arange(0, rows, each)
        assert np.array_equal(level.time_ns, times[starts])
        for number in (0, 7, len(starts) - 1):
            part = slice(starts[number], starts[number] + each)
            assert level.low[0, number] == np.nanmin(price[part]) and level.high[0, number] == np.nanmax(price[part])
            assert level.last[1, number] == quantity[part][-1]
            assert level.total[0, number] == pytest.approx(quantity[part].sum())


def test_one_spike_in_many_rows_is_seen_from_afar():
    series = TimeSeries(("price",))
    price = np.full(300_000, 1000)
    price[123_457] = 9999
    series.add(np.arange(300_000), {"price": price}, {"price": 0})
    seen = series.envelope(5000)
    assert len(seen.time_ns) <= 5000 and (seen.high == 9999).sum() == 1 and seen.low.max() == 1000
    assert seen.time_ns[np.argmax(seen.high)] <= 123_457 < seen.time_ns[np.argmax(seen.high) + 1]


def test_other_decimals_begin_another_block():
    series = TimeSeries(("price",))
    series.add(np.array([1, 2]), {"price": np.array([10, 20])}, {"price": 1})
    series.add(np.array([3]), {"price": np.array([300])}, {"price": 2})
    assert series.every_row()[1].tolist() == [[1.0, 2.0, 3.0]] and [block.rows for block in series.blocks] == [2, 1]


def test_nothing_is_nothing():
    series = TimeSeries(("price",))
    assert series.levels() == [] and len(series.envelope(10).time_ns) == 0
