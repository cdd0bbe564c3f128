"""Which fill is which, for session and executor alike: one order's side of one trade. No I/O.

A trade id alone names two fills where both orders are ours (a self-trade): each side counts, and each of them once, whoever
reports it (reply, stream, reconcile) and however often.
"""


def remember_fill(known: dict[str, int], client_order_id: str, trade_id: int, kept_max: int) -> bool:
    """Adds a fill to `known` (`client order id/trade id` → trade id); False where it was known.

    Beyond `kept_max` fills the one that was added first is forgotten.
    """
    name = _name(client_order_id, trade_id)
    if name in known:
        return False
    known[name] = trade_id
    if len(known) > kept_max:
        del known[next(iter(known))]
    return True


def is_known_fill(known: dict[str, int], client_order_id: str, trade_id: int) -> bool:
    """Whether `remember_fill` has added it to `known`."""
    return _name(client_order_id, trade_id) in known


def _name(client_order_id: str, trade_id: int) -> str:
    return f"{client_order_id}/{trade_id}"
