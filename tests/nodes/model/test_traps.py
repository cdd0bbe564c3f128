"""The table of traps in docs/research.md: what numba and numpy do with numbers, which a model has to know."""

import numpy as np
import pytest
from numba import njit


@njit
def divided(a, b):
    return a // b


@njit
def quotient(a, b):
    return a / b


@njit
def difference(a, b):
    return a - b


@njit
def product(a, b):
    return a * b


@njit
def logarithm(x):
    return np.log(x)


def test_division_by_zero_raises_for_scalars_and_not_for_arrays():
    for function in (divided, quotient):
        with pytest.raises(ZeroDivisionError):
            function(1, 0)
    with pytest.raises(ZeroDivisionError):
        quotient(1.0, 0.0)
    with np.errstate(divide="ignore"):
        assert divided(np.array([1]), np.array([0])).tolist() == [0]
    assert logarithm(0.0) == -np.inf


def test_unsigned_minus_signed_wraps_in_numba_and_is_a_float_in_numpy():
    assert difference(np.uint64(1), np.int64(2)) in (-1, 2**64 - 1), "an integer"
    assert isinstance(np.array([1], "u8") - np.array([2], "i8"), np.ndarray)
    assert (np.array([1], "u8") - np.array([2], "i8")).dtype == np.float64


def test_integers_wrap_without_a_word():
    assert product(np.int64(2**62), np.int64(4)) == 0
