"""`mesh orders`, `mesh fills`: what the log, and before it the archive, has of this mesh's orders."""

from collections.abc import Iterable
from decimal import Decimal
from functools import cached_property

from tickmesh.bus.config import Config
from tickmesh.bus.fields import AMOUNT_EXPONENT, decimal_text, record_looks
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind, Status
from tickmesh.bus.segments import LogError
from tickmesh.nodes.executor.state import ExecutorState
from tickmesh.storage.archive.file import ArchiveError
from tickmesh.storage.query import reader
from tickmesh.tools import terminal
from tickmesh.tools.account_history import AccountHistory, FillRow, Filter, OrderRow, account_events
from tickmesh.tools.arguments import place
from tickmesh.tools.event_text import time_text
from tickmesh.tools.tables import TerminalTable

LAST, LAST_SINCE = 20, 10_000  # rows that are shown without --last: else, and with --since
ORDERS_LEAST = ("type", "average", "strategy", "order", "filled", "instrument", "side")  # of a narrow terminal these go first
FILLS_LEAST = ("trade", "order", "notional", "strategy", "as", "instrument")
_WORDS = record_looks(Kind.update)


def filter_of(config: Config, instrument: str, strategy: str | None, since: str, last: int | None) -> Filter:
    """What the options of a command ask for. Raises UsageFailure for an instrument that nothing is known of."""
    begin = place("--since", since) if since else None
    seq, ns = (begin.seq or 0, begin.ns or 0) if begin is not None else (0, 0)
    check_instrument(config, instrument)
    return Filter(instrument, strategy, seq, ns, last or (LAST_SINCE if since else LAST))


def check_instrument(config: Config, instrument: str) -> None:
    """Raises UsageFailure for an instrument that neither mesh.toml nor what was recorded has."""
    names = [one.subject for one in config.instruments]
    if not instrument or instrument in names or instrument in (one.partition(".")[2] for one in names):
        return
    if any(reader.latest(config, f"{kind}.{instrument}") is not None for kind in ("instrument", "fill", "update")):
        return
    raise terminal.UsageFailure(f"--instrument {instrument!r} is not in mesh.toml; there: {', '.join(names) or 'none'}")


def check_strategy(config: Config, strategy: str | None, history: AccountHistory) -> None:
    """Raises Failure for a strategy that mesh.toml has not and that never ordered; "" is what belongs to none."""
    names = [one.name for one in config.strategies_resolved]
    if strategy and strategy not in names and strategy not in history.strategies:
        gone = ", ".join(sorted(history.strategies - {"", *names}))
        before = f"; that ordered before: {gone}" if gone else ""
        there = ", ".join(names) or "none"
        raise terminal.Failure(
            f"mesh.toml has no strategy {strategy!r}, and none of that name ever ordered; there: {there}{before}"
        )


def history_of(config: Config, wanted: Filter, until: int | None = None) -> AccountHistory:
    """Orders and fills up to this moment, or a seq. Raises terminal.Failure with a sentence."""
    history = AccountHistory(wanted)
    try:
        for event in account_events(config, until):
            history.take(event)
    except (LogError, ArchiveError) as error:
        raise terminal.Failure(str(error)) from None
    return history


def orders(instrument: str, strategy: str | None, since: str, last: int | None, open_only: bool) -> terminal.JsonObject:
    """What `mesh orders --json` prints: open orders, then the newest that are over, in the order of their intents."""
    config = terminal.config()
    wanted = filter_of(config, instrument, strategy, since, last)
    history = history_of(config, wanted)
    check_strategy(config, strategy, history)
    units = Units(config, history.state)
    chosen = history.open_rows() if open_only else [
        row for row in history.rows.values() if wanted.has(row.subject, row.order.strategy)
    ]  # fmt: skip
    rows = [units.order(row) for row in sorted(chosen, key=lambda row: row.seq)]
    over = sum(row["status"] in OVER for row in rows)
    return {
        "orders": rows, "open": len(rows) - over, "over": history.orders_over,
        "not_shown": 0 if open_only else history.orders_over - over, "last_seq": LogReader(config.log_dir).last,
    }  # fmt: skip


def fills(instrument: str, strategy: str | None, since: str, last: int | None) -> terminal.JsonObject:
    """What `mesh fills --json` prints: the newest fills, oldest first."""
    config = terminal.config()
    history = history_of(config, filter_of(config, instrument, strategy, since, last))
    check_strategy(config, strategy, history)
    units = Units(config, history.state)
    return {
        "fills": [units.fill(row) for row in history.fills], "count": history.fills_seen,
        "not_shown": history.fills_seen - len(history.fills), "last_seq": LogReader(config.log_dir).last,
    }  # fmt: skip


OVER = frozenset(Status(code).name for code in (Status.Filled, Status.Canceled, Status.Rejected, Status.Expired))


