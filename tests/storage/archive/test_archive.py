"""The archive gives back the very bytes it was given, in files that anybody can read."""

import json
import re
import subprocess
import sys

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tickmesh.storage.archive.file
from tests.support.archived import archive, read
from tests.support.places import PROJECT
from tests.support.stored import DAY, START, Market
from tickmesh.bus.layout import HEADER_SIZE, RECORDS, header_slice
from tickmesh.bus.schema import DTYPES, HEADER, Kind
from tickmesh.storage.archive.catalog import Pruned, Watermark, day_of, list_files, manifest
from tickmesh.storage.archive.file import ArchiveFile
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.hdf5.columns import from_bytes, read_table, to_bytes
from tickmesh.storage.hdf5.encoding import write_table
from tickmesh.storage.hdf5.packing import pack, put

SUBJECT = "binance.BTCUSDT"


# -- bit for bit


def random_event(kind: Kind, count: int, seed: int, extreme: bool) -> bytes:
    """Any bits in any field that the wire format leaves free."""
    rng = np.random.default_rng(seed)
    dtype = DTYPES[kind]
    body = rng.bytes(count * dtype.itemsize) if extreme else bytes(count * dtype.itemsize)
    header = np.frombuffer(bytearray(rng.bytes(HEADER_SIZE) if extreme else bytes(HEADER_SIZE)), HEADER).copy()
    for name in ("first_id", "last_id", "venue_ns", "recv_ns", "sent_ns"):
        header[name] = rng.choice([0, 1, -1, 2**63 - 1, -(2**63), int(header[name][0])])
    for name in ("epoch", "number", "link", "cause_seq"):
        header[name] = rng.choice(np.array([0, 1, 2**64 - 1, int(header[name][0])], "u8"))
    header["subject"], header["producer"] = rng.choice([b"binance.A", b"kraken.B"]), rng.choice([b"f1", b"f2", b""])
    header["size"], header["count"], header["kind"] = HEADER_SIZE + len(body), count, kind
    return header.tobytes() + body


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(list(Kind)),
    shapes=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2**32), st.booleans()), min_size=1, max_size=30),
    one=st.booleans(),
)
def test_every_kind_comes_back_bit_for_bit(kind, shapes, one):
    raws = [random_event(kind, 1 if one else count, seed, extreme) for count, seed, extreme in shapes]
    table = from_bytes(kind, b"".join(raws), np.array([len(raw) for raw in raws]))
    with h5py.File("m", "w", driver="core", backing_store=False) as file:
        write_table(file.create_group(kind.name), table)
        back, starts = to_bytes(read_table(file[kind.name], kind, tickmesh.storage.archive.file.DESCRIPTION))
    assert bytes(back) == b"".join(raws)
    assert starts.tolist() == np.cumsum([0, *(len(raw) for raw in raws[:-1])]).tolist()


@given(
    values=st.one_of(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1).map(lambda v: np.array(v, "<i8")),
        st.lists(st.integers(0, 2**64 - 1), min_size=1).map(lambda v: np.array(v, "<u8")),
        st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1).map(lambda v: np.array(v, "<i4")),
        st.lists(st.integers(-50, 50), min_size=1).map(lambda v: np.array(v, "<i8") * 10**15 + 7),
    )
)
def test_packing_is_exact_and_plain_arithmetic_undoes_it(values):
    stored, scale, offset = pack(values)
    assert stored.dtype.itemsize <= values.dtype.itemsize
    with np.errstate(over="ignore"):
        plain = stored * values.dtype.type(scale) + values.dtype.type(offset)
    assert plain.dtype == values.dtype
    assert (plain == values).all()


def test_a_float_keeps_its_nan_and_its_sign_of_zero(tmp_path):
    market = Market()
    record = np.zeros(3, DTYPES[Kind.signal])
    record["model"], record["value"] = b"flow", [np.nan, -0.0, np.inf]
    record["price"] = np.array([0x7FF8DEADBEEF0001, 0, 1], "u8").view("f8")
    raws = [market.event(Kind.signal, SUBJECT, record, cause_seq=0), market.event(Kind.signal, SUBJECT, record, k=1)]
    archive(tmp_path, raws)
    assert read(tmp_path) == raws


def test_an_empty_depth_change_keeps_its_one_record(tmp_path):
    market = Market()
    raws = [market.depth([(0, 0, 0)], 5), market.depth([(1, 2, 1)] * 1500, 6)]
    archive(tmp_path, raws)
    assert read(tmp_path) == raws


# -- what a reader sees


def test_events_of_all_files_come_in_order_of_seq(tmp_path):
    raws = Market().mixed(2500)
    archive(tmp_path, raws, cut_events=700)
    assert read(tmp_path) == raws
    assert read(tmp_path, 699, 1401) == raws[699:1401]
    assert ArchiveReader(tmp_path).check() == []
    ours = [raw for raw in raws[100:2000] if raw[8] == Kind.trade and b"ETHUSDT" in raw[header_slice("subject")]]
    assert read(tmp_path, 100, 2000, [Kind.trade], "binance.ETHUSDT") == ours
    assert len({f.folder for f in list_files(tmp_path)}) == 3


def test_columns_are_the_records_with_their_events_fields(tmp_path):
    raws = Market().mixed(400)
    archive(tmp_path, raws, cut_events=90)
    rows = ArchiveReader(tmp_path).columns(Kind.depth, SUBJECT)
    expected = [
        (int.from_bytes(raw[header_slice("seq")], "little"), int(level["price_ticks"]))
        for raw in raws
        if raw[8] == Kind.depth
        for level in np.frombuffer(raw[RECORDS], DTYPES[Kind.depth])
    ]
    assert list(zip(rows["seq"].tolist(), rows["price_ticks"].tolist())) == expected
    start, end = int(rows["seq_ns"][10]), int(rows["seq_ns"][20])
    part = ArchiveReader(tmp_path).columns(Kind.depth, SUBJECT, start, end)
    assert (part == rows[(rows["seq_ns"] >= start) & (rows["seq_ns"] < end)]).all()


