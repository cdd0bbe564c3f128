"""Settings: every key has its type and bounds, and what is wrong is said with the key, the value seen and what is allowed."""

import ast
import inspect
from pathlib import Path

import msgspec
import pytest

from tickmesh.bus.config import Config, ConfigError, load
from tickmesh.bus.settings import Mesh


def refused(folder: Path, text: str) -> str:
    (folder / "mesh.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(folder)
    return str(caught.value).removeprefix(f"{folder / 'mesh.toml'}: ")


@pytest.mark.parametrize(
    ("section", "key", "below", "above", "allowed", "kind"),
    [
        ("log", "sync_ms", "0", "10001", "1 to 10000", "a whole number"),
        ("log", "hold_ms", "-1", "60001", "0 to 60000", "a whole number"),
        ("feed", "lines", "0", "10", "1 to 9", "a whole number"),
        ("feed", "weight_share", "0.0", "1.5", "above 0 to 1", "a number"),
        ("exchange", "port", "-1", "65536", "0 (any free one) to 65535", "a whole number"),
        ("exchange", "trades_per_s", "0.0", "2001.0", "above 0 to 2000", "a number"),
        ("exchange.limits", "ban_s", "0.0", None, "more than 0", "a number"),
        ("exchange.population.BTCUSDT", "correlation", "-1.5", "1.5", "−1 to 1", "a number"),
        ("venues.kraken", "weight_per_minute", "-1", None, "0 or more", "a whole number"),
        ("recorder", "segment_bytes", "5", None, "1 MiB or more", "a whole number"),
        ("sentinel", "heartbeat_s", "1.5", None, "2 or more: health is said every second", "a number"),
    ],
)
def test_a_value_out_of_bounds_or_of_a_wrong_type_is_said(tmp_path, section, key, below, above, allowed, kind):
    for value in filter(None, (below, above)):
        sentence = refused(tmp_path, f"[{section}]\n{key} = {value}")
        assert sentence == f"{section}.{key} = {value} is impossible; allowed: {allowed}"
    for value, shown in (('"x"', "'x'"), ("true", "True"), ("[1]", "[1]")):
        sentence = refused(tmp_path, f"[{section}]\n{key} = {value}")
        assert sentence == f"{section}.{key} = {shown} is impossible; allowed: {kind}, {allowed}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[feed]\nrenew_s = nan", "feed.renew_s = nan is impossible; allowed: more than 0"),
        ("[feed]\nraw = 1", "feed.raw = 1 is impossible; allowed: true or false"),
        ("[feed]\nlocal_addr = 5", "feed.local_addr = 5 is impossible; allowed: a list"),
        ("[feed]\nbackoff_s = [1]", "feed.backoff_s = [1] is impossible; allowed: a list of 2, each a number"),
        ("[feed]\nbackoff_s = [1, 'x']", "feed.backoff_s[1] = 'x' is impossible; allowed: a number"),
        ("[latency]\npin = 'all'", "latency.pin = 'all' is impossible; allowed: \"auto\", or a list of cores like [2, 3]"),
        ("[latency]\npin = [1, -1]", "latency.pin[1] = -1 is impossible; allowed: the number of a core, 0 or more"),
        ("[latency]\npin = [1, 1]", "latency.pin = [1, 1] is impossible; allowed: each core only once"),
        ("[latency]\nspin_us = 5\nrealtime = true", "latency.spin_us = 5 is impossible; allowed: 0 with latency.realtime"),
        ("log = 5", "log = 5 is impossible; allowed: a table"),
        ("source = '..'", "source = '..' is impossible; allowed: the name of one folder"),
        ("source = 'a/b'", "source = 'a/b' is impossible; allowed: the name of one folder"),
        ("instruments = []", "instruments = [] is impossible; allowed: at least one"),
        *(
            (
                f"mode = 'capture'\n[[instruments]]\nsymbol = '{odd}'",
                f"instruments.symbol = '{odd}' is impossible; allowed: the venue's own name of the instrument, without spaces, "
                "like 'BTCUSDT'",
            )
            for odd in ("", "BTCUSDT ", " BTCUSDT", "BTC USDT")
        ),
        *(
            (
                f"[[instruments]]\nsymbol = '{odd}'\nvenue = '{venue}'",
                f"instruments.symbol = '{odd}' is impossible; allowed: at the local exchange, as at Binance, capital and "
                "other letters, digits and '_', like 'BTCUSDT'",
            )
            for odd, venue in (("BTC/USDT", "binance"), ("btcusdt", "binance_usdm"), ("../BTC", "binance"))
        ),
        (
            "host = ['executor', 'feed-3']",
            "host = 'feed-3' is impossible; allowed: 'model' or 'model-imbalance' or 'model-flow' or 'executor' or 'session' "
            "or 'feed-1' or 'feed-2' or 'feed-binance-1' or 'feed-binance-2'",
        ),
        (
            "[[instruments]]\nsymbol = 'A'\n[[instruments]]\nsymbol = 'B'\nprice_exponent = 3",
            "instruments[1].price_exponent = 3 is impossible; allowed: −18 to 0",
        ),
        ("[venues.okx]\nws = ['wss://a', 'ftp://b']", "venues.okx.ws[1] = 'ftp://b' is impossible; allowed: ws:// or wss://"),
        ("[exchange.balances]\nBTC = '1'\nUSDT = 'x'", "exchange.balances.USDT = 'x' is impossible; allowed: a decimal of"),
        ("[executor]\norder_notional = ''", "executor.order_notional = '' is impossible; allowed: a plain decimal above 0"),
        ("[executor]\nposition_max = '0.0'", "executor.position_max = '0.0' is impossible; allowed: a plain decimal above 0"),
        (
            '[executor]\nstyles = ["sweep"]',
            "executor.execution.slippage_max_bp = 0.0 is impossible; allowed: more than 0 for the style sweep",
        ),
        (
            '[executor]\nstyles = ["pov"]\nexecution = { slice_style = "sweep" }',
            "executor.execution.slippage_max_bp = 0.0 is impossible; allowed: more than 0 for the style sweep",
        ),
        (
            '[[strategies]]\nname = "a"\nstyles = ["patient"]\n[strategies.execution]\npatience_ms = 10000',
            "strategies[0].execution.patience_ms = 10000 is impossible; allowed: less than lifetime_ms = 10000",
        ),
        (
            '[[strategies]]\nname = "a"\nstyles = ["twap"]\n[strategies.execution]\nslices = 20',
            "strategies[0].execution.patience_ms = 3000 is impossible; allowed: less than horizon_ms ÷ slices = 3000 for",
        ),
        (
            '[[strategies]]\nname = "a"\n[strategies.execution]\nparticipation = 1.5',
            "strategies[0].execution.participation = 1.5 is impossible; allowed: above 0 to 1",
        ),
        (
            "[executor.execution]\nslippage_max_bp = -1",
            "executor.execution.slippage_max_bp = -1 is impossible; "
            "allowed: above 0 to 1000 (a hundredth of a percent each), or 0 for none",
        ),
        (
            '[executor.execution]\nslice_style = "limit"',
            "executor.execution.slice_style = 'limit' is impossible; allowed: 'market' or",
        ),
        ("[executor]\nstyles = []", "executor.styles = [] is impossible; allowed: at least one style"),
        (
            "[[models]]\nname = 'of_twenty_seven_characters_'\nkernel = 'x'",
            "models[0].name = 'of_twenty_seven_characters_' is impossible; allowed: 1 to 26 of A–Z a–z 0–9",
        ),
        ("[[models]]\nname = 'a/b'\nkernel = 'x'", "models[0].name = 'a/b' is impossible; allowed: 1 to 26 of A–Z a–z 0–9"),
        ("[[models]]\nname = 'x'", "models[0]: Object missing required field `kernel`; allowed there: name, kernel"),
        (
            "[[models]]\nname = 'm'\nkernel = 'x'\ninstruments = []",
            "models[0].instruments = [] is impossible; allowed: at least one pattern",
        ),
        ("[feed]\nlinse = 3", "feed: Object contains unknown field `linse` (did you mean `lines`?); allowed there: "),
        ("sorce = 'x'", "Object contains unknown field `sorce` (did you mean `source`?); allowed there: mode, source"),
        ("frob = 1", "Object contains unknown field `frob`; allowed there: mode, source"),
        (
            "[exchange.limits]\nfrob = 1",
            "exchange.limits: Object contains unknown field `frob`; allowed there: weight_per_minute",
        ),
    ],
)
def test_other_wrong_values_are_said(tmp_path, text, sentence):
    assert refused(tmp_path, text).startswith(sentence)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "[disk]\nlow_bytes = 5\ncritical_bytes = 6",
            "disk.critical_bytes = 6 is impossible; allowed: disk.low_bytes = 5 or less",
        ),
        ("[log]\noutbox_bytes_max = 5", "log.outbox_bytes_max = 5 is impossible; allowed: four segments or more"),
        (
            "[[models]]\nname = 'm'\nkernel = 'x'\ninstruments = ['binance.*', 'okx.*']",
            "models[0].instruments = 'okx.*' is impossible; allowed: what matches one of binance.BTCUSDT, like 'binance.*'",
        ),
        (
            "[executor]\ninstruments = ['x']",
            "executor.instruments = 'x' is impossible; allowed: what matches one of binance.BTCUSDT",
        ),
        (
            "[[instruments]]\nsymbol = 'BTC/USD'\nvenue = 'kraken'\n[executor]\ninstruments = ['kraken.*']",
            "executor.instruments = 'kraken.*' is impossible; allowed: instruments of binance and binance_usdm, where orders "
            "can be sent, as in 'binance.*'; it matches kraken.BTC/USD",
        ),
        (
            "[exchange.population.BTCUSDT]\nfollows = 'BTCUSDT'",
            "exchange.population.BTCUSDT.follows = 'BTCUSDT' is impossible; allowed: another of ['BTCUSDT', 'binance.BTCUSDT']",
        ),
        ("mode = 'live'", "risk.order_notional_max = '' is impossible; allowed: an amount, in mode live"),
        (
            "mode = 'testnet'\n[risk]\norder_notional_max = '60'\nnotional_max = '100'",
            "risk.daily_loss_max = '' is impossible; allowed: an amount, in mode testnet",
        ),
        (
            "mode = 'paper'\n[[instruments]]\nsymbol = 'BTC/USD'\nvenue = 'kraken'",
            "mode = 'paper' is impossible; allowed: a mode with orders beside a traded instrument of binance",
        ),
        (
            "mode = 'paper'\n[exchange]\nreplay = ['a.gz']",
            "exchange.replay = ['a.gz'] is impossible; allowed: none in mode paper: captures are replayed in mode 'sim'",
        ),
    ],
)
def test_rules_between_keys(tmp_path, text, sentence):
    assert refused(tmp_path, text).startswith(sentence)


