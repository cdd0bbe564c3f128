"""Orders over signed REST, while the order socket cannot be had: the same requests, and answers as that would bring them."""

from collections.abc import Callable

from tickmesh.bus.clock import now_ns
from tickmesh.bus.process import Context
from tickmesh.nodes.net.rest import RestError, RestLimited, RestUnreachable
from tickmesh.nodes.session.asking import VenueAccount
from tickmesh.nodes.session.requests import PendingRequest
from tickmesh.nodes.venues.order_venue import VenueMessage

Answered = Callable[[VenueMessage, int], None]  # an answer, and when it came


class RestOrders:
    """Sends requests one by one as they come, each as a task of its own; none twice, and none that was sent otherwise.

    `answered` has each answer; one that never comes is overdue like any other, and the venue is asked what became of it. `lost`
    is told why none came.
    """

    def __init__(self, ctx: Context, account: VenueAccount, answered: Answered, lost: Callable[[str], None]):
        self._ctx = ctx
        self._account = account
        self._answered = answered
        self._lost = lost

    def send(self, request: PendingRequest) -> None:
        """Begins to send a request; its answer comes to `answered`."""
        self._ctx.own(self._ask(request))

    async def _ask(self, request: PendingRequest) -> None:
        try:
            body = await self._account.send(request.asked)
            message = VenueMessage(request.number, True, 200, body)
        except RestUnreachable as error:
            self._lost(str(error))  # whether the request did something is not known: it will be overdue
            return
        except RestError as error:
            pause_ms = int(error.wait_s * 1000) if isinstance(error, RestLimited) else 0
            message = VenueMessage(request.number, False, error.status, b"", error.code, error.words, 0, pause_ms)
        self._answered(message, now_ns())
