"""Columns of a group as HDF5 itself makes and opens them: a small file has fifty, and h5py's own objects take twice as long.

What is made is what `group.create_dataset` with these filters makes: shuffle, zstd, fletcher32.
"""

from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5p, h5s, h5t, h5z

from tickmesh.storage.hdf5.filters import ZSTD

_FILTER, _LEVEL = ZSTD["compression"], ZSTD["compression_opts"]


def create(group: h5py.Group, name: str, rows: int, dtype: np.dtype, chunk: int = 0) -> h5d.DatasetID:
    """Makes a column of `rows` rows; `chunk`: of so many rows, behind the filters; 0: in one piece without them."""
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)
    if chunk:
        properties.set_chunk((chunk,))
        if dtype.itemsize > 1:
            properties.set_shuffle()
        properties.set_filter(_FILTER, h5z.FLAG_OPTIONAL, _LEVEL)
        properties.set_fletcher32()
    return h5d.create(group.id, name.encode(), h5t.py_create(dtype, logical=True), h5s.create_simple((rows,)), properties)


def open_dataset(group: h5py.Group, name: str) -> h5d.DatasetID:
    """Opens a column. Raises KeyError when there is none of that name."""
    return h5d.open(group.id, name.encode())


def write(dataset: h5d.DatasetID, row: int, values: np.ndarray) -> None:
    """Writes values from `row` on."""
    memory, file = _selected(dataset, row, len(values))
    dataset.write(memory, file, np.ascontiguousarray(values))


def read(dataset: h5d.DatasetID, start: int, stop: int, dtype: np.dtype) -> np.ndarray:
    """Reads rows start…stop, which the file has as `dtype`. Raises OSError for damage, ValueError for rows beyond the end."""
    out = np.empty(stop - start, dtype)
    if len(out):
        dataset.read(*_selected(dataset, start, len(out)), out)
    return out


def _selected(dataset: h5d.DatasetID, row: int, rows: int) -> tuple[Any, Any]:
    """(where in memory, where in the file) some rows are."""
    if not 0 <= row <= row + rows <= dataset.shape[0]:
        raise ValueError(f"rows {row} to {row + rows} are asked for; there are {dataset.shape[0]}")
    if rows == dataset.shape[0]:
        return h5s.ALL, h5s.ALL
    file = dataset.get_space()
    file.select_hyperslab((row,), (rows,))
    return h5s.create_simple((rows,)), file


def set_number(dataset: h5d.DatasetID, name: str, value: np.integer[Any]) -> None:
    """Gives a column an attribute that is one whole number."""
    number = np.asarray(value)
    h5a.create(dataset, name.encode(), h5t.py_create(number.dtype), h5s.create(h5s.SCALAR)).write(number)


def number(dataset: h5d.DatasetID, name: str, absent: int) -> int:
    """An attribute of a column that is one whole number; `absent` where it has none of that name."""
    if not h5a.exists(dataset, name.encode()):
        return absent
    attribute = h5a.open(dataset, name.encode())
    out = np.empty(attribute.shape, attribute.dtype)
    attribute.read(out)
    return int(out)
