"""Topics as people name them: in full, by how they begin, or by a pattern; and which kinds are to be read then."""

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from urllib.parse import unquote

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import ORDER_VENUES
from tickmesh.bus.topics import TABLE, Lane, account_of, topic
from tickmesh.tools.terminal import UsageFailure

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


def resolve(config: Config, wanted: Sequence[str], history: bool) -> tuple[Choice, tuple[Kind, ...]]:
    """(whether a topic is wanted, the kinds that can be) in this mesh; of its `history`, names that it has no more too.

    Raises UsageFailure for a name that nothing here can have.
    """
    known = _of_instruments(config, history)
    if any(PATTERN.search(word) or not _found(word, known) for word in wanted):
        known += _of_processes(config)  # the names of processes take longer to find out
    for word in wanted:
        if not _found(word, known) and not (history and word.partition(".")[0] in Kind.__members__):
            raise UsageFailure(_unknown(word, known))
    chosen = chooser(wanted, known)
    named = [Kind[word] for one in wanted if (word := one.partition(".")[0]) in Kind.__members__]
    kinds = [Kind[one.partition(".")[0]] for one in known if chosen(one)]
    return chosen, tuple(dict.fromkeys([*named, *kinds])) if wanted else tuple(Kind)


def known_topics(config: Config) -> list[str]:
    """The topics that this mesh can have now: of its instruments and of its processes."""
    return [*_of_instruments(config, False), *_of_processes(config)]


def _found(word: str, known: list[str]) -> bool:
    return word in Kind.__members__ or any(_begins(names_of(one), word) for one in known)


def _of_instruments(config: Config, history: bool) -> list[str]:
    """The topics about instruments: those of mesh.toml, of history those in the archive too."""
    subjects = [one.subject for one in config.instruments]
    if history:
        folders = (path for path in config.archive_dir.glob("*/*") if path.is_dir())
        subjects += [f"{unquote(path.parent.name)}.{unquote(path.name)}" for path in folders]
    kinds = [kind for kind, row in TABLE.items() if row.lane is not Lane.system or kind in (Kind.coverage, Kind.line)]
    accounts = [topic(Kind.balance, account_of(venue)) for venue in ORDER_VENUES]
    return [topic(kind, subject) for kind in kinds for subject in dict.fromkeys(subjects)] + accounts


def _of_processes(config: Config) -> list[str]:
    """The topics about processes."""
    from tickmesh.tools.table import process_names

    kinds = [kind for kind, row in TABLE.items() if row.lane is Lane.system]
    return [topic(kind, name) for kind in kinds for name in process_names(config)]


def _unknown(word: str, known: list[str]) -> str:
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


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN_MAX]) + (f" … ({len(names)} in all)" if len(names) > SHOWN_MAX else "")
