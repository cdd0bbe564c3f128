"""Exponents are those of mesh.toml, or those that were decided first, for every process of the source and every start."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tickmesh.bus.config import ConfigError, load
from tickmesh.bus.instruments import FILE, DecidedInstruments, ExponentDecision
from tickmesh.bus.settings import Instrument

BTC, ETH = "binance.BTCUSDT", "binance.ETHUSDT"
TOML = '[[instruments]]\nsymbol = "BTCUSDT"\n[[instruments]]\nsymbol = "ETHUSDT"\nquantity_exponent = -4\n'


def mesh(folder, text=TOML):
    (folder / "mesh.toml").write_text(text)
    return load(folder)


def test_the_first_decision_is_everybody_s_and_what_mesh_toml_states_comes_before_it(tmp_path):
    config = mesh(tmp_path)
    one, other = DecidedInstruments(config), DecidedInstruments(config, "binance")
    assert not one and BTC not in other and "binance.NONE" not in one
    assert one.for_reading(BTC) == Instrument("BTCUSDT") and one.for_reading("binance.NONE") is None
    assert one.keep({BTC: ExponentDecision(-8, -8, "0.01", "0.00001", 5)}) == [Instrument("BTCUSDT")]
    known = other.keep({ETH: ExponentDecision(-9, -9), BTC: ExponentDecision(-10, -12)})
    assert known == [Instrument("ETHUSDT", "binance", -9, -4), Instrument("BTCUSDT")], "the first one wins"
    assert dict(other) == dict(one) == dict(DecidedInstruments(config)) and list(other) == [BTC, ETH]
    stated = TOML.replace('"BTCUSDT"', '"BTCUSDT"\nprice_exponent = -2\nquantity_exponent = 0')
    assert DecidedInstruments(mesh(tmp_path, stated))[BTC] == Instrument("BTCUSDT", "binance", -2, 0)
    assert not DecidedInstruments(config, "kraken")


def test_two_lines_that_decide_at_once_agree(tmp_path):
    """Each has its own opinion of forty instruments, and keeps what it is given back. A lock is of whoever opened its file."""
    mesh(tmp_path, "".join(f'[[instruments]]\nsymbol = "S{n}"\n' for n in range(40)))
    begin = threading.Barrier(2)

    def line(exponent):
        known = DecidedInstruments(load(tmp_path))
        begin.wait()
        return [known.keep({f"binance.S{n}": ExponentDecision(exponent, -8)})[0].price_exponent for n in range(40)]

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(line, (-8, -9))
    assert one == other == [instrument.price_exponent for instrument in DecidedInstruments(load(tmp_path)).values()]


@pytest.mark.parametrize("content", ["", "{", '{"binance.BTCUSDT": {"price_exponent": 3, "quantity_exponent": -8}}', "[]"])
def test_a_damaged_file_is_a_sentence_and_no_decision(tmp_path, content):
    config = mesh(tmp_path)
    config.source_dir.mkdir(parents=True)
    (config.source_dir / FILE).write_text(content)
    with pytest.raises(ConfigError, match=r"instruments\.json: cannot be read: .*price_exponent and quantity_exponent"):
        DecidedInstruments(config)
