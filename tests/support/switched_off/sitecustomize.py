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


async def _nothing(*_args, **_more):
    return None


async def _none(*_args, **_more):
    return []


def query(module: ModuleType) -> None:
    """No order of unknown outcome is asked for by itself, nor among the open ones."""
    module.Reconciler.settle = _nothing


def absent(module: ModuleType) -> None:
    """That the venue does not know an order is never believed."""
    module.Reconciler.conclude_absent = lambda *_args: None


def trades(module: ModuleType) -> None:
    """Own trades are never asked for."""
    module.VenueAccount._trades = _none


def reconcile(module: ModuleType) -> None:
    """Nothing is compared with the venue before the first order of a connection."""
    module.Reconciler.reconcile_all = _nothing


def outbox_tail(module: ModuleType) -> None:
    """A session reads nothing of its own outbox."""
    module.Session.outbox_tail = lambda _self: []


def adopt(module: ModuleType) -> None:
    """An order that the log does not know is nobody's."""
    module.Account.claims = lambda *_args: False


def repeated(module: ModuleType) -> None:
    """A fill that is known is taken for a new one."""
    module.remember_fill = lambda *_args: True


def pause(module: ModuleType) -> None:
    """Orders do not wait because the venue asks for it."""
    module.OrderRequests.pause_orders = lambda *_args: None


def expiry(module: ModuleType) -> None:
    """An intent that is too old is sent all the same."""
    module.now_ns = lambda: 0


def cancel_waiting(module: ModuleType) -> None:
    """A cancel of what was not sent yet comes to nothing."""
    module.IntentSender._cancel = _cancel_only_sent(module.IntentSender._cancel)


def _cancel_only_sent(cancel):
    def changed(self, intent, target_id):
        if target_id not in self._account.state.waiting:
            cancel(self, intent, target_id)

    return changed


def cancel_again(module: ModuleType) -> None:
    """A cancel is said once."""
    is_ours = module.Ordering._is_ours
    module.Ordering._is_ours = lambda self, order: is_ours(self, order) and not order.cancels


def stop(module: ModuleType) -> None:
    """An orderly end cancels nothing."""
    module.working = lambda _account: []


def kill_switch(module: ModuleType) -> None:
    """The executor does not listen to the kill switch."""
    module.TradingControl._kill = lambda *_args: None


def reconnect(module: ModuleType) -> None:
    """A lost connection is not made again, in a time that counts."""
    module.Backoff.wait_s = lambda _self: 3600.0


def checkpoint(module: ModuleType) -> None:
    """No checkpoint is ever written."""
    module.CheckpointWriter.offer = lambda *_args: None


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
    "stop": (f"{SESSION}.stopping", stop),
    "kill_switch": ("tickmesh.nodes.executor.control", kill_switch),
    "reconnect": (f"{SESSION}.venue_connection", reconnect),
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
