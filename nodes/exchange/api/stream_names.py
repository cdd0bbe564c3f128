"""Which of the venues' market streams the local exchange has. Pure.

A venue acknowledges whatever it is asked for, and is silent where there is no such stream; so is the local one. But streams
that the venue does have and the local exchange has not are refused: their silence would be taken for a quiet market.
Sources: web-socket-streams.md of Binance spot (2026), and "Websocket Market Streams" of USD-M futures.
"""

import re

from tickmesh.nodes.exchange.market.instruments import SPOT

# what stands after `symbol@`, or after `!` for all symbols, in the names of streams that are not built
SPOT_ELSEWHERE = re.compile(r"^([^!@]+@blockTrade|!ticker_(1h|4h|1d)@arr)$")
USDM_ELSEWHERE = re.compile(
    r"^(![A-Za-z]+(@arr)?(@1s)?|[^!@]+@(depth|depth(5|10|20)(@100ms|@250ms|@500ms)?|rpiDepth(@500ms)?|kline_\w+"
    r"|miniTicker|ticker|forceOrder|compositeIndex|assetIndex)|[^!@]+@continuousKline_\w+)$"
)


def is_elsewhere(venue: str, stream: str) -> bool:
    """Whether the real venue has a stream that the local exchange does not."""
    return (SPOT_ELSEWHERE if venue == SPOT else USDM_ELSEWHERE).match(stream) is not None


def refusal(stream: str) -> str:
    """The sentence that refuses a stream which is not built."""
    return f"Invalid request: the local exchange does not have the stream `{stream[:60]}`, which the real venue has"
