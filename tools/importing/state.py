"""What an imported source knows of itself: data/<source>/import.json. It is written when a group of files is archived whole."""

import base64
from pathlib import Path
from typing import Literal

import msgpack
import msgspec

from tickmesh.bus.files import write_file
from tickmesh.nodes.sequencer.packed_stream import PackedStream
from tickmesh.tools.terminal import Failure

FILE = "import.json"
FORMAT: Literal["tickmesh import 1"] = "tickmesh import 1"


class ImportedFile(msgspec.Struct, frozen=True):
    """A file that is in the archive: where its rows came from, how many there were, and what it could not say."""

    name: str
    sha256: str
    bytes: int
    format: str
    subjects: tuple[str, ...]
    kinds: tuple[str, ...]
    first_ns: int
    last_ns: int
    rows: int
    odd: int
    lacks: tuple[str, ...]


class Beginning(msgspec.Struct, frozen=True):
    """An import that is under way: the files of its group, by SHA-256, and how they are read."""

    files: dict[str, str]  # SHA-256 → name
    settings: dict[str, str]


class ImportState(msgspec.Struct):
    """How far a source is. `streams`: the arbitration of its streams there, msgpack in base64; `links`: topic → seq."""

    log_id: str
    format: Literal["tickmesh import 1"] = FORMAT
    seq: int = 0
    seq_ns: int = 0
    number: int = 0
    links: dict[str, int] = {}
    counted: dict[str, int] = {}
    definitions: dict[str, str] = {}
    streams: str = ""
    files: list[ImportedFile] = []
    begun: Beginning | None = None

    def arbitration(self) -> dict[str, PackedStream]:
        """The arbiter's state, as its `restore` takes it."""
        found: dict[str, PackedStream] = (
            msgpack.unpackb(base64.b64decode(self.streams), strict_map_key=False) if self.streams else {}
        )
        return found

    def keep_arbitration(self, state: object) -> None:
        """Takes over the arbiter's state."""
        self.streams = base64.b64encode(msgpack.packb(state)).decode()

    @property
    def known(self) -> set[str]:
        """The SHA-256 of every file that is in the archive."""
        return {one.sha256 for one in self.files}


def read_state(folder: Path, log_id: str) -> ImportState:
    """The state in a source's folder; a new one of this identity where there is none. Raises Failure for a damaged one."""
    path = folder / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=ImportState)
    except FileNotFoundError:
        return ImportState(log_id)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Failure(
            f"{path} cannot be read: {error}; restore it from a copy, or import everything again into a new --source"
        ) from None


def write_state(folder: Path, state: ImportState) -> None:
    """Puts the state on disk, whole or not at all."""
    write_file(folder / FILE, msgspec.json.format(msgspec.json.encode(state)) + b"\n")
