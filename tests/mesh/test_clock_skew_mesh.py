"""A venue whose clock jumps: the session measures it, the executor refuses orders until it is right again."""

import urllib.request
from json import dumps

import pytest

from tests.support.mesh_run import until
from tests.support.trading_mesh import trading_mesh
from tickmesh.bus.schema import Action, Kind
from tickmesh.nodes.exchange.server.faults import PATH
from tickmesh.nodes.net import exchange_address

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(900)]

SETTINGS = """
[executor]
styles = ["limit_ioc"]
[session]
reconcile_s = 1.0
"""
PATIENCE_S = 240.0


def faults(mesh, method: str, content: object = None) -> None:
    base = exchange_address.read(mesh.config).rest
    body = dumps(content).encode() if content is not None else None
    request = urllib.request.Request(f"{base}{PATH}", body, {"Content-Type": "application/json"}, method=method)
    urllib.request.urlopen(request, timeout=30).close()


def orders(mesh, after: int) -> int:
    return sum(event.records["action"][0] == Action.NEW for event in mesh.events(Kind.intent, after=after))


def refused(mesh) -> int:
    return mesh.newest("executor").get("refused", {}).get("clock_skew", 0)


def alerts(mesh) -> list[tuple[str, bool]]:
    """Of the clocks: the level, and whether it says that nothing is ordered."""
    said = [event.map() for event in mesh.events(Kind.alert)]
    return [(one["level"], "nothing is ordered" in one["why"]) for one in said if one["what"] == "clock_skew"]


def test_no_order_while_the_clocks_differ_too_much(tmp_path):
    with trading_mesh(tmp_path, SETTINGS) as mesh:
        until(lambda: orders(mesh, 0) > 2, "it trades", PATIENCE_S)
        assert refused(mesh) == 0
        faults(mesh, "POST", {"kind": "clock", "length_s": 0, "offset_ms": 5000})
        until(lambda: refused(mesh) > 2, lambda: f"it refuses: {mesh.newest('session')}", PATIENCE_S)
        assert 4000 < mesh.newest("session")["clock_skew_ms"] < 6000
        since = mesh.last()
        was = refused(mesh)
        until(lambda: refused(mesh) > was + 2, "it goes on refusing", PATIENCE_S)
        assert orders(mesh, since) == 0
        assert alerts(mesh) == [("critical", True)]
        faults(mesh, "DELETE")
        until(lambda: orders(mesh, since) > 2, lambda: f"it trades again: {mesh.newest('session')}", PATIENCE_S)
        assert alerts(mesh) == [("critical", True), ("info", False)], "said once, and its end"
