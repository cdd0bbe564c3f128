"""How a line comes to its compiled scanner: it loads it, or has it compiled and reads frames the exact way until then."""

import asyncio
from pathlib import Path

from tickmesh.bus import compiling_objects
from tickmesh.bus.compiled_objects import ObjectError, load, object_path, sources_text
from tickmesh.bus.config import Config
from tickmesh.bus.kernel_cache import base_folder
from tickmesh.bus.operator_log import log_line
from tickmesh.bus.schema import SCHEMA_HASH
from tickmesh.nodes.feed.line import Line
from tickmesh.nodes.venues import scanning
from tickmesh.nodes.venues.adapter import no_forms
from tickmesh.nodes.venues.parsing.times import MILLISECONDS_BELOW

KERNEL = "tickmesh.nodes.venues.scanning.kernel"
_SOURCES = [Path(scanning.__file__).with_name(name) for name in ("kernel.py", "reading.py", "steps.py")]


def scanner_path(folder: Path) -> Path:
    """Where the compiled scanner lies in a folder of machine code. Imports llvmlite's binding."""
    return object_path(folder, "scanner", sources_text(_SOURCES, SCHEMA_HASH, MILLISECONDS_BELOW))


async def take_up_scanner(line: Line) -> None:
    """Gives the line's reception its scanner, where its venue has usual forms; says so once where that cannot be."""
    reception, name = line.reception, line.ctx.name
    if not line.settings.scan or line.adapter.forms is no_forms:
        return
    try:
        try:
            # Its imports take 0.1 s, in which the connection may open.
            address = await asyncio.to_thread(_load, line.ctx.config)
        except ObjectError:
            log_line(name, "info", "its scanner is being compiled; it reads frames the exact way until then")
            await _compile(scanner_path(base_folder(line.ctx.config)))
            address = await asyncio.to_thread(_load, line.ctx.config)
    except (ImportError, OSError, ObjectError) as error:
        log_line(name, "warning", f"it has no compiled scanner, and reads all frames the exact way: {error}")
        return
    reception.scan_with(address)


def _load(config: Config) -> int:
    return load(scanner_path(base_folder(config)))["scan"]


async def _compile(path: Path) -> None:
    """Compiles the scanner in a process of its own. Raises ObjectError where that fails."""
    process = await asyncio.create_subprocess_exec(
        *compiling_objects.command(KERNEL, path), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, said = await process.communicate()
    finally:
        if process.returncode is None:  # the line ends
            process.kill()
    if process.returncode:
        raise ObjectError((said.decode(errors="replace").strip().splitlines() or [f"it ended with {process.returncode}"])[-1])
