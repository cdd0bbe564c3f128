"""A session in mode live: it sends orders to the venue of mesh.toml, by a key that may do nothing but trade, when confirmed."""

import asyncio

import pytest

from tests.support.scripted_futures import FuturesVenue
from tests.support.session_scene import Venue, scenario
from tests.support.waiting import until
from tickmesh.bus.config import load
from tickmesh.bus.process import Stopped
from tickmesh.nodes.net import exchange_address
from tickmesh.nodes.session import confirmation

LIMITS = {"order_notional_max": "100", "notional_max": "1000", "daily_loss_max": "20"}
NOBODY = "wss://127.0.0.1:9"  # no server listens there


def make_live(mesh, mode: str = "live", confirmed: bool = True) -> None:
    """The mesh's settings, with the scripted venue as the real one: no file in run/ says any more where it is.

    User events of futures come where market data does, which is not where orders go; what a key may do is asked at spot.
    """
    root, where = mesh.config.root, exchange_address.read(mesh.config, mesh.account)
    key = root / "key.toml"
    key.write_text('api_key = "local-key"\nsecret = "local-secret"\n')
    key.chmod(0o600)
    ws = [f"{where.ws}/streams"] if mesh.account == "binance_usdm" else [NOBODY]
    addresses = {"ws_api": [where.ws, where.ws], "rest_api": [where.rest], "ws": ws, "ca": "run/exchange.crt"}
    spot = {"rest_api": [where.rest.removesuffix(mesh.venue.BASE)], "ca": "run/exchange.crt"}
    session = {"key_file": "key.toml", "request_timeout_s": 2.0, "recv_window_ms": 2000, "backoff_s": [0.01, 0.05]}
    venues = {"binance": spot} | {mesh.account: addresses}
    settings = {"mode": mode, "risk": LIMITS, "session": session, "venues": venues, "checkpoint_s": 0.1}
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


@pytest.mark.parametrize("make", [Venue, FuturesVenue])
@pytest.mark.parametrize("mode", ["live", "testnet"])
def test_orders_go_to_the_venue_that_mesh_toml_names(tmp_path, mode, make):
    async def play(mesh, venue):
        make_live(mesh, mode)
        if mode == "testnet":
            venue.rights = {}  # it has no such question: one that is asked all the same would end the session
        mesh.start()
        mesh.publish_intent("a")
        await until(lambda: mesh.states("a")[-1:] == ["New"])
        assert venue.received == [("place", "a")]
        await venue.fill("a", 100_000_000)
        await until(lambda: mesh.states("a")[-1:] == ["Filled"])
        assert len(mesh.fills("a")) == 1
        if make is FuturesVenue:
            assert {*venue.streams_at} == {"/binance_usdm/streams/private/ws"}, "where market data comes, not where orders go"

    scenario(tmp_path, play, started=False, tls=True, make=make)


def test_what_nobody_has_confirmed_sends_nothing(tmp_path):
    async def play(mesh, venue):
        make_live(mesh, confirmed=False)
        mesh.start()
        assert "nobody has confirmed" in await ended(mesh)
        await until(lambda: mesh.alerts("not_confirmed"))
        assert venue.received == [] and venue.sockets == []

    scenario(tmp_path, play, started=False, tls=True)


@pytest.mark.parametrize("make, right, has, words", [
    (Venue, "enableWithdrawals", True, "whoever got it could take the money"),
    (Venue, "permitsUniversalTransfer", True, "whoever got it could take the money"),
    (FuturesVenue, "enableWithdrawals", True, "whoever got it could take the money"),
    (FuturesVenue, "enableFutures", False, "the key may not trade (enableFutures)"),
])  # fmt: skip
def test_a_key_that_can_take_money_away_or_not_trade_sends_nothing(tmp_path, make, right, has, words):
    async def play(mesh, venue):
        venue.rights |= {right: has}
        make_live(mesh)
        mesh.start()
        mesh.publish_intent("a")
        assert words in await ended(mesh)
        await until(lambda: mesh.alerts("key_not_used"))
        assert mesh.alerts("key_not_used")[0][2].startswith(mesh.account)
        assert venue.received == [] and venue.sockets == []

    scenario(tmp_path, play, started=False, tls=True, make=make)
