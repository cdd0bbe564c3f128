"""Which source of market a run is for: the local exchange's own flow, or captures that it replays.

Every source has its own folder under data/. A capture that was replayed to its end starts anew in a fresh folder
(`replay-btcusdt_20240808-2`); one that was interrupted goes on where it was.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec

from bus.config import Config, load
from bus.log import write_file
from tools.terminal import Failure

LINES_LOOKED_AT = 2000  # all of a capture's streams show up in its first seconds
ENDED = "ended"  # the exchange leaves this file in its folder when a replay has come to its end
NAME_MAX = 40


def overrides_path(root: Path) -> Path:
    return root / "run" / "overrides.json"


def plain(root: Path) -> Config:
    """The source that mesh.toml names."""
    overrides_path(root).unlink(missing_ok=True)
    return load(root)


def for_captures(root: Path, files: list[Path], speed: float) -> Config:
    """Chooses the source of a replay and writes it into run/overrides.json. Raises Failure for an unfit file."""
    paths = [str(path.resolve()) for path in files]
    symbols = sorted({symbol for path in files for symbol in symbols_of(path)})
    chosen = {
        "source": _folder_for(plain(root), paths),
        "exchange": {"replay": paths, "speed": speed},
        "instruments": [{"symbol": symbol} for symbol in symbols],
    }
    config = load(root, overrides=chosen)
    config.source_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_file(config.source_dir / "capture.json", json.dumps({"files": paths}).encode())
    overrides_path(root).parent.mkdir(exist_ok=True, mode=0o700)
    write_file(overrides_path(root), json.dumps(chosen).encode())
    return config


def _folder_for(config: Config, paths: list[str]) -> str:
    """The source name of these captures: an unfinished replay of just these, or the next free one."""
    stems = "-".join(re.sub(r"(\.dat)?(\.gz)?$", "", Path(path).name) for path in paths)
    base = f"replay-{re.sub(r'[^A-Za-z0-9._-]', '_', stems)[:NAME_MAX]}"
    for number in count(1):
        name = base if number == 1 else f"{base}-{number}"
        folder = config.root / config.mesh.data / name
        if not folder.exists():
            return name
        if _files_of(folder) == paths and not (folder / "exchange" / ENDED).exists():
            return name
    raise AssertionError("unreachable: there is always a next number")


def _files_of(folder: Path) -> list[str]:
    try:
        return json.loads((folder / "capture.json").read_bytes())["files"]
    except (OSError, ValueError, KeyError):
        return []


def symbols_of(path: Path) -> set[str]:
    """The instruments of a raw capture (lines of `<receive time> <combined-stream JSON>`), as the venue spells them."""
    symbols: set[str] = set()
    for number, line in enumerate(_first_lines(path), 1):
        stamp, _, frame = line.partition(b" ")
        try:
            int(stamp)
            message = msgspec.json.decode(frame)
        except ValueError:
            raise Failure(
                f"{path}: line {number} is not `<receive time> <JSON>` but {line[:60]!r}; a raw capture of Binance "
                f"spot streams is needed"
            ) from None
        stream = message.get("stream", "") if isinstance(message, dict) else ""
        if "@" in stream:
            symbols.add(stream.partition("@")[0].upper())
    if not symbols:
        raise Failure(f"{path}: no line names a stream; a raw capture of Binance spot streams is needed")
    return symbols


def _first_lines(path: Path) -> Iterator[bytes]:
    """Up to LINES_LOOKED_AT lines; reads the whole file, so that a truncated one is refused before anything starts."""
    number, line = 0, b""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if number <= LINES_LOOKED_AT:
                    yield line.rstrip(b"\n")
    except FileNotFoundError:
        raise Failure(f"there is no capture {path}") from None
    except EOFError:
        raise Failure(f"{path} is cut off: its gzip stream has no end") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise Failure(f"{path} is damaged: {error}") from None
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror or error}") from None
    if not number:
        raise Failure(f"{path} is empty")
    if not line.endswith(b"\n"):
        raise Failure(f"{path} is cut off in the middle of line {number}")
