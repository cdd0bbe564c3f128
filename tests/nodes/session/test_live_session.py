"""A session in mode live: it sends orders to the venue of mesh.toml, by a key that may do nothing but trade, when confirmed."""

import asyncio

import pytest

from tests.support.session_scene import scenario
from tests.support.waiting import until
from tickmesh.bus.config import load
from tickmesh.bus.process import Stopped
from tickmesh.nodes.net import exchange_address
from tickmesh.nodes.session import confirmation

LIMITS = {"order_notional_max": "100", "notional_max": "1000", "daily_loss_max": "20"}


def make_live(mesh, mode: str = "live", confirmed: bool = True) -> None:
    """The mesh's settings, with the scripted venue as the real one: no file in run/ says any more where it is."""
    root, where = mesh.config.root, exchange_address.read(mesh.config)
    key = root / "key.toml"
    key.write_text('api_key = "local-key"\nsecret = "local-secret"\n')
    key.chmod(0o600)
    addresses = {"ws_api": [where.ws, where.ws], "rest_api": [where.rest], "ca": "run/exchange.crt"}
    session = {"key_file": "key.toml", "request_timeout_s": 2.0, "recv_window_ms": 2000, "backoff_s": [0.01, 0.05]}
    settings = {"mode": mode, "risk": LIMITS, "session": session, "venues": {"binance": addresses}, "checkpoint_s": 0.1}
    mesh.config = load(root, settings)
    (mesh.config.run_dir / exchange_address.FILE).unlink()
    if confirmed:
        confirmation.confirm(mesh.config)


async def ended(mesh) -> str:
    """Why the session has ended for good; it is taken as seen."""
    with pytest.raises(Stopped) as stopped:
        await asyncio.wait_for(mesh.task, 20)
    mesh.task = None
    await mesh.ctx.close()
    return str(stopped.value)


@pytest.mark.parametrize("mode", ["live", "testnet"])
def test_orders_go_to_the_venue_that_mesh_toml_names(tmp_path, mode):
    async def play(mesh, venue):
        make_live(mesh, mode)
        if mode == "testnet":
            venue.rights = {}  # it has no such question: one that is asked all the same would end the session
        mesh.start()
        mesh.publish_intent("a")
        await until(lambda: mesh.states("a")[-1:] == ["New"])
        assert venue.received == [("place", "a")]

    scenario(tmp_path, play, started=False, tls=True)


def test_what_nobody_has_confirmed_sends_nothing(tmp_path):
    async def play(mesh, venue):
        make_live(mesh, confirmed=False)
        mesh.start()
        assert "nobody has confirmed" in await ended(mesh)
        await until(lambda: mesh.alerts("not_confirmed"))
        assert venue.received == [] and venue.sockets == []

    scenario(tmp_path, play, started=False, tls=True)


@pytest.mark.parametrize("right", ["enableWithdrawals", "permitsUniversalTransfer"])
def test_a_key_that_can_take_money_away_sends_nothing(tmp_path, right):
    async def play(mesh, venue):
        venue.rights |= {right: True}
        make_live(mesh)
        mesh.start()
        mesh.publish_intent("a")
        assert "whoever got it could take the money" in await ended(mesh)
        await until(lambda: mesh.alerts("key_not_used"))
        assert venue.received == [] and venue.sockets == []

    scenario(tmp_path, play, started=False, tls=True)
