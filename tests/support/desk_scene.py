"""One synthetic market and the desk of our account, without sockets: for tests of order types."""

import json

from tickmesh.nodes.exchange.market.instruments import spec
from tickmesh.nodes.exchange.market.market import Market
from tickmesh.nodes.exchange.market.matching import ExchangeOrder, UpdateIds
from tickmesh.nodes.exchange.market.tape import Tape
from tickmesh.nodes.exchange.orders.desk import OWNER, Desk
from tickmesh.nodes.exchange.orders.lists import OrderLists
from tickmesh.nodes.exchange.protocol import UNIT, Params, VenueError


class DeskScene:
    """BTCUSDT at 100, empty but for whom the test brings; our account has 50 BTC and 50,000 USDT. Times are ms."""

    def __init__(self, last: float = 100.0, maker_ppm: int = 0, taker_ppm: int = 0):
        self.market = Market(spec("BTCUSDT"), UpdateIds(), Tape(1000))
        self.desk = Desk({"BTCUSDT": self.market}, maker_ppm, taker_ppm)
        self.lists = OrderLists(self.desk)
        self.desk.deposit("BTC", 50 * UNIT)
        self.desk.deposit("USDT", 50_000 * UNIT)
        self.now = 1_000
        self.others = 0
        if last:
            self.trade(last)
        self.desk.events.clear()

    def other(self, side: int, price: float, quantity: float = 1.0, kind: str = "LIMIT", tif: str = "GTC") -> int:
        """Somebody else's order; gives its id."""
        self.others -= 1
        self.now += 1
        order = ExchangeOrder(self.others, 0, side, round(price * UNIT), round(quantity * UNIT))
        self.market.submit(order, kind, tif, self.now)
        return self.others

    def trade(self, price: float, quantity: float = 0.001) -> None:
        """Two others trade with one another at a price, past what stands in the book: the book is as before."""
        self.now += 1
        at, before = round(price * UNIT), len(self.market.tape.prints)
        best = [self.market.book.best(1)[0], self.market.book.best(-1)[0]]
        assert (not best[0] or at > best[0]) and (not best[1] or at < best[1]), "somebody stands in the way"
        self.other(-1, price, quantity)
        self.other(1, price, quantity, tif="IOC")
        assert self.market.tape.prints[before].price == at

    def place(self, side: str, kind: str, quantity: float = 1.0, **more):
        """Places an order of ours; gives it."""
        self.now += 1
        terms = {"symbol": "BTCUSDT", "side": side, "type": kind, "quantity": f"{quantity:.5f}"}
        if kind in ("LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"):
            terms["timeInForce"] = "GTC"
        given = {name: value if isinstance(value, (str, int)) else f"{value:.2f}" for name, value in more.items()}
        return self.desk.place(Params({**terms, **given}), self.now).order

    def place_list(self, kind: str, **more):
        """Places an order list of ours and does what it sets off; gives the list and its orders."""
        self.now += 1
        params = Params({"symbol": "BTCUSDT", **{k: v if isinstance(v, str) else str(v) for k, v in more.items()}})
        made, placed = self.lists.enter(kind, self.lists.read(kind, params), params, self.now)
        self.desk.settle()
        return made, [one.order for one in placed]

    def refusal(self, side: str, kind: str, quantity: float = 1.0, **more) -> tuple[int, str]:
        """Code and message with which an order of ours is refused; the account is as before."""
        before = json.dumps(self.balances())
        try:
            self.place(side, kind, quantity, **more)
        except VenueError as error:
            assert json.dumps(self.balances()) == before
            return error.code, error.message
        raise AssertionError("it was accepted")

    def cancel(self, order) -> None:
        """Cancels an order of ours."""
        self.now += 1
        self.desk.cancel(Params({"symbol": "BTCUSDT", "orderId": order.id}), self.now)

    def balances(self) -> dict[str, list[float]]:
        """Free and locked amounts of the account."""
        return {asset: [n / UNIT for n in self.desk.accounts.balance_of(OWNER, asset)] for asset in ("BTC", "USDT")}

    def reports(self, order=None) -> list[dict]:
        """The executionReports since the last call, of an order or all."""
        events = [json.loads(event) for event in self.desk.events]
        self.desk.events.clear()
        return [e for e in events if e["e"] == "executionReport" and (order is None or e["i"] == order.id)]

    def went(self, order) -> list[tuple[str, str, bool]]:
        """What was reported of an order since the last call: execution type, status, whether it is on the book."""
        return [(r["x"], r["X"], r["w"]) for r in self.reports(order)]

    def check(self) -> None:
        """Asserts that money is conserved, and that exactly what open orders have locked is locked."""
        self.desk.accounts.check_conserved()
        locked = {"BTC": 0, "USDT": 0}
        for order in self.desk.open.values():
            locked["USDT" if order.side > 0 else "BTC"] += order.locked
            if order.status == "PENDING_NEW":
                assert not order.locked
            elif (other := self.lists.sibling(order)) is not None:
                if order.side < 0:
                    assert order.locked + other.locked == order.remaining == other.remaining
            elif order.side < 0:
                assert order.locked == order.remaining
            elif order.book_type != "MARKET":
                assert order.locked == order.price * order.remaining // UNIT
        assert locked == {asset: self.desk.accounts.balance_of(OWNER, asset)[1] for asset in locked}
        working = {order.id: order.remaining for order in self.desk.open.values() if not order.waits}
        ours = {i: o.remaining + o.hidden for i, o in self.market.book.orders.items() if o.owner == OWNER}
        assert ours == working, "the book has what the desk thinks"
