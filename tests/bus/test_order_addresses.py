"""Where orders go by the mode alone, and by what mesh.toml says instead."""

import pytest

from tickmesh.bus.config import ConfigError, load

LIMITS = '[risk]\norder_notional_max = "60"\nnotional_max = "600"\ndaily_loss_max = "20"\n'


def loaded(root, mode: str, more: str = ""):
    (root / "mesh.toml").write_text(f'mode = "{mode}"\n{LIMITS}{more}')
    return load(root)


@pytest.mark.parametrize("venue, ws_api, rest_api", [
    ("binance", "wss://ws-api.binance.com:443", "https://api.binance.com"),
    ("binance_usdm", "wss://ws-fapi.binance.com", "https://fapi.binance.com"),
])  # fmt: skip
def test_orders_go_to_the_venue_in_mode_live_and_its_testnet_has_a_market_of_its_own(tmp_path, venue, ws_api, rest_api):
    live, testnet = loaded(tmp_path, "live").venues[venue], loaded(tmp_path, "testnet").venues[venue]
    assert live.ws_api[0] == ws_api and live.rest_api[0] == rest_api
    assert live.ws == () and live.rest == (), "market data as the adapter says"
    for addresses in (testnet.ws, testnet.rest, testnet.ws_api, testnet.rest_api):
        assert addresses and all("testnet" in one or "demo-" in one for one in addresses)


def test_what_is_stated_goes_first_and_what_is_not_stays(tmp_path):
    stated = loaded(tmp_path, "testnet", '[venues.binance]\nws_api = ["wss://127.0.0.1:1"]\nca = "x.crt"\n').venues["binance"]
    assert stated.ws_api == ("wss://127.0.0.1:1",) and stated.ca == "x.crt"
    assert stated.rest_api == ("https://testnet.binance.vision",)


@pytest.mark.parametrize("mode", ["sim", "capture", "paper"])
def test_no_other_mode_has_an_address_for_orders(tmp_path, mode):
    assert loaded(tmp_path, mode).venues == {}


def test_on_paper_no_address_for_orders_may_be_stated(tmp_path):
    with pytest.raises(ConfigError, match="no ws_api, no rest_api: on paper no order leaves"):
        loaded(tmp_path, "paper", '[venues.binance]\nws_api = ["wss://127.0.0.1:1"]\n')
