"""What a person confirms holds for just these settings in just this folder; what a key may do decides whether it is used."""

import shutil

import msgspec
import pytest

from tickmesh.bus.config import ConfigError, load
from tickmesh.nodes.session import confirmation
from tickmesh.nodes.session.permissions import KeyRights, refusal

LIMITS = '[risk]\norder_notional_max = "60"\nnotional_max = "600"\ndaily_loss_max = "{loss}"\n'


def config(root, mode: str = "live", loss: str = "20", more: str = ""):
    root.mkdir(exist_ok=True)
    (root / "mesh.toml").write_text(f'mode = "{mode}"\n{LIMITS.format(loss=loss)}{more}')
    return load(root)


def test_a_confirmation_holds_until_what_decides_about_orders_changes(tmp_path):
    mine = config(tmp_path)
    assert confirmation.is_needed(mine) and not confirmation.is_confirmed(mine)
    confirmation.confirm(mine)
    assert confirmation.is_confirmed(config(tmp_path))
    assert confirmation.is_confirmed(config(tmp_path, more="[recorder]\nrecent_hours = 2.0\n"))
    for changed in (
        config(tmp_path, loss="2000"), config(tmp_path, mode="testnet"),
        config(tmp_path, more='[executor]\norder_notional = "50"\n'),
        config(tmp_path, more='[venues.binance]\nws_api = ["wss://127.0.0.1:1"]\n'),
    ):  # fmt: skip
        assert not confirmation.is_confirmed(changed)
    assert confirmation.is_confirmed(config(tmp_path)), "as it was"


def test_a_copied_folder_is_not_confirmed(tmp_path):
    confirmation.confirm(config(tmp_path / "one"))
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert not confirmation.is_confirmed(load(tmp_path / "two"))


@pytest.mark.parametrize("mode", ["sim", "paper", "capture"])
def test_where_no_money_is_at_stake_nothing_is_asked(tmp_path, mode):
    assert not confirmation.is_needed(config(tmp_path, mode))


def test_what_is_typed_names_every_venue_that_orders_go_to_and_its_testnet(tmp_path):
    both = '[executor]\ninstruments = ["*"]\n' + "".join(
        f'[[instruments]]\nvenue = "{venue}"\nsymbol = "BTCUSDT"\n' for venue in ("binance", "binance_usdm", "kraken")
    )
    futures = both.replace('["*"]', '["binance_usdm.*"]')
    with pytest.raises(ConfigError, match="it matches kraken.BTCUSDT"):
        config(tmp_path, more=both)
    assert confirmation.text_to_type(config(tmp_path, more=both.replace('"*"', '"binance*"'))) == "binance binance_usdm"
    assert confirmation.text_to_type(config(tmp_path, more=futures)) == "binance_usdm"
    assert confirmation.text_to_type(config(tmp_path, "testnet", more=futures)) == "binance_usdm testnet"


@pytest.mark.parametrize("changes, venue, why", [
    ({}, "binance", ""),
    ({}, "binance_usdm", ""),
    ({"enableWithdrawals": True}, "binance_usdm", "may withdraw"),
    ({"permitsUniversalTransfer": True}, "binance", "may transfer to other accounts"),
    ({"enableSpotAndMarginTrading": False}, "binance", "may not trade (enableSpotAndMarginTrading)"),
    ({"enableSpotAndMarginTrading": False}, "binance_usdm", ""),
    ({"enableFutures": False}, "binance_usdm", "may not trade (enableFutures)"),
    ({"enableFutures": False}, "binance", ""),
])  # fmt: skip
def test_a_key_that_can_take_money_away_or_not_trade_is_not_used(changes, venue, why):
    rights = {"enableWithdrawals": False, "enableSpotAndMarginTrading": True, "enableFutures": True} | changes
    said = refusal(KeyRights(**rights), venue)
    assert why in said and bool(said) == bool(why)


def test_a_right_that_the_venue_does_not_name_is_not_assumed():
    with pytest.raises(msgspec.ValidationError, match="enableWithdrawals"):
        msgspec.json.decode(b'{"enableSpotAndMarginTrading": true}', type=KeyRights)
    assert "may not trade" in refusal(msgspec.json.decode(b'{"enableWithdrawals": false}', type=KeyRights), "binance_usdm")
