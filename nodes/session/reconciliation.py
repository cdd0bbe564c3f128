"""Comparing what a session knows with what the venue knows: orders, own trades, balances, positions, fundings."""

from collections.abc import Callable, Sequence
from typing import Any

from tickmesh.bus.clock import now_ns
from tickmesh.bus.schema import Status
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.net.rest import RestError
from tickmesh.nodes.orders.states import status_of_absent
from tickmesh.nodes.session.account import Account
from tickmesh.nodes.session.account_state import SessionOrder
from tickmesh.nodes.session.asking import VenueAccount
from tickmesh.nodes.venues.order_venue import Fill, Report

POSITION_LOOKS = 3  # while fills come between question and answer; the next reconciliation looks again


class Reconciler:
    """Asks the venue what became of orders and publishes what the log does not know.

    `in_flight(order)`: whether a request about it is unanswered. `age_ns(order)`: how long ago it was sent, at least.
    `patience_ns`: for so long after it was sent, "Order does not exist" is no proof that an order will not arrive.
    `count` gets `resolved`, `rejects` and `reconciles`.
    """

    def __init__(
        self,
        account: Account,
        venue: VenueAccount,
        publish: Callable[[list[bytearray]], None],
        in_flight: Callable[[SessionOrder], bool],
        patience_ns: int,
        age_ns: Callable[[SessionOrder], int],
        count: dict[str, Any],
    ):
        self.account = account
        self.venue = venue
        self.publish = publish
        self.in_flight = in_flight
        self.patience_ns = patience_ns
        self.age_ns = age_ns
        self.count = count

    async def reconcile_all(self) -> None:
        """Compares orders, own trades, balances, positions and fundings: before the first order of a connection, and in time.

        Own trades are asked for by instrument, of those on which something of ours has moved since they were compared last; of
        those that were never compared from the first trade on: with an empty log, orders and positions are recovered.
        Raises what `VenueAccount` raises: then nothing is proven.
        """
        known = self.account.state
        reported = await self.apply_open_orders(self.account.instruments_with_orders() if known.orders else [])
        for order in self.account.unsettled_orders():
            if self.in_flight(order):
                continue
            if (order.subject, order.client_order_id) not in reported or order.fills_missing:
                await self.settle(order)
        new = {
            subject for subject in self.account.configured if not known.fills.get(subject) and subject not in known.trade_floor
        }
        for subject in sorted(self.account.moved | new):
            if (instrument := self.account.instrument(subject)) is not None:
                await self.compare_trades(subject, instrument)
        await self.compare_balances()
        await self.compare_positions()
        await self.ask_fundings()
        self.count["reconciles"] += 1

    async def compare_positions(self) -> None:
        """Compares the positions of the fills with those that the venue keeps, and notes what differs.

        Of what differs the own trades are asked for: they have every fill that the venue's answer counted. Where one was new
        the positions are asked for again, where none was the difference is somebody else's doing.
        """
        positions = self.account.positions
        for _ in range(POSITION_LOOKS):
            since = positions.changes
            reported = await self.venue.positions(self.account.instrument_of)
            if reported is None:
                return
            differing = positions.differences(reported)
            for subject in differing:
                if (instrument := self.account.instrument(subject)) is not None:
                    await self.compare_trades(subject, instrument)
            if not differing or positions.changes == since:
                positions.note(differing)
                positions.doubted = False
                return

    async def ask_fundings(self) -> None:
        """Asks for the fundings since the last known one, and publishes what is new; before our first fill none is ours."""
        fundings, first_ns = self.account.fundings, self.account.state.first_fill_ns
        if not first_ns:
            return
        fundings.due = False
        payments = await self.venue.fundings(fundings.since_ns(first_ns), self.account.instrument_of)
        self.publish(fundings.apply(payments, now_ns()))

    async def compare_balances(self) -> None:
        """Asks for what the account holds, and publishes what the log does not know, or has otherwise."""
        balances = self.account.balances
        since = balances.changes
        self.publish(balances.apply_whole(await self.venue.balances(), since, now_ns()))

    async def reconcile_unsettled(self) -> None:
        """Asks for each order that is not final or lacks fills, unless a request about it is unanswered; Unknown ones first.

        Where that costs more, all that are open are asked for instead, and one by one only those that are not among them. Where
        something has moved, for the balances too; where an order to close a position was refused, for the positions.
        """
        orders = [order for order in self.account.unsettled_orders() if not self.in_flight(order)]
        subjects = dict.fromkeys(order.subject for order in orders)
        instruments = [instrument for subject in subjects if (instrument := self.account.instrument(subject)) is not None]
        reported: set[tuple[str, str]] = set()
        questions = self.venue.dialect.questions
        if len(orders) * questions.ORDER_WEIGHT > questions.open_orders_weight(len(instruments)):
            reported = await self.apply_open_orders(instruments)
        for order in sorted(orders, key=lambda order: order.status != Status.Unknown):
            if (order.subject, order.client_order_id) not in reported or order.fills_missing:
                await self.settle(order)
        if self.account.moved:
            await self.compare_balances()
        if self.account.positions.doubted:
            await self.compare_positions()
        if self.account.fundings.due:
            await self.ask_fundings()
        self.count["reconciles"] += 1

    async def apply_open_orders(self, instruments: Sequence[Instrument]) -> set[tuple[str, str]]:
        """Asks for the open orders of these instruments and publishes what is news; gives instrument and client id of each."""
        reports, unread = await self.venue.open_orders(instruments, self.account.instrument_of)
        self.account.foreign += unread
        for report in reports:
            self.apply_report(report)
        return {(report.subject, report.client_order_id) for report in reports}

    async def settle(self, order: SessionOrder) -> None:
        """Asks the venue for one order and its missing fills. Absence is believed only when nothing can still be on its way.

        One of a symbol that the venue does not know (any more) stays as it is, and holds up no other.
        """
        try:
            await self._settle(order)
        except RestError as error:
            # that is no proof that the order is gone: a symbol may be listed again
            if error.code != self.venue.dialect.questions.NO_SUCH_SYMBOL:
                raise

    async def _settle(self, order: SessionOrder) -> None:
        instrument = self.account.instrument(order.subject)
        if instrument is None:
            return
        if not order.final:
            age_ns = self.age_ns(order)  # when it was asked
            report = await self.venue.order(instrument, order.client_order_id)
            if report is not None:
                self.apply_report(report)
            else:
                self.conclude_absent(order, age_ns)
        if order.fills_missing and order.order_id:
            fills = await self.venue.trades_of(instrument, order.order_id)
            self.publish(self.account.apply_fills(order, fills, "reconcile", now_ns()))

    def conclude_absent(self, order: SessionOrder, age_ns: int) -> None:
        """Publishes the status of an order that the venue did not know at this age: Unknown while it may arrive, else final."""
        if age_ns < self.patience_ns or self.in_flight(order):
            self.publish(self.account.apply_status(order, Status.Unknown, "the venue does not know it yet", now_ns()))
            return
        self.count["resolved"] += 1
        status = status_of_absent(order, fills_complete=order.fills_complete)
        self.count["rejects"] += status == Status.Rejected
        reason = "never reached the venue" if status == Status.Rejected else "the venue no longer knows it"
        self.publish(self.account.apply_status(order, status, reason, now_ns(), "reconcile"))

    def apply_report(self, report: Report) -> None:
        """Publishes what the venue's answer about an order adds: new fills, a new status."""
        order = self.account.order(report.client_order_id)
        if order is not None and order.subject != report.subject:
            order = None  # somebody's own of the same name: the account counts it as foreign
        was_unknown = order is not None and order.status == Status.Unknown
        quiet = order is not None and not self.in_flight(order)
        self.publish(self.account.apply_report(report, "reconcile", now_ns(), settled=quiet))
        if was_unknown and order is not None and order.status != Status.Unknown:
            self.count["resolved"] += 1

    async def compare_trades(self, subject: str, instrument: Instrument) -> None:
        """Asks for own trades of an instrument since the one up to which all are known, and publishes those that are new."""
        newest = max(self.account.state.fills.get(subject, {}).values(), default=0)
        floor = self.account.state.trade_floor.get(subject, newest)
        fills = await self.venue.trades_from(instrument, floor)  # with it: of a self-trade one side may be known
        await self.find_orders(subject, instrument, fills)
        for fill in fills:
            newest = max(newest, fill.trade_id)
            order = self.account.by_order_id.get((subject, fill.order_id))
            if order is not None:
                self.publish(self.account.apply_fills(order, [fill], "reconcile", now_ns()))
        self.account.remember_trades_complete(subject, newest)

    async def find_orders(self, subject: str, instrument: Instrument, fills: Sequence[Fill]) -> None:
        """Asks whose the orders are that these fills name and the log does not know, page by page, and adopts those of ours."""
        account = self.account
        known = account.by_order_id.keys() | account.foreign_orders
        wanted = sorted({fill.order_id for fill in fills if (subject, fill.order_id) not in known})
        while wanted:
            page = await self.venue.orders_from(instrument, wanted[0])
            for report in page:
                if report.order_id in wanted and account.claims(report.client_order_id):
                    self.publish(account.apply_report(report, "reconcile", now_ns()))
            last = page[-1].order_id if page else wanted[-1]
            for order_id in [one for one in wanted if one <= last]:
                if (subject, order_id) not in account.by_order_id:
                    account.remember_foreign(subject, order_id)
            wanted = [one for one in wanted if one > last]
