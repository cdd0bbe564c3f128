"""When nothing is ordered, whatever a signal says: the book is old, wide, or late, or part of the market is missing. No I/O."""

import msgspec

from tickmesh.bus.layout import record_struct
from tickmesh.bus.schema import Flag, GapState, Kind
from tickmesh.bus.settings_trading import ExecutionSettings
from tickmesh.bus.wire import Event
from tickmesh.nodes.executor.drafts import Quote
from tickmesh.nodes.executor.styles.interface import Trigger, any_change, any_quote

GAP = record_struct(Kind.gap, "first_id", "last_id", "stream", "state")
OPEN_GAPS_MAX = 1000  # runs of missing ids; beyond it the oldest is forgotten, as the sequencer does
MS = 1_000_000
REPAIRED = int(Flag.REPAIRED)
KEEPING = frozenset(("spread",))  # guards that let stand what rests: it earns a wide spread
REASONS = ("stale_quote", "gap", "venue_lag", "spread")


class MarketState(msgspec.Struct):
    """What the log has said of one instrument's market beside its quote."""

    lag_ns: int = 0  # recv_ns − venue_ns of the newest quote or trade of which the venue states the time
    traded_lots: int = 0  # since the log began
    missing: list[tuple[int, int]] = []  # trade ids of open gaps, ascending
    book_gap_ns: int = 0  # until when the last gap of the book, or of the quotes, counts

    def note_gap(self, event: Event, pause_ns: int) -> None:
        """Takes in a gap event. No depth is read here, so how a gap of the book ends is not seen: it counts for `pause_ns`."""
        for first, last, stream, state in GAP.iter_unpack(event.body):
            if stream != Kind.trade:
                self.book_gap_ns = event.seq_ns + pause_ns
            elif state == GapState.open:
                self.missing = [*self.missing, (first, last)][-OPEN_GAPS_MAX:]
            else:
                self.missing = [run for one in self.missing for run in _without(one, first, last)]

    def note_lag(self, event: Event) -> None:
        """Takes in how late a quote or a trade is; what was fetched again later says nothing of it."""
        if event.venue_ns and event.recv_ns and not event.flags & REPAIRED:
            self.lag_ns = event.recv_ns - event.venue_ns


def _without(run: tuple[int, int], first: int, last: int) -> list[tuple[int, int]]:
    low, high = run
    return [part for part in ((low, min(high, first - 1)), (max(low, last + 1), high)) if part[0] <= part[1]]


def closed_by(settings: ExecutionSettings, market: MarketState, quote: Quote, quote_ns: int, now_ns: int, stale_ns: int) -> str:
    """Which guard holds; "" for none.

    stale_quote  no quote for longer than stale_ns
    gap          trades are missing, or the book, or the quotes, had a gap within stale_ns
    venue_lag    the newest quote or trade came later after the venue's own time than venue_lag_max_ms
    spread       it is wider than spread_max_bp of the mid
    """
    if now_ns - quote_ns > stale_ns:
        return "stale_quote"
    if settings.gap_pause and (market.missing or now_ns < market.book_gap_ns):
        return "gap"
    if settings.venue_lag_max_ms and market.lag_ns > int(settings.venue_lag_max_ms * MS):
        return "venue_lag"
    if settings.spread_max_bp:
        most = round(settings.spread_max_bp * 1000)
        if (quote.ask_ticks - quote.bid_ticks) * 20_000_000 > most * (quote.ask_ticks + quote.bid_ticks):
            return "spread"
    return ""


def closed(
    settings: ExecutionSettings, market: MarketState, quote: Quote, quote_ns: int, now_ns: int, stale_ns: int
) -> tuple[str, Trigger]:
    """(which guard holds, as `closed_by` says; until when that is so, but for gap events)."""
    reason = closed_by(settings, market, quote, quote_ns, now_ns, stale_ns)
    if reason == "stale_quote":
        return reason, any_quote()
    wait = Trigger(time_ns=quote_ns + stale_ns + 1)
    if reason == "gap":
        return reason, wait if market.missing else wait.no_later(market.book_gap_ns)
    if settings.venue_lag_max_ms:
        most_ns = int(settings.venue_lag_max_ms * MS)
        if reason == "venue_lag":
            return reason, wait._replace(lag_low_ns=most_ns)
        wait = wait._replace(lag_high_ns=most_ns + 1)
    return reason, wait.either(any_change(quote)) if reason == "spread" else wait
