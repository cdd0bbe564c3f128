"""A replayed capture: lines of raw files to frames, each passed to the market of its instrument. Pure: lines come from whoever
opened the files."""

from collections import Counter
from collections.abc import Mapping

from tickmesh.nodes.exchange.market.captures import RecordedBook, RecordedFrame, Unserved, read_line
from tickmesh.nodes.exchange.market.instruments import SPOT
from tickmesh.nodes.exchange.market.recorded_market import RecordedMarket
from tickmesh.nodes.exchange.market.survey import coarser_stream_reason


class Replay:
    """All markets of a capture by name, and where it stands. `position` counts lines, `frames` those that were on a stream."""

    def __init__(self, markets: Mapping[str, RecordedMarket], depths: dict[str, str] | None = None):
        self.markets = markets
        self.depths = depths or {}  # market → the depth stream that is served, where a capture has several
        self._usual = SPOT  # the venue of the line before
        self.position = 0
        self.frames = 0
        self.not_served: Counter[str] = Counter()  # lines by reason
        self.recv_ns = 0  # of the last frame
        self.error = ""

    @property
    def refused(self) -> int:
        """The number of lines that were not served."""
        return self.not_served.total()

    def pass_line(self, line: str, now_ms: int) -> RecordedFrame | None:
        """Replays one line; gives its frame, or None for a line that is not served (counted, with its reason in `error`)."""
        self.position += 1
        try:
            frame = read_line(line, self._usual)
            self._usual = frame.venue
            served = self.depths.get(frame.market)
            if frame.kind == "depth" and served and frame.stream.partition("@")[2] != served:
                raise Unserved(coarser_stream_reason(served), frame.stream[:60])
            market = self._market(frame)
            if market is not None:
                market.apply(frame, now_ms)
        except Unserved as error:
            self.not_served[error.reason] += 1
            self.error = f"line {self.position} was left out: {error}"
            return None
        self.recv_ns = frame.recv_ns
        if frame.stream:
            self.frames += 1
        return frame

    def _market(self, frame: RecordedFrame) -> RecordedMarket | None:
        if frame.stream:
            return self.markets.get(frame.market)
        # a snapshot does not name its instrument
        book = frame.row
        assert isinstance(book, RecordedBook)
        mine = (market for market in self.markets.values() if market.spec.venue == frame.venue)
        return min(mine, key=lambda market: market.distance(book), default=None)
