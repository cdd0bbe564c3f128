"""A whole session process that kills itself at a named point of its life.

A point is "before" or "after" what it does: `publish STATUS`, `publish fill`, `publish balance`, `send METHOD`, or of BESIDE.
The production code has no seam for it: the process that a test starts wraps the two functions through which everything leaves a
session, and those of BESIDE.
"""

import inspect
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tickmesh.bus.process import Context
from tickmesh.bus.schema import Kind, Status
from tickmesh.bus.wire import decode
from tickmesh.nodes.__main__ import main
from tickmesh.nodes.session import emergency
from tickmesh.nodes.session.account import Account
from tickmesh.nodes.session.asking import VenueAccount
from tickmesh.nodes.session.requests import OrderRequests
from tickmesh.nodes.session.sending import IntentSender
from tickmesh.nodes.session.venue_connection import VenueConnection

QUICK = """
checkpoint_s = 0.1
[session]
request_timeout_s = 0.4
reconcile_s = 0.3
recv_window_ms = 300
absence_margin_s = 0.5
backoff_s = [0.01, 0.05]
"""
FINAL = ("Filled", "Canceled", "Rejected", "Expired")
WORDS = {"NEW": "New", "PARTIALLY_FILLED": "PartiallyFilled", "FILLED": "Filled", "CANCELED": "Canceled"}
PATIENCE_S = 60.0

FORKING = multiprocessing.get_context("forkserver")  # a clean process that has imported all, and has no thread yet
FORKING.set_forkserver_preload(["tests.support.dying_session"])
SENT = ("order.place", "order.cancel", "order.amend.keepPriority", "userDataStream.subscribe.signature")
DONE = [
    *(f"publish {status.name}" for status in Status),
    "publish fill",
    "publish balance",
    *(f"send {method}" for method in SENT),
]
OF_FUTURES = [  # where it is not the same code as at another venue, or other events come
    *(f"publish {what}" for what in ("New", "PartiallyFilled", "Filled", "Unknown", "fill", "balance", "funding")),
    *(f"send {method}" for method in ("order.place", "order.cancel", "userDataStream.start")),
]
BESIDE = {  # what an order of a plain day does not meet: whose function does it
    "REST begins": (VenueConnection, "_begin_rest"),
    "REST answers": (VenueConnection, "_on_rest_answer"),
    "REST ends": (VenueConnection, "_end_rest"),
    "an adoption": (Account, "_adopt"),
    "a cancel at the stop": (IntentSender, "cancel_order"),
    "an emergency cancel": (VenueAccount, "cancel"),
}
POINTS_OF_FUTURES = [f"{when} {what}" for what in OF_FUTURES for when in ("before", "after")]
POINTS = [f"{when} {what}" for what in DONE for when in ("before", "after")]


def die() -> None:
    """Ends this process as SIGKILL does, at once."""
    os.kill(os.getpid(), signal.SIGKILL)


def named(events: list[bytearray]) -> set[str]:
    """What these events are, by the names of points."""
    out = set()
    for event in map(decode, events):
        if event.kind == Kind.update:
            out |= {f"publish {Status(int(row['status'])).name}" for row in event.records}
        elif event.kind in (Kind.fill, Kind.balance, Kind.funding):
            out.add(f"publish {Kind(event.kind).name}")
    return out


def armed(act: Callable[..., Any], names: Callable[..., set[str]], point: str) -> Callable[..., Any]:
    """The function `act`, which dies before or after the first call that `names` calls by the point's name."""
    when, _, what = point.partition(" ")

    async def begin(self: Any, *words: Any) -> Any:
        struck = what in names(*words)
        if struck and when == "before":
            die()
        out = await act(self, *words)
        if struck:
            die()
        return out

    def call(self: Any, *words: Any, **named_words: Any) -> Any:
        struck = what in names(*words)
        if struck and when == "before":
            die()
        out = act(self, *words, **named_words)
        if struck:
            die()
        return out

    return begin if inspect.iscoroutinefunction(act) else call


def live(root: Path, point: str, instance: str, cancels: bool) -> None:
    """Runs the session of the mesh in `root`; it dies at `point`, or never where that is empty. `cancels`: the emergency's."""
    os.chdir(root)
    os.environ["TICKMESH_ROOT"] = str(root)
    if point:
        Context.publish = armed(Context.publish, named, point)  # type: ignore[method-assign]
        OrderRequests.send = armed(OrderRequests.send, lambda request: {f"send {request.method}"}, point)  # type: ignore[method-assign]
        if (what := point.partition(" ")[2]) in BESIDE:
            whose, name = BESIDE[what]
            setattr(whose, name, armed(getattr(whose, name), lambda *_: {what}, point))
    if cancels:
        emergency.main()
    else:
        main(["session", *([instance] if instance else [])])


def start(root: Path, point: str = "", instance: str = "", cancels: bool = False) -> Any:
    """Starts such a process; it has `pid`, `exitcode`, `is_alive()` and `kill()`."""
    process = FORKING.Process(target=live, args=(root, point, instance, cancels), daemon=True)
    process.start()
    return process
