"""Which source of market a run is for: the local exchange's own flow, captures that it replays, or real venues.

Every source has its own folder under data/. What real venues bring goes on in the folder of their names (`binance-kraken`).
A capture that was replayed to its end starts anew in a fresh folder
(`replay-btcusdt_20240808-2`); one that was interrupted goes on where it was.
"""

import contextlib
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path

import msgspec
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from tickmesh.bus.config import Config, ConfigError, load
from tickmesh.bus.files import write_file
from tickmesh.bus.patterns import matching
from tickmesh.bus.settings import InstrumentSettings, Mode, ModelSettings
from tickmesh.nodes.exchange.market.instruments import venue_and_symbol
from tickmesh.nodes.exchange.market.survey import Survey
from tickmesh.nodes.exchange.server.files import CaptureFiles
from tickmesh.nodes.venues.table import adapter_of
from tickmesh.tools.terminal import Failure, JsonObject, err
from tickmesh.tools.wanted import VenueAnswer, Wanted, ask, chosen

ENDED = "ended"  # the exchange leaves this file in its folder when a replay has come to its end
NAME_MAX = 40
MARKET = "market"  # file of a source's folder: whose market its log has, and who fills its orders
MARKETS = {
    "exchange": "the local exchange", "venues": "real venues", "paper": "real venues with orders filled on paper",
    "testnet": "a venue's testnet", "live": "real venues with real orders", "import": "files of others (`mesh import`)",
}  # fmt: skip
MARKET_OF: dict[Mode, str] = {"sim": "exchange", "capture": "venues", "paper": "paper", "testnet": "testnet", "live": "live"}
# A recording without orders may go on with them, and what has orders may go on without: the mode of a folder's orders stays
GOES_ON = {("venues", "paper"), ("venues", "live"), ("paper", "venues"), ("live", "venues")}


def overrides_path(root: Path) -> Path:
    """The file that names the source of a replay or of real venues, for every process; without it mesh.toml's counts."""
    return root / "run" / "overrides.json"


def use_configured(root: Path) -> Config:
    """Goes back to the source that mesh.toml names; gives its settings."""
    overrides_path(root).unlink(missing_ok=True)
    return load(root)


def use_captures(root: Path, files: list[Path], speed: float) -> tuple[Config, Survey]:
    """Reads captures whole, chooses the source of their replay and writes it into run/overrides.json.

    Raises Failure for files that cannot be read to their end, or of which nothing can be served.
    """
    for path in files:
        check_whole(path)
    paths = [str(path.resolve()) for path in files]
    usual = use_configured(root)
    source = _folder_for(usual, paths)
    survey = survey_captures(files, usual.root / usual.data / source)
    found = (venue_and_symbol(name) for name in sorted(survey.symbols))
    instruments = [InstrumentSettings(symbol, venue) for venue, symbol in found]
    choice: JsonObject = {
        "mode": "sim",
        "source": source,
        "host": hosted_words(usual),
        "exchange": {"replay": paths, "speed": speed},
        "instruments": [{"symbol": one.symbol, "venue": one.venue} for one in instruments],
        "models": [_narrowed(model, instruments) for model in usual.models],
        # what is listed and in the capture; else its first instrument
        "executor": {"instruments": [one for one in usual.executor.instruments if matching([one], instruments)]},
    }
    config = use_choice(root, choice)
    write_file(config.source_dir / "capture.json", json.dumps({"files": paths}).encode())
    return config, survey


def _narrowed(model: ModelSettings, instruments: list[InstrumentSettings]) -> JsonObject:
    """The table of a model with those of its patterns that match one of these instruments; with all where none does."""
    table: JsonObject = msgspec.to_builtins(model)
    return {**table, "instruments": [one for one in model.instruments if matching([one], instruments)] or ["*"]}


def hosted_words(config: Config) -> list[str]:
    """The words of `host` that have a meaning whatever is recorded or replayed: no single model, no line of one venue alone."""
    return [word for word in config.host if word in ("model", "executor", "session") or re.fullmatch(r"feed-\d+", word)]


def venues_choice(root: Path, wanted: Wanted, source: str, mode: Mode = "capture") -> tuple[JsonObject, list[VenueAnswer]]:
    """(what differs from mesh.toml where the wanted instruments are recorded, what the venues say of them): it asks them.

    `source`: its name; "": the venues' names, and the mode where orders are filled. In a mode with orders models and what is
    traded are those of mesh.toml. Raises Failure with the names that a venue does not know.
    """
    source = source or source_of(mode, wanted)
    as_written = [InstrumentSettings(adapter_of(venue).spell(name), venue) for venue, names in wanted.items() for name in names]
    host = hosted_words(load(root))
    answers = ask(load(root, overrides=recording(source, list(dict.fromkeys(as_written)), host)), wanted)
    choice = recording(source, chosen(answers), host)
    return (choice if mode == "capture" else _with_orders(root, choice, mode, chosen(answers))), answers


def source_of(mode: str, venues: Iterable[str]) -> str:
    """The folder under data/ of these venues in a mode, where none is named."""
    names = "-".join(sorted(set(venues)))
    return "sim" if mode == "sim" else names if mode == "capture" else f"{names}-{mode}"


def _with_orders(root: Path, choice: JsonObject, mode: Mode, instruments: list[InstrumentSettings]) -> JsonObject:
    """A recording's choice with the models and orders of mesh.toml, as far as they match these instruments."""
    usual = load(root, chosen=False)
    traded = [one for one in usual.executor.instruments if matching([one], instruments)]
    models = [_narrowed(model, instruments) for model in usual.models]
    return {**choice, "mode": mode, "models": models, "executor": {"instruments": traded}}


