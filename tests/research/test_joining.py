"""Joins by seq give a row only what had been heard before it; joins by a time do not, and the check says so."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import tickmesh as tm
from tests.support.research_scene import SETTINGS, record
from tests.support.stored import Market, write_log
from tickmesh.bus.config import load
from tickmesh.bus.schema import Kind
from tickmesh.research.joining import LookAheadError
from tickmesh.storage.query.times import ReadError

SUBJECT, OTHER = "binance.BTCUSDT", "binance.ETHUSDT"


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    """Quotes and trades of two instruments, eight events at one time each, as a batch was in older logs."""
    root = tmp_path_factory.mktemp("mesh")
    (root / "mesh.toml").write_text(SETTINGS)
    market, raws, rng = Market(), [], np.random.default_rng(5)
    for subject in (SUBJECT, OTHER):
        raws.append(market.instrument((-2, -5), subject=subject))
    for number in range(400):
        subject = (SUBJECT, SUBJECT, OTHER)[int(rng.integers(3))]
        step_ns = 0 if number % 8 else 5_000_000
        if rng.integers(2):
            quote = record(Kind.quote, update_id=number, bid_ticks=6_000_000 + number, bid_lots=5, ask_ticks=6_000_100 + number)
            raws.append(market.event(Kind.quote, subject, quote, step_ns=step_ns))
        else:
            raws.append(market.trade(6_000_000, subject=subject, step_ns=step_ns))
    raws.append(market.depth([(100, 5, 1), (101, 5, -1)], 1))
    write_log(load(root).log_dir, raws)
    return tm.open(root)


def expected(trades: pd.DataFrame, quotes: pd.DataFrame) -> list[float]:
    """The seq of the last quote of the instrument before each trade, by looking at all of them; NaN for none."""
    out = []
    for trade in trades.itertuples():
        before = quotes[(quotes.instrument == trade.instrument) & (quotes.seq < trade.seq)]
        out.append(float(before.seq.max()) if len(before) else np.nan)
    return out


def test_a_row_is_given_what_was_heard_before_it(db):
    trades, quotes = (one.to_pandas() for one in (db.trades(gaps="ignore"), db.quotes(gaps="ignore")))
    joined = db.trades(gaps="ignore").join_asof(db.quotes(gaps="ignore"), ["bid_price"])
    assert "nothing is read yet" in repr(joined)
    frame = joined.to_pandas()
    assert list(frame.columns) == [*trades.columns, "quote_seq", "quote_bid_price"] and len(frame) == len(trades) > 100
    np.testing.assert_array_equal(frame["quote_seq"].astype(float), expected(trades, quotes))
    prices = quotes.set_index("seq")["bid_price"]
    known = frame[frame["quote_seq"].notna()]
    assert (prices[known["quote_seq"].astype("i8")].to_numpy() == known["quote_bid_price"].to_numpy()).all()
    assert tm.check_no_lookahead(frame) is frame
    assert joined.to_polars().to_pandas()["quote_seq"].equals(frame["quote_seq"])


def test_a_join_by_time_looks_ahead_and_is_caught(db):
    """The events of a batch share their seq_ns."""
    trades, quotes = (one.to_pandas() for one in (db.trades(SUBJECT, gaps="ignore"), db.quotes(SUBJECT, gaps="ignore")))
    quotes = quotes[["seq_ns", "seq", "bid_price"]].rename(columns={"seq": "quote_seq"})
    peeking = pd.merge_asof(trades, quotes, on="seq_ns")
    count = int((peeking["quote_seq"] > peeking["seq"]).sum())
    assert count > 20
    row = int(np.argmax(peeking["quote_seq"] > peeking["seq"]))
    seqs = f"seq {peeking['seq'][row]}, and has quote_seq {int(peeking['quote_seq'][row])}"
    with pytest.raises(LookAheadError, match=f"^{count} of {len(trades)} rows look ahead: row {row} was heard as {seqs}"):
        tm.check_no_lookahead(peeking)


@pytest.mark.parametrize("shift_ns", [-50_000_000, 50_000_000])
def test_a_shifted_time_is_caught(db, shift_ns):
    """One quote's time is moved: a join by time peeks, or is stale, in silence; ours refuses the frame."""
    trades, quotes = (one.to_pandas() for one in (db.trades(SUBJECT, gaps="ignore"), db.quotes(SUBJECT, gaps="ignore")))
    assert len(tm.asof(trades, quotes)) == len(trades)
    place = len(quotes) // 2
    quotes.loc[place, "seq_ns"] += pd.Timedelta(shift_ns, "ns")
    with pytest.raises(LookAheadError, match="the times contradict the order: right's seq"):
        tm.asof(trades, quotes)
    without = tm.asof(trades, quotes.drop(columns="seq_ns"), ["bid_price"], "quote_")
    assert tm.check_no_lookahead(without) is without, "without times there is only the order of seq"


def test_frames_of_each_library_and_any_order_give_the_same(db):
    trades, quotes = db.trades(SUBJECT, gaps="ignore").to_arrow(), db.quotes(SUBJECT, gaps="ignore").to_arrow()
    whole = tm.asof(trades, quotes, ["ask_price"])
    shuffled = np.random.default_rng(1).permutation(len(quotes))
    assert tm.asof(trades, quotes.take(pa.array(shuffled)), ["ask_price"]).equals(whole)
    backwards = trades.to_pandas().iloc[::-1]
    frame = tm.asof(backwards, quotes.to_pandas(), ["ask_price"])
    assert list(frame.index) == list(backwards.index)
    pd.testing.assert_series_equal(frame["right_seq"].sort_index(), whole.to_pandas()["right_seq"])


def test_an_event_is_not_before_itself(db):
    quotes = db.quotes(SUBJECT, gaps="ignore").to_arrow()
    joined = tm.asof(quotes, quotes, ["bid_price"], "last_").to_pandas()
    assert np.isnan(joined["last_seq"][0]) and (joined["last_seq"][1:].to_numpy() == joined["seq"][:-1].to_numpy()).all()


def test_other_instruments_are_joined_when_asked_for(db):
    trades, quotes = db.trades(SUBJECT, gaps="ignore"), db.quotes(OTHER, gaps="ignore")
    with pytest.raises(ReadError, match=f"left is of {SUBJECT}, right of {OTHER}.* across=True"):
        trades.join_asof(quotes).to_arrow()
    frame = trades.join_asof(quotes, across=True).to_pandas()
    assert set(frame["quote_instrument"].dropna()) == {"ETHUSDT"} and tm.check_no_lookahead(frame) is frame


def test_what_cannot_be_joined_is_a_sentence(db):
    trades, depth = db.trades(SUBJECT, gaps="ignore").to_arrow(), db.depth(SUBJECT, gaps="ignore").to_arrow()
    for left, right, columns, sentence in (
        (trades, depth, (), "right has several rows of seq .* take one row of each"),
        (trades, trades, ("bid_price",), "right has no column 'bid_price'; it has venue, instrument, seq"),
        (trades.drop_columns("seq"), trades, (), "left has no column 'seq'"),
        ([1, 2], trades, (), "list is no frame of pandas, polars or Arrow"),
    ):
        with pytest.raises(ReadError, match=sentence):
            tm.asof(left, right, columns)
    with pytest.raises(ReadError, match="no column ending with seq beside seq"):
        tm.check_no_lookahead(trades)
