"""Signed questions about one Binance spot account over REST. "Trading endpoints", "Account endpoints" of the API pages."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.settings import Instrument
from tickmesh.nodes.net.budget import RequestBudget
from tickmesh.nodes.net.exchange_address import Endpoints
from tickmesh.nodes.net.rest import Rest, RestError, RestUnreachable
from tickmesh.nodes.net.venue_clock import VenueTime
from tickmesh.nodes.net.waits import Waits
from tickmesh.nodes.session.credentials import Credentials
from tickmesh.nodes.venues import binance
from tickmesh.nodes.venues import binance_orders as venue
from tickmesh.nodes.venues import binance_signing as signing
from tickmesh.nodes.venues.binance_orders import Fill, Report
from tickmesh.nodes.venues.parsing.dialect import FrameError
from tickmesh.nodes.venues.private import Reported

TRADES_PAGE = ORDERS_PAGE = 1000  # the venue's largest page
# Request weights of the questions below ("IP Limits" of each endpoint's page)
ORDER_WEIGHT = 4
OPEN_WEIGHT, OPEN_WEIGHT_ALL = 6, 80  # of one symbol; of the whole account
TRADES_WEIGHT, TRADES_WEIGHT_OF_ORDER = 20, 5
ACCOUNT_WEIGHT = 20
ALL_ORDERS_WEIGHT = 20
CANCEL_WEIGHT = 1


def open_orders_weight(instruments: int) -> int:
    """What the question after the open orders of so many instruments costs: one by one, or all of the account at once."""
    return min(instruments * OPEN_WEIGHT, OPEN_WEIGHT_ALL)


class OpenOrder(NamedTuple):
    """An order that is open at the venue, whoever's: as much as it takes to cancel it."""

    symbol: str
    order_id: int
    client_order_id: str


