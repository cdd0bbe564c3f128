"""What a request asks for: its parameters, read in the words of `import tickmesh` and `tap`; sentences for what is wrong."""

from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import Annotated, Any

from fastapi import Query

from tickmesh.bus.schema import Kind
from tickmesh.nodes.gateway.problems import RequestProblem

LIMIT_MAX, LIMIT_USUAL = 5000, 100
NS_DIGITS = 15  # a time of so many digits is nanoseconds since 1970; shorter ones are dates
NAMES_MAX = 200

TIME = "nanoseconds since 1970, ISO 8601 (UTC), so long ago (30s, 5m, 1h), or now"
Instruments = Annotated[
    list[str] | None,
    Query(description="symbol, venue.symbol or a pattern; several, also with commas. All without one", examples=["BTCUSDT"]),
]
Processes = Annotated[
    list[str] | None, Query(description="a process, or a pattern; several. All without one", examples=["feed-*"])
]
Accounts = Annotated[list[str] | None, Query(description="an account; several. All without one", examples=["binance.account"])]
Topics = Annotated[
    list[str] | None,
    Query(
        description="topics as `tap` takes them: whole, their beginning, a pattern. All without one", examples=["trade", "fill"]
    ),
]
Start = Annotated[str | None, Query(description=f"from this time of the log on: {TIME}", examples=["5m"])]
End = Annotated[str | None, Query(description=f"up to this time of the log, not including it: {TIME}", examples=["now"])]
After = Annotated[int | None, Query(ge=0, description="only events with a greater seq, the oldest first", examples=[4711])]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description=f"events of one answer, 1 to {LIMIT_MAX}", examples=[100])]
Levels = Annotated[int, Query(ge=1, le=10_000, description="levels of each side, 1 to 10000", examples=[5])]
ALLOWED = {
    "after": "a seq, 0 or more", "limit": f"a whole number from 1 to {LIMIT_MAX}", "levels": "a whole number from 1 to 10000",
    "format": "json or msgpack",
}  # fmt: skip


def names_given(values: Iterable[str] | None) -> list[str]:
    """The names in a parameter that may be repeated, and may have several separated by commas. Raises RequestProblem."""
    names = [name.strip() for value in values or () for name in value.split(",") if name.strip()]
    if len(names) > NAMES_MAX:
        raise RequestProblem(422, f"{len(names)} names are given; {NAMES_MAX} are allowed: take a pattern")
    return names


def time_given(text: str | None) -> int | str | None:
    """A time as `storage.query.times.to_ns` takes it: digits that are too many for a date are nanoseconds."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) >= NS_DIGITS else text


def check_parameters(given: Collection[str], allowed: Sequence[str]) -> None:
    """Raises RequestProblem for a parameter that there is not: it would be taken for granted."""
    for name in given:
        if name not in allowed:
            near = get_close_matches(name, allowed, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise RequestProblem(422, f"there is no parameter {name[:60]!r} here{hint}; allowed: {', '.join(allowed)}")


def invalid_parameter(errors: Sequence[Any]) -> str:
    """A sentence about the first of pydantic's errors: the parameter, what was seen and what is allowed."""
    first = errors[0]
    name, seen = str(first["loc"][-1]), first.get("input")
    if first["type"] == "missing":
        return f"the parameter {name} is missing: say which {name}"
    return f"{name} = {str(seen)[:60]!r} is impossible; allowed: {ALLOWED.get(name, str(first['msg']))}"


def subject_parameter(kind: Kind) -> str:
    """What the subjects of a kind are called as a parameter."""
    if kind is Kind.balance:
        return "account"
    return "process" if kind in OF_PROCESSES else "instrument"


OF_PROCESSES = (Kind.health, Kind.alert, Kind.run, Kind.command, Kind.refusal)
