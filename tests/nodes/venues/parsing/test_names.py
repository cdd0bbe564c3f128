"""Names as people write them, and the names near one that a venue does not have."""

import pytest

from tickmesh.nodes.venues.parsing.names import nearest
from tickmesh.nodes.venues.table import adapter_of


@pytest.mark.parametrize(
    ("venue", "written", "spelled"),
    [
        ("binance", "btcusdt", "BTCUSDT"),
        ("binance", "BTC-USDT", "BTCUSDT"),
        ("binance_usdm", "btc/usdt", "BTCUSDT"),
        ("binance_usdm", "btcusdt_240628", "BTCUSDT_240628"),
        ("coinbase", "btcusd", "BTC-USD"),
        ("coinbase", "BTC/USD", "BTC-USD"),
        ("okx", "btcusdt", "BTC-USDT"),
        ("okx", "btc_usdt_swap", "BTC-USDT-SWAP"),
        ("kraken", "xbtusd", "BTC/USD"),
        ("kraken", "doge-usd", "DOGE/USD"),
        ("kraken", "xdg/usd", "DOGE/USD"),
        ("kraken_v1", "btc/usd", "XBT/USD"),
        ("kraken", "nonsense", "NONSENSE"),
    ],
)
def test_a_name_is_brought_into_the_venue_s_notation(venue, written, spelled):
    assert adapter_of(venue).spell(written) == spelled


def test_the_nearest_names_are_those_of_the_same_letters_then_longer_ones_then_like_ones():
    known = ["ETHUSDT", "BTCUSDT", "BTCUSDC", "BTC-USDT", "BTCUSDTDOWN", "LTCUSDT", "XYZ"]
    assert nearest("btc/usdt", known)[:2] == ["BTC-USDT", "BTCUSDT"]
    assert nearest("BTCUSD", known)[:2] == ["BTCUSDC", "BTC-USDT"], "what it begins"
    assert nearest("BTCUSTD", known)[0] in ("BTC-USDT", "BTCUSDT"), "two letters changed places"
    assert nearest("QQQQQQQQ", known) == [] and nearest("", known) == [] and len(nearest("USDT", known)) <= 5
