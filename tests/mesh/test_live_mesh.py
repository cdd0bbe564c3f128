"""Mode live as a person meets it: nothing leaves without keys, limits and confirmation; then kills while both venues trade.

The venues: a local exchange over TLS, which is Binance spot and USD-M; its ledger judges the mesh when all is over.
"""

import json

import pytest

import tests.support.mesh_run as run
from tests.support.stand_in import StandIn
from tickmesh.bus.schema import Kind
from tickmesh.tools.laying import lay

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(600)]
PATIENCE_S = 120
SETTINGS = """
mode = "live"
source = "binance-live"
instruments = [{ venue = "binance", symbol = "BTCUSDT" }, { venue = "binance_usdm", symbol = "BTCUSDT" }]
[executor]
instruments = ["*"]
order_notional = "150"
orders_per_s = 2.0
[risk]
order_notional_max = "300"
notional_max = "20000"
daily_loss_max = "1000"
[session]
key_file = "key.toml"
[session.accounts.binance_usdm]
key_file = "usdm.toml"
"""
BOTH = "binance binance_usdm"
SUBJECTS = ("binance.BTCUSDT", "binance_usdm.BTCUSDT")
KEY = 'api_key = "local-key"\nsecret = "local-secret"\n'
KILLS = ("session", "session-binance_usdm", "executor", "sequencer")


def orders_at(venue) -> int:
    """How many orders the venue has, by its ledger."""
    reports = (b"executionReport", b"ORDER_TRADE_UPDATE")
    return sum(path.read_bytes().count(one) for path in venue.ledger.glob("ledger*") for one in reports)


def filled_at_both(root, after: int = 0) -> bool:
    return {event.subject for event in run.events(root, Kind.fill, after=after)} == {*SUBJECTS}


def refused(root, *words: str) -> str:
    done = run.command(root, "mesh", "up", *words)
    assert done.returncode == 1, (done.stdout, done.stderr)
    return done.stderr


def made(root, venue):
    """A folder of a mesh that is to trade at the venue, so far without a key."""
    root.mkdir()
    lay(root)
    text = SETTINGS
    for name in ("binance", "binance_usdm"):
        addresses = venue.toml(name)
        orders = addresses.replace("ws =", "ws_api =").replace("rest =", "rest_api =").splitlines()[1:3]
        text += addresses + "\n".join(orders) + "\n"
    (root / "mesh.toml").write_text(text)
    return root


def give_keys(root) -> None:
    for name in ("key.toml", "usdm.toml"):
        (root / name).write_text(KEY)
        (root / name).chmod(0o600)


@pytest.fixture
def venue(tmp_path):
    with StandIn(tmp_path / "venue", SUBJECTS) as stand_in:
        yield stand_in


def test_orders_leave_only_with_keys_and_a_confirmation_and_survive_kills_at_both_venues(deep, venue):
    root = made(deep / "live", venue)
    assert "mode live needs a key of binance:" in refused(root)
    give_keys(root)
    (root / "usdm.toml").chmod(0o644)
    said = refused(root)
    assert "mode live needs a key of binance_usdm" in said and "chmod 600" in said
    give_keys(root)
    said = refused(root)
    assert "real money" in said and "daily_loss_max 1000" in said and f"mesh up --confirm '{BOTH}'" in said
    assert f"'binance' is not '{BOTH}'" in refused(root, "--confirm", "binance")
    assert orders_at(venue) == 0
    try:
        up = run.ok_json(root, "mesh", "up", "--confirm", BOTH)
        assert up["mode"] == "live"
        run.until(lambda: filled_at_both(root), "orders are filled at both venues", PATIENCE_S)
        assert orders_at(venue) > 0 and not (root / "run/exchange.json").exists()
        assert "LIVE" in run.command(root, "mesh", "status").stdout
        assert {event.map()["mode"] for event in run.events(root, Kind.run)} == {"live"}
        through_kills(root)
        text = (root / "mesh.toml").read_text()
        (root / "mesh.toml").write_text(text.replace('notional_max = "20000"', 'notional_max = "200000"'))
        done = run.command(root, "mesh", "reload")
        assert done.returncode == 1 and "settings about trading have changed" in done.stderr, done.stderr
        (root / "mesh.toml").write_text(text)
        for name in ("executor", "session", "session-binance_usdm"):
            run.ok(root, "supervisorctl", "-c", "supervisor.conf", "stop", name)  # which cancels what is open there
        venue.end()  # it would trade on when nobody listens any more
    finally:
        run.command(root, "mesh", "down")
    judged = json.loads(run.command(root, "mesh", "verify", "--settled", "--against", str(venue.ledger), "--json").stdout)
    assert judged["ok"], judged["sentences"]
    assert judged["orders_working"] == judged["fills_on_their_way"] == 0 and judged["balances_checked"] >= 3
    assert judged["account"].keys() == {*SUBJECTS}
    logs = "".join(path.read_text() for path in root.glob("run/logs/*.log"))
    assert "local-secret" not in logs and "Traceback" not in logs


def through_kills(root) -> None:
    """Each of those that orders go through is killed while it trades, and orders are filled at both venues after it."""
    killer = run.Killer(root, 13)
    for name in KILLS:
        killer.kill(name, PATIENCE_S)
        at = run.events(root)[-1].seq
        run.until(lambda at=at: filled_at_both(root, at), f"orders are filled after {name} was killed", PATIENCE_S)
