"""Which fill is which, for session and executor alike: one order's side of one trade. No I/O.

A trade id alone names two fills where both orders are ours (a self-trade): each side counts, and each of them once, whoever
tells it (reply, stream, reconcile) and however often.
"""


def learn(known: dict[str, int], client_order_id: str, trade_id: int, most: int) -> bool:
    """Whether a fill is new to `known` (`client order id/trade id` → trade id), which has it afterwards.

    Beyond `most` fills the one learned first is forgotten.
    """
    name = f"{client_order_id}/{trade_id}"
    if name in known:
        return False
    known[name] = trade_id
    if len(known) > most:
        del known[next(iter(known))]
    return True
