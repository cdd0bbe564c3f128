"""A client's share of a venue's budgets, of request weight and of connections: who would spend more waits."""

import asyncio
import time
from collections import deque

from tickmesh.bus.config import Config
from tickmesh.bus.settings import FeedSettings
from tickmesh.bus.settings import VenueSettings as Named
from tickmesh.nodes.venues.adapter import Adapter

MINUTE_S = 60.0
CONNECTION_WINDOW_S = 300.0


class RequestBudget:
    """The share of a venue's request weight that one client may spend; whoever would spend more waits, in order.

    At most `share` of `weight_per_minute` in any minute, counted here; and nothing while the venue's own count is above
    its limit less that share, since others use the same address.

    `requests_per_s`: the rate at which the venue takes requests of weight 1, 0 where it counts by the minute only. Of it the
    same share, one after the other: a minute's worth at once would be refused.
    """

    def __init__(self, weight_per_minute: float, share: float, requests_per_s: float = 0.0):
        self.weight_max = weight_per_minute * share  # of this client, in any minute
        self._gap_s = 1.0 / (requests_per_s * share) if requests_per_s else 0.0  # for a weight of 1
        self._not_before_s = 0.0
        self.used_weight_max = weight_per_minute * (1 - share / 2)  # of the venue's own count, before it is left alone
        self.used_weight = 0.0  # as the venue last stated it, of the running minute
        self._used_at_s = 0.0
        self._spent: deque[tuple[float, float]] = deque()
        self._turn = asyncio.Lock()
        self.waited_s = 0.0

    def observe_used(self, weight: float) -> None:
        """Takes what the venue states to have been used in this minute, by all at this address."""
        self.used_weight, self._used_at_s = weight, time.monotonic()

    def wait_s(self, weight: float) -> float:
        """How long until `weight` may be spent; 0 if now. A request above the whole share is let through alone."""
        now_s = time.monotonic()
        if now_s < self._not_before_s:
            return self._not_before_s - now_s
        while self._spent and now_s - self._spent[0][0] >= MINUTE_S:
            self._spent.popleft()
        if self.used_weight + weight > self.used_weight_max and now_s - self._used_at_s < MINUTE_S:
            return MINUTE_S - (now_s - self._used_at_s)
        over = sum(spent for _, spent in self._spent) + weight - self.weight_max
        for at_s, spent in self._spent:
            if over <= 0:
                break
            over -= spent
            if over <= 0:
                return MINUTE_S - (now_s - at_s)
        return 0.0

    async def spend(self, weight: float) -> None:
        """Waits until the budget has room for `weight`, and counts it."""
        async with self._turn:
            while (wait_s := self.wait_s(weight)) > 0:
                self.waited_s += wait_s
                await asyncio.sleep(wait_s)
            now_s = time.monotonic()
            self._spent.append((now_s, weight))
            self._not_before_s = now_s + self._gap_s * weight


def budget_of(config: Config, adapter: Adapter, share: float) -> RequestBudget:
    """The budget of a client with this share of what the venue allows, by `[venues.<name>]` of mesh.toml, else its adapter."""
    named = config.venues.get(adapter.VENUE, Named())
    return RequestBudget(named.weight_per_minute or adapter.WEIGHT_PER_MINUTE, share, adapter.REQUESTS_PER_S)


class ConnectionBudget:
    """At most `connections_max` connections opened in any `window_s` seconds; whoever would open more waits."""

    def __init__(self, connections_max: int, window_s: float):
        self.connections_max = connections_max
        self.window_s = window_s
        self._opened: deque[float] = deque()

    def wait_s(self) -> float:
        """How long until the next one may be opened; 0 if now."""
        now_s = time.monotonic()
        while self._opened and now_s - self._opened[0] >= self.window_s:
            self._opened.popleft()
        return self._opened[0] + self.window_s - now_s if len(self._opened) >= self.connections_max else 0.0

    async def spend(self) -> None:
        """Waits until the budget has room for one connection, and counts it."""
        while (wait_s := self.wait_s()) > 0:
            await asyncio.sleep(wait_s)
        self._opened.append(time.monotonic())


def connection_budget_of(settings: FeedSettings, adapter: Adapter) -> ConnectionBudget:
    """The budget of one line: `feed.connections_per_5_minutes`, or its part of what the venue allows all of them."""
    its_part = max(1, adapter.CONNECTIONS_PER_5_MINUTES // settings.lines)
    return ConnectionBudget(min(settings.connections_per_5_minutes, its_part), CONNECTION_WINDOW_S)
