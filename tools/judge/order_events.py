"""What the ledger says of the account: its orders' events, in the dialect of either venue, and what was asked about it."""

from typing import Any, NamedTuple

PLACE = ("order.place", "POST /api/v3/order", "POST /fapi/v1/order")  # without its venue: operations that place an order
BY_REST = 0  # in place of a connection's number
SPOT = "binance"
OPENED = "opened "  # and a path, in place of an operation: a connection on which one can order


class OrderEvent(NamedTuple):
    """One report of an order: mantissas at 10^−8, side +1 bought, −1 sold; the trade's fields are 0 without one.

    `symbol`: as the rows of markets name it. `total`, `limit`: quantity of the whole order, and its price (0: at market).
    """

    symbol: str
    client_order_id: str  # the first that the order had; not a cancel's, nor an amendment's
    what: str  # NEW, TRADE, CANCELED …
    status: str  # of the order after it
    time_ms: int
    side: int
    order_id: int
    trade_id: int
    maker: bool
    price: int
    quantity: int
    fee: int
    fee_asset: str
    total: int = 0
    limit: int = 0
    row: int = 0  # in the ledger: the order of events where the exchange's clock was set
    own_id: str = ""  # the client id that this event itself has
    reduce_only: bool = False


class BalanceEvent(NamedTuple):
    """What the account holds of one asset from a time on: free and locked at 10^−8."""

    time_ms: int
    free: int
    locked: int


class Asked(NamedTuple):
    """A signed request. `connection`: the websocket's number, or BY_REST; `order`: the client id that it names."""

    time_ms: int
    connection: int
    operation: str  # of another venue than spot it names that, too
    order: str
    status: int

    @property
    def places(self) -> bool:
        """Whether an order was to be placed by it."""
        return self.operation.replace("binance_usdm.", "").replace("/binance_usdm", "") in PLACE

    @property
    def opens(self) -> bool:
        """Whether it is a connection that was opened."""
        return self.operation.startswith(OPENED)

    @property
    def venue(self) -> str:
        """The venue that was asked."""
        return "binance_usdm" if "binance_usdm" in self.operation else SPOT


def read_order_event(of: dict[str, Any], venue: str, time_ms: int, row: int = 0) -> OrderEvent | None:
    """Reads an executionReport (spot), or an ORDER_TRADE_UPDATE (USD-M); None of any other event.

    A cancel's report has its own id in `c` and the order's in `C`; of USD-M `c` is always the order's.
    """
    if of["e"] == "ORDER_TRADE_UPDATE":
        of = of["o"]
    elif of["e"] != "executionReport":
        return None
    symbol = of["s"] if venue in ("", SPOT) else f"{venue}.{of['s']}"
    side, trade_id = (1 if of["S"] == "BUY" else -1), of["t"] if of["x"] == "TRADE" else 0
    name = of.get("C") or of["c"]
    own_id = of["c"] if of["x"] == "REPLACED" else name  # there `C` is what the order was called before
    return OrderEvent(
        symbol, name, of["x"], of["X"], time_ms, side, of["i"], trade_id, of["m"], units(of["L"]),
        units(of["l"]), units(of["n"]), of["N"] or "", units(of.get("q", "0")), units(of.get("p", "0")), row, own_id,
        of.get("R") is True,
    )  # fmt: skip


def units(decimal: str) -> int:
    """Reads a decimal of at most 8 places as a mantissa at 10^−8, exactly."""
    whole, _, part = decimal.partition(".")
    return int(whole + part.ljust(8, "0"))


class OrderNames:
    """The first client id of every order, which an amendment may have renamed since: by symbol and the venue's id."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, int], str] = {}

    def named(self, event: OrderEvent) -> OrderEvent:
        """The event under the first client id of its order."""
        if event.order_id <= 0:
            return event
        name = self._first.setdefault((event.symbol, event.order_id), event.client_order_id)
        return event._replace(client_order_id=name)
