"""What a venue's order side is: the members of the modules that speak for it, and what they give. A new one follows this file.

A module of orders (`OrderVenue`) turns intents into messages of the order socket, and answers and user events into reports; one
of questions (`AccountQuestions`) turns what a reconciliation asks into REST requests. Both are plain and without I/O; table.py
pairs them. Times are nanoseconds since the Unix epoch (UTC), pauses milliseconds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

import numpy as np

from tickmesh.bus.schema import Status
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.venues.parsing.decimals import DecimalError
from tickmesh.nodes.venues.parsing.dialect import Request


class Trouble(StrEnum):
    """What a refusal is about, where the next order like it would be refused too. Names of alerts, too."""

    KEY = "key_refused"
    PERMISSION = "may_not_trade"
    MAINTENANCE = "venue_unwell"
    HALTED = "trading_halted"
    SYMBOL = "not_listed"
    BALANCE = "balance_too_small"
    POSITION = "nothing_to_close"
    FILTER = "orders_against_rules"


FEE_EXPONENT = -8  # of fees and balances, whatever the asset
Signer = Callable[[str], str]  # payload → signature. Of a REST request: the query string followed directly by the body, as sent
IntentRecord = np.void | memoryview  # a record of dtype schema.INTENT, or its bytes
InstrumentOf = Callable[[str], Instrument | None]  # the instrument of a symbol; None: not known


class IntentError(ValueError):
    """Raised for an intent that the venue has no request for."""


class AnswerError(DecimalError):
    """Raised for an answer of the venue that cannot be understood."""


class SigningKey(Protocol):
    """The public key of an account, and what signs for it."""

    api_key: str
    sign: Signer


class OrderRequest(NamedTuple):
    """A request of the order socket, not yet numbered and signed. `signed`: False where its key alone is asked for."""

    method: str
    params: Mapping[str, object]
    signed: bool = True


class VenueMessage(NamedTuple):
    """A message of the order socket: the answer to request `number`, or, where that is empty, a user `event`, or neither.

    `result` is of an answer that is `ok`; `code` and `words` are of a refusal. `orders_pause_ms`: the account may place no
    order for so long, since its count is used up; `orders_left`: so many more may be placed now, −1: it does not say.
    `asked_pause_ms`: the refusal asks to wait so long (too many requests); 0: it does not.
    """

    number: str = ""
    ok: bool = False
    status: int = 0
    result: bytes = b""
    code: int = 0
    words: str = ""
    orders_pause_ms: int = 0
    asked_pause_ms: int = 0
    event: bytes = b""
    orders_left: int = -1


@dataclass
class Fill:
    """One execution of an order. Price and quantity: mantissas of the instrument; the fee: at 10^FEE_EXPONENT of its asset.

    `unheld_fee`: the venue's text of a fee that is no such mantissa; `fee` is 0 then, for the fill counts without it.
    """

    trade_id: int
    side: int
    price_ticks: int
    quantity_lots: int
    fee: int
    fee_asset: str
    maker: bool
    venue_ns: int
    order_id: int
    unheld_fee: str = ""


class OrderTerms(NamedTuple):
    """What an order asks for, in the codes and mantissas of an intent; 0 for a type or a time in force that no intent has."""

    side: int
    order_type: int
    time_in_force: int
    price_ticks: int
    quantity_lots: int


@dataclass
class Report:
    """The state of an order as the venue reported it at one moment. `client_order_id` is its own, not a cancel's.

    `order_id` is one of its instrument's: the venue counts orders of each symbol by themselves.
    """

    subject: str
    client_order_id: str
    order_id: int
    status: Status
    filled_lots: int
    venue_ns: int
    reason: str = ""
    fills: list[Fill] = field(default_factory=list)
    terms: OrderTerms | None = None  # of the order, where the venue has stated them

    @property
    def quantity_lots(self) -> int:
        """The order's quantity as it is now, by the venue; 0 where it did not state one."""
        return self.terms.quantity_lots if self.terms is not None else 0


class Reported(NamedTuple):
    """What the venue said of one asset, in its own words."""

    asset: str
    free: str
    locked: str


class UserEvent(NamedTuple):
    """What a user event says: the state of an order, or the balances that changed at a time, or that the stream ends.

    `funding`: a funding was settled; what it was for each instrument is to be asked for.
    """

    report: Report | None = None
    balances: tuple[Reported, ...] = ()
    venue_ns: int = 0
    ended: bool = False
    funding: bool = False


class FundingPayment(NamedTuple):
    """What one funding brought for the position in one instrument (below zero: it was paid), in the venue's own words.

    `transaction_id` is unique among the fundings of an account.
    """

    subject: str
    asset: str
    amount: str
    transaction_id: int
    venue_ns: int


