"""[[strategies]] and [risk] in mesh.toml: what they become, and what is refused beside other keys."""

import pytest

from tickmesh.bus.config import Config, ConfigError, load
from tickmesh.bus.settings_trading import EXECUTION, StrategySettings

TWO = '[[instruments]]\nsymbol = "BTCUSDT"\n[[instruments]]\nsymbol = "ETHBTC"\n'


def configured(tmp_path, text: str) -> Config:
    (tmp_path / "mesh.toml").write_text(text)
    return load(tmp_path)


def test_without_any_there_is_one_as_executor_says(tmp_path):
    config = configured(
        tmp_path, '[executor]\norder_quantity = "0.5"\nposition_max = "2"\nsignal_threshold = 0.3\nstyles = ["limit"]'
    )
    (one,) = config.strategies_resolved
    assert one == StrategySettings(
        name="default", order_quantity="0.5", position_max="2", signal_threshold=0.3, styles=("limit",), order_ttl_ms=2000,
        execution=EXECUTION,
    )  # fmt: skip
    assert [instrument.subject for instrument in config.traded_by(one)] == ["binance.BTCUSDT"]


def test_what_a_strategy_does_not_say_is_as_executor_says(tmp_path):
    text = """
[executor]
instruments = ["binance.*"]
position_notional = "500"
[[strategies]]
name = "a"
[[strategies]]
name = "b"
order_notional = "100"
position_max = "3"
[[strategies]]
name = "c"
target_notional = "100"
instruments = ["binance.ETH*"]
"""
    a, b, c = (config := configured(tmp_path, TWO + text)).strategies_resolved
    assert (a.order_notional, a.position_notional, a.signal_threshold, a.order_ttl_ms) == ("60", "500", 0.6, 2000)
    assert (b.order_notional, b.position_max, b.position_notional) == ("100", "3", "")
    assert (c.order_notional, c.position_notional, c.signal_threshold) == ("", "", 0.0), "a target is its own bound"
    assert [[one.symbol for one in config.traded_by(s)] for s in (a, c)] == [["BTCUSDT", "ETHBTC"], ["ETHBTC"]]
    assert [one.symbol for one in config.traded] == ["BTCUSDT", "ETHBTC"]


@pytest.mark.parametrize("text, sentence", [
    ("[[strategies]]\nname = 'a'\n[[strategies]]\nname = 'a'", "strategies = ['a', 'a'] is impossible; allowed: each name"),
    ("[[strategies]]\nname = 'account'", "strategies[0].name = 'account' is impossible; allowed: 1 to 16 of"),
    ("[[strategies]]\nname = 'a-name-of-17-byte'", "strategies[0].name = 'a-name-of-17-byte' is impossible; allowed"),
    ("[[strategies]]\nmodels = ['x*']", "strategies[0].models = 'x*' is impossible; allowed: what matches one of imbal"),
    ("[[strategies]]\ninstruments = ['okx.*']", "strategies[0].instruments = 'okx.*' is impossible; allowed: what matches"),
    ("[[strategies]]\norder_notional = '1'\ntarget_quantity = '1'",
     "strategies[0] = ['order_notional', 'target_quantity'] is impossible; allowed: one way to size its orders"),
    ("[[strategies]]\norder_equity = 0.1", "strategies[0].capital = '' is impossible; allowed: what it begins with"),
    ("[[strategies]]\nstate = 'on'", "strategies[0].state = 'on' is impossible; allowed: 'live' or 'off' or 'shadow'"),
    ("[risk]\nnotional_max = '-1'", "risk.notional_max = '-1' is impossible; allowed: a plain decimal above 0"),
    ("[risk]\nprice_collar = 1.5", "risk.price_collar = 1.5 is impossible; allowed: above 0 to 1, or 0 for none"),
    ("[executor]\ninstruments = ['*']\n[risk]\ndaily_loss_max = '5'",
     "risk.daily_loss_max = '5' is impossible; allowed: a limit of USDT (risk.currency), and ETHBTC is not quoted in it"),
])  # fmt: skip
def test_what_is_impossible_is_said(tmp_path, text, sentence):
    with pytest.raises(ConfigError) as refused:
        configured(tmp_path, TWO + text)
    assert sentence in str(refused.value)


def test_limits_of_one_instrument_need_no_currency(tmp_path):
    limits = "[executor]\ninstruments = ['*']\n[risk]\nposition_notional = '5'\nopen_orders_max = 3"
    assert configured(tmp_path, TWO + limits).risk.open_orders_max == 3
