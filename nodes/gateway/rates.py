"""How many requests an address may make: a bucket of tokens each, which fills with time."""

from collections import OrderedDict

ADDRESSES_MAX = 4096  # that are remembered: the one that has been silent longest is forgotten first


class RequestRates:
    """Counts requests by address. `per_s`: how many a bucket is filled by in a second; it holds twice as many."""

    def __init__(self, per_s: float):
        self.per_s, self.most = per_s, max(2 * per_s, 1.0)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address → (tokens, when they were counted)

    def wait_s(self, address: str, now_s: float) -> float:
        """Takes a token for a request of `address` at a time (monotonic, s); 0, or seconds until there is one."""
        tokens, counted_s = self._buckets.pop(address, (self.most, now_s))
        tokens = min(self.most, tokens + max(now_s - counted_s, 0.0) * self.per_s)
        wait_s = 0.0 if tokens >= 1 else (1 - tokens) / self.per_s
        self._buckets[address] = (tokens - 1 if tokens >= 1 else tokens, now_s)
        if len(self._buckets) > ADDRESSES_MAX:
            self._buckets.popitem(last=False)
        return wait_s
