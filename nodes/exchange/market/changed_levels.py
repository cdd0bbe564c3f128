"""What changed in a book since the last frame of one depth stream: the next frame. Pure."""

from tickmesh.nodes.exchange.ledger import LastBook
from tickmesh.nodes.exchange.market.frames import BookDelta, FrameWriter
from tickmesh.nodes.exchange.protocol import Level


class ChangedLevels:
    """The levels of a book that changed since the last frame of one depth stream; its frames are `every` times 100 ms apart."""

    def __init__(self, stream: str, every: int, update_id: int):
        self.stream = stream
        self.every = every
        self.forget(update_id)

    def go_on(self, last: LastBook) -> None:
        """Goes on where a process ended: its next frame says again what clients may not have had."""
        self.update_id, self.first_id = last.sent_id, last.first_id
        for side, price in last.unsent:
            self.levels[side][price] = 0  # all that stood is taken out, see OrderBook.replace_standing

    def forget(self, update_id: int) -> None:
        """Begins anew after `update_id`: what changed up to it is in a frame, or will be in none."""
        self.update_id = update_id
        self.first_id = 0  # of the first change since; 0: none
        self.levels: dict[int, dict[int, int]] = {1: {}, -1: {}}

    def take(self, first_id: int, touched: list[Level]) -> None:
        """Notes the levels of one operation, whose first change has this id."""
        self.first_id = self.first_id or first_id
        for side, price, quantity in touched:
            self.levels[side][price] = quantity

    def frame(self, writer: FrameWriter, update_id: int, now_ms: int) -> str | None:
        """Builds the next depthUpdate up to this id; None when nothing has changed."""
        if update_id == self.update_id:
            return None
        bids, asks = (sorted(self.levels[side].items(), reverse=side > 0) for side in (1, -1))
        data = writer.depth(BookDelta(self.update_id, self.first_id, update_id, bids, asks), now_ms)
        self.forget(update_id)
        return data
