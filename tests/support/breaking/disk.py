"""What a disk may hold when the power goes: everything that was synced, and by chance the rest.

Written from what POSIX promises and nothing more: a file's bytes and size are safe after fsync or fdatasync of the file, its
name after fsync of its folder. Everything since is there or not, page by page (4 KiB) and name by name, in any mixture; where
a file became longer before its pages were written there are zeros or what lay there before.
"""

import random
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

PAGE = 4096


class Change(NamedTuple):
    """One change as a watch records it: ("write", identity, offset, data), ("rename", old, new), …"""

    op: str
    what: tuple


class File:
    """One file on a disk: bytes that are safe, and the writes since."""

    def __init__(self) -> None:
        self.synced = b""
        self.live = bytearray()
        self.since: list[tuple[int, bytes | None]] = []  # (offset, bytes), or (size, None) for a truncation

    def write(self, offset: int, data: bytes) -> None:
        """Writes bytes, not yet safe against a power cut."""
        _write(self.live, offset, data)
        self.since.append((offset, data))

    def truncate(self, size: int) -> None:
        """Changes the size, not yet safe against a power cut."""
        _resize(self.live, size)
        self.since.append((size, None))

    def sync(self) -> None:
        """Makes all bytes safe against a power cut."""
        self.synced = bytes(self.live)
        self.since = []

    def by_chance(self, rng: random.Random) -> bytes:
        """Content that may be left after a power cut, drawn."""
        if not self.since or rng.random() < 0.2:
            return self.synced if rng.random() < 0.5 or not self.since else bytes(self.live)
        pages: dict[int, list[bytes]] = {}  # every content that a page has had since the sync
        sizes = [len(self.synced)]
        content = bytearray(self.synced)
        for page in range(0, len(content), PAGE):
            pages[page] = [bytes(content[page : page + PAGE])]
        for offset, data in self.since:
            if data is None:
                _resize(content, offset)
                touched = range(0)
            else:
                _write(content, offset, data)
                touched = range(offset // PAGE * PAGE, offset + len(data), PAGE)
            sizes.append(len(content))
            for page in touched:
                pages.setdefault(page, []).append(bytes(content[page : page + PAGE]))
        out = bytearray(rng.choice(sizes))
        for page in range(0, len(out), PAGE):
            versions = pages.get(page, [b""])
            if page >= len(self.synced):
                versions = [*versions, b"", rng.randbytes(PAGE)]
            kept = rng.choice(versions)[: len(out) - page]
            out[page : page + len(kept)] = kept
        return bytes(out)


class Folder:
    """One folder on a disk: names that are safe, and the changes since."""

    def __init__(self) -> None:
        self.synced: dict[str, File | Folder] = {}
        self.live: dict[str, File | Folder] = {}
        self.since: list[dict[str, File | Folder | None]] = []

    def change(self, names: dict[str, "File | Folder | None"]) -> None:
        """Changes all of `names` in one, not yet safe: a rename takes the old name and gives the new one, or neither."""
        _apply(self.live, names)
        self.since.append(names)

    def sync(self) -> None:
        """Makes all names safe against a power cut."""
        self.synced = dict(self.live)
        self.since = []

    def by_chance(self, rng: random.Random) -> dict[str, "File | Folder"]:
        """Names that may be left after a power cut, drawn."""
        names = dict(self.synced)
        if rng.random() < 0.5:  # as a journal does: the first so many
            changes = self.since[: rng.randint(0, len(self.since))]
        else:
            share = rng.random()
            changes = [change for change in self.since if rng.random() < share]
        for change in changes:
            _apply(names, change)
        return names


class Disk:
    """Follows the changes under one folder; `image` writes what may be left of them into another one.

    What is in the folder now is taken as synced: it is there after a start.
    """

    def __init__(self, root: str):
        self._root = root
        self.top = Folder()
        self._files: dict[tuple[int, int], File] = {}
        for path in sorted(Path(root).rglob("*")):
            folder, name = self._find(str(path))
            there: File | Folder = Folder()
            if path.is_file():
                there = File()
                there.live[:] = there.synced = path.read_bytes()
                self._files[path.stat().st_dev, path.stat().st_ino] = there
            folder.live[name] = folder.synced[name] = there

    def _find(self, path: str) -> tuple[Folder, str]:
        parts = [part for part in path.removeprefix(self._root).split("/") if part]
        folder = self.top
        for part in parts[:-1]:
            below = folder.live.get(part)
            if not isinstance(below, Folder):
                below = Folder()  # made before anyone looked: it is there
                folder.live[part] = folder.synced[part] = below
            folder = below
        return folder, parts[-1] if parts else ""

    def apply(self, change: Change) -> None:
        """Applies one change, in order."""
        op, what = change
        if op in ("write", "truncate", "sync"):
            file = self._files.get(what[0])
            if file is not None:
                getattr(file, op)(*what[1:])
        elif op == "create":
            folder, name = self._find(what[0])
            file = self._files[what[1]] = File()
            folder.change({name: file})
        elif op == "mkdir":
            folder, name = self._find(what[0])
            folder.change({name: Folder()})
        elif op == "unlink":
            folder, name = self._find(what[0])
            folder.change({name: None})
        elif op == "sync_folder":
            folder, name = self._find(what[0] + "/.")
            folder.sync()
        else:
            assert op in ("rename", "link"), op
            (old_folder, old), (new_folder, new) = map(self._find, what)
            moved = old_folder.live[old]
            gone: dict[str, File | Folder | None] = {} if op == "link" else {old: None}
            if old_folder is new_folder:
                old_folder.change({**gone, new: moved})
            else:
                old_folder.change(gone)
                new_folder.change({new: moved})

    def image(self, into: Path, rng: random.Random, without: Iterable[str] = ()) -> None:
        """Writes into a folder what may be left, drawn. `without`: names of folders that are not on this disk (a tmpfs)."""
        shutil.rmtree(into, ignore_errors=True)
        self._write(self.top, into, rng, frozenset(without))

    def _write(self, folder: Folder, into: Path, rng: random.Random, without: frozenset[str]) -> None:
        into.mkdir(parents=True)
        for name, there in folder.by_chance(rng).items():
            if isinstance(there, File):
                (into / name).write_bytes(there.by_chance(rng))
            elif name not in without:
                self._write(there, into / name, rng, without)


def _apply(names: dict[str, File | Folder], change: dict[str, File | Folder | None]) -> None:
    for name, there in change.items():
        if there is None:
            names.pop(name, None)
        else:
            names[name] = there


def _resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


def _write(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        _resize(content, offset)
    content[offset : offset + len(data)] = data
