"""Topics as people name them: in full, by how they begin, or by a pattern; and which kinds are to be read then."""

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache

from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import ORDER_VENUES
from tickmesh.bus.topics import TABLE, Lane, account_of, topic

PATTERN = re.compile(r"[*?\[]")
SHOWN_MAX = 12  # names in a sentence about what there is
MEANT = {"order": ("update", "intent"), "position": ("fill", "balance"), "book": ("depth", "quote"), "ticker": ("quote",)}
Choice = Callable[[str], bool]


def names_of(one: str) -> tuple[str, ...]:
    """A topic's names: trade.binance.BTCUSDT is trade, trade.binance, binance.BTCUSDT, binance and BTCUSDT as well."""
    kind, _, subject = one.partition(".")
    venue, dot, symbol = subject.partition(".")
    return (one, kind, subject, f"{kind}.{venue}", venue, symbol) if dot else (one, kind, subject)


def chooser(wanted: Sequence[str], known: Iterable[str]) -> Choice:
    """Tells whether a topic is one of the wanted; all are where none is named.

    What is the whole name of a known one (`trade`, `okx.BTC-USDT`, `BTCUSDT`) means that name alone. With * ? or [ it is a
    pattern on any of a topic's names, else their beginning (`trade.binance.BTC`).
    """
    if not wanted:
        return lambda one: True
    whole = {name for one in known for name in names_of(one)} | set(Kind.__members__)

    @cache
    def chosen(one: str) -> bool:
        names = names_of(one)
        return any(word in names if word in whole else _begins(names, word) for word in wanted)

    return chosen


def _begins(names: tuple[str, ...], word: str) -> bool:
    if PATTERN.search(word):
        return any(fnmatchcase(name, word) for name in names)
    return any(name.startswith(word) for name in names)


class UnknownTopic(ValueError):
    """A name that no topic here can have: a sentence for who gave it."""


def choose(wanted: Sequence[str], known: Sequence[str], any_subject: bool) -> tuple[Choice, tuple[Kind, ...]]:
    """(whether a topic is wanted, the kinds that can be) of `wanted` names, where `known` are the topics that there are.

    `any_subject`: a topic of a known kind may be of a subject that is none of them. Raises UnknownTopic.
    """
    for word in wanted:
        if not is_known(word, known) and not (any_subject and word.partition(".")[0] in Kind.__members__):
            raise UnknownTopic(_unknown(word, known))
    chosen = chooser(wanted, known)
    named = [Kind[word] for one in wanted if (word := one.partition(".")[0]) in Kind.__members__]
    kinds = [Kind[one.partition(".")[0]] for one in known if chosen(one)]
    return chosen, tuple(dict.fromkeys([*named, *kinds])) if wanted else tuple(Kind)


def is_pattern(word: str) -> bool:
    """Whether a name is a pattern, with * ? or [."""
    return PATTERN.search(word) is not None


def is_known(word: str, known: Iterable[str]) -> bool:
    """Whether a name means a kind, or one of the known topics at least."""
    return word in Kind.__members__ or any(_begins(names_of(one), word) for one in known)


def topics_of_instruments(subjects: Iterable[str]) -> list[str]:
    """The topics about these instruments, and those of accounts."""
    kinds = [kind for kind, row in TABLE.items() if row.lane is not Lane.system or kind in (Kind.coverage, Kind.line)]
    accounts = [topic(Kind.balance, account_of(venue)) for venue in ORDER_VENUES]
    return [topic(kind, subject) for kind in kinds for subject in dict.fromkeys(subjects)] + accounts


def topics_of_processes(names: Sequence[str]) -> list[str]:
    """The topics about these processes."""
    kinds = [kind for kind, row in TABLE.items() if row.lane is Lane.system]
    return [topic(kind, name) for kind in kinds for name in names]


def _unknown(word: str, known: Sequence[str]) -> str:
    kind, dot, _ = word.partition(".")
    if dot and kind in Kind.__members__:
        subjects = list(dict.fromkeys(one.partition(".")[2] for one in known if one.startswith(f"{kind}.")))
        return f"there is no topic {word!r}; the subjects of {kind} are {_some(subjects)}"
    near = [*MEANT.get(word.lower().rstrip("s"), ())]
    near += get_close_matches(word, {name for one in known for name in names_of(one)}, 3)
    near += [name for name in {n for one in known for n in names_of(one)} if name.lower() == word.lower()]
    hint = f" Near to it: {', '.join(dict.fromkeys(near))}." if near else ""
    kinds = ", ".join(one.name for one in Kind)
    return (
        f"there is no topic {word!r}.{hint} A topic is kind.subject: it begins with one of {kinds}; "
        "an instrument or process alone means all of its kinds"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN_MAX]) + (f" … ({len(names)} in all)" if len(names) > SHOWN_MAX else "")
