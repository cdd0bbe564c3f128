"""What a person confirms holds for just these settings in just this folder; what a key may do decides whether it is used."""

import shutil

import pytest

from tickmesh.bus.config import load
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


@pytest.mark.parametrize("changes, why", [
    ({}, ""),
    ({"enableWithdrawals": True}, "may withdraw"),
    ({"permitsUniversalTransfer": True}, "may transfer to other accounts"),
    ({"enableSpotAndMarginTrading": False}, "may not trade"),
])  # fmt: skip
def test_a_key_that_can_take_money_away_is_not_used(changes, why):
    rights = {"enableWithdrawals": False, "enableSpotAndMarginTrading": True} | changes
    said = refusal(KeyRights(**rights))
    assert why in said and bool(said) == bool(why)
