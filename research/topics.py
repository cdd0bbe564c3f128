"""The kinds of data as methods, `db.trades(…)` and the like: each gives a selection. SQL tables have the same names."""

from tickmesh.bus.schema import Kind
from tickmesh.research.map_selection import MapSelection
from tickmesh.research.selection import Decimals, RowTerms, Selection
from tickmesh.research.sources import DataSource
from tickmesh.storage.query.gaps import Gaps
from tickmesh.storage.query.map_rows import is_map
from tickmesh.storage.query.names import Instruments, resolve
from tickmesh.storage.query.times import Time, to_ns


class Topics:
    """The methods that choose rows of a kind.

    `instruments`: "BTCUSDT" (of one venue), "binance.BTCUSDT", a pattern like "binance.*", a list of such; None for all.
    `start`, `end`: start ≤ seq_ns < end, as `tickmesh.storage.query.times.to_ns` takes times: "2026-11-20", "1h" (ago), ns.
    `gaps`, where something is missing: "warn", "raise", "mask" (a column `stretch`), "ignore". `decimals`: "float", "mantissa",
    "exact". `merge`: several instruments in order of seq, not one after the other. All raise ReadError with a sentence.
    """

    def __init__(self, source: DataSource):
        self._source = source

    def select(
        self, kind: Kind, instruments: Instruments = None, start: Time = None, end: Time = None, gaps: Gaps = "warn",
        decimals: Decimals = "float", merge: bool = False,
    ) -> Selection:  # fmt: skip
        """Chooses rows of any kind. `db.select(Kind.clock).head()`"""
        terms = RowTerms(to_ns(start), to_ns(end), gaps, decimals, merge)
        if is_map(kind):
            subjects = [] if instruments is None else [instruments] if isinstance(instruments, str) else list(instruments)
            return MapSelection(self._source, kind, subjects, terms)
        return Selection(self._source, kind, resolve(self._source.subjects(kind), instruments, self._source.place), terms)

    def trades(
        self, instruments: Instruments = None, start: Time = None, end: Time = None, gaps: Gaps = "warn",
        decimals: Decimals = "float", merge: bool = False,
    ) -> Selection:  # fmt: skip
        """Trades: price, quantity, notional, side of the aggressor. `db.trades("BTCUSDT").to_pandas()`"""
        return self.select(Kind.trade, instruments, start, end, gaps, decimals, merge)

    def quotes(
        self, instruments: Instruments = None, start: Time = None, end: Time = None, gaps: Gaps = "warn",
        decimals: Decimals = "float", merge: bool = False,
    ) -> Selection:  # fmt: skip
        """Best bid and ask after each change. `db.quotes("BTCUSDT").tail()`"""
        return self.select(Kind.quote, instruments, start, end, gaps, decimals, merge)

    def depth(
        self, instruments: Instruments = None, start: Time = None, end: Time = None, gaps: Gaps = "warn",
        decimals: Decimals = "float", merge: bool = False,
    ) -> Selection:  # fmt: skip
        """Changes of the book, a row for each level. `db.depth("BTCUSDT", gaps="mask").head()`"""
        return self.select(Kind.depth, instruments, start, end, gaps, decimals, merge)

    def definitions(self, instruments: Instruments = None, start: Time = None, end: Time = None) -> Selection:
        """What venues say of instruments: tick size, lot size, exponents. `db.definitions().to_pandas()`"""
        return self.select(Kind.instrument, instruments, start, end)

    def gaps(self, instruments: Instruments = None, start: Time = None, end: Time = None) -> Selection:
        """Gaps as they were found and repaired; what is missing in the end says `coverage`. `db.gaps().to_pandas()`"""
        return self.select(Kind.gap, instruments, start, end)

    def signals(
        self, instruments: Instruments = None, start: Time = None, end: Time = None, decimals: Decimals = "float",
        merge: bool = False,
    ) -> Selection:  # fmt: skip
        """What models have published, with the event that caused it. `db.signals("BTCUSDT").to_pandas()`"""
        return self.select(Kind.signal, instruments, start, end, decimals=decimals, merge=merge)

    def live_features(self, instruments: Instruments = None, start: Time = None, end: Time = None) -> Selection:
        """Values of features that models have published, `at_ns` the moment. `db.live_features("BTCUSDT").to_pandas()`"""
        return self.select(Kind.feature, instruments, start, end)

    def intents(
        self, instruments: Instruments = None, start: Time = None, end: Time = None, decimals: Decimals = "float",
        merge: bool = False,
    ) -> Selection:  # fmt: skip
        """What the executor wanted: new orders, cancels, amendments. `db.intents().tail()`"""
        return self.select(Kind.intent, instruments, start, end, decimals=decimals, merge=merge)

    def orders(
        self, instruments: Instruments = None, start: Time = None, end: Time = None, decimals: Decimals = "float",
        merge: bool = False,
    ) -> Selection:  # fmt: skip
        """Each state of each order, as the session learned it (kind `update`). `db.orders("BTCUSDT").to_pandas()`"""
        return self.select(Kind.update, instruments, start, end, decimals=decimals, merge=merge)

    def fills(
        self, instruments: Instruments = None, start: Time = None, end: Time = None, decimals: Decimals = "float",
        merge: bool = False,
    ) -> Selection:  # fmt: skip
        """Our own fills, with fees. `db.fills().to_pandas()`"""
        return self.select(Kind.fill, instruments, start, end, decimals=decimals, merge=merge)

    def balances(self, accounts: Instruments = None, start: Time = None, end: Time = None) -> Selection:
        """What accounts hold, whenever it changed; an account is `binance.account`. `db.balances().to_pandas()`"""
        return self.select(Kind.balance, accounts, start, end)

    def fundings(self, instruments: Instruments = None, start: Time = None, end: Time = None) -> Selection:
        """Fundings that were paid or received. `db.fundings().to_pandas()`"""
        return self.select(Kind.funding, instruments, start, end)

    def shadows(self, instruments: Instruments = None, start: Time = None, end: Time = None) -> Selection:
        """Simulated orders of strategies in the state shadow. `db.shadows().to_pandas()`"""
        return self.select(Kind.shadow, instruments, start, end)

    def parents(self, instruments: Instruments = None, start: Time = None, end: Time = None) -> Selection:
        """Parent orders: what a style was to do, and what it cost. `db.parents().to_pandas()`"""
        return self.select(Kind.parent, instruments, start, end)

    def lines(self, instruments: Instruments = None, start: Time = None, end: Time = None) -> Selection:
        """How each line of a feed did, every ten seconds. `db.lines().tail()`"""
        return self.select(Kind.line, instruments, start, end)

    def health(self, processes: Instruments = None, start: Time = None, end: Time = None) -> Selection:
        """What each process says of itself every second. `db.health("feed-*", "1h").to_pandas()`"""
        return self.select(Kind.health, processes, start, end)

    def alerts(self, processes: Instruments = None, start: Time = None, end: Time = None) -> Selection:
        """Alerts, by the process that raised them. `db.alerts().to_pandas()`"""
        return self.select(Kind.alert, processes, start, end)

    def runs(self, processes: Instruments = None, start: Time = None, end: Time = None) -> Selection:
        """Starts of processes, with code and parameters. `db.runs().to_pandas()`"""
        return self.select(Kind.run, processes, start, end)

    def commands(self, processes: Instruments = None, start: Time = None, end: Time = None) -> Selection:
        """What a person commanded. `db.commands().to_pandas()`"""
        return self.select(Kind.command, processes, start, end)

    def refusals(self, processes: Instruments = None, start: Time = None, end: Time = None) -> Selection:
        """What was refused as it came in, with its bytes. `db.refusals().to_pandas()`"""
        return self.select(Kind.refusal, processes, start, end)
