"""A naive look into the recent store, from docs/archive.md: is it what log and archive say, from its oldest event on?"""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import lmdb

from tools.judge.findings import Findings
from tools.judge.log import Event, events

TABLES = (b"events", b"topics", b"meta")


def agree(folder: Path, fields: dict[str, tuple], stream: Iterable[Event], findings: Findings) -> Iterator[Event]:
    """Passes the events on, and looks each of them up in the store as it was when this began."""
    if not (folder / "data.mdb").is_file():  # opening would make an empty one
        yield from stream
        return
    try:
        env = lmdb.open(str(folder), map_size=0, max_dbs=8, readonly=True, create=False, lock=True, readahead=False)
    except lmdb.Error as error:
        findings.fault("recent", f"the recent store cannot be opened: {error}")
        yield from stream
        return
    with env:
        topics_db, events_db, meta_db = (env.open_db(name, create=False) for name in (b"topics", b"events", b"meta"))
        with env.begin() as txn:
            upto = struct.unpack(">Q", txn.get(b"recent_seq", bytes(8), db=meta_db))[0]
            ids = {key.decode(): value for key, value in txn.cursor(topics_db)}
            oldest = {}
            with txn.cursor(events_db) as cursor:
                for topic, number in ids.items():
                    if cursor.set_range(number) and cursor.key()[:4] == number:
                        oldest[topic] = struct.unpack(">Q", cursor.key()[4:])[0]
            found = 0
            for event in stream:
                topic = f"{event.kind}.{event.subject}"
                if event.seq <= upto and event.seq >= oldest.get(topic, event.seq + 1):
                    raw = txn.get(ids[topic] + struct.pack(">Q", event.seq), db=events_db)
                    if raw is None:
                        findings.fault("recent", f"seq {event.seq} of {topic} is not in the recent store")
                    elif next(events(raw, fields)) != event:
                        findings.fault("recent", f"seq {event.seq} of {topic} differs in the recent store")
                    found += raw is not None
                yield event
            there = txn.stat(events_db)["entries"]
            findings.count("recent_events", there)
            if there != found:
                findings.fault("recent", f"the recent store has {there} events; {found} of them are in log or archive")
