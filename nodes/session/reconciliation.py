"""Comparing what a session knows with what the venue knows: open orders, single orders, own trades, balances."""

from collections.abc import Callable, Mapping
from typing import Any

from tickmesh.bus.clock import now_ns
from tickmesh.bus.schema import Status
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.net.rest import RestError
from tickmesh.nodes.orders.states import status_of_absent
from tickmesh.nodes.session.account import Account, SessionOrder
from tickmesh.nodes.session.binance_rest import BinanceAccount
from tickmesh.nodes.venues.binance_orders import NO_SUCH_SYMBOL, Fill, Report
from tickmesh.nodes.venues.private import balance_event


class Reconciler:
    """Says what the venue's answers add. `in_flight(order)`: whether a request about it is unanswered.

    `patience_ns`: for so long after an order was sent "Order does not exist" is no proof that it will not arrive;
    `age_ns(order)`: for how long it certainly was.
    `count` gets `resolved` and `reconciles`.
    """

    def __init__(
        self,
        account: Account,
        venue: BinanceAccount,
        instruments: Mapping[str, Instrument],
        publish: Callable[[list[bytearray]], None],
        in_flight: Callable[[SessionOrder], bool],
        patience_ns: int,
        age_ns: Callable[[SessionOrder], int],
        count: dict[str, Any],
    ):
        self.account = account
        self.venue = venue
        self.instruments = instruments
        self.publish = publish
        self.in_flight = in_flight
        self.patience_ns = patience_ns
        self.age_ns = age_ns
        self.count = count

    async def everything(self) -> None:
        """Before the first order of a connection. Raises what `BinanceAccount` raises: then nothing is proven."""
        for instrument in self.instruments.values():
            for report in await self.venue.open_orders(instrument):
                self.take(report)
        for order in self.account.open():
            await self.settle(order)
        for subject, instrument in self.instruments.items():
            await self.trades(subject, instrument)
        self.publish(balance_event("binance", await self.venue.balances(), 0, now_ns()))
        self.count["reconciles"] += 1

    async def what_is_open(self) -> None:
        """Each order that is not settled, and that no request is under way for."""
        for order in self.account.open():
            if not self.in_flight(order):
                await self.settle(order)
        self.count["reconciles"] += 1

    async def settle(self, order: SessionOrder) -> None:
        """Asks for one order. Absence is believed only when nothing can still be on its way.

        One of a symbol that the venue does not know (any more) stays as it is, and holds up no other.
        """
        try:
            await self._settle(order)
        except RestError as error:
            if error.code != NO_SUCH_SYMBOL:  # no proof that the order is gone: a symbol may be listed again
                raise

    async def _settle(self, order: SessionOrder) -> None:
        instrument = self.instruments.get(order.subject)
        if instrument is None:
            return
        if not order.final:
            age_ns = self.age_ns(order)  # when it was asked
            report = await self.venue.order(instrument, order.client_order_id)
            if report is not None:
                self.take(report)
            else:
                self.absent(order, age_ns)
        if order.fills_missing and order.order_id:
            fills = await self.venue.trades_of(instrument, order.order_id)
            self.publish(self.account.fills(order, fills, "reconcile", now_ns()))

    def absent(self, order: SessionOrder, age_ns: int) -> None:
        """The venue said that it has no such order, when `age_ns` had passed since it was sent."""
        if age_ns < self.patience_ns or self.in_flight(order):
            self.publish(self.account.tell(order, Status.Unknown, "the venue does not know it yet", now_ns()))
            return
        self.count["resolved"] += 1
        status = status_of_absent(order, fills_complete=order.fills_complete)
        self.count["rejects"] += status == Status.Rejected
        reason = "never reached the venue" if status == Status.Rejected else "the venue no longer knows it"
        self.publish(self.account.tell(order, status, reason, now_ns(), "reconcile"))

    def take(self, report: Report) -> None:
        order = self.account.order(report.client_order_id)
        was_unknown = order is not None and order.status == Status.Unknown
        quiet = order is not None and not self.in_flight(order)
        self.publish(self.account.report(report, "reconcile", now_ns(), cancel_failed=quiet))
        if was_unknown and order is not None and order.status != Status.Unknown:
            self.count["resolved"] += 1

    async def trades(self, subject: str, instrument: Instrument) -> None:
        """Own trades since the last time that all of them were known; else since the newest known one."""
        known = self.account.state.fills.get(subject)
        if not known:
            return  # each order's fills are compared with its filled quantity in `settle`
        newest = max(known.values())
        floor = self.account.state.trade_floor.get(subject, newest)
        for fill in await self.venue.trades_from(instrument, floor):  # with it: of a self-trade one side may be known
            newest = max(newest, fill.trade_id)
            self.traded(fill)
        self.account.complete_trades(subject, newest)

    def traded(self, fill: Fill) -> None:
        order = self.account.by_order_id.get(fill.order_id)
        if order is None:
            self.account.foreign += 1
        else:
            self.publish(self.account.fills(order, [fill], "reconcile", now_ns()))
