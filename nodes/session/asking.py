"""Signed questions about one account over REST, whatever the venue: each waits for the budget, and is asked page by page."""

from collections.abc import Sequence
from pathlib import Path

from tickmesh.bus.settings import Instrument
from tickmesh.nodes.net.budget import RequestBudget
from tickmesh.nodes.net.exchange_address import Endpoints
from tickmesh.nodes.net.rest import Rest, RestError, RestUnreachable
from tickmesh.nodes.net.venue_clock import VenueTime
from tickmesh.nodes.net.waits import Waits
from tickmesh.nodes.session.credentials import Credentials
from tickmesh.nodes.venues.order_venue import (
    Fill,
    FundingPayment,
    InstrumentOf,
    OrderDialect,
    OrderRequest,
    Report,
    Reported,
)
from tickmesh.nodes.venues.parsing.dialect import FrameError, Request
from tickmesh.nodes.venues.table import adapter_of


class VenueAccount:
    """Asks the venue about the account of one API key: each method is one question, and asks once `budget` allows.

    Raises RestError, RestUnreachable; DecimalError or msgspec.DecodeError for an answer that means nothing. `endpoints` has to
    be set before the first question. `ca`: a file of certificates to trust beside the system's.
    """

    def __init__(
        self,
        dialect: OrderDialect,
        credentials: Credentials,
        recv_window_ms: int,
        timeout_s: float,
        venue_time: VenueTime,
        budget: RequestBudget,
        ca: Path | None = None,
        waits: Waits | None = None,
    ):
        self.dialect = dialect
        self.budget = budget
        self._questions = dialect.questions
        self._adapter = adapter_of(dialect.venue)
        self._key = credentials
        self._recv_window_ms = recv_window_ms
        self._venue_time = venue_time
        self.rest = Rest(self._adapter.REST_RULES, timeout_s, credentials.api_key, ca=ca, waits=waits)
        self.endpoints = Endpoints("", "")

    async def _get(self, request: Request) -> bytes:
        await self.budget.spend(request.weight)
        query = self._questions.signed_query(request, self._key, self._venue_time.now_ms(), self._recv_window_ms)
        try:
            return await self.rest.get(self.endpoints.rest, request.path, query)
        except RestError as error:
            if error.code == self.dialect.orders.WRONG_TIME:
                self._venue_time.wrong()
            raise
        finally:
            self.budget.observe_used(self.rest.used_weight)

    async def send(self, request: OrderRequest) -> bytes:
        """The answer to a request of the order socket, over REST: now, for it costs nothing of the budget when it succeeds."""
        verb, path = self.dialect.orders.REST_ORDERS[request.method]
        signed = self._questions.signed_query(
            Request(path, dict(request.params)), self._key, self._venue_time.now_ms(), self._recv_window_ms
        )
        return await self.rest.send(verb, self.endpoints.rest, path, signed)

    async def _rows(self, request: Request) -> bytes:
        """A list of something of one symbol: of one that the venue does not know, the empty one."""
        try:
            return await self._get(request)
        except RestError as error:
            if error.code != self._questions.NO_SUCH_SYMBOL:
                raise
            return b"[]"

    async def time_ns(self) -> int | None:
        """The time of the venue's clock; None where it did not answer."""
        try:
            return self._adapter.decode_clock(await self.rest.get(self.endpoints.rest, self._adapter.clock().path))
        except (RestError, RestUnreachable, FrameError):
            return None

    async def order(self, instrument: Instrument, client_order_id: str) -> Report | None:
        """The state of one order; None when the venue answers that it has none of this client id (now)."""
        try:
            body = await self._get(self._questions.order(instrument, client_order_id))
        except RestError as error:
            if error.code == self._questions.NO_SUCH_ORDER:
                return None
            raise
        return self._questions.read_order(body, instrument, client_order_id)

    async def open_orders(self, instruments: Sequence[Instrument], instrument_of: InstrumentOf) -> tuple[list[Report], int]:
        """The states of the orders of these instruments that are open at the venue, ours or not; how many could not be read.

        Asked for one by one, or all of the account in one question where that costs less, or none are named: then others of the
        account are among them, as far as `instrument_of` knows their symbols.
        """
        reports: list[Report] = []
        unread = 0
        for request in self._questions.open_orders(instruments):
            found, unknown = self._questions.read_open_orders(await self._rows(request), instrument_of)
            reports += found
            unread += unknown
        return reports, unread

    async def every_open_id(self) -> list[tuple[str, str]]:
        """(symbol, client id) of every order that is open on the account, ours or not."""
        bodies = [await self._get(request) for request in self._questions.open_orders([])]
        return [row for body in bodies for row in self._questions.read_open_ids(body)]

    async def cancel(self, symbol: str, client_order_id: str) -> bool:
        """Cancels one order over REST; False when the venue answers that it is over, or was never there."""
        try:
            await self.send(self.dialect.orders.cancel(symbol, client_order_id))
        except RestError as error:
            if error.code not in (self._questions.NO_SUCH_ORDER, self._questions.CANCEL_REJECTED):
                raise
            return False
        return True

    async def orders_from(self, instrument: Instrument, order_id: int) -> list[Report]:
        """The orders of an instrument, open or over, with a venue's id ≥ `order_id`: one page, in the order of their ids."""
        body = await self._rows(self._questions.orders_from(instrument, order_id))
        return self._questions.read_orders(body, instrument)

    async def trades_of(self, instrument: Instrument, order_id: int) -> list[Fill]:
        """The fills of one order, by the venue's id of it: all of them, however many pages they are."""
        return await self._trades(instrument, 0, order_id)

    async def trades_from(self, instrument: Instrument, from_id: int) -> list[Fill]:
        """The fills of an instrument with a trade id ≥ `from_id`."""
        return await self._trades(instrument, from_id, 0)

    async def _trades(self, instrument: Instrument, from_id: int, order_id: int) -> list[Fill]:
        """Page by page. The next one begins with the last id of the one before: of a self-trade, which is two own trades of one
        id, the other may be there. So what is at a seam comes twice."""
        fills: list[Fill] = []
        while True:
            body = await self._rows(self._questions.trades(instrument, from_id, order_id))
            page = self._questions.read_trades(body, instrument)
            fills += page
            if len(page) < self._questions.PAGE:
                return fills
            newest = max(fill.trade_id for fill in page)
            from_id = newest if newest > from_id else newest + 1

    async def balances(self) -> list[Reported]:
        """What the account holds of every asset of which it has any."""
        return self._questions.read_balances(await self._get(self._questions.balances()))

    async def unfit(self) -> str:
        """Why no orders can be sent as the account is set at the venue, a sentence; "" where they can."""
        request = self._questions.fitness()
        return "" if request is None else self._questions.read_fitness(await self._get(request))

    async def positions(self, instrument_of: InstrumentOf) -> dict[str, int] | None:
        """The positions that the venue keeps, subject → lots; None where it keeps none."""
        request = self._questions.positions()
        return None if request is None else self._questions.read_positions(await self._get(request), instrument_of)

    async def fundings(self, since_ns: int, instrument_of: InstrumentOf) -> list[FundingPayment]:
        """The fundings of the account from a time of the venue on, page by page."""
        payments: list[FundingPayment] = []
        page = 1
        while (request := self._questions.fundings(since_ns, page)) is not None:
            found, rows = self._questions.read_fundings(await self._get(request), instrument_of)
            payments += found
            page += 1
            if rows < self._questions.PAGE:
                break
        return payments
