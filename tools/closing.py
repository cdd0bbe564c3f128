"""`mesh cancel`, `mesh flatten`: a command in the log, carried out by the executor; waits until it is done, or says why not."""

import time
from collections.abc import Callable, Iterator

from tickmesh.bus.config import Config
from tickmesh.bus.layout import record_struct
from tickmesh.bus.log import LogReader
from tickmesh.bus.names import OPERATOR
from tickmesh.bus.schema import Kind, Status
from tickmesh.bus.wire import Event
from tickmesh.nodes.executor.intents import is_own_id
from tickmesh.nodes.executor.ordering import closable
from tickmesh.nodes.executor.session_word import SessionWord
from tickmesh.nodes.executor.state import InstrumentState
from tickmesh.nodes.orders.accounts import is_session, session_name
from tickmesh.nodes.orders.commands import CancelOrders, Flatten, content_of
from tickmesh.nodes.process_table import hosted, name_of
from tickmesh.tools import terminal
from tickmesh.tools.account_history import AccountHistory, Filter, OrderRow
from tickmesh.tools.commanding import publish_command
from tickmesh.tools.orders import Units, check_instrument, history_of
from tickmesh.tools.running import living
from tickmesh.tools.tables import TerminalTable
from tickmesh.tools.trading import trading_config

LOOK_S = 0.05
NO_POSITION = ": the venue has no such position, somebody else has closed it (alert position_differs)"
EVERYTHING = 1_000_000  # orders that are over, which a history is to keep: they were open a moment ago
QUOTE = record_struct(Kind.quote, "bid_ticks", "bid_lots", "ask_ticks", "ask_lots")
Subject = str
Pair = tuple[Subject, str]  # (instrument, strategy)


def cancel(order: str, instrument: str, strategy: str, why: str, timeout_s: float) -> terminal.JsonObject:
    """Cancels orders and waits for the venue's word. Gives what `--json` prints. Raises terminal.Failure."""
    config = trading_config()
    wanted = _scope(config, instrument, strategy)
    if order:
        _check_order(history_of(config, Filter(last=EVERYTHING)), order)
    subject = _full_name(config, instrument)
    command = CancelOrders(OPERATOR, order, subject, strategy, why)
    seq = publish_command(config, command)
    follower = AccountFollower(config, seq)
    rows = [row for row in follower.history.open_rows(wanted) if order in ("", row.order.client_order_id)]
    ours = [row for row in rows if is_own_id(row.order.client_order_id)]
    left = follower.wait(lambda: [row for row in ours if not row.order.final], timeout_s)
    units = Units(config, follower.history.state)
    return {
        "seq": seq, **content_of(command), "ok": not left, "why_not": _why_not(config, left) if left else "",
        "orders": [_order(units, row) for row in ours], "not_ours": len(rows) - len(ours),
    }  # fmt: skip


def flatten(instrument: str, strategy: str, why: str, timeout_s: float) -> terminal.JsonObject:
    """Cancels orders, closes positions, waits for both. Gives what `--json` prints. Raises terminal.Failure."""
    config = trading_config()
    wanted = _scope(config, instrument, strategy)
    command = Flatten(OPERATOR, _full_name(config, instrument), strategy, why)
    seq = publish_command(config, command)
    follower = AccountFollower(config, seq)
    begun = _held(follower.history, wanted)
    open_now = {(row.subject, row.order.strategy) for row in follower.history.open_rows(wanted)}
    pairs = sorted(open_now | {pair for pair, lots in begun.items() if lots})
    closed: set[Pair] = set()

    def left() -> list[Pair]:
        closed.update(pair for pair in pairs if follower.is_flat(pair))
        return [pair for pair in pairs if pair not in closed]

    remaining = follower.wait(left, timeout_s)
    units, now = Units(config, follower.history.state), _held(follower.history, wanted)
    rows = [
        {
            "instrument": subject, "strategy": name, "closed": (subject, name) in closed,
            "before": units.quantity(subject, begun.get((subject, name), 0)),
            "left": units.quantity(subject, now.get((subject, name), 0)),
            "why_not": "" if (subject, name) in closed else follower.reasons.get(subject, {}).get(name, ""),
            "note": NO_POSITION if follower.is_gone((subject, name)) else "",
        }
        for subject, name in pairs
    ]  # fmt: skip
    why_not = _why_not(config, remaining) if remaining else ""
    return {"seq": seq, **content_of(command), "ok": not remaining, "why_not": why_not, "positions": rows}


