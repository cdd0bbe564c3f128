"""Imported before the feature library: its machine code lies in a folder of this run alone.

Numba's cache does not see a changed function of another file (nodes/models/cache.py), and a test would pass on old code.
"""

import tempfile

import numba

FOLDER = tempfile.TemporaryDirectory(prefix="tickmesh-kernels-")  # gone when the run is over
vars(numba.config)["CACHE_DIR"] = FOLDER.name