def test_files_are_cut_at_utc_midnight(tmp_path):
    market = Market(seq_ns=START + DAY - 50_000_000)
    raws = market.mixed(100)
    archive(tmp_path, raws)
    days = sorted({(f.day, f.first, f.last) for f in list_files(tmp_path)})
    assert days == [("2024-08-09", 1, 49), ("2024-08-10", 50, 100)]
    for event in ArchiveReader(tmp_path).events():
        assert day_of(event.seq_ns) == ("2024-08-09" if event.seq < 50 else "2024-08-10")
    assert read(tmp_path) == raws


def test_a_file_is_read_only_and_has_no_temporary_beside_it(tmp_path):
    archive(tmp_path, Market().mixed(50))
    for file in list_files(tmp_path):
        assert file.path.stat().st_mode & 0o222 == 0
        assert [p.name for p in file.path.parent.iterdir()] == [file.path.name]


def test_the_same_events_make_the_same_content(tmp_path):
    raws = Market().mixed(300)
    sums = []
    for name in ("a", "b"):
        archive(tmp_path / name, raws, log_id=len(sums))
        with ArchiveFile(list_files(tmp_path / name)[0].path) as segment:
            sums.append(segment.attributes["content_sha256"])
    assert sums[0] == sums[1]


def test_each_segment_opens_with_the_book(tmp_path):
    market = Market()
    raws = [
        market.depth([(90, 9, 1)], 9),  # before any snapshot: belongs to no book
        market.depth([(100, 5, 1), (99, 4, 1), (101, 3, -1)], 10, snapshot=True),
        market.depth([(100, 0, 1), (102, 7, -1)], 10),  # u <= L
        market.depth([(99, 0, 1), (102, 8, -1)], 11),
        market.clock(),
        market.gap(Kind.trade),
        market.depth([(98, 2, 1)], 12),
        market.gap(Kind.depth),
        market.depth([(97, 2, 1)], 14),
        market.depth([(1, 1, 1)], 20, snapshot=True),
    ]
    books = []
    for end in range(1, len(raws) + 1):  # one cut an event, by a new writer each: the book is found again from the files
        archive(tmp_path, raws, upto=end)
    for file in list_files(tmp_path):
        if file.folder == "binance/BTCUSDT":
            with ArchiveFile(file.path) as segment:
                book = segment.book()
                books.append((file.first, book.valid, book.last_update_id if book.valid else 0, book.bids, book.asks))
    assert books == [
        (1, False, 0, {}, {}),
        (2, False, 0, {}, {}),
        (3, True, 10, {100: 5, 99: 4}, {101: 3}),
        (4, True, 10, {100: 5, 99: 4}, {101: 3}),
        (6, True, 11, {100: 5}, {101: 3, 102: 8}),
        (7, True, 11, {100: 5}, {101: 3, 102: 8}),
        (8, True, 12, {100: 5, 98: 2}, {101: 3, 102: 8}),
        (9, False, 0, {}, {}),
        (10, False, 0, {}, {}),
    ]


def test_exponents_come_from_the_instrument_record_and_stay_known(tmp_path):
    market = Market()
    raws = [market.instrument((-2, -5)), market.trade(), market.trade()]
    archive(tmp_path, raws, upto=1)
    archive(tmp_path, raws, upto=3)
    assert ArchiveReader(tmp_path).exponents(SUBJECT) == (-2, -5)
    with h5py.File(list_files(tmp_path)[-1].path) as file:
        assert file.attrs["price_exponent"] == -2


def test_a_subject_cannot_leave_the_archive(tmp_path):
    market = Market()
    raws = [market.trade(subject=s) for s in ("../../x.y", "a..", ".hidden.z", "a/b.c/d", "noperiod")]
    archive(tmp_path / "in", raws)
    assert read(tmp_path / "in") == raws
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


# -- the page


@pytest.mark.parametrize("subject", ["binance.BTCUSDT", "kraken.BTC/USD", "other.a%2Fb é.c"])
def test_the_example_of_the_page_runs(tmp_path, subject):
    market = Market()
    archive(tmp_path, [market.instrument(subject=subject), *[market.trade(subject=subject) for _ in range(20)]])
    page = (PROJECT / "docs" / "archive.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.S)[1]
    code = code.replace("data/sim/archive", str(tmp_path)).replace('("binance", "BTCUSDT")', str(tuple(subject.split(".", 1))))
    assert "storage" not in code  # h5py and hdf5plugin only
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    shown = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), *subject.split(".", 1)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout
    assert "61837.6" in shown


def test_the_manifest_is_as_documented(tmp_path):
    tree = json.loads(manifest(Watermark(7, 255, 5, (Pruned("2024-08-09", 1, 5, ("binance/BTCUSDT",)),))))
    assert tree == {
        "archived_seq": 7, "log_id": "00000000000000ff", "sealed_seq": 5,
        "pruned": {"2024-08-09": {"first_seq": 1, "last_seq": 5, "folders": ["binance/BTCUSDT"]}},
    }  # fmt: skip


def test_a_constant_column_takes_no_space(tmp_path):
    with h5py.File("m", "w", driver="core", backing_store=False) as file:
        put(file, "a", np.full(100_000, 7, "<i8"))
        assert file["a"].id.get_storage_size() == 0
        assert (file["a"][:] * file["a"].attrs["scale_factor"] + file["a"].attrs["add_offset"] == 7).all()
