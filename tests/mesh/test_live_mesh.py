"""Mode live as a person meets it: nothing leaves without key, limits and confirmation. The venue: a local exchange over TLS."""

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
[risk]
order_notional_max = "100"
notional_max = "2000"
daily_loss_max = "1000"
[session]
key_file = "key.toml"
"""


def orders_at(venue) -> int:
    """How many orders the venue has, by its ledger."""
    return sum(path.read_bytes().count(b"executionReport") for path in venue.ledger.glob("ledger*"))


def refused(root, *words: str) -> str:
    done = run.command(root, "mesh", "up", *words)
    assert done.returncode == 1, (done.stdout, done.stderr)
    return done.stderr


def alerts(root, what: str) -> list:
    return [said for said in (event.map() for event in run.events(root, Kind.alert)) if said["what"] == what]


def made(root, venue):
    """A folder of a mesh that is to trade at the venue, so far without a key."""
    root.mkdir()
    lay(root)
    addresses = venue.toml()
    orders = addresses.replace("ws =", "ws_api =").replace("rest =", "rest_api =").splitlines()[1:3]
    (root / "mesh.toml").write_text(SETTINGS + addresses + "\n".join(orders) + "\n")
    return root


def test_orders_leave_only_with_a_key_and_a_confirmation_and_go_to_the_venue(deep, tmp_path):
    with StandIn(tmp_path / "venue", ["BTCUSDT"]) as venue:
        root = made(deep / "live", venue)
        assert "mode live needs a key of binance" in refused(root)
        key = root / "key.toml"
        key.write_text('api_key = "local-key"\nsecret = "local-secret"\n')
        key.chmod(0o644)
        assert "chmod 600" in refused(root)
        key.chmod(0o600)
        said = refused(root)
        assert "real money" in said and "daily_loss_max 1000" in said and "mesh up --confirm 'binance'" in said
        assert "'Binance!' is not 'binance'" in refused(root, "--confirm", "Binance!")
        try:
            up = run.ok_json(root, "mesh", "up", "--confirm", "binance")
            assert up["mode"] == "live"
            run.until(lambda: run.events(root, Kind.fill), "an order is filled at the venue", PATIENCE_S)
            assert orders_at(venue) > 0 and not (root / "run/exchange.json").exists()
            assert "LIVE" in run.command(root, "mesh", "status").stdout
            assert {event.map()["mode"] for event in run.events(root, Kind.run)} == {"live"}
            text = (root / "mesh.toml").read_text()
            (root / "mesh.toml").write_text(text.replace('notional_max = "2000"', 'notional_max = "20000"'))
            done = run.command(root, "mesh", "reload")
            assert done.returncode == 1 and "settings about trading have changed" in done.stderr, done.stderr
        finally:
            run.command(root, "mesh", "down")
        logs = "".join(path.read_text() for path in root.glob("run/logs/*.log"))
        assert "local-secret" not in logs and "Traceback" not in logs


def test_a_key_that_may_withdraw_is_not_used(deep, tmp_path):
    with StandIn(tmp_path / "venue", ["BTCUSDT"], "") as venue:
        venue.end()
        settings = venue.folder / "mesh.toml"
        settings.write_text(settings.read_text() + "key_withdraws = true\n")
        venue.begin()
        root = made(deep / "live", venue)
        (root / "key.toml").write_text('api_key = "local-key"\nsecret = "local-secret"\n')
        (root / "key.toml").chmod(0o600)
        try:
            run.ok(root, "mesh", "up", "--confirm", "binance")
            (said, *_) = run.until(lambda: alerts(root, "key_not_used"), "it is said", PATIENCE_S)
            assert "may withdraw" in said["why"]
            assert orders_at(venue) == 0 and not run.events(root, Kind.fill)
        finally:
            run.command(root, "mesh", "down")
