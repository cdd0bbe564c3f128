"""A venue of recorded data as one would say it, with dictionaries: what the compiled one is held against."""

import math


class NaiveVenue:
    """One instrument. A level is side → price → lots; `reports`: (what, order, price, lots, left, maker), as they come."""

    def __init__(self, model: str, whole: bool, impact: bool, unit: float, lot: int = 1, quotes=False):
        self.model, self.whole, self.impact, self.unit, self.lot = model, whole, impact, unit, lot
        self.quotes = quotes  # whether places in queues follow them
        self.book = None  # side → {price: lots}
        self.book_id = 0
        self.quote = None  # (id, {side: (price, lots)})
        self.orders = []
        self.taken = {}  # (side, price) → (lots, of a level of so many), until that shows another quantity
        self.reports = []

    # What is shown

    def ahead(self):
        """Whether the newest quote is newer than the book."""
        return self.quote is not None and (self.book is None or self.quote[0] > self.book_id)

    def shown(self, side, price):
        """Lots at a price; None where nothing shows it."""
        if self.ahead():
            top, lots = self.quote[1][side]
            if top and (price - top) * side >= 0:
                return lots if price == top else 0
        return None if self.book is None else self.book[side].get(price, 0)

    def levels(self, side):
        """(price, lots), the best first."""
        known = dict(self.book[side]) if self.book else {}
        if self.ahead():
            top, lots = self.quote[1][side]
            if top:
                known = {price: there for price, there in known.items() if (top - price) * side > 0} | {top: lots}
        return sorted(known.items(), key=lambda one: -one[0] * side)

    def available(self, side, limit=None, once=True):
        """(price, lots) of a side, down to a price; `once`: that our orders have not taken."""
        out = []
        for price, lots in self.levels(side):
            if limit is not None and (limit - price) * side > 0:
                break
            left = lots - (self.taken.get((side, price), (0, 0))[0] if once else 0)
            if left > 0:
                out.append((price, left))
        return out

    def take(self, side, price, lots):
        """An order of ours takes from a level."""
        self.taken[side, price] = (self.taken.get((side, price), (0, 0))[0] + lots, self.shown(side, price))

    def forget(self):
        """Levels that have changed are whole again."""
        self.taken = {level: one for level, one in self.taken.items() if self.shown(*level) == one[1]}

    # What happens

    def depth(self, update, levels, snapshot):
        """The book changes."""
        if not snapshot and (self.book is None or update <= self.book_id):
            return
        if snapshot:
            self.book = {1: {}, -1: {}}
        self.book_id = update
        for price, lots, side in levels:
            self.book[side].pop(price, None)
            if lots:
                self.book[side][price] = lots
        self.forget()
        named = {(side, price) for price, _, side in levels}
        for order in self.orders:
            if update > order["as_of"]:
                self.move(order, self.book[order["side"]].get(order["price"], 0), (order["side"], order["price"]) in named)
                order["as_of"] = update
        self.cross()

    def lose(self):
        """A gap: there is no book."""
        self.book = None
        self.forget()
        self.cross()

    def move(self, order, after, named):
        """An order's level has so many lots now."""
        before, order["level"] = order["level"], after
        if before is None:
            order["ahead"], order["traded"] = min(order["ahead"], after), 0
        elif before == after:
            order["traded"] = 0 if named else order["traded"]
        else:
            gone, order["traded"] = before - after - order["traded"], 0
            if self.model != "risk_averse" and gone > 0 and order["ahead"] > 0:
                behind = max(before - order["ahead"], 0.0)
                weigh = (lambda x: x**3.0) if self.model == "probability_power" else math.log1p
                front, back = weigh(order["ahead"] * self.unit), weigh(behind * self.unit)
                share = front / (front + back) if front + back > 0 else 1.0
                order["ahead"] -= share * gone + max((1 - share) * gone - behind, 0.0)
            order["ahead"] = min(max(order["ahead"], 0.0), after)

    def see_quote(self, update, bid, bid_lots, ask, ask_lots):
        """The best prices."""
        self.quote = (update, {1: (bid, bid_lots), -1: (ask, ask_lots)})
        self.forget()
        for order in self.orders if self.quotes and self.ahead() else ():
            top = self.quote[1][order["side"]][0]
            if update > order["as_of"] and top and (order["price"] - top) * order["side"] >= 0:
                self.move(order, self.shown(order["side"], order["price"]), named=False)
                order["as_of"] = update
        self.cross()

    def cross(self):
        """Our orders that the other side has reached."""
        for order in list(self.orders):
            got = 0
            for price, lots in self.available(-order["side"], order["price"], self.impact or not self.whole):
                part = min(lots, order["left"] - got)
                if part:
                    self.take(-order["side"], price, part)
                    got += part
            if got:
                self.fill(order, order["left"] if self.whole else got, order["price"], True)

    def trade(self, price, lots, side):
        """Somebody trades."""
        had = 0
        for order in list(self.orders):
            beyond = (order["price"] - price) * order["side"]
            if order["side"] == side or beyond < 0:
                continue
            if beyond > 0:
                order["ahead"] = 0.0
                reaches = order["left"] if self.whole else lots - had
            else:
                order["traded"] += lots
                past = lots - had - order["ahead"]
                order["ahead"] = max(-past, 0.0)
                reaches = math.floor(max(past, 0.0))
            part = min(max(reaches // self.lot * self.lot, 0), order["left"])
            if part:
                had += part
                self.fill(order, part, order["price"], True)

    def fill(self, order, lots, price, maker):
        """An order is filled."""
        order["left"] -= lots
        self.reports.append(("filled", order["order"], price, lots, order["left"], maker))
        if not order["left"] and order in self.orders:
            self.orders.remove(order)

    # Our orders

    def enter(self, number, side, kind, force, price, lots):
        """An order arrives. kind: limit, market, limit_maker; force: gtc, ioc, fok."""
        reachable = self.available(-side, None if kind == "market" else price, self.impact)
        order = {"order": number, "side": side, "price": price, "left": lots, "traded": 0}
        if kind == "limit_maker" and reachable:
            self.reports.append(("rejected", number, price, 0, lots, False))
            return
        if force == "fok" and kind != "market" and sum(there for _, there in reachable) < lots:
            self.reports.append(("expired", number, price, 0, lots, False))
            return
        rests = kind != "market" and force == "gtc"
        if rests:
            self.reports.append(("accepted", number, price, 0, lots, False))
        for at, there in reachable:
            if part := min(there, order["left"]):
                self.take(-side, at, part)
                self.fill(order, part, at, False)
        if order["left"] and not rests:
            self.reports.append(("expired", number, price, 0, order["left"], False))
        elif order["left"]:
            order["level"] = self.shown(side, price)
            order["ahead"] = math.inf if order["level"] is None else order["level"]
            order["as_of"] = self.book_id if self.book is not None else -1
            if self.ahead() and self.quote[1][side][0] and (price - self.quote[1][side][0]) * side >= 0:
                order["as_of"] = max(order["as_of"], self.quote[0])
            self.orders.append(order)
            self.orders.sort(key=lambda one: (one["side"], -one["side"] * one["price"], one["order"]))

    def cut(self, number, lots):
        """Takes off a resting order; gives what is left of it, −1: it is not there."""
        for order in self.orders:
            if order["order"] == number:
                order["left"] -= min(lots, order["left"])
                if not order["left"]:
                    self.orders.remove(order)
                return order["left"]
        return -1