class AccountFollower:
    """The account as the log has it at a command, and from there on."""

    def __init__(self, config: Config, seq: int):
        self._config = config
        self.history = history_of(config, Filter(last=EVERYTHING, since_seq=seq), seq)
        self._after = seq
        self.reasons: dict[str, dict[str, str]] = {}  # why a position is not closed, as the executor said last
        self.words: dict[str, SessionWord] = {}  # by session

    def wait(self, left: Callable[[], list[OrderRow]] | Callable[[], list[Pair]], timeout_s: float) -> list[object]:
        """Follows the log until nothing is left, for so long at most; gives what is left."""
        deadline = time.monotonic() + timeout_s
        while remaining := left():
            for event in self._new_events():
                self._take(event)
                if not (remaining := left()):
                    return []
            if time.monotonic() > deadline:
                return list(remaining)
            time.sleep(LOOK_S)
        return []

    def _new_events(self) -> Iterator[Event]:
        for event in LogReader(self._config.log_dir).events(self._after):
            self._after = event.seq
            yield event

    def _take(self, event: Event) -> None:
        if event.kind == Kind.quote:
            if (known := self.history.state.instruments.get(event.subject)) is not None:
                known.quote = QUOTE.unpack_from(event.raw, -QUOTE.size)
        elif event.kind == Kind.health and event.subject == "executor":
            self.reasons |= event.map().get("closing", {})
        elif event.kind == Kind.health and is_session(event.producer):
            self.words.setdefault(event.producer, SessionWord()).read_health(event.map(), event.seq_ns)
        else:
            self.history.take(event)

    def is_gone(self, pair: Pair) -> bool:
        """Whether the log has a position that the venue has said it has not."""
        subject, name = pair
        word = self.words.get(session_name(subject.partition(".")[0]), SessionWord())
        return is_gone(subject, self.history.state.instrument(subject), name, word)

    def is_flat(self, pair: Pair) -> bool:
        """Whether none of its orders is open, and the venue takes no order that would close more, or has nothing to close."""
        subject, name = pair
        instrument = self.history.state.instrument(subject)
        if any(is_own_id(one.client_order_id) for one in instrument.orders.values() if one.strategy == name):
            return False
        if self.is_gone(pair):
            return True
        if instrument.rules is None:
            return not instrument.book(name).position.lots
        lots, bid = abs(closable(subject, instrument.book(name), instrument.rules)), instrument.quote[0]
        return not lots or (bid > 0 and not instrument.rules.takes(instrument.rules.whole(lots), bid))


def is_gone(subject: Subject, instrument: InstrumentState, strategy: str, word: SessionWord) -> bool:
    """Whether a strategy has a position by the log, all of which its account has, and the venue says that there is none."""
    lots = instrument.book(strategy).position.lots
    side = 1 if lots < 0 else -1
    return 0 < -side * lots <= -side * instrument.position.lots and word.has_none_to_close(subject, side)


def _held(history: AccountHistory, wanted: Filter) -> dict[Pair, int]:
    """Positions in lots, by instrument and strategy."""
    return {
        (subject, name): book.position.lots
        for subject, instrument in history.state.instruments.items()
        for name, book in instrument.books.items()
        if wanted.has(subject, name)
    }


def _scope(config: Config, instrument: str, strategy: str) -> Filter:
    check_instrument(config, instrument)
    wanted = Filter(instrument, strategy or None)
    names = [one.name for one in config.strategies_resolved]
    if strategy and strategy not in names:
        history = history_of(config, Filter())  # one that mesh.toml has no more can have something, and the executor ends it
        if not history.open_rows(wanted) and not any(_held(history, wanted).values()):
            raise terminal.UsageFailure(
                f"mesh.toml has no strategy {strategy!r}, and none of that name has a position or an open order; "
                f"there: {', '.join(names) or 'none'}"
            )
    return wanted


def _full_name(config: Config, instrument: str) -> Subject:
    """`binance.BTCUSDT` of `BTCUSDT`. Raises UsageFailure where several venues have it."""
    found = [one.subject for one in config.instruments if instrument in (one.subject, one.symbol)]
    if len(found) > 1:
        raise terminal.UsageFailure(f"--instrument {instrument!r} is of several venues; say one of {', '.join(found)}")
    return found[0] if found else instrument


def _check_order(history: AccountHistory, order: str) -> None:
    """Raises UsageFailure for an order that cannot be cancelled."""
    row = history.rows.get(order)
    if row is None:
        raise terminal.UsageFailure(f"the log has no open order {order!r}; `mesh orders --open` shows those that there are")
    if row.order.final:
        raise terminal.UsageFailure(f"order {order} is over: {Status(row.order.status).name} at seq {row.updated_seq}")
    if not is_own_id(order):
        raise terminal.Failure(f"order {order} was not placed by a mesh: whoever placed it cancels it")


def _order(units: Units, row: OrderRow) -> terminal.JsonObject:
    shown = units.order(row)
    return {name: shown[name] for name in ("client_order_id", "instrument", "strategy", "side", "quantity", "filled", "status")}


def _why_not(config: Config, left: list[object]) -> str:
    """Why something was not done in time, as far as it can be seen from outside."""
    alive = set(living(config.root))
    if "sequencer" in alive:
        alive |= {name_of(*one) for one in hosted(config)}
    away = [name for name in ("executor", "session") if name not in alive]
    what = f"{len(left)} not done yet"
    if away:
        return f"{what}: {' and '.join(away)} not running; orders are cancelled as soon as that is back (`mesh up` starts it)"
    return f"{what}; the executor goes on with it (`mesh orders --open`, `mesh positions`; run/logs/session.log)"


def show_cancel(result: terminal.JsonObject) -> None:
    """Prints for a person what became of the orders."""
    for one in result["orders"]:
        line = f"{one['client_order_id']}: {one['status']}, {one['filled']} of {one['quantity']} filled ({one['instrument']})"
        terminal.out.print(line, markup=False)
    if not result["orders"]:
        terminal.out.print("No such order was open. What is on its way to the log is cancelled when it is there.")
    if result["not_ours"]:
        terminal.out.print(f"{result['not_ours']} open orders of somebody else were left alone.")


def show_flatten(result: terminal.JsonObject) -> None:
    """Prints for a person what became of the positions."""
    if not result["positions"]:
        terminal.out.print("Nothing was held and no order was open.")
        return
    table = TerminalTable(box=None, header_style="bold")
    for name in ("instrument", "strategy", "held", "left", "is"):
        table.add_column(name)
    for row in result["positions"]:
        state = f"closed{row['note']}" if row["closed"] else f"open: {row['why_not'] or 'no word of it yet'}"
        table.add_row(row["instrument"], row["strategy"] or "(none)", row["before"], row["left"], state)
    terminal.out.print(table)
