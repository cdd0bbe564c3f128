"""Machine code that is compiled once, kept in a file, and called by ctypes: with no compiler in the process that calls it.

Numba takes 48 MB of a process's memory and half a second of its start, to load what it compiled yesterday. An object file
that it made is loaded by llvmlite's binding alone, in 5 MB. `bus/compiling_objects.py` makes such files, in a process of its
own. What is called so keeps to pointers and numbers: nothing of Python, of numpy's objects or of numba's own library is there.
"""

import contextlib
import ctypes
import hashlib
import platform
from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

MAGIC = b"tickmesh object 1\n"
_DIGEST_SIZE = hashlib.sha256().digest_size
# By the name that it is asked for: a function's symbol, and the object file that has it.
Functions = dict[str, tuple[str, bytes]]
_loaded: list[Any] = []  # compilers' engines: what they have loaded is gone when they are


class ObjectError(Exception):
    """A file that holds no machine code that this process can call: a sentence says why."""


def c_function(address: int) -> Callable[..., int]:
    """A loaded function as ctypes calls it: of (byref of its result, None, its arguments).

    Arguments are bytes, `ctypes.byref` of what is kept, None, or ctypes numbers: those cost no conversion. It is numba's own
    form: the result is written to where the first argument says, and what is returned is 0.
    """
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)


@cache
def machine() -> str:
    """What machine code depends on beside its source: the compiler's versions, this processor. Imports llvmlite's binding."""
    from llvmlite import binding

    versions = f"numba {metadata.version('numba')} llvmlite {metadata.version('llvmlite')} python {platform.python_version()}"
    return f"{versions} {platform.machine()} {binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}"


def object_path(folder: Path, name: str, made_of: str) -> Path:
    """Where the machine code `name` lies in `folder`, if it was made of this, by these versions and for this processor.

    `made_of`: a text that differs where anything differs that is in the code: sources, and the numbers that they take from
    elsewhere.
    """
    return folder / f"{name}-{hashlib.sha256(f'{made_of} {machine()}'.encode()).hexdigest()[:16]}.obj"


def sources_text(files: Sequence[Path], *numbers: object) -> str:
    """A `made_of` of these source files, in order, and of numbers that are frozen into the code."""
    digest = hashlib.sha256()
    for path in files:
        text = path.read_bytes()
        digest.update(f"{path.name} {len(text)}\n".encode() + text)
    return f"{digest.hexdigest()} {numbers}"


def packed(functions: Functions) -> bytes:
    """The content of a file of machine code."""
    body = msgspec.msgpack.encode(functions)
    return MAGIC + hashlib.sha256(body).digest() + body


def unpacked(content: bytes) -> Functions:
    """What a file's content holds. Raises ObjectError for a torn or damaged one, or none of ours."""
    digest, body = content[len(MAGIC) : len(MAGIC) + _DIGEST_SIZE], content[len(MAGIC) + _DIGEST_SIZE :]
    if not content.startswith(MAGIC) or hashlib.sha256(body).digest() != digest:
        raise ObjectError(f"{len(content)} bytes are no whole file of compiled code: it is torn, damaged or of another version")
    return msgspec.msgpack.decode(body, type=Functions)


def load(path: Path) -> dict[str, int]:
    """Loads a file of machine code for as long as this process lives; gives the address of each function by its name.

    Raises ObjectError where there is no such file, or it is not whole.
    """
    try:
        functions = unpacked(path.read_bytes())
    except OSError as error:
        raise ObjectError(f"{path} cannot be read: {error.strerror}") from None
    except ObjectError as error:
        raise ObjectError(f"{path}: {error}") from None
    from llvmlite import binding

    with contextlib.suppress(RuntimeError):  # llvmlite 0.45 and newer: done by itself, and refused
        binding.initialize()
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    engine = binding.create_mcjit_compiler(
        binding.parse_assembly(""), binding.Target.from_default_triple().create_target_machine()
    )
    for _, code in functions.values():
        engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _loaded.append(engine)
    return {name: engine.get_function_address(symbol) for name, (symbol, _) in functions.items()}
