"""Texts of numbers and times become exact integers, or are refused."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickmesh.nodes.venues.parsing import decimals, times
from tickmesh.nodes.venues.parsing.decimals import DecimalError

MAX = (1 << 63) - 1


@given(st.text("0123456789.eE+-", max_size=12))
def test_a_bare_number_is_read_as_decimal_reads_it(text):
    try:
        value = decimals.mantissa(decimals.plain(text.encode()), -8)
    except DecimalError:
        return
    assert Decimal(text).scaleb(8) == value


@pytest.mark.parametrize("number", [b"1e999999999", b"-1e-3", b"1e", b"NaN", b"Infinity", b"1e-9", b'"1"', b"[1]", b"9" * 70])
def test_bare_numbers_that_are_none_or_do_not_fit(number):
    with pytest.raises(DecimalError):
        decimals.mantissa(decimals.plain(number), -8)


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)), st.integers(0, 999))
def test_times_are_exact_to_the_nanosecond(moment, nanos):
    moment = moment.replace(tzinfo=UTC)
    want = (int(moment.timestamp()) * 10**6 + moment.microsecond) * 1000 + nanos
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}{nanos:03d}Z".replace(f"{moment:%Y}", f"{moment.year:04d}", 1)
    assert times.rfc3339_ns(text) == want
    assert times.rfc3339_ns(text.replace("Z", "+00:00")) == want
    assert times.seconds_ns(f"{want // 10**9}.{want % 10**9:09d}") == want
    assert times.milliseconds_ns(str(want // 10**6)) == want // 10**6 * 10**6


@pytest.mark.parametrize("text", ["", "2021-02-30T00:00:00Z", "2021-04-17", "2021-04-17T16:43:30.1234567890Z", "1"])
def test_times_that_are_none(text):
    with pytest.raises(DecimalError):
        times.rfc3339_ns(text)


@given(st.integers(0, MAX), st.integers(-18, 0))
def test_text_and_back_is_the_same_mantissa(value, exponent):
    shown = decimals.text(value, exponent)
    assert decimals.mantissa(shown, exponent) == value
    assert Decimal(shown) == Decimal(value).scaleb(exponent)


@given(st.decimals(0, 10**8, places=8), st.integers(-10, -8))
def test_the_venue_s_fixed_form_is_read_exactly(value, exponent):
    assert decimals.mantissa(f"{value:.8f}", exponent) == int(value.scaleb(-exponent))


@given(st.text(st.sampled_from("0123456789.-+_ eE٣x"), max_size=24), st.integers(-10, 0))
def test_any_text_is_read_as_decimal_reads_it_or_refused(text, exponent):
    try:
        value = decimals.mantissa(text, exponent)
    except decimals.DecimalError:
        return
    assert Decimal(text).scaleb(-exponent) == value
    assert set(text) <= set("0123456789.")


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".5", "-1.00000000", "+1", "1_0.00000000", " 1", "1e5", "NaN", "1.000000001", "٣.00000000",
             "92233720368.54775808", "1" * 200],
)  # fmt: skip
def test_what_is_no_number_or_does_not_fit_is_refused(text):
    with pytest.raises(decimals.DecimalError):
        decimals.mantissa(text, -8)


def test_the_largest_number_that_the_venue_shows_fits():
    assert decimals.mantissa("92233720368.54775807", -8) == MAX


@given(st.lists(st.tuples(st.integers(1, 10**18 - 1), st.integers(0, 10**18 - 1)), min_size=1, max_size=40))
def test_many_levels_at_once_are_the_same_as_one_by_one(levels):
    pairs = [(f"{p // 10**8}.{p % 10**8:08d}", f"{q // 10**8}.{q % 10**8:08d}") for p, q in levels]
    at_once = decimals.level_words_at_once(json.dumps(pairs, separators=(",", ":")).encode(), -8, -8, -1)
    assert at_once.ravel().tolist() == decimals.level_words(pairs, -8, -8, -1, [])


@given(st.data())
def test_many_levels_of_fewer_decimals_are_the_same_too(data):
    """USD-M sends two decimals of a price and three of a quantity, or none."""
    p, q = data.draw(st.integers(0, 8)), data.draw(st.integers(0, 8))
    levels = data.draw(st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 10**9)), min_size=1, max_size=30))
    pairs = [(decimals_text(price, p), decimals_text(quantity, q)) for price, quantity in levels]
    at_once = decimals.level_words_at_once(json.dumps(pairs, separators=(",", ":")).encode(), -8, -8, 1)
    if at_once is not None:
        assert at_once.ravel().tolist() == decimals.level_words(pairs, -8, -8, 1, [])
    else:
        assert max(max(level) for level in levels) * 10 ** (8 - min(p, q)) >= 10**17, "only what might not fit"


def decimals_text(value, places):
    """`value` × 10^−places with all its places."""
    return f"{value // 10**places}.{value % 10**places:0{places}d}" if places else str(value)


def test_many_levels_in_another_form_are_left_to_the_careful_reader():
    for text in (
        b'[["1.5","2.00000000"],["1.25","2.00000000"]]', b'[["1.00000000","-2.00000000"]]', b"[[1,2]]",
        b'[["1.00000000","2.00000000"],]', b'[["1.000000000","2.00000000"]]', b"[]", b'[["1","2"],["3","4.5"]]',
        b'[["99999999999.0","1.0"]]',
    ):  # fmt: skip
        assert decimals.level_words_at_once(text, -8, -8, 1) is None
