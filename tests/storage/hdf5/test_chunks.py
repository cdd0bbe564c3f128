"""Columns read by their chunks are what h5py reads, and a flipped bit is an error, never a number."""

import h5py
import numpy as np
import pytest

from tickmesh.storage.bars import kernels as bar_kernels
from tickmesh.storage.hdf5 import kernels as hdf5_kernels
from tickmesh.storage.hdf5.chunks import Chunked, OrderedColumn, fletcher32_agrees
from tickmesh.storage.hdf5.packing import put

COLUMNS = {
    "packed": np.arange(100_000) * 5 + 10**15,
    "random": np.random.default_rng(1).integers(-(1 << 62), 1 << 62, 70_000),
    "two bytes": np.random.default_rng(2).integers(0, 60_000, 140_000),
    "small": np.arange(20),
    "constant": np.full(90_000, 77),
    "zero": np.zeros(90_000, "i8"),
    "bytes": np.random.default_rng(3).choice(np.array([-1, 1], "i1"), 66_000),
    "one chunk": np.arange(65_536) ** 2,
}


@pytest.mark.parametrize("kernels", [None, bar_kernels], ids=["numpy", "compiled"])
@pytest.mark.parametrize("name", COLUMNS)
def test_chunks_are_what_h5py_reads(tmp_path, name, kernels):
    values = COLUMNS[name]
    with h5py.File(tmp_path / "columns.h5", "w") as file:
        put(file, "column", values)
    with h5py.File(tmp_path / "columns.h5") as file:
        column = Chunked(file, "column", len(values), kernels)
        assert (column.values() == values).all() and column.values().dtype == np.dtype("<i8")
        assert column._direct == (values.nbytes > 256 and name not in ("zero", "constant", "small")), "the fast path was taken"
        assert (Chunked(file, "absent", 5).values() == 0).all()
        with pytest.raises(ValueError, match="has .* rows; 3 belong there"):
            Chunked(file, "column", 3)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_read_in_order_fills_a_field_of_records(tmp_path, name):
    """In parts that end anywhere, also where a chunk does; nothing beside the field is touched."""
    values = COLUMNS[name]
    with h5py.File(tmp_path / "columns.h5", "w") as file:
        put(file, "column", values)
    edges = sorted({0, 1, 65_535, 65_537, *np.random.default_rng(5).integers(0, len(values), 5).tolist(), len(values)})
    edges = [edge for edge in edges if edge <= len(values)]
    out = np.full(len(values), 7, [("before", "<i4"), ("own", values.dtype), ("after", "<i2")])
    with h5py.File(tmp_path / "columns.h5") as file:
        column = OrderedColumn(file, "column", len(values), hdf5_kernels)
        for start, stop in zip(edges, edges[1:]):
            column.read_into(out["own"][start:stop], start, stop)
        with pytest.raises(ValueError, match=f"rows 0 to {len(values) + 1} are asked for; there are {len(values)}"):
            column.read_into(np.zeros(len(values) + 1, values.dtype), 0, len(values) + 1)
        absent = OrderedColumn(file, "absent", 5, hdf5_kernels)
        absent.read_into(out["own"][:3], 0, 3)
    assert absent.absent and not column.absent
    assert (out["own"] == values).all() and (out["before"] == 7).all() and (out["after"] == 7).all()


@pytest.mark.parametrize("options", [dict(), dict(compression="gzip"), dict(chunks=(1000,), shuffle=True)])
def test_columns_stored_in_another_way_are_read_too(tmp_path, options):
    values = np.arange(70_000, dtype="<i8")
    with h5py.File(tmp_path / "columns.h5", "w") as file:
        file.create_dataset("column", data=values, **options)
    with h5py.File(tmp_path / "columns.h5") as file:
        assert (Chunked(file, "column", len(values)).values() == values).all()


def test_a_flipped_bit_is_an_error_never_a_number(tmp_path):
    values = np.random.default_rng(1).integers(0, 1 << 40, 70_000)
    with h5py.File(tmp_path / "columns.h5", "w") as file:
        put(file, "column", values)
    with h5py.File(tmp_path / "columns.h5") as file:
        _, data = file["column"].id.read_direct_chunk((0,))
        place = file["column"].id.get_chunk_info(0).byte_offset
    assert fletcher32_agrees(data) and fletcher32_agrees(data, bar_kernels)
    bits = np.random.default_rng(4).integers(0, 8 * len(data), 50)
    for bit in bits.tolist():
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        assert not fletcher32_agrees(bytes(wrong)) and not fletcher32_agrees(bytes(wrong), bar_kernels)
    raw = bytearray((tmp_path / "columns.h5").read_bytes())
    raw[place + len(data) // 2] ^= 4
    (tmp_path / "wrong.h5").write_bytes(raw)
    with h5py.File(tmp_path / "wrong.h5") as file, pytest.raises(OSError):
        Chunked(file, "column", len(values)).values()