def test_the_defaults_are_allowed(tmp_path):
    (tmp_path / "mesh.toml").write_text("")
    assert load(tmp_path).mesh == Mesh()
    tree = msgspec.to_builtins(Mesh())
    assert msgspec.convert(tree, Mesh) == Mesh(), "a default lies within its own bounds"


def test_patterns_name_instruments(tmp_path):
    (tmp_path / "mesh.toml").write_text("".join(f'[[instruments]]\nsymbol = "{s}"\nvenue = "{v}"\n' for v, s in PAIRS))
    config = load(tmp_path)
    assert config.subjects(("*",)) == ("binance.BTCUSDT", "binance.ETHUSDT", "kraken.BTC/USD", "okx.BTC-USDT")
    assert config.subjects(("okx.*", "binance.ETH*", "binance.ETHUSDT")) == ("binance.ETHUSDT", "okx.BTC-USDT")
    assert config.subjects(("kraken.BTC/USD",)) == ("kraken.BTC/USD",)
    assert config.subjects(("BINANCE.*",)) == (), "cases differ"


PAIRS = (("okx", "BTC-USDT"), ("binance", "ETHUSDT"), ("kraken", "BTC/USD"), ("binance", "BTCUSDT"))


def test_every_section_is_a_declared_attribute(tmp_path):
    """With the type that the section has: what is not declared is no attribute."""
    written = ast.parse(inspect.getsource(Config))
    declared = {
        node.target.attr: ast.unparse(node.annotation)
        for node in ast.walk(written)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute)
    }
    assert list(declared) == list(Mesh.__struct_fields__)
    mesh = Mesh(source="other")
    config = Config(mesh, tmp_path)
    for name in Mesh.__struct_fields__:
        assert getattr(config, name) is getattr(mesh, name)
    assert not hasattr(Config, "__getattr__")
    with pytest.raises(AttributeError):
        _ = config.frob
