"""Switches one recovery path of orders off in every process that has this folder on its PYTHONPATH: TICKMESH_WITHOUT names it.

Only tests use it, to see that the sweep of orders notices. Nothing of the mesh knows of it: a module is changed right after it
was loaded.
"""

import importlib.abc
import importlib.util
import os
import sys
from types import ModuleType

SESSION = "tickmesh.nodes.session"


_undo: list[tuple[object, str, object]] = []


def put(owner: object, name: str, value: object) -> None:
    """Replaces what an attribute is. Raises AttributeError where there is none: what is not there cannot be switched off."""
    _undo.append((owner, name, getattr(owner, name)))
    setattr(owner, name, value)


def replaced() -> int:
    """How many attributes are replaced."""
    return len(_undo)


def take_back() -> None:
    """Puts back all that was replaced."""
    while _undo:
        owner, name, value = _undo.pop()
        setattr(owner, name, value)


async def _nothing(*_args, **_more):
    return None


async def _none(*_args, **_more):
    return []


def query(module: ModuleType) -> None:
    """No order of unknown outcome is asked for by itself, nor among the open ones."""
    put(module.Reconciler, "settle", _nothing)


def absent(module: ModuleType) -> None:
    """That the venue does not know an order is never believed."""
    put(module.Reconciler, "conclude_absent", lambda *_args: None)


def trades(module: ModuleType) -> None:
    """Own trades are never asked for."""
    put(module.VenueAccount, "_trades", _none)


def reconcile(module: ModuleType) -> None:
    """Nothing is compared with the venue before the first order of a connection."""
    put(module.Reconciler, "reconcile_all", _nothing)


def outbox_tail(module: ModuleType) -> None:
    """A session reads nothing of its own outbox."""
    put(module.Session, "outbox_tail", lambda _self: [])


def adopt(module: ModuleType) -> None:
    """An order that the log does not know is nobody's."""
    put(module.Account, "claims", lambda *_args: False)


def repeated(module: ModuleType) -> None:
    """A fill that is known is taken for a new one."""
    put(module, "remember_fill", lambda *_args: True)


def pause(module: ModuleType) -> None:
    """Orders do not wait because the venue asks for it."""
    put(module.OrderRequests, "pause_orders", lambda *_args: None)


def expiry(module: ModuleType) -> None:
    """An intent that is too old is sent all the same."""
    read = module._read_intent
    put(module, "_read_intent", lambda raw: (*read(raw)[:-1], 0))  # one that never expires


def cancel_waiting(module: ModuleType) -> None:
    """A cancel of what was not sent yet comes to nothing."""
    put(module.IntentSender, "_cancel", _cancel_only_sent(module.IntentSender._cancel))


def _cancel_only_sent(cancel):
    def changed(self, intent, target_id):
        if target_id not in self._account.state.waiting:
            cancel(self, intent, target_id)

    return changed


def cancel_again(module: ModuleType) -> None:
    """A cancel is said once."""
    is_ours = module.Ordering.is_ours
    put(module.Ordering, "is_ours", lambda self, order: is_ours(self, order) and not order.cancels)


def strays(module: ModuleType) -> None:
    """What is alive at the venue and over for the log lives on."""
    put(module.IntentSender, "cancel_strays", lambda _self: None)


def stop(module: ModuleType) -> None:
    """An orderly end cancels nothing."""
    put(module, "working", lambda _account: [])


def kill_switch(module: ModuleType) -> None:
    """The executor does not listen to the kill switch."""
    put(module.TradingControl, "_kill", lambda *_args: None)


def flatten(module: ModuleType) -> None:
    """Nor to a person who has positions closed."""
    put(module.TradingControl, "_flatten", lambda *_args: None)


def strategy(module: ModuleType) -> None:
    """Nor to a strategy's being switched."""
    put(module.TradingControl, "_switch", lambda *_args: None)


def limit(module: ModuleType) -> None:
    """Nor to a limit's being tightened."""
    put(module.TradingControl, "_tighten", lambda *_args: None)


def amend(module: ModuleType) -> None:
    """No order is reduced in its place."""
    put(module.Order, "amendable", False)


def reprice(module: ModuleType) -> None:
    """What rests stays where it is, though the book has left it."""
    put(module, "_follow", lambda *_args: module.Advice())


def reconnect(module: ModuleType) -> None:
    """A lost connection is not made again, in a time that counts."""
    put(module.Backoff, "wait_s", lambda _self: 3600.0)


def outbox(module: ModuleType) -> None:
    """The sequencer does not read from a file what it did not hear."""
    put(module.Intake, "__init__", _deaf(module.Intake.__init__))


def _deaf(init):
    def changed(self, config, cursors):
        init(self, config, cursors)
        self._outbox_read = False

    return changed


def checkpoint(module: ModuleType) -> None:
    """No checkpoint is ever written."""
    put(module.CheckpointWriter, "offer", lambda *_args: None)


PATHS = {
    "query": (f"{SESSION}.reconciliation", query),
    "absent": (f"{SESSION}.reconciliation", absent),
    "reconcile": (f"{SESSION}.reconciliation", reconcile),
    "trades": (f"{SESSION}.asking", trades),
    "outbox_tail": (f"{SESSION}.node", outbox_tail),
    "adopt": (f"{SESSION}.account", adopt),
    "repeated": ("tickmesh.nodes.orders.fills", repeated),
    "pause": (f"{SESSION}.requests", pause),
    "expiry": (f"{SESSION}.sending", expiry),
    "cancel_waiting": (f"{SESSION}.sending", cancel_waiting),
    "cancel_again": ("tickmesh.nodes.executor.ordering", cancel_again),
    "strays": (f"{SESSION}.sending", strays),
    "stop": (f"{SESSION}.stopping", stop),
    "kill_switch": ("tickmesh.nodes.executor.control", kill_switch),
    "flatten": ("tickmesh.nodes.executor.control", flatten),
    "strategy": ("tickmesh.nodes.executor.control", strategy),
    "limit": ("tickmesh.nodes.executor.control", limit),
    "amend": ("tickmesh.nodes.executor.orders", amend),
    "reprice": ("tickmesh.nodes.executor.styles.resting", reprice),
    "reconnect": (f"{SESSION}.venue_connection", reconnect),
    "outbox_read": ("tickmesh.bus.intake", outbox),
    "checkpoint": ("tickmesh.bus.checkpoint", checkpoint),
}


class _Changing(importlib.abc.MetaPathFinder):
    """Finds one module as ever, and changes it once it is loaded."""

    def __init__(self, name: str, change):
        self.name, self.change = name, change

    def find_spec(self, name, path, target=None):
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            self.change(module)

        spec.loader.exec_module = exec_module
        return spec


if (_without := os.environ.get("TICKMESH_WITHOUT")) in PATHS:
    sys.meta_path.insert(0, _Changing(*PATHS[_without]))
