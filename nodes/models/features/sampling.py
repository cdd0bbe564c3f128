"""Features at moments: rows in, one line of values out for each multiple of an interval, or for each row."""

import numpy as np
from numba import njit

from tickmesh.nodes.models.features.vector import give_values, take_row
from tickmesh.nodes.models.interface import Floats, Record, Records

SAMPLE = np.dtype([("at_ns", "<i8"), ("seq", "<i8"), ("seq_ns", "<i8")])
PACE = np.dtype(
    [
        ("every_ns", "<i8"),  # 0: after each row
        ("begin_ns", "<i8"),  # nothing is written for a moment before
        ("end_ns", "<i8"),  # nor for this one and later ones
        ("next_ns", "<i8"),  # the next multiple; 0 before the first row
        ("seq", "<i8"),  # of the last row
        ("seq_ns", "<i8"),
    ]
)


@njit(cache=True, nogil=True)
def sample_rows(
    state: Records, parameters: Records, units: Floats, rows: Records, seqs: Records, first: int, last: int, quotes: Records,
    trades: Records, levels: Records, wanted: Records, pace: Records, samples: Records, values: Floats, n: int,
) -> tuple[int, int]:  # fmt: skip
    """Takes rows first … last − 1; gives (the next row to take, how many samples there are now). Less than `last`: no room.

    state: (1,) table.state_dtype; parameters: (1,) f8 fields of table.PARAMETERS; pace: (1,) PACE; samples: (m,) SAMPLE;
    values: (m, wanted features). A sample at a time has every row with seq_ns up to that time, and none after: it is written
    when the first later row comes, before that one is taken.
    """
    pace_now, s, p = pace[0], state[0], parameters[0]
    every_ns = pace_now.every_ns
    for r in range(first, last):
        now_ns = rows[r].seq_ns
        if every_ns > 0:
            if pace_now.next_ns == 0:
                pace_now.next_ns = -(-max(now_ns, pace_now.begin_ns) // every_ns) * every_ns
            while pace_now.next_ns < now_ns and pace_now.next_ns < pace_now.end_ns:
                if pace_now.seq > 0:
                    if n == len(samples):
                        return r, n
                    _write(samples[n], pace_now.next_ns, pace_now.seq, pace_now.seq_ns)
                    give_values(s, p, pace_now.next_ns, wanted, values[n])
                    n += 1
                pace_now.next_ns += every_ns
        elif n == len(samples):
            return r, n
        take_row(s, p, units, rows[r], quotes, trades, levels, wanted)
        pace_now.seq = np.int64(seqs[r])
        pace_now.seq_ns = now_ns
        if every_ns == 0 and pace_now.begin_ns <= now_ns < pace_now.end_ns:
            _write(samples[n], now_ns, pace_now.seq, now_ns)
            give_values(s, p, now_ns, wanted, values[n])
            n += 1
    return last, n


@njit(cache=True)
def _write(sample: Record, at_ns: int, seq: int, seq_ns: int) -> None:
    sample.at_ns = at_ns
    sample.seq = seq
    sample.seq_ns = seq_ns
