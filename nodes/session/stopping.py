"""The orderly end of a session: nothing new is placed, and what it has working is cancelled if configuration says so."""

import asyncio

from tickmesh.bus.operator_log import log_line
from tickmesh.bus.process import Context
from tickmesh.nodes.session.account import OURS, Account
from tickmesh.nodes.session.account_state import SessionOrder
from tickmesh.nodes.session.requests import OrderRequests
from tickmesh.nodes.session.sending import IntentSender

CANCEL_S = 2.0  # for the answers to the cancels; with the end of the tasks (node.END_S) it stays within 5 s
LOOK_S = 0.02
AGAIN_S = 0.3  # after a cancel that was refused, by a venue that does not cope or asks to wait
REASON = "the session was stopped before it was sent"


async def end_orders(ctx: Context, account: Account, requests: OrderRequests, sender: IntentSender) -> None:
    """Ends what this session does at the venue, in CANCEL_S at most.

    No order is sent from now on. Intents that wait end Expired, unsent. With `[session] on_stop = "cancel"` the orders of an
    executor that are working are cancelled, again where that was refused, and their ends awaited; an alert names those that may
    work on.
    """
    requests.stopping = True
    ctx.alert("info", "session_stopping", "the session was asked to stop", "nothing: it sends no more orders")
    sender.expire_waiting(REASON)
    if ctx.config.session.on_stop == "keep":
        if kept := len(working(account)):
            log_line(ctx.name, "info", f"leaves {kept} orders working at the venue: [session] on_stop is 'keep'")
        return
    loop = asyncio.get_running_loop()
    deadline = loop.time() + CANCEL_S
    asked: dict[str, float] = {}  # when last
    while (left := working(account)) and loop.time() < deadline:
        for order in left:
            cid, now_s = order.client_order_id, loop.time()
            early = cid in asked and (now_s < asked[cid] + AGAIN_S or requests.in_flight(cid))
            if not early and sender.cancel_order(order):
                asked[cid] = now_s
        await asyncio.sleep(LOOK_S)
        sender.expire_waiting(REASON)  # of an executor that ends at the same time
    if left:
        names = ", ".join(order.client_order_id for order in left[:5])
        why = f"{len(left)} orders may still work at the venue: {CANCEL_S:g} s after their cancels no end is proven ({names})"
        ctx.alert("critical", "orders_left", why, "start the session again, or cancel them at the venue")
    elif asked:
        log_line(ctx.name, "info", f"has cancelled the {len(asked)} orders that were working")


def working(account: Account) -> list[SessionOrder]:
    """The orders of an executor, of this log or a lost one, that are not over."""
    return [order for order in account.state.orders.values() if not order.final and OURS.match(order.client_order_id)]
