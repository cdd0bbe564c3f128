"""Readers of the real captures (TICKMESH_DATA): what came over each connection and when, and what REST answered.

Every reader gives `Message`s in the file's order. A replay needs no more: open a connection where one was opened, send the
received frames, answer requests with the bodies.
"""

import csv
import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from tests.support.places import DATA

SAMPLES = DATA / "cryptofeed/sample_data"
COUNTS = DATA / "cryptofeed/expected_callback_counts.json"
SPOT_BTC = DATA / "hftbacktest/spot/btcusdt_20240808.gz"
USDM_BTC = DATA / "hftbacktest/usdm/btcusdt_20240808.gz"
USDM_BTC_2023 = DATA / "hftbt_playground/raw/usdm/btcusdt_20230404.dat.gz"
USDM_BTC_2023_BOOK = DATA / "hftbt_playground/npz/btcusdt_20230404_eod.npz"
LASOTA = DATA / "binance_lasota"
RAW_MESSAGES = DATA / "crypto_msg_parser/raw_messages.jsonl"
VECTORS = DATA / "vectors/signing_and_checksum_vectors.json"


Direction = Literal["connected", "sent", "received", "rest"]
DIRECTIONS: dict[bytes, Direction] = {b"<->": "connected", b"<-": "sent", b"->": "rest"}  # cryptofeed's arrows


class Message(NamedTuple):
    """One event of a capture. `connection`: the URL of the websocket, or of the request whose answer `frame` is (rest)."""

    recv_ns: int
    connection: str
    direction: Direction
    frame: bytes


def needs(*paths: Path):
    """A mark that skips a test where files are not there, and names them."""
    missing = [path.name for path in paths if not path.exists()]
    return pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)} in {DATA} (TICKMESH_DATA)")


def sample_files(venue: str) -> list[Path]:
    """cryptofeed's files of a venue (COINBASE): instrument info, REST snapshots, then one a websocket."""
    files = [SAMPLES / f"{venue}.0", *sorted(SAMPLES.glob(f"{venue}.http.*")), *sorted(SAMPLES.glob(f"{venue}.ws.*"))]
    return [path for path in files if path.is_file()]


def sample(venue: str) -> Iterator[Message]:
    """Reads all that cryptofeed recorded of a venue, one file after the other: REST first, then each connection."""
    for path in sample_files(venue):
        yield from sample_file(path)


def sample_file(path: Path) -> Iterator[Message]:
    """Reads one of cryptofeed's files.

    `<url> <-> time` connected, `<url> <- time: frame` sent, `<url> -> time: body` REST, `time: frame` received.
    """
    connection = ""
    with open(path, "rb") as file:
        for line in file:
            line = line.rstrip(b"\n")
            if not line or line.startswith(b"configuration: "):
                continue
            if not line.startswith((b"http", b"ws")):
                stamp, _, frame = line.partition(b": ")
                yield Message(nanoseconds(stamp), connection, "received", frame)
                continue
            url, arrow, rest = line.split(b" ", 2)
            stamp, _, frame = rest.partition(b": ")
            if arrow == b"<->":
                connection = url.decode()
            yield Message(nanoseconds(stamp), url.decode(), DIRECTIONS[arrow], frame)


def nanoseconds(seconds: bytes) -> int:
    """Seconds as text → ns."""
    return int(Decimal(seconds.decode()).scaleb(9))


def stamped(path: Path, connection: str = "wss://stream/stream") -> Iterator[Message]:
    """Reads lines of `<recv> <json>` in ns or µs, by their size; the embedded REST depth snapshot is a `rest` message."""
    with gzip.open(path) as file:
        for line in file:
            stamp, _, frame = line.rstrip(b"\n").partition(b" ")
            recv_ns = int(stamp) * (1 if len(stamp) > 16 else 1000)
            direction: Direction = "rest" if b'"lastUpdateId"' in frame[:20] else "received"
            yield Message(recv_ns, connection, direction, frame)


def lasota(name: Literal["difference_depth", "trade"], twin: Literal["positive", "negative"]) -> Iterator[Message]:
    """Reads a CSV of TRXUSDT as the frames that it was made of. `positive` is the clean one, `negative` has faults."""
    path = LASOTA / f"test_{twin}_binance_{name}_stream_spot_trxusdt_04-03-2025.csv"
    with open(path, newline="") as file:
        rows = csv.DictReader(file)
        for _, group in groupby(
            rows, key=lambda row: (row["TimestampOfReceive"], row.get("FirstUpdateId"), row.get("TradeId"))
        ):
            lines = list(group)
            data = _lasota_trade(lines[0]) if name == "trade" else _lasota_depth(lines)
            frame = json.dumps({"stream": lines[0]["Stream"], "data": data}, separators=(",", ":")).encode()
            yield Message(int(lines[0]["TimestampOfReceive"]) * 1000, "wss://stream.binance.com/stream", "received", frame)


def _lasota_trade(row: dict[str, str]) -> dict:
    return {
        "e": "trade", "E": int(row["EventTime"]), "s": row["Symbol"], "t": int(row["TradeId"]), "p": row["Price"],
        "q": row["Quantity"], "T": int(row["TransactionTime"]), "m": row["IsBuyerMarketMaker"] == "1", "M": True,
    }  # fmt: skip


def _lasota_depth(rows: list[dict[str, str]]) -> dict:
    sides = {side: [[row["Price"], row["Quantity"]] for row in rows if row["IsAsk"] == side] for side in "01"}
    first = rows[0]
    return {
        "e": "depthUpdate", "E": int(first["EventTime"]), "s": first["Symbol"], "U": int(first["FirstUpdateId"]),
        "u": int(first["FinalUpdateId"]), "b": sides["0"], "a": sides["1"],
    }  # fmt: skip


def raw_messages(venue: str) -> Iterator[dict]:
    """Reads crypto-msg-parser's single messages of a venue: `channel`, `case`, `raw` (text)."""
    with open(RAW_MESSAGES) as file:
        for line in file:
            row = json.loads(line)
            if row["venue"] == venue:
                yield row