class BinanceAccount:
    """Asks the venue about the account of one API key: each method is one question, and asks once `budget` allows.

    Raises RestError, RestUnreachable; DecimalError or msgspec.DecodeError for an answer that means nothing. `endpoints` has to
    be set before the first question. `ca`: a file of certificates to trust beside the system's.
    """

    def __init__(
        self,
        credentials: Credentials,
        recv_window_ms: int,
        timeout_s: float,
        venue_time: VenueTime,
        budget: RequestBudget,
        ca: Path | None = None,
        waits: Waits | None = None,
    ):
        self.budget = budget
        self._sign = credentials.sign
        self._recv_window_ms = recv_window_ms
        self._venue_time = venue_time
        self.rest = Rest(binance.REST_RULES, timeout_s, credentials.api_key, ca=ca, waits=waits)
        self.endpoints = Endpoints("", "")

    async def _get(self, path: str, weight: int, **parameters: object) -> bytes:
        return await self._ask(self.rest.get, path, weight, parameters)

    async def _ask(
        self, method: Callable[[str, str, str], Awaitable[bytes]], path: str, weight: int, parameters: Mapping[str, object]
    ) -> bytes:
        await self.budget.spend(weight)
        query = signing.signed_query(parameters, self._sign, self._venue_time.now_ms(), self._recv_window_ms)
        try:
            return await method(self.endpoints.rest, path, query)
        except RestError as error:
            if error.code == venue.WRONG_TIME:
                self._venue_time.wrong()
            raise
        finally:
            self.budget.observe_used(self.rest.used_weight)

    async def _rows(self, path: str, weight: int, **parameters: object) -> bytes:
        """A list of something of one symbol: of one that the venue does not know, the empty one."""
        try:
            return await self._get(path, weight, **parameters)
        except RestError as error:
            if error.code != venue.NO_SUCH_SYMBOL:
                raise
            return b"[]"

    async def time_ns(self) -> int | None:
        """The time of the venue's clock; None where it did not answer."""
        try:
            return binance.decode_clock(await self.rest.get(self.endpoints.rest, binance.clock().path))
        except (RestError, RestUnreachable, FrameError):
            return None

    async def order(self, instrument: Instrument, client_order_id: str) -> Report | None:
        """The state of one order; None when the venue answers that it has none of this client id (now)."""
        try:
            body = await self._get("/api/v3/order", ORDER_WEIGHT, symbol=instrument.symbol, origClientOrderId=client_order_id)
        except RestError as error:
            if error.code == venue.NO_SUCH_ORDER:
                return None
            raise
        return venue.report_of_order(venue.decode_order(body), instrument, client_order_id)

    async def open_orders(
        self, instruments: Sequence[Instrument], instrument_of: Callable[[str], Instrument | None]
    ) -> tuple[list[Report], int]:
        """The states of the orders of these instruments that are open at the venue, ours or not; how many could not be read.

        Asked for one by one, or all of the account in one question where that costs less, or none are named: then others of the
        account are among them, as far as `instrument_of` knows their symbols.
        """
        if not instruments or open_orders_weight(len(instruments)) == OPEN_WEIGHT_ALL:
            bodies = [await self._get("/api/v3/openOrders", OPEN_WEIGHT_ALL)]
        else:
            bodies = [await self._rows("/api/v3/openOrders", OPEN_WEIGHT, symbol=one.symbol) for one in instruments]
        rows = [order for body in bodies for order in venue.decode_orders(body)]
        known = [(order, instrument) for order in rows if (instrument := instrument_of(order.symbol)) is not None]
        return [venue.report_of_order(order, instrument) for order, instrument in known], len(rows) - len(known)

    async def every_open_order(self) -> list[OpenOrder]:
        """What is open on the account, ours or not, of any symbol."""
        rows = venue.decode_orders(await self._get("/api/v3/openOrders", OPEN_WEIGHT_ALL))
        return [OpenOrder(row.symbol, row.orderId, row.clientOrderId) for row in rows]

    async def cancel(self, symbol: str, order_id: int) -> bool:
        """Cancels one order by the venue's id of it; False when the venue answers that it is over, or was never there."""
        try:
            await self._ask(self.rest.delete, "/api/v3/order", CANCEL_WEIGHT, {"symbol": symbol, "orderId": order_id})
        except RestError as error:
            if error.code not in (venue.NO_SUCH_ORDER, venue.CANCEL_REJECTED):
                raise
            return False
        return True

    async def orders_from(self, instrument: Instrument, order_id: int) -> list[Report]:
        """The orders of an instrument, open or over, with a venue's id ≥ `order_id`: one page, in the order of their ids."""
        body = await self._rows(
            "/api/v3/allOrders", ALL_ORDERS_WEIGHT, symbol=instrument.symbol, orderId=order_id, limit=ORDERS_PAGE
        )
        return [venue.report_of_order(order, instrument) for order in venue.decode_orders(body)]

    async def trades_of(self, instrument: Instrument, order_id: int) -> list[Fill]:
        """The fills of one order, by the venue's id of it: all of them, however many pages they are."""
        return await self._trades(instrument, 0, TRADES_WEIGHT_OF_ORDER, orderId=order_id)

    async def trades_from(self, instrument: Instrument, from_id: int) -> list[Fill]:
        """The fills of an instrument with a trade id ≥ `from_id`."""
        return await self._trades(instrument, from_id, TRADES_WEIGHT)

    async def _trades(self, instrument: Instrument, from_id: int, weight: int, **more: object) -> list[Fill]:
        """Page by page. The next one begins with the last id of the one before: of a self-trade, which is two own trades of one
        id, the other may be there. So what is at a seam comes twice."""
        fills: list[Fill] = []
        while True:
            parameters = {"symbol": instrument.symbol, "fromId": from_id, "limit": TRADES_PAGE, **more}
            body = await self._rows("/api/v3/myTrades", weight, **parameters)
            page = [venue.fill_of_trade(trade, instrument) for trade in venue.decode_trades(body)]
            fills += page
            if len(page) < TRADES_PAGE:
                return fills
            newest = max(fill.trade_id for fill in page)
            from_id = newest if newest > from_id else newest + 1

    async def balances(self) -> list[Reported]:
        """What the account holds of every asset of which it has any."""
        account = venue.decode_account(await self._get("/api/v3/account", ACCOUNT_WEIGHT))
        return [Reported(b.asset, b.free, b.locked) for b in account.balances if (b.free + b.locked).strip("0.")]
