"""Order lists of the local venue: OCO, OTO and OTOCO, and what one order's fate is for the others (rest-api.md, "Order lists").

Pure: acts on the desk's orders when the desk says that one starts to work or has ended.
"""

from functools import partial

from tickmesh.nodes.exchange.market.instruments import LISTS_MAX
from tickmesh.nodes.exchange.market.matching import CANCELED, EXPIRED, FILLED, NEW
from tickmesh.nodes.exchange.orders.desk import CLOSED, OVERLOADED, Desk
from tickmesh.nodes.exchange.orders.list_terms import WORKING_TYPES, check_around, read_leg, read_pair
from tickmesh.nodes.exchange.orders.orders import PENDING_NEW, STOPS, OwnList, OwnOrder, Placed
from tickmesh.nodes.exchange.orders.records import OWNER
from tickmesh.nodes.exchange.orders.reports import list_status
from tickmesh.nodes.exchange.orders.terms import TYPES, Terms, amount_to_lock, asset_to_lock
from tickmesh.nodes.exchange.orders.triggers import reached
from tickmesh.nodes.exchange.protocol import Params, VenueError


class OrderLists:
    """The account's order lists: places them, cancels them, and keeps each one's orders to what its kind promises."""

    def __init__(self, desk: Desk):
        self.desk = desk
        self._cancel_id = ""  # of the request that cancels a list now
        desk.before_work, desk.after_end = self.before_work, self.after_end

    # ---- requests. Whoever places a list calls the desk's `settle` when the answer is made

    def read(self, kind: str, params: Params) -> list[Terms]:
        """Checks a new list, `kind` OCO, OTO or OTOCO; gives its orders, the working one first. Raises VenueError."""
        desk = self.desk
        if kind == "OCO":
            terms = read_pair(desk, params, "above", "below", 1, side="side", quantity="quantity")
            check_around(terms, terms[0].market.last_price)
        else:
            terms = [read_leg(desk, params, "working", WORKING_TYPES, 2 if kind == "OTOCO" else 1)]
            if kind == "OTO":
                terms.append(read_leg(desk, params, "pending", TYPES, 1))
            else:
                pending = {"side": "pendingSide", "quantity": "pendingQuantity"}
                terms += read_pair(desk, params, "pendingAbove", "pendingBelow", 2, **pending)
        client_id, symbol = params.client_id("listClientOrderId"), terms[0].market.spec.symbol
        executing = [known for known in desk.lists.values() if self.executing(known)]
        if client_id and any(known.client_id == client_id for known in executing):
            raise VenueError(-2010, "Duplicate order sent.")
        if sum(known.symbol == symbol for known in executing) >= LISTS_MAX:
            raise VenueError(-1013, "Filter failure: MAX_NUM_ORDER_LISTS")
        ids = [one.client_id for one in terms if one.client_id]
        if len(set(ids)) < len(ids) or any((symbol, one) in desk.open_by_client for one in ids):
            raise VenueError(-2010, "Duplicate order sent.")
        return terms

    def enter(self, kind: str, terms: list[Terms], params: Params, now_ms: int) -> tuple[OwnList, list[Placed]]:
        """Places a checked list if the account can pay. Raises VenueError −2010; nothing has happened then."""
        desk, market = self.desk, terms[0].market
        at_once = terms if kind == "OCO" else terms[:1]
        for one in at_once:
            desk.admit(one)
        amounts = _amounts([amount_to_lock(market, one, one.quantity, OWNER) for one in at_once])
        desk.check_funds(asset_to_lock(market.spec, terms[0].side), sum(amounts))
        amounts += [0] * (len(terms) - len(amounts))
        orders = [desk.add(one, amount, now_ms) for one, amount in zip(terms, amounts)]
        ident = desk.next_list
        client_id = params.client_id("listClientOrderId") or f"list{ident}"
        made = OwnList(ident, client_id, market.spec.symbol, "OCO" if kind == "OCO" else "OTO", [o.id for o in orders], now_ms)
        desk.write_list(made)
        for number, order in enumerate(orders):
            order.list_id = ident
            if number >= len(at_once):
                order.status, order.waits = PENDING_NEW, True
            desk.remember(order)
        self._report(made, now_ms)
        placed = [desk.start(order, now_ms) for order in orders[: len(at_once)]]
        for order in orders[len(at_once) :]:
            if order.open:  # else the working order has ended at once
                desk.report(order, "NEW", now_ms)
            placed.append(Placed(order, []))
        return made, placed

    def cancel(self, params: Params, now_ms: int) -> tuple[OwnList, list[OwnOrder], str]:
        """`DELETE /api/v3/orderList`: gives the list, its orders that were cancelled, and the client id of the cancel."""
        desk = self.desk
        if desk.overloaded:
            raise OVERLOADED
        cancel_id = params.client_id("newClientOrderId")
        symbol = desk.market(params).spec.symbol
        found = self.find(params, "listClientOrderId")
        if found is None or found.symbol != symbol or not self.executing(found):
            raise VenueError(-2011, "Unknown order list sent.")
        if symbol in desk.halted | desk.without_book:
            raise VenueError(-2011, CLOSED)
        cancel_id = cancel_id or f"cancel-list{found.id}"
        return found, self.cancel_list(found, cancel_id, now_ms), cancel_id

    def cancel_list(self, made: OwnList, cancel_id: str, now_ms: int) -> list[OwnOrder]:
        """Cancels what of a list is open; gives those orders."""
        orders = self.open_orders(made)
        self._cancel_id = cancel_id
        self.desk.cancel_order(orders[0], now_ms, cancel_id)  # the others follow it
        self._cancel_id = ""
        self.desk.report_position(now_ms)
        return orders

    def find(self, params: Params, by_client: str) -> OwnList | None:
        """Finds a list by its orderListId, or by the client id that `by_client` names; None for no such list."""
        client_id = params.text(by_client, "")
        if "orderListId" in params:
            found = self.desk.lists.get(params.integer("orderListId"))
            return None if found is None or client_id and found.client_id != client_id else found
        if not client_id:
            raise VenueError(-1102, f"Param '{by_client}' or 'orderListId' must be sent, but both were empty/null!")
        return next((known for known in reversed(self.desk.lists.values()) if known.client_id == client_id), None)

    def open_orders(self, made: OwnList) -> list[OwnOrder]:
        """The orders of a list that are open."""
        return [order for ident in made.orders if (order := self.desk.open.get(ident)) is not None]

    def executing(self, made: OwnList) -> bool:
        """Whether an order of a list is open."""
        return any(ident in self.desk.open for ident in made.orders)

    def sibling(self, order: OwnOrder) -> OwnOrder | None:
        """The other one of an OCO pair, while it is open."""
        made = self.desk.lists.get(order.list_id)
        pair = made.pair if made else []
        other = next((ident for ident in pair if ident != order.id), 0) if order.id in pair else 0
        return self.desk.open.get(other)

    def report_renamed(self, order: OwnOrder, now_ms: int) -> None:
        """Adds the `listStatus` about an order of a list that has another client id now."""
        if (made := self.desk.lists.get(order.list_id)) is not None:
            self._report(made, now_ms, "UPDATED")

    # ---- what the desk says

    def before_work(self, order: OwnOrder, now_ms: int) -> None:
        """Ends the other one of a pair, as this one is filled or triggered; what both had locked is this one's."""
        other = self.sibling(order)
        if other is None:
            return
        order.locked, other.locked = order.locked + other.locked, 0
        other.expiry = "OCO_TRIGGER"
        self.desk.markets[other.symbol].cancel(other.id, now_ms)
        self.desk.finish(other, EXPIRED, "EXPIRED", now_ms)
        self.desk.release_surplus(order)

    def after_end(self, order: OwnOrder, now_ms: int) -> None:
        """Does to the other orders of a list what the end of one means for them."""
        made = self.desk.lists.get(order.list_id)
        if made is None:
            return
        others = self.open_orders(made)
        if order.id == made.working and order.status == FILLED:
            if others:
                self.desk.after(partial(self._start_pending, made, now_ms))
        elif order.status == CANCELED:
            for other in others:
                if other.open:
                    self.desk.cancel_order(other, now_ms, self._cancel_id or f"cancel{other.id}")
        elif order.id == made.working:
            self._expire(others, "OTO_PHASE_ONE_EXPIRED", now_ms)
        if not made.done and not self.executing(made):
            made.done, made.time = True, now_ms
            self.desk.write_list(made)
            self._report(made, now_ms)

    # ---- inside

    def _start_pending(self, made: OwnList, now_ms: int) -> None:
        """Places what waited for the working order; expires it where the market or the account no longer permit it."""
        desk, market = self.desk, self.desk.markets[made.symbol]
        orders = self.open_orders(made)
        amounts = _amounts([amount_to_lock(market, order, order.remaining, OWNER) for order in orders])
        asset = asset_to_lock(market.spec, orders[0].side) if orders else ""
        impossible = any(
            order.type == "LIMIT_MAKER" and market.crosses(order.side, order.price)
            or order.type in STOPS and order.stop_price and not order.trailing_delta and reached(order, market.last_price)
            for order in orders
        )  # fmt: skip
        if impossible or orders and desk.accounts.balance_of(OWNER, asset)[0] < sum(amounts):
            self._expire(orders, "REJECTED", now_ms)
            return
        for order, amount in zip(orders, amounts):
            desk.lock(asset, amount)
            order.locked, order.status, order.waits, order.working_time = amount, NEW, False, now_ms
        for order in orders:
            desk.start(order, now_ms)

    def _expire(self, orders: list[OwnOrder], why: str, now_ms: int) -> None:
        for order in orders:
            if order.open:
                order.expiry = why
                self.desk.finish(order, EXPIRED, "EXPIRED", now_ms)
        self.desk.report_position(now_ms)

    def known_orders(self, made: OwnList) -> list[OwnOrder]:
        """The orders of a list, without those that were closed so long ago that they are forgotten."""
        return [self.desk.orders[ident] for ident in made.orders if ident in self.desk.orders]

    def _report(self, made: OwnList, now_ms: int, kind: str = "") -> None:
        self.desk.events.append(list_status(made, self.known_orders(made), now_ms, kind))


def _amounts(needed: list[int]) -> list[int]:
    """What each order locks of what it needs: of a pair only one is ever carried out, so the second adds what it needs more."""
    return [needed[0], max(needed[1] - needed[0], 0)] if len(needed) == 2 else needed
