"""Finds out what a folder holds, and opens it: a mesh, a copied data folder, an export."""

from os import PathLike
from pathlib import Path

from tickmesh.bus.config import Config, ConfigError, load
from tickmesh.bus.patterns import some
from tickmesh.bus.settings import Mesh
from tickmesh.research.database import Database
from tickmesh.research.libraries import library
from tickmesh.research.sources import MeshSource
from tickmesh.storage.query.times import ReadError

ALLOWED = (
    "a mesh's folder (with mesh.toml), a data folder of one source like data/sim (with log/ or archive/), or a folder of "
    "`mesh export` (with manifest.json)"
)
SHOWN_MAX = 8


def open(place: "str | PathLike[str] | None" = None) -> Database:
    """Opens what was recorded, to read: `tickmesh.open()`, `tickmesh.open("copied/data/sim")`, `tickmesh.open("export")`.

    `place`: a mesh's folder, the data folder of one source, or a folder of `mesh export`; without it the mesh at or above the
    working folder. A mesh may be running meanwhile. Raises ReadError with what was seen and what is allowed.
    """
    if place is None:
        try:
            return Database(MeshSource(load()))
        except ConfigError as error:
            raise ReadError(f"{error}; or name what to open: {ALLOWED}") from None
    folder = Path(place).expanduser()
    if (folder / "mesh.toml").is_file():
        return _mesh(folder)
    if _has_data(folder):
        return Database(MeshSource(_config_of(folder)))
    if (folder / "manifest.json").is_file():
        library("pyarrow", "reading an export")
        from tickmesh.research.exported import ExportSource

        return Database(ExportSource(folder))
    raise ReadError(f"{folder} {_seen(folder)}; allowed is {ALLOWED}")


def settings_of(place: "str | PathLike[str] | Config | None", reads: str) -> Config:
    """Gives the settings of the mesh, or of the data folder, that `open` would open. `reads`: what it is for, in the sentence.

    Raises ReadError for what `open` refuses, and for an export.
    """
    if isinstance(place, Config):
        return place
    source = open(place).source
    if not isinstance(source, MeshSource):
        raise ReadError(f"{source.place} is an export; {reads} reads a mesh's archive and log")
    return source.config


def _mesh(folder: Path) -> Database:
    try:
        return Database(MeshSource(load(folder.resolve())))
    except ConfigError as error:
        raise ReadError(str(error)) from None


def _has_data(folder: Path) -> bool:
    return (folder / "archive").is_dir() or (folder / "log").is_dir()


def _config_of(folder: Path) -> Config:
    """The settings of a data folder without mesh.toml: where it lies, and no instrument; those are what is stored."""
    whole = folder.resolve()
    return Config(Mesh(data=".", source=whole.name, instruments=()), whole.parent)


def _seen(folder: Path) -> str:
    """What there is instead, in words."""
    if not folder.exists():
        return "is not there"
    if not folder.is_dir():
        return "is a file"
    sources = sorted(one.name for one in folder.iterdir() if one.is_dir() and _has_data(one))
    if sources:
        return f"holds the data of {some(sources)}: open {folder / sources[0]}{' or another' if len(sources) > 1 else ''}"
    names = sorted(one.name for one in folder.iterdir())
    if not names:
        return "is empty"
    return f"holds {', '.join(names[:SHOWN_MAX])}{' …' if len(names) > SHOWN_MAX else ''}"