class Units:
    """Mantissas of each instrument as decimals: exact, as text."""

    def __init__(self, config: Config, state: ExecutorState):
        self._config, self._state = config, state

    @cached_property
    def _exponents(self) -> dict[str, tuple[int, int]]:
        return {}

    def exponents(self, subject: str) -> tuple[int, int]:
        """(price_exponent, quantity_exponent) of an instrument."""
        if subject not in self._exponents:
            rules = self._state.instrument(subject).rules
            known = (rules.price_exponent, rules.quantity_exponent) if rules else reader.exponents(self._config, subject)
            self._exponents[subject] = known
        return self._exponents[subject]

    def price(self, subject: str, ticks: int) -> str:
        """A price in the quote currency."""
        return decimal_text(Decimal(ticks).scaleb(self.exponents(subject)[0]))

    def quantity(self, subject: str, lots: int) -> str:
        """A quantity in the base currency."""
        return decimal_text(Decimal(lots).scaleb(self.exponents(subject)[1]))

    def money(self, subject: str, mantissa: int) -> str:
        """Price × quantity, in the quote currency."""
        return decimal_text(Decimal(mantissa).scaleb(sum(self.exponents(subject))))

    def order(self, row: OrderRow) -> terminal.JsonObject:
        """An order as `--json` has it."""
        one, subject = row.order, row.subject
        average = Decimal(row.cost) / one.counted_lots if one.counted_lots else None
        return {
            "client_order_id": one.client_order_id, "order_id": one.order_id or None, "instrument": subject,
            "strategy": one.strategy, "status": Status(one.status).name, "side": _word("side", one.side),
            "order_type": _word("order_type", one.order_type), "time_in_force": _word("time_in_force", one.time_in_force),
            "price": self.price(subject, one.price_ticks) if one.price_ticks else None,
            "quantity": self.quantity(subject, one.quantity_lots), "filled": self.quantity(subject, one.filled_lots),
            "average_price": None if average is None else _short(average.scaleb(self.exponents(subject)[0])),
            "fees": fees_text(row.fees), "reason": row.reason, "cause_seq": one.cause_seq,
            "parent_seq": one.parent_seq or None, "seq": row.seq,
            "created_ns": one.created_ns, "updated_seq": row.updated_seq, "updated_ns": row.updated_ns,
        }  # fmt: skip

    def fill(self, row: FillRow) -> terminal.JsonObject:
        """A fill as `--json` has it."""
        subject = row.subject
        return {
            "seq": row.seq, "seq_ns": row.seq_ns, "instrument": subject, "strategy": row.strategy,
            "side": _word("side", row.side), "price": self.price(subject, row.price_ticks),
            "quantity": self.quantity(subject, row.lots), "notional": self.money(subject, row.price_ticks * row.lots),
            "fee": amount_text(row.fee), "fee_asset": row.fee_asset, "maker": row.maker, "trade_id": row.trade_id,
            "order_id": row.order_id or None, "client_order_id": row.client_order_id,
        }  # fmt: skip


def amount_text(mantissa: int) -> str:
    """An amount at 10^−8 as an exact decimal."""
    return decimal_text(Decimal(mantissa).scaleb(AMOUNT_EXPONENT))


def fees_text(fees: dict[str, int]) -> dict[str, str]:
    """Fees by asset as exact decimals."""
    return {asset: amount_text(fee) for asset, fee in sorted(fees.items())}


def _short(value: Decimal) -> str:
    """A quotient with twelve digits."""
    return decimal_text(Decimal(f"{value:.12g}"))


def _word(name: str, code: int) -> str | None:
    return _WORDS[name].word(code)


def show_orders(result: terminal.JsonObject) -> None:
    """Prints orders for a person."""
    table = TerminalTable(box=None, header_style="bold", least=ORDERS_LEAST)
    for name in ("at", "instrument", "strategy", "side", "type", "price", "quantity", "filled", "average", "status", "order"):
        table.add_column(name)
    for one in result["orders"]:
        kind = " ".join(filter(None, (one["order_type"], one["time_in_force"])))
        status = one["status"] + (f" ({one['reason']})" if one["reason"] else "")
        table.add_row(
            time_text(one["created_ns"])[:-6], one["instrument"], one["strategy"] or "-", one["side"] or "-", kind,
            one["price"] or "market", one["quantity"], one["filled"], one["average_price"] or "-", status,
            one["client_order_id"],
        )  # fmt: skip
    _print(table, result["orders"])
    terminal.out.print(f"{result['open']} open, {result['over']} over{_more(result)}", markup=False)


def show_fills(result: terminal.JsonObject) -> None:
    """Prints fills for a person."""
    table = TerminalTable(box=None, header_style="bold", least=FILLS_LEAST)
    for name in ("at", "instrument", "strategy", "side", "quantity", "price", "notional", "fee", "as", "trade", "order"):
        table.add_column(name)
    for one in result["fills"]:
        table.add_row(
            time_text(one["seq_ns"])[:-6], one["instrument"], one["strategy"] or "-", one["side"] or "-", one["quantity"],
            one["price"], one["notional"], f"{one['fee']} {one['fee_asset']}", "maker" if one["maker"] else "taker",
            str(one["trade_id"]), one["client_order_id"],
        )  # fmt: skip
    _print(table, result["fills"])
    terminal.out.print(f"{result['count']} fills{_more(result)}", markup=False)


def _print(table: TerminalTable, rows: Iterable[object]) -> None:
    if rows:
        terminal.out.print(table)


def _more(result: terminal.JsonObject) -> str:
    return f"; {result['not_shown']} older ones are not shown (--last, --since)" if result["not_shown"] else ""
