"""The compression filters of archive files, made known to HDF5 whatever the folder that they are installed in is called.

hdf5plugin looks for its own files with a pattern, so that below a folder with [ ] in its name it finds none, and every read and
write fails (findings/hdf5plugin_finds_no_filter_below_brackets.sh). HDF5 itself is told the place as it is.
"""

import contextlib
import logging
from collections.abc import Iterator

import h5py

ZSTD_LEVEL = 5
_LOGGER = logging.getLogger("hdf5plugin")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps it from telling of each filter that it does not find: it does not matter then."""
    level = _LOGGER.level
    _LOGGER.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        _LOGGER.setLevel(level)


with _quiet():
    import hdf5plugin

h5py.h5pl.append(hdf5plugin.PLUGIN_PATH.encode())
ZSTD = dict(hdf5plugin.Zstd(ZSTD_LEVEL))  # arguments of create_dataset
