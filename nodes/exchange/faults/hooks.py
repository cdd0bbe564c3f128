"""Where faults and the exchange ledger plug into the exchange. Pure: what is asked and answered, no behaviour.

Three choke points, and nothing goes around them:
- everything that is sent to a websocket client goes through `Client.send` (nodes/exchange/api/streams.py), which asks
  `faults.on_send`;
- every REST request, WS-API request and websocket handshake is an `IncomingRequest`, which `faults.on_request` sees first
  (nodes/exchange/server/rest.py and sockets.py);
- everything that happens is `Uncommitted`, taken from the core in one place, `RunningExchange.commit`
  (nodes/exchange/server/running.py), which gives it to `ledger.append_committed` before any of it is sent.

All clocks of the exchange are `RunningExchange.now_ms`, which adds `faults.skew_ms`.
"""

from typing import NamedTuple, Protocol

from tickmesh.nodes.exchange.api.streams import Client, SendHook


class IncomingRequest(NamedTuple):
    """A request or handshake, as faults see it. `door`: "rest", "ws-api", "ws" (a market socket) or "ws-api-connect"."""

    door: str
    operation: str  # "POST /api/v3/order", "order.place", or the path of a handshake
    address: str  # the client's IP
    client: Client | None = None  # of a WS-API request


class RequestFault(NamedTuple):
    """A fault's treatment of a request in place of the usual answer."""

    execute: bool = False  # carry the request out first (a lost acknowledgement), or not at all
    delay_s: float = 0.0  # before answering
    enter_s: float = 0.0  # before carrying it out
    status: int = 0  # 0: the real answer (`execute`), only late; else `body` under this status
    body: bytes = b""  # JSON `{"code","msg"}`, or whatever a broken venue sends; the WS-API wraps it as its `error`
    content_type: str = "application/json"
    headers: dict[str, str] = {}
    cut: bool = False  # no answer at all: the connection is cut


class FaultHooks(SendHook, Protocol):
    """The exchange's view of its faults (faults.Faults): questions to them, and reports of connections."""

    @property
    def skew_ms(self) -> float:
        """How far off the venue's clock is."""

    def on_request(self, asked: IncomingRequest) -> RequestFault | None:
        """The fault's treatment of a request in place of the usual answer; None: answer as usual."""

    def opened(self, client: Client, detail: str = "") -> None:
        """Takes notice that a websocket has opened; its `number` counts from 1 since the exchange began."""

    def closed(self, client: Client) -> None:
        """Takes notice that a websocket has closed, whoever closed it."""
