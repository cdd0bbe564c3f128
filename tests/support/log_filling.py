"""A log that is filled with numbered events."""

import numpy as np

from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.schema import QUOTE, Kind
from tickmesh.bus.wire import encode, stamp_sequenced


def quote(seq: int, update_id: int = 0) -> bytearray:
    """Builds a sequenced quote."""
    record = np.zeros(1, QUOTE)
    record["update_id"] = update_id or seq
    event = encode(Kind.quote, "binance.BTCUSDT", record, last_id=update_id or seq)
    stamp_sequenced(event, seq, seq - 1, seq * 1000)
    return event


def append_quotes(writer: LogWriter, count: int, per_batch: int = 1) -> None:
    """Appends `count` quotes in batches."""
    while count > 0:
        n = min(per_batch, count)
        first = writer.last + 1
        writer.append(first, [quote(first + i) for i in range(n)])
        count -= n
