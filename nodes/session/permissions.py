"""What a key may do beside trading: one that may withdraw is not used for orders, one that may not trade cannot be.

"Get API Key Permission" (`GET /sapi/v1/account/apiRestrictions`) of Binance's wallet pages: a question to the REST of spot, for
keys of spot and of USD-M alike; fapi has none such (`canWithdraw` there is of the account). Testnets have none either.
"""

import msgspec

from tickmesh.bus.process import Context, Stopped
from tickmesh.nodes.net.endpoints import VenueAddresses
from tickmesh.nodes.net.rest import Rest, RestError, RestUnreachable
from tickmesh.nodes.net.waits import Waits
from tickmesh.nodes.session.credentials import Credentials
from tickmesh.nodes.venues import binance
from tickmesh.nodes.venues.binance_signing import signed_query
from tickmesh.nodes.venues.table import adapter_of

PATH = "/sapi/v1/account/apiRestrictions"
TRADING = {  # venue → the right without which no order is taken there, and what to do where the key has not got it
    "binance": ("enableSpotAndMarginTrading", "allow spot trading for it at the venue"),
    "binance_usdm": (
        "enableFutures",
        "allow futures for it at the venue; a key that is older than the futures account, or of an account with portfolio "
        "margin, cannot have that: make a new one, or leave portfolio margin",
    ),
}


class KeyRights(msgspec.Struct):
    """The part of the answer that is looked at. A right that the answer does not name is not assumed."""

    enableWithdrawals: bool
    enableSpotAndMarginTrading: bool = False
    enableFutures: bool = False
    enableInternalTransfer: bool = False
    permitsUniversalTransfer: bool = False


def refusal(rights: KeyRights, venue: str) -> str:
    """Why a key with these rights is not used at a venue, a sentence; "" for one that may trade, and move nothing away."""
    may = {
        "withdraw": rights.enableWithdrawals,
        "transfer to other accounts": rights.enableInternalTransfer or rights.permitsUniversalTransfer,
    }
    if away := [word for word, allowed in may.items() if allowed]:
        return f"the key may {' and '.join(away)}: whoever got it could take the money. Make one that may trade only"
    right, remedy = TRADING[venue]
    return "" if getattr(rights, right) else f"the key may not trade ({right}): {remedy}"


class KeyCheck:
    """Asks once, in mode live, what the key of a session at `venue` may do."""

    def __init__(self, ctx: Context, venue: str, key: Credentials):
        self._ctx, self._venue, self._key = ctx, venue, key
        self._addresses = VenueAddresses(ctx.config, adapter_of(binance.VENUE), 1, ctx.name, orders=True)
        self._checked = ctx.config.mode != "live"

    async def check(self, now_ms: int) -> None:
        """Returns where the key is used; asks again where the venue has not said so far. `now_ms`: of the venue's clock.

        Raises Stopped, after an alert, for a key that is not used; RestError, RestUnreachable or msgspec.DecodeError where it
        has not said.
        """
        if self._checked:
            return
        if why := refusal(await self._ask(now_ms), self._venue):
            action = "no order is sent; change the key at the venue, then start the session"
            self._ctx.alert("critical", "key_not_used", f"{self._venue}: {why}", action)
            raise Stopped(why)
        self._checked = True

    async def _ask(self, now_ms: int) -> KeyRights:
        settings = self._ctx.config.session
        waits = Waits(self._ctx.config, self._ctx.name, self._ctx.alert_of, binance.VENUE)
        rules, timeout_s = binance.REST_RULES, settings.request_timeout_s
        rest = Rest(rules, timeout_s, self._key.api_key, ca=self._addresses.ca, waits=waits)
        query = signed_query({}, self._key.sign, now_ms, settings.recv_window_ms)
        try:
            return msgspec.json.decode(await rest.get(await self._addresses.rest(), PATH, query), type=KeyRights)
        except (RestError, RestUnreachable):
            self._addresses.hop_rest()
            raise
        finally:
            await rest.close()
