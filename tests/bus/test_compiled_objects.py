"""Machine code in a file: made once, called without numba, and made anew where it is torn or of something else."""

import ctypes
import subprocess
import sys

import pytest

from tickmesh.bus import compiled_objects, compiling_objects
from tickmesh.bus.compiled_objects import ObjectError, c_function, load, object_path, sources_text

KERNELS = """
from numba import njit, types

@njit(error_model="numpy")
def tripled(pointer, place):
    return pointer[place] * 3

def total(pointer, count):
    out = 0
    for place in range(count):
        out += tripled(pointer, place)
    return out

def difference(one, other):
    return one - other

COMPILED = {
    "total": (total, types.int64(types.CPointer(types.uint8), types.int64)),
    "difference": (difference, types.int64(types.int64, types.int64)),
}
"""
CALLED = """
import ctypes, sys
from pathlib import Path
from tickmesh.bus.compiled_objects import c_function, load
addresses, result = load(Path(sys.argv[1])), ctypes.c_int64()
to, number = ctypes.byref(result), ctypes.c_int64
failed = c_function(addresses["total"])(to, None, bytes([1, 2, 253]), number(3))
print(failed, result.value, "numba" in sys.modules)
c_function(addresses["difference"])(to, None, number(2), number(5))
print(result.value)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A file that a process of its own made of KERNELS."""
    folder = tmp_path_factory.mktemp("objects")
    (folder / "some_kernels.py").write_text(KERNELS)
    path = object_path(folder / "kept", "some", sources_text([folder / "some_kernels.py"]))
    subprocess.run(compiling_objects.command("some_kernels", path), cwd=folder, check=True)
    return path


def test_what_one_process_compiled_another_calls_without_numba(made):
    done = subprocess.run([sys.executable, "-c", CALLED, str(made)], capture_output=True, text=True, check=True)
    assert done.stdout == "0 768 False\n-3\n"
    assert [path.suffix for path in sorted(made.parent.iterdir())] == [".lock", ".obj"], "nothing half made is left"


def test_a_torn_or_damaged_file_is_refused_and_made_anew(made, tmp_path, monkeypatch):
    whole = made.read_bytes()
    path = tmp_path / made.name
    for content in (b"", whole[:10], whole[: len(whole) // 2], whole[:-1], whole + b"x", b"x" + whole, bytes(len(whole))):
        path.write_bytes(content)
        with pytest.raises(ObjectError, match="no whole file"):
            load(path)
    damaged = bytearray(whole)
    damaged[-100] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ObjectError, match="no whole file"):
        load(path)
    monkeypatch.setattr(compiling_objects, "compiled", lambda module: whole)
    compiling_objects.make("some_kernels", path)
    assert path.read_bytes() == whole
    monkeypatch.setattr(compiling_objects, "compiled", lambda module: pytest.fail("a whole file is not made again"))
    compiling_objects.make("some_kernels", path)
    result = ctypes.c_int64()
    c_function(load(path)["difference"])(ctypes.byref(result), None, ctypes.c_int64(1), ctypes.c_int64(3))
    assert result.value == -2


def test_code_that_needs_numba_is_never_kept(tmp_path):
    """LLVM loads it without a word, with calls to address 0: of numba's own library, or of Python."""
    (tmp_path / "printing.py").write_text(
        "from numba import types\n\ndef first(n):\n    if n < 0:\n        print(n)\n    return n\n\n"
        "COMPILED = {'first': (first, types.int64(types.int64))}\n"
    )
    path = tmp_path / "kept" / "printing-0123456789abcdef.obj"
    done = subprocess.run(compiling_objects.command("printing", path), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and "first calls Py" in done.stderr
    assert [one.name for one in path.parent.iterdir()] == ["printing-0123456789abcdef.lock"]


def test_other_sources_numbers_and_processors_are_other_files(tmp_path, monkeypatch):
    source = tmp_path / "kernel.py"
    source.write_text("one")
    paths = [object_path(tmp_path, "kernel", sources_text([source], 7))]
    paths.append(object_path(tmp_path, "kernel", sources_text([source], 8)))
    source.write_text("two")
    paths.append(object_path(tmp_path, "kernel", sources_text([source], 7)))
    monkeypatch.setattr(compiled_objects, "machine", lambda: "another processor")
    paths.append(object_path(tmp_path, "kernel", sources_text([source], 7)))
    assert len(set(paths)) == 4
