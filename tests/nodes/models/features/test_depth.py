"""A bounded book is the best of the whole one, or says that it does not know; logarithms are those of more exact arithmetic."""

import math
import random

import numpy as np
import pytest

from tickmesh.nodes.models.features.depth import book_clear, book_dtype, book_set, depth_imbalance, known_levels
from tickmesh.nodes.models.features.logarithm import natural_log

ROOM, BEST = 12, 4


def test_what_a_bounded_book_says_is_true_of_the_whole_book():
    pick = random.Random(3)
    book, whole = np.zeros(1, book_dtype(ROOM)), {1: {}, -1: {}}
    known = unknown = 0
    for number in range(4000):
        if number % 400 == 0:
            book_clear(book[0], 1)
            whole = {1: {}, -1: {}}
        side = pick.choice((1, -1))
        price, lots = 1000 - side * pick.randrange(1, 60), pick.choice((0, 3, 7))
        if number // 60 % 2 and pick.random() < 0.8 and whole[side]:  # it fills, then the best levels go
            price, lots = (max if side > 0 else min)(whole[side]), 0
        book_set(book[0], side, price, lots)
        whole[side].pop(price, None)
        if lots:
            whole[side][price] = lots
        truth = {s: sorted(levels.items(), reverse=s > 0)[:BEST] for s, levels in whole.items()}
        for s, levels in ((1, book[0]["bids"]), (-1, book[0]["asks"])):
            n = known_levels(levels, BEST)
            count = int(levels["count"])
            if n < 0:
                assert levels["dropped"] != 0
                unknown += 1
                continue
            ours = [(s * int(levels["price"][count - 1 - i]), int(levels["lots"][count - 1 - i])) for i in range(n)]
            assert ours == truth[s]
            known += 1
        b, a = (sum(lots for _, lots in truth[s]) for s in (1, -1))
        value = depth_imbalance(book[0], BEST)
        assert math.isnan(value) or value == (b - a) / (b + a)
    assert known > 3000 and unknown > 100, (known, unknown)


def test_after_a_gap_there_is_no_book_until_a_snapshot():
    book = np.zeros(1, book_dtype(ROOM))[0]
    book_clear(book, 1)
    book_set(book, 1, 99, 5)
    book_set(book, -1, 101, 15)
    book_set(book, -1, 0, 15)  # no price
    assert depth_imbalance(book, 10) == -0.5
    book_clear(book, 0)
    assert math.isnan(depth_imbalance(book, 10))


def test_logarithms_are_within_three_ulp():
    rng = np.random.default_rng(1)
    tried = np.concatenate([np.exp(rng.uniform(-40, 40, 4000)), 1 + rng.uniform(-1e-3, 1e-3, 4000), [2.0, 0.5, 1e300, 1e-300]])
    exact = np.log(tried.astype(np.longdouble))
    ours = np.array([natural_log(float(x)) for x in tried])
    assert (abs(ours - exact) <= 3 * np.spacing(abs(exact.astype("f8")))).all()
    assert natural_log(1.0) == 0.0
    assert all(math.isnan(natural_log(x)) for x in (0.0, -1.0, math.nan))


@pytest.mark.parametrize("wanted", [1, 3])
def test_levels_that_were_dropped_are_not_known_when_those_before_them_are_gone(wanted):
    book = np.zeros(1, book_dtype(2))[0]
    book_clear(book, 1)
    for price in (100, 99, 98):
        book_set(book, 1, price, 1)
    assert known_levels(book["bids"], 2) == 2 and known_levels(book["bids"], 3) == -1
    book_set(book, 1, 100, 0)
    book_set(book, 1, 99, 0)
    assert known_levels(book["bids"], wanted) == -1, "98 is still there, and was dropped"
    book_set(book, 1, 97, 4)
    assert known_levels(book["bids"], 1) == -1, "97 is not the best"
    book_clear(book, 1)
    book_set(book, 1, 97, 4)
    assert known_levels(book["bids"], wanted) == 1
