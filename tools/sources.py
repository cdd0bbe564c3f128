"""Which source of market a run is for: the local exchange's own flow, or captures that it replays.

Every source has its own folder under data/. A capture that was replayed to its end starts anew in a fresh folder
(`replay-btcusdt_20240808-2`); one that was interrupted goes on where it was.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from pathlib import Path

import msgspec

from bus.config import Config, load
from bus.files import write_file
from tools.terminal import Failure

LINES_LOOKED_AT = 2000  # all of a capture's streams show up in its first seconds
ENDED = "ended"  # the exchange leaves this file in its folder when a replay has come to its end
NAME_MAX = 40
ORDER_NOTIONAL = Decimal(60)  # what mesh.toml's 0.001 BTC were worth when its captures were made


def overrides_path(root: Path) -> Path:
    return root / "run" / "overrides.json"


def plain(root: Path) -> Config:
    """The source that mesh.toml names."""
    overrides_path(root).unlink(missing_ok=True)
    return load(root)


def for_captures(root: Path, files: list[Path], speed: float) -> Config:
    """Chooses the source of a replay and writes it into run/overrides.json. Raises Failure for an unfit file."""
    paths = [str(path.resolve()) for path in files]
    prices: dict[str, Decimal] = {}
    for path in files:
        prices = symbols_of(path) | prices
    usual = plain(root)
    chosen: dict = {
        "source": _folder_for(usual, paths),
        "exchange": {"replay": paths, "speed": speed},
        "instruments": [{"symbol": symbol} for symbol in sorted(prices)],
    }
    first = min(prices)
    if first not in {instrument.symbol for instrument in usual.instruments} and prices[first]:
        chosen["executor"] = amounts(prices[first])
    config = load(root, overrides=chosen)
    config.source_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_file(config.source_dir / "capture.json", json.dumps({"files": paths}).encode())
    overrides_path(root).parent.mkdir(exist_ok=True, mode=0o700)
    write_file(overrides_path(root), json.dumps(chosen).encode())
    return config


def amounts(price: Decimal) -> dict[str, str]:
    """Order size and position bound for an instrument that mesh.toml does not name, whose amounts are for another.

    About ORDER_NOTIONAL an order, one significant digit; ten orders at most.
    """
    quantity = ORDER_NOTIONAL / price
    step = Decimal(1).scaleb(quantity.adjusted())
    order = max((quantity / step).to_integral_value() * step, Decimal(1).scaleb(-8))
    return {"order_quantity": f"{order.normalize():f}", "position_max": f"{(10 * order).normalize():f}"}


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


def symbols_of(path: Path) -> dict[str, Decimal]:
    """Instruments of a raw capture (lines of `<receive time> <combined-stream JSON>`) → a first price, 0 for none."""
    symbols: dict[str, Decimal] = {}
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
            symbol = stream.partition("@")[0].upper()
            symbols[symbol] = symbols.get(symbol) or _price(message.get("data"))
    if not symbols:
        raise Failure(f"{path}: no line names a stream; a raw capture of Binance spot streams is needed")
    return symbols


def _price(message: object) -> Decimal:
    """Of a trade, or the bid of a best bid and ask; 0 for anything else."""
    if not isinstance(message, dict):
        return Decimal(0)
    text = message.get("p") or message.get("b")
    try:
        return Decimal(text) if isinstance(text, str) else Decimal(0)
    except ArithmeticError:
        return Decimal(0)


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
