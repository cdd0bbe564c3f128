"""What venues list, as exact decimals, and the exponents that are decided from it."""

import json

import pytest

from tests.support.venue_samples import instrument
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.venues import binance, binance_usdm, coinbase, kraken, kraken_v1, okx
from tickmesh.nodes.venues.parsing.decimals import DecimalError
from tickmesh.nodes.venues.parsing.dialect import FrameError
from tickmesh.nodes.venues.parsing.listing import Listed, exponents_of, misfit
from tickmesh.nodes.venues.table import ADAPTERS


@pytest.mark.parametrize(
    ("tick", "lot", "exponents"),
    [
        ("0.01000000", "0.00001000", (-8, -8)), ("1", "1000", (-8, -8)), ("0", "0", (-8, -8)), ("0.00000001", "0.1", (-8, -8)),
        ("0.0000000001", "0.00000001", (-10, -8)), ("0.000000000001000", "0.0000000005", (-12, -10)),
        ("0.000000000000000001", "1", (-18, -8)), ("92000", "0.00000001", (-8, -8)),
    ],
)  # fmt: skip
def test_exponents_are_eight_decimals_or_what_the_finest_step_needs(tick, lot, exponents):
    assert exponents_of(Listed("X", tick, lot)) == exponents
    assert misfit(Instrument("X", "binance", *exponents), Listed("X", tick, lot)) == ""


@pytest.mark.parametrize(
    ("tick", "lot", "said"),
    [
        ("0.0000000000000000001", "1", "price_exponent of X cannot be decided: its step is 0.0+1, 19 decimals; 18"),
        ("0.01", "100000", "quantity_exponent of X .* 64 bits hold less than 1,000,000 such steps at exponent -8"),
        ("1e-9", "1", "'1e-9' is not a plain decimal number"), ("", "1", "'' is not"), ("-1", "1", "'-1' is not"),
        ("0.01", "0.", "'0.' is not"), ("٠.٠١", "1", "is not a plain"),
    ],
)  # fmt: skip
def test_what_64_bits_cannot_hold_or_nobody_can_read_is_a_sentence(tick, lot, said):
    with pytest.raises(DecimalError, match=said):
        exponents_of(Listed("X", tick, lot))


def test_a_venue_that_counts_its_decimals_has_these_and_no_others():
    """Kraken's checksums are made of texts with them, also where the tick is coarser."""
    pair = Listed("BTC/USD", "0.5", "0.00000001", decimals=(1, 8))
    assert exponents_of(pair) == (-1, -8)
    assert "-1 and -8 can" in misfit(Instrument("BTC/USD", "kraken"), pair)
    assert misfit(Instrument("BTC/USD", "kraken", -1), pair) == ""


def test_a_step_that_has_become_finer_is_named_with_the_exponents_that_hold_it():
    """An instrument's own exponents may be less than usual, as stated in mesh.toml, as long as the steps fit."""
    assert misfit(Instrument("X", "binance", -2, 0), Listed("X", "0.01", "1")) == ""
    said = misfit(Instrument("X", "binance", -8, -4), Listed("X", "0.0000000001", "0.001"))
    assert "tick size is 0.0000000001" in said and said.endswith("cannot hold them: -10 and -8 can")


def symbol(name, tick, lot, status="TRADING"):
    rules = [{"filterType": "PRICE_FILTER", "tickSize": tick}, {"filterType": "LOT_SIZE", "stepSize": lot, "minQty": lot}]
    return {"symbol": name, "status": status, "filters": rules}


def row(name, tick, lot, state="live"):
    return {"instId": name, "tickSz": tick, "lotSz": lot, "minSz": lot, "state": state}


XBT = {"altname": "XBTUSD", "wsname": "XBT/USD", "pair_decimals": 1, "lot_decimals": 8, "tick_size": "0.1", "status": "online"}
DARK = {"altname": "XBTUSD.d", "pair_decimals": 1, "lot_decimals": 8}
LISTS = {
    "binance": (
        {"symbols": [symbol("BTCUSDT", "0.01000000", "0.00001000"), {"symbol": "ODD", "filters": 3},
                     symbol("X", "1", "1", "HALT")]},
        [Listed("BTCUSDT", "0.01000000", "0.00001000"), Listed("X", "1", "1", "HALT")],
    ),
    "binance_usdm": (
        {"symbols": [symbol("BTCUSDT", "0.10", "0.001"), {"symbol": "NEW", "status": "PENDING_TRADING"}]},
        [Listed("BTCUSDT", "0.10", "0.001"), Listed("NEW", "0", "0", "PENDING_TRADING")],
    ),
    "kraken": (
        {"error": [], "result": {"XXBTZUSD": XBT, "XXBTZUSD.d": DARK}},
        [Listed("BTC/USD", "0.1", "0.00000001", decimals=(1, 8))],
    ),
    "coinbase": (
        [{"id": "BTC-USD", "quote_increment": "0.01", "base_increment": "0.00000001", "status": "online"},
         {"id": "A-USD", "quote_increment": "0.000000000001", "base_increment": "1", "trading_disabled": True}],
        [Listed("BTC-USD", "0.01", "0.00000001"), Listed("A-USD", "0.000000000001", "1", "trading_disabled")],
    ),
    "okx": (
        {"code": "0", "msg": "", "data": [row("BTC-USDT", "0.1", "0.00000001"),
                                          row("B-USDT-SWAP", "0.0000000001", "1", "suspend")]},
        [Listed("BTC-USDT", "0.1", "0.00000001"), Listed("B-USDT-SWAP", "0.0000000001", "1", "suspend")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("venue", sorted(LISTS))
def test_a_venue_s_list_gives_names_and_steps_as_it_writes_them(venue):
    adapter = ADAPTERS[venue]
    body, expected = LISTS[venue]
    listed = adapter.listed(json.dumps(body).encode())
    assert list(listed.values()) == expected and list(listed) == [one.symbol for one in expected]
    for one in expected[:1]:
        instrument_of = Instrument(one.symbol, venue, *exponents_of(one))
        assert adapter.decode_definition(json.dumps(body).encode(), 5, instrument_of)
    for damaged in (b"", b"{", b'{"symbols":3}', b"[3"):
        with pytest.raises(FrameError):
            adapter.listed(damaged)


def test_every_venue_can_list_what_it_has_but_the_one_of_captures():
    asked = {venue: [(one.path, one.query) for one in adapter.listings()] for venue, adapter in ADAPTERS.items()}
    assert asked["binance"] == [("/api/v3/exchangeInfo", {"showPermissionSets": "false"})]
    assert asked["okx"] == [("/api/v5/public/instruments", {"instType": kind}) for kind in ("SPOT", "SWAP", "FUTURES")]
    assert [asked[venue][0][0] for venue in ("binance_usdm", "coinbase", "kraken")] == [
        "/fapi/v1/exchangeInfo", "/products", "/0/public/AssetPairs"]  # fmt: skip
    with pytest.raises(FrameError, match="kraken_v1 is for captures: state price_exponent and quantity_exponent"):
        kraken_v1.listed(json.dumps(LISTS["kraken"][0]).encode())
    for adapter in (binance, binance_usdm, coinbase, kraken, okx):
        (question,) = adapter.definitions([instrument(adapter.VENUE)])
        assert question.request.weight == next(iter(adapter.listings())).weight
