"""Makes files of machine code for `bus/compiled_objects.py`: `python -m tickmesh.bus.compiling_objects MODULE FILE`.

MODULE's `COMPILED` has by name the functions, each with its signature of numbers and pointers (`numba.types.CPointer`, whose
items are read and written by `pointer[i]`). A process of its own
compiles, for numba stays in whatever imports it.
"""

import contextlib
import ctypes
import importlib
import struct
import sys
import time
from pathlib import Path
from typing import Any

from tickmesh.bus import compiled_objects
from tickmesh.bus.compiled_objects import Functions, ObjectError, packed
from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.files import write_file
from tickmesh.bus.kernel_cache import leave_scipy_alone
from tickmesh.bus.process import die_with_parent

KEPT = 4  # files of other sources, versions or processors
_SYMBOL = struct.Struct("<I2xH16x")  # Elf64_Sym: where its name begins, and the section that has it (0: none)


def command(module: str, path: Path) -> list[str]:
    """The command that makes the file at `path` of what `module` lists in COMPILED."""
    return [sys.executable, "-m", "tickmesh.bus.compiling_objects", module, str(path)]


def make(module: str, path: Path) -> None:
    """Compiles what `module` lists into the file at `path`, unless a whole one is there. Imports numba.

    One process at a time does it; who waited finds the file. Raises ObjectError for code that needs numba, OSError of the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(path.with_suffix(".lock")) as lock:
        lock.acquire()
        with contextlib.suppress(OSError, ObjectError):
            compiled_objects.unpacked(path.read_bytes())
            return
        write_file(path, compiled(module))
        _prune(path)


def compiled(module: str) -> bytes:
    """Compiles the functions of a module's COMPILED; gives the content of a file of them. Imports numba. Raises ObjectError."""
    import numba

    leave_scipy_alone()
    functions: Functions = {}
    for name, (function, signature) in importlib.import_module(module).COMPILED.items():
        # Without numba's own memory, and without what Python calls a function by: both need its library.
        jit: Any = numba.njit  # whose stub has not all of its options
        plain = jit(signature, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)(function)
        (made,) = plain.overloads.values()
        code = made.library._get_compiled_object()  # noqa: SLF001 - numba's own cache calls it
        if foreign := foreign_symbols(code):
            raise ObjectError(
                f"{module}: {name} calls {', '.join(foreign)}, which are not there without numba: it may make no array, raise "
                "nothing, and use nothing of Python"
            )
        functions[name] = made.fndesc.llvm_func_name, code
    return packed(functions)


def foreign_symbols(code: bytes) -> list[str]:
    """What an ELF object calls that is neither in it nor in the C library: loaded without numba, that would be address 0."""
    from llvmlite import binding

    found = {section.name(): section.data() for section in binding.ObjectFileRef.from_data(code).sections()}
    names, library = found[b".strtab"], ctypes.CDLL(None)
    symbols = ((names[at : names.index(b"\0", at)].decode(), section) for at, section in _SYMBOL.iter_unpack(found[b".symtab"]))
    called = {name for name, section in symbols if not section and name}
    return sorted(name for name in called if name.startswith(("Py", "_Py")) or not hasattr(library, name))


def _prune(path: Path) -> None:
    """Removes of this name's files all but the one at `path` and the newest few."""
    others = [one for one in path.parent.glob(f"{path.stem.rpartition('-')[0]}-{'?' * 16}.obj") if one != path]
    for one in sorted(others, key=lambda other: other.stat().st_mtime, reverse=True)[KEPT:]:
        for suffix in (".obj", ".lock"):
            one.with_suffix(suffix).unlink(missing_ok=True)


if __name__ == "__main__":
    die_with_parent()
    begun = time.monotonic()
    make(sys.argv[1], Path(sys.argv[2]))
    print(f"{sys.argv[2]}: {time.monotonic() - begun:.1f} s")
