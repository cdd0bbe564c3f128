"""A client of the local exchange's USD-M venue: signed requests, its user stream, and the accounts of tests without sockets."""

import asyncio
import contextlib
import json

from tests.support.exchange_clients import SPOT_AND_USDM, Rest, listening, signed
from tickmesh.nodes.exchange.market.fees import Fees
from tickmesh.nodes.exchange.market.instruments import USDM, spec
from tickmesh.nodes.exchange.market.market import Market
from tickmesh.nodes.exchange.market.matching import ExchangeOrder, UpdateIds
from tickmesh.nodes.exchange.market.tape import Tape
from tickmesh.nodes.exchange.orders.listen_key import ListenKey
from tickmesh.nodes.exchange.orders.margin_desk import MarginDesk
from tickmesh.nodes.exchange.protocol import UNIT, Params

BASE = "/binance_usdm"
TOML = f"""{SPOT_AND_USDM}[exchange]
trades_per_s = 50
quotes_per_s = 100
lines = 0
"""
MARK = 60_000 * UNIT


class Futures:
    """A signed client of the USD-M venue over REST: call it with method and path below /fapi; gives (status, answer)."""

    def __init__(self, rest: Rest):
        self.rest = rest

    async def __call__(self, method: str, path: str, **params):
        return await self.rest(method, f"{BASE}/fapi{path}", raw=signed(**params))

    async def order(self, method: str = "POST", **params):
        """Sends a request about one order of BTCUSDT, unless another symbol is given."""
        return await self(method, "/v1/order", **{"symbol": "BTCUSDT", **params})

    async def right(self, method: str, path: str, **params):
        """The answer to a request that has to succeed."""
        status, answer = await self(method, path, **params)
        assert status == 200, answer
        return answer

    async def listen_key(self, method: str = "POST") -> dict:
        """Asks for the listenKey, or keeps it alive (PUT), or ends it (DELETE), with the API key alone."""
        return (await self.rest(method, f"{BASE}/fapi/v1/listenKey"))[1]


@contextlib.asynccontextmanager
async def private_stream(futures: Futures, ws: str):
    """The account's events: gives the socket."""
    key = (await futures.listen_key())["listenKey"]
    async with listening(f"{ws}{BASE}/private/ws?listenKey={key}") as socket:
        yield socket


async def events_until(socket, found, seconds: float = 20.0) -> list[dict]:
    """Reads events until one is found; gives all of them."""
    events: list[dict] = []
    async with asyncio.timeout(seconds):
        while not events or not found(events[-1]):
            events.append(json.loads(await socket.recv()))
    return events


def limit(side: str, price: str, quantity: str = "0.010", **more) -> dict:
    """Parameters of a limit order."""
    return {"side": side, "type": "LIMIT", "timeInForce": "GTC", "price": price, "quantity": quantity, **more}


def market(side: str, quantity: str = "0.010", **more) -> dict:
    """Parameters of a market order that is answered when it is done."""
    return {"side": side, "type": "MARKET", "quantity": quantity, "newOrderRespType": "RESULT", **more}


def account(wallet: int = 100_000, marks: dict[str, int] | None = None) -> tuple[MarginDesk, dict[str, Market]]:
    """A futures account without an exchange around it, in two empty markets."""
    markets = {symbol: Market(spec(symbol, USDM), UpdateIds(), Tape()) for symbol in ("BTCUSDT", "ETHUSDT")}
    known = marks if marks is not None else {"BTCUSDT": MARK, "ETHUSDT": MARK}
    desk = MarginDesk(markets, Fees(200, 500), known.__getitem__, ListenKey("secret", 3600))
    desk.state.deposit("USDT", wallet * UNIT)
    return desk, markets


class Population:
    """The others in a market: rests orders, takes with them."""

    def __init__(self, venue_market: Market):
        self.market, self.number = venue_market, -1

    def send(
        self, side: int, price: int, quantity: int, kind: str = "LIMIT", time_in_force: str = "GTC", now_ms: int = 1
    ) -> None:
        """Sends an order of the others; price and quantity are mantissas."""
        self.number -= 1
        self.market.submit(ExchangeOrder(self.number, 0, side, price, quantity), kind, time_in_force, now_ms)


def place(desk: MarginDesk, now_ms: int = 1, **params):
    """Checks and enters an order of BTCUSDT, unless another symbol is given."""
    return desk.enter(desk.check(Params({"symbol": "BTCUSDT", **params})), now_ms)
