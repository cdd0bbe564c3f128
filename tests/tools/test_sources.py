"""What `mesh up` with flags chose for a run, beside what mesh.toml says."""

from tests.support import replay_lines, usdm_lines
from tests.support.replay_lines import line
from tickmesh.bus.config import load
from tickmesh.bus.settings import InstrumentSettings
from tickmesh.tools.sources import chosen_otherwise, overrides_path, recording, use_captures, use_choice

SAME = 'mode = "capture"\nsource = "binance"\nmodels = []\ninstruments = [{ venue = "binance", symbol = "BTCUSDT" }]\n'
BTC, ETH = InstrumentSettings("BTCUSDT", "binance"), InstrumentSettings("ETHUSDT", "binance")


def test_flags_that_say_what_the_file_says_leave_it_to_later_edits(tmp_path):
    (tmp_path / "mesh.toml").write_text(SAME)
    use_choice(tmp_path, recording("binance", [BTC]))
    assert not overrides_path(tmp_path).exists() and chosen_otherwise(tmp_path) == []
    (tmp_path / "mesh.toml").write_text(SAME.replace("BTC", "ETH"))
    assert load(tmp_path).instruments == (ETH,)


def test_only_what_flags_say_otherwise_stands_before_the_file_and_is_named(tmp_path):
    (tmp_path / "mesh.toml").write_text(SAME)
    assert use_choice(tmp_path, recording("binance", [BTC, ETH])).instruments == (BTC, ETH)
    (tmp_path / "mesh.toml").write_text(SAME.replace('"binance"\nmodels', '"another"\nmodels'))
    assert load(tmp_path).instruments == (BTC, ETH) and load(tmp_path).source == "another"
    assert chosen_otherwise(tmp_path) == ["instruments"]
    use_choice(tmp_path, recording("another", [BTC]))
    assert load(tmp_path).instruments == (BTC,) and chosen_otherwise(tmp_path) == []


def test_a_capture_is_fed_at_the_venues_that_its_lines_show_it_is_of(tmp_path):
    (tmp_path / "mesh.toml").write_text("")
    capture = tmp_path / "both.dat"
    capture.write_text("".join(f"{line(message)}\n" for message in [*replay_lines.FEW, *usdm_lines.FEW]))
    config, survey = use_captures(tmp_path, [capture], 0.0)
    assert config.instruments == (BTC, InstrumentSettings("BTCUSDT", "binance_usdm"))
    assert survey.venues == ["binance", "binance_usdm"] and load(tmp_path).instruments == config.instruments