class OrderVenue(Protocol):
    """Speaks for one venue's order socket and its user stream."""

    @property
    def WS_PATH(self) -> str:
        """The order socket's path after the websocket's base address."""

    @property
    def KEEP_STREAM_S(self) -> float:
        """Seconds between two `keep_stream` requests; 0: a user stream lasts as long as its connection."""

    @property
    def REST_ORDERS(self) -> Mapping[str, tuple[str, str]]:
        """Method of a request about an order → verb and path of the same request over REST; empty where there is none."""

    @property
    def WRONG_TIME(self) -> int:
        """The code of a refusal that did nothing, because our timestamp is too old, or ahead of the venue's clock."""

    def place(self, intent: IntentRecord, instrument: Instrument) -> OrderRequest:
        """The request that an intent record for an order asks for. Raises IntentError where it means nothing."""

    def cancel(self, symbol: str, client_order_id: str) -> OrderRequest:
        """The request to cancel the order of this client id."""

    def amend(self, instrument: Instrument, client_order_id: str, quantity_lots: int) -> OrderRequest:
        """The request to reduce an order to so many lots, filled ones included; it keeps its place and its client id.

        Raises IntentError where the venue has no such request.
        """

    def open_stream(self) -> OrderRequest:
        """The request after which user events come."""

    def stream_path(self, result: bytes) -> str:
        """Where they come, by the answer to `open_stream`: the path of a websocket of their own; "": on the order socket."""

    def keep_stream(self) -> OrderRequest | None:
        """The request that prolongs the user stream's life; None where it needs none."""

    def encode(self, request: OrderRequest, number: str, key: SigningKey, now_ms: int, recv_window_ms: int) -> bytes:
        """A request as its message, signed at the venue's time `now_ms`; its answer carries the same `number`."""

    def read_message(self, frame: bytes, now_ms: int) -> VenueMessage:
        """Reads a message of the order socket at the venue's time `now_ms`. Raises msgspec.DecodeError, UnicodeDecodeError."""

    def proves_nothing_done(self, status: int, code: int, words: str) -> bool:
        """Whether a refusal that answers an order request proves that the venue did nothing."""

    def trouble(self, status: int, code: int, words: str) -> Trouble | None:
        """What a refusal is about that the next order like it would meet too; None for one that is this order's alone.

        `status`: of HTTP, or as such in an answer.
        """

    def report_of_answer(self, result: bytes, instrument: Instrument, client_order_id: str) -> Report:
        """The report in the answer to `place`, `cancel` or `amend`. Raises msgspec.DecodeError, AnswerError, DecimalError."""

    def read_user_event(self, event: bytes, instrument_of: InstrumentOf) -> UserEvent:
        """Reads a user event; what is of an instrument that is not known, or concerns neither orders nor balances, is empty.

        Raises msgspec.DecodeError or ValueError for what cannot be understood.
        """


class AccountQuestions(Protocol):
    """Speaks for one venue's REST questions about an account: (request, what reads its answer) by question.

    What reads raises msgspec.DecodeError, AnswerError or DecimalError for an answer that means nothing.
    """

    @property
    def NO_SUCH_ORDER(self) -> int:
        """The code by which the venue says that it has no such order (now)."""

    @property
    def NO_SUCH_SYMBOL(self) -> int:
        """The code by which the venue says that it has no such symbol (now)."""

    @property
    def CANCEL_REJECTED(self) -> int:
        """The code by which the venue refuses to cancel an order that is over, or was never there."""

    @property
    def PAGE(self) -> int:
        """Rows of a full page of orders or trades."""

    @property
    def ORDER_WEIGHT(self) -> int:
        """What `order` costs of the request budget."""

    def open_orders_weight(self, instruments: int) -> int:
        """What the open orders of so many instruments cost: one by one, or all of the account at once."""

    def signed_query(self, request: Request, key: SigningKey, now_ms: int, recv_window_ms: int) -> str:
        """A request's query string, signed at the venue's time `now_ms`."""

    def order(self, instrument: Instrument, client_order_id: str) -> Request:
        """After one order."""

    def read_order(self, body: bytes, instrument: Instrument, client_order_id: str) -> Report:
        """The report in the answer to `order`."""

    def open_orders(self, instruments: Sequence[Instrument]) -> list[Request]:
        """After the open orders of these instruments, or of the whole account where that costs less, or none are named."""

    def read_open_orders(self, body: bytes, instrument_of: InstrumentOf) -> tuple[list[Report], int]:
        """The reports in an answer to `open_orders`; how many rows are of symbols that are not known."""

    def read_open_ids(self, body: bytes) -> list[tuple[str, str]]:
        """(symbol, client id) of every order in an answer to `open_orders`, also of symbols that nobody knows."""

    def orders_from(self, instrument: Instrument, order_id: int) -> Request:
        """After a page of orders, open or over, with a venue's id ≥ `order_id`, in the order of their ids."""

    def read_orders(self, body: bytes, instrument: Instrument) -> list[Report]:
        """The reports in the answer to `orders_from`."""

    def trades(self, instrument: Instrument, from_id: int, order_id: int = 0) -> Request:
        """After a page of own trades with an id ≥ `from_id`; of one order where its venue's id is named."""

    def read_trades(self, body: bytes, instrument: Instrument) -> list[Fill]:
        """The fills in the answer to `trades`."""

    def balances(self) -> Request:
        """After what the account holds."""

    def read_balances(self, body: bytes) -> list[Reported]:
        """Every asset of which the account has any, in the answer to `balances`."""

    def fitness(self) -> Request | None:
        """After how the account is set; None where no setting makes it unfit."""

    def read_fitness(self, body: bytes) -> str:
        """Why no orders can be sent as the account is set, a sentence, in the answer to `fitness`; "" where they can."""

    def positions(self) -> Request | None:
        """After the positions that the venue keeps; None where it keeps none."""

    def read_positions(self, body: bytes, instrument_of: InstrumentOf) -> dict[str, int]:
        """The positions in the answer to `positions`: subject → lots, + is long; none of an instrument that is not known."""

    def fundings(self, since_ns: int, page: int) -> Request | None:
        """After a page (1, 2, …) of fundings from a time of the venue on, oldest first; None where it has none."""

    def read_fundings(self, body: bytes, instrument_of: InstrumentOf) -> tuple[list[FundingPayment], int]:
        """The fundings of known instruments in the answer to `fundings`; how many rows it has."""


class OrderDialect(NamedTuple):
    """A venue's order side as a session uses it: `orders` on its sockets, `questions` over REST."""

    venue: str
    orders: OrderVenue
    questions: AccountQuestions
