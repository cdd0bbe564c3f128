"""`mesh pnl`: profit and loss from fills alone, by the executor's functions (nodes/executor/positions.py and profit.py).

What a span of time gained is the profit at its end less that at its beginning; positions count at the mid price of each.
"""

import copy
from collections.abc import Iterable
from decimal import Decimal

import numpy as np

from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.fields import decimal_text
from tickmesh.bus.log import LogReader
from tickmesh.bus.segments import LogError
from tickmesh.bus.wire import Event
from tickmesh.nodes.executor.positions import Position
from tickmesh.nodes.executor.profit import MONEY_EXPONENT, money_of
from tickmesh.nodes.executor.state import ExecutorState, InstrumentState
from tickmesh.storage.archive.file import ArchiveError
from tickmesh.storage.query import reader
from tickmesh.tools import terminal
from tickmesh.tools.account_history import AccountHistory, Filter, account_events
from tickmesh.tools.orders import Units, check_strategy, fees_text, filter_of
from tickmesh.tools.tables import TerminalTable

CHUNK_NS = 60_000_000_000  # quotes are read so many at once
CHUNKS_BACK = 10  # without a quote in them there is no price
MONEY = ("realised", "unrealised", "fees", "net")
Book = tuple[str, str]  # (instrument, strategy)
Figures = dict[str, int]  # MONEY at 10^−36


class Marks:
    """Mid prices of the past, as the executor had them: of the last quote before a moment."""

    def __init__(self, config: Config):
        self._config = config
        self._chunks: dict[tuple[str, int], np.ndarray] = {}

    def at(self, subject: str, ns: int) -> int:
        """The mid in ticks at a moment (seq_ns), rounded down; 0 where none was known in the ten minutes before."""
        newest = ns // CHUNK_NS
        for chunk in range(newest, newest - CHUNKS_BACK, -1):
            rows = self._rows(subject, chunk)
            row = int(np.searchsorted(rows["seq_ns"], ns, "right")) - 1
            if row >= 0:
                return (int(rows["bid_ticks"][row]) + int(rows["ask_ticks"][row])) // 2
        return 0

    def _rows(self, subject: str, chunk: int) -> np.ndarray:
        known = self._chunks.get((subject, chunk))
        if known is None:
            begin = chunk * CHUNK_NS
            try:
                rows = reader.arrays(self._config, f"quote.{subject}", begin, begin + CHUNK_NS, gaps="ignore")
            except reader.ReadError:
                rows = np.zeros(0, [("seq_ns", "i8"), ("bid_ticks", "i8"), ("ask_ticks", "i8")])
            tradable = rows[(rows["bid_ticks"] > 0) & (rows["ask_ticks"] > rows["bid_ticks"])]
            known = self._chunks[subject, chunk] = tradable
        return known


class ProfitHistory:
    """Positions of every strategy and instrument at the end, and at the beginning of the wanted span."""

    def __init__(self, config: Config, wanted: Filter):
        self.marks = Marks(config)
        self.history = AccountHistory(wanted, self._price_fee)
        self._wanted = wanted
        self._before: dict[Book, Position] = {}
        self._begun = False

    @property
    def state(self) -> ExecutorState:
        """What the executor would know of fills."""
        return self.history.state

    def take(self, event: Event) -> None:
        """Takes in an event of the log."""
        if not self._begun and self._wanted.is_since(event.seq, event.seq_ns):
            self._begun = True
            self._before = {book: copy.deepcopy(position) for book, _, position in self._books()}
        self.history.take(event)

    def _price_fee(self, event: Event, subject: str, asset: str) -> None:
        """Looks up the price of a third asset that a fee was paid in, where an instrument of the log has it."""
        venue, _, symbol = subject.partition(".")
        if symbol.endswith(asset) or symbol.startswith(asset):
            return
        for begin in range(1, len(symbol)):
            other = self.state.instruments.get(name := f"{venue}.{asset}{symbol[begin:]}")
            if other is not None and other.rules is not None:
                other.mark_ticks = self.marks.at(name, event.seq_ns)

    def _books(self) -> list[tuple[Book, InstrumentState, Position]]:
        return [
            ((subject, name), instrument, book.position)
            for subject, instrument in self.state.instruments.items()
            for name, book in instrument.books.items()
            if book.position.fills
        ]

    def figures(self, end_ns: int) -> dict[Book, Figures]:
        """By (instrument, strategy): MONEY of the wanted span, of those that are wanted and can be valued."""
        out: dict[Book, Figures] = {}
        for book, instrument, position in self._books():
            if self._wanted.has(*book) and instrument.rules is not None:
                now = _money(position, instrument, self.marks.at(book[0], end_ns))
                before = self._before.get(book)
                begin_ns = self._wanted.since_ns
                then = _money(before, instrument, self.marks.at(book[0], begin_ns)) if before is not None and begin_ns else {}
                out[book] = {name: value - then.get(name, 0) for name, value in now.items()}
        return out

    def row(self, book: Book, figures: Figures, end_ns: int) -> terminal.JsonObject:
        """What `--json` has of one strategy's dealings in one instrument."""
        subject, strategy = book
        instrument = self.state.instruments[subject]
        position, before = instrument.books[strategy].position, self._before.get(book, Position())
        fees = {asset: fee - before.fees.get(asset, 0) for asset, fee in position.fees.items()}
        lots, ticks = position.lots, self.marks.at(subject, end_ns)
        return {
            "instrument": subject, "strategy": strategy, "lots": lots, "average_ticks": position.average_ticks,
            "mark_ticks": ticks,
            **_texts(figures), "fees_by_asset": fees_text({asset: fee for asset, fee in fees.items() if fee}),
            "fills": position.fills - before.fills,
        }  # fmt: skip


