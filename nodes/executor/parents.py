"""A parent order: what a strategy wants done, and how far that is. Its children are the orders that are made for it. No I/O."""

import msgspec

from tickmesh.bus.layout import record_struct
from tickmesh.bus.schema import Kind, ParentState
from tickmesh.bus.wide import split
from tickmesh.nodes.executor.drafts import Quote
from tickmesh.nodes.executor.risk import Bucket

PARENT = record_struct(Kind.parent)


class Parent(msgspec.Struct):
    """One parent order. `seq`: of the signal that began it, its name among those of its strategy. Money: price ticks × lots."""

    seq: int
    style: str
    side: int
    wanted_lots: int
    due_lots: int  # of them: to be done by now
    due_ns: int  # since when that is so
    bid_ticks: int  # arrival
    ask_ticks: int
    begun_ns: int
    deadline_ns: int
    shadow: bool = False
    children: list[str] = []  # client ids of those that may still change what is filled, oldest first
    placed: int = 0
    reprices: int = 0
    netted_lots: int = 0  # that it wanted no more, because another strategy wished the opposite
    filled_lots: int = 0
    value: int = 0  # Σ price × quantity of its fills
    fee_cost: int = 0
    why: str = ""  # it orders no more; empty: it is worked
    paused: str = ""  # which guard, or refusal of risk, holds it
    refused: int = 0  # orders in a row that were refused by the venue, or by the session as too late
    empty: int = 0  # IOC orders in a row that found nothing to take
    retry_ns: int = 0  # before then nothing more is ordered
    repricing: bool = False  # its resting order is being cancelled because the book has left its price
    pace: Bucket = msgspec.field(default_factory=Bucket)  # of repricing
    traded_lots: int = 0  # volume of the instrument when it began

    @property
    def working(self) -> bool:
        """Whether it may still order."""
        return not self.why

    @property
    def left_lots(self) -> int:
        """What is wanted and not filled."""
        return max(self.wanted_lots - self.filled_lots, 0)

    def add_fill(self, price_ticks: int, lots: int, fee_cost: int) -> None:
        """Counts a fill of one of its children."""
        self.filled_lots += lots
        self.value += price_ticks * lots
        self.fee_cost += fee_cost

    def net(self, lots: int) -> None:
        """Another strategy wishes the opposite of so much: of both wishes that is gone."""
        self.wanted_lots -= lots
        self.netted_lots += lots
        if self.wanted_lots <= self.filled_lots:
            self.end("netted")

    def end(self, why: str) -> None:
        """It orders no more; why it ended first is why it ended."""
        self.why = self.why or why

    @property
    def shortfall(self) -> int:
        """What its fills cost more than at the mid of arrival, fees included; a half is rounded up. Money of the instrument."""
        twice = self.side * (2 * self.value - self.filled_lots * (self.bid_ticks + self.ask_ticks))
        return -(-twice // 2) + self.fee_cost


def parent_record(strategy: str, parent: Parent, state: ParentState, quote: Quote) -> bytes:
    """The record that says that a parent has begun, or ended and why."""
    why, wanted_lots = parent.why, parent.wanted_lots
    if state == ParentState.begun:  # before anything was netted, for an order may have left before that
        why, wanted_lots = "", parent.wanted_lots + parent.netted_lots
    return PARENT.pack(
        strategy.encode(), parent.style.encode(), why.encode(), parent.seq, state, parent.side, parent.shadow,
        parent.begun_ns, parent.deadline_ns, parent.bid_ticks, parent.ask_ticks, quote.bid_ticks, quote.ask_ticks,
        wanted_lots, parent.filled_lots, *split(parent.value), *split(parent.fee_cost), *split(parent.shortfall),
        parent.placed, parent.reprices,
    )  # fmt: skip
