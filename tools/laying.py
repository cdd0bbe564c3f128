"""What lies in a mesh's folder beside mesh.toml: supervisor.conf, .venv as a link to the installation, a folder for models.

A supervisor.conf that was laid and never changed goes with the program: `mesh up` lays that of a newer version over it. One
that somebody has changed stays as it is.
"""

import hashlib
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from tickmesh.bus.config import Config
from tickmesh.bus.files import write_file
from tickmesh.tools.terminal import Failure

SHIPPED = Path(__file__).resolve().parents[1] / "supervisor.conf"
COMMON = "supervisor.conf"
MARK = "; laid by mesh init, and not changed since: "
# Of the one that was laid before there was a mark (0.1.0): the first 16 hex digits of its SHA-256. Older ones had the table of
# processes in them, and people have kept that as their own.
UNMARKED = frozenset({"253d354fd6f6bc97"})


def made(folder: Path) -> Path:
    """The folder, made where it is not. Raises Failure."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"{folder} cannot be made: {error.strerror}") from None
    return folder.resolve()


def lay(root: Path) -> list[str]:
    """Lays what a mesh's folder lacks beside mesh.toml; gives the names. Raises Failure."""
    laid = []
    try:
        if not (root / COMMON).exists():
            write_file(root / COMMON, marked(SHIPPED.read_bytes()))
            laid.append(COMMON)
        if not (root / ".venv").exists():
            (root / ".venv").unlink(missing_ok=True)  # a link to an installation that is gone
            (root / ".venv").symlink_to(sys.prefix)
            laid.append(".venv")
        if not (root / "models").exists():
            (root / "models").mkdir()
            laid.append("models/")
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}; a mesh's folder needs {COMMON} and .venv") from None
    return laid


def refresh(config: Config, announce: Callable[[str], None]) -> None:
    """Lays the program's supervisor.conf over one of another version that nobody has changed; the link .venv where none is.

    Raises Failure where a .venv has no Python and is no link, or a link cannot be made.
    """
    path, link = config.root / COMMON, config.root / ".venv"
    if path.is_file() and path.resolve() != SHIPPED and unchanged(path.read_bytes()):
        wanted = marked(SHIPPED.read_bytes())
        if path.read_bytes() not in (wanted, SHIPPED.read_bytes()):
            write_file(path, wanted)
            announce(f"{COMMON} is now that of this version; nobody had changed the one that was there.")
    if not (link / "bin/python").exists():
        _link(link, announce)


def _link(link: Path, announce: Callable[[str], None]) -> None:
    """Makes .venv a link to this installation: every process begins with its Python. Raises Failure."""
    was = "led nowhere" if link.is_symlink() else "was missing"
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(sys.prefix)
    except OSError as error:
        what = f"{link} has no bin/python, and cannot be made a link to {sys.prefix}: {error.strerror}"
        raise Failure(f"{what}; move it away, or make it one") from None
    announce(f".venv {was}; it is now {shlex.quote(sys.prefix)}.")


def marked(content: bytes) -> bytes:
    """The content with a last line that says what it was when it was laid."""
    return content + f"{MARK}{_digest(content)}\n".encode()


def unchanged(content: bytes) -> bool:
    """Whether a supervisor.conf is as a version of the program has laid it."""
    body, mark, digest = content.rpartition(MARK.encode())
    return digest.strip().decode(errors="replace") == _digest(body) if mark else _digest(content) in UNMARKED


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
