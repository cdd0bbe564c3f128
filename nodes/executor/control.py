"""Who may trade now: strategies that are switched, limits that are tightened, losses, and the kill switch. No I/O.

All of it follows from the log: what a person orders are `command` events, and a breached limit publishes one of its own.
"""

from tickmesh.bus.schema import Kind
from tickmesh.bus.settings_trading import ACCOUNT
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.executor.intents import Answers
from tickmesh.nodes.executor.ordering import Ordering
from tickmesh.nodes.executor.state import Closing, ExecutorState, InstrumentState, Stopping
from tickmesh.nodes.executor.traders import AccountLimits, Trader, limit_error
from tickmesh.nodes.orders.commands import (
    CancelOrders,
    Command,
    Flatten,
    KillSwitch,
    SetLimit,
    SwitchStrategy,
    content_of,
    read_command,
)

CLOSE_NS = 30_000_000_000  # a person who has positions closed is told by then why one is not


class TradingControl:
    """Applies commands to an executor's state, and watches its losses. `name`: the executor's, under which it publishes."""

    def __init__(
        self,
        name: str,
        state: ExecutorState,
        traders: dict[str, Trader],
        account: AccountLimits,
        ordering: Ordering,
        answers: Answers,
    ):
        self._name = name
        self._state = state
        self._traders = traders
        self._account = account
        self._ordering = ordering
        self._answers = answers

    def on_command(self, event: Event) -> None:
        """A command of the log; one that means nothing here is counted."""
        try:
            command = read_command(event.map())
            if reason := self._unknown(command):
                raise ValueError(reason)
        except ValueError:
            self._state.commands_refused += 1
            return
        self._apply(command, event)

    def _unknown(self, command: Command) -> str:
        """Why it means nothing to these settings."""
        scopes = {ACCOUNT, *self._traders}
        if isinstance(command, SwitchStrategy) and command.name not in self._traders:
            return f"no strategy {command.name}"
        if isinstance(command, SetLimit):
            return f"no scope {command.scope}" if command.scope not in scopes else limit_error(command.limit, command.value)
        return ""

    def _apply(self, command: Command, event: Event) -> None:
        if isinstance(command, SwitchStrategy):
            self._switch(command, event)
        elif isinstance(command, SetLimit):
            self._tighten(command)
        elif isinstance(command, CancelOrders):
            self._cancel(command, event)
        elif isinstance(command, Flatten):
            self._flatten(command, event)
        else:
            self._kill(command, event)

    def _switch(self, command: SwitchStrategy, event: Event) -> None:
        status = self._state.strategies[command.name]
        self._state.stopping.pop(command.name, None)
        if command.state == "live" and status.state != "live":
            status.losses.begin_anew(self._ordering.exposures.profit(command.name))
        status.state, status.why = command.state, command.why or f"{command.by} has switched it"
        if command.state != "live":
            self._cancel_all(event, command.name)

    def _tighten(self, command: SetLimit) -> None:
        values = self._state.tightened.setdefault(command.scope, {})
        values.pop(command.limit, None)
        if command.value:
            values[command.limit] = command.value
        (self._account if command.scope == ACCOUNT else self._traders[command.scope]).tighten(values)

    def _kill(self, command: KillSwitch, event: Event) -> None:
        kill = self._state.kill
        self._state.stopping.pop(ACCOUNT, None)
        if command.on:
            if not kill.on:
                kill.on, kill.since_ns, kill.by, kill.why = True, event.seq_ns, command.by, command.why
            self._cancel_all(event, "")
        elif kill.on:
            kill.on, kill.since_ns, kill.by, kill.why = False, event.seq_ns, command.by, command.why
            self._state.losses.begin_anew(self._ordering.exposures.profit(None))

    def _cancel(self, command: CancelOrders, event: Event) -> None:
        """Orders that are on their way to the log are cancelled as soon as they are in it."""
        for subject, instrument in self._state.instruments.items():
            if command.instrument not in ("", subject):
                continue
            if not command.order:
                self._ordering.recall_parents(instrument, command.strategy)
            for order in instrument.orders.values():
                named = command.order in ("", order.client_order_id) and command.strategy in ("", order.strategy)
                if named and not order.final:
                    order.recalled = True
                    self._ordering.recall_parent(instrument, order)
                    self._ordering.cancel_now(subject, (order,) if order.confirmed else (), event.seq_ns)

    def _flatten(self, command: Flatten, event: Event) -> None:
        """Until the positions are closed nothing else is ordered there; after CLOSE_NS it is given up."""
        self._cancel(CancelOrders(command.by, "", command.instrument, command.strategy), event)
        for subject, instrument in self._state.instruments.items():
            if command.instrument not in ("", subject):
                continue
            for name, book in instrument.books.items():
                if command.strategy in ("", name) and (book.position.lots or self._has_orders(instrument, name)):
                    instrument.closing[name] = Closing(event.seq_ns + CLOSE_NS)
                    instrument.flatten_ns = 0

    def _has_orders(self, instrument: InstrumentState, strategy: str) -> bool:
        return any(one.strategy == strategy and self._ordering.is_ours(one) for one in instrument.orders.values())

    def close(self, instrument: InstrumentState, event: Event) -> None:
        """Goes on with closing positions of an instrument, on its quote."""
        for name in self._ordering.flatten(instrument, event, instrument.closing):
            del instrument.closing[name]

    def _cancel_all(self, event: Event, strategy: str) -> None:
        """Every order of a strategy, "": of all, is cancelled now."""
        for subject, instrument in self._state.instruments.items():
            orders = [one for one in instrument.orders.values() if not one.final and strategy in ("", one.strategy)]
            self._ordering.cancel_now(subject, orders, event.seq_ns)
            for name, book in instrument.books.items():
                if strategy in ("", name):
                    book.target_until_ns = 0

    def stopped(self, strategy: str) -> bool:
        """Whether no order of this strategy may stand."""
        status = self._state.strategies.get(strategy)
        return self._state.kill.on or (status is not None and status.state != "live")

    def heeds_marks(self) -> bool:
        """Whether `watch_losses` can come to anything before the next event but a quote: of nothing held, no profit changes."""
        state = self._state
        limited: tuple[Trader | AccountLimits, ...] = (*self._traders.values(), self._account)
        instruments = state.instruments.values()
        if state.stopping or any(one.closing for one in instruments):
            return True
        if not any(one.daily_loss_max or one.drawdown_max for one in limited):
            return False
        return any(one.position.lots or any(book.position.lots for book in one.books.values()) for one in instruments)

    def watch_losses(self, event: Event) -> bool:
        """Compares what strategies and account have lost with their limits; who is beyond them is stopped, by a command.

        Gives whether other scopes than before are being stopped.
        """
        state, profit = self._state, self._ordering.exposures.profit
        before = set(state.stopping)
        for instrument in state.instruments.values():
            instrument.mark_ticks = instrument.mark()
            if instrument.closing:
                instrument.closing = {k: one for k, one in instrument.closing.items() if event.seq_ns < one.until_ns}
        for name, trader in self._traders.items():
            status, gained = state.strategies[name], profit(name)
            status.losses.follow(gained, event.seq_ns)
            why = status.losses.breach(gained, trader.daily_loss_max, trader.drawdown_max)
            if not why:
                state.stopping.pop(name, None)
            if why and status.state == "live":
                self._stop(name, SwitchStrategy(name, "off", self._name, why), event)
        gained = profit(None)
        state.losses.follow(gained, event.seq_ns)
        why = state.losses.breach(gained, self._account.daily_loss_max, self._account.drawdown_max)
        if not why:
            state.stopping.pop(ACCOUNT, None)
        if why and not state.kill.on:
            self._stop(ACCOUNT, KillSwitch(True, self._name, why), event)
        return before != set(state.stopping)

    def _stop(self, scope: str, command: Command, event: Event) -> None:
        """Publishes a command of our own. It holds when it is read in the log; until then the scope orders nothing.

        Where it does not come (limits that are new are held against a past in which they were not) it is published again, ever
        more rarely: what counts is whether the limit is breached now.
        """
        stopping, now_ns = self._state.stopping, event.seq_ns
        before = stopping.get(scope)
        if before is not None and now_ns < before.until_ns:
            return
        pause_ns = self._ordering.stale_ns if before is None else 2 * before.pause_ns
        stopping[scope] = Stopping(now_ns + pause_ns, pause_ns)
        place = self._answers.place(event, self._name, self._state.log_id)
        self._answers.add(encode(Kind.command, place.subject, content_of(command), k=place.k, cause_seq=place.cause_seq))
