"""A stored result is the result again, and what is none is refused with a sentence."""

import dataclasses
import re

import msgspec
import numpy as np
import pytest

from tests.support.report_scene import START, order, quotes, random_result, result
from tickmesh.research.backtest import stored
from tickmesh.research.backtest.report import as_dict, summarize
from tickmesh.research.backtest.stored import ResultError, check, load, save

BTC = "binance.BTCUSDT"


def test_a_result_is_the_same_after_it_was_stored(tmp_path):
    path = tmp_path / "one.npz"
    settings = {"seed": 4, "latency": {"order_ns": 1_000, "of": ["a", None, True]}, "fee": 0.1}
    made = dataclasses.replace(random_result(9), settings=settings, coverage=("something is missing",))
    save(made, path)
    again = load(path)
    for one in dataclasses.fields(made):
        before, after = getattr(made, one.name), getattr(again, one.name)
        if one.name == "marks":
            assert list(before) == list(after) and all(np.array_equal(before[name], after[name]) for name in before)
        elif isinstance(before, np.ndarray):
            assert before.dtype == after.dtype and before.tobytes() == after.tobytes()
        else:
            assert before == after
    assert as_dict(summarize(again, seed=None)) == as_dict(summarize(made, seed=None))
    save(result(), path)
    assert load(path).fills.shape == (0,) and [one.name for one in tmp_path.iterdir()] == ["one.npz"]


def test_a_result_that_cannot_be_stored_leaves_the_old_file(tmp_path):
    path = tmp_path / "one.npz"
    save(result(), path)
    before = path.read_bytes()
    with pytest.raises(ResultError, match="settings of this backtest cannot be stored"):
        save(result(settings={"model": object()}), path)
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == ["one.npz"]


def rewritten(path, change=None, **arrays):
    """The file with other arrays, and another description."""
    with np.load(path) as file:
        kept = {name: file[name] for name in file}
    description = msgspec.json.decode(kept["description"].tobytes())
    if change:
        description |= change
    kept["description"] = np.frombuffer(msgspec.json.encode(description), np.uint8)
    kept |= arrays
    np.savez(path, **{name: rows for name, rows in kept.items() if rows is not None})


def test_what_is_no_result_is_refused_with_a_sentence(tmp_path):
    path = tmp_path / "one.npz"
    whole = random_result(1)

    def refused(sentence):
        with pytest.raises(ResultError, match=sentence):
            load(path)

    refused("cannot be read: No such file or directory")
    for content in (b"", b"text", b"PK\x03\x04 and then nothing"):
        path.write_bytes(content)
        refused(r"one.npz is no result of a backtest")
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    refused("is no result of a backtest")
    np.savez(path, other=np.zeros(3))
    refused("is no result of a backtest")
    save(whole, path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    refused("is no result of a backtest")
    broken = bytearray(data)
    broken[len(data) // 2] ^= 0xFF
    path.write_bytes(broken)
    refused("is no result of a backtest")
    for change, sentence in (
        ({"format": "else"}, "is no result of a backtest"),
        (
            {"schema": 3},
            r"has schema 3 of results; this version of tickmesh reads 1 to 2: use the version that wrote it, or a newer one",
        ),
        ({"schema": 0}, r"has schema 0 .* run the backtest again"),
        ({"start_ns": "noon"}, r"is no result of a backtest.*start_ns"),
        ({"end_ns": 0}, r"one.npz: the backtest ends at 0, before its start"),
    ):
        save(whole, path)
        rewritten(path, change)
        refused(sentence)
    for arrays, sentence in (
        ({"fills": None}, "has no fills.*not whole"),
        ({"marks_0": None}, "has no marks_0"),
        ({"fills": np.zeros(3)}, "fills have dtype float64"),
        ({"orders": np.array([{}], object)}, "is no result of a backtest.*allow_pickle"),
    ):
        save(whole, path)
        rewritten(path, **arrays)
        refused(sentence)


def test_a_result_of_schema_1_is_read_as_orders_without_parents(tmp_path):
    path, made = tmp_path / "one.npz", random_result(3)
    save(made, path)
    assert (made.orders["parent"] >= 0).any()
    old = made.orders[[name for name in made.orders.dtype.names if name not in stored.SINCE]]
    packed = np.array(old.tolist(), [(name, made.orders.dtype[name]) for name in old.dtype.names])
    rewritten(path, {"schema": 1}, orders=packed)
    again = load(path)
    assert again.orders.dtype == made.orders.dtype and set(again.orders["parent"].tolist()) == {-1}
    for name in old.dtype.names:
        assert again.orders[name].tobytes() == made.orders[name].tobytes()
    rewritten(path, {"schema": 2}, orders=packed)
    with pytest.raises(ResultError, match="orders have dtype"):
        load(path)


def with_row(rows, **values):
    rows = rows.copy()
    for name, value in values.items():
        rows[name][1] = value
    return rows


@pytest.mark.parametrize(
    ("part", "values", "sentence"),
    [
        ("fills", {"instrument": 1}, "fills, row 1: .*its instrument is one of 0 … 0"),
        ("fills", {"strategy": -2}, "its strategy is one of -1 … 0"),
        ("orders", {"instrument": 5}, "orders, row 1"),
        ("fills", {"side": 0}, "side is \\+1 or −1"),
        ("orders", {"side": 2}, "side is \\+1 or −1"),
        ("fills", {"quantity": 0.0}, "quantity is above 0"),
        ("orders", {"quantity": float("inf")}, "quantity is above 0"),
        ("fills", {"price": float("nan")}, "price is above 0"),
        ("fills", {"fee": float("nan")}, "fee is a number"),
        ("fills", {"time_ns": START}, "in order of time_ns"),
        ("fills", {"time_ns": 2 * START}, f"time_ns is from {START}"),
        ("fills", {"order": 77}, "order is one of the orders"),
        ("orders", {"order": 1}, "order is a number of its own"),
        ("orders", {"sent_ns": 0}, "in order of sent_ns"),
    ],
)
def test_a_result_that_contradicts_itself_is_refused(part, values, sentence):
    made = result([(1, 1, 100.0, 1.0, 0.0), (2, 1, 100.0, 1.0, 0.0)], marks={BTC: quotes([(0, 99, 101), (1, 99, 101)])})
    check(made)
    with pytest.raises(ResultError, match=sentence):
        check(dataclasses.replace(made, **{part: with_row(getattr(made, part), **values)}))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"end_ns": 0}, "before its start"),
        ({"marks": {"x": quotes([])}}, f"there are quotes of x, which is not among the instruments {BTC}"),
        ({"marks": {BTC: quotes([(1, 1, 2), (0, 1, 2)])}}, f"marks of {BTC}, row 1.*in order of time_ns"),
        ({"initial": {"x": 1.0}}, "1.0 of x at the start"),
        ({"initial": {BTC: float("nan")}}, "nan of binance.BTCUSDT at the start"),
        ({"fills": np.zeros((2, 2))}, "fills have dtype float64 and shape"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changed, sentence):
    with pytest.raises(ResultError, match=sentence):
        check(dataclasses.replace(result(orders=[order(1, 1, 1, 1.0, 0.0, 100.0)]), **changed))


def test_the_schema_is_a_number_that_a_file_has(tmp_path):
    save(result(), tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        found = msgspec.json.decode(file["description"].tobytes())
    assert found["schema"] == stored.SCHEMA_VERSION == 2 and re.fullmatch("tickmesh backtest", found["format"])
