"""The filters of `tap --where`: what they let through, beside Python's own arithmetic of the same; and what they refuse."""

import random
from decimal import Decimal

import pytest

from tickmesh.tools.row_filter import DEPTH_MAX, RowFilter
from tickmesh.tools.terminal import UsageFailure

ROW = {
    "price": "60000.5",
    "quantity": "0.10",
    "side": "sell",
    "maker": True,
    "lag_ms": 1.5,
    "seq": 7,
    "id": None,
    "bid_price": "60000",
}


def holds(text: str) -> bool:
    return RowFilter(text, ROW)(ROW)


@pytest.mark.parametrize(
    "text",
    [
        "price > 60000", "price>=60000.50", "price = 60000.5", "quantity == 0.1", "quantity < 1e0", "lag_ms <= 1.5",
        "seq != 8",
        "side = sell", "side = 'sell'", 'side != "buy"', "side in (buy, sell)", "side not in (buy)", "seq in (1, 7)",
        "maker = yes",
        "side ~ 's*'", "not side = buy", "price > bid_price",
        "side = buy or seq = 7 and price > 1", "(side = sell or seq = 7) and price > 1",
        "not (side = buy or seq = 8)", "NOT side = buy AND seq = 7", "seq > -1",
    ],
)  # fmt: skip
def test_what_holds_of_a_row(text):
    assert holds(text)
    assert not holds(f"not ({text})")


@pytest.mark.parametrize(
    "text",
    [
        "price > 60000.5", "quantity = 0.11", "side > 3", "side = Sell", "seq = 8 or side = buy and seq = 7", "lag_ms = yes",
        "id = 1", "id != 1", "id < 1", "id in (1)", "id not in (1)", "id ~ '*'", "seq = id",
    ],
)  # fmt: skip
def test_what_does_not_hold_and_what_is_not_there_fulfils_nothing(text):
    assert not holds(text)


def test_random_filters_are_what_python_makes_of_them():
    """Exactly: of prices as decimals too, where a binary fraction would be a little more or less."""
    random_ = random.Random(5)
    names = ("a", "b", "c")

    def made(depth: int) -> tuple[str, str]:
        """(a filter, the same for Python)."""
        if depth == 0 or random_.random() < 0.3:
            name, sign = random_.choice(names), random_.choice(["<", "<=", ">", ">=", "==", "!="])
            value = f"{random_.randrange(-3, 4) / 10}"
            return f"{name} {sign} {value}", f"row[{name!r}] {sign} Decimal({value!r})"
        if random_.random() < 0.2:
            text, same = made(depth - 1)
            return f"not ({text})", f"(not ({same}))"
        word = random_.choice(["and", "or"])
        parts = [made(depth - 1) for _ in range(random_.randrange(2, 4))]
        return "(" + f" {word} ".join(text for text, _ in parts) + ")", "(" + f" {word} ".join(same for _, same in parts) + ")"

    seen = set()
    for _ in range(300):
        text, same = made(3)
        row = {name: f"{random_.randrange(-3, 4) / 10}" for name in names}
        expected = eval(same, {"Decimal": Decimal, "row": {name: Decimal(value) for name, value in row.items()}})
        assert RowFilter(text[:1000], names)(row) is expected if len(text) <= 1000 else True
        seen.add(expected)
    assert seen == {True, False}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the end where a column should be"),
        ("price", "the end where one of < <= > >= = == != ~ or in should be"),
        ("price > 1 seq", "'seq' where `and`, `or` or the end should be"),
        ("price > ", "the end where a number"),
        ("(price > 1", "where `)` should be"),
        ("side in buy", "'buy' where `(` should be"),
        ("side not = buy", "'=' where in should be"),
        ("price > 60,000", "',' where `and`"),
        ("price > __import__('os')", "'(' where `and`"),
        ("price ; 1", "'; 1' cannot be read"),
        ("not " * (DEPTH_MAX + 1) + "seq = 1", "more than 50"),
        ("seq = 1 or " * 200 + "seq = 1", "characters; 1000 are allowed"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_was_seen_and_what_should_be(text, sentence):
    with pytest.raises(UsageFailure) as refused:
        holds(text)
    assert sentence in str(refused.value)


def test_the_columns_that_a_filter_names_are_known():
    assert RowFilter("price > 1 and (side = buy or not bid_price < ask)", ["price", "bid_price", "ask"]).columns == [
        "price", "side", "bid_price", "ask",
    ]  # fmt: skip
