"""The project's own files: a hash of them, and syntax trees for tests that read code, parsed when one asks for them."""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tests.support.places import PROJECT

PACKAGES = ("bus", "storage", "nodes", "research", "tools")  # in the order in which they may be imported


def sources() -> list[Path]:
    """All files of the packages, sorted."""
    return sorted(path for package in PACKAGES for path in (PROJECT / package).rglob("*.py"))


def hash_of(paths: Iterable[Path]) -> str:
    """A hash, 16 hex digits, of what is in these files, each by itself."""
    digest = hashlib.sha256()
    for path in paths:
        text = path.read_bytes()
        digest.update(f"{path.name} {len(text)}\n".encode() + text)
    return digest.hexdigest()[:16]


@cache
def trees() -> dict[Path, ast.Module]:
    """Path below the project → the tree of each file of the packages."""
    return {path.relative_to(PROJECT): ast.parse(path.read_text()) for path in sources()}


@cache
def modules() -> dict[str, ast.Module]:
    """A module's name without `tickmesh.` → its tree."""
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): tree for path, tree in trees().items()}
