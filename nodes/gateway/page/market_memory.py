"""What the page shows of one instrument, kept from its events: prices by the second, trades, orders, fills, signals, races."""

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Any

from tickmesh.bus.schema import Kind

JsonObject = dict[str, Any]
SECONDS_KEPT = 300
UNSEEN_S = 5
TRADES_KEPT, FILLS_KEPT, ORDERS_KEPT, GAPS_KEPT, SIGNALS_KEPT = 24, 200, 24, 12, 300
SECOND_NS = 1_000_000_000
FOLLOWED = frozenset({Kind.trade, Kind.fill, Kind.update, Kind.signal, Kind.line, Kind.gap})


class MarketMemory:
    """The newest of one instrument, bounded. `seq`: events up to it are taken in.

    `seconds`: [second, bid, ask, last trade], floats or None, the oldest first; `gaps_seen` grows with each event of a gap.
    """

    def __init__(self, subject: str):
        self.subject, self.seq = subject, 0
        self.seconds: deque[list[float | None]] = deque(maxlen=SECONDS_KEPT)
        self.trades: deque[JsonObject] = deque(maxlen=TRADES_KEPT)
        self.fills: deque[JsonObject] = deque(maxlen=FILLS_KEPT)
        self.signals: dict[str, JsonObject] = {}
        self.signal_values: dict[str, deque[list[float]]] = {}  # by model: [time in ms, value]
        self.orders: OrderedDict[str, JsonObject] = OrderedDict()
        self.gaps: OrderedDict[tuple[str, int], JsonObject] = OrderedDict()
        self.lines: list[JsonObject] = []
        self.gaps_seen = 0

    @property
    def topics(self) -> frozenset[str]:
        """The topics whose events it wants."""
        return frozenset(f"{kind.name}.{self.subject}" for kind in FOLLOWED)

    def is_behind(self, now_s: int) -> bool:
        """Whether prices of the last seconds are not here: nobody has looked at the instrument meanwhile, or ever."""
        return not self.seconds or now_s - (self.seconds[-1][0] or 0) > UNSEEN_S

    def begin(self, bars: Iterable[JsonObject]) -> None:
        """Takes the past from bars of a second."""
        rows = [
            [bar["begin_ns"] // SECOND_NS, _number(bar["bid_price"]), _number(bar["ask_price"]), _number(bar["close"])]
            for bar in bars
        ]
        self.seconds.clear()
        self.seconds.extend(rows)

    def take(self, shown: JsonObject) -> None:
        """Takes in an event as `as_dict` gives it."""
        handler = {
            "trade": self._take_trade, "fill": self._take_fill, "update": self._take_update, "signal": self._take_signal,
            "line": self._take_lines, "gap": self._take_gap,
        }.get(shown["kind"])  # fmt: skip
        if handler is not None:
            handler(shown)

    def take_prices(self, now_s: int, bid: float | None, ask: float | None, last: float | None) -> None:
        """Takes in the newest prices as those of this second, seconds since 1970."""
        if self.seconds and self.seconds[-1][0] == now_s:
            self.seconds[-1][:] = [now_s, bid, ask, last]
        elif not self.seconds or (self.seconds[-1][0] or 0) < now_s:
            self.seconds.append([now_s, bid, ask, last])

    def _take_trade(self, shown: JsonObject) -> None:
        for one in shown["records"]:
            self.trades.append({**one, "seq_ns": shown["seq_ns"]})

    def _take_fill(self, shown: JsonObject) -> None:
        for one in shown["records"]:
            self.fills.append({**one, "seq_ns": shown["seq_ns"]})

    def _take_update(self, shown: JsonObject) -> None:
        for one in shown["records"]:
            name = one["client_order_id"]
            before = self.orders.pop(name, {"begun_ns": shown["seq_ns"]})
            self.orders[name] = {**before, **one, "seq_ns": shown["seq_ns"], "seq": shown["seq"]}
            while len(self.orders) > ORDERS_KEPT:
                self.orders.popitem(last=False)

    def _take_signal(self, shown: JsonObject) -> None:
        for one in shown["records"]:
            model = shown["producer"]
            self.signals[model] = {**one, "seq_ns": shown["seq_ns"]}
            values = self.signal_values.setdefault(model, deque(maxlen=SIGNALS_KEPT))
            values.append([shown["seq_ns"] // 1_000_000, round(one["value"], 3)])

    def _take_lines(self, shown: JsonObject) -> None:
        self.lines = shown["records"]

    def _take_gap(self, shown: JsonObject) -> None:
        self.gaps_seen += 1
        for one in shown["records"]:
            key = (str(one["stream"]), one["first_id"])
            self.gaps.pop(key, None)
            self.gaps[key] = {**one, "seq_ns": shown["seq_ns"]}
            while len(self.gaps) > GAPS_KEPT:
                self.gaps.popitem(last=False)


def _number(text: str | None) -> float | None:
    return float(text) if text is not None else None
