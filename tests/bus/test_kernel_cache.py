"""Numba's cache where there is no room: kernels are compiled and work; and what numba imports to compile them."""

import subprocess
import sys

import pytest

from tests.support.places import PROJECT
from tests.support.small_tmpfs import run_in_small_tmpfs

KERNEL = """
import os, sys
from pathlib import Path

place = Path(os.environ["TICKMESH_TMPFS"])
os.environ["NUMBA_CACHE_DIR"] = str(place)
(place / "ballast").write_bytes(bytes(1 << 19))
sys.path.insert(0, str(place))
(place / "kernels.py").write_text("from numba import njit\\n@njit(cache=True)\\ndef twice(x):\\n    return 2 * x\\n")
with open(place / "rest", "wb", buffering=0) as file:
    while True:
        try:
            file.write(bytes(1 << 12))
        except OSError:
            break
if {ours}:
    from tickmesh.bus.kernel_cache import go_on_without_room
    go_on_without_room()
    go_on_without_room()
import kernels
try:
    print(kernels.twice(21))
except OSError as error:
    print(error.strerror)
if {ours}:
    print(kernels.twice(1.5))
"""


@pytest.mark.parametrize(("ours", "printed"), [(True, "42\n3.0\n"), (False, "No space left on device\n")])
def test_a_kernel_works_where_it_cannot_be_kept(tmp_path, ours, printed):
    """Without `go_on_without_room` its first call raises: what numba does by itself."""
    assert run_in_small_tmpfs(tmp_path / "tmpfs", "size=1m", KERNEL.format(ours=ours)) == printed


PRODUCT = """
import sys
import numba, numpy
from tickmesh.bus.kernel_cache import go_on_without_room
go_on_without_room()
once = numba.njit(lambda x: 2 * x)(21)
before = "scipy.linalg" in sys.modules
product = numba.njit(lambda a, b: a @ b)(numpy.full((2, 2), 2.0), numpy.eye(2)).tolist()
print(once, before, product, "scipy.linalg" in sys.modules)
"""


def test_scipy_is_imported_by_a_kernel_that_needs_it_alone():
    """Numba imports it before the first kernel, for nothing but to know that it is there."""
    pytest.importorskip("scipy")
    done = subprocess.run([sys.executable, "-c", PRODUCT], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "42 False [[2.0, 2.0], [2.0, 2.0]] True\n"
