"""Where a sweep's data lie: a folder that all workers see, or a URL of fsspec, of which each machine keeps a copy."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.files import write_file
from tickmesh.research.libraries import library
from tickmesh.storage.query.times import ReadError

URL = re.compile(r"[a-z][a-z0-9+.-]*(::|://)")
INDEX = "fetched.json"
WANTED = re.compile(r"mesh\.toml|models/.*|(?:.*/)?(?:archive|log)/.*")  # below the mesh's folder
_fetched: dict[str, Path] = {}  # by this process, which reads one state of it


def is_url(place: str) -> bool:
    """Whether a place is a URL like s3://bucket/mesh, not a folder."""
    return URL.match(place) is not None


def local_place(place: str) -> Path:
    """The folder itself, or of a URL this machine's copy, which the first call of a process brings up to date."""
    if not is_url(place):
        return Path(place)
    if place not in _fetched:
        _fetched[place] = fetch(place)
    return _fetched[place]


def fetch(url: str) -> Path:
    """Copies mesh.toml, models/, archive and log from a URL to this machine, what has changed since the last time only.

    The copy lies in TICKMESH_CACHE, else in the folder for temporary files; what is gone there is removed. Processes of one
    machine wait for each other. Raises ReadError where there is nothing, or where fsspec lacks the protocol.
    """
    fsspec = library("fsspec", "data at a URL", "cluster")
    try:
        storage, root = fsspec.core.url_to_fs(url)
        root = root.rstrip("/")
        remote = {path.removeprefix(root).lstrip("/"): info for path, info in storage.find(root, detail=True).items()}
    except (OSError, ValueError, ImportError) as error:
        raise ReadError(f"{url} cannot be read: {error}") from None
    remote = {name: info for name, info in remote.items() if WANTED.fullmatch(name) and ".." not in name.split("/")}
    if "mesh.toml" not in remote:
        raise ReadError(f"{url} holds no mesh.toml; allowed is the URL of a mesh's folder: mesh.toml, models/, data/")
    folder = _copy_of(url)
    with FileLock(folder.with_name(f"{folder.name}.lock")) as lock:
        lock.acquire()
        _update(storage, root, remote, folder)
    return folder


def _copy_of(url: str) -> Path:
    base = Path(os.environ.get("TICKMESH_CACHE") or Path(tempfile.gettempdir()) / f"tickmesh-{os.getuid()}")
    base.mkdir(parents=True, exist_ok=True, mode=0o700)
    return base / hashlib.sha256(url.encode()).hexdigest()[:16]


def _update(storage: Any, root: str, remote: dict[str, Any], folder: Path) -> None:
    index = folder / INDEX
    known: dict[str, str] = json.loads(index.read_text()) if index.is_file() else {}
    for name in set(known) - set(remote):
        (folder / name).unlink(missing_ok=True)
        del known[name]
    # The watermark last: what it names is there then, whenever this ends.
    for name in sorted(remote, key=lambda name: (name.endswith("watermark.json"), name)):
        state = str(storage.ukey(f"{root}/{name}"))
        if known.get(name) == state and (folder / name).is_file():
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f"{target.name}.new")
        with storage.open(f"{root}/{name}", "rb") as source, open(fresh, "wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        fresh.replace(target)
        known[name] = state
        write_file(index, json.dumps(known).encode())