def use_choice(root: Path, choice: JsonObject) -> Config:
    """Writes what a choice says otherwise than mesh.toml into run/overrides.json, for every process; gives the settings.

    A choice that says the same leaves no such file: what is edited in mesh.toml later counts.
    """
    config, path = load(root, overrides=choice), overrides_path(root)
    other = {key: choice[key] for key in _other(config, load(root, chosen=False), choice)}
    path.parent.mkdir(exist_ok=True, mode=0o700)
    write_file(path, json.dumps(other).encode()) if other else path.unlink(missing_ok=True)
    return config


def chosen_otherwise(root: Path) -> list[str]:
    """The keys of mesh.toml in whose place stands what `mesh up` with flags chose for this run."""
    path = overrides_path(root)
    return _other(load(root), load(root, chosen=False), json.loads(path.read_bytes())) if path.exists() else []


def _other(config: Config, usual: Config, choice: JsonObject) -> list[str]:
    """The keys of a choice by which the settings differ from the usual ones."""
    return [key for key in choice if getattr(config, key) != getattr(usual, key)]


@contextlib.contextmanager
def choice_kept(root: Path) -> Iterator[None]:
    """Puts run/overrides.json back as it was where what is done with a new choice raises Failure: nothing was changed then."""
    path = overrides_path(root)
    before = path.read_bytes() if path.exists() else None
    try:
        yield
    except Failure:
        path.unlink(missing_ok=True) if before is None else write_file(path, before)
        raise


def recording(source: str, instruments: list[InstrumentSettings], host: Sequence[str] = ()) -> JsonObject:
    """What differs from mesh.toml where these instruments of real venues are recorded: no model, no order."""
    rows = [{"venue": one.venue, "symbol": one.symbol} for one in instruments]
    nothing: JsonObject = {"models": [], "executor": {"instruments": []}}
    return {"mode": "capture", "source": source, "host": list(host), "instruments": rows, **nothing}


def check_market(config: Config) -> None:
    """Raises Failure where the source's folder holds another market: what a venue did and what the local exchange made up.

    The first run writes into the folder which of the two it is for.
    """
    market, found = MARKET_OF[config.mode], market_found(config)
    if not found or (found == "venues" and market != found):
        config.source_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_file(config.source_dir / MARKET, f"{market}\n".encode())


def market_found(config: Config) -> str:
    """The market that the source's folder holds, "" where it holds none. Raises Failure as `check_market`; writes nothing."""
    path = config.source_dir / MARKET
    market = MARKET_OF[config.mode]
    found = path.read_text().strip() if path.is_file() else ""
    if not found and market == "venues" and (config.source_dir / "log").exists():
        found = "exchange"  # of a version that wrote no such file, and recorded no venue
    if found not in ("", market) and (found, market) not in GOES_ON:
        raise Failure(
            f"{config.data}/{config.source} has the market of {MARKETS[found]}, and this is to be that of {MARKETS[market]}: "
            f"give it a folder of its own (source in mesh.toml, or --source NAME)"
        )
    return found


def survey_captures(files: list[Path], folder: Path) -> Survey:
    """Surveys captures and leaves the survey where the exchange looks for it; nothing is left of captures that are refused."""
    made = [one for one in (folder / "exchange", folder) if not one.exists()]
    columns = (TextColumn("reading {task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        name = files[0].name if len(files) == 1 else f"{len(files)} captures"
        task = progress.add_task(name, total=sum(path.stat().st_size for path in files))
        try:
            return CaptureFiles([path.resolve() for path in files]).read_whole(
                folder / "exchange", lambda done: progress.update(task, completed=done)
            )
        except ConfigError as error:
            (folder / "exchange" / "survey.json").unlink(missing_ok=True)
            for one in made:
                with contextlib.suppress(OSError):
                    one.rmdir()
            raise Failure(str(error).removeprefix("exchange.replay: ")) from None


def _folder_for(config: Config, paths: list[str]) -> str:
    """The source name of these captures: an unfinished replay of just these, or the next free one."""
    stems = "-".join(re.sub(r"(\.dat)?(\.gz)?$", "", Path(path).name) for path in paths)
    base = f"replay-{re.sub(r'[^A-Za-z0-9._-]', '_', stems)[:NAME_MAX]}"
    for number in count(1):
        name = base if number == 1 else f"{base}-{number}"
        folder = config.root / config.data / name
        if not folder.exists():
            return name
        if _files_of(folder) == paths and not (folder / "exchange" / ENDED).exists():
            return name
    raise AssertionError("unreachable: there is always a next number")


def _files_of(folder: Path) -> list[str]:
    try:
        files: list[str] = json.loads((folder / "capture.json").read_bytes())["files"]
        return files
    except (OSError, ValueError, KeyError):
        return []


def check_whole(path: Path) -> None:
    """Reads a capture to its end; raises Failure for a truncated or damaged one before anything starts."""
    last = b""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                last = chunk
    except FileNotFoundError:
        raise Failure(f"there is no capture {path}") from None
    except EOFError:
        raise Failure(f"{path} is cut off: its gzip stream has no end") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise Failure(f"{path} is damaged: {error}") from None
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror or error}") from None
    if not last:
        raise Failure(f"{path} is empty")
    if not last.endswith(b"\n"):
        raise Failure(f"{path} is cut off in the middle of its last line")
