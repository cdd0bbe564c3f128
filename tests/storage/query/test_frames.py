"""A frame shows a topic as a person reads it: decimals, words, times; a row for each map; and says which topics there are."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from tests.support.stored import START, Market, write_log
from tickmesh.bus.config import Config
from tickmesh.bus.fields import FieldLook, Form
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, Flag, Kind, Status
from tickmesh.bus.settings import Mesh
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.query import columns_shown, reader
from tickmesh.storage.query.arrow import ExportColumns
from tickmesh.storage.query.reader import ReadError

pytestmark = pytest.mark.filterwarnings("ignore::tickmesh.storage.query.gaps.CoverageWarning")
SUBJECT = "binance.BTCUSDT"


def record(kind: Kind, **values) -> np.ndarray:
    out = np.zeros(1, DTYPES[kind])
    for name, value in values.items():
        out[name] = value
    return out


def scene() -> list[bytes]:
    """A market of exponents −2 and −5, its orders, and what nodes say."""
    market = Market(seq_ns=START + 7)  # times that microseconds cannot hold

    def put(kind: Kind, subject: str = SUBJECT, **values) -> bytes:
        return market.event(kind, subject, record(kind, **values))

    return [
        market.instrument((-2, -5)),
        market.trade(price=6_183_763, flags=Flag.REPAIRED),
        put(Kind.quote, update_id=7, bid_ticks=6_183_700, bid_lots=3),
        put(Kind.fill, side=-1, price_ticks=6_183_763, quantity_lots=2, fee=915_855, fee_asset=b"USDT", maker=1),
        put(Kind.update, status=Status.Filled, side=1, order_type=2, client_order_id=b"a1"),
        put(Kind.balance, asset=b"BTC", free=150_000_000),
        put(Kind.instrument, price_exponent=-4, quantity_exponent=-5, tick_size=100, lot_size=1),
        market.event(Kind.health, "feed-1", {"trades": 5, "queue": {"behind": 2}, "seq": 9}),
        market.event(Kind.health, "feed-2", {"trades": 1}),
        market.event(Kind.health, "feed-1", {"trades": 6, "why": "slow"}),
        market.event(Kind.alert, "sentinel-1", {"level": "warning", "target": "feed-1", "what": "restart"}),
        put(Kind.balance, asset=b"PEPE", free=42069 * 10**14, locked=15_000, scale=4),
    ]


@pytest.fixture(params=[0, 11], ids=["in the log", "archived"])
def config(request, tmp_path) -> Config:
    config = Config(Mesh(), tmp_path)
    write_log(config.log_dir, scene())
    if request.param:
        writer = ArchiveWriter(config.archive_dir)
        writer.archive_log(LogReader(config.log_dir), request.param, 100)
        writer.close()
    return config


def only(frame: pd.DataFrame) -> pd.Series:
    assert len(frame) == 1
    return frame.iloc[0]


def test_mantissas_are_decimals_also_fees_and_balances(config):
    fill = only(reader.frame(config, f"fill.{SUBJECT}"))
    assert (fill.price, fill.quantity, fill.fee, fill.fee_asset) == (61837.63, 2e-5, 0.00915855, "USDT")
    assert fill.notional == pytest.approx(1.2367526, rel=1e-15) and fill.maker
    balances = reader.frame(config, f"balance.{SUBJECT}")
    assert balances.free.tolist() == [1.5, 420690e9] and balances.locked.tolist() == [0, 1.5]


def test_amounts_of_any_scale_are_exact_in_exports(config):
    rows = reader.arrays(config, f"balance.{SUBJECT}")
    for decimals, free in (("exact", [Decimal("1.5"), Decimal(420690 * 10**9)]), ("float", [1.5, 420690e9])):
        columns = ExportColumns(Kind.balance, SUBJECT, (-2, -5), decimals)
        assert columns.table(rows, columns.schema())["free"].to_pylist() == free
    columns = ExportColumns(Kind.balance, SUBJECT)
    table = columns.table(rows, columns.schema())
    assert table["free_mantissa"].to_pylist() == [150_000_000, 42069 * 10**14] and table["scale"].to_pylist() == [0, 4]


def test_a_definition_is_scaled_by_its_own_exponents(config):
    assert reader.frame(config, f"instrument.{SUBJECT}").tick_size.tolist() == [0.0, 0.01]


def test_codes_are_words_and_flags_do_not_hide(config):
    trade = reader.frame(config, f"trade.{SUBJECT}")
    assert trade.event_flags.tolist() == ["REPAIRED"] and trade.side.tolist() == ["buy"]
    update = only(reader.frame(config, f"update.{SUBJECT}"))
    assert (update.status, update.side, update.order_type, update.client_order_id) == ("Filled", "buy", "MARKET", "a1")


def test_what_is_not_known_is_no_number(config):
    quote = only(reader.frame(config, f"quote.{SUBJECT}"))
    assert (quote.bid_price, quote.bid_quantity) == (61837.0, 3e-5)
    assert np.isnan(quote.ask_price) and quote.ask_quantity == 0 and pd.isna(quote.venue_ns)
    assert np.isnan(only(reader.frame(config, f"update.{SUBJECT}")).price)


def test_times_stay_nanoseconds(config):
    """pandas 3 makes microseconds of much that it is given."""
    frame = reader.frame(config, f"trade.{SUBJECT}")
    rows = reader.arrays(config, f"trade.{SUBJECT}")
    moments = ["seq_ns", "recv_ns", "venue_ns", "event_ns"]
    assert {str(frame[name].dtype) for name in moments} | {str(frame.index.dtype)} == {"datetime64[ns, UTC]"}
    assert rows["seq_ns"][0] % 1000 == rows["recv_ns"][0] % 1000 == 7
    for name in moments:
        assert frame[name].astype("i8").tolist() == rows[name].tolist()


def test_a_map_is_a_row_with_a_column_for_each_key(config):
    frame = reader.frame(config, "health.feed-1")
    assert frame["trades"].tolist() == [5, 6]
    assert frame["queue.behind"].iloc[0] == 2 and pd.isna(frame["queue.behind"].iloc[1])
    assert frame["why"].iloc[1] == "slow" and pd.isna(frame["why"].iloc[0])
    assert frame["seq"].tolist() == [8, 10] and frame["map.seq"].iloc[0] == 9, "a key does not replace the event's own"
    assert only(reader.frame(config, "alert.sentinel-1")).what == "restart"
    assert len(reader.frame(config, "health.feed-1", START + 9_500_000)) == 1
    with pytest.raises(ReadError, match=r"health events have maps.*reader\.frame\('health\.feed-1'\)"):
        reader.arrays(config, "health.feed-1")


@pytest.mark.parametrize(
    "topic, sentence",
    [
        ("trade.BTCUSDT", "the subjects of trade are binance.BTCUSDT.*did you mean trade.binance.BTCUSDT"),
        ("trade.binance.DOGE", "there is no topic trade.binance.DOGE; the subjects of trade are binance.BTCUSDT"),
        ("health.feed-9", "the subjects of health are feed-1, feed-2$"),
        ("run.feed-1", "there is nothing of run in "),
    ],
)
def test_an_unknown_topic_is_a_sentence_with_those_there_are(config, topic, sentence):
    with pytest.raises(ReadError, match=sentence):
        reader.frame(config, topic)


def test_a_known_instrument_of_which_nothing_was_heard_is_empty(config):
    frame = reader.frame(config, f"depth.{SUBJECT}")
    assert len(frame) == 0 and {"price", "quantity", "side"} <= set(frame.columns)
    assert len(reader.frame(config, f"trade.{SUBJECT}", "2030-01-01")) == 0


@pytest.mark.parametrize("dtype", ["i1", "u1", "<u2", "<i2"])
def test_codes_of_long_columns_are_found_as_those_of_short_ones(dtype):
    values = np.random.default_rng(1).choice(np.array([0, 1, 100, -1, -128, 7]).astype(dtype), columns_shown.TABLED_ROWS)
    look = FieldLook("side", Form.word, {1: "buy", 100: "odd"}, zero_is_none=True)
    long_places, long_words = columns_shown.words_of(values, look)
    short = values[: columns_shown.TABLED_ROWS - 1]
    places, words = columns_shown.words_of(short, look)
    assert long_words == words and long_places[:-1].tolist() == places.tolist() and None in words and "odd" in words
