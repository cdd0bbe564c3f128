"""`host` in mesh.toml and the command line: who runs in the sequencer's process, and whose own process has nothing to do."""

import pytest

from tickmesh.bus.config import ConfigError, load
from tickmesh.nodes.__main__ import guests_of, idle_because, parse
from tickmesh.nodes.process_table import hosted, name_of, outboxes_of

INSTRUMENTS = """
[[instruments]]
symbol = "BTCUSDT"
[[instruments]]
venue = "kraken"
symbol = "BTC/USD"
[feed]
lines = 3
"""


@pytest.fixture
def configured(tmp_path):
    def make(host="", more=INSTRUMENTS):
        (tmp_path / "mesh.toml").write_text(f"{host}\n{more}")
        return load(tmp_path)

    return make


@pytest.mark.parametrize(
    "words, names",
    [
        ("['model']", ["model-imbalance", "model-flow"]),
        ("['model-flow', 'session', 'executor']", ["model-flow", "executor", "session"]),
        ("['feed-1']", ["feed-binance-1", "feed-kraken-1"]),
        ("['feed-kraken-2', 'feed-3']", ["feed-binance-3", "feed-kraken-2", "feed-kraken-3"]),
        ("['feed-kraken-1', 'feed-1', 'model-flow', 'model']",
         ["feed-binance-1", "feed-kraken-1", "model-imbalance", "model-flow"]),
    ],
)  # fmt: skip
def test_words_stand_for_nodes_each_once(configured, words, names):
    config = configured(f"host = {words}")
    assert [name_of(*guest) for guest in hosted(config)] == names
    assert guests_of(config, []) == hosted(config)
    for node, instance in hosted(config):
        assert idle_because(config, node, instance) == "hosted by the sequencer (host in mesh.toml)"


def test_a_hosted_line_has_nothing_to_do_under_any_of_its_names(configured):
    config = configured("host = ['feed-1']")
    for instance in ("1", "binance-1", "kraken-1"):
        assert idle_because(config, "feed", instance) == "hosted by the sequencer (host in mesh.toml)"
    for instance in ("2", "binance-2", "kraken-3"):
        assert idle_because(config, "feed", instance) == "", "lines that race it have processes of their own"
    assert set(outboxes_of(config, "feed", "binance-1")) == {"feed-1", "feed-binance-1"}, "where one may be left"
    assert outboxes_of(config, "feed", "kraken-1") == ("feed-kraken-1",)
    assert outboxes_of(config, "model", "flow") == ("model-flow",)


def test_the_command_line_names_guests_as_well(configured):
    config = configured()
    words = "sequencer feed binance-1 model imbalance executor session"
    assert guests_of(config, parse(words.split())[1:]) == [
        ("feed", "binance-1"), ("model", "imbalance"), ("executor", ""), ("session", ""),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"feed-binance-4 cannot be hosted: feed.lines is 3 in mesh.toml"):
        guests_of(config, [("feed", "binance-4")])
    with pytest.raises(ConfigError, match=r"feed-okx-1 cannot be hosted: mesh.toml has no instrument of venue okx"):
        guests_of(config, [("feed", "okx-1")])
