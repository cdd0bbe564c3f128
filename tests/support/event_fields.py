"""Where the fields of an event lie, for tests that change its bytes."""

from tickmesh.bus.layout import HEADER_SIZE
from tickmesh.bus.schema import DTYPES, Kind


def record_slice(kind: Kind, name: str) -> slice:
    """The slice of an event's bytes that holds one field of its first record."""
    dtype, at = DTYPES[kind].fields[name][:2]
    return slice(HEADER_SIZE + at, HEADER_SIZE + at + dtype.itemsize)
