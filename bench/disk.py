"""What one liquid pair costs on disk, by part: log, recent store, archive; for a day at the pace of the capture.

`python -m bench disk`. The events are those of the USD-M capture under TICKMESH_DATA, or synthetic; each part is written by its
own writer, in cuts of a minute that are sealed in the end. Log and recent store are bounded: the day is set beside what they
hold by the defaults. The local exchange's ledger is in no real venue's mesh; `make soak` measures it.
"""

import os
import tempfile
from pathlib import Path

import numpy as np

from bench.archive import CAPTURES, ROOT, captured, sequenced, synthetic
from bench.floor import line, throw_away_mesh
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.wire import Event, sizes
from tickmesh.storage.archive.merge import merge
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.recent.store import RecentWriter

DAY_S = 86_400
MINUTE_NS = 60 * 10**9
COMMIT_EVENTS = 50  # a tenth of a second of a liquid pair


def taken(folder: Path) -> int:
    """Bytes of the blocks that the files of a folder take."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def main() -> dict[str, float]:
    data = Path(os.environ.get("TICKMESH_DATA") or ROOT.parent / "shared" / "data") / "hftbacktest" / CAPTURES[0]
    batches = sequenced(captured(data) if data.is_file() else synthetic())
    events = [Event(batch.body, at) for batch in batches for at, _ in sizes(batch.body)]
    count, span_ns = len(events), events[-1].seq_ns - events[0].seq_ns
    config, folder = throw_away_mesh(), Path(tempfile.mkdtemp(prefix="tickmesh-bench-"))
    log = LogWriter(folder / "log", segment_bytes=config.log.segment_bytes, sync_ms=1000)
    recent = RecentWriter(folder / "recent")
    for start in range(0, count, COMMIT_EVENTS):
        some = events[start : start + COMMIT_EVENTS]
        log.append(some[0].seq, [bytes(event.raw) for event in some])
        recent.put(some)
        recent.commit()
    log.close()
    recent.close()
    cuts = ArchiveWriter(folder / "cuts")
    cuts.archive(batches, count, max(int(count * MINUTE_NS / span_ns), 1), 1)
    cuts.close()
    files = ArchiveReader(folder / "cuts").files
    span = {"first_seq": np.uint64(1), "last_seq": np.uint64(count), "part": "day", "folder": files[0].folder}
    merge([file.path for file in files], folder / "sealed" / "day.h5", span)
    pairs = {"log": 1.0, "recent": 1.0, "cuts": 1.0, "sealed": 1.0}
    bound = {
        "log": f"{config.log.keep_segments * config.log.segment_bytes >> 20:,} MB stay by default, once archived",
        "recent": f"{config.recorder.recent_hours:g} hours stay by default",
    }
    print(f"disk: {count:,} events of one pair in {span_ns / 1e9:,.0f} s, {count / span_ns * 1e9:,.0f} a second")
    for part in pairs:
        pairs[part] = taken(folder / part) / count
        day = pairs[part] * count / (span_ns / 1e9) * DAY_S
        line(f"  {part}", f"{pairs[part]:,.1f} bytes an event", f"{day / 1e9:,.2f} GB a day; {bound.get(part, 'kept')}")
    return {f"{part}_bytes_an_event": size for part, size in pairs.items()}
