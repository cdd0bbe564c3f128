"""A client's share of a venue's request budget: who would spend more waits."""

import asyncio
import time
from collections import deque

from tickmesh.bus.config import Config
from tickmesh.bus.settings import VenueSettings as Named
from tickmesh.nodes.venues.adapter import Adapter

MINUTE_S = 60.0


class RequestBudget:
    """At most `share` of `weight_per_minute` in any minute, counted here; and nothing while the venue's own count is above
    its limit less that share, since others use the same address. `spend` waits; one at a time, in order.

    `per_s`: what the venue allows in a second, 0 where it counts by the minute only. Of it the same share, one after the other:
    a minute's worth at once would be refused.
    """

    def __init__(self, weight_per_minute: float, share: float, per_s: float = 0.0):
        self.limit = weight_per_minute * share
        self._gap_s = 1.0 / (per_s * share) if per_s else 0.0  # for a weight of 1
        self._not_before = 0.0
        self.ceiling = weight_per_minute * (1 - share / 2)
        self.used = 0.0  # as the venue last said, of the running minute
        self._used_at = 0.0
        self._spent: deque[tuple[float, float]] = deque()
        self._turn = asyncio.Lock()
        self.waited_s = 0.0

    def seen(self, used: float) -> None:
        """What the venue says has been used in this minute."""
        self.used, self._used_at = used, time.monotonic()

    def wait_s(self, weight: float) -> float:
        """How long until `weight` may be spent; 0 if now. A request above the whole share is let through alone."""
        now = time.monotonic()
        if now < self._not_before:
            return self._not_before - now
        while self._spent and now - self._spent[0][0] >= MINUTE_S:
            self._spent.popleft()
        if self.used + weight > self.ceiling and now - self._used_at < MINUTE_S:
            return MINUTE_S - (now - self._used_at)
        over = sum(spent for _, spent in self._spent) + weight - self.limit
        for when, spent in self._spent:
            if over <= 0:
                break
            over -= spent
            if over <= 0:
                return MINUTE_S - (now - when)
        return 0.0

    async def spend(self, weight: float) -> None:
        async with self._turn:
            while (wait_s := self.wait_s(weight)) > 0:
                self.waited_s += wait_s
                await asyncio.sleep(wait_s)
            now = time.monotonic()
            self._spent.append((now, weight))
            self._not_before = now + self._gap_s * weight


def budget_of(config: Config, adapter: Adapter, share: float) -> RequestBudget:
    """A share of what the venue allows: by `[venues.<name>]` of mesh.toml, else by its adapter."""
    named = config.venues.get(adapter.VENUE, Named())
    return RequestBudget(named.weight_per_minute or adapter.WEIGHT_PER_MINUTE, share, adapter.REQUESTS_PER_S)


class Attempts:
    """At most `most` of something in `window_s` seconds, such as connections to a venue that counts them."""

    def __init__(self, most: int, window_s: float):
        self.most = most
        self.window_s = window_s
        self._made: deque[float] = deque()

    def wait_s(self) -> float:
        """How long until the next one is allowed; 0 if now."""
        now = time.monotonic()
        while self._made and now - self._made[0] >= self.window_s:
            self._made.popleft()
        return self._made[0] + self.window_s - now if len(self._made) >= self.most else 0.0

    async def take(self) -> None:
        """Waits until one is allowed, and counts it."""
        while (wait_s := self.wait_s()) > 0:
            await asyncio.sleep(wait_s)
        self._made.append(time.monotonic())
