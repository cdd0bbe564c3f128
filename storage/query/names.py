"""Instruments as people name them: a symbol, venue.symbol, a pattern, a list of such; None for all."""

from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase

from tickmesh.bus.patterns import some
from tickmesh.storage.query.times import ReadError

Instruments = str | Iterable[str] | None
PATTERN = set("*?[")


def several(given: str | Iterable[str], what: str) -> tuple[str, ...]:
    """Several names, where one alone may be given as it is. Raises ReadError for what is neither; `what`: in words."""
    names = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else (given,)
    for name in names:
        if not isinstance(name, str):
            raise ReadError(f"{what}: {name!r} is no name; allowed is a text, or several in a list")
    return names


def resolve(known: list[str], wanted: Instruments, place: object, what: str = "instrument") -> list[str]:
    """The subjects that `wanted` names, each once, in its order. `known`: those of `place` that there are.

    `what`: they are, in words. Raises ReadError with near or possible ones where a name means none of them, or several.
    """
    if wanted is None:
        return known
    found: list[str] = []
    for name in several(wanted, f"{what}s"):
        found += _named(known, name, place, what)
    return list(dict.fromkeys(found))


def _named(known: list[str], name: str, place: object, what: str) -> list[str]:
    if name in known:
        return [name]
    if PATTERN & set(name):
        found = [one for one in known if fnmatchcase(one, name) or fnmatchcase(one.partition(".")[2], name)]
    else:
        folded = name.casefold()
        found = [one for one in known if folded in (one.casefold(), one.partition(".")[2].casefold())]
        if len(found) > 1:
            raise ReadError(f"{name} is known of {len(found)} venues; say which: {', '.join(found)}")
    if found:
        return found
    if not known:
        raise ReadError(f"{name!r}: nothing was recorded in {place} yet")
    symbols = {one.partition(".")[2]: one for one in known} | {one: one for one in known}
    folds = {symbol.casefold(): symbol for symbol in symbols}
    near = [symbols[folds[one]] for one in get_close_matches(name.casefold(), folds, 3)]
    hint = f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""
    raise ReadError(f"there is no {what} {name!r} in {place}; there is {some(known)}{hint}")
