#!/usr/bin/env bash
# hdf5plugin 7.1.0: installed below a folder with [ ] in its name it registers no filter, and h5py cannot read what it wrote elsewhere.
#
# It looks for its own libraries with glob.glob(PLUGIN_PATH + "/libh5zstd*"), and does not escape the path: "run[1]" is then a pattern
# that "run[1]" does not match. `import hdf5plugin` succeeds (it logs an error for each filter), and the first read or write of a
# compressed column fails with "Unknown compression filter number". Told the same folder by name, HDF5 finds them:
# h5py.h5pl.append(hdf5plugin.PLUGIN_PATH.encode()), which is what storage/hdf5/filters.py does.
#
# Needs the package index only. Fails when hdf5plugin finds its filters there.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/run[1]"
python3 -m venv "$folder/run[1]/venv"
"$folder/run[1]/venv/bin/python" -m pip install --quiet --disable-pip-version-check hdf5plugin==7.1.0 h5py==3.16.0 2>"$folder/pip.log" ||
    { cat "$folder/pip.log" >&2; exit 2; }

"$folder/run[1]/venv/bin/python" - 2>/dev/null <<'PYTHON' | tee "$folder/seen"
import h5py
import hdf5plugin
import numpy as np


def write():
    with h5py.File("column.h5", "w", driver="core", backing_store=False) as file:
        file.create_dataset("column", data=np.arange(10_000), chunks=(1000,), **hdf5plugin.Zstd(5))
        return int(file["column"][9_999])


print("hdf5plugin", hdf5plugin.version, "h5py", h5py.version.version)
print("registered:", sorted(hdf5plugin.get_config().registered_filters))
try:
    print("written and read:", write())
except (ValueError, OSError) as error:
    print(type(error).__name__ + ":", error)
h5py.h5pl.append(hdf5plugin.PLUGIN_PATH.encode())
print("told the folder:", write())
PYTHON

diff - "$folder/seen" <<'SEEN' && echo "as described: no filter is found below a folder with brackets, until HDF5 is told the folder"
hdf5plugin 7.1.0 h5py 3.16.0
registered: []
ValueError: Unknown compression filter number: 32015
told the folder: 9999
SEEN
