"""Which parameters an operation reads, and the refusal of a request that has others. Pure.

Source of the tables in api.py: the venue's documentation (rest-api.md and web-socket-api.md of 2026), as its own
client binance-sdk-spot 13.3, which is made from it, has them. The refusal's words and counts: `GET depth?symbol&depth` is "read
'1' parameter(s) but was sent '2'" (ccxt/node-binance-api issue 18), an order with `timeInforce` "read '7' … sent '8'",
timestamp and signature included (binance/binance-connector-python issue 172).
"""

from typing import NamedTuple

from tickmesh.nodes.exchange.protocol import Params, VenueError, missing_parameter


class Takes(NamedTuple):
    """The parameters that an operation reads, and those of them that no request may lack."""

    names: frozenset[str] = frozenset()
    mandatory: tuple[str, ...] = ()

    def also(self, more: "Takes") -> "Takes":
        """Joins two sets of parameters."""
        return Takes(self.names | more.names, (*self.mandatory, *more.mandatory))

    def check(self, params: Params) -> None:
        """Refuses parameters that are not read: VenueError −1104, or −1102 where a mandatory one is missing for it."""
        unread = [name for name in params.values if name not in self.names]
        if not unread:
            return
        for name in self.mandatory:
            if name not in params:
                raise missing_parameter(name)
        sent = len(params.values)
        raise VenueError(
            -1104, f"Not all sent parameters were read; read '{sent - len(unread)}' parameter(s) but was sent '{sent}'."
        )


def takes(text: str = "") -> Takes:
    """Reads a table's entry: names with spaces between them, an exclamation mark after the mandatory ones."""
    words = text.split()
    return Takes(frozenset(word.rstrip("!") for word in words), tuple(word[:-1] for word in words if word.endswith("!")))


SIGNED = takes("timestamp! recvWindow signature!")
WS_SIGNED = SIGNED.also(takes("apiKey!"))
WS_KEYED = takes("apiKey!")
EVERY_WS_REQUEST = takes("returnRateLimits")