def _money(position: Position, instrument: InstrumentState, mark: int) -> Figures:
    rules = instrument.rules
    assert rules is not None, "asked of defined instruments only"
    unrealised = position.unrealised(mark) if mark else 0
    parts = position.realised, unrealised, position.fee_cost, position.realised + unrealised - position.fee_cost
    return {name: money_of(value, rules) for name, value in zip(MONEY, parts)}


def _sum(all_figures: Iterable[Figures]) -> Figures:
    total = dict.fromkeys(MONEY, 0)
    for figures in all_figures:
        for name in MONEY:
            total[name] += figures[name]
    return total


def _texts(figures: Figures) -> dict[str, str]:
    return {name: decimal_text(Decimal(figures[name]).scaleb(MONEY_EXPONENT)) for name in MONEY}


def pnl(instrument: str, strategy: str | None, since: str) -> terminal.JsonObject:
    """What `mesh pnl --json` prints: by strategy and instrument, by each of them, and in all.

    Money is in the quote currency of the instrument; sums are of instruments quoted in risk.currency alone.
    """
    config = terminal.config()
    wanted = filter_of(config, instrument, strategy, since, None)
    if wanted.since_seq and not wanted.since_ns:
        wanted = wanted._replace(since_ns=_time_of(config, wanted.since_seq))
    profits = ProfitHistory(config, wanted)
    try:
        for event in account_events(config):
            profits.take(event)
        log = LogReader(config.log_dir)
        end_ns = next((event.seq_ns for event in log.events(log.last - 1)), now_ns())
        figures = profits.figures(end_ns)
        rows = [profits.row(book, one, end_ns) for book, one in sorted(figures.items())]
    except (LogError, ArchiveError) as error:
        raise terminal.Failure(str(error)) from None
    check_strategy(config, strategy, profits.history)
    units = Units(config, profits.state)
    for row in rows:
        subject, mark = row["instrument"], row.pop("mark_ticks")
        row["position"] = units.quantity(subject, row.pop("lots"))
        average = row.pop("average_ticks") * 10.0 ** units.exponents(subject)[0]
        row["average_price"] = f"{average:.12g}" if average else None
        row["mark"] = units.price(subject, mark) if mark else None
    currency = config.risk.currency
    added = {book: one for book, one in figures.items() if book[0].endswith(currency)}

    def by(place: int) -> terminal.JsonObject:
        names = sorted({book[place] for book in figures})
        chosen = figures if place == 0 else added
        return {name: _texts(_sum(one for book, one in chosen.items() if book[place] == name)) for name in names}

    return {
        "rows": rows, "instruments": by(0), "strategies": by(1), "in_all": _texts(_sum(added.values())), "currency": currency,
        "not_added": sorted({book[0] for book in figures if book not in added}), "since_ns": wanted.since_ns or None,
        "until_ns": end_ns, "last_seq": profits.history.last_seq,
    }  # fmt: skip


def _time_of(config: Config, seq: int) -> int:
    """The seq_ns of an event, from archive or log."""
    found = next((event.seq_ns for event in reader.events(config, seq - 1, seq)), None)
    if found is None:
        raise terminal.UsageFailure(f"--since {seq}: there is no event of that number")
    return found


def show(result: terminal.JsonObject) -> None:
    """Prints profit and loss for a person."""
    table = TerminalTable(box=None, header_style="bold", least=("fills", "mark", "at", "fees", "unrealised", "realised"))
    for name in ("strategy", "instrument", "position", "at", "mark", *MONEY, "fills"):
        table.add_column(name)
    for row in result["rows"]:
        held = row["position"], row["average_price"] or "-", row["mark"] or "?"
        table.add_row(row["strategy"] or "(none)", row["instrument"], *held, *_rounded(row), str(row["fills"]))
    for name, one in result["strategies"].items():
        table.add_row(name or "(none)", "in all", "", "", "", *_rounded(one), "")
    table.add_row("in all", "", "", "", "", *_rounded(result["in_all"]), "")
    terminal.out.print(table)
    if result["not_added"]:
        names = ", ".join(result["not_added"])
        terminal.out.print(
            f"Sums are in {result['currency']}, without {names}, which are quoted in something else.", markup=False
        )
    unpriced = [row["instrument"] for row in result["rows"] if row["mark"] is None and row["position"] != "0"]
    if unpriced:
        terminal.out.print(f"No price is known of {', '.join(unpriced)}: what is held there counts as nothing.", markup=False)


def _rounded(row: terminal.JsonObject) -> list[str]:
    return [f"{Decimal(row[name]):.4f}" for name in MONEY]
