"""Old files stay readable: events of an older schema, rewritten with today's fields (docs/messages.md, "Evolution")."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tickmesh.bus.schema import DTYPES, HEADER, Kind


def converter(description: dict[str, Any]) -> Callable[[memoryview], memoryview]:
    """Makes a function from a body of whole events of the described schema to the same events of today's schema.

    Fields are matched by name; one that the old schema had not is 0.
    """
    header = np.dtype([(name, code) for name, code in description["header"]])
    dtypes = {kind: dtype_of(description, kind) for kind in DTYPES}

    def convert(body: memoryview) -> memoryview:
        out = bytearray()
        offset = 0
        while offset < len(body):
            old = np.frombuffer(body, header, 1, offset)
            kind = Kind(int(old["kind"][0]))
            count = int(old["count"][0])
            records = recast(np.frombuffer(body, dtypes[kind], count, offset + header.itemsize), DTYPES[kind])
            fresh = recast(old, HEADER)
            fresh["size"] = fresh.nbytes + records.nbytes
            out += fresh.tobytes() + records.tobytes()
            offset += int(old["size"][0])
        return memoryview(bytes(out))

    return convert


def dtype_of(description: dict[str, Any], kind: Kind) -> np.dtype:
    """The dtype of one record of a kind by a file's description of its schema; today's for a kind that it does not have."""
    fields = description.get(kind.name)
    if fields is None or DTYPES[kind].names is None:
        return DTYPES[kind]
    return np.dtype([(name, code) for name, code in fields])


def recast(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Copies rows into the fields of `dtype`, by name; a field that they do not have is 0."""
    if array.dtype == dtype:
        return array.copy()
    fresh = np.zeros(len(array), dtype)
    for name in set(array.dtype.names or ()) & set(dtype.names or ()):
        fresh[name] = array[name]
    return fresh
