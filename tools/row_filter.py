"""The filters of `tap --where`: comparisons of columns, joined by and, or, not. A small grammar, parsed and never evaluated.

either = both {"or" both} · both = one {"and" one} · one = "not" one | "(" either ")" | comparison
comparison = COLUMN ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~") VALUE | COLUMN ["not"] "in" "(" VALUE {"," VALUE} ")"
VALUE = number | 'text' | "text" | word of letters, digits and _ . - (another column, where there is one of that name)
"""

import operator
import re
from collections.abc import Callable, Collection
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from typing import Any

from tickmesh.tools.event_rows import Row
from tickmesh.tools.terminal import UsageFailure

TEXT_MAX = 1000  # characters of a filter
DEPTH_MAX = 50  # of brackets and not
TOKEN = re.compile(
    r"""\s*(?:(?P<number>[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w.]))|(?P<text>'[^']*'|"[^"]*")|(?P<word>[A-Za-z_][\w.-]*)"""
    r"""|(?P<sign><=|>=|==|!=|[=<>~(),]))"""
)
ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
SIGNS = (*ORDERED, "=", "==", "!=", "~")
Test = Callable[[Row], bool]
Value = Callable[[Row], Any]


class RowFilter:
    """What `--where` says. `columns`: those that it names; call it with a row. A value that is not there fulfils nothing."""

    def __init__(self, text: str, known: Collection[str]):
        """Parses a filter. `known`: columns; a word on the right that is one of them means its value. Raises UsageFailure."""
        if len(text) > TEXT_MAX:
            raise UsageFailure(f"--where has {len(text)} characters; {TEXT_MAX} are allowed")
        self._text, self._known = text, known
        self._tokens = self._split()
        self._place = self._depth = 0
        self.columns: list[str] = []
        self._test = self._either()
        if self._place < len(self._tokens):
            raise self._wrong("`and`, `or` or the end")

    def __call__(self, row: Row) -> bool:
        """Whether a row fulfils it."""
        return self._test(row)

    def _split(self) -> list[tuple[str, str]]:
        tokens, place, text = [], 0, self._text.rstrip()
        while place < len(text):
            found = TOKEN.match(text, place)
            if found is None or found.lastgroup is None:
                raise UsageFailure(
                    f'--where {self._text!r}: {text[place:].strip()[:20]!r} cannot be read; like "price > 60000"'
                )
            tokens.append((found.lastgroup, found[found.lastgroup]))
            place = found.end()
        return tokens

    def _wrong(self, wanted: str) -> UsageFailure:
        seen = repr(self._tokens[self._place][1]) if self._place < len(self._tokens) else "the end"
        return UsageFailure(f'--where {self._text!r}: {seen} where {wanted} should be; like "price > 60000 and side = sell"')

    def _is(self, *words: str) -> bool:
        """Takes the next token, where it is one of these."""
        if self._place < len(self._tokens):
            sort, text = self._tokens[self._place]
            if sort in ("word", "sign") and text.lower() in words:
                self._place += 1
                return True
        return False

    def _take(self, sorts: Collection[str], wanted: str) -> tuple[str, str]:
        if self._place >= len(self._tokens) or self._tokens[self._place][0] not in sorts:
            raise self._wrong(wanted)
        self._place += 1
        return self._tokens[self._place - 1]

    def _either(self) -> Test:
        tests = [self._both()]
        while self._is("or"):
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else lambda row: any(test(row) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._is("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda row: all(test(row) for test in tests)

    def _one(self) -> Test:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise UsageFailure(f"--where has more than {DEPTH_MAX} brackets and nots within each other")
        if self._is("not"):
            inner = self._one()
            found: Test = lambda row: not inner(row)  # noqa: E731
        elif self._is("("):
            found = self._either()
            if not self._is(")"):
                raise self._wrong("`)`")
        else:
            found = self._comparison()
        self._depth -= 1
        return found

    def _comparison(self) -> Test:
        _, column = self._take(("word",), "a column")
        self.columns.append(column)
        negated = self._is("not")
        if self._is("in"):
            values = self._values()
            return lambda row: row.get(column) is not None and any(_equal(row[column], one(row)) for one in values) != negated
        if negated or self._place >= len(self._tokens) or self._tokens[self._place][1] not in SIGNS:
            raise self._wrong("in" if negated else f"one of {' '.join(SIGNS)} or in")
        sign = self._tokens[self._place][1]
        self._place += 1
        value = self._value()
        return lambda row: _compare(sign, row.get(column), value(row))

    def _values(self) -> list[Value]:
        if not self._is("("):
            raise self._wrong("`(`")
        values = [self._value()]
        while self._is(","):
            values.append(self._value())
        if not self._is(")"):
            raise self._wrong("`,` or `)`")
        return values

    def _value(self) -> Value:
        sort, text = self._take(("number", "text", "word"), "a number, a 'text' or a word")
        if sort == "word" and text in self._known:
            self.columns.append(text)
            return lambda row: row.get(text)
        constant: Any = Decimal(text) if sort == "number" else text.strip("'\"") if sort == "text" else text
        return lambda _row: constant


def _compare(sign: str, left: Any, right: Any) -> bool:
    if left is None or right is None:
        return False
    if sign == "~":
        return fnmatchcase(_text(left), _text(right))
    if sign in ("=", "=="):
        return _equal(left, right)
    if sign == "!=":
        return not _equal(left, right)
    one, other = _number(left), _number(right)
    if one is not None and other is not None:
        return ORDERED[sign](one, other)
    return one is other and ORDERED[sign](_text(left), _text(right))  # both are texts


def _equal(left: Any, right: Any) -> bool:
    if right is None:
        return False
    one, other = _number(left), _number(right)
    return one == other if one is not None and other is not None else _text(left) == _text(right)


def _number(value: Any) -> Decimal | None:
    """A value as a number: a decimal is a text in a row, exactly; None of what is none."""
    if isinstance(value, bool):
        return None
    try:
        number = Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        return None
    return number if number.is_finite() else None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
