"""What a key may do beside trading: one that may withdraw is not used for orders, one that may not trade cannot be.

"Get API Key Permission" (`GET /sapi/v1/account/apiRestrictions`) of Binance's wallet pages. Its testnet has no such question.
"""

import msgspec

from tickmesh.nodes.net.rest import Rest
from tickmesh.nodes.session.credentials import Credentials
from tickmesh.nodes.venues.binance_signing import signed_query

PATH = "/sapi/v1/account/apiRestrictions"


class KeyRights(msgspec.Struct):
    """The part of the answer that is looked at."""

    enableWithdrawals: bool
    enableSpotAndMarginTrading: bool
    enableInternalTransfer: bool = False
    permitsUniversalTransfer: bool = False


def refusal(rights: KeyRights) -> str:
    """Why a key with these rights is not used, a sentence; "" for one that may trade, and move nothing away."""
    may = {
        "withdraw": rights.enableWithdrawals,
        "transfer to other accounts": rights.enableInternalTransfer or rights.permitsUniversalTransfer,
    }
    if away := [word for word, allowed in may.items() if allowed]:
        return f"the key may {' and '.join(away)}: whoever got it could take the money. Make one that may trade only"
    if not rights.enableSpotAndMarginTrading:
        return "the key may not trade: allow spot trading for it at the venue"
    return ""


async def rights_of(rest: Rest, base: str, key: Credentials, now_ms: int, recv_window_ms: int) -> KeyRights:
    """Asks the venue. Raises RestError, RestUnreachable; msgspec.DecodeError for an answer that means nothing."""
    query = signed_query({}, key.sign, now_ms, recv_window_ms)
    return msgspec.json.decode(await rest.get(base, PATH, query), type=KeyRights)
